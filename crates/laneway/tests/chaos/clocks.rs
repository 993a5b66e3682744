//! Wall clocks jump by an hour, of one kind of process or of all, ahead and back: nobody is forgotten, nothing expires,
//! no request is lost. What has to last so long is measured by the clock that only goes forward.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::{Sandbox, http, load::Load, wait};

use crate::fleet::{Fleet, SETTLED_WITHIN, Scale};

/// Everybody who has a clock.
const EVERYBODY: [&str; 3] = ["control", "gateway", "sidecar"];

const HOUR: i64 = 3600;

/// Longer than an instance is believed without a heartbeat, or a data plane may be silent.
const PASSES: Duration = Duration::from_secs(10);

fn jump(fleet: &Fleet, whose: &[&str], ahead_seconds: i64, load: &Load, answers: usize) {
    for command in whose {
        fleet.sandbox.set_clock(command, ahead_seconds).unwrap();
    }
    let seen = load.answered() + answers;
    wait::until_true(SETTLED_WITHIN, "load to pass", || load.answered() >= seen).unwrap();
    // Changes come through as before.
    for tag in ["gray", "blue", "blue", "gray"] {
        fleet.toggle(tag);
    }
}

/// When the control plane says that an object was made which is made now.
fn made_now(fleet: &Fleet, name: &str) -> Result<String> {
    fleet.sandbox.apply(&format!(
        "---\napiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {{name: {name}}}\nspec: {{applications: [app-{name}]}}\n"
    ))?;
    let json = fleet.sandbox.must(&["get", "LaneGroup", name, "-o", "json"])?;
    let object: serde_json::Value = serde_json::from_str(&json)?;
    let made = object["metadata"]["creationTimestamp"].as_str();
    made.map(str::to_owned).with_context(|| json.clone())
}

fn metric(admin: &str, name: &str) -> Result<String> {
    let body = http::get(admin, "/metrics", &[])?.body;
    let line =
        body.lines().find(|line| line.strip_prefix(name).is_some_and(|it| it.starts_with(' ')));
    Ok(line.with_context(|| body.clone())?.to_owned())
}

#[test]
fn clocks_that_jump_by_an_hour_change_nothing() {
    let scale = Scale::of_faults(Scale { time: Duration::ZERO, rate: 1_000 });
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let sandbox = sandbox.with_clocks(&EVERYBODY).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    let load = fleet.load(scale.rate);
    let some = scale.rate as usize / 2;
    for whose in [&["control"][..], &["gateway"], &["sidecar"], &EVERYBODY] {
        for ahead in [HOUR, -HOUR, 0] {
            jump(&fleet, whose, ahead, &load, some);
        }
    }
    // And they stay wrong for longer than anybody may be silent.
    jump(
        &fleet,
        &["control", "gateway"],
        HOUR,
        &load,
        PASSES.as_secs() as usize * scale.rate as usize,
    );
    let ahead = made_now(&fleet, "ahead").unwrap();
    jump(&fleet, &EVERYBODY, -HOUR, &load, some);
    let behind = made_now(&fleet, "behind").unwrap();
    assert!(behind < ahead, "the clocks did not jump: {behind} after {ahead}");

    let verdict = fleet.judge(&load.stop().unwrap());
    eprintln!("{verdict}");
    verdict.assert_right();
    assert_eq!(verdict.lost, 0, "{verdict}");
    for host in [1, 11, 23] {
        let admin = fleet.sandbox.endpoint(host, 15_020);
        assert_eq!(metric(&admin, "laneway_ejections_total").unwrap(), "laneway_ejections_total 0");
    }
    let said = fleet.control.lock().output();
    assert!(!said.contains("data plane disconnected"), "{said}");
}
