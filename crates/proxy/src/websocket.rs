//! WebSockets between the versions of HTTP. In HTTP/1.1 one begins with an upgrade, and a key that its server must have
//! understood (RFC 6455 §4); in HTTP/2 with CONNECT, and no key (RFC 8441 §5). Whoever speaks to the instance fills in what
//! the client's version does not say.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::h1::{head::Field, request::RequestHead, response::ResponseHead};

pub(crate) mod frames;
pub(crate) mod open;

/// What it is called where one is asked for.
pub(crate) const NAME: &[u8] = b"websocket";

/// Asks for one, or agrees to it, in HTTP/1.1.
pub(crate) const UPGRADE_LINES: &[u8] = b"connection: upgrade\r\nupgrade: websocket\r\n";

const KEY: &[u8] = b"sec-websocket-key";
const ACCEPT: &[u8] = b"sec-websocket-accept";

/// What a server hashes the key with, to show that it knows what it is asked for.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a protocol is this one.
pub(crate) fn is_name(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(NAME)
}

/// Whether a field is of the handshake that HTTP/2 does without.
pub(crate) fn is_of_handshake(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(KEY) || name.eq_ignore_ascii_case(ACCEPT)
}

/// Whether a request asks for one.
pub(crate) fn is_asked_for(head: &RequestHead, bytes: &[u8]) -> bool {
    let is_named = head.upgrade.is_some_and(|protocol| is_name(protocol.of(bytes)));
    is_named && head.method.of(bytes) == b"GET"
}

/// What a client in HTTP/1.1 must be answered with. `None`: it has not asked with one key as there must be.
pub(crate) fn accept_of(fields: &[Field], bytes: &[u8]) -> Option<Box<str>> {
    let is_key = |it: &&Field| it.keep && it.name_of(bytes).eq_ignore_ascii_case(KEY);
    let mut keys = fields.iter().filter(is_key).map(|it| it.value.of(bytes));
    match (keys.next(), keys.next()) {
        (Some(only), None) if is_key_valid(only) => Some(accept(only).into()),
        _ => None,
    }
}

/// 16 bytes in base64, of which the last digit may say more than there is room for: so have it others' servers.
fn is_key_valid(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|it| it.len() == 22 && it.iter().all(is_digit))
}

fn accept(key: &[u8]) -> String {
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()))
}

/// Why an answer is no agreement to a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAgreed {
    /// A success that is no switch of protocols.
    NoSwitch,
    /// It switches to something else.
    OtherProtocol,
    /// It does not fit the key that was sent.
    OtherKey,
}

/// The handshake with an instance in HTTP/1.1 whose client made none.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    accept: String,
}

impl Handshake {
    /// Appends a key to a head that ends there. `random`: what nobody can know.
    pub(crate) fn begin(random: [u8; 16], head: &mut Vec<u8>) -> Self {
        let key = BASE64_STANDARD.encode(random);
        debug_assert!(head.ends_with(b"\r\n\r\n"), "a head is whole");
        head.truncate(head.len() - 2);
        for part in [KEY, b": ", key.as_bytes(), b"\r\n\r\n"] {
            head.extend_from_slice(part);
        }
        Self { accept: accept(key.as_bytes()) }
    }

    /// Whether an answer may go on to a client that takes every success for a WebSocket.
    pub(crate) fn check(&self, head: &ResponseHead, bytes: &[u8]) -> Result<(), NotAgreed> {
        match head.status {
            101 => {}
            200..300 => return Err(NotAgreed::NoSwitch),
            _ => return Ok(()),
        }
        if !head.upgrade.is_some_and(|protocol| is_name(protocol.of(bytes))) {
            return Err(NotAgreed::OtherProtocol);
        }
        let is_accept = |it: &&Field| it.name_of(bytes).eq_ignore_ascii_case(ACCEPT);
        let mut shown = head.fields().iter().filter(is_accept);
        match (shown.next(), shown.next()) {
            (Some(only), None) if only.value.of(bytes) == self.accept.as_bytes() => Ok(()),
            _ => Err(NotAgreed::OtherKey),
        }
    }
}

/// The success of CONNECT as an HTTP/1.1 reader knows it. `accept`: what the client's key must be answered with.
pub(crate) fn write_switched(success: &[u8], accept: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 \r\n");
    out.extend_from_slice(UPGRADE_LINES);
    if let Some(accept) = accept {
        for part in [ACCEPT, b": ", accept.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    for line in success.split_inclusive(|byte| *byte == b'\n').skip(1) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !is_of_handshake(name) {
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> ResponseHead {
        let mut head = ResponseHead::default();
        assert!(head.advance(text.as_bytes(), false).unwrap());
        head
    }

    #[test]
    fn keys_are_answered_as_the_standard_shows() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_once() {
        let good = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (fields, is_fine) in [
            (good.to_owned(), true),
            (String::new(), false),
            (good.repeat(2), false),
            (format!("{good}Sec-WebSocket-Key:\r\n"), false),
            ("Sec-WebSocket-Key: x\r\n".into(), false),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n".into(), false),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n".into(), false),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2-jZQ==\r\n".into(), false),
            // It is for this connection alone, and no more.
            (format!("{good}Connection: sec-websocket-key\r\n"), false),
        ] {
            let text = format!("HTTP/1.1 200 x\r\n{fields}\r\n");
            let shown = accept_of(answer(&text).fields(), text.as_bytes());
            assert_eq!(shown.is_some(), is_fine, "{text}");
        }
    }

    #[test]
    fn a_key_is_the_last_line_of_its_head() {
        let mut head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
        Handshake::begin(*b"the sample nonce", &mut head);
        let expected =
            "GET / HTTP/1.1\r\nhost: a\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    #[test]
    fn a_success_that_is_no_websocket_goes_no_further() {
        let mut head = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        let handshake = Handshake::begin(*b"the sample nonce", &mut head);
        let good = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let switched = "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: ";
        for (text, is_fine) in [
            (format!("{switched}WebSocket\r\n{good}\r\n"), true),
            ("HTTP/1.1 103 x\r\n\r\n".to_owned(), true),
            ("HTTP/1.1 403 x\r\n\r\n".to_owned(), true),
            ("HTTP/1.1 302 x\r\n\r\n".to_owned(), true),
            (format!("{switched}websocket\r\n\r\n"), false),
            (format!("{switched}websocket\r\n{good}{good}\r\n"), false),
            (format!("{switched}websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"), false),
            (format!("{switched}other\r\n{good}\r\n"), false),
            (format!("HTTP/1.1 101 x\r\n{good}\r\n"), false),
            ("HTTP/1.1 200 x\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 204 x\r\n\r\n".to_owned(), false),
        ] {
            let checked = handshake.check(&answer(&text), text.as_bytes());
            assert_eq!(checked.is_ok(), is_fine, "{text}: {checked:?}");
        }
    }

    #[test]
    fn a_success_of_connect_reads_as_a_switch() {
        let mut text = Vec::new();
        let success =
            b"HTTP/1.1 200 \r\nsec-websocket-accept: theirs\r\nsec-websocket-protocol: a:b\r\n\r\n";
        write_switched(success, Some("ours"), &mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 101 \r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ours\r\nsec-websocket-protocol: a:b\r\n\r\n"
        );
        let head = answer(&text);
        assert_eq!((head.status, head.upgrade.unwrap().of(text.as_bytes())), (101, NAME));
    }
}
