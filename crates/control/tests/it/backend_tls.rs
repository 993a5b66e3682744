//! Backends in TLS: whom gateways are to believe reaches them, and what is wrong with it is said.

use std::sync::Arc;

use api::{
    client::{CallError, Client},
    discovery::v1::{self, resource::Body},
    resource::{Key, Kind, Object, StatusCondition},
    rest::{ApplyRequest, ApplyResponse},
};
use control::Whose;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::harness::{DataPlane, PATIENCE, Plane, gateway, route, sidecar};

const POLICIES: Kind = Kind::BackendTlsPolicy;

fn pem(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn certificate(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Certificate", "metadata": {"name": name}, "spec": spec,
    })
}

fn authorities(name: &str) -> Value {
    certificate(name, &json!({"caCertificates": pem(name).0}))
}

fn backend(name: &str, protocol: &str) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Backend", "metadata": {"name": name},
        "spec": {"source": "fixed", "service": name, "protocol": protocol},
    })
}

/// Of instances that no sidecar is before.
fn source() -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
        "spec": {"static": {"services": [
            {"name": "orders", "instances": [{"address": "127.0.0.1:1"}]},
            {"name": "stock", "instances": [{"address": "127.0.0.1:2"}]},
        ]}},
    })
}

fn policy(name: &str, backends: &[&str], validation: &Value) -> Value {
    let target = |name: &&str| json!({"group": "laneway.io", "kind": "Backend", "name": name});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": {"name": name},
        "spec": {"targetRefs": backends.iter().map(target).collect::<Vec<_>>(), "validation": validation},
    })
}

fn believes(hostname: &str, certificate: &str) -> Value {
    json!({
        "hostname": hostname,
        "caCertificateRefs": [{"group": "laneway.io", "kind": "Certificate", "name": certificate}],
    })
}

async fn client(plane: &Plane) -> Client {
    Client::new(&format!("http://{}", plane.rest().await)).unwrap()
}

async fn apply(client: &Client, objects: &[Value]) -> ApplyResponse {
    client.apply(&ApplyRequest { objects: objects.to_vec() }, false).await.unwrap()
}

/// Everything that is wrong with what is written.
async fn refused(client: &Client, object: Value) -> String {
    match client.apply(&ApplyRequest { objects: vec![object] }, false).await {
        Err(CallError::Refused(problem)) => {
            problem.errors.iter().map(|error| format!("{error}\n")).collect()
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn warnings(response: &ApplyResponse) -> String {
    response.warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

/// Waits until an object's condition has this status and reason; gives what it says.
async fn condition(client: &Client, key: &Key, kind: &str, status: &str, reason: &str) -> String {
    let holds =
        |it: &&StatusCondition| it.kind == kind && it.status == status && it.reason == reason;
    let mut watch = client.watch(key.kind, None).await.unwrap();
    let found = async {
        loop {
            let event = watch.next().await.unwrap().unwrap();
            let Some(object) = event.object.filter(|object| object.key() == *key) else { continue };
            let Some(status) = object.status() else { continue };
            if let Some(condition) = status.conditions.iter().find(holds) {
                return condition.message.clone();
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("{key}: {kind} comes to be {status} for {reason}"))
}

fn key(name: &str) -> Key {
    Key::new(POLICIES, "default", name)
}

fn knows_tls(hello: v1::Hello) -> v1::Hello {
    v1::Hello { capabilities: vec!["tls".to_owned()], ..hello }
}

/// How a data plane is to speak to the only backend of a route.
fn told(data_plane: &DataPlane, route: &str) -> Option<v1::RouteBackend> {
    match data_plane.held.get(&format!("route/default/{route}"))?.body.as_ref()? {
        Body::Route(route) => Some(route.rules[0].backends[0].clone()),
        _ => None,
    }
}

fn hostname(data_plane: &DataPlane, route: &str) -> Option<String> {
    Some(told(data_plane, route)?.tls?.hostname)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_says_reaches_gateways_with_the_authorities_that_it_names() {
    // Others can read what is sent: authorities are no secret.
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let plane = Plane::start_among(directory, Some("secret"), |_, _| Whose::Relayed).await;
    let client = client(&plane).await;
    let (pair, private) = pem("pair");
    let objects = [
        source(),
        authorities("first"),
        authorities("second"),
        certificate("pair", &json!({"certificate": pair, "privateKey": private})),
        backend("orders", "h2"),
        policy("orders", &["orders"], &believes("orders.internal", "first")),
        route("orders", "/", "orders"),
    ];
    assert_eq!(warnings(&apply(&client, &objects).await), "");
    let hello = |node| v1::Hello { join_token: "secret".to_owned(), ..gateway(node) };
    let mut edge = plane.connect(knows_tls(hello("g1"))).await;
    edge.until(|it| it.held.contains_key("certificate/default/first")).await;
    let backend_told = told(&edge, "orders").unwrap();
    assert_eq!(hostname(&edge, "orders").as_deref(), Some("orders.internal"));
    assert!(backend_told.http2 && backend_told.service.is_none(), "{backend_told:?}");
    assert!(!edge.held.contains_key("certificate/default/second"), "{:?}", edge.keys());

    // Nobody else needs them.
    let sidecar = v1::Hello { join_token: "secret".to_owned(), ..sidecar("s1", "orders") };
    for hello in [hello("g2"), knows_tls(sidecar)] {
        let mut other = plane.connect(hello).await;
        other.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
        let keys = other.keys();
        assert!(!keys.iter().any(|key| key.starts_with("certificate/")), "{keys:?}");
    }

    // Whom to believe is one change, with what it takes.
    apply(&client, &[policy("orders", &["orders"], &believes("orders.internal", "second"))]).await;
    edge.until(|it| !it.held.contains_key("certificate/default/first")).await;
    assert!(edge.held.contains_key("certificate/default/second"));
    let authorities = told(&edge, "orders").unwrap().tls.unwrap().authorities;
    assert_eq!(authorities, ["default/second"]);

    // A private key is nobody's authority, and is not sent where others hear it.
    let told_of = refused(
        &client,
        certificate("second", &json!({"certificate": pair, "privateKey": private})),
    )
    .await;
    assert!(told_of.contains("name a Certificate with caCertificates"), "{told_of}");
    let told_of =
        refused(&client, policy("orders", &["orders"], &believes("orders.internal", "pair"))).await;
    assert!(told_of.contains("spec.validation.caCertificateRefs[0].name"), "{told_of}");

    // Without a policy nobody is asked, in the clear least of all: nobody deletes the only one by mistake.
    let CallError::Refused(problem) = client.delete(&key("orders")).await.unwrap_err() else {
        panic!("not refused")
    };
    let said = problem.errors[0].to_string();
    assert!(said.contains("HTTPRoute orders would miss it"), "{said}");
    apply(&client, &[policy("orders", &["other"], &believes("orders.internal", "second"))]).await;
    edge.until(|it| told(it, "orders").is_some_and(|told| told.tls.is_none())).await;
    let backend_told = told(&edge, "orders").unwrap();
    assert!(backend_told.service.is_none(), "{backend_told:?}");
    assert!(backend_told.problem.contains("write a BackendTLSPolicy for Backend orders"));
    let of_route = Key::new(Kind::HttpRoute, "default", "orders");
    let said = condition(&client, &of_route, "ResolvedRefs", "False", "BackendNotVerified").await;
    assert!(said.contains("BackendTLSPolicy"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_what_it_misses_and_counts_when_it_comes() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let orders = policy("orders", &["orders"], &believes("orders.internal", "authority"));
    let said = warnings(&apply(&client, std::slice::from_ref(&orders)).await);
    assert!(said.contains("there is no Backend orders"), "{said}");
    assert!(said.contains("there is no Certificate authority"), "{said}");
    let said = condition(&client, &key("orders"), "Accepted", "False", "TargetNotFound").await;
    assert_eq!(said, "there is no Backend orders");
    let invalid = "InvalidCACertificateRef";
    let said = condition(&client, &key("orders"), "ResolvedRefs", "False", invalid).await;
    assert_eq!(said, "there is no Certificate authority");
    apply(&client, &[source(), backend("orders", "https")]).await;
    condition(&client, &key("orders"), "Accepted", "False", "NoValidCACertificate").await;
    apply(&client, &[authorities("authority")]).await;
    condition(&client, &key("orders"), "Accepted", "True", "Accepted").await;
    condition(&client, &key("orders"), "ResolvedRefs", "True", "ResolvedRefs").await;
    // What it names stays.
    for (kind, name) in [(Kind::Backend, "orders"), (Kind::Certificate, "authority")] {
        let told = client.delete(&Key::new(kind, "default", name)).await.unwrap_err();
        let CallError::Refused(problem) = told else { panic!("{told}") };
        let said = problem.errors[0].to_string();
        assert!(said.contains("BackendTLSPolicy orders would miss it"), "{said}");
    }
    // The way back: in the clear it counts for nothing, and may go.
    apply(&client, &[route("orders", "/", "orders")]).await;
    let said = warnings(&apply(&client, &[backend("orders", "http")]).await);
    assert!(
        said.contains("spec.targetRefs[0].name") && said.contains("write protocol: https"),
        "{said}"
    );
    condition(&client, &key("orders"), "Accepted", "False", "TargetNotInTls").await;
    client.delete(&key("orders")).await.unwrap();
    for (kind, name) in
        [(Kind::HttpRoute, "orders"), (Kind::Backend, "orders"), (Kind::Certificate, "authority")]
    {
        client.delete(&Key::new(kind, "default", name)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_policies_for_a_backend_the_older_counts_until_it_goes() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let older = policy("older", &["orders"], &believes("older.internal", "authority"));
    let younger =
        policy("a-younger", &["orders", "stock"], &believes("younger.internal", "authority"));
    let objects = [
        source(),
        authorities("authority"),
        backend("orders", "https"),
        older,
        route("orders", "/", "orders"),
    ];
    apply(&client, &objects).await;
    let objects = [backend("stock", "https"), younger, route("stock", "/stock", "stock")];
    let said = warnings(&apply(&client, &objects).await);
    assert!(said.contains("BackendTLSPolicy older: it is older"), "{said}");
    let mut edge = plane.connect(knows_tls(gateway("g1"))).await;
    edge.until(|it| it.held.contains_key("certificate/default/authority")).await;
    assert_eq!(hostname(&edge, "orders").as_deref(), Some("older.internal"));
    assert_eq!(hostname(&edge, "stock").as_deref(), Some("younger.internal"));
    let said = condition(&client, &key("a-younger"), "Accepted", "False", "Conflicted").await;
    assert_eq!(said, "for Backend orders counts BackendTLSPolicy older, which is older");
    condition(&client, &key("a-younger"), "Conflicted", "True", "Conflict").await;
    let shown = client.get(&key("a-younger")).await.unwrap();
    assert_eq!(shown.cells(), ["a-younger", "orders,stock", "younger.internal", "Conflicted"]);
    client.delete(&key("older")).await.unwrap();
    edge.until(|it| hostname(it, "orders").as_deref() == Some("younger.internal")).await;
    condition(&client, &key("a-younger"), "Accepted", "True", "Accepted").await;
    let Object::BackendTlsPolicy(shown) = client.get(&key("a-younger")).await.unwrap() else {
        panic!()
    };
    assert!(shown.status.unwrap().conditions.iter().all(|it| !it.is_bad()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_older_policy_cannot_be_read_the_younger_does_not_count() {
    let plane = Plane::start().await;
    let objects = [
        source(),
        authorities("authority"),
        backend("orders", "https"),
        policy("older", &["orders"], &believes("older.internal", "authority")),
        route("orders", "/", "orders"),
    ];
    plane.apply(&objects).await.unwrap();
    let younger = policy("younger", &["orders"], &believes("younger.internal", "authority"));
    plane.apply(&[younger]).await.unwrap();
    let plane = plane.restart_after("UPDATE objects SET body = '{' WHERE name = 'older'").await;
    let mut edge = plane.connect(knows_tls(gateway("g1"))).await;
    edge.until(|it| told(it, "orders").is_some()).await;
    let backend_told = told(&edge, "orders").unwrap();
    assert!(backend_told.tls.is_none() && backend_told.service.is_none(), "{backend_told:?}");
    assert!(backend_told.problem.contains("that cannot be read"), "{backend_told:?}");
    // Written anew it is what it says.
    let older = policy("older", &["orders"], &believes("older.internal", "authority"));
    plane.apply(&[older]).await.unwrap();
    edge.until(|it| told(it, "orders").is_some_and(|it| it.tls.is_some())).await;
}

/// Each of a route's backends is spoken of by itself, and a route of which every request is answered 500 says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_which_backend_cannot_be_asked_and_why() {
    let plane = Plane::start().await;
    let client = client(&plane).await;
    let mut mixed = route("mixed", "/mixed", "stock");
    let mut absent = mixed["spec"]["rules"][0]["backendRefs"][0].clone();
    absent["name"] = json!("absent");
    mixed["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().push(absent);
    let objects = [
        source(),
        backend("stock", "https"),
        mixed,
        backend("orders", "https"),
        policy("orders", &["orders"], &believes("orders.internal", "authority")),
        route("orders", "/", "orders"),
    ];
    apply(&client, &objects).await;
    let (of_mixed, of_orders) = (
        Key::new(Kind::HttpRoute, "default", "mixed"),
        Key::new(Kind::HttpRoute, "default", "orders"),
    );
    let not_verified = "BackendNotVerified";
    let said = condition(&client, &of_mixed, "ResolvedRefs", "False", not_verified).await;
    assert!(said.contains("write a BackendTLSPolicy for Backend stock"), "{said}");
    let said = condition(&client, &of_orders, "ResolvedRefs", "False", not_verified).await;
    assert_eq!(said, "there is no Certificate authority");
    apply(&client, &[authorities("authority")]).await;
    condition(&client, &of_orders, "ResolvedRefs", "True", "ResolvedRefs").await;
}
