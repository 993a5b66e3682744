//! Applications that speak gRPC with each other, in somebody else's library: every kind of call, many at once on one
//! connection, each in its lane; deadlines and cancellation reach the end of the chain.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use testkit::{Instance, RunningInstance, Sandbox, sample, wait};

/// Longest until processes that were just started know each other.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The chain behind a route of gRPC.
const ROUTED: &str = r#"---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-a}
spec: {source: embedded, service: sc-A, protocol: h2c}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {laneway.io/http2-prior-knowledge: "true"}}
spec: {gatewayClassName: laneway, listeners: [{name: calls, port: 8000, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: a}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{method: {service: lane.Chain}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge, routes: [a]}], applications: [app-a, app-b, app-c]}
"#;

/// The interpreter that has a library of gRPC.
fn python() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/worlds/python/bin/python");
    std::env::var_os("LANEWAY_PYTHON").map_or(built, PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mesh").join(name)
}

/// A command that goes nowhere but where it is told.
fn command(program: &str) -> Command {
    let mut command = Command::new(python());
    for name in ["http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.arg(script(program));
    command
}

fn begin(
    sandbox: &Sandbox,
    name: &'static str,
    tag: Option<&'static str>,
    host: u8,
) -> RunningInstance {
    let instance = Instance::of_chain(name, tag, host);
    let mut command = command("grpc_application.py");
    command.args([&instance.label(), &sandbox.host(host), "8080"]);
    let next = match name {
        "A" => "sc-B:80",
        "B" => "sc-C:80",
        _ => "-",
    };
    command.args([next, &sandbox.endpoint(host, 15_001)]);
    sandbox.begin_beside(&instance, &mut command).unwrap()
}

/// What the caller prints, how often: each line is the kind of call, its lane, and the answer.
fn called(sandbox: &Sandbox, more: &[&str]) -> Result<BTreeMap<String, usize>, String> {
    let mut caller = command("grpc_caller.py");
    let output = caller.arg(sandbox.gateway_address()).args(more).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut counted = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        *counted.entry(line.to_owned()).or_default() += 1;
    }
    Ok(counted)
}

#[test]
fn calls_of_every_kind_stay_in_their_lane_stream_by_stream_and_end_together() {
    if !testkit::needs("otel") {
        return;
    }
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let _serve = sandbox.serve(&[]).unwrap();
    sandbox.apply(&format!("{ROUTED}{}", sample::lane("gray"))).unwrap();
    let mut running: Vec<RunningInstance> = [
        ("A", None, 11),
        ("B", None, 12),
        ("C", None, 13),
        ("A", Some("gray"), 21),
        ("B", Some("gray"), 22),
    ]
    .into_iter()
    .map(|(name, tag, host)| begin(&sandbox, name, tag, host))
    .collect();
    for instance in &mut running {
        instance.ready().unwrap();
    }
    let at = |label: &str, host| format!("{label}[{}]", sandbox.host(host));
    let base = format!("{} -> {} -> {}", at("A", 11), at("B", 12), at("C", 13));
    let gray = format!("{} -> {} -> {}", at("Agray", 21), at("Bgray", 22), at("C", 13));
    let mut expected = BTreeMap::new();
    for (lane, chain) in [("base", &base), ("gray", &gray), ("forged", &base)] {
        for (kind, times, more) in
            [("unary", 8, ""), ("down", 24, ""), ("up", 8, " 3"), ("both", 24, "")]
        {
            expected.insert(format!("{kind}\t{lane}\t{chain}{more}"), times);
        }
    }
    for ended in [
        "late\tbase\tDEADLINE_EXCEEDED",
        "late\tgray\tDEADLINE_EXCEEDED",
        "cancelled\tbase\teverywhere",
        "unknown\tbase\tUNIMPLEMENTED",
    ] {
        expected.insert(ended.to_owned(), 1);
    }
    let settled = || {
        let told = called(&sandbox, &["once"]).unwrap_or_default();
        let mut chains = [("base", &base), ("gray", &gray)].into_iter();
        chains.all(|(lane, chain)| told.contains_key(&format!("unary\t{lane}\t{chain}")))
    };
    wait::until_true(SETTLED_WITHIN, "all instances to know each other", settled).unwrap();
    assert_eq!(called(&sandbox, &[]).as_ref(), Ok(&expected));
    drop(running);
}
