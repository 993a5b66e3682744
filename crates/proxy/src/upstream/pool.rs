//! Connections to instances that wait for their next request: one pool per thread, last in first out.

use std::{
    cell::{Cell, RefCell},
    hash::{Hash, Hasher},
    net::SocketAddr,
    rc::Rc,
};

use hashbrown::HashMap;

use crate::{tls::believed::Believed, transport::Connection};

/// Waiting connections per address and thread: what one address is worth keeping after a burst.
pub(crate) const IDLE_PER_ADDRESS_MAX: usize = 256;

/// How long a connection may wait. Below the 60 s and 75 s after which common servers close, so that we close first.
pub(crate) const IDLE_MS_MAX: u64 = 50_000;

/// Where a connection leads, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// In TLS with those who are believed; none is in the clear.
    pub(crate) tls: Option<Believed>,
}

/// In one write where the address is of IPv4: each request hashes its place twice. Those who are believed tell few places
/// apart that the address does not.
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.address {
            SocketAddr::V4(address) => {
                let host = u64::from(address.ip().to_bits());
                state.write_u64(host << 16 | u64::from(address.port()));
            }
            SocketAddr::V6(address) => {
                state.write_u128(address.ip().to_bits());
                state.write_u16(address.port());
            }
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

#[derive(Debug)]
struct Idle {
    connection: Rc<Connection>,
    since_ms: u64,
}

/// The waiting connections of one thread.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    by_place: RefCell<HashMap<Place, Vec<Idle>>>,
    idle: Cell<usize>,
    closed: Cell<bool>,
}

impl Pool {
    /// The connection that was given back last, if it is still good.
    pub(crate) fn take(&self, place: Place) -> Option<Rc<Connection>> {
        let mut by_place = self.by_place.borrow_mut();
        let waiting = by_place.get_mut(&place)?;
        while let Some(idle) = waiting.pop() {
            self.idle.set(self.idle.get() - 1);
            // Bytes nobody asked for would be taken for the answer to the next request.
            if idle.connection.is_quiet() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Whether a good connection waits.
    pub(crate) fn has(&self, place: impl Into<Place>) -> bool {
        let by_place = self.by_place.borrow();
        let latest = by_place.get(&place.into()).and_then(|waiting| waiting.last());
        latest.is_some_and(|idle| idle.connection.is_quiet())
    }

    /// Gives a connection back for reuse.
    pub(crate) fn give(&self, place: impl Into<Place>, connection: Rc<Connection>, now_ms: u64) {
        if self.closed.get() {
            return;
        }
        let place = place.into();
        let mut by_place = self.by_place.borrow_mut();
        let waiting = match by_place.get_mut(&place) {
            Some(waiting) => waiting,
            None => by_place.entry(place).or_default(),
        };
        if waiting.len() < IDLE_PER_ADDRESS_MAX {
            waiting.push(Idle { connection, since_ms: now_ms });
            self.idle.set(self.idle.get() + 1);
        }
    }

    /// Closes what has waited too long or was closed by the other side.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut left = 0;
        self.by_place.borrow_mut().retain(|_, waiting| {
            waiting
                .retain(|idle| idle.since_ms + IDLE_MS_MAX > now_ms && idle.connection.is_quiet());
            left += waiting.len();
            !waiting.is_empty()
        });
        self.idle.set(left);
    }

    /// Closes all connections to an address: it has gone, or fails.
    pub(crate) fn forget(&self, address: SocketAddr) {
        let mut gone = 0;
        self.by_place.borrow_mut().retain(|place, waiting| {
            let stays = place.address != address;
            gone += if stays { 0 } else { waiting.len() };
            stays
        });
        self.idle.set(self.idle.get() - gone);
    }

    /// Closes everything, and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.by_place.borrow_mut().clear();
        self.idle.set(0);
    }

    /// How many connections wait.
    pub(crate) fn idle(&self) -> usize {
        self.idle.get()
    }
}
