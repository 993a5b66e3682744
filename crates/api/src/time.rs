//! Moments as objects tell them.

use std::time::SystemTime;

/// A time as `creationTimestamp` tells it, e.g. `2026-11-24T06:30:00Z`: the second that has begun. A time that no
/// calendar reaches is the epoch.
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.0}", jiff::Timestamp::try_from(time).unwrap_or_default())
}

/// The same to the millisecond, e.g. `2026-11-24T06:30:00.042Z`.
pub fn rfc3339_millis(time: SystemTime) -> String {
    format!("{:.3}", jiff::Timestamp::try_from(time).unwrap_or_default())
}

/// The second of Unix time that a time in RFC 3339 is in; `None`: it is none, or before 1970.
pub fn unix_second(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_second_counts_from_its_beginning() {
        let almost_over = UNIX_EPOCH + Duration::from_millis(1_795_501_800_999);
        assert_eq!(rfc3339(almost_over), "2026-11-24T06:30:00Z");
        assert_eq!(rfc3339_millis(almost_over), "2026-11-24T06:30:00.999Z");
        for text in ["2026-11-24T06:30:00Z", "2026-11-24T08:30:00.999+02:00"] {
            assert_eq!(unix_second(text), Some(1_795_501_800), "{text}");
        }
        for text in ["1795501800", "2026-11-24", "now", "1969-12-31T23:59:59Z"] {
            assert_eq!(unix_second(text), None, "{text}");
        }
    }
}
