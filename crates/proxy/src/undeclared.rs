//! Ports that nobody has declared, on hosts of registered instances: what goes there goes past the lanes, and is told.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use telemetry::{Samples, names};

/// Ports that are told apart; an application calls far fewer that nobody meant. Of more the ones with the fewest connections
/// are forgotten.
const PORTS_MAX: usize = 64;

/// Connections to such ports, for whoever outlives or shares the proxy.
#[derive(Debug, Clone, Default)]
pub struct UndeclaredPorts(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    by_address: BTreeMap<SocketAddr, u64>,
    /// Those included that are not told apart.
    connections: u64,
}

impl UndeclaredPorts {
    /// Those that are told apart, as text, and how many connections there were to each.
    pub fn all(&self) -> Vec<(String, u64)> {
        let counted = self.0.lock();
        counted.by_address.iter().map(|(address, calls)| (address.to_string(), *calls)).collect()
    }

    /// Counts a connection; whether it is the first to this port, as far as that is known: once one was forgotten for
    /// another it is not.
    pub(crate) fn count(&self, address: SocketAddr) -> bool {
        let mut counted = self.0.lock();
        counted.connections += 1;
        if let Some(calls) = counted.by_address.get_mut(&address) {
            *calls += 1;
            return false;
        }
        let is_full = counted.by_address.len() >= PORTS_MAX;
        if is_full
            && let Some((fewest, _)) = counted.by_address.iter().min_by_key(|(_, calls)| **calls)
        {
            let fewest = *fewest;
            counted.by_address.remove(&fewest);
        }
        counted.by_address.insert(address, 1);
        !is_full
    }

    /// Adds their count.
    pub(crate) fn sample(&self, samples: &mut Samples) {
        samples.add(names::UNDECLARED, &[], self.0.lock().connections as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_apart_as_far_as_there_is_room() {
        let ports = UndeclaredPorts::default();
        let at = |port: usize| SocketAddr::from(([10, 0, 0, 1], port as u16));
        assert!(ports.count(at(1)));
        assert!(!ports.count(at(1)));
        let first: Vec<bool> = (1..=PORTS_MAX).map(|port| ports.count(at(port))).collect();
        assert!(!first[0] && first[1..].iter().all(|first| *first));
        // One more takes the place of one that was called less. Of those that take turns nothing is told.
        let more = PORTS_MAX + 1;
        assert!(!ports.count(at(more)) && !ports.count(at(more)));
        assert_eq!(ports.all().len(), PORTS_MAX);
        for (port, calls) in [(1, 3), (more, 2)] {
            assert!(ports.all().contains(&(at(port).to_string(), calls)), "{port}");
        }
        assert_eq!(ports.0.lock().connections, 4 + PORTS_MAX as u64);
    }
}
