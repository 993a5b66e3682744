//! How long it takes from a write to the last confirmation, over real streams: counted always, timed for people.
//!
//! `LANEWAY_SCALE=full` makes it as large as Laneway promises: 1 000 services with 10 instances each, 1 000 lanes,
//! 1 000 data planes that all have the toggled lane's group.
#![allow(clippy::print_stderr, reason = "figures are for people")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use crate::harness::{DataPlane, Plane, group, service, sidecar};

struct Size {
    services: usize,
    instances: usize,
    lanes_per_group: usize,
    data_planes: usize,
    toggles: usize,
}

const GROUPS: usize = 8;

/// Data planes that share a connection: a process need not have a thousand open files.
const PER_CONNECTION: usize = 50;

impl Size {
    #[allow(clippy::disallowed_methods, reason = "the size is chosen by whoever runs the test")]
    fn asked() -> Self {
        let full = std::env::var("LANEWAY_SCALE").is_ok_and(|scale| scale == "full");
        let pick = |small, large| if full { large } else { small };
        Self {
            services: pick(20, 1_000),
            instances: pick(2, 10),
            lanes_per_group: pick(3, 125),
            data_planes: pick(20, 1_000),
            toggles: pick(2, 10),
        }
    }
}

fn large_lane(group: usize, index: usize, enabled: bool) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": format!("lane-{group}-{index}")},
        "spec": {"group": format!("group-{group}"), "tag": format!("tag-{index}"), "enabled": enabled,
            "entry": {"content": {"conditions": [
                {"header": "canary", "operator": "in", "values": [format!("{group}-{index}"), "x", "y"]},
            ]}}},
    })
}

fn objects(size: &Size) -> Vec<Value> {
    let mut objects = Vec::new();
    for index in 0..GROUPS {
        let applications: Vec<String> = (0..size.services)
            .filter(|service| service % GROUPS == index)
            .map(|service| format!("application-{service}"))
            .collect();
        let applications: Vec<&str> = applications.iter().map(String::as_str).collect();
        objects.push(group(&format!("group-{index}"), &applications));
        objects.extend((0..size.lanes_per_group).map(|lane| large_lane(index, lane, true)));
    }
    objects
}

/// Whether the toggled lane is enabled, and requests may enter it.
fn toggled(data_plane: &DataPlane) -> Option<(bool, bool)> {
    let lanes = &data_plane.group("group-0")?.lanes;
    lanes.iter().find(|lane| lane.tag == "tag-1").map(|lane| (lane.enabled, lane.admitting))
}

/// Confirms everything for ever, and says when the lane was enabled, admits, and that is confirmed.
async fn follow(mut data_plane: DataPlane, confirmed: mpsc::UnboundedSender<(bool, Instant)>) {
    let mut before = toggled(&data_plane);
    loop {
        let message = data_plane.receive_for_ever().await;
        data_plane.acknowledge(&message).await;
        data_plane.messages.clear();
        let now = toggled(&data_plane);
        if now != before
            && let Some((enabled, admitting)) = now
            && (admitting || !enabled)
            && confirmed.send((enabled, Instant::now())).is_err()
        {
            return;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toggle_reaches_every_data_plane_and_is_confirmed() {
    let size = Size::asked();
    let plane = Plane::start().await;
    let services: Vec<lanes::Service> = (0..size.services)
        .map(|index| {
            let ports = (0..size.instances).map(|it| (1 + index * size.instances + it).to_string());
            let ports: Vec<String> = ports.collect();
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            service(&format!("service-{index}"), &format!("application-{index}"), &ports)
        })
        .collect();
    plane.serve(&services);
    let begun = Instant::now();
    plane.apply(&objects(&size)).await.unwrap();
    let applied = begun.elapsed();
    plane.admitted().await;

    let (sender, mut confirmed) = mpsc::unbounded_channel();
    let mut following = JoinSet::new();
    let address = format!("http://{}", plane.discovery);
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    for index in 0..size.data_planes {
        if index % PER_CONNECTION == PER_CONNECTION - 1 {
            channel = endpoint.connect().await.unwrap();
        }
        let application = format!("application-{}", index % size.services);
        let hello = sidecar(&format!("node-{index}"), &application);
        let mut data_plane = DataPlane::connect_over(channel.clone(), hello).await.unwrap();
        // Everybody calls a service of the first group.
        data_plane.subscribe(&["service-0"], &[]).await;
        data_plane.until(|it| it.group("group-0").is_some()).await;
        following.spawn(follow(data_plane, sender.clone()));
    }
    plane.admitted().await;

    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..size.toggles {
        for enabled in [false, true] {
            let begun = Instant::now();
            plane.apply(&[large_lane(0, 1, enabled)]).await.unwrap();
            for _ in 0..size.data_planes {
                let (what, at) = confirmed.recv().await.unwrap();
                assert_eq!(what, enabled, "everybody has every toggle, in order");
                if enabled {
                    times.push(at - begun);
                }
            }
        }
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    eprintln!(
        "apply of {} lanes: {applied:?}; toggle to confirmation by each of {} data planes: half {:?}, p99 {:?}, last {:?}",
        GROUPS * size.lanes_per_group,
        size.data_planes,
        at(50),
        at(99),
        at(100)
    );
}
