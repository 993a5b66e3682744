//! Figures over REST, of what data planes report.

use std::net::SocketAddr;

use api::discovery::v1::{self, data_plane_message::Message};
use serde_json::{Value, json};

use crate::harness::{DataPlane, PATIENCE, Plane, call, call_with};

fn hello(node: &str, role: v1::Role, name: &str) -> v1::Hello {
    v1::Hello {
        node: node.to_owned(),
        role: role.into(),
        name: name.to_owned(),
        capabilities: vec!["traffic".to_owned()],
        ..Default::default()
    }
}

fn series(role: v1::TrafficRole, application: &str, lane: &str) -> v1::TrafficSeries {
    let outcome = if lane.is_empty() { v1::TrafficOutcome::Base } else { v1::TrafficOutcome::Lane };
    v1::TrafficSeries {
        role: role.into(),
        application: application.to_owned(),
        service: format!("sc-{application}"),
        route: if role == v1::TrafficRole::Gateway { "all".to_owned() } else { String::new() },
        group: if lane.is_empty() { "" } else { "trade" }.to_owned(),
        lane: lane.to_owned(),
        outcome: outcome.into(),
        code_class: 2,
    }
}

/// Requests of about 3 ms, of the series in order.
fn traffic(series: Vec<v1::TrafficSeries>, requests: &[u32]) -> v1::Traffic {
    let samples = requests.iter().enumerate().map(|(series, requests)| v1::TrafficSample {
        series: series as u32,
        sum_us: 3_000 * u64::from(*requests),
        buckets: vec![22, *requests],
    });
    v1::Traffic { series, samples: samples.collect(), ..Default::default() }
}

async fn ask(rest: SocketAddr, question: &str) -> Value {
    let (status, body) =
        call(rest, "GET", &format!("/api/v1alpha1/statistics/{question}"), "").await;
    assert_eq!(status, 200, "{question}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks until all requests that were reported are there.
async fn until(rest: SocketAddr, question: &str, requests: u64) -> Value {
    let asking = async {
        loop {
            let answer = ask(rest, question).await;
            if answer["basis"]["requests"] == requests {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{question} never told of {requests} requests"))
}

async fn plane() -> (Plane, SocketAddr) {
    let plane = Plane::start().await;
    let lane = |tag: &str, percent: u32| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
            "metadata": {"name": format!("trade-{tag}")},
            "spec": {"group": "trade", "tag": tag, "entry": {"ratio": {"percent": percent}}},
        })
    };
    let group = json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "trade"},
        "spec": {"entrances": [{"gateway": "edge"}], "applications": ["a", "b"]},
    });
    plane.apply(&[group, lane("gray", 25)]).await.unwrap();
    let rest = plane.rest().await;
    (plane, rest)
}

async fn connect(plane: &Plane, hello: v1::Hello) -> DataPlane {
    let mut data_plane = plane.connect(hello).await;
    data_plane.subscribe(&[], &[]).await;
    let first = data_plane.receive().await;
    assert!(first.synced && first.traffic_every_ms > 0, "it is asked for its traffic: {first:?}");
    data_plane
}

/// A gateway and a sidecar of `a` have reported 8 requests in the lane and 24 of base, the sidecar also 8 of its calls to
/// `b`; a data plane of a release that reports nothing is connected, too.
async fn reported(plane: &Plane) -> [DataPlane; 3] {
    use v1::TrafficRole::{Gateway, Inbound, Outbound};
    let gateway = connect(plane, hello("g", v1::Role::Gateway, "edge")).await;
    let a = connect(plane, hello("a", v1::Role::Sidecar, "a")).await;
    // Of a release that reports nothing.
    let old = plane
        .connect(v1::Hello { capabilities: vec![], ..hello("c", v1::Role::Sidecar, "c") })
        .await;
    let mut seen = traffic(vec![series(Gateway, "a", "gray"), series(Gateway, "a", "")], &[8, 24]);
    let entered = |lane: &str, requests| v1::TrafficEntered {
        group: "trade".to_owned(),
        lane: lane.to_owned(),
        requests,
    };
    seen.entered = vec![entered("gray", 8), entered("", 24)];
    seen.bytes_sent = 700;
    gateway.say(Message::Traffic(seen)).await;
    let failed = v1::TrafficSeries {
        outcome: v1::TrafficOutcome::Failed.into(),
        code_class: 5,
        ..series(Outbound, "b", "gray")
    };
    let mut seen = traffic(
        vec![
            series(Inbound, "", "gray"),
            series(Inbound, "", ""),
            series(Outbound, "b", "gray"),
            failed,
        ],
        &[8, 24, 6, 2],
    );
    seen.in_flight = 3;
    // No entrance: what it says is not counted.
    seen.entered = vec![entered("gray", u64::MAX)];
    a.say(Message::Traffic(seen)).await;
    [gateway, a, old]
}

#[tokio::test]
async fn rows_stand_by_lane_and_application_as_those_say_who_serve() {
    let (plane, rest) = plane().await;
    let _reporting = reported(&plane).await;
    // a: 32 as its sidecar counted, not the gateway's again; b: 8 as its caller did.
    let top = until(rest, "top?group=trade&window=1m", 40).await;
    let row = |lane: &str, application: &str| {
        let rows = top["rows"].as_array().unwrap().iter();
        let found: Vec<_> =
            rows.filter(|row| row["lane"] == lane && row["application"] == application).collect();
        assert_eq!(found.len(), 1, "{lane} {application} in {top}");
        found[0].clone()
    };
    let gray = row("gray", "a");
    assert_eq!(
        (&gray["countedBy"], &gray["figures"]["requests"]),
        (&"application".into(), &8.into())
    );
    assert_eq!((&gray["inFlight"], &gray["group"]), (&3.into(), &"trade".into()));
    assert_eq!(row("", "a")["figures"]["requests"], 24);
    let b = row("gray", "b");
    assert_eq!((&b["countedBy"], &b["unserved"]), (&"callers".into(), &2.into()));
    assert_eq!((&b["figures"]["requests"], &b["figures"]["errors"]), (&8.into(), &2.into()));
    let p50 = gray["figures"]["p50Ms"].as_f64().unwrap();
    assert!((2.5..3.5).contains(&p50), "{p50} ms");
    let basis = &top["basis"];
    assert_eq!((&basis["dataPlanes"], &basis["silentDataPlanes"]), (&2.into(), &1.into()));
    let processes = top["processes"].as_array().unwrap();
    assert!(processes.iter().any(|it| it["name"] == "edge" && it["bytesSent"] == 700), "{top}");
}

#[tokio::test]
async fn lanes_are_told_by_share_beside_base_and_by_calls() {
    let (plane, rest) = plane().await;
    let _reporting = reported(&plane).await;
    let share = until(rest, "share?group=trade", 32).await;
    let gray = &share["lanes"][0];
    assert_eq!(
        (&gray["lane"], &gray["share"], &gray["expected"]),
        (&"gray".into(), &0.25.into(), &0.25.into())
    );
    assert_eq!(
        (&share["lanes"][1]["lane"], &share["lanes"][1]["expected"]),
        (&"".into(), &0.75.into())
    );
    // While it is paused its share is base's.
    let path = "/api/v1alpha1/namespaces/default/lanes/trade-gray";
    let paused = r#"{"spec": {"entry": {"paused": true}}}"#;
    let kind = "application/merge-patch+json";
    assert_eq!(call_with(rest, "PATCH", path, kind, paused).await.0, 200);
    let share = until(rest, "share?group=trade", 32).await;
    let expected = [0, 1].map(|lane: usize| share["lanes"][lane]["expected"].as_f64());
    assert_eq!(expected, [Some(0.0), Some(1.0)], "{share}");

    let compared = until(rest, "compare?group=trade&lane=gray", 40).await;
    let a = &compared["applications"][0];
    assert_eq!((&a["lane"]["requests"], &a["base"]["requests"]), (&8.into(), &24.into()));
    let b = &compared["applications"][1];
    assert_eq!((&b["lane"]["errors"], &b["base"]["requests"]), (&2.into(), &0.into()));
    assert_eq!(b["base"]["errorRatio"], Value::Null, "of nothing");

    let calls = until(rest, "calls?group=trade", 40).await;
    let expected = json!([
        {"caller": "a", "isGateway": false, "application": "b", "requests": 8},
        {"caller": "edge", "isGateway": true, "application": "a", "requests": 32},
    ]);
    assert_eq!(calls["calls"], expected);
}

#[tokio::test]
async fn lines_of_a_series_are_told_apart_by_what_is_asked() {
    let (plane, rest) = plane().await;
    let _reporting = reported(&plane).await;
    let sum = |line: &Value| {
        line["requests"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>()
    };
    for (question, expected) in [
        ("series?application=a", vec![("base", 24), ("trade/gray", 8)]),
        ("series?application=a&lane=base&by=application", vec![("a", 24)]),
        ("series?gateway=edge&by=route", vec![("all", 32)]),
        ("series?caller=a&by=application", vec![("b", 8)]),
        // Of a as its sidecar tells it, of b as its caller does.
        ("series?group=trade&by=outcome", vec![("failed", 2), ("lane", 14)]),
        ("series?application=b&by=code", vec![("2xx", 6), ("5xx", 2)]),
        ("series?application=b&by=outcome&step=5s", vec![("failed", 2), ("lane", 6)]),
    ] {
        let total = expected.iter().map(|(_, requests)| requests).sum();
        let answer = until(rest, question, total).await;
        let lines = answer["lines"].as_array().unwrap();
        let told: Vec<(&str, u64)> =
            lines.iter().map(|line| (line["name"].as_str().unwrap(), sum(line))).collect();
        assert_eq!(told, expected, "{question}");
        let basis = &answer["basis"];
        let [from, until, step] =
            ["from", "until", "stepSeconds"].map(|it| basis[it].as_u64().unwrap());
        assert_eq!(lines[0]["p99Ms"].as_array().unwrap().len() as u64, (until - from) / step);
    }
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_what_would_be_right() {
    let (_plane, rest) = plane().await;
    for (question, status, told) in [
        ("series?by=colour", 400, "by: `colour`: use one of lane, application"),
        ("series?window=31d", 400, "window: `31d`: use 1s to 30d"),
        ("series?window=1m&step=1h", 400, "step: it is longer than the window"),
        ("top?lane=gray", 400, "lane"),
        ("top?group=nobody", 404, "group: `nobody`: there is no such lane group"),
        ("compare?group=trade", 400, "lane is missing"),
    ] {
        let path = format!("/api/v1alpha1/statistics/{question}");
        let (got, body) = call(rest, "GET", &path, "").await;
        assert_eq!(got, status, "{question}: {body}");
        assert!(body.contains(told), "{question}: {body}");
    }
    // Long windows are read from disk, also when nothing is there yet.
    for window in ["1h", "7d"] {
        let answer = ask(rest, &format!("series?window={window}")).await;
        assert_eq!(answer["lines"], json!([]));
    }
}

#[tokio::test]
async fn the_application_whose_own_answers_got_worse_is_named() {
    use v1::TrafficRole::{Inbound, Outbound};
    let (plane, rest) = plane().await;
    let path = "verdict?group=trade&lane=gray";
    let first = ask(rest, path).await;
    assert_eq!((&first["state"], &first["applications"]), (&"tooLittle".into(), &json!([])));
    let a = connect(&plane, hello("a", v1::Role::Sidecar, "a")).await;
    let b = connect(&plane, hello("b", v1::Role::Sidecar, "b")).await;
    let failing = |series: v1::TrafficSeries| v1::TrafficSeries { code_class: 5, ..series };
    let inbound = || {
        let gray = series(Inbound, "", "gray");
        vec![gray.clone(), failing(gray), series(Inbound, "", "")]
    };
    let mut of_a = inbound();
    let call = series(Outbound, "b", "gray");
    of_a.extend([call.clone(), failing(call), series(Outbound, "b", "")]);
    let mut of_b = inbound();
    let reporting = async {
        // As data planes do: every second; the series once.
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let seen = traffic(std::mem::take(&mut of_a), &[45, 5, 50, 45, 5, 50]);
            a.say(Message::Traffic(seen)).await;
            let seen = traffic(std::mem::take(&mut of_b), &[45, 5, 50]);
            b.say(Message::Traffic(seen)).await;
            let verdict = ask(rest, path).await;
            if verdict["state"] == "worse" {
                return verdict;
            }
        }
    };
    let limit = std::time::Duration::from_secs(60);
    let verdict = tokio::time::timeout(limit, reporting).await.expect("the lane is never worse");
    assert_eq!((&verdict["culprit"], &verdict["about"]["application"]), (&"b".into(), &"b".into()));
    let worse = &verdict["about"]["worse"];
    assert_eq!((&worse["what"], &worse["ratio"]), (&"errors".into(), &0.1.into()), "{verdict}");
    assert_eq!(verdict["applications"][0]["state"], "passedOn", "{verdict}");
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.starts_with("worse: b errors 10.0 % against 0.0 %, from "), "{reason}");

    let told = async {
        loop {
            let (status, body) = call_events(rest).await;
            assert_eq!(status, 200);
            let events: Value = serde_json::from_str(&body).unwrap();
            let mut all = events.as_array().unwrap().iter();
            if let Some(event) = all.find(|it| it["reason"] == "Worse") {
                return event.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let event = tokio::time::timeout(PATIENCE, told).await.expect("nobody is told");
    assert_eq!((&event["object"]["name"], &event["warning"]), (&"trade-gray".into(), &true.into()));

    // Whoever watches lanes need not ask for each.
    let path = "/api/v1alpha1/namespaces/default/lanes/trade-gray";
    let stands = async |expected: Value| {
        let reading = async {
            loop {
                if lane_at(rest, path).await["status"]["verdict"] == expected {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reading).await;
        in_time.unwrap_or_else(|_| panic!("the lane never stands so: {expected}"));
    };
    stands(json!({"state": "worse", "culprit": "b"})).await;
    let disabled = r#"{"spec": {"enabled": false}}"#;
    let kind = "application/merge-patch+json";
    assert_eq!(call_with(rest, "PATCH", path, kind, disabled).await.0, 200);
    stands(Value::Null).await;
}

async fn lane_at(rest: SocketAddr, path: &str) -> Value {
    let (status, body) = call(rest, "GET", path, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn call_events(rest: SocketAddr) -> (u16, String) {
    call(rest, "GET", "/api/v1alpha1/events", "").await
}

#[tokio::test]
async fn a_verdict_is_not_given_on_what_cannot_be_asked() {
    let (_plane, rest) = plane().await;
    for (question, status, word) in [
        ("group=trade", 400, "lane is missing"),
        ("group=trade&lane=blue", 404, "lane: `blue`"),
        ("group=nobody&lane=gray", 404, "group: `nobody`"),
        ("group=trade&lane=gray&since=25h", 400, "1s to 24h"),
        ("group=trade&lane=gray&errors=0", 400, "0.1 to 100"),
        ("group=trade&lane=gray&slow=much", 400, "0.1 to 100"),
    ] {
        let path = format!("/api/v1alpha1/statistics/verdict?{question}");
        let (told, body) = call(rest, "GET", &path, "").await;
        assert!(told == status && body.contains(word), "{question}: {told} {body}");
    }
    for since in ["10m", "24h"] {
        let verdict = ask(rest, &format!("verdict?group=trade&lane=gray&since={since}")).await;
        assert_eq!(verdict["state"], "tooLittle", "{verdict}");
    }
}
