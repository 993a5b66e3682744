//! Which names and addresses mean something at all, in 8 bytes each: what is not in it is nobody's, and need not be
//! asked for. What is in it may be another's of the same hash, once in many billions: then it is asked for.

use std::net::{IpAddr, SocketAddr};

use crate::hash::hash;

/// All of them, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    hashes: Vec<u64>,
}

impl Digest {
    /// Of these hashes, in any order.
    pub fn new(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        Self { hashes }
    }

    /// This with some more and some less.
    #[must_use]
    pub fn changed(&self, added: &[u64], mut removed: Vec<u64>) -> Self {
        removed.sort_unstable();
        let kept = self.hashes.iter().filter(|hash| removed.binary_search(hash).is_err());
        Self::new(kept.chain(added).copied().collect())
    }

    /// Each of them.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }
}

/// Of a host name, lower-case.
pub fn of_name(name: &str) -> u64 {
    hash(name.as_bytes())
}

/// Of an address; IPv4 as itself, also where it is written as IPv6.
pub fn of_address(address: SocketAddr) -> u64 {
    hash(super::canonical(address).to_string().as_bytes())
}

/// Of a host on which registered instances are: as of an address without a port.
pub fn of_host(ip: IpAddr) -> u64 {
    of_address(SocketAddr::new(ip, 0))
}
