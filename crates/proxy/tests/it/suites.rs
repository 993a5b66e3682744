//! Programs of others that judge a server, against a gateway: `h2spec`, `testssl.sh`, and the interoperability tests of
//! gRPC.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    origin::Origin,
    tls,
    world::{Proxy, World},
};

mod grpc;

/// A program of the world `suites`.
#[allow(clippy::disallowed_methods, reason = "worlds are named by the environment")]
pub(crate) fn program(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/worlds/suites");
    std::env::var_os("LANEWAY_SUITES").map_or(built, PathBuf::from).join(name)
}

/// Runs a program for so many seconds at most. What it has printed, and whether it succeeded.
async fn run(program: &Path, arguments: &[&str], seconds: u32) -> (bool, String) {
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(program).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Every case of h2spec: what RFC 9113 and RFC 7541 ask of a server.
async fn conforms(address: SocketAddr, more: &[&str]) {
    let port = address.port().to_string();
    let ip = address.ip().to_string();
    let arguments = [&["-h", &ip, "-p", &port, "-o", "5"], more].concat();
    let (passed, said) = run(&program("h2spec"), &arguments, 300).await;
    assert!(passed && said.contains("145 tests, 145 passed, 0 skipped, 0 failed"), "{said}");
}

#[tokio::test]
async fn http2_in_the_clear_conforms_to_the_letter() {
    if !testkit::needs("suites") {
        return;
    }
    let origin = Origin::start().await;
    let mut world = World::new(&[origin.address]);
    world.listeners[0].http2 = true;
    conforms(Proxy::gateway(&world).address(), &[]).await;
}

#[tokio::test]
async fn http2_in_tls_conforms_to_the_letter() {
    if !testkit::needs("suites") {
        return;
    }
    let origin = Origin::start().await;
    let world = tls::world(&tls::authority("them"), &["shop.example"], &[origin.address]);
    conforms(Proxy::gateway(&world).address(), &["-t", "-k"]).await;
}

/// Nothing of what `testssl.sh` looks for: old protocols, weak ciphers, known attacks.
#[tokio::test]
async fn nobody_who_looks_for_weak_tls_finds_any() {
    if !testkit::needs("testssl") {
        return;
    }
    let origin = Origin::start().await;
    let world = tls::world(&tls::authority("them"), &["shop.example"], &[origin.address]);
    let proxy = Proxy::gateway(&world);
    let address = proxy.address().to_string();
    let directory = tempfile::tempdir().unwrap();
    let found = directory.path().join("found.json");
    // Protocols, standard ciphers, forward secrecy, server's preference, vulnerabilities, simulated clients. Names are not
    // looked up, and who has signed the certificate of a test is nobody's business.
    let what = ["--protocols", "--std", "--fs", "--server-preference", "--vulnerable"];
    let how = ["--quiet", "--color", "0", "--nodns", "none", "--jsonfile", found.to_str().unwrap()];
    let arguments = [&what[..], &how, &[&address]].concat();
    let (_, said) = run("testssl".as_ref(), &arguments, 400).await;
    let text = std::fs::read_to_string(&found).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: Vec<Finding> = serde_saphyr::from_str(&text).unwrap();
    assert!(findings.iter().any(|it| it.id == "TLS1_3" && it.severity == "OK"), "{said}");
    let bad = |it: &&Finding| !matches!(it.severity.as_str(), "OK" | "INFO");
    let bad: Vec<_> = findings.iter().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// One line of what it says.
#[derive(Debug, serde::Deserialize)]
struct Finding {
    id: String,
    severity: String,
    #[allow(dead_code, reason = "shown when it should not be there")]
    finding: String,
}
