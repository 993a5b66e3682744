//! SIGTERM at a gateway that serves: what is under way is finished, everybody is told in the words of their protocol, and what
//! does not end by itself is ended when the time is over, not before.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use testkit::{Process, http::get, wait};

use crate::{SOON, answers, fixed, sandbox};

const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {laneway.io/http2-prior-knowledge: \"true\"}}
spec:
  gatewayClassName: laneway
  listeners: [{name: http, port: 8000, protocol: HTTP}]
";

/// All of the time that a drain may take, and how long new requests are taken of it.
const DRAIN: Duration = Duration::from_secs(8);
const LAME_DUCK: Duration = Duration::from_secs(1);

/// What the application does not answer by itself.
const WAITS: &str = "/c/waits";

/// A word in a WebSocket, as a client says it and as it hears it again; and what it hears from whoever goes away.
const WORD: &[u8] = b"\x82\x84\0\0\0\0word";
const WORD_AGAIN: &[u8] = b"\x82\x04word";
const GOING_AWAY: &[u8] = b"\x88\x02\x03\xe9";

/// An application that repeats what it hears in a WebSocket, and gives the connections of what it does not answer by itself.
fn serve_application(address: &str) -> Result<Receiver<TcpStream>> {
    let (listener, (waiting, waits)) = (TcpListener::bind(address)?, channel());
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    named("application").spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let waiting = waiting.clone();
            // Ends with its connection.
            let _ = named("connection").spawn(move || answer(stream, &waiting));
        }
    })?;
    Ok(waits)
}

fn answer(mut stream: TcpStream, waiting: &Sender<TcpStream>) -> Result<()> {
    loop {
        let head = head(&stream)?;
        if head.starts_with(&format!("get {WAITS} ")) {
            return Ok(waiting.send(stream)?);
        }
        if head.contains("upgrade: websocket") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
            return repeat(stream);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
}

/// Says each word again, until it hears a farewell.
fn repeat(mut stream: TcpStream) -> Result<()> {
    loop {
        let mut head = [0; 6];
        stream.read_exact(&mut head)?;
        let mut word = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut word)?;
        if head[0] == GOING_AWAY[0] {
            return Ok(());
        }
        stream.write_all(&[WORD_AGAIN[..2].to_vec(), word].concat())?;
    }
}

/// The head that comes next, in small letters; nothing is read beyond it.
fn head(stream: &TcpStream) -> Result<String> {
    let mut head = String::new();
    // One byte at a time: what comes after it is somebody else's.
    let mut stream = BufReader::with_capacity(1, stream);
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "closed after {head:?}");
    }
    Ok(head.to_ascii_lowercase())
}

/// A client at work: in the end the status and the body that it got.
type Client = JoinHandle<Result<(u16, Vec<u8>)>>;

/// A client of HTTP/2 with one request, which is told that no other is taken before that is answered.
fn over_http2(address: String, told: Sender<()>) -> Result<Client> {
    let thread = std::thread::Builder::new().name("http2".to_owned());
    Ok(thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(async { tokio::time::timeout(SOON * 2, one_stream(&address, &told)).await? })
    })?)
}

async fn one_stream(address: &str, told: &Sender<()>) -> Result<(u16, Vec<u8>)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sending, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://c{WAITS}")).body(())?;
    let (answer, _) = sending.send_request(request, true)?;
    while sending.clone().ready().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    told.send(())?;
    let answer = answer.await?;
    let (status, mut body) = (answer.status().as_u16(), answer.into_body());
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece: Bytes = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend(piece);
    }
    drop((sending, body));
    // In order: GOAWAY and no error.
    connection.await??;
    Ok((status, all))
}

fn open(address: &str, request: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

#[test]
fn what_is_under_way_is_finished_and_everybody_is_told() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let waits = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&[GATEWAY, &fixed(&sandbox.endpoint(3, 8080))].concat())?;
    let (listen, admin) = (sandbox.gateway_address(), sandbox.endpoint(1, 15_020));
    let mut command = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
    command.args(["--gateway-listen", &listen, "--admin-listen", &admin]);
    command.args(["--lame-duck-seconds", &LAME_DUCK.as_secs().to_string()]);
    command.args(["--drain-seconds", &DRAIN.as_secs().to_string()]);
    command.arg("--data").arg(sandbox.path("gateway"));
    let mut gateway = Process::start("gateway", &mut command, sandbox.directory())?;
    answers(&listen, "/c", 200, "ok")?;

    let next = || waits.recv_timeout(SOON).context("the application is asked");
    let kept = open(&listen, &format!("GET {WAITS} HTTP/1.1\r\nhost: c\r\n\r\n"))?;
    let mut first = next()?;
    let (tell, told) = channel();
    let http2 = over_http2(listen.clone(), tell)?;
    let mut second = next()?;
    let asks = "GET /c HTTP/1.1\r\nhost: c\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut socket = open(&listen, asks)?;
    ensure!(head(&socket)?.starts_with("http/1.1 101 "));
    let mut word = || -> Result<()> {
        socket.write_all(WORD)?;
        let mut back = [0; WORD_AGAIN.len()];
        socket.read_exact(&mut back)?;
        ensure!(back == WORD_AGAIN, "{back:?}");
        Ok(())
    };
    word()?;
    ensure!(told.try_recv().is_err(), "nobody is told before");

    let asked = Instant::now();
    gateway.ask_to_stop();
    // Whoever looks at the readiness is told first; those who come meanwhile are answered.
    answers(&admin, "/readyz", 503, "it has been asked to stop")?;
    if let Ok(answer) = get(&listen, "/c", &[]) {
        ensure!(answer.status == 200, "{answer:?}");
    } else {
        ensure!(asked.elapsed() >= LAME_DUCK, "refused before its time");
    }
    told.recv_timeout(SOON).context("HTTP/2 is told")?;
    ensure!(asked.elapsed() >= LAME_DUCK, "told before its time");
    wait::until_true(SOON, "new callers to be refused", || TcpStream::connect(&listen).is_err())?;

    // What is under way has its answer, and is told with it.
    for stream in [&mut first, &mut second] {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")?;
    }
    let answer = head(&kept)?;
    ensure!(
        answer.starts_with("http/1.1 200 ") && answer.contains("connection: close"),
        "{answer}"
    );
    let mut rest = String::new();
    (&kept).read_to_string(&mut rest)?;
    ensure!(rest == "late", "{rest}");
    let (status, body) = http2.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    ensure!(status == 200 && body == b"late", "{status} {body:?}");

    // A WebSocket goes on, and is told and ended with the time.
    word()?;
    ensure!(gateway.ended().is_none(), "{}", gateway.output());
    let mut farewell = Vec::new();
    socket.read_to_end(&mut farewell).context("it ends in order")?;
    let lasted = asked.elapsed();
    ensure!(farewell == GOING_AWAY, "{farewell:?}");
    ensure!(lasted >= DRAIN, "ended after {lasted:?}");
    ensure!(gateway.wait_for_end(SOON)?.code() == Some(0), "{}", gateway.output());
    ensure!(asked.elapsed() < DRAIN + SOON);
    Ok(())
}
