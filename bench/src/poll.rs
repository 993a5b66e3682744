//! A readiness loop: level-triggered epoll over sockets known by a number.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::fd::AsFd,
};

use rustix::event::epoll;

/// Events taken from the kernel at once; as many as connections in the usual run.
const EVENTS_MAX: usize = 128;

/// One epoll instance.
#[allow(missing_debug_implementations, reason = "the kernel's events have none")]
pub struct Poll {
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Tells of `socket` becoming readable, as `token`.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    /// Waits, and gives the tokens of what is readable.
    pub fn wait(&mut self) -> io::Result<Vec<u64>> {
        self.events.clear();
        loop {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), None) {
                Err(rustix::io::Errno::INTR) => {}
                other => {
                    other?;
                    break;
                }
            };
        }
        Ok(self.events.iter().map(|event| event.data.u64()).collect())
    }
}

/// What there is to read; `None` when the peer has gone or broke off.
pub fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match socket.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

/// Writes everything; answers of the benchmark are far smaller than a socket's buffer.
pub fn write(mut socket: &TcpStream, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => return None,
        }
    }
    Some(())
}
