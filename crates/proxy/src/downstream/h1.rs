//! One client's connection in HTTP/1.1: reads a request, has it served, and reads the next. The same for gateways and
//! sidecars; what differs is who decides.

use std::{net::Shutdown, rc::Rc, time::Instant};

use telemetry::{Count, Role};

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    error::Kind,
    exchange::{End, exchange, sides::Decide},
    h1::{
        head::{HEAD_BYTES_MAX, HeadError},
        request::{RequestHead, RequestPolicy},
        target::PathPolicy,
    },
    limits::{LINGER, LINGER_BYTES_MAX},
    plan::Tunnel,
    transport::{Connection, Transport as _},
    upstream::h1::Instances,
    worker::Worker,
};

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
    loop {
        match next_request(&worker, &connection, policy(D::ROLE), received).await {
            Ok(Some((head, buffer))) => {
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
            Ok(None) => break,
            Err(kind) => {
                Box::pin(refuse_unread(&worker, &connection, D::ROLE, kind)).await;
                break;
            }
        }
    }
    established
}

/// A gateway is strict with what servers understand differently; a sidecar leaves requests of the mesh as they are.
fn policy(role: Role) -> RequestPolicy {
    match role {
        Role::Gateway => RequestPolicy { path: PathPolicy::Strict, drop_underscored: true },
        Role::SidecarInbound | Role::SidecarOutbound => {
            RequestPolicy { path: PathPolicy::AsWritten, drop_underscored: false }
        }
    }
}

/// Reads the next request's head. `None`: the connection ended between two requests.
async fn next_request(
    worker: &Worker,
    connection: &Connection,
    policy: RequestPolicy,
    pending: Buffer,
) -> Result<Option<(Box<RequestHead>, Buffer)>, Kind> {
    let mut buffer = pending;
    if buffer.is_empty() {
        worker.buffers.give(buffer);
        let Some(received) = first_bytes(worker, connection).await else { return Ok(None) };
        buffer = received;
    }
    let mut head = worker.take_request_head();
    let mut waits = false;
    loop {
        if head.advance(buffer.filled(), policy).map_err(Kind::RequestHead)? {
            connection.deadline().disarm();
            worker.recorder.add(Count::BytesReceived, head.head_bytes as u64);
            return Ok(Some((head, buffer)));
        }
        if !waits {
            waits = true;
            worker.deadlines.set_now(Instant::now());
            worker.deadlines.arm(connection.deadline(), worker.timeouts.head, Shutdown::Read);
        }
        // One byte more than a head may have, so that the parser sees that it is too large.
        if !buffer.make_room(HEAD_BYTES_MAX + 1) {
            return Err(Kind::RequestHead(HeadError::TooLarge));
        }
        let received;
        (buffer, received) = connection.receive_more(buffer).await;
        if !matches!(received, Ok(bytes) if bytes > 0) {
            if connection.deadline().is_expired() {
                return Err(Kind::RequestTimeout);
            }
            worker.buffers.give(buffer);
            worker.give_request_head(head);
            return Ok(None);
        }
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

/// Lets the client read an answer that came before its request had ended: closing at once would reset it.
async fn linger(worker: &Worker, connection: &Connection) {
    connection.close_write();
    worker.deadlines.arm(connection.deadline(), LINGER, Shutdown::Both);
    let mut left = LINGER_BYTES_MAX;
    while let Ok(buffer) = connection.receive(&worker.buffers).await {
        let received = buffer.filled().len();
        worker.buffers.give(buffer);
        if received == 0 || received > left {
            break;
        }
        left -= received;
    }
}

/// Answers what could not be read as a request.
async fn refuse_unread(worker: &Worker, connection: &Connection, role: Role, kind: Kind) {
    worker.account.unread(role, &kind);
    tracing::debug!(peer = %connection.peer, reason = %kind, "refused what is no correct request");
    let mut out = worker.buffers.take_write();
    write_error(&kind, false, 1, false, &mut out);
    worker.deadlines.arm_sending(connection.deadline(), worker.timeouts.body);
    let (out, _, sent) = connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_ok() {
        linger(worker, connection).await;
    }
}
