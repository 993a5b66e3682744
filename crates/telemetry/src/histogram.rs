//! Durations, counted in fixed buckets.

use std::time::Duration;

/// Upper bounds of the buckets in nanoseconds: those OpenTelemetry recommends for HTTP durations (5 ms to 10 s),
/// and three below, because a hop through a proxy is often faster than 5 ms.
pub const BOUNDS_NANOSECONDS: [u64; 17] = [
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
    pub fn observe(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOSECONDS.iter().position(|bound| nanoseconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS_NANOSECONDS.len())] += 1;
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds another histogram to this one.
    pub fn add(&mut self, other: &Self) {
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
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanoseconds as f64 / 1e9
    }

    /// The duration in seconds that `quantile` (0..=1) of all stayed below: the bucket's upper bound, infinite for
    /// the last. `None` when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = (quantile.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= wanted {
                return Some(
                    BOUNDS_NANOSECONDS
                        .get(index)
                        .map_or(f64::INFINITY, |bound| *bound as f64 / 1e9),
                );
            }
        }
        None
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

    #[test]
    fn quantiles_are_upper_bounds() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for _ in 0..99 {
            histogram.observe(Duration::from_millis(2));
        }
        histogram.observe(Duration::from_secs(60));
        assert_eq!(histogram.quantile(0.5), Some(0.0025));
        assert_eq!(histogram.quantile(0.99), Some(0.0025));
        assert_eq!(histogram.quantile(1.0), Some(f64::INFINITY));
    }
}
