//! The clients' side: a codec per protocol.

pub(crate) mod h1;
