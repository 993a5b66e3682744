//! Answers to a client in HTTP/2: an instance's, or the proxy's own.

use std::rc::Rc;

use routes::entrance::Name;

use super::Served;
use crate::{
    affinity::{AnswerEdits, Owed},
    error::Kind,
    exchange::sides::{AnswerSink, Client, Decide, Gone, OwnAnswer},
    h1::{head::Field, piece::Piece},
    h2::{
        error::Code,
        grpc, hpack,
        outgoing::{Outgoing, Stopped},
    },
    peers::{GRPC_STATUS, REFUSED},
    read_so_far::ReadSoFar,
    upstream::Answer,
    websocket,
    worker::Worker,
};

/// Where the answer to one request goes.
#[derive(Debug)]
pub(super) struct Answers<'c> {
    worker: &'c Worker,
    served: &'c Served<'c>,
    outgoing: Outgoing<'c>,
    is_head: bool,
    is_grpc: bool,
    /// The stream is to be a WebSocket.
    is_websocket: bool,
}

impl<'c> Answers<'c> {
    pub(super) fn new(
        served: &'c Served<'c>,
        is_head: bool,
        is_grpc: bool,
        is_websocket: bool,
    ) -> Self {
        let Served { worker, session, id, .. } = served;
        let outgoing = Outgoing::new(worker, Rc::clone(session), *id, worker.timeouts.body);
        Self { worker, served, outgoing, is_head, is_grpc, is_websocket }
    }

    /// Answers what could not be read as a request.
    pub(super) async fn refuse_unread<D: Decide>(
        served: &'c Served<'c>,
        decide: &D,
        kind: Kind,
        is_grpc: bool,
        read: impl FnOnce() -> ReadSoFar,
    ) {
        let worker = served.worker;
        worker.account.unread(D::ROLE, &kind);
        let random = || worker.random_bytes();
        worker.observers.tell_unread((D::ROLE, decide.caller()), &kind, random, read);
        tracing::debug!(reason = %kind, "refused what is no correct request");
        let answer = OwnAnswer::Refusal(kind);
        if Self::new(served, false, is_grpc, false).own(&answer, false).await.is_ok() {
            let Served { session, id, .. } = served;
            session.borrow_mut().release(*id, Code::NoError, &worker.buffers);
        }
    }

    fn begin_own(&self, status: u16, block: &mut Vec<u8>) {
        hpack::write_status(status, block);
        hpack::write_field(b"server", b"laneway", block);
        hpack::write_field(b"date", &self.worker.date(), block);
        if status == 405 {
            // What is refused so is no resource, and allows nothing (RFC 9110 §10.2.1).
            hpack::write_field(b"allow", b"", block);
        }
    }

    /// A client that takes nothing is cut off, and one that is gone is gone.
    fn sent(&self, sent: Result<(), Stopped>) -> Result<(), Gone> {
        sent.map_err(|stopped| {
            if matches!(stopped, Stopped::Late) {
                self.outgoing.cut(Code::Cancel);
            }
            Gone
        })
    }
}

impl Client for Answers<'_> {
    async fn own(&self, answer: &OwnAnswer, _: bool) -> Result<(), Gone> {
        let mut block = self.worker.buffers.take_write();
        let mut text = String::new();
        let is_late = matches!(answer, OwnAnswer::Refusal(Kind::DeadlineExceeded));
        self.served.is_late.set(is_late);
        match answer {
            OwnAnswer::Refusal(kind) if self.is_grpc => {
                self.begin_own(GRPC_STATUS, &mut block);
                hpack::write_field(b"content-type", b"application/grpc", &mut block);
                grpc::write_status(kind.status(), &kind.to_string(), &mut block);
                write_refused(kind, &mut block);
            }
            OwnAnswer::Refusal(kind) => {
                self.begin_own(kind.status(), &mut block);
                text = format!("{kind}\n");
                hpack::write_field(b"content-type", b"text/plain; charset=utf-8", &mut block);
                let length = text.len().to_string();
                hpack::write_field(b"content-length", length.as_bytes(), &mut block);
                write_refused(kind, &mut block);
            }
            OwnAnswer::Redirect { location, status } => {
                self.begin_own(*status, &mut block);
                hpack::write_field(b"location", location, &mut block);
                hpack::write_field(b"content-length", b"0", &mut block);
            }
            OwnAnswer::Options => {
                self.begin_own(answer.status(), &mut block);
                hpack::write_field(b"content-length", b"0", &mut block);
            }
            OwnAnswer::Established(_) => {
                self.begin_own(answer.status(), &mut block);
                return self.sent(self.outgoing.send_head(block, false).await);
            }
        }
        let is_all = text.is_empty() || self.is_head;
        self.sent(self.outgoing.send_head(block, is_all).await)?;
        if is_all {
            return Ok(());
        }
        self.sent(self.outgoing.send_data(text.as_bytes(), true).await)
    }

    fn cut(&self, why: &Kind) {
        // It came too late for its caller or its route, and that has a status of gRPC.
        if self.served.converses.get()
            && matches!(why, Kind::DeadlineExceeded | Kind::AnswerTimeout)
        {
            let mut block = self.worker.buffers.take_write();
            grpc::write_status(why.status(), &why.to_string(), &mut block);
            return self.outgoing.end(block);
        }
        self.outgoing.cut(Code::Internal);
    }
}

impl AnswerSink<Answer> for Answers<'_> {
    type Piece = Piece;
    type Head = Vec<u8>;

    fn keeps_framing(&self) -> bool {
        false
    }

    async fn interim(&self, answer: &Answer) -> Result<(), Gone> {
        let mut block = self.worker.buffers.take_write();
        hpack::write_status(answer.head.status, &mut block);
        write_kept(answer.received.filled(), answer.head.fields(), &mut block);
        self.sent(self.outgoing.send_head(block, false).await)
    }

    fn head(&self, answer: &mut Answer, edits: AnswerEdits<'_>, _: bool) -> Vec<u8> {
        let mut block = self.worker.buffers.take_write();
        let Answer { head, received } = answer;
        let bytes = received.filled();
        if self.is_grpc {
            let mut types = head.fields().iter().filter(|it| it.name == Name::ContentType);
            self.served.converses.set(types.any(|it| grpc::is_grpc(it.value.of(bytes))));
        }
        hpack::write_status(head.status, &mut block);
        if !edits.say_when(head) {
            hpack::write_field(b"date", &self.worker.date(), &mut block);
        }
        for headers in edits.headers {
            headers.replaced().for_each(|name| head.drop_named(bytes, name.as_bytes()));
        }
        write_kept(bytes, head.fields(), &mut block);
        edits.write(bytes, head.fields(), |name, value| {
            hpack::write_field(name.as_bytes(), value, &mut block);
        });
        block
    }

    /// In HTTP/2 it is a success, without what shows that a key was understood (RFC 8441 §5).
    fn switch(&self, answer: &Answer, owed: &Owed) -> Option<Vec<u8>> {
        let (bytes, fields) = (answer.received.filled(), answer.head.fields());
        let switched = answer.head.upgrade.filter(|_| self.is_websocket)?.of(bytes);
        if !websocket::is_name(switched) {
            return None;
        }
        let mut block = self.worker.buffers.take_write();
        hpack::write_status(200, &mut block);
        for field in fields.iter().filter(|field| field.keep) {
            let name = field.name_of(bytes);
            if !websocket::is_of_handshake(name) {
                hpack::write_field(name, field.value.of(bytes), &mut block);
            }
        }
        let edits = AnswerEdits { headers: &[], owed };
        edits.write(bytes, fields, |name, value| {
            hpack::write_field(name.as_bytes(), value, &mut block);
        });
        Some(block)
    }

    async fn begin(&self, head: Vec<u8>, first: &mut Piece, is_last: bool) -> Result<(), Gone> {
        let is_all = Outgoing::is_all(first, is_last);
        self.sent(self.outgoing.send_head(head, is_all).await)?;
        if is_all { Ok(()) } else { self.send(first, is_last).await }
    }

    async fn send(&self, piece: &mut Piece, is_last: bool) -> Result<(), Gone> {
        self.sent(self.outgoing.send_piece(piece, is_last).await)
    }
}

/// Begins an answer of the proxy itself, not of an instance.
/// Appends what proxies alone are told.
fn write_refused(kind: &Kind, block: &mut Vec<u8>) {
    if let Some(refused) = kind.refused() {
        hpack::write_field(REFUSED.as_bytes(), refused.as_str().as_bytes(), block);
    }
}

/// Appends all kept fields.
fn write_kept(bytes: &[u8], fields: &[Field], block: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| field.keep) {
        hpack::write_field(field.name_of(bytes), field.value.of(bytes), block);
    }
}
