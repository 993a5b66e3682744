//! The interoperability tests of gRPC: its own client and server, with a gateway, or two sidecars, between.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use super::{program, run};
use crate::world::{Proxy, World};

/// What the client offers, without what asks for an account at a cloud, and two that the server in Go cannot: it has no name
/// to tell (`pick_first_unary`), and reports as often as `orca_oob` wants by a switch alone that is not published.
const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "rpc_soak",
    "channel_soak",
];

/// What `orca_per_rpc` must have told how to look at reports.
const REPORTS: &str = r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#;

/// The server.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(program("grpc-server"));
        let command = command.arg("127.0.0.1:0").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim().rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        Self { child, address: address.parse().unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Every case, called at `host` and `port`, perhaps through a proxy.
async fn every_case(host: &str, port: u16, proxy: Option<SocketAddr>) {
    let client = program("client");
    let client = client.to_str().unwrap();
    let proxy = proxy.map(|address| format!("HTTPS_PROXY=http://{address}"));
    let port = port.to_string();
    for case in CASES {
        // Of the environment of whoever runs this it keeps nothing: no proxy.
        let to = ["--server_host", host, "--server_port", &port, "--test_case", case];
        let few = ["--soak_iterations", "20"];
        let reports: &[&str] =
            if *case == "orca_per_rpc" { &["--service_config_json", REPORTS] } else { &[] };
        let with: Vec<&str> = ["-i"].into_iter().chain(proxy.as_deref()).collect();
        let arguments = [&with[..], &[client], &to, &few, reports].concat();
        let (passed, said) = run("env".as_ref(), &arguments, 60).await;
        assert!(passed, "{case}: {said}");
    }
}

#[tokio::test]
async fn every_call_of_grpc_passes_a_gateway() {
    if !testkit::needs("suites") {
        return;
    }
    let server = Server::start();
    let mut world = World::new(&[server.address]);
    world.listeners[0].http2 = true;
    world.backends_speak_http2 = true;
    let proxy = Proxy::gateway(&world);
    let address = proxy.address();
    every_case(&address.ip().to_string(), address.port(), None).await;
}

#[tokio::test]
async fn every_call_of_grpc_passes_two_sidecars() {
    if !testkit::needs("suites") {
        return;
    }
    let server = Server::start();
    let beside = Proxy::sidecar(&World::new(&[server.address]), None, server.address);
    let caller = Proxy::sidecar(&World::new(&[beside.inbound()]), None, server.address);
    every_case("sc-a", 80, Some(caller.address())).await;
}
