//! Connections: reuse, pipelining, HTTP/1.0, upgrades, clients that go away, timeouts.

use std::time::Duration;

use proxy::limits::Timeouts;
use telemetry::Count;

use crate::world::{Instance, Proxy, Wire, World, field, get, status};

async fn gateway() -> (Proxy, Instance) {
    let instance = Instance::new().await;
    (Proxy::gateway(&World::new(&[instance.address])), instance)
}

#[tokio::test]
async fn both_connections_are_used_again() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&get("/one?q")).await;
    let mut server = instance.accept().await;
    for path in ["/two", "/three", "/four"] {
        let head = server.head().await;
        assert!(head.starts_with("GET /"), "{head}");
        server
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nKeep-Alive: timeout=5\r\n\r\nok")
            .await;
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), body.as_str()), (200, "ok"));
        assert_eq!(field(&head, "keep-alive"), None, "hop-by-hop");
        assert_eq!(field(&head, "connection"), None);
        client.send(&get(path)).await;
    }
    assert!(server.head().await.starts_with("GET /four HTTP/1.1\r\n"));
}

#[tokio::test]
async fn what_an_instance_gets_says_who_called() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("GET /a HTTP/1.1\r\nHost: Shop:80\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX_Under: 1\r\nTE: trailers\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Keep: yes\r\n\r\n")
        .await;
    let head = instance.accept().await.head().await;
    assert_eq!(field(&head, "host"), Some("Shop:80"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("Shop:80"));
    assert_eq!(field(&head, "x-keep"), Some("yes"));
    assert!(field(&head, "traceparent").is_some_and(|value| value.len() == 55), "{head}");
    assert!(field(&head, "x-request-id").is_some(), "{head}");
    for gone in ["x-hop", "x_under", "te", "connection"] {
        assert_eq!(field(&head, gone), None, "{gone} in {head}");
    }
    assert_eq!(head.matches("orwarded-").count(), 3, "{head}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send(
            &(get("/1")
                + "POST /2 HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
                + &get("/3")),
        )
        .await;
    let mut server = instance.accept().await;
    for (number, extra) in [("1", ""), ("2", "body"), ("3", "")] {
        assert!(server.head().await.contains(&format!(" /{number} HTTP/1.1")));
        server.text(extra).await;
        server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}")).await;
    }
    for number in ["1", "2", "3"] {
        assert_eq!(client.answer().await.1, number);
    }
}

#[tokio::test]
async fn a_request_that_arrives_while_another_is_served_waits_for_its_turn() {
    let (proxy, instance) = gateway().await;
    let (mut client, mut server) = proxy.under_way(&instance, &get("/1")).await;
    client.send("GET /2 HTTP/1.1\r\nHo").await;
    client.send("st: shop\r\n\r\n").await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 200);
    assert!(server.head().await.starts_with("GET /2 "));
}

#[tokio::test]
async fn old_clients_get_what_they_understand() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut server = instance.accept().await;
    let head = server.head().await;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some("sc-A"), "HTTP/1.1 needs one");
    server
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(field(&head, "transfer-encoding"), None);
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(client.rest().await, b"hello");

    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n").await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (head, _) = client.answer().await;
    assert_eq!(field(&head, "connection"), Some("keep-alive"));
    client.send("GET /again HTTP/1.0\r\nHost: shop\r\n\r\n").await;
    assert!(server.head().await.starts_with("GET /again "));

    // Also where the proxy answers itself.
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client.send("OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let (head, _) = client.answer().await;
        assert_eq!((status(&head), field(&head, "connection")), (404, Some("keep-alive")));
    }
}

#[tokio::test]
async fn upgrades_pass_both_ways_until_both_have_ended() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    // The client is so sure that it sends at once.
    client.send("GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfrom client").await;
    let mut server = instance.accept().await;
    let head = server.head().await;
    assert_eq!(
        (field(&head, "connection"), field(&head, "upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    server
        .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-X: 1\r\n\r\nfrom server")
        .await;
    let head = client.head().await;
    assert_eq!(status(&head), 101);
    assert_eq!(
        (field(&head, "connection"), field(&head, "upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(field(&head, "sec-x"), Some("1"));
    client.text("from server").await;
    server.text("from client").await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    server.text("GET / HTTP/1.1\r\n\r\n").await;
    client.close_write().await;
    server.closed().await;
    server.send("last words").await;
    drop(server);
    assert_eq!(client.rest().await, b"last words");
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_refused() {
    let (proxy, instance) = gateway().await;
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: other\r\n"] {
        let (mut client, mut server) = proxy
            .under_way(&instance, &format!("GET / HTTP/1.1\r\nHost: shop\r\n{upgrade}\r\n"))
            .await;
        server.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").await;
        assert_eq!(status(&client.head().await), 502);
        server.closed().await;
    }
}

#[tokio::test]
async fn when_the_client_goes_away_the_instance_is_let_go() {
    let (proxy, instance) = gateway().await;
    let (client, mut server) = proxy.under_way(&instance, &get("/slow")).await;
    client.abort();
    server.closed().await;
    // The next client gets a connection of its own.
    let mut client = proxy.client().await;
    client.send(&get("/next")).await;
    let mut server = instance.accept().await;
    assert!(server.head().await.starts_with("GET /next "));
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 204);
}

#[tokio::test]
async fn when_the_client_goes_away_while_an_answer_trickles_the_instance_is_let_go() {
    let (proxy, instance) = gateway().await;
    let (mut client, mut server) = proxy.under_way(&instance, &get("/events")).await;
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    client.head().await;
    client.text("1\r\nx\r\n").await;
    client.abort();
    server.closed().await;
}

#[tokio::test]
async fn a_client_that_has_ended_its_sending_gets_its_answer() {
    let (proxy, instance) = gateway().await;
    for request in [
        get("/one"),
        "GET /one HTTP/1.0\r\n\r\n".to_owned(),
        "POST /one HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "POST /one HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
    ] {
        let mut client = proxy.client().await;
        client.send(&request).await;
        client.close_write().await;
        let mut server = instance.accept().await;
        server.head().await;
        // The end of its sending has long arrived when the answer comes, bit by bit.
        for piece in ["HTTP/1.1 200 OK\r\n\r\n", "all ", "there ", "is"] {
            server.send(piece).await;
            tokio::task::yield_now().await;
        }
        drop(server);
        client.head().await;
        assert_eq!(client.rest().await, b"all there is", "{request}");
    }
}

#[tokio::test]
async fn both_pipelined_requests_of_a_client_that_has_ended_its_sending_are_answered() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&(get("/1") + &get("/2"))).await;
    client.close_write().await;
    let mut server = instance.accept().await;
    for number in ["1", "2"] {
        assert!(server.head().await.contains(&format!(" /{number} HTTP/1.1")));
        server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}")).await;
        assert_eq!(client.answer().await.1, number);
    }
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_after_it_has_ended_its_sending_is_noticed() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&get("/slow")).await;
    client.close_write().await;
    let mut server = instance.accept().await;
    server.head().await;
    client.abort();
    server.closed().await;

    // One that has left in good order is noticed when something is sent to it.
    let (mut client, mut server) = proxy.under_way(&instance, &get("/events")).await;
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    client.head().await;
    client.text("1\r\nx\r\n").await;
    drop(client);
    while server.try_send("1\r\nx\r\n").await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_status_that_nobody_has_defined_goes_on() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    for (answer, expected) in [("999 Denied", 999), ("600 ", 600), ("599 X", 599), ("099 X", 502)] {
        server.head().await;
        server.send(&format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n")).await;
        assert_eq!(status(&client.head().await), expected);
        client.send(&get("/")).await;
    }
}

#[tokio::test]
async fn stray_bytes_are_never_taken_for_the_next_answer() {
    let (proxy, instance) = gateway().await;
    let (mut client, mut server) = proxy.under_way(&instance, &get("/1")).await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 0\r\n\r\n").await;
    client.head().await;
    server.closed().await;
    client.send(&get("/2")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(field(&head, "x-poison"), None);

    // Bytes that arrive later, while the connection waits in the pool.
    server.send("HTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 0\r\n\r\n").await;
    server.closed().await;
    client.send(&get("/3")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(field(&client.head().await, "x-poison"), None);
}

fn impatient(change: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts::default();
    change(&mut timeouts);
    timeouts
}

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn slow_heads_idle_connections_and_slow_bodies_are_ended() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);

    let proxy = Proxy::gateway_with(&world, 1, impatient(|timeouts| timeouts.head = SHORT));
    let mut client = proxy.client().await;
    client.send("GET / HT").await;
    assert_eq!(status(&client.head().await), 408);
    proxy.counted(Count::TimedOutRequest, 1).await;

    let proxy = Proxy::gateway_with(&world, 1, impatient(|timeouts| timeouts.idle = SHORT));
    proxy.client().await.closed().await;
    proxy.counted(Count::TimedOutIdle, 1).await;

    let proxy = Proxy::gateway_with(&world, 1, impatient(|timeouts| timeouts.body = SHORT));
    let (mut client, mut server) = proxy
        .under_way(&instance, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    server.text("half").await;
    assert_eq!(status(&client.head().await), 408);
    server.closed().await;
}

#[tokio::test]
async fn instances_that_do_not_answer_in_time_are_given_up() {
    let instance = Instance::new().await;
    let mut world = World::new(&[instance.address]);
    let proxy = Proxy::gateway_with(&world, 1, impatient(|timeouts| timeouts.backend = SHORT));
    let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), field(&head, "server")), (504, Some("laneway")), "{body}");
    server.closed().await;
    proxy.counted(Count::TimedOutResponse, 1).await;
    // The client's connection is as good as before.
    client.send(&get("/")).await;
    instance.accept().await.head().await;

    // The rule says so itself: per attempt, or for the whole request.
    for timeouts in [(Some(50), None), (None, Some(50))] {
        world.routes = vec![("/", "sc-A", Vec::new(), timeouts)];
        let proxy = Proxy::gateway(&world);
        let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
        assert_eq!(status(&client.head().await), 504);
        server.closed().await;
    }
}

#[tokio::test]
async fn the_time_for_a_whole_request_includes_the_answers_body() {
    let instance = Instance::new().await;
    let mut world = World::new(&[instance.address]);
    world.routes = vec![("/", "sc-A", Vec::new(), (Some(200), None))];
    let proxy = Proxy::gateway(&world);
    let (mut client, mut server) = proxy.under_way(&instance, &get("/")).await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    client.head().await;
    client.text("half").await;
    client.reset().await;
    server.closed().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_be_broken() {
    let (proxy, instance) = gateway().await;
    for head in ["content-length: 9\r\n", "transfer-encoding: chunked\r\n"] {
        let mut client: Wire = proxy.client().await;
        client.send(&get("/")).await;
        let mut server = instance.accept().await;
        server.head().await;
        server.send(&format!("HTTP/1.1 200 OK\r\n{head}\r\n4\r\nhalf")).await;
        client.head().await;
        client.text("4\r\nhalf").await;
        drop(server);
        client.reset().await;
    }
}
