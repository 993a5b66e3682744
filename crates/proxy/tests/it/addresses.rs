//! Instances with several addresses: one instance, called where the caller named it, else wherever it is reached.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use lanes::service::Health;
use telemetry::Count;

use crate::world::{Instance, Proxy, World, get, nobody, status};

/// Calls through the forward proxy: status, and who served.
async fn call(proxy: &Proxy, host: &str) -> (u16, String) {
    let mut client = proxy.client().await;
    client.send(&format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    let (head, body) = client.answer().await;
    (status(&head), body.lines().next().unwrap_or_default().to_owned())
}

/// An instance of `sc-B` beside those of `sc-A`, with a second address.
fn world(first: SocketAddr, second: SocketAddr, other: Option<SocketAddr>) -> World {
    let mut world = World::new(&[]);
    let all = std::iter::once(first).chain(other).map(|address| (address, None)).collect();
    world.services = vec![("sc-B", "b", all)];
    world.routes = vec![("/", "sc-B", Vec::new(), (None, None))];
    world.further.insert(first, vec![second]);
    world
}

/// Of the other family, where this host has it; else of the same.
async fn beside() -> Instance {
    match TcpListener::bind("[::1]:0") {
        Ok(listener) => Instance::from_std(listener),
        Err(_) => {
            let _ = std::io::stderr().write_all(b"SKIPPED: the IPv6 half needs a host with IPv6\n");
            Instance::new().await
        }
    }
}

#[tokio::test]
async fn an_instance_is_called_in_the_family_that_was_named() {
    let (four, six) = (Instance::new().await.serve("four"), beside().await.serve("six"));
    let world = world(four, six, None);
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    for _ in 0..3 {
        assert_eq!(call(&proxy, "sc-B").await, (200, "four".to_owned()));
        assert_eq!(call(&proxy, &four.to_string()).await, (200, "four".to_owned()));
        let named = if six.is_ipv6() { "six" } else { "four" };
        assert_eq!(call(&proxy, &six.to_string()).await, (200, named.to_owned()));
    }
    assert_eq!(proxy.running.counters().counted(Count::AmbiguousAddress), 0);
}

#[tokio::test]
async fn where_one_address_does_not_answer_the_next_does_and_the_instance_stays() {
    let (dead, six) = (nobody().await, beside().await.serve("six"));
    let proxy = Proxy::gateway(&world(dead, six, None));
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client.send(&get("/")).await;
        let (head, body) = client.answer().await;
        assert!(status(&head) == 200 && body.starts_with("six"), "{head}{body}");
    }
    assert!(proxy.running.unreachable().is_empty());
    // Not again for every connection.
    proxy.counted(Count::ConnectFailed, 1).await;
    assert_eq!(proxy.running.counters().counted(Count::ConnectFailed), 1);
}

#[tokio::test]
async fn an_instance_that_answers_nowhere_is_put_aside_once() {
    let (dead, dead_too) = (nobody().await, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let other = Instance::new().await.serve("other");
    let proxy = Proxy::gateway(&world(dead, dead_too, Some(other)));
    for _ in 0..8 {
        let mut client = proxy.client().await;
        client.send(&get("/")).await;
        let (head, body) = client.answer().await;
        assert!(status(&head) == 200 && body.starts_with("other"), "{head}{body}");
    }
    proxy.counted(Count::Ejected, 1).await;
    assert_eq!(proxy.running.unreachable(), [dead], "under the address that it is known by");
}

#[tokio::test]
async fn who_waits_for_it_under_another_address_is_freed_when_it_is_unhealthy() {
    let (dead, six) = (nobody().await, beside().await);
    let world = world(dead, six.address, None);
    let proxy = Proxy::gateway(&world);
    let (mut client, _server) = proxy.under_way(&six, &get("/")).await;
    let other = Instance::new().await.serve("other");
    let mut later = world.clone();
    later.services[0].2.push((other, None));
    later.health.insert(dead, Health::Unhealthy);
    proxy.publish.send_replace(later.publish());
    let (head, body) = client.answer().await;
    assert!(status(&head) == 200 && body.starts_with("other"), "{head}{body}");
}
