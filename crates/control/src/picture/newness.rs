//! What a store means to which nothing was ever applied. Data planes that come to it with a picture of another epoch had
//! another control plane: its store was lost, or they were moved. Until somebody has applied something to this one, that
//! it has nothing is no reason to drop what they hold.

use std::collections::BTreeSet;

/// Nodes counted that had another control plane; for people.
const MISSED_BY_MAX: usize = 1_000;

/// Whether a store is doubted, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Newness {
    is_unused: bool,
    is_doubted: bool,
    /// Doubt came up, and nobody has taken note of it.
    is_news: bool,
    /// Nodes that came with something while it is doubted.
    missed_by: BTreeSet<String>,
}

impl Newness {
    /// Nothing was ever applied; whether that was doubted before a restart.
    pub(super) fn begin_unused(&mut self, is_doubted: bool) {
        (self.is_unused, self.is_doubted) = (true, is_doubted);
    }

    /// A data plane came with something; says whether that is a reason to doubt.
    pub(super) fn brings_along(&mut self, node: &str, is_of_another: bool) -> bool {
        if !self.is_unused || !(self.is_doubted || is_of_another) {
            return false;
        }
        if !self.is_doubted {
            (self.is_doubted, self.is_news) = (true, true);
            tracing::error!(
                node,
                "nothing was ever applied to this control plane, and a data plane holds the configuration of another one: \
                 nothing of it is taken away before something is applied here"
            );
        }
        if self.missed_by.len() < MISSED_BY_MAX {
            self.missed_by.insert(node.to_owned());
        }
        true
    }

    /// Somebody has applied something; says whether that lifts a doubt.
    pub(super) fn believe(&mut self) -> bool {
        let was_doubted = self.is_doubted();
        self.is_unused = false;
        was_doubted
    }

    pub(super) fn take_new_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Whether what is not here may be somewhere else.
    pub(crate) fn is_doubted(&self) -> bool {
        self.is_unused && self.is_doubted
    }

    /// How many data planes know better.
    pub(crate) fn doubted_by(&self) -> usize {
        if self.is_doubted() { self.missed_by.len() } else { 0 }
    }
}
