//! Instances killed under load: nothing reaches a wrong instance, only what was in flight fails, and nothing that may
//! have had an effect is sent twice.

use std::{
    collections::HashMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use testkit::{Sandbox, load, wait};

use crate::fleet::{Fleet, Scale};

/// How often one is killed, and how long it is away.
const KILL_EVERY: Duration = Duration::from_millis(700);

/// Kinds of requests: their mark, and whether they may be sent again.
const KINDS: [(Option<&str>, bool); 4] =
    [(None, true), (Some("gray"), true), (None, false), (Some("gray"), false)];

#[test]
fn what_is_in_flight_fails_or_is_retried_in_its_lane_and_a_post_is_never_sent_twice() {
    let scale = Scale::of(Scale { time: Duration::from_secs(20), rate: 600 });
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    let load = load::Load::start(load::Profile {
        address: fleet.sandbox.gateway_address(),
        rate: scale.rate,
        connections: 32,
        kinds: KINDS.map(request).to_vec(),
    });
    let over = AtomicBool::new(false);
    let kills = thread::scope(|scope| {
        let killer = scope.spawn(|| kill_in_turn(&fleet, &over));
        wait::pause(scale.time);
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap()
    });
    let sent = load.stop().unwrap();

    let timeline = fleet.timeline();
    let mut lost = 0;
    for sent in &sent {
        let mark = KINDS[sent.kind].0;
        match timeline.judge(mark, sent.at, sent.until, &sent.outcome) {
            Ok(testkit::Judgement::LostToKill) => lost += 1,
            Ok(_) => {}
            Err(wrong) => panic!("request {} ({mark:?}): {wrong}", sent.number),
        }
    }
    let taken = taken_by(&fleet);
    let mut twice = 0;
    for sent in &sent {
        let (mark, repeatable) = KINDS[sent.kind];
        let Some(labels) = taken.get(&sent.number) else { continue };
        // Gray always has an instance of A, so A's hop of a gray request is in the lane, at every attempt.
        let expected = mark.map_or("A".to_owned(), |mark| format!("A{mark}"));
        assert!(
            labels.iter().all(|label| *label == expected),
            "request {} ({mark:?}) was taken by {labels:?}",
            sent.number
        );
        assert!(
            repeatable || labels.len() == 1,
            "POST {} was sent {} times",
            sent.number,
            labels.len()
        );
        twice += usize::from(labels.len() > 1);
    }
    eprintln!("{} requests, {kills} kills, {lost} lost, {twice} retried", sent.len());
    assert!(kills > 0 && sent.len() > 100, "{kills} kills under {} requests", sent.len());
}

fn request((mark, repeatable): (Option<&str>, bool)) -> String {
    let id = format!("x-test-id: {}", load::ID);
    let canary = mark.map(|mark| format!("canary: {mark}"));
    let headers: Vec<&str> =
        [Some(&id), canary.as_ref()].into_iter().flatten().map(|s| &**s).collect();
    if repeatable { load::get("/a", &headers) } else { load::post("/a", &headers, "an effect") }
}

fn kill_in_turn(fleet: &Fleet, over: &AtomicBool) -> usize {
    let mut beat = wait::Beat::every(KILL_EVERY);
    let mut kills = 0;
    for host in [12, 22, 14, 23, 16, 24].iter().cycle() {
        beat.wait();
        if over.load(Ordering::Relaxed) {
            break;
        }
        fleet.kill(*host);
        kills += 1;
        beat.wait();
        fleet.restart(*host);
    }
    kills
}

/// Which instances of A took each request, by the number it carries: from what they printed.
fn taken_by(fleet: &Fleet) -> HashMap<u64, Vec<String>> {
    let mut taken: HashMap<u64, Vec<String>> = HashMap::new();
    for entry in fs::read_dir(fleet.sandbox.directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((label, _host)) = name.split_once('-').filter(|_| name.starts_with('A')) else {
            continue;
        };
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(number) = line.strip_prefix("request ").and_then(|id| id.parse().ok()) {
                taken.entry(number).or_default().push(label.to_owned());
            }
        }
    }
    taken
}
