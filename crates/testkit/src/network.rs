//! A loopback network of one's own: `127.x.y.0/24`, so that tests never meet each other's addresses.

use std::net::TcpListener;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

/// How many places this process has looked at. It never claims a network again: what a test leaves running until the
/// process ends, such as a relay, must not meet the next test.
static LOOKED_AT: Mutex<u32> = Mutex::new(0);

/// A network is taken by whoever holds this port on its last address.
const CLAIM_PORT: u16 = 39_999;

/// Second bytes of the networks handed out: far from `127.0`, where demonstrations and people are.
const SECOND_BYTES: std::ops::Range<u32> = 64..128;

/// One claimed `127.x.y.0/24`; free again when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    _claim: TcpListener,
}

impl Network {
    /// Claims a network that nobody holds.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn claim() -> Result<Self> {
        let count = (SECOND_BYTES.end - SECOND_BYTES.start) * 256;
        // Processes started together start looking at different places.
        let start = std::process::id().wrapping_mul(97);
        let mut looked_at = LOOKED_AT.lock();
        (*looked_at..count)
            .find_map(|step| {
                *looked_at = step + 1;
                let number = start.wrapping_add(step) % count;
                let prefix = format!("127.{}.{}", SECOND_BYTES.start + number / 256, number % 256);
                let claim = TcpListener::bind(format!("{prefix}.254:{CLAIM_PORT}")).ok()?;
                Some(Self { prefix, _claim: claim })
            })
            .context("claim a loopback network: all are taken")
    }

    /// The address of a host of this network.
    #[must_use]
    pub(crate) fn host(&self, number: u8) -> String {
        format!("{}.{number}", self.prefix)
    }

    /// An endpoint on a host of this network.
    #[must_use]
    pub(crate) fn endpoint(&self, number: u8, port: u16) -> String {
        format!("{}.{number}:{port}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_differ_also_from_those_that_are_over() {
        let hosts: std::collections::BTreeSet<_> =
            (0..20).map(|_| Network::claim().unwrap().host(1)).collect();
        assert_eq!(hosts.len(), 20);
    }
}
