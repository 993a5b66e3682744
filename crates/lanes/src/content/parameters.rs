//! The parameters a group's conditions read, all taken from a request in one pass over its parts.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{
    Request,
    condition::Parameter,
    values::{
        address_text, cookie_pairs, decode_percent, decode_query, query_pairs, trim, trimmed,
    },
};

/// Distinct parameters, by number, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    count: u32,
    headers: Names,
    queries: Names,
    cookies: Names,
    /// Those that are read without searching for a name.
    others: Vec<(Parameter, u32)>,
}

/// The values a request has, by parameter. Large: it is filled where it lies.
#[derive(Debug, Default)]
pub(super) struct Read<'r> {
    /// By parameter: one more than the index of its value; 0 when it is absent.
    newest: SmallVec<[u32; 64]>,
    values: SmallVec<[Value<'r>; 16]>,
}

#[derive(Debug)]
struct Value<'r> {
    parameter: u32,
    /// Another value of the same parameter, as in [`Read::newest`].
    earlier: u32,
    bytes: Cow<'r, [u8]>,
}

impl Parameters {
    /// The number of a parameter; a new one if it is new.
    pub(super) fn number(&mut self, parameter: &Parameter) -> u32 {
        let next = self.count;
        let number = match parameter {
            Parameter::Header(name) => self.headers.number(&name.to_ascii_lowercase(), next),
            Parameter::Query(name) => self.queries.number(name, next),
            Parameter::Cookie(name) => self.cookies.number(name, next),
            other => match self.others.iter().find(|(have, _)| have == other) {
                Some((_, number)) => *number,
                None => {
                    self.others.push((other.clone(), next));
                    next
                }
            },
        };
        self.count = next.max(number + 1);
        number
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reads everything that is asked for. What it takes does not grow with the number of parameters.
    pub(super) fn read<'r>(&self, request: &'r impl Request, read: &mut Read<'r>) {
        read.newest.resize(self.count as usize, 0);
        let wants_cookies = !self.cookies.is_empty();
        if wants_cookies || !self.headers.is_empty() {
            for (name, value) in request.headers() {
                if let Some(number) = self.headers.find(name, <[u8]>::eq_ignore_ascii_case) {
                    read.push(number, Cow::Borrowed(trim(value)));
                }
                if wants_cookies && name.eq_ignore_ascii_case(b"cookie") {
                    for (name, value) in cookie_pairs(value) {
                        if let Some(number) = self.cookies.find(name, <[u8]>::eq) {
                            read.push(number, trimmed(decode_percent(value)));
                        }
                    }
                }
            }
        }
        if !self.queries.is_empty() {
            for (name, value) in query_pairs(request.query()) {
                if let Some(number) = self.queries.find(&decode_query(name), <[u8]>::eq) {
                    read.push(number, trimmed(decode_query(value)));
                }
            }
        }
        for (parameter, number) in &self.others {
            match parameter {
                Parameter::Claim(name) => {
                    if let Some(value) = request.claim(name) {
                        read.push(*number, Cow::Borrowed(trim(value.as_bytes())));
                    }
                }
                Parameter::Path => read.push(*number, Cow::Borrowed(request.path().as_bytes())),
                Parameter::Method => read.push(*number, Cow::Borrowed(request.method().as_bytes())),
                Parameter::Host => read.push(*number, Cow::Borrowed(request.host().as_bytes())),
                Parameter::ClientIp => {
                    read.push(*number, Cow::Owned(address_text(request.client_ip()).to_vec()));
                }
                // Found by name above.
                Parameter::Header(_) | Parameter::Query(_) | Parameter::Cookie(_) => {}
            }
        }
    }
}

impl<'r> Read<'r> {
    /// The values of one parameter, the last one first.
    pub(super) fn values(&self, parameter: u32) -> impl Iterator<Item = &[u8]> + Clone {
        let mut next = self.newest[parameter as usize];
        std::iter::from_fn(move || {
            let value = self.values.get((next as usize).checked_sub(1)?)?;
            next = value.earlier;
            Some(&*value.bytes)
        })
    }

    /// Every value with the number of its parameter.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.values.iter().map(|value| (value.parameter, &*value.bytes))
    }

    fn push(&mut self, parameter: u32, bytes: Cow<'r, [u8]>) {
        let newest = &mut self.newest[parameter as usize];
        self.values.push(Value { parameter, earlier: *newest, bytes });
        *newest = self.values.len() as u32;
    }
}

/// Names to numbers, for many look-ups that nearly all miss. An open-addressed table, at most half full.
#[derive(Debug, Default)]
struct Names {
    names: Vec<(Box<[u8]>, u32)>,
    /// One more than an index into `names`; 0 is free. A power of two long.
    slots: Vec<u32>,
    /// Bit `n % 64` is set if a name has `n` bytes: most names of a request are no longer looked up.
    lengths: u64,
}

impl Names {
    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of `name`; `next` if it is new.
    fn number(&mut self, name: &str, next: u32) -> u32 {
        if let Some(known) = self.find(name.as_bytes(), <[u8]>::eq) {
            return known;
        }
        self.names.push((name.as_bytes().into(), next));
        self.lengths |= 1 << (name.len() % 64);
        self.slots = vec![0; (self.names.len() * 2).next_power_of_two()];
        for (index, (name, _)) in self.names.iter().enumerate() {
            let mut at = hash(name) as usize & (self.slots.len() - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = index as u32 + 1;
        }
        next
    }

    fn find(&self, name: &[u8], is_equal: impl Fn(&[u8], &[u8]) -> bool) -> Option<u32> {
        if self.lengths & (1 << (name.len() % 64)) == 0 {
            return None;
        }
        let mut at = hash(name) as usize & (self.slots.len() - 1);
        while let Some(index) = self.slots[at].checked_sub(1) {
            let (have, number) = &self.names[index as usize];
            if is_equal(have, name) {
                return Some(*number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// A hash that takes upper and lower case for the same, of the first and the last eight bytes. Only
/// operators put names into the table, so it need not resist anyone.
fn hash(name: &[u8]) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let load = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word) | LOWER
    };
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            (u64::from_le_bytes(*first) | LOWER, u64::from_le_bytes(*last) | LOWER)
        }
        _ => (load(name), name.len() as u64),
    };
    let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ last.rotate_left(29).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    mixed ^ (mixed >> 32)
}
