//! HTTPS, from a certificate that somebody adds to a request that is answered: by a gateway beside its control plane and by
//! one that lost it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use testkit::{Process, Sandbox, wait};

use crate::{SOON, answers, fixed, sandbox};

/// Certificates for tests, and the authority of some.
pub(crate) const FIXTURES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../api/tests/fixtures/certificates");

pub(crate) const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: laneway
  listeners:
  - {name: http, port: 8000, protocol: HTTP}
  - name: https
    port: 8443
    protocol: HTTPS
    tls: {certificateRefs: [{group: laneway.io, kind: Certificate, name: shop}]}
";

/// A GET in TLS of whoever is `leaf.example` by the word of the tests' authority.
fn get(address: &str, path: &str) -> Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{FIXTURES}/root.crt"))?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("leaf.example")?)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    let mut stream = StreamOwned::new(connection, stream);
    let request = format!("GET {path} HTTP/1.1\r\nhost: leaf.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    // In order: with a goodbye.
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits until an answer in TLS comes from the application.
fn answers_in_tls(address: &str) -> Result<()> {
    wait::until(SOON, &format!("an answer from https://{address}"), || {
        let answer = get(address, "/c")?;
        ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("C["), "{answer}");
        Ok(())
    })
}

/// Writes the resources and adds the certificate, as somebody does.
fn set_up(sandbox: &Sandbox) -> Result<Process> {
    let mut application = Command::new(testkit::application::program()?);
    application.args(["C", &sandbox.endpoint(3, 8080)]);
    let application = Process::start("C", &mut application, sandbox.directory())?;
    add_certificate(sandbox)?;
    let file = sandbox.path("https.yaml");
    fs::write(&file, [GATEWAY, &fixed(&sandbox.endpoint(3, 8080))].concat())?;
    let applied = sandbox.run(&["apply", "-f", &file.to_string_lossy()])?;
    ensure!(applied.code == Some(0), "{applied:?}");
    Ok(application)
}

/// Adds the certificate that the gateway shows.
pub(crate) fn add_certificate(sandbox: &Sandbox) -> Result<()> {
    let (certificate, key) = (format!("{FIXTURES}/chain.crt"), format!("{FIXTURES}/leaf.key"));
    let added =
        sandbox.run(&["certificate", "add", "shop", "--cert", &certificate, "--key", &key])?;
    ensure!(added.code == Some(0), "{added:?}");
    Ok(())
}

#[test]
fn what_is_added_and_applied_is_served_in_tls() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let _application = set_up(&sandbox)?;
    answers_in_tls(&sandbox.endpoint(1, 8443))?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;
    answers(&sandbox.endpoint(1, 8443), "/c", 400, "this port speaks TLS")
}

#[test]
fn a_gateway_restarted_without_its_control_plane_serves_tls_from_disk() -> Result<()> {
    let sandbox = sandbox()?;
    let mut control = sandbox.control(&[])?;
    let mut gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let _application = set_up(&sandbox)?;
    let address = sandbox.endpoint(1, 8443);
    answers_in_tls(&address)?;
    control.kill();
    gateway.ask_to_stop();
    gateway.wait_for_end(SOON).context("the end of the gateway")?;
    let _gateway = sandbox.start_gateway("gateway", 1, &sandbox.discovery_address())?;
    answers_in_tls(&address)
}
