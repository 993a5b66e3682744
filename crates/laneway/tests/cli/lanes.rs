//! Lanes by name, routes without YAML, explanations, status.

use anyhow::Result;
use testkit::wait;

use crate::{SOON, TRADE, check, run_with_input, sandbox};

/// A lane by ratio in a group of its own.
const STOCK: &str = "\
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: stock}
spec: {entrances: [{gateway: edge}], applications: [stock]}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: stock-gray}
spec: {group: stock, tag: gray, entry: {ratio: {percent: 30, stickyBy: {cookie: uid}}}}
";

#[test]
fn lanes_are_switched_by_their_name_and_the_change_is_confirmed() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.apply(STOCK)?;
    let lane = |words: &[&str]| sandbox.must(&[&["lane"], words].concat());
    let confirmed = |said: &str, what: &str| {
        assert!(
            said.starts_with(what) && said.contains("; 1 data plane confirmed it within "),
            "{said}"
        );
    };
    confirmed(&lane(&["disable", "trade/gray"])?, "lane trade/gray is disabled");
    assert_eq!(lane(&["disable", "trade/gray"])?, "lane trade/gray is disabled already\n");
    let status = lane(&["status", "trade/gray"])?;
    assert!(
        status.starts_with(
            "lane trade/gray: disabled, priority 0\nentry     header canary == gray\n"
        ),
        "{status}"
    );
    confirmed(&lane(&["enable", "trade/gray"])?, "lane trade/gray is enabled");
    let status = lane(&["status", "trade/gray"])?;
    assert!(status.contains("Ready True: Live"), "{status}");
    assert!(status.contains("live      1 of 1 data planes"), "{status}");
    assert!(
        status.ends_with(
            "APPLICATION     BASE  IN LANE\nspring-cloud-a  1     1\nspring-cloud-b  1     0\n"
        ),
        "{status}"
    );

    confirmed(&lane(&["pause", "trade/gray"])?, "lane trade/gray is paused");
    assert_eq!(lane(&["pause", "trade/gray"])?, "lane trade/gray is paused already\n");
    let status = lane(&["status", "trade/gray"])?;
    assert!(
        status.starts_with("lane trade/gray: paused at the entrance, priority 0\n"),
        "{status}"
    );
    assert!(status.contains("Paused True: Paused no request enters"), "{status}");
    // A file that does not speak of it leaves it.
    sandbox.apply(TRADE)?;
    let row = sandbox.must(&["get", "lane", "trade/gray"])?;
    assert!(row.contains("trade/gray  paused"), "{row}");
    sandbox.must(&["route", "add", "a", "--prefix", "/a", "--backend", "sc-A"])?;
    let explained = sandbox.must(&["explain", "-H", "canary: gray", "/a"])?;
    assert!(
        explained.contains("lane trade/gray: not tried: paused at the entrance"),
        "{explained}"
    );
    assert!(explained.contains("-> base 127.0.0.1:9991 (base)"), "{explained}");
    confirmed(&lane(&["resume", "trade/gray"])?, "lane trade/gray is not paused");
    let explained = sandbox.must(&["explain", "-H", "canary: gray", "/a"])?;
    assert!(explained.contains("-> gray 127.0.0.1:9992 (lane)"), "{explained}");

    confirmed(&lane(&["ratio", "stock/gray", "12.5"])?, "lane stock/gray is at 12.5%");
    assert!(sandbox.must(&["get", "lane", "stock/gray"])?.contains("12.5% by cookie uid"));
    check(
        &sandbox.run(&["lane", "ratio", "trade/gray", "30"])?,
        1,
        "",
        "laneway: lane trade/gray is entered by content: header canary == gray; it has no ratio\n",
    );
    check(
        &sandbox.run(&["lane", "enable", "trade/blue"])?,
        1,
        "",
        "laneway: there is no lane trade/blue; there are stock/gray, trade/gray\n",
    );
    Ok(())
}

#[test]
fn what_an_operator_did_is_not_undone_by_a_file_that_does_not_speak_of_it() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.apply(STOCK)?;
    let lane = TRADE.split("---\n").nth(3).unwrap_or_default();
    let is_off = || -> Result<bool> {
        Ok(sandbox.must(&["get", "lane", "trade/gray", "-o", "yaml"])?.contains("enabled: false"))
    };
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    sandbox.must(&["lane", "ratio", "stock/gray", "70"])?;
    let unchanged = run_with_input(&sandbox, &["apply", "-f", "-"], lane)?;
    check(&unchanged, 0, "Lane trade-gray unchanged\n", "");
    // What the file says anew counts, and only that.
    let urgent = format!("{lane}  priority: 7\n");
    let applied = run_with_input(&sandbox, &["apply", "-f", "-"], &urgent)?;
    check(&applied, 0, "Lane trade-gray configured\n", "");
    anyhow::ensure!(is_off()?);
    // A file that names the field has the say, and what it takes back is told: before, too.
    let on = format!("{urgent}  enabled: true\n");
    let told = |is| {
        format!(
            "warning: Lane trade-gray: spec.enabled: false -> true: somebody had changed it since it was applied; what the file says {is}\n"
        )
    };
    let would = run_with_input(&sandbox, &["apply", "--dry-run", "-f", "-"], &on)?;
    let change = "Lane trade-gray would be configured\n  spec.enabled: false -> true\n";
    check(&would, 0, change, &told("would count"));
    anyhow::ensure!(is_off()?);
    let applied = run_with_input(&sandbox, &["apply", "-f", "-"], &on)?;
    check(&applied, 0, "Lane trade-gray configured\n", &told("counts"));
    anyhow::ensure!(!is_off()?);
    let ratio = run_with_input(&sandbox, &["apply", "-f", "-"], STOCK)?;
    let told = "warning: Lane stock-gray: spec.entry.ratio.percent: 70.0 -> 30.0: somebody had changed it since it was applied; what the file says counts\n";
    check(&ratio, 0, "LaneGroup stock unchanged\nLane stock-gray configured\n", told);
    // What is remembered of files is nobody's to see.
    let seen = sandbox.must(&["get", "lane", "trade/gray", "-o", "yaml"])?;
    anyhow::ensure!(!seen.contains("said") && !seen.contains("annotations"), "{seen}");
    Ok(())
}

#[test]
fn a_lane_of_another_namespace_is_not_meant() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let elsewhere = "laneway: there is no lane trade/gray in namespace nope; there is one in default: name it with -n\n";
    for words in [
        &["delete", "lane", "trade/gray"][..],
        &["get", "lane", "trade/gray"],
        &["lane", "disable", "trade/gray"],
        &["lane", "enable", "trade/gray"],
        &["lane", "status", "trade/gray"],
        &["lane", "ratio", "trade/gray", "3"],
    ] {
        check(&sandbox.run(&[words, &["-n", "nope"]].concat())?, 1, "", elsewhere);
    }
    let gone = "laneway: not found: Lane nope/trade-gray does not exist\n";
    check(&sandbox.run(&["delete", "lane", "trade-gray", "-n", "nope"])?, 1, "", gone);
    assert!(sandbox.must(&["get", "lanes"])?.contains("trade-gray"));
    Ok(())
}

#[test]
fn a_route_is_added_and_explained_hop_by_hop() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    assert_eq!(
        sandbox.must(&["route", "add", "a", "--prefix", "/a", "--backend", "sc-A"])?,
        "HTTPRoute a created\n"
    );
    // A service that no Backend names yet is taken from the embedded registry.
    assert_eq!(
        sandbox.must(&[
            "route",
            "add",
            "z",
            "--prefix",
            "/z",
            "--backend",
            "sc-Z",
            "--rewrite",
            "/"
        ])?,
        "Backend sc-z created\nHTTPRoute z created\n"
    );
    let table = sandbox.must(&["get", "httproutes"])?;
    assert!(table.contains("\nz     edge      *      /z     sc-z      "), "{table}");

    let explained =
        sandbox.must(&["explain", "-H", "canary: gray", "/a", "--path", "sc-A,sc-B"])?;
    for line in [
        "GET /a at gateway edge",
        "  listener http does not trust the lane context of clients",
        "  route default/a",
        "  baggage: lane.trade=gray",
        "hop 1: sc-A (application spring-cloud-a) -> gray 127.0.0.1:9992 (lane)",
        "hop 2: sc-B (application spring-cloud-b) -> base 127.0.0.1:9993 (fallback)",
    ] {
        assert!(explained.lines().any(|said| said == line), "no line {line:?} in\n{explained}");
    }
    let explained = sandbox.must(&["explain", "-H", "canary: blue", "/a"])?;
    assert!(explained.contains("-> base 127.0.0.1:9991 (base)"), "{explained}");
    assert!(explained.contains("  - lane trade/gray: "), "{explained}");
    let explained = sandbox.must(&["explain", "http://edge/elsewhere"])?;
    assert!(explained.contains("404"), "{explained}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.must(&["explain", "/a", "-o", "json"])?)?;
    assert_eq!(json["hops"][0]["outcome"], "base");
    Ok(())
}

#[test]
fn a_cookie_that_is_issued_is_shown_and_explained() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.apply(&STOCK.replace("{cookie: uid}", "{cookie: place, issue: {maxAge: 30d}}"))?;
    sandbox.must(&["route", "add", "a", "--prefix", "/a", "--backend", "sc-A"])?;
    assert!(sandbox.must(&["get", "lane", "stock/gray"])?.contains("30% by cookie place (issued)"));
    let explained = sandbox.must(&["explain", "/a"])?;
    let drawn =
        "no cookie `place` that can be a key, so one is drawn and issued with the answer: its hash";
    let set = "the answer sets cookie place=(drawn for each); Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax, unless";
    assert!(explained.contains(drawn) && explained.contains(set), "{explained}");
    let explained = sandbox.must(&["explain", "-H", "cookie: place=1", "/a"])?;
    assert!(explained.contains("cookie `place` is `1`: its hash"), "{explained}");
    assert!(!explained.contains("the answer sets"), "{explained}");
    Ok(())
}

#[test]
fn status_shows_what_every_data_plane_has_confirmed() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    wait::until(SOON, "the gateway has confirmed everything", || {
        let status: serde_json::Value =
            serde_json::from_str(&sandbox.must(&["status", "-o", "json"])?)?;
        let gateway = &status["dataPlanes"][0];
        let confirmed = gateway["role"] == "gateway"
            && gateway["connected"] == true
            && gateway["acknowledged"].as_u64() > Some(0)
            // Later generations may hold nothing that it gets.
            && gateway["acknowledged"] == gateway["sent"]
            && gateway["behindMs"] == 0;
        anyhow::ensure!(confirmed, "{status}");
        Ok(())
    })?;
    let status = sandbox.must(&["status"])?;
    for line in ["fixed     static    2         3          synced", "edge     0       1"] {
        assert!(status.lines().any(|said| said == line), "no line {line:?} in\n{status}");
    }
    // What is doubtful in the stored resources stays visible.
    let idle = "apiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {name: idle}\nspec: {entrances: [{gateway: edge}]}\n";
    let applied = run_with_input(&sandbox, &["apply", "-f", "-"], idle)?;
    let warning = "LaneGroup idle: spec.applications: `[]`: name the applications of the group: no service is routed by its lanes\n";
    check(
        &applied,
        0,
        "LaneGroup idle created\n",
        &format!("warning: standard input:4: {warning}"),
    );
    let status = sandbox.must(&["status"])?;
    assert!(status.ends_with(&format!("warning: {warning}")), "{status}");
    Ok(())
}
