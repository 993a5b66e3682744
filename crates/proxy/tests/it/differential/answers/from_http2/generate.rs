//! What an instance answers in HTTP/2: correctly, oddly, and so that it would be other answers, or several, were it written
//! down as it is. Frames of an answer are on stream 1 here, and take that of their request.

use testkit::Random;

use super::super::generate::{Asked, Correct, POISON, Stream, number};
use crate::differential::{
    frames::{self, CANCEL, DATA, END_STREAM, Fields, GOAWAY, RST_STREAM, block, frame},
    generate::{NUMBER, body, latin, spoil_bytes},
};

/// Bytes of a number.
pub(super) const NUMBER_BYTES: usize = 16;

const METHODS: [&str; 7] = ["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"];

const STATUSES: [&str; 15] = [
    "200", "200", "200", "200", "201", "203", "204", "205", "206", "301", "304", "404", "418",
    "500", "503",
];

const INTERIM: [&str; 3] = ["100", "102", "103"];

const FIELDS: [(&str, &str); 14] = [
    ("server", "somebody"),
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("set-cookie", "a=b; Path=/"),
    ("set-cookie", "c=\"d\""),
    ("x-empty", ""),
    ("x-spaces", "a  b \t c"),
    ("x-colons", ":a:b:"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("x-latin", "\u{e9}\u{ff}\u{85}"),
    ("!#$%&'*+-.^`|~09", "odd name"),
    ("content-type", "text/plain"),
    ("etag", "W/\"x\""),
    ("trailer", "x-sum"),
];

/// Fields that frame, end a line, belong to one connection or to another kind of head.
const HOSTILE_FIELDS: [(&str, &str); 40] = [
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "05"),
    ("content-length", "+5"),
    ("content-length", "5, 5"),
    ("content-length", ""),
    ("content-length", "18446744073709551621"),
    ("content-length ", "5"),
    ("content_length", "5"),
    ("transfer-encoding", "chunked"),
    ("transfer_encoding", "chunked"),
    ("transfer-encoding", "gzip"),
    ("connection", "close"),
    ("connection", "content-length"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("upgrade", "websocket"),
    ("trailer", "content-length"),
    ("content-encoding", "chunked"),
    ("x\r\nset-cookie", "a=b"),
    ("x: y\r\nz", "1"),
    ("x:", "1"),
    ("X-Upper", "1"),
    ("x y", "1"),
    ("x\0", "1"),
    ("", "1"),
    ("x-\u{e9}", "1"),
    ("x-a", "1\r\nx-in: 2"),
    ("x-a", "1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("x-a", "1\nx-in: 2"),
    ("x-a", "1\rx-in: 2"),
    ("x-a", "a\0b"),
    ("x-a", " b"),
    ("x-a", "b\t"),
    ("set-cookie", "a\0b"),
    (":path", "/"),
    (":status", "204"),
    (":unknown", "1"),
    ("te", "trailers"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
];

const HOSTILE_STATUSES: [&str; 14] = [
    "",
    "20",
    "2000",
    "099",
    "999",
    "+20",
    "200 OK",
    "200\r\nx-in: 2",
    "2\u{0}0",
    "101",
    "100",
    "204",
    "205",
    "304",
];

const HOSTILE_TRAILERS: [(&str, &str); 9] = [
    ("content-length", "0"),
    ("transfer-encoding", "chunked"),
    (":status", "200"),
    ("x\r\nset-cookie", "a=b"),
    ("x-a", "1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("X-Upper", "1"),
    ("", "1"),
    ("x-a", "a\0b"),
    ("set-cookie", "a=b"),
];

/// An answer in parts.
struct Parts {
    interim: Option<&'static str>,
    fields: Fields,
    body: Vec<u8>,
    trailers: Fields,
}

fn fields(text: &[(&str, &str)]) -> Fields {
    text.iter().map(|(name, value)| (latin(name), latin(value))).collect()
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
    if !is_hostile {
        let bytes = in_frames(random, &parts, None);
        return Asked {
            method,
            number,
            bytes,
            closes: false,
            ends_apart: false,
            correct: Some(correct),
        };
    }
    for _ in 0..random.below(3) {
        spoil(random, &mut parts);
    }
    let spoilt = random.one_in(6).then(|| {
        let mut block = block(&parts.fields);
        spoil_bytes(random, &mut block, seeds);
        block
    });
    let mut bytes = in_frames(random, &parts, spoilt);
    if random.one_in(3) {
        let at = frames_in(&bytes);
        let at = at[random.below(at.len())];
        bytes.splice(at..at, odd(random, &number));
    }
    if random.one_in(16) {
        spoil_bytes(random, &mut bytes, seeds);
    }
    // Whoever waits for more of it must not wait for ever.
    Asked { method, number, bytes, closes: true, ends_apart: true, correct: None }
}

/// Where frames begin, and where the last ends.
fn frames_in(bytes: &[u8]) -> Vec<usize> {
    let mut rest = bytes.to_vec();
    let mut all = vec![0];
    while frames::take(&mut rest).is_some() {
        all.push(bytes.len() - rest.len());
    }
    all
}

/// A frame, or several, where none belongs.
fn odd(random: &mut Random, number: &str) -> Vec<u8> {
    let poison = format!("{POISON}{number}");
    let poison = fields(&[(":status", "200"), (NUMBER, &poison)]);
    match random.below(8) {
        0 => frames::head(1, END_STREAM, &block(&poison), None),
        // On the stream behind, which nobody has begun yet.
        1 => frames::head(3, END_STREAM, &block(&poison), None),
        2 => frame(DATA, END_STREAM, 1, b"HTTP/1.1 200 OK\r\n\r\n"),
        3 => frame(DATA, 0, 3, b"hello"),
        4 => frame(RST_STREAM, 0, 1, &CANCEL),
        // Whether it was done nobody knows; or it was not.
        5 => frame(RST_STREAM, 0, 1, &[0, 0, 0, random.of(&[0, 2, 7])]),
        6 => frame(GOAWAY, 0, 0, &[0; 8]),
        _ => frames::head(1, 0, &block(&fields(&[(":status", "103")])), None),
    }
}

/// A correct answer.
fn answer(random: &mut Random, method: &str, number: &str) -> (Parts, Correct) {
    let status = random.of(&STATUSES);
    let interim = random.one_in(8).then(|| random.of(&INTERIM));
    let mut regular = vec![(NUMBER, number)];
    for _ in 0..random.below(5) {
        regular.push(random.of(&FIELDS));
    }
    let is_silent = method == "HEAD" || matches!(status, "204" | "304");
    let content = if status == "205" { Vec::new() } else { body(random) };
    let length = content.len().to_string();
    if status != "204" && random.one_in(2) {
        regular.push(("content-length", &length));
    }
    let first = random.below(regular.len());
    regular.rotate_left(first);
    let all = [&[(":status", status)], &regular[..]].concat();
    let body = if is_silent { Vec::new() } else { content };
    let has_trailers = !is_silent && random.one_in(6);
    let trailers = if has_trailers { fields(&[("x-sum", "1")]) } else { Vec::new() };
    let parts = Parts { interim, fields: fields(&all), body: body.clone(), trailers };
    let status = status.parse().unwrap_or_default();
    (parts, Correct { status, body, is_until_close: false })
}

/// Makes one thing of an answer wrong, or odd.
fn spoil(random: &mut Random, parts: &mut Parts) {
    let at = random.below(parts.fields.len() + 1);
    match random.below(8) {
        0 => {
            if let Some(field) = parts.fields.iter_mut().find(|(name, _)| name == b":status") {
                field.1 = latin(random.of(&HOSTILE_STATUSES));
            }
        }
        1..=3 => {
            let at = if random.one_in(4) { at } else { parts.fields.len() };
            parts.fields.insert(at, fields(&[random.of(&HOSTILE_FIELDS)]).remove(0));
        }
        4 if at < parts.fields.len() => {
            parts.fields.remove(at);
        }
        5 => parts.trailers.extend(fields(&[random.of(&HOSTILE_TRAILERS)])),
        6 => parts.body.truncate(random.below(parts.body.len() + 1)),
        _ => {
            let length = (parts.body.len() + random.below(4)).saturating_sub(1).to_string();
            parts.fields.push((latin("content-length"), latin(&length)));
        }
    }
}

/// `spoilt`: the block of its head, where it is not that of its fields.
fn in_frames(random: &mut Random, parts: &Parts, spoilt: Option<Vec<u8>>) -> Vec<u8> {
    let Parts { interim, fields: head, body, trailers } = parts;
    let block = spoilt.unwrap_or_else(|| block(head));
    let mut bytes = Vec::new();
    if let Some(status) = interim {
        let hint = fields(&[(":status", status), ("x-interim", "1")]);
        bytes.extend(frames::head(1, 0, &frames::block(&hint), None));
    }
    let cut = random.one_in(4).then(|| random.below(block.len() + 1));
    let ends = |ends: bool| if ends { END_STREAM } else { 0 };
    let mut is_over = body.is_empty() && trailers.is_empty() && random.one_in(2);
    bytes.extend(frames::head(1, ends(is_over), &block, cut));
    let mut rest = &body[..];
    while !is_over {
        let (piece, behind) = rest.split_at(random.below(rest.len() + 1));
        rest = behind;
        is_over = rest.is_empty() && trailers.is_empty() && random.one_in(2);
        let padding = random.one_in(5).then(|| random.below(9) as u8);
        bytes.extend(frames::data(1, ends(is_over), piece, padding));
        if rest.is_empty() && !trailers.is_empty() {
            bytes.extend(frames::head(1, END_STREAM, &frames::block(trailers), None));
            break;
        }
    }
    bytes
}
