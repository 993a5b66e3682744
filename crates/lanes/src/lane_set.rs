//! Sets of lanes of one group: as bits to intersect, and in whichever form is smaller to keep.

use smallvec::SmallVec;

/// Lanes as bits. Up to 1 024 lanes on the stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LaneSet {
    words: SmallVec<[u64; 16]>,
}

impl LaneSet {
    /// No lane of `lanes`.
    pub(crate) fn empty(lanes: usize) -> Self {
        Self { words: SmallVec::from_elem(0, lanes.div_ceil(64)) }
    }

    /// The same set: a copy of memory, unlike `Clone` of a [`SmallVec`].
    pub(crate) fn copy(&self) -> Self {
        Self { words: SmallVec::from_slice(&self.words) }
    }

    pub(crate) fn insert(&mut self, lane: usize) {
        self.words[lane / 64] |= 1 << (lane % 64);
    }

    pub(crate) fn remove(&mut self, lane: usize) {
        self.words[lane / 64] &= !(1 << (lane % 64));
    }

    /// Keeps what is in `other` too.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The first lane at or after `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / 64;
        let mut word = self.words.get(at)? & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(at * 64 + word.trailing_zeros() as usize)
    }
}

/// Lanes to keep for long: a list while it is much shorter than the bits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LaneList {
    Few(Box<[u16]>),
    Many(Box<LaneSet>),
}

/// Lanes in a list, per word of bits: a list costs two bytes and a few instructions per lane, bits cost eight
/// bytes and one instruction per word.
const LANES_PER_WORD_FEW: usize = 2;

impl Default for LaneList {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl LaneList {
    /// `list` are lanes out of `lanes`.
    pub(crate) fn new(list: &[u16], lanes: usize) -> Self {
        if list.len() <= lanes.div_ceil(64) * LANES_PER_WORD_FEW {
            return Self::Few(list.into());
        }
        let mut set = LaneSet::empty(lanes);
        list.iter().for_each(|lane| set.insert(usize::from(*lane)));
        Self::Many(set.into())
    }

    pub(crate) fn add_to(&self, set: &mut LaneSet) {
        match self {
            Self::Few(list) => {
                let words = &mut *set.words;
                list.iter().for_each(|lane| words[usize::from(lane / 64)] |= 1 << (lane % 64));
            }
            Self::Many(many) => {
                set.words.iter_mut().zip(&many.words).for_each(|(word, other)| *word |= other);
            }
        }
    }

    pub(crate) fn remove_from(&self, set: &mut LaneSet) {
        match self {
            Self::Few(list) => {
                let words = &mut *set.words;
                list.iter().for_each(|lane| words[usize::from(lane / 64)] &= !(1 << (lane % 64)));
            }
            Self::Many(many) => {
                set.words.iter_mut().zip(&many.words).for_each(|(word, other)| *word &= !other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(set: &LaneSet) -> BTreeSet<u16> {
        let mut from = 0;
        std::iter::from_fn(|| {
            let lane = set.next(from)?;
            from = lane + 1;
            Some(lane as u16)
        })
        .collect()
    }

    proptest! {
        #[test]
        fn sets_are_sets(
            lanes in 1_u16..300,
            a in prop::collection::btree_set(0_u16..300, 0..300),
            b in prop::collection::btree_set(0_u16..300, 0..40),
        ) {
            let within = |set: BTreeSet<u16>| -> BTreeSet<u16> {
                set.into_iter().filter(|lane| *lane < lanes).collect()
            };
            let (a, b) = (within(a), within(b));
            let list = |set: &BTreeSet<u16>| {
                LaneList::new(&set.iter().copied().collect::<Vec<_>>(), usize::from(lanes))
            };
            let of = |set: &BTreeSet<u16>| {
                let mut bits = LaneSet::empty(usize::from(lanes));
                list(set).add_to(&mut bits);
                bits
            };
            prop_assert_eq!(members(&of(&a)), a.clone());
            prop_assert_eq!(of(&a).count() as usize, a.len());
            let mut both = of(&a);
            both.keep(&of(&b));
            prop_assert_eq!(members(&both), &a & &b);
            let mut either = of(&a);
            list(&b).add_to(&mut either);
            prop_assert_eq!(members(&either), &a | &b);
            let mut rest = of(&a);
            list(&b).remove_from(&mut rest);
            prop_assert_eq!(members(&rest), &a - &b);
        }
    }

    #[test]
    fn long_lists_are_kept_as_bits() {
        let list: Vec<u16> = (0..32).collect();
        assert!(matches!(LaneList::new(&list, 1000), LaneList::Few(_)));
        let list: Vec<u16> = (0..33).collect();
        assert!(matches!(LaneList::new(&list, 1000), LaneList::Many(_)));
    }
}
