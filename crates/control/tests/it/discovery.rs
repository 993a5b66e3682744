//! What data planes get, and what they don't.

use api::discovery::v1;

use crate::harness::{Plane, backend, gateway, group, lane, route, service, sidecar};

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_its_routes_their_services_and_the_groups_that_concern_them() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["1"]), service("sc-x", "app-x", &["2"])]);
    plane
        .apply(&[
            backend("a", "sc-A"),
            route("a", "/a", "a"),
            group("trade", &["app-a"]),
            lane("trade", "gray"),
        ])
        .await
        .unwrap();
    let mut edge = plane.connect(gateway("g1")).await;
    let first = edge.receive().await;
    assert!(first.synced);
    assert_eq!(
        edge.keys(),
        ["gateway/edge", "group/trade", "route/default/a", "service/embedded/default//sc-a"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_gets_what_it_asked_for_and_nothing_else() {
    let plane = Plane::start().await;
    plane.serve(&[
        service("sc-b", "app-b", &["1", "2=gray"]),
        service("sc-c", "app-c", &["3"]),
        service("sc-x", "app-x", &["4"]),
    ]);
    plane
        .apply(&[group("own", &["app-a"]), group("theirs", &["app-b"]), group("other", &["app-x"])])
        .await
        .unwrap();
    let mut sidecar = plane.connect(sidecar("s1", "app-a")).await;
    sidecar.until(|it| it.keys() == ["group/own"]).await;

    sidecar.subscribe(&["SC-B", "nowhere.example"], &["127.0.0.1:3"]).await;
    sidecar.until(|it| it.endpoints("sc-b").is_some()).await;
    assert_eq!(
        sidecar.keys(),
        [
            "address/127.0.0.1:3",
            "group/own",
            "group/theirs",
            "name/nowhere.example",
            "name/sc-b",
            "service/embedded/default//sc-b",
            "service/embedded/default//sc-c",
        ]
    );

    sidecar
        .say(v1::data_plane_message::Message::Subscribe(v1::Subscribe {
            forget_names: vec!["sc-b".to_owned()],
            ..v1::Subscribe::default()
        }))
        .await;
    sidecar.until(|it| it.endpoints("sc-b").is_none()).await;
    assert!(sidecar.group("theirs").is_none());
}
