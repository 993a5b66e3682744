//! What gRPC says beside HTTP: how long a caller waits, and what goes wrong, in a status of its own.

use std::time::Duration;

use super::hpack;

/// What begins the line of a message's type in the text of a head.
const TYPE_LINE: &[u8] = b"\r\ncontent-type: ";

/// The field that says how a call ended.
const STATUS: &[u8] = b"grpc-status";

/// Whether a message is gRPC's, by its `content-type`: not that of gRPC-Web, which says the same in another way.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    let after = content_type.strip_prefix(b"application/grpc");
    after.is_some_and(|after| matches!(after.first(), None | Some(b'+' | b';' | b' ' | b'\r')))
}

/// The same by the text of its head in HTTP/2, whatever is wrong with it.
pub(crate) fn is_head_of_grpc(text: &[u8]) -> bool {
    let at = memchr::memmem::find(text, TYPE_LINE);
    at.is_some_and(|at| is_grpc(&text[at + TYPE_LINE.len()..]))
}

/// Digits of a `grpc-timeout`, as its specification says.
const TIMEOUT_DIGITS_MAX: usize = 8;

/// How long a caller waits, by the value of `grpc-timeout`, in whole milliseconds. What cannot be read goes on as it came, and says nothing here:
/// libraries differ in what they make of it.
pub(crate) fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let is_number =
        (1..=TIMEOUT_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_millis(number.div_ceil(1_000)),
        b'n' => Duration::from_millis(number.div_ceil(1_000_000)),
        _ => return None,
    })
}

/// The value that says how long a caller waits, in the smallest unit that has digits enough for it, and never longer.
pub(crate) fn timeout_value(left_ms: u64) -> String {
    let largest = 10_u64.pow(TIMEOUT_DIGITS_MAX as u32) - 1;
    let units = [('m', 1), ('S', 1_000), ('M', 60_000), ('H', 3_600_000)];
    let fits = |(_, milliseconds): &(char, u64)| left_ms / milliseconds <= largest;
    let (unit, milliseconds) = units.into_iter().find(fits).unwrap_or(('H', 3_600_000));
    format!("{}{unit}", (left_ms / milliseconds).min(largest))
}

/// Appends what went wrong.
pub(crate) fn write_status(http: u16, text: &str, block: &mut Vec<u8>) {
    let status = status_of(http).to_string();
    hpack::write_field(b"grpc-status", status.as_bytes(), block);
    hpack::write_field(b"grpc-message", &message(text), block);
}

/// What lines of fields say of how a call ended.
pub(crate) fn status_in(lines: &[u8]) -> Option<u32> {
    let mut lines = lines.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let (name, value) = line.split_at_checked(STATUS.len())?;
        if !name.eq_ignore_ascii_case(STATUS) {
            return None;
        }
        std::str::from_utf8(value.strip_prefix(b":")?.trim_ascii()).ok()?.parse().ok()
    })
}

/// The status that says the same as one of HTTP, of the proxy's own answers.
pub(crate) fn status_of(http: u16) -> u8 {
    match http {
        // CANCELLED
        499 => 1,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 414 | 429 | 431 => 8,
        // UNIMPLEMENTED: no such method
        404 | 405 | 501 => 12,
        // INTERNAL
        400 | 417 | 500 | 505 | 508 => 13,
        // UNAVAILABLE: trying again may help
        421 | 502 | 503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // UNKNOWN
        _ => 2,
    }
}

/// A message as a field's value: what is no printable ASCII is percent-encoded.
fn message(text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => value.push(byte),
            _ => value.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (content_type, expected) in [
            (&b"application/grpc"[..], true),
            (b"application/grpc+proto", true),
            (b"application/grpc; charset=utf-8", true),
            (b"application/grpc-web", false),
            (b"application/grpc-web+proto", false),
            (b"application/json", false),
            (b"", false),
        ] {
            assert_eq!(is_grpc(content_type), expected, "{}", content_type.escape_ascii());
            let head = [b"POST / HTTP/1.1\r\ncontent-type: ", content_type, b"\r\n\r\n"].concat();
            assert_eq!(is_head_of_grpc(&head), expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn what_a_caller_waits_is_read_as_its_specification_writes_it() {
        for (value, milliseconds) in [
            (&b"1H"[..], Some(3_600_000)),
            (b"2M", Some(120_000)),
            (b"3S", Some(3_000)),
            (b"250m", Some(250)),
            (b"1500u", Some(2)),
            (b"1n", Some(1)),
            (b"0n", Some(0)),
            (b"0S", Some(0)),
            (b"00000007S", Some(7_000)),
            (b"99999999H", Some(99_999_999 * 3_600_000)),
            (b"123456789n", None),
            (b"", None),
            (b"S", None),
            (b"5", None),
            (b"5s", None),
            (b"5 S", None),
            (b" 5S", None),
            (b"+5S", None),
            (b"-5S", None),
            (b"1.5S", None),
            (b"1S2", None),
            (b"\xff\xffS", None),
        ] {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(timeout(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_is_left_of_it_is_written_in_eight_digits_and_never_more_than_it_is() {
        for (left_ms, expected) in [
            (0, "0m"),
            (1, "1m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (100_000_999, "100000S"),
            (100_000_000 * 1_000 - 1, "99999999S"),
            (100_000_000 * 1_000, "1666666M"),
            (100_000_000 * 60_000, "1666666H"),
            (99_999_999 * 3_600_000, "99999999H"),
            (u64::MAX, "99999999H"),
        ] {
            assert_eq!(timeout_value(left_ms), expected);
            assert!(timeout(expected.as_bytes()).unwrap() <= Duration::from_millis(left_ms));
        }
    }

    #[test]
    fn how_a_call_ended_is_read_from_its_trailers() {
        for (lines, expected) in [
            (&b"grpc-status: 0\r\n"[..], Some(0)),
            (b"x: 1\r\nGrpc-Status:14 \r\ngrpc-message: grpc-status\r\n", Some(14)),
            (b"grpc-status-details-bin: 7\r\n", None),
            (b"grpc-status: x\r\n", None),
            (b"", None),
        ] {
            assert_eq!(status_in(lines), expected, "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn messages_are_values_of_fields() {
        assert_eq!(message("no 100% ä\n"), b"no 100%25 %C3%A4%0A");
    }
}
