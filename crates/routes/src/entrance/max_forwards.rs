//! How many more a request may be forwarded by: `Max-Forwards`, which is about OPTIONS and TRACE alone (RFC 9110 §7.6.2).

use super::{
    name::{Name, Names},
    seen::Head,
    written::Written,
};

/// What a request says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardsLeft {
    /// Nothing, or nothing that counts.
    Unlimited,
    /// Whoever has it answers it.
    None,
    /// As many behind the next hop.
    Some(u64),
}

/// What a request says of how far it may go.
#[inline]
pub fn forwards_left<'b>(head: &impl Head<'b>) -> ForwardsLeft {
    if head.names().contains(Name::MaxForwards) { read(head) } else { ForwardsLeft::Unlimited }
}

#[cold]
fn read<'b>(head: &impl Head<'b>) -> ForwardsLeft {
    if !matches!(head.method(), "OPTIONS" | "TRACE") {
        return ForwardsLeft::Unlimited;
    }
    // The least of several: nobody may go further than one of them lets it.
    let numbers = head.values(Name::MaxForwards).filter_map(number);
    match numbers.min() {
        None => ForwardsLeft::Unlimited,
        Some(0) => ForwardsLeft::None,
        Some(left) => ForwardsLeft::Some(left - 1),
    }
}

/// One that is larger than can be counted is so large that nobody counts it down.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX))
}

/// Says to the next hop how many it may still forward the request by.
pub fn write_forwards_left<'b>(
    head: &mut impl Head<'b>,
    left: ForwardsLeft,
    written: &mut Written,
) {
    let ForwardsLeft::Some(left) = left else { return };
    head.drop_named(Names::of(&[Name::MaxForwards]));
    written.push(Name::MaxForwards, left.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entrance::TextHead;

    #[test]
    fn options_and_trace_are_counted_down() {
        let many = u64::MAX.to_string() + "0";
        for (method, values, expected) in [
            ("OPTIONS", &["0"][..], ForwardsLeft::None),
            ("TRACE", &["000"], ForwardsLeft::None),
            ("TRACE", &["1"], ForwardsLeft::Some(0)),
            ("OPTIONS", &["7", "3"], ForwardsLeft::Some(2)),
            ("OPTIONS", &[many.as_str()], ForwardsLeft::Some(u64::MAX - 1)),
            ("OPTIONS", &["-1"], ForwardsLeft::Unlimited),
            ("OPTIONS", &[], ForwardsLeft::Unlimited),
            ("GET", &["0"], ForwardsLeft::Unlimited),
        ] {
            let fields = values.iter().map(|value| ("Max-Forwards", *value));
            let head = TextHead::read(method, "/", [("host", "a")].into_iter().chain(fields));
            assert_eq!(forwards_left(&head.unwrap()), expected, "{method} {values:?}");
        }
    }
}
