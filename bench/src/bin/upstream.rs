//! `upstream LISTEN`: answers every request without a body with 128 bytes, connections kept.

use std::{
    collections::HashMap,
    net::{TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use bench::poll::{Poll, read, write};

const LISTENER: u64 = 0;
const BUFFER_BYTES: usize = 64 * 1024;
const BODY_BYTES: usize = 128;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen] = arguments.as_slice() else { anyhow::bail!("usage: upstream LISTEN") };
    let listener = TcpListener::bind(listen).with_context(|| format!("bind {listen}"))?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY_BYTES}\r\n\r\n{}",
        "x".repeat(BODY_BYTES)
    );
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    // Per connection, what of an unfinished head has arrived.
    let mut connections: HashMap<u64, (TcpStream, Vec<u8>)> = HashMap::new();
    let mut next = LISTENER + 1;
    loop {
        for token in poll.wait()? {
            if token == LISTENER {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                poll.add(&socket, next)?;
                connections.insert(next, (socket, Vec::new()));
                next += 1;
                continue;
            }
            let Some((socket, pending)) = connections.get_mut(&token) else { continue };
            let answered = read(socket, &mut buffer).and_then(|count| {
                pending.extend_from_slice(&buffer[..count]);
                let mut answers = 0;
                while let Some(end) = memchr::memmem::find(pending, b"\r\n\r\n") {
                    pending.drain(..end + 4);
                    answers += 1;
                }
                (0..answers).try_for_each(|_| write(socket, answer.as_bytes()))
            });
            if answered.is_none() {
                connections.remove(&token);
            }
        }
    }
}
