//! What is cut looks cut, and only what stands still is cut.

use std::time::Duration;

use proxy::limits::Timeouts;
use telemetry::Outcome;

use crate::world::{Instance, Proxy, Wire, World, get, status};

/// Bytes of bodies that no buffers on the way hold: a kernel takes some 3 MB at once on loopback.
const LONG: usize = 6_000_000;

/// How long whoever is slow but steady may take nothing: less than what a kernel takes at once lasts it, and more than a busy
/// machine lets a test stand still, which is no progress either.
const STEADY: Duration = Duration::from_millis(1_500);

fn impatient(change: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts::default();
    change(&mut timeouts);
    timeouts
}

/// An instance that answers one request with a long body, for as long as somebody takes it.
fn answers_at_length(instance: Instance, head: &'static str) {
    tokio::spawn(async move {
        let mut server = instance.accept().await;
        server.head().await;
        if server.try_send(head).await {
            server.try_send(&"x".repeat(LONG)).await;
        }
    });
}

const FRAMINGS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 6000000\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5b8d80\r\n",
];

#[tokio::test]
async fn a_client_that_stands_still_is_cut_and_sees_it() {
    for head in FRAMINGS {
        let instance = Instance::new().await;
        let world = World::new(&[instance.address]);
        answers_at_length(instance, head);
        let timeouts = impatient(|timeouts| timeouts.body = Duration::from_millis(100));
        let proxy = Proxy::gateway_with(&world, 1, timeouts);
        let mut client = Wire::connect_narrow(proxy.address()).await;
        client.send(&get("/")).await;
        client.head().await;
        // It reads on when it has been given up, as it is known by now.
        proxy.ended(Outcome::Cut).await;
        client.reset().await;
    }
}

#[tokio::test]
async fn a_slow_but_steady_client_gets_all_of_it() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);
    answers_at_length(instance, FRAMINGS[0]);
    let timeouts = impatient(|timeouts| timeouts.body = STEADY);
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    let mut client = Wire::connect_narrow(proxy.address()).await;
    client.send(&get("/")).await;
    client.head().await;
    // 1 MB a second: what a kernel takes at once would last it longer than it has.
    let mut beats = tokio::time::interval(Duration::from_millis(20));
    let mut got = 0;
    while got < LONG {
        beats.tick().await;
        got += client.exactly(20_000).await.len();
    }
    client.closed().await;
    proxy.ended(Outcome::Base).await;
}

#[tokio::test]
async fn an_answer_of_unknown_length_that_is_given_up_does_not_seem_whole() {
    let given_up = [
        impatient(|timeouts| timeouts.answer_body = Duration::from_millis(50)),
        impatient(|timeouts| timeouts.request = Duration::from_millis(50)),
    ];
    for timeouts in given_up {
        let instance = Instance::new().await;
        let proxy = Proxy::gateway_with(&World::new(&[instance.address]), 1, timeouts);
        let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
        server.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
        client.head().await;
        client.text("half").await;
        client.reset().await;
        proxy.ended(Outcome::Cut).await;
        server.closed().await;
    }
}

#[tokio::test]
async fn an_instance_that_resets_is_not_taken_for_one_that_is_done() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
    server.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
    client.head().await;
    client.text("half").await;
    server.abort();
    client.reset().await;
    proxy.ended(Outcome::Cut).await;
}

#[tokio::test]
async fn what_is_on_its_way_at_the_end_of_the_grace_does_not_seem_whole() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let mut clients = Vec::new();
    for request in [
        get("/"),
        "GET / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
    ] {
        let (mut client, mut server) = proxy.under_way(&instance, &request).await;
        let head = match clients.len() {
            0 => "HTTP/1.1 200 OK\r\n\r\nhalf",
            _ => "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhalf",
        };
        server.send(head).await;
        client.head().await;
        client.text("half").await;
        clients.push((client, server));
    }
    proxy.running.drain(Duration::ZERO).await;
    for (mut client, _server) in clients {
        client.reset().await;
    }
}

#[tokio::test]
async fn both_sides_of_a_silent_tunnel_see_that_it_was_cut() {
    let instance = Instance::new().await;
    let timeouts = impatient(|timeouts| timeouts.tunnel = Duration::from_millis(50));
    let proxy = Proxy::gateway_with(&World::new(&[instance.address]), 1, timeouts);
    let (mut client, mut server) = proxy
        .under_way(
            &instance,
            "GET / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        )
        .await;
    server.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 101);
    client.reset().await;
    server.reset().await;
}

#[tokio::test]
async fn a_tunnel_of_which_one_side_resets_is_reset_on_the_other() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let (mut client, mut server) = proxy
        .under_way(
            &instance,
            "GET / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        )
        .await;
    server.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 101);
    server.abort();
    client.reset().await;
}

#[tokio::test]
async fn a_slow_but_steady_instance_gets_all_of_an_upload() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);
    let timeouts = impatient(|timeouts| timeouts.backend = STEADY);
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    let mut client = proxy.client().await;
    tokio::spawn(async move {
        client
            .send(&format!("PUT / HTTP/1.1\r\nHost: shop\r\ncontent-length: {LONG}\r\n\r\n"))
            .await;
        client.try_send(&"x".repeat(LONG)).await;
        client.head().await;
    });
    let mut server = instance.accept().await;
    server.head().await;
    let mut beats = tokio::time::interval(Duration::from_millis(20));
    let mut got = 0;
    while got < LONG {
        beats.tick().await;
        got += server.exactly(20_000).await.len();
    }
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    proxy.ended(Outcome::Base).await;
}
