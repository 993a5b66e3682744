//! Bytes both ways after an upgrade, or where nothing may be read.

use std::{cell::Cell, time::Instant};

use telemetry::Count;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    passthrough::{AlreadyRead, Cut, Passed, Patience, pass_through},
    worker::Worker,
};

/// Passes bytes both ways until both sides have ended, beginning with what was received already.
pub(crate) async fn relay(
    worker: &Worker,
    mut caller: impl AsyncRead + AsyncWrite + Unpin + Cut,
    mut instance: impl AsyncRead + AsyncWrite + Unpin + Cut,
    already_read: AlreadyRead<'_>,
) {
    let passed = Cell::new(Passed::default());
    // Of a connection that is a tunnel's own a side may do as it likes.
    let is_shared = caller.is_stream() || instance.is_stream();
    let patience = Patience {
        idle: worker.timeouts.tunnel,
        untaken: is_shared.then_some(worker.timeouts.body),
    };
    let ended = pass_through(
        &mut caller,
        &mut instance,
        already_read,
        &worker.tunnel_buffers,
        &Instant::now,
        patience,
        &passed,
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broken off");
        caller.cut();
        instance.cut();
    }
    let Passed { to_instance, to_caller } = passed.get();
    if !caller.is_counted() {
        worker.recorder.add(Count::BytesReceived, to_instance);
        worker.recorder.add(Count::BytesSent, to_caller);
    }
}
