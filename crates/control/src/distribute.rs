//! Who gets what: the state of every data plane, and what each must still be told.
//!
//! A change of the picture becomes [`Touch`]es. An index from topics to data planes finds those concerned; each
//! notes what to look at again, and its stream builds the next message when the transport can take one. A slow
//! data plane therefore costs a set of keys no larger than its share, never a queue.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use api::discovery::v1;
use tokio::sync::Notify;

use crate::{
    key::{Key, Topic, Touch},
    picture::Picture,
};

mod data_plane;

pub use data_plane::{DataPlane, Refusal};

/// How long a data plane that went away counts as one that has not got the latest: long enough for a restart or
/// a broken network, short enough that one scaled away does not look like trouble all day.
pub const DISCONNECTED_KEPT: Duration = Duration::from_secs(600);

/// Data planes that may be connected at once. Each costs its share's keys, 300 kB for a
/// thousand services.
pub const DATA_PLANES_MAX: usize = 20_000;

/// Which stream speaks for a data plane: a newer one of the same node replaces an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection(u64);

/// All data planes.
#[derive(Debug, Default)]
pub struct Distribution {
    data_planes: HashMap<Arc<str>, DataPlane>,
    interested: HashMap<Topic, HashSet<Arc<str>>>,
    connections: u64,
}

/// Which data planes have something, and which have confirmed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Data planes that have it in their share, those lately disconnected included.
    pub data_planes: usize,
    /// Of these, connected and confirmed to hold it as it is now.
    pub acknowledged: usize,
}

impl Distribution {
    /// A data plane said hello. What it holds of names and addresses it still wants: a restarted data plane
    /// must not lose its answers between its hello and its first subscription.
    pub fn connect(
        &mut self,
        hello: v1::Hello,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Option<Connection> {
        let node: Arc<str> = hello.node.as_str().into();
        if self.data_planes.len() >= DATA_PLANES_MAX && !self.data_planes.contains_key(&node) {
            return None;
        }
        self.connections += 1;
        let connection = Connection(self.connections);
        if let Some(before) = self.data_planes.remove(&node) {
            self.lose_interest(&node, before.topics());
            before.wake();
        }
        let data_plane = DataPlane::new(hello, connection, wake, now);
        data_plane.wake();
        self.data_planes.insert(node, data_plane);
        Some(connection)
    }

    /// The stream ended. The data plane's share stays known for [`DISCONNECTED_KEPT`].
    pub fn disconnect(&mut self, node: &str, connection: Connection, now: Instant) {
        if let Some(data_plane) = self.current(node, connection) {
            data_plane.disconnected(now);
        }
    }

    /// The data plane, if `connection` still speaks for it.
    pub fn current(&mut self, node: &str, connection: Connection) -> Option<&mut DataPlane> {
        self.data_planes.get_mut(node).filter(|data_plane| data_plane.is(connection))
    }

    /// Notes for everyone concerned what to look at again.
    pub fn touch(&mut self, touches: &[Touch], now: Instant) {
        for touch in touches {
            let content;
            let topic = match touch {
                Touch::Content(key) => {
                    content = Topic::Resource(key.clone());
                    &content
                }
                Touch::Share(topic) => topic,
            };
            for node in self.interested.get(topic).into_iter().flatten() {
                if let Some(data_plane) = self.data_planes.get_mut(node) {
                    data_plane.touch(touch, now);
                }
            }
        }
    }

    /// Everyone must look at everything again: the meaning of "not there" changed.
    pub fn touch_all(&mut self, now: Instant) {
        for data_plane in self.data_planes.values_mut() {
            data_plane.look_again(now);
        }
    }

    /// What this data plane must be told now, if anything.
    pub fn next_message(
        &mut self,
        node: &str,
        connection: Connection,
        picture: &Picture,
        generation: &mut v1::Generation,
    ) -> Option<v1::ControlMessage> {
        let data_plane =
            self.data_planes.get_mut(node).filter(|data_plane| data_plane.is(connection))?;
        let (message, interest) = data_plane.next_message(picture, generation);
        if let Some(interest) = interest {
            let node: Arc<str> = node.into();
            self.lose_interest(&node, interest.lost);
            for topic in interest.gained {
                self.interested.entry(topic).or_default().insert(Arc::clone(&node));
            }
        }
        message
    }

    /// How far the current content of a resource has got.
    pub fn live(&self, key: &Key, version: u64) -> Live {
        let mut live = Live::default();
        for data_plane in self.interested_in(key) {
            live.data_planes += 1;
            live.acknowledged += usize::from(data_plane.confirms(key, version));
        }
        live
    }

    /// Whether every connected data plane that has, or is about to have, this resource confirmed it.
    pub fn settled(&self, key: &Key, version: u64) -> bool {
        let nobody_pending = self.connected().all(|data_plane| !data_plane.share_is_open());
        nobody_pending
            && self
                .interested_in(key)
                .all(|data_plane| !data_plane.is_connected() || data_plane.confirms(key, version))
    }

    /// Forgets those disconnected for long; says when the next one is due.
    pub fn forget_disconnected(&mut self, now: Instant) -> Option<Instant> {
        let due: Vec<Arc<str>> = self
            .data_planes
            .iter()
            .filter(|(_, data_plane)| data_plane.forgotten_at().is_some_and(|at| at <= now))
            .map(|(node, _)| Arc::clone(node))
            .collect();
        for node in due {
            if let Some(data_plane) = self.data_planes.remove(&node) {
                self.lose_interest(&node, data_plane.topics());
            }
        }
        self.data_planes.values().filter_map(DataPlane::forgotten_at).min()
    }

    /// All of them, for status.
    pub fn data_planes(&self) -> impl Iterator<Item = &DataPlane> {
        self.data_planes.values()
    }

    fn connected(&self) -> impl Iterator<Item = &DataPlane> {
        self.data_planes.values().filter(|data_plane| data_plane.is_connected())
    }

    fn interested_in(&self, key: &Key) -> impl Iterator<Item = &DataPlane> {
        self.interested
            .get(&Topic::Resource(key.clone()))
            .into_iter()
            .flatten()
            .filter_map(|node| self.data_planes.get(node))
    }

    fn lose_interest(&mut self, node: &Arc<str>, topics: impl IntoIterator<Item = Topic>) {
        for topic in topics {
            if let Some(nodes) = self.interested.get_mut(&topic) {
                nodes.remove(node);
                if nodes.is_empty() {
                    self.interested.remove(&topic);
                }
            }
        }
    }
}
