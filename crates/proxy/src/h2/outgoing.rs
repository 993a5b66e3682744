//! What goes out on one stream: a head, a body as the other side allows it, trailers. The same for answers to clients and
//! for requests to instances.

use std::{
    cell::{Cell, RefCell, RefMut},
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    error::Code,
    hpack,
    session::{Lost, Session, SharedSession},
};
use crate::{exchange::sides::Piece as _, h1::piece::Piece, worker::Worker};

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct Outgoing<'c> {
    worker: &'c Worker,
    session: SharedSession,
    id: u32,
    /// How long the other side may take to take some of it.
    patience: Duration,
    /// Lines of trailers that came with the body.
    trailers: RefCell<Vec<u8>>,
    has_ended: Cell<bool>,
}

/// Why no more goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stopped {
    Lost(Lost),
    /// The other side took nothing for too long.
    Late,
}

impl From<Lost> for Stopped {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl<'c> Outgoing<'c> {
    pub(crate) fn new(
        worker: &'c Worker,
        session: SharedSession,
        id: u32,
        patience: Duration,
    ) -> Self {
        Self {
            worker,
            session,
            id,
            patience,
            trailers: RefCell::default(),
            has_ended: Cell::new(false),
        }
    }

    /// The session, with memory to write to.
    fn session(&self) -> RefMut<'_, Session> {
        let mut session = self.session.borrow_mut();
        session.lend(&self.worker.buffers);
        session
    }

    /// Sends a block of fields.
    pub(crate) async fn send_head(&self, block: Vec<u8>, ends: bool) -> Result<(), Stopped> {
        let sent = poll_fn(|context| self.session().poll_send_head(self.id, context, &block, ends));
        let sent = self.in_time(sent).await;
        self.has_ended.set(ends && sent.is_ok());
        self.worker.buffers.give_write(block);
        sent
    }

    /// Sends part of a body.
    pub(crate) async fn send_data(&self, mut data: &[u8], ends: bool) -> Result<(), Stopped> {
        while !data.is_empty() || ends {
            let sent = poll_fn(|context| self.session().poll_send(self.id, context, data, ends));
            let bytes = self.in_time(sent).await?;
            if bytes == data.len() {
                self.has_ended.set(ends);
                break;
            }
            data = &data[bytes..];
        }
        Ok(())
    }

    async fn in_time<T>(&self, sent: impl Future<Output = Result<T, Lost>>) -> Result<T, Stopped> {
        let sent = tokio::time::timeout(self.patience, sent).await;
        Ok(sent.map_err(|_| Stopped::Late)??)
    }

    /// Sends a piece, and with the last one what ends the stream.
    pub(crate) async fn send_piece(&self, piece: &Piece, is_last: bool) -> Result<(), Stopped> {
        if !piece.trailers().is_empty() {
            self.trailers.borrow_mut().extend_from_slice(piece.trailers());
        }
        let has_trailers = !self.trailers.borrow().is_empty();
        self.send_data(piece.data(), is_last && !has_trailers).await?;
        if !is_last || !has_trailers {
            return Ok(());
        }
        let mut block = self.worker.buffers.take_write();
        for line in self.trailers.take().split(|byte| *byte == b'\n') {
            if let Some(colon) = memchr::memchr(b':', line) {
                hpack::write_field(&line[..colon], line[colon + 1..].trim_ascii(), &mut block);
            }
        }
        self.send_head(block, true).await
    }

    /// Whether a head is all there is, so that it ends the stream.
    pub(crate) fn is_all(first: &Piece, is_last: bool) -> bool {
        is_last && first.is_empty() && first.trailers().is_empty()
    }

    /// Ends the stream early with trailers; where they cannot go out at once, without.
    pub(crate) fn end(&self, block: Vec<u8>) {
        if !self.has_ended.get() {
            let mut context = Context::from_waker(Waker::noop());
            let mut session = self.session();
            let sent = session.poll_send_head(self.id, &mut context, &block, true);
            let is_sent = matches!(sent, Poll::Ready(Ok(())));
            // What still comes of the client is of no use to anybody.
            let code = if is_sent { Code::NoError } else { Code::Internal };
            session.release(self.id, code, &self.worker.buffers);
        }
        self.worker.buffers.give_write(block);
    }

    /// Ends the stream early, unless it has ended.
    pub(crate) fn cut(&self, code: Code) {
        if !self.has_ended.get() {
            self.session.borrow_mut().release(self.id, code, &self.worker.buffers);
        }
    }
}
