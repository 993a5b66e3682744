//! What one change costs in a large installation: 10 000 endpoints of 1 000 services, 1 000 lanes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::resource::Object;
use control::objects::ObjectChange;
use serde_json::{Value, json};

use crate::harness::{Plane, backend, gateway, group, route, service};

const SERVICES: usize = 1_000;
const GROUPS: usize = 8;
const LANES_PER_GROUP: usize = 125;

/// Changes measured of each sort; the median counts, so that a busy machine is no failure.
const ROUNDS: usize = 21;

/// Without optimisation, on a machine that does something else meanwhile, a change may cost this much. Building
/// the whole picture anew costs more than ten times as much.
const CHANGE_MAX: Duration = Duration::from_millis(50);

fn large_lane(group: usize, index: usize, enabled: bool) -> Value {
    let conditions: Vec<Value> = (0..10)
        .map(|condition| {
            json!({"header": format!("h{condition}"), "operator": "in",
            "values": [format!("{group}-{index}"), "x", "y"]})
        })
        .collect();
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": format!("lane-{group}-{index}")},
        "spec": {"group": format!("group-{group}"), "tag": format!("tag-{index}"), "enabled": enabled,
            "entry": {"content": {"conditions": conditions}}},
    })
}

fn large_service(index: usize, first_port: usize) -> lanes::Service {
    let ports: Vec<String> = (0..10).map(|it| (first_port + it).to_string()).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    service(&format!("service-{index}"), &format!("application-{}", index % 100), &ports)
}

fn median(mut change: impl FnMut(usize) -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(&mut change).collect();
    times.sort();
    times[ROUNDS / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_costs_what_it_concerns() {
    let plane = Plane::start().await;
    let services: Vec<_> =
        (0..SERVICES).map(|index| large_service(index, 1_000 + index * 10)).collect();
    plane.serve(&services);
    let mut objects = Vec::new();
    for index in 0..SERVICES {
        objects.push(backend(&format!("b{index}"), &format!("service-{index}")));
        objects.push(route(&format!("r{index}"), &format!("/{index}"), &format!("b{index}")));
    }
    for index in 0..GROUPS {
        let applications: Vec<String> =
            (0..12).map(|it| format!("application-{}", index * 12 + it)).collect();
        let applications: Vec<&str> = applications.iter().map(String::as_str).collect();
        objects.push(group(&format!("group-{index}"), &applications));
        objects.extend((0..LANES_PER_GROUP).map(|lane| large_lane(index, lane, true)));
    }
    plane.apply(&objects).await.unwrap();
    let mut edge = plane.connect(gateway("g1")).await;
    edge.until(|it| it.held.len() == 1 + 2 * SERVICES + GROUPS).await;

    let endpoint = median(|round| {
        let changed = large_service(500, 40_000 + round * 10);
        let started = Instant::now();
        plane.serve(&[changed]);
        started.elapsed()
    });
    assert!(endpoint < CHANGE_MAX, "an endpoint change took {endpoint:?}");

    // The same object, as its last commit left it, changed there and back.
    let key = api::resource::Key::new(api::resource::Kind::Lane, "default", "lane-3-7");
    let stored = plane.control.ledger().view().get(&key).unwrap().clone();
    let mut disabled = (*stored).clone();
    disabled.object = Object::from_value(large_lane(3, 7, false)).unwrap();
    let mut states = [stored, Arc::new(disabled)];
    let lane = median(|_| {
        states.swap(0, 1);
        let [new, old] = states.clone();
        let revision = old.revision;
        let change = ObjectChange { key: key.clone(), revision, old: Some(old), new: Some(new) };
        let started = Instant::now();
        plane.control.hub().apply_objects(&[change], started);
        started.elapsed()
    });
    assert!(lane < CHANGE_MAX, "a lane change took {lane:?}");
}
