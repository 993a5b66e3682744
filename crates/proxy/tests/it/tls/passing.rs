//! Connections in TLS that go on as they are, by the name that their clients ask for.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use proxy::limits::Timeouts;
use routes::tls::TlsMode;
use rustls::version::{TLS12, TLS13};
use telemetry::Count;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{Authority, Client, ask, authority, get_of, hello, in_tls, issue, put, shows};
use crate::{
    upstream_tls::{Secure, Taken},
    world::{Instance, Proxy, Wire, World, eventually, nobody, status, within},
};

/// A listener of TLS for every host that is passed on.
fn passing(hostname: Option<&str>) -> routes::spec::ListenerSpec {
    in_tls("passing", hostname, TlsMode::Passthrough)
}

/// An instance that shows a certificate of its own.
async fn instance(authority: &Authority, names: &[&str]) -> Secure {
    Secure::new(&issue(authority, names), &[b"http/1.1"]).await
}

/// Answers a request that came through.
async fn serve(server: &mut Taken, by: &str) {
    server.head().await;
    server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{by}", by.len())).await;
}

/// The metrics line of a service, as it is scraped.
fn scraped(proxy: &Proxy, line: &str) -> bool {
    proxy.running.counters().render().contains(line)
}

#[tokio::test]
async fn a_connection_goes_to_whom_its_name_says_and_nobody_reads_it() {
    let authority = authority("instances");
    let mut one = instance(&authority, &["one.example"]).await;
    let mut wild = instance(&authority, &["a.wild.example", "b.a.wild.example"]).await;
    let mut world = World::new(&[one.address]);
    world.services.push(("wild", "w", vec![(wild.address, None)]));
    world.listeners = vec![passing(None)];
    world.passed = vec![("*.wild.example", vec![("wild", 1)]), ("one.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let client = Client::with(&authority, versions, &[b"http/1.1"], None);
        for name in ["one.example", "a.wild.example", "b.a.wild.example"] {
            let secure = if name == "one.example" { &mut one } else { &mut wild };
            // The client believes whom it met: the certificate is the instance's own.
            let (mut wire, mut server) =
                tokio::join!(client.connect(&proxy, name), secure.accept());
            wire.send(&get_of(name)).await;
            serve(&mut server, name).await;
            assert_eq!(wire.answer().await.1, name);
            // Bytes of any number, both ways, and an end in order.
            let much = "x".repeat(300_000);
            let (received, ()) = tokio::join!(server.exactly(much.len()), wire.send(&much));
            assert!(received == much.as_bytes());
            let (received, ()) = tokio::join!(wire.exactly(much.len()), server.send(&much));
            assert!(received == much.as_bytes());
            wire.close_write().await;
            server.closed().await;
        }
    }
    for (name, told) in
        [("other.example", "UnrecognisedName"), ("wild.example", "UnrecognisedName")]
    {
        let client = Client::new(&authority);
        let refused = client.try_connect(proxy.address(), name).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{name}: {refused}");
    }
    proxy.counted(Count::TlsUnknownName, 2).await;
    proxy.counted(Count::PassedThrough, 6).await;
    assert!(proxy.running.unread().all().is_empty(), "what is wanted is no finding");
    let counted = proxy.running.passed().all();
    let counted: BTreeMap<_, _> = counted
        .iter()
        .map(|(service, protocol, n)| (service.as_str(), (protocol.name(), *n)))
        .collect();
    assert_eq!(counted, BTreeMap::from([("sc-A", ("tls", 2)), ("wild", ("tls", 4))]));
    let line =
        r#"laneway_opaque_connections_total{role="gateway",service="wild",protocol="tls"} 4"#;
    assert!(scraped(&proxy, line));
    assert_eq!(proxy.running.counters().counted(Count::TlsFull), 0, "nothing is ended here");
}

#[tokio::test]
async fn other_names_of_the_port_are_ended_here_and_no_host_leads_from_one_to_the_other() {
    let authority = authority("all");
    let mut passed = instance(&authority, &["passed.shop.example"]).await;
    let mut world = World::new(&[Instance::new().await.serve("one")]);
    world.services.push(("passed", "p", vec![(passed.address, None)]));
    put(&mut world, "default/wild", issue(&authority, &["*.shop.example"]));
    world.listeners = vec![
        in_tls("https", Some("*.shop.example"), shows(&["default/wild"])),
        passing(Some("passed.shop.example")),
    ];
    world.passed = vec![("passed.shop.example", vec![("passed", 1)])];
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let mut ended = client.connect(&proxy, "a.shop.example").await;
    for (host, expected) in
        [("a.shop.example", 200), ("passed.shop.example", 421), ("b.shop.example", 200)]
    {
        assert_eq!(ask(&mut ended, host).await, expected, "{host}");
    }
    let (mut wire, mut server) =
        tokio::join!(client.connect(&proxy, "passed.shop.example"), passed.accept());
    wire.send(&get_of("a.shop.example")).await;
    // Whoever has the connection judges what is asked for on it.
    serve(&mut server, "passed").await;
    assert_eq!(wire.answer().await.1, "passed");
    // Its listener comes to end TLS: those that pass go on, new ones are ended here.
    world.listeners = vec![in_tls("https", Some("*.shop.example"), shows(&["default/wild"]))];
    world.passed.clear();
    proxy.publish.send_replace(world.publish());
    eventually("the name to be ended here", async || {
        let Ok(stream) = client.try_connect(proxy.address(), "passed.shop.example").await else {
            return false;
        };
        let mut wire = Wire::over(stream);
        ask(&mut wire, "passed.shop.example").await == 200
    })
    .await;
    wire.send(&get_of("passed.shop.example")).await;
    serve(&mut server, "still").await;
    assert_eq!(wire.answer().await.1, "still");
}

#[tokio::test]
async fn the_base_alone_has_what_nobody_reads() {
    let authority = authority("instances");
    let mut base = instance(&authority, &["one.example"]).await;
    let mut gray = instance(&authority, &["one.example"]).await;
    let mut world = World::new(&[base.address]);
    world.services[0].2.push((gray.address, Some("gray")));
    world.listeners = vec![passing(None)];
    world.passed = vec![("one.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    for _ in 0..20 {
        let (_wire, _server) = tokio::join!(client.connect(&proxy, "one.example"), base.accept());
    }
    assert!(gray.is_untouched());
    // Rather nobody than an instance of a lane.
    world.services[0].2.remove(0);
    proxy.publish.send_replace(world.publish());
    eventually("the base to be gone", async || {
        let told = client.try_connect(proxy.address(), "one.example").await;
        told.is_err_and(|error| error.to_string().contains("InternalError"))
    })
    .await;
    proxy.counted(Count::TlsNoInstance, 1).await;
    assert!(gray.is_untouched());
}

#[tokio::test]
async fn weights_spread_connections_and_who_cannot_be_connected_to_is_gone_round() {
    let authority = authority("instances");
    let (mut one, mut other) = (
        instance(&authority, &["one.example"]).await,
        instance(&authority, &["one.example"]).await,
    );
    let mut world = World::new(&[nobody().await, one.address]);
    world.services.push(("other", "o", vec![(other.address, None)]));
    world.services.push(("none", "n", Vec::new()));
    world.listeners = vec![passing(None)];
    world.passed = vec![("one.example", vec![("sc-A", 1), ("other", 1), ("none", 0)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let (mut of_one, mut of_other) = (0, 0);
    for _ in 0..64 {
        let connecting = client.connect(&proxy, "one.example");
        let taking = async {
            tokio::select! {
                _taken = one.accept() => of_one += 1,
                _taken = other.accept() => of_other += 1,
            }
        };
        tokio::join!(connecting, taking);
    }
    // 64 draws of one half each: fewer than 8 of either in one of 2 × 10⁹ runs.
    assert!(of_one >= 8 && of_other >= 8, "{of_one} and {of_other}");
    // All of the share of one that nobody serves is refused.
    world.passed = vec![("one.example", vec![("none", 1)])];
    proxy.publish.send_replace(world.publish());
    eventually("nobody to be there", async || {
        client.try_connect(proxy.address(), "one.example").await.is_err()
    })
    .await;
}

#[tokio::test]
async fn a_hello_may_come_in_pieces_and_is_passed_on_whole() {
    let authority = authority("all");
    let bare = Instance::new().await;
    let mut world = World::new(&[bare.address]);
    world.listeners = vec![passing(None)];
    world.passed = vec![("shop.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    let whole = hello(&authority);
    // Packet by packet of one byte.
    let mut client = proxy.client().await;
    for byte in &whole {
        client.send_bytes(&[*byte]).await;
    }
    let mut server = bare.accept().await;
    assert!(server.exactly(whole.len()).await == whole, "byte for byte");
    server.send("what only the client understands").await;
    client.text("what only the client understands").await;
    // Record by record of 20 bytes, as the standard allows, with what follows sent at once.
    let message = &whole[5..];
    let mut records = Vec::new();
    for part in message.chunks(20) {
        records.extend([22, 3, 1, 0, part.len() as u8]);
        records.extend(part);
    }
    records.extend(b"early");
    let mut client = proxy.client().await;
    client.send_bytes(&records).await;
    let mut server = bare.accept().await;
    assert!(server.exactly(records.len()).await == records, "records stay as they are");
}

/// A hello that is longer by so many bytes, which say nothing.
fn padded(hello: &[u8], padding: usize) -> Vec<u8> {
    let mut message = hello[5..].to_vec();
    // Beyond type and length, version and random; then session, ciphers and compressions, each after its length.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at += 1 + usize::from(message[at]);
    message.extend([0, 21]);
    message.extend(u16::try_from(padding).unwrap().to_be_bytes());
    message.extend(vec![0; padding]);
    let extensions = u16::try_from(message.len() - at - 2).unwrap();
    message[at..at + 2].copy_from_slice(&extensions.to_be_bytes());
    let length = u32::try_from(message.len() - 4).unwrap();
    message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
    message
}

#[tokio::test]
async fn a_hello_may_be_as_long_as_the_standard_lets_it_be() {
    let authority = authority("all");
    let bare = Instance::new().await;
    let mut world = World::new(&[bare.address]);
    world.listeners = vec![passing(None)];
    world.passed = vec![("shop.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    for padding in [20_000, 60_000] {
        let mut records = Vec::new();
        for part in padded(&hello(&authority), padding).chunks(0x4000) {
            records.extend([22, 3, 1]);
            records.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            records.extend(part);
        }
        let mut client = proxy.client().await;
        client.send_bytes(&records).await;
        let mut server = bare.accept().await;
        assert!(server.exactly(records.len()).await == records, "{padding} bytes of padding");
        server.send("hello").await;
        client.text("hello").await;
    }
}

#[tokio::test]
async fn an_application_that_only_its_own_host_reaches_is_gone_round_or_refused_at_once() {
    let authority = authority("instances");
    let mut one = instance(&authority, &["one.example"]).await;
    // As a sidecar on another host registers an application on its loopback.
    let beyond: SocketAddr = "192.0.2.1:15006".parse().unwrap();
    let mut world = World::new(&[beyond]);
    world.applications.insert(("sc-A", beyond), one.address);
    world.listeners = vec![passing(None)];
    world.passed = vec![("one.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let refused = client.try_connect(proxy.address(), "one.example").await.unwrap_err().to_string();
    assert!(refused.contains("InternalError"), "{refused}");
    proxy.counted(Count::TlsNoInstance, 1).await;
    world.services[0].2.push((one.address, None));
    proxy.publish.send_replace(world.publish());
    eventually("the other to be there", async || {
        client.try_connect(proxy.address(), "one.example").await.is_ok()
    })
    .await;
    for _ in 0..8 {
        assert!(client.try_connect(proxy.address(), "one.example").await.is_ok());
    }
    assert!(!one.is_untouched());
}

#[tokio::test]
async fn who_asks_for_no_name_or_never_ends_to_ask_is_refused() {
    let authority = authority("all");
    let bare = Instance::new().await;
    let mut world = World::new(&[bare.address]);
    world.listeners = vec![passing(None)];
    world.passed = vec![("shop.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let timeouts = Timeouts { head: Duration::from_secs(1), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    // An address is no name, and is not sent as one.
    let client = Client::new(&authority);
    let refused = client.try_connect(proxy.address(), "127.0.0.1").await.unwrap_err().to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    proxy.counted(Count::TlsUnknownName, 1).await;
    // A hello that is longer than the standard lets it be is read no further.
    let mut endless = proxy.client().await;
    let mut longest = Vec::new();
    for part in 0..5 {
        longest.extend([22, 3, 1, 0x40, 0]);
        longest.extend([if part == 0 { 0xff } else { 0 }; 0x4000]);
    }
    longest[5] = 1;
    endless.send_bytes(&longest).await;
    endless.rest().await;
    assert_eq!(proxy.running.counters().counted(Count::TlsTimedOut), 0);
    let mut plain = proxy.client().await;
    plain.send(&get_of("shop.example")).await;
    assert_eq!(status(&plain.answer().await.0), 400);
    // Half of one is given up.
    let whole = hello(&authority);
    let mut half = proxy.client().await;
    half.send_bytes(&whole[..whole.len() / 2]).await;
    half.closed().await;
    proxy.counted(Count::TlsTimedOut, 1).await;
    assert_eq!(proxy.running.counters().counted(Count::PassedThrough), 0);
}

#[tokio::test]
async fn what_passes_is_finished_when_the_gateway_ends_and_cut_when_its_time_is_over() {
    let authority = authority("instances");
    let mut one = instance(&authority, &["one.example"]).await;
    let mut world = World::new(&[one.address]);
    world.listeners = vec![passing(None)];
    world.passed = vec![("one.example", vec![("sc-A", 1)])];
    world.routes.clear();
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let (mut done, mut its_server) =
        tokio::join!(client.connect(&proxy, "one.example"), one.accept());
    let (stays, _server) = tokio::join!(client.connect(&proxy, "one.example"), one.accept());
    let address = proxy.address();
    let draining = tokio::spawn(proxy.running.drain(Duration::from_secs(2)));
    eventually("nobody to be let in", async || TcpStream::connect(address).await.is_err()).await;
    done.send(&get_of("one.example")).await;
    serve(&mut its_server, "done").await;
    assert_eq!(done.answer().await.1, "done");
    within("the drain", draining).await.unwrap();
    let end = within("its end", stays.into_stream().read(&mut [0])).await;
    assert!(!matches!(end, Ok(1..)), "{end:?}");
}
