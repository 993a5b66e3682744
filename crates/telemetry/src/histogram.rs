//! Durations, counted in fixed buckets.

use std::time::Duration;

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

/// Counts per bucket (not cumulative; the last is above all bounds) and the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    /// How many fell in each bucket.
    pub buckets: [u64; BOUNDS_NANOSECONDS.len() + 1],
    /// Sum of all durations. 64 bits of nanoseconds are 584 years of request time.
    pub sum_nanoseconds: u64,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOSECONDS.iter().position(|bound| nanoseconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS_NANOSECONDS.len())] += 1;
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds another histogram to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
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
