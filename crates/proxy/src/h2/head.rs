//! Heads of HTTP/2, read into the text that HTTP/1.1 has for them. From there on nobody knows the difference: the same
//! reader judges hosts, paths and framing, and what a text cannot say unambiguously never gets into one (RFC 9113 §8.2,
//! §10.3).

use lanes::is_token_byte;
use routes::entrance::is_same_authority;
use thiserror::Error;

use crate::{
    h1::head::{FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX},
    read_so_far::ReadSoFar,
    websocket,
};

/// Why a head is no message. Only its stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// Not a lower-case token.
    #[error("malformed field name")]
    Name,
    /// A control character, or white space around it.
    #[error("malformed field value")]
    Value,
    /// After a field, twice, or none of this kind of head.
    #[error("misplaced or unknown pseudo-header field")]
    Pseudo,
    /// One that a request, or an answer, must have.
    #[error("missing or malformed pseudo-header field")]
    Missing,
    /// `connection`, `transfer-encoding` and their like.
    #[error("field that belongs to one connection")]
    ConnectionField,
    /// Another host than `:authority`.
    #[error("host and :authority differ")]
    TwoHosts,
    /// No number, several that differ, or not as long as the body.
    #[error("content-length that does not match")]
    ContentLength,
    /// After bytes of another protocol.
    #[error("fields after bytes of another protocol")]
    Trailers,
    /// Beyond what a head may have.
    #[error("head larger than {HEAD_BYTES_MAX} bytes or {FIELDS_MAX} fields")]
    TooLarge,
}

/// What kind of head is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Answer,
    /// Fields after a body.
    Trailers,
}

/// A head as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadText {
    /// For trailers their lines alone; else a whole head.
    pub(crate) text: Vec<u8>,
    /// How long its body says it is.
    pub(crate) content_length: Option<u64>,
    /// The status of an answer.
    pub(crate) status: u16,
    /// A request whose answer has no body.
    pub(crate) is_head: bool,
    /// What a request asks to speak on its stream from its head on.
    pub(crate) asks_for: Option<AskedFor>,
}

/// A protocol that CONNECT asks for (RFC 8441).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedFor {
    /// Its head reads as that of the GET that asks for one in HTTP/1.1, but for the key.
    WebSocket,
    /// One that nobody here knows.
    Unknown,
}

/// Reads one head, field by field.
#[derive(Debug)]
pub(super) struct HeadReader {
    kind: Kind,
    head: HeadText,
    pseudo: Pseudo,
    /// The first line is written.
    has_begun: bool,
    /// `cookie` may come in crumbs (§8.2.3).
    cookies: Vec<u8>,
    has_host: bool,
    fields: usize,
    failed: Option<Malformed>,
}

/// What stands in the first line.
#[derive(Debug, Default)]
struct Pseudo {
    method: Option<Vec<u8>>,
    scheme: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
    status: Option<u16>,
}

impl HeadReader {
    /// What is read lies in `memory`, which is empty.
    pub(super) fn new(kind: Kind, memory: Vec<u8>) -> Self {
        Self {
            kind,
            head: HeadText { text: memory, ..HeadText::default() },
            pseudo: Pseudo::default(),
            has_begun: kind == Kind::Trailers,
            cookies: Vec::new(),
            has_host: false,
            fields: 0,
            failed: None,
        }
    }

    /// Takes in a field. What is wrong is kept to the end, since all of a block must be read.
    pub(super) fn read(&mut self, name: &[u8], value: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        // Crumbs of one field.
        self.fields += usize::from(name != b"cookie");
        let bytes = self.head.text.len() + self.cookies.len() + name.len() + value.len();
        let read = if bytes > HEAD_BYTES_MAX || self.fields > FIELDS_MAX + 4 {
            Err(Malformed::TooLarge)
        } else {
            match name {
                [b':', pseudo @ ..] => self.read_pseudo(pseudo, value),
                _ => self.read_field(name, value),
            }
        };
        self.failed = read.err();
    }

    fn read_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if self.has_begun {
            return Err(Malformed::Pseudo);
        }
        let of_request = match name {
            b"method" => &mut self.pseudo.method,
            b"scheme" => &mut self.pseudo.scheme,
            b"authority" => &mut self.pseudo.authority,
            b"path" => &mut self.pseudo.path,
            b"protocol" => &mut self.pseudo.protocol,
            b"status" if self.kind == Kind::Answer && self.pseudo.status.is_none() => {
                self.pseudo.status = Some(read_status(value)?);
                return Ok(());
            }
            _ => return Err(Malformed::Pseudo),
        };
        if self.kind != Kind::Request || of_request.is_some() {
            return Err(Malformed::Pseudo);
        }
        *of_request = Some(value.to_vec());
        Ok(())
    }

    fn read_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let is_lower = |byte: &u8| is_token_byte(*byte) && !byte.is_ascii_uppercase();
        if name.is_empty() || !name.iter().all(is_lower) {
            return Err(Malformed::Name);
        }
        if !is_valid_value(value) {
            return Err(Malformed::Value);
        }
        if !self.has_begun {
            self.begin()?;
        }
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => return Err(Malformed::ConnectionField),
            b"te" if value != b"trailers" => return Err(Malformed::ConnectionField),
            b"cookie" if self.kind == Kind::Request => {
                // An empty crumb holds no cookie, and would leave a separator at the end.
                if !self.cookies.is_empty() && !value.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
                return Ok(());
            }
            b"host" if self.kind == Kind::Request => {
                if self.has_host {
                    return Err(Malformed::TwoHosts);
                }
                self.has_host = true;
                if let Some(authority) = &self.pseudo.authority {
                    let default_port = default_port(self.pseudo.scheme.as_deref());
                    return if is_same_authority(authority, value, default_port) {
                        Ok(())
                    } else {
                        Err(Malformed::TwoHosts)
                    };
                }
            }
            b"content-length" => {
                self.read_content_length(value)?;
                if self.head.asks_for.is_some() {
                    return Ok(());
                }
            }
            _ if self.head.asks_for.is_some() && websocket::is_of_handshake(name) => return Ok(()),
            _ => {}
        }
        self.write(name, value);
        Ok(())
    }

    fn read_content_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let bytes = value.iter().fold(0_u64, |bytes, digit| {
            bytes.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
        });
        // Bytes of another protocol have no length. That there is no body some say all the same.
        let has_none =
            self.head.content_length.is_some() || (self.head.asks_for.is_some() && bytes > 0);
        if !is_number || has_none {
            return Err(Malformed::ContentLength);
        }
        self.head.content_length = Some(bytes);
        Ok(())
    }

    fn write(&mut self, name: &[u8], value: &[u8]) {
        let text = &mut self.head.text;
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }

    /// Writes the first line: all pseudo-header fields are there.
    fn begin(&mut self) -> Result<(), Malformed> {
        self.has_begun = true;
        match self.kind {
            Kind::Request => self.begin_request(),
            Kind::Answer => self.begin_answer(),
            Kind::Trailers => Ok(()),
        }
    }

    fn begin_request(&mut self) -> Result<(), Malformed> {
        let Pseudo { method, scheme, authority, path, protocol, .. } = &self.pseudo;
        let mut method = method.as_deref().ok_or(Malformed::Missing)?;
        if let Some(protocol) = protocol {
            self.head.asks_for = Some(asked_for(protocol, method, authority.is_some())?);
            method = b"GET";
        }
        if method.is_empty() || !method.iter().all(|byte| is_token_byte(*byte)) {
            return Err(Malformed::Missing);
        }
        let authority = authority.as_deref();
        if authority.is_some_and(|authority| !is_authority(authority)) {
            return Err(Malformed::Missing);
        }
        let target = if method == b"CONNECT" {
            // §8.5: to an authority alone.
            match (scheme, path, authority) {
                (None, None, Some(authority)) => authority,
                _ => return Err(Malformed::Missing),
            }
        } else {
            let path = path.as_deref().ok_or(Malformed::Missing)?;
            let scheme = scheme.as_deref().ok_or(Malformed::Missing)?;
            let is_path = matches!(path, [b'/', ..]) || (path == b"*" && method == b"OPTIONS");
            if !is_path || !path.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
                return Err(Malformed::Missing);
            }
            if !matches!(scheme, b"http" | b"https") {
                return Err(Malformed::Missing);
            }
            path
        };
        if target.len() > TARGET_BYTES_MAX * 2 {
            return Err(Malformed::TooLarge);
        }
        self.head.is_head = method == b"HEAD";
        let text = &mut self.head.text;
        text.extend_from_slice(method);
        text.push(b' ');
        text.extend_from_slice(target);
        text.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(authority) = authority {
            text.extend_from_slice(b"host: ");
            text.extend_from_slice(authority);
            text.extend_from_slice(b"\r\n");
        }
        if self.head.asks_for == Some(AskedFor::WebSocket) {
            text.extend_from_slice(websocket::UPGRADE_LINES);
        }
        Ok(())
    }

    fn begin_answer(&mut self) -> Result<(), Malformed> {
        let status = self.pseudo.status.ok_or(Malformed::Missing)?;
        // §8.6: there is no switching of protocols.
        if status == 101 {
            return Err(Malformed::Missing);
        }
        self.head.status = status;
        let text = &mut self.head.text;
        text.extend_from_slice(b"HTTP/1.1 ");
        text.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8));
        // HTTP/2 has no reasons, and the text may do without.
        text.extend_from_slice(b" \r\n");
        Ok(())
    }

    /// All of its fields were read.
    pub(super) fn finish(&mut self) -> Result<HeadText, Malformed> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if !self.has_begun {
            self.begin()?;
        }
        if !self.cookies.is_empty() {
            let cookies = std::mem::take(&mut self.cookies);
            self.write(b"cookie", &cookies);
        }
        if self.kind != Kind::Trailers {
            self.head.text.extend_from_slice(b"\r\n");
        }
        Ok(std::mem::take(&mut self.head))
    }

    /// What can be told of a request that is none.
    #[cold]
    pub(super) fn read_so_far(&self) -> ReadSoFar {
        let Pseudo { method, authority, path, .. } = &self.pseudo;
        let [method, authority, path] =
            [method, authority, path].map(|part| part.as_deref().unwrap_or_default());
        let read = ReadSoFar::of_parts(method, authority, path);
        match authority.is_empty() {
            true => read.with_host_of(&self.head.text),
            false => read,
        }
    }
}

/// CONNECT alone asks for a protocol, and then of somewhere (RFC 8441 §4).
fn asked_for(protocol: &[u8], method: &[u8], has_authority: bool) -> Result<AskedFor, Malformed> {
    if method != b"CONNECT" {
        return Err(Malformed::Pseudo);
    }
    let is_name = !protocol.is_empty() && protocol.iter().all(|byte| is_token_byte(*byte));
    if !is_name || !has_authority {
        return Err(Malformed::Missing);
    }
    let is_known = websocket::is_name(protocol);
    Ok(if is_known { AskedFor::WebSocket } else { AskedFor::Unknown })
}

fn default_port(scheme: Option<&[u8]>) -> u16 {
    if scheme == Some(b"https") { 443 } else { 80 }
}

/// No user, no white space (§8.3.1). Whether it is a host is judged with the head.
fn is_authority(authority: &[u8]) -> bool {
    !authority.is_empty()
        && authority.iter().all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b'@')
}

/// §8.2.1
fn is_valid_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_blank(value.first())
        && !is_blank(value.last())
        && value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

fn read_status(value: &[u8]) -> Result<u16, Malformed> {
    match value {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            Ok(value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        _ => Err(Malformed::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, fields: &[(&str, &str)]) -> Result<HeadText, Malformed> {
        let mut reader = HeadReader::new(kind, Vec::new());
        for (name, value) in fields {
            reader.read(name.as_bytes(), value.as_bytes());
        }
        reader.finish()
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/b?c")];

    fn get_with(more: &[(&str, &str)]) -> Result<String, Malformed> {
        let head = read(Kind::Request, &[&GET[..], more].concat())?;
        Ok(String::from_utf8(head.text).unwrap())
    }

    #[test]
    fn requests_become_text() {
        assert_eq!(
            get_with(&[("accept", "*/*"), ("cookie", "a=b"), ("x", ""), ("cookie", "c=d")])
                .unwrap(),
            "GET /b?c HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\nx: \r\ncookie: a=b; c=d\r\n\r\n"
        );
        assert_eq!(
            get_with(&[("host", "A.example:80"), ("te", "trailers")]).unwrap(),
            "GET /b?c HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n"
        );
        let connect = read(Kind::Request, &[(":method", "CONNECT"), (":authority", "a:1")]);
        assert_eq!(connect.unwrap().text, b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");
        let of_host = [(":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), ("host", "a")];
        assert_eq!(
            read(Kind::Request, &of_host).unwrap().text,
            b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"
        );
    }

    fn connect(protocol: &str, more: &[(&str, &str)]) -> Result<HeadText, Malformed> {
        let mut fields = [&GET[..], &[(":protocol", protocol)], more].concat();
        fields[0].1 = "CONNECT";
        read(Kind::Request, &fields)
    }

    #[test]
    fn connect_for_a_websocket_reads_as_an_upgrade() {
        let more = [
            ("sec-websocket-key", "theirs"),
            ("sec-websocket-version", "13"),
            ("content-length", "0"),
        ];
        for protocol in ["websocket", "WebSocket"] {
            let head = connect(protocol, &more).unwrap();
            assert_eq!(
                String::from_utf8(head.text).unwrap(),
                "GET /b?c HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
            );
            assert_eq!(head.asks_for, Some(AskedFor::WebSocket));
        }
        let other = connect("connect-udp", &[]).unwrap();
        assert_eq!(other.asks_for, Some(AskedFor::Unknown));
        assert!(!other.text.windows(7).any(|it| it == b"upgrade"), "nothing is asked for");
    }

    #[test]
    fn connect_for_a_protocol_must_say_where_to_and_nothing_of_http_1() {
        for (field, expected) in [
            (("content-length", "1"), Malformed::ContentLength),
            (("upgrade", "websocket"), Malformed::ConnectionField),
            (("connection", "upgrade"), Malformed::ConnectionField),
            ((":protocol", "websocket"), Malformed::Pseudo),
        ] {
            assert_eq!(connect("websocket", &[field]), Err(expected), "{field:?}");
        }
        for protocol in ["", "web socket", "a\r\nb"] {
            assert_eq!(connect(protocol, &[]), Err(Malformed::Missing), "{protocol:?}");
        }
        let all = [(":method", "CONNECT"), (":protocol", "websocket")];
        let all = [&all[..], &GET[1..]].concat();
        assert!(read(Kind::Request, &all).is_ok());
        for missing in 1..all.len() {
            let mut fields = all.clone();
            let (name, _) = fields.remove(missing);
            // Without a protocol it leads to an authority alone.
            assert_eq!(read(Kind::Request, &fields), Err(Malformed::Missing), "{name}");
        }
    }

    #[test]
    fn answers_and_trailers_become_text() {
        let answer = read(Kind::Answer, &[(":status", "200"), ("content-length", "5")]).unwrap();
        assert_eq!(answer.text, b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\n");
        assert_eq!((answer.status, answer.content_length), (200, Some(5)));
        let trailers = read(Kind::Trailers, &[("grpc-status", "0")]).unwrap();
        assert_eq!(trailers.text, b"grpc-status: 0\r\n");
    }

    #[test]
    fn what_a_text_would_say_otherwise_is_refused() {
        for (field, expected) in [
            (("a\r\nb", "c"), Malformed::Name),
            (("a:b", "c"), Malformed::Name),
            (("a b", "c"), Malformed::Name),
            (("Accept", "c"), Malformed::Name),
            (("", "c"), Malformed::Name),
            (("a", "b\r\nc: d"), Malformed::Value),
            (("a", "b\0"), Malformed::Value),
            (("a", " b"), Malformed::Value),
            (("a", "b\t"), Malformed::Value),
            (("connection", "close"), Malformed::ConnectionField),
            (("keep-alive", "1"), Malformed::ConnectionField),
            (("proxy-connection", "close"), Malformed::ConnectionField),
            (("transfer-encoding", "chunked"), Malformed::ConnectionField),
            (("upgrade", "websocket"), Malformed::ConnectionField),
            (("te", "gzip"), Malformed::ConnectionField),
            (("host", "b.example"), Malformed::TwoHosts),
            (("content-length", "+1"), Malformed::ContentLength),
            (("content-length", ""), Malformed::ContentLength),
            (("content-length", "9999999999999999999"), Malformed::ContentLength),
            ((":status", "200"), Malformed::Pseudo),
            ((":method", "GET"), Malformed::Pseudo),
            ((":protocol", "websocket"), Malformed::Pseudo),
        ] {
            assert_eq!(get_with(&[field]), Err(expected), "{field:?}");
        }
        assert_eq!(get_with(&[("a", "b"), (":path", "/")]), Err(Malformed::Pseudo));
        assert_eq!(get_with(&[("host", "a.example"); 2]), Err(Malformed::TwoHosts));
        assert_eq!(get_with(&[("content-length", "1"); 2]), Err(Malformed::ContentLength));
    }

    #[test]
    fn first_lines_are_whole_and_unambiguous() {
        let with = |at: usize, value: &'static str| {
            let mut fields = GET;
            fields[at].1 = value;
            read(Kind::Request, &fields).map(|_| ())
        };
        for (at, (name, _)) in GET.iter().enumerate() {
            let mut fields = GET.to_vec();
            fields.remove(at);
            let expected = if *name == ":authority" { Ok(()) } else { Err(Malformed::Missing) };
            assert_eq!(read(Kind::Request, &fields).map(|_| ()), expected, "without {name}");
        }
        for method in ["", "G T", "GET /a HTTP/1.1\r\nx: y", "GET:"] {
            assert_eq!(with(0, method), Err(Malformed::Missing), "{method:?}");
        }
        for scheme in ["", "ftp", "http://a"] {
            assert_eq!(with(1, scheme), Err(Malformed::Missing), "{scheme:?}");
        }
        for authority in ["", "user@a", "a b", "a\r\nx: y", "a\0"] {
            assert_eq!(with(2, authority), Err(Malformed::Missing), "{authority:?}");
        }
        for path in ["", "b", "*", "http://x/", "/a b", "/a HTTP/1.1\r\nx: y", "/\0", "/\x7f"] {
            assert_eq!(with(3, path), Err(Malformed::Missing), "{path:?}");
        }
        for status in ["", "2", "20", "2000", "abc", "099", "101", "+20"] {
            assert!(read(Kind::Answer, &[(":status", status)]).is_err(), "{status}");
        }
        assert_eq!(read(Kind::Answer, &[("a", "b")]), Err(Malformed::Missing));
        assert_eq!(
            read(Kind::Answer, &[(":status", "200"), (":path", "/")]),
            Err(Malformed::Pseudo)
        );
        assert_eq!(read(Kind::Trailers, &[(":status", "200")]), Err(Malformed::Pseudo));
    }

    #[test]
    fn heads_are_bounded() {
        let long = "x".repeat(HEAD_BYTES_MAX);
        assert_eq!(get_with(&[("a", &long)]), Err(Malformed::TooLarge));
        assert_eq!(get_with(&[("a", "b"); FIELDS_MAX + 1]), Err(Malformed::TooLarge));
        assert_eq!(
            get_with(&[("cookie", &long[..HEAD_BYTES_MAX / 2]); 3]),
            Err(Malformed::TooLarge)
        );
        assert!(get_with(&[("a", "b"); FIELDS_MAX]).is_ok());
    }
}
