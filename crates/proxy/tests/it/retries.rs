//! What is tried again and what is not, and which instances are put aside.

use std::time::Duration;

use telemetry::Count;

use crate::world::{Instance, Proxy, World, get, nobody, status};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_passed_over_and_put_aside() {
    let dead = nobody().await;
    let alive = Instance::new().await.serve("alive");
    let proxy = Proxy::gateway(&World::new(&[dead, alive]));
    for _ in 0..20 {
        let mut client = proxy.client().await;
        // Nothing was sent, so that even a POST can go elsewhere.
        client.send("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(status(&client.head().await), 200);
    }
    assert_eq!(proxy.running.unreachable(), [dead]);
    proxy.counted(Count::Ejected, 1).await;
    let failed = proxy.running.counters().counted(Count::ConnectFailed);
    assert!(failed < 5, "{failed} connects to an instance that is put aside");
}

#[tokio::test]
async fn when_nobody_can_be_reached_the_client_is_told() {
    let proxy = Proxy::gateway(&World::new(&[nobody().await]));
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client.send(&get("/")).await;
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), body.as_str()), (502, "cannot connect to the instance\n"));
    }
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_not_noticed_by_clients() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/1")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send(OK).await;
    client.head().await;
    drop(server);
    // The close has arrived, or it arrives together with the request: either way it goes out on a fresh one.
    client.send(&get("/2")).await;
    let mut server = instance.accept().await;
    assert!(server.head().await.starts_with("GET /2 "));
    server.send(OK).await;
    assert_eq!(status(&client.head().await), 200);

    // Closed only when the request has arrived: idempotent ones are sent once more.
    client.send(&get("/3")).await;
    server.head().await;
    server.abort();
    let mut server = instance.accept().await;
    assert!(server.head().await.starts_with("GET /3 "));
    server.send(OK).await;
    assert_eq!(status(&client.head().await), 200);
    proxy.counted(Count::RetriedStale, 1).await;
}

#[tokio::test]
async fn an_upgrade_goes_out_once_and_on_a_new_connection() {
    let instance = Instance::new().await;
    let other = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/1")).await;
    let mut pooled = instance.accept().await;
    pooled.head().await;
    pooled.send(OK).await;
    client.head().await;
    proxy.publish.send_replace(World::new(&[instance.address, other.address]).publish());
    client.send("GET /2 HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    // Whoever opens a session for it has opened one by now.
    let (mut asked, not_asked) = tokio::select! {
        asked = instance.accept() => (asked, &other),
        asked = other.accept() => (asked, &instance),
    };
    assert!(asked.head().await.starts_with("GET /2 "));
    asked.abort();
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 502);
    let again = tokio::time::timeout(Duration::from_millis(100), not_asked.accept());
    assert!(again.await.is_err(), "it was sent once more");
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_repeated() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/1")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send(OK).await;
    client.head().await;
    client.send("POST /2 HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody").await;
    server.head().await;
    server.text("body").await;
    server.abort();
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 502);
    client.send(&get("/3")).await;
    assert!(
        instance.accept().await.head().await.starts_with("GET /3 "),
        "the POST did not come again"
    );
}

#[tokio::test]
async fn an_instance_that_breaks_off_is_replaced_for_idempotent_requests_alone() {
    let (one, two) = (Instance::new().await, Instance::new().await);
    let proxy = Proxy::gateway(&World::new(&[one.address, two.address]));
    for (request, is_repeated) in [
        (get("/"), true),
        ("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n".to_owned(), false),
    ] {
        let mut client = proxy.client().await;
        client.send(&request).await;
        let (mut server, other) = tokio::select! {
            server = one.accept() => (server, &two),
            server = two.accept() => (server, &one),
        };
        server.head().await;
        server.abort();
        if is_repeated {
            let mut server = other.accept().await;
            server.head().await;
            server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        }
        assert_eq!(status(&client.head().await), if is_repeated { 200 } else { 502 });
    }
}
