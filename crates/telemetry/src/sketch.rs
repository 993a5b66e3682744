//! A distribution of durations in fixed logarithmic buckets: sketches of threads, processes and seconds add up, and a
//! quantile of the sum is as exact as one of a part.
//!
//! Four buckets a doubling, so that a quantile is off by an eighth of its value at the most. The buckets are part of the
//! discovery protocol (`TrafficSample`): they never change.

/// How many buckets there are.
pub const BUCKETS: usize = 86;

/// Durations below this are one bucket: a hop on one machine takes about as long.
const LOWEST_BITS: u32 = 16;

/// Durations from this on are one bucket: 137 s, longer than anybody waits.
const HIGHEST_BITS: u32 = 37;

/// Which bucket a duration falls in.
pub const fn bucket_of(nanoseconds: u64) -> usize {
    if nanoseconds >> LOWEST_BITS == 0 {
        return 0;
    }
    let octave = u64::BITS - 1 - nanoseconds.leading_zeros();
    if octave >= HIGHEST_BITS {
        return BUCKETS - 1;
    }
    let quarter = (nanoseconds >> (octave - 2)) & 3;
    1 + (octave - LOWEST_BITS) as usize * 4 + quarter as usize
}

/// The least duration of a bucket, in nanoseconds. That of the one after the last is the last's.
pub const fn lower_bound(bucket: usize) -> u64 {
    match bucket {
        0 => 0,
        bucket if bucket >= BUCKETS => 1 << HIGHEST_BITS,
        bucket => {
            let octave = LOWEST_BITS + ((bucket - 1) / 4) as u32;
            (4 + ((bucket - 1) % 4) as u64) << (octave - 2)
        }
    }
}

/// The duration, in nanoseconds, that a share (0 to 1) of what was counted does not exceed; within a bucket durations are
/// taken to be spread evenly. `None` of nothing.
pub fn quantile(counts: &[u64], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = share.clamp(0.0, 1.0) * total as f64;
    let mut below = 0.0;
    let mut last = 0;
    for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (lower, upper) = (lower_bound(bucket) as f64, lower_bound(bucket + 1) as f64);
        let count = *count as f64;
        if below + count >= wanted {
            return Some(lower + (upper - lower) * ((wanted - below) / count));
        }
        below += count;
        last = bucket;
    }
    Some(lower_bound(last + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 1..BUCKETS {
            let bound = lower_bound(bucket);
            assert_eq!((bucket_of(bound - 1), bucket_of(bound)), (bucket - 1, bucket), "{bound}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn a_quantile_is_off_by_an_eighth_at_the_most() {
        for milliseconds in [1_u64, 3, 10, 47, 50, 100, 999, 30_000] {
            let mut counts = [0; BUCKETS];
            counts[bucket_of(milliseconds * 1_000_000)] = 1;
            let told = quantile(&counts, 0.5).unwrap() / 1e6;
            let off = (told - milliseconds as f64).abs() / milliseconds as f64;
            assert!(off <= 0.125, "{milliseconds} ms are told as {told} ms");
        }
    }

    #[test]
    fn a_quantile_of_a_sum_is_one_of_all_that_was_counted() {
        let (mut fast, mut slow) = ([0; BUCKETS], [0; BUCKETS]);
        fast[bucket_of(1_000_000)] = 98;
        slow[bucket_of(800_000_000)] = 2;
        let sum: Vec<u64> = fast.iter().zip(&slow).map(|(a, b)| a + b).collect();
        assert!(quantile(&sum, 0.5).unwrap() < 1.2e6);
        assert!(quantile(&sum, 0.99).unwrap() > 7e8);
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
    }
}
