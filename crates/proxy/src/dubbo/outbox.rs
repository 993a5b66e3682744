//! Frames on their way out of one connection, and bytes on their way in.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, ready},
};

use tokio::sync::Notify;

use super::frame::{Came, Frame, Splitter};
use crate::{
    buffers::Buffer, deadlines::HasDeadline as _, limits::DUBBO_WAITING_BYTES_MAX,
    transport::Connection, worker::Worker,
};

/// Bytes that are sent together: small frames share a system call.
const TOGETHER_BYTES_MAX: usize = 32 * 1024;

/// What waits to be sent on one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: RefCell<VecDeque<Rc<Frame>>>,
    bytes: Cell<usize>,
    filled: Notify,
    emptied: Notify,
    is_closed: Cell<bool>,
}

impl Outbox {
    pub(super) fn push(&self, frame: Rc<Frame>) {
        if self.is_closed.get() {
            return;
        }
        self.bytes.set(self.bytes.get() + frame.len());
        self.frames.borrow_mut().push_back(frame);
        self.filled.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.get() == 0
    }

    /// What waits, or is being sent.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether more may be put in.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.get() <= DUBBO_WAITING_BYTES_MAX || self.is_closed.get()
    }

    /// Waits until more may be put in.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.emptied.notified().await;
        }
    }

    /// Nothing more is sent. What nobody has begun to send.
    pub(super) fn close(&self) -> VecDeque<Rc<Frame>> {
        self.is_closed.set(true);
        self.emptied.notify_waiters();
        self.frames.take()
    }

    /// Sends whatever is put in, until it cannot be sent.
    pub(super) async fn send_all(
        &self,
        worker: &Worker,
        connection: &Connection,
    ) -> io::Result<()> {
        loop {
            let first = self.frames.borrow_mut().pop_front();
            let Some(first) = first else {
                self.filled.notified().await;
                continue;
            };
            let mut together = worker.buffers.take_write();
            let alone = first.len() > TOGETHER_BYTES_MAX;
            if !alone {
                together.extend_from_slice(first.bytes());
                self.gather(&mut together);
            }
            let bytes = if alone { first.bytes() } else { &together[..] };
            worker.deadlines.set_now(std::time::Instant::now());
            worker.deadlines.arm_sending(connection.deadline(), worker.timeouts.body);
            let mut sent = 0;
            poll_fn(|context| {
                while sent < bytes.len() {
                    sent += ready!(connection.poll_send_some(context, &bytes[sent..]))?;
                }
                Poll::Ready(io::Result::Ok(()))
            })
            .await?;
            connection.deadline().disarm();
            self.bytes.set(self.bytes.get() - bytes.len());
            worker.buffers.give_write(together);
            self.emptied.notify_waiters();
        }
    }

    fn gather(&self, together: &mut Vec<u8>) {
        let mut frames = self.frames.borrow_mut();
        while let Some(next) =
            frames.pop_front_if(|next| together.len() + next.len() <= TOGETHER_BYTES_MAX)
        {
            together.extend_from_slice(next.bytes());
        }
    }
}

/// What comes in on one connection.
#[derive(Debug)]
pub(super) struct Incoming {
    splitter: Splitter,
    received: Buffer,
}

impl Incoming {
    pub(super) fn new(received: Buffer) -> Self {
        Self { splitter: Splitter::default(), received }
    }

    /// The next frame. `None`: the other side has ended in order. In the midst of a frame it may not be silent for long.
    pub(super) async fn next(
        &mut self,
        worker: &Worker,
        connection: &Connection,
    ) -> io::Result<Option<Came>> {
        loop {
            while !self.received.is_empty() {
                let mut left = self.received.filled();
                let before = left.len();
                let came = self.splitter.take(&mut left);
                let taken = before - left.len();
                self.received.consume(taken);
                match came {
                    Ok(Some(came)) => return Ok(Some(came)),
                    Ok(None) => {}
                    Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            }
            worker.buffers.give(std::mem::take(&mut self.received));
            let is_within = self.splitter.is_within();
            let receiving = connection.receive(&worker.buffers);
            self.received = if is_within {
                let received = tokio::time::timeout(worker.timeouts.body, receiving).await;
                received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
            } else {
                receiving.await?
            };
            if self.received.is_empty() {
                return if is_within { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
        }
    }
}
