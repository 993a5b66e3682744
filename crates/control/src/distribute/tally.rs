//! How far every resource has got, counted at every change: asking costs the same for ten data planes and for ten
//! thousand.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use foldhash::HashMap;

use super::Live;
use crate::key::ResourceKey;

/// What one data plane counts as for one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// It has the resource in its share.
    pub(super) has: bool,
    /// It has it, and its stream is open.
    pub(super) is_connected: bool,
    /// The version that it holds and said so, while connected.
    pub(super) confirms: Option<u64>,
    /// It does not take the version that it was sent.
    pub(super) refuses: bool,
}

/// Counts over all data planes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    resources: HashMap<ResourceKey, Counts>,
    /// Connected data planes of which it is not yet known what they get.
    open: usize,
    /// Resources whose counts changed, each once; of those that nobody has any more, perhaps more often.
    changed: Vec<ResourceKey>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    data_planes: usize,
    connected: usize,
    /// How many confirm each version: of one, and of a second while a change is on its way.
    confirmed: BTreeMap<u64, usize>,
    /// Nodes that do not take it.
    refusing: BTreeSet<Arc<str>>,
    is_changed: bool,
}

impl Tally {
    /// A data plane stands otherwise to a resource than it did.
    pub(super) fn moved(
        &mut self,
        node: &Arc<str>,
        key: &ResourceKey,
        before: Standing,
        after: Standing,
    ) {
        if before == after {
            return;
        }
        let counts = match self.resources.get_mut(key) {
            Some(counts) => counts,
            None => self.resources.entry(key.clone()).or_default(),
        };
        counts.data_planes = counts.data_planes + usize::from(after.has) - usize::from(before.has);
        counts.connected =
            counts.connected + usize::from(after.is_connected) - usize::from(before.is_connected);
        if before.confirms != after.confirms {
            counts.confirm(before.confirms, after.confirms);
        }
        match (before.refuses, after.refuses) {
            (false, true) => drop(counts.refusing.insert(Arc::clone(node))),
            (true, false) => drop(counts.refusing.remove(node)),
            _ => {}
        }
        if !mem::replace(&mut counts.is_changed, true) {
            self.changed.push(key.clone());
        }
        if counts.data_planes == 0 {
            self.resources.remove(key);
        }
    }

    /// A connected data plane's share must be computed.
    pub(super) fn opened(&mut self) {
        self.open += 1;
    }

    /// It was computed, or the data plane is gone.
    pub(super) fn closed(&mut self) {
        self.open -= 1;
    }

    pub(super) fn has_open_shares(&self) -> bool {
        self.open > 0
    }

    /// How far a version of a resource has got.
    pub(super) fn live(&self, key: &ResourceKey, version: u64) -> Live {
        let Some(counts) = self.resources.get(key) else { return Live::default() };
        let Counts { data_planes, connected, .. } = *counts;
        Live { data_planes, connected, acknowledged: counts.confirming(version) }
    }

    /// Whether every connected data plane that has, or is about to have, the resource confirmed this version.
    pub(super) fn settled(&self, key: &ResourceKey, version: u64) -> bool {
        let is_confirmed = |counts: &Counts| counts.connected == counts.confirming(version);
        self.open == 0 && self.resources.get(key).is_none_or(is_confirmed)
    }

    /// Nodes that do not take a resource, in order.
    /// How many refuse something.
    pub(super) fn refusers(&self) -> usize {
        let refusers = self.resources.values().flat_map(|counts| &counts.refusing);
        refusers.collect::<BTreeSet<_>>().len()
    }

    pub(super) fn refusing(&self, key: &ResourceKey) -> impl ExactSizeIterator<Item = &Arc<str>> {
        static NOBODY: BTreeSet<Arc<str>> = BTreeSet::new();
        self.resources.get(key).map_or(&NOBODY, |counts| &counts.refusing).iter()
    }

    #[cfg(test)]
    pub(super) fn assert_same(&self, other: &Self) {
        assert_eq!(self.open, other.open);
        let counts = |tally: &Self| -> HashMap<ResourceKey, Counts> {
            let counts = |(key, counts): (&ResourceKey, &Counts)| {
                (key.clone(), Counts { is_changed: false, ..counts.clone() })
            };
            tally.resources.iter().map(counts).collect()
        };
        assert_eq!(counts(self), counts(other));
    }

    /// Resources whose counts changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<ResourceKey> {
        for key in &self.changed {
            if let Some(counts) = self.resources.get_mut(key) {
                counts.is_changed = false;
            }
        }
        mem::take(&mut self.changed)
    }
}

impl Counts {
    fn confirming(&self, version: u64) -> usize {
        self.confirmed.get(&version).copied().unwrap_or(0)
    }

    fn confirm(&mut self, before: Option<u64>, after: Option<u64>) {
        if let Some(count) = before.and_then(|version| self.confirmed.get_mut(&version)) {
            *count -= 1;
            self.confirmed.retain(|_, count| *count > 0);
        }
        if let Some(version) = after {
            *self.confirmed.entry(version).or_default() += 1;
        }
    }
}
