//! Lane context on the wire: W3C `baggage` (design §2, "Lane context on the wire").

use crate::{Context, Snapshot};

/// Bytes a whole `baggage` value may have; beyond it members that are not ours go (W3C Baggage §3.3.2).
pub const BAGGAGE_BYTES_MAX: usize = 8192;

/// What to do with `lane.*` members that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// An untrusted listener: drop all of them.
    Strip,
    /// Inside the mesh: keep those of groups that `context` has no member for.
    Keep,
}

/// Appends the value of the one `baggage` header to send: lane members first, one per group, then all other
/// members of `incoming` untouched. Appends nothing when there is nothing to say.
///
/// Members of `context` that are base are written as `-` only for groups with an application as entrance.
pub fn write<'a>(
    snapshot: &Snapshot,
    context: &Context,
    incoming: impl Iterator<Item = &'a [u8]> + Clone,
    policy: Incoming,
    out: &mut Vec<u8>,
) {
    let _ = (snapshot, context, incoming, policy, out);
    todo!()
}

/// Appends only the `lane.*` members of `incoming`, joined by commas, first of each group: what correlation
/// remembers of a request. Empty means base.
pub fn lane_members<'a>(incoming: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let _ = (incoming, out);
    todo!()
}
