//! Gateways and routes as they are distributed.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use api::{
    convert,
    resource::{AnyRoute, BackendTlsPolicy, Key, Kind, Set},
};
use lanes::ServiceId;
use routes::spec::{ListenerSpec, ParentSpec};

use super::versioned::{self, Versioned};
use crate::key::{ResourceKey, Topic, Touch};

#[derive(Debug)]
struct GatewayEntry {
    /// The object that it is of.
    object: Key,
    spec: routes::GatewaySpec,
    wire: Versioned,
}

#[derive(Debug)]
struct RouteEntry {
    spec: routes::RouteSpec,
    wire: Versioned,
    needs: Needs,
    gateways: BTreeSet<Arc<str>>,
    /// Where it stands at gateways at which older routes of another kind keep it from some listeners.
    kept_from: BTreeMap<Arc<str>, Vec<ParentSpec>>,
    /// The generation of its last change.
    generation: u64,
}

/// What who has a route must have beside it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The services behind it.
    pub services: BTreeSet<ServiceId>,
    /// `namespace/name` of the certificates whose authorities their instances are verified by.
    pub certificates: BTreeSet<Arc<str>>,
}

/// Gateways and routes in force.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    gateways: BTreeMap<Arc<str>, GatewayEntry>,
    /// By what each is known by.
    routes: BTreeMap<Arc<str>, RouteEntry>,
    attached: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Gateways at which another route may have a host name than before.
    contested: BTreeSet<Arc<str>>,
}

impl Routing {
    /// Builds a gateway anew from the oldest object of its name.
    pub(crate) fn rebuild_gateway(&mut self, name: &str, set: &Set, touches: &mut Vec<Touch>) {
        let spec = set
            .laneway_gateways()
            .find(|(gateway, _)| gateway.metadata.name == name)
            .and_then(|(gateway, spec)| {
                Some((gateway.key(), convert::routes::gateway(gateway, spec).ok()?))
            });
        let name: Arc<str> = name.into();
        let before = self.gateways.get(&name).map(|entry| entry.wire.version);
        match spec {
            Some((object, spec)) => {
                let wire = versioned::gateway(&spec);
                let is_same = before == Some(wire.version);
                self.gateways.insert(Arc::clone(&name), GatewayEntry { object, spec, wire });
                if is_same {
                    return;
                }
            }
            None if before.is_none() => return,
            None => drop(self.gateways.remove(&name)),
        }
        self.contested.insert(Arc::clone(&name));
        touches.extend(Touch::both(ResourceKey::Gateway(name)));
    }

    /// Builds a route anew.
    pub(crate) fn rebuild_route(&mut self, key: &Key, set: &Set, touches: &mut Vec<Touch>) {
        let Some(name) = convert::routes::route_key(key) else { return };
        let name: Arc<str> = name.into();
        let route = set.get(key).and_then(AnyRoute::of);
        let spec = route.and_then(|route| convert::routes::route(route, set).ok());
        let mut new = spec.map(RouteEntry::new);
        let old = self.routes.remove(&name);
        if let (Some(old), Some(new)) = (&old, &mut new) {
            new.generation = old.generation;
            // Until it is looked at again, which must be for any edit: what is kept from it may hide it.
            new.kept_from.clone_from(&old.kept_from);
            new.kept_from.retain(|gateway, _| new.gateways.contains(gateway));
            new.wire = versioned::route(&new.distributed());
        }
        let named = |entry: &RouteEntry| (entry.wire.version, entry.gateways.clone());
        if old.as_ref().map(|it| &it.spec) != new.as_ref().map(|it| &it.spec) {
            let gateways = old.iter().chain(&new).flat_map(|entry| &entry.gateways);
            self.contested.extend(gateways.cloned());
        }
        if old.as_ref().map(named) != new.as_ref().map(named) {
            self.touch_route(&name, old.as_ref(), new.as_ref(), touches);
        }
        if let Some(new) = new {
            self.routes.insert(name, new);
        }
    }

    /// Looks again at where routes do not stand for the sake of older ones of another kind. That is left out of what is
    /// distributed: a gateway of a release that knows one kind alone would serve both there.
    pub(crate) fn settle_contested(&mut self, touches: &mut Vec<Touch>) {
        for gateway in std::mem::take(&mut self.contested) {
            let mut kept_from = self.kept_from(&gateway);
            for name in self.attached.get(&gateway).into_iter().flatten() {
                let Some(entry) = self.routes.get_mut(name) else { continue };
                let now = kept_from.remove(name);
                if entry.kept_from.get(&gateway) == now.as_ref() {
                    continue;
                }
                match now {
                    Some(parents) => entry.kept_from.insert(Arc::clone(&gateway), parents),
                    None => entry.kept_from.remove(&gateway),
                };
                entry.wire = versioned::route(&entry.distributed());
                touches.push(Touch::Content(ResourceKey::Route(Arc::clone(name))));
            }
        }
    }

    /// Of routes that do not stand at all listeners of a gateway which they name: at which they do.
    fn kept_from(&self, gateway: &Arc<str>) -> HashMap<Arc<str>, Vec<ParentSpec>> {
        let Some(GatewayEntry { spec, .. }) = self.gateways.get(gateway) else {
            return HashMap::new();
        };
        let attached = self.attached.get(gateway).into_iter().flatten();
        let attached = attached.filter_map(|name| self.routes.get(name)).map(|entry| &entry.spec);
        let mut barred: BTreeMap<String, (&routes::RouteSpec, BTreeSet<usize>)> = BTreeMap::new();
        for overlap in routes::overlaps(spec, attached) {
            let of_route = barred.entry(overlap.route.key());
            of_route.or_insert((overlap.route, BTreeSet::new())).1.insert(overlap.listener);
        }
        let stands = |route: &routes::RouteSpec, barred: &BTreeSet<usize>| {
            let parents = || route.parents.iter().filter(|parent| parent.gateway == spec.name);
            let listeners = spec.listeners.iter().enumerate();
            let stands = listeners.filter(|(index, listener)| {
                !barred.contains(index) && parents().any(|parent| parent.names(listener))
            });
            let parent = |listener: &ListenerSpec| ParentSpec {
                gateway: spec.name.clone(),
                section: Some(listener.name.clone()),
                port: None,
            };
            stands.map(|(_, listener)| parent(listener)).collect()
        };
        let routes = barred.into_iter();
        routes.map(|(key, (route, barred))| (key.into(), stands(route, &barred))).collect()
    }

    /// Notes in which generation routes changed last.
    pub(crate) fn note_generation(&mut self, touches: &[Touch], generation: u64) {
        for touch in touches {
            if let Touch::Content(ResourceKey::Route(name)) = touch
                && let Some(entry) = self.routes.get_mut(name)
            {
                entry.generation = generation;
            }
        }
    }

    fn touch_route(
        &mut self,
        name: &Arc<str>,
        old: Option<&RouteEntry>,
        new: Option<&RouteEntry>,
        touches: &mut Vec<Touch>,
    ) {
        touches.push(Touch::Content(ResourceKey::Route(Arc::clone(name))));
        if old.map(|old| &old.needs) != new.map(|new| &new.needs) {
            touches.push(Touch::Share(Topic::Resource(ResourceKey::Route(Arc::clone(name)))));
        }
        let none = BTreeSet::new();
        let was = old.map_or(&none, |old| &old.gateways);
        let is = new.map_or(&none, |new| &new.gateways);
        for gateway in was.difference(is) {
            if let Some(routes) = self.attached.get_mut(gateway) {
                routes.remove(name);
            }
            touches.push(Touch::Share(Topic::Attached(Arc::clone(gateway))));
        }
        for gateway in is.difference(was) {
            self.attached.entry(Arc::clone(gateway)).or_default().insert(Arc::clone(name));
            touches.push(Touch::Share(Topic::Attached(Arc::clone(gateway))));
        }
    }
}

impl RouteEntry {
    fn new(spec: routes::RouteSpec) -> Self {
        let backends = spec.rules.iter().flat_map(|rule| &rule.backends);
        Self {
            wire: versioned::route(&spec),
            needs: Needs {
                services: backends.filter_map(|backend| backend.service.clone().ok()).collect(),
                certificates: spec.certificates().map(Arc::from).collect(),
            },
            gateways: spec.parents.iter().map(|parent| parent.gateway.as_str().into()).collect(),
            kept_from: BTreeMap::new(),
            generation: 0,
            spec,
        }
    }

    /// As gateways are to have it.
    fn distributed(&self) -> Cow<'_, routes::RouteSpec> {
        if self.kept_from.is_empty() {
            return Cow::Borrowed(&self.spec);
        }
        let mut spec = self.spec.clone();
        spec.parents.retain(|parent| !self.kept_from.contains_key(parent.gateway.as_str()));
        spec.parents.extend(self.kept_from.values().flatten().cloned());
        Cow::Owned(spec)
    }
}

/// What others ask.
impl Routing {
    /// A gateway as it is distributed.
    pub(crate) fn gateway(&self, name: &str) -> Option<&Versioned> {
        self.gateways.get(name).map(|entry| &entry.wire)
    }

    /// The object that is the gateway of this name.
    pub(crate) fn object(&self, name: &str) -> Option<&Key> {
        self.gateways.get(name).map(|entry| &entry.object)
    }

    /// `namespace/name` of the certificates that a gateway's listeners name.
    pub(crate) fn certificates(&self, name: &str) -> impl Iterator<Item = &str> {
        self.gateways.get(name).into_iter().flat_map(|entry| entry.spec.certificates())
    }

    /// The objects of gateways that name a certificate.
    pub(crate) fn naming_certificate(&self, name: &str) -> impl Iterator<Item = &Key> {
        let naming = move |entry: &&GatewayEntry| entry.spec.certificates().any(|it| it == name);
        self.gateways.values().filter(naming).map(|entry| &entry.object)
    }

    /// What routes are known by whose backends are verified by a certificate's authorities.
    pub(crate) fn routes_naming_certificate(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        let naming = self.routes.iter().filter(move |(_, it)| it.needs.certificates.contains(name));
        naming.map(|(route, _)| route)
    }

    /// A route as it is distributed.
    pub(crate) fn route(&self, name: &str) -> Option<&Versioned> {
        self.routes.get(name).map(|entry| &entry.wire)
    }

    /// A route as it runs, by what it is known by.
    pub(crate) fn route_spec(&self, name: &str) -> Option<&routes::RouteSpec> {
        self.routes.get(name).map(|entry| &entry.spec)
    }

    /// Whether a route may read otherwise with a policy that is not known.
    pub(super) fn depends_on_policies(&self, name: &str) -> bool {
        let backends = self.route_spec(name).into_iter().flat_map(|spec| &spec.rules);
        let mut backends = backends.flat_map(|rule| &rule.backends);
        backends.any(|backend| backend.tls.is_some() || backend.service.is_err())
    }

    /// A route while some policy cannot be read. It may be the one that counts, so nobody is asked by another's word.
    pub(super) fn route_unverified(&self, name: &str) -> Option<Versioned> {
        let mut spec = self.routes.get(name)?.distributed().into_owned();
        let backends = spec.rules.iter_mut().flat_map(|rule| &mut rule.backends);
        for backend in backends.filter(|backend| backend.tls.is_some()) {
            let remedy = "write the BackendTLSPolicy anew, or delete it, that cannot be read: it may say who its instances are";
            backend.service = Err(remedy.to_owned());
            backend.tls = None;
        }
        Some(versioned::route(&spec))
    }

    /// The generation of a route's last change.
    pub(crate) fn generation(&self, name: &str) -> u64 {
        self.routes.get(name).map_or(0, |entry| entry.generation)
    }

    /// All gateways as they run, by name.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &routes::GatewaySpec> {
        self.gateways.values().map(|entry| &entry.spec)
    }

    /// All routes as they run, by what each is known by.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &routes::RouteSpec> {
        self.routes.values().map(|entry| &entry.spec)
    }

    /// Routes that attach to a gateway, as they run.
    pub(crate) fn attached_specs(&self, gateway: &str) -> impl Iterator<Item = &routes::RouteSpec> {
        let names = self.attached.get(gateway).into_iter().flatten();
        names.filter_map(|name| self.route_spec(name))
    }

    /// Routes that attach to a gateway, and what they need.
    pub(crate) fn attached(&self, gateway: &str) -> impl Iterator<Item = (&Arc<str>, &Needs)> {
        let names = self.attached.get(gateway).into_iter().flatten();
        names
            .filter_map(|name| self.routes.get_key_value(name))
            .map(|(name, entry)| (name, &entry.needs))
    }
}

/// The policies for Backends that name a certificate, by `namespace/name`.
pub(crate) fn policies_naming(set: &Set, certificate: &str) -> impl Iterator<Item = Key> {
    let names = move |policy: &&BackendTlsPolicy| {
        let tls = convert::routes::upstream_tls(policy);
        tls.is_ok_and(|tls| tls.certificates().iter().any(|name| name == certificate))
    };
    set.backend_tls_policies().filter(names).map(BackendTlsPolicy::key)
}

/// What a route names: gateways as parents, and Backends.
pub(super) fn named_by(route: &AnyRoute<'_>) -> BTreeSet<(Kind, String)> {
    let parents = route.parent_refs.iter().map(|parent| (Kind::Gateway, &parent.name));
    let backends = route.backend_refs().map(|reference| (Kind::Backend, &reference.name));
    parents.chain(backends).map(|(kind, name)| (kind, name.clone())).collect()
}
