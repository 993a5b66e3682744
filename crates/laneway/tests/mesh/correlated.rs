//! Applications that forward nothing but `x-request-id`: the sidecars keep the lane by the id, and a request is never
//! taken for another one, not even when ids are used again while they are in flight.
#![allow(clippy::print_stderr, reason = "a run of thousands says what it did")]

use std::time::Duration;

use testkit::{Instance, RunningInstance, Sandbox, http, load, sample, wait};

/// Requests in flight.
const IN_FLIGHT: usize = 64;

/// Answers that are judged.
const ANSWERS: usize = 4_000;

const WITHIN: Duration = Duration::from_secs(60);

/// The labels of an answer's hops, without addresses: `Agray B Cgray`.
fn labels(outcome: &Result<(u16, String), String>) -> String {
    let (status, body) = outcome.as_ref().unwrap();
    assert_eq!(*status, 200, "{body}");
    let hops = testkit::path::parse(body).unwrap();
    let label = |hop: testkit::path::Hop| format!("{}{}", hop.name, hop.tag.unwrap_or_default());
    hops.into_iter().map(label).collect::<Vec<_>>().join(" ")
}

fn run(address: String, kinds: Vec<String>) -> Vec<load::Sent> {
    // More than can be had, so that all connections are busy all the time.
    let rate = 50_000;
    let load = load::Load::start(load::Profile { address, rate, connections: IN_FLIGHT, kinds });
    wait::until_true(WITHIN, "all answers", || load.answered() >= ANSWERS).unwrap();
    load.stop().unwrap()
}

#[test]
fn x_request_id_alone_keeps_every_request_in_its_lane() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let _serve = sandbox.serve(&[]).unwrap();
    sandbox.apply(&sample::chain(&["gray", "blue"])).unwrap();
    let start = |(name, tag, host)| {
        let mut instance = Instance::of_chain(name, tag, host);
        instance.forwards = "x-request-id";
        sandbox.begin(&instance).unwrap()
    };
    let mut instances: Vec<RunningInstance> = [
        ("A", None, 11),
        ("B", None, 12),
        ("C", None, 13),
        ("A", Some("gray"), 21),
        ("C", Some("gray"), 23),
        ("A", Some("blue"), 31),
        ("C", Some("blue"), 33),
    ]
    .into_iter()
    .map(start)
    .collect();
    for instance in &mut instances {
        instance.ready().unwrap();
    }
    let gateway = sandbox.gateway_address();
    for (header, expected) in
        [("canary: gray", "Cgray["), ("canary: blue", "Cblue["), ("a: b", " C[")]
    {
        wait::until_true(WITHIN, &format!("an answer of {expected}"), || {
            http::get(&gateway, "/a", &[header]).is_ok_and(|answer| answer.body.contains(expected))
        })
        .unwrap();
    }

    // Through the entrance, which gives every request an id of its own: exact, whatever ids the clients send.
    let same_id = "x-request-id: the-same";
    let kinds = vec![
        load::get("/a", &[]),
        load::get("/a", &["canary: gray"]),
        load::get("/a", &["canary: blue", same_id]),
        load::get("/a", &["canary: gray", same_id]),
        load::get("/a", &[same_id]),
    ];
    let expected = ["A B C", "Agray B Cgray", "Ablue B Cblue", "Agray B Cgray", "A B C"];
    let sent = run(gateway, kinds);
    for sent in &sent {
        assert_eq!(labels(&sent.outcome), expected[sent.kind], "request {}", sent.number);
    }
    eprintln!("{} answers through the entrance", sent.len());

    // Inside, at B's sidecar, whose inbound listener believes the context. Ids of one's own are exact; an id that is
    // in flight in several lanes says nothing, so its requests are base or in their own lane, never in another's.
    let lane = |tag: &str| format!("baggage: lane.trade={tag}");
    let own = format!("x-request-id: own-{}", load::ID);
    let kinds = vec![
        load::get("/b", &[&lane("gray"), &own]),
        load::get("/b", &[&lane("gray"), same_id]),
        load::get("/b", &[&own]),
        load::get("/b", &[&lane("blue"), same_id]),
        load::get("/b", &[same_id]),
        load::get("/b", &[&lane("blue"), &own]),
    ];
    let right: [&[&str]; 6] =
        [&["B Cgray"], &["B Cgray", "B C"], &["B C"], &["B Cblue", "B C"], &["B C"], &["B Cblue"]];
    let sent = run(sandbox.endpoint(12, 15_006), kinds);
    for sent in &sent {
        let labels = labels(&sent.outcome);
        assert!(right[sent.kind].contains(&&*labels), "request {}: {labels}", sent.number);
    }
    eprintln!("{} answers inside", sent.len());
}
