//! `laneway certificate`, and what is shown of certificates.

use std::fs;

use anyhow::{Result, ensure};
use testkit::wait;

use crate::{SOON, sandbox};

/// A file beside the tests of what reads certificates.
fn file(name: &str) -> String {
    format!("{}/../api/tests/fixtures/certificates/{name}", env!("CARGO_MANIFEST_DIR"))
}

const HTTPS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  listeners:
  - {name: http, port: 8000, protocol: HTTP}
  - name: https
    port: 8443
    protocol: HTTPS
    tls: {certificateRefs: [{group: laneway.io, kind: Certificate, name: shop}]}
";

#[test]
fn a_certificate_is_added_listed_described_and_never_shows_its_key() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let (cert, key) = (file("rsa.crt"), file("rsa.key"));
    let add = ["certificate", "add", "shop", "--cert", &cert, "--key", &key];
    let told = sandbox.must(&add)?;
    ensure!(told.starts_with("Certificate shop created\n"), "{told}");
    let told = sandbox.must(&add)?;
    ensure!(told.starts_with("Certificate shop unchanged\n"), "{told}");
    let clients = file("root.crt");
    sandbox.must(&["certificate", "add", "clients", "--ca", &clients, "-n", "other"])?;
    sandbox.apply(HTTPS)?;

    wait::until(SOON, "the table shows it", || {
        let table = sandbox.must(&["get", "certificates", "-A"])?;
        let heads = ["NAME", "NAMES", "NOT AFTER", "READY"];
        ensure!(heads.iter().all(|head| table.contains(head)), "{table}");
        ensure!(table.contains("shop.example,*.shop.example,127.0.0.1"), "{table}");
        ensure!(table.contains("Live"), "{table}");
        Ok(())
    })?;
    let described = sandbox.must(&["describe", "certificate", "shop"])?;
    for words in ["CN=shop.example", "SHA-256", "Needed by", "Gateway edge"] {
        ensure!(described.contains(words), "{words}: {described}");
    }

    // What is shown is written back as it is.
    let shown = sandbox.must(&["get", "certificate", "shop", "-o", "yaml"])?;
    ensure!(shown.contains("sealed:"), "{shown}");
    ensure!(sandbox.apply(&shown)?.contains("Certificate shop unchanged"));
    let key = fs::read_to_string(&key)?;
    let secret = key.lines().nth(5).unwrap_or_default();
    let status = sandbox.must(&["status"])?;
    let events = sandbox.must(&["events"])?;
    for told in [described, shown, status, events] {
        ensure!(!told.contains(secret), "{told}");
    }
    let refused = sandbox.run(&["delete", "certificate", "shop"])?;
    ensure!(
        refused.code != Some(0) && refused.stderr.contains("Gateway edge"),
        "{}",
        refused.stderr
    );
    Ok(())
}

#[test]
fn a_file_that_is_no_certificate_or_key_is_named() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let refused = |cert: &str, key: &str, words: [&str; 2]| {
        let add = ["certificate", "add", "shop", "--cert", &file(cert), "--key", &file(key)];
        let result = sandbox.run(&add)?;
        let told = &result.stderr;
        ensure!(result.code == Some(1), "{told}");
        ensure!(words.iter().all(|words| told.contains(words)), "{told}");
        Ok(())
    };
    refused("rsa.crt", "ed25519.key", ["ed25519.key: ", "it is another's"])?;
    refused("rsa.crt", "rsa-encrypted.key", ["rsa-encrypted.key: ", "openssl pkey"])?;
    refused("rsa.key", "rsa.key", ["rsa.key: ", "leave the private key out"])?;
    refused("absent.crt", "rsa.key", ["--cert", "absent.crt"])?;
    let result = sandbox.run(&["certificate", "add", "shop", "--cert", &file("rsa.crt")])?;
    ensure!(result.code == Some(2) && result.stderr.contains("--key"), "{}", result.stderr);
    ensure!(!sandbox.must(&["get", "certificates"])?.contains("shop"));
    Ok(())
}
