//! What data planes get, and what they don't.

use std::sync::Arc;

use api::{
    discovery::v1,
    resource::{Key, Kind},
};
use control::{Edit, Precondition, SqliteStore, Standing, Store, Transaction};
use lanes::directory::digest;
use prost::Message;
use serde_json::json;

use crate::harness::{
    DataPlane, PATIENCE, Plane, backend, call, gateway, group, id, lane, route, service, sidecar,
};

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

/// Bytes one endpoint change may send to a data plane that has the service.
const ENDPOINT_CHANGE_BYTES_MAX: usize = 4096;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_thousand_services_an_endpoint_change_is_small_and_goes_to_its_callers_alone() {
    let plane = Plane::start().await;
    let endpoints = |first: u32| -> Vec<String> {
        (0..10).map(|instance| (first + instance).to_string()).collect()
    };
    let of = |index: u32, first: u32| {
        let ports = endpoints(first);
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        service(&format!("service-{index}"), &format!("application-{index}"), &ports)
    };
    let services: Vec<_> = (0..1_000).map(|index| of(index, 1_000 + index * 10)).collect();
    plane.serve(&services);
    let names: Vec<String> = (0..1_000).map(|index| format!("service-{index}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();

    let mut caller = plane.connect(sidecar("caller", "app-x")).await;
    caller.subscribe(&all, &[]).await;
    caller.until(|it| it.held.len() == 2_000).await;
    let mut other = plane.connect(sidecar("other", "app-y")).await;
    other.subscribe(&["service-0"], &[]).await;
    other.until(|it| it.held.len() == 2).await;

    plane.serve(&[of(500, 40_000)]);
    let message = caller.receive().await;
    assert_eq!(message.upserts.len(), 1);
    assert!(message.encoded_len() <= ENDPOINT_CHANGE_BYTES_MAX, "{} bytes", message.encoded_len());
    assert_eq!(caller.endpoints("service-500").unwrap()[0], "127.0.0.1:40000");

    // The next resource the other hears of is what it asks for now; of new addresses the digest tells everybody.
    other.subscribe(&["marker.example"], &[]).await;
    let mut message = other.receive().await;
    while message.upserts.is_empty() {
        assert!(message.digest.is_some(), "{message:?}");
        assert!(message.encoded_len() <= ENDPOINT_CHANGE_BYTES_MAX, "{message:?}");
        message = other.receive().await;
    }
    let keys: Vec<&str> = message.upserts.iter().map(|resource| resource.key.as_str()).collect();
    assert_eq!(keys, ["name/marker.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_let_in_when_the_data_planes_have_it_and_status_says_so() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["1", "2=gray"])]);
    plane
        .apply(&[backend("a", "sc-a"), route("a", "/a", "a"), group("trade", &["app-a"])])
        .await
        .unwrap();
    let mut edge = plane.connect(gateway("g1")).await;
    let mut sidecar = plane.connect(sidecar("s1", "app-a")).await;
    edge.until(|it| it.group("trade").is_some()).await;
    sidecar.until(|it| it.group("trade").is_some()).await;

    plane.apply(&[lane("trade", "gray")]).await.unwrap();
    let admitting = |it: &DataPlane| {
        it.group("trade").and_then(|group| group.lanes.first()).map(|lane| lane.admitting)
    };
    let follow = async |data_plane: &mut DataPlane| {
        data_plane.until(|it| admitting(it) == Some(true)).await;
    };
    tokio::join!(follow(&mut edge), follow(&mut sidecar));
    let key = api::resource::Key::new(api::resource::Kind::Lane, "default", "trade-gray");
    let client = api::client::Client::new(&format!("http://{}", plane.rest().await)).unwrap();
    let live = async || client.get(&key).await.unwrap().status().unwrap().clone();
    let mut status = live().await;
    while status.live.as_ref().is_none_or(|live| live.acknowledged < 2) {
        tokio::task::yield_now().await;
        status = live().await;
    }
    assert_eq!(status.live.unwrap().data_planes, 2);
    assert_eq!((status.matched[0].base, status.matched[0].tagged), (1, 1));
    assert_eq!(
        (status.conditions[0].kind.as_str(), status.conditions[0].status.as_str()),
        ("Ready", "True")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_go_on_after_a_restart_and_only_differences_are_sent() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    plane.apply(&[backend("a", "sc-a"), route("a", "/a", "a")]).await.unwrap();
    let mut edge = plane.connect(gateway("g1")).await;
    let before = edge.receive().await.generation.unwrap();

    let plane = plane.restart().await;
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    let hello = v1::Hello { held: held_of(&edge), ..gateway("g1") };
    let mut again = plane.connect(hello).await;
    let first = again.receive().await;
    let after = first.generation.clone().unwrap();
    assert_eq!(after.epoch, before.epoch);
    assert!(after.number > before.number, "{after:?} follows {before:?}");
    assert!(first.synced && first.upserts.is_empty() && first.removals.is_empty(), "{first:?}");
}

/// The gateway, with what it holds of a control plane that it brings along.
async fn holding(plane: &Plane) -> v1::Hello {
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    let objects = [
        backend("a", "sc-a"),
        route("a", "/a", "a"),
        group("trade", &["app-a"]),
        lane("trade", "gray"),
    ];
    plane.apply(&objects).await.unwrap();
    let mut edge = plane.connect(gateway("g1")).await;
    edge.until(|it| it.keys().len() == 4).await;
    let told = edge.messages.last().and_then(|it| it.generation.clone()).unwrap();
    v1::Hello { held: held_of(&edge), held_of: told.epoch, ..gateway("g1") }
}

fn held_of(data_plane: &DataPlane) -> Vec<v1::Held> {
    let held = data_plane.held.values().map(|resource| v1::Held {
        key: resource.key.clone(),
        version: resource.version,
        service: match &resource.body {
            Some(v1::resource::Body::Service(service)) => service.id.clone(),
            _ => None,
        },
    });
    held.collect()
}

async fn doubted_by(plane: &Plane) -> u64 {
    let (_, status) = call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["doubtedBy"].as_u64().unwrap()
}

/// Waits until the doubt is in the store.
async fn doubt_is_kept(plane: &Plane) {
    let database = plane.directory.path().join("laneway.db");
    let kept = async {
        while !SqliteStore::open_as_it_is(&database).unwrap().load().unwrap().doubted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_takes_nothing_away_before_something_is_applied() {
    let hello = holding(&Plane::start().await).await;
    let plane = Plane::start().await;
    // The first that is registered here is not all there are.
    plane.control.update_services(
        "embedded",
        vec![(id("sc-a"), Some(Arc::new(service("sc-a", "app-a", &["2"]))))],
    );
    let mut edge = plane.connect(hello.clone()).await;
    let first = edge.receive().await;
    assert!(first.synced && first.upserts.is_empty() && first.removals.is_empty(), "{first:?}");
    assert_eq!(doubted_by(&plane).await, 1);
    // Whoever holds nothing is told what there is.
    let mut fresh = plane.connect(sidecar("s1", "app-b")).await;
    fresh.subscribe(&["sc-a"], &[]).await;
    fresh.until(|it| it.endpoints("sc-a").is_some()).await;
    // When all have registered that could, that is what there is.
    plane.control.source_stands("embedded", Standing::Synced);
    fresh.subscribe(&["example.org"], &[]).await;
    fresh.until(|it| it.keys().contains(&"name/example.org")).await;

    // Another start does not forget it.
    doubt_is_kept(&plane).await;
    let plane = plane.restart().await;
    plane.serve(&[]);
    let own = edge.messages.last().and_then(|it| it.generation.clone()).unwrap().epoch;
    let mut edge = plane.connect(v1::Hello { held_of: own, ..hello }).await;
    let first = edge.receive().await;
    assert!(first.synced && first.upserts.is_empty() && first.removals.is_empty(), "{first:?}");
    assert_eq!(doubted_by(&plane).await, 1);

    // Whatever is applied says that this store is meant: the rest is no more.
    plane.apply(&[backend("another", "sc-z")]).await.unwrap();
    let mut told = edge.receive().await;
    told.removals.sort_unstable();
    assert_eq!(told.removals, ["group/trade", "route/default/a", "service/embedded/default//sc-a"]);
    assert_eq!(doubted_by(&plane).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_objects_applied_to_a_new_store_take_no_lane_away_for_a_moment() {
    let hello = holding(&Plane::start().await).await;
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    // It must not wait for one that never confirms.
    let mut silent = plane.connect(sidecar("s1", "app-a")).await;
    let mut edge = plane.connect(hello).await;
    edge.receive().await;
    assert_eq!(doubted_by(&plane).await, 1);
    let objects = [
        backend("a", "sc-a"),
        route("a", "/a", "a"),
        route("new", "/new", "a"),
        group("trade", &["app-a"]),
        lane("trade", "gray"),
    ];
    plane.apply(&objects).await.unwrap();
    let told = edge.receive().await;
    assert!(told.upserts.iter().any(|it| it.key == "route/default/new"), "{told:?}");
    assert!(told.removals.is_empty(), "{told:?}");
    for resource in &told.upserts {
        if let Some(v1::resource::Body::Group(group)) = &resource.body {
            assert!(group.lanes.iter().all(|lane| lane.admitting), "{group:?}");
        }
    }
    drop(silent.receive().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_to_a_store_that_told_it_everything_does_not_doubt_it() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    let mut caller = plane.connect(sidecar("s1", "app-b")).await;
    caller.subscribe(&["sc-a"], &[]).await;
    caller.until(|it| it.endpoints("sc-a").is_some()).await;
    let told = caller.messages.last().and_then(|it| it.generation.clone()).unwrap();
    let hello = v1::Hello { held: held_of(&caller), held_of: told.epoch, ..sidecar("s1", "app-b") };
    let mut again = plane.connect(hello).await;
    again.receive().await;
    assert_eq!(doubted_by(&plane).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_asked_for_where_one_is_set() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let plane = Plane::start_in(directory, Some("open sesame")).await;
    for wrong in ["", "open", "open sesamE"] {
        let hello = v1::Hello { join_token: wrong.to_owned(), ..gateway("g1") };
        let status = DataPlane::connect(plane.discovery, hello).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "{wrong}");
    }
    let hello = v1::Hello { join_token: "open sesame".to_owned(), ..gateway("g1") };
    assert!(plane.connect(hello).await.receive().await.synced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_says_too_little_is_refused() {
    let plane = Plane::start().await;
    for (hello, says) in [
        (gateway(""), "hello.node"),
        (v1::Hello { role: 9, ..gateway("g1") }, "hello.role"),
        (v1::Hello { name: String::new(), ..gateway("g1") }, "hello.name"),
    ] {
        let status = DataPlane::connect(plane.discovery, hello).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(says), "{status}");
    }
}

/// One object of each kind that data planes hold something of is spoilt; the rest is served.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_by_whoever_holds_it() {
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {
            "gatewayClassName": "laneway",
            "listeners": [{"name": "x", "port": 9000, "protocol": "HTTP"}],
        },
    });
    let anew = [
        group("trade", &["app-a", "app-b"]),
        lane("trade", "gray"),
        route("a", "/other", "a"),
        backend("a", "sc-c"),
        object.clone(),
    ];
    for anew in anew {
        let kind = anew["kind"].as_str().unwrap();
        let plane = Plane::start().await;
        plane.apply(std::slice::from_ref(&object)).await.unwrap();
        let hello = holding(&plane).await;
        let plane = spoil(plane, kind).await;
        plane.serve(&[service("sc-a", "app-a", &["1"])]);
        let mut edge = plane.connect(hello).await;
        let first = edge.receive().await;
        assert!(first.upserts.is_empty() && first.removals.is_empty(), "{kind}: {first:?}");
        let status = async || call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await.1;
        assert!(status().await.contains("is spoilt"), "{kind}");
        // What it goes on with does not grow old, and others are told what there is.
        plane.serve(&[service("sc-a", "app-a", &["1", "2"])]);
        edge.until(|it| it.endpoints("sc-a").is_some_and(|at| at.len() == 2)).await;
        plane.apply(&[backend("c", "sc-c"), route("c", "/c", "c")]).await.unwrap();
        edge.until(|it| it.keys().contains(&"route/default/c")).await;
        assert!(edge.messages.iter().all(|it| it.removals.is_empty()), "{kind}");

        // Written anew it is what it says.
        plane.apply(std::slice::from_ref(&anew)).await.unwrap();
        assert!(!status().await.contains("is spoilt"), "{kind}");
        if kind == "Backend" {
            edge.until(|it| it.has_lost("service/embedded/default//sc-a")).await;
        }
    }
}

/// Starts it again without what there is of a kind.
async fn spoil(plane: Plane, kind: &str) -> Plane {
    plane.restart_after(&format!("UPDATE objects SET body = '{{' WHERE kind = '{kind}'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_can_be_deleted() {
    let plane = Plane::start().await;
    let hello = holding(&plane).await;
    let plane = spoil(plane, "HTTPRoute").await;
    plane.serve(&[service("sc-a", "app-a", &["1"])]);
    let mut edge = plane.connect(hello).await;
    edge.receive().await;
    let key = Key::new(Kind::HttpRoute, "default", "a");
    let delete = Edit::Delete { key, revision: None, precondition: Precondition::Present };
    let transaction = Transaction { edits: vec![delete], ..Transaction::default() };
    plane.control.transact(transaction).await.unwrap();
    edge.until(|it| it.has_lost("route/default/a")).await;
}

/// The first message to a data plane.
async fn first_to(plane: &Plane, hello: v1::Hello) -> Vec<String> {
    let mut data_plane = plane.connect(hello).await;
    assert!(data_plane.receive().await.synced);
    data_plane.held.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_asked_for_every_other_is_told_from_its_first_message() {
    let plane = Plane::start().await;
    let services = [service("sc-a", "app-a", &["1"]), service("sc-b", "app-b", &["2"])];
    plane.serve(&services);
    let mut running = plane.connect(sidecar("s0", "app-x")).await;
    running.receive().await;
    let first = plane.connect(sidecar("s1", "app-x")).await;
    first.subscribe(&["SC-a", "example.org"], &["127.0.0.1:2"]).await;
    let asked = [
        "address/127.0.0.1:2",
        "name/example.org",
        "name/sc-a",
        "service/embedded/default//sc-a",
        "service/embedded/default//sc-b",
    ];
    // One that runs already, too.
    running.until(|it| it.keys() == asked).await;
    assert_eq!(first_to(&plane, sidecar("s2", "app-x")).await, asked);
    // Others have asked for nothing.
    let elsewhere = v1::Hello { namespace: "other".to_owned(), ..sidecar("s3", "app-x") };
    for other in [sidecar("s4", "app-y"), elsewhere, gateway("app-x")] {
        let held = first_to(&plane, other).await;
        assert!(!held.iter().any(|key| asked.contains(&key.as_str())), "{held:?}");
    }

    // After a restart as before, when nobody is there who has asked.
    let database = plane.directory.path().join("laneway.db");
    let kept = async {
        let noted = || SqliteStore::open_as_it_is(&database).unwrap().load().unwrap().dependencies;
        while noted().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.unwrap();
    let plane = plane.restart().await;
    plane.serve(&services);
    assert_eq!(first_to(&plane, sidecar("s5", "app-x")).await, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_its_groups_are_told_unasked() {
    let plane = Plane::start().await;
    plane.serve(&[
        service("sc-a", "app-a", &["1"]),
        service("sc-b", "app-b", &["2", "3=gray"]),
        service("sc-z", "app-z", &["4"]),
    ]);
    plane.apply(&[group("trade", &["app-a", "app-b"])]).await.unwrap();
    let told = |names: &[&str]| {
        let mut keys = vec!["group/trade".to_owned()];
        for name in names {
            keys.extend([format!("name/{name}"), format!("service/embedded/default//{name}")]);
        }
        keys.sort();
        keys
    };
    assert_eq!(first_to(&plane, sidecar("s1", "app-a")).await, told(&["sc-a", "sc-b"]));
    assert!(first_to(&plane, sidecar("s2", "app-z")).await.is_empty(), "it is in no group");
    let mut member = plane.connect(sidecar("s3", "app-a")).await;
    member.until(|it| it.keys() == told(&["sc-a", "sc-b"])).await;
    // A service that comes, and an application that joins.
    plane.serve(&[service("sc-b2", "app-b", &["5"])]);
    member.until(|it| it.keys() == told(&["sc-a", "sc-b", "sc-b2"])).await;
    plane.apply(&[group("trade", &["app-a", "app-b", "app-z"])]).await.unwrap();
    member.until(|it| it.keys() == told(&["sc-a", "sc-b", "sc-b2", "sc-z"])).await;
    plane.apply(&[group("trade", &["app-a"])]).await.unwrap();
    member.until(|it| it.keys() == told(&["sc-a"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_are_told_which_names_and_addresses_mean_something() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-b", "app-b", &["1"])]);
    let mut caller = plane.connect(sidecar("s1", "app-x")).await;
    let hashes = [
        digest::of_name("sc-b"),
        digest::of_name("sc-b.default"),
        digest::of_address("127.0.0.1:1".parse().unwrap()),
    ];
    let has = |it: &DataPlane, hash: &u64, is_whole: bool| {
        let mut told = it.messages.iter().filter_map(|it| it.digest.as_ref());
        told.any(|it| it.whole == is_whole && it.added.contains(hash))
    };
    caller.until(|it| hashes.iter().all(|hash| has(it, hash, true))).await;
    // Then what changes.
    plane.serve(&[service("sc-c", "app-c", &["2"])]);
    caller.until(|it| has(it, &digest::of_name("sc-c"), false)).await;
    let mut edge = plane.connect(gateway("g1")).await;
    assert!(edge.receive().await.digest.is_none(), "a gateway is told all it needs");
    // Others may be about to register again: nothing is said to be nobody's.
    let plane = plane.restart().await;
    let mut caller = plane.connect(sidecar("s1", "app-x")).await;
    assert!(caller.receive().await.digest.is_none_or(|digest| !digest.whole));
    plane.serve(&[]);
    caller
        .until(|it| it.messages.iter().any(|it| it.digest.as_ref().is_some_and(|it| it.whole)))
        .await;
}
