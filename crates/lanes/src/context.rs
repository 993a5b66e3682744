//! The lane context: which lane of which group a request belongs to. Read from baggage at every hop but the
//! entrance; written to the wire by [`crate::baggage`].

use smallvec::SmallVec;

use crate::{
    Snapshot,
    baggage::{self, CarriedTag},
};

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
    ///
    /// A tag that its group does not know is base, decided: no entrance decides anew for it.
    pub fn read<'a>(snapshot: &Snapshot, baggage: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Self::default();
        for carried in baggage::carried(baggage) {
            let Some(group) = snapshot.group(carried.group) else { continue };
            if context.member(group).is_some() {
                continue;
            }
            let lane = match carried.tag() {
                CarriedTag::Base => None,
                CarriedTag::Tag(tag) => {
                    let lane = snapshot.groups()[usize::from(group)].lane(&tag);
                    context.unknown_tags += u16::from(lane.is_none());
                    lane
                }
                CarriedTag::Invalid => {
                    context.unknown_tags += 1;
                    None
                }
            };
            context.add(Member { group, lane });
        }
        context
    }

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
