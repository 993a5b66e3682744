//! Bytes both ways between two sockets, unread: for traffic that is no known service or no HTTP, and for upgrades.

use std::{
    cell::{Cell, RefCell},
    future::{Future as _, pending, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

/// Bytes one read takes at most: what a socket has ready at 10 Gbit/s within 13 µs, so that one busy connection
/// does not keep its thread from the others.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// Buffers a [`BufferPool`] keeps: 1 MiB a thread. More are in use only while that many peers are slow at once.
pub(crate) const POOLED_BUFFERS_MAX: usize = 64;

/// Reads in a row before others have their turn, so that a peer that is always ready cannot starve its thread.
const TURNS_MAX: u32 = 32;

/// Where buffers come from while bytes are on their way. A connection on which nothing moves holds none.
pub(crate) trait Buffers {
    /// An initialised buffer, at least one byte long.
    fn take(&self) -> Vec<u8>;
    /// Gives one back.
    fn give(&self, buffer: Vec<u8>);
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: RefCell<Vec<Vec<u8>>>,
}

impl Buffers for BufferPool {
    fn take(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; CHUNK_BYTES])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if free.len() < POOLED_BUFFERS_MAX {
            free.push(buffer);
        }
    }
}

/// A side that bytes are passed to and from.
pub(crate) trait Cut {
    /// Has it reset when it is closed: what passed was not all.
    fn cut(&self);

    /// Ready when nobody is there any more, whether or not anything of it was read. A connection of its own tells that only to
    /// who reads or writes.
    fn poll_lost(&self, _: &mut Context<'_>) -> Poll<io::Error> {
        Poll::Pending
    }

    /// It is a stream of a connection that others share.
    fn is_stream(&self) -> bool {
        false
    }

    /// What passes there is counted as it comes and goes.
    fn is_counted(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl Cut for tokio::io::DuplexStream {
    fn cut(&self) {}
}

/// What was read from a side before it was known to be passed through, to be sent to the other first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AlreadyRead<'a> {
    /// From the caller.
    pub(crate) from_caller: &'a [u8],
    /// From the instance.
    pub(crate) from_instance: &'a [u8],
}

/// How many bytes passed, [`AlreadyRead`] included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Passed {
    /// From the caller to the instance.
    pub(crate) to_instance: u64,
    /// From the instance to the caller.
    pub(crate) to_caller: u64,
}

/// How long a connection may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Nothing moves in either direction.
    pub(crate) idle: Duration,
    /// A side takes nothing of what waits for it, whatever moves the other way. `None`: for as long as anything moves.
    pub(crate) untaken: Option<Duration>,
}

/// Why copying stopped before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// Nothing moved in either direction for the idle time.
    #[error("pass bytes through: nothing moved for {} s", .0.as_secs())]
    Idle(Duration),
    /// Bytes waited in one direction for the time that a side has to take some.
    #[error("pass bytes through: nothing was taken of what waited for {} s", .0.as_secs())]
    Untaken(Duration),
    /// The caller's socket failed.
    #[error("pass bytes through: the caller's connection")]
    Caller(#[source] io::Error),
    /// The instance's socket failed.
    #[error("pass bytes through: the instance's connection")]
    Instance(#[source] io::Error),
}

/// Copies both ways until both sides have ended. When one side ends its sending, the other is told so (half-close)
/// and may go on. `clock` is the thread's coarse clock; copying ends where `patience` does. `passed` is
/// kept current, so that it is right also after an error.
pub(crate) async fn pass_through<C, I>(
    caller: &mut C,
    instance: &mut I,
    already_read: AlreadyRead<'_>,
    buffers: &impl Buffers,
    clock: &impl Fn() -> Instant,
    patience: Patience,
    passed: &Cell<Passed>,
) -> Result<(), PassError>
where
    C: AsyncRead + AsyncWrite + Unpin + Cut,
    I: AsyncRead + AsyncWrite + Unpin + Cut,
{
    let moved_at = Cell::new(clock());
    let moved = || moved_at.set(clock());
    let to_instance = |bytes: u64| {
        moved();
        let before = passed.get();
        passed.set(Passed { to_instance: before.to_instance + bytes, ..before });
    };
    let to_caller = |bytes: u64| {
        moved();
        let before = passed.get();
        passed.set(Passed { to_caller: before.to_caller + bytes, ..before });
    };
    let mut there = Direction::new(already_read.from_caller, buffers);
    let mut back = Direction::new(already_read.from_instance, buffers);
    let waiting = Waiting::default();
    let Patience { idle, untaken } = patience;
    let copying = poll_fn(|context| {
        let has_there =
            there.poll(context, caller, instance, &to_instance).map_err(|end| match end {
                Failed::Reading(error) => PassError::Caller(error),
                Failed::Writing(error) => PassError::Instance(error),
            })?;
        let has_back =
            back.poll(context, instance, caller, &to_caller).map_err(|end| match end {
                Failed::Reading(error) => PassError::Instance(error),
                Failed::Writing(error) => PassError::Caller(error),
            })?;
        // Who waits to write does not read, and would not see it.
        if there.has_waiting()
            && let Poll::Ready(error) = caller.poll_lost(context)
        {
            return Poll::Ready(Err(PassError::Caller(error)));
        }
        if back.has_waiting()
            && let Poll::Ready(error) = instance.poll_lost(context)
        {
            return Poll::Ready(Err(PassError::Instance(error)));
        }
        if untaken.is_some() {
            let Passed { to_instance, to_caller } = passed.get();
            waiting.there.note(there.has_waiting().then_some(to_instance), clock);
            waiting.back.note(back.has_waiting().then_some(to_caller), clock);
        }
        if has_there.is_ready() && has_back.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    });
    tokio::select! {
        biased;
        ended = copying => ended,
        () = idle_for(idle, &moved_at) => Err(PassError::Idle(idle)),
        untaken = untaken_for(untaken, &waiting) => Err(PassError::Untaken(untaken)),
    }
}

/// What waits to be taken, each way.
#[derive(Debug, Default)]
struct Waiting {
    there: Since,
    back: Since,
}

/// How much had passed in a direction when bytes began to wait there of which none was taken since, and when.
#[derive(Debug, Default)]
struct Since(Cell<Option<(u64, Instant)>>);

impl Since {
    /// `passed`: how much has, where something waits.
    fn note(&self, passed: Option<u64>, clock: &impl Fn() -> Instant) {
        let before = self.0.get();
        if before.map(|(passed, _)| passed) != passed {
            self.0.set(passed.map(|passed| (passed, clock())));
        }
    }
}

impl Waiting {
    fn oldest(&self) -> Option<Instant> {
        let waits = [&self.there, &self.back].into_iter().filter_map(|it| it.0.get());
        waits.map(|(_, since)| since).min()
    }
}

/// Waits until bytes have waited for so long. It is looked at in every turn of its connection, so that the timer is set only
/// where something waits, and not anew for every byte.
async fn untaken_for(untaken: Option<Duration>, waiting: &Waiting) -> Duration {
    let Some(untaken) = untaken else { return pending().await };
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        while let Some(until) = waiting.oldest().and_then(|since| since.checked_add(untaken)) {
            let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= until.into() {
                return Poll::Ready(untaken);
            }
            sleep.as_mut().reset(until.into());
        }
        Poll::Pending
    })
    .await
}

/// Waits until nothing has moved for `idle`. One timer a connection, not set anew for every byte.
async fn idle_for(idle: Duration, moved_at: &Cell<Instant>) {
    loop {
        let until = moved_at.get() + idle;
        tokio::time::sleep_until(until.into()).await;
        if moved_at.get() + idle <= until {
            return;
        }
    }
}

enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

/// One direction: read, write, and when the reader has ended, end the writer.
struct Direction<'a, B: Buffers> {
    first: &'a [u8],
    buffers: &'a B,
    /// Held only while bytes wait for the writer.
    held: Option<Vec<u8>>,
    start: usize,
    end: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    Ending,
    Ended,
}

impl<'a, B: Buffers> Direction<'a, B> {
    fn new(first: &'a [u8], buffers: &'a B) -> Self {
        Self { first, buffers, held: None, start: 0, end: 0, state: State::Copying }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        moved: &impl Fn(u64),
    ) -> Poll<Result<(), Failed>> {
        for _ in 0..TURNS_MAX {
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context)).map_err(Failed::Writing)?;
                    self.state = State::Ended;
                }
                State::Copying => {
                    ready!(self.write_waiting(context, to, moved))?;
                    if !ready!(self.read(context, from))? {
                        self.state = State::Ending;
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits; ready when nothing waits any more, and then no buffer is held.
    fn write_waiting(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        moved: &impl Fn(u64),
    ) -> Poll<Result<(), Failed>> {
        while !self.first.is_empty() {
            let written = ready!(write_some(context, to, self.first))?;
            self.first = &self.first[written..];
            moved(written as u64);
        }
        while let Some(buffer) = &self.held {
            let written = ready!(write_some(context, to, &buffer[self.start..self.end]))?;
            self.start += written;
            moved(written as u64);
            if self.start == self.end {
                self.give_back();
            }
        }
        // Sockets have nothing to flush; TLS does.
        Pin::new(to).poll_flush(context).map_err(Failed::Writing)
    }

    /// Reads into a buffer that is kept only if something came. `false` at the end.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<Result<bool, Failed>> {
        let mut buffer = self.buffers.take();
        let mut space = ReadBuf::new(&mut buffer);
        let polled = Pin::new(from).poll_read(context, &mut space);
        let filled = space.filled().len();
        if filled > 0 {
            (self.held, self.start, self.end) = (Some(buffer), 0, filled);
        } else {
            self.buffers.give(buffer);
        }
        ready!(polled).map_err(Failed::Reading)?;
        Poll::Ready(Ok(filled > 0))
    }

    /// Bytes that the writer has not taken.
    fn has_waiting(&self) -> bool {
        self.held.is_some() || !self.first.is_empty()
    }

    fn give_back(&mut self) {
        if let Some(buffer) = self.held.take() {
            self.buffers.give(buffer);
        }
    }
}

impl<B: Buffers> Drop for Direction<'_, B> {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn write_some(
    context: &mut Context<'_>,
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Poll<Result<usize, Failed>> {
    match ready!(Pin::new(to).poll_write(context, bytes)) {
        Ok(0) => Poll::Ready(Err(Failed::Writing(io::ErrorKind::WriteZero.into()))),
        Ok(written) => Poll::Ready(Ok(written)),
        Err(error) => Poll::Ready(Err(Failed::Writing(error))),
    }
}

#[cfg(test)]
mod tests;
