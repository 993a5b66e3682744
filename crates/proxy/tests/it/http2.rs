//! Clients that speak HTTP/2 in the clear, played by a library of others.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use lanes::{
    EMBEDDED_SOURCE,
    group::Fallback,
    service::{Health, Protocol},
};
use telemetry::Count;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::world::{
    Instance, Proxy, Wire, World, eventually, field, gateway_entrance, get, group, nobody,
    own_port, status, within,
};

mod frozen;
pub(crate) mod grpc;
pub(crate) mod instances;
mod websocket;

/// One that begins with what HTTP/2 begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A world whose listener takes HTTP/2.
fn world(instances: &[std::net::SocketAddr]) -> World {
    let mut world = World::new(instances);
    world.listeners[0].http2 = true;
    world
}

/// A client's connection.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn connect(proxy: &Proxy) -> Self {
        Self::over(TcpStream::connect(proxy.address()).await.unwrap()).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::taking(stream, 65_535).await
    }

    /// The same of one that takes so many bytes of all streams together before it looks at them.
    async fn taking<S>(stream: S, window: u32) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut settings = h2::client::Builder::new();
        let handshake = settings.initial_connection_window_size(window).handshake(stream);
        let (send, connection) = within("a handshake", handshake).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn begin(
        &self,
        request: http::request::Builder,
        ends: bool,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let mut send = within("room for a stream", self.send.clone().ready()).await.unwrap();
        send.send_request(request.body(()).unwrap(), ends).unwrap()
    }

    pub(crate) async fn ask(&self, request: http::request::Builder) -> (Response<()>, Vec<u8>) {
        let (answer, _) = self.begin(request, true).await;
        let (head, body) = within("an answer", answer).await.unwrap().into_parts();
        (Response::from_parts(head, ()), whole(body).await.0)
    }
}

pub(crate) fn request(path: &str) -> http::request::Builder {
    Request::get(format!("http://shop{path}"))
}

/// What begins a connection, and a request on its first stream, as bytes: `block` is its compressed head.
pub(crate) fn bytes_of(block: &[u8]) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], 1, 5, 0, 0, 0, 1];
    [PREFACE, &SETTINGS, &head, block].concat()
}

/// A compressed `GET`, of a path, of host `shop`.
pub(crate) fn block_of(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text("shop")].concat()
}

/// All of a body, and its trailers.
async fn whole(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut received = Vec::new();
    while let Some(data) = within("data", body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    (received, within("trailers", body.trailers()).await.unwrap())
}

#[tokio::test]
async fn every_stream_finds_its_lane_on_one_connection() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let mut world = world(&[]);
    world.services[0].2 = vec![(base.serve("base"), None), (gray.serve("gray"), Some("gray"))];
    world.groups.push(group(gateway_entrance(), &["a"], Fallback::Then(Vec::new())));
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let mut asked = Vec::new();
    for number in 0..90 {
        let lane = if number % 3 == 0 { "gray" } else { "base" };
        let request = request("/x?y").header("canary", lane).header("cookie", "a=b");
        asked.push((lane, client.begin(request.header("cookie", "c=d"), true).await.0));
    }
    for (lane, answer) in asked {
        let (head, body) = within("an answer", answer).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        let text = String::from_utf8(whole(body).await.0).unwrap();
        let (by, seen) = text.split_once('\n').unwrap();
        assert_eq!(by, lane);
        assert!(seen.starts_with("GET /x?y HTTP/1.1\r\n"), "{seen}");
        assert_eq!(field(seen, "host"), Some("shop"));
        assert_eq!(field(seen, "cookie"), Some("a=b; c=d"));
        assert_eq!(field(seen, "baggage").is_some(), lane == "gray");
        assert_eq!(field(seen, "transfer-encoding"), None);
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (answer, mut body) = client.begin(request("/").method(Method::POST), false).await;
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut server = instance.accept().await;
    let head = server.head().await;
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    server.text("5\r\nhello\r\n").await;
    body.send_data(Bytes::from_static(b" you"), false).unwrap();
    server.text("4\r\n you\r\n").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "9".parse().unwrap());
    trailers.insert("x-forwarded-for", "1.2.3.4".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    server.text("0\r\nx-sum: 9\r\n\r\n").await;
    server
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\nConnection: x-c\r\nX-C: d\r\n\r\n")
        .await;
    server.send("3\r\nabc\r\n").await;
    let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
    assert_eq!(head.headers.get("x-a").unwrap(), "b");
    assert!(
        ["transfer-encoding", "connection", "x-c"]
            .iter()
            .all(|name| !head.headers.contains_key(*name))
    );
    assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "abc");
    server.send("2\r\nde\r\n0\r\nGrpc-Status: 0\r\nHost: x\r\n\r\n").await;
    let (rest, trailers) = whole(body).await;
    let trailers = trailers.unwrap();
    assert_eq!(rest, b"de");
    assert_eq!((trailers.get("grpc-status").unwrap(), trailers.len()), (&"0".parse().unwrap(), 1));
    // The instance's connection is good for the next.
    let (answer, _) = client.begin(request("/next").method(Method::HEAD), true).await;
    assert!(server.head().await.starts_with("HEAD /next "));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await;
    let (head, body) = within("an answer", answer).await.unwrap().into_parts();
    assert_eq!(head.headers.get("content-length").unwrap(), "7");
    assert!(whole(body).await.0.is_empty());
}

#[tokio::test]
async fn long_bodies_wait_for_whoever_takes_them() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let bytes = 8 * 1024 * 1024;
    let length = bytes.to_string();
    let post = request("/").method(Method::PUT).header("content-length", &length);
    let (answer, mut body) = client.begin(post, false).await;
    let content: Bytes = (0..bytes).map(|at| (at / 7) as u8).collect();
    body.send_data(content.clone(), true).unwrap();
    let mut server = instance.accept().await;
    let head = server.head().await;
    assert_eq!(field(&head, "content-length"), Some(length.as_str()));
    assert!(server.exactly(bytes).await == content);
    server.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")).await;
    let (_, body) = within("an answer", answer).await.unwrap().into_parts();
    let ((), (received, _)) = tokio::join!(server.send_bytes(&content), whole(body));
    assert!(received == content);
}

#[tokio::test]
async fn a_stream_that_is_given_up_ends_its_call_alone() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (given_up, body) = client.begin(request("/slow").method(Method::POST), false).await;
    let mut server = instance.accept().await;
    server.head().await;
    let (waits, _) = client.begin(request("/waits"), true).await;
    let mut other = instance.accept().await;
    other.head().await;
    drop((given_up, body));
    server.reset().await;
    other.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_seem_whole() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (answer, _) = client.begin(request("/"), true).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let mut body = within("an answer", answer).await.unwrap().into_body();
    assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "abc");
    server.abort();
    let broken = within("a reset", body.data()).await.unwrap().unwrap_err();
    assert_eq!(broken.reason(), Some(h2::Reason::INTERNAL_ERROR));
    // The connection goes on.
    let (next, _) = client.begin(request("/next"), true).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(within("an answer", next).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_early_answer_ends_a_body_that_nobody_wants() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (answer, mut body) = client.begin(request("/").method(Method::POST), false).await;
    body.send_data(Bytes::from_static(b"a"), false).unwrap();
    let mut server = instance.accept().await;
    server.head().await;
    server.text("1\r\na\r\n").await;
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 413);
    let (text, _) = whole(answer.into_body()).await;
    assert_eq!(text, b"no");
    let reset = within("a reset", std::future::poll_fn(|context| body.poll_reset(context)));
    assert_eq!(reset.await.unwrap(), h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn refusals_come_as_answers() {
    let instance = Instance::new().await;
    let mut world = world(&[instance.serve("base")]);
    world.routes[0].0 = "/only";
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    for (request, expected) in [
        (request("/only/x"), 200),
        (request("/other"), 404),
        (request("/only/../x"), 400),
        (request("/only%2fx"), 400),
        (request("/only").header("x-long", "x".repeat(60_000)), 200),
        (request("/only").header("expect", "payment"), 417),
        (request(&format!("/only?{}", "x".repeat(9_000))), 414),
    ] {
        let shown = format!("{:?}", request.uri_ref().map(|uri| uri.path().to_owned()));
        let (head, body) = client.ask(request).await;
        assert_eq!(head.status(), expected, "{shown}");
        assert_eq!(head.headers().get("server").is_some(), expected != 200);
        assert!(!body.is_empty(), "{shown} says why");
    }
}

#[tokio::test]
async fn one_listener_speaks_both_and_others_do_not() {
    let instance = Instance::new().await;
    let address = instance.serve("base");
    let proxy = Proxy::gateway(&world(&[address]));
    let mut old = proxy.client().await;
    old.send(&get("/")).await;
    assert_eq!(status(&old.answer().await.0), 200);
    // Not in the midst of another conversation.
    old.send_bytes(PREFACE).await;
    assert_eq!(status(&old.answer().await.0), 505);
    let mut wrong = proxy.client().await;
    wrong.send("WHAT IS THIS\r\n\r\n").await;
    let said = wrong.rest().await;
    assert_eq!(said[said.len() - 8..], [0, 0, 0, 0, 0, 0, 0, 1], "GOAWAY for PROTOCOL_ERROR");

    let strict = Proxy::gateway(&World::new(&[address]));
    let mut client = strict.client().await;
    client.send_bytes(PREFACE).await;
    assert_eq!(status(&client.answer().await.0), 505);
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_nobody_elses() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.serve("base")]));
    let mut attacker = Client::connect(&proxy).await;
    let mut given_up = 0;
    let ended = loop {
        match attacker.send.clone().ready().await {
            Ok(mut send) => match send.send_request(request("/").body(()).unwrap(), true) {
                Ok((answer, _)) => drop(answer),
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        given_up += 1;
        assert!(given_up < 10_000, "a client may give up for ever");
        tokio::task::yield_now().await;
    };
    let ended = match ended.reason() {
        Some(reason) => reason,
        None => within("the end", &mut attacker.connection)
            .await
            .unwrap()
            .unwrap_err()
            .reason()
            .unwrap(),
    };
    assert_eq!(ended, h2::Reason::ENHANCE_YOUR_CALM);
    let other = Client::connect(&proxy).await;
    assert_eq!(other.ask(request("/")).await.0.status(), 200);
}

#[tokio::test]
async fn callers_that_vanish_do_not_end_a_sidecars_connection_that_others_share() {
    let application = Instance::new().await;
    let ports = vec![own_port("sc-A", Protocol::Http, application.address)];
    let sidecar = Proxy::sidecar_of(&World::new(&[]), None, ports);
    let gateway = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    let (first, _) = gateway.begin(request("/kept"), true).await;
    let mut server = instances::Server::accept(&application).await;
    let (_, mut answers) = server.next().await;
    let mut begun = Vec::new();
    // Far more than a stranger may give up at once.
    for _ in 0..300 {
        let (given_up, says) = gateway.begin(request("/"), true).await;
        begun.push(server.next().await);
        drop((given_up, says));
    }
    answers.send_response(Response::new(()), true).unwrap();
    let running = server.run();
    assert_eq!(within("an answer", first).await.unwrap().status(), 200);
    sidecar.ended(telemetry::Outcome::Failed).await;
    running.abort();
}

#[tokio::test]
async fn draining_lets_streams_end_and_takes_no_more() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let idle = Client::connect(&proxy).await;
    let (answer, _) = client.begin(request("/"), true).await;
    let mut server = instance.accept().await;
    server.head().await;
    let drained = tokio::spawn(proxy.running.drain(Duration::from_secs(10)));
    within("the end of an idle connection", idle.connection).await.unwrap().unwrap();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(whole(answer.into_body()).await.0, b"ok");
    within("the end", client.connection).await.unwrap().unwrap();
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn draining_is_told_where_nothing_moves() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (answer, _) = client.begin(request("/"), true).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nso").await;
    let mut body = within("an answer", answer).await.unwrap().into_body();
    assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "so");
    let drained = tokio::spawn(proxy.running.drain(Duration::from_secs(30)));
    eventually("no more to be taken", async || client.send.clone().ready().await.is_err()).await;
    assert!(!drained.is_finished(), "what is under way is waited for");
    server.send("on").await;
    assert_eq!(whole(body).await.0, b"on");
    within("the end", client.connection).await.unwrap().unwrap();
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn half_frames_do_not_hold_a_connection() {
    let instance = Instance::new().await;
    let timeouts =
        proxy::limits::Timeouts { head: Duration::from_millis(200), ..Default::default() };
    let proxy = Proxy::gateway_with(&world(&[instance.address]), 1, timeouts);
    for begun in [
        PREFACE[..30.min(PREFACE.len())].to_vec(),
        [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 8, 6]].concat(),
        // A head that does not go on.
        [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat(),
    ] {
        let mut client = Wire::connect(proxy.address()).await;
        client.send_bytes(&begun).await;
        client.rest().await;
    }
    let open = "laneway_connections_open{side=\"downstream\"} 0";
    eventually("nobody to be left", async || proxy.running.counters().render().contains(open))
        .await;
}

#[tokio::test]
async fn a_client_that_goes_lets_its_instances_go() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (waits, _) = client.begin(request("/"), true).await;
    let mut server = instance.accept().await;
    server.head().await;
    client.connection.abort();
    drop((client.send, waits));
    server.reset().await;
}
