//! The lane context: which lane of which group a request belongs to. Read from the wire at every hop but the entrance,
//! and written to it, by [`crate::baggage`].

use smallvec::SmallVec;

/// A request's membership in one group, as indices into the [`Snapshot`](crate::Snapshot) it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// Index into [`Snapshot::groups`](crate::Snapshot::groups).
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
    /// Members, sorted by group.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of a group, if it has one.
    pub fn member(&self, group: u16) -> Option<Member> {
        self.position(group).ok().map(|at| self.members[at])
    }

    /// Adds a member unless its group already has one.
    pub fn add(&mut self, member: Member) {
        if let Err(at) = self.position(member.group) {
            self.members.insert(at, member);
        }
    }

    fn position(&self, group: u16) -> Result<usize, usize> {
        self.members.binary_search_by_key(&group, |member| member.group)
    }
}
