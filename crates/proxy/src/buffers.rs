//! Buffers of one thread. A connection that waits holds none.

use std::{
    cell::RefCell,
    io,
    task::{Poll, ready},
};

/// Bytes of a receive buffer: holds almost every head with its body, and four make a page-aligned 64 KiB.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of a receive buffer for long bodies: fewer system calls per megabyte.
pub(crate) const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// Room at least in a buffer to write to: almost every head, and a small body with it.
const WRITE_BUFFER_BYTES: usize = 2048;

/// Buffers of either kind kept for reuse per thread: what some hundred concurrent requests use, 4 MiB.
const BUFFERS_KEPT_MAX: usize = 256;

/// Large buffers kept for reuse per thread, 2 MiB.
const LARGE_BUFFERS_KEPT_MAX: usize = 32;

/// Bytes received and not yet used. The memory is always initialised, so that sockets can read into it. Small itself,
/// since it is handed around; no message's buffer comes near 4 GiB.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    pub(crate) fn with_bytes(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into(), start: 0, end: 0 }
    }

    /// What was received and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.memory[self.start as usize..self.end as usize]
    }

    /// The same, to be changed in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start as usize..self.end as usize]
    }

    /// Where more can be received.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.end as usize..]
    }

    /// Says that `bytes` of the spare room were filled.
    pub(crate) fn fill(&mut self, bytes: usize) {
        self.end += bytes as u32;
        debug_assert!(self.end as usize <= self.memory.len(), "filled only spare room");
    }

    /// Gives up the first `bytes`.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start += bytes as u32;
        debug_assert!(self.start <= self.end, "consumed only what was filled");
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Leaves room in front of what will come: for [`Self::prepend`].
    pub(crate) fn leave_room(&mut self, bytes: usize) {
        debug_assert!(self.is_empty(), "only where nothing has come yet");
        self.start = bytes.min(self.memory.len()) as u32;
        self.end = self.start;
    }

    /// Puts bytes in front of what is filled, where room was left for them.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let start = self.start as usize - bytes.len();
        self.memory[start..self.start as usize].copy_from_slice(bytes);
        self.start = start as u32;
    }

    /// Appends where room was left for it, without moving anything.
    pub(crate) fn append_in_place(&mut self, bytes: &[u8]) {
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Makes at least some room at the end: moves what is filled to the front, then grows up to `bytes_max`.
    /// False when there is none to be had.
    pub(crate) fn make_room(&mut self, bytes_max: usize) -> bool {
        self.move_to_front();
        let bytes = self.memory.len();
        if self.end as usize == bytes {
            let grown = (bytes * 2).clamp(BUFFER_BYTES, bytes_max.max(BUFFER_BYTES));
            if grown <= bytes {
                return false;
            }
            self.grow(grown);
        }
        true
    }

    /// Appends bytes received elsewhere.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.move_to_front();
        let end = self.end as usize + bytes.len();
        if self.memory.len() < end {
            self.grow(end);
        }
        self.memory[self.end as usize..end].copy_from_slice(bytes);
        self.fill(bytes.len());
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.memory.copy_within(self.start as usize..self.end as usize, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn grow(&mut self, bytes: usize) {
        let mut memory = std::mem::take(&mut self.memory).into_vec();
        memory.resize(bytes, 0);
        self.memory = memory.into();
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

/// The spare buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    receive: RefCell<Vec<Buffer>>,
    large: RefCell<Vec<Buffer>>,
    write: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Has `receive` fill a spare buffer, a large one where more than [`BUFFER_BYTES`] are known to come. It is taken only
    /// when something was received: most who ask have to wait.
    pub(crate) fn receive(
        &self,
        wanted_bytes: u64,
        receive: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<Buffer>> {
        let (shelf, bytes) = match wanted_bytes > BUFFER_BYTES as u64 {
            false => (&self.receive, BUFFER_BYTES),
            true => (&self.large, LARGE_BUFFER_BYTES),
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.is_empty() {
            shelf.push(Buffer::with_bytes(bytes));
        }
        let last = shelf.len() - 1;
        let received = ready!(receive(shelf[last].spare_mut()))?;
        let mut buffer = shelf.pop().unwrap_or_default();
        buffer.fill(received);
        Poll::Ready(Ok(buffer))
    }

    /// A spare buffer to be filled from elsewhere.
    pub(crate) fn take(&self) -> Buffer {
        self.receive.borrow_mut().pop().unwrap_or_else(|| Buffer::with_bytes(BUFFER_BYTES))
    }

    pub(crate) fn give(&self, mut buffer: Buffer) {
        let (shelf, kept_max) = match buffer.memory.len() {
            BUFFER_BYTES => (&self.receive, BUFFERS_KEPT_MAX),
            LARGE_BUFFER_BYTES => (&self.large, LARGE_BUFFERS_KEPT_MAX),
            _ => return,
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < kept_max {
            buffer.clear();
            shelf.push(buffer);
        }
    }

    pub(crate) fn take_write(&self) -> Vec<u8> {
        self.write.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(WRITE_BUFFER_BYTES))
    }

    pub(crate) fn give_write(&self, mut bytes: Vec<u8>) {
        let mut shelf = self.write.borrow_mut();
        // A smaller one would have to grow again and again, whoever takes it.
        let is_usual = (WRITE_BUFFER_BYTES..=BUFFER_BYTES).contains(&bytes.capacity());
        if is_usual && shelf.len() < BUFFERS_KEPT_MAX {
            bytes.clear();
            shelf.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_moving_then_growing_up_to_the_limit() {
        let mut buffer = Buffer::with_bytes(BUFFER_BYTES);
        buffer.spare_mut().fill(1);
        buffer.fill(BUFFER_BYTES);
        buffer.consume(10);
        assert!(buffer.make_room(BUFFER_BYTES));
        assert_eq!(buffer.spare_mut().len(), 10);
        buffer.fill(10);
        assert!(!buffer.make_room(BUFFER_BYTES));
        assert!(buffer.make_room(BUFFER_BYTES * 2));
        buffer.append(b"tail");
        assert!(buffer.filled().ends_with(b"tail"));
    }

    #[test]
    fn only_buffers_of_the_usual_sizes_are_kept() {
        let buffers = Buffers::default();
        buffers.give(Buffer::with_bytes(1));
        buffers.give(Buffer::with_bytes(BUFFER_BYTES));
        assert_eq!((buffers.receive.borrow().len(), buffers.large.borrow().len()), (1, 0));
        for bytes in [0, 1, WRITE_BUFFER_BYTES - 1, BUFFER_BYTES + 1] {
            buffers.give_write(Vec::with_capacity(bytes));
        }
        assert_eq!(buffers.write.borrow().len(), 0);
        buffers.give_write(buffers.take_write());
        assert_eq!(buffers.write.borrow().len(), 1);
    }
}
