//! `laneway gateway`: a gateway in a process of its own.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use api::discovery::v1;
use discovery::Client;
use proxy::gateway::GatewayConfig;
use serde_json::json;

use super::{
    data_plane::{self, About},
    process::{self, Process},
};
use crate::{
    admin::{self, Admin},
    cli::{Settings, output},
    config::{self, checked},
    data_directory::Unwritable,
    http_server::HttpServer,
    signals::Signals,
};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Gateway>) -> anyhow::Result<ExitCode> {
    let process = Process::start(&settings.now.process, Unwritable::IsTold)?;
    process::data_plane_runtime()?.block_on(serve(process, settings))
}

async fn serve(process: Process, settings: Settings<config::Gateway>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let gateway = &settings.now.gateway;
    let admin_listener = process::bind("admin-listen", settings.now.admin_listen).await?;
    let admin_address = admin_listener.local_addr()?;
    let about = About {
        role: v1::Role::Gateway,
        name: &gateway.name,
        namespace: "",
        tag: None,
        correlation_headers: &gateway.correlation_headers,
        admin: admin_address,
        listeners: &[gateway.listen],
        mark: None,
        shared: None,
        beside_control_plane: false,
    };
    let client = data_plane::follow(&process, &settings.now.connect, about).await?;
    let running = Gateway::start(&process, gateway, client)?;
    let admin = HttpServer::start(
        "admin",
        admin_listener,
        admin::router(running.admin("gateway", &process)),
        process.admin_door(),
        &process.metrics,
    );
    running.print_addresses();
    output::listening("admin", admin_address);
    let lame_duck = process::until_asked_to_stop(
        &mut signals,
        &process,
        &settings,
        |now| &now.process,
        gateway.lame_duck,
        || {},
    )
    .await;
    let drain = settings.now.process.drain;
    let ending = async {
        running.stop(lame_duck, drain).await;
        admin.stop().await;
    };
    Ok(process::end(&mut signals, &process, ending).await)
}

/// A gateway and what feeds it; also the half of `laneway serve`.
#[derive(Debug)]
pub(crate) struct Gateway {
    proxy: proxy::Running,
    discovery: Client,
}

impl Gateway {
    /// Binds the gateway's address and starts to move requests.
    pub(crate) fn start(
        process: &Process,
        settings: &checked::GatewayListener,
        discovery: Client,
    ) -> anyhow::Result<Self> {
        let config = GatewayConfig {
            workers: settings.workers.threads,
            takeover: settings.workers.takeover,
            correlation_headers: settings.correlation_headers.clone(),
            timeouts: settings.limits.timeouts.clone(),
            connections_max: settings.limits.connections_max,
            metrics: Arc::clone(&process.metrics),
            ..GatewayConfig::new(&settings.name, settings.listen)
        };
        let proxy = proxy::gateway::start(config, data_plane::feed(&discovery)).with_context(|| {
            format!(
                "gateway-listen: listen on `{}`; name another address, or port 0 to have one chosen",
                settings.listen
            )
        })?;
        data_plane::report(&discovery, &proxy);
        Ok(Self { proxy, discovery })
    }

    /// Tells where requests are accepted.
    pub(crate) fn print_addresses(&self) {
        for address in self.proxy.addresses() {
            output::listening("gateway", *address);
        }
    }

    /// What the gateway answers about itself.
    pub(crate) fn admin(&self, role: &'static str, process: &Process) -> Admin {
        let (readiness, status) = (self.discovery.state.clone(), self.discovery.state.clone());
        let board = self.proxy.board();
        Admin {
            readiness: Box::new(move || readiness.borrow().readiness()),
            status: Box::new(move || {
                json!({
                    "role": role,
                    "configuration": status.borrow().status(),
                    "unreachable": board.unreachable(),
                })
            }),
            stopping: Arc::clone(&process.stopping),
            metrics: Arc::clone(&process.metrics),
            logs: process.logs.clone(),
        }
    }

    /// Goes on for `lame_duck`, until whoever looks at the readiness has seen it; then takes no new requests, finishes
    /// what is in flight, all within `drain`, and writes what is not yet on disk.
    pub(crate) async fn stop(self, lame_duck: Duration, drain: Duration) {
        let lame_duck = lame_duck.min(drain);
        tokio::time::sleep(lame_duck).await;
        self.proxy.drain(drain - lame_duck).await;
        self.discovery.stop().await;
    }
}
