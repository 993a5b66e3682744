//! Where changes become distribution: the picture, the data planes, the generation, and make before break.
//!
//! Everything here is pure in the sense that time is an argument and nothing blocks; [`crate::Control`] wraps it
//! in one lock that is never on a request's path, and drives it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::discovery::v1;
use lanes::ServiceId;
use tokio::sync::Notify;

use crate::{
    distribute::{Connection, DataPlane, Distribution, Live},
    key::{Key, Touch},
    objects::ObjectChange,
    picture::Picture,
};

/// How long a new or newly enabled lane waits for the data planes behind its entrances before requests may enter
/// it all the same (semantics §7): one that does not answer must not keep everyone waiting.
pub const ADMISSION_WAIT: Duration = Duration::from_millis(500);

/// How often it is looked whether lanes may be let in: acknowledgements of a thousand data planes come within
/// milliseconds, and looking asks all of them.
const ADMISSION_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Everything distribution knows.
#[derive(Debug)]
pub struct Hub {
    picture: Picture,
    distribution: Distribution,
    generation: v1::Generation,
    admission_checked: Option<Instant>,
}

impl Hub {
    /// Begins with the objects of the store. Lanes that were enabled before a restart were admitted before it.
    pub fn new(picture: Picture, epoch: String, number: u64) -> Self {
        Self {
            picture,
            distribution: Distribution::default(),
            generation: v1::Generation { epoch, number },
            admission_checked: None,
        }
    }

    /// What is distributed now.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// The number of the latest change.
    pub fn generation(&self) -> &v1::Generation {
        &self.generation
    }

    /// All data planes.
    pub fn data_planes(&self) -> impl Iterator<Item = &DataPlane> {
        self.distribution.data_planes()
    }

    /// Stored objects changed, all of them at once.
    pub fn apply_objects(&mut self, changes: &[ObjectChange], now: Instant) {
        let mut touches = Vec::new();
        self.picture.apply_objects(changes, Some(now + ADMISSION_WAIT), &mut touches);
        self.publish(touches, now);
    }

    /// Services of a source changed.
    pub fn update_services(
        &mut self,
        source: &str,
        changes: Vec<(ServiceId, Option<Arc<lanes::Service>>)>,
        now: Instant,
    ) {
        let mut touches = Vec::new();
        self.picture.update_services(source, changes, now, &mut touches);
        self.publish(touches, now);
    }

    /// A source has told everything it has.
    pub fn source_synced(&mut self, source: &str, now: Instant) {
        if self.picture.source_synced(source) {
            self.generation.number += 1;
            self.distribution.touch_all(now);
        }
    }

    /// Lets time pass and lets lanes in whose data planes are ready; says when to call again at the latest.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        let mut touches = Vec::new();
        let mut all = false;
        let picture_due = self.picture.advance(now, &mut touches, &mut all);
        let admission_due = self.admit_what_is_ready(now, &mut touches);
        self.publish(touches, now);
        if all {
            self.generation.number += 1;
            self.distribution.touch_all(now);
        }
        let forget_due = self.distribution.forget_disconnected(now);
        picture_due.into_iter().chain(forget_due).chain(admission_due).min()
    }

    /// How far a resource, as it is now, has got.
    pub fn live_of(&self, key: &Key, version: u64) -> Live {
        self.distribution.live(key, version)
    }

    /// How far a group, as it is now, has got, and in which generation it last changed.
    pub fn live(&self, group: &str) -> Option<(Live, u64)> {
        let version = self.picture.groups.wire(group)?.version;
        let generation = self.picture.groups.generation(group)?;
        Some((self.distribution.live(&Key::Group(group.into()), version), generation))
    }

    /// Whether no data plane would send a new request to this address any more.
    pub fn nobody_calls(&self, address: SocketAddr) -> bool {
        self.picture.services.address(&address).all(|id| {
            let key = Key::Service(id.clone());
            let usable = |service: &Arc<lanes::Service>| {
                let mut endpoints = service.endpoints().iter();
                endpoints
                    .any(|at| at.address == address && at.health == lanes::service::Health::Usable)
            };
            !self.picture.services.get(id).is_some_and(usable)
                && self
                    .picture
                    .services
                    .wire(id)
                    .is_none_or(|wire| self.distribution.settled(&key, wire.version))
        })
    }

    /// Says when to look again.
    fn admit_what_is_ready(&mut self, now: Instant, touches: &mut Vec<Touch>) -> Option<Instant> {
        let first = self.picture.groups.held_back().map(|(_, until)| until).min()?;
        let next = self.admission_checked.map_or(now, |at| at + ADMISSION_CHECK_INTERVAL);
        let due = next.min(first);
        if due > now {
            return Some(due);
        }
        self.admission_checked = Some(now);
        let mut settled: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        let mut ready = Vec::new();
        for (lane, until) in self.picture.groups.held_back() {
            let is_ready = until <= now
                || *settled
                    .entry(Arc::clone(&lane.group))
                    .or_insert_with(|| self.is_settled(&lane.group));
            if is_ready {
                ready.push(lane.clone());
            }
        }
        for lane in &ready {
            self.picture.groups.admit(lane, touches);
        }
        self.picture.groups.held_back().map(|(_, until)| until).min()
    }

    fn is_settled(&self, group: &Arc<str>) -> bool {
        let key = Key::Group(Arc::clone(group));
        self.picture
            .groups
            .wire(group)
            .is_none_or(|wire| self.distribution.settled(&key, wire.version))
    }

    fn publish(&mut self, touches: Vec<Touch>, now: Instant) {
        if touches.is_empty() {
            return;
        }
        self.generation.number += 1;
        self.picture.groups.note_generation(&touches, self.generation.number);
        self.picture.routing.note_generation(&touches, self.generation.number);
        self.distribution.touch(&touches, now);
    }
}

/// What the streams of data planes do.
impl Hub {
    /// A data plane said hello.
    pub fn connect(
        &mut self,
        hello: v1::Hello,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Option<Connection> {
        self.distribution.connect(hello, wake, now)
    }

    /// Its stream ended.
    pub fn disconnect(&mut self, node: &str, connection: Connection, now: Instant) {
        self.distribution.disconnect(node, connection, now);
    }

    /// It said something more. `false` when another stream speaks for it now.
    pub fn receive(
        &mut self,
        node: &str,
        connection: Connection,
        message: v1::data_plane_message::Message,
        now: Instant,
    ) -> bool {
        use v1::data_plane_message::Message;
        let Some(data_plane) = self.distribution.current(node, connection) else { return false };
        match message {
            Message::Hello(_) => {}
            Message::Subscribe(subscribe) => data_plane.subscribe(subscribe, now),
            Message::Ack(ack) => data_plane.acknowledge(ack, &self.generation.epoch),
            Message::Report(report) => data_plane.report(report),
        }
        true
    }

    /// Whether `connection` still speaks for the data plane.
    pub fn is_current(&mut self, node: &str, connection: Connection) -> bool {
        self.distribution.current(node, connection).is_some()
    }

    /// What it must be told now, if anything.
    pub fn next_message(
        &mut self,
        node: &str,
        connection: Connection,
    ) -> Option<v1::ControlMessage> {
        self.distribution.next_message(node, connection, &self.picture, &mut self.generation)
    }
}

#[cfg(test)]
mod tests;
