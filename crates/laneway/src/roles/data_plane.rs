//! What gateway and sidecar share: who they are to the control plane, and what passes between their discovery
//! client and their proxy.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use api::discovery::v1;
use discovery::{Client, Credentials, Identity, Joining, Registration};
use proxy::sockets;
use routes::entrance::CorrelationHeaders;
use tokio::net::TcpListener;

use super::process::{self, Given, Process};
use crate::{
    config::checked::Connect,
    upgrade::{
        outcome::Outcome,
        predecessor::Predecessor,
        successor::{Lent, Succeeded, Successor},
        supervisor,
    },
};

/// The file in the data directory that keeps the last good picture.
const SNAPSHOT_FILE: &str = "snapshot";

/// The file there that keeps what is shown to the control plane, with its key.
const CERTIFICATE_FILE: &str = "certificate.pem";

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
    /// Redirect rules lead to it already: whoever connects finds nobody until it has started.
    pub(crate) is_awaited: bool,
    /// In one process with its control plane.
    pub(crate) beside_control_plane: bool,
}

/// Starts to follow the control plane; returns when there is a picture, or none is to be had for now. In the place of another
/// process it begins when that has left, and fails without a picture: the other has one.
pub(crate) async fn follow(
    process: &Process,
    connect: &Connect,
    about: About<'_>,
    predecessor: Option<&Predecessor>,
) -> anyhow::Result<Client> {
    let hello = v1::Hello {
        node: process.data.node()?,
        role: about.role.into(),
        name: about.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // What older ones of its kind cannot do.
        capabilities: ["tls", "tls-passthrough", "traffic", "issue", "pause", "tap"]
            .map(str::to_owned)
            .into(),
        held: Vec::new(),
        held_of: String::new(),
        namespace: about.namespace.to_owned(),
        address: about.admin.to_string(),
        // Credentials show it, or a certificate.
        join_token: String::new(),
        tag: about.tag.unwrap_or_default().to_owned(),
        correlation_headers: about.correlation_headers.names().map(str::to_owned).collect(),
        // A port that the kernel will choose is not known yet.
        listeners: (about.listeners.iter().filter(|it| it.port() != 0))
            .map(ToString::to_string)
            .collect(),
    };
    let snapshot = process.data.file(SNAPSHOT_FILE);
    let credentials = Credentials::start(Joining {
        control: connect.control.clone(),
        mark: about.mark,
        join_token: connect.join_token.clone(),
        authorities: connect.authorities.clone(),
        node: hello.node.clone(),
        file: (!about.beside_control_plane).then(|| process.data.file(CERTIFICATE_FILE)),
    });
    let shared = about.shared.map(Path::to_owned);
    let identity = Identity {
        control: connect.control.clone(),
        hello,
        credentials,
        snapshot,
        shared,
        counters: Arc::clone(&process.metrics),
        is_awaited: about.is_awaited,
    };
    if let Some(predecessor) = predecessor {
        predecessor.prepared()?;
    }
    let client = Client::start(identity).await;
    if let Some(predecessor) = predecessor {
        until_knowing(&client, predecessor).await?;
    }
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

/// How long a process that takes the place of another waits to know what that knows: as long as a start on a busy machine takes.
/// Until then the other serves.
const KNOWS_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to register: heartbeats rest meanwhile, and an instance is believed alive for 6 s after the last.
const REGISTERED_WITHIN: Duration = Duration::from_secs(3);

/// How long the former process may take to leave its place: it says goodbye, and writes to disk.
const LEFT_WITHIN: Duration = Duration::from_secs(5);

/// Waits until there is something to serve by, from the control plane itself where the former process hears that; fails with
/// the reason why there is nothing.
async fn until_knowing(client: &Client, predecessor: &Predecessor) -> anyhow::Result<()> {
    let mut state = client.state.clone();
    let knows = state.wait_for(|state| match predecessor.is_connected() {
        true => state.is_connected(),
        false => state.readiness().ready,
    });
    if let Ok(Ok(_)) = tokio::time::timeout(KNOWS_WITHIN, knows).await {
        return Ok(());
    }
    let reason = client.state.borrow().readiness().reason;
    bail!("{reason}")
}

/// Waits until the instance is registered, where it was before; fails with the reason why it is not.
pub(crate) async fn until_registered(
    registration: &Registration,
    predecessor: &Predecessor,
) -> anyhow::Result<()> {
    if !predecessor.is_registered() {
        return Ok(());
    }
    let mut standing = registration.standing.clone();
    let registered = standing.wait_for(|standing| standing.registered);
    if let Ok(Ok(_)) = tokio::time::timeout(REGISTERED_WITHIN, registered).await {
        return Ok(());
    }
    let problem = registration.standing.borrow().problem.clone();
    let problem = problem.unwrap_or_else(|| "the application does not answer its probe".to_owned());
    bail!("the instance is not registered: {problem}")
}

/// The admin address and its listener, and the socket to lend to another process.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    asked: SocketAddr,
    socket: OwnedFd,
}

/// Binds the admin address, or takes it over.
pub(crate) async fn bind_admin(
    asked: SocketAddr,
    predecessor: Option<&mut Predecessor>,
) -> anyhow::Result<(TcpListener, AdminSocket)> {
    let listener = match predecessor.and_then(|it| it.admin(asked)) {
        Some(listener) => TcpListener::from_std(listener)?,
        None => process::bind("admin-listen", asked).await?,
    };
    let socket = listener.as_fd().try_clone_to_owned()?;
    Ok((listener, AdminSocket { asked, socket }))
}

/// Says that this process serves, to the one whose place it takes and to a supervisor, and accepts from here on.
pub(crate) fn serves(
    process: &Process,
    predecessor: Option<Predecessor>,
    proxy: &proxy::Running,
    captures: bool,
) {
    if let Some(predecessor) = predecessor {
        process.data.name_holder();
        predecessor.ready(captures);
    }
    proxy.accept();
    supervisor::serves();
}

/// What a data plane has that another process may take over.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) process: &'a Process,
    pub(crate) client: &'a Client,
    pub(crate) proxy: &'a proxy::Running,
    pub(crate) admin: &'a AdminSocket,
    /// A sidecar's, and the name it is kept under.
    pub(crate) registration: Option<(&'a Registration, &'a str)>,
    /// Redirect rules are in force for it.
    pub(crate) captures: bool,
}

/// Takes a place again that nobody has taken.
struct Back<'a>(Option<&'a Place<'a>>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        let Some(place) = self.0 else { return };
        place.client.take_place_again();
        if let Some((registration, _)) = place.registration {
            registration.take_place_again();
        }
        place.process.data.name_holder();
    }
}

impl Place<'_> {
    /// Has what is now at this program's path take the place. When it does not serve, why is logged and told, and everything
    /// is as it was.
    pub(crate) async fn give(&self) -> Given {
        let mut has_begun = false;
        let (given, outcome) = match self.give_to_successor(&mut has_begun).await {
            Ok(succeeded) => {
                let successor = succeeded.process;
                tracing::info!(successor, "another process has taken the place of this one");
                supervisor::is_succeeded_by(successor);
                (Given::Place(succeeded), Outcome::of_this_process(Some(successor), None))
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!(reason, "not replaced: the new process does not serve");
                (Given::Nothing { has_begun }, Outcome::of_this_process(None, Some(reason)))
            }
        };
        outcome.tell(self.process.data.path());
        given
    }

    async fn give_to_successor(&self, has_begun: &mut bool) -> anyhow::Result<Succeeded> {
        let standing = self.registration.map(|(registration, _)| registration.standing.borrow());
        let is_registered = standing.is_some_and(|standing| standing.registered);
        let lent = Lent {
            sockets: self.proxy.sockets().await.context("copy the listening sockets")?,
            admin: (self.admin.asked, self.admin.socket.as_fd()),
            data: &self.process.data,
            registration: self.registration.map(|(_, name)| name),
            is_connected: self.client.state.borrow().is_connected(),
            is_registered,
            captures: self.captures,
        };
        let mut successor = Successor::start(&lent)?;
        drop(lent);
        successor.prepared().await?;
        *has_begun = true;
        let mut back = Back(Some(self));
        // Two of one name would be refused. This one goes on hearing of changes, for as long as it serves.
        // Its certificate is good for whoever of this node there is.
        let another = format!("{}.{}", self.process.data.node()?, uuid::Uuid::new_v4());
        let left = self.client.leave_place(another);
        let left = tokio::time::timeout(LEFT_WITHIN, left).await;
        left.context("this process cannot leave its place: its control plane or its disk hangs")?;
        let rest = || {
            if let Some((registration, _)) = self.registration {
                registration.leave_place();
            }
        };
        let succeeded = successor.takes_the_place(rest).await?;
        back.0 = None;
        Ok(succeeded)
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
