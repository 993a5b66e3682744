//! Gateways of releases that cannot do what is asked of them: told of where it is asked.

use api::{
    discovery::v1,
    resource::{Key, Kind, Object},
};
use serde_json::json;

use crate::{
    grpc_routes::becomes,
    harness::{DataPlane, PATIENCE, gateway, sidecar},
    rest::started,
};

fn knowing(hello: v1::Hello, capabilities: &[&str]) -> v1::Hello {
    v1::Hello { capabilities: capabilities.iter().map(|it| (*it).to_owned()).collect(), ..hello }
}

/// The condition of the first listener of `edge` comes to be as expected; its message.
async fn listener_becomes(
    client: &api::client::Client,
    kind: &str,
    expected: (&str, &str),
) -> String {
    let key = Key::new(Kind::Gateway, "default", "edge");
    let mut seen = None;
    let read = async {
        loop {
            let Object::Gateway(gateway) = client.get(&key).await.unwrap() else { unreachable!() };
            let listeners = gateway.status.unwrap_or_default().listeners;
            let mut conditions = listeners.into_iter().take(1).flat_map(|it| it.conditions);
            seen = conditions.find(|it| it.kind == kind);
            if let Some(it) = &seen
                && (it.status.as_str(), it.reason.as_str()) == expected
            {
                return it.message.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(message) => message,
        Err(_) => panic!("{kind} does not become {expected:?}: {seen:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_issues_no_cookies_is_told_of_at_the_lane_that_asks_for_one() {
    let (plane, client) = started().await;
    let group = |entrance| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "trade"},
            "spec": {"entrances": [entrance], "applications": ["a"]},
        })
    };
    let lane = |sticky_by| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
            "spec": {"group": "trade", "entry": {"ratio": {"percent": 5, "stickyBy": sticky_by}}},
        })
    };
    plane
        .apply(&[
            group(json!({"gateway": "edge"})),
            lane(json!({"cookie": "place", "issue": {"maxAge": "30d"}})),
        ])
        .await
        .unwrap();
    let _new = plane.connect(knowing(gateway("g1"), &["issue"])).await;
    let key = Key::new(Kind::Lane, "default", "gray");
    let is_told = async || {
        let object = client.get(&key).await.unwrap();
        object.status().is_some_and(|it| it.conditions.iter().any(|it| it.kind == "Issued"))
    };
    assert!(!is_told().await);
    let _old = plane.connect(knowing(gateway("g2"), &["tls"])).await;
    let said = becomes(&client, &key, "Issued", ("False", "DataPlaneTooOld")).await;
    assert!(said.contains("g2") && said.contains("cookie `place`"), "{said}");
    plane.apply(&[group(json!({"application": "a"}))]).await.unwrap();
    let said = becomes(&client, &key, "Issued", ("False", "NoGateway")).await;
    assert!(said.contains("cookie `place`"), "{said}");
    plane.apply(&[lane(json!({"cookie": "place"}))]).await.unwrap();
    assert!(!is_told().await, "nothing is asked of it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entrance_that_does_not_know_paused_lanes_is_told_of_where_that_matters() {
    let (plane, client) = started().await;
    let group = |entrance| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "trade"},
            "spec": {"entrances": [entrance], "applications": ["a"]},
        })
    };
    let lane = |tag: &str, entry| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": tag},
            "spec": {"group": "trade", "entry": entry},
        })
    };
    let paused = json!({"ratio": {"percent": 30}, "paused": true});
    plane.apply(&[group(json!({"gateway": "edge"})), lane("gray", paused.clone())]).await.unwrap();
    let mut old = plane.connect(knowing(gateway("g1"), &["issue"])).await;
    let key = Key::new(Kind::Lane, "default", "gray");
    // Nobody is after it: there is nothing to draw otherwise.
    let said = becomes(&client, &key, "Paused", ("True", "Paused")).await;
    assert!(said.contains("its 30 % go to base"), "{said}");
    // What it is told it cannot take for a lane that lets requests in.
    let told = |it: &DataPlane| {
        let lane = it.group("trade")?.lanes.first()?;
        Some((lane.admitting, lane.paused))
    };
    old.until(|it| told(it).is_some()).await;
    assert_eq!(told(&old), Some((false, true)));
    plane.apply(&[lane("blue", json!({"ratio": {"percent": 10}}))]).await.unwrap();
    let said = becomes(&client, &key, "Paused", ("Unknown", "DataPlaneTooOld")).await;
    assert!(said.contains("g1"), "{said}");
    // An application as an entrance draws too.
    plane.apply(&[group(json!({"application": "a"}))]).await.unwrap();
    becomes(&client, &key, "Paused", ("True", "Paused")).await;
    let _new = plane.connect(knowing(sidecar("s1", "a"), &["pause"])).await;
    becomes(&client, &key, "Paused", ("True", "Paused")).await;
    let _old = plane.connect(knowing(sidecar("s2", "a"), &[])).await;
    let said = becomes(&client, &key, "Paused", ("Unknown", "DataPlaneTooOld")).await;
    assert!(said.contains("s2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_passes_no_tls_on_is_told_of_at_the_listener_that_does() {
    let (plane, client) = started().await;
    let edge = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {"gatewayClassName": "laneway", "listeners": [
            {"name": "vault", "port": 8443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        ]},
    });
    plane.apply(&[edge]).await.unwrap();
    let mut new = plane.connect(knowing(gateway("g1"), &["tls", "tls-passthrough"])).await;
    new.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
    listener_becomes(&client, "Programmed", ("True", "Programmed")).await;
    let _old = plane.connect(knowing(gateway("g2"), &["tls"])).await;
    let said = listener_becomes(&client, "Programmed", ("False", "DataPlaneTooOld")).await;
    assert!(said.contains("g2"), "{said}");
    let key = Key::new(Kind::Gateway, "default", "edge");
    let said = becomes(&client, &key, "Ready", ("False", "DataPlaneTooOld")).await;
    assert!(said.starts_with("listener vault: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_a_listener_cannot_carry_is_told_with_its_field() {
    let (plane, client) = started().await;
    let edge = |annotations| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "annotations": annotations},
            "spec": {"gatewayClassName": "laneway", "listeners": [
                {"name": "http", "port": 8000, "protocol": "HTTP",
                 "allowedRoutes": {"kinds": [{"kind": "HTTPRoute"}, {"kind": "GRPCRoute"}]}},
            ]},
        })
    };
    plane.apply(&[edge(json!({}))]).await.unwrap();
    let said = listener_becomes(&client, "ResolvedRefs", ("False", "InvalidRouteKinds")).await;
    assert!(
        said.starts_with("spec.listeners[0].allowedRoutes.kinds[1].kind: `GRPCRoute`: "),
        "{said}"
    );
    assert!(said.contains("laneway.io/http2-prior-knowledge"), "{said}");
    plane.apply(&[edge(json!({"laneway.io/http2-prior-knowledge": "true"}))]).await.unwrap();
    let Object::Gateway(gateway) =
        client.get(&Key::new(Kind::Gateway, "default", "edge")).await.unwrap()
    else {
        unreachable!()
    };
    let told = format!("{:?}", gateway.status);
    assert!(!told.contains("InvalidRouteKinds"), "{told}");
}
