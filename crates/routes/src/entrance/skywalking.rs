//! SkyWalking's `sw8` (Cross Process Propagation Headers Protocol, version 3).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use smallvec::SmallVec;

use super::{
    correlation_id::{CORRELATION_ID_BYTES_MAX, CorrelationId, is_valid_id},
    trace_parent::encode_hex,
};

/// Parts of a value: whether it is sampled, trace id, segment id, span id, service, instance, endpoint, address.
const PARTS: usize = 8;

/// Bytes of digits in a trace id made here, and of those in Base64.
const DIGITS: usize = 32;
const DIGITS_IN_BASE64: usize = 44;

/// Who calls, as it is shown by SkyWalking: `laneway` as service, instance, endpoint and address, none of which may be
/// empty.
const CALLER: &[u8] = b"-0-bGFuZXdheQ==-bGFuZXdheQ==-bGFuZXdheQ==-bGFuZXdheQ==";

/// Bytes of a value made here.
const VALUE_BYTES: usize = 2 + DIGITS_IN_BASE64 + 1 + DIGITS_IN_BASE64 + CALLER.len();

/// The trace id in a value, in plain; `None` where the value is none of SkyWalking's.
pub(super) fn trace_id(value: &[u8]) -> Option<CorrelationId> {
    let mut parts = value.split(|byte| *byte == b'-');
    let (sampled, trace) = (parts.next()?, parts.next()?);
    if !matches!(sampled, b"0" | b"1") || parts.count() != PARTS - 2 {
        return None;
    }
    // What does not fit, rounded up to three bytes, is longer than an id may be.
    let mut plain = [0; CORRELATION_ID_BYTES_MAX + 2];
    let length = BASE64_STANDARD.decode_slice(trace, &mut plain).ok()?;
    is_valid_id(&plain[..length]).then(|| SmallVec::from_slice(&plain[..length]))
}

/// A new value from random bytes: what begins here, sampled, so that SkyWalking's agents go on with it and keep it.
pub(super) fn create(random: [u8; 16]) -> [u8; VALUE_BYTES] {
    let (mut digits, mut text) = ([0; DIGITS], [0; DIGITS_IN_BASE64]);
    encode_hex(&random, &mut digits);
    let length = BASE64_STANDARD.encode_slice(digits, &mut text);
    debug_assert_eq!(length, Ok(DIGITS_IN_BASE64), "32 bytes are 44 in Base64");
    let mut value = [0; VALUE_BYTES];
    let mut at = 0;
    // The segment is the trace's first, and has its name.
    for part in [b"1-".as_slice(), &text, b"-", &text, CALLER] {
        value[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<&str>) {
        let found = trace_id(value.as_bytes());
        let found = found.as_deref().map(|id| std::str::from_utf8(id).unwrap());
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn a_trace_id_is_read_in_plain() {
        let of = |trace: &str| {
            format!("1-{trace}-U0VHSUQ=-3-U0VSVklDRQ==-SU5TVEFOQ0U=-L2FwcA==-YTo4MA==")
        };
        check(&of("ZWY5Ni4xMjMuMTY3"), Some("ef96.123.167"));
        check(&of("ZWY5Ni4xMjMuMTY3").replacen('1', "0", 1), Some("ef96.123.167"));
        // Not in Base64, empty, with a space, beyond what an id may be long.
        check(&of("ZWY5Ni4xMjMuMTY"), None);
        check(&of(""), None);
        check(&of("YSBi"), None);
        check(&of(&"YWFh".repeat(43)), None);
        check(&of(&"YWFh".repeat(42)), Some(&"a".repeat(126)));
        // Other versions of the protocol, and less than all of it.
        check("2-ZWY5Ni4xMjMuMTY3-U0VHSUQ=-3-UQ==-SQ==-LQ==-YQ==", None);
        check("1-ZWY5Ni4xMjMuMTY3-U0VHSUQ=-3-UQ==-SQ==-LQ==", None);
        check("", None);
    }

    #[test]
    fn what_is_made_here_is_read() {
        let made = create([7; 16]);
        check(std::str::from_utf8(&made).unwrap(), Some(&"07".repeat(16)));
        assert!(made.is_ascii() && made.ends_with(b"bGFuZXdheQ=="));
    }
}
