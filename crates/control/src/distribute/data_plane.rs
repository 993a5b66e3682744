//! One data plane: what it asked for, what it holds, what it confirmed, what it must still be told.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use api::discovery::{EncodedControlMessage, v1};
use bytes::Bytes;
use tokio::sync::Notify;

use super::{Connection, tally::Tally};
use crate::{
    key::{Application, CertificatesTold, ResourceKey, Subscription, Topic, Touch, Way, canonical},
    picture::{Picture, digest},
    statistics,
};

mod holdings;

use holdings::Holdings;

/// Names and addresses one data plane may subscribe to, each. A sidecar asks for what its application calls;
/// beyond this something enumerates, and its further names are passed through as unknown.
pub(super) const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Bytes of a subscribed name: the longest host name DNS allows.
pub(crate) const NAME_BYTES_MAX: usize = 253;

/// Listeners kept of one report: as many as a Gateway has.
const NOT_LISTENING_MAX: usize = 64;

/// Lanes kept of what one report counts: more than a sidecar tells apart.
const LANE_CALLS_MAX: usize = 512;

/// Unreachable endpoints kept of one report; it is for people.
const UNREACHABLE_MAX: usize = 1_000;

/// Services kept of one report that are called unread: more than a sidecar tells apart.
const UNREAD_MAX: usize = 300;

/// Ports kept of one report that nobody has declared: more than a sidecar tells apart.
const UNDECLARED_MAX: usize = 100;

/// Why a data plane does not take a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which one.
    pub key: ResourceKey,
    /// In its words.
    pub reason: String,
}

/// What a data plane must be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// The number of this message.
    pub number: u64,
    /// Resources as they are now, encoded; all who get them share them.
    pub upserts: Vec<Bytes>,
    /// Keys of those that it has no more.
    pub removals: Vec<String>,
    /// From here on the data plane has everything it asked for.
    pub synced: bool,
    /// What of names and addresses means something.
    pub digest: Option<v1::Digest>,
}

impl Told {
    /// As it goes out.
    pub(crate) fn message(self, epoch: &str) -> EncodedControlMessage {
        let Self { number, upserts, removals, synced, digest } = self;
        let generation = Some(v1::Generation { epoch: epoch.to_owned(), number });
        // Asked for at once, and once.
        let traffic_every_ms = if synced { statistics::REPORT_EVERY.as_millis() as u32 } else { 0 };
        EncodedControlMessage {
            generation,
            upserts,
            removals,
            synced,
            digest,
            traffic_every_ms,
            taps: None,
        }
    }
}

/// Topics a data plane is, and is no longer, to be told about.
#[derive(Debug)]
pub(super) struct InterestChange {
    /// New ones.
    pub(super) gained: Vec<Topic>,
    /// Old ones.
    pub(super) lost: Vec<Topic>,
}

/// One data plane.
#[derive(Debug)]
pub(crate) struct DataPlane {
    hello: v1::Hello,
    subscription: Subscription,
    connection: Connection,
    connected_at: Instant,
    disconnected_at: Option<Instant>,
    wake: Arc<Notify>,
    /// What its share depends on.
    topics: HashSet<Topic>,
    holdings: Holdings,
    /// The share itself must be computed again.
    open: bool,
    synced: bool,
    digest: digest::Told,
    sent: u64,
    acknowledged: u64,
    /// Since when something has been waiting to be sent or acknowledged.
    behind_since: Option<Instant>,
    unreachable: Vec<String>,
    /// Where it listens itself.
    listeners: Vec<SocketAddr>,
    not_listening: Vec<v1::NotListening>,
    lane_calls: Vec<v1::LaneCalls>,
    /// What its application calls outside lanes.
    unread: Vec<v1::UnreadCalls>,
    /// Ports of instances that its application calls and nobody has declared.
    undeclared: Vec<v1::UndeclaredCalls>,
}

impl DataPlane {
    pub(super) fn new(
        node: Arc<str>,
        hello: v1::Hello,
        way: Way,
        connection: Connection,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Self {
        let listeners = hello.listeners.iter().chain([&hello.address]);
        let listeners = listeners.filter_map(|text| canonical(text)).collect();
        let mut subscription = Subscription {
            role: hello.role(),
            application: Application::of(&hello),
            names: BTreeSet::new(),
            addresses: BTreeSet::new(),
            certificates: CertificatesTold::of(&hello, way),
        };
        let mut holdings = Holdings::new(node);
        for told in &hello.held {
            // Of a release that knows more than this one: not ours to judge.
            let Some(key) = ResourceKey::of(told) else { continue };
            match &key {
                ResourceKey::Name(name) if subscription.names.len() < SUBSCRIPTIONS_MAX => {
                    subscription.names.insert(Arc::clone(name));
                }
                ResourceKey::Address(address)
                    if subscription.addresses.len() < SUBSCRIPTIONS_MAX =>
                {
                    subscription.addresses.insert(*address);
                }
                _ => {}
            }
            holdings.bring(key, told.version);
        }
        Self {
            hello: v1::Hello { held: Vec::new(), join_token: String::new(), ..hello },
            subscription,
            connection,
            connected_at: now,
            disconnected_at: None,
            wake,
            topics: HashSet::new(),
            holdings,
            open: true,
            synced: false,
            digest: digest::Told::default(),
            sent: 0,
            acknowledged: 0,
            behind_since: Some(now),
            unreachable: Vec::new(),
            listeners,
            not_listening: Vec::new(),
            lane_calls: Vec::new(),
            unread: Vec::new(),
            undeclared: Vec::new(),
        }
    }

    pub(super) fn is(&self, connection: Connection) -> bool {
        self.connection == connection && self.is_connected()
    }

    /// Whether it is this stream that ended, and no other came after it.
    pub(super) fn was(&self, connection: Connection) -> bool {
        self.connection == connection && !self.is_connected()
    }

    /// Begins to count.
    pub(super) fn count(&self, tally: &mut Tally) {
        self.holdings.count(tally);
        if self.open && self.is_connected() {
            tally.opened();
        }
    }

    /// Its stream ended.
    pub(super) fn disconnected(&mut self, now: Instant, tally: &mut Tally) {
        self.disconnected_at = Some(now);
        self.holdings.disconnected(tally);
        if self.open {
            tally.closed();
        }
    }

    /// Ceases to count.
    pub(super) fn leave(&self, tally: &mut Tally) {
        self.holdings.leave(tally);
        if self.open && self.is_connected() {
            tally.closed();
        }
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn topics(&self) -> &HashSet<Topic> {
        &self.topics
    }

    pub(super) fn touch(&mut self, touch: &Touch, now: Instant, tally: &mut Tally) {
        match touch {
            Touch::Content(key) => {
                self.holdings.touch(key);
                self.fell_behind(now);
            }
            Touch::Share(_) => self.look_again(now, tally),
        }
    }

    pub(super) fn look_again(&mut self, now: Instant, tally: &mut Tally) {
        if !mem::replace(&mut self.open, true) && self.is_connected() {
            tally.opened();
        }
        self.fell_behind(now);
    }

    fn fell_behind(&mut self, now: Instant) {
        self.behind_since.get_or_insert(now);
        self.wake();
    }

    fn caught_up(&mut self) {
        if !self.open && self.holdings.is_told_all() && self.acknowledged >= self.sent {
            self.behind_since = None;
        }
    }

    /// Takes a subscription. What exceeds [`SUBSCRIPTIONS_MAX`] is left out.
    pub(super) fn subscribe(&mut self, subscribe: v1::Subscribe, now: Instant, tally: &mut Tally) {
        let Subscription { names, addresses, .. } = &mut self.subscription;
        for name in subscribe.forget_names {
            names.remove(name.to_lowercase().as_str());
        }
        for address in subscribe.forget_addresses.iter().filter_map(|text| text.parse().ok()) {
            addresses.remove(&address);
        }
        for name in subscribe.names {
            if names.len() < SUBSCRIPTIONS_MAX && name.len() <= NAME_BYTES_MAX {
                names.insert(name.to_lowercase().into());
            }
        }
        for address in subscribe.addresses.iter().filter_map(|text| text.parse().ok()) {
            if addresses.len() < SUBSCRIPTIONS_MAX {
                addresses.insert(address);
            }
        }
        self.look_again(now, tally);
    }

    /// Takes an acknowledgement of a message of this stream.
    pub(super) fn acknowledge(&mut self, ack: v1::Ack, epoch: &str, tally: &mut Tally) {
        let Some(generation) = ack.generation else { return };
        if generation.epoch != epoch || generation.number > self.sent {
            return;
        }
        self.acknowledged = self.acknowledged.max(generation.number);
        self.caught_up();
        self.holdings.confirm(generation.number, tally);
        if !ack.refused.is_empty() {
            let reasons = ack.refused.into_iter().map(|refused| (refused.key, refused.reason));
            self.holdings.refuse(reasons.collect(), generation.number, tally);
        }
    }

    /// Takes what it cannot do at the moment, and what it counted.
    pub(super) fn report(&mut self, report: v1::Report) {
        self.unreachable = report.unreachable;
        self.unreachable.truncate(UNREACHABLE_MAX);
        self.not_listening = report.not_listening;
        self.not_listening.truncate(NOT_LISTENING_MAX);
        self.lane_calls = report.lane_calls;
        self.lane_calls.truncate(LANE_CALLS_MAX);
        self.unread = report.unread;
        self.unread.truncate(UNREAD_MAX);
        self.undeclared = report.undeclared;
        self.undeclared.truncate(UNDECLARED_MAX);
    }

    /// What it must be told now, if anything, and how its interest changed if its share was computed again.
    pub(super) fn next_message(
        &mut self,
        picture: &Picture,
        generation: &mut v1::Generation,
        tally: &mut Tally,
    ) -> (Option<Told>, Option<InterestChange>) {
        // Two messages never have one number: an acknowledgement of the first is none of the second.
        let number = generation.number.max(self.sent + 1);
        let mut told = Told {
            number,
            synced: !self.synced,
            upserts: Vec::new(),
            removals: Vec::new(),
            digest: None,
        };
        // A gateway is told all it needs, and asks for nothing.
        if self.subscription.role != v1::Role::Gateway {
            told.digest = picture.services.digest().tell(&mut self.digest, picture.is_all());
        }
        let mut interest = None;
        if mem::take(&mut self.open) {
            if self.is_connected() {
                tally.closed();
            }
            let mut share = picture.share(&self.subscription);
            self.holdings.keep_what_is_unknown(picture, &mut share);
            interest = Some(self.depend_on(share.topics));
            self.holdings.tell_share(share.keys, picture, &mut told, tally);
            self.synced = true;
        } else {
            self.holdings.tell_pending(picture, &mut told, tally);
        }
        // The first message is sent even when it brings nothing: it says that nothing is missing.
        let is_nothing = told.upserts.is_empty() && told.removals.is_empty();
        if is_nothing && told.digest.is_none() && !told.synced {
            self.caught_up();
            return (None, interest);
        }
        self.sent = number;
        generation.number = number;
        (Some(told), interest)
    }

    fn depend_on(&mut self, topics: HashSet<Topic>) -> InterestChange {
        let change = InterestChange {
            gained: topics.difference(&self.topics).cloned().collect(),
            lost: self.topics.difference(&topics).cloned().collect(),
        };
        self.topics = topics;
        change
    }
}

/// What status says of it.
impl DataPlane {
    /// Its own words about itself, without what it held and its token.
    pub(crate) fn hello(&self) -> &v1::Hello {
        &self.hello
    }

    /// Who it is, for people.
    pub(crate) fn shown(&self) -> String {
        crate::hello::shown(&self.hello)
    }

    /// Whether its stream is open.
    pub(crate) fn is_connected(&self) -> bool {
        self.disconnected_at.is_none()
    }

    /// Since when its stream is open, or closed.
    pub(crate) fn since(&self) -> Instant {
        self.disconnected_at.unwrap_or(self.connected_at)
    }

    /// The generation of the last message to it.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The last generation it acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Since when something has been waiting to be sent or acknowledged.
    pub(crate) fn behind_since(&self) -> Option<Instant> {
        self.behind_since
    }

    /// How many names and addresses it asked for.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscription.names.len() + self.subscription.addresses.len()
    }

    /// Why it does not take a resource.
    pub(super) fn reason_against(&self, key: &ResourceKey) -> Option<&str> {
        self.holdings.reason_against(key)
    }

    /// What it does not take at present, sorted by key.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = self
            .holdings
            .refusals()
            .map(|(key, reason)| Refusal { key: key.clone(), reason: reason.to_owned() })
            .collect();
        refusals.sort_by(|a, b| a.key.cmp(&b.key));
        refusals
    }

    /// Where it listens itself, beside the address of its instance.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Listeners of its Gateway that it cannot serve.
    pub(crate) fn not_listening(&self) -> &[v1::NotListening] {
        &self.not_listening
    }

    /// What passed its application in lanes of which it lost, or may have lost, some.
    pub(super) fn lane_calls(&self) -> &[v1::LaneCalls] {
        &self.lane_calls
    }

    /// The groups of these lanes.
    pub(super) fn losing(&self) -> Vec<ResourceKey> {
        self.lane_calls
            .iter()
            .map(|calls| ResourceKey::Group(calls.group.as_str().into()))
            .collect()
    }

    /// Whether a group is in its share.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.topics.contains(&Topic::Resource(ResourceKey::Group(group.into())))
    }

    /// What its application calls in a protocol that passes unread.
    pub(crate) fn unread(&self) -> &[v1::UnreadCalls] {
        &self.unread
    }

    /// Ports of instances that its application calls and nobody has declared.
    pub(crate) fn undeclared(&self) -> &[v1::UndeclaredCalls] {
        &self.undeclared
    }

    /// Whether it may be told certificates.
    pub(super) fn certificates(&self) -> CertificatesTold {
        self.subscription.certificates
    }

    /// Endpoints it cannot connect to.
    pub(crate) fn unreachable(&self) -> &[String] {
        &self.unreachable
    }
}
