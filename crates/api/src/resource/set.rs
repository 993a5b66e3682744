//! A set of objects, and the order in which they were created.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Key, Kind, Lane, LaneGroup, Object, Resource, Spec};

/// When an object was created, compared with others (semantics §2): lower is older. Of equals the older is the one
/// whose namespace and name come first, so that a clock of seconds will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreationOrder(pub u64);

impl CreationOrder {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Keys that stand in a list more than once: where each stood first, and where it stands again.
pub fn written_twice(keys: impl IntoIterator<Item = Key>) -> Vec<(usize, usize)> {
    let mut first: HashMap<Key, usize> = HashMap::new();
    let again = |(at, key): (usize, Key)| match *first.entry(key).or_insert(at) {
        first if first == at => None,
        first => Some((first, at)),
    };
    keys.into_iter().enumerate().filter_map(again).collect()
}

/// Objects by kind in the order they were created, each name once.
#[derive(Debug, Clone, Default)]
pub struct Set {
    by_kind: BTreeMap<Kind, BTreeMap<(CreationOrder, Key), Arc<Object>>>,
    created: HashMap<Key, CreationOrder>,
}

impl Set {
    /// Objects as a file lists them, the oldest first; of two of one name the later replaces the earlier in its
    /// place.
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut set = Self::default();
        let mut latest = CreationOrder::default();
        for object in objects {
            latest = latest.next();
            let created = set.created(&object.key()).unwrap_or(latest);
            set.put(object, created);
        }
        set
    }

    /// Adds an object, or replaces the one of its name. Returns what it replaced.
    pub fn put(
        &mut self,
        object: impl Into<Arc<Object>>,
        created: CreationOrder,
    ) -> Option<Arc<Object>> {
        let object = object.into();
        let key = object.key();
        let replaced = self.remove(&key);
        self.created.insert(key.clone(), created);
        self.by_kind.entry(key.kind).or_default().insert((created, key), object);
        replaced
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let created = self.created.remove(key)?;
        self.by_kind.get_mut(&key.kind)?.remove(&(created, key.clone()))
    }

    /// The object of this name.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        let created = self.created(key)?;
        self.by_kind.get(&key.kind)?.get(&(created, key.clone())).map(Arc::as_ref)
    }

    /// When the object of this name was created.
    pub fn created(&self, key: &Key) -> Option<CreationOrder> {
        self.created.get(key).copied()
    }

    /// Every object: kind by kind, each kind in order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.iter_shared().map(Arc::as_ref)
    }

    /// The same, for whoever keeps something beside an object.
    pub(crate) fn iter_shared(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.by_kind.values().flat_map(BTreeMap::values)
    }

    /// Every object of a kind, in order of creation.
    pub(super) fn all<'s, S: Spec + 's>(&'s self) -> impl Iterator<Item = &'s Resource<S>> {
        let objects = self.by_kind.get(&S::KIND).into_iter().flat_map(BTreeMap::values);
        objects.filter_map(|object| S::of(object))
    }

    /// The lanes of a group, in order of creation.
    pub fn lanes_of<'s>(&'s self, group: &'s LaneGroup) -> impl Iterator<Item = &'s Lane> {
        self.lanes().filter(move |lane| {
            lane.spec.group == group.metadata.name
                && lane.metadata.namespace == group.metadata.namespace
        })
    }
}
