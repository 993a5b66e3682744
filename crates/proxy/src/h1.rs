//! HTTP/1.1 as bytes: heads, framing and bodies, without sockets, so that tests and fuzzers drive it directly.

pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod piece;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod target;
pub(crate) mod write;

#[cfg(any(test, fuzzing))]
mod oracle;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
