//! `tcp-forwarder LISTEN UPSTREAM`: copies bytes both ways and looks at none of them. The floor of what a proxy
//! in user space can cost on this machine.

use std::{
    collections::HashMap,
    net::{TcpListener, TcpStream},
    rc::Rc,
};

use anyhow::{Context as _, Result};
use bench::poll::{Poll, read, write};

const LISTENER: u64 = 0;
const BUFFER_BYTES: usize = 16 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream] = arguments.as_slice() else {
        anyhow::bail!("usage: tcp-forwarder LISTEN UPSTREAM")
    };
    let listener = TcpListener::bind(listen).with_context(|| format!("bind {listen}"))?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    // Each side under its own token: where it reads from, where that goes, and the other's token.
    let mut sides: HashMap<u64, (Rc<TcpStream>, Rc<TcpStream>, u64)> = HashMap::new();
    let mut next = LISTENER + 1;
    loop {
        for token in poll.wait()? {
            if token == LISTENER {
                let (client, _) = listener.accept()?;
                let server =
                    TcpStream::connect(upstream).with_context(|| format!("connect {upstream}"))?;
                for socket in [&client, &server] {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                }
                poll.add(&client, next)?;
                poll.add(&server, next + 1)?;
                let (client, server) = (Rc::new(client), Rc::new(server));
                sides.insert(next, (Rc::clone(&client), Rc::clone(&server), next + 1));
                sides.insert(next + 1, (server, client, next));
                next += 2;
                continue;
            }
            let Some((from, to, other)) = sides.get(&token) else { continue };
            let copied = read(from, &mut buffer).and_then(|count| write(to, &buffer[..count]));
            if copied.is_none() {
                let other = *other;
                sides.remove(&token);
                sides.remove(&other);
            }
        }
    }
}
