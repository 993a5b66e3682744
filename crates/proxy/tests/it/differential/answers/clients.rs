//! Clients of others that say what they make of answers. Each is given the same bytes on one connection, answer by answer,
//! and behind the last one that leaves it open another, which must be read for itself. In HTTP/2 that is behind all of them.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use testkit::Process;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Mutex,
};

use super::{
    super::servers::{FIELDS_MAX, unhex},
    Answer,
    letter::Piece,
};
use crate::{suites, world::eventually};

/// What is answered behind all that came.
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-last: yes\r\n\r\nlast";

/// How long a client may take for what needs none, also where others have the machine; curl ends by itself before.
const PATIENCE: Duration = Duration::from_secs(30);
const CURL_SECONDS: &str = "25";

/// A client.
pub(super) struct Client {
    pub(super) name: &'static str,
    kind: Kind,
}

enum Kind {
    Hyper,
    /// What hyper speaks HTTP/2 with.
    H2,
    /// With the flag that has it speak a version.
    Curl(&'static str),
    /// A program that is told where to ask what, line by line, and says in a line what it has read.
    Program(Box<Program>),
}

struct Program {
    told: Mutex<BufReader<UnixStream>>,
    _process: Process,
}

/// What a client has read: `None` where an answer is none, or none to its end.
pub(super) type Read = Option<Answer>;

/// hyper, curl, Node, Go and Python.
pub(super) async fn all(place: &Path) -> Vec<Client> {
    let (node, python) = (script("node", "node.js"), script("python3", "python.py"));
    let go = Command::new(suites::program("read-answers"));
    let mut clients = vec![
        Client { name: "hyper", kind: Kind::Hyper },
        Client { name: "curl", kind: Kind::Curl("--http1.1") },
    ];
    for (name, command) in [("node", node), ("go", go), ("python", python)] {
        clients.push(program(place, name, command).await);
    }
    clients
}

/// h2, curl, Node and Go, in HTTP/2.
pub(super) async fn all_in_http2(place: &Path) -> Vec<Client> {
    let (node, go) = (script("node", "http2.js"), suites::program("read-answers"));
    let mut go = Command::new(go);
    go.arg("-http2");
    let mut clients = vec![
        Client { name: "h2", kind: Kind::H2 },
        Client { name: "curl", kind: Kind::Curl("--http2-prior-knowledge") },
    ];
    for (name, command) in [("node", node), ("go", go)] {
        clients.push(program(place, name, command).await);
    }
    clients
}

fn script(interpreter: &str, file: &str) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/differential/answers");
    let mut command = Command::new(interpreter);
    if interpreter == "node" {
        command.arg("--max-http-header-size=131072");
    }
    command.arg(here.join(file));
    command
}

/// Starts a program that is told its socket last.
async fn program(place: &Path, name: &'static str, mut command: Command) -> Client {
    let socket = place.join(format!("{name}.sock"));
    let process = Process::start(name, command.arg(&socket), place).unwrap();
    let mut stream = None;
    eventually(name, async || {
        stream = UnixStream::connect(&socket).await.ok();
        stream.is_some()
    })
    .await;
    let told = Mutex::new(BufReader::new(stream.unwrap()));
    Client { name, kind: Kind::Program(Box::new(Program { told, _process: process })) }
}

impl Client {
    /// Shows it what came to requests with these methods. The error says what it made of it instead. `leaves`: it does not
    /// ask any further on the same connection.
    pub(super) async fn reads_the_same(
        &self,
        place: &Path,
        number: usize,
        (methods, pieces): (&[&'static str], &[Piece]),
        leaves: bool,
    ) -> Result<(), String> {
        let mut methods = methods.to_vec();
        let mut expected: Vec<Read> = pieces.iter().map(|piece| piece.answer.clone()).collect();
        if !leaves && pieces.last().is_some_and(|last| !last.closes) {
            methods.push("GET");
            expected.push(Some(last()));
        }
        let said: Vec<_> = pieces.iter().map(|it| (it.bytes.clone(), it.closes)).collect();
        let read = self.read(place, number, &methods, async |stream| say(stream, &said).await);
        let read = read.await?;
        if read != expected {
            return Err(format!("{read:#?}\nand by the letter: {expected:#?}"));
        }
        Ok(())
    }

    /// What it makes of what is said to it on the one connection that it makes, when it asks with these methods. The error says
    /// that it does otherwise than ask there.
    pub(super) async fn read(
        &self,
        place: &Path,
        number: usize,
        methods: &[&'static str],
        say: impl AsyncFn(UnixStream),
    ) -> Result<Vec<Read>, String> {
        let socket = place.join(format!("{}-{number}.sock", self.name));
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = AtomicUsize::default();
        let saying = async {
            while let Ok((stream, _)) = listener.accept().await {
                // What came on one connection is shown on one.
                if connections.fetch_add(1, Relaxed) == 0 {
                    say(stream).await;
                }
            }
        };
        let asking = tokio::time::timeout(PATIENCE, self.ask(&socket, methods));
        let read = tokio::select! {
            read = asking => read.map_err(|_| "it waits".to_owned()),
            () = saying => unreachable!("a listener fails"),
        };
        fs::remove_file(&socket).unwrap();
        match connections.into_inner() {
            1 => read,
            connections => Err(format!("it has asked on {connections} connections: {read:#?}")),
        }
    }

    async fn ask(&self, socket: &Path, methods: &[&'static str]) -> Vec<Read> {
        match &self.kind {
            Kind::Hyper => ask_with_hyper(socket, methods).await,
            Kind::H2 => ask_with_h2(socket, methods).await,
            Kind::Curl(version) => ask_with_curl(socket, version, methods).await,
            Kind::Program(program) => {
                let mut told = program.told.lock().await;
                let asked = format!("{} {}\n", socket.to_str().unwrap(), methods.join(" "));
                told.get_mut().write_all(asked.as_bytes()).await.unwrap();
                let mut line = String::new();
                told.read_line(&mut line).await.unwrap();
                line.split_whitespace().map(from_told).collect()
            }
        }
    }
}

/// An answer as programs say it: status, body and fields, in hexadecimal; `-` where there was none.
fn from_told(text: &str) -> Read {
    let mut parts = text.split('.');
    let status = parts.next()?.parse().ok()?;
    let body = unhex(parts.next()?)?;
    let field = |part: &str| {
        let (name, value) = part.split_once(':')?;
        Some((unhex(name)?, unhex(value)?))
    };
    let fields: Option<Vec<_>> = parts.map(field).collect();
    Some(Answer::new(status, &body, fields?.into_iter()))
}

/// The answer behind all others.
pub(super) fn last() -> Answer {
    Answer::new(200, b"last", [(b"x-last".into(), b"yes".into())].into_iter())
}

async fn say(mut stream: UnixStream, said: &[(Vec<u8>, bool)]) {
    let last = (LAST.as_bytes().to_vec(), true);
    let mut received = Vec::new();
    for (bytes, closes) in said.iter().chain([&last]) {
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut received).await.unwrap_or_default() == 0 {
                return;
            }
        };
        received.drain(..end);
        if stream.write_all(bytes).await.is_err() || *closes {
            return;
        }
    }
}

async fn ask_with_hyper(socket: &Path, methods: &[&str]) -> Vec<Read> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let mut settings = http1::Builder::new();
    let handshake = settings.max_headers(FIELDS_MAX).handshake(TokioIo::new(stream));
    let (mut send, connection) = handshake.await.unwrap();
    let moving = tokio::spawn(connection);
    let mut read = Vec::new();
    for method in methods {
        let request = Request::builder().method(*method).uri("/").header("host", "shop");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = async {
            send.ready().await.ok()?;
            let (head, body) = send.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let fields = head.headers.iter();
            let fields =
                fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().into()));
            Some(Answer::new(head.status.as_u16(), &body, fields))
        };
        read.push(answer.await);
        if read.last().is_some_and(Option::is_none) {
            break;
        }
    }
    moving.abort();
    read
}

async fn ask_with_h2(socket: &Path, methods: &[&str]) -> Vec<Read> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let Ok((send, connection)) = h2::client::handshake(stream).await else { return Vec::new() };
    let moving = tokio::spawn(connection);
    let mut read = Vec::new();
    for method in methods {
        let request = Request::builder().method(*method).uri("http://shop/").body(()).unwrap();
        let answer = async {
            let mut send = send.clone().ready().await.ok()?;
            let (head, mut body) =
                send.send_request(request, true).ok()?.0.await.ok()?.into_parts();
            let mut whole = Vec::new();
            while let Some(data) = body.data().await {
                whole.extend_from_slice(&data.ok()?);
            }
            body.trailers().await.ok()?;
            let fields = head.headers.iter();
            let fields =
                fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().into()));
            Some(Answer::new(head.status.as_u16(), &whole, fields))
        };
        read.push(answer.await);
    }
    moving.abort();
    read
}

async fn ask_with_curl(socket: &Path, version: &str, methods: &[&str]) -> Vec<Read> {
    let place = socket.with_extension("curl");
    fs::create_dir(&place).unwrap();
    let file = |what: &str, at: usize| place.join(format!("{what}-{at}"));
    let mut curl = Command::new("curl");
    for (at, method) in methods.iter().enumerate() {
        if at > 0 {
            curl.arg("--next");
        }
        curl.args(["--silent", version, "--fail-early", "--disable", "--unix-socket"]).arg(socket);
        curl.arg("--dump-header").arg(file("head", at)).arg("--output").arg(file("body", at));
        curl.args(["--write-out", "%{http_code}\\n", "--max-time", CURL_SECONDS]);
        match *method {
            "HEAD" => curl.arg("--head"),
            method => curl.args(["--request", method]),
        };
        curl.arg("http://shop/");
    }
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut read: Vec<Read> = said
        .lines()
        .enumerate()
        .map(|(at, status)| {
            let (head, body) = (fs::read(file("head", at)), fs::read(file("body", at)));
            let fields = of_last_head(&head.unwrap_or_default());
            let body = if methods[at] == "HEAD" { Vec::new() } else { body.unwrap_or_default() };
            Some(Answer::new(status.parse().ok()?, &body, fields.into_iter()))
        })
        .collect();
    if !output.status.success()
        && let Some(last) = read.last_mut()
    {
        // The first that fails is the last.
        *last = None;
    }
    fs::remove_dir_all(&place).unwrap();
    read
}

/// The fields of the last of the heads that curl has kept.
fn of_last_head(heads: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text: Vec<&[u8]> = heads.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    let heads = text.split(|line| line.is_empty()).filter(|head| !head.is_empty());
    // Behind a body in chunks come lines that are no head.
    let mut heads = heads.filter(|head| head[0].starts_with(b"HTTP/"));
    let last = heads.next_back().unwrap_or_default();
    let lines = last.iter().skip(1).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((line[..at].to_ascii_lowercase(), line[at + 1..].to_vec()))
    });
    lines.collect()
}
