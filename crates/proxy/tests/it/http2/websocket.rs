//! WebSockets on streams of HTTP/2 (RFC 8441): clients, and instances of either version, played by libraries of others.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures_util::{SinkExt as _, StreamExt as _};
use h2::{Reason, SendStream, ext::Protocol};
use proxy::limits::Timeouts;
use telemetry::{CodeClass, Level, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::Role},
};

use super::{instances::behind, *};
use crate::tls;

mod farewell;

/// A stream of HTTP/2 for whoever reads and writes bytes.
struct Tunnel {
    send: SendStream<Bytes>,
    body: RecvStream,
    read: Bytes,
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.body.poll_data(context)) {
                Some(data) => self.read = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let bytes = into.remaining().min(self.read.len());
        into.put_slice(&self.read.split_to(bytes));
        let released = self.body.flow_control().release_capacity(bytes);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            let Some(capacity) = ready!(self.send.poll_capacity(context)) else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            capacity.map_err(io::Error::other)?;
        }
        let part = &bytes[..bytes.len().min(self.send.capacity())];
        let sent = self.send.send_data(Bytes::copy_from_slice(part), false);
        Poll::Ready(sent.map(|()| part.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

/// A client that was told that streams may be of another protocol.
async fn connected(proxy: &Proxy) -> Client {
    told(Client::connect(proxy).await).await
}

async fn told(client: Client) -> Client {
    eventually("CONNECT to be taken", async || client.send.is_extended_connect_protocol_enabled())
        .await;
    client
}

/// Asks for a protocol on a stream.
async fn ask(
    client: &Client,
    protocol: &'static str,
    lane: &str,
) -> (ResponseFuture, SendStream<Bytes>) {
    ask_of(client, "shop", protocol, lane).await
}

/// The same of a host.
async fn ask_of(
    client: &Client,
    host: &str,
    protocol: &'static str,
    lane: &str,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{host}/ws?x"))
        .header("canary", lane)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static(protocol));
    client.begin(request, false).await
}

/// A stream that the instance agreed to, for whoever reads and writes bytes.
async fn tunnel(client: &Client, lane: &str) -> Tunnel {
    opened(ask(client, "websocket", lane).await).await
}

async fn opened((answer, send): (ResponseFuture, SendStream<Bytes>)) -> Tunnel {
    let (head, body) = within("an answer", answer).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    Tunnel { send, body, read: Bytes::new() }
}

/// The same where the test plays the instance.
async fn under_way(client: &Client, instance: &Instance) -> (Tunnel, Wire) {
    let agreeing = async {
        let mut server = instance.accept().await;
        let head = server.head().await;
        server.send(&agreed(&head)).await;
        server
    };
    tokio::join!(tunnel(client, ""), agreeing)
}

/// What an instance answers that agrees to a handshake.
fn agreed(head: &str) -> String {
    let key = field(head, "sec-websocket-key").unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Says its name in every WebSocket, and then whatever it hears, for as long as the test runs.
fn echo(instance: Instance, name: &'static str) -> SocketAddr {
    let address = instance.address;
    tokio::spawn(async move {
        while let Ok(stream) = instance.take().await {
            tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else { return };
                let mut said = socket.send(Message::text(name)).await;
                while let (Ok(()), Some(Ok(heard))) = (&said, socket.next().await) {
                    // It answers a farewell by itself.
                    if !heard.is_close() {
                        said = socket.send(heard).await;
                    }
                }
            });
        }
    });
    address
}

/// Hears a name and its own words again, large and small, and takes its leave in order.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, name: &str) {
    let heard = within("a name", socket.next()).await.unwrap().unwrap();
    assert_eq!(heard, Message::text(name));
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| (at / 7) as u8).collect();
    for said in [Message::text("hello"), Message::binary(large), Message::binary(Vec::new())] {
        // Whoever only sends a megabyte hears nothing of it meanwhile.
        let heard = async {
            socket.send(said.clone()).await.unwrap();
            socket.next().await
        };
        let heard = within("the same again", heard).await.unwrap().unwrap();
        assert!(heard == said, "{} bytes of {}", heard.len(), said.len());
    }
    socket.close(None).await.unwrap();
    assert!(within("a farewell", socket.next()).await.unwrap().unwrap().is_close());
    assert!(within("the end", socket.next()).await.is_none());
}

async fn client_of(tunnel: Tunnel) -> WebSocketStream<Tunnel> {
    WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await
}

#[tokio::test]
async fn every_stream_is_a_websocket_in_its_lane() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let mut world = world(&[]);
    world.services[0].2 = vec![(echo(base, "base"), None), (echo(gray, "gray"), Some("gray"))];
    world.groups.push(group(gateway_entrance(), &["a"], Fallback::Then(Vec::new())));
    let proxy = Proxy::gateway(&world);
    let client = connected(&proxy).await;
    let sockets = [("gray", "gray"), ("no", "base"), ("gray", "gray")].map(|(lane, name)| {
        let client = &client;
        async move { converse(client_of(tunnel(client, lane).await).await, name).await }
    });
    futures_util::future::join_all(sockets).await;
    let metrics = proxy.running.counters();
    eventually("all to be counted", async || {
        let rows = metrics.requests();
        let of = |lane: &str| rows.iter().filter(|row| &*row.labels.lane == lane).count();
        let are_switches = rows.iter().all(|row| row.labels.code_class == CodeClass::of(101));
        of("gray") == 1 && of("") == 1 && rows.len() == 2 && are_switches
    })
    .await;
    // What passes is counted once each way.
    for (what, at_least) in [(Count::BytesReceived, 3_000_000), (Count::BytesSent, 3_000_000)] {
        proxy.counted(what, at_least).await;
        assert!(metrics.counted(what) < 4_000_000, "{what:?}: {}", metrics.counted(what));
    }
    // The connection serves others as before.
    converse(client_of(tunnel(&client, "no").await).await, "base").await;
}

#[tokio::test]
async fn a_websocket_is_a_stream_in_tls_too() {
    let authority = tls::authority("all");
    let address = echo(Instance::new().await, "base");
    let proxy = Proxy::gateway(&tls::world(&authority, &["shop"], &[address]));
    let stream = tls::http2(&authority, &proxy, "shop").await;
    let client = told(Client::over(stream).await).await;
    converse(client_of(tunnel(&client, "").await).await, "base").await;
}

#[tokio::test]
async fn an_instance_sees_the_handshake_of_its_own_version() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (answer, mut send) = ask(&client, "websocket", "").await;
        // It may come before the instance has agreed.
        send.send_data(Bytes::from_static(b"early"), false).unwrap();
        let mut server = instance.accept().await;
        let head = server.head().await;
        assert!(head.starts_with("GET /ws?x HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("host", Some("shop")),
            ("connection", Some("upgrade")),
            ("upgrade", Some("websocket")),
            ("sec-websocket-version", Some("13")),
            ("sec-websocket-protocol", Some("chat")),
            ("transfer-encoding", None),
            ("content-length", None),
        ] {
            assert_eq!(field(&head, name), value, "{name}");
        }
        keys.push(field(&head, "sec-websocket-key").unwrap().to_owned());
        server.send(&format!("{}at once", agreed(&head))).await;
        let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers.get("sec-websocket-protocol").unwrap(), "chat");
        for gone in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!head.headers.contains_key(gone), "{gone}");
        }
        server.text("early").await;
        assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "at once");
        // Each side ends for itself.
        send.send_data(Bytes::from_static(b"bye"), true).unwrap();
        server.text("bye").await;
        server.closed().await;
        server.send("last words").await;
        drop(server);
        assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "last words");
        assert!(whole(body).await.0.is_empty());
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_an_instance_does_not_agree_to_is_no_success() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    let close = "Connection: close\r\nContent-Length: 2\r\n\r\nno";
    let switched = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    let (no_switch, no_fit) =
        ("its success is no switch of protocols", "does not fit the key that it was sent");
    for (answer, expected, said) in [
        (format!("HTTP/1.1 403 Forbidden\r\n{close}"), 403, "no"),
        (format!("HTTP/1.1 302 Found\r\nLocation: /x\r\n{close}"), 302, "no"),
        (format!("HTTP/1.1 200 OK\r\n{close}"), 502, no_switch),
        (format!("{switched}\r\n"), 502, no_fit),
        (format!("{switched}Sec-WebSocket-Accept: AAAA\r\n\r\n"), 502, no_fit),
        (
            "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".into(),
            502,
            "was not asked",
        ),
    ] {
        let (told, mut send) = ask(&client, "websocket", "").await;
        let mut server = instance.accept().await;
        server.head().await;
        server.send(&answer).await;
        let (head, body) = within("an answer", told).await.unwrap().into_parts();
        assert_eq!(head.status, expected, "{answer}");
        let text = String::from_utf8(whole(body).await.0).unwrap();
        assert!(text.contains(said), "{answer}: {text}");
        let reset = within("a reset", std::future::poll_fn(|context| send.poll_reset(context)));
        assert_eq!(reset.await.unwrap(), Reason::NO_ERROR, "{answer}");
    }
}

#[tokio::test]
async fn routes_and_limits_of_others_hold_for_them() {
    let instance = Instance::new().await;
    let mut world = world(&[instance.address]);
    world.routes[0].0 = "/only";
    let proxy = Proxy::gateway(&world);
    let client = connected(&proxy).await;
    let (told, _send) = ask(&client, "websocket", "").await;
    assert_eq!(within("an answer", told).await.unwrap().status(), 404);
    proxy.ended(Outcome::Failed).await;
}

#[tokio::test]
async fn other_protocols_and_connect_itself_are_refused() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    let (told, _send) = ask(&client, "connect-udp", "").await;
    let (head, body) = within("an answer", told).await.unwrap().into_parts();
    assert_eq!(head.status, 501);
    let text = String::from_utf8(whole(body).await.0).unwrap();
    assert!(text.contains(":protocol is not supported"), "{text}");
    proxy.ended(Outcome::Denied).await;
    let plain = Request::builder().method(Method::CONNECT).uri("shop:80");
    let (told, _send) = client.begin(plain, false).await;
    assert_eq!(within("an answer", told).await.unwrap().status(), 405);
}

#[tokio::test]
async fn either_side_sees_that_the_other_is_gone() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    for client_leaves in [true, false] {
        let (mut tunnel, mut server) = under_way(&client, &instance).await;
        if client_leaves {
            tunnel.send.send_reset(Reason::CANCEL);
            server.reset().await;
        } else {
            server.abort();
            let error = within("a reset", tunnel.body.data()).await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(Reason::CANCEL));
        }
    }
    // Before the instance has agreed, too.
    let (answer, mut send) = ask(&client, "websocket", "").await;
    let mut server = instance.accept().await;
    server.head().await;
    send.send_reset(Reason::CANCEL);
    server.reset().await;
    drop(answer);
}

#[tokio::test]
async fn clients_that_are_gone_cost_others_on_their_connection_nothing() {
    let instance = Instance::new().await;
    let mut world = world(&[instance.address]);
    let other = Instance::new().await;
    world.services.push(("sc-B", "b", vec![(other.serve("other"), None)]));
    world.routes.insert(0, ("/other", "sc-B", Vec::new(), (None, None)));
    let proxy = Proxy::gateway(&world);
    let client = connected(&proxy).await;
    // Resets in the middle of handshakes use up what a connection may cost after a hundred.
    for _ in 0..250 {
        let (mut tunnel, mut server) = under_way(&client, &instance).await;
        tunnel.send.send_reset(Reason::CANCEL);
        server.reset().await;
    }
    let (head, body) = client.ask(request("/other")).await;
    assert_eq!(head.status(), 200);
    assert!(body.starts_with(b"other\n"));
}

/// Sends until nothing more is taken.
async fn fill(stream: &mut (impl AsyncWrite + Unpin)) {
    let (pause, piece) = (Duration::from_millis(300), vec![b'x'; 64 * 1024]);
    while let Ok(sent) = tokio::time::timeout(pause, stream.write(&piece)).await {
        sent.unwrap();
    }
}

#[tokio::test]
async fn who_leaves_while_the_other_side_takes_nothing_is_seen_to_be_gone() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    for resets in [true, false] {
        let (mut tunnel, server) = under_way(&client, &instance).await;
        fill(&mut tunnel).await;
        if resets {
            tunnel.send.send_reset(Reason::CANCEL);
        } else {
            // All of the connection is gone.
            client.connection.abort();
        }
        // Without reading: what was sent must not look whole.
        let error = within("a reset", broken(&server.into_stream())).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    // An instance in HTTP/2, of which its client takes nothing.
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let resetting = async {
        let mut server = accept_taking_protocols(&instance).await;
        let (asked, mut answers) = server.accept().await.unwrap().unwrap();
        let send = answers.send_response(Response::new(()), false).unwrap();
        let mut tunnel = Tunnel { send, body: asked.into_body(), read: Bytes::new() };
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        fill(&mut tunnel).await;
        tunnel.send.send_reset(Reason::CANCEL);
    };
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (asked, ()) = tokio::join!(client_async("ws://shop/ws?x", stream), resetting);
    let stream = asked.unwrap().0.into_inner();
    let error = within("a reset", broken(&stream)).await;
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Waits until a connection has broken off, without reading what came of it.
async fn broken(stream: &TcpStream) -> io::Error {
    loop {
        stream.ready(tokio::io::Interest::ERROR).await.unwrap();
        if let Some(error) = stream.take_error().unwrap() {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_passes_between_a_client_and_a_gateway_is_counted_once() {
    let (instance, told) = (Instance::new().await, "x".repeat(50_000));
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let answering = async {
        let mut server = accept_taking_protocols(&instance).await;
        let (asked, mut answers) = server.accept().await.unwrap().unwrap();
        let mut send = answers.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let mut body = asked.into_body();
        while let Some(heard) = within("data", body.data()).await {
            send.send_data(heard.unwrap(), false).unwrap();
        }
        send.send_data(Bytes::new(), true).unwrap();
    };
    let asking = async {
        let mut client = proxy.client().await;
        let asked = format!(
            "{}Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            get("/ws").strip_suffix("\r\n").unwrap()
        );
        client.send(&asked).await;
        let head = client.head().await;
        client.send(&told).await;
        client.text(&told).await;
        client.close_write().await;
        client.closed().await;
        (asked.len() + told.len(), head.len() + told.len())
    };
    let ((sent, received), ()) = tokio::join!(asking, answering);
    let counters = proxy.running.counters();
    eventually("all to be counted", async || counters.counted(Count::BytesReceived) >= sent as u64)
        .await;
    assert_eq!(counters.counted(Count::BytesReceived), sent as u64);
    assert_eq!(counters.counted(Count::BytesSent), received as u64);
}

#[tokio::test]
async fn a_client_that_takes_nothing_has_its_instance_wait_and_nobody_else() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    // It takes more on its connection than on one stream.
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let client = told(Client::taking(stream, 1024 * 1024).await).await;
    let (tunnel, server) = under_way(&client, &instance).await;
    let (mut other, mut of_other) = under_way(&client, &instance).await;
    // The windows, and what the kernel holds of one connection; no more of it waits here.
    let (sent_max, piece) = (32 * 1024 * 1024, vec![b'x'; 64 * 1024]);
    let mut server = server.into_stream();
    let mut sent = 0;
    while let Ok(bytes) =
        tokio::time::timeout(Duration::from_millis(300), server.write(&piece)).await
    {
        sent += bytes.unwrap();
        assert!(sent < sent_max, "{sent} bytes were taken that nobody wants");
    }
    of_other.send("heard").await;
    let mut heard = [0; 5];
    within("data", other.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"heard");
    // All of it comes when it is wanted.
    drop(server);
    let mut tunnel = tunnel;
    let mut received = Vec::new();
    within("all of it", tunnel.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received.len(), sent);
}

#[tokio::test]
async fn one_on_which_nothing_moves_ends_in_time() {
    let instance = Instance::new().await;
    let timeouts = Timeouts { tunnel: Duration::from_millis(100), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world(&[instance.address]), 1, timeouts);
    let client = connected(&proxy).await;
    let (mut tunnel, mut server) = under_way(&client, &instance).await;
    let error = within("a reset", tunnel.body.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    server.reset().await;
}

#[tokio::test]
async fn one_of_which_nothing_is_taken_ends_in_time() {
    let instance = Instance::new().await;
    let timeouts = Timeouts { body: Duration::from_millis(300), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world(&[instance.address]), 1, timeouts);
    let client = connected(&proxy).await;
    let (mut tunnel, server) = under_way(&client, &instance).await;
    let mut server = server.into_stream();
    let speaking = async { while server.write(&[b'x'; 64 * 1024]).await.is_ok() {} };
    let reset = std::future::poll_fn(|context| tunnel.send.poll_reset(context));
    let (reset, ()) = within("a reset", async { tokio::join!(reset, speaking) }).await;
    assert_eq!(reset.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_gateway_that_drains_tells_them_and_ends_them_at_its_deadline() {
    for waits in [true, false] {
        let instance = Instance::new().await;
        let proxy = Proxy::gateway(&world(&[instance.address]));
        let client = connected(&proxy).await;
        let (mut tunnel, mut server) = under_way(&client, &instance).await;
        let grace = if waits { Duration::from_secs(30) } else { Duration::from_secs(2) };
        let drained = tokio::spawn(proxy.running.drain(grace));
        eventually("no more to be taken", async || client.send.clone().ready().await.is_err())
            .await;
        // What is there goes on.
        server.send("still here").await;
        assert_eq!(within("data", tunnel.body.data()).await.unwrap().unwrap(), "still here");
        if waits {
            assert!(!drained.is_finished());
            tunnel.shutdown().await.unwrap();
            server.closed().await;
            drop(server);
            assert!(whole(tunnel.body).await.0.is_empty());
            within("the end", client.connection).await.unwrap().unwrap();
        } else {
            within("the end", tunnel.body.data()).await.unwrap().unwrap_err();
            server.reset().await;
        }
        within("the drain", drained).await.unwrap();
    }
}

/// An instance in HTTP/2 that says it takes CONNECT for other protocols.
async fn accept_taking_protocols(instance: &Instance) -> h2::server::Connection<TcpStream, Bytes> {
    greet(instance.accept().await.into_stream(), 100).await
}

/// The same on a connection that is there, with room for so many streams.
async fn greet(stream: TcpStream, streams_max: u32) -> h2::server::Connection<TcpStream, Bytes> {
    let mut settings = h2::server::Builder::new();
    settings.enable_connect_protocol().max_concurrent_streams(streams_max);
    within("a handshake", settings.handshake(stream)).await.unwrap()
}

/// Answers a client's WebSocket in its version, and says what it hears.
async fn echo_http2(instance: &Instance, sockets: usize) {
    let mut server = accept_taking_protocols(instance).await;
    let mut served = Vec::new();
    while let Some(Ok((asked, mut answers))) = server.accept().await {
        assert_eq!(asked.method(), Method::CONNECT);
        assert_eq!(asked.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(asked.uri().path(), "/ws");
        assert_eq!(asked.headers().get("sec-websocket-version").unwrap(), "13");
        for not_its in ["sec-websocket-key", "content-length", "expect"] {
            assert!(!asked.headers().contains_key(not_its), "{not_its}");
        }
        let send = answers.send_response(Response::new(()), false).unwrap();
        let tunnel = Tunnel { send, body: asked.into_body(), read: Bytes::new() };
        served.push(tokio::spawn(async move {
            let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Server, None).await;
            socket.send(Message::text("http2")).await.unwrap();
            while let Some(Ok(heard)) = socket.next().await {
                if !heard.is_close() {
                    socket.send(heard).await.unwrap();
                }
            }
            // Over TCP its server would close.
            let _ = socket.get_mut().shutdown().await;
        }));
        if served.len() == sockets {
            break;
        }
    }
    let moving = tokio::spawn(async move { while server.accept().await.is_some() {} });
    for socket in served {
        socket.await.unwrap();
    }
    moving.abort();
}

#[tokio::test]
async fn instances_in_http2_are_asked_in_their_version_whatever_the_client_speaks() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = connected(&proxy).await;
    let new = async {
        let socket = client_of(tunnel(&client, "").await).await;
        converse(socket, "http2").await;
    };
    let old = async {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        // It checks the answer to its key.
        let (socket, _) = client_async("ws://shop/ws?x", stream).await.unwrap();
        converse(socket, "http2").await;
    };
    // That it has no body some say; what follows in the stream is none.
    let says_length = async {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let mut asked = "ws://shop/ws?x".into_client_request().unwrap();
        asked.headers_mut().insert("content-length", "0".parse().unwrap());
        asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let (socket, _) = client_async(asked, stream).await.unwrap();
        converse(socket, "http2").await;
    };
    let all = async { tokio::join!(echo_http2(&instance, 3), new, old, says_length) };
    within("all", all).await;
}

#[tokio::test]
async fn clients_that_take_nothing_hold_up_nobody_else_at_an_instance_in_http2() {
    const SOCKETS: usize = 20;
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let client = told(Client::taking(stream, 8 * 1024 * 1024).await).await;
    let stalled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&stalled);
    let serving = tokio::spawn(async move {
        let mut server = accept_taking_protocols(&instance).await;
        while let Some(Ok((asked, mut answers))) = server.accept().await {
            let mut send = answers.send_response(Response::new(()), false).unwrap();
            if asked.method() == Method::GET {
                send.send_data(vec![b'x'; 200_000].into(), true).unwrap();
                continue;
            }
            let mut tunnel = Tunnel { send, body: asked.into_body(), read: Bytes::new() };
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let (pause, piece) = (Duration::from_millis(300), vec![b'x'; 64 * 1024]);
                while let Ok(sent) = tokio::time::timeout(pause, tunnel.write(&piece)).await {
                    sent.unwrap();
                }
                counted.fetch_add(1, Relaxed);
                std::future::pending::<()>().await;
            });
        }
    });
    let mut held = Vec::new();
    for _ in 0..SOCKETS {
        held.push(tunnel(&client, "").await);
    }
    eventually("all windows to be full", async || stalled.load(Relaxed) == SOCKETS).await;
    let (head, body) = within("another's answer", client.ask(request("/"))).await;
    assert_eq!((head.status().as_u16(), body.len()), (200, 200_000));
    serving.abort();
}

#[tokio::test]
async fn who_comes_together_before_an_instance_has_said_how_many_it_takes_is_served() {
    const SOCKETS: usize = 12;
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = connected(&proxy).await;
    let mut waiting = vec![ask(&client, "websocket", "").await];
    // The others find a connection that says nothing yet.
    let mut silent = Some(instance.accept().await.into_stream());
    while waiting.len() < SOCKETS {
        waiting.push(ask(&client, "websocket", "").await);
    }
    let counters = proxy.running.counters();
    let in_flight = Level::in_flight(telemetry::Role::Gateway);
    eventually("all to wait", async || counters.level(in_flight) as usize == SOCKETS).await;
    let mut served = Vec::new();
    for streams in [5, 5, 2] {
        let stream = match silent.take() {
            Some(stream) => stream,
            None => instance.accept().await.into_stream(),
        };
        let mut server = greet(stream, 5).await;
        for _ in 0..streams {
            let (_, mut answers) = within("a request", server.accept()).await.unwrap().unwrap();
            served.push(answers.send_response(Response::new(()), false).unwrap());
        }
        tokio::spawn(async move { while server.accept().await.is_some() {} });
    }
    for waits in waiting {
        opened(waits).await;
    }
    let more = tokio::time::timeout(Duration::from_millis(100), instance.accept());
    assert!(more.await.is_err(), "one more connection");
}

#[tokio::test]
async fn an_instance_in_http2_that_takes_no_protocols_is_not_asked() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instances::serve(instance, "no")]));
    let client = connected(&proxy).await;
    let why = "it speaks HTTP/2 without CONNECT for other protocols (RFC 8441)";
    let (told, _send) = ask(&client, "websocket", "").await;
    let (head, body) = within("an answer", told).await.unwrap().into_parts();
    assert_eq!(head.status, 502);
    assert!(String::from_utf8(whole(body).await.0).unwrap().contains(why));
    let mut old = proxy.client().await;
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    old.send(&format!("GET /ws HTTP/1.1\r\nHost: shop\r\n{handshake}\r\n")).await;
    let (head, body) = old.answer().await;
    assert_eq!(status(&head), 502);
    assert!(body.contains(why), "{body}");
    // It is not to blame: others are served.
    assert_eq!(client.ask(request("/")).await.0.status(), 200);
}

#[tokio::test]
async fn what_an_instance_in_http2_refuses_is_answered_as_it_says() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = connected(&proxy).await;
    let (told, _send) = ask(&client, "websocket", "").await;
    let mut server = accept_taking_protocols(&instance).await;
    let (_, mut answers) = within("a request", server.accept()).await.unwrap().unwrap();
    let refusal = Response::builder().status(403).body(()).unwrap();
    let mut body = answers.send_response(refusal, false).unwrap();
    body.send_data(Bytes::from_static(b"not you"), true).unwrap();
    let moving = tokio::spawn(async move { while server.accept().await.is_some() {} });
    let (head, body) = within("an answer", told).await.unwrap().into_parts();
    assert_eq!(head.status, 403);
    assert_eq!(whole(body).await.0, b"not you");
    moving.abort();
}

#[tokio::test]
async fn while_only_some_instances_take_protocols_these_are_asked() {
    let (old, new) = (instances::serve(Instance::new().await, "no"), Instance::new().await);
    let proxy = Proxy::gateway(&behind(&[old, new.address]));
    let client = connected(&proxy).await;
    let conversations = async {
        for _ in 0..4 {
            converse(client_of(tunnel(&client, "").await).await, "http2").await;
        }
    };
    within("all", async { tokio::join!(echo_http2(&new, 4), conversations) }).await;
    assert!(proxy.running.unreachable().is_empty());
}

#[tokio::test]
async fn a_handshake_that_no_server_would_take_is_refused() {
    let proxy = Proxy::gateway(&behind(&[instances::serve(Instance::new().await, "http2")]));
    for key in ["", "Sec-WebSocket-Key: x\r\n"] {
        let mut client = proxy.client().await;
        let handshake =
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        client.send(&format!("GET /ws HTTP/1.1\r\nHost: shop\r\n{handshake}{key}\r\n")).await;
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), 400, "{key}");
        assert!(body.contains("one Sec-WebSocket-Key"), "{body}");
    }
}

#[tokio::test]
async fn an_instance_in_http2_that_declines_by_a_reset_is_not_to_blame() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = connected(&proxy).await;
    let reasons = [Reason::HTTP_1_1_REQUIRED, Reason::PROTOCOL_ERROR, Reason::CANCEL];
    let faults = [Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR];
    let serving = tokio::spawn(async move {
        let mut server = accept_taking_protocols(&instance).await;
        let mut reasons = reasons.into_iter().chain(faults);
        while let Some(Ok((_, mut answers))) = server.accept().await {
            answers.send_reset(reasons.next().unwrap());
        }
    });
    for said in ["HTTP_1_1_REQUIRED", "PROTOCOL_ERROR", "CANCEL"] {
        let (told, _send) = ask(&client, "websocket", "").await;
        let (head, body) = within("an answer", told).await.unwrap().into_parts();
        assert_eq!(head.status, 502);
        let text = String::from_utf8(whole(body).await.0).unwrap();
        assert!(text.contains(&format!("reset the stream with {said}")), "{text}");
        assert!(proxy.running.unreachable().is_empty(), "{said}");
    }
    for _ in faults {
        assert!(proxy.running.unreachable().is_empty());
        let (told, _send) = ask(&client, "websocket", "").await;
        assert_eq!(within("an answer", told).await.unwrap().status(), 502);
    }
    eventually("it to be put aside", async || proxy.running.unreachable().len() == 1).await;
    serving.abort();
}

#[tokio::test]
async fn an_instance_in_http2_that_breaks_off_has_had_its_only_handshake() {
    let instances = [Instance::new().await, Instance::new().await];
    let proxy = Proxy::gateway(&behind(&[instances[0].address, instances[1].address]));
    let client = connected(&proxy).await;
    let (told, _send) = ask(&client, "websocket", "").await;
    let (stream, other) = tokio::select! {
        asked = instances[0].accept() => (asked.into_stream(), &instances[1]),
        asked = instances[1].accept() => (asked.into_stream(), &instances[0]),
    };
    let mut server = greet(stream, 100).await;
    let asked = within("a request", server.accept()).await.unwrap().unwrap();
    drop((server, asked));
    assert_eq!(within("an answer", told).await.unwrap().status(), 502);
    let again = tokio::time::timeout(Duration::from_millis(100), other.accept());
    assert!(again.await.is_err(), "it was sent once more");
}

#[tokio::test]
async fn a_sidecar_asks_its_application_as_it_was_asked() {
    let application = Instance::new().await;
    let proxy = Proxy::sidecar(&World::new(&[]), None, application.address);
    let stream = TcpStream::connect(proxy.inbound()).await.unwrap();
    let client = told(Client::over(stream).await).await;
    let caller = async {
        let tunnel = opened(ask_of(&client, "sc-A", "websocket", "").await).await;
        converse(client_of(tunnel).await, "http2").await;
    };
    within("both", async { tokio::join!(echo_http2(&application, 1), caller) }).await;
}
