//! Reads the values of one parameter from a request: trimmed, decoded, in order of appearance.

use std::{borrow::Cow, io::Write as _, net::IpAddr};

use smallvec::SmallVec;

use crate::{Request, condition::Parameter};

/// Values of one parameter. Nearly always none or one.
pub(crate) type Values<'r> = SmallVec<[Cow<'r, [u8]>; 1]>;

/// Every value that `parameter` has in `request`; none when it is absent. A value may be empty and present.
pub(crate) fn read<'r>(parameter: &Parameter, request: &'r impl Request) -> Values<'r> {
    let mut values = Values::new();
    match parameter {
        Parameter::Header(name) => values.extend(
            request
                .headers()
                .filter(|(have, _)| have.eq_ignore_ascii_case(name.as_bytes()))
                .map(|(_, value)| Cow::Borrowed(trim(value))),
        ),
        Parameter::Query(name) => values.extend(
            query_pairs(request.query())
                .filter(|(have, _)| is_named(have, name, decode_query))
                .map(|(_, value)| trimmed(decode_query(value))),
        ),
        Parameter::Cookie(name) => values.extend(
            request
                .headers()
                .filter(|(have, _)| have.eq_ignore_ascii_case(b"cookie"))
                .flat_map(|(_, value)| cookie_pairs(value))
                .filter(|(have, _)| *have == name.as_bytes())
                .map(|(_, value)| trimmed(decode_percent(value))),
        ),
        Parameter::Claim(name) => {
            values.extend(request.claim(name).map(|value| Cow::Borrowed(trim(value.as_bytes()))));
        }
        Parameter::Path => values.push(Cow::Borrowed(request.path().as_bytes())),
        Parameter::Method => values.push(Cow::Borrowed(request.method().as_bytes())),
        Parameter::Host => values.push(Cow::Borrowed(request.host().as_bytes())),
        Parameter::ClientIp => values.push(Cow::Owned(address_text(request.client_ip()).to_vec())),
    }
    values
}

/// Surrounding spaces and tabs do not count.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The text of an address as conditions compare it: an IPv4 address in IPv6 clothes is shown as IPv4.
pub(crate) fn address_text(address: IpAddr) -> SmallVec<[u8; ADDRESS_BYTES_MAX]> {
    let mut text = [0; ADDRESS_BYTES_MAX];
    let mut rest = &mut text[..];
    // Cannot fail: the longest address fits.
    let _ = write!(rest, "{}", address.to_canonical());
    let length = ADDRESS_BYTES_MAX - rest.len();
    SmallVec::from_slice(&text[..length])
}

/// The longest text of an IPv6 address: eight groups of four digits, seven colons.
const ADDRESS_BYTES_MAX: usize = 39;

/// Raw names and values of a query.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.as_bytes().split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(split_pair)
}

/// Raw names and values of one `cookie` header.
pub(crate) fn cookie_pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|byte| *byte == b';').map(trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = split_pair(pair);
        (trim(name), trim(value))
    })
}

/// Splits at the first `=`; without one the value is empty.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[]),
    }
}

fn is_named(raw: &[u8], name: &str, decode: impl Fn(&[u8]) -> Cow<'_, [u8]>) -> bool {
    *decode(raw) == *name.as_bytes()
}

pub(crate) fn decode_percent(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    percent_encoding::percent_decode(raw).into()
}

/// Like [`decode_percent`], and `+` is a space.
pub(crate) fn decode_query(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

pub(crate) fn trimmed(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(trim(value)),
        Cow::Owned(value) => Cow::Owned(trim(&value).to_vec()),
    }
}
