//! `laneway serve`.

use std::process::ExitCode;

use crate::{cli::Settings, config};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Serve>) -> anyhow::Result<ExitCode> {
    let process = &settings.now.process;
    let _logs = telemetry::logs::start(process.log_format, &process.log_level)?;
    anyhow::bail!("not available yet: {settings:?}")
}
