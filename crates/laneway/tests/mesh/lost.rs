//! An application in the middle of the chain that forwards nothing: the lane is lost there, and it is told where.

use std::time::Duration;

use serde_json::Value;
use testkit::{Instance, RunningInstance, Sandbox, http, sample, wait};

/// Requests in the lane: more than the fewest that are told.
const REQUESTS: usize = 30;

const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn an_application_that_forwards_no_context_is_told_and_one_that_does_is_not() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let _serve = sandbox.serve(&[]).unwrap();
    sandbox.apply(&sample::chain(&["gray"])).unwrap();
    let start = |(name, tag, host)| {
        let mut instance = Instance::of_chain(name, tag, host);
        if name == "B" {
            instance.forwards = "accept";
        }
        sandbox.begin(&instance).unwrap()
    };
    let parts = [
        ("A", None, 11),
        ("B", None, 12),
        ("C", None, 13),
        ("A", Some("gray"), 21),
        ("C", Some("gray"), 23),
    ];
    let mut instances: Vec<RunningInstance> = parts.into_iter().map(start).collect();
    for instance in &mut instances {
        instance.ready().unwrap();
    }
    let answer = || http::get(&sandbox.gateway_address(), "/a", &["canary: gray"]).unwrap().body;
    wait::until_true(WITHIN, "an answer from the lane", || {
        let answer = answer();
        answer.starts_with("Agray[") && answer.contains(" -> C[")
    })
    .unwrap();
    for _ in 0..REQUESTS {
        let answer = answer();
        assert!(answer.starts_with("Agray[") && answer.contains(" -> C["), "{answer}");
    }

    // What the two sidecars counted: B lost every one, A none.
    let counted = |host| -> Value {
        let body = http::get(&sandbox.endpoint(host, 15_020), "/status", &[]).unwrap().body;
        serde_json::from_str::<Value>(&body).unwrap()["lanes"][0].clone()
    };
    let (a, b) = (counted(21), counted(12));
    assert_eq!((&a["lost"], &a["carried"]), (&0.into(), &a["received"]), "{a}");
    assert_eq!((&b["lost"], &b["carried"]), (&b["received"], &0.into()), "{b}");
    assert!(b["received"].as_u64().unwrap() >= REQUESTS as u64, "{b}");

    let told = "of lane gray and called on without context";
    for command in [&["status"][..], &["analyze"], &["lane", "status", "trade/gray"]] {
        let mut printed = String::new();
        wait::until_true(WITHIN, "the finding", || {
            printed = sandbox.must(command).unwrap();
            printed.contains(told)
        })
        .unwrap_or_else(|error| panic!("{error}: {command:?} printed {printed}"));
        assert!(printed.contains("app-b received ") && !printed.contains("app-a received"));
    }
    let group = sandbox.must(&["get", "lanegroup", "trade", "-o", "json"]).unwrap();
    let group: Value = serde_json::from_str(&group).unwrap();
    let conditions = group["status"]["conditions"].as_array().unwrap();
    let lost = conditions.iter().find(|it| it["type"] == "ContextLost").unwrap();
    assert_eq!(lost["status"], "True");
}
