//! Who holds which registration: a node and its address belong to one stream.
//!
//! Pure; time is an argument. A sidecar that comes back continues its lease at once, because it names its process. A
//! copy of its data directory, or a second sidecar at its address, waits for as long as the first one lives.

use std::{
    collections::HashMap,
    hash::Hash,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    discovery::v1::{Instance, PortProtocol},
    resource::DEFAULT_NAMESPACE,
};

use crate::key::canonical;

#[cfg(test)]
mod tests;

/// How long the holder of an open stream is believed alive without a word: as long as the registry believes its
/// instance.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// How long a node whose stream broke is kept for the process that had it. A sidecar tries again after half a
/// second; a copy that waits for such a moment must not be quicker.
const RETURN: Duration = Duration::from_secs(2);

/// A registration whose node has been away for this long leaves the journal: its instance expired in the
/// registry long before (after 6 s).
const JOURNAL_KEPT: Duration = Duration::from_secs(60);

/// One open stream of registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId(u64);

/// All leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_node: HashMap<Arc<str>, Lease>,
    by_address: HashMap<SocketAddr, Arc<str>>,
    /// Who stands in front of an application. Several may, of one tag.
    by_application: HashMap<SocketAddr, Vec<Arc<str>>>,
    /// Whose instances serve it.
    by_service: HashMap<Service, Vec<Arc<str>>>,
    /// Addresses that were given back, by whom, and until when nobody else has an application there.
    given_back: HashMap<SocketAddr, (Arc<str>, Instant)>,
    streams: u64,
}

#[derive(Debug)]
struct Lease {
    process: String,
    /// Where it is called; the first is the one it is known by. What another has taken since is not among them.
    addresses: Vec<SocketAddr>,
    /// Where its application is.
    applications: Vec<SocketAddr>,
    /// What it serves.
    services: Vec<Service>,
    /// The application that it is of, with its namespace.
    owner: Owner,
    tag: String,
    /// Its application answers its probe: something is there.
    is_healthy: bool,
    holder: Holder,
}

type Owner = (String, String);

/// A service's namespace, and its name in small letters.
type Service = (String, String);

#[derive(Debug, Clone, Copy)]
enum Holder {
    /// An open stream, and when it was last heard.
    Stream { id: StreamId, heard: Instant },
    /// Nobody since then: the stream broke, or the control plane was restarted. When it was last heard, and how long it
    /// stays in the journal.
    Nobody { since: Instant, heard: Instant, kept_until: Instant },
}

impl Holder {
    fn nobody(now: Instant, heard: Instant) -> Self {
        Self::Nobody { since: now, heard, kept_until: now + JOURNAL_KEPT }
    }

    fn is(self, stream: StreamId) -> bool {
        matches!(self, Self::Stream { id, .. } if id == stream)
    }

    fn lives(self, now: Instant) -> bool {
        matches!(self, Self::Stream { heard, .. } if now < heard + SILENCE_MAX)
    }

    /// Whether its process may still come back for it.
    fn is_awaited(self, now: Instant) -> bool {
        match self {
            Self::Stream { .. } => self.lives(now),
            Self::Nobody { since, .. } => now < since + RETURN,
        }
    }
}

impl Leases {
    /// Registrations of before a restart: nobody keeps them alive yet.
    pub(crate) fn restored<'a>(
        instances: impl Iterator<Item = &'a Instance>,
        now: Instant,
    ) -> Self {
        let mut leases = Self::default();
        for instance in instances {
            leases.put(instance, Holder::nobody(now, now));
        }
        leases
    }

    /// Whether a node has registered, and is not forgotten.
    pub(crate) fn is_known(&self, node: &str) -> bool {
        self.by_node.contains_key(node)
    }

    /// Where the instance of a node is called, as far as it is known.
    pub(crate) fn addresses(&self, node: &str) -> Box<[Box<str>]> {
        let addresses = self.by_node.get(node).into_iter().flat_map(|lease| &lease.addresses);
        addresses.map(|address| address.to_string().into()).collect()
    }

    /// Addresses of registrations that have been silent for longer than their holders may be, and for how long.
    pub(crate) fn silent(&self, now: Instant) -> HashMap<SocketAddr, Duration> {
        let silence = |lease: &Lease| {
            let (Holder::Stream { heard, .. } | Holder::Nobody { heard, .. }) = lease.holder;
            let silence = now.saturating_duration_since(heard);
            Some((*lease.addresses.first()?, silence)).filter(|_| silence > SILENCE_MAX)
        };
        self.by_node.values().filter_map(silence).collect()
    }

    /// Which process holds the registration of an address; none where nobody registered it, or its release does not say.
    pub(crate) fn process_at(&self, address: &SocketAddr) -> Option<&str> {
        let lease = self.by_node.get(self.by_address.get(address)?)?;
        Some(lease.process.as_str()).filter(|process| !process.is_empty())
    }

    /// A stream was opened.
    pub(super) fn open(&mut self) -> StreamId {
        self.streams += 1;
        StreamId(self.streams)
    }

    /// Gives node and address of an instance to a stream, unless another one has either: then says who. Names the nodes
    /// that lose theirs: what they took for their application is this one.
    /// `is_confined`: who asks may be of its own application alone.
    pub(super) fn claim(
        &mut self,
        instance: &Instance,
        stream: StreamId,
        is_confined: bool,
        now: Instant,
    ) -> Result<Vec<Arc<str>>, String> {
        if is_confined {
            refuse_other_hosts(instance)?;
            self.refuse_anothers(instance)?;
            self.refuse_services_of_others(instance)?;
        }
        let (node, addresses) = (instance.node.as_str(), addresses_of(instance));
        if let Some(lease) = self.by_node.get(node)
            && !lease.holder.is(stream)
            && !lease.is_of_process(instance)
        {
            // A restarted process comes to the address it had, where only one can listen: it need not wait for the
            // return of the one before.
            let is_kept = match lease.addresses.first() == addresses.first() {
                true => lease.holder.lives(now),
                false => lease.holder.is_awaited(now),
            };
            if is_kept {
                return Err(format!(
                    "node {node} is registered by another process, {}: stop that one, or give this sidecar a data \
                     directory of its own (--data)",
                    lease.place()
                ));
            }
        }
        for address in &addresses {
            if let Some(other) = self.by_address.get(address).filter(|other| ***other != *node)
                && self.by_node.get(other).is_some_and(|lease| lease.holder.lives(now))
            {
                return Err(format!(
                    "address {address} is registered by node {other}, which is alive: stop that sidecar, or let this \
                     one advertise an address of its own"
                ));
            }
        }
        self.refuse_another_sidecar(instance, now)?;
        self.refuse_another_tag(instance, now)?;
        let displaced = self.mistaken_for_applications(instance, now)?;
        displaced.iter().for_each(|node| self.remove(node));
        self.put(instance, Holder::Stream { id: stream, heard: now });
        Ok(displaced)
    }

    /// What is of another application stays so for as long as it is remembered: whoever may speak for one application must
    /// not come between a crash of another and its return.
    fn refuse_anothers(&self, instance: &Instance) -> Result<(), String> {
        let (addresses, applications) = (addresses_of(instance), applications_of(instance));
        // Whatever of it is at an address: one application's sidecar is where nothing of another is.
        let called = addresses.into_iter().map(|it| ("address", it));
        let all = called.chain(applications.into_iter().map(|it| ("application_address", it)));
        let at_them = all.flat_map(|(what, address)| {
            let applications = self.by_application.get(&address).into_iter().flatten();
            // Where nothing has answered it may be this one that was taken for an application.
            let answers = move |node: &&Arc<str>| {
                what != "address" || self.by_node.get(*node).is_some_and(|it| it.is_healthy)
            };
            let applications = applications.filter(answers);
            self.by_address.get(&address).into_iter().chain(applications).map(move |it| (what, it))
        });
        let asked = std::iter::once(("node", &*instance.node));
        for (what, node) in asked.chain(at_them.map(|(what, node)| (what, &**node))) {
            let Some(lease) = self.by_node.get(node) else { continue };
            let (namespace, application) = &lease.owner;
            if lease.owner != owner_of(instance) {
                return Err(format!(
                    "{what}: node {node}, {}, is of application {application} in {namespace}, which may come back for a \
                     minute: give this sidecar a data directory (--data) and an address of its own",
                    lease.place()
                ));
            }
        }
        Ok(())
    }

    /// A service is its first application's. Of two that bring a new one in the same moment the picture may know neither;
    /// whoever has it already keeps it, whatever others have named theirs since with the token of the mesh.
    fn refuse_services_of_others(&self, instance: &Instance) -> Result<(), String> {
        let owner = owner_of(instance);
        for service in services_of(instance) {
            let nodes = self.by_service.get(&service).into_iter().flatten();
            let leases = nodes.filter_map(|node| Some((node, self.by_node.get(node)?)));
            let (own, others): (Vec<_>, Vec<_>) =
                leases.partition(|(_, lease)| lease.owner == owner);
            if let (None, Some((node, lease))) = (own.first(), others.first()) {
                return Err(format!(
                    "service: node {node}, {}, has registered {} as a service of application {}: name a service of {}, or \
                     show the join token of the mesh",
                    lease.place(),
                    service.1,
                    lease.owner.1,
                    owner.1,
                ));
            }
        }
        Ok(())
    }

    /// One application has one tag: under two, requests of one lane would reach the other, or base a tagged instance.
    fn refuse_another_tag(&self, instance: &Instance, now: Instant) -> Result<(), String> {
        for wanted in applications_of(instance) {
            let nodes = self.by_application.get(&wanted);
            let others = nodes.into_iter().flatten().filter(|node| ***node != *instance.node);
            for (node, lease) in others.filter_map(|node| Some((node, self.by_node.get(node)?))) {
                if lease.tag != instance.tag && lease.holder.lives(now) {
                    let tag = |tag: &str| match tag {
                        "" => "without a tag".to_owned(),
                        tag => format!("with the tag {tag}"),
                    };
                    return Err(format!(
                        "application_address: at {wanted} is the application that node {node} has registered {}, and this is \
                         {}: give the address of this sidecar's own application, or the same tag",
                        tag(&lease.tag),
                        tag(&instance.tag),
                    ));
                }
            }
        }
        Ok(())
    }

    /// An application is no other sidecar: what is for this one's service would be answered by that one's. One that is away
    /// for a moment, as it is when it is restarted, still has its address.
    fn refuse_another_sidecar(&self, instance: &Instance, now: Instant) -> Result<(), String> {
        let own = addresses_of(instance);
        for wanted in applications_of(instance).iter().filter(|wanted| !own.contains(wanted)) {
            let given_back = self.given_back.get(wanted).filter(|(_, until)| now < *until);
            let holder = self.by_address.get(wanted).or(given_back.map(|(node, _)| node));
            if let Some(other) = holder.filter(|other| ***other != *instance.node) {
                return Err(format!(
                    "application_address: at {wanted} the sidecar of another instance is called, node {other}: give the \
                     address of this sidecar's own application (--app-address)"
                ));
            }
        }
        Ok(())
    }

    /// Nodes whose applications are said to be where this instance is called. Where nothing has answered there it is they
    /// that are mistaken; where something has, it is that application's address that this one advertises.
    fn mistaken_for_applications(
        &self,
        instance: &Instance,
        now: Instant,
    ) -> Result<Vec<Arc<str>>, String> {
        let mut mistaken = Vec::new();
        for wanted in addresses_of(instance) {
            let nodes = self.by_application.get(&wanted).into_iter().flatten();
            for node in nodes.filter(|node| ***node != *instance.node) {
                let Some(lease) = self.by_node.get(node) else { continue };
                if lease.addresses.contains(&wanted) {
                    // It was called there itself, and gives way to who is called there now.
                    continue;
                }
                if lease.is_healthy && lease.holder.lives(now) {
                    return Err(format!(
                        "address: at {wanted} is the application of node {node}, of application {}, and it answers: let this \
                         sidecar advertise where it listens itself (--advertise)",
                        lease.owner.1
                    ));
                }
                mistaken.push(Arc::clone(node));
            }
        }
        Ok(mistaken)
    }

    /// What the probe of a node's application says now.
    pub(super) fn is_healthy(&mut self, node: &str, is_healthy: bool) {
        if let Some(lease) = self.by_node.get_mut(node) {
            lease.is_healthy = is_healthy;
        }
    }

    /// The holder of a node said something; `false`: this stream does not hold it.
    pub(super) fn heard(&mut self, node: &str, stream: StreamId, now: Instant) -> bool {
        match self.by_node.get_mut(node).map(|lease| &mut lease.holder) {
            Some(Holder::Stream { id, heard }) if *id == stream => {
                *heard = now;
                true
            }
            _ => false,
        }
    }

    /// The holder gives its lease back.
    pub(super) fn release(&mut self, node: &str, stream: StreamId, now: Instant) {
        let Some(lease) = self.by_node.get(node).filter(|lease| lease.holder.is(stream)) else {
            return;
        };
        self.given_back.retain(|_, (_, until)| now < *until);
        let given_back = lease.addresses.iter().map(|it| (*it, (node.into(), now + JOURNAL_KEPT)));
        self.given_back.extend(given_back);
        self.remove(node);
    }

    /// A stream ended; what it held waits for its process.
    pub(super) fn closed(&mut self, node: &str, stream: StreamId, now: Instant) {
        let Some(lease) = self.by_node.get_mut(node) else { return };
        if let Holder::Stream { id, heard } = lease.holder
            && id == stream
        {
            lease.holder = Holder::nobody(now, heard);
        }
    }

    /// Takes the nodes that have been alone for too long; says when the next one is due. An instance that the
    /// registry keeps all the same, though it is not heard, stays in the journal as well.
    pub(crate) fn take_expired(
        &mut self,
        now: Instant,
        is_kept: impl Fn(SocketAddr) -> bool,
    ) -> (Vec<String>, Option<Instant>) {
        let due = |lease: &Lease| match lease.holder {
            Holder::Stream { .. } => None,
            Holder::Nobody { kept_until, .. } => Some(kept_until),
        };
        let mut expired = Vec::new();
        for (node, lease) in &mut self.by_node {
            if due(lease).is_none_or(|due| due > now) {
                continue;
            }
            if lease.addresses.first().copied().is_some_and(&is_kept)
                && let Holder::Nobody { kept_until, .. } = &mut lease.holder
            {
                *kept_until = now + JOURNAL_KEPT;
            } else {
                expired.push(node.to_string());
            }
        }
        for node in &expired {
            self.remove(node);
        }
        (expired, self.by_node.values().filter_map(due).min())
    }

    fn put(&mut self, instance: &Instance, holder: Holder) {
        self.remove(&instance.node);
        let node: Arc<str> = instance.node.as_str().into();
        let addresses = addresses_of(instance);
        for address in &addresses {
            if let Some(before) = self.by_address.insert(*address, Arc::clone(&node))
                && let Some(lease) = self.by_node.get_mut(&before)
            {
                // Its instance is replaced in the registry; its node stays in the journal until that is told.
                let left = std::mem::take(&mut lease.addresses);
                left.iter()
                    .filter(|it| *it != address)
                    .for_each(|it| drop(self.by_address.remove(it)));
            }
        }
        let (process, tag) = (instance.process.clone(), instance.tag.clone());
        let applications = applications_of(instance);
        for application in &applications {
            self.by_application.entry(*application).or_default().push(Arc::clone(&node));
        }
        let services = services_of(instance);
        for service in &services {
            self.by_service.entry(service.clone()).or_default().push(Arc::clone(&node));
        }
        let owner = owner_of(instance);
        let is_healthy = instance.healthy;
        let lease =
            Lease { process, addresses, applications, services, owner, tag, is_healthy, holder };
        self.by_node.insert(node, lease);
    }

    fn remove(&mut self, node: &str) {
        let Some(lease) = self.by_node.remove(node) else { return };
        for address in lease.addresses {
            self.by_address.remove(&address);
        }
        for application in lease.applications {
            forget(node, &mut self.by_application, &application);
        }
        for service in lease.services {
            forget(node, &mut self.by_service, &service);
        }
    }
}

/// A node is no longer among those of something.
fn forget<K: Eq + Hash>(node: &str, nodes_of: &mut HashMap<K, Vec<Arc<str>>>, key: &K) {
    let Some(nodes) = nodes_of.get_mut(key) else { return };
    nodes.retain(|it| **it != *node);
    if nodes.is_empty() {
        nodes_of.remove(key);
    }
}

impl Lease {
    /// Whether it is that process's. One that does not say who it is is known by its address.
    fn is_of_process(&self, instance: &Instance) -> bool {
        let says_nothing = instance.process.is_empty();
        let is_there = || self.addresses.first() == addresses_of(instance).first();
        self.process == instance.process && (!says_nothing || is_there())
    }

    fn place(&self) -> String {
        (self.addresses.first())
            .map_or_else(|| "whose address is another's now".into(), |it| format!("at {it}"))
    }
}

fn namespace_of(instance: &Instance) -> &str {
    match instance.namespace.as_str() {
        "" => DEFAULT_NAMESPACE,
        namespace => namespace,
    }
}

fn owner_of(instance: &Instance) -> Owner {
    (namespace_of(instance).to_owned(), instance.application.trim().to_owned())
}

/// What is called at each of its ports.
fn services_of(instance: &Instance) -> Vec<Service> {
    let further = instance.further_ports.iter().map(|port| &port.service);
    let all = std::iter::once(&instance.service).chain(further);
    let named = all.filter(|name| !name.is_empty());
    named.map(|name| (namespace_of(instance).to_owned(), name.to_lowercase())).collect()
}

/// An application is beside its sidecar, for all that who may speak for it alone can say: what is at other hosts is others',
/// and calls that go there would be this one's.
fn refuse_other_hosts(instance: &Instance) -> Result<(), String> {
    let addresses = addresses_of(instance);
    let is_beside = |application: &SocketAddr| {
        application.ip().is_loopback() || addresses.iter().any(|it| it.ip() == application.ip())
    };
    match applications_of(instance).iter().find(|application| !is_beside(application)) {
        None => Ok(()),
        Some(elsewhere) => Err(format!(
            "application_address: {elsewhere} is at none of the hosts that this instance is called at, and a token of one \
             application is good for no other host: where {} is the sidecar's host too, add it with one more --advertise, \
             at the port of inbound-listen; else show the join token of the mesh",
            elsewhere.ip()
        )),
    }
}

/// Where an instance is called, the first first; without what is no address.
pub(super) fn addresses_of(instance: &Instance) -> Vec<SocketAddr> {
    each_once(std::iter::once(&instance.address).chain(&instance.further_addresses))
}

/// Where its application is called itself: at the ports of which its sidecar reads nothing.
pub(super) fn called_past_the_sidecar(instance: &Instance) -> Vec<SocketAddr> {
    let first = (instance.protocol() == PortProtocol::Tcp).then(|| {
        std::iter::once(&instance.application_address)
            .chain(&instance.further_application_addresses)
    });
    let tcp = instance.further_ports.iter().filter(|it| it.protocol() == PortProtocol::Tcp);
    let of_ports = tcp.flat_map(|port| &port.application_addresses);
    each_once(first.into_iter().flatten().chain(of_ports))
}

/// Where its application is, at all of its ports, as far as that means the same to others: a loopback address does on one
/// host alone, and whoever is called at one is on the host of its callers.
fn applications_of(instance: &Instance) -> Vec<SocketAddr> {
    let is_on_this_host = addresses_of(instance).first().is_some_and(|it| it.ip().is_loopback());
    let further = &instance.further_application_addresses;
    let of_ports = instance.further_ports.iter().flat_map(|port| &port.application_addresses);
    let first = std::iter::once(&instance.application_address);
    let mut all = each_once(first.chain(further).chain(of_ports));
    all.retain(|application| is_on_this_host || !application.ip().is_loopback());
    all
}

fn each_once<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for address in texts.filter_map(|text| canonical(text)) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}
