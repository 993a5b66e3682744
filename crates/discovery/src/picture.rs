//! What a data plane holds: discovery messages applied to it one after the other, and the pictures made of it.
//!
//! Pure. Groups, services and the route table are shared between pictures, so that a change costs what has
//! changed. What cannot be taken is refused with the reason, and the last good of that key stays.

use std::{collections::BTreeMap, fmt, sync::Arc};

use api::{
    convert::{
        key::ResourceKey,
        wire::{self, NotUnderstood},
    },
    discovery::{EncodedControlMessage, v1},
};
use bytes::Bytes;
use lanes::{
    Directory, Group, GroupSpec, Query, Snapshot,
    directory::digest::Digest,
    group::{EntranceSpec, Entry},
};
use prost::Message;
use routes::{GatewaySpec, Published, RouteProblem, RouteSpec, Table, tls::Certificate};
use v1::resource::Body;

/// Who decides on a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Reader {
    /// Is told all it needs: a service that it is not told does not exist.
    Gateway,
    /// Is told what it has asked for, and whatever its application has to do with.
    Sidecar {
        /// The application beside it.
        application: String,
    },
}

/// Everything held, by key.
#[derive(Debug)]
pub struct Picture {
    reader: Reader,
    generation: v1::Generation,
    /// As it came: for the disk, and for the differences after a reconnect.
    wire: BTreeMap<Box<str>, Wire>,
    groups: BTreeMap<String, Arc<Group>>,
    directory: Directory,
    gateways: BTreeMap<String, GatewaySpec>,
    routes: BTreeMap<String, RouteSpec>,
    table: Arc<Table>,
    /// By `namespace/name`.
    certificates: Arc<BTreeMap<String, Arc<Certificate>>>,
}

/// One resource as it came; encoded, which takes a fraction of the decoded form's memory.
struct Wire {
    version: u64,
    encoded: Bytes,
}

/// Without its bytes: a private key may be in them.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Wire {
    /// What the resource says.
    fn body(&self) -> Option<Body> {
        v1::Resource::decode(&*self.encoded).ok()?.body
    }
}

/// Why a resource was not taken.
type Reason = String;

impl Picture {
    /// Holds nothing.
    #[must_use]
    pub fn new(reader: Reader) -> Self {
        let is_complete = reader == Reader::Gateway;
        Self {
            reader,
            generation: v1::Generation::default(),
            wire: BTreeMap::new(),
            groups: BTreeMap::new(),
            directory: Directory::new(is_complete),
            gateways: BTreeMap::new(),
            routes: BTreeMap::new(),
            table: Arc::default(),
            certificates: Arc::default(),
        }
    }

    /// Applies a message as a whole, one resource after the other: decoded, all of a start at once would take many
    /// times what is kept of them. What is refused is told and changes nothing.
    pub fn apply(&mut self, message: EncodedControlMessage) -> Vec<v1::Refused> {
        if let Some(generation) = message.generation {
            self.generation = generation;
        }
        if let Some(told) = message.digest {
            self.take_digest(told);
        }
        // What is kept of a message keeps all of it, and the buffer it came in. What fills an empty picture is nearly all
        // of it anyway, and lies there once; of what changes later a copy is kept.
        let fills = self.wire.is_empty();
        let mut refused = Vec::new();
        let mut routing = Routing::default();
        for key in message.removals {
            self.remove(&key, &mut routing);
        }
        for encoded in message.upserts {
            let resource = match v1::Resource::decode(&*encoded) {
                Ok(resource) => resource,
                Err(error) => {
                    refused.push(v1::Refused { key: String::new(), reason: error.to_string() });
                    continue;
                }
            };
            let (key, version) = (resource.key.clone(), resource.version);
            let encoded = if fills { encoded } else { Bytes::copy_from_slice(&encoded) };
            match self.take(resource, &mut routing) {
                Ok(()) => {
                    let previous = self.wire.insert(key.as_str().into(), Wire { version, encoded });
                    // Kept for those only that may have to step back.
                    if routing.routes.contains_key(&key) {
                        routing.previous_wire.insert(key, previous);
                    }
                }
                Err(reason) => refused.push(v1::Refused { key, reason }),
            }
        }
        if routing.changed {
            self.compile_routes(routing, &mut refused);
        }
        refused
    }

    /// The picture to decide on.
    pub fn published(&self) -> Published {
        Published {
            lanes: Snapshot::new(self.groups.values().cloned().collect(), self.directory.clone()),
            routes: Arc::clone(&self.table),
            certificates: Arc::clone(&self.certificates),
        }
    }

    /// Which picture this is.
    pub fn generation(&self) -> &v1::Generation {
        &self.generation
    }

    /// What is held, so that only differences are sent.
    pub fn held(&self) -> Vec<v1::Held> {
        let held = self.wire.iter().map(|(key, wire)| v1::Held {
            key: key.to_string(),
            version: wire.version,
            service: match wire.body() {
                Some(Body::Service(service)) => service.id,
                _ => None,
            },
        });
        held.collect()
    }

    /// How many resources are held.
    pub(crate) fn resources(&self) -> usize {
        self.wire.len()
    }

    /// Every resource encoded, for the disk.
    pub fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        self.wire.values().map(|wire| &*wire.encoded)
    }

    /// Whether the control plane's answer to this key is that there is nothing of the kind.
    pub(crate) fn is_absent(&self, query: &Query) -> bool {
        match query {
            Query::Name(name) => matches!(self.directory.by_name(name), lanes::Lookup::Absent),
            Query::Address(address) => {
                matches!(self.directory.by_address(*address), lanes::AddressLookup::Absent)
            }
        }
    }

    /// A change of what was never told whole says nothing.
    fn take_digest(&mut self, told: v1::Digest) {
        let v1::Digest { whole, added, removed } = told;
        let digest = match self.directory.digest() {
            _ if whole => Digest::new(added),
            Some(before) => before.changed(&added, removed),
            None => return,
        };
        self.directory.set_digest(Some(Arc::new(digest)));
    }

    /// What there is at all, for the disk.
    pub(crate) fn digest(&self) -> Option<v1::Digest> {
        let added = self.directory.digest()?.hashes().to_vec();
        Some(v1::Digest { whole: true, added, removed: Vec::new() })
    }

    /// Whether there is nobody now who could be asked for more.
    pub(crate) fn set_nobody_answers(&mut self, nobody_answers: bool) {
        self.directory.set_nobody_answers(nobody_answers);
    }

    fn take(&mut self, resource: v1::Resource, routing: &mut Routing) -> Result<(), Reason> {
        let key = resource.key;
        match resource.body {
            Some(Body::Group(group)) => {
                let mut spec = wire::group_from(group).map_err(in_words)?;
                if !self.reader.lets_in(&spec) {
                    forget_entries(&mut spec);
                }
                let group = Group::compile(spec).map_err(|problems| joined(&problems))?;
                self.groups.insert(key, Arc::new(group));
            }
            Some(Body::Service(service)) => {
                let service = wire::service_from(service).map_err(in_words)?;
                self.directory.insert(Arc::new(service));
            }
            Some(Body::Name(answer)) => {
                let (name, answer) = wire::name_from(answer);
                self.directory.answer_name(&name, answer);
            }
            Some(Body::Address(answer)) => {
                let (address, services) = wire::address_from(answer).map_err(in_words)?;
                self.directory.answer_address(address, services);
            }
            Some(Body::Gateway(gateway)) => {
                let spec = wire::gateway_from(gateway).map_err(in_words)?;
                self.gateways.insert(key, spec);
                routing.changed = true;
            }
            Some(Body::Route(route)) => {
                let spec = wire::route_from(route).map_err(in_words)?;
                let previous = self.routes.insert(key.clone(), spec);
                routing.routes.insert(key, previous);
                routing.changed = true;
            }
            Some(Body::Certificate(certificate)) => {
                let (name, certificate) = wire::certificate_from(certificate);
                Arc::make_mut(&mut self.certificates).insert(name, Arc::new(certificate));
            }
            // A newer control plane may know more kinds than this release.
            None => return Err("this release does not know the kind; update it".to_owned()),
        }
        Ok(())
    }

    fn remove(&mut self, key: &str, routing: &mut Routing) {
        // What was never taken is not held.
        let Some(body) = self.wire.remove(key).and_then(|wire| wire.body()) else { return };
        match body {
            Body::Group(_) => drop(self.groups.remove(key)),
            Body::Service(service) => {
                let id = service.id.map(wire::service_id_from);
                id.iter().for_each(|id| self.directory.remove(id));
            }
            Body::Name(answer) => self.directory.forget_name(&answer.name),
            Body::Address(answer) => {
                if let Ok((address, _)) = wire::address_from(answer) {
                    self.directory.forget_address(address);
                }
            }
            Body::Gateway(_) => routing.changed |= self.gateways.remove(key).is_some(),
            Body::Route(_) => routing.changed |= self.routes.remove(key).is_some(),
            Body::Certificate(certificate) => {
                Arc::make_mut(&mut self.certificates).remove(&certificate.name);
            }
        }
    }

    /// Compiles the table. A changed route that has problems steps back to what it was before, and is refused.
    fn compile_routes(&mut self, mut routing: Routing, refused: &mut Vec<v1::Refused>) {
        loop {
            let routes: Vec<_> = self.routes.values().cloned().collect();
            // A data plane is told one gateway: its own.
            let gateway = self.gateways.values().next();
            let (table, problems) = Table::compile(gateway, &routes);
            let mut reasons: BTreeMap<String, Vec<RouteProblem>> = BTreeMap::new();
            for problem in problems {
                let key = ResourceKey::Route(problem.route.as_str().into()).to_string();
                reasons.entry(key).or_default().push(problem);
            }
            let mut stepped_back = false;
            for (key, problems) in &reasons {
                let Some(previous) = routing.routes.remove(key) else { continue };
                stepped_back = true;
                refused.push(v1::Refused { key: key.clone(), reason: joined(problems) });
                put_back(&mut self.routes, key.clone(), previous);
                let previous = routing.previous_wire.remove(key).flatten();
                put_back(&mut self.wire, key.as_str().into(), previous);
            }
            if !stepped_back {
                // What is still wrong was so before this message; the table leaves it out.
                self.table = Arc::new(table);
                return;
            }
        }
    }
}

impl Reader {
    /// Whether it decides who enters this group, or only follows what was decided at an entrance elsewhere.
    fn lets_in(&self, group: &GroupSpec) -> bool {
        let Self::Sidecar { application } = self else { return true };
        group.entrances.iter().any(|entrance| {
            matches!(entrance, EntranceSpec::Application { name, .. } if name == application)
        })
    }
}

/// Conditions are most of a group's memory: of 1 000 lanes with ten each they take 7 MB, in every sidecar of the
/// group's applications. Whoever lets nobody in has no use for them.
fn forget_entries(group: &mut GroupSpec) {
    for lane in &mut group.lanes {
        lane.entry = Entry::Ratio { percent_hundredths: 0, sticky_by: None, issue: None };
    }
}

/// What of the routing a message changes, and what was there before.
#[derive(Default)]
struct Routing {
    changed: bool,
    routes: BTreeMap<String, Option<RouteSpec>>,
    previous_wire: BTreeMap<String, Option<Wire>>,
}

fn put_back<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, previous: Option<T>) {
    match previous {
        Some(previous) => map.insert(key, previous),
        None => map.remove(&key),
    };
}

fn in_words(problem: NotUnderstood) -> Reason {
    problem.to_string()
}

fn joined(problems: &[impl ToString]) -> Reason {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
