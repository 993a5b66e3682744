//! The sidecar behind real redirect rules, in a network namespace of the test's own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use lanes::{
    Tag,
    group::Fallback,
    service::{Port, Protocol},
};
use proxy::{
    SidecarConfig,
    capture::{self, Capture, CaptureConfig},
    limits::Timeouts,
};
use routes::entrance::CorrelationHeaders;
use telemetry::Count;
use testkit::{Host, Switch, needs};

use crate::{
    http2::{Client, instances},
    world::{Instance, Proxy, Wire, World, field, gateway_entrance, group, own_port, status},
};

/// Runs a test on a host of its own, with another host beside it.
pub(super) fn on_two_hosts(test: impl AsyncFnOnce(&Host, &Host) + Send) {
    if !needs("netns") {
        return;
    }
    let switch = Switch::new().unwrap();
    let (host, elsewhere) = (switch.host(1).unwrap(), switch.host(2).unwrap());
    host.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&host, &elsewhere));
    });
}

pub(super) fn listen(host: &Host, port: u16) -> Instance {
    let listener = host.inside(|| TcpListener::bind((host.address(), port)).unwrap());
    Instance::from_std(listener)
}

pub(super) fn call_from(host: &Host, target: SocketAddr) -> Wire {
    Wire::from_std(host.inside(|| TcpStream::connect(target).unwrap()))
}

/// A sidecar whose application is on port 8080 of `host`, with its rules in place.
pub(super) fn captured(world: &World) -> (Proxy, Capture) {
    captured_with(world, |_| {})
}

pub(super) fn captured_with(
    world: &World,
    change: impl FnOnce(&mut SidecarConfig),
) -> (Proxy, Capture) {
    let mut config = SidecarConfig {
        application: "a".to_owned(),
        ports: vec![own_port("sc-A", Protocol::Http, (Ipv4Addr::LOCALHOST, 8080).into())],
        service_namespace: "default".to_owned(),
        unreachable: std::sync::Arc::default(),
        tag: None,
        outbound_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        inbound_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        transparent: true,
        transparent_ipv6: capture::host_has_ipv6(),
        mark: Some(capture::MARK),
        correlation_headers: CorrelationHeaders::default(),
        doors: Vec::new(),
        refuses_unread: false,
        forbidden: Vec::new(),
        takeover: false,
        inherited: Default::default(),
        workers: 1,
        timeouts: Timeouts::default(),
        connections_max: None,
        metrics: std::sync::Arc::default(),
        observers: Default::default(),
    };
    change(&mut config);
    let declared = config.ports.iter().map(|port| port.application_address.port());
    let of_application = declared.chain([UNDECLARED]).collect();
    let proxy = Proxy::sidecar_with(world, config);
    let capture = Capture::install(&CaptureConfig {
        outbound_port: proxy.address().port(),
        inbound_port: proxy.inbound().port(),
        application_ports: of_application,
        own_user_id: None,
        excluded_outbound_ports: Vec::new(),
        excluded_destinations: Vec::new(),
        excluded_inbound_ports: Vec::new(),
        ipv6: capture::host_has_ipv6(),
    })
    .unwrap();
    (proxy, capture)
}

#[test]
fn the_applications_calls_go_where_their_lane_says_whatever_it_picked() {
    on_two_hosts(async |_, elsewhere| {
        let (base, other) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let gray = listen(elsewhere, 0);
        let mut world = World::new(&[]);
        let endpoints =
            vec![(base.address, None), (other.address, None), (gray.address, Some("gray"))];
        world.services = vec![("sc-B", "b", endpoints)];
        world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
        let picked = base.address;
        let (base, other, gray) = (base.serve("base"), other.serve("other"), gray.serve("gray"));
        let (_proxy, _capture) = captured(&world);
        assert!([base, other, gray].iter().all(|address| address.ip() == picked.ip()));
        for _ in 0..4 {
            for (fields, expected) in [("", "base"), ("baggage: lane.trade=gray\r\n", "gray")] {
                let mut application = Wire::connect(picked).await;
                application
                    .send(&format!("GET /b HTTP/1.1\r\nHost: {picked}\r\n{fields}\r\n"))
                    .await;
                let (head, body) = application.answer().await;
                assert_eq!(status(&head), 200);
                let (name, asked) = body.split_once('\n').unwrap();
                assert_eq!(name, expected);
                assert_eq!(field(asked, "host"), Some(picked.to_string().as_str()));
            }
        }
    });
}

#[test]
fn base_that_calls_a_tagged_instance_in_its_other_family_is_served_by_base() {
    on_two_hosts(async |_, elsewhere| {
        if !capture::host_has_ipv6() {
            return;
        }
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        // Where nobody is asked, were the rules not there: a connection past the lanes would be refused.
        let in_v6 = |at: SocketAddr| SocketAddr::new(elsewhere.address_v6(), at.port());
        let mut world = World::new(&[]);
        let (of_base, of_gray) = (base.address, gray.address);
        world.services = vec![("sc-B", "b", vec![(of_base, None), (of_gray, Some("gray"))])];
        world.further = [of_base, of_gray].map(|it| (it, vec![in_v6(it)])).into();
        world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
        base.serve("base");
        gray.serve("gray");
        let (_proxy, _capture) = captured(&world);
        for (picked, fields, expected) in [
            (in_v6(of_gray), "", "base"),
            (in_v6(of_base), "baggage: lane.trade=gray\r\n", "gray"),
            (in_v6(of_base), "", "base"),
            (of_gray, "", "base"),
        ] {
            let mut application = Wire::connect(picked).await;
            application.send(&format!("GET / HTTP/1.1\r\nHost: b\r\n{fields}\r\n")).await;
            let (head, body) = application.answer().await;
            assert!(status(&head) == 200 && body.starts_with(expected), "{picked}: {head}{body}");
        }
    });
}

#[test]
fn what_is_no_service_or_no_http_passes_through_untouched() {
    on_two_hosts(async |_, elsewhere| {
        let (stranger, service) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = World::new(&[service.address]);
        let (proxy, _capture) = captured(&world);
        // HTTP to nobody's address stays as it is, down to what the engine would refuse.
        let mut application = Wire::connect(stranger.address).await;
        application.send("GET /..%2f HTTP/1.1\nX: 1\n\n").await;
        let mut server = stranger.accept().await;
        server.text("GET /..%2f HTTP/1.1\nX: 1\n\n").await;
        server.send("whatever").await;
        application.text("whatever").await;
        application.close_write().await;
        server.closed().await;

        // A service that speaks something else.
        let mut application = Wire::connect(service.address).await;
        application.send_bytes(b"\x16\x03\x01").await;
        let mut server = service.accept().await;
        assert_eq!(server.exactly(3).await, b"\x16\x03\x01");
        let told: Vec<_> = (proxy.running.unread().all().into_iter())
            .map(|(service, protocol, calls)| (service, protocol.name(), calls))
            .collect();
        let expected = [("sc-A".to_owned(), "tls", 1)];
        assert_eq!(told, expected, "what no lane can hold is told");

        // A service that speaks first.
        let mut application = Wire::connect(service.address).await;
        let mut server = service.accept().await;
        server.send("220 welcome\r\n").await;
        application.text("220 welcome\r\n").await;
        application.send("EHLO").await;
        server.text("EHLO").await;
        proxy.counted(Count::PassedThrough, 3).await;

        // A client that connects and only later asks is still an HTTP client.
        let mut application = Wire::connect(service.address).await;
        let _waiting = service.accept().await;
        application.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut server = service.accept().await;
        assert!(server.head().await.starts_with("GET /late HTTP/1.1\r\n"));
    });
}

#[test]
fn every_stream_of_a_captured_connection_goes_where_its_lane_says() {
    on_two_hosts(async |host, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let application = listen(host, 8080);
        let mut world = World::new(&[]);
        let endpoints = vec![(base.address, None), (gray.address, Some("gray"))];
        world.services =
            vec![("sc-B", "b", endpoints), ("sc-A", "a", vec![(application.address, None)])];
        world.groups = vec![group(gateway_entrance(), &["a", "b"], Fallback::Then(Vec::new()))];
        let (picked, inbound) = (base.address, application.address);
        instances::serve(base, "base");
        instances::serve(gray, "gray");
        instances::serve(application, "application");
        let (proxy, _capture) = captured(&world);
        let client = Client::over(Wire::connect(picked).await.into_stream()).await;
        let asked = |path: &str, lane: &str| {
            let asked = http::Request::post(format!("http://{picked}{path}"));
            asked.header("content-type", "application/grpc").header("baggage", lane)
        };
        let mut waiting = Vec::new();
        for number in 0..30 {
            let lane = if number % 3 == 0 { "lane.trade=gray" } else { "" };
            waiting.push((lane, client.ask(asked("/pkg.B/Do", lane))));
        }
        for (lane, waits) in waiting {
            let by = if lane.is_empty() { "base" } else { "gray" };
            let (head, said) = waits.await;
            let expected = format!("{by} /pkg.B/Do {lane}");
            assert_eq!((head.status().as_u16(), said), (200, expected.into_bytes()));
        }
        // A caller that lets its instance speak first is still one of HTTP/2.
        let late = Wire::connect(picked).await.into_stream();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let late = Client::over(late).await;
        let (_, said) = late.ask(asked("/late", "lane.trade=gray")).await;
        assert_eq!(said, b"gray /late lane.trade=gray");

        let caller = call_from(elsewhere, inbound).into_stream();
        let caller = Client::over(caller).await;
        assert_eq!(caller.ask(asked("/in", "")).await.1, b"application /in ");
        assert!(proxy.running.unread().all().is_empty());
        assert!(proxy.running.unread_arrivals().all().is_empty());
        assert_eq!(proxy.running.counters().counted(Count::PassedThrough), 0);
    });
}

#[test]
fn calls_of_others_reach_the_application_through_the_sidecar() {
    on_two_hosts(async |host, elsewhere| {
        let application = listen(host, 8080);
        let (proxy, _capture) = captured(&World::new(&[application.address]));
        let target = application.address;
        let mut caller = call_from(elsewhere, target);
        caller.send("GET /in HTTP/1.1\r\nHost: sc-A\r\n\r\n").await;
        let mut server = application.accept().await;
        assert!(server.head().await.starts_with("GET /in HTTP/1.1\r\n"));
        server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(status(&caller.head().await), 200);
        proxy.counted(Count::DownstreamAccepted, 1).await;
    });
}

#[test]
fn callers_that_stop_within_their_first_bytes_are_counted_and_ended() {
    on_two_hosts(async |host, elsewhere| {
        let application = listen(host, 8080);
        let target = application.address;
        let (proxy, _capture) = captured_with(&World::new(&[target]), |config| {
            config.connections_max = Some(2);
            config.timeouts.head = Duration::from_secs(1);
        });
        let mut stopped = [call_from(elsewhere, target), call_from(elsewhere, target)];
        for caller in &mut stopped {
            caller.send("GE").await;
        }
        proxy.counted(Count::DownstreamAccepted, 2).await;
        call_from(elsewhere, target).closed().await;
        proxy.counted(Count::DownstreamRefused, 1).await;
        for caller in &mut stopped {
            caller.reset().await;
        }
        let mut caller = call_from(elsewhere, target);
        caller.send("GET / HTTP/1.1\r\nHost: sc-A\r\n\r\n").await;
        application.accept().await.head().await;
    });
}

#[test]
fn what_some_take_for_http_is_refused_however_it_is_cut_and_what_passes_unread_is_told() {
    on_two_hosts(async |host, elsewhere| {
        let application = listen(host, 8080);
        let target = application.address;
        let (proxy, _capture) = captured(&World::new(&[target]));
        for (first, rest) in [
            (" GE", "T / HTTP/1.1\r\nHost: sc-A\r\n\r\n"),
            ("\r\n", "\r\nGET  / HTTP/1.1\r\nHost: sc-A\r\n\r\n"),
            ("GET\t/ HTTP/1.", "1\nHost: sc-A\n\n"),
            ("!#", "$%\t/ HTTP/1.1\r\nHost: sc-A\r\n\r\n"),
        ] {
            let mut caller = call_from(elsewhere, target);
            caller.send(first).await;
            let reached = tokio::time::timeout(Duration::from_millis(100), application.accept());
            assert!(reached.await.is_err(), "{first:?} reached the application");
            caller.send(rest).await;
            let status = status(&caller.head().await);
            assert!(matches!(status, 400 | 501 | 505), "{first:?} and {rest:?}: {status}");
        }
        let mut caller = call_from(elsewhere, target);
        caller.send(" GET / HTTP/1.0").await;
        caller.close_write().await;
        caller.closed().await;
        let reached = tokio::time::timeout(Duration::from_millis(100), application.accept());
        assert!(reached.await.is_err(), "what has ended is whole");

        call_from(elsewhere, target).send("\x16\x03\x01").await;
        application.accept().await.text("\x16\x03\x01").await;
        let told = proxy.running.unread_arrivals().all();
        let told: Vec<_> = told.iter().map(|(_, it, calls)| (it.name(), *calls)).collect();
        assert_eq!(told, [("tls", 1)]);
        assert!(proxy.running.unread().all().is_empty());
    });
}

#[test]
fn draining_waits_for_what_passes_and_not_for_who_is_silent() {
    on_two_hosts(async |host, elsewhere| {
        let application = listen(host, 8080);
        let target = application.address;
        let (proxy, _capture) = captured(&World::new(&[target]));
        let mut talking = call_from(elsewhere, target);
        talking.send_bytes(b"\x16\x03\x01").await;
        let mut server = application.accept().await;
        let mut silent = call_from(elsewhere, target);
        proxy.counted(Count::DownstreamAccepted, 2).await;
        let begun = Instant::now();
        let grace = Duration::from_secs(60);
        let drain = tokio::spawn(proxy.running.drain(grace));
        silent.closed().await;
        assert_eq!(server.exactly(3).await, b"\x16\x03\x01");
        server.send("late").await;
        talking.text("late").await;
        assert!(!drain.is_finished());
        drop((talking, server));
        drain.await.unwrap();
        assert!(begun.elapsed() < grace / 2);
    });
}

#[test]
fn a_destination_that_was_not_known_in_time_is_looked_at_again_with_every_request() {
    on_two_hosts(async |_, elsewhere| {
        let (picked, other) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let mut world = World::new(&[]);
        world.complete = false;
        let endpoints = vec![(picked.address, None), (other.address, Some("gray"))];
        let mut known = world.clone();
        known.services = vec![("sc-B", "b", endpoints)];
        known.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
        let target = picked.address;
        let (picked, other) = (picked.serve("picked"), other.serve("gray"));
        assert_eq!(picked.ip(), other.ip());
        let (proxy, _capture) = captured(&world);
        let mut application = Wire::connect(target).await;
        let request = "GET /b HTTP/1.1\r\nHost: b\r\nbaggage: lane.trade=gray\r\n\r\n";
        application.send(request).await;
        assert!(application.answer().await.1.starts_with("picked\n"));
        proxy.publish.send_replace(known.publish());
        application.send(request).await;
        assert!(application.answer().await.1.starts_with("gray\n"));
    });
}

#[test]
fn calls_over_ipv6_are_captured_both_ways() {
    on_two_hosts(async |host, elsewhere| {
        if !capture::host_has_ipv6() {
            return;
        }
        let at = |host: &Host, port: u16| {
            Instance::from_std(
                host.inside(|| TcpListener::bind((host.address_v6(), port)).unwrap()),
            )
        };
        let application = at(host, 8080);
        let (base, gray) = (at(elsewhere, 0), at(elsewhere, 0));
        let mut world = World::new(&[]);
        let endpoints = vec![(base.address, None), (gray.address, Some("gray"))];
        world.services = vec![("sc-B", "b", endpoints)];
        world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
        let picked = base.address;
        let (base, gray) = (base.serve("base"), gray.serve("gray"));
        assert!(base.is_ipv6() && gray.is_ipv6());
        let (proxy, _capture) = captured(&world);
        let mut calling = Wire::connect(picked).await;
        calling.send("GET /b HTTP/1.1\r\nHost: b\r\nbaggage: lane.trade=gray\r\n\r\n").await;
        assert!(calling.answer().await.1.starts_with("gray\n"));

        let mut caller = call_from(elsewhere, application.address);
        caller.send("GET /in HTTP/1.1\r\nHost: sc-A\r\n\r\n").await;
        let mut server = application.accept().await;
        assert!(server.head().await.starts_with("GET /in HTTP/1.1\r\n"));
        proxy.counted(Count::DownstreamAccepted, 2).await;
    });
}

/// How long it takes until a caller that speaks first sees a reset, whatever it does: connecting has worked.
async fn until_reset(target: SocketAddr) -> Duration {
    let begun = Instant::now();
    // Whichever comes first of connecting, sending and receiving meets the reset.
    if let Ok(mut application) = Wire::try_connect(target).await
        && application.try_send("\x16\x03\x01").await
    {
        application.reset().await;
    }
    begun.elapsed()
}

#[test]
fn where_nobody_listens_it_looks_as_if_nobody_listened() {
    on_two_hosts(async |_, elsewhere| {
        let closed = listen(elsewhere, 0).address;
        for world in [World::new(&[closed]), World::new(&[])] {
            let (_proxy, _capture) = captured(&world);
            // A round trip, where accepting and closing in order has clients wait for seconds.
            let took = until_reset(closed).await;
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
    });
}

#[test]
fn where_nobody_is_a_caller_is_reset_when_connecting_is_given_up() {
    on_two_hosts(async |_, elsewhere| {
        let std::net::IpAddr::V4(there) = elsewhere.address() else { unreachable!() };
        let [a, b, c, _] = there.octets();
        let nobody = SocketAddr::from(([a, b, c, 77], 7));
        for world in [World::new(&[nobody]), World::new(&[])] {
            let (_proxy, _capture) =
                captured_with(&world, |config| config.timeouts.connect = Duration::from_secs(1));
            let took = until_reset(nobody).await;
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
    });
}

/// A port of the application that is captured, though nobody has declared it.
const UNDECLARED: u16 = 9999;

const FURTHER_TCP: Port = Port { protocol: Protocol::Tcp, is_further: true };

#[test]
fn an_application_of_several_ports_is_one_instance_with_several_services() {
    on_two_hosts(async |host, elsewhere| {
        let (http, tcp, admin) = (listen(host, 8080), listen(host, 20880), listen(host, 9090));
        let at = |port: u16| SocketAddr::new(host.address(), port);
        let (proxy, _capture) = captured_with(&World::new(&[http.address]), |config| {
            config.ports = vec![
                own_port("sc-A", Protocol::Http, at(8080)),
                own_port("dubbo-a", Protocol::Tcp, at(20880)),
                own_port("admin-a", Protocol::Http, at(9090)),
            ];
        });
        // Captured connections arrive at the port they were made to.
        for (application, path) in [(&http, "/http"), (&admin, "/admin")] {
            let mut caller = call_from(elsewhere, application.address);
            caller.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let mut server = application.accept().await;
            assert!(server.head().await.starts_with(&format!("GET {path} ")), "{path}");
            server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            assert_eq!(status(&caller.head().await), 200);
        }
        // What is declared to be anything is not even waited for: who answers may speak first, or HTTP as it likes.
        let silent = call_from(elsewhere, tcp.address);
        let mut server = tcp.accept().await;
        drop(silent);
        server.closed().await;
        let mut caller = call_from(elsewhere, tcp.address);
        caller.send("GET /..%2f HTTP/1.1\nX: 1\n\n").await;
        tcp.accept().await.text("GET /..%2f HTTP/1.1\nX: 1\n\n").await;
        let told = proxy.running.unread_arrivals().all();
        let told: Vec<_> =
            told.iter().map(|(name, it, calls)| (&**name, it.name(), *calls)).collect();
        assert_eq!(told, [("dubbo-a", "tcp", 2)]);
        // Other sidecars call at the one address of the instance, and say which service they mean.
        let inbound = SocketAddr::new(host.address(), proxy.inbound().port());
        for (service, reached) in [("sc-a", &http), ("admin-a", &admin)] {
            let mut caller = call_from(elsewhere, inbound);
            let via = format!("Via: 1.1 laneway-0123456789abcdef (default/{service})\r\n");
            caller.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{via}\r\n")).await;
            reached.accept().await.head().await;
        }
        // What others call is no call of its own.
        let undeclared = listen(host, UNDECLARED);
        let mut caller = call_from(elsewhere, undeclared.address);
        caller.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        undeclared.accept().await.head().await;
        assert!(proxy.running.undeclared().all().is_empty());
    });
}

#[test]
fn a_connection_to_a_tcp_port_goes_where_it_was_to_go_unless_base_must_not() {
    on_two_hosts(async |_, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let (of_base, of_gray) = (base.address, gray.address);
        let mut world = World::new(&[]);
        // As their sidecars would be reached, where nobody is.
        let sidecar = |number: u16| SocketAddr::new(elsewhere.address(), number);
        world.services =
            vec![("dubbo-b", "b", vec![(sidecar(1), None), (sidecar(2), Some("gray"))])];
        world.ports.insert("dubbo-b", FURTHER_TCP);
        world.applications =
            [(("dubbo-b", sidecar(1)), of_base), (("dubbo-b", sidecar(2)), of_gray)].into();
        let mut without_base = world.clone();
        without_base.services[0].2.remove(0);
        let speaks_first = async |target: SocketAddr, server: &Instance, who: &str| {
            let mut application = Wire::connect(target).await;
            let mut server = server.accept().await;
            server.send(who).await;
            application.text(who).await;
            application.send("GET / HTTP/1.1\r\n\r\n").await;
            server.text("GET / HTTP/1.1\r\n\r\n").await;
        };
        let (proxy, capture) = captured(&world);
        speaks_first(of_base, &base, "base").await;
        speaks_first(of_gray, &base, "base instead of gray").await;
        let told = proxy.running.unread().all();
        let told: Vec<_> =
            told.iter().map(|(name, it, calls)| (&**name, it.name(), *calls)).collect();
        assert_eq!(told, [("dubbo-b", "tcp", 2)]);
        proxy.publish.send_replace(without_base.publish());
        assert!(until_reset(of_gray).await < Duration::from_secs(1), "nobody of the base is left");
        drop((proxy, capture));
        // An instance of the same tag may: its application has picked it.
        let (_proxy, _capture) = captured_with(&world, |config| {
            config.tag = Tag::parse("gray").unwrap();
        });
        speaks_first(of_gray, &gray, "gray").await;
        speaks_first(of_base, &base, "base").await;
    });
}

#[test]
fn tls_that_an_application_speaks_is_base_unless_it_picks_its_own_tag() {
    on_two_hosts(async |_, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let (of_base, of_gray) = (base.address, gray.address);
        let mut world = World::new(&[]);
        world.services = vec![("sc-B", "b", vec![(of_base, None), (of_gray, Some("gray"))])];
        world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
        let mut without_base = world.clone();
        without_base.services[0].2.remove(0);
        let hello = b"\x16\x03\x01\x00\x05hello";
        let speaks = async |target: SocketAddr, server: &Instance| {
            let mut application = Wire::connect(target).await;
            application.send_bytes(hello).await;
            let mut server = server.accept().await;
            assert_eq!(server.exactly(hello.len()).await, hello);
            server.send("certificate").await;
            application.text("certificate").await;
        };
        let (proxy, capture) = captured(&world);
        speaks(of_base, &base).await;
        speaks(of_gray, &base).await;
        // Also who takes longer to speak than the other side is given.
        let mut late = Wire::connect(of_gray).await;
        let _greets_nobody = gray.accept().await;
        late.send_bytes(hello).await;
        assert_eq!(base.accept().await.exactly(hello.len()).await, hello);
        let line = r#"laneway_opaque_connections_total{role="sidecar_outbound",service="sc-B",protocol="tls"} 3"#;
        let told = proxy.running.counters().render();
        assert!(told.contains(line), "{told}");
        proxy.publish.send_replace(without_base.publish());
        let mut nobody = Wire::connect(of_gray).await;
        nobody.send_bytes(hello).await;
        nobody.reset().await;
        drop((proxy, capture));
        let (_proxy, _capture) = captured_with(&world, |config| {
            config.tag = Tag::parse("gray").unwrap();
        });
        speaks(of_gray, &gray).await;
        speaks(of_base, &base).await;
    });
}

#[test]
fn a_port_of_a_known_host_that_nobody_has_declared_is_told() {
    on_two_hosts(async |host, elsewhere| {
        let (known, unknown) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let own = listen(host, 9090);
        let mut world = World::new(&[known.address]);
        world.complete = false;
        world.digest = Some(vec!["sc-a"]);
        world.hosts = vec![elsewhere.address(), host.address()];
        let (proxy, _capture) = captured(&world);
        for instance in [&known, &unknown, &unknown, &own] {
            let mut application = Wire::connect(instance.address).await;
            application.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            instance.accept().await.head().await;
        }
        let told = proxy.running.undeclared().all();
        assert_eq!(told, [(unknown.address.to_string(), 2)], "its own are its own");
        // Hosts where no instance is are the world's.
        world.hosts.clear();
        proxy.publish.send_replace(world.publish());
        let mut application = Wire::connect(unknown.address).await;
        application.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        unknown.accept().await.head().await;
        assert_eq!(proxy.running.undeclared().all()[0].1, 2);
    });
}
