//! XXH64, seed 0, over UTF-8 bytes: the same in gateway, sidecar, agent and `explain`. The vectors other
//! languages check against are `crates/lanes/tests/vectors/hash.json`.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use xxhash_rust::xxh64::xxh64;

/// The hash of a value.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

/// A map for keys that operators wrote: faster than the standard one, and not hardened against chosen keys.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// See [`FastMap`].
#[derive(Debug, Default)]
pub(crate) struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh64(bytes, self.0);
    }

    /// Lengths, which come before the bytes.
    fn write_usize(&mut self, number: usize) {
        self.0 ^= number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
