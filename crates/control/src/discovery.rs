//! The discovery server: streams of data planes, and registrations of sidecars.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use api::discovery::{
    EncodedControlMessage,
    v1::{self, data_plane_message, discovery_server},
};
use futures_util::{Stream, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Control, Whose,
    arrived::Arrived,
    distribute::{Connection, Told},
    hello,
    key::{Way, canonical},
    registrations::Registrations,
    statistics,
    tap::{self, Orders},
    tokens::Holder,
};

/// How often a discovery server should ask whether a silent peer is still there, and how long it should wait for
/// the answer: a vanished machine is noticed within 15 s.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// See [`KEEPALIVE_INTERVAL`].
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of one message from a data plane: its hello names everything it holds, 100 bytes each.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a new stream may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// Messages between a stream's task and its transport. One: what changes meanwhile is merged into the next.
const QUEUE: usize = 1;

/// The gRPC service behind `laneway.discovery.v1.Discovery`.
#[derive(Debug)]
pub struct DiscoveryService<R> {
    control: Arc<Control>,
    registrations: Arc<R>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl<R: Registrations> DiscoveryService<R> {
    pub(crate) fn new(control: Arc<Control>, registrations: Arc<R>) -> Self {
        Self { control, registrations }
    }

    /// Who can read what is told to a peer on this machine that was let in. Every user of it can connect: who has shown no
    /// token must be somebody who could read the keys in any case.
    async fn way_within(&self, peer: SocketAddr, local: SocketAddr) -> Way {
        let whose = self.control.whose;
        // The kernel's table of sockets takes its time.
        let looked_up = tokio::task::spawn_blocking(move || whose(peer, local)).await;
        match looked_up.unwrap_or(Whose::Unknown) {
            Whose::Ours => Way::Private,
            Whose::Unknown if self.control.asks_for_token() => Way::Private,
            Whose::Unknown | Whose::Relayed => Way::InTheClear,
        }
    }
}

#[tonic::async_trait]
impl<R: Registrations> discovery_server::Discovery for DiscoveryService<R> {
    type StreamStream = Answers<EncodedControlMessage>;
    type RegisterStream = Answers<v1::RegisterResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::DataPlaneMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let arrived = Arrived::of(&request);
        let Arrived { peer, local, .. } = arrived;
        let mut incoming = request.into_inner();
        let mut hello = tokio::time::timeout(HELLO_WAIT, read_hello(&mut incoming))
            .await
            .map_err(|_| Status::deadline_exceeded("send `hello` first"))??;
        let holder = self.control.admit(&hello.join_token, &arrived)?;
        if let Some(peer) = peer {
            let peer = peer.ip().to_canonical();
            name_listeners(&mut hello, peer);
            if !holder.is_of_mesh() {
                leave_out_anothers(&mut hello, peer);
            }
        }
        self.control.check_follows(&holder, &hello)?;
        let way = match peer.zip(local) {
            _ if self.control.is_own_token(&hello.join_token) => Way::Private,
            // In TLS nobody hears it; who it is must be known.
            _ if arrived.in_tls && (holder.has_certificate() || self.control.asks_for_token()) => {
                Way::Private
            }
            Some((peer, local)) if peer.ip().to_canonical().is_loopback() => {
                self.way_within(peer, local).await
            }
            _ => Way::InTheClear,
        };
        let session = Session::open(Arc::clone(&self.control), hello, way, holder)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(session.run(incoming, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn register(
        &self,
        request: Request<Streaming<v1::RegisterRequest>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let control = Arc::clone(&self.control);
        let registrations = Arc::clone(&self.registrations);
        let arrived = Arrived::of(&request);
        let answers =
            crate::registrations::serve(control, registrations, arrived, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn certify(
        &self,
        request: Request<v1::CertifyRequest>,
    ) -> Result<Response<v1::CertifyResponse>, Status> {
        let arrived = Arrived::of(&request);
        let made = self.control.certify(request.get_ref(), &arrived, SystemTime::now())?;
        Ok(Response::new(made))
    }
}

async fn read_hello(incoming: &mut Streaming<v1::DataPlaneMessage>) -> Result<v1::Hello, Status> {
    let first = incoming.message().await?.and_then(|message| message.message);
    let Some(data_plane_message::Message::Hello(hello)) = first else {
        return Err(Status::invalid_argument("the first message must be `hello`"));
    };
    for (field, value) in [("hello.node", &hello.node), ("hello.name", &hello.name)] {
        if value.is_empty() {
            return Err(Status::invalid_argument(format!("{field} is empty: write it")));
        }
    }
    if hello.role() == v1::Role::Unspecified {
        let text = format!("hello.role: `{}`: use one this release knows", hello.role);
        return Err(Status::invalid_argument(text));
    }
    Ok(hello)
}

/// What listens at every address of its machine does so at the one it connects from.
fn name_listeners(hello: &mut v1::Hello, peer: IpAddr) {
    for listener in &mut hello.listeners {
        if let Ok(address) = listener.parse::<SocketAddr>()
            && address.ip().is_unspecified()
        {
            *listener = SocketAddr::new(peer, address.port()).to_string();
        }
    }
}

/// Whoever may speak for one application alone has listeners on its own machine alone: it would keep others from
/// registering at theirs.
fn leave_out_anothers(hello: &mut v1::Hello, peer: IpAddr) {
    let is_own = |text: &str| {
        let ip = canonical(text).map(|address| address.ip());
        ip.is_some_and(|ip| {
            ip == peer || ip.is_unspecified() || ip.is_loopback() && peer.is_loopback()
        })
    };
    hello.listeners.retain(|listener| is_own(listener));
    // Words about where an agent is are nobody's address.
    if canonical(&hello.address).is_some() && !is_own(&hello.address) {
        hello.address.clear();
    }
}

/// One open stream of one data plane.
struct Session {
    control: Arc<Control>,
    node: String,
    /// Who it is, for people.
    shown: String,
    connection: Connection,
    /// With whose token it was let in.
    holder: Holder,
    epoch: String,
    wake: Arc<Notify>,
    /// What it reports of its traffic, where it does.
    traffic: Option<statistics::Stream>,
    /// What somebody watches of its requests, where it can tell of that.
    tapping: Option<Tapping>,
}

/// What a data plane is told to tap.
struct Tapping {
    orders: watch::Receiver<Arc<Orders>>,
    teller: Arc<tap::Teller>,
    /// It was told everything else: from here on it knows its groups.
    may_begin: bool,
    /// What it was told to tap last: of nothing else it is heard.
    taps: Arc<[tap::Lane]>,
    /// Messages heard in a second that began then.
    heard: (Instant, u32),
}

impl Tapping {
    /// Whether one more message of what it taps is heard.
    fn hears(&mut self, now: Instant) -> bool {
        let (since, heard) = &mut self.heard;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *heard) = (now, 0);
        }
        *heard += 1;
        !self.taps.is_empty() && *heard <= tap::MESSAGES_PER_SECOND_MAX
    }

    /// Waits until it is to be told what is watched.
    async fn due(this: Option<&mut Self>) {
        if let Some(tapping) = this.filter(|it| it.may_begin)
            && tapping.orders.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Session {
    fn open(
        control: Arc<Control>,
        hello: v1::Hello,
        way: Way,
        holder: Holder,
    ) -> Result<Self, Status> {
        let (node, shown) = (hello.node.clone(), hello::shown(&hello));
        let wake = Arc::new(Notify::new());
        let traffic = control.statistics().begin(&hello, Instant::now());
        let tapping = tap::Teller::of(&hello, Box::default()).map(|teller| Tapping {
            orders: control.taps().orders(),
            teller: Arc::new(teller),
            may_begin: false,
            taps: Arc::default(),
            heard: (Instant::now(), 0),
        });
        let mut hub = control.hub();
        let epoch = hub.generation().epoch.clone();
        let connection =
            hub.connect(hello, way, Arc::clone(&wake), Instant::now()).ok_or_else(|| {
                Status::resource_exhausted("too many data planes: start another control plane")
            })?;
        drop(hub);
        tracing::info!(node, data_plane = shown, "data plane connected");
        Ok(Self { control, node, shown, connection, holder, epoch, wake, traffic, tapping })
    }

    /// Receives and sends until either side ends, or a newer stream of the same node takes over.
    async fn run(
        mut self,
        mut incoming: Streaming<v1::DataPlaneMessage>,
        sender: mpsc::Sender<Result<EncodedControlMessage, Status>>,
    ) {
        let mut ready = None;
        let mut closing = self.control.closing();
        loop {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => break,
                ended = self.holder.ended() => {
                    let refused = Err(ended.status());
                    match ready.take() {
                        Some(permit) => drop(mpsc::OwnedPermit::send(permit, refused)),
                        None => drop(sender.try_send(refused)),
                    }
                    break;
                }
                message = incoming.next() => match message {
                    Some(Ok(message)) => {
                        if !self.receive(message) { break }
                    }
                    Some(Err(_)) | None => break,
                },
                permit = sender.clone().reserve_owned(), if ready.is_none() => match permit {
                    Ok(permit) => ready = Some(permit),
                    Err(_) => break,
                },
                () = self.wake.notified(), if ready.is_some() => {
                    let Some(told) = self.next_message() else { break };
                    if let Some(told) = told && let Some(permit) = ready.take() {
                        permit.send(Ok(told.message(&self.epoch)));
                        if let Some(tapping) = &mut self.tapping && !tapping.may_begin {
                            tapping.may_begin = true;
                            tapping.orders.mark_changed();
                        }
                    }
                }
                () = Tapping::due(self.tapping.as_mut()), if ready.is_some() => {
                    if let Some(taps) = self.taps() && let Some(permit) = ready.take() {
                        let told = EncodedControlMessage { taps: Some(taps), ..Default::default() };
                        permit.send(Ok(told));
                    }
                }
            }
        }
    }

    /// What the data plane must be told now, if anything; `None` when a newer stream speaks for it.
    fn next_message(&self) -> Option<Option<Told>> {
        let mut hub = self.control.hub();
        if !hub.is_current(&self.node, self.connection) {
            tracing::info!(
                node = self.node,
                data_plane = self.shown,
                "a newer stream speaks for this data plane"
            );
            return None;
        }
        let told = hub.next_message(&self.node, self.connection);
        drop(hub);
        self.control.nudge();
        Some(told)
    }

    /// What the data plane is to be told to tap now, if anything.
    fn taps(&mut self) -> Option<v1::Taps> {
        let tapping = self.tapping.as_mut()?;
        let orders = Arc::clone(&tapping.orders.borrow_and_update());
        let hub = self.control.hub();
        let data_plane = hub.data_plane(&self.node)?;
        let taps = orders.of(|group| data_plane.has_group(group));
        drop(hub);
        let before = std::mem::replace(&mut tapping.taps, tap::Lane::all_of(&taps));
        (!before.is_empty() || !tapping.taps.is_empty()).then_some(taps)
    }

    fn receive(&mut self, message: v1::DataPlaneMessage) -> bool {
        let Some(message) = message.message else { return true };
        if let data_plane_message::Message::Tapped(tapped) = message {
            let now = Instant::now();
            if let Some(tapping) = &mut self.tapping
                && tapping.hears(now)
            {
                let addresses = self.control.leases().addresses(&self.node);
                tapping.teller = tap::Teller::at(&tapping.teller, addresses);
                self.control.taps().take(&tapping.teller, &tapping.taps, tapped, now);
            }
            return true;
        }
        if let data_plane_message::Message::Traffic(mut traffic) = message {
            if let Some(stream) = &mut self.traffic {
                // Nobody tells what enters where it is no entrance.
                if !traffic.entered.is_empty() {
                    let hub = self.control.hub();
                    let groups = &hub.picture().groups;
                    traffic.entered.retain(|it| groups.is_entrance(&it.group, stream.teller()));
                }
                stream.take(traffic, Instant::now());
            }
            return true;
        }
        let is_ack = matches!(message, data_plane_message::Message::Ack(_));
        let current = {
            let mut hub = self.control.hub();
            hub.receive(&self.node, self.connection, message, Instant::now())
        };
        if is_ack {
            self.control.nudge();
        }
        current
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.control.hub().disconnect(&self.node, self.connection, Instant::now());
        tracing::info!(node = self.node, data_plane = self.shown, "data plane disconnected");
        self.control.nudge();
    }
}
