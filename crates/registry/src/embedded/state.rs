//! What is registered. A machine without clock, tasks or channels: every step says what it changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lanes::{
    EMBEDDED_SOURCE, Endpoint, Problem, Service, ServiceId, Tag,
    service::{FurtherAddresses, Health, Port},
};

use super::instance::Instance;
use crate::{Change, tag_of};

/// How often a sidecar says that it is alive.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);

/// How long an instance is believed without a heartbeat: two may be lost.
pub const EXPIRY: Duration = Duration::from_secs(6);

/// How many instances may fall silent together and be believed to have gone: beyond it it is likelier that their
/// heartbeats do not come through. (Eureka draws the line at 15 %, per minute; here it is drawn per heartbeat.)
const SILENT_TOGETHER_PERCENT_MAX: usize = 30;

/// How long those are kept while others are heard: what is cut off for longer has an operator who knows.
const SILENT_TOGETHER_KEPT: Duration = Duration::from_secs(600);

/// How long the last usable instance of a service in a lane is kept while others are heard. Its callers put it aside
/// after the first refused connect; without it they would have nobody even if it only cannot be heard.
const LAST_KEPT: Duration = Duration::from_secs(60);

/// Silent instances that are named; it is for people.
const SILENT_NAMED_MAX: usize = 5;

/// How long an instance that was taken out stays visible as draining. As long as a sidecar may take to finish
/// what it has, and then some; nobody sends it anything new meanwhile.
const DRAINING_KEPT: Duration = Duration::from_secs(30);

/// How often time must be let pass.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// A tick that comes later than this was held up by this process, not by the instances: a stopped or starved
/// control plane has not heard heartbeats that were sent.
const TICK_LATE: Duration = Duration::from_secs(2);

/// Instances of one registry. Far above what one control plane is built for (10 000 endpoints), and a bound for
/// a client gone wild.
const INSTANCES_MAX: usize = 50_000;

/// Services remembered after their last instance has left, so that their application stays known.
const EMPTY_SERVICES_MAX: usize = 10_000;

/// Why an instance was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Something it says cannot be.
    #[error("{0}")]
    Invalid(Problem),
    /// There are as many already as one registry takes.
    #[error("the registry holds {INSTANCES_MAX} instances, and takes no more")]
    Full,
}

/// What a step changed.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Services as they are now, in order.
    pub(super) changes: Vec<Change>,
    /// Nodes whose instance is no more, or is draining.
    pub(super) departed: Vec<String>,
}

/// The registry.
#[derive(Debug)]
pub(super) struct State {
    instances: HashMap<String, Registered>,
    by_address: HashMap<SocketAddr, String>,
    services: HashMap<ServiceId, Known>,
    /// How many of `services` are empty; grows for ever, orders them.
    emptied: u64,
    ticked: Instant,
    /// Why some are believed that are not heard, in words.
    doubt: Option<String>,
    /// Nodes that are not heard, each for a reason of its own, and are kept as the last of their lanes.
    silent: BTreeSet<String>,
}

#[derive(Debug)]
struct Registered {
    instance: Instance,
    /// As its ports are: the first, then the further ones.
    services: Box<[ServiceId]>,
    tag: Result<Option<Tag>, Problem>,
    lease: Lease,
}

#[derive(Debug, Clone, Copy)]
enum Lease {
    /// Until then, unless it says something.
    Alive { expires: Instant },
    /// Taken out; forgotten then.
    Draining { leaves: Instant },
}

/// A service that has, or had, instances.
#[derive(Debug)]
struct Known {
    /// As first registered.
    name: String,
    application: String,
    nodes: BTreeSet<String>,
    /// As last told.
    told: Option<Arc<Service>>,
    problems: Vec<Problem>,
    /// When the last instance left, as a count; 0 while it has some.
    emptied: u64,
}

impl State {
    /// An empty registry.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            instances: HashMap::new(),
            by_address: HashMap::new(),
            services: HashMap::new(),
            emptied: 0,
            ticked: now,
            doubt: None,
            silent: BTreeSet::new(),
        }
    }

    /// Takes the journal of a former run. Nothing of it expires before everyone had a full heartbeat period to
    /// come back, on top of the usual expiry. Entries that cannot be (any more) are left out.
    pub(super) fn restore(&mut self, journal: Vec<Instance>, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut services = BTreeSet::new();
        for instance in journal {
            let node = instance.node.clone();
            match self.put(instance, now + HEARTBEAT_PERIOD + EXPIRY, &mut effects) {
                Ok(of_it) => services.extend(of_it),
                Err(error) => {
                    tracing::warn!(%node, %error, "journalled instance left out");
                    effects.departed.push(node);
                }
            }
        }
        // Told once each: telling a service of thousands after each of its instances would take a while.
        services.iter().for_each(|service| self.tell(service, &mut effects));
        effects
    }

    /// Registers an instance. What its node registered before is replaced; so is what another node registered
    /// at the same address: only one process can listen there, and that is the newer one.
    pub(super) fn register(
        &mut self,
        instance: Instance,
        now: Instant,
    ) -> Result<Effects, RegisterError> {
        let mut effects = Effects::default();
        let services = self.put(instance, now + EXPIRY, &mut effects)?;
        self.tell_all(&services, &mut effects);
        Ok(effects)
    }

    /// Hears that a node is alive, and how its application is; `None` when it is not known and must register.
    pub(super) fn heartbeat(&mut self, node: &str, healthy: bool, now: Instant) -> Option<Effects> {
        let registered = self.instances.get_mut(node)?;
        let Lease::Alive { expires } = &mut registered.lease else {
            return Some(Effects::default());
        };
        // A heartbeat prolongs; it does not shorten what a restart has granted.
        *expires = (*expires).max(now + EXPIRY);
        let mut effects = Effects::default();
        let was_silent = self.silent.remove(node);
        if registered.instance.healthy != healthy || was_silent {
            registered.instance.healthy = healthy;
            let services = registered.services.clone();
            self.tell_all(&services, &mut effects);
        }
        Some(effects)
    }

    /// Takes an instance out: draining at once, forgotten after [`DRAINING_KEPT`]. `None`: not known.
    pub(super) fn deregister(&mut self, node: &str, now: Instant) -> Option<Effects> {
        let registered = self.instances.get_mut(node)?;
        let mut effects = Effects::default();
        if matches!(registered.lease, Lease::Alive { .. }) {
            registered.lease = Lease::Draining { leaves: now + DRAINING_KEPT };
            effects.departed.push(node.to_owned());
            let services = registered.services.clone();
            self.tell_all(&services, &mut effects);
        }
        Some(effects)
    }

    /// Lets time pass; to be called every [`TICK`].
    pub(super) fn tick(&mut self, now: Instant) -> Effects {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.ticked, now));
        if passed > TICK_LATE {
            for registered in self.instances.values_mut() {
                if let Lease::Alive { expires } = &mut registered.lease {
                    *expires += passed;
                }
            }
        }
        let Believed { gone, silent } = self.believe(now);
        let mut effects = Effects { departed: gone, ..Effects::default() };
        let has_drained = |registered: &Registered| matches!(registered.lease, Lease::Draining { leaves } if leaves <= now);
        let drained = self.instances.iter().filter(|(_, registered)| has_drained(registered));
        let due: Vec<String> =
            drained.map(|(node, _)| node).chain(&effects.departed).cloned().collect();
        let mut services: BTreeSet<ServiceId> =
            due.iter().filter_map(|node| self.take_away(node)).flatten().collect();
        let changed: Vec<_> = self.silent.symmetric_difference(&silent).collect();
        let of_changed = changed.into_iter().filter_map(|node| self.instances.get(node));
        services.extend(of_changed.flat_map(|registered| registered.services.iter().cloned()));
        self.silent = silent;
        for service in services {
            self.tell(&service, &mut effects);
        }
        self.forget_empty_services(&mut effects);
        effects
    }

    /// Why some are believed that are not heard; `None`: all are heard.
    pub(super) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Who is gone of those whose heartbeats have stopped, and who is kept all the same; and says why these are.
    fn believe(&mut self, now: Instant) -> Believed {
        let Silent { silent, alive, many, heard, heard_usable } =
            Silent::among(&self.instances, now);
        let mut kept = Vec::new();
        let mut believed = Believed::default();
        for (node, registered, expired) in silent {
            let is_last = registered.is_usable()
                && registered.lanes().any(|lane| !heard_usable.contains(&lane));
            let patience = match (many, is_last) {
                (true, _) => SILENT_TOGETHER_KEPT,
                (false, true) => LAST_KEPT,
                (false, false) => Duration::ZERO,
            };
            // While nobody is heard it is the registry that is cut off.
            if now >= expired + patience && (heard || patience.is_zero()) {
                believed.gone.push(node.to_owned());
            } else {
                kept.push(registered);
                if heard && !many {
                    believed.silent.insert(node.to_owned());
                }
            }
        }
        self.doubt = doubt_about(kept, alive);
        believed.gone.sort_unstable();
        believed
    }

    /// Every service as it is now, whether it was told or not.
    pub(super) fn everything(&mut self) -> Effects {
        let mut effects = Effects::default();
        let ids: BTreeSet<ServiceId> = self.services.keys().cloned().collect();
        for id in ids {
            if let Some(known) = self.services.get_mut(&id) {
                known.told = None;
            }
            self.tell(&id, &mut effects);
        }
        effects
    }

    /// Takes an instance in, and says which services must be told.
    fn put(
        &mut self,
        mut instance: Instance,
        expires: Instant,
        effects: &mut Effects,
    ) -> Result<Box<[ServiceId]>, RegisterError> {
        if instance.namespace.is_empty() {
            "default".clone_into(&mut instance.namespace);
        }
        instance.check().map_err(RegisterError::Invalid)?;
        if self.instances.len() >= INSTANCES_MAX && !self.instances.contains_key(&instance.node) {
            return Err(RegisterError::Full);
        }
        let node = instance.node.clone();
        let id = |name| ServiceId::new(EMBEDDED_SOURCE, &instance.namespace, "", name);
        let services: Box<[ServiceId]> = instance.services().map(id).collect();
        let tag = tag_of(|key| instance.metadata.get(key).map(String::as_str), &instance.tag);

        for address in instance.addresses() {
            let there = self.by_address.get(&address).filter(|it| **it != node).cloned();
            let Some(other) = there else { continue };
            tracing::info!(node = %other, by = %node, %address, "instance replaced at its address");
            self.replace(&other, &services, &tag, effects);
            effects.departed.push(other);
        }
        self.replace(&node, &services, &tag, effects);

        for (service, name) in services.iter().zip(instance.services()) {
            let known = self.services.entry(service.clone()).or_insert_with(|| Known {
                name: name.to_owned(),
                application: String::new(),
                nodes: BTreeSet::new(),
                told: None,
                problems: Vec::new(),
                emptied: 0,
            });
            if known.nodes.is_empty() {
                known.application = instance.application().to_owned();
            }
            known.nodes.insert(node.clone());
            known.emptied = 0;
        }
        self.by_address.extend(instance.addresses().map(|address| (address, node.clone())));
        let lease = Lease::Alive { expires };
        let registered = Registered { instance, services: services.clone(), tag, lease };
        self.instances.insert(node, registered);
        Ok(services)
    }

    /// Makes room for an instance of `services` with `tag`. A change of tag is a removal, told on its own, before
    /// the addition; otherwise the new instance simply takes the old one's place.
    fn replace(
        &mut self,
        node: &str,
        services: &[ServiceId],
        tag: &Result<Option<Tag>, Problem>,
        effects: &mut Effects,
    ) {
        let Some(before) = self.instances.get(node) else { return };
        let is_of_another_tag = before.tag != *tag;
        for left in self.take_away(node).into_iter().flatten() {
            if is_of_another_tag || !services.contains(&left) {
                self.tell(&left, effects);
            }
        }
    }

    /// Removes a node's instance, and says which services it was of.
    fn take_away(&mut self, node: &str) -> Option<Box<[ServiceId]>> {
        let registered = self.instances.remove(node)?;
        for address in registered.instance.addresses() {
            self.by_address.remove(&address);
        }
        self.silent.remove(node);
        for service in &registered.services {
            let Some(known) = self.services.get_mut(service) else { continue };
            known.nodes.remove(node);
            if known.nodes.is_empty() {
                self.emptied += 1;
                known.emptied = self.emptied;
            }
        }
        Some(registered.services)
    }

    fn tell_all(&mut self, services: &[ServiceId], effects: &mut Effects) {
        services.iter().for_each(|service| self.tell(service, effects));
    }

    /// Adds a service as it is now to the effects, unless that was the last thing told.
    fn tell(&mut self, id: &ServiceId, effects: &mut Effects) {
        let Some(known) = self.services.get_mut(id) else { return };
        let mut endpoints = Vec::with_capacity(known.nodes.len());
        let mut problems = Vec::new();
        for registered in known.nodes.iter().filter_map(|node| self.instances.get(node)) {
            let instance = &registered.instance;
            let at = format!("instance {}", instance.address);
            let (tag, health) = match (&registered.tag, registered.lease) {
                (Ok(tag), Lease::Draining { .. }) => (tag.clone(), Health::Draining),
                (Err(_), Lease::Draining { .. }) => (None, Health::Draining),
                (Err(problem), Lease::Alive { .. }) => {
                    problems.push(problem.clone().under(&at));
                    (None, Health::InvalidTag)
                }
                (Ok(tag), Lease::Alive { .. }) if instance.healthy => {
                    let is_silent = self.silent.contains(&instance.node);
                    (tag.clone(), if is_silent { Health::Silent } else { Health::Usable })
                }
                (Ok(tag), Lease::Alive { .. }) => (tag.clone(), Health::Unhealthy),
            };
            let said = instance.application();
            if said != known.application {
                let remedy =
                    format!("let all instances of {} say `{}`", known.name, known.application);
                problems.push(Problem::new("application", said, remedy).under(&at));
            }
            let endpoint = registered.endpoint(id, tag, health);
            let spoken = endpoints.first().map_or(endpoint.port, |it: &Endpoint| it.port).protocol;
            if endpoint.port.protocol != spoken {
                let (said, spoken) = (endpoint.port.protocol.as_str(), spoken.as_str());
                let remedy = format!("let all instances of {} say `{spoken}`", known.name);
                problems.push(Problem::new("protocol", said, remedy).under(&at));
            }
            endpoints.push(endpoint);
        }
        let service = Service::new(id.clone(), &known.name, &known.application, endpoints);
        if known.told.as_deref() == Some(&service) && known.problems == problems {
            return;
        }
        let service = Arc::new(service);
        known.told = Some(Arc::clone(&service));
        known.problems.clone_from(&problems);
        effects.changes.push(Change { service: id.clone(), state: Some(service), problems });
    }

    /// Keeps [`EMPTY_SERVICES_MAX`] empty services, those that emptied last.
    fn forget_empty_services(&mut self, effects: &mut Effects) {
        let count = self.services.values().filter(|known| known.nodes.is_empty()).count();
        let surplus = count.saturating_sub(EMPTY_SERVICES_MAX);
        if surplus == 0 {
            return;
        }
        let mut empty: Vec<(u64, ServiceId)> = (self.services.iter())
            .filter(|(_, known)| known.nodes.is_empty())
            .map(|(id, known)| (known.emptied, id.clone()))
            .collect();
        empty.sort_unstable();
        for (_, id) in empty.into_iter().take(surplus) {
            self.services.remove(&id);
            effects.changes.push(Change::gone(id));
        }
    }
}

/// What is made of those who are not heard.
#[derive(Default)]
struct Believed {
    gone: Vec<String>,
    /// Kept, though nothing but themselves can be the reason that they are not heard.
    silent: BTreeSet<String>,
}

/// Who is not heard, beside all who should be.
struct Silent<'a> {
    /// Node, instance, and when it expired.
    silent: Vec<(&'a str, &'a Registered, Instant)>,
    alive: usize,
    /// More fall silent within one heartbeat period than can have gone.
    many: bool,
    /// Somebody is.
    heard: bool,
    /// The lanes of services in which a usable instance is heard.
    heard_usable: HashSet<(&'a ServiceId, Option<&'a Tag>)>,
}

impl<'a> Silent<'a> {
    fn among(instances: &'a HashMap<String, Registered>, now: Instant) -> Self {
        let mut this = Self {
            silent: Vec::new(),
            alive: 0,
            many: false,
            heard: false,
            heard_usable: HashSet::new(),
        };
        let mut falling_silent = 0;
        for (node, registered) in instances {
            let Lease::Alive { expires } = registered.lease else { continue };
            this.alive += 1;
            falling_silent += usize::from(expires <= now + HEARTBEAT_PERIOD);
            if expires <= now {
                this.silent.push((node, registered, expires));
            } else {
                this.heard = true;
                if registered.is_usable() {
                    this.heard_usable.extend(registered.lanes());
                }
            }
        }
        // One alone has its own reason, however few there are.
        let percent = falling_silent * 100;
        this.many = falling_silent > 1 && percent > SILENT_TOGETHER_PERCENT_MAX * this.alive;
        this
    }
}

impl Registered {
    /// Callers would choose it.
    fn is_usable(&self) -> bool {
        self.instance.healthy && self.tag.is_ok()
    }

    fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref().ok().and_then(Option::as_ref)
    }

    /// Whose places nobody else takes.
    fn lanes(&self) -> impl Iterator<Item = (&ServiceId, Option<&Tag>)> {
        self.services.iter().map(|service| (service, self.tag()))
    }

    /// As the callers of one of its services know it.
    fn endpoint(&self, service: &ServiceId, tag: Option<Tag>, health: Health) -> Endpoint {
        let instance = &self.instance;
        let at = self.services.iter().position(|it| it == service).unwrap_or_default();
        let further_port = at.checked_sub(1).and_then(|at| instance.further_ports.get(at));
        let is_further = further_port.is_some();
        let (first, further, protocol) = match further_port {
            None => (
                instance.application_address,
                &*instance.further_application_addresses,
                instance.protocol,
            ),
            Some(port) => match &*port.application_addresses {
                [] => (None, &[][..], port.protocol),
                [first, further @ ..] => (Some(*first), further, port.protocol),
            },
        };
        let application_address = first.filter(|it| *it != instance.address);
        Endpoint {
            address: instance.address,
            application_address,
            further: FurtherAddresses::beside(
                (instance.address, application_address),
                &instance.further_addresses,
                further,
            ),
            tag,
            weight: instance.weight,
            health,
            port: Port { protocol, is_further },
        }
    }
}

fn doubt_about(mut kept: Vec<&Registered>, alive: usize) -> Option<String> {
    if kept.is_empty() {
        return None;
    }
    kept.sort_unstable_by_key(|registered| registered.instance.address);
    let name = |registered: &&Registered| {
        let Instance { service, address, .. } = &registered.instance;
        let tag = registered.tag().map_or("base", Tag::as_str);
        format!("{service} {tag} at {address}")
    };
    let named: Vec<String> = kept.iter().take(SILENT_NAMED_MAX).map(name).collect();
    let more = if kept.len() > named.len() { ", …" } else { "" };
    Some(format!(
        "{} of {alive} instances are not heard and kept for now: {}{more}",
        kept.len(),
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests;
