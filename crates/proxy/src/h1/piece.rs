//! A part of a body on its way: lent by the side that received it, given back when it was sent.

use std::io;

use super::body::{Body, BodyError};
use crate::{
    buffers::Buffer,
    exchange::sides::{self, Piece as _},
    h2::grpc,
    limits::JOINED_BODY_BYTES_MAX,
    transport::{Connection, Transport as _},
};

/// A buffer whose first bytes go on; where framing does not, perhaps with lines of trailers behind them.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    buffer: Buffer,
    goes_on: u32,
    trailers: u32,
    consumed: u32,
}

impl Piece {
    /// The next piece of `body` in `buffer`. What comes after it stays there.
    pub(crate) fn of(body: &mut Body<'_>, mut buffer: Buffer) -> Result<Self, BodyError> {
        let step = body.step(buffer.filled_mut())?;
        Ok(Self {
            buffer,
            goes_on: step.keep as u32,
            trailers: step.trailers as u32,
            consumed: step.consumed as u32,
        })
    }

    /// All of a buffer goes on.
    pub(crate) fn whole(buffer: Buffer) -> Self {
        let bytes = buffer.filled().len() as u32;
        Self { buffer, goes_on: bytes, trailers: 0, consumed: bytes }
    }

    /// The first bytes of a buffer go on; the rest are lines of trailers.
    pub(crate) fn with_trailers(buffer: Buffer, data_bytes: usize) -> Self {
        let bytes = buffer.filled().len();
        let (goes_on, trailers) = (data_bytes as u32, (bytes - data_bytes) as u32);
        Self { buffer, goes_on, trailers, consumed: bytes as u32 }
    }

    /// What goes on.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer.filled()[..self.goes_on as usize]
    }

    /// The lines of trailers that came with it, where framing does not go on.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.buffer.filled()[self.goes_on as usize..][..self.trailers as usize]
    }

    /// Copies a small piece behind a head, where it goes out with it.
    pub(crate) fn join(&mut self, head: &mut Vec<u8>) {
        if self.len() <= JOINED_BODY_BYTES_MAX {
            head.extend_from_slice(&self.buffer.filled()[..self.len()]);
            self.goes_on = 0;
        }
    }

    /// Sends a head and the piece behind it. Both are back when it is done.
    pub(crate) async fn send_after(
        &mut self,
        head: &mut Vec<u8>,
        connection: &Connection,
    ) -> io::Result<()> {
        let (taken, buffer) = (std::mem::take(head), std::mem::take(&mut self.buffer));
        let sent;
        (*head, self.buffer, sent) = connection.send(taken, buffer, self.len()).await;
        sent
    }

    /// What came after it.
    pub(crate) fn into_rest(mut self) -> Buffer {
        self.buffer.consume(self.consumed as usize);
        self.buffer
    }
}

impl sides::Piece for Piece {
    fn len(&self) -> usize {
        self.goes_on as usize
    }

    fn duplicate(&self) -> Self {
        let mut buffer = Buffer::default();
        buffer.append(self.data());
        buffer.append(self.trailers());
        let consumed = self.goes_on + self.trailers;
        Self { buffer, goes_on: self.goes_on, trailers: self.trailers, consumed }
    }

    fn grpc_status(&self) -> Option<u32> {
        grpc::status_in(self.trailers())
    }
}
