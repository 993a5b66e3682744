//! Writers note what was acknowledged; after each kill the restarted control plane must have all of it.
#![allow(clippy::print_stderr, reason = "a long run says what it did")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{Sandbox, http, wait};

/// Kills at full scale, which `cargo xtask test` runs; a plain `cargo test` kills a tenth.
const KILLS: usize = 200;
const SMALL_SHARE: usize = 10;

/// Concurrent writers: each writes pairs, and makes and deletes objects of its own.
const WRITERS: usize = 4;

/// How many objects of its own a writer keeps before it deletes the oldest.
const KEPT_MAX: u64 = 8;

/// Longest and shortest life of a control plane, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 5..160;

/// Until when a control plane that has answered must have acknowledged a write.
const FIRST_WRITE: Duration = Duration::from_secs(30);

/// What one writer knows for sure. Whatever it was about to do when the kill came may have happened or not.
#[derive(Debug, Clone, Default)]
struct Known {
    number: usize,
    /// The pair has at least this revision …
    pair_acknowledged: u64,
    /// … and at most this one.
    pair_attempted: u64,
    /// Objects `from..until` of its own exist; the ones at both ends may be in doubt.
    from_acknowledged: u64,
    from_attempted: u64,
    until_acknowledged: u64,
    until_attempted: u64,
}

fn backend(name: &str, revision: u64) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Backend", "metadata": {"name": name},
        "spec": {"source": "embedded", "service": format!("revision-{revision}")},
    })
}

/// Writes until the control plane is gone; counts what was acknowledged.
fn write_until_killed(api: &str, known: &mut Known, acknowledged: &AtomicU64) {
    let count = || acknowledged.fetch_add(1, Ordering::Relaxed);
    let content = ["content-type: application/json"];
    let apply = |objects: Vec<Value>| {
        let body = json!({"objects": objects}).to_string();
        done(http::exchange(api, "POST", "/api/v1alpha1/apply", &content, &body))
    };
    let number = known.number;
    loop {
        // A transaction of two objects: after a kill both have the same revision, or neither is there.
        known.pair_attempted += 1;
        let revision = known.pair_attempted;
        let pair =
            ["left", "right"].map(|side| backend(&format!("pair-{number}-{side}"), revision));
        if !apply(pair.to_vec()) {
            return;
        }
        known.pair_acknowledged = revision;
        count();

        known.until_attempted = known.until_acknowledged + 1;
        if !apply(vec![backend(&format!("own-{number}-{}", known.until_acknowledged), 0)]) {
            return;
        }
        known.until_acknowledged += 1;
        count();

        if known.until_acknowledged - known.from_acknowledged > KEPT_MAX {
            let oldest = known.from_acknowledged;
            known.from_attempted = oldest + 1;
            let path = format!("/api/v1alpha1/namespaces/default/backends/own-{number}-{oldest}");
            if !done(http::exchange(api, "DELETE", &path, &[], "")) {
                return;
            }
            known.from_acknowledged += 1;
            count();
        }
    }
}

/// Whether a write was acknowledged. Any answer but success is a mistake of the test or of the product.
fn done(outcome: anyhow::Result<http::Answer>) -> bool {
    match outcome {
        Ok(answer) => {
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.body);
            true
        }
        Err(_killed) => false,
    }
}

/// Compares what the control plane has with what a writer knows, and takes over what was in doubt.
fn verify(items: &[Value], known: &mut Known) {
    let revision_of = |name: &str| {
        let item = items.iter().find(|item| item["metadata"]["name"] == name)?;
        item["spec"]["service"].as_str()?.strip_prefix("revision-")?.parse::<u64>().ok()
    };
    let number = known.number;
    let left = revision_of(&format!("pair-{number}-left"));
    assert_eq!(left, revision_of(&format!("pair-{number}-right")), "half a transaction: {known:?}");
    let revision = left.unwrap_or(0);
    let expected = known.pair_acknowledged..=known.pair_attempted;
    assert!(
        expected.contains(&revision),
        "revision {revision}: an acknowledged one was lost: {known:?}"
    );
    known.pair_acknowledged = revision;
    known.pair_attempted = revision;

    let exists = |own: u64| revision_of(&format!("own-{number}-{own}")).is_some();
    for own in known.from_attempted..known.until_acknowledged {
        assert!(exists(own), "own-{number}-{own} was acknowledged and is gone: {known:?}");
    }
    for own in 0..known.from_acknowledged {
        assert!(!exists(own), "own-{number}-{own} was deleted and is back: {known:?}");
    }
    known.from_acknowledged += u64::from(
        known.from_attempted > known.from_acknowledged && !exists(known.from_acknowledged),
    );
    known.from_attempted = known.from_acknowledged;
    known.until_acknowledged += u64::from(
        known.until_attempted > known.until_acknowledged && exists(known.until_acknowledged),
    );
    known.until_attempted = known.until_acknowledged;
}

#[test]
fn no_acknowledged_write_is_lost_by_200_kills() {
    let share = if full_scale() { 1 } else { SMALL_SHARE };
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let api = sandbox.api_address();
    let mut writers: Vec<_> =
        (0..WRITERS).map(|number| Known { number, ..Known::default() }).collect();
    let acknowledged = AtomicU64::new(0);
    // Not random to the bit, but never in step with what is written.
    let mut lives =
        (1_u64..).map(|kill| LIFE_MS.start + kill * 7_919 % (LIFE_MS.end - LIFE_MS.start));
    for kill in 0..KILLS / share {
        let mut control = sandbox.control(&[]).unwrap();
        let list = http::get(&api, "/api/v1alpha1/namespaces/default/backends", &[]).unwrap();
        assert_eq!(list.status, 200, "{}", list.body);
        let list: Value = serde_json::from_str(&list.body).unwrap();
        let items = list["items"].as_array().unwrap();
        writers.iter_mut().for_each(|known| verify(items, known));
        let life = Duration::from_millis(lives.next().unwrap());
        let before = acknowledged.load(Ordering::Relaxed);
        thread::scope(|scope| {
            for known in &mut writers {
                let (api, acknowledged) = (&api, &acknowledged);
                scope.spawn(move || write_until_killed(api, known, acknowledged));
            }
            // Every second life counts from its first acknowledged write, so that there is one however slow the machine.
            let acknowledges = || kill % 2 == 1 || acknowledged.load(Ordering::Relaxed) > before;
            let begun = wait::until_true(FIRST_WRITE, "a write is acknowledged", acknowledges);
            wait::pause(life);
            // The writers end with it, whatever else.
            control.kill();
            begun.unwrap();
        });
    }
    let acknowledged = acknowledged.into_inner();
    eprintln!("{} kills, {acknowledged} acknowledged writes", KILLS / share);
    assert!(acknowledged >= (KILLS / share / 2) as u64, "only {acknowledged} were acknowledged");
}

#[allow(clippy::disallowed_methods, reason = "the scale follows the binary that is tested")]
fn full_scale() -> bool {
    std::env::var_os("LANEWAY_BINARY").is_some()
}
