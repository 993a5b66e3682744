//! Hosts as requests name them, in a form that compares: addresses as addresses, names in lower case without the dot
//! of the root.

use std::net::IpAddr;

use routes::entrance::{ip_of, is_valid_host, split_port};

/// Characters of somebody's text that a refusal shows again.
pub(super) const SHOWN_MAX: usize = 100;

/// A host, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    /// Reads a host without a port; IPv6 addresses in brackets or without.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(address) = ip_of(text) {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let usable = is_valid_host(name.as_bytes()) && !name.contains([':', '[']);
        // `127.0.0.1.` is the address still.
        match name.parse::<IpAddr>() {
            Ok(address) => Some(Self::Address(address)),
            Err(_) => usable.then(|| Self::Name(name.to_ascii_lowercase())),
        }
    }

    /// Whether no other machine can be meant: browsers and resolvers keep `localhost` on this one.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }
}

/// The host of a `Host` header or of a target's authority.
pub(crate) fn of_authority(authority: &str) -> Option<Host> {
    if !is_valid_host(authority.as_bytes()) {
        return None;
    }
    let (host, _) = split_port(authority.as_bytes());
    Host::parse(std::str::from_utf8(host).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_however_they_are_written() {
        let host = |text: &str| of_authority(text).unwrap();
        for (one, other) in [
            ("LOCALHOST", "localhost"),
            ("localhost.:7600", "localhost"),
            ("127.0.0.1:7600", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1"),
            ("[0:0::1]", "[::1]:7600"),
        ] {
            assert_eq!(host(one), host(other), "{one} {other}");
        }
        for loopback in ["localhost", "127.30.0.1", "[::1]", "[::ffff:127.1.2.3]"] {
            assert!(host(loopback).is_loopback(), "{loopback}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "192.0.2.1",
            "[::]",
            "localhost..",
            "xlocalhost",
        ] {
            assert!(!host(other).is_loopback(), "{other}");
        }
        for bad in ["", ":80", "evil@localhost", "localhost:x", "localhost:99999", "a b", "[::1"] {
            assert_eq!(of_authority(bad), None, "{bad}");
        }
    }
}
