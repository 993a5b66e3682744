//! What an instance answers: correctly, oddly, and so that it is to be understood in two ways.

use testkit::Random;

use super::super::generate::{
    HOSTILE_CHUNKS, HOSTILE_FIELDS, NUMBER, Parts, body, chunks, latin, spoil_bytes,
};

/// What one client asks on its connection, and what it is answered.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) asked: Vec<Asked>,
    /// The last is asked in HTTP/1.0.
    pub(super) is_old: bool,
}

/// One request, and the bytes that answer it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) number: String,
    pub(super) bytes: Vec<u8>,
    /// The instance closes behind them.
    pub(super) closes: bool,
    /// Its end is another thing than the end of what it announces, and may be wrong by itself: the connection of a client that
    /// has had all of it ends then.
    pub(super) ends_apart: bool,
    /// What the answer is, where it is correct.
    pub(super) correct: Option<Correct>,
}

/// A correct answer, as it must arrive.
#[derive(Debug)]
pub(super) struct Correct {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// It ends with its connection.
    pub(super) is_until_close: bool,
}

/// What begins the number of an answer that nobody asked for.
pub(super) const POISON: &str = "poison-of-";

const METHODS: [&str; 7] = ["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"];

const STATUSES: [u16; 16] =
    [200, 200, 200, 200, 201, 203, 204, 205, 206, 301, 304, 404, 418, 500, 503, 600];

const REASONS: [&str; 6] = [" OK", " OK", " ", "", " odd\treason  \u{e9}\u{ff}", " 200 HTTP/1.1"];

const INTERIM: [&str; 4] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 100\r\nx-interim: 1\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n",
];

const FIELDS: [&str; 18] = [
    "Server: somebody",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT",
    "Set-Cookie: a=b; Path=/",
    "set-cookie: c=\"d\"",
    "x-empty:",
    "X-Spaces: \t a  b \t ",
    "x-colons::a:b:",
    "X-Twice: 1",
    "x-twice: 2",
    "x-latin: \u{e9}\u{ff}\u{85}",
    "!#$%&'*+-.^`|~09: odd name",
    "Connection: keep-alive",
    "Connection: x-hop",
    "X-Hop: 1",
    "Keep-Alive: timeout=5",
    "Content-Type: text/plain",
    "ETag: W/\"x\"",
    "Trailer: x-sum",
];

const HOSTILE_LINES: [&str; 27] = [
    "HTTP/1.0 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/1.10 200 OK",
    "http/1.1 200 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200\tOK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 +20 OK",
    "HTTP/1.1 0200 OK",
    "HTTP/1.1 099 OK",
    "HTTP/1.1 200OK",
    "HTTP/1.1 999 ?",
    "HTTP/1.1 200 a\0b",
    "HTTP/1.1 200 a\rb",
    " HTTP/1.1 200 OK",
    "\r\nHTTP/1.1 200 OK",
    "\nHTTP/1.1 200 OK",
    "ICY 200 OK",
    "200 OK",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 205 Reset Content",
    "HTTP/1.1 304 Not Modified",
];

/// Beside those that requests are spoilt with.
const MORE_HOSTILE_FIELDS: [&str; 10] = [
    "Connection: upgrade",
    "Upgrade: websocket",
    "Trailer: content-length",
    "Connection: transfer-encoding",
    "Content-Length: 0",
    "Content-Encoding: chunked",
    "Set-Cookie: a\0b",
    "x-a: \u{1}",
    "no colon",
    ": no name",
];

/// A text that no other number becomes by a wrong byte.
pub(super) fn number(at: usize) -> String {
    format!("{:016x}", Random::new(at as u64).number())
}

/// The stream whose requests have the numbers from `first` on. `seeds`: bytes of others, which parts are taken of.
pub(super) fn stream(random: &mut Random, first: usize, seeds: &[Vec<u8>]) -> Stream {
    let is_hostile = random.percent(50);
    let count = 1 + random.below(4);
    let asked = (first..first + count)
        .map(|at| {
            let is_hostile = is_hostile && random.percent(60);
            asked(random, number(at), is_hostile, seeds)
        })
        .collect();
    Stream { asked, is_old: random.one_in(10) }
}

fn asked(random: &mut Random, number: String, is_hostile: bool, seeds: &[Vec<u8>]) -> Asked {
    let method = random.of(&METHODS);
    let (mut parts, correct) = answer(random, method, &number);
    let closes = correct.is_until_close || random.one_in(6);
    if !is_hostile {
        return Asked {
            method,
            number,
            bytes: parts.bytes(),
            closes,
            ends_apart: false,
            correct: Some(correct),
        };
    }
    if random.one_in(4) {
        // Right in itself, and more behind it that nobody asked for.
        let poison = poison(&number);
        let (mut bytes, is_silent) = (parts.bytes(), method == "HEAD" || correct.status == 204);
        bytes.extend(if is_silent && random.one_in(2) { b"hello".to_vec() } else { poison });
        return Asked { method, number, bytes, closes, ends_apart: false, correct: None };
    }
    for _ in 0..1 + random.below(2) {
        spoil(random, &mut parts);
    }
    let mut bytes = parts.bytes();
    for _ in 0..random.below(2) {
        spoil_bytes(random, &mut bytes, seeds);
    }
    if random.one_in(4) {
        bytes.extend(poison(&number));
    }
    // Whoever waits for more of it must not wait for ever.
    Asked { method, number, bytes, closes: true, ends_apart: false, correct: None }
}

/// An answer that nobody asked for.
fn poison(number: &str) -> Vec<u8> {
    latin(&format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{NUMBER}: {POISON}{number}\r\n\r\n"))
}

/// A correct answer.
fn answer(random: &mut Random, method: &str, number: &str) -> (Parts, Correct) {
    let status = random.of(&STATUSES);
    let interim = if random.one_in(8) { random.of(&INTERIM) } else { "" };
    let reason = random.of(&REASONS);
    let mut fields = vec![latin(&format!("{NUMBER}: {number}"))];
    for _ in 0..random.below(5) {
        fields.push(latin(random.of(&FIELDS)));
    }
    let content = body(random);
    let is_silent = method == "HEAD" || matches!(status, 204 | 304);
    let (framed, is_until_close) = match random.below(5) {
        _ if status == 204 => (Vec::new(), false),
        0 | 1 => {
            let length = random.of(&["Content-Length", "content-length"]);
            fields.push(latin(&format!("{length}: {}", content.len())));
            if random.one_in(6) {
                fields.push(latin(&format!("Content-Length:{}", content.len())));
            }
            (content.clone(), false)
        }
        2 | 3 => {
            let chunked = ["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED"];
            fields.push(latin(random.of(&chunked)));
            (chunks(random, &content), false)
        }
        _ if is_silent => (Vec::new(), false),
        _ => (content.clone(), true),
    };
    let is_old = is_until_close && random.one_in(3);
    let version = if is_old { "HTTP/1.0" } else { "HTTP/1.1" };
    let first = random.below(fields.len());
    fields.rotate_left(first);
    let line = latin(&format!("{interim}{version} {status}{reason}"));
    let body = if is_silent { Vec::new() } else { content };
    let framed = if is_silent { Vec::new() } else { framed };
    (Parts { line, fields, body: framed }, Correct { status, body, is_until_close })
}

/// Makes one thing of an answer wrong, or odd.
fn spoil(random: &mut Random, parts: &mut Parts) {
    let at = random.below(parts.fields.len() + 1);
    match random.below(10) {
        0 | 1 => parts.line = latin(random.of(&HOSTILE_LINES)),
        2..=4 => {
            let more = random.one_in(4);
            let field =
                if more { random.of(&MORE_HOSTILE_FIELDS) } else { random.of(&HOSTILE_FIELDS) };
            parts.fields.insert(at, latin(field));
        }
        5 => {
            parts.fields.push(b"Transfer-Encoding: chunked".to_vec());
            parts.body = latin(random.of(&HOSTILE_CHUNKS));
        }
        6 => {
            // A line more, or less, or ended otherwise.
            let end = random.of(&["\n", "\r", "\r\r\n", "\0", "\r\n\r\n", "\r\n ", "\r\n\t"]);
            parts.fields.insert(at, latin(&format!("x-a: 1{end}x-b: 2")));
        }
        7 | 8 => parts.body.truncate(random.below(parts.body.len() + 1)),
        _ => {
            let length = parts.body.len() + random.below(4);
            parts.fields.push(latin(&format!("Content-Length: {}", length.saturating_sub(1))));
        }
    }
}
