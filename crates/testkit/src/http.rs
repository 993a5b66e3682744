//! A blocking HTTP/1.1 exchange of a dozen lines: for readiness, REST and single requests in tests.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// Longest that a test waits for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as sent, without the empty line.
    pub head: String,
    /// The body.
    pub body: String,
}

/// `GET` on a connection of its own. Each header is a `name: value` line.
///
/// # Errors
/// When there is no whole answer in time.
pub fn get(address: &str, target: &str, headers: &[&str]) -> Result<Answer> {
    exchange(address, "GET", target, headers, "")
}

/// One exchange on a connection of its own. The address is the host, unless the headers name another.
///
/// # Errors
/// When there is no whole answer in time.
pub fn exchange(
    address: &str,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Result<Answer> {
    let what = || format!("{method} http://{address}{target}");
    let peer = address.parse().with_context(|| format!("`{address}` is not an address"))?;
    let mut stream = TcpStream::connect_timeout(&peer, ANSWER_WITHIN).with_context(what)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).with_context(what)?;
    let mut request = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    let is_host =
        |header: &&&str| header.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("host:"));
    if headers.iter().find(is_host).is_none() {
        request.push_str(&format!("host: {address}\r\n"));
    }
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).with_context(what)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some((answer, _used)) = parse(&bytes).with_context(what)? {
            return Ok(answer);
        }
        match stream.read(&mut buffer).with_context(what)? {
            0 => bail!("{}: the connection closed after {} bytes", what(), bytes.len()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The first whole answer in `bytes` and how long it is; `None` when more must come.
///
/// # Errors
/// When it is not HTTP/1.1 as a server should write it.
pub fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some(head_length) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..head_length]).into_owned();
    let rest = &bytes[head_length + 4..];
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let status = status.with_context(|| format!("no status in `{head}`"))?;
    let body = if header(&head, "transfer-encoding").is_some_and(|value| value == "chunked") {
        chunked(rest)?
    } else {
        let length = header(&head, "content-length").unwrap_or("0");
        let length: usize = length.parse().with_context(|| format!("content-length `{length}`"))?;
        (rest.len() >= length).then(|| (rest[..length].to_vec(), length))
    };
    Ok(body.map(|(body, used)| {
        let body = String::from_utf8_lossy(&body).into_owned();
        (Answer { status, head, body }, head_length + 4 + used)
    }))
}

/// The value of a header of a head, trimmed.
#[must_use]
pub fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// A whole chunked body and its length on the wire.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let length = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let length = length.with_context(|| format!("chunk size `{size}`"))?;
        let start = at + line + 2;
        if bytes.len() < start + length + 2 {
            return Ok(None);
        }
        if length == 0 {
            // Trailers, if any, end with an empty line.
            let trailers = &bytes[at + line..];
            return Ok(find(trailers, b"\r\n\r\n").map(|end| (body, at + line + end + 4)));
        }
        body.extend_from_slice(&bytes[start..start + length]);
        at = start + length + 2;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_parsed_only_when_whole() {
        let wires = [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n",
        ];
        for wire in wires {
            for length in 0..wire.len() {
                assert_eq!(parse(&wire.as_bytes()[..length]).unwrap(), None, "{wire:?} {length}");
            }
            let (answer, used) = parse(format!("{wire}HTTP/1.1").as_bytes()).unwrap().unwrap();
            assert_eq!((answer.status, answer.body.as_str(), used), (200, "hello", wire.len()));
        }
    }
}
