//! Routes of gRPC: what is said of them as what they name comes and goes, and that they are distributed beside others.

use api::{
    client::Client,
    discovery::v1::resource::Body,
    resource::{Key, Kind},
};
use serde_json::{Value, json};

use crate::{
    harness::{DataPlane, PATIENCE, backend, gateway, route, service},
    rest::started,
};

/// Where the test's calls go.
const ORDERS: &str = "/shop.v1.Orders/Get";

fn calls(name: &str, hostnames: &[&str]) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "edge"}], "hostnames": hostnames, "rules": [{
            "matches": [{"method": {"service": "shop.v1.Orders"}}],
            "backendRefs": [{"group": "laneway.io", "kind": "Backend", "name": "orders"}],
        }]},
    })
}

fn edge(annotations: Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "annotations": annotations},
        "spec": {"gatewayClassName": "laneway", "listeners": [{"name": "http", "port": 8000, "protocol": "HTTP"}]},
    })
}

/// Waits until a condition of a route says this for this reason; its message.
pub(crate) async fn becomes(
    client: &Client,
    key: &Key,
    condition: &str,
    expected: (&str, &str),
) -> String {
    let mut seen = None;
    let read = async {
        loop {
            let object = client.get(key).await.unwrap();
            let conditions = object.status().map(|it| it.conditions.clone()).unwrap_or_default();
            let it = conditions.into_iter().find(|it| it.kind == condition);
            if let Some(it) = &it
                && (it.status.as_str(), it.reason.as_str()) == expected
            {
                return it.message.clone();
            }
            seen = it;
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(message) => message,
        Err(_) => panic!("{key}: {condition} does not become {expected:?}: {seen:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_route_of_grpc_from_serving_is_said_until_it_is_mended() {
    let (plane, client) = started().await;
    let key = Key::new(Kind::GrpcRoute, "default", "orders");
    plane.serve(&[service("orders", "orders", &["1"])]);
    plane.apply(&[backend("orders", "orders"), calls("orders", &[])]).await.unwrap();
    // The gateway that is there without an object speaks HTTP/1.1.
    let said = becomes(&client, &key, "Accepted", ("False", "NotAllowedByListeners")).await;
    assert!(said.contains("laneway.io/http2-prior-knowledge"), "{said}");
    plane.apply(&[edge(json!({"laneway.io/http2-prior-knowledge": "true"}))]).await.unwrap();
    becomes(&client, &key, "Accepted", ("True", "Accepted")).await;
    let said = becomes(&client, &key, "ResolvedRefs", ("False", "UnsupportedProtocol")).await;
    assert!(said.contains("write protocol: h2c in Backend orders"), "{said}");
    let mut speaks_http2 = backend("orders", "orders");
    speaks_http2["spec"]["protocol"] = "h2c".into();
    plane.apply(&[speaks_http2]).await.unwrap();
    becomes(&client, &key, "ResolvedRefs", ("True", "ResolvedRefs")).await;

    let explained = async |method: &str, path: &str| {
        let asked = serde_json::from_value(json!({"method": method, "url": path})).unwrap();
        client.explain(&asked).await.unwrap()
    };
    let answer = explained("POST", ORDERS).await;
    assert_eq!(answer.route, "grpcroute/default/orders", "{answer:?}");
    assert_eq!(explained("GET", ORDERS).await.route, "");
    assert_eq!(explained("POST", "/shop.v1.Others/Get").await.route, "");

    // What it names does not go before it.
    let refused = client.delete(&Key::new(Kind::Backend, "default", "orders")).await;
    assert!(format!("{:?}", refused.unwrap_err()).contains("GRPCRoute orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_is_of_the_older_of_two_kinds_of_route() {
    let (plane, client) = started().await;
    plane.serve(&[service("orders", "orders", &["1"])]);
    let mut speaks_http2 = backend("orders", "orders");
    speaks_http2["spec"]["protocol"] = "h2c".into();
    let edge = edge(json!({"laneway.io/http2-prior-knowledge": "true"}));
    plane.apply(&[speaks_http2, edge.clone(), calls("shop", &["shop.example"])]).await.unwrap();
    // Of one name, and yet two.
    let mut younger = route("shop", "/", "orders");
    younger["spec"]["hostnames"] = json!(["*.example"]);
    plane.apply(&[younger.clone()]).await.unwrap();
    let (older_key, key) = (
        Key::new(Kind::GrpcRoute, "default", "shop"),
        Key::new(Kind::HttpRoute, "default", "shop"),
    );
    let said = becomes(&client, &key, "Accepted", ("False", "HostnameConflict")).await;
    assert!(said.contains("GRPCRoute shop, which is older"), "{said}");
    becomes(&client, &key, "Conflicted", ("True", "Conflict")).await;
    becomes(&client, &older_key, "Accepted", ("True", "Accepted")).await;
    for (url, said) in [("http://shop.example/", 2), ("http://no.other/", 1)] {
        let asked = serde_json::from_value(json!({"method": "GET", "url": url})).unwrap();
        let explained = client.explain(&asked).await.unwrap();
        assert_eq!(explained.routing.len(), said, "{explained:?}");
        assert_eq!(
            said == 2,
            explained.routing.iter().any(|it| it.starts_with(
                "route default/shop does not stand there: route grpcroute/default/shop"
            )),
            "{explained:?}"
        );
    }
    let mut data_plane = plane.connect(gateway("one")).await;
    let both = ["route/default/shop", "route/grpcroute/default/shop"];
    data_plane.until(|it| both.iter().all(|key| it.held.contains_key(*key))).await;
    // Where it does not stand it is not said to stand: a gateway of a release that knows no routes of gRPC would serve both.
    let sections = |it: &DataPlane, key: &str| -> Option<Vec<String>> {
        let body = it.held.get(key)?.body.as_ref()?;
        let Body::Route(route) = body else { panic!("{body:?}") };
        Some(route.parents.iter().map(|parent| parent.section.clone()).collect())
    };
    assert_eq!(sections(&data_plane, both[0]), Some(Vec::new()));
    assert_eq!(sections(&data_plane, both[1]), Some(vec![String::new()]));

    // Other hosts, and it is served; nobody touches the other for it.
    younger["spec"]["hostnames"] = json!(["other.example"]);
    plane.apply(&[younger.clone()]).await.unwrap();
    becomes(&client, &key, "Accepted", ("True", "Accepted")).await;
    data_plane.until(|it| sections(it, both[0]) == Some(vec![String::new()])).await;
    younger["spec"]["hostnames"] = json!(["shop.example"]);
    plane.apply(&[younger.clone()]).await.unwrap();
    becomes(&client, &key, "Accepted", ("False", "HostnameConflict")).await;
    // Of two listeners it keeps the one where nobody else has the host.
    let mut wider = edge.clone();
    let listener = json!({"name": "other", "port": 8001, "protocol": "HTTP"});
    wider["spec"]["listeners"].as_array_mut().unwrap().push(listener);
    let mut at_one = calls("shop", &["shop.example"]);
    at_one["spec"]["parentRefs"][0]["sectionName"] = "http".into();
    plane.apply(&[wider, at_one]).await.unwrap();
    let said = becomes(&client, &key, "Accepted", ("True", "Accepted")).await;
    assert!(said.contains("at listener http of Gateway edge"), "{said}");
    data_plane.until(|it| sections(it, both[0]) == Some(vec!["other".to_owned()])).await;
    // Where it is said to stand by itself: at the other alone, and at the one where it does not stand.
    for (section, stands) in [("other", vec!["other".to_owned()]), ("http", Vec::new())] {
        younger["spec"]["parentRefs"][0]["sectionName"] = section.into();
        plane.apply(&[younger.clone()]).await.unwrap();
        data_plane.until(|it| sections(it, both[0]) == Some(stands.clone())).await;
    }
    younger["spec"]["parentRefs"][0].as_object_mut().unwrap().remove("sectionName");
    plane.apply(&[younger]).await.unwrap();
    data_plane.until(|it| sections(it, both[0]) == Some(vec!["other".to_owned()])).await;
    // With the older gone the host is free.
    client.delete(&older_key).await.unwrap();
    becomes(&client, &key, "Accepted", ("True", "Accepted")).await;
    data_plane.until(|it| it.has_lost("route/grpcroute/default/shop")).await;
    data_plane.until(|it| sections(it, both[0]) == Some(vec![String::new()])).await;
}
