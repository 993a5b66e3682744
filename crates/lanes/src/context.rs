//! The lane context: which lane of which group a request belongs to. Read from baggage at every hop but the
//! entrance; written to the wire by [`crate::baggage`].

use smallvec::SmallVec;

use crate::Snapshot;

/// A request's membership in one group, as indices into the [`Snapshot`] it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Index into [`Snapshot::groups`].
    pub group: u16,
    /// Index into the group's lanes; `None` is base, decided (`-` on the wire).
    pub lane: Option<u16>,
}

/// Members of one request, sorted by group. Only valid with the snapshot it was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    members: SmallVec<[Member; 8]>,
    /// Members whose group is known but whose tag is not: base, and counted.
    pub unknown_tags: u16,
}

impl Context {
    /// Reads the `lane.*` members of all `baggage` values of a request. Groups the snapshot does not know are
    /// skipped (they travel on untouched); disabled lanes are members all the same (their hop is base).
    pub fn read<'a>(snapshot: &Snapshot, baggage: impl Iterator<Item = &'a [u8]>) -> Self {
        let _ = (snapshot, baggage);
        todo!()
    }

    /// Members, sorted by group.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Adds a member unless its group already has one.
    pub fn add(&mut self, member: Member) {
        let _ = member;
        todo!()
    }
}
