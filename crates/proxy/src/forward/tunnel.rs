//! Bytes both ways after an upgrade, or where nothing may be read.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use telemetry::Count;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    buffers::Buffer,
    passthrough::{AlreadyRead, Passed, pass_through},
    socket::Connection,
    worker::Worker,
};

/// A connection as the passing-through of bytes wants it.
struct Side<'c>(&'c Rc<Connection>);

impl AsyncRead for Side<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.with_stream_mut(|stream| Pin::new(stream).poll_read(context, into))
    }
}

impl AsyncWrite for Side<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.with_stream_mut(|stream| Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with_stream_mut(|stream| Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with_stream_mut(|stream| Pin::new(stream).poll_shutdown(context))
    }
}

/// Passes bytes both ways until both sides have ended, beginning with what was received already.
pub(crate) async fn relay(
    worker: &Worker,
    caller: &Rc<Connection>,
    instance: &Rc<Connection>,
    from_caller: Buffer,
    from_instance: Buffer,
) {
    let passed = Cell::new(Passed::default());
    let already_read =
        AlreadyRead { from_caller: from_caller.filled(), from_instance: from_instance.filled() };
    let ended = pass_through(
        &mut Side(caller),
        &mut Side(instance),
        already_read,
        &worker.tunnel_buffers,
        &Instant::now,
        worker.timeouts.tunnel,
        &passed,
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(peer = %caller.peer, instance = %instance.peer, %error, "connection broken off");
    }
    let Passed { to_instance, to_caller } = passed.get();
    worker.recorder.add(Count::BytesReceived, to_instance);
    worker.recorder.add(Count::BytesSent, to_caller);
    worker.buffers.give(from_caller);
    worker.buffers.give(from_instance);
}
