//! Which service a name or an address means.
//!
//! A gateway's directory is complete; a sidecar's holds what it has asked for, so that "not known to exist"
//! ([`Lookup::Absent`]) and "never asked" ([`Lookup::Unsubscribed`]) are different answers.

mod addresses;
pub mod digest;

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{Endpoint, Service, ServiceId, sharded::Sharded};
use addresses::{Addresses, Known};
use digest::Digest;

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

/// What is asked for where a look-up answers `Unsubscribed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// What a host name means.
    Name(String),
    /// What an address means.
    Address(SocketAddr),
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

/// Names, addresses and services. Built from deltas; what did not change is shared between versions.
///
/// Addresses are known from the services' endpoints, names only where the directory is complete: who has
/// asked for one service cannot tell whether its name is another's too. What was answered outweighs both.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    is_complete: bool,
    services: Sharded<ServiceId, Arc<Service>>,
    names: Sharded<Box<str>, Name>,
    addresses: Addresses,
    /// What there is at all; `None`: that was not told.
    digest: Option<Arc<Digest>>,
    nobody_answers: bool,
    /// Services that have an instance from which nothing is heard.
    silent_services: usize,
}

/// What is known of one name.
#[derive(Debug, Clone, Default)]
struct Name {
    answer: Option<NameAnswer>,
    /// Services of this name, sorted.
    services: Vec<ServiceId>,
    /// What several services of one name are told apart by.
    ambiguous: Vec<String>,
}

impl Directory {
    /// An empty directory. `complete`: what is not in it does not exist.
    pub fn new(complete: bool) -> Self {
        Self { is_complete: complete, ..Self::default() }
    }

    /// From now on what is not in this means nothing.
    pub fn set_digest(&mut self, digest: Option<Arc<Digest>>) {
        self.digest = digest;
    }

    /// What there is at all, if that was told.
    pub fn digest(&self) -> Option<&Arc<Digest>> {
        self.digest.as_ref()
    }

    /// Whether there is nobody now who could be asked.
    pub fn set_nobody_answers(&mut self, nobody_answers: bool) {
        self.nobody_answers = nobody_answers;
    }

    /// Whether there is nobody now who could be asked.
    pub fn nobody_answers(&self) -> bool {
        self.nobody_answers
    }

    /// Adds or replaces a service. Its endpoints' addresses (both kinds) are indexed, and in a complete
    /// directory its name.
    pub fn insert(&mut self, service: Arc<Service>) {
        let id = service.id().clone();
        let old = self.services.insert(id.clone(), Arc::clone(&service));
        self.silent_services += usize::from(service.has_silent());
        self.silent_services -= usize::from(old.as_ref().is_some_and(|old| old.has_silent()));
        let had = old.as_deref().map(addresses_of).unwrap_or_default();
        let has = addresses_of(&service);
        for address in had.iter().filter(|address| has.binary_search(address).is_err()) {
            self.remove_address(*address, &id);
        }
        for address in has.iter().filter(|address| had.binary_search(address).is_err()) {
            self.addresses.change(*address, |known| add_sorted(&mut known.services, &id));
        }
        let name = lower(service.name());
        if let Some(old) = old.filter(|old| lower(old.name()) != name) {
            self.remove_name(&lower(old.name()), &id);
        }
        let known = self.names.get(&*name).is_some_and(|known| known.services.contains(&id));
        if self.is_complete && !known {
            self.names.entry(name.into()).change(|services| add_sorted(services, &id));
        }
    }

    /// Removes a service and its addresses.
    pub fn remove(&mut self, id: &ServiceId) {
        let Some(old) = self.services.remove(id) else { return };
        self.silent_services -= usize::from(old.has_silent());
        for address in addresses_of(&old) {
            self.remove_address(address, id);
        }
        self.remove_name(&lower(old.name()), id);
    }

    /// Records what a host name means.
    pub fn answer_name(&mut self, name: &str, answer: NameAnswer) {
        self.names.entry(lower(name).into()).answer = Some(answer);
    }

    /// Records which services an address belongs to (none: absent). Covers departed addresses, which stay
    /// mapped for a while, and virtual addresses.
    pub fn answer_address(&mut self, address: SocketAddr, mut services: Vec<ServiceId>) {
        services.sort();
        services.dedup();
        self.addresses.change(address, |known| known.answer = Some(services));
    }

    /// Forgets an answer, so that it is `Unsubscribed` again.
    pub fn forget_name(&mut self, name: &str) {
        let name = lower(name);
        if self.names.get(&*name).is_none_or(|known| known.answer.is_none()) {
            return;
        }
        let known = self.names.entry((*name).into());
        known.answer = None;
        if known.services.is_empty() {
            self.names.remove(&*name);
        }
    }

    /// Forgets an answer, so that it is `Unsubscribed` again.
    pub fn forget_address(&mut self, address: SocketAddr) {
        // Nothing to forget: nothing to copy.
        if self.addresses.get(address).is_some_and(Known::is_answered) {
            self.addresses.change(address, |known| known.answer = None);
        }
    }

    /// Whether there is an instance from which its source does not hear.
    pub fn has_silent(&self) -> bool {
        self.silent_services > 0
    }

    /// A service by identity.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// What a host name (any case, without port) means.
    pub fn by_name(&self, host: &str) -> Lookup<'_> {
        let host = lower(host);
        let found = self.names.get(&*host).and_then(|name| match &name.answer {
            // Still to come.
            Some(NameAnswer::Service(id)) if !self.is_complete => {
                Some(self.services.get(id).map_or(Lookup::Unsubscribed, Lookup::Known))
            }
            Some(NameAnswer::Service(id)) => self.services.get(id).map(Lookup::Known),
            Some(NameAnswer::Absent) => Some(Lookup::Absent),
            Some(NameAnswer::Ambiguous(sources)) => Some(Lookup::Ambiguous(sources)),
            None => match &*name.services {
                [id] => self.services.get(id).map(Lookup::Known),
                _ => Some(Lookup::Ambiguous(&name.ambiguous)),
            },
        });
        found.unwrap_or_else(|| match self.is_nothing(|| digest::of_name(&host)) {
            true => Lookup::Absent,
            false => Lookup::Unsubscribed,
        })
    }

    /// What an original destination means.
    pub fn by_address(&self, address: SocketAddr) -> AddressLookup<'_> {
        match self.addresses.get(address).map(Known::services) {
            Some([]) => AddressLookup::Absent,
            Some(services) => AddressLookup::Known(services),
            None if self.is_nothing(|| digest::of_address(address)) => AddressLookup::Absent,
            None => AddressLookup::Unsubscribed,
        }
    }

    /// Whether registered instances are on a host, as far as that was told: its other ports are theirs, too.
    pub fn has_instances_on(&self, host: IpAddr) -> bool {
        self.digest.as_ref().is_some_and(|digest| digest.has(digest::of_host(host)))
    }

    /// Whether what was not found need not be asked for.
    fn is_nothing(&self, hash: impl FnOnce() -> u64) -> bool {
        self.is_complete || self.digest.as_ref().is_some_and(|digest| !digest.has(hash()))
    }

    fn remove_address(&mut self, address: SocketAddr, id: &ServiceId) {
        self.addresses.change(address, |known| known.services.retain(|have| have != id));
    }

    fn remove_name(&mut self, name: &str, id: &ServiceId) {
        if !self.is_complete {
            return;
        }
        let known = self.names.entry(name.into());
        known.change(|services| services.retain(|have| have != id));
        if known.services.is_empty() && known.answer.is_none() {
            self.names.remove(name);
        }
    }
}

impl Name {
    fn change(&mut self, change: impl FnOnce(&mut Vec<ServiceId>)) {
        change(&mut self.services);
        let mut sources: Vec<String> =
            self.services.iter().map(|id| id.source().to_owned()).collect();
        sources.dedup();
        // Of one source: whole identities tell them apart.
        self.ambiguous = match sources.len() {
            1 => self.services.iter().map(ServiceId::to_string).collect(),
            _ => sources,
        };
    }
}

/// The one spelling of an address: an IPv4 address may be written as an IPv6 one.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// All addresses of all endpoints, of both kinds, sorted, without duplicates.
fn addresses_of(service: &Service) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> =
        service.endpoints().iter().flat_map(Endpoint::all_addresses).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn add_sorted(services: &mut Vec<ServiceId>, id: &ServiceId) {
    if let Err(at) = services.binary_search(id) {
        // Nearly always the only one: room for four would be most of its memory.
        services.reserve_exact(1);
        services.insert(at, id.clone());
    }
}

/// Names compare lower-case. Nearly all are already.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}
