//! An instance that understands HTTP/1.1 by the letter and on its own: it shares no code with the proxy, answers what it
//! was asked, and remembers all of it.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What answers say of whom they answer.
pub(crate) const ANSWERS: &str = "x-answers: ";

/// What came on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A whole request: its first line, its fields in lower case with their values, the bytes of its body, and the lines
    /// behind a body in chunks.
    Request { line: String, fields: Fields, body: Vec<u8>, trailers: Vec<String> },
    /// A head whose body did not come.
    Unfinished { line: String, fields: Fields },
    /// Bytes that are no request, or not surely one.
    Nonsense(Vec<u8>),
}

/// What an instance is told to say, once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    /// The connection ends behind it.
    pub(crate) closes: bool,
}

/// All that came on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    pub(crate) bytes: Vec<u8>,
    pub(crate) heard: Vec<Heard>,
    /// Where in `bytes` each of these began.
    pub(crate) starts: Vec<usize>,
}

/// What to say to a request.
type Reply = Arc<dyn Fn(&Heard) -> Said + Send + Sync>;

/// An instance.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    conversations: Arc<Mutex<Vec<Conversation>>>,
    open: Arc<tokio::sync::Semaphore>,
}

/// Connections that may be open at once.
const OPEN_MAX: u32 = 1_000;

impl Origin {
    pub(crate) async fn start() -> Self {
        Self::answering(usual).await
    }

    /// One that says this, to one request after the other, before it answers as all do.
    pub(crate) async fn saying(answers: Vec<Said>) -> Self {
        let answers = Mutex::new(VecDeque::from(answers));
        Self::answering(move |heard| {
            let told = answers.lock().unwrap().pop_front();
            told.unwrap_or_else(|| usual(heard))
        })
        .await
    }

    /// One that answers so.
    pub(crate) async fn answering(reply: impl Fn(&Heard) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let conversations = Arc::<Mutex<Vec<Conversation>>>::default();
        let open = Arc::new(tokio::sync::Semaphore::new(OPEN_MAX as usize));
        let (kept, ended, permits) = (heard.clone(), conversations.clone(), open.clone());
        let reply: Reply = Arc::new(reply);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let permit = permits.clone().acquire_owned().await.unwrap();
                let (kept, ended, reply) = (kept.clone(), ended.clone(), reply.clone());
                tokio::spawn(async move {
                    let conversation = converse(stream, &kept, &reply).await;
                    ended.lock().unwrap().push(conversation);
                    drop(permit);
                });
            }
        });
        Self { address, heard, conversations, open }
    }

    /// The connections that have ended since this was asked before.
    pub(crate) fn conversations(&self) -> Vec<Conversation> {
        std::mem::take(&mut *self.conversations.lock().unwrap())
    }

    /// All that was heard. To be called when nobody calls any more: waits until all connections are at their end.
    pub(crate) async fn heard(&self) -> Vec<Heard> {
        let all = self.open.acquire_many(OPEN_MAX);
        let _none_open = crate::world::within("connections to end", all).await.unwrap();
        self.heard.lock().unwrap().clone()
    }
}

/// A connection whose bytes are kept.
struct Taped {
    stream: TcpStream,
    tape: Vec<u8>,
}

impl Taped {
    async fn read_buf(&mut self, received: &mut Vec<u8>) -> io::Result<usize> {
        let before = received.len();
        let bytes = self.stream.read_buf(received).await?;
        self.tape.extend_from_slice(&received[before..]);
        Ok(bytes)
    }
}

async fn converse(stream: TcpStream, heard: &Mutex<Vec<Heard>>, reply: &Reply) -> Conversation {
    let mut stream = Taped { stream, tape: Vec::new() };
    let (mut received, mut here, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let start = stream.tape.len() - received.len();
        let Some(next) = read(&mut stream, &mut received).await else { break };
        starts.push(start);
        heard.lock().unwrap().push(next.clone());
        let answer = matches!(next, Heard::Request { .. }).then(|| reply(&next));
        here.push(next);
        let Some(Said { bytes, closes }) = answer else { break };
        if stream.stream.write_all(&bytes).await.is_err() || closes {
            break;
        }
    }
    Conversation { bytes: stream.tape, heard: here, starts }
}

fn usual(heard: &Heard) -> Said {
    let Heard::Request { line, .. } = heard else { return Said::default() };
    let body = if line.starts_with("HEAD ") { "" } else { "hello" };
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{ANSWERS}{line}\r\n\r\n{body}");
    Said { bytes: answer.into_bytes(), closes: false }
}

/// The next request. `None` at an end between two.
async fn read(stream: &mut Taped, received: &mut Vec<u8>) -> Option<Heard> {
    let end = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(received).await.unwrap_or_default() == 0 {
            return (!received.is_empty()).then(|| Heard::Nonsense(std::mem::take(received)));
        }
    };
    let head: Vec<u8> = received.drain(..end).collect();
    let Some((line, fields, length)) = understand(&head) else {
        return Some(Heard::Nonsense(head));
    };
    let mut body = Vec::new();
    match length {
        Length::Known(bytes) => {
            while (received.len() as u64) < bytes {
                if stream.read_buf(received).await.unwrap_or_default() == 0 {
                    return Some(Heard::Unfinished { line, fields });
                }
            }
            body.extend(received.drain(..bytes as usize));
        }
        Length::Chunked => loop {
            let mut size_line = Vec::new();
            if !read_line(stream, received, &mut size_line).await {
                return Some(Heard::Unfinished { line, fields });
            }
            let text = String::from_utf8_lossy(&size_line).into_owned();
            let Ok(bytes) = usize::from_str_radix(&text, 16) else {
                return Some(Heard::Nonsense(size_line));
            };
            while received.len() < bytes + 2 && bytes > 0 {
                if stream.read_buf(received).await.unwrap_or_default() == 0 {
                    return Some(Heard::Unfinished { line, fields });
                }
            }
            if bytes > 0 {
                body.extend(received.drain(..bytes));
                if received.drain(..2).collect::<Vec<_>>() != b"\r\n" {
                    return Some(Heard::Nonsense(body));
                }
                continue;
            }
            let mut trailers = Vec::new();
            loop {
                let mut trailer = Vec::new();
                if !read_line(stream, received, &mut trailer).await {
                    return Some(Heard::Unfinished { line, fields });
                }
                if trailer.is_empty() {
                    return Some(Heard::Request { line, fields, body, trailers });
                }
                trailers.push(trailer.into_iter().map(char::from).collect());
            }
        },
    }
    Some(Heard::Request { line, fields, body, trailers: Vec::new() })
}

/// A line without its end. False at the end of the stream.
async fn read_line(stream: &mut Taped, received: &mut Vec<u8>, line: &mut Vec<u8>) -> bool {
    loop {
        if let Some(at) = received.windows(2).position(|two| two == b"\r\n") {
            line.extend(received.drain(..at));
            received.drain(..2);
            return true;
        }
        if stream.read_buf(received).await.unwrap_or_default() == 0 {
            return false;
        }
    }
}

enum Length {
    Known(u64),
    Chunked,
}

/// Names, in lower case, and values.
pub(crate) type Fields = Vec<(String, String)>;

/// A head about which no two servers disagree; `None` for any other.
fn understand(head: &[u8]) -> Option<(String, Fields, Length)> {
    let text: String = head.iter().copied().map(char::from).collect();
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n")?.split("\r\n").collect();
    let (line, rest) = lines.split_first()?;
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_token = |text: &str| {
        !text.is_empty()
            && text.chars().all(|it| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it))
    };
    if !is_token(method) || !target.chars().all(|it| it.is_ascii_graphic()) || target.is_empty() {
        return None;
    }
    let mut fields = Vec::new();
    for line in rest {
        let (name, value) = line.split_once(':')?;
        let is_odd = |it: char| (it < ' ' && it != '\t') || it == '\u{7f}';
        if !is_token(name) || value.chars().any(is_odd) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    // What applications behind CGI read as one of these, and servers do not.
    let plain = |name: &str| name.replace('_', "-");
    let lengths: Vec<_> =
        fields.iter().filter(|(name, _)| plain(name) == "content-length").collect();
    let codings: Vec<_> =
        fields.iter().filter(|(name, _)| plain(name) == "transfer-encoding").collect();
    let hosts = fields.iter().filter(|(name, _)| name == "host").count();
    let length = match (&lengths[..], &codings[..]) {
        ([], []) => Length::Known(0),
        ([(name, value)], []) if name == "content-length" => {
            let is_number = value.chars().all(|digit| digit.is_ascii_digit());
            Length::Known(is_number.then(|| value.parse().ok())??)
        }
        ([], [(name, value)]) if name == "transfer-encoding" && value == "chunked" => {
            Length::Chunked
        }
        _ => return None,
    };
    (hosts == 1).then(|| ((*line).to_owned(), fields, length))
}
