//! Routes of connections in TLS: what is said of them and of the listeners that they stand at, and what is explained.

use api::{
    client::Client,
    resource::{Key, Kind, ListenerStatus, Object},
};
use serde_json::{Value, json};

use crate::{
    grpc_routes::becomes,
    harness::{PATIENCE, backend, gateway, route, service},
    rest::started,
};

fn passed(name: &str, parent: &Value, hostname: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "TLSRoute", "metadata": {"name": name},
        "spec": {"parentRefs": [parent], "hostnames": [hostname], "rules": [{
            "backendRefs": [{"group": "laneway.io", "kind": "Backend", "name": "vault"}],
        }]},
    })
}

fn edge(kinds: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {"gatewayClassName": "laneway", "listeners": [
            {"name": "http", "port": 8000, "protocol": "HTTP", "allowedRoutes": {"kinds": kinds}},
            {"name": "vault", "port": 8443, "protocol": "TLS", "hostname": "*.vault.example",
             "tls": {"mode": "Passthrough"}},
        ]},
    })
}

/// Waits until the listeners of `edge` are as expected: the kinds they let attach, and how many routes stand at each.
async fn listeners_become(client: &Client, expected: &[(&[&str], u32)]) {
    let key = Key::new(Kind::Gateway, "default", "edge");
    let mut seen = Vec::new();
    let shown = |it: &ListenerStatus| {
        let kinds = it.supported_kinds.iter().map(|kind| kind.kind.clone());
        (kinds.collect::<Vec<_>>(), it.attached_routes)
    };
    let read = async {
        loop {
            let Object::Gateway(gateway) = client.get(&key).await.unwrap() else { unreachable!() };
            let status = gateway.status.unwrap_or_default();
            seen = status.listeners.iter().map(shown).collect();
            let both = seen.iter().zip(expected);
            let mut is_same =
                both.map(|((kinds, routes), wanted)| kinds == wanted.0 && *routes == wanted.1);
            if seen.len() == expected.len() && is_same.all(|it| it) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, read).await;
    assert!(in_time.is_ok(), "{seen:?} is not {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_led_by_name_and_what_keeps_a_route_from_it_is_said() {
    let (plane, client) = started().await;
    plane.serve(&[service("vault", "vault", &["1"])]);
    let (key, anywhere) = (Key::new(Kind::TlsRoute, "default", "vault"), json!({"name": "edge"}));
    plane
        .apply(&[backend("vault", "vault"), passed("vault", &anywhere, "a.vault.example")])
        .await
        .unwrap();
    // The gateway that is there without an object passes nothing on.
    let said = becomes(&client, &key, "Accepted", ("False", "NotAllowedByListeners")).await;
    assert!(said.contains("use a listener of protocol TLS with tls.mode: Passthrough"), "{said}");
    plane.apply(&[edge(&json!([]))]).await.unwrap();
    let said = becomes(&client, &key, "Accepted", ("True", "Accepted")).await;
    assert!(said.contains("SNI") && said.contains("the base alone has them"), "{said}");
    let said = becomes(&client, &key, "ResolvedRefs", ("False", "UnsupportedProtocol")).await;
    assert!(said.contains("write protocol: https in Backend vault"), "{said}");
    let mut in_tls = backend("vault", "vault");
    in_tls["spec"]["protocol"] = "https".into();
    plane.apply(&[in_tls]).await.unwrap();
    becomes(&client, &key, "ResolvedRefs", ("True", "ResolvedRefs")).await;
    // Without HTTP/2 in the clear no gRPC.
    let both: &[&str] = &["HTTPRoute"];
    listeners_become(&client, &[(both, 0), (&["TLSRoute"], 1)]).await;

    // Beside others: each stands where it is carried, and nowhere else.
    plane.apply(&[route("shop", "/", "vault")]).await.unwrap();
    let other = passed("other", &anywhere, "b.vault.example");
    plane.apply(&[other]).await.unwrap();
    listeners_become(&client, &[(both, 1), (&["TLSRoute"], 2)]).await;
    // Of two of one name the older has the connections, until it goes.
    let twin = passed("twin", &anywhere, "B.vault.example");
    plane.apply(&[twin]).await.unwrap();
    let twin = Key::new(Kind::TlsRoute, "default", "twin");
    let said = becomes(&client, &twin, "Accepted", ("False", "HostnameConflict")).await;
    assert!(said.contains("TLSRoute other, which is older"), "{said}");
    listeners_become(&client, &[(both, 1), (&["TLSRoute"], 2)]).await;
    plane.apply(&[edge(&json!([{"kind": "GRPCRoute"}]))]).await.unwrap();
    let shop = Key::new(Kind::HttpRoute, "default", "shop");
    let said = becomes(&client, &shop, "Accepted", ("False", "NotAllowedByListeners")).await;
    assert!(said.contains("allowedRoutes.kinds of listener http"), "{said}");
    listeners_become(&client, &[(&[], 0), (&["TLSRoute"], 2)]).await;
    client.delete(&Key::new(Kind::TlsRoute, "default", "other")).await.unwrap();
    becomes(&client, &twin, "Accepted", ("True", "Accepted")).await;
    client.delete(&twin).await.unwrap();
    listeners_become(&client, &[(&[], 0), (&["TLSRoute"], 1)]).await;

    let refused = plane.apply(&[edge(&json!([{"kind": "TLSRoute"}]))]).await;
    assert!(format!("{refused:?}").contains("allowedRoutes.kinds[0].kind"), "{refused:?}");
    let refused = client.delete(&Key::new(Kind::Backend, "default", "vault")).await;
    assert!(format!("{:?}", refused.unwrap_err()).contains("TLSRoute vault"));
    let mut data_plane = plane.connect(gateway("one")).await;
    data_plane.until(|it| it.held.contains_key("route/tlsroute/default/vault")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_explained_as_base_whatever_its_requests_say() {
    let (plane, client) = started().await;
    plane.serve(&[service("vault", "vault", &["1"])]);
    let mut in_tls = backend("vault", "vault");
    in_tls["spec"]["protocol"] = "https".into();
    let route = passed("vault", &json!({"name": "edge"}), "a.vault.example");
    plane.apply(&[in_tls, edge(&json!([])), route]).await.unwrap();
    let explained = async |url: &str| {
        let asked = json!({
            "method": "GET", "url": url, "headers": [{"name": "canary", "value": "gray"}],
        });
        client.explain(&serde_json::from_value(asked).unwrap()).await.unwrap()
    };
    let answer = explained("https://A.vault.example:8443/secret").await;
    assert!(answer.passes_tls);
    let at = (answer.listener.as_str(), answer.route.as_str());
    assert_eq!(at, ("vault", "tlsroute/default/vault"), "{answer:?}");
    assert!(answer.routing[0].starts_with("passed by SNI, a.vault.example"), "{answer:?}");
    assert_eq!((answer.entrance.len(), answer.baggage.as_str()), (0, ""), "{answer:?}");
    let [hop] = answer.hops.as_slice() else { panic!("{answer:?}") };
    assert_eq!((hop.service.as_str(), hop.outcome.as_str()), ("vault", "base"), "{hop:?}");
    assert!(!hop.endpoint.is_empty(), "{hop:?}");
    let answer = explained("https://c.vault.example:8443/").await;
    assert_eq!((answer.route.as_str(), answer.hops.len()), ("", 0));
    assert!(answer.routing[0].contains("the connection is refused"), "{answer:?}");
    assert!(!explained("http://a.vault.example:8000/").await.passes_tls);
}
