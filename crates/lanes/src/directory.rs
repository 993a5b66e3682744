//! Which service a name or an address means.
//!
//! A gateway's directory is complete; a sidecar's holds what it has asked for, so that "not known to exist"
//! ([`Lookup::Absent`]) and "never asked" ([`Lookup::Unsubscribed`]) are different answers.

use std::{net::SocketAddr, sync::Arc};

use crate::{Service, ServiceId};

/// What a name means.
#[derive(Debug, Clone)]
pub enum Lookup<'a> {
    /// This service.
    Known(&'a Arc<Service>),
    /// The control plane says that nobody has it.
    Absent,
    /// Several sources have it; their names, for the error.
    Ambiguous(&'a [String]),
    /// Nobody has asked yet: ask, and wait for a newer snapshot.
    Unsubscribed,
}

/// What an original destination means.
#[derive(Debug, Clone)]
pub enum AddressLookup<'a> {
    /// Services with an instance (or cluster address) there, sorted by id; more than one where shared.
    Known(&'a [ServiceId]),
    /// No service's address: pass through.
    Absent,
    /// Nobody has asked yet.
    Unsubscribed,
}

/// What the control plane answered about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameAnswer {
    /// One service.
    Service(ServiceId),
    /// None.
    Absent,
    /// Several sources have it.
    Ambiguous(Vec<String>),
}

/// Names, addresses and services. Built from deltas; services are shared between versions.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    // By name (lower-case), by address, by id; `complete` turns "not found" into Absent.
}

impl Directory {
    /// An empty directory. `complete`: what is not in it does not exist.
    pub fn new(complete: bool) -> Self {
        todo!("{complete}")
    }

    /// Adds or replaces a service. Its endpoints' addresses (both kinds) are indexed.
    pub fn insert(&mut self, service: Arc<Service>) {
        todo!("{service:?}")
    }

    /// Removes a service and its addresses.
    pub fn remove(&mut self, id: &ServiceId) {
        todo!("{id}")
    }

    /// Records what a host name means.
    pub fn answer_name(&mut self, name: &str, answer: NameAnswer) {
        todo!("{name} {answer:?}")
    }

    /// Records which services an address belongs to (none: absent). Covers departed addresses, which stay
    /// mapped for a while, and virtual addresses.
    pub fn answer_address(&mut self, address: SocketAddr, services: Vec<ServiceId>) {
        todo!("{address} {services:?}")
    }

    /// Forgets an answer, so that it is `Unsubscribed` again.
    pub fn forget_name(&mut self, name: &str) {
        todo!("{name}")
    }

    /// Forgets an answer, so that it is `Unsubscribed` again.
    pub fn forget_address(&mut self, address: SocketAddr) {
        todo!("{address}")
    }

    /// A service by identity.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        todo!("{id}")
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        std::iter::empty()
    }

    /// What a host name (any case, without port) means.
    pub fn by_name(&self, host: &str) -> Lookup<'_> {
        todo!("{host}")
    }

    /// What an original destination means.
    pub fn by_address(&self, address: SocketAddr) -> AddressLookup<'_> {
        todo!("{address}")
    }
}
