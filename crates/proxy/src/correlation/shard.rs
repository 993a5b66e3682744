//! One part of the correlation table: contexts by id, and those that have finished in order of time.

use std::time::Instant;

use hashbrown::HashTable;

use super::{CONTEXT_BYTES_MAX, LIVES_AFTER_RESPONSE};

/// A slot's place, or [`REFUSED`]. Stays valid while its request is in flight: only finished contexts are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotIndex(u32);

/// No slot.
const NONE: u32 = u32::MAX;

/// The place of a context for which there was no room. It is counted while its request is in flight.
const REFUSED: SlotIndex = SlotIndex(NONE);

/// Slots keep their buffers for the next context, unless those are larger than this: a typical id and context are
/// 36 and 30 bytes.
const KEPT_BUFFER_BYTES: usize = 128;

pub(super) enum Looked<'s> {
    Context(&'s [u8]),
    Conflict,
    Unknown,
}

pub(super) struct Shard {
    slots: Vec<Slot>,
    /// The first slot of each id.
    by_id: HashTable<u32>,
    /// Slots to use again, linked by `next_of_id`.
    free: u32,
    /// The finished contexts, linked by `before` and `after`.
    finished_first: u32,
    finished_last: u32,
    len: usize,
    slots_max: usize,
    /// Requests in flight whose contexts were refused. While there are any, new contexts may lack a sibling.
    refused_in_flight: u32,
    dropped: u64,
    /// The latest time seen. Threads read their clocks at slightly different moments; here it never goes back.
    clock: Option<Instant>,
}

/// One context under one id.
struct Slot {
    hash: u64,
    id: Vec<u8>,
    context: Vec<u8>,
    /// Requests in flight that have this id and this context.
    in_flight: u32,
    /// When the last of them ended.
    finished_at: Option<Instant>,
    /// A context that lived under the same id is no longer, or never was, in the table.
    lost_sibling: bool,
    next_of_id: u32,
    before: u32,
    after: u32,
}

impl Shard {
    pub(super) fn new(slots_max: usize) -> Self {
        assert!(
            slots_max > 0 && slots_max < NONE as usize,
            "a shard holds between 1 and 2^32 - 2 contexts"
        );
        Self {
            slots: Vec::new(),
            by_id: HashTable::new(),
            free: NONE,
            finished_first: NONE,
            finished_last: NONE,
            len: 0,
            slots_max,
            refused_in_flight: 0,
            dropped: 0,
            clock: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// One more request with this id and context.
    pub(super) fn begin(
        &mut self,
        hash: u64,
        id: &[u8],
        context: &[u8],
        now: Instant,
    ) -> SlotIndex {
        self.expire(now);
        let same =
            self.of_id(hash, id).find(|index| self.slots[*index as usize].context == context);
        if let Some(index) = same {
            if self.slots[index as usize].in_flight == 0 {
                self.unlink_finished(index);
            }
            self.slots[index as usize].in_flight += 1;
            return SlotIndex(index);
        }
        if context.len() > CONTEXT_BYTES_MAX
            || (self.len == self.slots_max && self.finished_first == NONE)
        {
            self.dropped += 1;
            self.refused_in_flight += 1;
            self.lose_sibling(hash, id);
            return REFUSED;
        }
        let mut lost_sibling = self.refused_in_flight > 0;
        if self.len == self.slots_max {
            let oldest = self.finished_first;
            lost_sibling |= self.slots[oldest as usize].id == id;
            self.forget_early(oldest);
        }
        SlotIndex(self.insert(hash, id, context, lost_sibling))
    }

    /// A request ended: at `now`, or at the latest time seen.
    pub(super) fn end(&mut self, index: SlotIndex, now: Option<Instant>) {
        let now = self.advance(now);
        if index == REFUSED {
            self.refused_in_flight -= 1;
            return;
        }
        let slot = &mut self.slots[index.0 as usize];
        assert!(slot.in_flight > 0, "a slot is held by whoever has its index");
        slot.in_flight -= 1;
        if slot.in_flight == 0 {
            slot.finished_at = now;
            self.link_finished(index.0);
        }
    }

    /// What lives under `id`.
    pub(super) fn look(&mut self, hash: u64, id: &[u8], now: Instant) -> Looked<'_> {
        self.expire(now);
        let mut of_id = self.of_id(hash, id);
        let Some(first) = of_id.next() else { return Looked::Unknown };
        let another = of_id.next().is_some();
        let first = &self.slots[first as usize];
        if another || first.lost_sibling {
            Looked::Conflict
        } else {
            Looked::Context(&first.context)
        }
    }

    /// Forgets contexts whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let now = self.advance(Some(now));
        while self.finished_first != NONE {
            let finished_at = self.slots[self.finished_first as usize].finished_at;
            let dead =
                finished_at.zip(now).is_some_and(|(at, now)| now >= at + LIVES_AFTER_RESPONSE);
            if !dead {
                break;
            }
            self.remove(self.finished_first);
        }
        if self.len == 0 && !self.slots.is_empty() {
            // A burst is over: its memory goes back.
            self.slots = Vec::new();
            self.by_id = HashTable::new();
            self.free = NONE;
        }
    }

    fn advance(&mut self, now: Option<Instant>) -> Option<Instant> {
        self.clock = self.clock.max(now);
        self.clock
    }

    fn of_id(&self, hash: u64, id: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
        let first = self.by_id.find(hash, |index| self.slots[*index as usize].id == id).copied();
        std::iter::successors(first, |index| {
            let next = self.slots[*index as usize].next_of_id;
            (next != NONE).then_some(next)
        })
    }

    fn lose_sibling(&mut self, hash: u64, id: &[u8]) {
        let mut next = self.of_id(hash, id).next().unwrap_or(NONE);
        while next != NONE {
            let slot = &mut self.slots[next as usize];
            slot.lost_sibling = true;
            next = slot.next_of_id;
        }
    }

    fn forget_early(&mut self, index: u32) {
        self.dropped += 1;
        let slot = &mut self.slots[index as usize];
        let (hash, id) = (slot.hash, std::mem::take(&mut slot.id));
        // The id is taken out for the borrow and put back for the removal, which looks it up.
        let mut next = self.by_id_first(hash, index, &id);
        while next != NONE {
            let sibling = &mut self.slots[next as usize];
            sibling.lost_sibling = true;
            next = sibling.next_of_id;
        }
        self.slots[index as usize].id = id;
        self.remove(index);
    }

    /// The first slot of an id, where the id of slot `taken` is in `id` instead of in the slot.
    fn by_id_first(&self, hash: u64, taken: u32, id: &[u8]) -> u32 {
        let found =
            self.by_id.find(hash, |index| *index == taken || self.slots[*index as usize].id == id);
        found.copied().unwrap_or(NONE)
    }

    fn insert(&mut self, hash: u64, id: &[u8], context: &[u8], lost_sibling: bool) -> u32 {
        let first = self.of_id(hash, id).next();
        // What is missing is missing for every context that comes to this id, whichever of those here tells of it.
        let lost_sibling = lost_sibling
            || self.of_id(hash, id).any(|index| self.slots[index as usize].lost_sibling);
        let index = if self.free == NONE {
            self.slots.push(Slot::empty());
            (self.slots.len() - 1) as u32 // below `slots_max`
        } else {
            let index = self.free;
            self.free = self.slots[index as usize].next_of_id;
            index
        };
        let slot = &mut self.slots[index as usize];
        slot.hash = hash;
        slot.id.extend_from_slice(id);
        slot.context.extend_from_slice(context);
        slot.in_flight = 1;
        slot.lost_sibling = lost_sibling;
        slot.next_of_id = NONE;
        match first {
            // After the first, so that the table need not be told.
            Some(first) => {
                let next = std::mem::replace(&mut self.slots[first as usize].next_of_id, index);
                self.slots[index as usize].next_of_id = next;
            }
            None => {
                let slots = &self.slots;
                self.by_id.insert_unique(hash, index, |index| slots[*index as usize].hash);
            }
        }
        self.len += 1;
        index
    }

    fn remove(&mut self, index: u32) {
        self.unlink_finished(index);
        let slot = &self.slots[index as usize];
        let (hash, next) = (slot.hash, slot.next_of_id);
        match self.by_id.find_entry(hash, |first| *first == index) {
            Ok(mut entry) if next != NONE => *entry.get_mut() = next,
            Ok(entry) => drop(entry.remove()),
            Err(_) => {
                let before = self
                    .of_id(hash, &slot.id)
                    .find(|other| self.slots[*other as usize].next_of_id == index);
                let before =
                    before.expect("a slot that is not the first of its id follows another");
                self.slots[before as usize].next_of_id = next;
            }
        }
        let slot = &mut self.slots[index as usize];
        slot.clear();
        slot.next_of_id = self.free;
        self.free = index;
        self.len -= 1;
    }

    fn link_finished(&mut self, index: u32) {
        let last = std::mem::replace(&mut self.finished_last, index);
        if last == NONE {
            self.finished_first = index;
        } else {
            self.slots[last as usize].after = index;
        }
        let slot = &mut self.slots[index as usize];
        slot.before = last;
        slot.after = NONE;
    }

    fn unlink_finished(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        let (before, after) = (slot.before, slot.after);
        match before {
            NONE => self.finished_first = after,
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => self.finished_last = before,
            after => self.slots[after as usize].before = before,
        }
        let slot = &mut self.slots[index as usize];
        (slot.before, slot.after, slot.finished_at) = (NONE, NONE, None);
    }
}

impl Slot {
    fn empty() -> Self {
        Self {
            hash: 0,
            id: Vec::new(),
            context: Vec::new(),
            in_flight: 0,
            finished_at: None,
            lost_sibling: false,
            next_of_id: NONE,
            before: NONE,
            after: NONE,
        }
    }

    fn clear(&mut self) {
        for buffer in [&mut self.id, &mut self.context] {
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER_BYTES);
        }
        self.lost_sibling = false;
    }
}
