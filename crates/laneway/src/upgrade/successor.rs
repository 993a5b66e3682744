//! The side of the process that serves: it starts the next one, and waits until that serves too.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, anyhow, bail};
use proxy::ListeningSocket;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{Message, READY_WITHIN, VARIABLE, channel, channel::FILES_MAX, supervisor};
use crate::data_directory::DataDirectory;

/// What a process lends to the next one.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    /// On which the proxy accepts.
    pub(crate) sockets: Vec<ListeningSocket>,
    /// The admin address, as the settings name it, and its socket.
    pub(crate) admin: (SocketAddr, BorrowedFd<'a>),
    pub(crate) data: &'a DataDirectory,
    /// The name by which the instance is registered.
    pub(crate) registration: Option<&'a str>,
    pub(crate) is_connected: bool,
    pub(crate) is_registered: bool,
    /// Redirect rules are in force for this process.
    pub(crate) captures: bool,
}

/// The next process, until it serves. Dropped before, it is ended.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Option<Child>,
    channel: OwnedFd,
    /// What it says, until it has nothing more to say.
    said: mpsc::Receiver<io::Result<Message>>,
    until: Instant,
}

impl Successor {
    /// Starts it, and lends it all.
    pub(crate) fn start(lent: &Lent<'_>) -> anyhow::Result<Self> {
        supervisor::may_be_succeeded()?;
        let (own, others) = channel::pair().context("make a pair of sockets")?;
        let program = program()?;
        let child = Command::new(&program)
            .args(std::env::args_os().skip(1))
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(others))
            .spawn()
            .with_context(|| format!("start `{}`", program.display()))?;
        let until = Instant::now() + READY_WITHIN;
        // Ends it, whatever goes wrong from here on.
        let mut successor =
            Self { child: Some(child), said: mpsc::channel(1).1, channel: own, until };
        successor.said = listen(successor.channel.try_clone()?)?;
        match successor.lend(lent) {
            // It has ended already: what it said before says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(successor),
            lent => lent.map(|()| successor).context("lend the listening sockets"),
        }
    }

    fn lend(&self, lent: &Lent<'_>) -> io::Result<()> {
        let channel = &self.channel;
        for some in lent.sockets.chunks(FILES_MAX) {
            let files: Vec<_> = some.iter().map(|it| it.socket.as_fd()).collect();
            let asked = some.iter().map(|it| it.asked).collect();
            let kept = some.iter().filter(|it| it.is_kept).map(|it| it.asked).collect();
            channel::send(channel, &Message::Sockets { asked, kept }, &files)?;
        }
        let (asked, admin) = lent.admin;
        channel::send(channel, &Message::Admin { asked }, &[admin])?;
        let place = Message::Place {
            data: lent.data.path().to_owned(),
            registration: lent.registration.map(str::to_owned),
            is_connected: lent.is_connected,
            is_registered: lent.is_registered,
            captures: lent.captures,
        };
        let lock: Vec<_> = lent.data.lock().into_iter().collect();
        channel::send(channel, &place, &lock)
    }

    /// Waits until nothing is wrong with it so far.
    pub(crate) async fn prepared(&mut self) -> anyhow::Result<()> {
        match self.hear().await? {
            Message::Prepared => Ok(()),
            other => Err(anyhow!("it said {other:?}, and was to say that it is prepared")),
        }
    }

    /// Lets it take the place, and waits until it serves: says whether redirect rules are in force for it. `rest` is what is
    /// to be done before it registers. It lives on by itself then.
    pub(crate) async fn takes_the_place(mut self, rest: impl Fn()) -> anyhow::Result<Succeeded> {
        self.begin()?;
        loop {
            match self.hear().await? {
                Message::Registers => {
                    rest();
                    self.begin()?;
                }
                Message::Ready { captures } => {
                    let child = self.child.take().context("it has ended")?;
                    return Ok(Succeeded { process: child.id(), captures, ended: ended(child)? });
                }
                other => bail!("it said {other:?}, and was to say that it is ready"),
            }
        }
    }

    fn begin(&self) -> anyhow::Result<()> {
        match channel::send(&self.channel, &Message::Begin, &[]) {
            // It has ended: what it said before is heard next.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            said => said.context("tell it to begin"),
        }
    }

    async fn hear(&mut self) -> anyhow::Result<Message> {
        let heard = timeout_at(self.until, self.said.recv()).await;
        let seconds = READY_WITHIN.as_secs();
        match heard.with_context(|| format!("it did not serve within {seconds} s"))? {
            Some(Ok(Message::Failed { reason })) => bail!("{reason}"),
            Some(heard) => heard.context("hear the new process"),
            None => Err(self.has_ended()),
        }
    }

    fn has_ended(&mut self) -> anyhow::Error {
        anyhow!("it {} before it served; what it printed says why", self.ending())
    }

    /// How it has ended, or ends now.
    fn ending(&mut self) -> String {
        let status = self.child.take().and_then(|mut child| {
            // It has closed its socket: nothing keeps it.
            let _ = child.kill();
            child.wait().ok()
        });
        match status.and_then(|status| status.code()) {
            Some(code) => format!("ended with exit code {code}"),
            None => "was ended".to_owned(),
        }
    }
}

/// A process that has the place of this one.
#[derive(Debug)]
pub(crate) struct Succeeded {
    /// Its number.
    pub(crate) process: u32,
    /// Redirect rules are in force for it.
    pub(crate) captures: bool,
    ended: oneshot::Receiver<ExitStatus>,
}

impl Succeeded {
    /// Waits until it has ended, which is before this one has only where it fails: says how.
    pub(crate) async fn has_ended(&mut self) -> ExitStatus {
        match (&mut self.ended).await {
            Ok(status) => status,
            // It cannot be waited for: nobody hears of its end.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Tells of the end of a process, from a thread of its own.
fn ended(mut child: Child) -> io::Result<oneshot::Receiver<ExitStatus>> {
    let (told, ended) = oneshot::channel();
    std::thread::Builder::new().name("successor".to_owned()).spawn(move || {
        if let Ok(status) = child.wait() {
            // Whoever waited may have ended.
            let _ = told.send(status);
        }
    })?;
    Ok(ended)
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.child.is_some() {
            let _ = self.ending();
        }
    }
}

/// Hears what is said at a socket, on a thread that ends with the socket's other side.
fn listen(channel: OwnedFd) -> io::Result<mpsc::Receiver<io::Result<Message>>> {
    let (heard, said) = mpsc::channel(1);
    std::thread::Builder::new().name("successor".to_owned()).spawn(move || {
        while let Some(message) = channel::receive(&channel).transpose() {
            let is_last = message.is_err();
            if heard.blocking_send(message.map(|(message, _)| message)).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(said)
}

/// What is at the path by which this process was started: a name without a directory is looked for where it was then.
fn program() -> anyhow::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from);
    match named {
        Some(path) if path != PathBuf::new() => Ok(path),
        _ => std::env::current_exe().context("find this program's own file"),
    }
}
