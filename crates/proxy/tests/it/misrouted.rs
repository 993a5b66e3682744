//! Requests at an instance that does not serve them: refused by its sidecar, chosen again by its caller, seen by nobody else.

use lanes::{EMBEDDED_SOURCE, group::Fallback};
use telemetry::Count;

use crate::world::{
    Instance, Proxy, Wire, World, field, gateway_entrance, get, group, nobody, status,
};

/// A caller that is a proxy of Laneway, and what it chose the instance for.
const VIA: &str = "via: 1.1 laneway-00000000deadbeef";
const VIA_SC_A: &str = "via: 1.1 laneway-00000000deadbeef (default/sc-a)";
const VIA_SC_B: &str = "via: 1.1 laneway-00000000deadbeef (default/sc-b)";

const MISROUTED: &str = "HTTP/1.1 421 Misdirected Request\r\nlaneway-refused: misrouted\r\ncontent-length: 3\r\n\r\nno\n";
const UNREACHABLE: &str =
    "HTTP/1.1 502 Bad Gateway\r\nlaneway-refused: unreachable\r\ncontent-length: 3\r\n\r\nno\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn world(instances: &[(std::net::SocketAddr, Option<&'static str>)], fallback: Fallback) -> World {
    let mut world = World::new(&[]);
    world.services = vec![("sc-A", "a", instances.to_vec())];
    world.groups = vec![group(gateway_entrance(), &["a"], fallback)];
    world
}

#[tokio::test]
async fn a_sidecar_refuses_what_its_instance_does_not_serve() {
    let application = Instance::new().await.serve("app");
    let (gray, base) = (Some("gray"), None);
    let world = world(&[], Fallback::Strict);
    for (tag, fields, expected) in [
        // Base never reaches a tagged instance: a proxy is told that it may choose again, others the reason.
        (gray, "", (503, None)),
        (gray, "baggage: user=7", (503, None)),
        (gray, "baggage: lane.trade=-", (503, None)),
        (gray, VIA, (421, Some("misrouted"))),
        (gray, VIA_SC_A, (421, Some("misrouted"))),
        (gray, "via: 1.1 laneway-00000000deadbeef, 1.1 nginx", (503, None)),
        // Its own lane, and one of its tag that is not known here yet.
        (gray, "baggage: lane.trade=gray", (200, None)),
        (gray, "baggage: lane.other=gray", (200, None)),
        // Another lane, and a strict one at base.
        (gray, "baggage: lane.trade=blue", (503, None)),
        (base, "baggage: lane.trade=gray", (503, None)),
        (base, "", (200, None)),
        (base, VIA, (200, None)),
        // The address was another service's when the caller learned it.
        (base, VIA_SC_A, (200, None)),
        (base, VIA_SC_B, (421, Some("misrouted"))),
    ] {
        let proxy = Proxy::sidecar(&world, tag, application);
        let mut caller = Wire::connect(proxy.inbound()).await;
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        caller
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: other.example\r\n{fields}Content-Length: 0\r\n\r\n"
            ))
            .await;
        let (head, body) = caller.answer().await;
        let is = (status(&head), field(&head, "laneway-refused"));
        assert_eq!(is, expected, "{tag:?} {fields}: {body}");
        if expected.0 == 200 {
            assert!(!body.contains("laneway-"), "the application sees no proxy: {body}");
        } else {
            proxy.counted(Count::Misrouted, 1).await;
        }
    }
}

#[tokio::test]
async fn other_proxies_stay_in_via_and_an_applications_marker_goes_nowhere() {
    let application = Instance::new().await;
    let sidecar = Proxy::sidecar(&world(&[], Fallback::Strict), None, application.address);
    let mut caller = Wire::connect(sidecar.inbound()).await;
    caller
        .send(&format!("GET / HTTP/1.1\r\nHost: a\r\nvia: 1.0 fred, 1.1 nginx\r\n{VIA}\r\n\r\n"))
        .await;
    let mut server = application.accept().await;
    assert_eq!(field(&server.head().await, "via"), Some("1.0 fred, 1.1 nginx"));
    server.send(MISROUTED).await;
    let (head, _) = caller.answer().await;
    assert_eq!((status(&head), field(&head, "laneway-refused")), (421, None), "it is its answer");
}

#[tokio::test]
async fn a_caller_chooses_again_whatever_the_method() {
    let (wrong, right) = (Instance::new().await, Instance::new().await);
    let gateway = Proxy::gateway(&World::new(&[wrong.address, right.address]));
    let mut client = gateway.client().await;
    let mut refused = 0;
    while refused < 2 {
        client.send("POST /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody").await;
        let mut server = tokio::select! {
            mut server = wrong.accept() => {
                assert!(server.head().await.contains("via: 1.1 laneway-"));
                server.text("body").await;
                server.send(MISROUTED).await;
                refused += 1;
                drop(server);
                right.accept().await
            }
            server = right.accept() => server,
        };
        assert!(server.head().await.starts_with("POST /x "));
        server.text("body").await;
        server.send("HTTP/1.1 200 OK\r\nlaneway-refused: misrouted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        let (head, _) = client.answer().await;
        assert_eq!((status(&head), field(&head, "laneway-refused")), (200, None));
    }
    gateway.counted(Count::RetriedMisrouted, 2).await;
    assert!(gateway.running.unreachable().is_empty(), "a refusal ejects nobody");
}

#[tokio::test]
async fn whoever_is_refused_by_one_of_a_lane_and_loses_the_other_goes_as_one_that_comes_now() {
    let base = Instance::new().await.serve("base");
    let world = |instances: &[_]| {
        let world = world(instances, Fallback::Then(Vec::new()));
        World { source: EMBEDDED_SOURCE, ..world }
    };
    let mut was_refused_first = false;
    // Which of the two is asked first is chance.
    for _ in 0..100 {
        let (wrong, lost) = (Instance::new().await, Instance::new().await);
        let all = [(wrong.address, Some("gray")), (lost.address, Some("gray")), (base, None)];
        let gateway = Proxy::gateway(&world(&all));
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
        let mut refusing = tokio::select! {
            refusing = wrong.accept() => refusing,
            _ = lost.accept() => continue,
        };
        refusing.head().await;
        refusing.send(MISROUTED).await;
        let mut server = lost.accept().await;
        server.head().await;
        gateway.publish.send(world(&[all[0], all[2]]).publish()).unwrap();
        assert!(client.answer().await.1.starts_with("base\n"));
        was_refused_first = true;
        break;
    }
    assert!(was_refused_first);
}

#[tokio::test]
async fn what_was_sent_of_a_body_is_sent_once_more() {
    for (kept, expected) in [(true, 200), (false, 503)] {
        let (one, two) = (Instance::new().await, Instance::new().await);
        let gateway = Proxy::gateway(&World::new(&[one.address, two.address]));
        let mut client = gateway.client().await;
        let begin = if kept { "begin".to_owned() } else { "x".repeat(65 * 1024) };
        let bytes = begin.len() + 3;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: {bytes}\r\n\r\n{begin}"
            ))
            .await;
        let (mut wrong, right) = tokio::select! {
            wrong = one.accept() => (wrong, &two),
            wrong = two.accept() => (wrong, &one),
        };
        wrong.head().await;
        wrong.text(&begin).await;
        wrong.send(MISROUTED).await;
        if kept {
            let mut server = right.accept().await;
            server.head().await;
            server.text("begin").await;
            client.send("end").await;
            server.text("end").await;
            server.send(OK).await;
        }
        assert_eq!(status(&client.head().await), expected, "kept {kept}");
    }
}

#[tokio::test]
async fn with_nobody_left_the_client_is_told_the_reason() {
    let instance = Instance::new().await;
    let gateway = Proxy::gateway(&World::new(&[instance.address]));
    let mut client = gateway.client().await;
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send(MISROUTED).await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), field(&head, "laneway-refused")), (503, None));
    assert!(body.starts_with("no other instance of sc-A may serve the request"), "{body}");
}

#[tokio::test]
async fn a_lane_whose_address_is_another_instances_falls_back() {
    let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let instances = [(base, None), (gray.address, Some("gray"))];
    let gateway = Proxy::gateway(&world(&instances, Fallback::Then(Vec::new())));
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    let mut server = gray.accept().await;
    server.head().await;
    server.send(MISROUTED).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 200);
    assert!(body.starts_with("base\n"), "{body}");
}

#[tokio::test]
async fn an_application_that_cannot_be_reached_is_passed_over_for_a_while() {
    // The sidecar says so, ...
    let sidecar = Proxy::sidecar(&world(&[], Fallback::Strict), None, nobody().await);
    let mut caller = Wire::connect(sidecar.inbound()).await;
    caller.send(&get("/")).await;
    let (head, body) = caller.answer().await;
    assert_eq!((status(&head), field(&head, "laneway-refused")), (502, Some("unreachable")));
    assert_eq!(body, "cannot connect to the application\n");

    // ... and its caller chooses another, then leaves it alone.
    let (dead, alive) = (Instance::new().await, Instance::new().await.serve("alive"));
    let instances = [(alive, None), (dead.address, Some("gray"))];
    let gateway = Proxy::gateway(&world(&instances, Fallback::Then(Vec::new())));
    let ask = "POST / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nContent-Length: 0\r\n\r\n";
    let mut client = gateway.client().await;
    client.send(ask).await;
    let mut server = dead.accept().await;
    server.head().await;
    server.send(UNREACHABLE).await;
    assert_eq!(status(&client.answer().await.0), 200);
    client.send(ask).await;
    assert_eq!(status(&client.answer().await.0), 200);
    gateway.counted(Count::RetriedUnreachable, 1).await;
    assert_eq!(gateway.running.unreachable(), [dead.address]);
}

#[tokio::test]
async fn a_request_does_not_go_round_for_ever() {
    let mut world = World::new(&[]);
    let gateway = Proxy::gateway(&world);
    world.services = vec![("sc-A", "a", vec![(gateway.address(), None)])];
    gateway.publish.send_replace(world.publish());
    let mut client = gateway.client().await;
    client.send(&get("/")).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 508, "{body}");
    gateway.counted(Count::Loop, 1).await;
    let accepted = gateway.running.counters().counted(Count::DownstreamAccepted);
    assert!(accepted < 6, "one request made {accepted} connections");
}

const UNANSWERED: &str =
    "HTTP/1.1 502 Bad Gateway\r\nlaneway-refused: unanswered\r\ncontent-length: 3\r\n\r\nno\n";

#[tokio::test]
async fn an_application_that_breaks_off_behind_its_sidecar_is_as_one_without() {
    // The sidecar says so, of a connection of its own making.
    let application = Instance::new().await;
    let sidecar = Proxy::sidecar(&world(&[], Fallback::Strict), None, application.address);
    for request in [get("/"), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n".to_owned()]
    {
        let mut caller = Wire::connect(sidecar.inbound()).await;
        caller.send(&request).await;
        let mut server = application.accept().await;
        server.head().await;
        if request.starts_with("POST") {
            caller.send("body").await;
            server.text("body").await;
        }
        server.abort();
        let (head, body) = caller.answer().await;
        assert_eq!((status(&head), field(&head, "laneway-refused")), (502, Some("unanswered")));
        assert_eq!(body, "the application closed the connection without an answer\n");
    }

    // Its caller tells nobody, tries what is idempotent again in its lane, and puts it aside after some in a row.
    let (breaking, alive) = (Instance::new().await, Instance::new().await.serve("gray"));
    let base = Instance::new().await.serve("base");
    let gray = Some("gray");
    let instances = [(base, None), (breaking.address, gray), (alive, gray)];
    let gateway = Proxy::gateway(&world(&instances, Fallback::Then(Vec::new())));
    let address = breaking.address;
    tokio::spawn(async move {
        loop {
            let mut server = breaking.accept().await;
            server.head().await;
            server.send(UNANSWERED).await;
        }
    });
    let get = "GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nContent-Length: 0\r\n\r\n";
    let (mut asked, mut broken) = (0, 0);
    while !gateway.running.unreachable().contains(&address) {
        let mut client = gateway.client().await;
        client.send(if asked % 2 == 0 { get } else { post }).await;
        let (head, body) = client.answer().await;
        if asked % 2 == 0 || status(&head) == 200 {
            assert!(body.starts_with("gray\n"), "{head}{body}");
        } else {
            assert_eq!((status(&head), field(&head, "laneway-refused")), (502, None));
            assert_eq!(body, "the instance closed the connection without an answer\n");
            broken += 1;
        }
        asked += 1;
        assert!(asked < 100, "is not put aside; {broken} were broken off");
    }
}

#[tokio::test]
async fn an_only_application_that_broke_off_in_a_row_leaves_the_last_to_the_fallback() {
    let (sidecar, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let instances = [(base, None), (sidecar.address, Some("gray"))];
    let gateway = Proxy::gateway(&world(&instances, Fallback::Then(Vec::new())));
    let get = "GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nConnection: close\r\n\r\n";
    let closes = UNANSWERED.replacen("content-length", "connection: close\r\ncontent-length", 1);
    // The first asks once more: it is the lane's only one.
    for (asks, expected) in [(2, 502), (1, 200)] {
        let mut client = gateway.client().await;
        client.send(get).await;
        for _ in 0..asks {
            let mut server = sidecar.accept().await;
            server.head().await;
            server.send(&closes).await;
        }
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), expected, "{head}{body}");
        assert_eq!(body.starts_with("base\n"), expected == 200, "{body}");
    }
}
