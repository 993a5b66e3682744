//! Bodies in both directions: chunked and not, long ones with back-pressure, interim and early answers.

use crate::world::{Instance, Proxy, World, field, get, status};

async fn gateway() -> (Proxy, Instance) {
    let instance = Instance::new().await;
    (Proxy::gateway(&World::new(&[instance.address])), instance)
}

#[tokio::test]
async fn chunked_bodies_pass_both_ways_bit_by_bit() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhe")
        .await;
    let mut server = instance.accept().await;
    let head = server.head().await;
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(head.to_ascii_lowercase().matches("transfer-encoding").count(), 1);
    server.text("5\r\nhe").await;
    client.send("llo\r\n0\r\n").await;
    server.text("llo\r\n0\r\n").await;
    client.send("X-Forwarded-Prefix: /x\r\nB3: 0\r\nX-B3-Sampled: 1\r\nForwarded: for=x\r\n").await;
    client.send("X-Sum: 1\r\n\r").await;
    client.send("\n").await;
    server.text("X-Sum: 1\r\n\r\n").await;
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    for piece in ["3\r\nabc\r\n", "4\r\nde", "fg\r\n", "0\r\n\r\n"] {
        server.send(piece).await;
        client.text(piece).await;
    }
    client.send(&get("/next")).await;
    assert!(server.head().await.starts_with("GET /next "));
}

#[tokio::test]
async fn what_ties_requests_together_comes_in_no_trailer() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);
    let proxy = Proxy::gateway_that_correlates(&world, &["X-Chain", "order-id"]);
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nX-CHAIN: 1\r\n\r\n1\r\na\r\n0\r\n")
        .await;
    let mut server = instance.accept().await;
    assert_eq!(field(&server.head().await, "x-chain"), None);
    server.text("1\r\na\r\n0\r\n").await;
    client
        .send("x-chain: 1\r\nX-Chain-Length: 2\r\nOrder-Id:2\r\nOrder: 3\r\nx-CHAIN: 4\r\n\r\n")
        .await;
    server.text("X-Chain-Length: 2\r\nOrder: 3\r\n\r\n").await;
    // What an instance answers is no stranger's.
    server
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Chain: 1\r\n\r\n")
        .await;
    client.head().await;
    client.text("0\r\nX-Chain: 1\r\n\r\n").await;
}

#[tokio::test]
async fn a_chunked_request_that_is_whole_at_once_may_be_followed_by_another() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send(&("POST /1 HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".to_owned() + &get("/2")))
        .await;
    let mut server = instance.accept().await;
    server.head().await;
    server.text("1\r\na\r\n0\r\n\r\n").await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    client.head().await;
    assert!(server.head().await.starts_with("GET /2 "));
}

#[tokio::test]
async fn long_bodies_arrive_unharmed_and_wait_for_slow_readers() {
    let (proxy, instance) = gateway().await;
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut client = proxy.client().await;
    client
        .send(&format!("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: {}\r\n\r\n", bytes.len()))
        .await;
    let sent = bytes.clone();
    let uploading = tokio::spawn(async move {
        client.send_bytes(&sent).await;
        client
    });
    let mut server = instance.accept().await;
    server.head().await;
    assert!(server.exactly(bytes.len()).await == bytes);
    let mut client = uploading.await.unwrap();
    let sent = bytes.clone();
    let downloading = tokio::spawn(async move {
        server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sent.len())).await;
        server.send_bytes(&sent).await;
        server
    });
    client.head().await;
    assert!(client.exactly(bytes.len()).await == bytes);
    let mut server = downloading.await.unwrap();
    client.send(&get("/next")).await;
    assert!(server.head().await.starts_with("GET /next "));
}

#[tokio::test]
async fn back_pressure_reaches_the_sender() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
    client.head().await;
    // Nobody reads: what fits into the kernel's buffers on the way is far less than all of it.
    let piece = vec![0; 1_000_000];
    let mut pieces = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(300), server.send_bytes(&piece))
        .await
        .is_ok()
    {
        pieces += 1;
        assert!(pieces < 90, "the proxy takes in all of it");
    }
}

#[tokio::test]
async fn an_answer_without_length_ends_with_its_connection() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\n\r\nall ").await;
    let head = client.head().await;
    assert_eq!(field(&head, "connection"), Some("close"));
    server.send("there is").await;
    drop(server);
    assert_eq!(client.rest().await, b"all there is");
}

#[tokio::test]
async fn answers_to_head_requests_have_no_body() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(field(&client.head().await, "content-length"), Some("5"));
    client.send(&get("/next")).await;
    assert!(server.head().await.starts_with("GET /next "));
    server.send("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 304);
    client.send(&get("/after")).await;
    assert!(server.head().await.starts_with("GET /after "));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_from_the_instance() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let mut server = instance.accept().await;
    assert_eq!(field(&server.head().await, "expect"), Some("100-continue"));
    server.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    server.text("body").await;
    server.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    let hints = client.head().await;
    assert_eq!((status(&hints), field(&hints, "link")), (103, Some("</a>")));
    let head = client.head().await;
    assert_eq!(
        (status(&head), field(&head, "connection")),
        (201, None),
        "the body was sent: go on"
    );
    client.send(&get("/next")).await;
    assert!(server.head().await.starts_with("GET /next "));
}

#[tokio::test]
async fn a_refused_expectation_ends_the_connection_after_the_answer() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno").await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), field(&head, "connection"), body.as_str()),
        (417, Some("close"), "no")
    );
    client.closed().await;
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_client_still_sends() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\nbeginning").await;
    let mut server = instance.accept().await;
    server.head().await;
    server.text("beginning").await;
    server.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((status(&head), field(&head, "connection")), (413, Some("close")));
    client.send_bytes(&[0; 100_000]).await;
    server.send("no!").await;
    drop(server);
    client.text("no!").await;
    client.closed().await;
}

#[tokio::test]
async fn both_directions_may_stream_at_once() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        .await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.head().await;
    server.text("1\r\na\r\n").await;
    for _ in 0..3 {
        client.send("1\r\nb\r\n").await;
        server.text("1\r\nb\r\n").await;
        server.send("1\r\nc\r\n").await;
        client.text("1\r\nc\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    server.text("0\r\n\r\n").await;
    server.send("0\r\n\r\n").await;
    client.text("0\r\n\r\n").await;
    client.closed().await;
}

#[tokio::test]
async fn a_body_that_turns_out_malformed_is_refused_and_the_instance_let_go() {
    let (proxy, instance) = gateway().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        .await;
    let mut server = instance.accept().await;
    server.head().await;
    server.text("1\r\na\r\n").await;
    client.send("zz\r\n").await;
    let (head, _) = client.answer().await;
    assert_eq!((status(&head), field(&head, "connection")), (400, Some("close")));
    server.closed().await;
}
