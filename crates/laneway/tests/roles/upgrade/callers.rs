//! Callers of every kind, who notice each connection that is refused and each answer that does not come.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use testkit::wait;
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
        AsyncWriteExt as _, BufReader,
    },
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::{LocalSet, spawn_local},
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{SOON, https::FIXTURES};

/// The kinds of callers.
const KINDS: [&str; 5] = ["HTTP/1.1", "HTTP/1.1 that waits", "TLS", "HTTP/2", "WebSocket"];

/// Answers of each kind that must pass between two upgrades.
const BETWEEN: usize = 5;

/// Between two requests of whoever leaves a connection idle meanwhile.
const WAITS: Duration = Duration::from_millis(400);

/// Words that pass in one WebSocket: it lives through at least one upgrade.
const WORDS: usize = 40;

/// Longest for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

#[derive(Debug)]
struct Shared {
    plain: SocketAddr,
    tls: SocketAddr,
    is_over: AtomicBool,
    answers: [AtomicUsize; KINDS.len()],
    /// What was refused, or cut.
    lost: Mutex<Vec<String>>,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Callers {
    /// Starts to call a gateway, in the clear and in TLS, with so many requests per second in all.
    pub(crate) fn start(plain: &str, tls: &str, rate: u32) -> Result<Self> {
        let shared = Arc::new(Shared {
            plain: plain.parse()?,
            tls: tls.parse()?,
            is_over: AtomicBool::new(false),
            answers: Default::default(),
            lost: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("callers".to_owned()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(LocalSet::new().run_until(call(theirs, rate)))
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until some more of every kind have been answered.
    pub(crate) fn pass(&self) -> Result<()> {
        let counts = || self.shared.answers.each_ref().map(|it| it.load(Relaxed));
        let before = counts();
        wait::until(SOON, "answers of every kind", || {
            let now = counts();
            let lost = self.shared.lost.lock();
            ensure!(lost.is_empty(), "{lost:?}");
            let all = now.iter().zip(before).all(|(now, before)| *now >= before + BETWEEN);
            ensure!(all, "{KINDS:?}: {now:?} after {before:?}");
            Ok(())
        })
    }

    /// Ends; what was answered of each kind. An error when anything was lost.
    pub(crate) fn stop(mut self) -> Result<Vec<(&'static str, usize)>> {
        self.shared.is_over.store(true, Relaxed);
        match self.thread.take().context("callers end once")?.join() {
            Ok(outcome) => outcome?,
            Err(_panic) => bail!("the callers panicked"),
        }
        let lost = self.shared.lost.lock();
        ensure!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
        Ok(KINDS
            .into_iter()
            .zip(self.shared.answers.each_ref().map(|it| it.load(Relaxed)))
            .collect())
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
    }
}

/// Calls on one connection, from its beginning to its end.
async fn call(shared: Arc<Shared>, rate: u32) -> Result<()> {
    // A caller of each kind but the one that waits shares the rate.
    let period = Duration::from_secs(1) * (KINDS.len() as u32 - 1) / rate;
    let mut all = Vec::new();
    for (kind, name) in KINDS.into_iter().enumerate() {
        let shared = Arc::clone(&shared);
        let connector = connector(name)?;
        all.push(spawn_local(async move {
            let mut beat = interval(if kind == 1 { WAITS } else { period });
            beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while !shared.is_over.load(Relaxed) {
                let called = one_connection(&shared, kind, connector.as_ref(), &mut beat).await;
                if let Err(error) = called {
                    shared.lost.lock().push(format!("{name}: {error:#}"));
                    beat.tick().await;
                }
            }
        }));
    }
    for one in all {
        one.await?;
    }
    Ok(())
}

/// What agrees on TLS, for the kinds that speak it.
fn connector(kind: &str) -> Result<Option<TlsConnector>> {
    let protocol: &[u8] = match kind {
        "TLS" => b"http/1.1",
        "HTTP/2" => b"h2",
        _ => return Ok(None),
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{FIXTURES}/root.crt"))?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

async fn one_connection(
    shared: &Shared,
    kind: usize,
    connector: Option<&TlsConnector>,
    beat: &mut Interval,
) -> Result<()> {
    let answered = &shared.answers[kind];
    let address = if connector.is_some() { shared.tls } else { shared.plain };
    let connected = timeout(ANSWER_WITHIN, TcpStream::connect(address)).await;
    let stream = connected.context("connect: no answer")?.context("connect")?;
    stream.set_nodelay(true)?;
    let Some(connector) = connector else {
        return match KINDS[kind] {
            "WebSocket" => web_socket(shared, stream, answered, beat).await,
            _ => over_http1(shared, stream, answered, beat).await,
        };
    };
    let name = ServerName::try_from("leaf.example")?;
    let agreed = timeout(ANSWER_WITHIN, connector.connect(name, stream)).await;
    let stream = agreed.context("agree on TLS: no answer")?.context("agree on TLS")?;
    match KINDS[kind] {
        "HTTP/2" => over_http2(shared, stream, answered, beat).await,
        _ => over_http1(shared, stream, answered, beat).await,
    }
}

/// One request after the other, until told that this was the last.
async fn over_http1(
    shared: &Shared,
    stream: impl Stream,
    answered: &AtomicUsize,
    beat: &mut Interval,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while !shared.is_over.load(Relaxed) {
        beat.tick().await;
        stream.write_all(b"GET /c HTTP/1.1\r\nhost: leaf.example\r\n\r\n").await.context("ask")?;
        stream.flush().await.context("ask")?;
        let head = timeout(ANSWER_WITHIN, head(&mut stream)).await.context("no answer")??;
        ensure!(head.starts_with("http/1.1 200 "), "{head}");
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.context("the body")?;
        answered.fetch_add(1, Relaxed);
        if head.contains("connection: close") {
            return Ok(());
        }
    }
    Ok(())
}

/// A head, in small letters.
async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let bytes = stream.read_line(&mut head).await.context("the head")?;
        ensure!(bytes > 0, "closed after {head:?}");
    }
    Ok(head.to_ascii_lowercase())
}

/// One stream after the other, until no new one is taken.
async fn over_http2(
    shared: &Shared,
    stream: impl Stream + 'static,
    answered: &AtomicUsize,
    beat: &mut Interval,
) -> Result<()> {
    let (sending, connection) = h2::client::handshake(stream).await.context("begin")?;
    let connection = spawn_local(connection);
    while !shared.is_over.load(Relaxed) {
        beat.tick().await;
        // Nothing is asked of one that has said that it takes nothing more.
        let Ok(mut sending) = sending.clone().ready().await else { break };
        let request = http::Request::get("https://leaf.example/c").body(())?;
        let (answer, _) = sending.send_request(request, true)?;
        let answer =
            timeout(ANSWER_WITHIN, answer).await.context("no answer")?.context("answer")?;
        ensure!(answer.status() == 200, "{answer:?}");
        let mut body = answer.into_body();
        let mut all = Vec::new();
        while let Some(piece) = body.data().await {
            let piece: Bytes = piece.context("the body")?;
            body.flow_control().release_capacity(piece.len())?;
            all.extend(piece);
        }
        ensure!(all == b"ok", "{all:?}");
        answered.fetch_add(1, Relaxed);
    }
    drop(sending);
    connection.await?.context("the end of the connection")
}

/// Words there and back, in an upgraded connection that outlives an upgrade of the gateway.
async fn web_socket(
    shared: &Shared,
    stream: impl Stream,
    answered: &AtomicUsize,
    beat: &mut Interval,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let asked = b"GET /c HTTP/1.1\r\nhost: leaf.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(asked).await.context("ask")?;
    let head = timeout(ANSWER_WITHIN, head(&mut stream)).await.context("no answer")??;
    ensure!(head.starts_with("http/1.1 101 "), "{head}");
    for _ in 0..WORDS {
        if shared.is_over.load(Relaxed) {
            break;
        }
        beat.tick().await;
        stream.write_all(b"word").await.context("say a word")?;
        let mut back = [0; 4];
        timeout(ANSWER_WITHIN, stream.read_exact(&mut back))
            .await
            .context("no word")?
            .context("a word")?;
        ensure!(&back == b"word", "{back:?}");
        answered.fetch_add(1, Relaxed);
    }
    stream.shutdown().await.context("end")
}

/// An application that says `ok`, and repeats what it hears in a WebSocket. Ends with the test.
pub(crate) fn serve_application(address: &str) -> Result<JoinHandle<Result<()>>> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let thread = std::thread::Builder::new().name("application".to_owned());
    Ok(thread.spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(LocalSet::new().run_until(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                spawn_local(answer(stream));
            }
        }))
    })?)
}

async fn answer(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let head = head(&mut stream).await?;
        if head.contains("upgrade: websocket") {
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(answer).await?;
            let (mut from, mut to) = tokio::io::split(stream);
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await?;
            return Ok(());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
}
