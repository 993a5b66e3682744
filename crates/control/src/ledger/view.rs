//! What readers see: the objects after the last commit, and the changes that led there.

use std::{collections::VecDeque, sync::Arc};

use api::{
    resource::{Key, Kind},
    validate::Finding,
};

use crate::{
    objects::{ObjectChange, Objects},
    store::{Revision, StoredObject},
};

/// Changes kept for watches that fell behind or reconnect: some minutes of busy editing, a few megabytes.
const HISTORY_MAX: usize = 4_096;

/// The changes after a revision are no longer known: list again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the changes since then are no longer kept: list again and watch from there")]
pub(crate) struct Gone;

/// Objects, and recent changes.
#[derive(Debug)]
pub struct View {
    objects: Arc<Objects>,
    revision: Revision,
    history: VecDeque<ObjectChange>,
    findings: Arc<Vec<Finding>>,
    /// Why the last commit failed, until one does not.
    unwritable: Option<String>,
    /// Changes after this revision are all in `history`.
    known_after: Revision,
}

impl View {
    pub(super) fn new(objects: Arc<Objects>, revision: Revision) -> Self {
        Self {
            objects,
            revision,
            history: VecDeque::new(),
            findings: Arc::default(),
            unwritable: None,
            known_after: revision,
        }
    }

    /// The state this is.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<StoredObject>> {
        self.objects.get(key)
    }

    /// All of them, for whoever reads on without holding the view.
    pub(crate) fn objects(&self) -> Arc<Objects> {
        Arc::clone(&self.objects)
    }

    /// Objects of a kind, sorted by namespace and name.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<StoredObject>> {
        self.objects.list(kind, namespace)
    }

    /// The changes after a revision, in order.
    pub(crate) fn changes_after(
        &self,
        revision: Revision,
    ) -> Result<impl Iterator<Item = &ObjectChange>, Gone> {
        if revision < self.known_after || revision > self.revision {
            return Err(Gone);
        }
        let start = self.history.partition_point(|change| change.revision <= revision);
        Ok(self.history.range(start..))
    }

    /// What is wrong, conflicting or doubtful with the objects.
    pub(crate) fn findings(&self) -> &Arc<Vec<Finding>> {
        &self.findings
    }

    pub(super) fn set_findings(&mut self, findings: Arc<Vec<Finding>>) {
        self.findings = findings;
    }

    /// Why nothing can be stored at the moment, as far as it was tried.
    pub(crate) fn unwritable(&self) -> Option<&str> {
        self.unwritable.as_deref()
    }

    pub(super) fn set_unwritable(&mut self, why: Option<String>) {
        self.unwritable = why;
    }

    pub(super) fn apply(&mut self, objects: Arc<Objects>, changes: &[ObjectChange]) {
        self.objects = objects;
        for change in changes {
            self.revision = self.revision.max(change.revision);
            self.history.push_back(change.clone());
            if self.history.len() > HISTORY_MAX
                && let Some(oldest) = self.history.pop_front()
            {
                self.known_after = oldest.revision;
            }
        }
    }
}
