//! Rules outside lanes that spread requests over versions of an application in a lane group (semantics §13), kept
//! up to date route by route.
//!
//! `api::validate::spread` says what such a rule is; which application is behind a service, live services tell
//! first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    mem,
};

use api::{
    convert,
    resource::{AnyRoute, Key, Set},
    validate::{
        Finding, Severity,
        spread::{self, ForeignRule, Spread},
    },
};
use lanes::ServiceId;

use super::services::Services;
use crate::objects::ObjectChange;

/// Routes, by something that concerns them.
type Index<K> = HashMap<K, BTreeSet<Key>>;

/// The conflicts there are.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    /// Routes with rules of several backends: what was found when they were last looked at.
    routes: BTreeMap<Key, Looked>,
    by_service: Index<ServiceId>,
    by_application: Index<String>,
    by_object: Index<Key>,
    changed: BTreeSet<Key>,
    /// Rules that sources tell of, by the source's name, and what was found when they were last looked at.
    rules: BTreeMap<String, Vec<ForeignRule>>,
    of_rules: Vec<Finding>,
}

#[derive(Debug, Default)]
struct Looked {
    services: Vec<ServiceId>,
    spreads: Vec<Spread>,
    findings: Vec<Finding>,
}

impl Conflicts {
    /// All of them: each is told of its route, or of the source that knows the rule, and of its group.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Finding> {
        self.routes.values().flat_map(|looked| &looked.findings).chain(&self.of_rules)
    }

    /// Those told of an object.
    pub(crate) fn of(&self, object: &Key) -> impl Iterator<Item = &Finding> {
        let routes = self.by_object.get(object).into_iter().flatten();
        let findings =
            routes.filter_map(|route| self.routes.get(route)).flat_map(|it| &it.findings);
        findings.chain(&self.of_rules).filter(move |finding| finding.object == *object)
    }

    /// Objects of which something else is told since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Key> {
        mem::take(&mut self.changed)
    }

    /// A route changed, or a Backend that it names.
    pub(super) fn route_changed(&mut self, route: &Key, set: &Set, services: &Services) {
        let old = self.routes.remove(route).unwrap_or_default();
        old.services.iter().for_each(|id| unindex(&mut self.by_service, id, route));
        old.spreads.iter().for_each(|it| unindex(&mut self.by_application, &it.application, route));
        old.findings.iter().for_each(|it| unindex(&mut self.by_object, &it.object, route));
        let new = set.get(route).and_then(AnyRoute::of);
        let new = new.map_or_else(Looked::default, |route| Looked::at(&route, set, services));
        if old.findings != new.findings {
            let told = old.findings.iter().chain(&new.findings);
            self.changed.extend(told.map(|finding| finding.object.clone()));
        }
        if new.services.is_empty() {
            return;
        }
        new.services.iter().for_each(|id| index(&mut self.by_service, id, route));
        new.spreads.iter().for_each(|it| index(&mut self.by_application, &it.application, route));
        new.findings.iter().for_each(|it| index(&mut self.by_object, &it.object, route));
        self.routes.insert(route.clone(), new);
    }

    /// A service appeared, or another application is behind it.
    pub(super) fn service_changed(&mut self, id: &ServiceId, set: &Set, services: &Services) {
        for route in self.by_service.get(id).cloned().unwrap_or_default() {
            self.route_changed(&route, set, services);
        }
    }

    /// A group has, or had, an application.
    pub(super) fn application_changed(&mut self, name: &str, set: &Set, services: &Services) {
        for route in self.by_application.get(name).cloned().unwrap_or_default() {
            self.route_changed(&route, set, services);
        }
        if self.rules.values().flatten().any(|rule| rule.application == name) {
            self.look_at_rules(set);
        }
    }

    /// A source knows these rules and no others.
    pub(super) fn rules_changed(&mut self, source: &str, rules: Vec<ForeignRule>, set: &Set) {
        let before = match rules.is_empty() {
            true => self.rules.remove(source),
            false => self.rules.insert(source.to_owned(), rules),
        };
        if before.is_some() || self.rules.contains_key(source) {
            self.look_at_rules(set);
        }
    }

    fn look_at_rules(&mut self, set: &Set) {
        let mut findings = Vec::new();
        for source in set.service_sources() {
            let rules = self.rules.get(&source.metadata.name).into_iter().flatten();
            for rule in rules {
                for group in spread::groups_with(set, &rule.application) {
                    findings.extend(rule.between(&source.key(), group));
                }
            }
        }
        let before = mem::replace(&mut self.of_rules, findings);
        if before != self.of_rules {
            let told = before.iter().chain(&self.of_rules);
            self.changed.extend(told.map(|finding| finding.object.clone()));
        }
    }
}

impl Looked {
    fn at(route: &AnyRoute<'_>, set: &Set, services: &Services) -> Self {
        let several = route.rules.iter().filter(|rule| rule.backend_refs.len() > 1);
        let references = several.flat_map(|rule| rule.backend_refs);
        let backends = references
            .filter_map(|it| convert::routes::backend(it, &route.metadata.namespace, set).ok());
        let spreads = spread::spreads(route, set, |id| application(services, id));
        let mut findings = Vec::new();
        for spread in &spreads {
            for group in spread::groups_with(set, &spread.application) {
                findings.push(spread.on_route(route, group, Severity::Conflict));
                findings.push(spread.on_group(route, group));
            }
        }
        Self { services: backends.map(convert::routes::service).collect(), spreads, findings }
    }
}

/// Errors of routes that a transaction writes although a group had the application before.
pub(crate) fn introduced(changes: &[ObjectChange], set: &Set, services: &Services) -> Vec<Finding> {
    let mut findings = Vec::new();
    let spreads =
        |route: &AnyRoute<'_>| spread::spreads(route, set, |id| application(services, id));
    for change in changes {
        let new = change.new.as_ref().and_then(|stored| AnyRoute::of(&stored.object));
        let Some(new) = new else { continue };
        let old = change.old.as_ref().and_then(|stored| AnyRoute::of(&stored.object));
        let before = old.as_ref().map(spreads).unwrap_or_default();
        let is_new = |it: &Spread| before.iter().all(|old| old.application != it.application);
        for spread in spreads(&new).into_iter().filter(is_new) {
            let groups = spread::groups_with(set, &spread.application).filter(|group| {
                old.is_some() || set.created(&group.key()) < set.created(&new.key())
            });
            findings.extend(groups.map(|group| spread.on_route(&new, group, Severity::Error)));
        }
    }
    findings
}

fn application(services: &Services, id: &ServiceId) -> Option<String> {
    services.get(id).map(|service| service.application().to_string())
}

fn index<K: Hash + Eq + Clone>(index: &mut Index<K>, by: &K, route: &Key) {
    index.entry(by.clone()).or_default().insert(route.clone());
}

fn unindex<K: Hash + Eq>(index: &mut Index<K>, by: &K, route: &Key) {
    if let Some(routes) = index.get_mut(by) {
        routes.remove(route);
        if routes.is_empty() {
            index.remove(by);
        }
    }
}
