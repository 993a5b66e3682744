//! A map in pieces that versions of it share: a copy costs one count per piece, a change copies one piece.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
};

/// Pieces per map. With 10 000 entries a change copies about 160 of them; an empty map is half a kilobyte.
const SHARDS: usize = 64;

/// A map whose clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Sharded<K, V> {
    shards: Box<[Arc<HashMap<K, V>>]>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        Self { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[shard(key)].get(key)
    }

    /// The value to change, an empty one where there was none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        Arc::make_mut(&mut self.shards[shard(&key)]).entry(key).or_default()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.shards[shard(&key)]).insert(key, value)
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let shard = &mut self.shards[shard(key)];
        // Nothing there: nothing to copy.
        if !shard.contains_key(key) {
            return None;
        }
        Arc::make_mut(shard).remove(key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}

/// Which piece a key is in: the same in every version, so not seeded.
fn shard<Q: Hash + ?Sized>(key: &Q) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    hash as usize % SHARDS
}
