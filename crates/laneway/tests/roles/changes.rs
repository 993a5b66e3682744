//! What a gateway serves by is changed again and again while it serves: no request fails for it, and no handshake.
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests say what they did, and are told how much to do"
)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use testkit::{Sandbox, http, wait};

use crate::{
    SOON, answers, fixed, https, sandbox,
    upgrade::callers::{Callers, serve_application},
};

/// How much is done.
struct Scale {
    changes: usize,
    /// Requests per second, of every kind together.
    rate: u32,
    swaps: usize,
}

/// As the environment says.
fn scale() -> Scale {
    match std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full") {
        true => Scale { changes: 10_000, rate: 500, swaps: 1_000 },
        false => Scale { changes: 200, rate: 150, swaps: 40 },
    }
}

/// Times that callers of every kind are waited for in between.
const PAUSES: usize = 4;

/// Swaps after which one is tried that cannot be.
const WRONG_EVERY: usize = 10;

/// Writes one object, as whoever asks the API does; its answer's status.
fn write(sandbox: &Sandbox, object: &Value) -> Result<u16> {
    let body = json!({ "objects": [object] }).to_string();
    let content = ["content-type: application/json"];
    let api = sandbox.api_address();
    let answer = http::exchange(&api, "POST", "/api/v1alpha1/apply", &content, &body)?;
    ensure!(answer.status < 500, "{}: {}", answer.status, answer.body);
    Ok(answer.status)
}

/// The change of that number: of what an answer says, of who serves, of a lane that requests are drawn into, of another route.
fn change(sandbox: &Sandbox, number: usize) -> Value {
    let (base, gray) = (sandbox.endpoint(3, 8080), sandbox.endpoint(4, 8080));
    let round = number / 4;
    let routed = |name: &str, path: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": "edge"}], "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {
                    "set": [{"name": "x-change", "value": number.to_string()}],
                }}],
                "backendRefs": [{"group": "laneway.io", "kind": "Backend", "name": "sc-c"}],
            }]},
        })
    };
    match number % 4 {
        0 => json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": "trade-gray"},
            "spec": {"group": "trade", "tag": "gray", "enabled": !round.is_multiple_of(3),
                "entry": {"ratio": {"percent": round % 101}}},
        }),
        1 => {
            let tagged = json!({"address": gray, "tag": "gray"});
            let mut instances = vec![json!({"address": base})];
            instances.extend((!round.is_multiple_of(2)).then_some(tagged));
            let services =
                json!([{"name": "sc-C", "application": "app-c", "instances": instances}]);
            json!({
                "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
                "spec": {"static": {"services": services}},
            })
        }
        2 => routed("other", &format!("/other-{number}")),
        _ => routed("c", "/c"),
    }
}

#[test]
fn changes_under_load_fail_no_request() -> Result<()> {
    let scale = scale();
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _base = serve_application(&sandbox.endpoint(3, 8080))?;
    let _gray = serve_application(&sandbox.endpoint(4, 8080))?;
    https::add_certificate(&sandbox)?;
    let group = "---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [app-c]}
";
    sandbox.apply(&[https::GATEWAY, &fixed(&sandbox.endpoint(3, 8080)), group].concat())?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;

    let callers =
        Callers::start(&sandbox.gateway_address(), &sandbox.endpoint(1, 8443), scale.rate)?;
    callers.pass()?;
    let started = Instant::now();
    for number in 0..scale.changes {
        let status = write(&sandbox, &change(&sandbox, number))?;
        ensure!(status == 200, "change {number}: {status}");
        if number % (scale.changes / PAUSES) == 0 {
            callers.pass()?;
        }
    }
    // The last of each kind is what is served by.
    let last = (scale.changes - 1).to_string();
    wait::until(SOON, "the last change", || {
        let answer = http::get(&sandbox.gateway_address(), "/c", &[])?;
        ensure!(http::header(&answer.head, "x-change") == Some(&last), "{}", answer.head);
        Ok(())
    })?;
    let took = started.elapsed();
    answers(&sandbox.gateway_address(), &format!("/other-{}", scale.changes - 2), 200, "ok")?;
    callers.pass()?;
    let seen = callers.stop()?;
    eprintln!("{} changes in {took:.1?}: {seen:?}", scale.changes);
    Ok(())
}

/// Who vouches for every certificate.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "who vouches");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A certificate as it is written, with the key given or its own; and what is shown of it.
fn issued(
    authority: &Authority,
    key: Option<&KeyPair>,
) -> Result<(Value, CertificateDer<'static>)> {
    let own = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["leaf.example".to_owned()])?;
    let certificate = params.signed_by(&own, authority)?;
    let key = key.unwrap_or(&own);
    let object = json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Certificate", "metadata": {"name": "shop"},
        "spec": {"certificate": certificate.pem(), "privateKey": key.serialize_pem()},
    });
    Ok((object, certificate.der().clone()))
}

/// One connection with one request, agreed on anew; the certificate that was shown.
fn agreed(config: &Arc<ClientConfig>, address: &str) -> Result<CertificateDer<'static>> {
    let name = ServerName::try_from("leaf.example")?;
    let connection = ClientConnection::new(Arc::clone(config), name)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(b"GET /c HTTP/1.1\r\nhost: leaf.example\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // In order: with a goodbye.
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    Ok(shown.context("a certificate")?.clone().into_owned())
}

fn config(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // What is resumed is shown nothing.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Clients that agree on TLS again and again, each in a version of its own.
struct Handshakes {
    is_over: Arc<AtomicBool>,
    done: Vec<Arc<AtomicUsize>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Handshakes {
    fn start(configs: &[Arc<ClientConfig>], address: &str) -> Result<Self> {
        let mut all = Self { is_over: Arc::default(), done: Vec::new(), threads: Vec::new() };
        for config in configs {
            let (config, address) = (Arc::clone(config), address.to_owned());
            let done = Arc::new(AtomicUsize::new(0));
            let (count, is_over) = (Arc::clone(&done), Arc::clone(&all.is_over));
            all.done.push(done);
            let thread = std::thread::Builder::new().name("handshakes".to_owned());
            all.threads.push(thread.spawn(move || {
                while !is_over.load(Relaxed) {
                    agreed(&config, &address)?;
                    count.fetch_add(1, Relaxed);
                }
                Ok(())
            })?);
        }
        Ok(all)
    }

    fn counts(&self) -> Vec<usize> {
        self.done.iter().map(|done| done.load(Relaxed)).collect()
    }

    /// Waits until every client has done another since `before`.
    fn pass(&self, before: &[usize]) -> Result<()> {
        wait::until_true(SOON, "a handshake of each client", || {
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            ended || self.counts().iter().zip(before).all(|(now, before)| now > before)
        })?;
        ensure!(!self.threads.iter().any(JoinHandle::is_finished), "a handshake failed");
        Ok(())
    }

    /// Ends; how many were done. The first that failed is an error.
    fn stop(mut self) -> Result<usize> {
        self.is_over.store(true, Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            match thread.join() {
                Ok(outcome) => outcome?,
                Err(_panic) => bail!("a client panicked"),
            }
        }
        Ok(self.counts().iter().sum())
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

#[test]
fn certificates_that_are_swapped_under_handshakes_fail_none() -> Result<()> {
    let scale = scale();
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    let authority = authority()?;
    let (first, _) = issued(&authority, None)?;
    ensure!(write(&sandbox, &first)? == 200);
    sandbox.apply(&[https::GATEWAY, &fixed(&sandbox.endpoint(3, 8080))].concat())?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;
    let address = sandbox.endpoint(1, 8443);
    let configs = [config(&authority, &TLS12)?, config(&authority, &TLS13)?];
    wait::until(SOON, "the gateway in TLS", || agreed(&configs[0], &address).map(drop))?;

    let handshakes = Handshakes::start(&configs, &address)?;
    let (other, started) = (KeyPair::generate()?, Instant::now());
    let mut last = None;
    for swap in 0..scale.swaps {
        let before = handshakes.counts();
        if swap.is_multiple_of(WRONG_EVERY) {
            let (wrong, _) = issued(&authority, Some(&other))?;
            ensure!(write(&sandbox, &wrong)? == 422, "a key of another certificate is refused");
        }
        let (next, shown) = issued(&authority, None)?;
        ensure!(write(&sandbox, &next)? == 200);
        last = Some(shown);
        if let Err(error) = handshakes.pass(&before) {
            return Err(handshakes.stop().err().unwrap_or(error));
        }
    }
    wait::until_true(SOON, "the last certificate", || {
        agreed(&configs[1], &address).is_ok_and(|shown| last.as_ref() == Some(&shown))
    })?;
    let took = started.elapsed();
    let done = handshakes.stop()?;
    eprintln!("{} certificates swapped in {took:.1?} under {done} handshakes", scale.swaps);
    Ok(())
}
