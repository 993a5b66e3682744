//! Lane groups as they are distributed, and which lanes requests may not enter yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, OnceLock},
    time::Instant,
};

use api::{
    convert,
    resource::{Key, Set},
};
use lanes::{Group, GroupSpec, Tag, group::EntranceSpec};

use super::versioned::{self, Versioned};
use crate::key::{ResourceKey, Topic, Touch};

#[derive(Debug)]
struct Distributed {
    /// The object that it is of.
    object: Key,
    spec: GroupSpec,
    wire: Versioned,
    compiled: OnceLock<Option<Arc<Group>>>,
    /// The generation of its last change.
    generation: u64,
}

/// A lane that waits for data planes.
#[derive(Debug, Clone, Copy)]
struct Held {
    until: Instant,
    /// It was told as paused and is resumed: told as paused until requests may enter it, it keeps its place in the draw.
    is_resumed: bool,
}

type Index = HashMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Groups in force, by name.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_name: BTreeMap<Arc<str>, Distributed>,
    by_application: Index,
    by_gateway: Index,
    /// Lanes that wait for data planes, by group, and until when at most.
    held_back: BTreeMap<Arc<str>, BTreeMap<Tag, Held>>,
    /// When something held back is due, the earliest first; what was let in meanwhile has nothing due.
    deadlines: VecDeque<(Instant, Arc<str>)>,
}

impl Groups {
    /// Builds a group anew from its objects. Lanes that were not enabled before are held back until `admit_at`;
    /// at the start (`None`) what is enabled was admitted before.
    pub(crate) fn rebuild(
        &mut self,
        name: &Arc<str>,
        set: &Set,
        admit_at: Option<Instant>,
        touches: &mut Vec<Touch>,
    ) {
        let Some((object, mut spec)) = spec_in(set, name) else {
            self.remove(name, touches);
            return;
        };
        self.hold_back(name, &spec, admit_at);
        if let Some(held_back) = self.held_back.get_mut(name) {
            let before = self.by_name.get(name).map(|entry| &*entry.spec.lanes).unwrap_or_default();
            for lane in &mut spec.lanes {
                let Some(held) = held_back.get_mut(&lane.tag) else { continue };
                let had_a_place =
                    before.iter().any(|it| it.tag == lane.tag && it.enabled && it.paused);
                held.is_resumed = had_a_place && !lane.paused;
                lane.paused |= held.is_resumed;
                lane.admitting = false;
            }
        }
        self.put(name, object, spec, touches);
    }

    /// Lets requests into the lanes of a group that were held back.
    pub(crate) fn admit(&mut self, group: &Arc<str>, touches: &mut Vec<Touch>) {
        self.admit_those(group, |_| true, touches);
    }

    /// Lets requests into lanes that were held back for long enough; says when the next are due.
    pub(crate) fn admit_due(&mut self, now: Instant, touches: &mut Vec<Touch>) -> Option<Instant> {
        while let Some((at, _)) = self.deadlines.front()
            && *at <= now
            && let Some((_, group)) = self.deadlines.pop_front()
        {
            self.admit_those(&group, |until| until <= now, touches);
        }
        self.deadlines.front().map(|(at, _)| *at)
    }

    fn admit_those(
        &mut self,
        group: &Arc<str>,
        may_enter: impl Fn(Instant) -> bool,
        touches: &mut Vec<Touch>,
    ) {
        let Some(held_back) = self.held_back.get_mut(group) else { return };
        let admitted: BTreeMap<Tag, Held> =
            held_back.extract_if(.., |_, held| may_enter(held.until)).collect();
        let waiting: BTreeSet<Tag> = held_back.keys().cloned().collect();
        if waiting.is_empty() {
            self.held_back.remove(group);
        }
        let Some(entry) = self.by_name.get(group) else { return };
        let (object, mut spec) = (entry.object.clone(), entry.spec.clone());
        for lane in &mut spec.lanes {
            lane.admitting = !waiting.contains(&lane.tag);
            lane.paused &= !admitted.get(&lane.tag).is_some_and(|held| held.is_resumed);
        }
        self.put(group, object, spec, touches);
    }

    /// Notes in which generation groups changed last.
    pub(crate) fn note_generation(&mut self, touches: &[Touch], generation: u64) {
        for touch in touches {
            if let Touch::Content(ResourceKey::Group(name)) = touch
                && let Some(entry) = self.by_name.get_mut(name)
            {
                entry.generation = generation;
            }
        }
    }

    fn hold_back(&mut self, name: &Arc<str>, spec: &GroupSpec, admit_at: Option<Instant>) {
        let before = self.by_name.get(name).map(|entry| &entry.spec);
        let enabled = |spec: &GroupSpec| -> BTreeSet<Tag> {
            spec.lanes.iter().filter(|lane| lane.enabled).map(|lane| lane.tag.clone()).collect()
        };
        let (was, is) = (before.map(enabled).unwrap_or_default(), enabled(spec));
        let held_back = self.held_back.entry(Arc::clone(name)).or_default();
        held_back.retain(|tag, _| is.contains(tag));
        if let Some(admit_at) = admit_at {
            let waiting = held_back.len();
            let held = Held { until: admit_at, is_resumed: false };
            held_back.extend(is.difference(&was).map(|tag| (tag.clone(), held)));
            if held_back.len() > waiting {
                self.deadlines.push_back((admit_at, Arc::clone(name)));
            }
        }
        if held_back.is_empty() {
            self.held_back.remove(name);
        }
    }

    fn put(&mut self, name: &Arc<str>, object: Key, spec: GroupSpec, touches: &mut Vec<Touch>) {
        let wire = versioned::group(&spec);
        if let Some(before) = self.by_name.get_mut(name)
            && before.wire.version == wire.version
        {
            before.object = object;
            return;
        }
        let before = self.by_name.get(name);
        let generation = before.map_or(0, |before| before.generation);
        let reaches_the_same = before.is_some_and(|before| {
            before.spec.applications == spec.applications && before.spec.entrances == spec.entrances
        });
        let reaches = (!reaches_the_same).then(|| {
            let old = before.map(|before| Reach::of(&before.spec)).unwrap_or_default();
            (old, Reach::of(&spec))
        });
        let compiled = OnceLock::new();
        let distributed = Distributed { object, spec, wire, compiled, generation };
        self.by_name.insert(Arc::clone(name), distributed);
        touches.push(Touch::Content(ResourceKey::Group(Arc::clone(name))));
        if let Some((old, new)) = reaches {
            self.reach(name, &old, &new, touches);
        }
    }

    fn remove(&mut self, name: &Arc<str>, touches: &mut Vec<Touch>) {
        let Some(entry) = self.by_name.remove(name) else { return };
        self.held_back.remove(name);
        touches.push(Touch::Content(ResourceKey::Group(Arc::clone(name))));
        self.reach(name, &Reach::of(&entry.spec), &Reach::default(), touches);
    }

    /// Brings the indexes up to date and touches those for whom the group begins or ceases to matter.
    fn reach(&mut self, name: &Arc<str>, old: &Reach, new: &Reach, touches: &mut Vec<Touch>) {
        if old.members != new.members {
            // Who is in it, or is its entrance, is told what belongs to its members.
            touches.push(Touch::Share(Topic::Resource(ResourceKey::Group(Arc::clone(name)))));
        }
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
    pub(crate) fn wire(&self, name: &str) -> Option<&Versioned> {
        self.by_name.get(name).map(|entry| &entry.wire)
    }

    /// The object that is the group of this name.
    pub(crate) fn object(&self, name: &str) -> Option<&Key> {
        self.by_name.get(name).map(|entry| &entry.object)
    }

    /// A group as it runs.
    pub(crate) fn spec(&self, name: &str) -> Option<&GroupSpec> {
        self.by_name.get(name).map(|entry| &entry.spec)
    }

    /// The generation of a group's last change.
    pub(crate) fn generation(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|entry| entry.generation)
    }

    /// The names of all groups, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// All groups, compiled; one that cannot be is left out.
    pub(crate) fn compiled(&self) -> impl Iterator<Item = &Arc<Group>> {
        let compile = |entry: &Distributed| Group::compile(entry.spec.clone()).ok().map(Arc::new);
        self.by_name
            .values()
            .filter_map(move |entry| entry.compiled.get_or_init(|| compile(entry)).as_ref())
    }

    /// Groups that have the application as a member or an entrance.
    pub(crate) fn of_application(&self, application: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_application.get(application).into_iter().flatten()
    }

    /// Groups that have the gateway as an entrance.
    pub(crate) fn of_gateway(&self, gateway: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_gateway.get(gateway).into_iter().flatten()
    }

    /// Whether requests enter a group at a gateway, or else at an application.
    pub(crate) fn is_entrance(&self, group: &str, (is_gateway, at): (bool, &str)) -> bool {
        self.spec(group).is_some_and(|spec| {
            spec.entrances.iter().any(|entrance| match entrance {
                EntranceSpec::Gateway { name, .. } => is_gateway && name.as_str() == at,
                EntranceSpec::Application { name, .. } => !is_gateway && name.as_str() == at,
            })
        })
    }

    /// Whether lanes of a group wait for data planes.
    pub(crate) fn is_held_back(&self, group: &str) -> bool {
        self.held_back.contains_key(group)
    }

    /// Groups of which lanes wait for data planes.
    pub(crate) fn held_back(&self) -> impl Iterator<Item = &Arc<str>> {
        self.held_back.keys()
    }
}

/// For whom a group matters.
#[derive(Debug, Default)]
struct Reach {
    /// Of these all are told the services.
    members: BTreeSet<Arc<str>>,
    /// Members and entrances.
    applications: BTreeSet<Arc<str>>,
    gateways: BTreeSet<Arc<str>>,
}

impl Reach {
    fn of(spec: &GroupSpec) -> Self {
        let mut reach = Self::default();
        reach.members.extend(spec.applications.iter().map(|name| name.as_str().into()));
        reach.applications.clone_from(&reach.members);
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
fn spec_in(set: &Set, name: &str) -> Option<(Key, GroupSpec)> {
    let resource = set.lane_groups().find(|group| group.metadata.name == name)?;
    let mut spec = convert::lanes::group(resource).ok()?;
    spec.lanes = (set.lanes_of(resource))
        .filter_map(|lane| convert::lanes::lane_spec(lane, true).ok())
        .collect();
    Some((resource.key(), spec))
}
