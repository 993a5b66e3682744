//! A stream whose bytes pass unread.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    error::Code,
    session::{Data, Lost, SharedSession},
};
use crate::{buffers::Buffer, passthrough::Cut, worker::Worker};

/// One side of a tunnel. What is not at its end when it is dropped ends then.
#[derive(Debug)]
pub(crate) struct Tunnelled<'c> {
    worker: &'c Worker,
    session: SharedSession,
    id: u32,
    /// Came, and was not read yet.
    received: Buffer,
}

impl<'c> Tunnelled<'c> {
    /// From now on.
    pub(crate) fn new(worker: &'c Worker, session: SharedSession, id: u32) -> Self {
        session.borrow_mut().begin_tunnel(id);
        Self { worker, session, id, received: Buffer::default() }
    }
}

impl Drop for Tunnelled<'_> {
    fn drop(&mut self) {
        self.cut();
        self.worker.buffers.give(std::mem::take(&mut self.received));
    }
}

impl Cut for Tunnelled<'_> {
    /// As RFC 8441 §5 has it, what resets a connection in HTTP/1.1.
    fn cut(&self) {
        self.session.borrow_mut().release(self.id, Code::Cancel, &self.worker.buffers);
    }

    fn poll_lost(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.session.borrow_mut().poll_broken_off(self.id, context).map(broken)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn is_counted(&self) -> bool {
        true
    }
}

impl AsyncRead for Tunnelled<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            let next = ready!(self.session.borrow_mut().poll_data(self.id, context));
            match next.map_err(broken)? {
                Data::Piece(piece) => {
                    let empty = std::mem::replace(&mut self.received, piece);
                    self.worker.buffers.give(empty);
                }
                Data::End => return Poll::Ready(Ok(())),
            }
        }
        let bytes = into.remaining().min(self.received.filled().len());
        into.put_slice(&self.received.filled()[..bytes]);
        self.received.consume(bytes);
        if self.received.is_empty() {
            // One on which nothing moves holds none.
            let empty = std::mem::take(&mut self.received);
            self.worker.buffers.give(empty);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnelled<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.session.borrow_mut().poll_send(self.id, context, bytes, false).map_err(broken)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.session.borrow_mut().poll_send(self.id, context, &[], true);
        ended.map_ok(|_| ()).map_err(broken)
    }
}

fn broken(_: Lost) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
