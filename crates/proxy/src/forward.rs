//! One client connection: reads a request, has it planned, carries the plan out, and reads the next.
//!
//! The same code for gateways and sidecars; what differs is who plans ([`Entry`]).

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::Poll,
    time::Instant,
};

use smallvec::SmallVec;
use telemetry::{Count, Level, Outcome, Role};

use crate::{
    buffers::Buffer,
    correlation::Remembered,
    deadlines::HasDeadline,
    error::{Kind, ProxyError},
    gateway,
    h1::{
        body::Body,
        head::{HEAD_BYTES_MAX, HeadError},
        request::{Received, RequestHead, RequestPolicy},
        response::ResponseHead,
        target::PathPolicy,
        write::write_request,
    },
    limits::{INTERIM_ANSWERS_MAX, JOINED_BODY_BYTES_MAX, LINGER, LINGER_BYTES_MAX},
    plan::{Chosen, NoPlan, Plan},
    published::Query,
    sidecar,
    socket::{Connection, Socket as _},
    worker::{Picture, Worker},
};

use attempts::{Tries, broken};
use refusal::{count_own, fail, fail_after, may_keep, own_answer, refuse, refuse_unread};

mod answer;
mod attempts;
mod refusal;
mod streaming;
pub(crate) mod tunnel;

/// Where a connection came in, and so who plans its requests.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A gateway's listener.
    Gateway { identity: Rc<gateway::Identity>, port: u16, listener_is_removed: Rc<Cell<bool>> },
    /// The own application calls others.
    Outbound { identity: Rc<sidecar::Identity>, original: Option<SocketAddr> },
    /// Others call the own application.
    Inbound { identity: Rc<sidecar::Identity>, application_address: SocketAddr },
}

impl Entry {
    fn policy(&self) -> RequestPolicy {
        match self {
            Self::Gateway { .. } => {
                RequestPolicy { path: PathPolicy::Strict, drop_underscored: true }
            }
            Self::Outbound { .. } | Self::Inbound { .. } => {
                RequestPolicy { path: PathPolicy::AsWritten, drop_underscored: false }
            }
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Gateway { .. } => Role::Gateway,
            Self::Outbound { .. } => Role::SidecarOutbound,
            Self::Inbound { .. } => Role::SidecarInbound,
        }
    }

    fn is_leaving(&self) -> bool {
        match self {
            Self::Gateway { listener_is_removed, .. } => listener_is_removed.get(),
            Self::Outbound { .. } | Self::Inbound { .. } => false,
        }
    }
}

/// A client's connection and where it came in.
pub(crate) struct Client {
    pub(crate) connection: Rc<Connection>,
    pub(crate) entry: Entry,
}

/// What happens to the client connection after a request.
enum After {
    /// The next request; its first bytes may have arrived.
    Next(Buffer),
    /// Close at once.
    Close,
    /// Close when the client has had a chance to read the answer.
    Linger,
}

/// What is left of a request when nothing of its plan is needed any more.
enum Rest {
    /// Nothing.
    Done(After),
    /// The answer's head was sent, its body not wholly.
    Body(RestOfBody),
    /// Bytes both ways, from now on unread.
    Tunnel { upstream: Rc<Connection>, from_client: Buffer, from_instance: Buffer },
}

/// An answer's body on its way.
struct RestOfBody {
    upstream: Rc<Connection>,
    body: Body,
    /// Received and not yet sent.
    received: Buffer,
    /// What has arrived of the client's next request.
    next: Buffer,
    address: SocketAddr,
    /// All of the request went out: whatever follows on the instance's connection is another one.
    request_is_sent: bool,
    upstream_keep_alive: bool,
    client_keep_alive: bool,
    /// Notice when the client goes away while the instance is silent.
    watch_client: bool,
    remembered: Option<Remembered>,
    request_deadline_ms: u64,
}

/// What is needed of a request once its head was written.
struct Request<'p> {
    plan: Plan<'p>,
    picture: &'p Picture,
    started: Instant,
    is_head: bool,
    is_idempotent: bool,
    minor_version: u8,
    keep_alive: bool,
    /// The protocol asked for.
    upgrade: Option<SmallVec<[u8; 16]>>,
    /// A sidecar's memory of its context, until some time after the answer.
    remembered: Option<Remembered>,
}

/// Serves one client connection until either side ends it.
pub(crate) async fn serve(worker: Rc<Worker>, client: Client, first: Buffer) {
    worker.recorder.raise(Level::DownstreamOpen);
    let mut received = first;
    loop {
        match next_request(&worker, &client, received).await {
            Ok(Some((head, buffer))) => {
                worker.recorder.raise(Level::RequestsInFlight);
                // Its state is large, and a connection that waits for its next request must be small.
                let after = Box::pin(exchange(&worker, &client, head, buffer)).await;
                worker.recorder.lower(Level::RequestsInFlight);
                match after {
                    After::Next(buffer) => received = buffer,
                    After::Close => break,
                    After::Linger => {
                        Box::pin(linger(&worker, &client.connection)).await;
                        break;
                    }
                }
            }
            Ok(None) => break,
            Err(kind) => {
                Box::pin(refuse_unread(&worker, &client, kind)).await;
                break;
            }
        }
    }
    worker.recorder.lower(Level::DownstreamOpen);
}

/// Reads the next request's head. `None`: the connection ended between two requests.
async fn next_request(
    worker: &Worker,
    client: &Client,
    pending: Buffer,
) -> Result<Option<(Box<RequestHead>, Buffer)>, Kind> {
    let connection = &client.connection;
    let mut buffer = pending;
    if buffer.is_empty() {
        worker.buffers.give(buffer);
        connection.idle.set(true);
        worker.deadlines.arm(connection.deadline(), worker.timeouts.idle, Shutdown::Read);
        let received = connection.receive(&worker.buffers).await;
        connection.idle.set(false);
        buffer = match received {
            Ok(buffer) if !buffer.is_empty() => buffer,
            Ok(_) | Err(_) => {
                if connection.deadline().is_expired() {
                    worker.recorder.count(Count::TimedOutIdle);
                }
                return Ok(None);
            }
        };
    }
    let policy = client.entry.policy();
    let mut head = worker.take_request_head();
    let mut waits = false;
    loop {
        if head.advance(buffer.filled(), policy).map_err(Kind::RequestHead)? {
            connection.deadline().disarm();
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

/// Plans a request and writes the head to send, asking for what is not known yet.
async fn exchange(
    worker: &Rc<Worker>,
    client: &Client,
    mut head: Box<RequestHead>,
    mut buffer: Buffer,
) -> After {
    let started = Instant::now();
    worker.deadlines.set_now(started);
    worker.recorder.add(Count::BytesReceived, head.head_bytes as u64);
    let mut picture = worker.picture();
    let mut out = worker.buffers.take_write();
    let mut learned = 0;
    let mut address_is_unknown = false;
    let mut resolved: SmallVec<[SocketAddr; 2]> = SmallVec::new();
    let mut newer = None;
    let rest = loop {
        if let Some(newer) = newer.take() {
            picture = newer;
        }
        let mut remembered = None;
        let planned = match &client.entry {
            Entry::Gateway { identity, port, .. } => {
                let arrival = gateway::Arrival { peer: client.connection.peer.ip(), port: *port };
                gateway::plan(
                    worker,
                    identity,
                    &picture,
                    arrival,
                    &mut Received::new(&mut head, buffer.filled()),
                )
            }
            Entry::Outbound { identity, original } => {
                let arrival = sidecar::outbound::Arrival {
                    peer: client.connection.peer.ip(),
                    local: client.connection.local_address(),
                    original: *original,
                    resolved: &resolved,
                    address_is_unknown,
                };
                sidecar::outbound::plan(
                    worker,
                    identity,
                    &picture,
                    arrival,
                    &mut Received::new(&mut head, buffer.filled()),
                )
            }
            Entry::Inbound { identity, application_address } => {
                let arrival = sidecar::inbound::Arrival {
                    peer: client.connection.peer.ip(),
                    application: *application_address,
                };
                sidecar::inbound::plan(
                    worker,
                    identity,
                    &picture,
                    arrival,
                    &mut Received::new(&mut head, buffer.filled()),
                )
                .map(|(plan, memory)| {
                    remembered = memory;
                    plan
                })
            }
        };
        let no_plan = match planned {
            Ok(mut plan) => {
                write_request(&head, buffer.filled(), &plan.edits, &mut out);
                let written = std::mem::take(&mut plan.edits.written);
                worker.buffers.give_write(written.into_memory());
                let mut request = Request {
                    plan,
                    picture: &picture,
                    started,
                    is_head: head.method.of(buffer.filled()) == b"HEAD",
                    is_idempotent: is_idempotent(head.method.of(buffer.filled())),
                    minor_version: head.minor_version,
                    keep_alive: head.keep_alive
                        && !worker.draining.get()
                        && !client.entry.is_leaving(),
                    upgrade: head
                        .upgrade
                        .map(|protocol| SmallVec::from_slice(protocol.of(buffer.filled()))),
                    remembered,
                };
                let body = Body::new(head.framing, true);
                buffer.consume(head.head_bytes);
                // Given back before the wait, so that the next connection finds it in the cache.
                worker.give_request_head(head);
                break send(worker, client, &mut request, body, out, buffer).await;
            }
            Err(no_plan) => no_plan,
        };
        match no_plan {
            NoPlan::Learn(query) => {
                out.clear();
                // Twice at most: a name, then an address of it.
                learned += 1;
                let settles = sidecar::outbound::settles(&query);
                let answered = if learned <= 2 {
                    Box::pin(worker.learn(query.clone(), settles)).await
                } else {
                    None
                };
                match (answered, query) {
                    (Some(picture), _) => newer = Some(picture),
                    (None, Query::Address(_)) => address_is_unknown = true,
                    (None, Query::Name(name)) => {
                        let kind = Kind::NotLearned(name);
                        break Rest::Done(
                            Box::pin(refuse(worker, client, &head, buffer, out, kind, started))
                                .await,
                        );
                    }
                }
            }
            NoPlan::Resolve(host, port) => {
                out.clear();
                match Box::pin(tokio::net::lookup_host((host.as_str(), port))).await {
                    Ok(addresses) if resolved.is_empty() => resolved.extend(addresses),
                    Ok(_) | Err(_) => {}
                }
                if resolved.is_empty() {
                    break Rest::Done(
                        Box::pin(refuse(
                            worker,
                            client,
                            &head,
                            buffer,
                            out,
                            Kind::Unresolvable(host),
                            started,
                        ))
                        .await,
                    );
                }
            }
            NoPlan::Refuse(kind) => {
                out.clear();
                break Rest::Done(
                    Box::pin(refuse(worker, client, &head, buffer, out, kind, started)).await,
                );
            }
            NoPlan::Redirect { status, location } => {
                out.clear();
                let keep = may_keep(worker, client, &head, &buffer);
                answer::write_redirect(status, &location, keep, head.minor_version, &mut out);
                count_own(worker, client, Outcome::Base, status, started);
                break Rest::Done(
                    Box::pin(own_answer(worker, client, &head, buffer, out, keep)).await,
                );
            }
        }
    };
    // What takes long from here on pins no picture.
    drop(picture);
    match rest {
        Rest::Done(after) => after,
        Rest::Body(rest) => match Box::pin(answer::download(worker, client, rest)).await {
            Ok(rest) => answer::finish(worker, rest),
            Err(answer::Cut) => After::Close,
        },
        Rest::Tunnel { upstream, from_client, from_instance } => {
            Box::pin(tunnel::relay(
                worker,
                &client.connection,
                &upstream,
                from_client,
                from_instance,
            ))
            .await;
            After::Close
        }
    }
}

fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE")
}

/// The answer's head arrived.
struct Answered {
    upstream: Rc<Connection>,
    response: Box<ResponseHead>,
    /// What was received of the answer, head included.
    received: Buffer,
    chosen: Chosen,
    /// All of the request went out before it.
    request_is_sent: bool,
    /// When the whole request must be done.
    request_deadline_ms: u64,
}

/// What a request sends: whole, so that it can be sent again, or as it arrives.
async fn send(
    worker: &Rc<Worker>,
    client: &Client,
    request: &mut Request<'_>,
    mut body: Body,
    mut out: Vec<u8>,
    mut buffer: Buffer,
) -> Rest {
    let step = match body.step(buffer.filled_mut()) {
        Ok(step) => step,
        Err(error) => {
            return Box::pin(fail(
                worker,
                client,
                request,
                None,
                Kind::RequestBody(error),
                out,
                buffer,
            ))
            .await;
        }
    };
    if !step.done {
        // Not the usual request, and long compared with an allocation: its large state lives on its own.
        return Box::pin(streaming::send(worker, client, request, body, step, out, buffer)).await;
    }
    let mut body_bytes = step.keep;
    if body_bytes > 0 && body_bytes <= JOINED_BODY_BYTES_MAX {
        out.extend_from_slice(&buffer.filled()[..body_bytes]);
        body_bytes = 0;
    }
    let mut consumed = step.consumed;
    if body_bytes == 0 {
        // All there is to send, and to send again, is in `out`.
        buffer.consume(consumed);
        consumed = 0;
        if buffer.is_empty() {
            worker.buffers.give(std::mem::take(&mut buffer));
        }
    }
    let mut early = Buffer::default();
    let mut tries = Tries::new(worker, request);
    let answered = loop {
        let (chosen, upstream, reused) = match tries.connect(worker, request).await {
            Ok(connected) => connected,
            Err((chosen, error)) => {
                return Box::pin(fail_after(
                    worker,
                    client,
                    request,
                    chosen.as_ref(),
                    error.kind,
                    out,
                    join(worker, buffer, early),
                    consumed,
                ))
                .await;
            }
        };
        let sent;
        upstream.sent.set(false);
        tries.patience(worker, request).arm(worker, &upstream);
        (out, buffer, sent) = upstream.send(out, buffer, body_bytes).await;
        let answered = match sent {
            Ok(()) => {
                first_answer(worker, client, request, &upstream, &mut early, &Cell::new(true)).await
            }
            Err(error) => Err(broken(&upstream, error)),
        };
        match answered {
            Ok((response, received)) => {
                break Answered {
                    upstream,
                    response,
                    received,
                    chosen,
                    request_is_sent: true,
                    request_deadline_ms: tries.request_deadline_ms,
                };
            }
            Err(error) if tries.again(worker, request, &chosen, reused, &error, true) => {}
            Err(error) => {
                return Box::pin(fail_after(
                    worker,
                    client,
                    request,
                    Some(&chosen),
                    error.kind,
                    out,
                    join(worker, buffer, early),
                    consumed,
                ))
                .await;
            }
        }
    };
    buffer.consume(consumed);
    let next = join(worker, buffer, early);
    answer::pass_on(worker, client, request, answered, out, next).await
}

/// What has arrived of the client's next request, in one buffer.
fn join(worker: &Worker, mut buffer: Buffer, early: Buffer) -> Buffer {
    if buffer.is_empty() {
        worker.buffers.give(buffer);
        return early;
    }
    if !early.is_empty() {
        buffer.append(early.filled());
    }
    worker.buffers.give(early);
    buffer
}

/// Waits for the next bytes of `upstream`, and meanwhile notices when the client goes away. What the client sends
/// already of its next request is kept in `early`; then nothing more is read from it.
async fn receive_watching(
    worker: &Worker,
    upstream: &Connection,
    client: &Connection,
    early: &mut Buffer,
    watch: &Cell<bool>,
    wanted_bytes: u64,
) -> Result<Buffer, ProxyError> {
    let received = poll_fn(|context| {
        if let Poll::Ready(received) = upstream.poll_receive(context, &worker.buffers, wanted_bytes)
        {
            return Poll::Ready(Some(received));
        }
        if watch.get() && early.is_empty() {
            match client.poll_receive(context, &worker.buffers, 0) {
                Poll::Ready(Ok(bytes)) if !bytes.is_empty() => *early = bytes,
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await;
    match received {
        Some(Ok(buffer)) if buffer.is_empty() => {
            Err(broken(upstream, io::ErrorKind::UnexpectedEof.into()))
        }
        Some(Ok(buffer)) => Ok(buffer),
        Some(Err(error)) => Err(broken(upstream, error)),
        None => Err(ProxyError { kind: Kind::ClientGone, sent_bytes: true }),
    }
}

/// Reads the head of the answer, handing on interim answers.
async fn first_answer(
    worker: &Worker,
    client: &Client,
    request: &Request<'_>,
    upstream: &Connection,
    early: &mut Buffer,
    watch: &Cell<bool>,
) -> Result<(Box<ResponseHead>, Buffer), ProxyError> {
    let mut received =
        receive_watching(worker, upstream, &client.connection, early, watch, 0).await?;
    let mut response = worker.take_response_head();
    let mut interim = 0;
    loop {
        let error = |kind| ProxyError { kind, sent_bytes: true };
        if !response
            .advance(received.filled(), request.is_head)
            .map_err(|head| error(Kind::AnswerHead(head)))?
        {
            if !received.make_room(HEAD_BYTES_MAX + 1) {
                return Err(error(Kind::AnswerHead(HeadError::TooLarge)));
            }
            let outcome;
            (received, outcome) = upstream.receive_more(received).await;
            match outcome {
                Ok(0) => {
                    return Err(error(broken(upstream, io::ErrorKind::UnexpectedEof.into()).kind));
                }
                Ok(_) => {}
                Err(failure) => return Err(error(broken(upstream, failure).kind)),
            }
            continue;
        }
        if !response.is_interim() {
            return Ok((response, received));
        }
        interim += 1;
        if interim > INTERIM_ANSWERS_MAX {
            return Err(error(Kind::AnswerHead(HeadError::StartLine)));
        }
        if request.minor_version == 1 {
            Box::pin(answer::pass_interim(worker, client, &response, &received)).await?;
        }
        received.consume(response.head_bytes);
        response.reset();
        if received.is_empty() {
            worker.buffers.give(received);
            received =
                receive_watching(worker, upstream, &client.connection, early, watch, 0).await?;
        }
    }
}
