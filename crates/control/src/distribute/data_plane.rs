//! One data plane: what it asked for, what it holds, what it confirmed, what it must still be told.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::Arc,
    time::Instant,
};

use api::discovery::v1;
use tokio::sync::Notify;

use super::{Connection, DISCONNECTED_KEPT};
use crate::{
    key::{Key, Subscription, Topic, Touch},
    picture::{Answer, Picture, Share},
};

/// Names and addresses one data plane may subscribe to, each. A sidecar asks for what its application calls;
/// beyond this something enumerates, and its further names are passed through as unknown.
pub(super) const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Bytes of a subscribed name: the longest host name DNS allows.
const NAME_BYTES_MAX: usize = 253;

/// Unreachable endpoints kept of one report; it is for people.
const UNREACHABLE_MAX: usize = 1_000;

/// Why a data plane does not take a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which one.
    pub key: Key,
    /// In its words.
    pub reason: String,
}

/// A resource the data plane has, or was sent.
#[derive(Debug, Clone, Copy)]
struct Held {
    version: u64,
    /// Number of the message that carried it; 0 when the data plane had it already.
    sent_in: u64,
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
pub struct DataPlane {
    hello: v1::Hello,
    subscription: Subscription,
    connection: Connection,
    connected_at: Instant,
    disconnected_at: Option<Instant>,
    wake: Arc<Notify>,
    share: Share,
    held: HashMap<Key, Held>,
    /// Held keys of a release that knows more than this one: not ours to judge, but not in our picture either.
    held_unknown: Vec<String>,
    pending: HashSet<Key>,
    /// The share itself must be computed again.
    open: bool,
    synced: bool,
    sent: u64,
    acknowledged: u64,
    /// Since when something has been waiting to be sent or acknowledged.
    behind_since: Option<Instant>,
    refused: HashMap<Key, (u64, String)>,
    unreachable: Vec<String>,
}

impl DataPlane {
    pub(super) fn new(
        hello: v1::Hello,
        connection: Connection,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Self {
        let mut subscription = Subscription {
            role: hello.role(),
            name: hello.name.as_str().into(),
            names: BTreeSet::new(),
            addresses: BTreeSet::new(),
        };
        let mut held = HashMap::with_capacity(hello.held.len());
        let mut held_unknown = Vec::new();
        for told in &hello.held {
            let Some(key) = Key::of(told) else {
                held_unknown.push(told.key.clone());
                continue;
            };
            match &key {
                Key::Name(name) if subscription.names.len() < SUBSCRIPTIONS_MAX => {
                    subscription.names.insert(Arc::clone(name));
                }
                Key::Address(address) if subscription.addresses.len() < SUBSCRIPTIONS_MAX => {
                    subscription.addresses.insert(*address);
                }
                _ => {}
            }
            held.insert(key, Held { version: told.version, sent_in: 0 });
        }
        Self {
            hello: v1::Hello { held: Vec::new(), join_token: String::new(), ..hello },
            subscription,
            connection,
            connected_at: now,
            disconnected_at: None,
            wake,
            share: Share::default(),
            held,
            held_unknown,
            pending: HashSet::new(),
            open: true,
            synced: false,
            sent: 0,
            acknowledged: 0,
            behind_since: Some(now),
            refused: HashMap::new(),
            unreachable: Vec::new(),
        }
    }

    pub(super) fn is(&self, connection: Connection) -> bool {
        self.connection == connection && self.is_connected()
    }

    pub(super) fn disconnected(&mut self, now: Instant) {
        self.disconnected_at = Some(now);
    }

    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        self.disconnected_at.map(|at| at + DISCONNECTED_KEPT)
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn topics(&self) -> Vec<Topic> {
        self.share.topics.iter().cloned().collect()
    }

    pub(super) fn touch(&mut self, touch: &Touch, now: Instant) {
        match touch {
            Touch::Content(key) => drop(self.pending.insert(key.clone())),
            Touch::Share(_) => self.open = true,
        }
        self.fell_behind(now);
    }

    pub(super) fn look_again(&mut self, now: Instant) {
        self.open = true;
        self.fell_behind(now);
    }

    fn fell_behind(&mut self, now: Instant) {
        self.behind_since.get_or_insert(now);
        self.wake();
    }

    fn caught_up(&mut self) {
        if !self.open && self.pending.is_empty() && self.acknowledged >= self.sent {
            self.behind_since = None;
        }
    }

    /// Whether it is not yet known what its share is.
    pub(super) fn share_is_open(&self) -> bool {
        self.open
    }

    /// Takes a subscription. What exceeds [`SUBSCRIPTIONS_MAX`] is left out.
    pub fn subscribe(&mut self, subscribe: v1::Subscribe, now: Instant) {
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
        self.look_again(now);
    }

    /// Takes an acknowledgement of a message of this stream.
    pub fn acknowledge(&mut self, ack: v1::Ack, epoch: &str) {
        let Some(generation) = ack.generation else { return };
        if generation.epoch != epoch || generation.number > self.sent {
            return;
        }
        self.acknowledged = self.acknowledged.max(generation.number);
        self.caught_up();
        if ack.refused.is_empty() {
            return;
        }
        let mut reasons: HashMap<String, String> =
            ack.refused.into_iter().map(|refused| (refused.key, refused.reason)).collect();
        for (key, held) in &self.held {
            if let Some(reason) = reasons.remove(&key.to_string()) {
                self.refused.insert(key.clone(), (held.version, reason));
            }
        }
    }

    /// Takes what it cannot reach at the moment.
    pub fn report(&mut self, report: v1::Report) {
        self.unreachable = report.unreachable;
        self.unreachable.truncate(UNREACHABLE_MAX);
    }

    /// Whether it is connected and holds this version of a resource, and has said so.
    pub fn confirms(&self, key: &Key, version: u64) -> bool {
        self.is_connected()
            && self.held.get(key).is_some_and(|held| {
                held.version == version && held.sent_in <= self.acknowledged && self.synced
            })
            && self.refused.get(key).is_none_or(|(refused, _)| *refused != version)
    }

    /// What it must be told now, if anything, and how its interest changed if its share was computed again.
    pub(super) fn next_message(
        &mut self,
        picture: &Picture,
        generation: &mut v1::Generation,
    ) -> (Option<v1::ControlMessage>, Option<InterestChange>) {
        // Two messages never have one number: an acknowledgement of the first is none of the second.
        let number = generation.number.max(self.sent + 1);
        let pending = mem::take(&mut self.pending);
        let mut message = v1::ControlMessage {
            generation: Some(v1::Generation { number, ..generation.clone() }),
            upserts: Vec::new(),
            removals: Vec::new(),
            synced: !self.synced,
        };
        let mut interest = None;
        if mem::take(&mut self.open) {
            interest = Some(self.compute_share(picture));
            self.compare_all(picture, number, &mut message);
        } else {
            for key in pending {
                if self.share.keys.contains(&key) {
                    self.compare(&key, picture, number, &mut message);
                }
            }
        }
        let nothing = message.upserts.is_empty() && message.removals.is_empty() && self.synced;
        if nothing {
            self.caught_up();
            return (None, interest);
        }
        self.synced = true;
        self.sent = number;
        generation.number = number;
        (Some(message), interest)
    }

    fn compute_share(&mut self, picture: &Picture) -> InterestChange {
        let share = picture.share(&self.subscription);
        let change = InterestChange {
            gained: share.topics.difference(&self.share.topics).cloned().collect(),
            lost: self.share.topics.difference(&share.topics).cloned().collect(),
        };
        self.share = share;
        change
    }

    fn compare_all(&mut self, picture: &Picture, number: u64, message: &mut v1::ControlMessage) {
        let keys = mem::take(&mut self.share.keys);
        for key in &keys {
            self.compare(key, picture, number, message);
        }
        self.share.keys = keys;
        let gone: Vec<Key> = self
            .held
            .keys()
            .filter(|key| !self.share.keys.contains(*key) && picture.may_remove(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key, message);
        }
        message.removals.append(&mut self.held_unknown);
    }

    fn compare(
        &mut self,
        key: &Key,
        picture: &Picture,
        number: u64,
        message: &mut v1::ControlMessage,
    ) {
        match picture.answer(key) {
            Answer::Known(current) => {
                if self.held.get(key).is_none_or(|held| held.version != current.version) {
                    let held = Held { version: current.version, sent_in: number };
                    self.held.insert(key.clone(), held);
                    self.refused.remove(key);
                    message.upserts.push(v1::Resource::clone(&current));
                }
            }
            Answer::Absent => self.remove(key, message),
            Answer::Unknown => {}
        }
    }

    fn remove(&mut self, key: &Key, message: &mut v1::ControlMessage) {
        self.refused.remove(key);
        if self.held.remove(key).is_some() {
            message.removals.push(key.to_string());
        }
    }
}

/// What status says of it.
impl DataPlane {
    /// Its own words about itself, without what it held and its token.
    pub fn hello(&self) -> &v1::Hello {
        &self.hello
    }

    /// Whether its stream is open.
    pub fn is_connected(&self) -> bool {
        self.disconnected_at.is_none()
    }

    /// Since when its stream is open, or closed.
    pub fn since(&self) -> Instant {
        self.disconnected_at.unwrap_or(self.connected_at)
    }

    /// The generation of the last message to it.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The last generation it acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Since when something has been waiting to be sent or acknowledged.
    pub fn behind_since(&self) -> Option<Instant> {
        self.behind_since
    }

    /// How many names and addresses it asked for.
    pub fn subscriptions(&self) -> usize {
        self.subscription.names.len() + self.subscription.addresses.len()
    }

    /// What it does not take at present, sorted by key.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = self
            .refused
            .iter()
            .map(|(key, (_, reason))| Refusal { key: key.clone(), reason: reason.clone() })
            .collect();
        refusals.sort_by(|a, b| a.key.cmp(&b.key));
        refusals
    }

    /// Endpoints it cannot connect to.
    pub fn unreachable(&self) -> &[String] {
        &self.unreachable
    }
}
