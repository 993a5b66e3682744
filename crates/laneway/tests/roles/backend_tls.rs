//! Instances in TLS, from the resources that somebody applies to requests that are answered: who is believed is asked, who
//! is not is told of, and a change of whom to believe fails nobody.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use testkit::{Sandbox, http, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{SOON, answers, sandbox};

/// Changes of whom to believe while requests flow.
const CHANGES: usize = 10;

/// On a busy machine a handshake with an instance may take a while, and is no failure.
const PATIENT: &[&str] = &["--connect-timeout-seconds", "20"];

/// Loops that ask meanwhile.
const LOOPS: usize = 4;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// What an instance of these names shows, and what it speaks within.
fn shows(authority: &Authority, names: &[&str], inside: &[u8]) -> Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![inside.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers every request in TLS with the version that it came in, for as long as the runtime lives.
fn instance(runtime: &Runtime, acceptor: TlsAcceptor) -> Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not believe it goes.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let _ = match speaks_http2 {
                    true => serve_http2(stream).await,
                    false => serve_http1(stream).await,
                };
            });
        }
    });
    Ok(address)
}

async fn serve_http1(mut stream: TlsStream<TcpStream>) -> Result<()> {
    let mut received = Vec::new();
    loop {
        while !received.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        received.clear();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\nHTTP/1.1 in TLS").await?;
    }
}

async fn serve_http2(stream: TlsStream<TcpStream>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        respond
            .send_response(::http::Response::new(()), false)?
            .send_data("HTTP/2 in TLS".into(), true)?;
    }
    Ok(())
}

/// A service of one instance, its Backend of a protocol, and a route to it under its name.
fn served(name: &str, protocol: &str, instance: SocketAddr) -> String {
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: {name}}}
spec: {{static: {{services: [{{name: {name}, instances: [{{address: '{instance}'}}]}}]}}}}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {{name: {name}}}
spec: {{source: {name}, service: {name}, protocol: {protocol}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /{name}}}}}]
    backendRefs: [{{group: laneway.io, kind: Backend, name: {name}}}]
"
    )
}

fn policy(backend: &str, hostname: &str, authorities: &[&str]) -> String {
    let named: Vec<String> = (authorities.iter())
        .map(|name| format!("{{group: laneway.io, kind: Certificate, name: {name}}}"))
        .collect();
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {backend}}}
spec:
  targetRefs: [{{group: laneway.io, kind: Backend, name: {backend}}}]
  validation: {{hostname: {hostname}, caCertificateRefs: [{}]}}
",
        named.join(", ")
    )
}

/// Stores authorities as somebody does.
fn add(sandbox: &Sandbox, name: &str, authority: &Authority) -> Result<()> {
    let file = sandbox.path(&format!("{name}.pem"));
    fs::write(&file, authority.pem())?;
    sandbox.must(&["certificate", "add", name, "--ca", &file.to_string_lossy()])?;
    Ok(())
}

#[test]
fn instances_in_tls_are_asked_if_they_are_believed() -> Result<()> {
    let sandbox = sandbox()?;
    let runtime = Runtime::new()?;
    let _serve = sandbox.serve(PATIENT)?;
    let (own, others) = (authority()?, authority()?);
    let orders = instance(&runtime, shows(&own, &["orders.internal"], b"http/1.1")?)?;
    let grpc = instance(&runtime, shows(&own, &["grpc.internal"], b"h2")?)?;
    let named_otherwise = instance(&runtime, shows(&own, &["other.internal"], b"http/1.1")?)?;
    let of_others = instance(&runtime, shows(&others, &["orders.internal"], b"http/1.1")?)?;
    let gateway = sandbox.gateway_address();

    let resources = [
        served("orders", "https", orders),
        served("grpc", "h2", grpc),
        served("named-otherwise", "https", named_otherwise),
        served("of-others", "https", of_others),
        // It does not agree to HTTP/2.
        served("older", "h2", orders),
    ];
    sandbox.apply(&resources.concat())?;
    answers(&gateway, "/orders", 500, "write a BackendTLSPolicy for Backend orders")?;

    add(&sandbox, "own", &own)?;
    let policies = [
        policy("orders", "orders.internal", &["own"]),
        policy("grpc", "grpc.internal", &["own"]),
        policy("named-otherwise", "orders.internal", &["own"]),
        policy("of-others", "orders.internal", &["own"]),
        policy("older", "orders.internal", &["own"]),
    ];
    sandbox.apply(&policies.concat())?;
    answers(&gateway, "/orders", 200, "HTTP/1.1 in TLS")?;
    answers(&gateway, "/grpc", 200, "HTTP/2 in TLS")?;
    let refused = "upstream certificate does not verify";
    answers(
        &gateway,
        "/named-otherwise",
        502,
        &format!("{refused}: certificate not valid for name"),
    )?;
    answers(&gateway, "/of-others", 502, refused)?;
    answers(&gateway, "/older", 502, "cannot agree on TLS with the instance")?;

    let explained = sandbox.must(&["explain", &format!("http://{gateway}/grpc")])?;
    let words = "asked in TLS (HTTP/2) for grpc.internal, and must be grpc.internal by Certificate own: else 502";
    ensure!(explained.contains(words), "{explained}");
    let shown = sandbox.must(&["get", "btlspolicy", "orders"])?;
    ensure!(shown.contains("orders  orders    orders.internal  yes"), "{shown}");
    let described = sandbox.must(&["describe", "certificate", "own"])?;
    ensure!(described.contains("BackendTLSPolicy of-others"), "{described}");
    let analyzed = sandbox.run(&["analyze"])?.stdout;
    ensure!(!analyzed.contains("BackendTLSPolicy"), "{analyzed}");
    Ok(())
}

/// Asks again and again until told to stop; counts what was answered otherwise than with 200, and tells the last of it.
fn ask(address: &str, stop: &AtomicBool, asked: &AtomicUsize) -> Result<()> {
    let mut failed = String::new();
    while !stop.load(Ordering::Relaxed) {
        match http::get(address, "/orders", &[]) {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failed = format!("{} {}", answer.status, answer.body),
            Err(error) => failed = format!("{error:#}"),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    if failed.is_empty() { Ok(()) } else { bail!(failed) }
}

#[test]
fn whom_to_believe_changes_while_requests_flow_and_none_fails() -> Result<()> {
    let sandbox = sandbox()?;
    let runtime = Runtime::new()?;
    let _serve = sandbox.serve(PATIENT)?;
    let (own, next) = (authority()?, authority()?);
    let names = ["orders.internal", "orders.example"];
    let instance = instance(&runtime, shows(&own, &names, b"http/1.1")?)?;
    add(&sandbox, "own", &own)?;
    add(&sandbox, "next", &next)?;
    let orders =
        [served("orders", "https", instance), policy("orders", "orders.internal", &["own"])];
    sandbox.apply(&orders.concat())?;
    let gateway = sandbox.gateway_address();
    answers(&gateway, "/orders", 200, "in TLS")?;

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let loops: Vec<_> =
            (0..LOOPS).map(|_| scope.spawn(|| ask(&gateway, &stop, &asked))).collect();
        let changed = (0..CHANGES).try_for_each(|change| {
            let (hostname, authorities) = match change % 2 {
                0 => ("orders.example", &["next", "own"][..]),
                _ => ("orders.internal", &["own"][..]),
            };
            sandbox.apply(&policy("orders", hostname, authorities))?;
            // Each change meets requests.
            let before = asked.load(Ordering::Relaxed);
            wait::until_true(SOON, "requests by the changed policy", || {
                asked.load(Ordering::Relaxed) > before + LOOPS
            })
        });
        stop.store(true, Ordering::Relaxed);
        let failures =
            loops.into_iter().map(|it| it.join().map_err(|_| anyhow::anyhow!("it panicked"))?);
        let all: Result<()> = failures.collect();
        changed.and(all)
    })?;

    // Whoever signed no certificate of it is believed no more.
    sandbox.apply(&policy("orders", "orders.internal", &["next"]))?;
    answers(&gateway, "/orders", 502, "upstream certificate does not verify")
}
