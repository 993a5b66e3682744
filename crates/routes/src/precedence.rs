//! Which of two matches that both hold wins, once host and path are equally specific: the Gateway API's list,
//! continued on ties. Host and path come before it, by the order in which [`crate::host::HostMap`] and
//! [`crate::path::PathIndex`] are searched.

use std::{cmp::Ordering, sync::Arc};

use lanes::Request;

use crate::text::TextMatcher;

/// One match of one rule, compiled, without its path.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Index into the table's rules.
    pub(crate) rule: u32,
    /// What must hold besides host and path. Shared: a route may attach to many listeners under many hosts.
    pub(crate) conditions: Arc<Conditions>,
    /// Position of its route in order of age, then `namespace/name`.
    pub(crate) route_order: u32,
    /// Position of its rule in the route, then of the match in the rule.
    pub(crate) match_order: (u32, u32),
}

/// The parts of a match besides host and path; all must hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) method: Option<Box<str>>,
    pub(crate) headers: Vec<Named>,
    pub(crate) query: Vec<Named>,
}

/// A header or query parameter and what its value must be.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Box<str>,
    pub(crate) value: TextMatcher,
}

impl Candidate {
    /// Less is better: method match, most header matches, most query matches, older route, `namespace/name`,
    /// first rule, first match.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let rank = |candidate: &Self| {
            (
                candidate.conditions.method.is_none(),
                std::cmp::Reverse(candidate.conditions.headers.len()),
                std::cmp::Reverse(candidate.conditions.query.len()),
                candidate.route_order,
                candidate.match_order,
            )
        };
        rank(self).cmp(&rank(other))
    }
}

impl Conditions {
    pub(crate) fn hold(&self, request: &impl Request) -> bool {
        self.method.as_deref().is_none_or(|method| method == request.method())
            && self.headers.iter().all(|header| header_holds(header, request))
            && self.query.iter().all(|parameter| query_holds(parameter, request.query()))
    }
}

/// Of a field sent several times any value may satisfy, as in lane conditions.
fn header_holds(header: &Named, request: &impl Request) -> bool {
    let wanted = header.name.as_bytes();
    request
        .headers()
        .any(|(name, value)| name.eq_ignore_ascii_case(wanted) && header.value.matches(value))
}

/// Of a parameter given several times the first value counts, as the Gateway API recommends.
fn query_holds(parameter: &Named, query: &str) -> bool {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if with_decoded(name, |name| name == parameter.name.as_bytes()) {
            return with_decoded(value, |value| parameter.value.matches(value));
        }
    }
    false
}

/// Hands over the percent-decoded text, `+` as a space. What is not encoded is not copied.
fn with_decoded<R>(text: &str, ask: impl FnOnce(&[u8]) -> R) -> R {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return ask(text.as_bytes());
    }
    /// Longer values spill to the heap: rare, and right all the same.
    const DECODED_BYTES_INLINE: usize = 256;
    let mut spaced = smallvec::SmallVec::<[u8; DECODED_BYTES_INLINE]>::from_slice(text.as_bytes());
    spaced.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    let decoded: smallvec::SmallVec<[u8; DECODED_BYTES_INLINE]> =
        percent_encoding::percent_decode(&spaced).collect();
    ask(&decoded)
}
