//! What is told of a head that is no request: what can be read of it all the same, bounded, and without what may be somebody's
//! secret, since nobody knows what its parts were meant to be.

use lanes::is_token_byte;
use routes::entrance::{METHOD_BYTES_MAX, is_valid_host, split_port, without_root_dot};
use telemetry::Unread;

use crate::tap::redacted;

/// Bytes of a told host: as long as a name can be.
pub(crate) const HOST_BYTES_MAX: usize = 255;

/// Bytes of a told path: what routes are about, and more.
pub(crate) const PATH_BYTES_MAX: usize = 1024;

/// Parts of such a head; those that cannot be read are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadSoFar {
    pub(crate) protocol: &'static str,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl ReadSoFar {
    /// Of text of HTTP/1.1, as far as it has come; and of that which a head in HTTP/2 is read into.
    pub(crate) fn of_text(received: &[u8]) -> Self {
        let is_end = |byte: &u8| *byte == b'\n';
        let mut lines = received.trim_ascii_start().split(is_end).map(|line| line.trim_ascii_end());
        let Some(read) = lines.next().and_then(Self::of_start_line) else { return Self::default() };
        if !read.host.is_empty() {
            return read;
        }
        Self { host: first_host(lines), ..read }
    }

    /// Of the parts that a head in HTTP/2 has in their place.
    pub(crate) fn of_parts(method: &[u8], authority: &[u8], path: &[u8]) -> Self {
        let (_, path) = authority_and_path(path);
        let method = method_of(method).unwrap_or_default();
        Self { protocol: HTTP2, method, host: host(authority), path: shown(path) }
    }

    /// What is missing of it.
    pub(crate) fn unread(&self) -> Unread {
        match self.method.is_empty() && self.path.is_empty() && self.host.is_empty() {
            true => Unread::All,
            false => Unread::Part,
        }
    }

    /// With the host that a head in HTTP/2 names in a field, in the text that it is read into.
    pub(crate) fn with_host_of(self, text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        Self { host: first_host(lines), ..self }
    }

    /// The same, of a head in HTTP/2.
    pub(crate) fn in_http2(self) -> Self {
        Self { protocol: HTTP2, ..self }
    }

    /// Nothing of what is no request at all: its line has neither a method nor a target.
    fn of_start_line(line: &[u8]) -> Option<Self> {
        let (method, rest) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
        let method = method_of(method)?;
        let rest = rest.trim_ascii();
        let (target, version) = match rest.iter().rposition(|byte| *byte == b' ') {
            Some(at) if rest[at + 1..].starts_with(b"HTTP/") => rest.split_at(at),
            _ => (rest, &b""[..]),
        };
        let protocol = match version.trim_ascii() {
            b"HTTP/1.1" => "HTTP/1.1",
            b"HTTP/1.0" => "HTTP/1.0",
            _ => "",
        };
        let (authority, path) = match method.as_str() {
            "CONNECT" => (target, &b""[..]),
            _ => authority_and_path(target),
        };
        let is_target = method == "CONNECT"
            || !authority.is_empty()
            || matches!(path.first(), Some(b'/' | b'*'));
        let read = || Self { protocol, method, host: host(authority), path: shown(path) };
        is_target.then(read)
    }
}

/// The first that lines name, up to the end of a head.
fn first_host<'b>(mut lines: impl Iterator<Item = &'b [u8]>) -> String {
    let lines = lines.by_ref().take_while(|line| !line.is_empty());
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        name.eq_ignore_ascii_case(b"host").then(|| value[1..].trim_ascii())
    });
    values.next().map(host).unwrap_or_default()
}

/// What clients are said to speak on such a connection.
const HTTP2: &str = "HTTP/2";

fn method_of(text: &[u8]) -> Option<String> {
    let is_one = (1..=METHOD_BYTES_MAX).contains(&text.len())
        && text.iter().all(|byte| is_token_byte(*byte));
    is_one.then(|| String::from_utf8_lossy(text).into_owned())
}

/// Of a target that names its server, both; else the whole as it is.
fn authority_and_path(target: &[u8]) -> (&[u8], &[u8]) {
    let is_scheme =
        |it: &[u8]| it.eq_ignore_ascii_case(b"http://") || it.eq_ignore_ascii_case(b"https://");
    let scheme = [7, 8].into_iter().find(|bytes| target.get(..*bytes).is_some_and(is_scheme));
    let Some(scheme) = scheme else { return (&[], target) };
    let rest = &target[scheme..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    rest.split_at(end.unwrap_or(rest.len()))
}

/// A path without query, with nothing that looks like a secret.
fn shown(path: &[u8]) -> String {
    let path = &path[..path.len().min(PATH_BYTES_MAX)];
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    cut(&redacted::target(&String::from_utf8_lossy(&path[..end]), ""), PATH_BYTES_MAX)
}

/// A host as it is told of others, where it is one; else as it came. Never who asks there.
fn host(authority: &[u8]) -> String {
    let user = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let authority = &authority[user..];
    let name = match is_valid_host(authority) {
        true => without_root_dot(split_port(authority).0),
        false => &authority[..authority.len().min(HOST_BYTES_MAX)],
    };
    cut(&String::from_utf8_lossy(name).to_ascii_lowercase(), HOST_BYTES_MAX)
}

pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(received: &str, expected: [&str; 4]) {
        let read = ReadSoFar::of_text(received.as_bytes());
        let told = [read.protocol, &read.method, &read.host, &read.path];
        assert_eq!(told, expected, "{received:?}");
        assert_eq!(read.unread() == Unread::All, expected.iter().all(|it| it.is_empty()));
    }

    #[test]
    fn what_can_be_read_is_told_and_no_more() {
        check(
            "GET /a/x?q=1 HTTP/1.1\r\nHost: Shop:80\r\nfoo bar\r\n",
            ["HTTP/1.1", "GET", "shop", "/a/x"],
        );
        check("POST /a%2Fb HTTP/1.0\r\n\r\n", ["HTTP/1.0", "POST", "", "/a%2Fb"]);
        check("GET /a b HTTP/1.1\r\nhost: a b\r\n\r\n", ["HTTP/1.1", "GET", "a b", "/a b"]);
        check("GET /cut/o", ["", "GET", "", "/cut/o"]);
        check("GET / HTTP/3.7\nHost:x\n", ["", "GET", "x", "/"]);
        check("CONNECT shop:443 HTTP/1.1\r\n", ["HTTP/1.1", "CONNECT", "shop", ""]);
        check("GET / HTTP/1.1\r\n\r\nHost: body\r\n", ["HTTP/1.1", "GET", "", "/"]);
        for nothing in ["", "\x16\x03\x01\x02", "SSH-2.0-x y", "GET", "G(T / HTTP/1.1\r\n", "A b"] {
            check(nothing, [""; 4]);
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not() {
        check(
            "GET http://bob:pw@Shop:1/x?token=1 HTTP/1.1\r\nHost: other\r\n",
            ["HTTP/1.1", "GET", "shop", "/x"],
        );
        check("GET http://bob:pw@shop?t HTTP/1.1\r\n", ["HTTP/1.1", "GET", "shop", ""]);
        check("GET / HTTP/1.1\r\nHost: bob:pw@shop\r\n", ["HTTP/1.1", "GET", "shop", "/"]);
        check("GET /reset/s3cr3t/a\\b HTTP/1.1\r\n", ["HTTP/1.1", "GET", "", "/reset/***/a\\b"]);
        check("GET /x#t0ken HTTP/1.1\r\n", ["HTTP/1.1", "GET", "", "/x"]);
    }

    #[test]
    fn it_is_bounded() {
        let long = "/é".repeat(60_000);
        let read = ReadSoFar::of_text(format!("GET {long} HTTP/1.1\r\nHost: {long}").as_bytes());
        assert!(read.path.len() <= PATH_BYTES_MAX && read.host.len() <= HOST_BYTES_MAX);
        assert!(!read.path.is_empty() && !read.host.is_empty());
        check(&format!("{} / HTTP/1.1\r\n", "G".repeat(METHOD_BYTES_MAX + 1)), [""; 4]);
    }
}
