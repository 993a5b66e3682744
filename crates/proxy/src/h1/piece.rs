//! A part of a body on its way: lent by the side that received it, given back when it was sent.

use std::io;

use super::body::{Body, BodyError};
use crate::{
    buffers::Buffer,
    exchange::sides::{self, Piece as _},
    limits::JOINED_BODY_BYTES_MAX,
    transport::{Connection, Transport as _},
};

/// A buffer whose first bytes go on.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    buffer: Buffer,
    goes_on: u32,
    consumed: u32,
}

impl Piece {
    /// The next piece of `body` in `buffer`. What comes after it stays there.
    pub(crate) fn of(body: &mut Body<'_>, mut buffer: Buffer) -> Result<Self, BodyError> {
        let step = body.step(buffer.filled_mut())?;
        Ok(Self { buffer, goes_on: step.keep as u32, consumed: step.consumed as u32 })
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
        buffer.append(&self.buffer.filled()[..self.len()]);
        Self { buffer, goes_on: self.goes_on, consumed: self.goes_on }
    }
}
