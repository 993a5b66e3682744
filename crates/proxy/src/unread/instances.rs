//! Connections that pass unread: which instance has one, and what becomes of it where nobody does.

use std::{
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::Instant,
};

use lanes::{Context, Endpoint, Service};
use smallvec::SmallVec;
use telemetry::Count;

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    ejection::Trouble,
    error::Kind,
    limits::ATTEMPTS_MAX,
    passthrough::AlreadyRead,
    published::Published,
    transport::{Connection, Transport as _, Unread},
    tunnel,
    worker::Worker,
};

/// An instance that a connection is passed to unread, and where, in order.
pub(crate) struct Reached {
    /// What it is known by.
    pub(crate) instance: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    /// What it is put aside for if it cannot be connected to. Not at all where the application has picked it for a reason
    /// of its own: requests that are for it have nothing to do with that.
    pub(crate) trouble: Option<Trouble>,
}

/// An instance of the base that was not `tried`; where all the others are put aside, one of those.
pub(crate) fn base_of<'p>(
    worker: &Worker,
    picture: &'p Published,
    service: &'p Service,
    picked: Option<SocketAddr>,
    tried: &[SocketAddr],
) -> Option<&'p Endpoint> {
    let (ejections, ticket) = (worker.ejections.borrow(), worker.ticket());
    let (context, ejected) = (Context::default(), ejections.beside(tried, tried, Instant::now()));
    let chosen = picture.lanes.choose(&context, service, picked, &ejected, ticket, &mut ());
    Some(chosen.ok()?.endpoint)
}

/// Passes bytes both ways, unread, to an instance, or to `another` that was not tried where it cannot be connected to; there
/// may be none.
pub(crate) async fn pass_to_one_of(
    worker: &Worker,
    connection: Rc<Connection>,
    reached: Option<Reached>,
    another: impl Fn(&[SocketAddr]) -> Option<Reached>,
    first: Buffer,
) {
    match connect_to_one_of(worker, reached, another).await {
        Some((instance, opened)) => {
            let opened = Some((opened, Buffer::default()));
            pass_through(worker, connection, instance, opened, first).await;
        }
        // Nobody is there: it must not look as if somebody had answered, and ended in order.
        None => connection.reset_when_closed(),
    }
}

/// Connects to an instance, or to `another` that was not tried where that cannot be; there may be none.
pub(crate) async fn connect_to_one_of(
    worker: &Worker,
    mut reached: Option<Reached>,
    another: impl Fn(&[SocketAddr]) -> Option<Reached>,
) -> Option<(SocketAddr, Rc<Connection>)> {
    let mut tried = SmallVec::<[SocketAddr; ATTEMPTS_MAX]>::new();
    while let Some(Reached { instance, addresses, trouble }) = reached {
        if let Some(trouble) = trouble {
            let now = Instant::now();
            worker.ejections.borrow_mut().try_again_unread(instance, trouble, now);
        }
        let error = match Box::pin(worker.first_to_answer(&addresses)).await {
            Ok(opened) => {
                if let Some(trouble) = trouble {
                    worker.ejections.borrow_mut().connected(instance, trouble);
                }
                return Some((instance, opened));
            }
            Err(error) => error,
        };
        tracing::debug!(%instance, %error, "cannot pass a connection on to an instance");
        tried.push(instance);
        if !matches!(error.kind, Kind::Connect(_)) {
            break;
        }
        if let Some(trouble) = trouble {
            worker.eject_unread(instance, trouble, Instant::now());
        }
        reached = if tried.len() < ATTEMPTS_MAX { another(&tried) } else { None };
        if reached.is_some() {
            worker.recorder.count(Count::RetriedConnect);
        }
    }
    None
}

/// Passes bytes both ways, unread.
pub(crate) async fn pass_through(
    worker: &Worker,
    connection: Rc<Connection>,
    original: SocketAddr,
    instance: Option<(Rc<Connection>, Buffer)>,
    first: Buffer,
) {
    worker.recorder.count(Count::PassedThrough);
    let connected = match instance {
        Some(instance) => Some(instance),
        None => match Box::pin(worker.open(original)).await {
            Ok(instance) => Some((instance, Buffer::default())),
            Err(error) => {
                tracing::debug!(%original, %error, "cannot pass a connection through");
                // Nobody is there: it must not look as if somebody had answered, and ended in order.
                connection.reset_when_closed();
                None
            }
        },
    };
    if let Some((instance, greeting)) = connected {
        if !send_first(worker, &instance, first).await {
            return connection.reset_when_closed();
        }
        let already_read =
            AlreadyRead { from_instance: greeting.filled(), ..AlreadyRead::default() };
        tunnel::relay(worker, Unread::new(connection), Unread::new(instance), already_read).await;
    }
}

/// Sends what was read of a caller before its instance was known, so that its buffer serves others while the tunnel lasts.
/// Whether the instance takes it.
async fn send_first(worker: &Worker, instance: &Connection, first: Buffer) -> bool {
    let bytes = first.filled().len();
    if bytes == 0 {
        return true;
    }
    worker.deadlines.set_now(Instant::now());
    worker.deadlines.arm(instance.deadline(), worker.timeouts.body, Shutdown::Both);
    let (_, first, sent) = instance.send(Vec::new(), first, bytes).await;
    instance.deadline().disarm();
    worker.buffers.give(first);
    worker.recorder.add(Count::BytesReceived, bytes as u64);
    sent.is_ok()
}
