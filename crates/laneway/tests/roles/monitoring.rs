//! What `deploy/` has for Prometheus and Grafana, with the real Prometheus: it scrapes a mesh that works, and knows
//! everything that alerts and dashboard ask it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::{Instance, MAIN_HOST, Process, Sandbox, http, needs, sample, wait};

use crate::{SOON, sandbox};

/// Where it listens: a host that nobody else has.
const PROMETHEUS_HOST: u8 = 90;

/// The mesh: base of the chain, and A and C in the lane.
const CHAIN: [(&str, Option<&str>, u8); 5] = [
    ("A", None, 11),
    ("B", None, 12),
    ("C", None, 13),
    ("A", Some("gray"), 21),
    ("C", Some("gray"), 23),
];

/// What no panel shows while a mesh of this kind is well: nothing is tried again, in TLS, lost, or out of reach.
const EMPTY: [&str; 9] = [
    "laneway_context_lost_total",
    "laneway_retries_total",
    "laneway_rejected_requests_total",
    "laneway_timeouts_total",
    "laneway_tls_handshakes_total",
    "laneway_tls_handshake_failures_total",
    "laneway_certificate_expiry_timestamp_seconds",
    "laneway_unreachable_instances) > 0",
    "code_class=~\"5xx|none\"",
];

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

/// Runs promtool on files of `deploy/prometheus`. What it says.
fn promtool(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("promtool");
    let output = command.current_dir(deployed("prometheus")).args(arguments).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(said)
}

/// Words of a text that begin like this.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_in = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_in(letter));
    words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

/// Everything that panels of the dashboard ask, as Grafana asks it where all is chosen.
fn asked_by_panels() -> Result<Vec<(String, String)>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deployed("grafana/laneway.json"))?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut asked = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("expr")?;
            let query = query.replace("$__rate_interval", "10s");
            let query = query.replace("$group", ".*").replace("$application", ".*");
            ensure!(!query.contains('$'), "{query}: a variable that is not known");
            asked.push((panel["title"].to_string(), query));
        }
    }
    Ok(asked)
}

#[test]
fn alerts_are_rules_that_fire_for_what_they_are_about_and_no_metric_is_misspelt() -> Result<()> {
    if !needs("prometheus") {
        return Ok(());
    }
    promtool(&["check", "config", "prometheus.yaml"])?;
    promtool(&["check", "rules", "alerts.yaml"])?;
    promtool(&["test", "rules", "alerts_test.yaml"])?;
    let alerts = fs::read_to_string(deployed("prometheus/alerts.yaml"))?;
    let tests = fs::read_to_string(deployed("prometheus/alerts_test.yaml"))?;
    let tested = words(&tests, "Laneway");
    let untested: Vec<_> =
        words(&alerts, "Laneway").into_iter().filter(|it| !tested.contains(it)).collect();
    ensure!(untested.is_empty(), "alerts without a test: {untested:?}");

    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let known = words(&fs::read_to_string(reference)?, "laneway_");
    let dashboard: String = asked_by_panels()?.into_iter().map(|(_, query)| query + "\n").collect();
    for name in words(&(alerts + &tests + &dashboard), "laneway_") {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
        let is_known = known.contains(&name) || family.is_some_and(|family| known.contains(family));
        ensure!(is_known, "{name}: no process serves it");
    }
    Ok(())
}

/// Prometheus with the alerts of `deploy/`, scraping these addresses each second; ready.
fn start_prometheus(sandbox: &Sandbox, targets: &[String]) -> Result<(Process, String)> {
    let address = sandbox.endpoint(PROMETHEUS_HOST, 9090);
    let configuration = serde_json::json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [deployed("prometheus/alerts.yaml").canonicalize()?],
        "scrape_configs": [{"job_name": "laneway", "static_configs": [{"targets": targets}]}],
    });
    let file = sandbox.path("prometheus.json");
    fs::write(&file, configuration.to_string())?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", sandbox.path("prometheus").display()));
    command.arg(format!("--web.listen-address={address}"));
    let process = Process::start("prometheus", &mut command, sandbox.directory())?;
    let is_ready = || Ok(http::get(&address, "/-/ready", &[]).is_ok_and(|it| it.status == 200));
    wait::until(SOON, "Prometheus is ready", || {
        let ready: Result<bool> = is_ready();
        ensure!(ready?, "{}", process.output());
        Ok(())
    })?;
    Ok((process, address))
}

/// What Prometheus answers to a query now; an error where it is none.
fn query(address: &str, query: &str) -> Result<Vec<Value>> {
    let mut target = "/api/v1/query?query=".to_owned();
    for byte in query.bytes() {
        write!(target, "%{byte:02X}")?;
    }
    let answer = http::get(address, &target, &[])?;
    let body: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    ensure!(body["status"] == "success", "{query}: {body}");
    Ok(body["data"]["result"].as_array().context("result")?.clone())
}

#[test]
fn prometheus_knows_what_alerts_and_dashboard_ask() -> Result<()> {
    if !needs("prometheus") {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let chain = CHAIN.map(|(name, tag, host)| Instance::of_chain(name, tag, host));
    let _running: Vec<_> = chain.iter().map(|it| sandbox.start(it)).collect::<Result<_>>()?;
    sandbox.apply(&sample::chain(&["gray"]))?;
    let mut targets = vec![sandbox.api_address(), sandbox.endpoint(MAIN_HOST, 15020)];
    targets.extend(chain.iter().map(|it| sandbox.endpoint(it.host, 15020)));
    let gateway = sandbox.gateway_address();
    let (_prometheus, prometheus) = start_prometheus(&sandbox, &targets)?;
    wait::until(SOON, "all of the mesh is scraped", || {
        let up = query(&prometheus, "count(up == 1)")?;
        let up = up.first().map(|it| it["value"][1].clone()).unwrap_or_default();
        let all = targets.len().to_string();
        ensure!(up.as_str() == Some(&all), "{up} of {all}");
        Ok(())
    })?;

    // Requests go on until everything that there is to be seen is seen.
    for (title, asked) in asked_by_panels()? {
        let is_empty = EMPTY.iter().any(|it| asked.contains(it));
        wait::until(SOON, &format!("{title} shows {asked}"), || {
            for headers in [&[][..], &["canary: gray"]] {
                let answer = http::get(&gateway, "/a", headers)?;
                ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            }
            let found = query(&prometheus, &asked)?;
            ensure!(is_empty || !found.is_empty(), "nothing");
            Ok(())
        })?;
    }
    let lanes =
        query(&prometheus, "count by (lane) (laneway_lane_entered_total{lane_group=\"trade\"})")?;
    ensure!(lanes.len() == 2, "base and the lane: {lanes:?}");

    let rules: Value = serde_json::from_str(&http::get(&prometheus, "/api/v1/rules", &[])?.body)?;
    let groups = rules["data"]["groups"].as_array().context("groups")?;
    let rules: Vec<_> =
        groups.iter().flat_map(|it| it["rules"].as_array().into_iter().flatten()).collect();
    ensure!(rules.len() > 10, "{rules:?}");
    for rule in rules {
        ensure!(rule["health"] == "ok" && rule["state"] != "firing", "{rule}");
    }
    Ok(())
}

/// What the API says of what passed.
fn statistics(sandbox: &Sandbox, question: &str) -> Result<(u16, Value)> {
    let target = format!("/api/v1alpha1/statistics/{question}");
    let answer = http::get(&sandbox.api_address(), &target, &[])?;
    let body = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    Ok((answer.status, body))
}

#[test]
fn long_times_are_asked_of_prometheus_where_one_is_named() -> Result<()> {
    if !needs("prometheus") {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let url = format!("http://{}", sandbox.endpoint(PROMETHEUS_HOST, 9090));
    let matchers = "job=\"laneway\"";
    let asked = ["--prometheus-url", &url, "--prometheus-matchers", matchers];
    let _control = sandbox.control(&asked)?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let chain = CHAIN.map(|(name, tag, host)| Instance::of_chain(name, tag, host));
    let _running: Vec<_> = chain.iter().map(|it| sandbox.start(it)).collect::<Result<_>>()?;
    sandbox.apply(&sample::chain(&["gray"]))?;
    let (status, away) = statistics(&sandbox, "share?window=1h")?;
    ensure!(status == 503 && away["detail"].to_string().contains(&url), "{status} {away}");
    let (status, _) = statistics(&sandbox, "share?window=15m")?;
    ensure!(status == 200, "{status}: what is in memory needs nobody");

    let mut targets = vec![sandbox.endpoint(MAIN_HOST, 15020)];
    targets.extend(chain.iter().map(|it| sandbox.endpoint(it.host, 15020)));
    let (_prometheus, _) = start_prometheus(&sandbox, &targets)?;
    let gateway = sandbox.gateway_address();
    let mut sent = 0;
    wait::until(SOON, "Prometheus has counted what enters base and lane", || {
        for headers in [&[][..], &["canary: gray"]] {
            let answer = http::get(&gateway, "/a", headers)?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            sent += 1;
        }
        let (_, share) = statistics(&sandbox, "share?window=1h&group=trade")?;
        let lanes = share["lanes"].as_array().context("lanes")?;
        let entered = |lane: &str| {
            let lane = lanes.iter().find(|it| it["lane"] == lane);
            lane.and_then(|it| it["requests"].as_u64()).unwrap_or_default()
        };
        ensure!(entered("") > 5 && entered("gray") > 5, "{share}");
        // It knows counters at times, and what is between by their growth.
        ensure!(entered("") + entered("gray") < 2 * sent + 10, "{share} of {sent}");
        ensure!(share["basis"]["keptBy"] == "prometheus", "{share}");
        ensure!(share["basis"]["dataPlanes"].as_u64() == Some(targets.len() as u64), "{share}");
        Ok(())
    })?;
    let (_, top) = statistics(&sandbox, "top?window=1h&group=trade")?;
    let rows = top["rows"].as_array().context("rows")?;
    for (application, lane, fallback) in
        [("app-a", "gray", false), ("app-b", "gray", true), ("app-c", "", false)]
    {
        let is_it = |row: &&Value| row["application"] == application && row["lane"] == lane;
        let row =
            rows.iter().find(is_it).with_context(|| format!("{application} {lane}: {top}"))?;
        let p50 = row["figures"]["p50Ms"].as_f64().unwrap_or_default();
        ensure!(p50 > 0.0 && p50 < 1_000.0 && row["figures"]["errors"] == 0, "{row}");
        ensure!((row["fallback"].as_u64() > Some(0)) == fallback, "{row}");
    }
    let (_, series) = statistics(&sandbox, "series?window=1h&by=outcome&step=10s")?;
    // A minute is told when it is over.
    let (status, named) = statistics(&sandbox, "series?window=1h&application=app.a&lane=base")?;
    ensure!(status == 200 && named["lines"] == Value::Array(Vec::new()), "no pattern: {named}");
    let basis = &series["basis"];
    ensure!(basis["stepSeconds"] == 60 && basis["keptBy"] == "prometheus", "{series}");
    // Who called, and which durations are of what fell back, Prometheus is not told.
    for question in
        ["series?window=1h&by=caller", "calls?window=1h", "compare?window=1h&group=trade&lane=gray"]
    {
        let (_, answer) = statistics(&sandbox, question)?;
        ensure!(answer["basis"]["keptBy"] == "controlPlane", "{question}: {answer}");
    }
    Ok(())
}
