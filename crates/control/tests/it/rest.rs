//! REST as its clients see it.

use api::{
    client::{CallError, Client},
    discovery::v1,
    resource::{Key, Kind, Object},
    rest::{Action, ApplyRequest, ExplainRequest, Problem, WatchKind},
};
use control::Standing;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Plane, backend, group, lane, route, service};

fn request(objects: &[Value]) -> ApplyRequest {
    ApplyRequest { objects: objects.to_vec() }
}

fn refused(result: Result<impl std::fmt::Debug, CallError>) -> Problem {
    match result {
        Err(CallError::Refused(problem)) => *problem,
        other => panic!("not refused: {other:?}"),
    }
}

fn lane_key(name: &str) -> Key {
    Key::new(Kind::Lane, "default", name)
}

/// A control plane, and a client of its API.
pub(crate) async fn started() -> (Plane, Client) {
    let plane = Plane::start().await;
    let client = Client::new(&format!("http://{}", plane.rest().await)).unwrap();
    (plane, client)
}

/// Waits for a lane to be let in: from then on the same is said of it.
async fn until_live(client: &Client, key: &Key) {
    let mut watch = client.watch(Kind::Lane, None).await.unwrap();
    let is_live = |object: &Object| {
        let conditions = object.status().map(|status| &status.conditions[..]).unwrap_or_default();
        object.key() == *key && conditions.iter().any(|condition| condition.reason == "Live")
    };
    let live = async {
        while !watch.next().await.unwrap().unwrap().object.as_ref().is_some_and(is_live) {}
    };
    tokio::time::timeout(PATIENCE, live).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_read_changed_and_deleted() {
    let (_plane, client) = started().await;
    let applied = client
        .apply(&request(&[group("trade", &["a"]), lane("trade", "gray")]), false)
        .await
        .unwrap();
    assert!(applied.results.iter().all(|applied| applied.action == Action::Created));

    let read = client.get(&lane_key("trade-gray")).await.unwrap();
    assert_eq!(read.metadata().generation, 1);
    assert!(read.metadata().uid.is_some() && read.metadata().creation_timestamp.is_some());
    assert!(read.status().is_some());

    let disabled =
        client.patch(&lane_key("trade-gray"), &json!({"spec": {"enabled": false}})).await.unwrap();
    assert_eq!(disabled.metadata().generation, 2);
    assert_eq!(disabled.metadata().uid, read.metadata().uid);
    let Object::Lane(lane) = &disabled else { panic!("{disabled:?}") };
    assert!(!lane.spec.enabled);

    let stale = refused(client.put(&read).await);
    assert_eq!((stale.status, stale.title.as_str()), (409, "changed meanwhile"));

    client.delete(&lane_key("trade-gray")).await.unwrap();
    assert!(client.get(&lane_key("trade-gray")).await.unwrap_err().is_not_found());
    assert!(client.delete(&lane_key("trade-gray")).await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_how_it_stands_in_its_object_and_in_status() {
    let (plane, client) = started().await;
    let source = json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
        "spec": {"static": {"services": []}},
    });
    client.apply(&request(&[source]), false).await.unwrap();
    let check = async |state: &str, synced: bool, condition: (&str, &str), problem: &str| {
        let status = client.status().await.unwrap();
        let source = status.sources.iter().find(|source| source.name == "fixed").unwrap();
        assert_eq!((source.state.as_str(), source.synced), (state, synced));
        assert_eq!(
            (source.problem.as_str(), source.stale_seconds.is_some()),
            (problem, state == "stale")
        );
        let key = Key::new(Kind::ServiceSource, "default", "fixed");
        let object = client.get(&key).await.unwrap();
        let ready = &object.status().unwrap().conditions[0];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), condition);
        assert!(ready.message.contains(problem), "{ready:?}");
    };
    check("syncing", false, ("False", "Syncing"), "").await;
    let failing = Standing::Syncing { problem: Some("no route to it".to_owned()) };
    plane.control.source_stands("fixed", failing);
    check("syncing", false, ("False", "Syncing"), "no route to it").await;
    plane.control.source_stands("fixed", Standing::Synced);
    check("synced", true, ("True", "Synced"), "").await;
    let since = std::time::Instant::now();
    plane
        .control
        .source_stands("fixed", Standing::Stale { since, problem: "it closed".to_owned() });
    check("stale", true, ("False", "Stale"), "it closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_again_changes_nothing() {
    let (_plane, client) = started().await;
    let objects = request(&[group("trade", &["a"]), lane("trade", "gray")]);
    let first = client.apply(&objects, false).await.unwrap();
    let again = client.apply(&objects, false).await.unwrap();
    assert!(again.results.iter().all(|applied| applied.action == Action::Unchanged));
    assert_eq!(again.resource_version, first.resource_version);
}

/// What `kubectl get -o yaml` prints.
const OF_A_CLUSTER: &str = include_str!("../../../api/tests/fixtures/kubernetes.yaml");

fn objects_in(text: &str) -> ApplyRequest {
    let (found, errors) = api::read::text("a file", text);
    assert_eq!(errors, []);
    ApplyRequest { objects: found.iter().map(|found| found.object.to_value()).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_says_of_its_objects_is_kept_and_shown_again() {
    let (_plane, client) = started().await;
    let of_cluster = objects_in(OF_A_CLUSTER);
    let applied = client.apply(&of_cluster, false).await.unwrap();
    assert!(applied.results.iter().all(|applied| applied.action == Action::Created));

    let key = Key::new(Kind::HttpRoute, "store", "shop");
    let mut route = client.get(&key).await.unwrap();
    let ours = ["resourceVersion", "generation", "uid", "creationTimestamp"];
    let but_ours = |value: &Value| {
        let mut metadata = value["metadata"].clone();
        ours.iter().for_each(|name| drop(metadata.as_object_mut().unwrap().remove(*name)));
        metadata
    };
    assert_eq!(but_ours(&route.to_value()), but_ours(&of_cluster.objects[0]));
    assert_eq!(route.metadata().generation, 1);

    // The cluster's document again, and what is shown of it: neither changes anything.
    let shown = objects_in(&api::write::yaml(std::slice::from_ref(&route)));
    for again in [of_cluster, shown] {
        let applied = client.apply(&again, false).await.unwrap();
        assert!(applied.results.iter().all(|applied| applied.action == Action::Unchanged));
    }

    // Metadata is metadata: a change of it is written and does not count as one of the specification.
    route.metadata_mut().finalizers.clear();
    let changed = client.put(&route).await.unwrap();
    assert_eq!(changed.metadata().generation, 1);
    assert_ne!(changed.metadata().resource_version, route.metadata().resource_version);

    // What was read of an object that is gone is not taken for a cluster's.
    client.delete(&key).await.unwrap();
    assert_eq!(refused(client.put(&changed).await).status, 404);
    client.apply(&objects_in(OF_A_CLUSTER), false).await.unwrap();
    assert_eq!(refused(client.put(&changed).await).status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_class_is_carried_and_counts_nowhere() {
    let (_plane, client) = started().await;
    let mut foreign = objects_in(OF_A_CLUSTER);
    foreign.objects.remove(0);
    foreign.objects[0]["metadata"]["namespace"] = "default".into();
    let applied = client.apply(&foreign, false).await.unwrap();
    let fields: Vec<_> = applied.warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(fields, ["spec.gatewayClassName"]);
    let mut named_edge = foreign.clone();
    named_edge.objects[0]["metadata"]["name"] = "edge".into();
    client.apply(&named_edge, false).await.unwrap();
    let gateways = async || {
        let status = client.status().await.unwrap();
        status.gateways.into_iter().map(|gateway| gateway.name).collect::<Vec<_>>()
    };
    assert_eq!(gateways().await, ["edge"], "there is still the one that needs no object");
    let carried = client.get(&Key::new(Kind::Gateway, "default", "public")).await.unwrap();
    assert_eq!(carried.to_value()["spec"], foreign.objects[0]["spec"]);
    let ready = &carried.status().unwrap().conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("Unknown", "AnotherController"));

    // Neither a route nor an entrance means it, and no name of ours is taken by it.
    let mut to_it = route("a", "/a", "a");
    to_it["spec"]["parentRefs"] = json!([{"name": "public"}]);
    let mut trade = group("trade", &["a"]);
    trade["spec"]["entrances"] = json!([{"gateway": "public"}]);
    let applied = client.apply(&request(&[backend("a", "a"), to_it, trade]), false).await.unwrap();
    let fields: Vec<_> = applied.warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(fields, ["spec.entrances[0].gateway", "spec.parentRefs[0].name"]);

    let own = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "ours"},
        "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    });
    let applied = client.apply(&request(&[own]), false).await.unwrap();
    assert_eq!(applied.warnings, []);
    assert_eq!(gateways().await, ["public"]);
    client.delete(&Key::new(Kind::Gateway, "ours", "public")).await.unwrap();
    assert_eq!(gateways().await, ["edge"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let (_plane, client) = started().await;
    let tried = client.apply(&request(&[group("trade", &["a"])]), true).await.unwrap();
    assert_eq!(tried.results[0].action, Action::Created);
    assert!(client.list(Kind::LaneGroup, None).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_transaction_leaves_nothing_of_itself() {
    let (_plane, client) = started().await;
    client.apply(&request(&[group("trade", &["a"]), lane("trade", "gray")]), false).await.unwrap();
    until_live(&client, &lane_key("trade-gray")).await;
    let before = client.list(Kind::Lane, None).await.unwrap();
    let mut bad = lane("trade", "bad");
    bad["spec"]["entry"]["content"]["conditions"][0]["operator"] = json!("=~");
    let problem = refused(client.apply(&request(&[lane("trade", "blue"), bad]), false).await);
    assert_eq!(problem.status, 422);
    let error = &problem.errors[0];
    assert_eq!(error.object, Some(lane_key("trade-bad")));
    assert_eq!(error.field, "spec.entry.content.conditions[0].operator");
    assert_eq!(error.value, "=~");
    assert!(error.remedy.contains("use one of"), "{error}");
    assert_eq!(client.list(Kind::Lane, None).await.unwrap(), before);
    // The store goes on as if nothing had been asked.
    client.apply(&request(&[lane("trade", "blue")]), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_need_is_not_deleted() {
    let (_plane, client) = started().await;
    let mut second = lane("trade", "blue");
    second["spec"]["fallback"] = json!(["gray"]);
    client
        .apply(&request(&[group("trade", &["a"]), lane("trade", "gray"), second]), false)
        .await
        .unwrap();
    let problem = refused(client.delete(&lane_key("trade-gray")).await);
    assert_eq!(problem.status, 422);
    assert!(problem.to_string().contains("blue"), "{problem}");
    let problem = refused(client.delete(&Key::new(Kind::LaneGroup, "default", "trade")).await);
    assert_eq!(problem.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_written_twice_in_one_request_is_refused() {
    let (_plane, client) = started().await;
    let again = group("trade", &["b"]);
    let objects = request(&[group("trade", &["a"]), lane("trade", "gray"), again]);
    let problem = refused(client.apply(&objects, false).await);
    assert_eq!(problem.status, 422);
    assert!(problem.to_string().contains("objects[0] and objects[2]"), "{problem}");
    assert_eq!(client.check(&objects).await.unwrap().findings.len(), 1);
    assert!(client.list(Kind::LaneGroup, None).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_warned_of_what_it_does_to_others() {
    let (_plane, client) = started().await;
    let gateway = |hostname: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public"},
            "spec": {"gatewayClassName": "laneway", "listeners": [
                {"name": "http", "port": 8000, "protocol": "HTTP", "hostname": hostname},
            ]},
        })
    };
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": ["shop.example"], "rules": [{"backendRefs": []}]},
    });
    let concern_route = |response: api::rest::ApplyResponse| {
        let keys = response.warnings.into_iter().filter_map(|warning| warning.object);
        keys.filter(|key| key.kind == Kind::HttpRoute).count()
    };
    client.apply(&request(&[gateway("shop.example"), route]), false).await.unwrap();
    let moved = client.apply(&request(&[gateway("other.example")]), false).await.unwrap();
    assert_eq!(concern_route(moved), 1);
    // What was so before is not told again.
    let again = client.apply(&request(&[gateway("third.example")]), true).await.unwrap();
    assert_eq!(concern_route(again), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_lane_that_an_application_has_no_instance_in_is_warned_of() {
    let (plane, client) = started().await;
    plane.control.source_stands("embedded", Standing::Synced);
    let strict = |fallback: Value| {
        let mut strict = lane("trade", "gray");
        strict["spec"]["fallback"] = fallback;
        strict
    };
    let said = |applied: api::rest::ApplyResponse| {
        let warnings = applied.warnings.into_iter().map(|warning| warning.to_string());
        warnings.filter(|warning| warning.contains("answered 503")).collect::<Vec<_>>()
    };
    let apply =
        async |objects: &[Value]| said(client.apply(&request(objects), false).await.unwrap());
    let b = service("b", "b", &["2=gray"]);
    plane.serve(&[service("a", "a", &["1"]), b]);
    let objects = [group("trade", &["a", "b"]), strict(json!("none"))];
    let [warning] = &apply(&objects).await[..] else { panic!("no warning") };
    assert!(warning.starts_with("Lane trade-gray: spec.fallback: `none`: "), "{warning}");
    assert!(warning.contains("that come to a are answered 503"), "{warning}");
    assert_eq!(apply(&[strict(json!([]))]).await, [""; 0]);
    assert_eq!(apply(&[strict(json!("none"))]).await.len(), 1);
    // Another application of the group, without any instance; and one that a list names in the same transaction.
    let [warning] = &apply(&[group("trade", &["a", "b", "c"])]).await[..] else { panic!("none") };
    assert!(warning.contains("that come to a, c are"), "{warning}");
    let listed = json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
        "spec": {"static": {"services": [{"name": "c", "instances": [{"address": "127.0.0.9:1", "tag": "gray"}]}]}},
    });
    plane.serve(&[service("a", "a", &["1", "3=gray"])]);
    assert_eq!(apply(&[listed, group("trade", &["b", "a", "c"])]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_laneway_is_listed_as_no_instance() {
    let (plane, client) = started().await;
    let hello = v1::Hello {
        address: "127.0.0.3:15020".to_owned(),
        listeners: vec!["[::ffff:127.0.0.3]:8000".to_owned()],
        ..crate::harness::gateway("g1")
    };
    let mut gateway = plane.connect(hello).await;
    gateway.receive().await;
    let list = |address: &str| {
        request(&[json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
            "spec": {"static": {"services": [{"name": "a", "instances": [{"address": address}]}]}},
        })])
    };
    for (address, words) in [
        ("127.0.0.1:7600", "this is the control plane's own API listener"),
        ("127.0.0.3:15020", "this is a listener of gateway edge, node g1"),
    ] {
        let problem = refused(client.apply(&list(address), false).await);
        let said = problem.errors[0].to_string();
        let field = "ServiceSource fixed: spec.static.services[0].instances[0].address: ";
        assert!(said.starts_with(field) && said.contains(words), "{said}");
    }
    // Where a gateway takes requests others may lead to it; that it is one is said.
    let applied = client.apply(&list("127.0.0.3:8000"), false).await.unwrap();
    let said = applied.warnings[0].to_string();
    assert!(said.contains("this is a listener of gateway edge"), "{said}");
    client.apply(&list("127.0.0.3:8001"), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_that_serves_without_an_object_is_shown_though_not_listed() {
    let (plane, client) = started().await;
    let mut gateway = plane.connect(crate::harness::gateway("g1")).await;
    let told = gateway.receive().await;
    gateway.acknowledge(&told).await;
    let edge = Key::new(Kind::Gateway, "default", "edge");
    let shown = client.get(&edge).await.unwrap();
    let conditions = &shown.status().unwrap().conditions;
    assert!(conditions.iter().any(|condition| condition.kind == "Programmed"), "{conditions:?}");
    assert!(client.list(Kind::Gateway, None).await.unwrap().items.is_empty());
    let other = Key::new(Kind::Gateway, "default", "other");
    assert!(client.get(&other).await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_taken_from_a_group_names_the_lanes_it_served() {
    let (_plane, client) = started().await;
    client
        .apply(&request(&[group("trade", &["a", "b"]), lane("trade", "gray")]), false)
        .await
        .unwrap();
    let applied = client.apply(&request(&[group("trade", &["a"])]), false).await.unwrap();
    let warning = applied.warnings.iter().find(|warning| warning.value == "b").unwrap();
    assert!(warning.remedy.contains("trade/gray"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_every_mistake_and_writes_nothing() {
    let (_plane, client) = started().await;
    let unknown = json!({"apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup",
        "metadata": {"name": "x"}, "spec": {"entrnaces": []}});
    let checked = client.check(&request(&[unknown, lane("nowhere", "gray")])).await.unwrap();
    let fields: Vec<&str> = checked.findings.iter().map(|finding| finding.field.as_str()).collect();
    assert!(fields.contains(&"spec.entrnaces"), "{fields:?}");
    assert!(fields.contains(&"spec.group"), "{fields:?}");
    assert!(client.list(Kind::Lane, None).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_there_and_then_every_change() {
    let (_plane, client) = started().await;
    client.apply(&request(&[group("trade", &["a"]), lane("trade", "gray")]), false).await.unwrap();
    let mut watch = client.watch(Kind::Lane, None).await.unwrap();
    let mut next = async || {
        let event = watch.next().await.unwrap().unwrap();
        (event.kind, event.object.map(|object| object.metadata().name.clone()))
    };
    assert_eq!(next().await, (WatchKind::Added, Some("trade-gray".to_owned())));
    assert_eq!(next().await, (WatchKind::Synced, None));
    client.patch(&lane_key("trade-gray"), &json!({"spec": {"priority": 3}})).await.unwrap();
    client.apply(&request(&[group("other", &["a"])]), false).await.unwrap();
    client.delete(&lane_key("trade-gray")).await.unwrap();
    // What is said of the lane may change meanwhile: requests may enter it, and that is told too.
    let mut told = next().await;
    assert_eq!(told, (WatchKind::Modified, Some("trade-gray".to_owned())));
    while told.0 == WatchKind::Modified {
        told = next().await;
    }
    assert_eq!(told, (WatchKind::Deleted, Some("trade-gray".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_when_something_else_is_to_be_said_of_an_object() {
    let (plane, client) = started().await;
    client
        .apply(&request(&[group("trade", &["app-a"]), lane("trade", "gray")]), false)
        .await
        .unwrap();
    let mut watch = client.watch(Kind::Lane, None).await.unwrap();
    plane.serve(&[service("sc-a", "app-a", &["1", "11=gray"])]);
    let mut kinds = Vec::new();
    loop {
        let event = watch.next().await.unwrap().unwrap();
        kinds.push(event.kind);
        if event.object.as_ref().is_some_and(is_live_with_instances) {
            break;
        }
    }
    assert_eq!(kinds[..2], [WatchKind::Added, WatchKind::Synced]);
    assert!(kinds[2..].iter().all(|kind| *kind == WatchKind::Modified), "{kinds:?}");
}

/// Of a lane that one instance of the base and one of its own have been found for, and that is live.
fn is_live_with_instances(lane: &Object) -> bool {
    let status = lane.status().unwrap();
    status.matched.iter().any(|it| (it.base, it.tagged) == (1, 1))
        && status.conditions.iter().any(|it| it.kind == "Ready" && it.reason == "Live")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_goes_on_tells_what_was_to_be_said_meanwhile() {
    let (plane, client) = started().await;
    let objects = [group("trade", &["app-a"]), lane("trade", "gray")];
    let known = client.apply(&request(&objects), false).await.unwrap().resource_version;
    // The objects stay as they are: what is said of them changes while nobody watches.
    plane.serve(&[service("sc-a", "app-a", &["1", "11=gray"])]);
    let lane = lane_key("trade-gray");
    while !is_live_with_instances(&client.get(&lane).await.unwrap()) {
        tokio::task::yield_now().await;
    }
    let mut watch = client.watch_after(Kind::Lane, None, &known).await.unwrap();
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    let told = event.object.unwrap();
    assert_eq!((event.kind, told.key()), (WatchKind::Modified, lane));
    assert!(is_live_with_instances(&told), "{told:?}");
}

/// The latest state of an object that anything of a status speaks of.
fn observed(object: &Object) -> u64 {
    let Some(status) = object.status() else { return 0 };
    let of_conditions = status.conditions.iter().map(|condition| condition.observed_generation);
    of_conditions.chain(status.live.iter().map(|live| live.observed_generation)).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_never_tells_a_later_status_with_an_earlier_state() {
    const CHANGES: u64 = 40;
    let (_plane, client) = started().await;
    client
        .apply(&request(&[group("trade", &["app-a"]), lane("trade", "gray")]), false)
        .await
        .unwrap();
    let mut watch = client.watch(Kind::Lane, None).await.unwrap();
    let key = lane_key("trade-gray");
    let toggle = async {
        for number in 0..CHANGES {
            let patch = json!({"spec": {"enabled": number % 2 == 1}});
            client.patch(&key, &patch).await.unwrap();
        }
    };
    let read = async {
        loop {
            let event = watch.next().await.unwrap().unwrap();
            let Some(object) = event.object else { continue };
            let generation = object.metadata().generation;
            assert!(observed(&object) <= generation, "{object:?}");
            if generation == CHANGES + 1 && observed(&object) == generation {
                break;
            }
        }
    };
    tokio::join!(toggle, read);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_follows_the_chain_of_the_seed_scenario() {
    let (plane, client) = started().await;
    plane.serve(&[
        service("sc-A", "app-a", &["1", "11=gray"]),
        service("sc-B", "app-b", &["2"]),
        service("sc-C", "app-c", &["3", "13=gray"]),
    ]);
    client
        .apply(
            &request(&[
                backend("a", "sc-A"),
                route("a", "/a", "a"),
                group("trade", &["app-a", "app-b", "app-c"]),
                lane("trade", "gray"),
            ]),
            false,
        )
        .await
        .unwrap();
    plane.admitted().await;
    let wanted = |canary: &str| ExplainRequest {
        gateway: "edge".to_owned(),
        method: "GET".to_owned(),
        url: "http://127.0.0.1:8000/a".to_owned(),
        headers: vec![api::resource::HeaderField {
            name: "canary".to_owned(),
            value: canary.to_owned(),
        }],
        client_ip: None,
        path: ["sc-A", "sc-B", "sc-C"].map(str::to_owned).to_vec(),
    };
    let gray = client.explain(&wanted("gray")).await.unwrap();
    assert_eq!(gray.route, "default/a");
    assert_eq!(gray.baggage, "lane.trade=gray");
    let hops: Vec<(&str, &str)> =
        gray.hops.iter().map(|hop| (hop.outcome.as_str(), hop.endpoint.as_str())).collect();
    assert_eq!(
        hops,
        [("lane", "127.0.0.1:11"), ("fallback", "127.0.0.1:2"), ("lane", "127.0.0.1:13")]
    );
    assert!(!gray.entrance.is_empty() && gray.hops.iter().all(|hop| !hop.steps.is_empty()));

    let base = client.explain(&wanted("blue")).await.unwrap();
    assert_eq!(base.baggage, "");
    assert!(base.hops.iter().all(|hop| hop.outcome == "base" && hop.tag.is_empty()));

    let nowhere = client
        .explain(&ExplainRequest { url: "/nowhere".to_owned(), ..wanted("gray") })
        .await
        .unwrap();
    assert!(nowhere.routing[0].contains("404"), "{nowhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_drops_as_correlation_ids_is_known_to_explain_and_to_writes() {
    let (plane, client) = started().await;
    plane.serve(&[service("sc-A", "app-a", &["1"])]);
    let mut chained = lane("trade", "gray");
    chained["spec"]["entry"]["content"]["conditions"] =
        json!([{"header": "x-chain", "operator": "exists"}]);
    let objects =
        [backend("a", "sc-A"), route("a", "/a", "a"), group("trade", &["app-a"]), chained.clone()];
    let applied = client.apply(&request(&objects), false).await.unwrap();
    assert!(applied.warnings.is_empty(), "{:?}", applied.warnings);
    plane.admitted().await;
    let wanted = ExplainRequest {
        gateway: "edge".to_owned(),
        method: "GET".to_owned(),
        url: "/a".to_owned(),
        headers: vec![api::resource::HeaderField {
            name: "X-Chain".to_owned(),
            value: "7".to_owned(),
        }],
        client_ip: None,
        path: Vec::new(),
    };
    assert_eq!(client.explain(&wanted).await.unwrap().baggage, "lane.trade=gray");

    let correlation_headers = ["traceparent", "x-chain"].map(str::to_owned).to_vec();
    let hello = v1::Hello { correlation_headers, ..crate::harness::gateway("g1") };
    let mut edge = plane.connect(hello).await;
    edge.receive().await;
    assert_eq!(client.explain(&wanted).await.unwrap().baggage, "");
    // What the gateway tells makes it doubtful, and no later write of something else.
    let doubted = async || {
        let findings = client.status().await.unwrap().findings;
        findings.iter().map(|it| format!("{} {}", it.code, it.value)).collect::<Vec<_>>()
    };
    assert_eq!(doubted().await, ["never-holds x-chain"]);
    let applied = client.apply(&request(&[backend("b", "a")]), false).await.unwrap();
    assert!(applied.warnings.is_empty(), "{:?}", applied.warnings);

    let correlation_headers = ["x-chain", "b3", "x-flow"].map(str::to_owned).to_vec();
    let hello = v1::Hello { correlation_headers, ..crate::harness::sidecar("s1", "app-a") };
    let mut sidecar = plane.connect(hello).await;
    sidecar.receive().await;
    assert_eq!(doubted().await, ["never-holds x-chain", "strangers-choose x-flow"]);
    let mut believing = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "annotations": {"laneway.io/trusted": "true"}},
        "spec": {"gatewayClassName": "laneway", "listeners": [{"name": "http", "port": 8000, "protocol": "HTTP"}]}
    });
    client.apply(&request(&[believing.clone()]), false).await.unwrap();
    assert!(doubted().await.is_empty(), "whom a gateway trusts may say what he likes");
    believing["metadata"]["annotations"] = json!({});
    client.apply(&request(&[believing]), false).await.unwrap();
    chained["spec"]["priority"] = json!(1);
    let applied = client.apply(&request(&[chained]), false).await.unwrap();
    let fields: Vec<_> = applied.warnings.iter().map(|told| told.field.as_str()).collect();
    assert_eq!(fields, ["spec.entry.content.conditions[0].header"], "{:?}", applied.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_paths_and_bodies_say_what_is_right() {
    let (plane, client) = started().await;
    let address = plane.rest().await;
    for (method, path, body, status, says) in [
        ("GET", "/api/v1alpha1/lines", "", 404, "lanes"),
        ("GET", "/api/v1/lanes", "", 404, "openapi.json"),
        ("POST", "/api/v1alpha1/status", "{}", 405, "POST"),
        ("GET", "/api/v1alpha1/namespaces/%ff/lanes", "", 400, "write percent-encoded UTF-8"),
        ("GET", "/api/v1alpha1/lanes?resourceVersion=1", "", 400, "use it with watch"),
        ("DELETE", "/api/v1alpha1/namespaces/default/lanes/x?watch", "", 400, "resourceVersion"),
        ("GET", "/api/v1alpha1/events?after=10000000000000000001", "", 400, "number of an event"),
        ("GET", "/api/v1alpha1/audit?before=-1", "", 400, "before: `-1`: use the number"),
        (
            "POST",
            "/api/v1alpha1/tokens",
            "{\"application\": 7}",
            400,
            "\"field\":\"application\",\"value\":\"7\"",
        ),
        // A secret is not said again, whatever is wrong with it or its name.
        (
            "POST",
            "/api/v1alpha1/sign-in",
            "{\"user\": \"a\", \"pasword\": \"s3cret\"}",
            400,
            "\"field\":\"pasword\",\"value\":\"\"",
        ),
        ("POST", "/api/v1alpha1/apply", "{", 400, "JSON"),
        ("POST", "/api/v1alpha1/apply?dry", "{\"objects\": []}", 400, "dryRun"),
        ("GET", "/api/v1alpha1/lanes?watch&resourceVersion=99999", "", 410, "list again"),
        ("GET", "/api/v1alpha1/lanes?watch&resourceVersion=abc", "", 400, "`abc`: use"),
        ("POST", "/api/v1alpha1/apply", "{\"objects\": [], \"objects\": []}", 400, "written twice"),
        (
            "POST",
            "/api/v1alpha1/apply",
            "{\"objects\": [{\"kind\": \"Lane\", \"metadata\": {\"name\": \"a\"}}, {\"kind\": \"Lame\"}]}",
            422,
            "objects[1].kind",
        ),
        (
            "POST",
            "/api/v1alpha1/check",
            "{\"objects\": [{\"a\": 1, \"a\": 1}]}",
            400,
            "written twice",
        ),
        (
            "PATCH",
            "/api/v1alpha1/namespaces/default/lanes/x",
            "{\"spec\": {\"tag\": \"a\", \"tag\": \"b\"}}",
            400,
            "`tag` is written twice",
        ),
        (
            "PUT",
            "/api/v1alpha1/namespaces/default/lanes/x",
            "{\"metadata\":{\"name\":\"y\"}}",
            422,
            "as in the path",
        ),
    ] {
        let (answered, text) = crate::harness::call(address, method, path, body).await;
        assert_eq!(answered, status, "{method} {path}: {text}");
        assert!(text.contains(says), "{method} {path}: {text}");
        assert!(text.starts_with("{\"status\":"), "{method} {path}: {text}");
    }
    let status = client.status().await.unwrap();
    assert_eq!(status.sources[0].name, "embedded");
    assert_eq!(status.gateways[0].name, "edge");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_told_as_that_and_of_very_many_mistakes_the_first() {
    let (plane, _client) = started().await;
    let address = plane.rest().await;
    let (answered, text) = too_much(address, &vec!["{\"a\":1}"; 10_001].join(",")).await;
    assert_eq!((answered, text.contains("more than 10000 items")), (400, true), "{text}");
    let text = announced(address, api::read::BYTES_MAX + 1).await;
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("write less at once"), "{text}");
    // What is wrong with very many is told of the first.
    let (answered, text) = too_much(address, &vec!["{\"a\":1}"; 1_000].join(",")).await;
    assert_eq!(answered, 422);
    assert!(text.contains("the first 200 of 1000 findings"), "{text}");
    let body = json!({"objects": vec![json!({"a": 1}); 1_000]}).to_string();
    let (answered, text) =
        crate::harness::call(address, "POST", "/api/v1alpha1/check", &body).await;
    assert_eq!(answered, 200);
    assert!(text.contains("\"omitted\":800"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_groups_of_one_name_the_older_is_in_force_and_the_other_says_so() {
    let (_plane, client) = started().await;
    let mut second = group("trade", &["b"]);
    second["metadata"]["namespace"] = json!("other");
    client.apply(&request(&[group("trade", &["a"]), second]), false).await.unwrap();
    let conditions = async |namespace: &str| {
        let key = Key::new(Kind::LaneGroup, namespace, "trade");
        let object = client.get(&key).await.unwrap();
        let conditions = object.status().unwrap().conditions.iter();
        conditions.map(|it| format!("{}={} {}", it.kind, it.status, it.reason)).collect::<Vec<_>>()
    };
    assert_eq!(conditions("default").await, ["Ready=True Live"]);
    assert_eq!(conditions("other").await, ["Ready=False NotInForce", "Conflicted=True Conflict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_spreads_over_versions_of_a_lanes_application_is_refused_or_told() {
    let (plane, client) = started().await;
    plane.serve(&[service("sc-a", "app-a", &["1"]), service("sc-a-next", "app-a", &["2"])]);
    let mut weighted = route("a", "/a", "a");
    let reference = json!({"group": "laneway.io", "kind": "Backend", "name": "next", "weight": 1});
    weighted["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().push(reference);
    let backends = [backend("a", "sc-a"), backend("next", "sc-a-next")];
    client.apply(&request(&backends), false).await.unwrap();

    // The group was first: such a route is refused.
    client.apply(&request(&[group("trade", &["app-a"])]), false).await.unwrap();
    let problem = refused(client.apply(&request(&[weighted.clone()]), false).await);
    assert_eq!(problem.errors[0].field, "spec.rules[0].backendRefs");
    assert!(problem.to_string().contains("LaneGroup trade"), "{problem}");

    // The route was first: both are told of each other.
    client.delete(&Key::new(Kind::LaneGroup, "default", "trade")).await.unwrap();
    client.apply(&request(&[weighted]), false).await.unwrap();
    client.apply(&request(&[group("trade", &["app-a"])]), false).await.unwrap();
    for (kind, name, other) in
        [(Kind::LaneGroup, "trade", "HTTPRoute a"), (Kind::HttpRoute, "a", "LaneGroup trade")]
    {
        let object = client.get(&Key::new(kind, "default", name)).await.unwrap();
        let conditions = &object.status().unwrap().conditions;
        let conflicted = conditions.iter().find(|it| it.kind == "Conflicted").unwrap();
        assert!(conflicted.message.contains(other), "{conflicted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_of_another_site_can_send_is_refused() {
    let (plane, client) = started().await;
    let address = plane.rest().await;
    let body = json!({"objects": [group("trade", &["a"])]}).to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let path = "/api/v1alpha1/apply";
        let (status, text) =
            crate::harness::call_with(address, "POST", path, media_type, &body).await;
        assert_eq!(status, 415, "{media_type}: {text}");
    }
    assert!(client.list(Kind::LaneGroup, None).await.unwrap().items.is_empty());
}

#[test]
fn the_committed_openapi_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let fresh = control::openapi();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == fresh,
        "run `UPDATE=1 cargo test -p control` and commit crates/control/openapi.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_openapi_document_is_served() {
    let (plane, _client) = started().await;
    let address = plane.rest().await;
    let document: Value = serde_json::from_str(&control::openapi()).unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{namespace}", "default")
            .replace("{plural}", "lanes")
            .replace("{name}", "x");
        for method in item.as_object().unwrap().keys() {
            let (status, text) =
                crate::harness::call(address, &method.to_uppercase(), &path, "").await;
            assert_ne!(status, 405, "{method} {path}");
            assert!(!text.contains("no such path"), "{method} {path}");
            operations += 1;
        }
    }
    assert_eq!(operations, 48);
}

/// Applies what is between the brackets.
async fn too_much(address: std::net::SocketAddr, objects: &str) -> (u16, String) {
    let body = format!("{{\"objects\": [{objects}]}}");
    crate::harness::call(address, "POST", "/api/v1alpha1/apply", &body).await
}

/// Announces a body of this length, and sends none of it.
async fn announced(address: std::net::SocketAddr, length: usize) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1alpha1/apply HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
