//! One data plane: what it asked for, what it holds, what it confirmed, what it must still be told.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::Arc,
    time::Instant,
};

use api::discovery::v1;
use tokio::sync::Notify;

use super::{
    Connection,
    tally::{Standing, Tally},
};
use crate::{
    key::{Key, Subscription, Topic, Touch},
    picture::{Known, Picture, Share, Versioned},
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
    /// Number of the message that carried it; 0 when the data plane had it already, and so has confirmed it.
    sent_in: u64,
}

/// What a data plane must be told: resources that all who get them share, not yet written out.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The number of this message.
    pub number: u64,
    /// Resources as they are now.
    pub upserts: Vec<Versioned>,
    /// Keys of those that it has no more.
    pub removals: Vec<String>,
    /// From here on the data plane has everything it asked for.
    pub synced: bool,
}

impl Told {
    /// As it goes out. Copies the resources: not for under a lock.
    pub fn message(self, epoch: &str) -> v1::ControlMessage {
        let Self { number, upserts, removals, synced } = self;
        let upserts = upserts.iter().map(|resource| v1::Resource::clone(resource)).collect();
        let generation = Some(v1::Generation { epoch: epoch.to_owned(), number });
        v1::ControlMessage { generation, upserts, removals, synced }
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
pub struct DataPlane {
    node: Arc<str>,
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
    /// Of these it has not confirmed what it was sent last.
    unconfirmed: HashSet<Key>,
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
        node: Arc<str>,
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
            node,
            hello: v1::Hello { held: Vec::new(), join_token: String::new(), ..hello },
            subscription,
            connection,
            connected_at: now,
            disconnected_at: None,
            wake,
            share: Share::default(),
            held,
            held_unknown,
            unconfirmed: HashSet::new(),
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

    /// Whether it is this stream that ended, and no other came after it.
    pub(super) fn was(&self, connection: Connection) -> bool {
        self.connection == connection && !self.is_connected()
    }

    /// Begins to count.
    pub(super) fn count(&self, tally: &mut Tally) {
        for key in &self.share.keys {
            tally.moved(&self.node, key, Standing::default(), self.standing(key));
        }
        if self.open && self.is_connected() {
            tally.opened();
        }
    }

    /// Its stream ended: it has what it has, and confirms nothing of it.
    pub(super) fn disconnected(&mut self, now: Instant, tally: &mut Tally) {
        let before: Vec<Standing> = self.share.keys.iter().map(|key| self.standing(key)).collect();
        self.disconnected_at = Some(now);
        for (key, before) in self.share.keys.iter().zip(before) {
            tally.moved(&self.node, key, before, self.standing(key));
        }
        if self.open {
            tally.closed();
        }
    }

    /// Ceases to count.
    pub(super) fn leave(&self, tally: &mut Tally) {
        for key in &self.share.keys {
            tally.moved(&self.node, key, self.standing(key), Standing::default());
        }
        if self.open && self.is_connected() {
            tally.closed();
        }
    }

    /// What it counts as for a resource.
    fn standing(&self, key: &Key) -> Standing {
        if !self.share.keys.contains(key) {
            return Standing::default();
        }
        let held = self.held.get(key).filter(|_| self.synced);
        let refused = self.refused.get(key).map(|(version, _)| *version);
        let is_connected = self.is_connected();
        let confirmed = held
            .filter(|held| held.sent_in <= self.acknowledged && refused != Some(held.version))
            .map(|held| held.version);
        Standing {
            has: true,
            is_connected,
            confirms: confirmed.filter(|_| is_connected),
            refuses: refused.is_some(),
        }
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn topics(&self) -> Vec<Topic> {
        self.share.topics.iter().cloned().collect()
    }

    pub(super) fn touch(&mut self, touch: &Touch, now: Instant, tally: &mut Tally) {
        match touch {
            Touch::Content(key) => {
                self.pending.insert(key.clone());
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
        if !self.open && self.pending.is_empty() && self.acknowledged >= self.sent {
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
        let confirms = |held: &Held| held.sent_in <= generation.number;
        let held = &self.held;
        let keys = self.unconfirmed.extract_if(|key| held.get(key).is_none_or(confirms));
        let keys: Vec<Key> = keys.collect();
        let before: Vec<Standing> = keys.iter().map(|key| self.standing(key)).collect();
        self.acknowledged = self.acknowledged.max(generation.number);
        self.caught_up();
        for (key, before) in keys.iter().zip(before) {
            tally.moved(&self.node, key, before, self.standing(key));
        }
        if ack.refused.is_empty() {
            return;
        }
        let mut reasons: HashMap<String, String> =
            ack.refused.into_iter().map(|refused| (refused.key, refused.reason)).collect();
        let refused = |(key, held): (&Key, &Held)| {
            Some((key.clone(), (held.version, reasons.remove(&key.to_string())?)))
        };
        let refused: Vec<_> = self.held.iter().filter_map(refused).collect();
        for (key, reason) in refused {
            let before = self.standing(&key);
            self.refused.insert(key.clone(), reason);
            tally.moved(&self.node, &key, before, self.standing(&key));
        }
    }

    /// Takes what it cannot reach at the moment.
    pub(super) fn report(&mut self, report: v1::Report) {
        self.unreachable = report.unreachable;
        self.unreachable.truncate(UNREACHABLE_MAX);
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
        let mut told =
            Told { number, upserts: Vec::new(), removals: Vec::new(), synced: !self.synced };
        let pending = mem::take(&mut self.pending);
        let mut interest = None;
        if self.open {
            // Whatever changed is seen by comparing the whole share, so what is pending need not be looked at.
            self.leave(tally);
            self.open = false;
            interest = Some(self.compute_share(picture));
            self.compare_all(picture, &mut told);
            self.synced = true;
            self.count(tally);
        } else {
            for key in &pending {
                if !self.share.keys.contains(key) {
                    continue;
                }
                let before = self.standing(key);
                self.compare(key, picture, &mut told);
                tally.moved(&self.node, key, before, self.standing(key));
            }
        }
        // The first message is sent even when it brings nothing: it says that nothing is missing.
        if told.upserts.is_empty() && told.removals.is_empty() && !told.synced {
            self.caught_up();
            return (None, interest);
        }
        self.sent = number;
        generation.number = number;
        (Some(told), interest)
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

    fn compare_all(&mut self, picture: &Picture, told: &mut Told) {
        let keys = mem::take(&mut self.share.keys);
        for key in &keys {
            self.compare(key, picture, told);
        }
        self.share.keys = keys;
        let gone: Vec<Key> = self
            .held
            .keys()
            .filter(|key| !self.share.keys.contains(*key) && picture.may_remove(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key, told);
        }
        told.removals.append(&mut self.held_unknown);
    }

    /// Tells a resource if the data plane holds another version of it, or none. Versions are hashes of content, so
    /// what it brought along from before a restart, of either side, is told only where it differs.
    fn compare(&mut self, key: &Key, picture: &Picture, told: &mut Told) {
        match picture.known(key) {
            Known::Content(current) => {
                if self.held.get(key).is_none_or(|held| held.version != current.version) {
                    let held = Held { version: current.version, sent_in: told.number };
                    self.held.insert(key.clone(), held);
                    self.unconfirmed.insert(key.clone());
                    self.refused.remove(key);
                    told.upserts.push(current);
                }
            }
            Known::Absent => self.remove(key, told),
            // A source that has not spoken may still have it: the data plane goes on with what it holds.
            Known::NotYet => {}
        }
    }

    fn remove(&mut self, key: &Key, told: &mut Told) {
        self.refused.remove(key);
        self.unconfirmed.remove(key);
        if self.held.remove(key).is_some() {
            told.removals.push(key.to_string());
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

    /// Why it does not take a resource.
    pub(super) fn reason_against(&self, key: &Key) -> Option<&str> {
        self.refused.get(key).map(|(_, reason)| reason.as_str())
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
