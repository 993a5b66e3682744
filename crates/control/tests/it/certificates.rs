//! Certificates: their keys are stored sealed, shown to nobody, and told to gateways that need them alone.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::SystemTime};

use api::{
    client::{CallError, Client},
    discovery::v1,
    resource::{Certificate, Key, Kind, Object, StatusCondition},
    rest::{Action, ApplyRequest, WatchKind},
};
use control::{Arrived, Whose};
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::harness::{DataPlane, PATIENCE, Plane, call, gateway, sidecar};

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: KeyPair,
}

impl Pair {
    /// Good until this many days from now.
    fn lasting(name: &str, days: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = lasting(name, days).self_signed(&key).unwrap().pem();
        Self { certificate, key }
    }

    /// One that signs others.
    fn authority(name: &str, days: i64) -> (CertificateParams, Self) {
        let key = KeyPair::generate().unwrap();
        let mut params = lasting(name, days);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap().pem();
        (params, Self { certificate, key })
    }

    fn signed(name: &str, days: i64, issuer: &Issuer<'_, &KeyPair>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = lasting(name, days).signed_by(&key, issuer).unwrap().pem();
        Self { certificate, key }
    }

    fn new(name: &str) -> Self {
        Self::lasting(name, 365)
    }

    fn object(&self, name: &str) -> Value {
        certificate(
            name,
            &json!({
                "certificate": self.certificate, "privateKey": self.key.serialize_pem(),
            }),
        )
    }

    /// Whether any of the key is in some bytes: as PEM, or as it is.
    fn is_in(&self, bytes: &[u8]) -> bool {
        let pem = self.key.serialize_pem();
        // What follows is the public half, which is in the certificate.
        let lines = pem.lines().filter(|line| !line.starts_with("-----")).take(2);
        let der = self.key.serialized_der();
        let secret = &der[der.len() / 3..der.len() / 3 + 16];
        let within = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        lines.into_iter().any(|line| within(line.as_bytes())) || within(secret)
    }
}

/// What is good until this many days from now.
fn lasting(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let now = SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(40 * 86_400)).into();
    let from_now = std::time::Duration::from_secs(days.unsigned_abs() * 86_400);
    params.not_after = if days < 0 { now - from_now } else { now + from_now }.into();
    params
}

fn certificate(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Certificate",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn https(certificates: &[&str]) -> Value {
    let named = |name: &&str| json!({"group": "laneway.io", "kind": "Certificate", "name": name});
    let named: Vec<Value> = certificates.iter().map(named).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {"listeners": [
            {"name": "http", "port": 8000, "protocol": "HTTP"},
            {"name": "https", "port": 8443, "protocol": "HTTPS", "tls": {"certificateRefs": named}},
        ]},
    })
}

fn key_of(name: &str) -> Key {
    Key::new(Kind::Certificate, "default", name)
}

async fn client(plane: &Plane) -> Client {
    Client::new(&format!("http://{}", plane.rest().await)).unwrap()
}

async fn apply(client: &Client, objects: &[Value]) -> Action {
    let response = client.apply(&ApplyRequest { objects: objects.to_vec() }, false).await.unwrap();
    response.results[0].action
}

/// Everything that is wrong with what is written.
async fn refused(client: &Client, object: &Value) -> String {
    let request = ApplyRequest { objects: vec![object.clone()] };
    match client.apply(&request, false).await {
        Err(CallError::Refused(problem)) => {
            problem.errors.iter().map(|error| format!("{error}\n")).collect()
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Waits until a certificate's status has what is looked for.
async fn until(client: &Client, key: &Key, holds: impl Fn(&[StatusCondition]) -> bool) -> Object {
    let mut watch = client.watch(key.kind, None).await.unwrap();
    let found = async {
        loop {
            let event = watch.next().await.unwrap().unwrap();
            if let Some(object) = event.object
                && object.key() == *key
                && object.status().is_some_and(|status| holds(&status.conditions))
            {
                return object;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the status comes to that")
}

fn has(conditions: &[StatusCondition], kind: &str, status: &str) -> bool {
    conditions.iter().any(|it| it.kind == kind && it.status == status)
}

fn serves_tls(hello: v1::Hello) -> v1::Hello {
    v1::Hello { capabilities: vec!["tls".to_owned()], ..hello }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_is_stored_sealed_and_shown_nowhere() {
    let plane = Plane::start().await;
    let rest = plane.rest().await;
    let client = Client::new(&format!("http://{rest}")).unwrap();
    let (first, second) = (Pair::new("shop.example"), Pair::new("shop.example"));
    assert_eq!(apply(&client, &[first.object("shop"), https(&["shop"])]).await, Action::Created);
    // What a file says is kept too, and what changes is told.
    assert_eq!(apply(&client, &[second.object("shop")]).await, Action::Configured);
    let patch = json!({"spec": {"certificate": first.certificate, "privateKey": first.key.serialize_pem()}});
    client.patch(&key_of("shop"), &patch).await.unwrap();
    let request = ApplyRequest { objects: vec![second.object("shop")] };
    let would_be = client.apply(&request, true).await.unwrap();
    let objects = json!({"objects": [second.object("shop")]}).to_string();
    let mut told = vec![serde_json::to_string(&would_be).unwrap()];
    for (method, path, body) in [
        ("GET", "certificates", ""),
        ("GET", "namespaces/default/certificates", ""),
        ("GET", "namespaces/default/certificates/shop", ""),
        ("GET", "gateways", ""),
        ("GET", "events", ""),
        ("GET", "status", ""),
        ("POST", "check", &objects),
        ("POST", "apply?dryRun=true", &objects),
        ("PUT", "namespaces/default/certificates/shop", &first.object("shop").to_string()),
    ] {
        let (status, answer) = call(rest, method, &format!("/api/v1alpha1/{path}"), body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        told.push(answer);
    }
    let mut watch = client.watch(Kind::Certificate, None).await.unwrap();
    while let Some(event) = watch.next().await.unwrap() {
        told.push(format!("{event:?}{}", serde_json::to_string(&event).unwrap()));
        if event.kind == WatchKind::Synced {
            break;
        }
    }
    for told in &told {
        assert!(!first.is_in(told.as_bytes()) && !second.is_in(told.as_bytes()), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
    }
    assert!(told.iter().any(|told| told.contains("sealed:")));

    let directory = plane.directory.path().to_owned();
    plane.control.stop().await;
    let mut files = 0;
    for file in fs::read_dir(&directory).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!first.is_in(&bytes) && !second.is_in(&bytes));
        files += 1;
    }
    assert!(files >= 2);
    let mode = fs::metadata(directory.join("laneway.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_a_certificate_is_written_back_without_losing_its_key() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let (pair, other) = (Pair::new("shop.example"), Pair::new("other.example"));
    apply(&client, &[pair.object("shop"), https(&["shop"])]).await;
    // The same file again, though what is sealed is another text every time.
    assert_eq!(apply(&client, &[pair.object("shop")]).await, Action::Unchanged);
    let shown = client.get(&key_of("shop")).await.unwrap();
    assert_eq!(apply(&client, &[shown.to_value()]).await, Action::Unchanged);
    let Object::Certificate(Certificate { spec, .. }) = &shown else { panic!("{shown:?}") };
    let sealed = spec.private_key.clone().unwrap();
    assert!(sealed.sealed().is_some());

    let labelled = json!({"metadata": {"labels": {"team": "shop"}}});
    client.patch(&key_of("shop"), &labelled).await.unwrap();
    let mut hello = plane.connect(serves_tls(gateway("g1"))).await;
    hello.until(|it| it.held.contains_key("certificate/default/shop")).await;

    // It belongs to this certificate, and to this object.
    let spec = json!({"certificate": other.certificate, "privateKey": sealed.text()});
    let told = refused(&client, &certificate("shop", &spec)).await;
    assert!(told.contains("spec.privateKey") && told.contains("it is another's"), "{told}");
    let spec = json!({"certificate": pair.certificate, "privateKey": sealed.text()});
    let told = refused(&client, &certificate("copied", &spec)).await;
    assert!(told.contains("sealed for another object"), "{told}");
    let spec = json!({"certificate": pair.certificate, "privateKey": "sealed:00000000:AAAA"});
    let told = refused(&client, &certificate("copied", &spec)).await;
    assert!(told.contains("under another key file"), "{told}");
    let spec = json!({"certificate": pair.certificate, "privateKey": other.key.serialize_pem()});
    let told = refused(&client, &certificate("mixed", &spec)).await;
    assert!(told.contains("it is another's") && !other.is_in(told.as_bytes()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_gateways_that_name_it_are_told_a_certificate() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let (shop, unused) = (Pair::new("shop.example"), Pair::new("unused.example"));
    apply(&client, &[shop.object("shop"), unused.object("unused"), https(&["shop"])]).await;
    let mut edge = plane.connect(serves_tls(gateway("g1"))).await;
    edge.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
    let Some(v1::resource::Body::Certificate(told)) =
        edge.held["certificate/default/shop"].body.clone()
    else {
        panic!("{:?}", edge.keys())
    };
    assert_eq!(told.private_key, shop.key.serialized_der());
    assert!(!edge.keys().contains(&"certificate/default/unused"), "{:?}", edge.keys());

    let mut others = Vec::new();
    let older = gateway("g2");
    let another = v1::Hello { name: "inner".to_owned(), ..serves_tls(gateway("g3")) };
    for hello in [older, another, serves_tls(sidecar("s1", "a")), serves_tls(sidecar("s2", "edge"))]
    {
        let mut other = plane.connect(hello.clone()).await;
        other.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
        let keys = other.keys();
        assert!(!keys.iter().any(|key| key.starts_with("certificate/")), "{hello:?}: {keys:?}");
        others.push(other);
    }
    // Who is not told is named.
    let gateway = Key::new(Kind::Gateway, "default", "edge");
    let edge_object = client.get(&gateway).await.unwrap();
    let listener = &edge_object.status().unwrap().listeners[1];
    let not_sent = listener.conditions.iter().find(|it| it.reason == "CertificateNotSent");
    assert!(not_sent.unwrap().message.contains("g2"), "{listener:?}");

    // A new one follows the gateway, and what it does not name any more goes.
    apply(&client, &[https(&["unused"])]).await;
    edge.until(|it| {
        it.keys().contains(&"certificate/default/unused")
            && !it.keys().contains(&"certificate/default/shop")
    })
    .await;
    let told = client.delete(&key_of("unused")).await.unwrap_err();
    let CallError::Refused(problem) = told else { panic!("{told}") };
    assert!(problem.errors[0].to_string().contains("Gateway edge would miss it"), "{problem:?}");
    client.delete(&key_of("shop")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn not_everybody_on_the_machine_is_told_a_key() {
    let directory = || Arc::new(tempfile::tempdir().unwrap());
    let is_told_who_shows = async |plane: &Plane, shown: &str| {
        let hello = v1::Hello { join_token: shown.to_owned(), ..serves_tls(gateway("g1")) };
        let mut edge = plane.connect(hello).await;
        edge.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
        edge.keys().contains(&"certificate/default/shop")
    };
    for (token, whose, is_told) in [
        (None, (|_, _| Whose::Unknown) as fn(_, _) -> _, false),
        (None, |_, _| Whose::Relayed, false),
        (Some("secret"), |_, _| Whose::Relayed, false),
        (Some("secret"), |_, _| Whose::Unknown, true),
        (None, |_, _| Whose::Ours, true),
    ] {
        let plane = Plane::start_among(directory(), token, whose).await;
        let client = client(&plane).await;
        let shop = Pair::new("shop.example");
        apply(&client, &[shop.object("shop"), https(&["shop"])]).await;
        let told = is_told_who_shows(&plane, token.unwrap_or_default()).await;
        assert_eq!(told, is_told, "{token:?}");
        let own = plane.control.own_token();
        assert!(is_told_who_shows(&plane, &own).await, "a gateway within the process, {token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_machine_is_told_a_key_in_tls() {
    let token = "the secret of the mesh";
    let plane = Plane::start_in(Arc::new(tempfile::tempdir().unwrap()), Some(token)).await;
    let client = client(&plane).await;
    apply(&client, &[Pair::new("shop.example").object("shop"), https(&["shop"])]).await;
    for in_tls in [false, true] {
        let arrived = Arrived {
            peer: Some("10.0.0.7:40000".parse().unwrap()),
            local: Some("10.0.0.1:7601".parse().unwrap()),
            in_tls,
            certificate: None,
        };
        let hello = v1::Hello { join_token: token.to_owned(), ..serves_tls(gateway("g1")) };
        let edge = DataPlane::connect_over(plane.channel_as(arrived).await, hello).await;
        let mut edge = edge.unwrap();
        edge.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
        assert_eq!(edge.keys().contains(&"certificate/default/shop"), in_tls);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_says_which_certificate_is_missing_and_takes_it_when_it_comes() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    apply(&client, &[https(&["shop"])]).await;
    let mut edge = plane.connect(serves_tls(gateway("g1"))).await;
    edge.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
    let key = Key::new(Kind::Gateway, "default", "edge");
    let is_programmed = |conditions: &[StatusCondition]| has(conditions, "Programmed", "True");
    let without = until(&client, &key, is_programmed).await;
    let [http, https] = &without.status().unwrap().listeners[..] else { panic!("{without:?}") };
    assert!(has(&https.conditions, "ResolvedRefs", "False"), "{https:?}");
    assert!(https.conditions.iter().any(|it| it.reason == "InvalidCertificateRef"), "{https:?}");
    assert!(has(&http.conditions, "Programmed", "True"), "{http:?}");
    apply(&client, &[Pair::new("shop.example").object("shop")]).await;
    edge.until(|it| it.held.contains_key("certificate/default/shop")).await;
    let is_ready = |conditions: &[StatusCondition]| has(conditions, "Ready", "True");
    let with = until(&client, &key, is_ready).await;
    let https = &with.status().unwrap().listeners[1];
    assert!(has(&https.conditions, "ResolvedRefs", "True"), "{https:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_is_told() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    for (name, days, condition) in
        [("good", 60, "Ready"), ("soon", 20, "Expiring"), ("gone", -1, "Expired")]
    {
        let request = ApplyRequest { objects: vec![Pair::lasting(name, days).object(name)] };
        let response = client.apply(&request, false).await.unwrap();
        assert_eq!(response.warnings.len(), usize::from(days < 21), "{response:?}");
        let object =
            until(&client, &key_of(name), |conditions| has(conditions, condition, "True")).await;
        let told = object.status().unwrap().certificate.clone().unwrap();
        assert_eq!(told.names, [name]);
        assert!(!told.not_after.is_empty() && told.fingerprint.len() == 64, "{told:?}");
        assert_eq!(object.cells()[1], name);
    }
    let status = client.status().await.unwrap();
    let expiring = status.findings.iter().filter(|finding| finding.code == "expiry");
    assert_eq!(expiring.count(), 2, "{:?}", status.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_a_certificate_and_expires_before_it_is_told() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let (root, root_pair) = Pair::authority("root", -1);
    let (signer, between) = Pair::authority("between", -1);
    let cross_signed = signer.signed_by(&between.key, &Issuer::new(root, &root_pair.key));
    let cross_signed = cross_signed.unwrap().pem();
    let own = Pair::signed("shop.example", 365, &Issuer::new(signer, &between.key));
    let [chain, with_root] = [&cross_signed, &between.certificate]
        .map(|signed_by| format!("{}{signed_by}", own.certificate));
    let key = own.key.serialize_pem();
    for (name, spec, consequence) in [
        (
            "shop",
            json!({"certificate": chain, "privateKey": key}),
            Some("some clients may refuse it"),
        ),
        ("clients", json!({"caCertificates": chain}), Some("what it signs may be refused")),
        // Clients have roots of their own, and do not look at one that they are shown.
        ("rooted", json!({"certificate": with_root, "privateKey": key}), None),
    ] {
        let request = ApplyRequest { objects: vec![certificate(name, &spec)] };
        let response = client.apply(&request, false).await.unwrap();
        let told = format!("{:?}", response.warnings);
        let is_told = |conditions: &[StatusCondition]| match consequence {
            Some(_) => has(conditions, "Expired", "True"),
            None => has(conditions, "Ready", "True"),
        };
        let object = until(&client, &key_of(name), is_told).await;
        let status = object.status().unwrap();
        let conditions = format!("{:?}", status.conditions);
        assert_eq!(status.certificate.as_ref().unwrap().names, ["shop.example"]);
        let Some(consequence) = consequence else {
            assert!(response.warnings.is_empty() && !conditions.contains("Expired"), "{status:?}");
            continue;
        };
        assert!(told.contains(&format!("CN=between has expired, {consequence}")), "{told}");
        assert!(conditions.contains("CN=between expired at"), "{conditions}");
        assert!(conditions.contains(consequence), "{conditions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_key_file_is_missing_serves_the_rest_and_says_so() {
    let plane = Plane::start().await;
    let pair = Pair::new("shop.example");
    apply(&client(&plane).await, &[pair.object("shop"), https(&["shop"])]).await;
    let key_file = plane.directory.path().join("laneway.key");
    let kept = plane.directory.path().join("kept");
    fs::rename(&key_file, &kept).unwrap();
    let findings = client(&plane).await.status().await.unwrap().findings;
    assert!(format!("{findings:?}").contains("laneway.key has gone"), "{findings:?}");
    plane.control.stop().await;
    let plane = plane.restart().await;
    let client = client(&plane).await;
    let object =
        until(&client, &key_of("shop"), |conditions| has(conditions, "Ready", "False")).await;
    let told = format!("{:?}", object.status().unwrap().conditions);
    assert!(told.contains("laneway.key is missing"), "{told}");
    // Nothing new is sealed under a new key file: the old one would then open half of them.
    let told = refused(&client, &Pair::new("other.example").object("other")).await;
    assert!(told.contains("laneway.key is missing"), "{told}");
    assert!(!key_file.exists());
    let labelled = json!({"metadata": {"labels": {"team": "shop"}}});
    client.patch(&key_of("shop"), &labelled).await.unwrap();
    // Whether the key that is there is another certificate's cannot be seen.
    let another = json!({"spec": {"certificate": Pair::new("shop.example").certificate}});
    let told = format!("{:?}", client.patch(&key_of("shop"), &another).await.unwrap_err());
    assert!(
        told.contains("spec.certificate") && told.contains("write its private key too"),
        "{told}"
    );
    fs::rename(&kept, &key_file).unwrap();
    until(&client, &key_of("shop"), |conditions| has(conditions, "Ready", "True")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_key_file_makes_another_and_adds_the_certificates_again() {
    let plane = Plane::start().await;
    let (shop, api) = (Pair::new("shop.example"), Pair::new("api.example"));
    let objects = [shop.object("shop"), api.object("api"), https(&["shop", "api"])];
    apply(&client(&plane).await, &objects).await;
    let key_file = plane.directory.path().join("laneway.key");
    plane.control.stop().await;
    fs::remove_file(&key_file).unwrap();
    let plane = plane.restart().await;
    let client = client(&plane).await;
    let told = refused(&client, &Pair::new("shop.example").object("shop")).await;
    let path = key_file.display();
    assert!(told.contains(&format!("`umask 077; openssl rand -hex 32 > {path}`")), "{told}");
    fs::write(&key_file, "0f".repeat(32)).unwrap();
    for (name, pair) in [("shop", shop), ("api", api)] {
        assert_eq!(apply(&client, &[pair.object(name)]).await, Action::Configured);
    }
    for name in ["shop", "api"] {
        until(&client, &key_of(name), |conditions| has(conditions, "Ready", "True")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_files_that_is_deleted_and_added_again_at_once_is_read_again() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let directory = tempfile::tempdir().unwrap();
    let (crt, key) = (directory.path().join("shop.crt"), directory.path().join("shop.key"));
    let pair = Pair::new("shop.example");
    fs::write(&crt, &pair.certificate).unwrap();
    fs::write(&key, pair.key.serialize_pem()).unwrap();
    let object = certificate("shop", &json!({"files": {"certificate": crt, "privateKey": key}}));
    let is_ready = |conditions: &[StatusCondition]| has(conditions, "Ready", "True");
    apply(&client, std::slice::from_ref(&object)).await;
    until(&client, &key_of("shop"), is_ready).await;
    // Before the files are looked at again.
    client.delete(&key_of("shop")).await.unwrap();
    assert_eq!(apply(&client, &[object]).await, Action::Created);
    until(&client, &key_of("shop"), is_ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_in_files_are_read_whenever_they_change() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let directory = tempfile::tempdir().unwrap();
    let (crt, key) = (directory.path().join("shop.crt"), directory.path().join("shop.key"));
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    let object = certificate("shop", &json!({"files": {"certificate": crt, "privateKey": key}}));
    let request = ApplyRequest { objects: vec![object, https(&["shop"])] };
    let response = client.apply(&request, false).await.unwrap();
    let told = format!("{:?}", response.warnings);
    assert!(told.contains("shop.crt") && told.contains("read again"), "{told}");

    let (first, second) = (Pair::new("one.example"), Pair::new("two.example"));
    write(&crt, &first.certificate);
    write(&key, &first.key.serialize_pem());
    let mut edge = plane.connect(serves_tls(gateway("g1"))).await;
    let holds = |pair: &Pair| {
        let der = pair.key.serialized_der().to_vec();
        move |it: &crate::harness::DataPlane| {
            let held = it.held.get("certificate/default/shop").and_then(|held| held.body.as_ref());
            matches!(held, Some(v1::resource::Body::Certificate(held)) if held.private_key == der)
        }
    };
    edge.until(holds(&first)).await;

    // One file of two: what was loaded last stays, and says so.
    write(&crt, &second.certificate);
    let is_not_loaded = |conditions: &[StatusCondition]| {
        conditions.iter().any(|condition| condition.reason == "NotLoaded")
    };
    let object = until(&client, &key_of("shop"), is_not_loaded).await;
    let told = format!("{:?}", object.status().unwrap().conditions);
    assert!(told.contains("shop.crt") && told.contains("what was loaded last stays"), "{told}");
    assert!(!second.is_in(told.as_bytes()) && holds(&first)(&edge));
    write(&key, &second.key.serialize_pem());
    edge.until(holds(&second)).await;
    until(&client, &key_of("shop"), |conditions| has(conditions, "Ready", "True")).await;
}
