//! Ports that a gateway should listen on and cannot, told to the rest of the process.

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;

/// Ports that could not be bound at the last attempt, each with the reason.
#[derive(Debug, Clone, Default)]
pub struct UnboundPorts(Arc<Mutex<BTreeMap<u16, String>>>);

impl UnboundPorts {
    /// All of them, in order.
    pub fn all(&self) -> Vec<(u16, String)> {
        self.0.lock().iter().map(|(port, reason)| (*port, reason.clone())).collect()
    }

    /// Whether this was not known.
    pub(crate) fn failed(&self, port: u16, error: &io::Error) -> bool {
        self.0.lock().insert(port, error.to_string()).is_none()
    }

    /// Keeps those of which it still holds.
    pub(crate) fn retain(&self, holds: impl Fn(u16) -> bool) {
        self.0.lock().retain(|port, _| holds(*port));
    }
}
