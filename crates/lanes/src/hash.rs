//! XXH64, seed 0, over UTF-8 bytes: the same in gateway, sidecar, agent and `explain`. The vectors other
//! languages check against are `crates/lanes/tests/vectors/hash.json`.

use xxhash_rust::xxh64::xxh64;

/// The hash of a value.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}
