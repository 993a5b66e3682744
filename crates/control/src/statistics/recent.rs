//! The latest seconds, in memory: all series of a second in one run of bytes.

use std::{collections::VecDeque, sync::Arc};

use prost::encoding::{decode_varint, encode_varint};

use super::cell::Cell;

/// Seconds that are kept.
pub(crate) const SECONDS_MAX: u64 = 15 * 60;

/// Bytes of all seconds; of more, the oldest are forgotten early. 10 000 series that are busy in every second take 15 bytes
/// each, 135 MB.
pub(crate) const BYTES_MAX: usize = 160 * 1024 * 1024;

/// One second, closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Unix time.
    pub(crate) second: u64,
    /// Data planes that could have told something.
    pub(crate) data_planes: u32,
    /// Numbers of series, each as its distance from the one before, and their cells.
    pub(crate) cells: Vec<u8>,
}

impl Frame {
    /// Adds a series; numbers come in order.
    pub(crate) fn write(&mut self, last: &mut u32, number: u32, cell: &Cell) {
        encode_varint((number - *last).into(), &mut self.cells);
        cell.write(&mut self.cells);
        *last = number;
    }

    /// Gives every series' number, and the bytes that begin with its cell, to `take`, which reads it off their front. What is
    /// spoilt ends it.
    pub(crate) fn read(&self, mut take: impl FnMut(u32, &mut &[u8]) -> Option<()>) {
        let (mut rest, mut number) = (&self.cells[..], 0_u32);
        while !rest.is_empty() {
            let Ok(distance) = decode_varint(&mut rest) else { return };
            number = number.wrapping_add(distance as u32);
            if take(number, &mut rest).is_none() {
                return;
            }
        }
    }

    /// The numbers of its series.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.read(|number, bytes| {
            numbers.push(number);
            Cell::read(bytes, None)
        });
        numbers
    }
}

/// The latest seconds.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn push(&mut self, frame: Frame) {
        self.bytes += size(&frame);
        let oldest = frame.second.saturating_sub(SECONDS_MAX);
        self.frames.push_back(Arc::new(frame));
        while self.frames.front().is_some_and(|it| it.second <= oldest || self.bytes > BYTES_MAX) {
            if let Some(gone) = self.frames.pop_front() {
                self.bytes -= size(&gone);
            }
        }
    }

    /// Those from a second on, in order.
    pub(crate) fn since(&self, second: u64) -> Vec<Arc<Frame>> {
        self.between(second, u64::MAX)
    }

    /// Those from a second to before another, in order.
    pub(crate) fn between(&self, from: u64, until: u64) -> Vec<Arc<Frame>> {
        self.frames.iter().filter(|it| (from..until).contains(&it.second)).cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(frame: &Frame) -> usize {
    frame.cells.capacity() + size_of::<Frame>()
}
