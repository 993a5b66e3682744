//! What clients send in HTTP/2 on a connection: correct requests, odd ones, and such as would be others, or several, were
//! they written down as they are.

use std::{collections::VecDeque, fmt};

use testkit::Random;

use super::super::{
    frames::{self, CANCEL, END_STREAM, Fields, Frame, RST_STREAM, block, frame},
    generate::{NUMBER, body, latin, spoil_bytes},
};

/// The bytes of one connection of a client, behind its greeting.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) bytes: Vec<u8>,
    /// Its streams, in their order: 1, 3, 5.
    pub(super) asked: Vec<Asked>,
}

/// What a stream asks.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) number: String,
    /// What the client means, if it means anything: of bytes that were made wrong nobody knows.
    pub(super) meant: Option<Meant>,
    pub(super) is_correct: bool,
    /// The client may give it up before it is answered.
    pub(super) is_given_up: bool,
}

/// What a client says in frames.
#[derive(Clone)]
pub(super) struct Meant {
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    /// Nothing else is among it.
    pub(super) is_body_known: bool,
    pub(super) trailers: Fields,
}

impl fmt::Debug for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.fields.iter().chain(&self.trailers) {
            write!(f, "{}: {} | ", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "{}", self.body.escape_ascii())
    }
}

const METHODS: [&str; 8] = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// Paths that stay as they are.
const PATHS: [&str; 9] = [
    "/",
    "/a",
    "/a/b/",
    "/a;b=c/d",
    "/%20%C3%A9",
    "/a:b@c!$&'()*+,=",
    "/x%25y?a=b&c",
    "/-._~/%3Fq??/",
    "/a?%2F..%5C=http://b/",
];

const FIELDS: [(&str, &str); 16] = [
    ("accept", "*/*"),
    ("x-empty", ""),
    ("x-spaces", "a  b \t c"),
    ("x-colons", ":a:b:"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("x-latin", "\u{e9}\u{ff}"),
    ("!#$%&'*+-.^`|~09", "odd name"),
    ("cookie", "a=b"),
    ("cookie", "c=\"d\""),
    ("cookie", "e=f; g=h"),
    ("x-quoted", "\"a\\\"b, c\""),
    ("te", "trailers"),
    ("content-type", "text/plain"),
    ("x_under", "1"),
    ("user-agent", "a (b)"),
];

const TRAILERS: [(&str, &str); 3] = [("x-sum", "1"), ("x-sum", "2"), ("grpc-status", "0")];

/// Fields that frame, route, end a line, or belong to another protocol.
const HOSTILE_FIELDS: [(&str, &str); 58] = [
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "05"),
    ("content-length", "+5"),
    ("content-length", "5, 5"),
    ("content-length", "5,6"),
    ("content-length", ""),
    ("content-length", "18446744073709551621"),
    ("content-length ", "5"),
    ("content_length", "5"),
    ("transfer-encoding", "chunked"),
    ("transfer_encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("connection", "close"),
    ("connection", "transfer-encoding"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("upgrade", "h2c"),
    ("upgrade", "websocket"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
    ("te", "gzip"),
    ("te", "trailers, chunked"),
    ("host", "shop"),
    ("host", "SHOP:80"),
    ("host", "other"),
    ("host", "shop, other"),
    ("host ", "other"),
    ("host", ""),
    ("x\r\nhost", "other"),
    ("x: y\r\nz", "1"),
    ("x:", "1"),
    (":", "1"),
    ("X-Upper", "1"),
    ("x y", "1"),
    ("x\0", "1"),
    ("", "1"),
    ("x-\u{e9}", "1"),
    ("x-a", "1\r\nx-in: 2"),
    ("x-a", "1\r\n\r\nGET /within HTTP/1.1\r\nhost: shop\r\n\r\n"),
    ("x-a", "1\nx-in: 2"),
    ("x-a", "1\rx-in: 2"),
    ("x-a", "a\0b"),
    ("x-a", " b"),
    ("x-a", "b\t"),
    ("x-a", "\u{7f}"),
    (":path", "/second"),
    (":authority", "other"),
    (":method", "POST"),
    (":unknown", "1"),
    (":status", "200"),
    (":protocol", "websocket"),
    ("cookie", ""),
    ("cookie", "; "),
    ("cookie", "a=b\r\nx-in: 2"),
    ("expect", "100-continue"),
    ("trailer", "content-length"),
    ("x-forwarded-host", "other"),
    ("forwarded", "host=other"),
];

const HOSTILE_METHODS: [&str; 12] = [
    "GET / HTTP/1.1\r\nhost: other\r\n\r\nGET",
    "GET /x",
    "GET\t",
    "",
    "G\0T",
    "get",
    "PRI",
    "CONNECT",
    "M-SEARCH",
    "FROB{}",
    "TRACE",
    "GET:",
];

const HOSTILE_PATHS: [&str; 28] = [
    "",
    "*",
    "a",
    "?a",
    "/a b",
    "/a HTTP/1.1\r\nx-in: 2\r\n\r\n",
    "/a HTTP/1.0",
    "/\0",
    "/\t",
    "/\r\n",
    "/\n",
    "/\u{7f}",
    "/\u{e9}\u{ff}",
    "/a?\u{e9}",
    "http://other/x",
    "//other/x",
    "/a//b",
    "/#x",
    "/a?b#c",
    "/a?b c",
    "/a/../b",
    "/./a",
    "/%2e%2e/b",
    "/a%2fb",
    "/a\\b",
    "/%zz",
    "/%",
    "/a\"<>^`{|}",
];

const HOSTILE_AUTHORITIES: [&str; 20] = [
    "",
    "other",
    "SHOP",
    "shop:80",
    "shop:080",
    "shop:",
    "shop:99999",
    "shop.",
    "user@shop",
    "user:word@shop",
    "a b",
    "shop/x",
    "shop?x",
    "shop, other",
    "shop\r\nx-in: 2",
    "shop\0",
    "[::1]:80",
    "[::1",
    "sh\u{e9}p",
    "\"shop\"",
];

const HOSTILE_SCHEMES: [&str; 6] = ["https", "HTTP", "ftp", "", "http://other/", "http\r\nx-in: 2"];

const HOSTILE_TRAILERS: [(&str, &str); 12] = [
    ("content-length", "0"),
    ("transfer-encoding", "chunked"),
    ("host", "other"),
    (":path", "/second"),
    ("connection", "close"),
    ("x\r\nhost", "other"),
    ("x-a", "1\r\n\r\nGET /within HTTP/1.1\r\nhost: shop\r\n\r\n"),
    ("X-Upper", "1"),
    ("", "1"),
    ("x-a", "a\0b"),
    ("cookie", "a=b"),
    ("x-forwarded-for", "1.2.3.4"),
];

fn fields(text: &[(&str, &str)]) -> Fields {
    text.iter().map(|(name, value)| (latin(name), latin(value))).collect()
}

/// The connection with a number. `seeds`: bytes of others, which parts are taken of.
pub(super) fn connection(random: &mut Random, number: usize, seeds: &[Vec<u8>]) -> Connection {
    let is_hostile = random.percent(60);
    let mut units = Vec::new();
    let mut asked = Vec::new();
    for at in 0..1 + random.below(4) {
        let number = format!("{number}-{at}");
        let mut meant = request(random, &number);
        for _ in 0..if is_hostile { random.below(3) } else { 0 } {
            spoil(random, &mut meant);
        }
        let mut block = block(&meant.fields);
        let is_unknown = is_hostile && random.one_in(8);
        if is_unknown {
            spoil_bytes(random, &mut block, seeds);
        }
        let stream = at as u32 * 2 + 1;
        let mut frames = in_frames(random, stream, &block, &meant, is_hostile);
        if is_hostile && random.one_in(6) {
            frames.insert(1 + random.below(frames.len()), odd(random, stream, &block));
            meant.is_body_known = false;
        }
        if !frames.iter().any(|unit| has(unit, Frame::ends_stream)) {
            // Nobody is to wait for what does not come.
            frames.push_back(frame(RST_STREAM, 0, stream, &CANCEL));
        }
        let is_given_up = frames.iter().any(|unit| has(unit, |it| it.kind == RST_STREAM));
        units.push(frames);
        let meant = (!is_unknown).then_some(meant);
        asked.push(Asked { number, meant, is_correct: !is_hostile, is_given_up });
    }
    Connection { bytes: interleaved(random, units), asked }
}

/// Streams begin in their order, and what follows of each comes between what follows of others.
fn interleaved(random: &mut Random, streams: Vec<VecDeque<Vec<u8>>>) -> Vec<u8> {
    let (mut bytes, mut waiting) = (Vec::new(), VecDeque::from(streams));
    let mut begun: Vec<VecDeque<Vec<u8>>> = Vec::new();
    loop {
        begun.retain(|units| !units.is_empty());
        let at = random.below(begun.len() + 1);
        match begun.get_mut(at) {
            Some(units) => bytes.extend(units.pop_front().into_iter().flatten()),
            None => match waiting.pop_front() {
                Some(mut units) => {
                    bytes.extend(units.pop_front().into_iter().flatten());
                    begun.push(units);
                }
                None if begun.is_empty() => return bytes,
                None => {}
            },
        }
    }
}

/// A correct request.
fn request(random: &mut Random, number: &str) -> Meant {
    let method = random.of(&METHODS);
    let mut pseudo = vec![
        (":method", method),
        (":scheme", random.of(&["http", "http", "https"])),
        (":authority", "shop"),
        (":path", random.of(&PATHS)),
    ];
    let mut regular = vec![(NUMBER, number)];
    match random.below(6) {
        // `:authority` may be missing where there is `host`, and both may be there.
        0 => {
            pseudo.remove(2);
            regular.push(("host", "shop"));
        }
        1 => regular.push(("host", "shop")),
        _ => {}
    }
    for _ in 0..random.below(6) {
        regular.push(random.of(&FIELDS));
    }
    let first = random.below(pseudo.len());
    pseudo.rotate_left(first);
    let body = if method == "HEAD" || random.one_in(3) { Vec::new() } else { body(random) };
    let length = body.len().to_string();
    if random.one_in(3) {
        regular.push(("content-length", &length));
    }
    let first = random.below(regular.len());
    regular.rotate_left(first);
    let trailers =
        if !body.is_empty() && random.one_in(5) { vec![random.of(&TRAILERS)] } else { Vec::new() };
    let mut all = fields(&pseudo);
    all.extend(fields(&regular));
    Meant { fields: all, body, is_body_known: true, trailers: fields(&trailers) }
}

/// Makes one thing of a request wrong, or odd.
fn spoil(random: &mut Random, meant: &mut Meant) {
    let at = random.below(meant.fields.len() + 1);
    let mut replace = |name: &str, value: &str| {
        let name = latin(name);
        for field in meant.fields.iter_mut().filter(|field| field.0 == name) {
            field.1 = latin(value);
        }
    };
    match random.below(12) {
        0 => replace(":method", random.of(&HOSTILE_METHODS)),
        1 | 2 => replace(":path", random.of(&HOSTILE_PATHS)),
        3 => replace(":authority", random.of(&HOSTILE_AUTHORITIES)),
        4 => replace(":scheme", random.of(&HOSTILE_SCHEMES)),
        5..=7 => {
            let at = if random.one_in(4) { at } else { meant.fields.len() };
            meant.fields.insert(at, fields(&[random.of(&HOSTILE_FIELDS)]).remove(0));
        }
        8 if at < meant.fields.len() => {
            meant.fields.remove(at);
        }
        9 => meant.trailers.extend(fields(&[random.of(&HOSTILE_TRAILERS)])),
        10 => meant.body.truncate(random.below(meant.body.len() + 1)),
        _ => {
            let length = (meant.body.len() + random.below(4)).saturating_sub(1).to_string();
            meant.fields.push((latin("content-length"), latin(&length)));
        }
    }
}

/// The units of a stream, none of which anything of another stream may come into.
fn in_frames(
    random: &mut Random,
    stream: u32,
    block: &[u8],
    meant: &Meant,
    is_hostile: bool,
) -> VecDeque<Vec<u8>> {
    let Meant { body, trailers, .. } = meant;
    let cut = random.one_in(4).then(|| random.below(block.len() + 1));
    let ends = |ends: bool| if ends { END_STREAM } else { 0 };
    let is_alone = body.is_empty() && trailers.is_empty() && random.one_in(2);
    let mut units = VecDeque::from([frames::head(stream, ends(is_alone), block, cut)]);
    let mut rest = &body[..];
    let mut is_over = is_alone;
    while !is_over {
        let (piece, behind) = rest.split_at(random.below(rest.len() + 1));
        rest = behind;
        is_over = rest.is_empty() && trailers.is_empty() && random.one_in(2);
        let padding = random.one_in(5).then(|| random.below(9) as u8);
        units.push_back(frames::data(stream, ends(is_over), piece, padding));
        if rest.is_empty() && !trailers.is_empty() {
            let last = frames::block(trailers);
            let is_last = !(is_hostile && random.one_in(8));
            units.push_back(frames::head(stream, ends(is_last), &last, None));
            break;
        }
    }
    units
}

/// Something behind the end, or in the midst.
fn odd(random: &mut Random, stream: u32, block: &[u8]) -> Vec<u8> {
    match random.below(4) {
        0 => frames::data(stream, END_STREAM, b"GET /behind HTTP/1.1\r\n\r\n", None),
        1 => frames::head(stream, END_STREAM, block, None),
        2 => frames::data(stream, 0, b"", None),
        _ => frame(RST_STREAM, 0, stream, &CANCEL),
    }
}

/// Whether there is such a frame.
fn has(unit: &[u8], is_such: impl Fn(&Frame) -> bool) -> bool {
    let mut bytes = unit.to_vec();
    std::iter::from_fn(|| frames::take(&mut bytes)).any(|frame| is_such(&frame))
}
