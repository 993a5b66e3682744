//! `trace id → lane context`, for applications that forward a trace header but no baggage (semantics, "Correlation").
//!
//! A sidecar remembers the context of every inbound request under its correlation ids, base included, and gives it
//! back to outbound requests that carry an id and no lane context. One table serves all threads of a process,
//! because a request may come in on one and its calls go out on another.
//!
//! - A context is *live* from the request's arrival until 60 s after its response.
//! - An id with two differing live contexts restores nothing: the request is base, and counted.
//! - At most 65 536 contexts are remembered. When a part of the table is full, the one that finished first is
//!   forgotten early; those of requests in flight never are. Whatever else lives under the id of a forgotten context
//!   is from then on a conflict. Where all are in flight a new one is refused, and while it is in flight whatever
//!   comes new is a conflict. So a full table leads a request in flight to its own lane or to the base, never into
//!   another's; a call made after the response may be as if its minute were over.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use routes::entrance::{CORRELATION_ID_BYTES_MAX, CorrelationId};
use smallvec::SmallVec;
use telemetry::{Samples, names};

use crate::lost::Arrived;
use shard::{Looked, Shard, SlotIndex};

mod shard;

/// How long after its response a context is still given back: work that an application goes on with after it has
/// answered belongs to the same lane.
pub(crate) const LIVES_AFTER_RESPONSE: Duration = Duration::from_secs(60);

/// Contexts remembered at most: 1 000 requests a second for 60 s. About 200 bytes each, 13 MB when full.
pub(crate) const CONTEXTS_MAX: usize = 65_536;

/// Parts of the table, each with its own lock, held for a look-up at a time. Enough that the threads of a sidecar
/// rarely meet.
const SHARDS: usize = 16;

/// Bytes of lane members that are remembered: 15 groups with the longest names and tags. A longer context is not
/// remembered (and is a conflict for others under its id).
pub(crate) const CONTEXT_BYTES_MAX: usize = 2048;

/// The table of a process.
pub(crate) struct Correlation {
    shards: [Mutex<Shard>; SHARDS],
    /// Keyed, because ids come from callers.
    hasher: RandomState,
}

/// A thread's way to the table of its process. Cheap to clone: no counter is shared with other threads.
#[derive(Debug, Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "counting an Arc per request would share its counter between threads"
)]
pub(crate) struct ThreadCorrelation {
    table: Rc<Arc<Correlation>>,
}

/// A request in flight whose context is remembered. It ends by [`Remembered::finish`]; when it is dropped instead
/// (the caller went away) it ends at the time the table has last seen.
#[derive(Debug)]
pub(crate) struct Remembered {
    thread: ThreadCorrelation,
    slots: SmallVec<[(u8, SlotIndex); 2]>,
    /// It is counted as in flight as long as it is.
    arrived: Option<Arrived>,
}

/// What the table says about an outbound request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// The context was given back; empty is base.
    Context,
    /// Differing contexts live under the id: base, to be counted.
    Conflict,
    /// None of the ids is known: base.
    Unknown,
}

impl Default for Correlation {
    fn default() -> Self {
        Self::new(CONTEXTS_MAX)
    }
}

impl Correlation {
    /// Remembers at most `contexts_max` contexts, spread evenly over the table's parts.
    pub(crate) fn new(contexts_max: usize) -> Self {
        let per_shard = contexts_max.div_ceil(SHARDS);
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(per_shard))),
            hasher: RandomState::new(),
        }
    }

    /// Forgets what has been dead for long enough. For one thread's tick; look-ups also do it for the part they touch.
    pub(crate) fn tick(&self, now: Instant) {
        for shard in &self.shards {
            shard.lock().expire(now);
        }
    }

    /// Contexts remembered at the moment.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Adds what the table measures about itself.
    pub(crate) fn sample(&self, samples: &mut Samples) {
        let dropped: u64 = self.shards.iter().map(|shard| shard.lock().dropped()).sum();
        samples.add(names::CORRELATION_DROPPED, &[], dropped as f64);
        samples.add(names::CORRELATION_ENTRIES, &[], self.len() as f64);
    }

    fn begin(&self, id: &[u8], context: &[u8], now: Instant) -> (u8, SlotIndex) {
        let hash = self.hasher.hash_one(id);
        let shard = shard_of(hash);
        let slot = self.shards[shard].lock().begin(hash, id, context, now);
        (shard as u8, slot)
    }

    fn restore(&self, id: &[u8], now: Instant, out: &mut Vec<u8>) -> Restored {
        let hash = self.hasher.hash_one(id);
        match self.shards[shard_of(hash)].lock().look(hash, id, now) {
            Looked::Context(context) => {
                out.extend_from_slice(context);
                Restored::Context
            }
            Looked::Conflict => Restored::Conflict,
            Looked::Unknown => Restored::Unknown,
        }
    }
}

/// The hash table inside a shard uses the lowest and the highest bits.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl ThreadCorrelation {
    /// For one thread.
    pub(crate) fn new(table: Arc<Correlation>) -> Self {
        Self { table: Rc::new(table) }
    }

    /// The table itself.
    pub(crate) fn table(&self) -> &Correlation {
        &self.table
    }

    /// An inbound request arrived: remembers its context under each of its ids. `context` is the request's `lane.*`
    /// members joined by commas ([`lanes::baggage::lane_members`]); empty is base.
    pub(crate) fn remember(
        &self,
        ids: &[CorrelationId],
        context: &[u8],
        now: Instant,
    ) -> Remembered {
        let ordered = in_order(context);
        let context = ordered.as_deref().unwrap_or(context);
        let slots = ids
            .iter()
            .filter(|id| id.len() <= CORRELATION_ID_BYTES_MAX)
            .map(|id| self.table.begin(id, context, now))
            .collect();
        Remembered { thread: self.clone(), slots, arrived: None }
    }

    /// An outbound request without lane context is leaving: appends the context to give it to `out`. The first of
    /// its ids that is known decides.
    pub(crate) fn restore(
        &self,
        ids: &[CorrelationId],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Restored {
        for id in ids {
            match self.table.restore(id, now, out) {
                Restored::Unknown => {}
                known => return known,
            }
        }
        Restored::Unknown
    }
}

/// The same members in another order are the same context. Allocates only for requests in several groups whose
/// members are not in order.
fn in_order(context: &[u8]) -> Option<Vec<u8>> {
    let members = || context.split(|byte| *byte == b',');
    if members().is_sorted() {
        return None;
    }
    let mut members: SmallVec<[&[u8]; 8]> = members().collect();
    members.sort_unstable();
    Some(members.join(&b','))
}

impl Remembered {
    /// Ends what is counted as in flight with itself.
    pub(crate) fn counted(mut self, arrived: Arrived) -> Self {
        self.arrived = Some(arrived);
        self
    }

    /// The response is complete: the context lives for [`LIVES_AFTER_RESPONSE`] from now.
    pub(crate) fn finish(mut self, now: Instant) {
        self.end(Some(now));
    }

    fn end(&mut self, now: Option<Instant>) {
        for (shard, slot) in self.slots.drain(..) {
            self.thread.table.shards[usize::from(shard)].lock().end(slot, now);
        }
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Correlation").field("contexts", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
