//! Follows a control plane: connect → follow → take → publish → acknowledge, and over again.
//!
//! A message is applied to the [`Picture`], a new [`Published`] goes out, and only then the message is
//! acknowledged: what the control plane believes to be live is live. The copy on disk is written off this path.

use std::{sync::Arc, time::Duration};

use api::discovery::{
    EncodedControlMessage,
    v1::{self, data_plane_message::Message},
};
use lanes::Query;
use routes::Published;
use telemetry::Role;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    DEMAND_MAX, Identity, Told,
    stream::Stream,
    tapping::{self, Tapping},
};
use crate::{
    connection::ConnectionError,
    picture::{Picture, Reader},
    shared_copy::SharedCopy,
    snapshot::{Keeper, Whose},
    state::{Origin, State},
    subscriptions::{self, SUBSCRIPTIONS_MAX, Subscriptions},
    traffic::Reporter,
};

/// Least and most time between attempts to connect. A control plane that restarts is found at once; a thousand
/// data planes without one cost it nothing when it returns.
const RECONNECT_LEAST: Duration = Duration::from_millis(50);
const RECONNECT_MOST: Duration = Duration::from_secs(2);

/// Messages applied to one picture when several have arrived: bounds the work between two publications.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// Least time between two reports of traffic, whatever the control plane says.
const TRAFFIC_EVERY_LEAST: Duration = Duration::from_millis(100);

/// What passes through this data plane, told for as long as a stream lives.
struct Traffic {
    reporter: Reporter,
    every: Duration,
    told_at: Instant,
}

impl Traffic {
    /// Waits until it is time to tell.
    async fn due(this: Option<&Self>) {
        match this {
            Some(traffic) => tokio::time::sleep_until(traffic.told_at + traffic.every).await,
            None => std::future::pending().await,
        }
    }

    /// Tells what happened. Where the stream has no room it is told with what happens next.
    fn tell(&mut self, stream: &Stream) {
        let now = Instant::now();
        if !stream.has_room() {
            self.told_at = now;
            return;
        }
        if let Some(traffic) = self.reporter.next(now - self.told_at) {
            stream.send_now(Message::Traffic(traffic));
        }
        self.told_at = now;
    }
}

/// The task of a discovery client, with all that it holds.
pub(super) struct Follower {
    identity: Identity,
    picture: Picture,
    /// It is what another data plane was told: the control plane hears nothing of it, and its first word replaces it.
    is_borrowed: bool,
    subscriptions: Subscriptions,
    snapshot: Keeper,
    /// Something was asked that has not been answered yet: the answer is written as soon as it comes.
    asked_anew: bool,
    /// When the picture on disk is published, if there is no better one by then.
    fall_back_at: Instant,
    published: watch::Sender<Arc<Published>>,
    state: watch::Sender<State>,
    demand: mpsc::Receiver<Query>,
    reports: watch::Receiver<v1::Report>,
    orders: Orders,
    tapping: Tapping,
}

/// What it is told, and what of it is done.
pub(super) struct Orders {
    pub(super) told: watch::Receiver<Told>,
    pub(super) done: watch::Sender<Told>,
}

/// Why a connection ended.
enum Ended {
    /// It was told something else.
    Told,
    /// It broke, or never came to be.
    Broken(ConnectionError),
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Self::Broken(error)
    }
}

/// One in which nothing is yet.
fn new_picture(identity: &Identity) -> Picture {
    Picture::new(match identity.hello.role() {
        v1::Role::Gateway => Reader::Gateway,
        _ => Reader::Sidecar { application: identity.hello.name.clone() },
    })
}

fn keeper(identity: &Identity) -> Keeper {
    let Identity { control, hello, snapshot, shared, .. } = identity;
    let shared = shared.clone().map(|directory| SharedCopy::new(directory, hello, control));
    Keeper::new(snapshot.clone(), hello, shared)
}

impl Follower {
    pub(super) fn new(
        identity: Identity,
        published: watch::Sender<Arc<Published>>,
        state: watch::Sender<State>,
        demand: mpsc::Receiver<Query>,
        reports: watch::Receiver<v1::Report>,
        orders: Orders,
        tapping: Tapping,
    ) -> Self {
        Self {
            picture: new_picture(&identity),
            is_borrowed: false,
            subscriptions: Subscriptions::default(),
            snapshot: keeper(&identity),
            asked_anew: false,
            fall_back_at: Instant::now() + identity.start_wait(),
            identity,
            published,
            state,
            demand,
            reports,
            orders,
            tapping,
        }
    }

    /// Takes the picture on disk, without publishing it yet: what the control plane says is better.
    pub(super) async fn load(&mut self) {
        let Some((stored, age, whose)) = self.snapshot.read().await else { return };
        self.subscriptions = Subscriptions::from_wire(&stored.subscribed);
        let refused = self.picture.apply(EncodedControlMessage {
            generation: Some(stored.generation),
            upserts: stored.resources,
            digest: stored.digest,
            ..Default::default()
        });
        for v1::Refused { key, reason } in refused {
            tracing::warn!(key, reason, "a resource on disk cannot be taken");
        }
        self.is_borrowed = whose == Whose::Others;
        self.state.send_modify(|state| state.found_on_disk(age, whose));
    }

    /// Until this process stops, one connection after the other.
    pub(super) async fn run(mut self) {
        let node = self.identity.hello.node.clone();
        loop {
            self.follow_until_told().await;
            // What it was learnt as is still its own to write.
            self.save().await;
            self.snapshot.finish().await;
            // A client that was dropped tells nothing any more.
            let is_over = self.demand.is_closed() || self.orders.told.has_changed().is_err();
            let told = match is_over {
                true => Told::Stop,
                false => self.orders.told.borrow_and_update().clone(),
            };
            match &told {
                Told::Follow => self.identity.hello.node.clone_from(&node),
                Told::FollowAs(another) => self.identity.hello.node.clone_from(another),
                Told::Stop => return,
            }
            self.snapshot.keep(told == Told::Follow);
            self.orders.done.send_replace(told);
        }
    }

    async fn follow_until_told(&mut self) {
        let mut pause = RECONNECT_LEAST;
        while let Ended::Broken(error) = self.connect_and_follow().await {
            if self.state.borrow().is_connected() {
                pause = RECONNECT_LEAST;
            }
            self.lost(&error);
            // Spread, so that a thousand data planes do not return in one instant.
            let spread = pause.mul_f64(rand::random_range(0.5..1.0));
            if self.wait(spread).await.is_err() {
                return;
            }
            pause = (pause * 2).min(RECONNECT_MOST);
        }
    }

    async fn connect_and_follow(&mut self) -> Ended {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(ended) => return ended,
        };
        let followed = self.follow(stream).await;
        self.tapping.end();
        followed.err().unwrap_or(Ended::Told)
    }

    async fn connect(&mut self) -> Result<Stream, Ended> {
        let mut hello = self.identity.hello.clone();
        if !self.is_borrowed {
            hello.held_of.clone_from(&self.picture.generation().epoch);
            hello.held = self.picture.held();
        }
        let subscribe = self.subscriptions.to_wire();
        let opening = Stream::open(self.identity.credentials.clone(), hello, subscribe);
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => return Ok(opened?),
                _ = self.orders.told.changed() => return Err(Ended::Told),
                () = tokio::time::sleep_until(self.fall_back_at), if self.state.borrow().is_waiting() => {
                    self.publish_from_disk();
                }
            }
        }
    }

    /// Serves one connection until it breaks, or this process stops.
    async fn follow(&mut self, mut stream: Stream) -> Result<(), Ended> {
        // Asked while there was no connection, or between reading the subscriptions and now.
        let mut asked = Vec::new();
        let mut traffic = None;
        // A new connection knows nothing of what was reported.
        if *self.reports.borrow() != v1::Report::default() {
            self.reports.mark_changed();
        }
        loop {
            let may_tell = stream.has_room();
            tokio::select! {
                message = stream.next() => {
                    let message = message?;
                    if message.traffic_every_ms > 0 {
                        traffic = Some(self.begin_traffic(message.traffic_every_ms));
                    }
                    self.take(message, &mut stream).await?;
                }
                next = self.tapping.next(may_tell) => match next {
                    tapping::Next::Tell(tapped) => drop(stream.send_now(Message::Tapped(tapped))),
                    tapping::Next::Over => self.tapping.end(),
                },
                () = Traffic::due(traffic.as_ref()) => {
                    if let Some(traffic) = &mut traffic {
                        traffic.tell(&stream);
                    }
                }
                count = self.demand.recv_many(&mut asked, DEMAND_MAX) => {
                    if count == 0 {
                        stream.take_leave().await;
                        return Ok(());
                    }
                    if let Some(subscribe) = self.subscribe(&mut asked) {
                        stream.send(Message::Subscribe(subscribe)).await?;
                    }
                }
                Ok(()) = self.reports.changed() => {
                    let report = self.reports.borrow_and_update().clone();
                    stream.send(Message::Report(report)).await?;
                }
                () = self.snapshot.due() => self.save().await,
                () = self.snapshot.refresh_due(), if self.state.borrow().is_connected() => {
                    self.snapshot.refresh();
                }
                () = tokio::time::sleep_until(self.fall_back_at), if self.state.borrow().is_waiting() => {
                    self.publish_from_disk();
                }
                _ = self.orders.told.changed() => {
                    stream.take_leave().await;
                    return Ok(());
                }
            }
        }
    }

    /// The control plane wants to know what passes here.
    fn begin_traffic(&self, every_ms: u32) -> Traffic {
        let role = match self.identity.hello.role() {
            v1::Role::Gateway => Role::Gateway,
            _ => Role::SidecarInbound,
        };
        Traffic {
            reporter: Reporter::new(Arc::clone(&self.identity.counters), role),
            every: Duration::from_millis(every_ms.into()).max(TRAFFIC_EVERY_LEAST),
            told_at: Instant::now(),
        }
    }

    /// Applies what has arrived, publishes, and then acknowledges.
    async fn take(
        &mut self,
        first: EncodedControlMessage,
        stream: &mut Stream,
    ) -> Result<(), ConnectionError> {
        let Some(first) = self.tapping.unless_told(first) else { return Ok(()) };
        let mut synced = self.state.borrow().is_connected();
        let mut next = Some(first);
        let mut messages = 0;
        if std::mem::take(&mut self.is_borrowed) {
            self.picture = new_picture(&self.identity);
        }
        while let Some(message) = next.take() {
            synced |= message.synced;
            let generation = message.generation.clone();
            let refused = self.picture.apply(message);
            for v1::Refused { key, reason } in &refused {
                tracing::warn!(key, reason, "a resource cannot be taken; its last good form stays");
            }
            stream.unsent_acks.push(v1::Ack { generation, refused });
            messages += 1;
            if messages < MESSAGES_AT_ONCE_MAX {
                next = stream.next_now().and_then(|it| self.tapping.unless_told(it));
            }
        }
        // Before it is synced a picture lacks what the control plane has not said yet.
        if synced {
            self.picture.set_nobody_answers(false);
            self.publish(Origin::Control);
            match std::mem::take(&mut self.asked_anew) {
                true => self.snapshot.changed_what_is_asked(),
                false => self.snapshot.changed(),
            }
            self.acknowledge(stream).await?;
        }
        Ok(())
    }

    fn publish(&self, origin: Origin) {
        self.published.send_replace(Arc::new(self.picture.published()));
        let generation = self.picture.generation().clone();
        self.state.send_modify(|state| state.published(origin, generation));
    }

    /// Publishes what is on disk when nothing better has come.
    fn publish_from_disk(&mut self) {
        if self.state.borrow().is_waiting() {
            let is_anothers = self.is_borrowed;
            tracing::warn!(
                control = self.identity.control,
                is_anothers,
                number = self.picture.generation().number,
                "the control plane has not answered; serving the last configuration from disk"
            );
            self.picture.set_nobody_answers(true);
            self.publish(Origin::Disk);
        }
    }

    async fn acknowledge(&self, stream: &mut Stream) -> Result<(), ConnectionError> {
        let acks = std::mem::take(&mut stream.unsent_acks);
        let refused = acks.iter().map(|ack| ack.refused.len() as u64).sum();
        let (resources, subscriptions) = (self.picture.resources(), self.subscriptions.len());
        self.state.send_modify(|state| state.confirmed(refused, resources, subscriptions));
        for ack in acks {
            stream.send(Message::Ack(ack)).await?;
        }
        Ok(())
    }

    /// Notes what is asked; `None` when it has all been asked before.
    fn subscribe(&mut self, asked: &mut Vec<Query>) -> Option<v1::Subscribe> {
        let new: Vec<_> =
            asked.drain(..).filter_map(|query| self.subscriptions.add(query)).collect();
        if new.is_empty() {
            return None;
        }
        self.snapshot.changed_what_is_asked();
        self.asked_anew = true;
        let forgotten = self.subscriptions.forget_surplus(|query| self.picture.is_absent(query));
        Some(subscriptions::subscribe(&new, &forgotten))
    }

    /// Goes on with what is known.
    fn lost(&mut self, error: &ConnectionError) {
        let reason = error.in_words();
        // Once per outage, not once per attempt.
        if !self.state.borrow().has_problem() {
            tracing::warn!(
                control = self.identity.control,
                reason,
                "the control plane is away; going on with what is known"
            );
        }
        let was_connected = self.state.borrow().is_connected();
        self.state.send_modify(|state| state.lost(reason));
        self.picture.set_nobody_answers(true);
        if was_connected {
            self.published.send_replace(Arc::new(self.picture.published()));
        }
        self.publish_from_disk();
    }

    /// Waits without a connection; what is asked meanwhile is asked for at the next one.
    async fn wait(&mut self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                query = self.demand.recv() => {
                    let query = query.ok_or(Ended::Told)?;
                    // Nothing makes room here: while disconnected nothing is evicted.
                    if self.subscriptions.len() < SUBSCRIPTIONS_MAX {
                        self.subscriptions.add(query);
                    }
                }
                () = self.snapshot.due() => self.save().await,
                _ = self.orders.told.changed() => return Err(Ended::Told),
            }
        }
    }

    /// Writes the picture to disk, if it has changed.
    async fn save(&mut self) {
        if self.is_borrowed {
            // It is not this data plane's to keep; what is asked is kept with what is said to it.
            return self.snapshot.is_not_due();
        }
        let subscribed = self.subscriptions.to_wire();
        let first = v1::ControlMessage {
            generation: Some(self.picture.generation().clone()),
            digest: self.picture.digest(),
            ..Default::default()
        };
        let is_current = self.state.borrow().is_connected();
        self.snapshot.write(is_current, &first, &subscribed, self.picture.encoded()).await;
    }
}
