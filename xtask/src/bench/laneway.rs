//! How Laneway is set up to do a gateway's work and a mesh's.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use super::{
    Bench, Guard, OTHER_CPU, READY_WITHIN,
    column::{MESH_LANE, MESH_TARGET},
    contender::{Contender, LANEWAY, ready, version},
    door::Door,
    free_address,
    peers::CONNECTIONS_MAX,
    start, wait_until_answers,
};

/// What a gateway of Laneway listens at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listeners {
    /// Its one address, as without any Gateway.
    One,
    /// Every door.
    All,
}

/// Gateway with a route, a group of ten lanes by content, and instances of base and lane: the upstream, twice.
pub(super) fn gateway(
    name: &'static str,
    binary: &Path,
    bench: &Bench,
    listeners: Listeners,
) -> Result<Contender> {
    let home = bench.folder(name)?;
    let (api, discovery) = (free_address()?, free_address()?);
    let (doors, mut resources) = gateway_resources(bench, listeners)?;
    resources.push_str(&lane_group("a")?);
    let clear = doors.first().context("a door")?.1.clone();
    let data = home.join("data");
    let (data, most) = (data.to_string_lossy(), CONNECTIONS_MAX.to_string());
    let mut arguments = vec!["serve", "--data", &data, "--gateway-listen", &clear];
    arguments.extend(["--api-listen", &api, "--discovery-listen", &discovery]);
    if listeners == Listeners::All {
        // Unknown to what this tree may be compared with.
        arguments.extend(["--connections-max", &most]);
    }
    let process = bench.start_proxy(binary, &arguments, &home)?;
    apply(binary, &api, &home, &resources)?;
    ready(name, version(binary, "--version")?, doors, vec![process])
}

/// A gateway beside its control plane, every door in front of the same instances as [`gateway`]'s, and no lanes yet.
pub(super) fn gateway_alone(bench: &Bench) -> Result<(Contender, ControlPlane)> {
    let home = bench.folder(LANEWAY)?;
    let control = ControlPlane::start(bench, &home)?;
    let (doors, resources) = gateway_resources(bench, Listeners::All)?;
    control.apply(bench, &resources)?;
    let clear = doors.first().context("a door")?.1.clone();
    let (data, admin) = (home.join("gateway"), free_address()?);
    let data = data.to_string_lossy();
    let mut arguments = vec!["gateway", "--control", &control.discovery, "--data", &data];
    arguments.extend(["--gateway-listen", &clear, "--admin-listen", &admin]);
    let process = bench.start_proxy(&bench.laneway, &arguments, &home)?;
    let version = version(&bench.laneway, "--version")?;
    Ok((ready(LANEWAY, version, doors, vec![process])?, control))
}

/// A control plane that moves no request, beside what is measured.
#[derive(Debug)]
pub(super) struct ControlPlane {
    api: String,
    discovery: String,
    home: PathBuf,
    process: Guard,
}

impl ControlPlane {
    fn start(bench: &Bench, home: &Path) -> Result<Self> {
        let (api, discovery) = (free_address()?, free_address()?);
        let data = home.join("control");
        let data = data.to_string_lossy();
        let mut arguments = vec!["control", "--data", &data, "--api-listen", &api];
        arguments.extend(["--discovery-listen", &discovery]);
        let process = start(OTHER_CPU, &bench.laneway, &arguments, home)?;
        Ok(Self { api, discovery, home: home.to_owned(), process })
    }

    /// Until every data plane that is there has what is written.
    pub(super) fn apply(&self, bench: &Bench, resources: &str) -> Result<()> {
        apply(&bench.laneway, &self.api, &self.home, resources)
    }
}

/// A group of ten lanes in which the caller's application and the instance's are; the instance is in the lane that is asked for.
pub(super) fn mesh(bench: &Bench, home: &Path) -> Result<Contender> {
    let binary = &bench.laneway;
    let data = |name: &str| home.join(name).to_string_lossy().into_owned();
    let control = ControlPlane::start(bench, home)?;
    control.apply(bench, &lane_group("a, b")?)?;
    let (outbound, inbound) = (free_address()?, free_address()?);
    let side = |application: &str, upstream: &str, outbound: &str, inbound: &str, tag: &[&str]| {
        let (data, admin) = (data(application), free_address()?);
        let service = format!("sc-{application}");
        let mut arguments = vec!["sidecar", "--control", &control.discovery, "--data", &data];
        arguments.extend(["--shared-data", "none", "--application", application]);
        arguments.extend(["--service", &service, "--app-address", upstream]);
        arguments.extend(["--outbound-listen", outbound, "--inbound-listen", inbound]);
        arguments.extend(["--advertise", inbound, "--admin-listen", &admin]);
        arguments.extend(tag);
        let home = bench.folder(application)?;
        bench.start_proxy(binary, &arguments, &home)
    };
    let processes = vec![
        side("a", &bench.second_upstream, &outbound, &free_address()?, &[])?,
        side("b", &bench.upstream, &free_address()?, &inbound, &["--tag", "gray"])?,
    ];
    wait_until_answers(
        Door::Clear,
        &outbound,
        &["--request-target", MESH_TARGET, "-H", MESH_LANE],
    )?;
    Ok(Contender {
        name: LANEWAY,
        version: version(binary, "--version")?,
        doors: vec![(Door::Clear, outbound)],
        processes,
        beside: vec![control.process],
    })
}

/// The doors, the one in the clear first, and all that a gateway needs to serve them, but lanes.
fn gateway_resources(bench: &Bench, listeners: Listeners) -> Result<(Vec<(Door, String)>, String)> {
    let clear = free_address()?;
    let mut resources = routed(&bench.upstream, listeners);
    if listeners == Listeners::One {
        return Ok((vec![(Door::Clear, clear)], resources));
    }
    let (secure, calls) = (free_address()?, free_address()?);
    resources.push_str(&all_listeners(bench, [&clear, &secure, &calls]));
    let doors = vec![
        (Door::Clear, clear.clone()),
        (Door::H2c, clear),
        (Door::Tls, secure.clone()),
        (Door::SecureH2, secure),
        (Door::Grpc, calls),
    ];
    Ok((doors, resources))
}

/// The route and the instances of base and lane.
fn routed(upstream: &str, listeners: Listeners) -> String {
    // A listener has routes of one kind for a host name; calls have one of their own.
    let parents = match listeners {
        Listeners::One => "{name: edge}",
        Listeners::All => "{name: edge, sectionName: clear}, {name: edge, sectionName: secure}",
    };
    let port = upstream.rsplit(':').next().unwrap_or_default();
    format!(
        "apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec:
  static:
    services:
    - {{name: sc-a, application: a, instances: [{{address: \"{upstream}\"}}, {{address: \"127.0.0.2:{port}\", tag: gray}}]}}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {{name: sc-a}}
spec: {{source: fixed, service: sc-a}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: a}}
spec:
  parentRefs: [{parents}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /a}}}}]
    backendRefs: [{{group: laneway.io, kind: Backend, name: sc-a}}]
"
    )
}

/// A group of these applications, and ten lanes by content, of which the last one matches.
pub(super) fn lane_group(applications: &str) -> Result<String> {
    let mut lanes = format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [{applications}]}}
"
    );
    for tag in (1..10).map(|number| format!("blue-{number}")).chain(["gray".to_owned()]) {
        write!(
            lanes,
            "---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-{tag}}}
spec: {{group: trade, tag: {tag}, entry: {{content: {{meet: all, conditions: [{{header: canary, operator: \"==\", value: {tag}}}]}}}}}}
"
        )?;
    }
    Ok(lanes)
}

/// A Gateway with listeners in the clear, in TLS, and for calls in gRPC; the same instances, spoken to in HTTP/2.
fn all_listeners(bench: &Bench, addresses: [&str; 3]) -> String {
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let [clear, secure, calls] = addresses.map(port);
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: Certificate
metadata: {{name: bench}}
spec: {{files: {{certificate: {}, privateKey: {}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, annotations: {{laneway.io/http2-prior-knowledge: \"true\"}}}}
spec:
  gatewayClassName: laneway
  listeners:
  - {{name: clear, port: {clear}, protocol: HTTP}}
  - {{name: secure, port: {secure}, protocol: HTTPS, tls: {{certificateRefs: [{{group: laneway.io, kind: Certificate, name: bench}}]}}}}
  - {{name: calls, port: {calls}, protocol: HTTP}}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {{name: sc-h}}
spec: {{source: fixed, service: sc-a, protocol: h2c}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: h}}
spec:
  parentRefs: [{{name: edge, sectionName: secure}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: {}}}}}]
    backendRefs: [{{group: laneway.io, kind: Backend, name: sc-h}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: calls}}
spec:
  parentRefs: [{{name: edge, sectionName: calls}}]
  rules:
  - backendRefs: [{{group: laneway.io, kind: Backend, name: sc-h}}]
",
        bench.certificate.display(),
        bench.key.display(),
        Door::SecureH2.path()
    )
}

/// The API may need a moment to listen; `apply` is all or nothing, so repeating it is safe.
fn apply(binary: &Path, api: &str, home: &Path, resources: &str) -> Result<()> {
    let file = home.join("resources.yaml");
    fs::write(&file, resources)?;
    let server = format!("http://{api}");
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let output =
            Command::new(binary).args(["apply", "--server", &server, "-f"]).arg(&file).output()?;
        if output.status.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("apply: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
