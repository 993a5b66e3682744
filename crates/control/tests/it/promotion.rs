//! Lanes promoted over REST: the whole way, abandoned, stopped by others, over a restart.

use std::net::SocketAddr;

use api::discovery::v1::{self, data_plane_message::Message};
use control::{Edit, Manifest, Transaction};
use serde_json::{Value, json};

use crate::harness::{DataPlane, PATIENCE, Plane, call, call_with, gateway, group, lane, service};

const PATH: &str = "/api/v1alpha1/promotions/default/trade-gray";
const LANE: &str = "/api/v1alpha1/namespaces/default/lanes/trade-gray";

/// A group of two applications, of which `a` has an instance in the lane, and a gateway.
async fn world() -> (Plane, SocketAddr, DataPlane) {
    let plane = Plane::start().await;
    plane.apply(&[group("trade", &["a", "b"]), lane("trade", "gray")]).await.unwrap();
    deploy(&plane, &["1", "2", "11=gray"]);
    let rest = plane.rest().await;
    let gateway = follow(&plane).await;
    plane.admitted().await;
    (plane, rest, gateway)
}

/// Instances of `a`; `b` stays in base alone.
fn deploy(plane: &Plane, a: &[&str]) {
    plane.serve(&[service("sc-A", "a", a), service("sc-B", "b", &["3"])]);
}

/// A gateway that reports what passes, and has confirmed what it knows.
async fn follow(plane: &Plane) -> DataPlane {
    let hello = v1::Hello { capabilities: vec!["traffic".to_owned()], ..gateway("g") };
    let mut gateway = plane.connect(hello).await;
    gateway.subscribe(&[], &[]).await;
    gateway.until(|it| it.messages.last().is_some_and(|message| message.synced)).await;
    let known = gateway.messages.last().cloned().unwrap();
    gateway.acknowledge(&known).await;
    gateway
}

/// Confirms all that the gateway is told until the lane is paused there, or is not.
async fn confirm_until(gateway: &mut DataPlane, paused: bool) {
    let is =
        |it: &DataPlane| it.group("trade").is_some_and(|group| group.lanes[0].paused == paused);
    tokio::time::timeout(PATIENCE, gateway.until(is)).await.expect("it is not told");
}

/// Confirms all that the gateway is told from now on.
fn confirm_all(mut gateway: DataPlane) {
    tokio::spawn(async move {
        loop {
            let message = gateway.receive_for_ever().await;
            gateway.acknowledge(&message).await;
        }
    });
}

async fn ask(rest: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = call(rest, method, path, &body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
}

async fn start(rest: SocketAddr) -> Value {
    begin(rest, &json!({"idleSeconds": 1})).await
}

/// Where the one before was broken off.
async fn start_anew(rest: SocketAddr) -> Value {
    begin(rest, &json!({"idleSeconds": 1, "anew": true})).await
}

async fn begin(rest: SocketAddr, request: &Value) -> Value {
    let (status, begun) = ask(rest, "POST", PATH, request).await;
    assert_eq!(status, 201, "{begun}");
    begun
}

async fn next(rest: SocketAddr, step: &str, confirm: &[&str]) -> (u16, Value) {
    let body = json!({"step": step, "confirm": confirm});
    ask(rest, "POST", &format!("{PATH}/next"), &body).await
}

async fn go_on(rest: SocketAddr, step: &str, confirm: &[&str], to: &str) -> Value {
    let (status, now) = next(rest, step, confirm).await;
    assert_eq!((status, &now["step"]), (200, &to.into()), "{now}");
    now
}

/// Asks until the promotion is as wanted.
async fn until(rest: SocketAddr, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let (_, now) = ask(rest, "GET", PATH, &Value::Null).await;
            if is(&now) {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn check<'v>(promotion: &'v Value, id: &str) -> &'v Value {
    let steps = promotion["steps"].as_array().unwrap();
    let checks = steps.iter().flat_map(|step| step["checks"].as_array()).flatten();
    checks.into_iter().find(|it| it["id"] == id).unwrap_or(&Value::Null)
}

async fn paused(rest: SocketAddr) -> bool {
    ask(rest, "GET", LANE, &Value::Null).await.1["spec"]["entry"]["paused"] == true
}

async fn patch(rest: SocketAddr, patch: &Value) {
    let kind = "application/merge-patch+json";
    assert_eq!(call_with(rest, "PATCH", LANE, kind, &patch.to_string()).await.0, 200);
}

async fn events(rest: SocketAddr) -> Vec<String> {
    let (_, events) = ask(rest, "GET", "/api/v1alpha1/events", &Value::Null).await;
    let reasons =
        events.as_array().unwrap().iter().filter(|it| it["object"]["name"] == "trade-gray");
    reasons.map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
}

/// Base is given the version: other processes than at the start.
async fn renewed(plane: &Plane, rest: SocketAddr) {
    go_on(rest, "verdict", &["verdict"], "base").await;
    deploy(plane, &["21", "22", "11=gray"]);
    go_on(rest, "base", &["version"], "health").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_becomes_base_step_by_step() {
    let (plane, rest, mut gateway) = world().await;
    let begun = start(rest).await;
    assert_eq!(begun["applications"], json!(["a"]), "b has nothing in the lane");
    assert_eq!(begun["step"], "verdict");
    assert_eq!(check(&begun, "verdict")["state"], "unknown", "nothing has passed");
    // Neither twice at once, nor from a step that it is not at, nor past what must hold.
    assert_eq!(ask(rest, "POST", PATH, &json!({})).await.0, 409);
    let (status, refused) = next(rest, "base", &[]).await;
    assert!(
        status == 409 && refused.to_string().contains("at step verdict, not base"),
        "{refused}"
    );
    let (status, refused) = next(rest, "verdict", &[]).await;
    assert!(status == 409 && refused.to_string().contains("too little traffic"), "{refused}");
    let (status, refused) = next(rest, "verdict", &["version"]).await;
    assert!(status == 422 && refused.to_string().contains("use verdict, or `all`"), "{refused}");

    let now = go_on(rest, "verdict", &["verdict"], "base").await;
    assert_eq!(now["steps"][0]["confirmed"][0]["by"]["name"], "a test");
    let old = check(&now, "instances/a");
    assert_eq!((&old["state"], &old["n"], &old["of"]), (&"waiting".into(), &0.into(), &2.into()));
    deploy(&plane, &["2", "21", "11=gray"]);
    let half = until(rest, "half of base is new", |it| check(it, "instances/a")["n"] == 1).await;
    assert_eq!(check(&half, "instances/a")["state"], "waiting");
    assert_eq!(next(rest, "base", &["version"]).await.0, 409);
    deploy(&plane, &["21", "22", "11=gray"]);
    until(rest, "base is new", |it| check(it, "instances/a")["state"] == "ok").await;
    assert!(!paused(rest).await, "the lane stays open until base is new");
    let now = go_on(rest, "base", &["version"], "health").await;
    assert_eq!(check(&now, "errors/a")["state"], "unknown");

    let now = go_on(rest, "health", &["errors/a"], "drain").await;
    assert!(paused(rest).await);
    let closed = check(&now, "closed");
    assert_eq!((&closed["state"], &closed["of"]), (&"waiting".into(), &1.into()), "{now}");
    let (status, refused) = next(rest, "drain", &["all"]).await;
    assert!(status == 409 && refused.to_string().contains("paused on 0 of 1"), "{refused}");
    // One request still ends in the lane.
    let series = v1::TrafficSeries {
        role: v1::TrafficRole::Gateway.into(),
        application: "a".to_owned(),
        group: "trade".to_owned(),
        lane: "gray".to_owned(),
        outcome: v1::TrafficOutcome::Lane.into(),
        code_class: 2,
        ..Default::default()
    };
    let sample = v1::TrafficSample { series: 0, sum_us: 3_000, buckets: vec![22, 1] };
    let traffic = v1::Traffic { series: vec![series], samples: vec![sample], ..Default::default() };
    gateway.say(Message::Traffic(traffic)).await;
    confirm_until(&mut gateway, true).await;
    until(rest, "a request is seen in the lane", |it| check(it, "idle")["n"] == 1).await;
    let is_empty =
        |it: &Value| check(it, "idle")["state"] == "ok" && check(it, "closed")["state"] == "ok";
    until(rest, "the lane is empty", is_empty).await;

    let now = go_on(rest, "drain", &[], "remove").await;
    assert_eq!(check(&now, "removal")["n"], 1);
    assert_eq!(next(rest, "remove", &[]).await.0, 409, "it is confirmed before the lane goes");
    let done = go_on(rest, "remove", &["removal"], "remove").await;
    assert_eq!(done["end"]["outcome"], "promoted", "{done}");
    assert_eq!(done["end"]["left"], json!(["a 127.0.0.1:11"]));
    assert_eq!(ask(rest, "GET", LANE, &Value::Null).await.0, 404);
    let told = events(rest).await;
    for reason in ["PromotionStarted", "PromotionStep", "Promoted"] {
        assert!(told.iter().any(|it| it == reason), "{reason}: {told:?}");
    }
    let (_, audit) = ask(rest, "GET", "/api/v1alpha1/audit", &Value::Null).await;
    let of_it =
        audit.as_array().unwrap().iter().filter(|it| it["about"] == "promotion of trade/gray");
    assert_eq!(of_it.count(), 6, "started, four steps, ended: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoning_takes_back_what_was_changed_and_nothing_else() {
    let (plane, rest, mut gateway) = world().await;
    start(rest).await;
    let (status, ended) = ask(rest, "POST", &format!("{PATH}/abandon"), &json!({})).await;
    assert_eq!((status, &ended["end"]["outcome"]), (200, &"abandoned".into()), "{ended}");
    assert!(ended["end"]["message"].as_str().unwrap().contains("nothing of the lane"), "{ended}");
    assert_eq!(next(rest, "verdict", &["all"]).await.0, 409);
    let (status, refused) = ask(rest, "POST", PATH, &json!({})).await;
    let said = refused.to_string();
    assert!(status == 409 && said.contains("was abandoned at step verdict at 2"), "{said}");
    assert!(said.contains("`laneway lane promote trade/gray --anew`"), "{said}");

    start_anew(rest).await;
    renewed(&plane, rest).await;
    go_on(rest, "health", &["all"], "drain").await;
    confirm_until(&mut gateway, true).await;
    let (_, before) = ask(rest, "GET", LANE, &Value::Null).await;
    ask(rest, "POST", &format!("{PATH}/abandon"), &json!({})).await;
    let (_, after) = ask(rest, "GET", LANE, &Value::Null).await;
    assert_eq!(before["spec"]["entry"]["paused"], true);
    let mut expected = before["spec"].clone();
    expected["entry"].as_object_mut().unwrap().remove("paused");
    assert_eq!(after["spec"], expected);

    // A lane that was paused before stays so.
    patch(rest, &json!({"spec": {"entry": {"paused": true}}})).await;
    let begun = start_anew(rest).await;
    let verdict = check(&begun, "verdict");
    assert_eq!((&verdict["n"], &verdict["state"]), (&3.into(), &"unknown".into()), "{verdict}");
    assert!(verdict["message"].as_str().unwrap().contains("paused: nobody enters"), "{verdict}");
    deploy(&plane, &["31", "32", "11=gray"]);
    go_on(rest, "verdict", &["all"], "base").await;
    go_on(rest, "base", &["all"], "health").await;
    go_on(rest, "health", &["all"], "drain").await;
    ask(rest, "POST", &format!("{PATH}/abandon"), &json!({})).await;
    assert!(paused(rest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_change_ends_it_and_is_told() {
    let (plane, rest, _gateway) = world().await;
    start(rest).await;
    patch(rest, &json!({"spec": {"enabled": false}})).await;
    // Nobody asks: it is noticed all the same.
    let told = async {
        while !events(rest).await.iter().any(|it| it == "PromotionStopped") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("nobody is told");
    let (_, ended) = ask(rest, "GET", PATH, &Value::Null).await;
    assert_eq!(ended["end"]["outcome"], "stopped");
    assert_eq!(
        ended["end"]["message"], "spec.enabled of the lane was changed by a test",
        "{ended}"
    );
    let (status, refused) = ask(rest, "POST", PATH, &json!({})).await;
    assert!(status == 409 && refused.to_string().contains("is disabled"), "{refused}");
    assert!(refused.to_string().contains("spec.enabled of the lane was changed"), "{refused}");

    patch(rest, &json!({"spec": {"enabled": true}})).await;
    let (status, refused) = ask(rest, "POST", PATH, &json!({})).await;
    let said = refused.to_string();
    assert!(status == 409 && said.contains("was stopped at step verdict"), "{said}");
    start_anew(rest).await;
    renewed(&plane, rest).await;
    go_on(rest, "health", &["all"], "drain").await;
    patch(rest, &json!({"spec": {"priority": 3}})).await;
    let (status, refused) = next(rest, "drain", &["all"]).await;
    let said = refused.to_string();
    assert!(status == 409 && said.contains("spec.priority of the lane was changed"), "{said}");
    assert!(said.contains("`laneway lane resume trade/gray` opens it"), "{said}");
    assert!(paused(rest).await, "nothing is changed by that");

    assert_eq!(call(rest, "DELETE", LANE, "").await.0, 204);
    assert_eq!(ask(rest, "POST", PATH, &json!({})).await.0, 404);
    // Another lane of that name has no promotion before.
    plane.apply(&[lane("trade", "gray")]).await.unwrap();
    start(rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_a_restart_where_it_was() {
    let (plane, rest, gateway) = world().await;
    start(rest).await;
    go_on(rest, "verdict", &["verdict"], "base").await;
    let (_, before) = ask(rest, "GET", PATH, &Value::Null).await;
    drop(gateway);
    let plane = plane.restart().await;
    let rest = plane.rest().await;
    deploy(&plane, &["1", "2", "11=gray"]);
    let (_, after) = ask(rest, "GET", PATH, &Value::Null).await;
    assert_eq!(after, before);
    deploy(&plane, &["21", "22", "11=gray"]);
    go_on(rest, "base", &["version"], "health").await;
    let (_, all) = ask(rest, "GET", "/api/v1alpha1/promotions", &Value::Null).await;
    assert_eq!(all[0]["step"], "health");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_with_nothing_in_it_or_that_others_fall_back_to_is_not_promoted() {
    let (plane, rest, gateway) = world().await;
    confirm_all(gateway);
    deploy(&plane, &["1", "2"]);
    let (status, refused) = ask(rest, "POST", PATH, &json!({})).await;
    assert!(status == 409 && refused.to_string().contains("nothing to promote"), "{refused}");
    let (status, refused) = ask(rest, "POST", PATH, &json!({"idleSeconds": 0})).await;
    assert!(status == 422 && refused.to_string().contains("use 1 to 600"), "{refused}");
    deploy(&plane, &["1", "2", "11=gray"]);
    let mut dev = lane("trade", "dev");
    dev["spec"]["fallback"] = json!(["gray"]);
    plane.apply(&[dev.clone()]).await.unwrap();
    start(rest).await;
    renewed(&plane, rest).await;
    go_on(rest, "health", &["all"], "drain").await;
    until(rest, "closed", |it| check(it, "closed")["state"] == "ok").await;
    let now = go_on(rest, "drain", &["all"], "remove").await;
    assert_eq!(check(&now, "fallback")["state"], "failed");
    let (status, refused) = next(rest, "remove", &["all"]).await;
    assert!(
        status == 409 && refused.to_string().contains("trade/dev falls back to it"),
        "{refused}"
    );
    dev["spec"]["fallback"] = json!([]);
    plane.apply(&[dev]).await.unwrap();
    let done = go_on(rest, "remove", &["removal"], "remove").await;
    assert_eq!(done["end"]["outcome"], "promoted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_comes_into_the_lane_later_is_looked_at_or_vouched_for() {
    let plane = Plane::start().await;
    let set = [group("trade", &["a", "b", "c"]), lane("trade", "gray")];
    plane.apply(&set).await.unwrap();
    let rest = plane.rest().await;
    let deploy = |a: &[&str], b: &[&str], c: &[&str]| {
        let all = [("sc-A", "a", a), ("sc-B", "b", b), ("sc-C", "c", c)];
        plane.serve(&all.map(|(service_name, name, of)| service(service_name, name, of)));
    };
    deploy(&["1", "11=gray"], &["2"], &["3"]);
    plane.admitted().await;
    assert_eq!(start(rest).await["applications"], json!(["a"]));
    // Before base is replaced it is taken in.
    deploy(&["1", "11=gray"], &["2", "12=gray"], &["3"]);
    let now = go_on(rest, "verdict", &["verdict"], "base").await;
    assert_eq!(now["applications"], json!(["a", "b"]), "{now}");
    assert_eq!(check(&now, "instances/b")["state"], "waiting");
    // Afterwards what its base was is not known.
    deploy(&["21", "11=gray"], &["22", "12=gray"], &["3", "13=gray"]);
    let (status, refused) = next(rest, "base", &["version"]).await;
    let said = refused.to_string();
    assert!(status == 409 && said.contains("scope/c: it came into the lane after"), "{said}");
    let now = go_on(rest, "base", &["version", "scope/c"], "health").await;
    assert_eq!(check(&now, "scope/c"), &Value::Null, "once is enough: {now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_other_groups_use_are_kept_and_files_that_say_the_lane_are_named() {
    let (plane, rest, gateway) = world().await;
    confirm_all(gateway);
    let pay = || group("pay", &["a"]);
    plane.apply(&[pay(), lane("pay", "gray")]).await.unwrap();
    let manifest = Box::new(Manifest::read(lane("trade", "gray")).unwrap());
    let edits = vec![Edit::Apply { manifest, only_news: false }];
    plane.control.transact(Transaction { edits, ..Transaction::default() }).await.unwrap();
    start(rest).await;
    renewed(&plane, rest).await;
    go_on(rest, "health", &["all"], "drain").await;
    until(rest, "closed", |it| check(it, "closed")["state"] == "ok").await;
    let now = go_on(rest, "drain", &["all"], "remove").await;
    let removal = check(&now, "removal");
    assert_eq!((&removal["n"], &removal["of"]), (&0.into(), &1.into()), "{now}");
    let (status, refused) = next(rest, "remove", &["removal"]).await;
    let said = refused.to_string();
    assert!(status == 409 && said.contains("files: a file has said the lane"), "{said}");
    let done = go_on(rest, "remove", &["removal", "files"], "remove").await;
    assert_eq!(done["end"]["left"], Value::Null, "{done}");
    assert_eq!(done["end"]["shared"], json!(["a 127.0.0.1:11 (pay/gray)"]), "{done}");
    let message = done["end"]["message"].as_str().unwrap();
    assert!(message.ends_with("; keep 1 that lanes of other groups use"), "{message}");
}
