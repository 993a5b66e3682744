//! One client's connection in HTTP/2: every stream is an exchange of its own, all of them on the connection's task.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use telemetry::Count;

use crate::{
    buffers::Buffer,
    error::Kind,
    exchange::{
        End, exchange,
        sides::{Decide, Request as _},
    },
    h1::head::HeadError,
    h2::{
        Limits,
        driver::Driver,
        error::Code,
        grpc,
        head::{AskedFor, Malformed},
        session::{Lost, Session, SharedSession},
    },
    limits::{
        H2_CONNECTION_WINDOW, H2_FIRST_WINDOW, H2_STREAM_WINDOW, H2_STREAMS_MAX, H2_TABLE_BYTES_MAX,
    },
    read_so_far::ReadSoFar,
    transport::Connection,
    upstream::Instances,
    worker::Worker,
};

use answers::Answers;
use request::Request;

mod answers;
mod request;

/// What clients are allowed.
const LIMITS: Limits = Limits {
    streams_max: H2_STREAMS_MAX,
    stream_window: H2_STREAM_WINDOW,
    first_window: H2_FIRST_WINDOW,
    connection_window: H2_CONNECTION_WINDOW,
    head_bytes_max: crate::h1::head::HEAD_BYTES_MAX as u32,
    table_bytes_max: H2_TABLE_BYTES_MAX,
    is_shared: false,
};

/// Whoever waits less than this for an answer that does not come in time has had an instance begin to work for nothing, as
/// one that resets: networks and instances alone may need as long.
const WAITS_MIN: Duration = Duration::from_millis(100);

/// One stream of a client's connection, for whoever serves it. What is not at its end when it is dropped ends then.
#[derive(Debug)]
struct Served<'c> {
    worker: &'c Worker,
    session: SharedSession,
    id: u32,
    /// An answer of gRPC has begun.
    converses: Cell<bool>,
    /// The deadline that its caller has told has passed before an answer.
    is_late: Cell<bool>,
}

impl<'c> Served<'c> {
    fn new(worker: &'c Worker, session: &SharedSession, id: u32) -> Self {
        let (converses, is_late) = (Cell::new(false), Cell::new(false));
        Self { worker, session: Rc::clone(session), id, converses, is_late }
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.session.borrow_mut().release(self.id, Code::Internal, &self.worker.buffers);
    }
}

/// Serves one client connection until either side ends it.
pub(crate) async fn serve<D: Decide>(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    decide: &D,
    first: Buffer,
) {
    let limits = Limits { is_shared: !decide.serves_strangers(&worker), ..LIMITS };
    let session = Rc::new(RefCell::new(Session::server(limits, worker.deadlines.now_ms())));
    let mut streams = FuturesUnordered::new();
    let mut driver = Driver::new(&worker, &connection, &session, Some(worker.timeouts.idle), first);
    let ended: io::Result<()> = poll_fn(|context| {
        loop {
            if worker.draining.get() || decide.is_leaving() {
                session.borrow_mut().leave();
            }
            let mut has_moved = driver.receive(context)?;
            while let Some(id) = { session.borrow_mut().next_request() } {
                streams.push(serve_stream(Served::new(&worker, &session, id), decide));
                has_moved = true;
            }
            let malformed = session.borrow_mut().take_malformed();
            for (malformed, read) in malformed {
                tell_unread(&worker, decide, &Kind::RequestFields(malformed), *read);
            }
            while let Poll::Ready(Some(())) = Pin::new(&mut streams).poll_next(context) {
                has_moved = true;
            }
            has_moved |= driver.send(context)?;
            // Nobody ends only one direction and waits for answers: a client that sends no more has left.
            if session.borrow().is_done() || driver.has_ended {
                return Poll::Ready(Ok(()));
            }
            if !has_moved {
                connection.set_keeper(context.waker());
                driver.wait();
                return Poll::Pending;
            }
        }
    })
    .await;
    // What has come with the connection's end.
    while let Some(id) = { session.borrow_mut().next_request() } {
        give_up(Served::new(&worker, &session, id), decide).await;
    }
    let malformed = session.borrow_mut().take_malformed();
    for (malformed, read) in malformed {
        tell_unread(&worker, decide, &Kind::RequestFields(malformed), *read);
    }
    session.borrow_mut().close();
    // What is under way sees that its client is gone, and lets its instance see it.
    poll_fn(|context| {
        while let Poll::Ready(Some(())) = Pin::new(&mut streams).poll_next(context) {}
        Poll::Ready(())
    })
    .await;
    // A client that has answered a farewell may be gone before the instance has.
    worker.websockets.while_ending(streams.by_ref().collect()).await;
    drop(streams);
    if let Some(fatal) = driver.failed {
        tell_unread(&worker, decide, &Kind::Connection(fatal), ReadSoFar::default().in_http2());
    }
    if driver.was_idle() {
        worker.recorder.count(Count::TimedOutIdle);
    }
    // Nobody hears a farewell on what is broken.
    let ended = match ended {
        Ok(()) => driver.farewell().await,
        broken => broken,
    };
    match ended {
        Ok(()) => super::linger(&worker, &connection).await,
        Err(error) => {
            tracing::debug!(peer = %connection.peer, %error, "connection broken off");
            connection.reset_when_closed();
        }
    }
}

/// Counts and tells a request whose connection had ended when it was looked at: nobody is asked for whom nobody waits.
#[cold]
async fn give_up<D: Decide>(served: Served<'_>, decide: &D) {
    let Served { worker, session, id, .. } = &served;
    let head = poll_fn(|context| Poll::Ready(session.borrow_mut().poll_head(*id, context))).await;
    let Poll::Ready(Ok(head)) = head else { return };
    let (gone, caller) = (Kind::ClientGone, (D::ROLE, decide.caller()));
    let (status, started) = (gone.status(), Duration::ZERO);
    let _ = worker.account.unplanned(D::ROLE, decide.counted_as(), Some(&gone), status, started);
    let random = || worker.random_bytes();
    let read = || ReadSoFar::of_text(&head.text).in_http2();
    worker.observers.tell_given_up(caller, &gone, random, read);
}

/// Counts and tells what a connection was ended or a stream reset for: it was no request.
#[cold]
fn tell_unread<D: Decide>(worker: &Worker, decide: &D, kind: &Kind, read: ReadSoFar) {
    worker.account.unread(D::ROLE, kind);
    let random = || worker.random_bytes();
    worker.observers.tell_unread((D::ROLE, decide.caller()), kind, random, || read);
}

/// Serves one stream.
async fn serve_stream<D: Decide>(served: Served<'_>, decide: &D) {
    let Served { worker, session, id, .. } = &served;
    let head = poll_fn(|context| session.borrow_mut().poll_head(*id, context)).await;
    let head = match head {
        Ok(head) => head,
        Err(Lost::Malformed(Malformed::TooLarge)) => {
            let kind = Kind::RequestHead(HeadError::TooLarge);
            let read = || session.borrow_mut().take_read_so_far(*id);
            return Answers::refuse_unread(&served, decide, kind, false, read).await;
        }
        Err(_) => return,
    };
    if head.asks_for == Some(AskedFor::Unknown) {
        let read = || ReadSoFar::of_text(&head.text).in_http2();
        return Answers::refuse_unread(&served, decide, Kind::StreamProtocol, false, read).await;
    }
    let is_websocket = head.asks_for.is_some();
    // Its errors are successes in HTTP, and those of CONNECT are WebSockets.
    let is_grpc = !is_websocket && grpc::is_head_of_grpc(&head.text);
    let request = match Request::read(&served, head, is_grpc, decide.no_trailers(), D::ROLE) {
        Ok(request) => request,
        Err((error, head)) => {
            let kind = Kind::RequestHead(error);
            let read = || ReadSoFar::of_text(&head.text).in_http2();
            return Answers::refuse_unread(&served, decide, kind, is_grpc, read).await;
        }
    };
    let answers = Answers::new(&served, request.has_method(b"HEAD"), is_grpc, is_websocket);
    let instances = Instances(worker);
    let waits_too_briefly = request.caller_waits().is_some_and(|it| it < WAITS_MIN);
    let end = Box::pin(exchange(worker, decide, request, &instances, &answers)).await;
    if waits_too_briefly && served.is_late.get() {
        session.borrow_mut().charge(*id);
    }
    match end {
        // What is left of the request is of no use to anybody (RFC 9113 §8.1).
        End::Whole(_) | End::Unread => {
            session.borrow_mut().release(*id, Code::NoError, &worker.buffers);
        }
        End::Established(..) | End::Broken => {}
    }
}
