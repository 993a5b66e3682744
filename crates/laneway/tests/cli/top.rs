//! What passes, as `laneway top` shows it: counted by a real gateway and sidecars.

use anyhow::Result;
use serde_json::Value;
use testkit::{Instance, http, sample, wait};

use crate::{SOON, check, sandbox};

const REQUESTS: u64 = 25;

#[test]
fn what_passes_is_shown_by_lane_and_application() -> Result<()> {
    let sandbox = sandbox()?;
    let mut serve = sandbox.serve(&[])?;
    sandbox.apply(&sample::chain(&["gray"]))?;
    let mut instances = Vec::new();
    for (name, tag, host) in
        [("A", None, 11), ("B", None, 12), ("C", None, 13), ("A", Some("gray"), 21)]
    {
        instances.push(sandbox.start(&Instance::of_chain(name, tag, host))?);
    }
    let gateway = sandbox.gateway_address();
    wait::until_true(SOON, "an answer from the lane", || {
        http::get(&gateway, "/a", &["canary: gray"]).is_ok_and(|it| it.body.starts_with("Agray["))
    })?;
    for _ in 0..REQUESTS {
        assert!(http::get(&gateway, "/a", &["canary: gray"])?.body.starts_with("Agray["));
    }
    let figure = |lane: &str, application: &str, of: &[&str]| -> Option<Value> {
        let words = ["top", "trade", "--window", "5m", "-o", "json"];
        let top: Value = serde_json::from_str(&sandbox.must(&words).ok()?).ok()?;
        let rows = top["rows"].as_array()?.iter();
        let mut row =
            rows.clone().find(|it| it["lane"] == lane && it["application"] == application)?;
        for name in of {
            row = &row[name];
        }
        Some(row.clone())
    };
    wait::until_true(SOON, "the requests of the lane in both hops", || {
        ["app-a", "app-b"].iter().all(|application| {
            let requests = figure("gray", application, &["figures", "requests"]);
            requests.and_then(|it| it.as_u64()).is_some_and(|it| it >= REQUESTS)
        })
        // Every data plane tells by itself what it counted: until the application's has, its callers' word is shown.
        && figure("gray", "app-a", &["countedBy"]) == Some("application".into())
    })?;
    assert_eq!(figure("gray", "app-a", &["fallback"]), Some(0.into()));
    let fallback = figure("gray", "app-b", &["fallback"]).and_then(|it| it.as_u64());
    assert!(
        fallback.is_some_and(|it| it >= REQUESTS),
        "B has no instance in the lane: {fallback:?}"
    );

    let table = sandbox.must(&["top", "--once", "--window", "5m"])?;
    assert!(table.starts_with("LANE "), "{table}");
    assert!(table.contains("trade/gray  app-a "), "{table}");
    assert!(table.contains(" as 5 data planes counted\n"), "{table}");
    let nobody = "laneway: not found: group: `nobody`: there is no such lane group\n";
    check(&sandbox.run(&["top", "nobody", "--once"])?, 1, "", nobody);

    // Base had no request that the lane's could be compared with.
    let verdict = |words: &[&str]| {
        let words = [&["lane", "verdict", "trade/gray"], words].concat();
        sandbox.run(&words)
    };
    wait::until_true(SOON, "the verdict on what was counted", || {
        let expected = "too little traffic to say: no request of base to compare app-a with\n";
        verdict(&[]).is_ok_and(|it| it.code == Some(4) && it.stdout.starts_with(expected))
    })?;
    let told: Value = serde_json::from_str(&verdict(&["-o", "json", "--wait", "1"])?.stdout)?;
    assert_eq!((&told["state"], &told["about"]["needed"]), (&"tooLittle".into(), &400.into()));
    let wrong = "laneway: bad query: errors: `0`: use percent of requests, 0.1 to 100\n";
    check(&verdict(&["--errors", "0"])?, 1, "", wrong);

    // Figures survive the control plane's restart.
    serve.ask_to_stop();
    assert!(serve.wait_for_end(SOON)?.success());
    let _serve = sandbox.serve(&[])?;
    wait::until_true(SOON, "the figures of before", || {
        let requests = figure("gray", "app-a", &["figures", "requests"]);
        requests.and_then(|it| it.as_u64()).is_some_and(|it| it >= REQUESTS)
    })
}
