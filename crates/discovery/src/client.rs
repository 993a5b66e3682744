//! A data plane's discovery client: one code path for gateways and sidecars.
//!
//! The task behind it is in `follower.rs`; this is how it is started, read and stopped.

mod follower;
mod stream;
mod tapping;

use std::{path::PathBuf, sync::Arc, time::Duration};

use api::discovery::v1;
use lanes::Query;
use routes::Published;
use telemetry::Metrics;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    credentials::Credentials,
    state::{Origin, State},
};
use follower::Follower;
use tapping::Tapping;

/// How long a start waits for the control plane before it goes on with the picture on disk. On one machine the
/// answer takes milliseconds; a caller of a restarted gateway waits no longer than a slow response takes.
const START_WAIT: Duration = Duration::from_secs(1);

/// How much longer it waits for that picture to be published.
const PUBLISH_WAIT: Duration = Duration::from_millis(250);

/// Questions that may wait to be asked; beyond it a look-up is answered as if nobody knew. A page of a busy
/// application touches tens of hosts, never thousands at once.
const DEMAND_MAX: usize = 1024;

/// How often instances that cannot be reached are looked up for the report: as often as heartbeats, for people.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// What a data plane says of itself, and where it connects.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `host:port` of the control plane's discovery listener.
    pub control: String,
    /// Without what is held, which changes, and what is shown.
    pub hello: v1::Hello,
    /// What is shown there, and how it is connected to.
    pub credentials: Credentials,
    /// The file that keeps the last good picture.
    pub snapshot: PathBuf,
    /// The directory in which data planes of one application on this machine keep it for one another; `None`: they do not.
    pub shared: Option<PathBuf>,
    /// Nobody is served until it has started, e.g. because redirect rules lead to it already: what is on disk is good enough
    /// to begin with.
    pub is_awaited: bool,
    /// Where its proxy counts: what a control plane that wants it is told of.
    pub counters: Arc<Metrics>,
}

impl Identity {
    /// How long it waits for the control plane before it goes on with what is on disk.
    fn start_wait(&self) -> Duration {
        if self.is_awaited { Duration::ZERO } else { START_WAIT }
    }
}

/// What a follower is told by its process.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// To follow, and to keep what it learns on disk.
    Follow,
    /// To follow as another data plane than it was, and to keep nothing: another process does, as the one it was.
    FollowAs(String),
    /// To end.
    Stop,
}

/// A running discovery client.
#[derive(Debug)]
pub struct Client {
    /// The latest picture.
    pub published: watch::Receiver<Arc<Published>>,
    /// Where is asked for what the picture does not say yet.
    pub demand: mpsc::Sender<Query>,
    /// For readiness, status and metrics.
    pub state: watch::Receiver<State>,
    /// What of its requests somebody watches; nothing, without taps.
    pub taps: watch::Receiver<v1::Taps>,
    /// Where is told what passed of it.
    pub tapped: mpsc::Sender<v1::Tapped>,
    /// What it shows its control plane, for whatever else is said there.
    pub credentials: Credentials,
    reports: watch::Sender<v1::Report>,
    told: watch::Sender<Told>,
    /// What of it has been done.
    done: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts to follow the control plane, and waits until there is a picture, but not for long: without any,
    /// [`State::readiness`] says why.
    pub async fn start(identity: Identity) -> Self {
        let (published_sender, published) = watch::channel(Arc::default());
        let (demand, asked) = mpsc::channel(DEMAND_MAX);
        let (state_sender, mut state) = watch::channel(State::new(identity.control.clone()));
        let (report, reports) = watch::channel(v1::Report::default());
        let (tell, told) = watch::channel(Told::Follow);
        let (do_so, done) = watch::channel(Told::Follow);
        let orders = follower::Orders { told, done: do_so };
        let (watch_these, taps) = watch::channel(v1::Taps::default());
        // One that waits for room on the stream; what comes meanwhile waits where it is made.
        let (tapped, told_of) = mpsc::channel(1);
        let tapping = Tapping::new(watch_these, told_of);
        let (start_wait, credentials) = (identity.start_wait(), identity.credentials.clone());
        let mut follower = Follower::new(
            identity,
            published_sender,
            state_sender,
            asked,
            reports,
            orders,
            tapping,
        );
        follower.load().await;
        let task = tokio::spawn(follower.run());
        let has_picture = state.wait_for(|state| state.origin() != Origin::Nothing);
        let _ = tokio::time::timeout(start_wait + PUBLISH_WAIT, has_picture).await;
        Self {
            published,
            demand,
            state,
            taps,
            tapped,
            credentials,
            reports: report,
            told: tell,
            done,
            task,
        }
    }

    /// From now on tells the control plane what this data plane cannot do, whenever that changes.
    pub fn report(&self, cannot: impl Fn() -> v1::Report + Send + 'static) {
        let reports = self.reports.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REPORT_EVERY) => {}
                    () = reports.closed() => return,
                }
                let now = cannot();
                reports.send_if_modified(|known| {
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
        });
    }

    /// Leaves its place to another process: writes what is not yet on disk, and goes on following as another node.
    pub async fn leave_place(&self, node: String) {
        self.tell(Told::FollowAs(node)).await;
    }

    /// Takes its place again, which nobody else took; as soon as it can.
    pub fn take_place_again(&self) {
        self.told.send_replace(Told::Follow);
    }

    async fn tell(&self, what: Told) {
        self.told.send_replace(what.clone());
        // Only a follower that has ended does nothing.
        let _ = self.done.clone().wait_for(|done| *done == what).await;
    }

    /// Ends the connection and writes what is not yet on disk.
    pub async fn stop(self) {
        let _ = self.told.send(Told::Stop);
        let _ = self.task.await;
    }
}
