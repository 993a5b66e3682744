//! Lane groups as they are distributed, and which lanes requests may not enter yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
    time::Instant,
};

use api::{convert, resource::Set};
use lanes::{Group, GroupSpec, Tag, group::EntranceSpec};

use super::versioned::{self, Versioned};
use crate::key::{Key, Topic, Touch};

/// A lane of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneName {
    /// The group.
    pub group: Arc<str>,
    /// The tag.
    pub tag: Tag,
}

#[derive(Debug)]
struct Entry {
    spec: GroupSpec,
    wire: Versioned,
    compiled: OnceLock<Option<Arc<Group>>>,
    /// The generation of its last change.
    generation: u64,
}

type Index = HashMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Groups in force, by name.
#[derive(Debug, Default)]
pub struct Groups {
    by_name: BTreeMap<Arc<str>, Entry>,
    by_application: Index,
    by_gateway: Index,
    /// Lanes that wait for data planes, and until when at most.
    held_back: BTreeMap<LaneName, Instant>,
}

impl Groups {
    /// Builds a group anew from its objects. Lanes that were not enabled before are held back until `admit_at`;
    /// at the start (`None`) what is enabled was admitted before.
    pub fn rebuild(
        &mut self,
        name: &Arc<str>,
        set: &Set,
        admit_at: Option<Instant>,
        touches: &mut Vec<Touch>,
    ) {
        let Some(mut spec) = spec_in(set, name) else {
            self.remove(name, touches);
            return;
        };
        self.hold_back(name, &spec, admit_at);
        for lane in &mut spec.lanes {
            let lane_name = LaneName { group: Arc::clone(name), tag: lane.tag.clone() };
            lane.admitting = !self.held_back.contains_key(&lane_name);
        }
        self.put(name, spec, touches);
    }

    /// Lets requests into a lane that was held back.
    pub fn admit(&mut self, lane: &LaneName, touches: &mut Vec<Touch>) {
        if self.held_back.remove(lane).is_none() {
            return;
        }
        let Some(entry) = self.by_name.get(&lane.group) else { return };
        let mut spec = entry.spec.clone();
        for written in spec.lanes.iter_mut().filter(|written| written.tag == lane.tag) {
            written.admitting = true;
        }
        self.put(&Arc::clone(&lane.group), spec, touches);
    }

    /// Notes in which generation groups changed last.
    pub fn note_generation(&mut self, touches: &[Touch], generation: u64) {
        for touch in touches {
            if let Touch::Content(Key::Group(name)) = touch
                && let Some(entry) = self.by_name.get_mut(name)
            {
                entry.generation = generation;
            }
        }
    }

    fn hold_back(&mut self, name: &Arc<str>, spec: &GroupSpec, admit_at: Option<Instant>) {
        let before = self.by_name.get(name).map(|entry| &entry.spec);
        let was_enabled = |tag: &Tag| {
            let mut lanes = before.into_iter().flat_map(|before| &before.lanes);
            lanes.any(|lane| lane.enabled && lane.tag == *tag)
        };
        let new: Vec<&Tag> = (spec.lanes.iter())
            .filter(|lane| lane.enabled && !was_enabled(&lane.tag))
            .map(|lane| &lane.tag)
            .collect();
        self.held_back.retain(|held, _| {
            held.group != *name
                || spec.lanes.iter().any(|lane| lane.enabled && lane.tag == held.tag)
        });
        for tag in new {
            if let Some(admit_at) = admit_at {
                let lane = LaneName { group: Arc::clone(name), tag: tag.clone() };
                self.held_back.insert(lane, admit_at);
            }
        }
    }

    fn put(&mut self, name: &Arc<str>, spec: GroupSpec, touches: &mut Vec<Touch>) {
        let wire = versioned::group(&spec);
        let before = self.by_name.get(name);
        if before.is_some_and(|before| before.wire.version == wire.version) {
            return;
        }
        let generation = before.map_or(0, |before| before.generation);
        let old = before.map(|before| Reach::of(&before.spec)).unwrap_or_default();
        let new = Reach::of(&spec);
        self.by_name
            .insert(Arc::clone(name), Entry { spec, wire, compiled: OnceLock::new(), generation });
        touches.push(Touch::Content(Key::Group(Arc::clone(name))));
        self.reach(name, &old, &new, touches);
    }

    fn remove(&mut self, name: &Arc<str>, touches: &mut Vec<Touch>) {
        let Some(entry) = self.by_name.remove(name) else { return };
        self.held_back.retain(|held, _| held.group != *name);
        touches.push(Touch::Content(Key::Group(Arc::clone(name))));
        self.reach(name, &Reach::of(&entry.spec), &Reach::default(), touches);
    }

    /// Brings the indexes up to date and touches those for whom the group begins or ceases to matter.
    fn reach(&mut self, name: &Arc<str>, old: &Reach, new: &Reach, touches: &mut Vec<Touch>) {
        for gone in old.applications.difference(&new.applications) {
            unindex(&mut self.by_application, gone, name);
            touches.push(Touch::Share(Topic::Application(Arc::clone(gone))));
        }
        for come in new.applications.difference(&old.applications) {
            self.by_application.entry(Arc::clone(come)).or_default().insert(Arc::clone(name));
            touches.push(Touch::Share(Topic::Application(Arc::clone(come))));
        }
        for gone in old.gateways.difference(&new.gateways) {
            unindex(&mut self.by_gateway, gone, name);
            touches.push(Touch::Share(Topic::Entrance(Arc::clone(gone))));
        }
        for come in new.gateways.difference(&old.gateways) {
            self.by_gateway.entry(Arc::clone(come)).or_default().insert(Arc::clone(name));
            touches.push(Touch::Share(Topic::Entrance(Arc::clone(come))));
        }
    }
}

/// What others ask.
impl Groups {
    /// A group as it is distributed.
    pub fn wire(&self, name: &str) -> Option<&Versioned> {
        self.by_name.get(name).map(|entry| &entry.wire)
    }

    /// A group as it runs.
    pub fn spec(&self, name: &str) -> Option<&GroupSpec> {
        self.by_name.get(name).map(|entry| &entry.spec)
    }

    /// The generation of a group's last change.
    pub fn generation(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|entry| entry.generation)
    }

    /// All groups as they run, by name.
    pub fn all(&self) -> impl Iterator<Item = &GroupSpec> {
        self.by_name.values().map(|entry| &entry.spec)
    }

    /// All groups, compiled; one that cannot be is left out.
    pub fn compiled(&self) -> impl Iterator<Item = &Arc<Group>> {
        let compile = |entry: &Entry| Group::compile(entry.spec.clone()).ok().map(Arc::new);
        self.by_name
            .values()
            .filter_map(move |entry| entry.compiled.get_or_init(|| compile(entry)).as_ref())
    }

    /// Groups that have the application as a member or an entrance.
    pub fn of_application(&self, application: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_application.get(application).into_iter().flatten()
    }

    /// Groups that have the gateway as an entrance.
    pub fn of_gateway(&self, gateway: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_gateway.get(gateway).into_iter().flatten()
    }

    /// Lanes that wait for data planes, and until when at most.
    pub fn held_back(&self) -> impl Iterator<Item = (&LaneName, Instant)> {
        self.held_back.iter().map(|(lane, until)| (lane, *until))
    }
}

/// For whom a group matters.
#[derive(Debug, Default)]
struct Reach {
    applications: BTreeSet<Arc<str>>,
    gateways: BTreeSet<Arc<str>>,
}

impl Reach {
    fn of(spec: &GroupSpec) -> Self {
        let mut reach = Self::default();
        reach.applications.extend(spec.applications.iter().map(|name| name.as_str().into()));
        for entrance in &spec.entrances {
            match entrance {
                EntranceSpec::Gateway { name, .. } => reach.gateways.insert(name.as_str().into()),
                EntranceSpec::Application { name, .. } => {
                    reach.applications.insert(name.as_str().into())
                }
            };
        }
        reach
    }
}

fn unindex(index: &mut Index, of: &Arc<str>, name: &Arc<str>) {
    if let Some(names) = index.get_mut(of) {
        names.remove(name);
        if names.is_empty() {
            index.remove(of);
        }
    }
}

/// The oldest group of this name, with its lanes in order of creation; a lane that is wrong is left out.
fn spec_in(set: &Set, name: &str) -> Option<GroupSpec> {
    let resource = set.lane_groups().find(|group| group.metadata.name == name)?;
    let mut spec = convert::lanes::group(resource).ok()?;
    spec.lanes = convert::lanes::lanes_of(set, resource)
        .filter_map(|lane| convert::lanes::lane_spec(lane, true).ok())
        .collect();
    Some(spec)
}
