//! Bytes both ways after an upgrade, or where nothing may be read.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use telemetry::Count;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::{
    passthrough::{AlreadyRead, Buffers as _, Cut, Passed, Patience, pass_through},
    websocket::{frames::Frames, open::FAREWELL_WAIT},
    worker::Worker,
};

/// Passes bytes both ways until both sides have ended, beginning with what was received already.
pub(crate) async fn relay(
    worker: &Worker,
    mut caller: impl AsyncRead + AsyncWrite + Unpin + Cut,
    mut instance: impl AsyncRead + AsyncWrite + Unpin + Cut,
    already_read: AlreadyRead<'_>,
) {
    let passed = Passing::new(worker, caller.is_counted());
    pass(&passed, &mut caller, &mut instance, already_read).await;
}

/// The same of a WebSocket: where it lives when its thread ends, both sides are told.
pub(crate) async fn relay_websocket(
    worker: &Worker,
    caller: impl AsyncRead + AsyncWrite + Unpin + Cut,
    instance: impl AsyncRead + AsyncWrite + Unpin + Cut,
    already_read: AlreadyRead<'_>,
) {
    let passed = Passing::new(worker, caller.is_counted());
    let mut caller = Framed::new(caller, Frames::to_client());
    let mut instance = Framed::new(instance, Frames::to_instance());
    let open = worker.websockets.open();
    let is_ending = tokio::select! {
        biased;
        () = pass(&passed, &mut caller, &mut instance, already_read) => false,
        () = open.is_ending() => true,
    };
    if is_ending {
        // Whoever speaks something else one way does so both ways.
        let can_be_told = caller.frames.is_known() && instance.frames.is_known();
        tokio::join!(
            caller.say_farewell(worker, can_be_told),
            instance.say_farewell(worker, can_be_told)
        );
    }
}

/// What passes a tunnel, counted when it ends.
struct Passing<'w> {
    worker: &'w Worker,
    passed: Cell<Passed>,
    /// Somebody else counts.
    is_counted: bool,
}

impl<'w> Passing<'w> {
    fn new(worker: &'w Worker, is_counted: bool) -> Self {
        Self { worker, passed: Cell::default(), is_counted }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let Passed { to_instance, to_caller } = self.passed.get();
        if !self.is_counted {
            self.worker.recorder.add(Count::BytesReceived, to_instance);
            self.worker.recorder.add(Count::BytesSent, to_caller);
        }
    }
}

async fn pass(
    passing: &Passing<'_>,
    caller: &mut (impl AsyncRead + AsyncWrite + Unpin + Cut),
    instance: &mut (impl AsyncRead + AsyncWrite + Unpin + Cut),
    already_read: AlreadyRead<'_>,
) {
    let Passing { worker, passed, .. } = passing;
    // Of a connection that is a tunnel's own a side may do as it likes.
    let is_shared = caller.is_stream() || instance.is_stream();
    let patience = Patience {
        idle: worker.timeouts.tunnel,
        untaken: is_shared.then_some(worker.timeouts.body),
    };
    let ended = pass_through(
        caller,
        instance,
        already_read,
        &worker.tunnel_buffers,
        &Instant::now,
        patience,
        passed,
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broken off");
        caller.cut();
        instance.cut();
    }
}

/// A side of a WebSocket, and where in its frames stands what is sent to it.
struct Framed<S> {
    side: S,
    frames: Frames,
    /// Nothing more may be sent there.
    is_ended: bool,
    /// It was given more than it has taken: in TLS that may be on its way, and comes before all else.
    is_waiting: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Cut> Framed<S> {
    fn new(side: S, frames: Frames) -> Self {
        Self { side, frames, is_ended: false, is_waiting: false }
    }

    /// Ends it, and tells it so where that can be said. What is half sent must not seem whole.
    async fn say_farewell(&mut self, worker: &Worker, can_be_told: bool) {
        let [key @ .., _, _, _, _] = worker.ticket().to_be_bytes();
        let can_be_told = can_be_told && !self.is_waiting;
        let is_told = match self.frames.farewell(key).filter(|_| can_be_told) {
            Some(farewell) => {
                let farewell = Some(&*farewell).filter(|_| !self.is_ended);
                let said = say_last(worker, &mut self.side, farewell);
                matches!(tokio::time::timeout(FAREWELL_WAIT, said).await, Ok(Ok(())))
            }
            None => false,
        };
        if !is_told {
            self.side.cut();
        }
    }
}

/// Sends the last words where any may be sent, and waits until the other side has ended too: closed with something unread, what was said might be
/// lost.
async fn say_last(
    worker: &Worker,
    side: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: Option<&[u8]>,
) -> io::Result<()> {
    if let Some(words) = words {
        side.write_all(words).await?;
        side.shutdown().await?;
    }
    let mut unheard = worker.tunnel_buffers.take();
    let end = loop {
        match side.read(&mut unheard).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    worker.tunnel_buffers.give(unheard);
    end
}

impl<S: Cut> Cut for Framed<S> {
    fn cut(&self) {
        self.side.cut();
    }

    fn poll_lost(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.side.poll_lost(context)
    }

    fn is_stream(&self) -> bool {
        self.side.is_stream()
    }

    fn is_counted(&self) -> bool {
        self.side.is_counted()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.side).poll_write(context, bytes);
        self.is_waiting = written.is_pending();
        let written = ready!(written)?;
        self.frames.pass(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(Pin::new(&mut self.side).poll_shutdown(context));
        self.is_ended = true;
        Poll::Ready(ended)
    }
}
