//! `upstream LISTEN…`: answers every request with 128 bytes, or with 10 KiB where its path says `10k`; connections kept.
//! Speaks HTTP/1.1, and HTTP/2 in the clear to those that begin with it.

use std::{
    collections::HashMap,
    net::{TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use bench::{
    h2,
    poll::{Poll, read, write},
};

const BUFFER_BYTES: usize = 64 * 1024;
const SMALL_BYTES: usize = 128;
const LARGE_BYTES: usize = 10 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    anyhow::ensure!(!arguments.is_empty(), "usage: upstream LISTEN…");
    let answers = Answers { small: answer(SMALL_BYTES), large: answer(LARGE_BYTES) };
    let mut poll = Poll::new()?;
    // Listeners have the first tokens, connections those after.
    let mut listeners: HashMap<u64, TcpListener> = HashMap::new();
    let mut next = 0;
    for listen in &arguments {
        let listener = TcpListener::bind(listen).with_context(|| format!("bind {listen}"))?;
        poll.add(&listener, next)?;
        listeners.insert(next, listener);
        next += 1;
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut out = Vec::new();
    let mut connections: HashMap<u64, (TcpStream, Protocol)> = HashMap::new();
    loop {
        for token in poll.wait()? {
            if let Some(listener) = listeners.get(&token) {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                poll.add(&socket, next)?;
                connections.insert(next, (socket, Protocol::Http1(Http1::default())));
                next += 1;
                continue;
            }
            let Some((socket, protocol)) = connections.get_mut(&token) else { continue };
            out.clear();
            let answered = read(socket, &mut buffer)
                .and_then(|count| protocol.take(&buffer[..count], &answers, &mut out))
                .and_then(|()| write(socket, &out));
            if answered.is_none() {
                connections.remove(&token);
            }
        }
    }
}

/// The answers of HTTP/1.1, whole.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

fn answer(bytes: usize) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; bytes]].concat()
}

/// What is spoken on a connection.
enum Protocol {
    Http1(Http1),
    Http2(h2::Server),
}

impl Protocol {
    fn take(&mut self, bytes: &[u8], answers: &Answers, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Http1(http1) if http1.is_new() && bytes.starts_with(b"PRI ") => {
                let mut server = h2::Server::default();
                server.take(bytes, out)?;
                *self = Self::Http2(server);
            }
            Self::Http1(http1) => http1.take(bytes, answers, out),
            Self::Http2(server) => server.take(bytes, out)?,
        }
        Some(())
    }
}

/// A connection of HTTP/1.1.
#[derive(Default)]
struct Http1 {
    /// What of an unfinished head has arrived.
    pending: Vec<u8>,
    /// Bytes of a request's body that are still to come, after which it is answered.
    body: Option<(usize, bool)>,
    seen: bool,
}

impl Http1 {
    fn is_new(&self) -> bool {
        !self.seen
    }

    fn take(&mut self, bytes: &[u8], answers: &Answers, out: &mut Vec<u8>) {
        self.seen = true;
        self.pending.extend_from_slice(bytes);
        loop {
            let (left, is_large) = match self.body {
                Some(body) => body,
                None => {
                    let Some(end) = memchr::memmem::find(&self.pending, b"\r\n\r\n") else {
                        return;
                    };
                    let head = &self.pending[..end];
                    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    let body = (length(head), memchr::memmem::find(line, b"10k").is_some());
                    self.pending.drain(..end + 4);
                    body
                }
            };
            let come = left.min(self.pending.len());
            self.pending.drain(..come);
            if come < left {
                self.body = Some((left - come, is_large));
                return;
            }
            self.body = None;
            out.extend_from_slice(if is_large { &answers.large } else { &answers.small });
        }
    }
}

/// The length of a request's body: what its head says.
fn length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let is_name =
        |line: &[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| is_name(line)).unwrap_or_default();
    let value = str::from_utf8(line.get(NAME.len()..).unwrap_or_default()).unwrap_or_default();
    value.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_answer_however_it_is_cut() {
        let answers = Answers { small: b"s".to_vec(), large: b"L".to_vec() };
        let requests = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /a/10k HTTP/1.1\r\nContent-Length: 6\r\n\r\n\r\n\r\n..GET /a HTTP/1.1\r\n\r\n";
        for cut in 1..requests.len() {
            let (mut http1, mut out) = (Http1::default(), Vec::new());
            http1.take(&requests[..cut], &answers, &mut out);
            http1.take(&requests[cut..], &answers, &mut out);
            assert_eq!(out, b"sLs", "cut at {cut}");
        }
    }
}
