//! What the control plane says of objects: conditions, matched instances, how far each has reached.
//!
//! The status of every object is kept, and every change marks those whose status may read otherwise now. They are
//! looked at again when somebody asks for one, and otherwise all together, at most once per [`LOOK_INTERVAL`]:
//! acknowledgements of a thousand data planes change the status of a group's lanes a few times and not a thousand.
//! What did change gets the next number of the stream of changes, which watches follow.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    convert,
    resource::{AnyRoute, Key, Kind, LaneVerdict, Object, Status, StatusCondition},
    validate::Finding,
};
use foldhash::{HashMap, HashSet};

use crate::{
    distribute::Distribution, key::ResourceKey, objects::ObjectChange, picture::Picture,
    store::Revision,
};

mod backend_policies;
mod certificates;
mod condition;
mod instances;
mod reading;

use instances::Instances;

/// How often marked objects are looked at: people see a lane fill up, and a change is told while it is news.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Commits of which it is kept what was the latest change of a status then: as many as watches can go on from. Who goes
/// on from an older one is told every status.
const COMMITS_MAX: usize = 4_096;

/// Conditions that wait to be told as events: what more there is at once nobody reads one by one.
const NEWS_MAX: usize = 1_024;

/// What is wrong or doubtful, by object.
pub(crate) type Findings = HashMap<Key, Vec<Finding>>;

/// What statuses are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'h> {
    /// What is distributed.
    pub picture: &'h Picture,
    /// How far it has got.
    pub distribution: &'h Distribution,
}

/// The status of every object. Its tables are asked for every message and every acknowledgement, so they hash fast.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    known: HashMap<Key, Known>,
    /// Every object by the number of its latest change.
    changes: BTreeMap<u64, Key>,
    number: u64,
    /// The number when objects came to a revision, in order.
    commits: VecDeque<(Revision, u64)>,
    /// Objects to look at whole.
    marked: HashSet<Key>,
    /// Resources that got further: the objects they come from count the same instances as before.
    marked_resources: HashSet<ResourceKey>,
    /// The objects whose status depends on a resource.
    depending: HashMap<ResourceKey, BTreeSet<Key>>,
    findings: Findings,
    verdicts: HashMap<Key, LaneVerdict>,
    instances: Instances,
    looked_at: Option<Instant>,
    looks: u64,
    /// Conditions that read otherwise since they were taken.
    news: Vec<(Key, StatusCondition)>,
}

#[derive(Debug, Default)]
struct Known {
    status: Status,
    /// Number of the change that led to it; 0 for none.
    changed_in: u64,
}

impl Statuses {
    /// Stored objects changed.
    pub(crate) fn objects_changed(&mut self, changes: &[ObjectChange]) {
        for change in changes {
            for (stored, exists) in [(&change.old, false), (&change.new, true)] {
                // At how many listeners a route stands, these tell.
                let route = stored.as_ref().and_then(|stored| AnyRoute::of(&stored.object));
                self.marked.extend(route.iter().flat_map(AnyRoute::gateways_named));
                let resource = stored.as_ref().and_then(|stored| resource_of(&stored.object));
                let Some(resource) = resource else { continue };
                if exists {
                    self.depending.entry(resource.clone()).or_default().insert(change.key.clone());
                } else if let Some(objects) = self.depending.get_mut(&resource) {
                    objects.remove(&change.key);
                }
                // Which of several objects of one name is in force, and whom a lane belongs to, is up to these.
                if change.key.kind != Kind::Lane {
                    self.mark_depending(&resource);
                }
            }
            self.marked.insert(change.key.clone());
        }
        if let Some(revision) = changes.iter().map(|change| change.revision).max() {
            self.commits.push_back((revision, self.number));
            if self.commits.len() > COMMITS_MAX {
                self.commits.pop_front();
            }
        }
    }

    /// Something else is wrong or doubtful with `changed` objects than before.
    pub(crate) fn findings_changed(&mut self, findings: Findings, changed: Vec<Key>) {
        for object in changed {
            // A group's conflicts are told of its lanes too.
            if object.kind == Kind::LaneGroup {
                self.mark_depending(&ResourceKey::Group(object.name.as_str().into()));
            }
            self.marked.insert(object);
        }
        self.findings = findings;
    }

    /// Lanes stand beside base so now, those that are judged; says whether any stands otherwise than before.
    pub(crate) fn judged(&mut self, verdicts: HashMap<Key, LaneVerdict>) -> bool {
        let keys = verdicts.keys().chain(self.verdicts.keys());
        let differ = |lane: &&Key| verdicts.get(*lane) != self.verdicts.get(*lane);
        let changed: Vec<Key> = keys.filter(differ).cloned().collect();
        let is_other = !changed.is_empty();
        self.marked.extend(changed);
        self.verdicts = verdicts;
        is_other
    }

    /// Something is otherwise that an object's status tells.
    pub(crate) fn mark(&mut self, object: Key) {
        self.marked.insert(object);
    }

    /// Other conflicts are told of an object than before.
    pub(crate) fn conflicts_changed(&mut self, object: Key) {
        if object.kind == Kind::LaneGroup {
            self.marked_resources.insert(ResourceKey::Group(object.name.as_str().into()));
        }
        self.marked.insert(object);
    }

    /// A resource changed, or got further, or less far.
    pub(crate) fn resource_changed(&mut self, resource: ResourceKey) {
        if self.depending.contains_key(&resource) {
            self.marked_resources.insert(resource);
        }
    }

    /// A source stands otherwise than before, or another object has its name.
    pub(crate) fn source_changed(&mut self, name: &str, picture: &Picture) {
        let sources = picture.set().service_sources();
        let same = sources.filter(|source| source.metadata.name == name);
        self.marked.extend(same.map(api::resource::Resource::key));
    }

    /// Instances of an application changed.
    pub(crate) fn application_changed(&mut self, application: &Arc<str>, picture: &Picture) {
        let mut groups = picture.groups.of_application(application).peekable();
        if groups.peek().is_none() {
            return self.instances.forget(application);
        }
        if self.instances.recount(application, &picture.services) {
            for group in groups {
                self.mark_depending(&ResourceKey::Group(Arc::clone(group)));
            }
        }
    }

    /// The status of an object as it is now.
    pub(crate) fn of(&mut self, object: &Key, sight: Sight<'_>) -> Status {
        let is_marked = self.marked.remove(object);
        let resource = sight.picture.set().get(object).and_then(resource_of);
        let moved = resource.is_some_and(|resource| self.marked_resources.contains(&resource));
        if is_marked || moved {
            self.look(object, !is_marked, sight);
        }
        self.known.get(object).map(|known| known.status.clone()).unwrap_or_default()
    }

    /// The status of an object that is in force without being stored; it is nobody's to follow.
    pub(crate) fn of_unstored(&mut self, object: &Object, sight: Sight<'_>) -> Status {
        reading::status(object, None, sight, &self.findings, &mut self.instances)
    }

    /// Looks at what is marked, if it was not done just now; says when to look again.
    pub(crate) fn look_at_marked(&mut self, now: Instant, sight: Sight<'_>) -> Option<Instant> {
        if self.marked.is_empty() && self.marked_resources.is_empty() {
            return None;
        }
        let due = self.looked_at.map_or(now, |at| at + LOOK_INTERVAL);
        if due > now {
            return Some(due);
        }
        self.looked_at = Some(now);
        let marked = mem::take(&mut self.marked);
        for resource in mem::take(&mut self.marked_resources) {
            for object in self.depending.get(&resource).cloned().unwrap_or_default() {
                if !marked.contains(&object) {
                    self.look(&object, true, sight);
                }
            }
        }
        for object in &marked {
            self.look(object, false, sight);
        }
        None
    }

    /// Conditions that read otherwise than when this was last asked.
    pub(crate) fn take_news(&mut self) -> Vec<(Key, StatusCondition)> {
        mem::take(&mut self.news)
    }

    /// The number of the latest change.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A number that was the latest when the objects came to a revision, or before: who knows the state of then has not
    /// missed an earlier change.
    pub(crate) fn number_at(&self, revision: Revision) -> u64 {
        let later = self.commits.partition_point(|(at, _)| *at <= revision);
        later.checked_sub(1).map_or(0, |last| self.commits[last].1)
    }

    /// Objects whose status changed after a number, the latest change of each, in order.
    pub(crate) fn changed_after(&self, number: u64) -> impl Iterator<Item = &Key> {
        self.changes.range(number + 1..).map(|(_, object)| object)
    }

    /// How often an object's status was read, all in all.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    /// Usable instances of every application of a group in every lane: application, tag, count.
    pub(crate) fn instances_in_lanes(
        &mut self,
        group: &lanes::GroupSpec,
        picture: &Picture,
    ) -> Vec<(String, String, usize)> {
        let mut all = Vec::new();
        for application in &group.applications {
            let usable = self.instances.of(application, &picture.services);
            for lane in &group.lanes {
                let tag = lane.tag.as_str().to_owned();
                all.push((application.clone(), tag, usable.tagged(&lane.tag)));
            }
        }
        all
    }

    fn mark_depending(&mut self, resource: &ResourceKey) {
        self.marked.extend(self.depending.get(resource).into_iter().flatten().cloned());
    }

    /// Reads an object's status anew. `as_matched`: it counts the same instances as before.
    fn look(&mut self, key: &Key, as_matched: bool, sight: Sight<'_>) {
        let Some(object) = sight.picture.set().get(key) else {
            if let Some(known) = self.known.remove(key) {
                self.changes.remove(&known.changed_in);
            }
            return;
        };
        self.looks += 1;
        let known = self.known.entry(key.clone()).or_default();
        // Moved over and not compared: a group's lanes count each of its applications, 10 000 texts for 100 of both.
        let matched = as_matched.then(|| mem::take(&mut known.status.matched));
        let matched = matched.filter(|matched| !matched.is_empty());
        let is_moved = matched.is_some();
        let mut status =
            reading::status(object, matched, sight, &self.findings, &mut self.instances);
        status.verdict = self.verdicts.get(key).cloned();
        let moved = is_moved.then(|| mem::take(&mut status.matched));
        let is_same = known.changed_in > 0 && known.status == status;
        if known.changed_in > 0 && !is_same && self.news.len() < NEWS_MAX {
            let news =
                news(&known.status, &status).map(|condition| (key.clone(), condition.clone()));
            self.news.extend(news);
        }
        if let Some(moved) = moved {
            status.matched = moved;
        }
        known.status = status;
        if is_same {
            return;
        }
        self.changes.remove(&known.changed_in);
        self.number += 1;
        known.changed_in = self.number;
        self.changes.insert(self.number, key.clone());
    }
}

/// Conditions that say something else than before, or for the first time. That a change is on its way to data planes is
/// true for a moment after every change, and no news.
fn news<'s>(before: &'s Status, now: &'s Status) -> impl Iterator<Item = &'s StatusCondition> {
    now.conditions.iter().filter(|condition| {
        let was = before.conditions.iter().find(|was| was.kind == condition.kind);
        condition.reason != "Distributing" && was.is_none_or(|was| was.reason != condition.reason)
    })
}

/// What is distributed of an object, alone or with others.
fn resource_of(object: &Object) -> Option<ResourceKey> {
    match object {
        Object::LaneGroup(group) => Some(ResourceKey::Group(group.metadata.name.as_str().into())),
        Object::Lane(lane) => Some(ResourceKey::Group(lane.spec.group.as_str().into())),
        Object::Gateway(gateway) => gateway
            .spec
            .laneway()
            .map(|_| ResourceKey::Gateway(gateway.metadata.name.as_str().into())),
        Object::HttpRoute(_) | Object::GrpcRoute(_) | Object::TlsRoute(_) => {
            let key = convert::routes::route_key(&object.key())?;
            Some(ResourceKey::Route(key.into()))
        }
        Object::Certificate(certificate) => {
            let metadata = &certificate.metadata;
            Some(ResourceKey::Certificate(
                format!("{}/{}", metadata.namespace, metadata.name).into(),
            ))
        }
        Object::Backend(_) | Object::BackendTlsPolicy(_) | Object::ServiceSource(_) => None,
    }
}
