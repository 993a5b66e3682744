//! HTTP/1.1 as bytes: heads, framing and bodies, without sockets, so that tests and fuzzers drive it directly.

pub mod body;
pub mod fields;
pub mod head;
pub(crate) mod piece;
pub mod request;
pub mod response;
pub mod target;
pub(crate) mod write;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
