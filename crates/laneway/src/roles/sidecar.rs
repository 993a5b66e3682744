//! `laneway sidecar`: beside one instance of an application.

mod addresses;
mod rules;

use std::{
    net::{Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use api::{convert::wire::protocol_to, discovery::v1};
use discovery::{Client, Registrant, Registration, registration::probe::Probe};
use lanes::service::Protocol;
use proxy::{
    UnreadCalls,
    capture::{self, Capture, CaptureConfig, CaptureError},
    sidecar::{OwnPort, SidecarConfig},
    sockets,
};
use serde_json::json;
use tokio::sync::Notify;

use self::{addresses::Addresses, rules::Rules};
use super::{
    data_plane::{self, About, AdminSocket, Place},
    process::{self, Given, Next, Process},
    tapping,
};
use crate::{
    admin::{self, Admin},
    cli::{Settings, output},
    config::{self, Port},
    data_directory::Unwritable,
    http_server::HttpServer,
    signals::Signals,
    upgrade::predecessor::Predecessor,
};

/// How long a deregistered sidecar still takes new requests: those that callers had already decided to send here
/// when the control plane told them.
const LINGER: Duration = Duration::from_millis(500);

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Sidecar>) -> anyhow::Result<ExitCode> {
    let mut predecessor = Predecessor::meet()?;
    let (of_process, observers) = (&settings.now.process, &settings.now.observers);
    let process =
        Process::start(of_process, Some(observers), Unwritable::IsTold, predecessor.as_mut())?;
    process::run_in(process::data_plane_runtime()?, serve(process, settings, predecessor))
}

async fn serve(
    process: Process,
    settings: Settings<config::Sidecar>,
    mut predecessor: Option<Predecessor>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let (admin_listener, admin_socket) =
        data_plane::bind_admin(settings.now.admin_listen, predecessor.as_mut()).await?;
    let admin_address = admin_listener.local_addr()?;
    let transparent_ipv6 = captures_ipv6(&settings.now);
    let outbound = settings.now.outbound_listen;
    let beside = transparent_ipv6.then(|| (Ipv6Addr::LOCALHOST, outbound.port()).into());
    let outbound: Vec<SocketAddr> = std::iter::once(outbound).chain(beside).collect();
    let about = About {
        role: v1::Role::Sidecar,
        name: &settings.now.application,
        namespace: &settings.now.service_namespace,
        tag: settings.now.tag.as_deref(),
        correlation_headers: &settings.now.correlation_headers,
        admin: admin_address,
        listeners: &outbound,
        mark: mark(&settings.now, predecessor.as_ref()),
        shared: settings.now.shared_data.as_deref(),
        is_awaited: settings.now.capture && capture::is_in_place(),
        beside_control_plane: false,
    };
    let client =
        data_plane::follow(&process, &settings.now.connect, about, predecessor.as_ref()).await?;
    let start = Start {
        process: &process,
        settings: &settings.now,
        admin: admin_address,
        transparent_ipv6,
        predecessor: predecessor.as_ref(),
    };
    let mut sidecar = Sidecar::start(&start, client).await?;
    let admin = HttpServer::start(
        "admin",
        admin_listener,
        admin::router(sidecar.admin(&process)),
        process.admin_door(),
        &process.metrics,
    );
    output::listening("admin", admin_address);
    data_plane::serves(&process, predecessor, &sidecar.proxy, sidecar.rules.is_some());
    sidecar.rules.iter_mut().for_each(Rules::own);
    Ok(until_ended(&mut signals, &process, &settings, sidecar, admin, &admin_socket).await)
}

/// Serves until another process has its place, or it is asked to stop; then to the end of what is in flight.
async fn until_ended(
    signals: &mut Signals,
    process: &Process,
    settings: &Settings<config::Sidecar>,
    mut sidecar: Sidecar,
    admin: HttpServer,
    admin_socket: &AdminSocket,
) -> ExitCode {
    let drain = settings.now.process.drain;
    loop {
        let next = process::until_asked(
            signals,
            process,
            settings,
            |now| &now.process,
            settings.now.lame_duck,
            || {},
        );
        let lame_duck = match next.await {
            Next::Stop(lame_duck) => lame_duck,
            Next::Upgrade => {
                let is_broken = sidecar.rest_rules().await;
                let place = sidecar.place(process, admin_socket);
                let lame_duck = settings.now.lame_duck;
                match process::give(signals, process, lame_duck, place.give()).await {
                    Given::Nothing { has_begun } => {
                        if has_begun || is_broken {
                            sidecar.repair_rules().await;
                        }
                        continue;
                    }
                    Given::Stop(lame_duck) => lame_duck,
                    Given::Place(succeeded) => {
                        let captures = succeeded.captures;
                        let ending = async {
                            admin.stop().await;
                            sidecar.drain_beside_successor(drain, captures).await;
                        };
                        let ended =
                            process::end_beside_successor(signals, process, succeeded, ending);
                        return ended.await;
                    }
                }
            }
        };
        let ending = async {
            sidecar.stop(lame_duck, drain).await;
            admin.stop().await;
        };
        return process::end(signals, process, ending).await;
    }
}

/// What a sidecar starts with.
struct Start<'a> {
    process: &'a Process,
    settings: &'a config::Sidecar,
    admin: SocketAddr,
    transparent_ipv6: bool,
    predecessor: Option<&'a Predecessor>,
}

impl Start<'_> {
    /// What the proxy is told.
    fn of_proxy(&self, unreachable: Arc<Notify>) -> anyhow::Result<SidecarConfig> {
        let &Start { process, settings, admin, transparent_ipv6, predecessor } = self;
        let tag = settings.tag.as_deref().map(lanes::Tag::parse).transpose();
        // Where its name leads elsewhere later, the join token still keeps strangers out.
        let of_control_plane = settings.connect.control.to_socket_addrs().into_iter().flatten();
        Ok(SidecarConfig {
            application: settings.application.clone(),
            ports: settings.ports.iter().map(own_port).collect(),
            service_namespace: settings.service_namespace.clone(),
            unreachable,
            tag: tag.map_err(|problem| anyhow!("tag: {problem}"))?.flatten(),
            outbound_listen: settings.outbound_listen,
            inbound_listen: settings.inbound_listen,
            transparent: settings.capture,
            transparent_ipv6,
            mark: mark(settings, predecessor),
            correlation_headers: settings.correlation_headers.clone(),
            doors: std::iter::once(admin).chain(of_control_plane).collect(),
            refuses_unread: settings.refuse_unread,
            forbidden: settings.forbid_destinations.clone(),
            workers: settings.workers.threads,
            takeover: settings.workers.takeover,
            inherited: predecessor.map(Predecessor::sockets).unwrap_or_default(),
            timeouts: settings.limits.timeouts.clone(),
            connections_max: settings.limits.connections_max,
            metrics: Arc::clone(&process.metrics),
            observers: process.observe(
                &settings.observers,
                &settings.application,
                settings.tag.as_deref(),
            )?,
        })
    }
}

struct Sidecar {
    proxy: proxy::Running,
    rules: Option<Rules>,
    registration: Registration,
    /// The name under which the registration is kept.
    registered_as: String,
    discovery: Client,
}

impl Sidecar {
    /// Binds both listeners, starts to move requests, installs the capture, and only then registers.
    async fn start(start: &Start<'_>, discovery: Client) -> anyhow::Result<Self> {
        let &Start { process, settings, admin, transparent_ipv6, predecessor } = start;
        let unreachable = Arc::new(Notify::new());
        let mark = mark(settings, predecessor);
        let config = start.of_proxy(Arc::clone(&unreachable))?;
        let proxy = proxy::sidecar::start(config, data_plane::feed(&discovery)).with_context(|| {
            format!(
                "outbound-listen, inbound-listen: listen on `{}` and `{}`; name other addresses, or port 0 to have one chosen",
                settings.outbound_listen, settings.inbound_listen
            )
        })?;
        let [outbound, inbound, ..] = *proxy.addresses() else {
            bail!("a sidecar has two listeners, not {:?}", proxy.addresses())
        };
        let own = [("outbound", outbound), ("inbound", inbound), ("admin", admin)];
        let mut applications = settings.ports.iter().flat_map(|port| &port.addresses);
        applications.try_for_each(|application| refuse_own(*application, &own))?;
        if predecessor.is_none() {
            // One whose place is taken listens where this one will.
            settings.ports.iter().flat_map(|port| &port.addresses).try_for_each(refuse_anothers)?;
        }
        output::listening("outbound", outbound);
        output::listening("inbound", inbound);
        let node = process.data.node()?;
        let rules = match settings.capture {
            true => {
                let config = capture_config(settings, (outbound, inbound, admin), transparent_ipv6);
                // Rules of a process whose place is not taken yet are not to be removed.
                Some(Rules::install(config, predecessor.is_some())?)
            }
            false => None,
        };
        data_plane::report(&discovery, &proxy);
        tapping::tap(&discovery, &proxy);
        let addresses = addresses(settings, inbound, transparent_ipv6);
        told_unreachable(settings, &addresses);
        let instance = instance(settings, &addresses, node, predecessor);
        let registered_as = instance.process.clone();
        if let Some(predecessor) = predecessor {
            predecessor.registers()?;
        }
        let registration = Registration::start(Registrant {
            control: settings.connect.control.clone(),
            credentials: discovery.credentials.clone(),
            instance,
            application: settings.ports[0].addresses[0],
            probe: match &settings.health_path {
                Some(path) => Probe::Http { path: path.clone() },
                None => Probe::Tcp,
            },
            mark,
            doubted: unreachable,
        });
        if let Some(predecessor) = predecessor
            && let Err(error) = data_plane::until_registered(&registration, predecessor).await
        {
            // The former process keeps it.
            registration.leave_place();
            return Err(error);
        }
        Ok(Self { proxy, rules, registration, registered_as, discovery })
    }

    fn admin(&self, process: &Process) -> Admin {
        let (configuration, standing) =
            (self.discovery.state.clone(), self.registration.standing.clone());
        let (configuration_now, standing_now) = (configuration.clone(), standing.clone());
        let (board, in_lanes) = (self.proxy.board(), self.proxy.in_lanes());
        let (unread, unread_arrivals) = (self.proxy.unread(), self.proxy.unread_arrivals());
        let undeclared = self.proxy.undeclared();
        let rules = self.rules.as_ref().map(Rules::problem);
        let access_log = process.access_log_status();
        Admin {
            readiness: Box::new(move || {
                let registered = standing.borrow().readiness(configuration.borrow().readiness());
                rules::readiness(rules.as_ref(), registered)
            }),
            status: Box::new(move || {
                json!({
                    "role": "sidecar",
                    "configuration": configuration_now.borrow().status(),
                    "registration": standing_now.borrow().status(),
                    "accessLog": access_log(),
                    "unreachable": board.unreachable(),
                    "unread": shown(&unread),
                    "unreadArrivals": shown(&unread_arrivals),
                    "undeclared": undeclared.all().into_iter().map(|(address, connections)| json!({
                        "address": address,
                        "connections": connections,
                    })).collect::<Vec<_>>(),
                    "lanes": in_lanes.all().into_iter().map(|calls| json!({
                        "group": calls.group,
                        "lane": calls.lane,
                        "received": calls.received,
                        "carried": calls.carried,
                        "lost": calls.lost,
                        "uncertain": calls.uncertain,
                    })).collect::<Vec<_>>(),
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
        let registration = Some((&self.registration, &*self.registered_as));
        Place { process, client, proxy, admin, registration, captures: self.rules.is_some() }
    }

    /// Leaves redirect rules alone, so that another process may write them. Whether they were to be repaired.
    async fn rest_rules(&mut self) -> bool {
        match &mut self.rules {
            Some(rules) => rules.rest().await,
            None => false,
        }
    }

    /// Writes its redirect rules anew: a process that was to take its place, and did not, may have changed them.
    async fn repair_rules(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.repair().await;
        }
    }

    /// Finishes what is in flight, within `drain`, while another process takes what is new. The registration is its own, and
    /// so are redirect rules where it captures.
    async fn drain_beside_successor(self, drain: Duration, captures: bool) {
        let capture = match self.rules {
            Some(rules) => Some(rules.into_capture().await),
            None => None,
        };
        let capture = match capture {
            Some(capture) if captures => {
                capture.leave();
                None
            }
            capture => capture,
        };
        if let Some(capture) = &capture {
            // New connections go directly; those that are captured live as long as the kernel translates.
            let released = capture.release_inbound().and_then(|()| capture.release_outbound());
            if let Err(error) = released {
                tracing::warn!(%error, "redirect rules may be left behind");
            }
        }
        self.proxy.drain_beside_successor(drain).await;
        drop(capture);
        self.discovery.stop().await;
    }

    /// Deregisters, lets callers move away, finishes what is in flight.
    async fn stop(mut self, lame_duck: Duration, drain: Duration) {
        let until = tokio::time::Instant::now() + drain;
        let was_registered = self.registration.standing.borrow().registered;
        self.registration.stop().await;
        let linger = if was_registered { LINGER.max(lame_duck) } else { lame_duck };
        // Rules that are being repaired may wait long for another program: callers move away meanwhile.
        let rest = async {
            match self.rules.take() {
                Some(rules) => Some(rules.into_capture().await),
                None => None,
            }
        };
        let ((), capture) = tokio::join!(tokio::time::sleep(linger.min(drain)), rest);
        // What is in flight may call others before it is answered, and stays in its lane by calling them through us.
        let release = |released: Option<Result<(), CaptureError>>| {
            if let Some(Err(error)) = released {
                tracing::warn!(%error, "redirect rules may be left behind");
            }
        };
        // Nobody listens there any more: who still comes meets the application itself.
        release(capture.as_ref().map(Capture::release_inbound));
        self.proxy.empty(until.saturating_duration_since(tokio::time::Instant::now())).await;
        // New connections of the application go out directly from here on.
        release(capture.as_ref().map(Capture::release_outbound));
        self.proxy.drain(until.saturating_duration_since(tokio::time::Instant::now())).await;
        // Not before: connections that are captured live as long as the kernel translates.
        release(capture.map(Capture::remove));
        self.discovery.stop().await;
    }
}

/// What passed unread, for `/status`.
fn shown(unread: &UnreadCalls) -> Vec<serde_json::Value> {
    let all = unread.all().into_iter();
    all.map(|(service, protocol, connections)| {
        json!({ "service": service, "protocol": protocol.name(), "connections": connections })
    })
    .collect()
}

/// Where the instance is, as others are told.
fn addresses(settings: &config::Sidecar, inbound: SocketAddr, transparent_ipv6: bool) -> Addresses {
    let written = Addresses::written(settings, inbound);
    if !transparent_ipv6 {
        return written;
    }
    written.captured(inbound, |ip| {
        capture::siblings(ip).unwrap_or_else(|error| {
            tracing::warn!(%ip, %error, "this host's other addresses are not told: calls to them may leave their lane; name them (--advertise, --app-address)");
            Vec::new()
        })
    })
}

/// The instance, as the registry is told.
fn instance(
    settings: &config::Sidecar,
    addresses: &Addresses,
    node: String,
    predecessor: Option<&Predecessor>,
) -> v1::Instance {
    let registered_as = predecessor.and_then(Predecessor::registration).map(str::to_owned);
    let protocol = |port: &Port| protocol_to(port.protocol).into();
    let further_ports = settings.ports.iter().zip(&addresses.ports).skip(1);
    v1::Instance {
        node,
        application: settings.application.clone(),
        service: settings.ports[0].service.clone(),
        namespace: settings.service_namespace.clone(),
        address: addresses.advertised[0].to_string(),
        application_address: addresses.ports[0][0].to_string(),
        further_addresses: addresses::texts(&addresses.advertised[1..]),
        further_application_addresses: addresses::texts(&addresses.ports[0][1..]),
        protocol: protocol(&settings.ports[0]),
        further_ports: further_ports
            .map(|(port, at)| v1::FurtherPort {
                service: port.service.clone(),
                protocol: protocol(port),
                application_addresses: addresses::texts(at),
            })
            .collect(),
        tag: settings.tag.clone().unwrap_or_default(),
        weight: settings.weight,
        // Under the same name it is the same registration, and no gap is between the two processes.
        process: registered_as.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        ..Default::default()
    }
}

/// As the proxy knows a port: at the first of its addresses it hands on what comes without a destination.
fn own_port(port: &Port) -> OwnPort {
    OwnPort {
        service: port.service.clone(),
        protocol: port.protocol,
        application_address: port.addresses[0],
    }
}

/// Says which ports nobody reaches: what passes unread goes to the application itself.
fn told_unreachable(settings: &config::Sidecar, addresses: &Addresses) {
    if addresses.advertised[0].ip().is_loopback() {
        return;
    }
    for (port, at) in settings.ports.iter().zip(&addresses.ports) {
        if port.protocol == Protocol::Tcp && at.iter().all(|it| it.ip().is_loopback()) {
            tracing::warn!(
                service = port.service,
                address = %at[0],
                "nobody on another host can reach a tcp port on loopback: name an address of this host (--app-address)"
            );
        }
    }
}

/// Refuses an application that is one of this sidecar's listeners.
fn refuse_own(application: SocketAddr, own: &[(&str, SocketAddr)]) -> anyhow::Result<()> {
    for (name, listener) in own {
        if sockets::arrives_at(application, *listener) {
            bail!(
                "app-address: `{application}` is this sidecar's own {name} listener, and requests would go round; say where the application itself listens"
            );
        }
    }
    Ok(())
}

/// Refuses an application that is another sidecar on this machine: whom its names on loopback mean is not for the control
/// plane to know.
fn refuse_anothers(application: &SocketAddr) -> anyhow::Result<()> {
    let Some(process) = sockets::another_of_this_kind_at(*application) else {
        return Ok(());
    };
    bail!(
        "app-address: `{application}` is where another sidecar listens, process {process}, and its application would answer for this one's; say where the application itself listens"
    )
}

/// Whether IPv6 is captured, too: where it is spoken at all.
fn captures_ipv6(settings: &config::Sidecar) -> bool {
    if !settings.capture || !capture::host_has_ipv6() {
        return false;
    }
    if !settings.capture_ipv6 {
        tracing::warn!("IPv6 is not captured: calls over it go past the lanes");
    }
    settings.capture_ipv6
}

/// What keeps its own connections from being redirected: by its rules, or for a while by those of the process before it.
fn mark(settings: &config::Sidecar, predecessor: Option<&Predecessor>) -> Option<u32> {
    let is_redirected = settings.capture || predecessor.is_some_and(Predecessor::captures);
    is_redirected.then_some(capture::MARK)
}

/// Which connections are redirected.
fn capture_config(
    settings: &config::Sidecar,
    (outbound, inbound, admin): (SocketAddr, SocketAddr, SocketAddr),
    ipv6: bool,
) -> CaptureConfig {
    CaptureConfig {
        outbound_port: outbound.port(),
        inbound_port: inbound.port(),
        application_ports: settings.ports.iter().map(|port| port.addresses[0].port()).collect(),
        own_user_id: None,
        excluded_outbound_ports: settings.exclusions.outbound_ports.clone(),
        excluded_destinations: settings.exclusions.destinations.clone(),
        excluded_inbound_ports: [&settings.exclusions.inbound_ports[..], &[admin.port()]].concat(),
        ipv6,
    }
}
