//! The clients' side: a codec per protocol.

pub(crate) mod h1;
pub(crate) mod h2;
