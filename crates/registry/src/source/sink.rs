//! What a source told so far and how it stands, between the source and whom it is told to.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use lanes::{Problem, ServiceId};
use tokio::time::Instant;

use super::{Change, Receiver, Rule, Standing};

/// Where a source tells what it knows.
pub struct Sink {
    name: Arc<str>,
    receiver: Arc<dyn Receiver>,
    standing: Standing,
    /// Services that are there, and what is wrong with each: what is known already is not logged again.
    present: HashMap<ServiceId, Vec<Problem>>,
    /// Of these, those that an earlier run told of and this one has not yet.
    unconfirmed: BTreeSet<ServiceId>,
    /// Rules of others that were told.
    rules: Vec<Rule>,
}

impl Sink {
    /// Nothing told yet.
    pub(crate) fn new(name: &str, receiver: Arc<dyn Receiver>) -> Self {
        let standing = Standing::Syncing { problem: None };
        receiver.stands(&standing);
        Self {
            name: name.into(),
            receiver,
            standing,
            present: HashMap::new(),
            rules: Vec::new(),
            unconfirmed: BTreeSet::new(),
        }
    }

    /// Services as they are now, in order.
    pub(crate) fn changed(&mut self, changes: Vec<Change>) {
        for Change { service, state, problems } in &changes {
            self.unconfirmed.remove(service);
            if state.is_none() {
                self.present.remove(service);
                continue;
            }
            let known = self.present.entry(service.clone()).or_default();
            for problem in problems.iter().filter(|problem| !known.contains(problem)) {
                tracing::warn!(source = %self.name, %service, %problem, "an instance is not as it should be");
            }
            known.clone_from(problems);
        }
        if !changes.is_empty() {
            self.receiver.changed(changes);
        }
    }

    /// All rules of others that are known now.
    pub(crate) fn ruled(&mut self, rules: Vec<Rule>) {
        if self.rules != rules {
            self.receiver.ruled(&rules);
            self.rules = rules;
        }
    }

    /// Everything there is has been told, and the source is in contact. What earlier runs told of and this one did
    /// not is gone.
    pub(crate) fn synced(&mut self) {
        self.synced_as(Standing::Synced);
    }

    /// The same, and something is odd with it, in words.
    pub(crate) fn synced_but(&mut self, problem: String) {
        self.synced_as(Standing::SyncedBut { problem });
    }

    fn synced_as(&mut self, standing: Standing) {
        let gone = std::mem::take(&mut self.unconfirmed).into_iter().map(Change::gone);
        self.changed(gone.collect());
        if matches!(self.standing, Standing::Stale { .. }) {
            tracing::info!(source = %self.name, "the source is in contact again");
        }
        self.stand(standing);
    }

    /// What the source watches cannot be reached: its last picture stays.
    pub(crate) fn stale(&mut self, problem: String) {
        tracing::warn!(source = %self.name, problem, "the source is out of contact; its last picture stays");
        let standing = match &self.standing {
            Standing::Syncing { .. } => Standing::Syncing { problem: Some(problem) },
            Standing::Synced | Standing::SyncedBut { .. } => {
                Standing::Stale { since: Instant::now().into_std(), problem }
            }
            Standing::Stale { since, .. } => Standing::Stale { since: *since, problem },
        };
        self.stand(standing);
    }

    /// A new run: what was told so far is there until this run says otherwise.
    pub(crate) fn begin(&mut self) {
        self.unconfirmed = self.present.keys().cloned().collect();
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing != standing {
            self.receiver.stands(&standing);
            self.standing = standing;
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).finish_non_exhaustive()
    }
}
