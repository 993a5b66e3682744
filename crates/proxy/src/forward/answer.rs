//! The way back: an instance's answer to the client, or one of our own.

use std::{cell::Cell, io::Write as _, net::Shutdown, rc::Rc, time::Instant};

use telemetry::{CodeClass, Count, Outcome, RequestLabels};

use super::{
    After, Answered, Client, Request, Rest, RestOfBody, receive_watching, refusal::fail_after,
};
use crate::{
    buffers::Buffer,
    deadlines::HasDeadline,
    error::{Kind, Origin, ProxyError, reason},
    h1::{
        body::Body,
        fields::Framing,
        head::HeadError,
        response::ResponseHead,
        write::{write_field, write_kept},
    },
    limits::JOINED_BODY_BYTES_MAX,
    plan::{Chosen, Target},
    socket::Socket as _,
    worker::Worker,
};

/// Says that the proxy itself answered, not an instance.
const ORIGIN: &str = "server: laneway\r\n";

/// Appends a short answer that names the reason; details are in the log.
pub(super) fn write_error(kind: &Kind, keep_alive: bool, is_head: bool, out: &mut Vec<u8>) {
    let status = kind.status();
    let text = format!("{kind}\n");
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\n{ORIGIN}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n",
        reason(status),
        text.len()
    );
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !is_head {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends a redirect.
pub(super) fn write_redirect(
    status: u16,
    location: &[u8],
    keep_alive: bool,
    minor_version: u8,
    out: &mut Vec<u8>,
) {
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n{ORIGIN}", reason(status));
    write_field("location", location, out);
    out.extend_from_slice(b"content-length: 0\r\n");
    write_persistence(keep_alive, minor_version, out);
    out.extend_from_slice(b"\r\n");
}

fn write_persistence(keep_alive: bool, minor_version: u8, out: &mut Vec<u8>) {
    match (keep_alive, minor_version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, 0) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
}

/// Hands on a 1xx.
pub(super) async fn pass_interim(
    worker: &Worker,
    client: &Client,
    response: &ResponseHead,
    received: &Buffer,
) -> Result<(), ProxyError> {
    let mut out = worker.buffers.take_write();
    let bytes = received.filled();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status_text.of(bytes));
    out.extend_from_slice(b"\r\n");
    write_kept(bytes, response.fields(), &mut out);
    out.extend_from_slice(b"\r\n");
    let (out, _, sent) = client.connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    sent.map_err(|_| ProxyError { kind: Kind::ClientGone, sent_bytes: true })
}

/// Counts a finished request.
pub(super) fn count(
    worker: &Worker,
    request: &Request<'_>,
    chosen: Option<&Chosen>,
    failed: Option<&Kind>,
    status: u16,
) {
    let member = chosen.and_then(|chosen| chosen.member).or(request.plan.member);
    let outcome = match (failed, chosen) {
        (Some(kind), _) if kind.origin() == Origin::Client && !matches!(kind, Kind::ClientGone) => {
            Outcome::Denied
        }
        (Some(_), _) | (None, None) => Outcome::Failed,
        (None, Some(chosen)) => match request.plan.outcome.unwrap_or(chosen.outcome) {
            lanes::Outcome::Lane => Outcome::Lane,
            lanes::Outcome::Fallback => Outcome::Fallback,
            lanes::Outcome::Base => Outcome::Base,
        },
    };
    let role = request.plan.role;
    let code_class = CodeClass::of(status);
    let service = match &request.plan.target {
        Target::Service { service, .. } => Some(*service),
        Target::Address(_) => None,
    };
    let kind = (role, outcome, code_class);
    worker.count_request(request.picture, service, member, kind, request.started.elapsed(), || {
        let (application, service) = service
            .map_or(request.plan.counted_as, |service| (service.application(), service.name()));
        let (lane_group, lane) = member.map_or(("", ""), |(group, lane)| {
            let spec = request.picture.lanes.groups()[usize::from(group)].spec();
            let lane = spec.lanes.get(usize::from(lane));
            (spec.name.as_str(), lane.map_or("", |lane| lane.tag.as_str()))
        });
        RequestLabels { role, application, service, lane_group, lane, outcome, code_class }
    });
}

/// Hands the answer on. `next` holds what has arrived of the client's next request.
pub(super) async fn pass_on(
    worker: &Worker,
    client: &Client,
    request: &mut Request<'_>,
    answered: Answered,
    mut out: Vec<u8>,
    next: Buffer,
) -> Rest {
    if answered.response.status == 101 {
        return Box::pin(upgrade(worker, client, request, answered, out, next)).await;
    }
    let Answered { upstream, response, mut received, chosen, request_is_sent, request_deadline_ms } =
        answered;
    out.clear();
    let written = write_head(worker, request, &chosen, response, &mut received, &mut out);
    let mut body = written.body;
    let Ok(step) = body.step(received.filled_mut()) else {
        // The head is not sent yet, so the client can still be told.
        let kind = Kind::AnswerHead(HeadError::TransferEncoding);
        return Box::pin(fail_after(worker, client, request, Some(&chosen), kind, out, next, 0))
            .await;
    };
    let mut body_bytes = step.keep;
    if body_bytes > 0 && body_bytes <= JOINED_BODY_BYTES_MAX {
        out.extend_from_slice(&received.filled()[..body_bytes]);
        body_bytes = 0;
    }
    worker.recorder.add(Count::BytesSent, (out.len() + body_bytes) as u64);
    worker.deadlines.arm(client.connection.deadline(), worker.timeouts.body, Shutdown::Both);
    let sent;
    (out, received, sent) = client.connection.send(out, received, body_bytes).await;
    worker.buffers.give_write(out);
    if sent.is_err() {
        return Rest::Done(After::Close);
    }
    received.consume(step.consumed);
    let rest = RestOfBody {
        upstream,
        body,
        received,
        next,
        address: chosen.address,
        request_is_sent,
        upstream_keep_alive: written.upstream_keep_alive,
        client_keep_alive: written.client_keep_alive,
        watch_client: true,
        remembered: request.remembered.take(),
        request_deadline_ms,
    };
    if step.done { Rest::Done(finish(worker, rest)) } else { Rest::Body(rest) }
}

/// Gives the instance's connection back, and says what becomes of the client's.
pub(super) fn finish(worker: &Worker, rest: RestOfBody) -> After {
    rest.upstream.deadline().disarm();
    // An instance that answered early still waits for the rest of the body, and would take the next request for it;
    // bytes after the answer's end would be taken for the next answer.
    if rest.request_is_sent && rest.upstream_keep_alive && rest.received.is_empty() {
        worker.upstreams.give(rest.address, rest.upstream, worker.deadlines.now_ms());
    }
    worker.buffers.give(rest.received);
    if let Some(remembered) = rest.remembered {
        remembered.finish(Instant::now());
    }
    if rest.client_keep_alive {
        After::Next(rest.next)
    } else {
        worker.buffers.give(rest.next);
        After::Linger
    }
}

/// What was decided while an answer's head was written.
pub(super) struct Written {
    pub(super) body: Body,
    pub(super) upstream_keep_alive: bool,
    pub(super) client_keep_alive: bool,
}

/// Appends the answer's head to `out`, counts the request, and gives the head back.
pub(super) fn write_head(
    worker: &Worker,
    request: &Request<'_>,
    chosen: &Chosen,
    mut response: Box<ResponseHead>,
    received: &mut Buffer,
    out: &mut Vec<u8>,
) -> Written {
    let bytes = received.filled();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status_text.of(bytes));
    out.extend_from_slice(b"\r\n");
    let edits = &request.plan.edits.response_headers;
    for headers in edits {
        for name in headers.set.iter().map(|(name, _)| name).chain(&headers.remove) {
            response.drop_named(bytes, name.as_bytes());
        }
    }
    write_kept(bytes, response.fields(), out);
    for headers in edits {
        for (name, value) in headers.set.iter().chain(&headers.add) {
            write_field(name, value.as_bytes(), out);
        }
    }
    let keep_framing = request.minor_version == 1;
    let client_keep_alive = request.keep_alive
        && !worker.draining.get()
        && match response.framing {
            Framing::UntilClose => false,
            Framing::Chunked => keep_framing,
            Framing::None | Framing::Length(_) => true,
        };
    if response.framing == Framing::Chunked && keep_framing {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    write_persistence(client_keep_alive, request.minor_version, out);
    out.extend_from_slice(b"\r\n");
    let written = Written {
        body: Body::new(response.framing, keep_framing),
        upstream_keep_alive: response.keep_alive && response.framing != Framing::UntilClose,
        client_keep_alive,
    };
    count(worker, request, Some(chosen), None, response.status);
    received.consume(response.head_bytes);
    worker.give_response_head(response);
    written
}

/// The answer ended before its time; the client's connection is of no further use.
pub(super) struct Cut;

/// Hands on the rest of an answer's body, as fast as the client takes it. After an error the client has been made to
/// see that the answer is not whole.
pub(super) async fn download(
    worker: &Worker,
    client: &Client,
    mut rest: RestOfBody,
) -> Result<RestOfBody, Cut> {
    let watch = Cell::new(rest.watch_client);
    let upstream = Rc::clone(&rest.upstream);
    while !rest.body.is_done() {
        let at_ms = worker.at_ms(worker.timeouts.answer_body).min(rest.request_deadline_ms);
        worker.deadlines.arm_at(upstream.deadline(), at_ms, Shutdown::Both);
        client.connection.deadline().disarm();
        if rest.received.is_empty() {
            worker.buffers.give(std::mem::take(&mut rest.received));
            let wanted = rest.body.known_remaining();
            match receive_watching(
                worker,
                &upstream,
                &client.connection,
                &mut rest.next,
                &watch,
                wanted,
            )
            .await
            {
                Ok(buffer) => rest.received = buffer,
                Err(ProxyError { kind: Kind::Reset(error), .. })
                    if rest.body.ends_by_close()
                        && error.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    return Ok(rest);
                }
                Err(error) => return Err(cut(worker, client, &error.kind)),
            }
        } else {
            if !rest.received.make_room(0) {
                return Err(cut(worker, client, &Kind::AnswerHead(HeadError::TooLarge)));
            }
            let outcome;
            (rest.received, outcome) =
                upstream.receive_more(std::mem::take(&mut rest.received)).await;
            if !matches!(outcome, Ok(bytes) if bytes > 0) {
                return Err(cut(worker, client, &Kind::AnswerTimeout));
            }
        }
        let step = match rest.body.step(rest.received.filled_mut()) {
            Ok(step) => step,
            Err(error) => return Err(cut(worker, client, &Kind::RequestBody(error))),
        };
        if step.keep > 0 {
            worker.recorder.add(Count::BytesSent, step.keep as u64);
            worker.deadlines.arm(
                client.connection.deadline(),
                worker.timeouts.body,
                Shutdown::Both,
            );
            let sent;
            (_, rest.received, sent) = client
                .connection
                .send(Vec::new(), std::mem::take(&mut rest.received), step.keep)
                .await;
            if sent.is_err() {
                return Err(Cut);
            }
        }
        rest.received.consume(step.consumed);
    }
    Ok(rest)
}

/// Resets the client's connection: an orderly close could pass for the end of the answer.
fn cut(worker: &Worker, client: &Client, kind: &Kind) -> Cut {
    if matches!(kind, Kind::AnswerTimeout) {
        worker.recorder.count(Count::TimedOutResponse);
    }
    tracing::debug!(peer = %client.connection.peer, reason = %kind, "answer broken off");
    client.connection.with_stream(|stream| {
        // Where it fails, the connection is gone already.
        let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
    });
    Cut
}

/// Checks a 101, hands it on, and passes bytes both ways from then on.
async fn upgrade(
    worker: &Worker,
    client: &Client,
    request: &mut Request<'_>,
    answered: Answered,
    mut out: Vec<u8>,
    next: Buffer,
) -> Rest {
    let Answered { upstream, response, mut received, chosen, .. } = answered;
    let bytes = received.filled();
    let agreed = match (&request.upgrade, response.upgrade) {
        (Some(asked), Some(switched)) => switched.of(bytes).eq_ignore_ascii_case(asked),
        _ => false,
    };
    if !agreed {
        return Box::pin(fail_after(
            worker,
            client,
            request,
            Some(&chosen),
            Kind::UnexpectedUpgrade,
            out,
            next,
            0,
        ))
        .await;
    }
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status_text.of(bytes));
    out.extend_from_slice(b"\r\n");
    write_kept(bytes, response.fields(), &mut out);
    out.extend_from_slice(b"connection: upgrade\r\n");
    if let Some(protocol) = response.upgrade {
        write_field("upgrade", protocol.of(bytes), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    count(worker, request, Some(&chosen), None, response.status);
    if let Some(remembered) = request.remembered.take() {
        remembered.finish(Instant::now());
    }
    received.consume(response.head_bytes);
    worker.give_response_head(response);
    let (out, _, sent) = client.connection.send(out, Buffer::default(), 0).await;
    worker.buffers.give_write(out);
    if sent.is_err() {
        return Rest::Done(After::Close);
    }
    upstream.deadline().disarm();
    client.connection.deadline().disarm();
    Rest::Tunnel { upstream, from_client: next, from_instance: received }
}
