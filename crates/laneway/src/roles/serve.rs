//! `laneway serve`: control plane and gateway in one process, the default on one machine.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context;
use api::discovery::v1;
use proxy::Inherited;

use super::{
    control_plane::ControlPlane,
    data_plane::{self, About},
    gateway::Gateway,
    process::{self, Process},
};
use crate::{
    cli::Settings,
    config::{self, checked::Connect},
    data_directory::Unwritable,
    signals::Signals,
    upgrade::supervisor,
};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Serve>) -> anyhow::Result<ExitCode> {
    let (of_process, observers) = (&settings.now.process, &settings.now.gateway.observers);
    let process = Process::start(of_process, Some(observers), Unwritable::IsRefused, None)?;
    process::run_in(process::control_runtime()?, serve(process, settings))
}

async fn serve(process: Process, settings: Settings<config::Serve>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let (control, gateway) = (&settings.now.control, &settings.now.gateway);
    let mut plane = ControlPlane::start(&process, control, gateway.listen).await?;
    let connect = Connect {
        control: on_this_machine(plane.discovery).to_string(),
        join_token: Some(plane.control.own_token()),
        authorities: Vec::new(),
    };
    let about = About {
        role: v1::Role::Gateway,
        name: &gateway.name,
        namespace: "",
        tag: None,
        correlation_headers: &gateway.correlation_headers,
        admin: plane.api_address(),
        listeners: &[gateway.listen],
        mark: None,
        shared: None,
        is_awaited: false,
        beside_control_plane: true,
    };
    let client = data_plane::follow(&process, &connect, about, None).await?;
    let gateway = Gateway::start(&process, gateway, Inherited::default(), client)?;
    plane.serve_api(gateway.admin("serve", &process));
    gateway.print_addresses();
    supervisor::serves();
    let reload = || plane.reload();
    let lame_duck = settings.now.gateway.lame_duck;
    let lame_duck = process::until_asked_to_stop(
        &mut signals,
        &process,
        &settings,
        |now| &now.process,
        lame_duck,
        reload,
    )
    .await;
    let drain = settings.now.process.drain;
    let ending = async {
        gateway.stop(lame_duck, drain).await;
        plane.stop().await;
    };
    Ok(process::end(&mut signals, &process, ending).await)
}

/// An address to connect to for one that was bound: `0.0.0.0` is no destination.
fn on_this_machine(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
