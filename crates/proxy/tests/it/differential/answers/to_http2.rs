//! What instances answer in HTTP/1.1 and clients get in HTTP/2 is read alike by everybody: h2, Node, Go and curl; and their
//! connection is as good for the next answer as it was before.

use std::{collections::HashSet, ops::Range, path::Path, time::Duration};

use futures_util::future::join_all;
use testkit::Random;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{
    Tally, answering, check_answer,
    clients::{self, Client, Read},
    differences,
    generate::{self, Asked, Stream},
};
use crate::{
    differential::{
        SEED, STREAMS_AT_ONCE, asked_for,
        frames::{
            self, ACK, DATA, END_HEADERS, END_STREAM, Fields, Frame, GOAWAY, HEADERS, PREFACE,
            RST_STREAM, SETTINGS, block, frame,
        },
        generate::{NUMBER, latin},
        seeds,
    },
    world::{Proxy, Wire, World},
};

/// Connections of clients where nobody asks for more: each is read by four, one of which is a process of its own.
const STREAMS: u64 = 250;

/// What came to one client on one connection.
struct Conversation {
    methods: Vec<&'static str>,
    /// The frames that came for each of its requests.
    pieces: Vec<Vec<Frame>>,
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a run says how it is repeated, and what it has shown")]
async fn what_comes_back_in_http2_is_read_alike_by_everybody() {
    if !testkit::needs("suites") || !testkit::needs("servers") {
        return;
    }
    let (streams, seed) =
        (asked_for("LANEWAY_DIFFERENTIAL", STREAMS), asked_for("LANEWAY_SEED", SEED));
    eprintln!("LANEWAY_SEED={seed} LANEWAY_DIFFERENTIAL={streams}");
    let place = tempfile::tempdir().unwrap();
    let clients = clients::all_in_http2(place.path()).await;
    let (mut random, seeds) = (Random::new(seed), seeds(&["response", "chunked_body"]));
    let mut tally = Tally::default();
    let (mut number, mut shown) = (0, 0);
    while shown < streams as usize {
        let count = STREAMS_AT_ONCE.min(streams as usize - shown);
        let made: Vec<_> = (0..count)
            .map(|_| {
                let stream = generate::stream(&mut random, number, &seeds);
                number += stream.asked.len();
                stream
            })
            .collect();
        let numbers = made.iter().flat_map(|it| &it.asked).map(|it| it.number.clone()).collect();
        for (at, conversation) in come_back(&made).await.into_iter().enumerate() {
            let read = compare(&clients, place.path(), shown + at, &conversation, &mut tally).await;
            check(&made[at], &read, &numbers, &mut tally);
        }
        shown += count;
        differences(&tally, seed);
    }
    eprintln!("{tally:?}");
    tally.shows_enough_of(streams);
}

/// Asks through a gateway what an instance answers so. What came of it at the clients.
async fn come_back(streams: &[Stream]) -> Vec<Conversation> {
    let instance = answering(streams).await;
    let mut world = World::new(&[instance.address]);
    world.listeners[0].http2 = true;
    let proxy = Proxy::gateway(&world);
    let mut conversations = Vec::new();
    for stream in streams {
        let methods = stream.asked.iter().map(|it| it.method).collect();
        let pieces = ask(&proxy, stream).await;
        conversations.push(Conversation { methods, pieces });
    }
    proxy.running.drain(Duration::from_secs(5)).await;
    conversations
}

/// Asks one thing after the other on one connection: the frames that came for each.
async fn ask(proxy: &Proxy, stream: &Stream) -> Vec<Vec<Frame>> {
    let mut client = Wire::connect(proxy.address()).await;
    client.send_bytes(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    let (mut received, mut pieces) = (Vec::new(), Vec::new());
    for (at, Asked { method, number, .. }) in stream.asked.iter().enumerate() {
        let id = at as u32 * 2 + 1;
        let mut fields: Fields = [
            (":method", *method),
            (":scheme", "http"),
            (":authority", "shop"),
            (":path", "/"),
            (NUMBER, number),
        ]
        .map(|(name, value)| (latin(name), latin(value)))
        .to_vec();
        if *method == "POST" {
            fields.push((latin("content-length"), latin("0")));
        }
        let asking = frames::head(id, END_STREAM, &block(&fields), None);
        assert!(client.try_send_bytes(&asking).await, "the connection has ended: {pieces:?}");
        let mut piece: Vec<Frame> = Vec::new();
        while !piece.last().is_some_and(|it| it.ends_stream() || it.kind == RST_STREAM) {
            while let Some(frame) = frames::take(&mut received) {
                assert_ne!(frame.kind, GOAWAY, "for one answer: {:?}", stream.asked);
                if frame.kind == SETTINGS && !frame.has(ACK) {
                    client.send_bytes(&frames::frame(SETTINGS, ACK, 0, &[])).await;
                }
                if matches!(frame.kind, HEADERS | DATA | RST_STREAM) {
                    check_order(&piece, &frame, id);
                    piece.push(frame);
                }
            }
            if !piece.last().is_some_and(|it| it.ends_stream() || it.kind == RST_STREAM) {
                let bytes = client.some().await;
                assert!(!bytes.is_empty(), "the connection has ended: {piece:?}");
                received.extend(bytes);
            }
        }
        pieces.push(piece);
    }
    pieces
}

/// Frames of an answer come in their order, and nothing behind the last.
fn check_order(piece: &[Frame], next: &Frame, id: u32) {
    assert_eq!(next.stream, id, "of another stream: {next:?} behind {piece:?}");
    let has_head = piece.iter().any(|it| it.kind == HEADERS);
    assert!(next.kind != DATA || has_head, "{next:?} behind {piece:?}");
    let is_over = piece.last().is_some_and(Frame::ends_stream);
    assert!(!is_over, "{next:?} behind {piece:?}");
}

/// Every client reads the same. What the first has read.
async fn compare(
    clients: &[Client],
    place: &Path,
    number: usize,
    conversation: &Conversation,
    tally: &mut Tally,
) -> Vec<Read> {
    let Conversation { methods, pieces } = conversation;
    let reading = clients.iter().map(|client| async move {
        let mut read = Vec::new();
        for (shown, is_asked_on) in connections(client.name, pieces.len()) {
            let (pieces, mut methods) = (&pieces[shown.clone()], methods[shown].to_vec());
            if is_asked_on {
                methods.push("GET");
            }
            let say = async |stream| say(stream, pieces).await;
            let more = client.read(place, number, &methods, say).await;
            read.extend(more.map_err(|why| format!("{}: {why}", client.name))?);
            if is_asked_on && read.pop() != Some(Some(clients::last())) {
                return Err(format!("{}: what comes behind is not read: {read:#?}", client.name));
            }
        }
        Ok(read)
    });
    let all = join_all(reading).await;
    let bytes: Vec<u8> = pieces.iter().flatten().flat_map(Frame::bytes).collect();
    let shown_to_all = format!("to {methods:?}: {}", bytes.escape_ascii());
    let first = all[0].clone().unwrap_or_default();
    for (client, read) in clients.iter().zip(all) {
        match read {
            Err(why) => tally.differences.push(format!("{why}\n{shown_to_all}")),
            Ok(read) if !agrees(client.name, &read, &first) => {
                let why = format!("{}: {read:#?}\nand h2: {first:#?}", client.name);
                tally.differences.push(format!("{why}\n{shown_to_all}"));
            }
            Ok(_) => {}
        }
    }
    first
}

/// Whether a client has read what another has. Go takes a 304 that says how long the content is that it does not have for one
/// that breaks off, which RFC 9113 §8.1.1 rules out.
fn agrees(client: &str, read: &[Read], other: &[Read]) -> bool {
    let is_missed = |it: &Read| client == "go" && it.as_ref().is_some_and(|it| it.status == 304);
    let agrees = |(one, other): (&Read, &Read)| one == other || one.is_none() && is_missed(other);
    read.len() == other.len() && read.iter().zip(other).all(agrees)
}

/// What a client is shown on one connection each, and whether it asks for more behind that. The curl of Debian 12 fails on a
/// connection that it used before, where it knows of HTTP/2 before (`curl: (16)`).
fn connections(client: &str, count: usize) -> Vec<(Range<usize>, bool)> {
    match client {
        "curl" => (0..count).map(|at| (at..at + 1, false)).collect(),
        _ => vec![(0..count, true)],
    }
}

/// Says to each request what came to it, and to the one behind them the last. All that a server says of itself is by the
/// letter.
async fn say(mut stream: UnixStream, pieces: &[Vec<Frame>]) {
    let mut greeting = vec![0; PREFACE.len()];
    if stream.read_exact(&mut greeting).await.is_err()
        || stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.is_err()
    {
        return;
    }
    let (mut received, mut begun, mut pieces) = (Vec::new(), HashSet::new(), pieces.iter());
    loop {
        while let Some(asked) = frames::take(&mut received) {
            let said = match asked.kind {
                SETTINGS if !asked.has(ACK) => frame(SETTINGS, ACK, 0, &[]),
                HEADERS if begun.insert(asked.stream) => match pieces.next() {
                    Some(piece) => piece.iter().flat_map(|it| on(it, asked.stream)).collect(),
                    None => last(asked.stream),
                },
                _ => Vec::new(),
            };
            if stream.write_all(&said).await.is_err() {
                return;
            }
        }
        if stream.read_buf(&mut received).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

/// A frame on a stream of a connection of its own.
fn on(frame: &Frame, stream: u32) -> Vec<u8> {
    Frame { stream, ..frame.clone() }.bytes()
}

/// [`clients::last`] in frames.
fn last(stream: u32) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-length", "4"), ("x-last", "yes")];
    let fields = fields.map(|(name, value)| (latin(name), latin(value)));
    [frame(HEADERS, END_HEADERS, stream, &block(&fields)), frame(DATA, END_STREAM, stream, b"last")]
        .concat()
}

/// Every answer is for its request, and those that are correct are as they were meant.
fn check(stream: &Stream, read: &[Read], numbers: &HashSet<String>, tally: &mut Tally) {
    // What was read otherwise is told elsewhere.
    for (asked, answer) in stream.asked.iter().zip(read) {
        check_answer(asked, answer.as_ref(), numbers, tally);
    }
}
