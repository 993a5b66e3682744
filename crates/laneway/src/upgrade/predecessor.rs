//! The side of the new process: what it is lent, and what it says.

use std::{
    fs::File,
    io::stdin,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use proxy::{Inherited, ListeningSocket};
use rustix::{
    net::sockopt::{Timeout, set_socket_timeout},
    process::{Pid, getppid},
};

use super::{Message, READY_WITHIN, VARIABLE, channel};
use crate::data_directory::DataDirectory;

/// The process whose place this one takes.
#[derive(Debug)]
pub(crate) struct Predecessor {
    sockets: Inherited,
    admin: Option<(SocketAddr, OwnedFd)>,
    data: PathBuf,
    lock: Option<File>,
    registration: Option<String>,
    is_connected: bool,
    is_registered: bool,
    captures: bool,
}

impl Predecessor {
    /// Takes what it lends, where there is one.
    pub(crate) fn meet() -> anyhow::Result<Option<Self>> {
        if !is_there() {
            return Ok(None);
        }
        set_socket_timeout(stdin(), Timeout::Recv, Some(READY_WITHIN)).context(
            "the process that started this one to take its place is not at standard input",
        )?;
        let (mut sockets, mut admin) = (Vec::new(), None);
        loop {
            let heard = channel::receive(stdin()).context("hear what the former process lends")?;
            let Some((message, files)) = heard else { bail!("the former process has ended") };
            match message {
                Message::Sockets { asked, kept } => {
                    let lent = asked.into_iter().zip(files);
                    sockets.extend(lent.map(|(asked, socket)| ListeningSocket {
                        asked,
                        socket,
                        is_kept: kept.contains(&asked),
                    }));
                }
                Message::Admin { asked } => {
                    admin = files.into_iter().next().map(|socket| (asked, socket));
                }
                Message::Place { data, registration, is_connected, is_registered, captures } => {
                    let sockets = Inherited::new(sockets).context("take over listening sockets")?;
                    let lock = files.into_iter().next().map(File::from);
                    return Ok(Some(Self {
                        sockets,
                        admin,
                        data,
                        lock,
                        registration,
                        is_connected,
                        is_registered,
                        captures,
                    }));
                }
                other => bail!("the former process said {other:?}, and was to lend its sockets"),
            }
        }
    }

    /// The sockets on which the proxy accepts.
    pub(crate) fn sockets(&self) -> Inherited {
        self.sockets.clone()
    }

    /// The listener of the admin address, if that is still the one.
    pub(crate) fn admin(&mut self, asked: SocketAddr) -> Option<TcpListener> {
        let (_, socket) = self.admin.take().filter(|(known, _)| *known == asked)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// The data directory, with the lock that both hold, if it is still the one.
    pub(crate) fn data(&mut self, path: &Path) -> Option<DataDirectory> {
        let lock = self.lock.take().filter(|_| self.data == path)?;
        Some(DataDirectory::take_over(path, lock))
    }

    /// The name by which the instance is registered.
    pub(crate) fn registration(&self) -> Option<&str> {
        self.registration.as_deref()
    }

    /// Says that nothing is wrong so far, and waits until the place is free.
    pub(crate) fn prepared(&self) -> anyhow::Result<()> {
        self.ask(&Message::Prepared)
    }

    /// Says that it is about to register its instance, and waits until the former process keeps it no longer.
    pub(crate) fn registers(&self) -> anyhow::Result<()> {
        self.ask(&Message::Registers)
    }

    /// Whether the former process hears its control plane.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether its instance is registered.
    pub(crate) fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// Whether its redirect rules are in force.
    pub(crate) fn captures(&self) -> bool {
        self.captures
    }

    fn ask(&self, message: &Message) -> anyhow::Result<()> {
        channel::send(stdin(), message, &[]).context("answer the former process")?;
        match channel::receive(stdin()).context("wait for the former process")? {
            Some((Message::Begin, _)) => Ok(()),
            Some((other, _)) => bail!("the former process said {other:?}, and was to say `begin`"),
            None => bail!("the former process has ended"),
        }
    }

    /// Says that this one serves. The former process ends by itself; where it has ended already, there is all the more reason
    /// to serve.
    pub(crate) fn ready(self, captures: bool) {
        if let Err(error) = channel::send(stdin(), &Message::Ready { captures }, &[]) {
            tracing::warn!(%error, "the former process has ended");
        }
    }
}

/// Tells the process that started this one to take its place, if there is one that waits, why it will not.
pub(crate) fn tell_failure(reason: &str) {
    if is_there() {
        // Where nobody waits any more nobody hears it.
        let _ = channel::send(stdin(), &Message::Failed { reason: reason.to_owned() }, &[]);
    }
}

/// Whether the parent of this process is one that lends it its place.
fn is_there() -> bool {
    let named = std::env::var_os(VARIABLE).and_then(|text| text.to_str()?.parse().ok());
    named.is_some() && named == getppid().map(Pid::as_raw_pid)
}
