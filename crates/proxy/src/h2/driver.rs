//! Moves bytes between a connection and its session; the same for both sides.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use telemetry::Count;

use super::{
    error::Fatal,
    session::{Session, SharedSession},
};
use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    limits::LINGER,
    transport::{Connection, Transport as _},
    worker::Worker,
};

/// What a connection waits for, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its streams.
    Streams,
    /// The next request.
    Idle,
    /// The rest of a frame, or of a head.
    Frame,
    /// The other side to take what is sent.
    Sending,
}

/// What a session says goes out, and what comes goes into it.
pub(crate) struct Driver<'c> {
    worker: &'c Worker,
    connection: &'c Rc<Connection>,
    session: &'c SharedSession,
    /// How long it may be without a stream; `None`: others see to it.
    idle: Option<Duration>,
    /// Came, and is not whole.
    received: Buffer,
    /// On its way out: as much as `sent` bytes of it have gone.
    sending: Vec<u8>,
    sent: usize,
    /// The other side has ended its sending.
    pub(crate) has_ended: bool,
    /// Nothing can be sent any more.
    is_broken: bool,
    waits: Option<Wait>,
    /// What the other side did wrong.
    pub(crate) failed: Option<Fatal>,
}

impl<'c> Driver<'c> {
    pub(crate) fn new(
        worker: &'c Worker,
        connection: &'c Rc<Connection>,
        session: &'c SharedSession,
        idle: Option<Duration>,
        first: Buffer,
    ) -> Self {
        let driver = Self {
            worker,
            connection,
            session,
            idle,
            received: first,
            sending: Vec::new(),
            sent: 0,
            has_ended: false,
            is_broken: false,
            waits: None,
            failed: None,
        };
        driver.count(&session.borrow(), Count::BytesReceived, driver.received.filled().len());
        driver
    }

    /// Takes in what has come. Whether anything has.
    pub(crate) fn receive(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut has_moved = false;
        loop {
            if !self.received.is_empty() {
                self.take_in();
            }
            if self.has_ended || !(self.is_broken || self.session.borrow().may_receive()) {
                return Ok(has_moved);
            }
            let buffers = &self.worker.buffers;
            let received = if self.received.is_empty() {
                buffers.give(std::mem::take(&mut self.received));
                self.connection.poll_receive(context, buffers, 0).map_ok(|received| {
                    let bytes = received.filled().len();
                    self.received = received;
                    bytes
                })
            } else {
                // A whole frame finds room.
                self.received.make_room(Session::RECEIVED_BYTES_MAX);
                self.connection.poll_receive_more(context, &mut self.received)
            };
            match received {
                Poll::Ready(Ok(0)) => self.has_ended = true,
                Poll::Ready(Ok(bytes)) => {
                    self.count(&self.session.borrow(), Count::BytesReceived, bytes);
                    self.waits = None;
                    has_moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(has_moved),
            }
        }
    }

    fn take_in(&mut self) {
        let mut session = self.session.borrow_mut();
        let now_ms = self.worker.deadlines.now_ms();
        session.lend(&self.worker.buffers);
        match session.receive(self.received.filled(), &self.worker.buffers, now_ms) {
            Ok(bytes) => self.received.consume(bytes),
            Err(fatal) => {
                tracing::debug!(peer = %self.connection.peer, reason = %fatal, "HTTP/2 connection ended");
                session.fail(fatal);
                self.failed = Some(fatal);
                self.received.clear();
            }
        }
    }

    /// Sends what there is. Whether any of it has gone.
    pub(crate) fn send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut has_moved = false;
        loop {
            if self.sent == self.sending.len() {
                let mut session = self.session.borrow_mut();
                if self.sent > 0 {
                    session.sent();
                    self.sending.clear();
                    self.sent = 0;
                }
                if !session.has_out() {
                    self.worker.buffers.give_write(std::mem::take(&mut self.sending));
                    self.worker.buffers.give_write(session.take_out(Vec::new()));
                    return Ok(has_moved);
                }
                self.sending = session.take_out(std::mem::take(&mut self.sending));
                self.count(&session, Count::BytesSent, self.sending.len());
            }
            match self.connection.poll_send_some(context, &self.sending[self.sent..]) {
                Poll::Ready(bytes) => {
                    self.sent += bytes?;
                    self.waits = None;
                    has_moved = true;
                }
                Poll::Pending => return Ok(has_moved),
            }
        }
    }

    /// Counts bytes between callers and this process; what instances send and get is the same again.
    fn count(&self, session: &Session, what: Count, bytes: usize) {
        if !session.is_client() {
            self.worker.recorder.add(what, bytes as u64);
        }
    }

    /// Nothing moves: for how long may it be so?
    pub(crate) fn wait(&mut self) {
        let session = self.session.borrow();
        let waits = if self.sent < self.sending.len() {
            Wait::Sending
        } else if !self.received.is_empty() || session.is_within_head() {
            Wait::Frame
        } else if session.stream_count() == 0 {
            Wait::Idle
        } else {
            Wait::Streams
        };
        if self.waits.replace(waits) == Some(waits) {
            return;
        }
        let Worker { deadlines, timeouts, .. } = self.worker;
        let deadline = self.connection.deadline();
        self.connection.idle.set(waits == Wait::Idle);
        match waits {
            Wait::Streams => deadline.disarm(),
            Wait::Idle => match self.idle {
                Some(idle) => deadlines.arm(deadline, idle, Shutdown::Read),
                None => deadline.disarm(),
            },
            Wait::Frame => deadlines.arm(deadline, timeouts.head, Shutdown::Both),
            Wait::Sending => deadlines.arm_sending(deadline, timeouts.body),
        }
    }

    /// Takes in what the other side has said before the connection broke, such as which requests it has not looked at.
    pub(crate) async fn hear_out(&mut self) {
        self.is_broken = true;
        self.worker.deadlines.arm(self.connection.deadline(), LINGER, Shutdown::Both);
        poll_fn(|context| {
            loop {
                match self.receive(context) {
                    Ok(true) => {}
                    Ok(false) if !self.has_ended => return Poll::Pending,
                    Ok(false) | Err(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// It ended because nobody had anything to say for long.
    pub(crate) fn was_idle(&self) -> bool {
        self.connection.deadline().is_expired() && self.waits == Some(Wait::Idle)
    }

    /// Sends what is left to be said, so that the connection can end in order.
    pub(crate) async fn farewell(&mut self) -> io::Result<()> {
        self.session.borrow_mut().say_goodbye();
        let deadline = self.connection.deadline();
        self.worker.deadlines.arm_sending(deadline, self.worker.timeouts.body);
        poll_fn(|context| {
            loop {
                match self.send(context) {
                    Ok(true) => {}
                    Ok(false) if self.sent < self.sending.len() => return Poll::Pending,
                    ended => return Poll::Ready(ended.map(drop)),
                }
            }
        })
        .await
    }
}
