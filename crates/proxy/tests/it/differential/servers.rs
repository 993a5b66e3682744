//! Servers of others that say what they make of a request: each answer has a field `x-read`.

use std::{
    convert::Infallible,
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use testkit::Process;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::{
    origin::{Heard, Origin, Said},
    suites,
    world::{eventually, within},
};

/// Fields that whoever has a limit of their own takes: more than a gateway sends on.
pub(super) const FIELDS_MAX: usize = 1_024;

/// A request as a server read it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Names in lower case and values, by name; those of one name in their order. Without what is about a connection or
    /// about where the body ends: that one is told itself.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, body, fields } = self;
        write!(f, "{} {}", method.escape_ascii(), target.escape_ascii())?;
        for (name, value) in fields {
            write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, " | {}", body.escape_ascii())
    }
}

/// Fields that others act on and need not tell.
const UNTOLD: &[&[u8]] = &[
    b"connection",
    b"upgrade",
    b"expect",
    b"content-length",
    b"transfer-encoding",
    b"keep-alive",
    b"trailer",
];

/// Names and values as they are compared.
pub(super) fn told_fields(
    fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let told = fields.filter(|(name, _)| !UNTOLD.contains(&&name[..]));
    // nginx leaves tabs around a value.
    let trimmed = told.map(|(name, value)| (name, value.trim_ascii().to_vec()));
    let mut fields: Vec<_> = trimmed.collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

impl Read {
    pub(super) fn new(
        method: &[u8],
        target: &[u8],
        body: &[u8],
        fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let (method, target, body) = (method.to_vec(), target.to_vec(), body.to_vec());
        Self { method, target, body, fields: told_fields(fields) }
    }

    /// What was heard by the letter; `None` of what was not heard to its end.
    pub(super) fn of(heard: &Heard) -> Option<Self> {
        matches!(heard, Heard::Request { .. }).then(|| Self::begun(heard))?
    }

    /// The same of what ends before its body does: as far as it goes.
    pub(super) fn begun(heard: &Heard) -> Option<Self> {
        let (line, fields, body) = match heard {
            Heard::Request { line, fields, body, .. } => (line, fields, &body[..]),
            Heard::Unfinished { line, fields } => (line, fields, &[][..]),
            Heard::Nonsense(_) => return None,
        };
        let mut words = line.split(' ').map(str::as_bytes);
        let (method, target) = (words.next()?, words.next()?);
        let bytes = |text: &str| text.chars().map(|it| it as u8).collect();
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value)));
        Some(Self::new(method, target, body, fields))
    }

    /// As `x-read` says it: method, target, body and fields in hexadecimal.
    fn told(&self) -> String {
        let mut text = [&self.method, &self.target, &self.body].map(|it| hex(it)).join(".");
        for (name, value) in &self.fields {
            let _ = write!(text, ".{}:{}", hex(name), hex(value));
        }
        text
    }

    fn from_told(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let [method, target, body] = [(); 3].map(|()| parts.next().and_then(unhex));
        let field = |part: &str| {
            let (name, value) = part.split_once(':')?;
            Some((unhex(name)?, unhex(value)?))
        };
        let fields: Option<Vec<_>> = parts.map(field).collect();
        Some(Self::new(&method?, &target?, &body?, fields?.into_iter()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A server on a Unix socket.
pub(super) struct Server {
    pub(super) name: &'static str,
    socket: PathBuf,
    _process: Option<Process>,
}

/// What a server made of the bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Understood {
    pub(super) requests: Vec<Read>,
    /// With which status it refused what came behind them.
    pub(super) refused: Option<u16>,
    /// It has read more than was asked for, or waits for what does not come.
    pub(super) wrongly: Option<&'static str>,
}

/// hyper, Node, Go, nginx and HAProxy. What keeps them running is in `place`, and ends with what is returned; the two that
/// are proxies tell what they make of a request by what they send on.
pub(super) async fn all(place: &Path) -> (Vec<Server>, Origin) {
    let behind = Origin::answering(|heard| {
        let told = Read::of(heard).map(|read| read.told()).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-read: {told}\r\n\r\n");
        Said { bytes: answer.into_bytes(), closes: false }
    })
    .await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/differential");
    let socket = |name: &str| place.join(format!("{name}.sock"));
    let mut servers = vec![hyper(socket("hyper"))];
    let mut node = Command::new("node");
    node.arg("--max-http-header-size=131072").arg(here.join("node.js")).arg(socket("node"));
    let mut go = Command::new(suites::program("read-requests"));
    go.arg(socket("go"));
    let instance = behind.address.to_string();
    let configured = |name: &str| {
        let text = fs::read_to_string(here.join(format!("{name}.conf"))).unwrap();
        let text = text.replace("PLACE", place.to_str().unwrap()).replace("INSTANCE", &instance);
        let text = text.replace("FIELDS_MAX", &FIELDS_MAX.to_string());
        let file = place.join(format!("{name}.conf"));
        fs::write(&file, text).unwrap();
        file
    };
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(place).arg("-c").arg(configured("nginx"));
    let mut haproxy = Command::new("haproxy");
    haproxy.arg("-db").arg("-f").arg(configured("haproxy"));
    let programs =
        [("node", &mut node), ("go", &mut go), ("nginx", &mut nginx), ("haproxy", &mut haproxy)];
    for (name, command) in programs {
        let process = Process::start(name, command, place).unwrap();
        servers.push(Server { name, socket: socket(name), _process: Some(process) });
    }
    for server in &servers {
        eventually(server.name, async || UnixStream::connect(&server.socket).await.is_ok()).await;
    }
    (servers, behind)
}

fn hyper(socket: PathBuf) -> Server {
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut settings = http1::Builder::new();
            settings.max_headers(FIELDS_MAX);
            tokio::spawn(settings.serve_connection(TokioIo::new(stream), service_fn(tell)));
        }
    });
    Server { name: "hyper", socket, _process: None }
}

async fn tell(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::builder().status(400).body(Empty::new()).unwrap());
    };
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec()));
    let target = head.uri.to_string();
    let method = head.method.as_str().as_bytes();
    let read = Read::new(method, target.as_bytes(), &body.to_bytes(), fields);
    let answer = Response::builder().header("x-read", read.told()).header("content-length", 0);
    Ok(answer.body(Empty::new()).unwrap())
}

/// How long a server may take for what needs none.
const PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    /// Sends it the bytes of a connection that hold `count` requests and perhaps a piece of another, and reads what it makes
    /// of them.
    pub(super) async fn understands(&self, bytes: &[u8], count: usize) -> Understood {
        let mut understood = Understood { requests: Vec::new(), refused: None, wrongly: None };
        let stream = within("a server", UnixStream::connect(&self.socket)).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        // Who refuses need not read on.
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            let _refused = to.write_all(&bytes).await;
            to
        });
        let mut received = Vec::new();
        let mut to = Some(sending);
        loop {
            while let Some(answer) = take_answer(&mut received) {
                match answer {
                    Answer::Interim => {}
                    Answer::Read(read) => understood.requests.push(read),
                    Answer::Refused(status) => {
                        // A piece of a request may be refused, or not be answered at all.
                        understood.refused = (understood.requests.len() < count).then_some(status);
                        return understood;
                    }
                }
            }
            if understood.requests.len() > count {
                understood.wrongly = Some("it reads more requests");
                return understood;
            }
            if understood.requests.len() == count
                && let Some(sending) = to.take()
            {
                let _gone = sending.await.unwrap().shutdown().await;
            }
            match tokio::time::timeout(PATIENCE, from.read_buf(&mut received)).await {
                Ok(Ok(bytes)) if bytes > 0 => {}
                Ok(_) if understood.requests.len() == count => return understood,
                Ok(_) => understood.wrongly = Some("it leaves"),
                Err(_) => understood.wrongly = Some("it waits"),
            }
            if understood.wrongly.is_some() {
                return understood;
            }
        }
    }
}

enum Answer {
    Interim,
    Read(Read),
    Refused(u16),
}

/// Takes the first head from what was received. Answers that tell something have no body, and those that refuse are the last.
fn take_answer(received: &mut Vec<u8>) -> Option<Answer> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head: Vec<u8> = received.drain(..end).collect();
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let told = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-read").then(|| Read::from_told(value))
    });
    Some(match (status, told.flatten()) {
        (100..=199, _) => Answer::Interim,
        (200, Some(read)) => Answer::Read(read),
        (status, _) => Answer::Refused(status),
    })
}
