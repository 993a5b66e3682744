//! What gateway and sidecar share: who they are to the control plane, and what passes between their discovery
//! client and their proxy.

use std::{net::SocketAddr, path::Path, sync::Arc};

use api::discovery::v1;
use discovery::{Client, Identity};
use proxy::sockets;
use routes::entrance::CorrelationHeaders;

use super::process::Process;
use crate::config::checked::Connect;

/// The file in the data directory that keeps the last good picture.
const SNAPSHOT_FILE: &str = "snapshot";

/// What a data plane is.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) role: v1::Role,
    /// The Gateway's name, or the application.
    pub(crate) name: &'a str,
    /// A sidecar's service's namespace.
    pub(crate) namespace: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) correlation_headers: &'a CorrelationHeaders,
    /// Where it answers, for people.
    pub(crate) admin: SocketAddr,
    /// Where else it listens, but for its instance.
    pub(crate) listeners: &'a [SocketAddr],
    /// `SO_MARK` of its own connections.
    pub(crate) mark: Option<u32>,
    /// Where instances of one application on this machine leave one another what they were told last.
    pub(crate) shared: Option<&'a Path>,
    /// In one process with its control plane.
    pub(crate) beside_control_plane: bool,
}

/// Starts to follow the control plane; returns when there is a picture, or none is to be had for now.
pub(crate) async fn follow(
    process: &Process,
    connect: &Connect,
    about: About<'_>,
) -> anyhow::Result<Client> {
    let hello = v1::Hello {
        node: process.data.node()?,
        role: about.role.into(),
        name: about.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // What older ones of its kind cannot do.
        capabilities: vec!["tls".to_owned(), "traffic".to_owned()],
        held: Vec::new(),
        held_of: String::new(),
        namespace: about.namespace.to_owned(),
        address: about.admin.to_string(),
        join_token: connect.join_token.clone().unwrap_or_default(),
        tag: about.tag.unwrap_or_default().to_owned(),
        correlation_headers: about.correlation_headers.names().map(str::to_owned).collect(),
        // A port that the kernel will choose is not known yet.
        listeners: (about.listeners.iter().filter(|it| it.port() != 0))
            .map(ToString::to_string)
            .collect(),
    };
    let snapshot = process.data.file(SNAPSHOT_FILE);
    let shared = about.shared.map(Path::to_owned);
    let identity = Identity {
        control: connect.control.clone(),
        hello,
        mark: about.mark,
        snapshot,
        shared,
        counters: Arc::clone(&process.metrics),
    };
    let client = Client::start(identity).await;
    let state = client.state.clone();
    let beside_control_plane = about.beside_control_plane;
    process.metrics.collect_from(move |samples| {
        let state = state.borrow();
        state.sample(samples);
        if !beside_control_plane {
            state.sample_generation(samples);
        }
    });
    Ok(client)
}

/// How a proxy learns what its client is told.
pub(crate) fn feed(client: &Client) -> proxy::Feed {
    proxy::Feed {
        published: client.published.clone(),
        demand: client.demand.clone(),
        comes_back: client.state.borrow().was_here(),
    }
}

/// From now on the control plane is told which instances the proxy cannot reach, which listeners it cannot serve, in which
/// lanes its application calls on without context, and what passes unread that lanes are about.
pub(crate) fn report(client: &Client, proxy: &proxy::Running) {
    let (board, unbound) = (proxy.board(), proxy.unbound());
    let (in_lanes, unread, undeclared) = (proxy.in_lanes(), proxy.unread(), proxy.undeclared());
    let ip = proxy.addresses().first().map(SocketAddr::ip);
    client.report(move || v1::Report {
        unreachable: board.unreachable().iter().map(ToString::to_string).collect(),
        not_listening: (unbound.all().into_iter())
            .map(|(port, reason)| {
                let who = ip.and_then(|ip| sockets::listener_at(SocketAddr::new(ip, port)));
                let who = who.map(|who| format!(": {who}")).unwrap_or_default();
                v1::NotListening { port: port.into(), reason: reason + &who }
            })
            .collect(),
        lane_calls: (in_lanes.all().into_iter())
            .filter(|calls| calls.lost + calls.uncertain > 0)
            .map(|calls| v1::LaneCalls {
                group: calls.group,
                lane: calls.lane,
                received: calls.received,
                carried: calls.carried,
                lost: calls.lost,
                uncertain: calls.uncertain,
            })
            .collect(),
        unread: (unread.all().into_iter())
            .filter(|(_, protocol, _)| protocol.is_of_the_web())
            .map(|(service, protocol, connections)| v1::UnreadCalls {
                service,
                protocol: protocol.name().to_owned(),
                connections,
            })
            .collect(),
        undeclared: (undeclared.all().into_iter())
            .map(|(address, connections)| v1::UndeclaredCalls { address, connections })
            .collect(),
    });
}
