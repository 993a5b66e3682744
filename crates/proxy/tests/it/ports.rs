//! Applications of several ports: one instance, several services, each request at the port that it is for.

use std::net::SocketAddr;

use lanes::{
    EMBEDDED_SOURCE,
    group::Fallback,
    service::{Port, Protocol},
};

use crate::world::{
    Instance, Proxy, Wire, World, eventually, field, gateway_entrance, group, nobody, own_port,
    status,
};

const FURTHER: Port = Port { protocol: Protocol::Http, is_further: true };
const FURTHER_TCP: Port = Port { protocol: Protocol::Tcp, is_further: true };

/// Who answered, or why nobody did.
async fn ask(proxy: &mut Wire, target: &str, fields: &str) -> (u16, String) {
    proxy.send(&format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    let (head, body) = proxy.answer().await;
    assert_eq!(field(&head, "laneway-refused").is_some(), status(&head) == 421, "{head}");
    (status(&head), body.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_request_reaches_the_port_whose_service_it_is_for() {
    let first = Instance::new().await.serve("first");
    let admin = Instance::new().await.serve("admin");
    let tcp = Instance::new().await;
    let ports = vec![
        own_port("sc-A", Protocol::Http, first),
        own_port("Admin-A", Protocol::Http, admin),
        own_port("dubbo-a", Protocol::Tcp, tcp.address),
    ];
    let proxy = Proxy::sidecar_of(&World::new(&[]), None, ports);
    let mut caller = Wire::connect(proxy.inbound()).await;
    let via = "Host: x\r\nvia: 1.1 laneway-00000000deadbeef";
    for (fields, expected) in [
        // As its caller has chosen it, whatever else the request names.
        (format!("{via} (default/sc-a)"), (200, "first")),
        (format!("{via} (default/admin-a)"), (200, "admin")),
        (via.replace("Host: x", "Host: sc-A") + " (default/admin-a)", (200, "admin")),
        (via.to_owned(), (200, "first")),
        // By its host, where nothing else says it.
        ("Host: admin-a".to_owned(), (200, "admin")),
        ("Host: ADMIN-A.default:81".to_owned(), (200, "admin")),
        ("Host: admin-a.other".to_owned(), (200, "first")),
        ("Host: 10.0.0.1:8080".to_owned(), (200, "first")),
    ] {
        let (status, who) = ask(&mut caller, "/", &fields).await;
        assert_eq!((status, who.as_str()), expected, "{fields}");
    }
    let (status, why) = ask(&mut caller, "/", &format!("{via} (default/other)")).await;
    let words = "it is of service default/sc-a, default/admin-a, default/dubbo-a, and default/other was called";
    assert!(status == 421 && why.contains(words), "{status} {why}");
    // What reads no HTTP is asked nothing in HTTP, and is not to blame for it.
    for fields in [format!("{via} (default/dubbo-a)"), "Host: dubbo-a".to_owned()] {
        let (status, why) = ask(&mut caller, "/", &fields).await;
        let words = "service dubbo-a is at a port of protocol tcp";
        assert!(status == 503 && why.contains(words), "{status} {why}");
    }
}

/// Two services of one instance of `b`, which is there for `sc-B` and `admin-b`, and another of `sc-B` alone.
fn world(both: SocketAddr, other: SocketAddr) -> World {
    let mut world = World::new(&[]);
    world.source = EMBEDDED_SOURCE;
    let (base, gray) = ((other, None), (both, Some("gray")));
    world.services = vec![("sc-B", "b", vec![base, gray]), ("admin-b", "b", vec![base, gray])];
    world.ports.insert("admin-b", FURTHER);
    world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
    world.routes = vec![("/", "sc-B", Vec::new(), (None, None))];
    world
}

#[tokio::test]
async fn lanes_are_of_the_application_and_so_of_all_its_services() {
    let (gray, base) = (Instance::new().await.serve("gray"), Instance::new().await.serve("base"));
    let proxy = Proxy::sidecar(&world(gray, base), None, nobody().await);
    let mut application = proxy.client().await;
    for (host, called) in [("sc-B", "default/sc-b"), ("admin-b", "default/admin-b")] {
        for (lane, expected) in [("", "base"), ("baggage: lane.trade=gray\r\n", "gray")] {
            let target = format!("http://{host}/");
            application.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lane}\r\n")).await;
            let (head, asked) = application.answer().await;
            assert_eq!(status(&head), 200, "{asked}");
            assert!(asked.starts_with(expected), "{host} {lane}: {asked}");
            let via = field(&asked, "via").unwrap_or_default();
            assert!(via.ends_with(&format!("({called})")), "{via}");
        }
    }
    // Where its sidecar listens the instance is all of them: the first port is meant, unless a host says another.
    for (host, called) in [("x", "default/sc-b"), ("admin-b", "default/admin-b")] {
        let fields = format!("Host: {host}");
        application.send(&format!("GET http://{base}/ HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        let (_, asked) = application.answer().await;
        let via = field(&asked, "via").unwrap_or_default();
        let named = if host == "x" { called } else { "default/sc-b" };
        assert!(via.ends_with(&format!("({named})")), "the target's authority is believed: {via}");
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_put_aside_for_all_its_services() {
    let (dead, alive) = (nobody().await, Instance::new().await.serve("alive"));
    let mut world = world(dead, alive);
    world.groups.clear();
    for (_, _, instances) in &mut world.services {
        *instances = vec![(dead, None), (alive, None)];
    }
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    let mut application = proxy.client().await;
    while proxy.running.unreachable().is_empty() {
        let (status, _) = ask(&mut application, "http://sc-B/", "Host: sc-B").await;
        assert_eq!(status, 200);
    }
    let before = proxy.running.counters().counted(telemetry::Count::RetriedConnect);
    for _ in 0..16 {
        let (status, who) = ask(&mut application, "http://admin-b/", "Host: admin-b").await;
        assert_eq!((status, who.as_str()), (200, "alive"));
    }
    let after = proxy.running.counters().counted(telemetry::Count::RetriedConnect);
    // At most the one request that tries it again when its ejection ends.
    assert!(after <= before + 1, "{before} {after}");
}

#[tokio::test]
async fn a_tunnel_to_a_tcp_port_leads_to_another_where_nobody_listens() {
    let (dead, alive) = (nobody().await, Instance::new().await);
    let (at_dead, at_alive) = (nobody().await, nobody().await);
    let mut world = World::new(&[]);
    world.services = vec![("dubbo-b", "b", vec![(at_dead, None), (at_alive, None)])];
    world.ports.insert("dubbo-b", FURTHER_TCP);
    world.applications =
        [(("dubbo-b", at_dead), dead), (("dubbo-b", at_alive), alive.address)].into();
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    for _ in 0..12 {
        let mut client = tunnel(&proxy, "dubbo-b:20880").await;
        let mut server = alive.accept().await;
        server.send("hello").await;
        client.text("hello").await;
    }
    assert_eq!(proxy.running.unreachable(), [at_dead]);
    // Who picks an instance is told that it is not there.
    tunnel(&proxy, &dead.to_string()).await.reset().await;
}

/// Two instances of `b` for `sc-B` and, at a port of their applications, for `dubbo-b`; nobody listens at the first's.
async fn half_there(instances: [SocketAddr; 2]) -> (World, SocketAddr, Instance) {
    let (dead, alive) = (nobody().await, Instance::new().await);
    let [first, second] = instances;
    let mut world = world(first, second);
    world.groups.clear();
    world.services =
        ["sc-B", "dubbo-b"].map(|it| (it, "b", vec![(first, None), (second, None)])).into();
    world.ports = [("dubbo-b", FURTHER_TCP)].into();
    world.applications = [(("dubbo-b", first), dead), (("dubbo-b", second), alive.address)].into();
    (world, dead, alive)
}

async fn tunnel(proxy: &Proxy, to: &str) -> Wire {
    let mut client = proxy.client().await;
    client.send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).await;
    assert_eq!(status(&client.head().await), 200, "{to}");
    client
}

#[tokio::test]
async fn an_application_that_picks_a_dead_tcp_port_holds_it_against_nobody() {
    let instances = [Instance::new().await.serve("first"), Instance::new().await.serve("second")];
    let (world, dead, _alive) = half_there(instances).await;
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    for _ in 0..4 {
        tunnel(&proxy, &dead.to_string()).await.reset().await;
    }
    assert!(proxy.running.unreachable().is_empty(), "requests have nothing to do with it");
}

#[tokio::test]
async fn where_all_are_put_aside_a_tcp_port_that_answers_is_found() {
    let (world, _dead, alive) = half_there([nobody().await, nobody().await]).await;
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    let mut application = proxy.client().await;
    eventually("their sidecars to be put aside", async || {
        ask(&mut application, "http://sc-B/", "Host: sc-B").await;
        proxy.running.unreachable().len() == 2
    })
    .await;
    for _ in 0..12 {
        let mut client = tunnel(&proxy, "dubbo-b:20880").await;
        alive.accept().await.send("hello").await;
        client.text("hello").await;
    }
}

#[tokio::test]
async fn a_tunnel_to_a_tcp_port_leads_to_the_application_itself_and_is_not_listened_to() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let (of_base, of_gray) = (nobody().await, nobody().await);
    let mut world = World::new(&[]);
    world.services = vec![("dubbo-b", "b", vec![(of_base, None), (of_gray, Some("gray"))])];
    world.ports.insert("dubbo-b", FURTHER_TCP);
    world.applications =
        [(("dubbo-b", of_base), base.address), (("dubbo-b", of_gray), gray.address)].into();
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    let targets = ["dubbo-b:20880".to_owned(), base.address.to_string(), gray.address.to_string()];
    for to in targets {
        let mut client = tunnel(&proxy, &to).await;
        let mut server = base.accept().await;
        server.send("it speaks first").await;
        client.text("it speaks first").await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        server.text("GET / HTTP/1.1\r\n\r\n").await;
    }
    let told = proxy.running.unread().all();
    let told: Vec<_> = told.iter().map(|(name, it, calls)| (&**name, it.name(), *calls)).collect();
    assert_eq!(told, [("dubbo-b", "tcp", 3)]);
}
