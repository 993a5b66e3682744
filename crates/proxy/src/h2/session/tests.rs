//! Both sides of a session against each other, and one side against frames made by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::*;
use crate::h2::{
    error::Code,
    frame::{FrameHead, HEAD_BYTES},
    head::Malformed,
    hpack::{write_field, write_status},
};

const LIMITS: Limits = Limits {
    streams_max: 10,
    stream_window: 100_000,
    first_window: 30_000,
    connection_window: 1_000_000,
    head_bytes_max: 65_536,
    table_bytes_max: 4_096,
    is_shared: false,
};

/// A session with its buffers, and what the other side has not read yet.
struct Side {
    session: Session,
    buffers: Buffers,
    pending: Vec<u8>,
}

fn no_waker() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Side {
    fn server() -> Self {
        let session = Session::server(LIMITS, 0);
        Self { session, buffers: Buffers::default(), pending: Vec::new() }
    }

    fn client() -> Self {
        let session = Session::client(LIMITS, 0);
        Self { session, buffers: Buffers::default(), pending: Vec::new() }
    }

    /// A server to whom a client has said what comes first.
    fn greeted() -> Self {
        let mut side = Self::server();
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(Kind::Settings, 0, 0, &[]));
        side.take_in(&bytes).unwrap();
        side.session.out.clear();
        side
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        self.pending.extend_from_slice(bytes);
        let taken = self.session.receive(&self.pending, &self.buffers, 0)?;
        self.pending.drain(..taken);
        Ok(())
    }

    /// The frames that were sent: what they are, of which stream, and what they say.
    fn said(&mut self) -> Vec<(Kind, u32, Vec<u8>)> {
        let out = self.session.take_out(Vec::new());
        self.session.sent();
        let mut frames = Vec::new();
        let mut rest = out.as_slice();
        while let Some(head) = rest.first_chunk() {
            let head = FrameHead::read(head);
            let end = HEAD_BYTES + head.bytes;
            frames.push((head.kind, head.stream, rest[HEAD_BYTES..end].to_vec()));
            rest = &rest[end..];
        }
        assert!(rest.is_empty(), "whole frames alone are sent");
        frames
    }

    /// The codes of the streams that were reset.
    fn resets(&mut self) -> Vec<(u32, u32)> {
        let code = |said: &[u8]| u32::from_be_bytes(said.try_into().unwrap());
        let resets = self.said().into_iter().filter(|(kind, ..)| *kind == Kind::Reset);
        resets.map(|(_, id, said)| (id, code(&said))).collect()
    }

    fn head(&mut self, id: u32) -> Result<String, Lost> {
        match self.session.poll_head(id, &mut no_waker()) {
            Poll::Ready(head) => head.map(|head| String::from_utf8(head.text).unwrap()),
            Poll::Pending => panic!("no head has come"),
        }
    }

    fn send_head(&mut self, id: u32, block: &[u8], ends: bool) {
        let sent = self.session.poll_send_head(id, &mut no_waker(), block, ends);
        assert_eq!(sent, Poll::Ready(Ok(())));
    }

    fn send(&mut self, id: u32, bytes: &[u8], ends: bool) -> Poll<Result<usize, Lost>> {
        self.session.poll_send(id, &mut no_waker(), bytes, ends)
    }

    /// All that has come of a body, and whether it has ended.
    fn body(&mut self, id: u32) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.session.poll_data(id, &mut no_waker()) {
                Poll::Ready(Ok(Data::Piece(piece))) => body.extend_from_slice(piece.filled()),
                Poll::Ready(Ok(Data::End)) => return (body, true),
                Poll::Ready(Err(lost)) => panic!("{lost:?}"),
                Poll::Pending => return (body, false),
            }
        }
    }
}

/// Hands over what both sides have to say until they are silent, in parts of `part` bytes.
fn exchange(one: &mut Side, other: &mut Side, part: usize) {
    loop {
        let (to_other, to_one) =
            (one.session.take_out(Vec::new()), other.session.take_out(Vec::new()));
        if to_other.is_empty() && to_one.is_empty() {
            return;
        }
        for (bytes, side) in [(to_other, &mut *other), (to_one, &mut *one)] {
            for bytes in bytes.chunks(part) {
                side.take_in(bytes).unwrap();
            }
            side.session.sent();
        }
    }
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

fn request(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let mut block = Vec::new();
    for (name, value) in fields.iter().chain(more) {
        write_field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

fn code(result: Result<(), Fatal>) -> Code {
    result.unwrap_err().code
}

#[test]
fn memory_is_lent_to_whoever_has_something_to_say_and_does_not_grow() {
    let (mut client, mut server) = (Side::client(), Side::greeted());
    // What a connection begins with has gone, and its memory with it.
    drop(client.session.take_out(Vec::new()));
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("x-long", &"x".repeat(300)),
    ] {
        write_field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    let usual = client.buffers.take_write();
    let (memory, bytes) = (usual.as_ptr(), usual.capacity());
    client.buffers.give_write(usual);
    client.session.lend(&client.buffers);
    client.session.open(&block, false, true).unwrap();
    let said = client.session.take_out(Vec::new());
    assert_eq!((said.as_ptr(), said.capacity()), (memory, bytes));

    let usual = server.buffers.take_write();
    let (memory, bytes) = (usual.as_ptr(), usual.capacity());
    server.buffers.give_write(usual);
    server.take_in(&said).unwrap();
    let id = server.session.next_request().unwrap();
    let Poll::Ready(Ok(head)) = server.session.poll_head(id, &mut no_waker()) else {
        panic!("a head has come");
    };
    assert_eq!((head.text.as_ptr(), head.text.capacity()), (memory, bytes));
}

#[test]
fn requests_and_answers_pass_in_parts_of_any_size() {
    for part in [1, 7, 100, 1_000_000] {
        let (mut client, mut server) = (Side::client(), Side::server());
        let id = client.session.open(&request(&[("x", "y")]), false, false).unwrap();
        let body: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
        let mut sent = 0;
        let mut received = Vec::new();
        while sent < body.len() {
            if let Poll::Ready(bytes) = client.send(id, &body[sent..], true) {
                sent += bytes.unwrap();
            }
            exchange(&mut client, &mut server, part);
            received.extend(server.body(id).0);
        }
        exchange(&mut client, &mut server, part);
        assert_eq!(server.session.next_request(), Some(id));
        assert_eq!(server.head(id).unwrap(), "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n");
        assert!(server.session.has_ended(id));
        assert!(received == body, "in parts of {part}");

        let mut block = Vec::new();
        write_status(200, &mut block);
        server.send_head(id, &block, false);
        assert!(matches!(server.send(id, b"hello", false), Poll::Ready(Ok(5))));
        let mut trailers = Vec::new();
        write_field(b"grpc-status", b"0", &mut trailers);
        server.send_head(id, &trailers, true);
        exchange(&mut client, &mut server, part);
        assert_eq!(client.head(id).unwrap(), "HTTP/1.1 200 \r\n\r\n");
        assert_eq!(client.body(id), (b"hello".to_vec(), true));
        assert_eq!(client.session.take_trailers(id).unwrap(), b"grpc-status: 0\r\n");
        for side in [&mut client, &mut server] {
            side.session.release(id, Code::Cancel, &side.buffers);
            assert_eq!((side.session.stream_count(), side.session.has_out()), (0, false));
        }
    }
}

#[test]
fn nobody_sends_more_than_the_other_allows() {
    for (is_of_protocol, expected) in [(false, LIMITS.stream_window), (true, LIMITS.first_window)] {
        let (mut client, mut server) = (Side::client(), Side::server());
        exchange(&mut client, &mut server, 1_000);
        let id = if is_of_protocol {
            client.session.open_for_protocol(&websocket()).unwrap()
        } else {
            client.session.open(&request(&[]), false, false).unwrap()
        };
        let body = vec![1; 1_000_000];
        let mut sent = 0;
        loop {
            match client.send(id, &body[sent..], true) {
                Poll::Ready(bytes) => sent += bytes.unwrap(),
                Poll::Pending if client.session.has_out() => {
                    exchange(&mut client, &mut server, 1_000_000);
                }
                Poll::Pending => break,
            }
        }
        assert_eq!(sent, expected as usize);
        let (received, _) = server.body(id);
        assert_eq!(received.len(), sent);
        exchange(&mut client, &mut server, 1_000_000);
        assert!(client.send(id, &body[sent..], true).is_ready(), "what was taken may come again");
    }
}

#[test]
fn a_stream_that_is_given_up_ends_for_both() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let id = client.session.open(&request(&[]), false, false).unwrap();
    assert!(client.send(id, b"hello", false).is_ready());
    exchange(&mut client, &mut server, 1_000);
    assert!(server.session.poll_lost(id, &mut no_waker()).is_pending());
    client.session.release(id, Code::Cancel, &client.buffers);
    exchange(&mut client, &mut server, 1_000);
    assert!(matches!(
        server.session.poll_lost(id, &mut no_waker()),
        Poll::Ready(Lost::Reset(Code::Cancel))
    ));
    server.session.release(id, Code::Internal, &server.buffers);
    assert!(!server.session.has_out(), "nobody answers a reset");
}

#[test]
fn who_has_said_all_and_goes_has_not_broken_off() {
    let reset = frame(Kind::Reset, 0, 1, &0_u32.to_be_bytes());
    for (flags, is_whole) in [(flag::END_STREAM, true), (0, false)] {
        let mut server = Side::greeted();
        server.take_in(&frame(Kind::Headers, flag::END_HEADERS, 1, &websocket())).unwrap();
        server.take_in(&frame(Kind::Data, flags, 1, b"the last words")).unwrap();
        server.take_in(&reset).unwrap();
        assert!(server.session.poll_lost(1, &mut no_waker()).is_ready());
        let broken_off = server.session.poll_broken_off(1, &mut no_waker());
        assert_eq!(broken_off.is_pending(), is_whole);
        if is_whole {
            assert_eq!(server.body(1), (b"the last words".to_vec(), true));
        }
    }
}

#[test]
fn a_farewell_lets_what_is_on_its_way_come() {
    let (mut client, mut server) = (Side::client(), Side::server());
    exchange(&mut client, &mut server, 1_000);
    let first = client.session.open(&request(&[]), false, true).unwrap();
    server.session.leave();
    let late = client.session.open(&request(&[]), false, true).unwrap();
    exchange(&mut client, &mut server, 1_000);
    assert!(client.session.is_leaving() && !client.session.may_open());
    assert!(!server.session.is_done());
    let mut block = Vec::new();
    write_status(204, &mut block);
    for id in [first, late] {
        assert_eq!(server.session.next_request(), Some(id));
        server.send_head(id, &block, true);
        server.session.release(id, Code::Cancel, &server.buffers);
    }
    exchange(&mut client, &mut server, 1_000);
    assert!(server.session.is_done());
    assert_eq!(client.head(late).unwrap(), "HTTP/1.1 204 \r\n\r\n");
}

#[test]
fn what_was_not_worked_on_is_told() {
    let mut client = Side::client();
    client.take_in(&frame(Kind::Settings, 0, 0, &[])).unwrap();
    let ids: Vec<u32> =
        (0..3).map(|_| client.session.open(&request(&[]), false, true).unwrap()).collect();
    client.take_in(&frame(Kind::Reset, 0, ids[0], &7_u32.to_be_bytes())).unwrap();
    client.take_in(&frame(Kind::GoAway, 0, 0, &[0, 0, 0, ids[1] as u8, 0, 0, 0, 0])).unwrap();
    assert_eq!(client.head(ids[0]), Err(Lost::Unprocessed));
    assert!(client.session.poll_head(ids[1], &mut no_waker()).is_pending());
    assert_eq!(client.head(ids[2]), Err(Lost::Unprocessed));
    client.session.take_out(Vec::new());
    client.session.close();
    assert_eq!(client.head(ids[1]), Err(Lost::Closed));

    // What never left this side.
    let mut client = Side::client();
    client.take_in(&frame(Kind::Settings, 0, 0, &[])).unwrap();
    let sent = client.session.open(&request(&[]), false, true).unwrap();
    client.session.take_out(Vec::new());
    let unsent = client.session.open(&request(&[]), false, true).unwrap();
    client.session.close();
    assert_eq!(client.head(sent), Err(Lost::Closed));
    assert_eq!(client.head(unsent), Err(Lost::Unprocessed));
}

#[test]
fn until_an_instance_has_said_how_many_it_takes_it_gets_one() {
    let mut client = Side::client();
    let first = client.session.open(&request(&[]), false, true).unwrap();
    assert!(!client.session.may_open() && client.session.awaits_answer());
    client.session.release(first, Code::Cancel, &client.buffers);
    assert!(!client.session.may_open() && !client.session.awaits_answer());
    client.take_in(&frame(Kind::Settings, 0, 0, &[])).unwrap();
    assert!(client.session.is_greeted() && client.session.may_open());
}

#[test]
fn whoever_waits_for_the_greeting_finds_room_after_it() {
    let mut client = Side::client();
    client.session.reserve();
    assert!(!client.session.may_open(), "another may have the only place");
    // One stream.
    client.take_in(&frame(Kind::Settings, 0, 0, &[0, 3, 0, 0, 0, 1])).unwrap();
    assert!(!client.session.may_open());
    client.session.unreserve();
    assert!(client.session.open_for_protocol(&websocket()).is_some());
}

#[test]
fn heads_wait_until_there_is_room() {
    let mut server = Side::greeted();
    server.take_in(&frame(Kind::Headers, WHOLE, 1, &request(&[]))).unwrap();
    let mut interim = Vec::new();
    write_status(103, &mut interim);
    write_field(b"link", &[b'x'; 4_000], &mut interim);
    let mut said = 0;
    while server.session.poll_send_head(1, &mut no_waker(), &interim, false).is_ready() {
        said += 1;
        assert!(said < 100, "they pile up");
    }
    let heads = server.said().iter().filter(|(kind, ..)| *kind == Kind::Headers).count();
    assert_eq!(heads, said);
    server.send_head(1, &interim, false);
}

#[test]
fn streams_are_bounded_on_both_sides() {
    let mut server = Side::greeted();
    for at in 0..=LIMITS.streams_max {
        server.take_in(&frame(Kind::Headers, WHOLE, at * 2 + 1, &request(&[]))).unwrap();
    }
    let refused = LIMITS.streams_max * 2 + 1;
    assert_eq!(server.resets(), [(refused, Code::RefusedStream as u32)]);

    let mut client = Side::client();
    client.take_in(&frame(Kind::Settings, 0, 0, &[0, 3, 0, 0, 0, 1])).unwrap();
    let id = client.session.open(&request(&[]), false, true).unwrap();
    assert!(client.session.open(&request(&[]), false, true).is_none());
    client.session.release(id, Code::Cancel, &client.buffers);
    assert!(client.session.open(&request(&[]), false, true).is_some());
}

#[test]
fn what_is_wrong_with_one_stream_ends_that_stream() {
    let head = |flags, id, fields: &[(&str, &str)]| {
        frame(Kind::Headers, flags | flag::END_HEADERS, id, &request(fields))
    };
    let update = |by: u32| frame(Kind::WindowUpdate, 0, 1, &by.to_be_bytes());
    for (what, frames, expected) in [
        ("malformed", vec![head(flag::END_STREAM, 1, &[("a b", "x")])], Code::Protocol),
        ("too short", vec![head(flag::END_STREAM, 1, &[("content-length", "1")])], Code::Protocol),
        (
            "too long",
            vec![head(0, 1, &[("content-length", "1")]), frame(Kind::Data, 0, 1, b"ab")],
            Code::Protocol,
        ),
        (
            "data after the end",
            vec![head(flag::END_STREAM, 1, &[]), frame(Kind::Data, 0, 1, b"a")],
            Code::StreamClosed,
        ),
        (
            "a head after the end",
            vec![head(flag::END_STREAM, 1, &[]), head(flag::END_STREAM, 1, &[])],
            Code::StreamClosed,
        ),
        (
            "trailers that are not the end",
            vec![
                head(0, 1, &[]),
                frame(Kind::Headers, flag::END_HEADERS, 1, &{
                    let mut block = Vec::new();
                    write_field(b"a", b"b", &mut block);
                    block
                }),
            ],
            Code::Protocol,
        ),
        ("a window by nothing", vec![head(0, 1, &[]), update(0)], Code::Protocol),
        ("a window too large", vec![head(0, 1, &[]), update(0x7fff_ffff)], Code::FlowControl),
        (
            "it depends on itself",
            vec![frame(Kind::Headers, WHOLE | flag::PRIORITY, 1, &{
                let mut payload = vec![0, 0, 0, 1, 16];
                payload.extend(request(&[]));
                payload
            })],
            Code::Protocol,
        ),
        (
            "priority of another size",
            vec![head(0, 1, &[]), frame(Kind::Priority, 0, 1, &[0; 4])],
            Code::FrameSize,
        ),
    ] {
        let mut server = Side::greeted();
        for frame in &frames {
            server.take_in(frame).unwrap_or_else(|fatal| panic!("{what}: {fatal}"));
        }
        assert_eq!(server.resets(), [(1, expected as u32)], "{what}");
        // The connection goes on, and what still comes of the stream means nothing.
        server.take_in(&frame(Kind::Data, 0, 1, b"late")).unwrap();
        server.take_in(&frame(Kind::Headers, WHOLE, 3, &request(&[]))).unwrap();
        assert!(server.said().is_empty(), "{what}");
    }
}

#[test]
fn what_is_wrong_with_the_connection_ends_it() {
    let head = frame(Kind::Headers, flag::END_HEADERS, 1, &request(&[]));
    let begun = frame(Kind::Headers, 0, 1, &request(&[]));
    let with = |first: &[u8], then: Vec<u8>| [first, &then].concat();
    for (what, frames, expected) in [
        ("an even stream", frame(Kind::Headers, WHOLE, 2, &request(&[])), Code::Protocol),
        ("a head of no stream", frame(Kind::Headers, WHOLE, 0, &request(&[])), Code::Protocol),
        ("data of an idle stream", frame(Kind::Data, 0, 1, b"a"), Code::Protocol),
        ("data of no stream", frame(Kind::Data, 0, 0, b"a"), Code::Protocol),
        ("reset of an idle stream", frame(Kind::Reset, 0, 1, &[0; 4]), Code::Protocol),
        ("reset of another size", frame(Kind::Reset, 0, 1, &[0; 3]), Code::FrameSize),
        (
            "window of an idle stream",
            frame(Kind::WindowUpdate, 0, 1, &[0, 0, 0, 1]),
            Code::Protocol,
        ),
        ("window by nothing", frame(Kind::WindowUpdate, 0, 0, &[0; 4]), Code::Protocol),
        (
            "window too large",
            frame(Kind::WindowUpdate, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Code::FlowControl,
        ),
        ("settings of a stream", frame(Kind::Settings, 0, 1, &[]), Code::Protocol),
        ("settings that are not whole", frame(Kind::Settings, 0, 0, &[0; 5]), Code::FrameSize),
        ("an acknowledgement that speaks", frame(Kind::Settings, 1, 0, &[0; 6]), Code::FrameSize),
        ("ping of a stream", frame(Kind::Ping, 0, 1, &[0; 8]), Code::Protocol),
        ("ping of another size", frame(Kind::Ping, 0, 0, &[0; 7]), Code::FrameSize),
        ("goaway of a stream", frame(Kind::GoAway, 0, 1, &[0; 8]), Code::Protocol),
        ("a push", frame(Kind::PushPromise, 4, 1, &[0; 4]), Code::Protocol),
        ("a continuation of nothing", frame(Kind::Continuation, 4, 1, &[]), Code::Protocol),
        ("a head interrupted", with(&begun, frame(Kind::Ping, 0, 0, &[0; 8])), Code::Protocol),
        ("continued elsewhere", with(&begun, frame(Kind::Continuation, 4, 3, &[])), Code::Protocol),
        (
            "a head that does not end",
            with(&begun, frame(Kind::Continuation, 0, 1, &[0x40; 16_384]).repeat(5)),
            Code::EnhanceYourCalm,
        ),
        ("not decodable", frame(Kind::Headers, WHOLE, 1, &[0x80]), Code::Compression),
        ("padding alone", with(&head, frame(Kind::Data, 8, 1, &[2, 0])), Code::Protocol),
        ("no padding", with(&head, frame(Kind::Data, 8, 1, &[])), Code::FrameSize),
        ("a large frame", with(&head, frame(Kind::Data, 0, 1, &[0; 16_385])), Code::FrameSize),
        ("priority of no stream", frame(Kind::Priority, 0, 0, &[0; 5]), Code::Protocol),
    ] {
        assert_eq!(code(Side::greeted().take_in(&frames)), expected, "{what}");
    }
    assert_eq!(code(Side::server().take_in(b"GET / HTTP/1.1\r\n")), Code::Protocol);
    let mut unsettled = PREFACE.to_vec();
    unsettled.extend(frame(Kind::Ping, 0, 0, &[0; 8]));
    assert_eq!(code(Side::server().take_in(&unsettled)), Code::Protocol);
}

#[test]
fn a_head_of_a_closed_stream_ends_the_connection_unless_we_closed_it() {
    let mut server = Side::greeted();
    server.take_in(&frame(Kind::Headers, WHOLE, 1, &request(&[]))).unwrap();
    let mut block = Vec::new();
    write_status(200, &mut block);
    server.send_head(1, &block, true);
    server.session.release(1, Code::Cancel, &server.buffers);
    let again = frame(Kind::Headers, WHOLE, 1, &request(&[]));
    assert_eq!(code(server.take_in(&again)), Code::StreamClosed);
}

#[test]
fn floods_end_the_connection() {
    for flood in [
        frame(Kind::Ping, 0, 0, &[0; 8]),
        frame(Kind::Settings, 0, 0, &[]),
        frame(Kind::Priority, 0, 1, &[0, 0, 0, 3, 0]),
        frame(Kind::Data, 0, 1, &[]),
        frame(Kind::WindowUpdate, 0, 0, &[0, 0, 0, 1]),
    ] {
        let mut server = Side::greeted();
        server.take_in(&frame(Kind::Headers, flag::END_HEADERS, 1, &request(&[]))).unwrap();
        let ended = (0..2_000).find_map(|_| server.take_in(&flood).err());
        assert_eq!(ended.unwrap().code, Code::EnhanceYourCalm);
        assert!(server.session.out.len() < OUT_BYTES_MAX);
    }
    let mut server = Side::greeted();
    let mut id = 1;
    let fatal = loop {
        let mut bytes = frame(Kind::Headers, WHOLE, id, &request(&[]));
        bytes.extend(frame(Kind::Reset, 0, id, &8_u32.to_be_bytes()));
        if let Err(fatal) = server.take_in(&bytes) {
            break fatal;
        }
        server.session.next_request();
        server.session.release(id, Code::Cancel, &server.buffers);
        id += 2;
    };
    assert_eq!((fatal.code, id), (Code::EnhanceYourCalm, 199));
}

#[test]
fn a_head_too_large_is_the_servers_to_answer() {
    let mut server = Side::greeted();
    // One remembered field, named again and again: few bytes that mean many.
    let mut block = request(&[]);
    block.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0x81, 0x1e]);
    block.extend_from_slice(&[b'x'; 4_000]);
    block.extend_from_slice(&[0xbe; 10_000]);
    server.take_in(&frame(Kind::Headers, WHOLE, 1, &block)).unwrap();
    assert_eq!(server.head(1), Err(Lost::Malformed(Malformed::TooLarge)));
    assert!(server.said().is_empty());
}

#[test]
fn padding_is_no_data_and_may_come_again() {
    let mut server = Side::greeted();
    server.take_in(&frame(Kind::Headers, flag::END_HEADERS, 1, &request(&[]))).unwrap();
    let mut payload = vec![200, b'a', b'b'];
    payload.extend([0; 200]);
    let padded = frame(Kind::Data, flag::PADDED, 1, &payload);
    for _ in 0..5_000 {
        for part in padded.chunks(50) {
            server.take_in(part).unwrap();
        }
        assert_eq!(server.body(1), (b"ab".to_vec(), false));
        server.session.out.clear();
    }
}

#[test]
fn a_smaller_window_holds_back_what_was_allowed_before() {
    let mut client = Side::client();
    client.take_in(&frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0, 10])).unwrap();
    let id = client.session.open(&request(&[]), false, false).unwrap();
    assert!(matches!(client.send(id, &[0; 8], false), Poll::Ready(Ok(8))));
    client.take_in(&frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0, 5])).unwrap();
    assert!(client.send(id, &[0; 8], false).is_pending());
    client.take_in(&frame(Kind::WindowUpdate, 0, id, &4_u32.to_be_bytes())).unwrap();
    assert!(matches!(client.send(id, &[0; 8], false), Poll::Ready(Ok(1))));
    assert!(matches!(client.send(id, &[], true), Poll::Ready(Ok(0))), "the end needs no window");
}

#[test]
fn an_answer_that_has_no_body_has_none() {
    let answered = |status: &str, is_head: bool, body: &[u8]| {
        let mut client = Side::client();
        client.take_in(&frame(Kind::Settings, 0, 0, &[])).unwrap();
        let id = client.session.open(&request(&[]), is_head, true).unwrap();
        // What it says first is no frame.
        client.session.out.clear();
        let mut block = Vec::new();
        write_field(b":status", status.as_bytes(), &mut block);
        write_field(b"content-length", b"5", &mut block);
        client.take_in(&frame(Kind::Headers, flag::END_HEADERS, id, &block)).unwrap();
        client.take_in(&frame(Kind::Data, flag::END_STREAM, id, body)).unwrap();
        client.resets()
    };
    let malformed = [(1, Code::Protocol as u32)];
    for (status, is_head) in [("200", true), ("204", false), ("304", false)] {
        assert_eq!(answered(status, is_head, b"HTTP/"), malformed, "{status} {is_head}");
        assert_eq!(answered(status, is_head, b""), [], "{status} {is_head}");
    }
    assert_eq!(answered("200", false, b"HTTP/"), []);
    assert_eq!(answered("200", false, b"HTTP"), malformed);
}

#[test]
fn what_comes_late_of_many_that_were_given_up_ends_nothing() {
    let mut client = Side::client();
    client.take_in(&frame(Kind::Settings, 0, 0, &[])).unwrap();
    let mut block = Vec::new();
    write_status(200, &mut block);
    let ids: Vec<u32> = (0..RESET_KEPT_MAX * 2)
        .map(|_| {
            let id = client.session.open(&request(&[]), false, true).unwrap();
            client.session.release(id, Code::Cancel, &client.buffers);
            id
        })
        .collect();
    client.session.out.clear();
    for id in ids {
        client.take_in(&frame(Kind::Headers, flag::END_HEADERS, id, &block)).unwrap();
        client.take_in(&frame(Kind::Data, flag::END_STREAM, id, b"late")).unwrap();
    }
    assert!(client.resets().is_empty());
}

/// How often somebody was woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Counted {
    fn times(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Asks for a WebSocket.
fn websocket() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
    ] {
        write_field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

#[test]
fn instances_are_asked_for_protocols_when_they_have_said_that_they_take_them() {
    let woken = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&woken));
    let takes =
        |side: &mut Side| side.session.poll_takes_protocols(&mut Context::from_waker(&waker));
    for (said, expected) in
        [(&[0, 8, 0, 0, 0, 1][..], true), (&[0, 8, 0, 0, 0, 0], false), (&[], false)]
    {
        let mut client = Side::client();
        assert!(takes(&mut client).is_pending());
        let before = woken.times();
        let settings = frame(Kind::Settings, 0, 0, said);
        // The head of a frame says nothing yet.
        for (part, times) in [(&settings[..9], usize::from(said.is_empty())), (&settings, 1)] {
            let taken = client.session.receive(part, &client.buffers, 0).unwrap();
            assert_eq!((woken.times() - before, taken > 0), (times, times == 1), "{said:?}");
            if taken > 0 {
                break;
            }
        }
        assert_eq!(takes(&mut client), Poll::Ready(Ok(expected)), "{said:?}");
    }
    // Whoever waits is not forgotten where nothing will be said.
    let mut client = Side::client();
    assert!(takes(&mut client).is_pending());
    let before = woken.times();
    client.session.close();
    assert_eq!(woken.times() - before, 1);
    assert_eq!(takes(&mut client), Poll::Ready(Err(Lost::Closed)));
    // This side says it to clients alone.
    let says = |side: Side| side.session.out.windows(6).any(|it| it == [0, 8, 0, 0, 0, 1]);
    assert!(says(Side::server()) && !says(Side::client()));
}

#[test]
fn streams_of_another_protocol_carry_data_and_nothing_else() {
    for instance_refuses in [false, true] {
        let (mut client, mut server) = (Side::client(), Side::server());
        exchange(&mut client, &mut server, 1_000);
        let id = client.session.open_for_protocol(&websocket()).unwrap();
        exchange(&mut client, &mut server, 1);
        let head = server.head(id).unwrap();
        assert!(head.starts_with("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n"), "{head}");
        assert!(!server.session.has_ended(id));
        let mut block = Vec::new();
        write_status(if instance_refuses { 403 } else { 200 }, &mut block);
        // Of a success it means nothing (RFC 9110 §9.3.6).
        write_field(b"content-length", b"5", &mut block);
        server.send_head(id, &block, false);
        exchange(&mut client, &mut server, 1_000);
        client.head(id).unwrap();
        assert!(matches!(server.send(id, b"hello", false), Poll::Ready(Ok(5))));
        if !instance_refuses {
            assert!(matches!(server.send(id, b" you", false), Poll::Ready(Ok(4))));
            assert!(matches!(client.send(id, b"hi", true), Poll::Ready(Ok(2))));
            exchange(&mut client, &mut server, 1_000);
            for (words, ends) in [(&b"and"[..], false), (&b""[..], true)] {
                let after = client.send(id, words, ends);
                assert!(matches!(after, Poll::Ready(Err(Lost::Closed))), "{after:?}");
            }
            assert!(!client.session.has_out(), "nothing follows the end");
            assert_eq!(server.body(id), (b"hi".to_vec(), true));
            assert_eq!(client.body(id), (b"hello you".to_vec(), false));
        }
        let mut trailers = Vec::new();
        write_field(b"x", b"y", &mut trailers);
        server.send_head(id, &trailers, true);
        exchange(&mut client, &mut server, 1_000);
        let lost = client.session.poll_lost(id, &mut no_waker());
        // An answer like any other ends as others do.
        assert_eq!(lost.is_pending(), instance_refuses, "{lost:?}");
    }
    // The same of a client.
    let mut server = Side::greeted();
    server.take_in(&frame(Kind::Headers, flag::END_HEADERS, 1, &websocket())).unwrap();
    let mut trailers = Vec::new();
    write_field(b"x", b"y", &mut trailers);
    server.take_in(&frame(Kind::Headers, WHOLE, 1, &trailers)).unwrap();
    assert_eq!(server.resets(), [(1, 1)]);
}

#[test]
fn a_protocol_without_connect_or_a_place_ends_the_stream() {
    for (without, changed) in [
        (Some(":scheme"), None),
        (Some(":path"), None),
        (Some(":authority"), None),
        (Some(":method"), None),
        (None, Some("GET")),
        (None, Some("POST")),
    ] {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", changed.unwrap_or("CONNECT")),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ] {
            if without != Some(name) {
                write_field(name.as_bytes(), value.as_bytes(), &mut block);
            }
        }
        let mut server = Side::greeted();
        server.take_in(&frame(Kind::Headers, flag::END_HEADERS, 1, &block)).unwrap();
        assert_eq!(server.resets(), [(1, 1)], "PROTOCOL_ERROR without {without:?}, {changed:?}");
        assert_eq!(server.session.next_request(), None);
    }
}
