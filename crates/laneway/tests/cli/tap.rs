//! Single requests with every hop, as `laneway tap` shows them: seen by a real gateway and sidecars.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testkit::{CommandResult, Instance, Sandbox, http, sample, wait};

use crate::{SOON, check, sandbox};

/// Each hop of a request: who called, who was called and of which tag, how it counts, in which lane.
fn hops(request: &Value) -> Vec<String> {
    let hops = request["hops"].as_array().into_iter().flatten();
    let text = |hop: &Value, name: &str| hop[name].as_str().unwrap_or_default().to_owned();
    let hop = |hop: &Value| {
        let indent = " ".repeat(hop["depth"].as_u64().unwrap_or_default() as usize);
        let lanes = hop["lanes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let lanes = lanes.collect::<Vec<_>>().join(",");
        let [caller, application, tag, outcome] =
            ["caller", "application", "tag", "outcome"].map(|name| text(hop, name));
        format!("{indent}{caller} {application}:{tag} {outcome} {lanes} {}", hop["status"])
    };
    hops.map(hop).collect()
}

/// What a tap shows while this is asked for, over and over.
fn tapped(
    sandbox: &Sandbox,
    words: &[&str],
    (path, fields): (&str, &[&str]),
) -> Result<CommandResult> {
    let (gateway, is_done) = (sandbox.gateway_address(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                // What fails is seen by what is shown.
                let _ = http::get(&gateway, path, fields);
            }
        });
        let shown = sandbox.run(&[&["tap"], words].concat());
        is_done.store(true, Relaxed);
        shown
    })
}

/// The same, which shows as many as it is to.
fn shown(sandbox: &Sandbox, words: &[&str], asked: (&str, &[&str])) -> Result<String> {
    let result = tapped(sandbox, words, asked)?;
    assert_eq!(result.code, Some(0), "{result:?}");
    Ok(result.stdout)
}

/// One that is shown with just these hops, of each of which both sides tell. The first ones may lack some: data planes begin to
/// tell one after the other.
fn whole_request(shown: &str, expected: &[&str]) -> Result<Value> {
    let events = shown.lines().map(serde_json::from_str::<Value>);
    let events: Vec<Value> = events.collect::<Result<_, _>>()?;
    assert_eq!(events[0]["type"], "STATUS", "{shown}");
    let is_whole = |request: &Value| {
        let served = request["hops"].as_array().into_iter().flatten();
        hops(request) == expected && served.into_iter().all(|hop| hop["servedMs"].is_f64())
    };
    let requests = events.iter().filter(|event| event["type"] == "REQUEST");
    let request = requests.map(|event| &event["request"]).find(|request| is_whole(request));
    Ok(request.with_context(|| format!("no request with {expected:?} in {shown}"))?.clone())
}

#[test]
fn a_request_is_shown_with_every_hop_of_its_lane() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(&sample::chain(&["gray"]))?;
    let mut instances = Vec::new();
    for (name, tag, host) in [
        ("A", None, 11),
        ("B", None, 12),
        ("C", None, 13),
        ("A", Some("gray"), 21),
        ("C", Some("gray"), 23),
    ] {
        instances.push(sandbox.start(&Instance::of_chain(name, tag, host))?);
    }
    let gateway = sandbox.gateway_address();
    let gray = ["canary: gray", "authorization: Bearer hunter2"];
    wait::until_true(SOON, "an answer from the lane", || {
        let asked = http::get(&gateway, "/a", &gray);
        asked.is_ok_and(|it| it.body.starts_with("Agray[") && it.body.contains("Cgray["))
    })?;

    let asked = ("/a?user=hunter2&empty=", &gray[..]);
    let told = shown(&sandbox, &["trade/gray", "-o", "json", "--count", "20"], asked)?;
    let whole = [
        "edge app-a:gray lane trade/gray 200",
        " app-a app-b: fallback trade/gray 200",
        "  app-b app-c:gray lane trade/gray 200",
    ];
    let request = whole_request(&told, &whole)?;
    assert_eq!(
        (&request["method"], &request["path"]),
        (&"GET".into(), &"/a?user=***&empty".into())
    );
    assert_eq!(
        (&request["status"], &request["lanes"]),
        (&200.into(), &serde_json::json!(["trade/gray"]))
    );
    assert!(!told.contains("hunter2"), "{told}");

    // Only those that reach C, as lines for people.
    let words = ["trade/gray", "--application", "app-c", "--count", "20"];
    let lines = shown(&sandbox, &words, asked)?;
    assert!(lines.contains("  trade/gray  GET "), "{lines}");
    assert!(lines.contains("\n    app-a gray -> app-b base "), "{lines}");
    assert!(lines.contains(" in trade/gray  fallback  200  "), "{lines}");

    // Base is not the lane, nor the lane base.
    let told = shown(&sandbox, &["trade", "--base", "-o", "json", "--count", "20"], ("/a", &[]))?;
    let base = ["edge app-a: base  200", " app-a app-b: base  200", "  app-b app-c: base  200"];
    whole_request(&told, &base)?;
    let words = ["trade/gray", "--count", "1", "--duration", "1", "-o", "json"];
    let ended = tapped(&sandbox, &words, ("/a", &[]))?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("STATUS") && !ended.stdout.contains("REQUEST"), "{ended:?}");

    // Who watched, and that nobody does any more, can be read, once of what is the same unless it began anew; and who cannot be
    // watched.
    wait::until_true(SOON, "that the taps have ended", || {
        let events = sandbox.must(&["events"]).unwrap_or_default();
        events.matches(" Tapped ").count() == 4 && events.matches(" TapEnded ").count() == 3
    })?;
    let audit = sandbox.must(&["audit"])?;
    assert_eq!(audit.matches("created tap of trade/gray").count(), 2, "{audit}");
    assert_eq!(audit.matches("created tap of trade/base").count(), 1, "{audit}");
    assert!(audit.contains("application: (default) -> app-c"), "{audit}");
    let refused = "laneway: not found: lane: `blue`: there is no such lane in the group\n";
    check(&sandbox.run(&["tap", "trade/blue"])?, 1, "", refused);
    let refused =
        "laneway: not found: application: `x`: use one of group trade: app-a, app-b, app-c\n";
    check(&sandbox.run(&["tap", "trade/gray", "--application", "x"])?, 1, "", refused);
    it_ends_with_its_lane(&sandbox)
}

/// After four other taps.
fn it_ends_with_its_lane(sandbox: &Sandbox) -> Result<()> {
    let ended = std::thread::scope(|scope| {
        let tap = || sandbox.run(&["tap", "trade/gray", "--application", "app-b"]);
        let tap = scope.spawn(tap);
        wait::until_true(SOON, "that it has begun", || {
            let events = sandbox.must(&["events"]).unwrap_or_default();
            events.matches(" Tapped ").count() == 5
        })?;
        sandbox.must(&["delete", "lane", "trade/gray"])?;
        tap.join().map_err(|_| anyhow::anyhow!("the tap panicked"))?
    })?;
    let why = "laneway: the tap is over: lane trade/gray is gone, or another one by now\n";
    assert!(ended.code == Some(1) && ended.stderr.ends_with(why), "{ended:?}");
    Ok(())
}
