//! Which services are at an address: a directory's largest table, so its entries are small.
//!
//! Nearly every address is one instance of one service and nothing else is known of it. Such an entry takes 24 bytes,
//! of 10 000 instances half a megabyte; what is rarer stands behind a pointer.

use std::{
    hash::Hash,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    slice,
};

use crate::{ServiceId, sharded::Sharded};

/// What is known of every address. Two tables, because an address of the fourth version takes a fifth of what has
/// room for both.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    v4: Sharded<SocketAddrV4, Known>,
    v6: Sharded<SocketAddrV6, Known>,
}

/// What is known of one address.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// One service has an endpoint here; nothing was asked.
    One(ServiceId),
    /// Anything else.
    More(Box<Facts>),
}

/// The same, as it is changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// What the control plane answered, sorted.
    pub(super) answer: Option<Vec<ServiceId>>,
    /// Services with an endpoint here, sorted.
    pub(super) services: Vec<ServiceId>,
}

impl Addresses {
    pub(super) fn get(&self, address: SocketAddr) -> Option<&Known> {
        match address {
            SocketAddr::V4(address) => self.v4.get(&address),
            SocketAddr::V6(address) => self.v6.get(&address),
        }
    }

    /// Changes what is known of an address; of which nothing is known then, is not kept.
    pub(super) fn change(&mut self, address: SocketAddr, change: impl FnOnce(&mut Facts)) {
        match address {
            SocketAddr::V4(address) => change_in(&mut self.v4, address, change),
            SocketAddr::V6(address) => change_in(&mut self.v6, address, change),
        }
    }
}

fn change_in<A: Hash + Eq + Clone>(
    table: &mut Sharded<A, Known>,
    address: A,
    change: impl FnOnce(&mut Facts),
) {
    let mut facts = table.get(&address).map(Known::facts).unwrap_or_default();
    change(&mut facts);
    match Known::from_facts(facts) {
        Some(known) => table.insert(address, known),
        None => table.remove(&address),
    };
}

impl Known {
    /// The services it belongs to. What was answered outweighs the endpoints.
    pub(super) fn services(&self) -> &[ServiceId] {
        match self {
            Self::One(service) => slice::from_ref(service),
            Self::More(facts) => facts.answer.as_ref().unwrap_or(&facts.services),
        }
    }

    /// Whether the control plane was asked, and has answered.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Self::More(facts) if facts.answer.is_some())
    }

    fn facts(&self) -> Facts {
        match self {
            Self::One(service) => Facts { answer: None, services: vec![service.clone()] },
            Self::More(facts) => (**facts).clone(),
        }
    }

    /// `None` where there is nothing to know.
    fn from_facts(mut facts: Facts) -> Option<Self> {
        match (&facts.answer, &*facts.services) {
            (None, []) => None,
            (None, [_]) => facts.services.pop().map(Self::One),
            _ => Some(Self::More(facts.into())),
        }
    }
}

/// A table of 10 000 addresses is held twice while a picture replaces another.
const _: () = assert!(size_of::<(SocketAddrV4, Known)>() == 24);
