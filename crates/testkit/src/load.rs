//! A steady stream of requests over keep-alive connections, every answer kept with its times.
//!
//! Requests are due at fixed times whatever the answers do (as far as the connections suffice), so that a stall is seen
//! as late answers and not as a pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};

use crate::http;

/// Longest that a request may take; longer counts as failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Stands for the request's number in a [`Profile`].
pub const ID: &str = "{id}";

/// What is sent, how often, over how many connections.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Where to: `127.0.0.1:8000`.
    pub address: String,
    /// Requests per second.
    pub rate: u32,
    /// Keep-alive connections; also the most requests in flight.
    pub connections: usize,
    /// The kinds of requests, sent in turn: each a whole request, in which [`ID`] stands for the request's number.
    pub kinds: Vec<String>,
}

/// A request that was sent, and what came of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its number, from 0.
    pub number: u64,
    /// Which of the profile's kinds it was.
    pub kind: usize,
    /// When its first byte was about to be sent.
    pub at: Instant,
    /// When its answer was whole, or it had failed.
    pub until: Instant,
    /// Status and body, or why there is none.
    pub outcome: Result<(u16, String), String>,
}

/// A stream of requests under way.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    profile: Profile,
    started: Instant,
    next: AtomicU64,
    over: AtomicBool,
    sent: Mutex<Vec<Sent>>,
}

/// A `GET` for a [`Profile`]: each header a `name: value` line.
#[must_use]
pub fn get(target: &str, headers: &[&str]) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: load.test\r\n{}\r\n", lines(headers))
}

/// A `POST` for a [`Profile`].
#[must_use]
pub fn post(target: &str, headers: &[&str], body: &str) -> String {
    let (lines, length) = (lines(headers), body.len());
    format!(
        "POST {target} HTTP/1.1\r\nhost: load.test\r\n{lines}content-length: {length}\r\n\r\n{body}"
    )
}

fn lines(headers: &[&str]) -> String {
    headers.iter().map(|header| format!("{header}\r\n")).collect()
}

impl Load {
    /// Starts sending, on a thread of its own.
    #[must_use]
    pub fn start(profile: Profile) -> Self {
        let shared = Arc::new(Shared {
            profile,
            started: Instant::now(),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            sent: Mutex::new(Vec::new()),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("load".to_owned());
        let thread = thread.spawn(move || run(&theirs)).ok();
        Self { shared, thread }
    }

    /// How many answers there are by now.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.sent.lock().len()
    }

    /// Stops sending, waits for what is in flight, and returns everything sent, in order of sending.
    ///
    /// # Errors
    /// When the load could not run at all.
    pub fn stop(mut self) -> Result<Vec<Sent>> {
        self.shared.over.store(true, Ordering::Relaxed);
        match self.thread.take().context("the load's thread did not start")?.join() {
            Ok(outcome) => outcome?,
            Err(_panic) => bail!("the load's thread panicked"),
        }
        let mut sent = self.shared.sent.lock();
        let mut sent = std::mem::take(&mut *sent);
        sent.sort_by_key(|sent| sent.at);
        Ok(sent)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

fn run(shared: &Arc<Shared>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the load's runtime")?;
    runtime.block_on(LocalSet::new().run_until(async {
        let connections: Vec<_> = (0..shared.profile.connections)
            .map(|_| tokio::task::spawn_local(send_in_turn(Arc::clone(shared))))
            .collect();
        for connection in connections {
            connection.await.context("a connection's task ended early")?;
        }
        Ok(())
    }))
}

/// One connection: takes the next request that is due, sends it, keeps the answer.
async fn send_in_turn(shared: Arc<Shared>) {
    let mut connection = None;
    let mut kept = Vec::new();
    while !shared.over.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX)
            / shared.profile.rate;
        tokio::time::sleep_until((shared.started + after).into()).await;
        if shared.over.load(Ordering::Relaxed) {
            break;
        }
        let kind = usize::try_from(number).unwrap_or_default() % shared.profile.kinds.len();
        let request = shared.profile.kinds[kind].replace(ID, &number.to_string());
        let at = Instant::now();
        let exchange = exchange(&mut connection, &shared.profile.address, &request);
        let outcome = match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
            Err(_elapsed) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
        };
        if outcome.is_err() {
            connection = None;
        }
        kept.push(Sent { number, kind, at, until: Instant::now(), outcome });
        shared.sent.lock().append(&mut kept);
    }
}

async fn exchange(
    connection: &mut Option<TcpStream>,
    address: &str,
    request: &str,
) -> Result<(u16, String)> {
    // A server may close an idle connection at any time. A `GET` is asked again; nothing else may be repeated, so it
    // goes over a connection that is seen to be open.
    if let Some(stream) = connection.as_ref()
        && stream.try_read(&mut [0; 1]).is_ok()
    {
        *connection = None;
    }
    let may_repeat = request.starts_with("GET ");
    for _ in 0..2 {
        let reused = connection.is_some();
        let stream = match connection.as_mut() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(address).await.context("connect")?;
                stream.set_nodelay(true).context("set nodelay")?;
                connection.insert(stream)
            }
        };
        let sent = stream.write_all(request.as_bytes()).await;
        let mut bytes = Vec::with_capacity(1024);
        let outcome = match sent {
            Ok(()) => answer(stream, &mut bytes).await,
            Err(error) => Err(error).context("send"),
        };
        match outcome {
            Ok(answer) => {
                if http::header(&answer.head, "connection").is_some_and(|value| value == "close") {
                    *connection = None;
                }
                return Ok((answer.status, answer.body));
            }
            Err(_) if may_repeat && reused && bytes.is_empty() => *connection = None,
            Err(error) => return Err(error),
        }
    }
    bail!("the connection was closed twice before an answer")
}

async fn answer(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<http::Answer> {
    loop {
        if stream.read_buf(bytes).await.context("receive")? == 0 {
            bail!("closed after {} bytes of an answer", bytes.len());
        }
        if let Some((answer, used)) = http::parse(bytes)? {
            if used != bytes.len() {
                bail!("{} stray bytes after an answer", bytes.len() - used);
            }
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn requests_are_sent_at_their_rate_and_in_turn_and_each_answer_is_kept() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        let target = String::from_utf8_lossy(&buffer[4..count])[..2].to_owned();
                        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
                        stream.write_all(format!("{head}{target}").as_bytes()).unwrap();
                    }
                });
            }
        });
        let kinds = vec![get("/0", &[]), get("/1", &["a: b"])];
        let load = Load::start(Profile { address, rate: 500, connections: 4, kinds });
        crate::wait::until_true(Duration::from_secs(10), "100 answers", || load.answered() >= 100)
            .unwrap();
        let sent = load.stop().unwrap();
        for sent in &sent {
            assert_eq!(sent.outcome, Ok((200, format!("/{}", sent.kind))));
        }
        let took = sent[99].at.duration_since(sent[0].at);
        assert!(took >= Duration::from_millis(190), "100 requests at 500/s in {took:?}");
    }
}
