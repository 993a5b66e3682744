//! What holds for whatever comes in HTTP/2: tests and fuzzers call these with theirs. They panic where it does not.

use crate::{
    buffers::Buffers,
    h1::{
        body::trailer_goes_on,
        fields::Framing,
        head::{FIELDS_MAX, HEAD_BYTES_MAX, HeadError},
        properties::EDGE,
        request::RequestHead,
        response::ResponseHead,
    },
    h2::{
        Limits,
        frame::PREFACE,
        head::{AskedFor, HeadReader, HeadText, Kind},
        hpack::{Decoder, write_field},
        session::Session,
    },
    websocket,
};

/// Names and values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Fields become a head in text that an HTTP/1.1 reader reads as one head with these fields and no others, or none.
pub(crate) fn check_translation(fields: &[(Vec<u8>, Vec<u8>)]) {
    let mut block = Vec::new();
    for (name, value) in fields {
        write_field(name, value, &mut block);
    }
    // Names are written in lower case.
    let lower = |(name, value): &(Vec<u8>, Vec<u8>)| (name.to_ascii_lowercase(), value.clone());
    assert_eq!(decode(&block), Some(fields.iter().map(lower).collect()), "{fields:?}");
    if let Some(head) = read(Kind::Request, fields) {
        check_request(fields, &head);
    }
    if let Some(head) = read(Kind::Answer, fields) {
        check_answer(fields, &head);
    }
    if let Some(head) = read(Kind::Trailers, fields) {
        for line in head.text.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r\n").expect("a line");
            assert!(trailer_goes_on(line, None).is_ok(), "{}", line.escape_ascii());
        }
        assert_eq!(lines(&head.text), fields, "{fields:?}");
    }
}

/// A block of header fields, whatever it says, becomes a head of a bounded size, or none.
pub(crate) fn check_block(block: &[u8]) {
    for kind in [Kind::Request, Kind::Answer, Kind::Trailers] {
        let mut reader = HeadReader::new(kind, Vec::new());
        let read = |name: &[u8], value: &[u8]| reader.read(name, value);
        if Decoder::new(4096).decode(block, read).is_ok()
            && let Ok(head) = reader.finish()
        {
            assert!(
                head.text.len() <= HEAD_BYTES_MAX + 5 * (FIELDS_MAX + 5),
                "{}",
                head.text.len()
            );
        }
    }
}

/// What a client sends means the same however it is cut.
pub(crate) fn check_session(bytes: &[u8], cut: usize) {
    let cut = cut % (bytes.len() + 1);
    let whole = receive([bytes, &[]]);
    let parts = receive([&bytes[..cut], &bytes[cut..]]);
    assert_eq!(whole, parts, "{} cut at {cut}", bytes.escape_ascii());
}

/// What a server's side made of it: why it ended the connection, what it answered, and which requests it saw.
fn receive(parts: [&[u8]; 2]) -> (Option<u32>, Vec<u8>, Vec<u32>) {
    let limits = Limits {
        streams_max: 10,
        stream_window: 100_000,
        first_window: 30_000,
        connection_window: 1_000_000,
        head_bytes_max: 65_536,
        table_bytes_max: 4_096,
        is_shared: false,
    };
    let (mut session, buffers) = (Session::server(limits, 0), Buffers::default());
    let mut pending = PREFACE.to_vec();
    let mut ended = None;
    for part in parts {
        pending.extend_from_slice(part);
        match session.receive(&pending, &buffers, 0) {
            Ok(taken) => drop(pending.drain(..taken)),
            Err(fatal) => {
                ended = Some(fatal.code as u32);
                break;
            }
        }
        assert!(pending.len() < Session::RECEIVED_BYTES_MAX, "{} bytes wait", pending.len());
    }
    let requests = std::iter::from_fn(|| session.next_request()).collect();
    (ended, session.take_out(Vec::new()), requests)
}

fn decode(block: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    let show = |name: &[u8], value: &[u8]| fields.push((name.to_vec(), value.to_vec()));
    Decoder::new(0).decode(block, show).ok()?;
    Some(fields)
}

fn read(kind: Kind, fields: &[(Vec<u8>, Vec<u8>)]) -> Option<HeadText> {
    let mut reader = HeadReader::new(kind, Vec::new());
    for (name, value) in fields {
        reader.read(name, value);
    }
    reader.finish().ok()
}

fn value<'f>(fields: &'f [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'f [u8]> {
    fields.iter().find(|(it, _)| it == name.as_bytes()).map(|(_, value)| &**value)
}

/// What is no pseudo-header field, the crumbs of `cookie` as one at the end.
fn regular(fields: &[(Vec<u8>, Vec<u8>)], joins_cookies: bool) -> Fields {
    let is_regular = |(name, _): &&(Vec<u8>, Vec<u8>)| !name.starts_with(b":");
    let is_crumb = |(name, _): &(Vec<u8>, Vec<u8>)| joins_cookies && name == b"cookie";
    let (crumbs, mut whole): (Fields, Fields) =
        fields.iter().filter(is_regular).cloned().partition(is_crumb);
    let crumbs = crumbs.into_iter().map(|(_, value)| value).filter(|value| !value.is_empty());
    let cookie = crumbs.collect::<Vec<Vec<u8>>>().join(&b"; "[..]);
    if !cookie.is_empty() {
        whole.push((b"cookie".to_vec(), cookie));
    }
    whole
}

fn check_request(fields: &[(Vec<u8>, Vec<u8>)], head: &HeadText) {
    let text = &*head.text;
    let mut read = RequestHead::default();
    match read.advance(text, EDGE) {
        Ok(true) => {}
        Ok(false) => panic!("{} is no whole head", text.escape_ascii()),
        // These would say that a line got in that is none.
        Err(
            error @ (HeadError::BareLineFeed
            | HeadError::FieldName
            | HeadError::FieldValue
            | HeadError::Folded
            | HeadError::Version
            | HeadError::TwoFramings
            | HeadError::TransferEncoding
            | HeadError::NotChunkedLast),
        ) => panic!("{}: {error}", text.escape_ascii()),
        Err(_) => return,
    }
    assert_eq!(read.head_bytes, text.len(), "{} is one head", text.escape_ascii());
    let method = if head.asks_for.is_some() { b"CONNECT" } else { read.method.of(text) };
    assert_eq!(Some(method), value(fields, ":method"));
    let authority = value(fields, ":authority");
    if read.method.of(text) != b"CONNECT" {
        assert_eq!(Some(read.target.of(text)), value(fields, ":path"));
    }
    let length = value(fields, "content-length");
    let length = length.map(|text| latin1(text).parse::<u64>().expect("a number"));
    let framing = length.filter(|length| *length > 0).map_or(Framing::None, Framing::Length);
    assert_eq!((read.framing, head.content_length), (framing, length), "{}", text.escape_ascii());
    assert_eq!(head.asks_for.is_some(), value(fields, ":protocol").is_some());
    let is_websocket = head.asks_for == Some(AskedFor::WebSocket);
    assert_eq!(read.upgrade.is_some(), is_websocket, "{}", text.escape_ascii());
    assert!(read.keep_alive, "{}", text.escape_ascii());
    let mut expected = regular(fields, true);
    if head.asks_for.is_some() {
        expected.retain(|(name, _)| !websocket::is_of_handshake(name));
    }
    if let Some(authority) = authority {
        expected.retain(|(name, _)| name != b"host");
        expected.insert(0, (b"host".to_vec(), authority.to_vec()));
    }
    if is_websocket {
        let asks = [("connection", "upgrade"), ("upgrade", "websocket")];
        let asks = asks.map(|(name, value)| (name.into(), value.into()));
        expected.splice(1..1, asks);
    }
    let found = read.fields().iter();
    let found = found.map(|it| (it.name_of(text).to_vec(), it.value.of(text).to_vec()));
    assert_eq!(found.collect::<Fields>(), expected, "{}", text.escape_ascii());
}

fn check_answer(fields: &[(Vec<u8>, Vec<u8>)], head: &HeadText) {
    let text = &*head.text;
    let mut read = ResponseHead::default();
    match read.advance(text, false) {
        Ok(true) => {}
        Err(HeadError::TooManyFields | HeadError::TooLarge) => return,
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
    assert_eq!(read.head_bytes, text.len(), "{} is one head", text.escape_ascii());
    assert_eq!(Some(read.status.to_string().as_bytes()), value(fields, ":status"));
    let found = read.fields().iter();
    let found = found.map(|it| (it.name_of(text).to_vec(), it.value.of(text).to_vec()));
    assert_eq!(found.collect::<Fields>(), regular(fields, false), "{}", text.escape_ascii());
}

/// Names and values of lines of text.
fn lines(text: &[u8]) -> Fields {
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\r\n").expect("a line");
        let colon = line.iter().position(|byte| *byte == b':').expect("a name");
        (line[..colon].to_vec(), line[colon + 2..].to_vec())
    };
    text.split_inclusive(|byte| *byte == b'\n').map(line).collect()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
