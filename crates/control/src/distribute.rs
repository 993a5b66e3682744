//! Who gets what: the state of every data plane, and what each must still be told.
//!
//! A change of the picture becomes [`Touch`]es. An index from topics to data planes finds those concerned; each
//! notes what to look at again, and its stream builds the next message when the transport can take one. A slow
//! data plane therefore costs a set of keys no larger than its share, never a queue.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    discovery::v1::{self, data_plane_message::Message},
    validate::Reported,
};
use foldhash::{HashMap, HashSet};
use lanes::group::EntranceSpec;
use routes::entrance::CorrelationHeaders;
use tokio::sync::Notify;

use crate::{
    key::{CertificatesTold, ResourceKey, Topic, Touch, Way, canonical},
    picture::Picture,
    tap,
};

mod data_plane;
mod losses;
mod tally;

pub(crate) use data_plane::{DataPlane, NAME_BYTES_MAX, Told};
pub(crate) use losses::Loss;
use losses::Losses;
use tally::Tally;

/// How long a data plane that went away counts as one that has not got the latest: long enough for a restart or
/// a broken network, short enough that one scaled away does not look like trouble all day.
pub(crate) const DISCONNECTED_KEPT: Duration = Duration::from_secs(600);

/// Data planes that may be connected at once. Each costs its share's keys, 300 kB for a
/// thousand services.
pub(crate) const DATA_PLANES_MAX: usize = 20_000;

/// Which stream speaks for a data plane: a newer one of the same node replaces an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection(u64);

/// All data planes. Their tables are asked several times for every message and every acknowledgement, so they hash fast;
/// keyed by random numbers all the same, since sidecars choose names.
#[derive(Debug, Default)]
pub(crate) struct Distribution {
    data_planes: HashMap<Arc<str>, DataPlane>,
    interested: HashMap<Topic, HashSet<Arc<str>>>,
    tally: Tally,
    /// How many have an open stream.
    connected: usize,
    /// What entrances tell of themselves, once asked for and while the data planes are the same.
    reported: OnceCell<Arc<Reported>>,
    /// What applications lose, once asked for and while nothing else is told of it.
    losses: OnceCell<Losses>,
    /// Groups of which something else may be lost since this was last asked.
    losing: HashSet<ResourceKey>,
    /// Who went away, and when, the earliest first; some may have come back.
    departures: VecDeque<(Instant, Arc<str>, Connection)>,
    connections: u64,
}

/// Which data planes have something, and which have confirmed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// Data planes that have it in their share, those lately disconnected included.
    pub data_planes: usize,
    /// Of these, connected.
    pub connected: usize,
    /// Of those, confirmed to hold it as it is now.
    pub acknowledged: usize,
}

impl Distribution {
    /// A data plane said hello. What it holds of names and addresses it still wants: a restarted data plane
    /// must not lose its answers between its hello and its first subscription.
    pub(crate) fn connect(
        &mut self,
        hello: v1::Hello,
        way: Way,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Option<Connection> {
        let node: Arc<str> = hello.node.as_str().into();
        if self.data_planes.len() >= DATA_PLANES_MAX && !self.data_planes.contains_key(&node) {
            return None;
        }
        self.connections += 1;
        self.reported.take();
        let connection = Connection(self.connections);
        self.connected += 1;
        if let Some(before) = self.data_planes.remove(&node) {
            self.connected -= usize::from(before.is_connected());
            before.wake();
            self.forget(&node, before);
        }
        let data_plane = DataPlane::new(Arc::clone(&node), hello, way, connection, wake, now);
        data_plane.count(&mut self.tally);
        data_plane.wake();
        self.data_planes.insert(node, data_plane);
        Some(connection)
    }

    /// The stream ended. The data plane's share stays known for [`DISCONNECTED_KEPT`].
    pub(crate) fn disconnect(&mut self, node: &str, connection: Connection, now: Instant) {
        let Some((data_plane, tally)) = self.current(node, connection) else { return };
        data_plane.disconnected(now, tally);
        let losing = data_plane.losing();
        self.connected -= 1;
        self.reported.take();
        self.loses_otherwise(losing);
        self.departures.push_back((now, node.into(), connection));
    }

    /// A data plane stops and is not waited for.
    fn take_leave(&mut self, node: &str) {
        if let Some((node, data_plane)) = self.data_planes.remove_entry(node) {
            self.connected -= 1;
            self.forget(&node, data_plane);
        }
    }

    /// Of one that is no more.
    fn forget(&mut self, node: &Arc<str>, data_plane: DataPlane) {
        self.reported.take();
        self.loses_otherwise(data_plane.losing());
        data_plane.leave(&mut self.tally);
        self.lose_interest(node, data_plane.topics());
    }

    /// What a data plane says, if `connection` still speaks for it; `false` when another stream does.
    pub(crate) fn receive(
        &mut self,
        node: &str,
        connection: Connection,
        message: Message,
        epoch: &str,
        now: Instant,
    ) -> bool {
        let Some((data_plane, tally)) = self.current(node, connection) else { return false };
        match message {
            // Traffic is counted, and requests are put together, by whoever holds the stream.
            Message::Hello(_) | Message::Traffic(_) | Message::Tapped(_) => {}
            Message::Subscribe(subscribe) => data_plane.subscribe(subscribe, now, tally),
            Message::Ack(ack) => data_plane.acknowledge(ack, epoch, tally),
            Message::Report(report) => {
                let mut losing = data_plane.losing();
                data_plane.report(report);
                losing.extend(data_plane.losing());
                self.loses_otherwise(losing);
            }
            Message::Goodbye(_) => {
                self.take_leave(node);
                return false;
            }
        }
        true
    }

    /// Whether `connection` still speaks for the data plane.
    pub(crate) fn is_current(&self, node: &str, connection: Connection) -> bool {
        self.data_planes.get(node).is_some_and(|data_plane| data_plane.is(connection))
    }

    fn current(
        &mut self,
        node: &str,
        connection: Connection,
    ) -> Option<(&mut DataPlane, &mut Tally)> {
        let data_plane = self.data_planes.get_mut(node)?;
        data_plane.is(connection).then_some((data_plane, &mut self.tally))
    }

    /// Notes for everyone concerned what to look at again.
    pub(crate) fn touch(&mut self, touches: &[Touch], now: Instant) {
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
                    data_plane.touch(touch, now, &mut self.tally);
                }
            }
        }
    }

    /// Everyone must look at everything again: the meaning of "not there" changed.
    pub(crate) fn touch_all(&mut self, now: Instant) {
        for data_plane in self.data_planes.values_mut() {
            data_plane.look_again(now, &mut self.tally);
        }
    }

    /// Everyone but gateways may have to be told what of names and addresses means something.
    pub(crate) fn wake_sidecars(&self) {
        let is_sidecar = |it: &&DataPlane| it.hello().role() != v1::Role::Gateway;
        self.data_planes.values().filter(is_sidecar).for_each(DataPlane::wake);
    }

    /// What this data plane must be told now, if anything.
    pub(crate) fn next_message(
        &mut self,
        node: &str,
        connection: Connection,
        picture: &Picture,
        generation: &mut v1::Generation,
    ) -> Option<Told> {
        let (data_plane, tally) = self.current(node, connection)?;
        let (told, interest) = data_plane.next_message(picture, generation, tally);
        if let Some(interest) = interest {
            let node: Arc<str> = node.into();
            self.lose_interest(&node, &interest.lost);
            for topic in interest.gained {
                self.interested.entry(topic).or_default().insert(Arc::clone(&node));
            }
        }
        told
    }

    /// How far the current content of a resource has got.
    pub(crate) fn live(&self, key: &ResourceKey, version: u64) -> Live {
        self.tally.live(key, version)
    }

    /// Whether every connected data plane that has, or is about to have, this resource confirmed it. While of one
    /// it is not known what it gets, it may be about to have anything.
    pub(crate) fn settled(&self, key: &ResourceKey, version: u64) -> bool {
        self.tally.settled(key, version)
    }

    /// Whether of some connected data plane it is not known what it gets.
    pub(crate) fn has_open_shares(&self) -> bool {
        self.tally.has_open_shares()
    }

    /// How many data planes refuse some of what they were sent.
    pub(crate) fn refusers(&self) -> usize {
        self.tally.refusers()
    }

    /// Who does not take a resource: how many, and the first of them with its reason.
    pub(crate) fn refused(&self, key: &ResourceKey) -> Option<(usize, &str, &str)> {
        let mut refusing = self.tally.refusing(key);
        let count = refusing.len();
        let node = refusing.next()?;
        Some((count, node, self.data_planes.get(node)?.reason_against(key)?))
    }

    /// Resources that have got further, or less far, since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Vec<ResourceKey> {
        let mut changed = self.tally.take_changed();
        changed.extend(self.losing.drain());
        changed
    }

    /// Forgets those disconnected for long; says when the next one is due.
    pub(crate) fn forget_disconnected(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, ..)) = self.departures.front()
            && *at + DISCONNECTED_KEPT <= now
            && let Some((_, node, connection)) = self.departures.pop_front()
        {
            let is_gone = self.data_planes.get(&node).is_some_and(|it| it.was(connection));
            if is_gone && let Some(data_plane) = self.data_planes.remove(&node) {
                self.forget(&node, data_plane);
            }
        }
        self.departures.front().map(|(at, ..)| *at + DISCONNECTED_KEPT)
    }

    /// What of a connected one listens at an address, beside instances: in words.
    pub(crate) fn listener_at(&self, address: SocketAddr) -> Option<String> {
        let mut connected = self.data_planes.values().filter(|it| it.is_connected());
        connected.find(|it| it.listeners().contains(&address)).map(|data_plane| {
            let hello = data_plane.hello();
            let role = if hello.role() == v1::Role::Gateway { "gateway" } else { "sidecar" };
            format!("a listener of {role} {}, node {}", hello.name, hello.node)
        })
    }

    /// Whether a connected gateway takes requests at an address.
    pub(crate) fn is_gateway_at(&self, address: SocketAddr) -> bool {
        let gateways =
            self.data_planes.values().filter(|it| it.hello().role() == v1::Role::Gateway);
        let mut connected = gateways.filter(|it| it.is_connected());
        connected.any(|it| it.hello().listeners.iter().any(|text| canonical(text) == Some(address)))
    }

    /// How many connected ones that have a group can tell single requests of it, and how many cannot.
    pub(crate) fn tapping(&self, group: &str) -> (u32, u32) {
        let topic = Topic::Resource(ResourceKey::Group(group.into()));
        let nodes = self.interested.get(&topic).into_iter().flatten();
        let having = nodes.filter_map(|node| self.data_planes.get(node));
        having.filter(|it| it.is_connected()).fold((0, 0), |(can, cannot), it| {
            match it.hello().capabilities.iter().any(|it| it == tap::CAPABILITY) {
                true => (can + 1, cannot),
                false => (can, cannot + 1),
            }
        })
    }

    /// The nodes of all of them, those lately disconnected included.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.data_planes.keys()
    }

    /// One of them.
    pub(crate) fn data_plane(&self, node: &str) -> Option<&DataPlane> {
        self.data_planes.get(node)
    }

    /// What entrances tell of themselves. Of several with one name the last that connected counts: they are being
    /// replaced by one another. Every write asks, so it is put together only when data planes came or went.
    pub(crate) fn reported(&self) -> Arc<Reported> {
        Arc::clone(self.reported.get_or_init(|| Arc::new(self.read_reported())))
    }

    fn read_reported(&self) -> Reported {
        let telling = |it: &&DataPlane| !it.hello().correlation_headers.is_empty();
        let mut data_planes: Vec<&DataPlane> = self.data_planes.values().filter(telling).collect();
        data_planes.sort_by_key(|it| (it.is_connected(), it.since()));
        let mut reported = Reported::default();
        for data_plane in data_planes {
            let hello = data_plane.hello();
            let names = hello.correlation_headers.iter().map(String::as_str);
            // Another release may allow more than this one.
            let Ok(headers) = CorrelationHeaders::new(names) else { continue };
            match hello.role() {
                v1::Role::Gateway => reported.add_gateway(&hello.name, headers),
                _ => reported.add_application(&hello.name, headers),
            }
        }
        reported
    }

    /// Listeners that some connected process of a gateway cannot serve: ports, each with the reason.
    pub(crate) fn not_listening(&self, gateway: &str) -> BTreeMap<u32, &str> {
        let told = self.processes(gateway).flat_map(DataPlane::not_listening);
        told.map(|listener| (listener.port, listener.reason.as_str())).collect()
    }

    /// A connected process of a gateway that is not told certificates, and why.
    pub(crate) fn without_certificates(&self, gateway: &str) -> Option<(String, CertificatesTold)> {
        let mut processes = self.processes(gateway);
        let without = processes.find(|it| it.certificates() != CertificatesTold::Told)?;
        Some((named(without), without.certificates()))
    }

    /// A connected process at an entrance, whichever its routes, whose release does not have a capability.
    pub(crate) fn without_capability(&self, at: &EntranceSpec, capability: &str) -> Option<String> {
        let has = |it: &DataPlane| it.hello().capabilities.iter().any(|known| known == capability);
        let mut processes = self.data_planes.values().filter(|it| {
            let (hello, role) = (it.hello(), it.hello().role());
            it.is_connected()
                && match at {
                    EntranceSpec::Gateway { name, .. } => {
                        role == v1::Role::Gateway && hello.name == *name
                    }
                    EntranceSpec::Application { name, .. } => {
                        role != v1::Role::Gateway && hello.name == *name
                    }
                }
        });
        processes.find(|it| !has(it)).map(named)
    }

    /// The connected processes of a gateway.
    fn processes<'s, 'g>(
        &'s self,
        gateway: &'g str,
    ) -> impl Iterator<Item = &'s DataPlane> + use<'s, 'g> {
        self.data_planes.values().filter(move |it| {
            let hello = it.hello();
            it.is_connected() && hello.role() == v1::Role::Gateway && hello.name == gateway
        })
    }

    /// What applications lose, by what connected data planes count.
    pub(crate) fn losses(&self) -> &Losses {
        let count = || {
            let mut losses = Losses::default();
            for data_plane in self.data_planes.values().filter(|it| it.is_connected()) {
                for calls in data_plane.lane_calls() {
                    losses.add(&data_plane.hello().name, calls);
                }
            }
            losses
        };
        self.losses.get_or_init(count)
    }

    /// A data plane counts, or counted, something in these groups.
    fn loses_otherwise(&mut self, groups: Vec<ResourceKey>) {
        if !groups.is_empty() {
            self.losses.take();
            self.losing.extend(groups);
        }
    }

    /// How many have an open stream.
    pub(crate) fn connected(&self) -> usize {
        self.connected
    }

    /// That what is counted change by change is what there is.
    #[cfg(test)]
    pub(crate) fn assert_counted(&self) {
        let mut anew = Tally::default();
        for data_plane in self.data_planes.values() {
            data_plane.count(&mut anew);
        }
        self.tally.assert_same(&anew);
        let connected = self.data_planes.values().filter(|it| it.is_connected()).count();
        assert_eq!(self.connected, connected);
        assert_eq!(*self.reported(), self.read_reported());
    }

    fn lose_interest<'t>(&mut self, node: &Arc<str>, topics: impl IntoIterator<Item = &'t Topic>) {
        for topic in topics {
            if let Some(nodes) = self.interested.get_mut(topic) {
                nodes.remove(node);
                if nodes.is_empty() {
                    self.interested.remove(topic);
                }
            }
        }
    }
}

/// A data plane as people find it.
fn named(data_plane: &DataPlane) -> String {
    format!("{}, node {}", data_plane.shown(), data_plane.hello().node)
}
