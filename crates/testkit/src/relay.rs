//! A TCP relay that stands between two parts of a system and plants a fault: it can change bytes, or stop relaying.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};

/// A word that is replaced by another of the same length, in what clients send.
pub type Replace = (&'static str, &'static str);

/// A relay at work until the test's process ends.
#[derive(Debug, Clone)]
pub struct Relay {
    frozen: Arc<AtomicBool>,
}

impl Relay {
    /// Relays connections to `listen` on to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(listen: &str, target: &str, replace: Option<Replace>) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("relay at {listen}"))?;
        let relay = Self { frozen: Arc::new(AtomicBool::new(false)) };
        let (frozen, target) = (Arc::clone(&relay.frozen), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (frozen, target) = (Arc::clone(&frozen), target.clone());
                thread::spawn(move || {
                    // An end that went away ends its connection, as without a relay.
                    let _ended = pair(&client, &target, replace, &frozen);
                });
            }
        });
        Ok(relay)
    }

    /// From now on nothing passes; connections stay open, as with a network that swallows packets.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }
}

fn pair(
    client: &TcpStream,
    target: &str,
    replace: Option<Replace>,
    frozen: &Arc<AtomicBool>,
) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back_frozen = Arc::clone(frozen);
    thread::spawn(move || copy(back_from, back_to, None, &back_frozen));
    copy(client.try_clone()?, server, replace, frozen)
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    replace: Option<Replace>,
    frozen: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        if frozen.load(Ordering::Relaxed) {
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
