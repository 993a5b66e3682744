//! How long it takes from a write to the last confirmation, over real streams, and what that costs the control plane:
//! counted always, judged in full (`cargo xtask scale`).
#![allow(clippy::print_stderr, reason = "figures are for people")]

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use api::discovery::v1::{self, resource::Body};
use prost::Message;
use testkit::large::{self, GROUPS, Large};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinSet,
};

use crate::harness::{DataPlane, Plane, service, sidecar};

/// Data planes that share a connection: a process need not have a thousand open files.
const PER_CONNECTION: usize = 50;

/// Processor time of the control plane for writing all lanes at once.
const APPLY_PROMISED: Duration = Duration::from_secs(1);

/// Of the control plane's threads: those of its runtime, and the one of its store.
const THREADS: [&str; 2] = ["control", "store"];

/// What one data plane confirmed.
struct Confirmed {
    is_enabled: bool,
    at: Instant,
    bytes: usize,
}

/// Processor time of the control plane's threads, in the kernel too, by thread. Other tests' stores are among them, and come
/// and go.
fn processor_times() -> HashMap<PathBuf, Duration> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let used = tasks.filter_map(|task| {
        let task = task.unwrap().path();
        // A thread may end while it is looked at.
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let used = fs::read_to_string(task.join("schedstat")).ok()?;
        let nanoseconds = used.split(' ').next()?.parse().ok()?;
        THREADS.contains(&name.trim()).then_some((task, Duration::from_nanos(nanoseconds)))
    });
    used.collect()
}

/// What those have used since `before` that are still there.
fn used_since(before: &HashMap<PathBuf, Duration>) -> Duration {
    let used = processor_times()
        .into_iter()
        .map(|(task, used)| used.saturating_sub(before.get(&task).copied().unwrap_or_default()));
    used.sum()
}

/// Whether the toggled lane is enabled, and requests may enter it, as far as a message says.
fn toggled(message: &v1::ControlMessage) -> Option<(bool, bool)> {
    let group = message.upserts.iter().find_map(|resource| match &resource.body {
        Some(Body::Group(group)) if group.name == "group-0" => Some(group),
        _ => None,
    })?;
    let lane = group.lanes.iter().find(|lane| lane.tag == "tag-1");
    lane.map(|lane| (lane.enabled, lane.admitting))
}

/// Confirms everything for ever, and says when the lane was disabled, or admits, and that is confirmed.
async fn follow(mut data_plane: DataPlane, confirmed: mpsc::UnboundedSender<Confirmed>) {
    let mut bytes = 0;
    loop {
        let message = data_plane.receive_for_ever().await;
        data_plane.acknowledge(&message).await;
        bytes += message.encoded_len();
        if let Some((is_enabled, is_admitting)) = toggled(&message)
            && (is_admitting || !is_enabled)
        {
            let at = Instant::now();
            if confirmed
                .send(Confirmed { is_enabled, at, bytes: std::mem::take(&mut bytes) })
                .is_err()
            {
                return;
            }
        }
    }
}

/// A runtime whose threads stay for as long as a run may take: what a thread has used is forgotten when it ends, and one
/// that waits for blocking work ends after ten idle seconds otherwise.
fn runtime(thread_name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(thread_name).thread_keep_alive(Duration::from_hours(1));
    builder.build().unwrap()
}

#[test]
fn a_toggle_reaches_every_data_plane_and_is_confirmed() {
    let size = Large::asked();
    let (control, data_planes) = (runtime(THREADS[0]), runtime("data-planes"));
    let plane = control.block_on(control.spawn(Plane::start())).unwrap();
    data_planes.block_on(toggle(&size, &plane));
    drop(plane);
    control.shutdown_background();
}

async fn toggle(size: &Large, plane: &Plane) {
    let services: Vec<lanes::Service> = (0..size.services)
        .map(|index| {
            let ports: Vec<String> = size.ports(index).map(|port| port.to_string()).collect();
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            service(&format!("service-{index}"), &size.application(index), &ports)
        })
        .collect();
    plane.serve(&services);
    let (begun, used) = (Instant::now(), processor_times());
    plane.apply(&size.objects()).await.unwrap();
    let lanes = GROUPS * size.lanes_per_group;
    eprintln!("apply of {lanes} lanes: answered after {:?}", begun.elapsed());
    let what = format!("control plane: processor time of an apply of {lanes} lanes");
    size.judge(&what, used_since(&used), APPLY_PROMISED);
    plane.admitted().await;

    let (mut confirmed, _following) = connect(size, plane).await;
    plane.admitted().await;
    let mut times: Vec<Duration> = Vec::new();
    let (mut bytes, mut costs) = (0, Vec::new());
    for _ in 0..size.toggles {
        for is_enabled in [false, true] {
            let (begun, used) = (Instant::now(), processor_times());
            plane.apply(&[large::lane(0, 1, is_enabled)]).await.unwrap();
            for _ in 0..size.data_planes {
                let what = confirmed.recv().await.unwrap();
                assert_eq!(what.is_enabled, is_enabled, "everybody has every toggle, in order");
                if is_enabled {
                    times.push(what.at - begun);
                    bytes += what.bytes;
                }
            }
            if is_enabled {
                costs.push(used_since(&used));
            }
        }
    }
    times.sort();
    costs.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    eprintln!(
        "toggle to confirmation by each of {} data planes: half {:?}, p99 {:?}, last {:?}, promised 1s for p99 on an idle machine",
        size.data_planes,
        at(50),
        at(99),
        at(100)
    );
    eprintln!(
        "control plane: processor time of a toggle, with validation, disk, transport and kernel: {:?} (median)",
        costs[costs.len() / 2]
    );
    eprintln!(
        "bytes of a toggle: {} for each data plane, {} for all",
        bytes / times.len(),
        bytes / size.toggles
    );
}

/// Data planes that confirm whatever they are told, and what they confirm of the toggled lane from now on.
async fn connect(size: &Large, plane: &Plane) -> (mpsc::UnboundedReceiver<Confirmed>, JoinSet<()>) {
    let (sender, confirmed) = mpsc::unbounded_channel();
    let mut following = JoinSet::new();
    let address = format!("http://{}", plane.discovery);
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    for index in 0..size.data_planes {
        if index % PER_CONNECTION == PER_CONNECTION - 1 {
            channel = endpoint.connect().await.unwrap();
        }
        let hello = sidecar(&format!("node-{index}"), &size.application(index));
        let mut data_plane = DataPlane::connect_over(channel.clone(), hello).await.unwrap();
        // Everybody calls a service of the first group.
        data_plane.subscribe(&["service-0"], &[]).await;
        data_plane.until(|it| it.group("group-0").is_some()).await;
        following.spawn(follow(data_plane, sender.clone()));
    }
    (confirmed, following)
}
