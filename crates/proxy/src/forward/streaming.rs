//! A request whose body arrives bit by bit: sent on as it comes, while the answer may already begin.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    io,
    net::Shutdown,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use super::{
    After, Answered, Client, Request, Rest, answer,
    attempts::{Tries, broken},
    first_answer,
    refusal::fail,
};
use crate::{
    buffers::Buffer,
    deadlines::HasDeadline,
    error::{Kind, ProxyError},
    h1::body::{Body, Step},
    socket::{Connection, Socket as _},
    worker::Worker,
};

/// Sends a request whose body has not wholly arrived. Nothing of it is kept, so it cannot be sent again; but
/// instances that cannot be reached are passed over as always.
pub(super) async fn send(
    worker: &Rc<Worker>,
    client: &Client,
    request: &mut Request<'_>,
    body: Body,
    first: Step,
    out: Vec<u8>,
    buffer: Buffer,
) -> Rest {
    let mut tries = Tries::new(worker, request);
    let (chosen, upstream, _) = match tries.connect(worker, request).await {
        Ok(connected) => connected,
        Err((chosen, error)) => {
            return Box::pin(fail(
                worker,
                client,
                request,
                chosen.as_ref(),
                error.kind,
                out,
                buffer,
            ))
            .await;
        }
    };
    upstream.sent.set(false);
    let patience = tries.patience(worker, request);
    patience.arm(worker, &upstream);
    // An explicit limit is for the whole attempt; the default begins anew with every piece that is sent.
    let upload_extends = request.plan.backend_timeout_ms == 0;
    let progress = || {
        if upload_extends {
            patience.arm(worker, &upstream);
        }
    };
    let mut upload = pin!(upload(worker, client, &upstream, body, first, out, buffer, &progress));
    let mut uploaded: Option<Result<Buffer, UploadError>> = None;
    let watch = Cell::new(false);
    let mut early = Buffer::default();
    let answered = {
        let mut answer = pin!(first_answer(worker, client, request, &upstream, &mut early, &watch));
        poll_fn(|context| {
            if uploaded.is_none()
                && let Poll::Ready(result) = upload.as_mut().poll(context)
            {
                watch.set(result.is_ok());
                match result {
                    Err(UploadError::Client(kind)) => {
                        return Poll::Ready(Err(ProxyError { kind, sent_bytes: true }));
                    }
                    // The instance may have answered before it stopped reading.
                    other => uploaded = Some(other),
                }
            }
            answer.as_mut().poll(context)
        })
        .await
    };
    let (response, received) = match answered {
        Ok(answered) => answered,
        Err(error) => {
            let (out, buffer) = (worker.buffers.take_write(), Buffer::default());
            return Box::pin(fail(worker, client, request, Some(&chosen), error.kind, out, buffer))
                .await;
        }
    };
    let request_deadline_ms = tries.request_deadline_ms;
    let answered = Answered {
        upstream: Rc::clone(&upstream),
        response,
        received,
        chosen,
        request_is_sent: matches!(uploaded, Some(Ok(_))),
        request_deadline_ms,
    };
    let out = worker.buffers.take_write();
    if let Some(Ok(mut next)) = uploaded {
        next.append(early.filled());
        worker.buffers.give(early);
        return answer::pass_on(worker, client, request, answered, out, next).await;
    }
    // The answer came before the request's end: what follows on this connection cannot be told apart any more.
    request.keep_alive = false;
    request.upgrade = None;
    match answer::pass_on(worker, client, request, answered, out, Buffer::default()).await {
        Rest::Body(mut rest) => {
            rest.watch_client = false;
            let mut download = pin!(answer::download(worker, client, rest));
            let done = poll_fn(|context| {
                if uploaded.is_none()
                    && let Poll::Ready(result) = upload.as_mut().poll(context)
                {
                    uploaded = Some(result);
                }
                download.as_mut().poll(context)
            })
            .await;
            Rest::Done(match done {
                Ok(mut rest) => {
                    rest.request_is_sent = matches!(uploaded, Some(Ok(_)));
                    answer::finish(worker, rest)
                }
                Err(answer::Cut) => After::Close,
            })
        }
        Rest::Done(After::Next(_)) => Rest::Done(After::Linger),
        other => other,
    }
}

/// Who was at fault.
enum UploadError {
    Client(Kind),
    Upstream,
}

/// Sends head and body. Returns what came after the body's end.
#[allow(clippy::too_many_arguments)]
async fn upload(
    worker: &Worker,
    client: &Client,
    upstream: &Connection,
    mut body: Body,
    first: Step,
    out: Vec<u8>,
    mut buffer: Buffer,
    progress: &impl Fn(),
) -> Result<Buffer, UploadError> {
    let connection = &client.connection;
    let mut step = first;
    let mut head = out;
    loop {
        if step.keep > 0 || !head.is_empty() {
            let sent;
            (head, buffer, sent) = upstream.send(head, buffer, step.keep).await;
            if let Err(error) = sent {
                tracing::debug!(instance = %upstream.peer, reason = %broken(upstream, error), "upload broken off");
                return Err(UploadError::Upstream);
            }
            worker.buffers.give_write(std::mem::take(&mut head));
            progress();
        }
        buffer.consume(step.consumed);
        if step.done {
            connection.deadline().disarm();
            return Ok(buffer);
        }
        worker.deadlines.arm(connection.deadline(), worker.timeouts.body, Shutdown::Read);
        let outcome = if buffer.is_empty() {
            worker.buffers.give(buffer);
            let received = connection.receive_sized(&worker.buffers, body.known_remaining()).await;
            match received {
                Ok(received) => {
                    buffer = received;
                    Ok(buffer.filled().len())
                }
                Err(error) => {
                    buffer = Buffer::default();
                    Err(error)
                }
            }
        } else if buffer.make_room(0) {
            let outcome;
            (buffer, outcome) = connection.receive_more(buffer).await;
            outcome
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        };
        if !matches!(outcome, Ok(bytes) if bytes > 0) {
            let late = connection.deadline().is_expired();
            return Err(UploadError::Client(if late {
                Kind::RequestTimeout
            } else {
                Kind::ClientGone
            }));
        }
        step = body
            .step(buffer.filled_mut())
            .map_err(|error| UploadError::Client(Kind::RequestBody(error)))?;
    }
}
