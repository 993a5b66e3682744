//! Durations, counted in fixed buckets.

use std::time::Duration;

use crate::sketch;

/// Upper bounds of the buckets in nanoseconds: those OpenTelemetry recommends for HTTP durations (5 ms to 10 s),
/// and three below, because a hop through a proxy is often faster than 5 ms.
pub(crate) const BOUNDS_NANOSECONDS: [u64; 17] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Of each bucket of a sketch: which bounds are below it. Between its ends is at most one more.
const BOUNDS_BELOW: [u8; sketch::BUCKETS] = bounds_below();

const fn bounds_below() -> [u8; sketch::BUCKETS] {
    let mut below = [0; sketch::BUCKETS];
    let mut bucket = 0;
    while bucket < sketch::BUCKETS {
        let (lower, upper) = (sketch::lower_bound(bucket), sketch::lower_bound(bucket + 1));
        let (mut first, mut next) = (0, 0);
        while next < BOUNDS_NANOSECONDS.len() {
            if BOUNDS_NANOSECONDS[next] < lower {
                first = next + 1;
            }
            next += 1;
        }
        assert!(
            first + 1 >= BOUNDS_NANOSECONDS.len() || BOUNDS_NANOSECONDS[first + 1] >= upper,
            "two bounds are in one bucket"
        );
        below[bucket] = first as u8;
        bucket += 1;
    }
    below
}

/// Counts per bucket (not cumulative; the last is above all bounds), the sum, and the same in finer buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell in each bucket.
    pub buckets: [u64; BOUNDS_NANOSECONDS.len() + 1],
    /// Sum of all durations. 64 bits of nanoseconds are 584 years of request time.
    pub sum_nanoseconds: u64,
    /// How many fell in each bucket of a [`sketch`]. Wraps: two are compared before it has gone round.
    pub sketch: [u32; sketch::BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [0; BOUNDS_NANOSECONDS.len() + 1],
            sum_nanoseconds: 0,
            sketch: [0; sketch::BUCKETS],
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let fine = sketch::bucket_of(nanoseconds);
        self.sketch[fine] = self.sketch[fine].wrapping_add(1);
        let below = usize::from(BOUNDS_BELOW[fine]);
        let is_above = BOUNDS_NANOSECONDS.get(below).is_some_and(|bound| nanoseconds > *bound);
        self.buckets[below + usize::from(is_above)] += 1;
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds another histogram to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        for (mine, theirs) in self.sketch.iter_mut().zip(&other.sketch) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(other.sum_nanoseconds);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all durations in seconds.
    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_nanoseconds as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_buckets_count_the_same() {
        let ends = (0..sketch::BUCKETS).map(sketch::lower_bound).chain(BOUNDS_NANOSECONDS);
        for nanoseconds in ends.flat_map(|end| [end.saturating_sub(1), end, end + 1]) {
            let mut histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanoseconds));
            let expected = BOUNDS_NANOSECONDS.iter().filter(|bound| nanoseconds > **bound).count();
            assert_eq!(histogram.buckets[expected], 1, "{nanoseconds} ns");
            assert_eq!(histogram.sketch[sketch::bucket_of(nanoseconds)], 1, "{nanoseconds} ns");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_nanos(500_000));
        histogram.observe(Duration::from_nanos(500_001));
        histogram.observe(Duration::from_secs(10));
        histogram.observe(Duration::from_secs(11));
        assert_eq!(histogram.buckets[0], 1);
        assert_eq!(histogram.buckets[1], 1);
        assert_eq!(histogram.buckets[16], 1);
        assert_eq!(histogram.buckets[17], 1);
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum_seconds() - 21.001_000_001).abs() < 1e-9);
    }
}
