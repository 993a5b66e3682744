//! What one data plane has to do with resources: which are its share, what it was sent of each, and what it
//! confirmed or does not take. Every change of that is counted.

use std::{collections::HashSet, mem, sync::Arc};

use foldhash::HashMap;

use super::Told;
use crate::{
    distribute::tally::{Standing, Tally},
    key::{ResourceKey, Topic},
    picture::{Known, Picture, Share},
};

/// All of it, by key.
#[derive(Debug)]
pub(super) struct Holdings {
    node: Arc<str>,
    is_connected: bool,
    by_key: HashMap<ResourceKey, Holding>,
    /// Of the share, what changed and must be looked at.
    pending: Vec<ResourceKey>,
    /// Of these it may not have confirmed what it was sent last.
    unconfirmed: Vec<ResourceKey>,
}

/// One resource. There is an entry for whatever is in the share, or held.
#[derive(Debug, Default)]
struct Holding {
    is_in_share: bool,
    is_pending: bool,
    held: Option<Held>,
    /// Why it does not take what is held.
    refused: Option<Box<str>>,
}

/// What the data plane has, or was sent.
#[derive(Debug, Clone, Copy)]
struct Held {
    version: u64,
    /// Number of the message that carried it; 0 when the data plane brought it along.
    sent_in: u64,
    is_confirmed: bool,
}

impl Holdings {
    /// Those of a data plane that is connected, and holds nothing.
    pub(super) fn new(node: Arc<str>) -> Self {
        let (by_key, pending, unconfirmed) = (HashMap::default(), Vec::new(), Vec::new());
        Self { node, is_connected: true, by_key, pending, unconfirmed }
    }

    /// It brought along a version of a resource, and so has confirmed it.
    pub(super) fn bring(&mut self, key: ResourceKey, version: u64) {
        let held = Some(Held { version, sent_in: 0, is_confirmed: true });
        self.by_key.insert(key, Holding { held, ..Holding::default() });
    }

    /// Begins to count.
    pub(super) fn count(&self, tally: &mut Tally) {
        for (key, holding) in &self.by_key {
            tally.moved(&self.node, key, Standing::default(), holding.standing(self.is_connected));
        }
    }

    /// Ceases to count.
    pub(super) fn leave(&self, tally: &mut Tally) {
        for (key, holding) in &self.by_key {
            tally.moved(&self.node, key, holding.standing(self.is_connected), Standing::default());
        }
    }

    /// It has what it has, and confirms nothing of it.
    pub(super) fn disconnected(&mut self, tally: &mut Tally) {
        self.is_connected = false;
        for (key, holding) in &self.by_key {
            tally.moved(&self.node, key, holding.standing(true), holding.standing(false));
        }
    }

    /// A resource changed.
    pub(super) fn touch(&mut self, key: &ResourceKey) {
        if let Some(holding) = self.by_key.get_mut(key)
            && holding.is_in_share
            && !mem::replace(&mut holding.is_pending, true)
        {
            self.pending.push(key.clone());
        }
    }

    /// Services that it may not be told to drop are in its share as far as it has them: what it goes on with must not
    /// grow old.
    pub(super) fn keep_what_is_unknown(&self, picture: &Picture, share: &mut Share) {
        for (key, holding) in &self.by_key {
            let is_held = matches!(key, ResourceKey::Service(_)) && holding.held.is_some();
            if is_held && !share.keys.contains(key) && !picture.may_remove(key) {
                share.keys.insert(key.clone());
                share.topics.insert(Topic::Resource(key.clone()));
            }
        }
    }

    /// Whether nothing must be looked at.
    pub(super) fn is_told_all(&self) -> bool {
        self.pending.is_empty()
    }

    /// Tells what changed.
    pub(super) fn tell_pending(&mut self, picture: &Picture, told: &mut Told, tally: &mut Tally) {
        for key in self.pending.drain(..) {
            let Some(holding) = self.by_key.get_mut(&key) else { continue };
            holding.is_pending = false;
            let before = holding.standing(self.is_connected);
            holding.compare(&key, picture, told, &mut self.unconfirmed);
            tally.moved(&self.node, &key, before, holding.standing(self.is_connected));
        }
    }

    /// Tells all that differs from what the share now is; what changed meanwhile is seen by that.
    pub(super) fn tell_share(
        &mut self,
        share: HashSet<ResourceKey>,
        picture: &Picture,
        told: &mut Told,
        tally: &mut Tally,
    ) {
        self.leave(tally);
        self.pending.clear();
        for holding in self.by_key.values_mut() {
            (holding.is_in_share, holding.is_pending) = (false, false);
        }
        for key in share {
            let holding = self.by_key.entry(key.clone()).or_default();
            holding.is_in_share = true;
            holding.compare(&key, picture, told, &mut self.unconfirmed);
        }
        let unconfirmed = &mut self.unconfirmed;
        self.by_key.retain(|key, holding| {
            if !holding.is_in_share && picture.may_remove(key) {
                holding.remove(key, told, unconfirmed);
            }
            holding.is_in_share || holding.held.is_some()
        });
        self.count(tally);
    }

    /// It confirms messages up to a number.
    pub(super) fn confirm(&mut self, number: u64, tally: &mut Tally) {
        let Self { node, is_connected, by_key, unconfirmed, .. } = self;
        unconfirmed.retain(|key| {
            let Some(holding) = by_key.get_mut(key) else { return false };
            let before = holding.standing(*is_connected);
            match &mut holding.held {
                Some(held) if held.sent_in > number => return true,
                Some(held) => held.is_confirmed = true,
                None => return false,
            }
            tally.moved(node, key, before, holding.standing(*is_connected));
            false
        });
    }

    /// It does not take resources of messages up to a number, for these reasons by key.
    pub(super) fn refuse(
        &mut self,
        mut reasons: HashMap<String, String>,
        number: u64,
        tally: &mut Tally,
    ) {
        for (key, holding) in &mut self.by_key {
            if holding.held.is_none_or(|held| held.sent_in > number) {
                continue;
            }
            let Some(reason) = reasons.remove(&key.to_string()) else { continue };
            let before = holding.standing(self.is_connected);
            holding.refused = Some(reason.into());
            tally.moved(&self.node, key, before, holding.standing(self.is_connected));
        }
    }

    /// Why it does not take a resource.
    pub(super) fn reason_against(&self, key: &ResourceKey) -> Option<&str> {
        self.by_key.get(key)?.refused.as_deref()
    }

    /// What it does not take, and why.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&ResourceKey, &str)> {
        self.by_key.iter().filter_map(|(key, holding)| Some((key, holding.refused.as_deref()?)))
    }
}

impl Holding {
    /// What it counts as.
    fn standing(&self, is_connected: bool) -> Standing {
        if !self.is_in_share {
            return Standing::default();
        }
        let refuses = self.refused.is_some();
        let confirmed = self.held.filter(|held| held.is_confirmed && is_connected && !refuses);
        let confirms = confirmed.map(|held| held.version);
        Standing { has: true, is_connected, confirms, refuses }
    }

    /// Tells the resource if the data plane holds another version of it, or none. Versions are hashes of content, so
    /// what it brought along from before a restart, of either side, is told only where it differs.
    fn compare(
        &mut self,
        key: &ResourceKey,
        picture: &Picture,
        told: &mut Told,
        unconfirmed: &mut Vec<ResourceKey>,
    ) {
        match picture.known(key) {
            // What it brought along may be more.
            Known::Partly(_) if self.held.is_some_and(|held| held.sent_in == 0) => {}
            Known::Content(current) | Known::Partly(current) => {
                if self.held.is_some_and(|held| held.version == current.version) {
                    return;
                }
                if self.held.is_none_or(|held| held.is_confirmed) {
                    unconfirmed.push(key.clone());
                }
                let (version, sent_in) = (current.version, told.number);
                self.held = Some(Held { version, sent_in, is_confirmed: false });
                self.refused = None;
                told.upserts.push(current.encoded);
            }
            Known::Absent => self.remove(key, told, unconfirmed),
            // A source that has not spoken may still have it: the data plane goes on with what it holds.
            Known::NotYet => {}
        }
    }

    fn remove(&mut self, key: &ResourceKey, told: &mut Told, unconfirmed: &mut Vec<ResourceKey>) {
        self.refused = None;
        let Some(held) = self.held.take() else { return };
        if !held.is_confirmed {
            unconfirmed.retain(|other| other != key);
        }
        told.removals.push(key.to_string());
    }
}
