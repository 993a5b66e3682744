//! What comes of one stream's body, in the form in which it goes on. The same for requests of clients and for answers of
//! instances.

use std::{
    cell::Cell,
    io::Write as _,
    task::{Context, Poll, ready},
};

use routes::entrance::CorrelationHeaders;

use super::session::{Data, Lost, SharedSession};
use crate::{
    buffers::Buffer,
    h1::{body::trailer_goes_on, piece::Piece},
    worker::Worker,
};

/// The receiving half of a stream, from its body on.
#[derive(Debug)]
pub(crate) struct Incoming<'c> {
    worker: &'c Worker,
    session: SharedSession,
    id: u32,
    /// It goes on in the chunks of HTTP/1.1.
    is_framed: bool,
    is_done: Cell<bool>,
    /// Fields that do not go on as trailers, besides those that Laneway knows.
    no_trailers: Option<&'c CorrelationHeaders>,
}

impl<'c> Incoming<'c> {
    pub(crate) fn new(
        worker: &'c Worker,
        session: SharedSession,
        id: u32,
        is_framed: bool,
        no_trailers: Option<&'c CorrelationHeaders>,
    ) -> Self {
        // The end of what goes on in chunks is one more piece.
        let is_done = !is_framed && session.borrow().has_ended_empty(id);
        Self { worker, session, id, is_framed, is_done: Cell::new(is_done), no_trailers }
    }

    /// All of it was handed out.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.get()
    }

    /// What has arrived already. Never waits.
    pub(crate) fn arrived(&self) -> Piece {
        if self.is_done.get() {
            return Piece::default();
        }
        let data = self.session.borrow_mut().arrived(self.id);
        self.piece(data)
    }

    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        let next = ready!(self.session.borrow_mut().poll_data(self.id, context))?;
        Poll::Ready(Ok(self.piece(match next {
            Data::Piece(data) => Some(data),
            Data::End => None,
        })))
    }

    /// What goes on of data that has come.
    fn piece(&self, data: Option<Buffer>) -> Piece {
        let has_ended = self.session.borrow().has_ended(self.id);
        self.is_done.set(has_ended);
        let mut buffer = match data {
            Some(mut data) => {
                if self.is_framed && !data.is_empty() {
                    frame_chunk(&mut data);
                }
                data
            }
            None if has_ended => self.worker.buffers.take(),
            None => return Piece::default(),
        };
        if !has_ended {
            return Piece::whole(buffer);
        }
        let trailers = self.session.borrow_mut().take_trailers(self.id).unwrap_or_default();
        if !self.is_framed {
            let data_bytes = buffer.filled().len();
            self.append_trailers(&trailers, &mut buffer);
            self.worker.buffers.give_write(trailers);
            return Piece::with_trailers(buffer, data_bytes);
        }
        buffer.append(b"0\r\n");
        self.append_trailers(&trailers, &mut buffer);
        self.worker.buffers.give_write(trailers);
        buffer.append(b"\r\n");
        Piece::whole(buffer)
    }

    /// Appends the lines that go on.
    fn append_trailers(&self, trailers: &[u8], buffer: &mut Buffer) {
        for line in trailers.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            if matches!(trailer_goes_on(text, self.no_trailers), Ok(true)) {
                buffer.append(line);
            }
        }
    }
}

/// Makes data a chunk of HTTP/1.1, in the room that was left around it.
fn frame_chunk(data: &mut Buffer) {
    let mut size = [0; 8];
    let mut rest = &mut size[..];
    // No buffer is larger than its size has room for.
    let _ = write!(rest, "{:x}\r\n", data.filled().len());
    let unused = rest.len();
    data.prepend(&size[..size.len() - unused]);
    data.append_in_place(b"\r\n");
}
