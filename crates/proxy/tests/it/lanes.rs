//! Lanes at the gateway: who is routed where, what travels on, whom a listener believes.

use lanes::group::Fallback;
use routes::spec::{FilterSpec, HeaderEdits, PathRewrite, RedirectSpec, RewriteSpec};
use telemetry::{CodeClass, Outcome};

use crate::world::{
    Instance, Proxy, World, eventually, field, gateway_entrance, get, group, listener, status,
};

/// `sc-A` with a base and a gray instance, both answering what they were asked.
async fn world() -> World {
    let mut world = World::new(&[]);
    let (base, gray) = (Instance::new().await.serve("base"), Instance::new().await.serve("gray"));
    world.services = vec![("sc-A", "a", vec![(base, None), (gray, Some("gray"))])];
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    world
}

/// Who served, and what it was asked.
async fn ask(proxy: &Proxy, fields: &str) -> (String, String) {
    let mut client = proxy.client().await;
    client.send(&format!("GET /a HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 200, "{body}");
    let (name, asked) = body.split_once('\n').unwrap();
    (name.to_owned(), asked.to_owned())
}

#[tokio::test]
async fn the_lane_is_decided_at_the_entrance_and_travels_on() {
    let proxy = Proxy::gateway(&world().await);
    for _ in 0..5 {
        let (name, asked) = ask(&proxy, "canary: gray\r\nbaggage: user=7\r\n").await;
        assert_eq!(name, "gray");
        assert_eq!(field(&asked, "baggage"), Some("lane.trade=gray,user=7"));
        let (name, asked) = ask(&proxy, "canary: other\r\n").await;
        assert_eq!((name.as_str(), field(&asked, "baggage")), ("base", None));
    }
    let counters = proxy.running.counters();
    eventually("requests to be counted", async || {
        counters.requests().iter().any(|row| {
            (&*row.labels.lane_group, &*row.labels.lane) == ("trade", "gray")
                && row.labels.outcome == Outcome::Lane
                && row.labels.code_class == CodeClass::Success
                && !row.labels.route.is_empty()
                && row.durations.count() == 5
        })
    })
    .await;
    // What the entrance decided is counted beside who served.
    eventually("entered lanes to be counted", async || {
        let entered = counters.entered();
        let told: Vec<_> = entered.iter().map(|(it, n)| (&*it.0, &*it.1, *n)).collect();
        told == [("trade", "", 5), ("trade", "gray", 5)]
    })
    .await;
    let in_flight = telemetry::Level::in_flight(telemetry::Role::Gateway);
    eventually("nothing to be in flight", async || counters.level(in_flight) == 0).await;
}

#[tokio::test]
async fn a_lane_that_a_request_brought_along_is_not_entered_again() {
    let mut world = world().await;
    world.listeners = vec![listener(80, true)];
    let proxy = Proxy::gateway(&world);
    ask(&proxy, "baggage: lane.trade=gray\r\n").await;
    ask(&proxy, "canary: gray\r\n").await;
    let counters = proxy.running.counters();
    eventually("both requests to be counted", async || {
        counters.requests().iter().map(|row| row.durations.count()).sum::<u64>() == 2
    })
    .await;
    assert_eq!(counters.entered().values().sum::<u64>(), 1);
}

#[tokio::test]
async fn an_untrusted_listener_believes_nothing() {
    let proxy = Proxy::gateway(&world().await);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = format!(
        "baggage: lane.trade=gray,user=7,lane.other=x\r\ntraceparent: {trace}\r\ntracestate: a=b\r\nx-request-id: mine\r\n"
    );
    let (name, asked) = ask(&proxy, &fields).await;
    assert_eq!(name, "base");
    assert_eq!(field(&asked, "baggage"), Some("user=7"));
    assert!(field(&asked, "traceparent").is_some_and(|value| value != trace && value.len() == 55));
    assert!(field(&asked, "x-request-id").is_some_and(|value| value != "mine"));
    assert_eq!(field(&asked, "tracestate"), None);
}

#[tokio::test]
async fn a_trusted_listener_keeps_what_was_decided_before() {
    let mut world = world().await;
    world.listeners = vec![listener(80, true)];
    let proxy = Proxy::gateway(&world);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = format!(
        "baggage: user=7,lane.trade=gray,lane.other=x\r\ntraceparent: {trace}\r\ntracestate: a=b\r\nx-request-id: mine\r\n"
    );
    let (name, asked) = ask(&proxy, &fields).await;
    assert_eq!(name, "gray");
    assert_eq!(field(&asked, "baggage"), Some("lane.trade=gray,lane.other=x,user=7"));
    assert_eq!(field(&asked, "traceparent"), Some(trace));
    assert_eq!(
        (field(&asked, "tracestate"), field(&asked, "x-request-id")),
        (Some("a=b"), Some("mine"))
    );
}

#[tokio::test]
async fn x_forwarded_for_is_believed_as_far_as_hops_are_trusted() {
    let mut world = world().await;
    world.listeners[0].trusted_hops = 1;
    let proxy = Proxy::gateway(&world);
    let (_, asked) =
        ask(&proxy, "x-forwarded-for: 6.6.6.6, 1.1.1.1\r\nx-forwarded-proto: https\r\n").await;
    assert_eq!(field(&asked, "x-forwarded-for"), Some("6.6.6.6, 1.1.1.1, 127.0.0.1"));
    assert_eq!(field(&asked, "x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn a_lane_without_instances_falls_back_unless_it_is_strict() {
    let mut world = world().await;
    world.services[0].2.pop();
    let proxy = Proxy::gateway(&world);
    let (name, asked) = ask(&proxy, "canary: gray\r\n").await;
    assert_eq!((name.as_str(), field(&asked, "baggage")), ("base", Some("lane.trade=gray")));

    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Strict)];
    proxy.publish.send_replace(world.publish());
    let mut client = proxy.client().await;
    client.send("GET /a HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), body.as_str()),
        (503, "no usable instance of sc-A in strict lane trade/gray\n")
    );
    client.send(&get("/a")).await;
    assert_eq!(status(&client.head().await), 200);
}

#[tokio::test]
async fn base_traffic_never_reaches_a_tagged_instance() {
    let mut world = world().await;
    world.services[0].2.remove(0);
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client.send(&get("/a")).await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (503, "no usable base instance of sc-A\n"));
}

#[tokio::test]
async fn filters_change_the_request_after_the_lane_was_decided() {
    let mut world = world().await;
    let edits = |set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]| HeaderEdits {
        set: set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        add: add.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    };
    let filters = vec![
        FilterSpec::RequestHeaders(edits(&[("canary", "hidden")], &[("x-more", "2")], &["x-drop"])),
        FilterSpec::ResponseHeaders(edits(&[("x-from", "gateway")], &[], &["content-type"])),
        FilterSpec::Rewrite(RewriteSpec {
            hostname: Some("inner".to_owned()),
            path: Some(PathRewrite::Prefix("/new".to_owned())),
        }),
    ];
    world.routes = vec![("/a", "sc-A", filters, (None, None))];
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client
        .send("GET /a/b?q HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nX-Drop: 1\r\nX-More: 1\r\n\r\n")
        .await;
    let (head, body) = client.answer().await;
    assert_eq!(field(&head, "x-from"), Some("gateway"));
    let (name, asked) = body.split_once('\n').unwrap();
    assert_eq!(name, "gray");
    assert!(asked.starts_with("GET /new/b?q HTTP/1.1\r\n"), "{asked}");
    assert_eq!(
        (field(asked, "host"), field(asked, "canary"), field(asked, "x-drop")),
        (Some("inner"), Some("hidden"), None)
    );
    assert_eq!(asked.to_ascii_lowercase().matches("x-more: ").count(), 2, "{asked}");

    let redirect = RedirectSpec {
        scheme: Some("https".to_owned()),
        hostname: None,
        path: None,
        port: None,
        status: 301,
    };
    world.routes = vec![("/a", "sc-A", vec![FilterSpec::Redirect(redirect)], (None, None))];
    proxy.publish.send_replace(world.publish());
    client.send("GET /a?q HTTP/1.1\r\nHost: shop\r\n\r\n").await;
    let (head, _) = client.answer().await;
    assert_eq!((status(&head), field(&head, "location")), (301, Some("https://shop/a?q")));
    client.send(&get("/elsewhere")).await;
    assert_eq!(status(&client.answer().await.0), 404);
}
