//! A source that syncs late, goes stale, ends, fails, panics and is let go.

use std::net::SocketAddr;

use lanes::{
    Endpoint, Service, ServiceId,
    service::{Health, Port},
};
use tokio::sync::mpsc;

use super::*;
use crate::{Change, Rule, Standing};

/// Hears what is told, each thing in a few words.
#[derive(Debug)]
pub(crate) struct Heard(mpsc::UnboundedSender<String>);

impl Heard {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<String>) {
        let (sender, heard) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), heard)
    }
}

impl Receiver for Heard {
    fn changed(&self, changes: Vec<Change>) {
        let words = changes.iter().map(|change| match &change.state {
            Some(service) => format!("{} {}", service.name(), service.endpoints().len()),
            None => format!("{} gone", change.service.name()),
        });
        let _ = self.0.send(words.collect::<Vec<_>>().join(", "));
    }

    fn ruled(&self, rules: &[Rule]) {
        let _ = self.0.send(format!("{rules:?}"));
    }

    fn stands(&self, standing: &Standing) {
        let words = match standing {
            Standing::Syncing { problem: None } => "syncing".to_owned(),
            Standing::Syncing { problem: Some(problem) } => format!("syncing: {problem}"),
            Standing::Synced => "synced".to_owned(),
            Standing::SyncedBut { problem } => format!("synced, but {problem}"),
            Standing::Stale { since, problem } => {
                let age = Instant::now().into_std().duration_since(*since).as_secs();
                format!("stale for {age} s: {problem}")
            }
        };
        let _ = self.0.send(words);
    }
}

/// What the test has the source do next.
enum Step {
    Tell(&'static str),
    Leave(&'static str),
    Synced,
    Stale(&'static str),
    End,
    Fail,
    Panic,
}

struct Fake(mpsc::UnboundedReceiver<Step>);

impl Source for Fake {
    async fn run(&mut self, sink: &mut Sink) -> Result<(), Ended> {
        loop {
            match self.0.recv().await {
                None => return std::future::pending().await,
                Some(Step::Tell(name)) => sink.changed(vec![present(name)]),
                Some(Step::Leave(name)) => sink.changed(vec![Change::gone(id(name))]),
                Some(Step::Synced) => sink.synced(),
                Some(Step::Stale(problem)) => sink.stale(problem.to_owned()),
                Some(Step::End) => return Ok(()),
                Some(Step::Fail) => return Err("the server refuses the password".into()),
                Some(Step::Panic) => panic!("a slip"),
            }
        }
    }
}

fn id(name: &str) -> ServiceId {
    ServiceId::new("fake", "default", "", name)
}

fn present(name: &str) -> Change {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let endpoint = Endpoint {
        address,
        application_address: None,
        further: None,
        tag: None,
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    };
    let service = Service::new(id(name), name, name, vec![endpoint]);
    Change { service: id(name), state: Some(Arc::new(service)), problems: Vec::new() }
}

/// A supervised fake, what it is to do, and what is heard of it.
struct World {
    steps: mpsc::UnboundedSender<Step>,
    heard: mpsc::UnboundedReceiver<String>,
    supervised: Supervised,
}

impl World {
    async fn new() -> Self {
        let (steps, received) = mpsc::unbounded_channel();
        let (receiver, heard) = Heard::new();
        let supervised = supervise("fake", Fake(received), receiver);
        let mut world = Self { steps, heard, supervised };
        world.hears("syncing").await;
        world
    }

    fn does(&self, steps: impl IntoIterator<Item = Step>) {
        steps.into_iter().for_each(|step| self.steps.send(step).ok().unwrap());
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let heard = self.heard.recv().await;
            assert_eq!(heard.as_deref(), Some(expected), "at {caller}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_syncing_until_it_has_told_everything_and_stale_with_its_age() {
    let mut world = World::new().await;
    world.does([Step::Tell("a"), Step::Stale("no route to the server"), Step::Synced]);
    world.hears("a 1").await;
    world.hears("syncing: no route to the server").await;
    world.hears("synced").await;
    world.does([Step::Stale("it closed the connection")]);
    world.hears("stale for 0 s: it closed the connection").await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    world.does([Step::Stale("it does not answer")]);
    world.hears("stale for 90 s: it does not answer").await;
    world.does([Step::Leave("a"), Step::Synced]);
    world.hears("a gone").await;
    world.hears("synced").await;
}

#[tokio::test(start_paused = true)]
async fn however_a_run_ends_it_is_told_and_begins_again_and_its_picture_stays() {
    let mut world = World::new().await;
    world.does([Step::Fail]);
    world.hears("syncing: the server refuses the password; it begins again after 1 s").await;
    world.does([Step::Tell("a"), Step::Tell("b"), Step::Synced, Step::Panic]);
    for expected in ["a 1", "b 1", "synced"] {
        world.hears(expected).await;
    }
    world.hears("stale for 0 s: it panicked: a slip; it begins again after 2 s").await;
    world.does([Step::End]);
    world.hears("stale for 2 s: it ended by itself; it begins again after 4 s").await;
    // Of what it knew before it tells `b` no more; until it is synced nobody can know that `b` is gone.
    world.does([Step::Tell("a"), Step::Tell("c"), Step::Synced]);
    for expected in ["a 1", "c 1", "b gone", "synced"] {
        world.hears(expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ran_for_long_is_begun_again_soon() {
    let mut world = World::new().await;
    for pause in [1, 2, 4, 8, 16, 32, 60] {
        world.does([Step::End]);
        world.hears(&format!("syncing: it ended by itself; it begins again after {pause} s")).await;
    }
    tokio::time::sleep(PAUSE_MOST + RUN_GOOD).await;
    world.does([Step::End]);
    world.hears("syncing: it ended by itself; it begins again after 1 s").await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_source_tells_nothing_more() {
    let mut world = World::new().await;
    world.does([Step::Synced]);
    world.hears("synced").await;
    world.supervised.stop().await;
    assert!(world.steps.send(Step::Tell("a")).is_err(), "the source is let go");
    assert_eq!(world.heard.recv().await, None, "and so is the receiver");
}
