//! The gateway and the sidecar over real sockets: the tests play clients and instances byte by byte.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod access_log;
mod addresses;
mod bodies;
mod coming_back;
mod connections;
mod cuts;
mod differential;
mod dubbo;
mod entrance;
mod http2;
mod hung;
mod lanes;
mod lifecycle;
mod misrouted;
mod origin;
mod ports;
mod requirements;
mod retries;
mod reuse;
mod sidecar;
mod smuggling;
mod sticky;
mod strict;
mod suites;
mod tap;
mod tls;
mod traced;
mod transparent;
mod upstream_tls;
mod world;
