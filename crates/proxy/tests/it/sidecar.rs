//! The sidecar as a forward proxy and in front of its application: names, context, correlation.

use lanes::group::{EntranceSpec, Fallback};
use proxy::Query;
use telemetry::Count;

use crate::world::{
    Instance, PATIENCE, Proxy, Wire, World, field, gateway_entrance, group, nobody, status, within,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Services `sc-A` (application `a`) and `sc-B` (application `b`), each with a base and a gray instance.
async fn world() -> World {
    let mut world = World::new(&[]);
    let a = (Instance::new().await.serve("A"), Instance::new().await.serve("Agray"));
    let b = (Instance::new().await.serve("B"), Instance::new().await.serve("Bgray"));
    world.services = vec![
        ("sc-A", "a", vec![(a.0, None), (a.1, Some("gray"))]),
        ("sc-B", "b", vec![(b.0, None), (b.1, Some("gray"))]),
    ];
    world.groups = vec![group(gateway_entrance(), &["a", "b"], Fallback::Then(Vec::new()))];
    world.complete = false;
    world
}

/// Calls through the forward proxy: status, who served, what it was asked.
async fn call(proxy: &Proxy, host: &str, fields: &str) -> (u16, String, String) {
    let mut client = proxy.client().await;
    client.send(&format!("GET http://{host}/b?q HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
    let (head, body) = client.answer().await;
    let (name, asked) = body.split_once('\n').unwrap_or((&body, ""));
    (status(&head), name.to_owned(), asked.to_owned())
}

#[tokio::test]
async fn a_call_by_name_goes_where_its_context_says() {
    let proxy = Proxy::sidecar(&world().await, None, nobody().await);
    for host in ["sc-B", "sc-B:80", "SC-b"] {
        let (status, name, asked) = call(&proxy, host, "").await;
        assert_eq!((status, name.as_str()), (200, "B"), "{host}");
        assert!(asked.starts_with("GET /b?q HTTP/1.1\r\n"), "{asked}");
        assert_eq!(field(&asked, "host"), Some(host));
        let (status, name, asked) = call(&proxy, host, "baggage: lane.trade=gray,user=7\r\n").await;
        assert_eq!((status, name.as_str()), (200, "Bgray"), "{host}");
        assert_eq!(field(&asked, "baggage"), Some("lane.trade=gray,user=7"));
    }
}

#[tokio::test]
async fn the_target_names_the_server_whatever_host_says() {
    let proxy = Proxy::sidecar(&world().await, None, nobody().await);
    for (target, host, sent) in [
        ("http://sc-b:80/x", "sc-b", "sc-b:80"),
        ("http://sc-b/x", "sc-b:80", "sc-b"),
        ("http://sc-b/x", "tenant.example", "sc-b"),
        ("http://sc-b:80/x", "sc-a", "sc-b:80"),
        ("http://sc-b./x", "sc-b", "sc-b."),
        ("http://me:secret@sc-b/x", "sc-b", "sc-b"),
        ("http://me@sc-b:80/x", "other", "sc-b:80"),
    ] {
        let mut client = proxy.client().await;
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let (head, asked) = client.answer().await;
        assert_eq!(status(&head), 200, "{target} {host}: {asked}");
        assert!(asked.starts_with("B\nGET /x HTTP/1.1\r\n"), "{asked}");
        assert_eq!(field(asked.split_once('\n').unwrap().1, "host"), Some(sent), "{target} {host}");
        assert!(!asked.contains("secret"), "{asked}");
    }
}

#[tokio::test]
async fn requests_without_host_are_given_one() {
    let application = Instance::new().await.serve("own");
    let proxy = Proxy::sidecar(&world().await, None, application);
    for (to, target, host) in
        [(proxy.inbound(), "/", "sc-A"), (proxy.address(), "http://sc-b/", "sc-b")]
    {
        let mut client = Wire::connect(to).await;
        client.send(&format!("GET {target} HTTP/1.0\r\n\r\n")).await;
        let (head, asked) = client.answer().await;
        assert_eq!(status(&head), 200, "{asked}");
        assert_eq!(field(asked.split_once('\n').unwrap().1, "host"), Some(host), "{asked}");
    }
}

#[tokio::test]
async fn what_is_not_known_yet_is_asked_for_and_waited_for() {
    let mut world = world().await;
    let late = world.services.pop().unwrap();
    let mut proxy = Proxy::sidecar(&world, None, nobody().await);
    let mut client = proxy.client().await;
    client.send("GET http://sc-b/ HTTP/1.1\r\nHost: sc-b\r\n\r\n").await;
    assert_eq!(
        within("a question", proxy.asked.recv()).await,
        Some(Query::Name("sc-b".to_owned()))
    );
    world.services.push(late);
    proxy.publish.send_replace(world.publish());
    assert_eq!(status(&client.answer().await.0), 200);

    // Nobody tells in time.
    client.send("GET http://sc-x/ HTTP/1.1\r\nHost: sc-x\r\n\r\n").await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (503, "nothing is known about sc-x yet\n"));
    proxy.counted(Count::LookupTimedOut, 1).await;
}

/// Nobody can be asked: what is nobody's is reached all the same, and what is somebody's never past the mesh.
#[tokio::test]
async fn with_a_digest_others_are_reached_at_once_and_what_is_unknown_is_not_left_to_dns() {
    let elsewhere = Instance::new().await.serve("elsewhere");
    let mut world = world().await;
    world.digest = Some(vec!["sc-a", "sc-b", "localhost.existing"]);
    world.nobody_answers = true;
    let mut proxy = Proxy::sidecar(&world, None, nobody().await);
    assert_eq!(call(&proxy, &format!("localhost:{}", elsewhere.port()), "").await.0, 200);
    assert_eq!(call(&proxy, &elsewhere.to_string(), "").await.0, 200);
    assert!(proxy.asked.try_recv().is_err(), "nobody need be asked");
    let before = std::time::Instant::now();
    let mut client = proxy.client().await;
    client.send("GET http://localhost.existing/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = client.answer().await;
    let told = (503, "nothing is known about localhost.existing yet\n");
    assert_eq!((status(&head), body.as_str()), told);
    assert!(before.elapsed() < std::time::Duration::from_secs(1), "there was nothing to wait for");
}

#[tokio::test]
async fn other_hosts_are_resolved_but_not_the_forbidden_ones() {
    let elsewhere = Instance::new().await.serve("elsewhere");
    let mut world = world().await;
    world.complete = true;
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    let (own, inbound) = (proxy.address(), proxy.inbound());
    for (host, expected) in [
        (format!("localhost:{}", elsewhere.port()), 200),
        (elsewhere.to_string(), 200),
        ("169.254.169.254".to_owned(), 403),
        ("2852039166".to_owned(), 403),
        ("0xa9fea9fe".to_owned(), 403),
        ("0251.0376.0251.0376".to_owned(), 403),
        ("[::ffff:a9fe:a9fe]".to_owned(), 403),
        ("[64:ff9b::a9fe:a9fe]".to_owned(), 403),
        ("100.100.100.200".to_owned(), 403),
        ("[fd00:ec2::254]".to_owned(), 403),
        ("[fe80::1]:80".to_owned(), 403),
        ("0.0.0.0:80".to_owned(), 403),
        (own.to_string(), 403),
        (inbound.to_string(), 403),
        (format!("localhost:{}", own.port()), 403),
        ("no-such-host.invalid".to_owned(), 502),
    ] {
        assert_eq!(call(&proxy, &host, "").await.0, expected, "{host}");
    }
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: sc-B\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 400, "no absolute target");
    let mut client = proxy.client().await;
    client.send("GET https://sc-B/ HTTP/1.1\r\nHost: sc-B\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 400, "a tunnel is for that");
}

/// Asks for a tunnel: the status, and the connection.
async fn tunnel(proxy: &Proxy, to: &str) -> (u16, Wire) {
    let mut client = proxy.client().await;
    client.send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).await;
    let head = client.head().await;
    (status(&head), client)
}

#[tokio::test]
async fn requests_in_a_tunnel_to_a_service_are_decided_one_by_one() {
    let mut world = world().await;
    world.complete = true;
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    let instance = world.services[1].2[0].0;
    for to in ["sc-b:80".to_owned(), "SC-B:8080".to_owned(), instance.to_string()] {
        let (established, mut client) = tunnel(&proxy, &to).await;
        assert_eq!(established, 200, "{to}");
        for (fields, expected) in [
            ("", "B"),
            ("baggage: lane.trade=gray\r\n", "Bgray"),
            ("baggage: lane.trade=-\r\n", "B"),
        ] {
            client.send(&format!("GET /x HTTP/1.1\r\nHost: sc-b\r\n{fields}\r\n")).await;
            let (head, body) = client.answer().await;
            assert_eq!(status(&head), 200, "{body}");
            assert_eq!(body.split_once('\n').unwrap().0, expected, "{to} {fields}");
        }
        client.send("CONNECT sc-a:80 HTTP/1.1\r\nHost: sc-a:80\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.0), 405, "no tunnels in tunnels");
    }
}

#[tokio::test]
async fn what_is_no_http_in_a_tunnel_to_a_service_is_base() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let mut world = world().await;
    world.services[1].2 = vec![(gray.address, Some("gray")), (base.address, None)];
    let proxy = Proxy::sidecar(&world, Some("gray"), nobody().await);
    let (established, mut client) = tunnel(&proxy, "sc-b:443").await;
    assert_eq!(established, 200);
    client.send_bytes(b"\x16\x03\x01hello").await;
    let mut server = base.accept().await;
    assert_eq!(server.exactly(8).await, b"\x16\x03\x01hello");
    server.send("greetings").await;
    client.text("greetings").await;
    let told = proxy.running.unread().all();
    let told: Vec<_> = told.iter().map(|(_, protocol, calls)| (protocol.name(), *calls)).collect();
    assert_eq!(told, [("tls", 1)]);
}

#[tokio::test]
async fn draining_does_not_wait_for_a_tunnel_in_which_nobody_has_spoken() {
    let proxy = Proxy::sidecar(&world().await, None, nobody().await);
    let (established, mut client) = tunnel(&proxy, "sc-b:80").await;
    assert_eq!(established, 200);
    within("the end of draining", proxy.running.drain(10 * PATIENCE)).await;
    client.closed().await;
}

#[tokio::test]
async fn other_tunnels_lead_where_the_name_does_or_are_refused() {
    let elsewhere = Instance::new().await;
    let mut world = world().await;
    world.complete = true;
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    for to in [elsewhere.address.to_string(), format!("localhost:{}", elsewhere.address.port())] {
        let (established, mut client) = tunnel(&proxy, &to).await;
        assert_eq!(established, 200);
        client.send_bytes(b"\x16anything").await;
        let mut server = elsewhere.accept().await;
        assert_eq!(server.exactly(9).await, b"\x16anything");
        server.send("and back").await;
        client.text("and back").await;
    }
    for (to, expected) in [
        ("169.254.169.254:80".to_owned(), 403),
        ("[::ffff:169.254.169.254]:443".to_owned(), 403),
        ("100.100.100.200:443".to_owned(), 403),
        (proxy.inbound().to_string(), 403),
        (nobody().await.to_string(), 502),
        ("no-such-host.invalid:443".to_owned(), 502),
    ] {
        let (refused, mut client) = tunnel(&proxy, &to).await;
        assert_eq!(refused, expected, "{to}");
        client.rest().await;
    }
}

#[tokio::test]
async fn the_instance_that_an_application_picked_is_kept_while_it_is_allowed() {
    let mut world = world().await;
    let more: Vec<_> = [Instance::new().await.serve("B2"), Instance::new().await.serve("B3")]
        .map(|at| (at, None))
        .into();
    world.services[1].2.extend(more.clone());
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    for _ in 0..4 {
        let (_, name, _) = call(&proxy, &more[0].0.to_string(), "").await;
        assert_eq!(name, "B2");
        let (_, name, _) =
            call(&proxy, &more[0].0.to_string(), "baggage: lane.trade=gray\r\n").await;
        assert_eq!(name, "Bgray", "base was picked for a request of the lane");
    }
}

#[tokio::test]
async fn targets_pass_as_they_were_written() {
    let application = Instance::new().await;
    let proxy = Proxy::sidecar(&world().await, None, application.address);
    for target in ["/search?q=\u{4e2d}\u{6587}", "/\u{4e2d}/%e4?", "/?", "/a?b?c", "//a/./b"] {
        let mut caller = Wire::connect(proxy.inbound()).await;
        caller.send(&format!("GET {target} HTTP/1.1\r\nHost: sc-A\r\n\r\n")).await;
        let head = application.accept().await.head().await;
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
    }
    // Neither is it text in some other encoding.
    let mut caller = Wire::connect(proxy.inbound()).await;
    caller.send_bytes(b"GET /\xd6\xd0?\xff HTTP/1.0\r\n\r\n").await;
    let mut server = application.accept().await;
    assert_eq!(server.exactly(10).await, b"GET /\xd6\xd0?\xff ");
}

#[tokio::test]
async fn inbound_requests_reach_the_application_as_they_are() {
    let application = Instance::new().await;
    let proxy = Proxy::sidecar(&world().await, None, application.address);
    let mut caller = Wire::connect(proxy.inbound()).await;
    caller
        .send("GET /a%2Fb/../c?q HTTP/1.1\r\nHost: sc-A\r\nX_Y: 1\r\nbaggage: user=7\r\n\r\n")
        .await;
    let mut server = application.accept().await;
    assert_eq!(
        server.head().await,
        "GET /a%2Fb/../c?q HTTP/1.1\r\nHost: sc-A\r\nX_Y: 1\r\nbaggage: user=7\r\n\r\n"
    );
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&caller.head().await), 200);
}

#[tokio::test]
async fn the_context_of_an_inbound_request_is_given_back_to_the_calls_it_causes() {
    let application = Instance::new().await;
    let proxy = Proxy::sidecar(&world().await, Some("gray"), application.address);
    let mut caller = Wire::connect(proxy.inbound()).await;
    caller.send(&format!("GET /a HTTP/1.1\r\nHost: sc-A\r\nbaggage: lane.trade=gray\r\ntraceparent: {TRACE}\r\n\r\n")).await;
    let mut server = application.accept().await;
    server.head().await;
    // The application forwards nothing but the trace, in another span.
    let later = TRACE.replace("b7ad6b7169203331", "00f067aa0ba902b7");
    let (_, name, asked) =
        call(&proxy, "sc-B", &format!("traceparent: {later}\r\nbaggage: user=7\r\n")).await;
    assert_eq!(name, "Bgray");
    assert_eq!(field(&asked, "baggage"), Some("lane.trade=gray,user=7"));
    let unknown = TRACE.replace("0af7", "1af7");
    let (_, name, _) = call(&proxy, "sc-B", &format!("traceparent: {unknown}\r\n")).await;
    assert_eq!(name, "B");
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    caller.head().await;
    let (_, name, _) = call(&proxy, "sc-B", &format!("traceparent: {later}\r\n")).await;
    assert_eq!(name, "Bgray", "for a while after the answer, too");
    proxy.counted(Count::CorrelationRestored, 2).await;
    proxy.counted(Count::CorrelationUnknown, 1).await;
}

#[tokio::test]
async fn what_an_application_calls_without_the_context_of_its_requests_is_counted() {
    let application = Instance::new().await;
    let mut world = world().await;
    // It serves the lane as the base, as an application in the middle does.
    world.services[0].2.pop();
    let proxy = Proxy::sidecar(&world, None, application.address);
    let arrive = async |fields: &str| {
        let mut caller = Wire::connect(proxy.inbound()).await;
        caller.send(&format!("GET /a HTTP/1.1\r\nHost: sc-A\r\n{fields}\r\n")).await;
        let mut server = application.accept().await;
        server.head().await;
        (caller, server)
    };
    // Received, carried, lost, uncertain.
    let counted = || -> Vec<_> {
        let all = proxy.running.in_lanes().all().into_iter();
        all.map(|it| (it.lane, [it.received, it.carried, it.lost, it.uncertain])).collect()
    };
    let gray = |counts| vec![("gray".to_owned(), counts)];
    // Base loses nothing.
    let (mut caller, mut server) = arrive("").await;
    assert_eq!(call(&proxy, "sc-B", "").await.1, "B");
    server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    caller.head().await;
    assert_eq!(counted(), []);

    let traced = format!("baggage: lane.trade=gray\r\ntraceparent: {TRACE}\r\n");
    let _gray = arrive(&traced).await;
    let strange = TRACE.replace("0af7", "1af7");
    for fields in ["", "baggage: user=7\r\n", &format!("traceparent: {strange}\r\n")] {
        assert_eq!(call(&proxy, "sc-B", fields).await.1, "B");
    }
    assert_eq!(counted(), gray([1, 0, 3, 0]));
    for fields in ["baggage: lane.trade=gray\r\n", &format!("traceparent: {TRACE}\r\n")] {
        assert_eq!(call(&proxy, "sc-B", fields).await.1, "Bgray");
    }
    // The base, decided, is a context, too.
    assert_eq!(call(&proxy, "sc-B", "baggage: lane.trade=-\r\n").await.1, "B");
    assert_eq!(counted(), gray([1, 2, 3, 0]));

    // Whose call it is cannot be told any more.
    let _base = arrive("").await;
    call(&proxy, "sc-B", "").await;
    assert_eq!(counted(), gray([1, 2, 3, 1]));
    let metric =
        "laneway_context_lost_total{lane_group=\"trade\",lane=\"gray\",certainty=\"certain\"} 3";
    assert!(proxy.running.counters().render().contains(metric));
}

#[tokio::test]
async fn an_id_with_two_contexts_restores_nothing() {
    let application = Instance::new().await;
    let proxy = Proxy::sidecar(&world().await, None, application.address);
    let mut callers = Vec::new();
    for baggage in ["", "baggage: lane.trade=gray\r\n"] {
        let mut caller = Wire::connect(proxy.inbound()).await;
        caller
            .send(&format!(
                "GET /a HTTP/1.1\r\nHost: sc-A\r\n{baggage}traceparent: {TRACE}\r\n\r\n"
            ))
            .await;
        let mut server = application.accept().await;
        server.head().await;
        callers.push((caller, server));
    }
    let (_, name, asked) = call(&proxy, "sc-B", &format!("traceparent: {TRACE}\r\n")).await;
    assert_eq!((name.as_str(), field(&asked, "baggage")), ("B", None));
    proxy.counted(Count::CorrelationConflict, 1).await;
}

#[tokio::test]
async fn an_application_as_entrance_decides_for_what_has_no_member_yet() {
    let application = Instance::new().await.serve("app");
    for edge in [false, true] {
        let mut world = world().await;
        let entrance = EntranceSpec::Application { name: "a".to_owned(), edge };
        world.groups = vec![group(entrance, &["a", "b"], Fallback::Then(Vec::new()))];
        let proxy = Proxy::sidecar(&world, None, application);
        let ask = async |fields: &str| {
            let mut caller = Wire::connect(proxy.inbound()).await;
            caller.send(&format!("GET / HTTP/1.1\r\nHost: sc-A\r\n{fields}\r\n")).await;
            caller.answer().await.1
        };
        let asked = ask("canary: gray\r\n").await;
        assert_eq!(field(&asked, "baggage"), Some("lane.trade=gray"));
        assert!(
            field(&asked, "traceparent").is_some() && field(&asked, "x-request-id").is_some(),
            "{asked}"
        );
        let asked = ask("baggage: user=7\r\n").await;
        assert_eq!(field(&asked, "baggage"), Some("lane.trade=-,user=7"), "base is decided, too");
        let asked = ask("baggage: lane.trade=gray\r\n").await;
        assert_eq!(
            field(&asked, "baggage"),
            Some(if edge { "lane.trade=-" } else { "lane.trade=gray" }),
            "edge {edge}"
        );
        // What the entrance decided is what its own calls get.
        let traced = ask(&format!("canary: gray\r\ntraceparent: {TRACE}\r\n")).await;
        let trace = field(&traced, "traceparent").unwrap();
        assert_eq!(trace != TRACE, edge);
        let (_, name, _) = call(&proxy, "sc-B", &format!("traceparent: {trace}\r\n")).await;
        assert_eq!(name, "Bgray", "edge {edge}");
    }
}
