//! Which names and addresses mean something, for sidecars: so that they need not ask for what is nobody's, nor mistake
//! for nobody's what they could not ask for. Kept as a log of changes, of which each sidecar is told the rest.

use std::collections::{HashMap, VecDeque};

use api::discovery::v1;

/// Changes kept. Who has missed more is told the whole, which is about as much in a large installation.
const LOG_MAX: usize = 16_384;

/// What means something, and how it came to that.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    /// How many services mean something by it.
    counts: HashMap<u64, u32>,
    /// The latest changes, in order: what, and whether it came or went.
    log: VecDeque<(u64, bool)>,
    /// How many changes there were.
    number: u64,
}

/// What a sidecar was told of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// Up to this change.
    number: u64,
    /// And that there is nothing else.
    is_whole: bool,
}

impl Digest {
    /// One more means something by it.
    pub(super) fn add(&mut self, hash: u64) {
        let count = self.counts.entry(hash).or_default();
        *count += 1;
        if *count == 1 {
            self.note(hash, true);
        }
    }

    /// One fewer does.
    pub(super) fn remove(&mut self, hash: u64) {
        let Some(count) = self.counts.get_mut(&hash) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&hash);
            self.note(hash, false);
        }
    }

    fn note(&mut self, hash: u64, came: bool) {
        self.number += 1;
        self.log.push_back((hash, came));
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }

    /// How many changes there were.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What a sidecar must be told, if anything. `is_all`: it is known that there is nothing else; otherwise who was
    /// told more before goes on with it.
    pub(crate) fn tell(&self, told: &mut Told, is_all: bool) -> Option<v1::Digest> {
        let before = std::mem::replace(
            told,
            Told { number: self.number, is_whole: told.is_whole || is_all },
        );
        let missed = usize::try_from(self.number - before.number).unwrap_or(usize::MAX);
        if is_all && !before.is_whole || missed > self.log.len() {
            let added = self.counts.keys().copied().collect();
            return Some(v1::Digest { whole: is_all, added, removed: Vec::new() });
        }
        if missed == 0 {
            return None;
        }
        let mut last = HashMap::new();
        last.extend(self.log.range(self.log.len() - missed..).copied());
        let (added, removed): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, came)| *came);
        let hashes =
            |changes: Vec<(u64, bool)>| changes.into_iter().map(|(hash, _)| hash).collect();
        Some(v1::Digest { whole: false, added: hashes(added), removed: hashes(removed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(digest: Option<v1::Digest>) -> Option<(bool, Vec<u64>, Vec<u64>)> {
        let v1::Digest { whole, mut added, mut removed } = digest?;
        added.sort_unstable();
        removed.sort_unstable();
        Some((whole, added, removed))
    }

    #[test]
    fn it_is_told_whole_once_and_then_what_changed() {
        let (mut digest, mut told) = (Digest::default(), Told::default());
        [1, 2, 2].into_iter().for_each(|hash| digest.add(hash));
        assert_eq!(sorted(digest.tell(&mut told, false)), Some((false, vec![1, 2], vec![])));
        assert_eq!(sorted(digest.tell(&mut told, false)), None);
        assert_eq!(sorted(digest.tell(&mut told, true)), Some((true, vec![1, 2], vec![])));
        digest.remove(2);
        assert_eq!(sorted(digest.tell(&mut told, true)), None, "another service has the name");
        digest.remove(2);
        digest.add(3);
        digest.remove(1);
        digest.add(1);
        assert_eq!(sorted(digest.tell(&mut told, true)), Some((false, vec![1, 3], vec![2])));
        for hash in 10..10 + LOG_MAX as u64 + 1 {
            digest.add(hash);
        }
        let (is_whole, added, _) = sorted(digest.tell(&mut told, true)).unwrap();
        assert_eq!((is_whole, added.len()), (true, LOG_MAX + 3), "it has missed too much");
    }
}
