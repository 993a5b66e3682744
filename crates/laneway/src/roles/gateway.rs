//! `laneway gateway`: a gateway in a process of its own.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use api::discovery::v1;
use discovery::Client;
use proxy::{Inherited, gateway::GatewayConfig};
use serde_json::json;

use super::{
    data_plane::{self, About, AdminSocket, Place},
    process::{self, Given, Next, Process},
    tapping,
};
use crate::{
    admin::{self, Admin},
    cli::{Settings, output},
    config::{self, checked},
    data_directory::Unwritable,
    http_server::HttpServer,
    signals::Signals,
    upgrade::{activation, predecessor::Predecessor},
};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Gateway>) -> anyhow::Result<ExitCode> {
    let mut predecessor = Predecessor::meet()?;
    let inherited = match &predecessor {
        Some(predecessor) => predecessor.sockets(),
        None => activation::sockets(settings.now.gateway.listen)?,
    };
    let (of_process, observers) = (&settings.now.process, &settings.now.gateway.observers);
    let process =
        Process::start(of_process, Some(observers), Unwritable::IsTold, predecessor.as_mut())?;
    let serving = serve(process, settings, predecessor, inherited);
    process::run_in(process::data_plane_runtime()?, serving)
}

async fn serve(
    process: Process,
    settings: Settings<config::Gateway>,
    mut predecessor: Option<Predecessor>,
    inherited: Inherited,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let gateway = &settings.now.gateway;
    let (admin_listener, admin_socket) =
        data_plane::bind_admin(settings.now.admin_listen, predecessor.as_mut()).await?;
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
        is_awaited: false,
        beside_control_plane: false,
    };
    let client =
        data_plane::follow(&process, &settings.now.connect, about, predecessor.as_ref()).await?;
    let running = Gateway::start(&process, gateway, inherited, client)?;
    let admin = HttpServer::start(
        "admin",
        admin_listener,
        admin::router(running.admin("gateway", &process)),
        process.admin_door(),
        &process.metrics,
    );
    running.print_addresses();
    output::listening("admin", admin_address);
    data_plane::serves(&process, predecessor, &running.proxy, false);
    let drain = settings.now.process.drain;
    loop {
        let next = process::until_asked(
            &mut signals,
            &process,
            &settings,
            |now| &now.process,
            gateway.lame_duck,
            || {},
        );
        let lame_duck = match next.await {
            Next::Stop(lame_duck) => lame_duck,
            Next::Upgrade => {
                let place = running.place(&process, &admin_socket);
                match process::give(&mut signals, &process, gateway.lame_duck, place.give()).await {
                    Given::Nothing { .. } => continue,
                    Given::Stop(lame_duck) => lame_duck,
                    Given::Place(succeeded) => {
                        let ending = async {
                            admin.stop().await;
                            running.drain_beside_successor(drain).await;
                        };
                        let end = process::end_beside_successor;
                        return Ok(end(&mut signals, &process, succeeded, ending).await);
                    }
                }
            }
        };
        let ending = async {
            running.stop(lame_duck, drain).await;
            admin.stop().await;
        };
        return Ok(process::end(&mut signals, &process, ending).await);
    }
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
        inherited: Inherited,
        discovery: Client,
    ) -> anyhow::Result<Self> {
        let config = GatewayConfig {
            workers: settings.workers.threads,
            takeover: settings.workers.takeover,
            inherited,
            correlation_headers: settings.correlation_headers.clone(),
            timeouts: settings.limits.timeouts.clone(),
            connections_max: settings.limits.connections_max,
            metrics: Arc::clone(&process.metrics),
            observers: process.observe(&settings.observers, &settings.name, None)?,
            ..GatewayConfig::new(&settings.name, settings.listen)
        };
        let proxy = proxy::gateway::start(config, data_plane::feed(&discovery)).with_context(|| {
            format!(
                "gateway-listen: listen on `{}`; name another address, or port 0 to have one chosen",
                settings.listen
            )
        })?;
        data_plane::report(&discovery, &proxy);
        tapping::tap(&discovery, &proxy);
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
        let (board, passed) = (self.proxy.board(), self.proxy.passed());
        let access_log = process.access_log_status();
        Admin {
            readiness: Box::new(move || readiness.borrow().readiness()),
            status: Box::new(move || {
                json!({
                    "role": role,
                    "configuration": status.borrow().status(),
                    "accessLog": access_log(),
                    "unreachable": board.unreachable(),
                    "passedTls": passed
                        .all()
                        .into_iter()
                        .map(|(service, _, connections)| json!({"service": service, "connections": connections}))
                        .collect::<Vec<_>>(),
                })
            }),
            stopping: Arc::clone(&process.stopping),
            metrics: Arc::clone(&process.metrics),
            logs: process.logs.clone(),
        }
    }

    /// What another process may take over.
    fn place<'a>(&'a self, process: &'a Process, admin: &'a AdminSocket) -> Place<'a> {
        let (client, proxy) = (&self.discovery, &self.proxy);
        Place { process, client, proxy, admin, registration: None, captures: false }
    }

    /// Finishes what is in flight, within `drain`, while another process takes what is new.
    async fn drain_beside_successor(self, drain: Duration) {
        self.proxy.drain_beside_successor(drain).await;
        self.discovery.stop().await;
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
