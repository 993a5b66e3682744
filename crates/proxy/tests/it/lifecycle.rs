//! Pictures that change under load, listeners that come and go, and the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proxy::{Inherited, limits::Timeouts};
use tokio::net::TcpStream;

use crate::world::{
    Instance, PATIENCE, Proxy, Wire, World, eventually, field, get, listener, nobody, status,
    within,
};

#[tokio::test]
async fn changes_drop_no_request() {
    let (one, two) = (Instance::new().await.serve("one"), Instance::new().await.serve("two"));
    let mut world = World::new(&[one]);
    let proxy = Proxy::gateway_with(&world, 2, Timeouts::default());
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (mut client, done, stop) = (proxy.client().await, Arc::clone(&done), Arc::clone(&stop));
        clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.send(&get("/")).await;
                let (head, body) = client.answer().await;
                assert_eq!(status(&head), 200, "{body}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for round in 0..200 {
        let instances = [vec![one], vec![two], vec![one, two]];
        world.services = World::new(&instances[round % 3]).services;
        proxy.publish.send_replace(world.publish());
        let target = done.load(Ordering::Relaxed) + 3;
        eventually("requests", async || done.load(Ordering::Relaxed) >= target).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_thread_without_requests_lets_go_of_a_picture_that_was_replaced() {
    let world = World::new(&[nobody().await]);
    let proxy = Proxy::gateway_with(&world, 2, Timeouts::default());
    let old = proxy.publish.send_replace(world.publish());
    eventually("only the test holds it", async || Arc::strong_count(&old) == 1).await;
}

/// An upgrade that fails: the new process has the sockets of the old one, and ends without having accepted anybody.
#[tokio::test]
async fn who_was_lent_sockets_and_never_served_leaves_them_as_they_were() {
    let one = Instance::new().await.serve("one");
    let world = World::new(&[one]);
    let first = Proxy::gateway(&world);
    let sockets = first.running.sockets().await.unwrap();
    let mut config = Proxy::at_the_edge();
    config.inherited = Inherited::new(sockets).unwrap();
    let second = Proxy::gateway_of(&world, config);
    assert_eq!(second.address(), first.address(), "the same socket");
    second.running.drain(Duration::ZERO).await;

    let mut client = first.client().await;
    client.send(&get("/")).await;
    assert!(client.answer().await.1.starts_with("one"));
}

#[tokio::test]
async fn a_request_sees_the_picture_that_was_published_before_it() {
    let (one, two) = (Instance::new().await.serve("one"), Instance::new().await.serve("two"));
    let proxy = Proxy::gateway(&World::new(&[one]));
    let mut client = proxy.client().await;
    for (instance, name) in [(two, "two"), (one, "one"), (two, "two")] {
        proxy.publish.send_replace(World::new(&[instance]).publish());
        client.send(&get("/")).await;
        assert!(client.answer().await.1.starts_with(name));
    }
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_nothing_new() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let address = proxy.address();
    let mut client = proxy.client().await;
    client.send(&get("/slow")).await;
    let mut server = instance.accept().await;
    server.head().await;
    let Proxy { running, publish, .. } = proxy;
    let draining = tokio::spawn(running.drain(PATIENCE));
    eventually("the listener to close", async || TcpStream::connect(address).await.is_err()).await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), field(&head, "connection"), body.as_str()),
        (200, Some("close"), "ok")
    );
    client.closed().await;
    within("the end of draining", draining).await.unwrap();
    drop(publish);
}

#[tokio::test]
async fn draining_drops_no_request_of_busy_clients() {
    let one = Instance::new().await.serve("one");
    let proxy = Proxy::gateway_with(&World::new(&[one]), 2, Timeouts::default());
    let address = proxy.address();
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let done = Arc::clone(&done);
        clients.push(tokio::spawn(async move {
            // A client as clients are: it asks on its connection until told to close it. One that it has used before, or has
            // left idle for long, may be closed while it asks: then it asks again on another.
            while let Ok(mut client) = Wire::try_connect(address).await {
                let (mut is_reused, connected) = (false, Instant::now());
                loop {
                    let asked = client.try_send(&get("/")).await;
                    let is_fresh = !is_reused && connected.elapsed() < Duration::from_millis(500);
                    let begun = asked && client.try_begin().await;
                    assert!(begun || !is_fresh, "a new connection is answered");
                    if !begun {
                        break;
                    }
                    let (head, _) = client.answer().await;
                    assert_eq!(status(&head), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                    if field(&head, "connection") == Some("close") {
                        break;
                    }
                    is_reused = true;
                }
            }
        }));
    }
    eventually("requests", async || done.load(Ordering::Relaxed) > 200).await;
    within("draining", proxy.running.drain(PATIENCE)).await;
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn after_the_grace_everything_is_closed() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/endless")).await;
    let mut server = instance.accept().await;
    server.head().await;
    within("draining", proxy.running.drain(Duration::from_millis(50))).await;
    client.rest().await;
    server.rest().await;
}

#[tokio::test]
async fn dropping_a_proxy_ends_it() {
    let proxy = Proxy::gateway(&World::new(&[]));
    let address = proxy.address();
    drop(proxy.running);
    eventually("the listener to close", async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn an_address_in_use_is_told_to_the_caller() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_publish, published) = tokio::sync::watch::channel(World::new(&[]).publish());
    let (demand, _asked) = tokio::sync::mpsc::channel(1);
    let config = proxy::GatewayConfig::new("edge", taken.local_addr().unwrap());
    let error = proxy::gateway::start(config, proxy::Feed { published, demand, comes_back: false })
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn ports_of_the_gateway_are_served_as_they_appear_and_left_as_they_go() {
    let one = Instance::new().await.serve("one");
    let mut world = World::new(&[one]);
    let proxy = Proxy::gateway_with(&world, 2, Timeouts::default());
    let main = proxy.address().port();
    let extra = nobody().await;
    world.listeners = vec![listener(main, false), listener(extra.port(), false)];
    proxy.publish.send_replace(world.publish());
    eventually("the new port", async || TcpStream::connect(extra).await.is_ok()).await;
    let mut client = Wire::connect(extra).await;
    client.send(&get("/")).await;
    assert_eq!(status(&client.answer().await.0), 200);

    world.listeners.pop();
    proxy.publish.send_replace(world.publish());
    eventually("the port to close", async || TcpStream::connect(extra).await.is_err()).await;
    // Who is connected already is served once more, and told to come back elsewhere.
    client.send(&get("/")).await;
    let (head, _) = client.answer().await;
    assert_eq!((status(&head), field(&head, "connection")), (200, Some("close")));
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    assert_eq!(status(&client.answer().await.0), 200);
}
