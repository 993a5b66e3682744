//! The task around the registry: its events, their order, and time that is let pass.

use std::{collections::BTreeMap, time::Duration};

use super::*;

fn instance(node: &str, address: &str) -> Instance {
    Instance {
        node: node.to_owned(),
        service: "a".to_owned(),
        namespace: String::new(),
        application: String::new(),
        address: address.parse().unwrap(),
        application_address: None,
        tag: String::new(),
        weight: 1,
        metadata: BTreeMap::new(),
        healthy: true,
    }
}

/// The next event in a word.
async fn next(events: &mut mpsc::Receiver<Event>) -> String {
    match events.recv().await.unwrap() {
        Event::Synced => "synced".to_owned(),
        Event::Departed(nodes) => format!("departed {}", nodes.join(" ")),
        Event::Changed(changes) => {
            let counts =
                changes.iter().map(|it| it.state.as_ref().unwrap().endpoints().len().to_string());
            counts.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_journal_comes_first_and_then_it_is_synced() {
    let (registry, mut events) = Embedded::start(vec![instance("n", "127.0.0.1:1")]);
    assert_eq!(next(&mut events).await, "1");
    assert_eq!(next(&mut events).await, "synced");
    registry.register(instance("m", "127.0.0.1:2")).await.unwrap().unwrap();
    assert_eq!(next(&mut events).await, "2");
    assert!(registry.heartbeat("m", true).await.unwrap());
    assert!(!registry.heartbeat("other", true).await.unwrap());
    assert!(registry.register(instance("", "127.0.0.1:3")).await.unwrap().is_err());
    assert_eq!(registry.instances().await.unwrap().len(), 2);
    assert!(registry.deregister("m").await.unwrap());
    assert_eq!(next(&mut events).await, "departed m");
    assert_eq!(next(&mut events).await, "2");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_falls_silent_leaves_by_itself() {
    let (registry, mut events) = Embedded::start(Vec::new());
    assert_eq!(next(&mut events).await, "synced");
    let registered = tokio::time::Instant::now();
    registry.register(instance("n", "127.0.0.1:1")).await.unwrap().unwrap();
    assert_eq!(next(&mut events).await, "1");
    assert_eq!(next(&mut events).await, "departed n");
    assert_eq!(next(&mut events).await, "0");
    let metrics = Metrics::new();
    registry.count_in(&metrics);
    let text = metrics.render();
    assert!(text.contains("laneway_registrations_total{result=\"expired\"} 1"), "{text}");
    let lived = registered.elapsed();
    assert!(
        lived >= EXPIRY && lived < EXPIRY + state::TICK + Duration::from_millis(1),
        "{lived:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_holds_it() {
    let (registry, mut events) = Embedded::start(Vec::new());
    assert_eq!(next(&mut events).await, "synced");
    drop(registry);
    assert!(events.recv().await.is_none());
}
