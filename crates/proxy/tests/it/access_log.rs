//! The access log: what its lines say of requests that end in all the ways there are.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use lanes::{EMBEDDED_SOURCE, group::Fallback, service::Protocol};
use proxy::Watched;
use routes::spec::{FilterSpec, RedirectSpec};
use serde_json::{Value, json};
use telemetry::{
    RequestObservers,
    access_log::{AccessLog, AccessLogConfig},
};
use tokio::sync::mpsc;

use crate::{
    http2::{
        Client, block_of, bytes_of,
        grpc::slow,
        instances::{Server, behind},
        request,
    },
    world::{
        Instance, Proxy, Wire, World, eventually, gateway_entrance, get, group, listener, nobody,
        own_port, status, within,
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// An access log, and where it is.
struct Log {
    directory: tempfile::TempDir,
    log: AccessLog,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Some(directory.path().join("access.log"));
        let config = AccessLogConfig { path, file_bytes_max: u64::MAX, files_max: 1 };
        Self { directory, log: AccessLog::open(config).unwrap() }
    }

    fn observers(&self) -> RequestObservers {
        RequestObservers { access_log: Some(self.log.clone()), traces: None }
    }

    fn gateway(&self, world: &World) -> Proxy {
        let mut config = Proxy::at_the_edge();
        config.observers = self.observers();
        Proxy::gateway_of(world, config)
    }

    /// Its lines, as soon as there are so many.
    async fn lines(&self, count: usize) -> Vec<Value> {
        let path: PathBuf = self.directory.path().join("access.log");
        let read = || std::fs::read_to_string(&path).unwrap();
        eventually("lines of the access log", async || read().lines().count() >= count).await;
        let lines: Vec<_> =
            read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }
}

/// Of a line the fields that are expected, and their values.
#[track_caller]
fn check(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(line.get(name).unwrap_or(&Value::Null), value, "{name} of {line:#}");
    }
}

/// `sc-A` with a base and a gray instance, `sc-B` with a base alone.
async fn world() -> World {
    let mut world = World::new(&[]);
    let (base, gray) = (Instance::new().await.serve("base"), Instance::new().await.serve("gray"));
    let other = Instance::new().await.serve("other");
    world.services = vec![
        ("sc-A", "a", vec![(base, None), (gray, Some("gray"))]),
        ("sc-B", "b", vec![(other, None)]),
    ];
    world.routes =
        vec![("/a", "sc-A", Vec::new(), (None, None)), ("/b", "sc-B", Vec::new(), (None, None))];
    world.groups = vec![group(gateway_entrance(), &["a", "b"], Fallback::Then(Vec::new()))];
    world
}

#[tokio::test]
async fn a_gateways_lines_say_where_requests_went_and_why() {
    let mut world = world().await;
    world.listeners = vec![listener(80, true)];
    let (base, gray) = (world.services[0].2[0].0, world.services[0].2[1].0);
    let log = Log::new();
    let proxy = log.gateway(&world);
    let mut client = proxy.client().await;
    let mut bytes = Vec::new();
    for (path, fields) in [
        (
            "/a//x?token=secret",
            format!(
                "canary: gray\r\nx-request-id: 17\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n"
            ),
        ),
        ("/b", "canary: gray\r\n".to_owned()),
        ("/a", "authorization: secret\r\n".to_owned()),
    ] {
        let ask = format!(
            "POST {path} HTTP/1.1\r\nHost: Shop:80\r\n{fields}content-length: 5\r\n\r\nhello"
        );
        client.send(&ask).await;
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), 200, "{body}");
        bytes.push(body.len());
    }
    let lines = log.lines(3).await;
    let of_all = json!({
        "role": "gateway", "client": "127.0.0.1", "protocol": "HTTP/1.1", "tls": false,
        "method": "POST", "host": "shop", "status": 200, "received_bytes": 5, "attempts": 1,
    });
    lines.iter().for_each(|line| check(line, &of_all));
    check(
        &lines[0],
        &json!({
            "path": "/a/x", "outcome": "lane", "application": "a", "service": "sc-A",
            "route": "route-0", "lane_group": "trade", "lane": "gray", "fallback": false,
            "lanes": [{"group": "trade", "lane": "gray"}], "trace_id": TRACE, "request_id": "17",
            "sent_bytes": bytes[0],
        }),
    );
    check(
        &lines[1],
        &json!({
            "path": "/b", "outcome": "fallback", "application": "b", "lane_group": "trade", "lane": "gray",
            "fallback": true, "lanes": [{"group": "trade", "lane": "gray"}],
        }),
    );
    check(
        &lines[2],
        &json!({ "outcome": "base", "lane_group": null, "fallback": false, "lanes": [] }),
    );
    for (line, (address, tag)) in
        lines.iter().zip([(gray, "gray"), (world.services[1].2[0].0, ""), (base, "")])
    {
        check(&line["upstream"], &json!({ "address": address.to_string(), "tag": tag }));
        let (whole, upstream) = (&line["duration_ms"], &line["upstream"]["duration_ms"]);
        assert!(upstream.as_f64().unwrap() <= whole.as_f64().unwrap(), "{line:#}");
        assert!(!line.to_string().contains("secret"), "{line:#}");
    }
    assert_ne!(lines[1]["trace_id"], lines[0]["trace_id"], "made by the gateway");
}

#[tokio::test]
async fn who_watches_a_lane_is_told_what_the_log_says_of_its_requests_alone() {
    let log = Log::new();
    let proxy = log.gateway(&world().await);
    let (tell, mut told) = mpsc::channel(4);
    let (group, lane) = ("trade".to_owned(), "gray".to_owned());
    proxy.running.tap().watch(vec![Watched { group, lane, share: u32::MAX }], 50, tell);
    let mut client = proxy.client().await;
    for (path, fields) in
        [("/a?user=7", "canary: gray\r\n"), ("/a", ""), ("/b", "canary: gray\r\n")]
    {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")).await;
        assert_eq!(status(&client.answer().await.0), 200);
    }
    let lines = log.lines(3).await;
    for (line, path) in [(&lines[0], "/a?user=***"), (&lines[2], "/b")] {
        let tapped = within("a request that is watched", told.recv()).await.unwrap();
        let address = tapped.instance.unwrap().to_string();
        check(
            line,
            &json!({ "application": tapped.application, "route": tapped.route, "lane": "gray" }),
        );
        check(&line["upstream"], &json!({ "address": address, "tag": tapped.tag }));
        assert_eq!((&line["trace_id"], tapped.path.as_str()), (&json!(tapped.ids[0]), path));
    }
    assert!(told.try_recv().is_err(), "base is not watched");
}

#[tokio::test]
async fn the_instance_that_a_line_names_may_have_come_while_the_request_was_under_way() {
    let (one, new) = (Instance::new().await, Instance::new().await.serve("gray"));
    let mut world = world().await;
    world.source = EMBEDDED_SOURCE;
    world.services[0].2 = vec![(one.address, Some("gray"))];
    let log = Log::new();
    let proxy = log.gateway(&world);
    let (mut client, _hung) =
        proxy.under_way(&one, "GET /a HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    world.services[0].2 = vec![(new, Some("gray"))];
    proxy.publish.send(world.publish()).unwrap();
    assert_eq!(status(&client.answer().await.0), 200);
    let line = &log.lines(1).await[0];
    check(&line["upstream"], &json!({ "address": new.to_string(), "tag": "gray" }));
}

#[tokio::test]
async fn what_nobody_serves_has_a_line_with_the_reason() {
    let mut world = world().await;
    let dead = nobody().await;
    world.services.push(("sc-C", "c", vec![(dead, None)]));
    let redirect = FilterSpec::Redirect(RedirectSpec {
        scheme: Some("https".to_owned()),
        hostname: None,
        path: None,
        port: None,
        status: 302,
    });
    world.routes = vec![
        ("/dead", "sc-C", Vec::new(), (None, None)),
        ("/moved", "sc-A", vec![redirect], (None, None)),
    ];
    let log = Log::new();
    let proxy = log.gateway(&world);
    let mut client = proxy.client().await;
    for (path, expected) in [("/dead", 502), ("/moved", 302), ("/none", 404)] {
        client.send(&get(path)).await;
        assert_eq!(status(&client.answer().await.0), expected, "{path}");
    }
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 400);
    let lines = log.lines(4).await;
    let (failed, denied) = ("failed", "denied");
    for (line, (path, outcome, status, reason)) in lines.iter().zip([
        (Some("/dead"), failed, 502, Some("cannot connect to the instance")),
        (Some("/moved"), "base", 302, None),
        (Some("/none"), failed, 404, Some("no route for this host and path")),
        (Some("/"), denied, 400, Some("exactly one valid Host is required")),
    ]) {
        check(line, &json!({ "path": path, "outcome": outcome, "status": status }));
        match reason {
            Some(reason) => {
                assert!(line["reason"].as_str().unwrap().starts_with(reason), "{line:#}")
            }
            None => assert_eq!(line["reason"], Value::Null, "{line:#}"),
        }
    }
    check(&lines[0]["upstream"], &json!({ "address": dead.to_string(), "duration_ms": null }));
    check(&lines[1], &json!({ "upstream": null, "attempts": 0 }));
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_a_line_of_what_was_sent() {
    let instance = Instance::new().await;
    let log = Log::new();
    let proxy = log.gateway(&World::new(&[instance.address]));
    let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhell").await;
    client.head().await;
    client.text("hell").await;
    drop(server);
    client.rest().await;
    check(&log.lines(1).await[0], &json!({ "outcome": "cut", "status": 200, "sent_bytes": 4 }));
}

#[tokio::test]
async fn a_sidecar_has_a_line_of_each_side() {
    let mut world = world().await;
    let application = Instance::new().await.serve("application");
    world.services[0].2 = vec![(application, Some("gray"))];
    let log = Log::new();
    let ports = vec![own_port("sc-A", Protocol::Http, application)];
    let mut config = Proxy::beside(Some("gray"), ports);
    config.observers = log.observers();
    let proxy = Proxy::sidecar_with(&world, config);
    let mut caller = Wire::connect(proxy.inbound()).await;
    let lane = "baggage: lane.trade=gray\r\n";
    caller.send(&format!("GET /in HTTP/1.0\r\nHost: sc-A\r\n{lane}\r\n")).await;
    assert_eq!(status(&caller.answer().await.0), 200);
    let mut own = proxy.client().await;
    own.send(&format!("GET http://sc-B/out HTTP/1.1\r\nHost: sc-B\r\n{lane}\r\n")).await;
    assert_eq!(status(&own.answer().await.0), 200);
    let lines = log.lines(2).await;
    let lanes = json!([{"group": "trade", "lane": "gray"}]);
    check(
        &lines[0],
        &json!({
            "role": "sidecar_inbound", "protocol": "HTTP/1.0", "path": "/in", "application": "a",
            "service": "sc-A", "outcome": "lane", "lane": "gray", "lanes": lanes,
        }),
    );
    check(&lines[0]["upstream"], &json!({ "address": application.to_string(), "tag": "gray" }));
    check(
        &lines[1],
        &json!({
            "role": "sidecar_outbound", "protocol": "HTTP/1.1", "path": "/out", "application": "b",
            "service": "sc-B", "outcome": "fallback", "fallback": true, "lane": "gray", "lanes": lanes,
        }),
    );
}

#[tokio::test]
async fn of_a_call_of_grpc_the_line_says_how_it_ended() {
    let instance = Instance::new().await;
    let log = Log::new();
    let proxy = log.gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let post = || request("/p.S/M").method(Method::POST).header("content-type", "application/grpc");
    let (answer, mut says) = client.begin(post(), false).await;
    says.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut server = Server::accept(&instance).await;
    let (_heard, mut answers) = server.next().await;
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut told = answers.send_response(head, false).unwrap();
    told.send_data(Bytes::from_static(b"data"), false).unwrap();
    told.send_trailers(HeaderMap::from_iter([(
        "grpc-status".parse().unwrap(),
        "9".parse().unwrap(),
    )]))
    .unwrap();
    let (answer2, _says) = client.begin(post(), true).await;
    let (_heard, mut answers) = server.next().await;
    let alone =
        Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
    answers.send_response(alone.body(()).unwrap(), true).unwrap();
    let running = server.run();
    for answer in [answer, answer2] {
        let mut body = within("an answer", answer).await.unwrap().into_body();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        body.trailers().await.unwrap();
    }
    let mut ended: Vec<_> = (log.lines(2).await.iter())
        .inspect(|line| {
            check(line, &json!({ "protocol": "HTTP/2", "status": 200, "path": "/p.S/M" }))
        })
        .map(|line| (line["grpc_status"].as_u64(), line["sent_bytes"].as_u64()))
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, [(Some(5), Some(0)), (Some(9), Some(4))]);
    running.abort();
}

#[tokio::test]
async fn a_client_that_leaves_before_anybody_is_connected_to_has_its_line_and_is_counted() {
    let (instance, _first) = slow().await;
    let mut world = World::new(&[instance.address]);
    world.listeners[0].http2 = true;
    let log = Log::new();
    let proxy = log.gateway(&world);
    let mut client = Wire::connect(proxy.address()).await;
    client.send_bytes(&bytes_of(&block_of("/a"))).await;
    drop(client);
    let line = &log.lines(1).await[0];
    check(
        line,
        &json!({
            "protocol": "HTTP/2", "method": "GET", "path": "/a", "host": "shop", "status": 499,
            "outcome": "failed", "reason": "the caller went away", "service": "sc-A", "attempts": 1,
        }),
    );
    check(&line["upstream"], &json!({ "address": instance.address.to_string() }));
    proxy.ended(telemetry::Outcome::Failed).await;
}

#[tokio::test]
async fn a_request_that_comes_together_with_the_end_of_its_connection_has_its_line() {
    const CLIENTS: usize = 20;
    let (instance, _first) = slow().await;
    let mut world = World::new(&[instance.address]);
    world.listeners[0].http2 = true;
    let log = Log::new();
    let proxy = log.gateway(&world);
    for _ in 0..CLIENTS {
        let mut client = Wire::connect(proxy.address()).await;
        client.send_bytes(&bytes_of(&block_of("/a?secret"))).await;
        client.abort();
    }
    for line in log.lines(CLIENTS).await {
        check(&line, &json!({ "path": "/a", "host": "shop", "status": 499, "unread": null }));
    }
}

#[tokio::test]
async fn what_is_refused_unread_has_a_line_of_what_could_be_read_of_it() {
    let mut world = World::new(&[nobody().await]);
    world.listeners[0].http2 = true;
    let log = Log::new();
    let proxy = log.gateway(&world);
    let large = format!("GET /large HTTP/1.1\r\nHost: shop\r\nx: {}\r\n", "a".repeat(70_000));
    let http2 = |more: &[u8]| bytes_of(&[&block_of("/h2?secret")[..], more].concat());
    let value = [&[0x40, 1, b'x', 0x7f, 0xe9, 0x06][..], &[b'a'; 1000], &[0xbe; 90]].concat();
    let (part, all) = ("part", "all");
    for (count, (sent, expected)) in [
        (
            b"GET /none?secret HTTP/1.1\r\n\r\n".to_vec(),
            json!({ "unread": part, "status": 400, "method": "GET", "path": "/none", "host": null,
                "protocol": "HTTP/1.1", "reason": "exactly one valid Host is required" }),
        ),
        (
            b"GET /a/../b HTTP/1.1\r\nHost: Shop:80\r\n\r\n".to_vec(),
            json!({ "unread": part, "status": 400, "path": "/a/../b", "host": "shop" }),
        ),
        (
            large.into_bytes(),
            json!({ "unread": part, "status": 431, "path": "/large", "host": "shop" }),
        ),
        (
            b"\x16\x03\x01\x02\x00\n".to_vec(),
            json!({ "unread": all, "status": 400, "method": null, "path": null, "host": null }),
        ),
        (
            http2(&[0, 1, b'X', 1, b'y']),
            json!({ "unread": part, "status": 400, "method": "GET", "path": "/h2", "host": "shop",
                "protocol": "HTTP/2", "reason": "malformed request: malformed field name" }),
        ),
        (
            http2(&value),
            json!({ "unread": part, "status": 431, "method": "GET", "path": "/h2", "host": "shop",
                "protocol": "HTTP/2" }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Wire::connect(proxy.address()).await;
        client.try_send_bytes(&sent).await;
        let line = log.lines(count + 1).await.pop().unwrap();
        check(&line, &expected);
        check(&line, &json!({ "outcome": "denied", "client": "127.0.0.1" }));
        assert!(!line.to_string().contains("secret"), "{line:#}");
    }
}
