//! `laneway control`: the control plane alone.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::json;

use super::{
    control_plane::{self, ControlPlane, DEFAULT_GATEWAY},
    process::{self, Process},
};
use crate::{
    admin::Admin, cli::Settings, config, data_directory::Unwritable, signals::Signals,
    upgrade::supervisor,
};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Control>) -> anyhow::Result<ExitCode> {
    let process = Process::start(&settings.now.process, None, Unwritable::IsRefused, None)?;
    process::run_in(process::control_runtime()?, serve(process, settings))
}

async fn serve(process: Process, settings: Settings<config::Control>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let mut plane = ControlPlane::start(&process, &settings.now.control, DEFAULT_GATEWAY).await?;
    plane.serve_api(Admin {
        readiness: Box::new(control_plane::readiness),
        status: Box::new(|| json!({ "role": "control" })),
        stopping: Arc::clone(&process.stopping),
        metrics: Arc::clone(&process.metrics),
        logs: process.logs.clone(),
    });
    supervisor::serves();
    let reload = || plane.reload();
    process::until_asked_to_stop(
        &mut signals,
        &process,
        &settings,
        |now| &now.process,
        Duration::ZERO,
        reload,
    )
    .await;
    Ok(process::end(&mut signals, &process, plane.stop()).await)
}
