//! The instances' side: a codec per protocol, and the connections that wait for their next request.

pub(crate) mod h1;
pub(crate) mod pool;
