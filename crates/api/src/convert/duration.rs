//! Durations as they are written.

/// Parts a duration may have, and digits each may have (Gateway API, GEP-2257).
const PARTS_MAX: usize = 4;
const DIGITS_MAX: usize = 5;

/// Milliseconds of a duration of the Gateway API: `1h`, `1m30s`, `500ms`.
pub(super) fn gateway_api_ms(text: &str) -> Option<u64> {
    milliseconds(text, |_| None)
}

/// Likewise, and days: `30d`.
pub(super) fn with_days_ms(text: &str) -> Option<u64> {
    milliseconds(text, |unit| (unit == "d").then_some(86_400_000))
}

fn milliseconds(text: &str, longer: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut rest = text;
    let mut total = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let units = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(units);
        let milliseconds = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => longer(unit)?,
        };
        if digits > DIGITS_MAX {
            return None;
        }
        total += number.parse::<u64>().ok()? * milliseconds;
        parts += 1;
        rest = tail;
    }
    (1..=PARTS_MAX).contains(&parts).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_gateway_api_writes_them() {
        for (text, milliseconds) in [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("123456s", None),
            ("1s1s1s1s1s", None),
        ] {
            assert_eq!(gateway_api_ms(text), milliseconds, "{text}");
        }
    }

    #[test]
    fn days_are_known_where_they_are_asked_for() {
        assert_eq!(with_days_ms("30d"), Some(30 * 86_400_000));
        assert_eq!(with_days_ms("1d12h"), Some(36 * 3_600_000));
        assert_eq!(with_days_ms("1w"), None);
    }
}
