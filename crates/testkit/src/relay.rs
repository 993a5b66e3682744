//! A TCP relay that stands between two parts of a system and plants a fault: it can change bytes, swallow them, or hand
//! them on late. What it does can change at any time.

use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

use crate::wait;

/// A word that is replaced by another of the same length, in what clients send.
pub type Replace = (&'static str, &'static str);

/// A relay at work until the test's process ends.
#[derive(Debug, Clone)]
pub struct Relay {
    way: Arc<Way>,
}

/// What happens to all that passes.
#[derive(Debug, Default)]
struct Way {
    fault: Mutex<Fault>,
    /// Pieces that have come, on all connections.
    pieces: AtomicU64,
    /// Both ends of the connections on which something was swallowed.
    broken: Mutex<Vec<TcpStream>>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Fault {
    #[default]
    None,
    Swallows,
    Late {
        every: u64,
        by: Duration,
    },
}

impl Relay {
    /// Relays connections to `listen` on to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(listen: &str, target: &str, replace: Option<Replace>) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("relay at {listen}"))?;
        let relay = Self { way: Arc::default() };
        let (way, target) = (Arc::clone(&relay.way), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (way, target) = (Arc::clone(&way), target.clone());
                thread::spawn(move || {
                    // An end that went away ends its connection, as without a relay.
                    let _ended = pair(&client, &target, replace, way);
                });
            }
        });
        Ok(relay)
    }

    /// From now on nothing passes; connections stay open, as with a network that swallows packets.
    pub fn freeze(&self) {
        *self.way.fault.lock() = Fault::Swallows;
    }

    /// From now on one piece of so many is handed on late, and what is behind it on its connection too: what a lost
    /// packet is to those who use TCP.
    pub fn delay(&self, every: u64, by: Duration) {
        *self.way.fault.lock() = Fault::Late { every, by };
    }

    /// From now on everything passes. Connections that have missed something are over.
    pub fn heal(&self) {
        *self.way.fault.lock() = Fault::None;
        for end in mem::take(&mut *self.way.broken.lock()) {
            let _already_over = end.shutdown(Shutdown::Both);
        }
    }
}

fn pair(
    client: &TcpStream,
    target: &str,
    replace: Option<Replace>,
    way: Arc<Way>,
) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let is_broken = Arc::new(AtomicBool::new(false));
    let (back_way, back_broken) = (Arc::clone(&way), Arc::clone(&is_broken));
    thread::spawn(move || copy(back_from, back_to, None, &back_way, &back_broken));
    copy(client.try_clone()?, server, replace, &way, &is_broken)
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    replace: Option<Replace>,
    way: &Way,
    is_broken: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let piece = way.pieces.fetch_add(1, Ordering::Relaxed);
        {
            let fault = way.fault.lock();
            if matches!(*fault, Fault::Swallows) && !is_broken.swap(true, Ordering::Relaxed) {
                way.broken.lock().extend([from.try_clone()?, to.try_clone()?]);
            }
            if let Fault::Late { every, by } = *fault
                && piece.is_multiple_of(every)
            {
                drop(fault);
                wait::pause(by);
            }
        }
        // What is behind a gap is never handed on: nobody would make sense of it.
        if is_broken.load(Ordering::Relaxed) {
            continue;
        }
        // Test requests are small and arrive whole, so a word is never cut in two.
        if let Some((word, other)) = replace {
            while let Some(at) =
                buffer[..count].windows(word.len()).position(|window| window == word.as_bytes())
            {
                buffer[at..at + word.len()].copy_from_slice(other.as_bytes());
            }
        }
        to.write_all(&buffer[..count])?;
    }
}
