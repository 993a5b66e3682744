//! The registry as a source: what it tells in which order, time that is let pass, and a run that fails.

use std::{collections::BTreeMap, time::Duration};

use lanes::{EMBEDDED_SOURCE, service::Protocol};

use super::*;
use crate::{Supervised, supervise, supervise::tests::Heard};

fn instance(node: &str, address: &str) -> Instance {
    Instance {
        node: node.to_owned(),
        service: "a".to_owned(),
        namespace: String::new(),
        application: String::new(),
        address: address.parse().unwrap(),
        application_address: None,
        further_addresses: Vec::new(),
        further_application_addresses: Vec::new(),
        protocol: Protocol::Http,
        further_ports: Vec::new(),
        tag: String::new(),
        weight: 1,
        metadata: BTreeMap::new(),
        healthy: true,
    }
}

/// A running registry and what is heard of it.
struct World {
    registry: Embedded,
    heard: mpsc::UnboundedReceiver<String>,
    supervised: Supervised,
}

impl World {
    fn new(journal: Vec<Instance>) -> Self {
        let (registry, registrar) = Embedded::new(journal);
        let (receiver, heard) = Heard::new();
        Self { registry, heard, supervised: supervise(EMBEDDED_SOURCE, registrar, receiver) }
    }

    async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.heard.recv().await.as_deref(), Some(*expected));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_journal_comes_first_and_it_is_synced_when_everybody_could_register() {
    let began = tokio::time::Instant::now();
    let mut world = World::new(vec![instance("n", "127.0.0.1:1"), instance("w", "127.0.0.1:9")]);
    world.hears(&["syncing", "a 2"]).await;
    tokio::time::sleep(EXPIRY).await;
    world.registry.heartbeat("n", true).await.unwrap();
    world.registry.heartbeat("w", true).await.unwrap();
    world.hears(&["synced"]).await;
    assert!(began.elapsed() >= HEARTBEAT_PERIOD + EXPIRY, "{:?}", began.elapsed());
    world.registry.register(instance("m", "127.0.0.1:2")).await.unwrap().unwrap();
    world.hears(&["a 3"]).await;
    assert!(world.registry.heartbeat("m", true).await.unwrap());
    assert!(!world.registry.heartbeat("other", true).await.unwrap());
    assert!(world.registry.register(instance("", "127.0.0.1:3")).await.unwrap().is_err());
    assert!(world.registry.deregister("m").await.unwrap());
    // Draining: there, but nobody calls it.
    world.hears(&["a 3"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_falls_silent_leaves_by_itself() {
    let mut world = World::new(Vec::new());
    world.hears(&["syncing", "synced"]).await;
    world.registry.register(instance("w", "127.0.0.1:9")).await.unwrap().unwrap();
    let registry = world.registry.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(HEARTBEAT_PERIOD).await;
            let _ = registry.heartbeat("w", true).await;
        }
    });
    let registered = tokio::time::Instant::now();
    world.registry.register(instance("n", "127.0.0.1:1")).await.unwrap().unwrap();
    world.hears(&["a 1", "a 2", "a 1"]).await;
    let metrics = Metrics::new();
    world.registry.count_in(&metrics);
    let text = metrics.render();
    assert!(text.contains("laneway_registrations_total{result=\"expired\"} 1"), "{text}");
    let lived = registered.elapsed();
    assert!(
        lived >= EXPIRY && lived < EXPIRY + state::TICK + Duration::from_millis(1),
        "{lived:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_lane_that_falls_silent_is_kept_and_told() {
    let mut world = World::new(Vec::new());
    world.hears(&["syncing", "synced"]).await;
    world.registry.register(instance("n", "127.0.0.1:1")).await.unwrap().unwrap();
    world.hears(&["a 1"]).await;
    let why = "1 of 1 instances are not heard and kept for now: a base at 127.0.0.1:1";
    world.hears(&[&format!("stale for 0 s: {why}")]).await;
    world.registry.heartbeat("n", true).await.unwrap();
    world.hears(&["synced"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_registered_outlives_a_run_that_fails() {
    let mut world = World::new(Vec::new());
    world.hears(&["syncing", "synced"]).await;
    world.registry.register(instance("n", "127.0.0.1:1")).await.unwrap().unwrap();
    world.hears(&["a 1"]).await;
    world.registry.commands.send(Command::Panic).await.unwrap();
    let why = "stale for 0 s: it panicked: as the test wants it; it begins again after 1 s";
    world.hears(&[why, "a 1", "synced"]).await;
    assert!(world.registry.heartbeat("n", true).await.unwrap(), "it need not register again");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_registry_says_so_to_whoever_registers() {
    let world = World::new(Vec::new());
    world.supervised.stop().await;
    assert_eq!(world.registry.heartbeat("n", true).await, Err(Stopped));
}
