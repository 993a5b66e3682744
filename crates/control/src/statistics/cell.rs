//! What was counted of one series in one span of time, and how it is kept: a handful of bytes.

use bytes::{Buf, BufMut};
use prost::encoding::{decode_varint, encode_varint};
use telemetry::sketch::BUCKETS;

/// Classes of codes, and what a series that counts no requests counts instead.
pub(crate) const CLASSES: usize = 6;

/// Requests by the class of their code (0: no answer), the sum of their durations, and these in the buckets of a
/// [`telemetry::sketch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) classes: [u64; CLASSES],
    pub(crate) sum_us: u64,
    pub(crate) sketch: [u32; BUCKETS],
}

impl Default for Cell {
    fn default() -> Self {
        Self { classes: [0; CLASSES], sum_us: 0, sketch: [0; BUCKETS] }
    }
}

impl Cell {
    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().fold(0, |sum, class| sum.saturating_add(*class))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.classes == [0; CLASSES]
    }

    /// Adds requests of one class by their buckets, written as in a `TrafficSample`. What is no bucket is left out.
    pub(crate) fn count(&mut self, class: usize, sum_us: u64, buckets: &[u32]) {
        let mut bucket = 0_usize;
        for pair in buckets.chunks_exact(2).take(BUCKETS) {
            bucket = bucket.saturating_add(pair[0] as usize);
            let Some(sum) = self.sketch.get_mut(bucket) else { break };
            *sum = sum.saturating_add(pair[1]);
            self.classes[class] = self.classes[class].saturating_add(pair[1].into());
        }
        self.sum_us = self.sum_us.saturating_add(sum_us);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.classes.iter_mut().zip(&other.classes) {
            *sum = sum.saturating_add(*more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (sum, more) in self.sketch.iter_mut().zip(&other.sketch) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// Writes it: which classes there are, how many of each, the sum, and the buckets that are not empty.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let classes = self.classes.iter().enumerate();
        into.put_u8(classes.filter(|(_, count)| **count > 0).fold(0, |set, (at, _)| set | 1 << at));
        for count in self.classes.iter().filter(|count| **count > 0) {
            encode_varint(*count, into);
        }
        encode_varint(self.sum_us, into);
        let buckets = self.sketch.iter().enumerate().filter(|(_, count)| **count > 0);
        encode_varint(buckets.clone().count() as u64, into);
        let mut last = 0;
        for (bucket, count) in buckets {
            encode_varint((bucket - last) as u64, into);
            encode_varint((*count).into(), into);
            last = bucket;
        }
    }

    /// Reads one off the front, and adds it where it belongs. `None`: these bytes are no cell.
    pub(crate) fn read(from: &mut &[u8], mut into: Option<&mut Self>) -> Option<()> {
        let set = from.has_remaining().then(|| from.get_u8())?;
        for class in (0..CLASSES).filter(|class| set & 1 << class != 0) {
            let count = decode_varint(from).ok()?;
            if let Some(cell) = &mut into {
                cell.classes[class] = cell.classes[class].saturating_add(count);
            }
        }
        let sum_us = decode_varint(from).ok()?;
        if let Some(cell) = &mut into {
            cell.sum_us = cell.sum_us.saturating_add(sum_us);
        }
        let mut bucket = 0_usize;
        for _ in 0..decode_varint(from).ok()? {
            bucket = bucket.checked_add(usize::try_from(decode_varint(from).ok()?).ok()?)?;
            let count = u32::try_from(decode_varint(from).ok()?).ok()?;
            if bucket >= BUCKETS {
                return None;
            }
            if let Some(cell) = &mut into {
                cell.sketch[bucket] = cell.sketch[bucket].saturating_add(count);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_adds_up() {
        let mut cell = Cell::default();
        cell.count(2, 4_000, &[10, 3, 5, 1]);
        cell.count(5, 900_000, &[80, 2]);
        let mut bytes = Vec::new();
        cell.write(&mut bytes);
        assert!(bytes.len() < 20, "{} bytes", bytes.len());
        let mut sum = Cell::default();
        for _ in 0..2 {
            let mut rest = &bytes[..];
            Cell::read(&mut rest, Some(&mut sum)).unwrap();
            assert!(rest.is_empty());
        }
        assert_eq!((sum.requests(), sum.sum_us, sum.sketch[15]), (12, 1_808_000, 2));
        let mut twice = cell.clone();
        twice.add(&cell);
        assert_eq!(twice, sum);
    }

    #[test]
    fn what_is_no_cell_is_not_read() {
        let mut cell = Cell::default();
        cell.count(2, 1, &[85, 7]);
        let mut bytes = Vec::new();
        cell.write(&mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(Cell::read(&mut &bytes[..end], None), None, "{end} bytes");
        }
        let beyond = [0, 0, 1, 86, 1];
        assert_eq!(Cell::read(&mut &beyond[..], None), None);
    }

    #[test]
    fn buckets_that_do_not_exist_count_nothing() {
        let mut cell = Cell::default();
        cell.count(2, 0, &[85, 1, 1, 5, 7]);
        assert_eq!(cell.requests(), 1);
    }
}
