//! Requests that are answered by the proxy itself: refused, redirected, failed.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use telemetry::{CodeClass, Count, Outcome, RequestLabels};

use super::{After, Client, Entry, Request, Rest, answer, linger};
use crate::{
    buffers::Buffer,
    deadlines::HasDeadline,
    error::{Kind, Origin},
    h1::{fields::Framing, head::HeadError, request::RequestHead},
    plan::Chosen,
    socket::Socket as _,
    worker::Worker,
};

/// Answers what could not be read as a request.
pub(super) async fn refuse_unread(worker: &Worker, client: &Client, kind: Kind) {
    worker.recorder.count(match &kind {
        Kind::RequestTimeout => Count::TimedOutRequest,
        Kind::RequestHead(
            HeadError::TooLarge | HeadError::TooManyFields | HeadError::TargetTooLong,
        ) => Count::RejectedTooLarge,
        _ => Count::RejectedMalformed,
    });
    tracing::debug!(peer = %client.connection.peer, reason = %kind, "refused what is no correct request");
    let labels = RequestLabels {
        role: client.entry.role(),
        application: "",
        service: "",
        lane_group: "",
        lane: "",
        outcome: Outcome::Denied,
        code_class: CodeClass::of(kind.status()),
    };
    worker.recorder.request(&labels, Duration::ZERO);
    let mut out = worker.buffers.take_write();
    answer::write_error(&kind, false, false, &mut out);
    let (out, _, sent) = client.connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_ok() {
        linger(worker, &client.connection).await;
    }
}

/// Whether the connection can be used again after an answer of our own: only if no body is left unread.
pub(super) fn may_keep(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    buffer: &Buffer,
) -> bool {
    let whole = match head.framing {
        Framing::None => true,
        Framing::Length(bytes) => (buffer.filled().len() - head.head_bytes) as u64 >= bytes,
        Framing::Chunked | Framing::UntilClose => false,
    };
    whole && head.keep_alive && !worker.draining.get() && !client.entry.is_leaving()
}

/// Answers with an error instead of forwarding.
pub(super) async fn refuse(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    buffer: Buffer,
    mut out: Vec<u8>,
    kind: Kind,
    started: Instant,
) -> After {
    let keep = may_keep(worker, client, head, &buffer);
    log_error(client, &kind);
    answer::write_error(&kind, keep, head.method.of(buffer.filled()) == b"HEAD", &mut out);
    let outcome = if kind.origin() == Origin::Client { Outcome::Denied } else { Outcome::Failed };
    count_own(worker, client, outcome, kind.status(), started);
    Box::pin(own_answer(worker, client, head, buffer, out, keep)).await
}

pub(super) async fn own_answer(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    mut buffer: Buffer,
    out: Vec<u8>,
    keep: bool,
) -> After {
    worker.deadlines.arm(client.connection.deadline(), worker.timeouts.body, Shutdown::Both);
    let (out, _, sent) = client.connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_err() {
        return After::Close;
    }
    if !keep {
        worker.buffers.give(buffer);
        return After::Linger;
    }
    let body_bytes = match head.framing {
        Framing::Length(bytes) => bytes as usize,
        _ => 0,
    };
    buffer.consume(head.head_bytes + body_bytes);
    After::Next(buffer)
}

pub(super) fn count_own(
    worker: &Worker,
    client: &Client,
    outcome: Outcome,
    status: u16,
    started: Instant,
) {
    let (application, service) = match &client.entry {
        Entry::Inbound { identity, .. } => {
            (identity.application.as_str(), identity.service.as_str())
        }
        Entry::Gateway { .. } | Entry::Outbound { .. } => ("", ""),
    };
    let labels = RequestLabels {
        role: client.entry.role(),
        application,
        service,
        lane_group: "",
        lane: "",
        outcome,
        code_class: CodeClass::of(status),
    };
    worker.recorder.request(&labels, started.elapsed());
}

fn log_error(client: &Client, kind: &Kind) {
    use std::error::Error as _;
    let source = kind.source().map(ToString::to_string).unwrap_or_default();
    tracing::debug!(peer = %client.connection.peer, status = kind.status(), reason = %kind, source, "request not served");
}

/// Answers a planned request with an error; its body was not sent, or not wholly.
pub(super) async fn fail(
    worker: &Worker,
    client: &Client,
    request: &Request<'_>,
    chosen: Option<&Chosen>,
    kind: Kind,
    out: Vec<u8>,
    buffer: Buffer,
) -> Rest {
    Box::pin(fail_after(worker, client, request, chosen, kind, out, buffer, usize::MAX)).await
}

/// Answers a planned request with an error. `consumed`: bytes of `buffer` that were its body; the connection goes
/// on after them. [`usize::MAX`] when the body has not wholly arrived: then it cannot.
#[allow(clippy::too_many_arguments)]
pub(super) async fn fail_after(
    worker: &Worker,
    client: &Client,
    request: &Request<'_>,
    chosen: Option<&Chosen>,
    kind: Kind,
    mut out: Vec<u8>,
    mut buffer: Buffer,
    consumed: usize,
) -> Rest {
    log_error(client, &kind);
    if matches!(kind, Kind::AnswerTimeout) {
        worker.recorder.count(Count::TimedOutResponse);
    }
    answer::count(worker, request, chosen, Some(&kind), kind.status());
    if matches!(kind, Kind::ClientGone) {
        return Rest::Done(After::Close);
    }
    let keep = request.keep_alive && consumed != usize::MAX;
    out.clear();
    answer::write_error(&kind, keep, request.is_head, &mut out);
    worker.deadlines.arm(client.connection.deadline(), worker.timeouts.body, Shutdown::Both);
    let (out, _, sent) = client.connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_err() {
        return Rest::Done(After::Close);
    }
    if !keep {
        worker.buffers.give(buffer);
        return Rest::Done(After::Linger);
    }
    buffer.consume(consumed);
    Rest::Done(After::Next(buffer))
}
