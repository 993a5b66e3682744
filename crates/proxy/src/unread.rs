//! Connections that a proxy cannot read, and so cannot keep in a lane, to services and to a sidecar's own application: counted
//! by service and protocol, and told.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use telemetry::{Role, Samples, names};

pub(crate) mod instances;

/// Services that are told apart; what an application calls is far fewer.
const SERVICES_MAX: usize = 256;

/// What stands for all services beyond these.
const OTHERS: &str = "others";

/// What a connection speaks, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tls,
    /// Whatever it is: the service says of its port that it passes unread.
    Tcp,
    /// Dubbo's own protocol, of which requests could not be read: they are counted instead of connections.
    Dubbo,
    /// No protocol of the web: nothing that lanes could be about.
    Other,
}

impl Protocol {
    pub(crate) fn of(first: &[u8]) -> Self {
        match first {
            // A handshake's record: its type, and a version that begins with 3.
            [0x16, 0x03, ..] => Self::Tls,
            _ => Self::Other,
        }
    }

    /// Whether it may carry requests that lanes are about, and nobody has said that it does not.
    pub fn is_of_the_web(self) -> bool {
        matches!(self, Self::Tls | Self::Dubbo)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Dubbo => "dubbo",
            Self::Other => "other",
        }
    }
}

/// Connections to services that passed unread, for whoever outlives or shares the proxy.
#[derive(Debug, Clone, Default)]
pub struct UnreadCalls(Arc<Mutex<BTreeMap<(String, Protocol), u64>>>);

impl UnreadCalls {
    /// All of them: service, protocol, connections.
    pub fn all(&self) -> Vec<(String, Protocol, u64)> {
        let counted = self.0.lock();
        counted
            .iter()
            .map(|((service, protocol), calls)| (service.clone(), *protocol, *calls))
            .collect()
    }

    /// Counts a connection; whether it is the first of its kind.
    pub(crate) fn count(&self, service: &str, protocol: Protocol) -> bool {
        let mut counted = self.0.lock();
        let is_full = counted.len() >= SERVICES_MAX;
        let key = (service.to_owned(), protocol);
        let key = match counted.contains_key(&key) || !is_full {
            true => key,
            false => (OTHERS.to_owned(), protocol),
        };
        let calls = counted.entry(key).or_default();
        *calls += 1;
        *calls == 1
    }

    /// Adds them, as those of what the proxy is to them.
    pub(crate) fn sample(&self, role: Role, samples: &mut Samples) {
        for (service, protocol, calls) in self.all() {
            let labels = [
                (names::label::ROLE, role.as_str()),
                (names::label::SERVICE, service.as_str()),
                (names::label::PROTOCOL, protocol.name()),
            ];
            samples.add(names::OPAQUE, &labels, calls as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_apart_as_far_as_there_is_room() {
        let calls = UnreadCalls::default();
        assert!(calls.count("sc-B", Protocol::Tls));
        assert!(!calls.count("sc-B", Protocol::Tls));
        for number in 0..2 * SERVICES_MAX {
            calls.count(&format!("s{number}"), Protocol::of(b"SSH-2.0"));
        }
        calls.count("sc-B", Protocol::of(b"\x16\x03\x01"));
        let all = calls.all();
        assert_eq!(all.len(), SERVICES_MAX + 1);
        assert!(all.contains(&("sc-B".to_owned(), Protocol::Tls, 3)));
        assert!(all.contains(&(OTHERS.to_owned(), Protocol::Other, SERVICES_MAX as u64 + 1)));
        assert_eq!(Protocol::of(b"*1\r\n"), Protocol::Other);
    }
}
