//! From discovery messages to what a proxy runs on: one code path for `serve`, `gateway` and `sidecar`.
//!
//! A message is applied to the [`Picture`], a new [`proxy::Published`] goes to the proxy, and only then the
//! message is acknowledged. The last good picture is kept on disk, off the request path. While the control plane
//! is away nothing is evicted: the proxy goes on with what it has, and a data plane that restarts meanwhile
//! begins with what is on disk.

mod connection;
mod disk;
mod picture;
mod state;
mod subscriptions;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::discovery::v1::{self, data_plane_message::Message};
use futures_util::FutureExt;
use proxy::{Feed, Published, Query};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::data_directory::write_atomically;
use connection::Connection;
pub(crate) use connection::{endpoint, status_words};
use picture::Picture;
pub(crate) use state::{Origin, State};
use subscriptions::Subscriptions;

/// How long a start waits for the control plane before it goes on with the picture on disk. On one machine the
/// answer takes milliseconds; a caller of a restarted gateway waits no longer than a slow response takes.
pub(crate) const START_WAIT: Duration = Duration::from_secs(1);

/// How much longer it waits for that picture to be published.
const PUBLISH_WAIT: Duration = Duration::from_millis(250);

/// Least and most time between attempts to connect. A control plane that restarts is found at once; a thousand
/// data planes without one cost it nothing when it returns.
const RECONNECT_LEAST: Duration = Duration::from_millis(50);
const RECONNECT_MOST: Duration = Duration::from_secs(2);

/// How long changes gather before the picture is written to disk: lanes toggled ten times a second then cost
/// two writes.
const SAVE_AFTER: Duration = Duration::from_millis(500);

/// Messages applied to one picture when several have arrived: bounds the work between two publications.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// What a data plane says of itself, and where it connects.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// `host:port` of the control plane's discovery listener.
    pub(crate) control: String,
    /// Without what is held, which changes.
    pub(crate) hello: v1::Hello,
    /// The file that keeps the last good picture.
    pub(crate) snapshot: PathBuf,
}

/// A running discovery client.
#[derive(Debug)]
pub(crate) struct Publishing {
    /// For the proxy.
    pub(crate) feed: Feed,
    /// For readiness and metrics.
    pub(crate) state: watch::Receiver<State>,
    /// Instances that cannot be connected to at the moment, for the control plane's status.
    pub(crate) unreachable: watch::Sender<Vec<String>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Starts to follow the control plane, and waits until there is a picture, but at most [`START_WAIT`].
    pub(crate) async fn start(identity: Identity) -> Self {
        let (published_sender, published) = watch::channel(Arc::default());
        let (demand_sender, demand) = mpsc::channel(proxy::published::DEMAND_MAX);
        let (state_sender, mut state) = watch::channel(State::new(identity.control.clone()));
        let (unreachable, reports) = watch::channel(Vec::new());
        let (stop, stopped) = watch::channel(false);
        let is_gateway = identity.hello.role() == v1::Role::Gateway;
        let mut publisher = Publisher {
            picture: Picture::new(is_gateway),
            subscriptions: Subscriptions::default(),
            published: published_sender,
            state: state_sender,
            demand,
            reports,
            stopped,
            save_at: None,
            saving: None,
            identity,
        };
        publisher.load().await;
        let task = tokio::spawn(publisher.run());
        let has_picture = state.wait_for(|state| state.origin != Origin::Nothing);
        // Without any picture the proxy answers 503 and readiness says why.
        let _ = tokio::time::timeout(START_WAIT + PUBLISH_WAIT, has_picture).await;
        let feed = Feed { published, demand: demand_sender };
        Self { feed, state, unreachable, stop, task }
    }

    /// Ends the connection and writes what is not yet on disk.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

struct Publisher {
    identity: Identity,
    picture: Picture,
    subscriptions: Subscriptions,
    published: watch::Sender<Arc<Published>>,
    state: watch::Sender<State>,
    demand: mpsc::Receiver<Query>,
    reports: watch::Receiver<Vec<String>>,
    stopped: watch::Receiver<bool>,
    save_at: Option<Instant>,
    saving: Option<JoinHandle<()>>,
}

/// Why a connection ended.
enum Ended {
    /// This process stops.
    Stopped,
    /// It broke, or never came to be.
    Broken(String),
}

impl Publisher {
    /// Takes the picture on disk, without publishing it yet: what the control plane says is better.
    async fn load(&mut self) {
        let path = self.identity.snapshot.clone();
        let read = tokio::task::spawn_blocking(move || {
            let content = std::fs::read(&path)?;
            let written = std::fs::metadata(&path).and_then(|metadata| metadata.modified())?;
            std::io::Result::Ok((content, written))
        });
        let shown = self.identity.snapshot.display();
        let (content, written) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return,
            Ok(Err(error)) => {
                tracing::warn!(file = %shown, %error, "the last configuration cannot be read; starting without it");
                return;
            }
            Err(_) => return,
        };
        let stored = match disk::decode(&content) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(file = %shown, error = format!("{error:#}"), "the last configuration is spoilt; starting without it");
                return;
            }
        };
        self.subscriptions = Subscriptions::from_wire(&stored.subscribed);
        let refused = self.picture.apply(v1::ControlMessage {
            generation: Some(stored.generation),
            upserts: stored.resources,
            ..Default::default()
        });
        for v1::Refused { key, reason } in refused {
            tracing::warn!(key, reason, "a resource on disk cannot be taken");
        }
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        self.state.send_modify(|state| state.found_on_disk(age));
    }

    async fn run(mut self) {
        let fall_back_at = Instant::now() + START_WAIT;
        let mut pause = RECONNECT_LEAST;
        loop {
            let ended = match self.connect(fall_back_at).await {
                Ok(connection) => {
                    let ended = self.follow(connection, fall_back_at).await;
                    if self.state.borrow().connected {
                        pause = RECONNECT_LEAST;
                    }
                    ended
                }
                Err(ended) => ended,
            };
            let Ended::Broken(reason) = ended else { break };
            // Once per outage, not once per attempt.
            if self.state.borrow().problem.is_none() {
                tracing::warn!(
                    control = self.identity.control,
                    reason,
                    "the control plane is away; going on with what is known"
                );
            }
            self.state.send_modify(|state| state.lost(reason));
            self.publish_from_disk();
            // Spread, so that a thousand data planes do not return in one instant.
            let spread = pause.mul_f64(rand::random_range(0.5..1.0));
            if self.wait(spread).await.is_err() {
                break;
            }
            pause = (pause * 2).min(RECONNECT_MOST);
        }
        self.save().await;
        self.saved().await;
    }

    async fn connect(&mut self, fall_back_at: Instant) -> Result<Connection, Ended> {
        let opening = connection::open(
            self.identity.clone(),
            self.picture.held(),
            self.subscriptions.to_wire(),
        );
        tokio::pin!(opening);
        loop {
            let fall_back = tokio::time::sleep_until(fall_back_at);
            tokio::select! {
                opened = &mut opening => return opened.map_err(Ended::Broken),
                _ = self.stopped.changed() => return Err(Ended::Stopped),
                () = fall_back, if self.state.borrow().is_waiting() => self.publish_from_disk(),
            }
        }
    }

    /// Serves one connection until it ends.
    async fn follow(&mut self, mut connection: Connection, fall_back_at: Instant) -> Ended {
        // Asked while there was no connection, or between reading the subscriptions and now.
        let mut asked = Vec::new();
        loop {
            let save = tokio::time::sleep_until(self.save_at.unwrap_or_else(Instant::now));
            let fall_back = tokio::time::sleep_until(fall_back_at);
            tokio::select! {
                message = connection.incoming.message() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ended::Broken("it closed the stream".to_owned()),
                        Err(status) => return Ended::Broken(status_words(&status)),
                    };
                    if let Err(ended) = self.take(message, &mut connection).await {
                        return ended;
                    }
                }
                count = self.demand.recv_many(&mut asked, proxy::published::DEMAND_MAX) => {
                    if count == 0 {
                        return Ended::Stopped;
                    }
                    if let Some(subscribe) = self.subscribe(&mut asked)
                        && connection.send(Message::Subscribe(subscribe)).await.is_err()
                    {
                        return Ended::Broken("it closed the stream".to_owned());
                    }
                }
                Ok(()) = self.reports.changed() => {
                    let unreachable = self.reports.borrow_and_update().clone();
                    if connection.send(Message::Report(v1::Report { unreachable })).await.is_err() {
                        return Ended::Broken("it closed the stream".to_owned());
                    }
                }
                () = save, if self.save_at.is_some() => self.save().await,
                () = fall_back, if self.state.borrow().is_waiting() => self.publish_from_disk(),
                _ = self.stopped.changed() => return Ended::Stopped,
            }
        }
    }

    /// Applies what has arrived, publishes, and then acknowledges.
    async fn take(
        &mut self,
        first: v1::ControlMessage,
        connection: &mut Connection,
    ) -> Result<(), Ended> {
        let mut synced = self.state.borrow().connected;
        let mut next = Some(first);
        let mut messages = 0;
        while let Some(message) = next.take() {
            synced |= message.synced;
            let generation = message.generation.clone();
            let refused = self.picture.apply(message);
            for v1::Refused { key, reason } in &refused {
                tracing::warn!(key, reason, "a resource cannot be taken; its last good form stays");
            }
            connection.unsent_acks.push(v1::Ack { generation, refused });
            messages += 1;
            if messages < MESSAGES_AT_ONCE_MAX {
                // What ends the stream here is seen again by the next read.
                next = connection.incoming.message().now_or_never().and_then(Result::ok).flatten();
            }
        }
        // Before it is synced a picture lacks what the control plane has not said yet.
        if !synced {
            return Ok(());
        }
        self.publish(Origin::Control);
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
        let acks = std::mem::take(&mut connection.unsent_acks);
        let refused = acks.iter().map(|ack| ack.refused.len() as u64).sum();
        let (resources, subscriptions) = (self.picture.resources(), self.subscriptions.len());
        self.state.send_modify(|state| state.confirmed(refused, resources, subscriptions));
        for ack in acks {
            if connection.send(Message::Ack(ack)).await.is_err() {
                return Err(Ended::Broken("it closed the stream".to_owned()));
            }
        }
        Ok(())
    }

    fn publish(&self, origin: Origin) {
        let published = self.picture.published();
        let generation = published.generation.clone();
        self.published.send_replace(Arc::new(published));
        self.state.send_modify(|state| state.published(origin, generation));
    }

    /// Publishes what is on disk when nothing better has come.
    fn publish_from_disk(&self) {
        if self.state.borrow().is_waiting() {
            tracing::warn!(
                control = self.identity.control,
                number = self.picture.generation().number,
                "the control plane has not answered; serving the last configuration from disk"
            );
            self.publish(Origin::Disk);
        }
    }

    /// Notes what is asked; `None` when it has all been asked before.
    fn subscribe(&mut self, asked: &mut Vec<Query>) -> Option<v1::Subscribe> {
        let new: Vec<_> =
            asked.drain(..).filter(|query| self.subscriptions.add(query.clone())).collect();
        if new.is_empty() {
            return None;
        }
        let forgotten = self.subscriptions.forget_surplus(|query| self.picture.is_absent(query));
        Some(subscriptions::subscribe(&new, &forgotten))
    }

    /// Waits without a connection; what is asked meanwhile is asked for at the next one.
    async fn wait(&mut self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        loop {
            let save = tokio::time::sleep_until(self.save_at.unwrap_or(until));
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                // Nothing is forgotten here: while disconnected nothing is evicted.
                query = self.demand.recv() => match query {
                    Some(query) => {
                        if self.subscriptions.len() < subscriptions::SUBSCRIPTIONS_MAX {
                            self.subscriptions.add(query);
                        }
                    }
                    None => return Err(Ended::Stopped),
                },
                () = save, if self.save_at.is_some() => self.save().await,
                _ = self.stopped.changed() => return Err(Ended::Stopped),
            }
        }
    }

    /// Starts to write the picture, after an earlier write has ended.
    async fn save(&mut self) {
        if self.save_at.take().is_none() {
            return;
        }
        self.saved().await;
        let content = disk::encode(
            self.picture.generation(),
            &self.subscriptions.to_wire(),
            self.picture.encoded(),
        );
        let path = self.identity.snapshot.clone();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = write_atomically(&path, &content) {
                tracing::warn!(file = %path.display(), %error, "the configuration could not be written to disk");
            }
        }));
    }

    async fn saved(&mut self) {
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
    }
}
