//! The API against its own description: schemathesis asks a real control plane what the OpenAPI document lets anybody ask
//! and what it rules out, as a user of each role, as one of a namespace and as nobody. What must hold is in `ask.py`.
//!
//! `LANEWAY_CONFORMANCE=50` is so many requests of each kind for each endpoint, from another seed each time or from
//! `LANEWAY_SEED`; a run prints its own.
#![allow(
    clippy::disallowed_methods,
    reason = "where the world is, and how much is asked, is named by the environment"
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{Sandbox, needs};

/// Requests as the document describes them, and as many that it rules out, for each endpoint and caller. So many take half
/// a minute.
const CASES: u64 = 2;

/// The seed of a run that is told of none: the same requests each time.
const SEED: u64 = 1;

/// How many requests, and from which seed.
fn asked_for() -> Result<(u64, u64)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = match (number("LANEWAY_SEED"), number("LANEWAY_CONFORMANCE")) {
        (Some(seed), _) => seed,
        (None, None) => SEED,
        (None, Some(_)) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    Ok((number("LANEWAY_CONFORMANCE").unwrap_or(CASES), seed))
}

/// The interpreter that has schemathesis.
fn python() -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/worlds/schemathesis/bin/python");
    std::env::var_os("LANEWAY_SCHEMATHESIS").map_or(built, PathBuf::from)
}

#[test]
fn the_api_answers_every_role_as_its_description_says_and_nobody_more_than_he_may() -> Result<()> {
    if !needs("schemathesis") {
        return Ok(());
    }
    let (cases, seed) = asked_for()?;
    let run = format!("LANEWAY_SEED={seed} LANEWAY_CONFORMANCE={cases}");
    writeln!(std::io::stderr(), "{run}")?;
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway"))?;
    let _control = sandbox.control(&[])?;
    let caller = |name: &str, role: Option<&str>, namespace: &str| json!({ "name": name, "role": role, "namespace": namespace });
    let asked = json!({
        "address": sandbox.api_address(),
        "token": fs::read_to_string(sandbox.path("control").join("api-token"))?.trim(),
        "cases": cases,
        "seed": seed,
        "callers": [
            caller("nobody", None, "*"),
            caller("shop-viewer", Some("viewer"), "shop"),
            caller("shop-operator", Some("operator"), "shop"),
            caller("some-viewer", Some("viewer"), "*"),
            caller("some-operator", Some("operator"), "*"),
            caller("some-admin", Some("admin"), "*"),
        ],
        "objects": objects(),
        "doable": doable(),
        "known": {
            "namespace": ["default", "shop"],
            "plural": ["lanes", "lanegroups"],
            "name": ["trade-gray", "trade", "stock-blue", "stock"],
            "number": [1, 2, 3],
        },
    });
    let mut child = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/ask.py"))
        .current_dir(sandbox.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the Python that has schemathesis")?;
    child.stdin.take().context("no standard input")?.write_all(asked.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{run}: {}\n{said}", output.status);
    writeln!(std::io::stderr(), "{}", said.lines().last().unwrap_or_default())?;
    Ok(())
}

fn group(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "entrances": [{ "gateway": "edge" }], "applications": [format!("app-{name}")] },
    })
}

fn lane(namespace: &str, group: &str, tag: &str) -> Value {
    let by_ratio = json!({ "ratio": { "percent": 5, "stickyBy": { "cookie": "uid" } } });
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": { "name": format!("{group}-{tag}"), "namespace": namespace },
        "spec": { "group": group, "tag": tag, "entry": by_ratio },
    })
}

/// What there is to read, to change and to delete: a lane in each of two namespaces.
fn objects() -> Value {
    json!([
        group("default", "trade"),
        lane("default", "trade", "gray"),
        group("shop", "stock"),
        lane("shop", "stock", "blue"),
    ])
}

/// What can be done with them by whoever may, in each of the two.
fn doable() -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |method: &str, path: &str, holes: Value, body: Value| {
        let kind =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut one = json!({ "method": method, "path": path, "holes": holes, "type": kind });
        if !body.is_null() {
            one["body"] = body;
        }
        all.push(one);
    };
    for (namespace, of_group, tag) in [("default", "trade", "gray"), ("shop", "stock", "blue")] {
        let there = lane(namespace, of_group, tag);
        let one = json!({
            "namespace": namespace, "plural": "lanes", "name": there["metadata"]["name"],
        });
        let kind = json!({ "namespace": namespace, "plural": "lanes" });
        let key = json!({ "kind": "Lane", "namespace": namespace, "name": one["name"] });
        let object = "/namespaces/{namespace}/{plural}/{name}";
        let objects = "/namespaces/{namespace}/{plural}";
        let grant = json!({ "role": "viewer", "namespace": namespace });
        let user = json!({ "name": format!("user-of-{namespace}"), "grants": [grant] });
        let token = json!({ "application": format!("app-{of_group}"), "namespace": namespace });
        add("GET", object, one.clone(), Value::Null);
        add("GET", objects, kind.clone(), Value::Null);
        add("PUT", object, one.clone(), there.clone());
        add("PATCH", object, one.clone(), json!({ "spec": { "enabled": false } }));
        add("DELETE", object, one, Value::Null);
        add("POST", objects, kind, lane(namespace, of_group, "green"));
        add("POST", "/{plural}", json!({ "plural": "lanes" }), lane(namespace, of_group, "red"));
        add("POST", "/apply", json!({}), json!({ "objects": [there] }));
        add("POST", "/check", json!({}), json!({ "objects": [there] }));
        add("POST", "/delete", json!({}), json!({ "objects": [key] }));
        add("POST", "/users", json!({}), user);
        add("POST", "/tokens", json!({}), token);
        add("POST", "/api-tokens", json!({}), json!({ "name": "ci", "grant": grant, "days": 1 }));
    }
    all
}
