//! Moments as objects tell them.

use std::time::SystemTime;

/// A time as `creationTimestamp` tells it, e.g. `2026-11-24T06:30:00Z`: the second that has begun. A time that no
/// calendar reaches is the epoch.
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.0}", jiff::Timestamp::try_from(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_second_counts_from_its_beginning() {
        let almost_over = UNIX_EPOCH + Duration::from_millis(1_795_501_800_999);
        assert_eq!(rfc3339(almost_over), "2026-11-24T06:30:00Z");
    }
}
