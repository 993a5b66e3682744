//! What the control plane says of objects: conditions, matched instances, how far each has reached.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use api::{
    convert,
    resource::{
        Key as ObjectKey, Lane, Live, Matched, Object, Resource, Spec, Status, StatusCondition,
    },
    validate::{Finding, Severity},
};
use lanes::{Service, Tag, service::Health};

use crate::{
    Control, conflicts, distribute, hub::Hub, key::Key, sources::Standing, store::StoredObject,
};

impl Control {
    /// An object with its status as it is now.
    pub(crate) fn present(&self, stored: &StoredObject) -> Object {
        let findings = Arc::clone(self.ledger().view().findings());
        let hub = self.hub();
        Statuses::new(&hub, &findings).present(stored)
    }

    /// Objects with their status as it is now.
    pub(crate) fn present_all(&self, stored: &[Arc<StoredObject>]) -> Vec<Object> {
        let findings = Arc::clone(self.ledger().view().findings());
        let hub = self.hub();
        let statuses = Statuses::new(&hub, &findings);
        stored.iter().map(|stored| statuses.present(stored)).collect()
    }
}

/// How many usable instances an application has of each tag.
type Usable<'h> = HashMap<Option<&'h Tag>, usize>;

/// Makes status for objects of one moment.
#[derive(Debug)]
pub struct Statuses<'h> {
    hub: &'h Hub,
    findings: HashMap<ObjectKey, Vec<Finding>>,
    by_application: HashMap<&'h str, Vec<&'h Arc<Service>>>,
    /// Usable instances of the applications asked for so far, by tag: many lanes ask for the same ones.
    usable: RefCell<HashMap<String, Usable<'h>>>,
    /// Who does not take a resource, and why.
    refusals: HashMap<Key, Vec<(&'h str, String)>>,
}

impl<'h> Statuses<'h> {
    /// Of the hub as it is, with what validation found.
    pub fn new(hub: &'h Hub, of_validation: &[Finding]) -> Self {
        let mut by_application: HashMap<&str, Vec<&Arc<Service>>> = HashMap::new();
        for service in hub.picture().services.all() {
            by_application.entry(service.application()).or_default().push(service);
        }
        let mut findings: HashMap<ObjectKey, Vec<Finding>> = HashMap::new();
        for finding in of_validation.iter().cloned().chain(conflicts::of(hub.picture())) {
            findings.entry(finding.object.clone()).or_default().push(finding);
        }
        let mut refusals: HashMap<Key, Vec<(&str, String)>> = HashMap::new();
        for data_plane in hub.data_planes() {
            for refusal in data_plane.refusals() {
                let by = (data_plane.hello().node.as_str(), refusal.reason);
                refusals.entry(refusal.key).or_default().push(by);
            }
        }
        Self { hub, findings, by_application, usable: RefCell::default(), refusals }
    }

    /// The object with its status.
    pub fn present(&self, stored: &StoredObject) -> Object {
        let mut object = stored.object.clone();
        let status = self.of(&object);
        object.set_status(Some(status));
        object
    }

    fn of(&self, object: &Object) -> Status {
        let mut status = match object {
            Object::Lane(lane) => self.of_lane(lane),
            Object::LaneGroup(group) => self.of_group(&group.key()),
            Object::HttpRoute(route) => {
                self.of_route(&format!("{}/{}", route.metadata.namespace, route.metadata.name))
            }
            Object::Gateway(gateway) => self.of_gateway(&gateway.key()),
            Object::ServiceSource(source) => self.of_source(&source.key()),
            Object::Backend(_) => Status::default(),
        };
        if let Some(error) = self.finding(&object.key(), Severity::Error) {
            status.conditions.retain(|condition| condition.kind != "Ready");
            status.conditions.push(condition("Ready", false, "Invalid", error.problem.to_string()));
        }
        let of_group = match object {
            Object::Lane(lane) => {
                self.finding(&convert::lanes::group_key(lane), Severity::Conflict)
            }
            _ => None,
        };
        if let Some(conflict) = self.finding(&object.key(), Severity::Conflict).or(of_group) {
            let message = conflict.problem.to_string();
            status.conditions.push(condition("Conflicted", true, "Conflict", message));
        }
        for condition in &mut status.conditions {
            condition.observed_generation = object.metadata().generation;
        }
        if let Some(live) = &mut status.live {
            live.observed_generation = object.metadata().generation;
        }
        status
    }

    fn finding(&self, key: &ObjectKey, severity: Severity) -> Option<&Finding> {
        self.findings.get(key)?.iter().find(|finding| finding.severity == severity)
    }

    fn of_lane(&self, lane: &Lane) -> Status {
        let tag = convert::lanes::tag_text(lane);
        let picture = self.hub.picture();
        let group_key = convert::lanes::group_key(lane);
        let spec = picture
            .groups
            .spec(&lane.spec.group)
            .filter(|_| is_first_of_its_name(picture.set().lane_groups(), &group_key));
        let running = spec.and_then(|spec| {
            spec.lanes.iter().find(|running| running.tag.as_str() == tag).map(|lane| (spec, lane))
        });
        let Some((group, running)) = running else {
            let message = format!("there is no group {} that has this lane", lane.spec.group);
            return Status {
                conditions: vec![condition("Ready", false, "NotInForce", message)],
                ..Status::default()
            };
        };
        let mut status = self.of_group(&group_key);
        if !running.enabled {
            let message = "the lane is disabled: requests in it are served by the base".to_owned();
            status.conditions = vec![condition("Ready", false, "Disabled", message)];
        } else if !running.admitting {
            let message = "requests enter when the data planes behind the entrances know the lane";
            status.conditions = vec![condition("Ready", false, "Admitting", message.to_owned())];
        }
        status.matched = (group.applications.iter())
            .map(|application| self.matched(application, &running.tag))
            .collect();
        status
    }

    fn of_group(&self, key: &ObjectKey) -> Status {
        let name = key.name.as_str();
        let is_first = is_first_of_its_name(self.hub.picture().set().lane_groups(), key);
        let Some((live, generation)) = self.hub.live(name).filter(|_| is_first) else {
            let message =
                "the group is not in force: another has its name, or it is wrong".to_owned();
            return Status {
                conditions: vec![condition("Ready", false, "NotInForce", message)],
                ..Status::default()
            };
        };
        let ready = self.ready(&Key::Group(name.into()), live);
        Status { conditions: vec![ready], matched: Vec::new(), live: Some(shown(live, generation)) }
    }

    fn of_route(&self, name: &str) -> Status {
        let routing = &self.hub.picture().routing;
        let (Some(spec), Some(wire)) = (routing.route_spec(name), routing.route(name)) else {
            let message = "the route cannot be used".to_owned();
            return Status {
                conditions: vec![condition("Accepted", false, "Invalid", message)],
                ..Status::default()
            };
        };
        let key = Key::Route(name.into());
        let live = self.hub.live_of(&key, wire.version);
        let mut conditions = vec![if spec.parents.is_empty() {
            let message = "no gateway of parentRefs exists and lets it attach".to_owned();
            condition("Accepted", false, "NoMatchingParent", message)
        } else {
            condition("Accepted", true, "Accepted", String::new())
        }];
        let mut backends = spec.rules.iter().flat_map(|rule| &rule.backends);
        conditions.push(match backends.find_map(|backend| backend.service.as_ref().err()) {
            None => condition("ResolvedRefs", true, "ResolvedRefs", String::new()),
            Some(problem) => condition("ResolvedRefs", false, "BackendNotFound", problem.clone()),
        });
        conditions.push(self.ready(&key, live));
        Status {
            conditions,
            matched: Vec::new(),
            live: Some(shown(live, routing.generation(name))),
        }
    }

    fn of_source(&self, key: &ObjectKey) -> Status {
        let picture = self.hub.picture();
        let standing = picture.sources().get(&key.name);
        let ready = match standing
            .filter(|_| is_first_of_its_name(picture.set().service_sources(), key))
        {
            None => {
                let message = "another source has its name".to_owned();
                condition("Ready", false, "NotInForce", message)
            }
            Some(Standing::Syncing { problem }) => {
                let message = problem.as_deref().unwrap_or("it has not told everything yet");
                condition("Ready", false, "Syncing", message.to_owned())
            }
            Some(Standing::Synced) => condition("Ready", true, "Synced", String::new()),
            // No age: this changes when the source does, not every second.
            Some(Standing::Stale { problem, .. }) => {
                let message = format!("it is out of contact, its last picture stays: {problem}");
                condition("Ready", false, "Stale", message)
            }
        };
        Status { conditions: vec![ready], ..Status::default() }
    }

    fn of_gateway(&self, key: &ObjectKey) -> Status {
        let name = key.name.as_str();
        let is_first = is_first_of_its_name(self.hub.picture().set().gateways(), key);
        let Some(wire) = self.hub.picture().routing.gateway(name).filter(|_| is_first) else {
            let message = "another gateway has its name, or it is wrong".to_owned();
            return Status {
                conditions: vec![condition("Accepted", false, "Invalid", message)],
                ..Status::default()
            };
        };
        let key = Key::Gateway(name.into());
        let live = self.hub.live_of(&key, wire.version);
        let conditions =
            vec![condition("Accepted", true, "Accepted", String::new()), self.ready(&key, live)];
        Status { conditions, matched: Vec::new(), live: None }
    }

    fn ready(&self, key: &Key, live: distribute::Live) -> StatusCondition {
        let refusals = self.refusals.get(key).map(Vec::as_slice).unwrap_or_default();
        if let Some((node, reason)) = refusals.first() {
            let more = match refusals.len() {
                1 => String::new(),
                several => format!(" (and {} more)", several - 1),
            };
            let message = format!("data plane {node}{more} does not take it: {reason}");
            return condition("Ready", false, "Refused", message);
        }
        let waiting = live.data_planes - live.acknowledged;
        if waiting > 0 {
            let message =
                format!("{waiting} of {} data planes have not confirmed it", live.data_planes);
            return condition("Ready", false, "Distributing", message);
        }
        condition("Ready", true, "Live", "every data plane that needs it has it".to_owned())
    }

    fn matched(&self, application: &str, tag: &Tag) -> Matched {
        let mut known = self.usable.borrow_mut();
        let usable = match known.get(application) {
            Some(usable) => usable,
            None => known.entry(application.to_owned()).or_insert(self.count_usable(application)),
        };
        let count = |tag| small(usable.get(&tag).copied().unwrap_or(0));
        Matched { application: application.to_owned(), base: count(None), tagged: count(Some(tag)) }
    }

    /// An instance counts once, however many services of the application it serves.
    fn count_usable(&self, application: &str) -> Usable<'h> {
        let services = self.by_application.get(application).into_iter().flatten();
        let instances: HashSet<_> = services
            .flat_map(|service| service.endpoints())
            .filter(|endpoint| endpoint.health == Health::Usable)
            .map(|endpoint| (endpoint.tag.as_ref(), endpoint.address))
            .collect();
        let mut usable = Usable::new();
        for (tag, _) in instances {
            *usable.entry(tag).or_default() += 1;
        }
        usable
    }
}

/// Whether an object is the oldest of its name over all namespaces: of those that share one, it is in force.
fn is_first_of_its_name<'s, S: Spec + 's>(
    mut objects: impl Iterator<Item = &'s Resource<S>>,
    key: &ObjectKey,
) -> bool {
    objects.find(|object| object.metadata.name == key.name).is_some_and(|first| first.key() == *key)
}

/// Matched instances of every application in every lane: group, tag, counts.
pub(crate) fn matched_everywhere(hub: &Hub) -> Vec<(&str, &str, Matched)> {
    let statuses = Statuses::new(hub, &[]);
    let mut all = Vec::new();
    for group in hub.picture().groups.all() {
        for lane in &group.lanes {
            for application in &group.applications {
                let matched = statuses.matched(application, &lane.tag);
                all.push((group.name.as_str(), lane.tag.as_str(), matched));
            }
        }
    }
    all
}

fn shown(live: distribute::Live, generation: u64) -> Live {
    Live {
        data_planes: small(live.data_planes),
        acknowledged: small(live.acknowledged),
        generation,
        observed_generation: 0,
    }
}

/// Counts for people: none comes near the limit.
pub(crate) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn condition(kind: &str, holds: bool, reason: &str, message: String) -> StatusCondition {
    StatusCondition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: 0,
        last_transition_time: None,
    }
}
