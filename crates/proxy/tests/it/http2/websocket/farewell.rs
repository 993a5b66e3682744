//! A gateway that ends while WebSockets live: both sides are told by a frame of theirs, where nothing is half sent.

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// How long a drain takes.
const GRACE: Duration = Duration::from_millis(200);

/// How long whoever answers a farewell may keep it up, on a busy machine.
const FAREWELL_WAIT: Duration = Duration::from_secs(5);

/// Says a word and hears it again, which is told, or says again what it hears; and then hears that the other side goes away.
async fn is_told<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    spoken: Option<&Notify>,
) {
    if spoken.is_some() {
        socket.send(Message::text("word")).await.unwrap();
    }
    let heard = within("a word", socket.next()).await.unwrap().unwrap();
    assert_eq!(heard, Message::text("word"));
    match spoken {
        Some(spoken) => spoken.notify_one(),
        None => socket.send(heard).await.unwrap(),
    }
    let farewell = within("a farewell", socket.next()).await.unwrap().unwrap();
    let Message::Close(Some(why)) = farewell else { panic!("{farewell:?}") };
    assert_eq!(why.code, CloseCode::Away);
    let end = within("the end", socket.next()).await;
    assert!(end.is_none(), "{end:?}");
    // Over TCP its library would close.
    let _ = socket.get_mut().shutdown().await;
}

/// The instance's side.
async fn served(instance: Instance, is_http2: bool) {
    if !is_http2 {
        let stream = instance.accept().await.into_stream();
        return is_told(accept_async(stream).await.unwrap(), None).await;
    }
    let mut server = accept_taking_protocols(&instance).await;
    let (asked, mut answers) = server.accept().await.unwrap().unwrap();
    let send = answers.send_response(Response::new(()), false).unwrap();
    let tunnel = Tunnel { send, body: asked.into_body(), read: Bytes::new() };
    let socket = WebSocketStream::from_raw_socket(tunnel, Role::Server, None).await;
    let moving = async { while server.accept().await.is_some() {} };
    tokio::select! {
        () = is_told(socket, None) => {}
        () = moving => panic!("the connection has ended before"),
    }
}

#[tokio::test]
async fn both_sides_of_a_websocket_are_told_in_whatever_version() {
    for (client_http2, instance_http2) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let instance = Instance::new().await;
        let addresses = [instance.address];
        let proxy =
            Proxy::gateway(&if instance_http2 { behind(&addresses) } else { world(&addresses) });
        let (address, spoken) = (proxy.address(), Notify::new());
        let client = if client_http2 { Some(connected(&proxy).await) } else { None };
        let asking = async {
            if let Some(client) = &client {
                is_told(client_of(tunnel(client, "").await).await, Some(&spoken)).await;
            } else {
                let stream = TcpStream::connect(address).await.unwrap();
                let (socket, _) = client_async("ws://shop/ws?x", stream).await.unwrap();
                is_told(socket, Some(&spoken)).await;
            }
        };
        let draining = async {
            spoken.notified().await;
            // Nobody is told before the time is over, and then nobody waits for long.
            let begun = std::time::Instant::now();
            proxy.running.drain(GRACE).await;
            let lasted = begun.elapsed();
            assert!(lasted >= GRACE && lasted < GRACE + FAREWELL_WAIT, "{lasted:?}");
        };
        within("all", async { tokio::join!(served(instance, instance_http2), asking, draining) })
            .await;
    }
}

/// A client in HTTP/1.1, and its instance, which have agreed to a WebSocket.
async fn raw(proxy: &Proxy, instance: &Instance) -> (Wire, Wire) {
    let mut client = proxy.client().await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(&format!("{}{upgrade}", get("/ws").strip_suffix("\r\n").unwrap())).await;
    let mut server = instance.accept().await;
    let head = server.head().await;
    server.send(&agreed(&head)).await;
    assert_eq!(status(&client.head().await), 101);
    (client, server)
}

/// What a client says that goes away.
async fn hears_of_client(server: &mut Wire) {
    let farewell = server.exactly(8).await;
    let [0x88, 0x82, ref key @ .., high, low] = farewell[..] else { panic!("{farewell:?}") };
    assert_eq!([high ^ key[0], low ^ key[1]], 1001_u16.to_be_bytes());
    server.closed().await;
}

#[tokio::test]
async fn who_has_half_a_frame_is_cut_off_and_the_other_side_told() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let (mut client, mut server) = raw(&proxy, &instance).await;
    server.send_bytes(b"\x82\x04word\x82\x0ahalf").await;
    assert_eq!(client.exactly(12).await, b"\x82\x04word\x82\x0ahalf");
    let drained = tokio::spawn(proxy.running.drain(GRACE));
    client.reset().await;
    hears_of_client(&mut server).await;
    drop(server);
    within("the drain", drained).await.unwrap();

    // In a client's frame, in HTTP/2.
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let client = connected(&proxy).await;
    let (mut tunnel, mut server) = under_way(&client, &instance).await;
    tunnel.write_all(b"\x82\x8akey.half").await.unwrap();
    assert_eq!(server.exactly(10).await, b"\x82\x8akey.half");
    let drained = tokio::spawn(proxy.running.drain(GRACE));
    server.reset().await;
    let mut heard = Vec::new();
    within("the end", tunnel.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"\x88\x02\x03\xe9");
    tunnel.shutdown().await.unwrap();
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn who_does_not_answer_a_farewell_holds_nothing_up() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let (mut client, mut server) = raw(&proxy, &instance).await;
    let begun = std::time::Instant::now();
    let drained = tokio::spawn(proxy.running.drain(GRACE));
    assert_eq!(client.exactly(4).await, b"\x88\x02\x03\xe9");
    server.exactly(8).await;
    within("the drain", drained).await.unwrap();
    let lasted = begun.elapsed();
    assert!(lasted < GRACE + FAREWELL_WAIT, "{lasted:?}");
}

#[tokio::test]
async fn other_protocols_are_cut_off_as_they_are() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&world(&[instance.address]));
    let (mut client, mut server) = raw(&proxy, &instance).await;
    server.send("no frame").await;
    client.text("no frame").await;
    let drained = tokio::spawn(proxy.running.drain(GRACE));
    client.reset().await;
    server.reset().await;
    within("the drain", drained).await.unwrap();
}
