//! One client's connection in HTTP/1.1: reads a request, has it served, and reads the next. The same for gateways and
//! sidecars; what differs is who decides.

use std::{net::Shutdown, rc::Rc, time::Instant};

use telemetry::Count;

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    error::Kind,
    exchange::{End, exchange, sides::Decide},
    h1::{
        head::{HEAD_BYTES_MAX, HeadError},
        request::{RequestHead, RequestPolicy},
    },
    plan::Tunnel,
    read_so_far::ReadSoFar,
    transport::{Connection, Transport as _},
    upstream::Instances,
    worker::Worker,
};

use super::{linger, policy};
use answers::{Answers, write_error};
use request::Request;

mod answers;
mod request;

/// Serves one client connection until either side ends it, or it becomes a tunnel: where to, and what came in it already.
pub(crate) async fn serve<D: Decide>(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    decide: &D,
    first: Buffer,
) -> Option<(Tunnel, Buffer)> {
    let (mut received, mut established) = (first, None);
    let mut is_first = true;
    loop {
        let next = next_request(&worker, &connection, policy(D::ROLE), is_first, received).await;
        is_first = false;
        match next {
            Next::Request(head, buffer) => {
                let keep_alive = head.keep_alive && !decide.is_leaving();
                let answers =
                    Answers::new(&worker, &connection, &head, buffer.filled(), keep_alive);
                let request =
                    Request::new(&worker, &connection, head, buffer, decide.no_trailers());
                let instances = Instances(&worker);
                // Its state is large, and a connection that waits for its next request must be small.
                let end = Box::pin(exchange(&worker, decide, request, &instances, &answers)).await;
                match end {
                    End::Whole(body) if answers.connection_stays() => received = body.into_next(),
                    End::Whole(_) | End::Unread => {
                        Box::pin(linger(&worker, &connection)).await;
                        break;
                    }
                    End::Established(body, tunnel) => {
                        established = Some((tunnel, body.into_next()));
                        break;
                    }
                    End::Broken => break,
                }
            }
            Next::Other(buffer, _) if decide.speaks_http2(&worker.picture()) => {
                Box::pin(super::h2::serve(worker, connection, decide, buffer)).await;
                break;
            }
            Next::Other(buffer, error) => {
                let kind = Kind::RequestHead(error);
                Box::pin(refuse_unread(&worker, &connection, decide, kind, buffer)).await;
                break;
            }
            Next::Unread(kind, buffer) => {
                Box::pin(refuse_unread(&worker, &connection, decide, kind, buffer)).await;
                break;
            }
            Next::End => break,
        }
    }
    established
}

/// What a client says next.
enum Next {
    /// A request's head, in what was received.
    Request(Box<RequestHead>, Buffer),
    /// What no HTTP/1 begins with, and why it is none.
    Other(Buffer, HeadError),
    /// A request that is none, and what has come of it.
    Unread(Kind, Buffer),
    /// Nothing: the connection ended between two requests.
    End,
}

/// Reads the next request's head.
async fn next_request(
    worker: &Worker,
    connection: &Connection,
    policy: RequestPolicy,
    is_first: bool,
    pending: Buffer,
) -> Next {
    let mut buffer = pending;
    if buffer.is_empty() {
        worker.buffers.give(buffer);
        let Some(received) = first_bytes(worker, connection).await else {
            return Next::End;
        };
        buffer = received;
    }
    let mut head = worker.take_request_head();
    let mut waits = false;
    loop {
        match head.advance(buffer.filled(), policy) {
            Ok(true) => {
                connection.deadline().disarm();
                worker.recorder.add(Count::BytesReceived, head.head_bytes as u64);
                return Next::Request(head, buffer);
            }
            Ok(false) => {}
            Err(error) if is_first && is_other(error, buffer.filled()) => {
                worker.give_request_head(head);
                return Next::Other(buffer, error);
            }
            Err(error) => return Next::Unread(Kind::RequestHead(error), buffer),
        }
        if !waits {
            waits = true;
            worker.deadlines.set_now(Instant::now());
            worker.deadlines.arm(connection.deadline(), worker.timeouts.head, Shutdown::Read);
        }
        // One byte more than a head may have, so that the parser sees that it is too large.
        if !buffer.make_room(HEAD_BYTES_MAX + 1) {
            return Next::Unread(Kind::RequestHead(HeadError::TooLarge), buffer);
        }
        let received;
        (buffer, received) = connection.receive_more(buffer).await;
        if !matches!(received, Ok(bytes) if bytes > 0) {
            if connection.deadline().is_expired() {
                return Next::Unread(Kind::RequestTimeout, buffer);
            }
            worker.buffers.give(buffer);
            worker.give_request_head(head);
            return Next::End;
        }
    }
}

/// Whether what begins a connection is no HTTP/1 at all: what begins one in HTTP/2 looks like a request of that version.
#[cold]
fn is_other(error: HeadError, received: &[u8]) -> bool {
    match error {
        HeadError::Version => received.starts_with(b"PRI * HTTP/2.0\r\n"),
        // Who names HTTP means a request, and is told what is wrong with it.
        HeadError::StartLine | HeadError::BareLineFeed => {
            !received.windows(5).any(|five| five.eq_ignore_ascii_case(b"HTTP/"))
        }
        _ => false,
    }
}

/// Waits for the next request's first bytes, holding no buffer. `None`: the connection ended.
async fn first_bytes(worker: &Worker, connection: &Connection) -> Option<Buffer> {
    connection.idle.set(true);
    worker.deadlines.arm(connection.deadline(), worker.timeouts.idle, Shutdown::Read);
    let received = connection.receive(&worker.buffers).await;
    connection.idle.set(false);
    match received {
        Ok(buffer) if !buffer.is_empty() => Some(buffer),
        Ok(_) | Err(_) => {
            if connection.deadline().is_expired() {
                worker.recorder.count(Count::TimedOutIdle);
            }
            None
        }
    }
}

/// Answers what could not be read as a request.
async fn refuse_unread<D: Decide>(
    worker: &Worker,
    connection: &Connection,
    decide: &D,
    kind: Kind,
    received: Buffer,
) {
    worker.account.unread(D::ROLE, &kind);
    let read = || ReadSoFar::of_text(received.filled());
    let random = || worker.random_bytes();
    worker.observers.tell_unread((D::ROLE, decide.caller()), &kind, random, read);
    // Its answer has no body all the same (RFC 9110 §9.3.2), unless there is none that it would be to.
    let is_head = matches!(kind, Kind::RequestHead(_)) && received.filled().starts_with(b"HEAD ");
    worker.buffers.give(received);
    tracing::debug!(peer = %connection.peer, reason = %kind, "refused what is no correct request");
    let mut out = worker.buffers.take_write();
    write_error(&kind, false, 1, is_head, &worker.date(), &mut out);
    worker.deadlines.arm_sending(connection.deadline(), worker.timeouts.body);
    let (out, _, sent) = connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_ok() {
        linger(worker, connection).await;
    }
}
