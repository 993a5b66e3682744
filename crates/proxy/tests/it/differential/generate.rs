//! What clients send on a connection: correct requests, odd ones, and such as are to be understood in two ways.

use testkit::Random;

/// The bytes of one connection of a client.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// What its requests are, where all of them are correct.
    pub(super) correct: Option<Vec<Correct>>,
}

/// A correct request, as it must arrive.
#[derive(Debug)]
pub(super) struct Correct {
    pub(super) number: String,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

/// A message in parts, which can be made wrong one by one.
pub(super) struct Parts {
    pub(super) line: Vec<u8>,
    pub(super) fields: Vec<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

/// Says which request it is, to whoever reads it.
pub(super) const NUMBER: &str = "x-number";

const METHODS: [&str; 8] = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// Paths that stay as they are.
const PATHS: [&str; 9] = [
    "/",
    "/a",
    "/a/b/",
    "/a;b=c/d",
    "/%20%C3%A9",
    "/a:b@c!$&'()*+,=",
    "/x%25y",
    "/-._~/%3Fq",
    "/long/long/long/long/long/long/long/long/long/long",
];

const QUERIES: [&str; 9] =
    ["", "", "", "?", "?a=b&c", "?%2F..%5C", "??/", "?a=http://b/#c", "?%zz%"];

const FIELDS: [&str; 16] = [
    "Accept: */*",
    "x-empty:",
    "X-Spaces: \t a  b \t ",
    "x-colons::a:b:",
    "X-Twice: 1",
    "x-twice: 2",
    "X-Twice:",
    "x-latin: \u{e9}\u{ff}",
    "!#$%&'*+-.^`|~09: odd name",
    "Cookie: a=b; c=\"d\"",
    "x-quoted: \"a\\\"b, c\"",
    "Connection: keep-alive",
    "Connection: x-hop, close-not",
    "X-Hop: 1",
    "TE: trailers",
    "Content-Type: text/plain",
];

/// What makes a request odd or hostile: fields that frame, route or are read differently.
pub(super) const HOSTILE_FIELDS: [&str; 41] = [
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: -1",
    "Content-Length: 5, 5",
    "Content-Length: 5,6",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length:",
    "Content-Length: 18446744073709551621",
    "Content-Length: 9223372036854775807",
    "content-length : 5",
    "Content_Length: 5",
    "Content-Length\t: 5",
    "Content-Length: \u{b}5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: chunked\u{0}",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding:",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Host: other",
    "Host:\tshop",
    "Host:",
    "Host: a b",
    "Host: shop:99999",
    "Connection: content-length",
    "Connection: transfer-encoding, host, close",
    "Connection: close",
    "Upgrade: h2c",
    "Expect: 100-continue",
    " folded: 1",
];

const HOSTILE_LINES: [&str; 22] = [
    "GET / HTTP/1.0",
    "GET / HTTP/0.9",
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET /",
    "GET  / HTTP/1.1",
    "GET / HTTP/1.1 ",
    " GET / HTTP/1.1",
    "GET\t/\tHTTP/1.1",
    "get / HTTP/1.1",
    "GET / http/1.1",
    "GET /a b HTTP/1.1",
    "GET /#x HTTP/1.1",
    "GET /a/../b HTTP/1.1",
    "GET /%2e%2e/b HTTP/1.1",
    "GET /\u{0} HTTP/1.1",
    "GET http://shop/x HTTP/1.1",
    "GET http://other/x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT shop:80 HTTP/1.1",
    "M-SEARCH /x HTTP/1.1",
    "FROB{} / HTTP/1.1",
];

/// Bodies in chunks that are not what they seem.
pub(super) const HOSTILE_CHUNKS: [&str; 22] = [
    "5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "00000000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 5\r\nHost: other\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "5\r\nhello\r\n0\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-Trailer: 1\n\n",
    "5\r\nhello\r\n00;x\r\n\r\n",
];

/// The stream with a number. `seeds`: bytes of others, which parts are taken of.
pub(super) fn stream(random: &mut Random, number: usize, seeds: &[Vec<u8>]) -> Stream {
    let requests = 1 + random.below(3);
    let made: Vec<(Parts, Correct)> =
        (0..requests).map(|at| request(random, format!("{number}-{at}"))).collect();
    let is_hostile = random.percent(60);
    let (mut bytes, mut correct) = (Vec::new(), Vec::new());
    for (mut parts, meant) in made {
        if is_hostile {
            for _ in 0..random.below(3) {
                spoil(random, &mut parts);
            }
        }
        bytes.extend(parts.bytes());
        correct.push(meant);
    }
    if is_hostile {
        for _ in 0..random.below(3) {
            spoil_bytes(random, &mut bytes, seeds);
        }
    }
    Stream { bytes, correct: (!is_hostile).then_some(correct) }
}

impl Parts {
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.line;
        bytes.extend(b"\r\n");
        for field in self.fields {
            bytes.extend(field);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body);
        bytes
    }
}

/// One byte for each character.
pub(super) fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|it| it as u8).collect()
}

/// A correct request.
fn request(random: &mut Random, number: String) -> (Parts, Correct) {
    let method = random.of(&METHODS);
    // A fragment is for clients alone.
    let query = random.of(&QUERIES).split('#').next().unwrap_or_default();
    let target = format!("{}{query}", random.of(&PATHS));
    let origin = if random.one_in(8) { "http://shop" } else { "" };
    let mut fields = vec![latin(random.of(&["Host: shop", "host:shop", "HOST:  shop "]))];
    fields.push(latin(&format!("{NUMBER}: {number}")));
    for _ in 0..random.below(5) {
        fields.push(latin(random.of(&FIELDS)));
    }
    let body = body(random);
    let framed = match random.below(3) {
        0 if method != "HEAD" => {
            let length = random.of(&["Content-Length", "content-length"]);
            fields.push(latin(&format!("{length}: {}", body.len())));
            if random.one_in(6) {
                fields.push(latin(&format!("Content-Length:{}", body.len())));
            }
            body.clone()
        }
        1 if method != "HEAD" => {
            fields.push(latin(
                random.of(&["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED"]),
            ));
            chunks(random, &body)
        }
        _ => Vec::new(),
    };
    let body = if framed.is_empty() { Vec::new() } else { body };
    let first = random.below(fields.len());
    fields.rotate_left(first);
    let line = latin(&format!("{method} {origin}{target} HTTP/1.1"));
    (Parts { line, fields, body: framed }, Correct { number, method, target, body })
}

/// Bytes that would be something else, were they read as such.
pub(super) fn body(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => Vec::new(),
        1 => b"0\r\n\r\n".to_vec(),
        2 => b"GET /within HTTP/1.1\r\nHost: shop\r\n\r\n".to_vec(),
        3 => b"5\r\nhello\r\n0\r\n\r\nGET /behind HTTP/1.1\r\nHost: shop\r\n\r\n".to_vec(),
        _ => (0..random.below(200)).map(|_| random.number() as u8).collect(),
    }
}

pub(super) fn chunks(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(1 + random.below(rest.len()));
        let size = match random.below(3) {
            0 => format!("{:x}", chunk.len()),
            1 => format!("000{:X}", chunk.len()),
            _ => format!("{:X};a=b;c", chunk.len()),
        };
        bytes.extend(latin(&size));
        bytes.extend(b"\r\n");
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        rest = behind;
    }
    bytes.extend(latin(random.of(&["0\r\n\r\n", "000;x\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n"])));
    bytes
}

/// Makes one thing of a request wrong, or odd.
fn spoil(random: &mut Random, parts: &mut Parts) {
    let at = random.below(parts.fields.len() + 1);
    match random.below(8) {
        0 => parts.line = latin(random.of(&HOSTILE_LINES)),
        1..=3 => parts.fields.insert(at, latin(random.of(&HOSTILE_FIELDS))),
        4 if at < parts.fields.len() => {
            parts.fields.remove(at);
        }
        4 | 5 => {
            parts.fields.push(b"Transfer-Encoding: chunked".to_vec());
            parts.body = latin(random.of(&HOSTILE_CHUNKS));
        }
        6 => {
            // A line more, or less, or ended otherwise.
            let end = random.of(&["\n", "\r", "\r\r\n", "\0", "\r\n\r\n", "\r\n ", "\r\n\t"]);
            let field = latin(&format!("x-a: 1{end}x-b: 2"));
            parts.fields.insert(at, field);
        }
        _ => {
            let length = parts.body.len() + random.below(4);
            parts.fields.push(latin(&format!("Content-Length: {}", length.saturating_sub(1))));
        }
    }
}

/// Makes bytes wrong, wherever they are.
pub(super) fn spoil_bytes(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] = random.number() as u8,
        1 if at < bytes.len() => {
            bytes.remove(at);
        }
        2 => bytes.insert(at, random.of(b"\r\n \t:;,0\0\x0b\x7f")),
        3 => bytes.truncate(at),
        4 => {
            let seed = &seeds[random.below(seeds.len())];
            let (one, other) = (random.below(seed.len() + 1), random.below(seed.len() + 1));
            bytes.splice(at..at, seed[one.min(other)..one.max(other)].iter().copied());
        }
        _ => {
            let seed = &seeds[random.below(seeds.len())];
            bytes.extend(seed);
        }
    }
}
