//! Taps over REST, of what data planes tell over discovery.

use std::net::SocketAddr;

use api::{
    client::{Client, Lines},
    discovery::v1::{self, TrafficOutcome, TrafficRole, data_plane_message::Message},
    rest::{TapEvent, TapKind, TappedRequest},
};
use serde_json::json;

use crate::harness::{DataPlane, PATIENCE, Plane, call, gateway, group, lane, sidecar};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A control plane with a lane, and a client of it.
async fn plane() -> (Plane, SocketAddr, Client) {
    let plane = Plane::start().await;
    plane.apply(&[group("trade", &["a", "b"]), lane("trade", "gray")]).await.unwrap();
    let rest = plane.rest().await;
    let client = Client::new(&format!("http://{rest}")).unwrap();
    (plane, rest, client)
}

/// Connects one that can tap, or cannot, and hears all it is to hear at first.
async fn connect(plane: &Plane, can: bool, hello: v1::Hello) -> DataPlane {
    let capabilities = if can { vec!["tap".to_owned()] } else { Vec::new() };
    let mut data_plane = plane.connect(v1::Hello { capabilities, ..hello }).await;
    data_plane.subscribe(&[], &[]).await;
    data_plane.until(|it| it.group("trade").is_some()).await;
    data_plane
}

/// What it is told to tap next.
async fn taps(data_plane: &mut DataPlane) -> v1::Taps {
    loop {
        let message = data_plane.receive().await;
        if let Some(taps) = message.taps {
            return taps;
        }
        data_plane.acknowledge(&message).await;
    }
}

async fn next(lines: &mut Lines<TapEvent>) -> TapEvent {
    tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap().unwrap()
}

async fn next_request(lines: &mut Lines<TapEvent>) -> TappedRequest {
    loop {
        let event = next(lines).await;
        if event.kind == TapKind::Request {
            return event.request.unwrap();
        }
    }
}

fn record(role: TrafficRole, application: &str, from_us: u64) -> v1::TappedRequest {
    v1::TappedRequest {
        role: role.into(),
        started_us: from_us,
        duration_us: 10_000 - from_us,
        method: "GET".to_owned(),
        path: "/a".to_owned(),
        outcome: TrafficOutcome::Lane.into(),
        status: 200,
        application: application.to_owned(),
        instance: "10.0.0.1:80".to_owned(),
        lanes: vec![v1::TappedLane { group: "trade".to_owned(), lane: "gray".to_owned() }],
        ids: vec![TRACE.to_owned()],
        ..v1::TappedRequest::default()
    }
}

async fn tell(data_plane: &DataPlane, requests: Vec<v1::TappedRequest>) {
    data_plane.say(Message::Tapped(v1::Tapped { requests, counts: Vec::new() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_are_told_who_is_watched_and_watchers_what_they_tell() {
    let (plane, rest, client) = plane().await;
    let mut edge = connect(&plane, true, gateway("g")).await;
    let mut a = connect(&plane, true, sidecar("a-1", "a")).await;
    let mut old = connect(&plane, false, sidecar("b-1", "b")).await;
    // Told unasked, it is nobody's.
    tell(&edge, vec![record(TrafficRole::Gateway, "a", 0)]).await;

    let mut lines = client.tap("trade", "gray", None, Some(7)).await.unwrap();
    for data_plane in [&mut edge, &mut a] {
        let told = taps(data_plane).await;
        let expected =
            v1::Tap { group: "trade".to_owned(), lane: "gray".to_owned(), share: u32::MAX };
        assert_eq!(told.taps, [expected]);
        assert!(told.lease_ms > 0 && told.per_second_max > 7, "{told:?}");
    }
    let status = next(&mut lines).await.status.unwrap();
    assert_eq!((status.share, status.data_planes, status.silent_data_planes), (1.0, 2, 1));

    // The sidecar's words on whose it is are its own application's.
    let mut forged = record(TrafficRole::Inbound, "b", 1);
    forged.reason = "x".repeat(100_000);
    tell(
        &a,
        vec![forged, record(TrafficRole::Gateway, "b", 0), record(TrafficRole::Outbound, "b", 2)],
    )
    .await;
    tell(&edge, vec![record(TrafficRole::Gateway, "a", 0)]).await;
    let request = next_request(&mut lines).await;
    let hops = request.hops.iter().map(|hop| (hop.depth, &*hop.caller, &*hop.application));
    assert_eq!(hops.collect::<Vec<_>>(), [(0, "edge", "a"), (1, "a", "b")]);
    assert_eq!((request.id.as_str(), request.status), (TRACE, 200));
    assert!(request.hops[0].served_ms.is_some() && request.hops[0].reason.len() < 10_000);

    drop(lines);
    for data_plane in [&mut edge, &mut a] {
        assert_eq!(taps(data_plane).await, v1::Taps::default(), "nobody watches any more");
    }
    plane.apply(&[lane("trade", "blue")]).await.unwrap();
    old.until(|it| it.group("trade").is_some_and(|group| group.lanes.len() == 2)).await;
    assert!(old.messages.iter().all(|message| message.taps.is_none()), "it would not know them");
    let (_, events) = call(rest, "GET", "/api/v1alpha1/events", "").await;
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let of = |reason: &str| {
        let all = events.as_array().unwrap().iter();
        let found = all.filter(|event| event["reason"] == reason).collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{events}");
        found[0].clone()
    };
    assert_eq!(of("Tapped")["object"]["name"], "trade");
    assert_eq!(of("Tapped")["message"], of("TapEnded")["message"]);
    let message = of("Tapped")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("a test") && message.ends_with(": lane gray"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_while_somebody_watches_is_told_so() {
    let (plane, _, client) = plane().await;
    let _lines = client.tap("trade", "base", Some("a"), None).await.unwrap();
    let mut late = connect(&plane, true, sidecar("a-1", "a")).await;
    assert_eq!(taps(&mut late).await.taps[0].lane, "");
    // It has nothing of the group.
    plane.apply(&[group("other", &["c"])]).await.unwrap();
    let capabilities = vec!["tap".to_owned()];
    let mut other = plane.connect(v1::Hello { capabilities, ..sidecar("c-1", "c") }).await;
    other.subscribe(&[], &[]).await;
    other.until(|it| it.group("other").is_some()).await;
    assert!(other.messages.iter().all(|message| message.taps.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_is_heard_of_groups_alone_that_it_was_told_to_tap() {
    let (plane, _, client) = plane().await;
    plane.apply(&[group("peek", &["z"]), lane("peek", "gray")]).await.unwrap();
    let mut edge = connect(&plane, true, gateway("g")).await;
    let capabilities = vec!["tap".to_owned()];
    let mut z = plane.connect(v1::Hello { capabilities, ..sidecar("z-1", "z") }).await;
    z.subscribe(&[], &[]).await;
    z.until(|it| it.group("peek").is_some()).await;
    let mut peek = client.tap("peek", "gray", None, None).await.unwrap();
    let mut trade = client.tap("trade", "gray", None, None).await.unwrap();
    while taps(&mut z).await.taps.is_empty() {}
    while !taps(&mut edge).await.taps.iter().any(|tap| tap.group == "trade") {}

    let of = |group: &str| v1::TappedLane { group: group.to_owned(), lane: "gray".to_owned() };
    let record_of = |id: &str, groups: &[&str]| v1::TappedRequest {
        ids: vec![id.to_owned()],
        lanes: groups.iter().map(|group| of(group)).collect(),
        ..record(TrafficRole::Outbound, "a", 0)
    };
    let requests = vec![record_of("1", &["trade"]), record_of("2", &["trade", "peek"])];
    let count = |group: &str| v1::TapCount {
        group: group.to_owned(),
        lane: "gray".to_owned(),
        matched: u32::MAX,
        dropped: 1,
    };
    z.say(Message::Tapped(v1::Tapped { requests, counts: vec![count("trade")] })).await;
    assert_eq!(next_request(&mut peek).await.id, "2");
    // By now the share would be another.
    tell(&edge, vec![record(TrafficRole::Gateway, "a", 0)]).await;
    loop {
        let event = next(&mut trade).await;
        if let Some(status) = event.status {
            assert_eq!((status.share, status.dropped), (1.0, 0));
        }
        if let Some(request) = event.request {
            break assert_eq!((request.id.as_str(), request.hops.len()), (TRACE, 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_watched_is_said_with_what_would_be_right() {
    let (_plane, rest, _) = plane().await;
    for (query, status, detail) in [
        ("", 400, "group is missing: name a lane group's"),
        ("?group=trade", 400, "lane is missing: name the tag of a lane, or base"),
        ("?group=none&lane=gray", 404, "group: `none`: there is no such lane group"),
        ("?group=trade&lane=blue", 404, "lane: `blue`: there is no such lane in the group"),
        (
            "?group=trade&lane=gray&application=z",
            404,
            "application: `z`: use one of group trade: a, b",
        ),
        ("?group=trade&lane=gray&rate=0", 400, "rate: `0`: use requests a second, 1 to 100"),
        ("?group=trade&lane=gray&rate=many", 400, "rate: `many`: use requests a second, 1 to 100"),
        (
            "?group=trade&tag=gray",
            400,
            "`tag` is none of its parameters: use one of group, lane, application, rate",
        ),
    ] {
        let (answered, body) = call(rest, "GET", &format!("/api/v1alpha1/tap{query}"), "").await;
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((answered, &problem["detail"]), (status, &json!(detail)), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_groups_of_a_name_the_one_in_force_is_watched() {
    let (plane, rest, client) = plane().await;
    // Younger, and without effect; its namespace sorts first.
    let of = |mut object: serde_json::Value| {
        object["metadata"]["namespace"] = json!("another");
        object
    };
    plane.apply(&[of(group("trade", &["z"])), of(lane("trade", "theirs"))]).await.unwrap();
    for (query, detail) in [
        ("lane=gray&application=z", "application: `z`: use one of group trade: a, b"),
        ("lane=theirs", "lane: `theirs`: there is no such lane in the group"),
    ] {
        let query = format!("/api/v1alpha1/tap?group=trade&{query}");
        let (status, body) = call(rest, "GET", &query, "").await;
        assert!(status == 404 && body.contains(detail), "{query}: {status} {body}");
    }
    let _lines = client.tap("trade", "gray", Some("a"), None).await.unwrap();
    let (_, events) = call(rest, "GET", "/api/v1alpha1/events", "").await;
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let tapped = events.as_array().unwrap().iter().find(|event| event["reason"] == "Tapped");
    let object = &tapped.unwrap()["object"];
    assert_eq!((&object["namespace"], &object["name"]), (&json!("default"), &json!("trade")));
}

/// Reasons of events of taps, the oldest first.
async fn tap_events(rest: SocketAddr) -> Vec<String> {
    let (_, events) = call(rest, "GET", "/api/v1alpha1/events", "").await;
    let events: Vec<serde_json::Value> = serde_json::from_str(&events).unwrap();
    let mut of_taps: Vec<_> =
        events.iter().filter(|it| it["reason"] == "Tapped" || it["reason"] == "TapEnded").collect();
    of_taps.sort_by_key(|event| event["number"].as_u64());
    of_taps.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

async fn until_tap_events(rest: SocketAddr, expected: &[&str]) {
    let told = async { while tap_events(rest).await != expected {} };
    if tokio::time::timeout(PATIENCE, told).await.is_err() {
        assert_eq!(tap_events(rest).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_tap_hides_no_long_one() {
    let (_plane, rest, client) = plane().await;
    let decoy = client.tap("trade", "gray", None, None).await.unwrap();
    let beside = client.tap("trade", "gray", None, None).await.unwrap();
    drop(decoy);
    until_tap_events(rest, &["Tapped"]).await;
    drop(beside);
    until_tap_events(rest, &["Tapped", "TapEnded"]).await;
    let _long = client.tap("trade", "gray", None, None).await.unwrap();
    assert_eq!(tap_events(rest).await, ["Tapped", "TapEnded", "Tapped"]);
    let _other = client.tap("trade", "base", Some("a"), None).await.unwrap();

    // Each is in the audit, once of what is the same.
    let (_, audit) = call(rest, "GET", "/api/v1alpha1/audit", "").await;
    let audit: Vec<serde_json::Value> = serde_json::from_str(&audit).unwrap();
    let about = |entry: &&serde_json::Value| entry["about"].as_str().unwrap().starts_with("tap of");
    let taps: Vec<_> = audit.iter().filter(about).collect();
    let abouts: Vec<_> = taps.iter().map(|entry| entry["about"].as_str().unwrap()).collect();
    assert_eq!(abouts, ["tap of trade/base", "tap of trade/gray"]);
    assert_eq!(taps[0]["object"]["kind"], "LaneGroup");
    assert_eq!(taps[0]["changes"], json!([{"field": "application", "after": "a"}]));
    assert_eq!(taps[1]["author"]["name"], "a test");
    let undo = format!("/api/v1alpha1/audit/{}/undo", taps[1]["number"]);
    let (status, answer) = call(rest, "POST", &undo, "{}").await;
    assert!(
        status == 409 && answer.contains("tap of trade/gray is no object"),
        "{status} {answer}"
    );
}

/// The words of its last line.
async fn end_of(mut lines: Lines<TapEvent>) -> String {
    let mut ended = String::new();
    let all = async {
        while let Some(event) = lines.next().await.unwrap() {
            assert_eq!(ended, "", "nothing comes after the end");
            assert_eq!(event.kind == TapKind::Ended, !event.ended.is_empty());
            ended = event.ended;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_ends_with_the_lane_and_the_group_that_it_was_begun_for() {
    let (plane, rest, client) = plane().await;
    let path =
        |namespace: &str, object: &str| format!("/api/v1alpha1/namespaces/{namespace}/{object}");
    let gray = client.tap("trade", "gray", None, None).await.unwrap();
    let base = client.tap("trade", "base", None, None).await.unwrap();
    // Another of the same name.
    let (status, answer) = call(rest, "DELETE", &path("default", "lanes/trade-gray"), "").await;
    assert_eq!(status, 204, "{answer}");
    plane.apply(&[lane("trade", "gray")]).await.unwrap();
    assert_eq!(end_of(gray).await, "lane trade/gray is gone, or another one by now");
    let gray = client.tap("trade", "gray", None, None).await.unwrap();

    // What has waited in another namespace comes into force.
    let mut theirs = group("trade", &["z"]);
    theirs["metadata"]["namespace"] = json!("another");
    plane.apply(&[theirs]).await.unwrap();
    for object in ["lanes/trade-gray", "lanegroups/trade"] {
        let (status, answer) = call(rest, "DELETE", &path("default", object), "").await;
        assert_eq!(status, 204, "{answer}");
    }
    assert_eq!(end_of(base).await, "lane group trade is gone, or another one by now");
    // Its lane went first.
    assert!(end_of(gray).await.ends_with(" is gone, or another one by now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_watch_as_may_and_no_more() {
    let (_plane, _, client) = plane().await;
    let mut watching = Vec::new();
    let refused = loop {
        match client.tap("trade", "gray", None, None).await {
            Ok(lines) => watching.push(lines),
            Err(error) => break error.to_string(),
        }
        assert!(watching.len() < 100, "there is a limit");
    };
    assert_eq!(watching.len(), 16);
    assert_eq!(refused, "too many taps: 16 watch already: end one of these taps first");
}
