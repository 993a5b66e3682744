//! A map in pieces that versions of it share: a copy costs one count per piece, a change copies one piece.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

/// Pieces per map. With 10 000 entries a change copies about 160 of them; an empty map is half a kilobyte.
const SHARDS: usize = 64;

/// One piece, shared by the versions that have not changed it.
type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// A map whose clones are cheap. A look-up hashes once, for the piece and the place in it.
#[derive(Debug, Clone)]
pub(crate) struct Sharded<K, V> {
    shards: Box<[Shard<K, V>]>,
    /// Kept by clones, so that a key is in the same piece in every version.
    hasher: DefaultHashBuilder,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        let shards = (0..SHARDS).map(|_| Arc::clone(&empty)).collect();
        Self { shards, hasher: DefaultHashBuilder::default() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let (_, value) = self.shards[shard(hash)].find(hash, |(known, _)| known.borrow() == key)?;
        Some(value)
    }

    /// The value to change, an empty one where there was none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        match self.place(&key) {
            Entry::Occupied(there) => &mut there.into_mut().1,
            Entry::Vacant(free) => &mut free.insert((key, V::default())).into_mut().1,
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Entry::Occupied(mut there) => Some(std::mem::replace(&mut there.get_mut().1, value)),
            Entry::Vacant(free) => {
                free.insert((key, value));
                None
            }
        }
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // Nothing there: nothing to copy.
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut self.shards[shard(hash)]);
        let there = shard.find_entry(hash, |(known, _)| known.borrow() == key).ok()?;
        Some(there.remove().0.1)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(_, value)| value))
    }

    fn place(&mut self, key: &K) -> Entry<'_, (K, V)> {
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut self.shards[shard(hash)]);
        shard.entry(hash, |(known, _)| known == key, |(known, _)| self.hasher.hash_one(known))
    }
}

/// Which piece a hash belongs to: by bits that a table of this size does not use to find a place.
fn shard(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}
