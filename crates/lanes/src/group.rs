//! Lane groups: what operators wrote ([`GroupSpec`]) and what decisions run on ([`Group`]).

mod compile;

use std::fmt;

use crate::{
    GroupName, Problem, Tag,
    affinity::Issue,
    condition::{Condition, Parameter},
    content, ratio,
};

/// Lanes one group may have. Indices are `u16`, and every lane is looked at when the group is compiled; what is
/// measured is 1 000.
pub const LANES_PER_GROUP_MAX: usize = 4096;

const _: () = assert!(LANES_PER_GROUP_MAX < u16::MAX as usize, "lanes are counted in 16 bits");

/// Conditions one lane may have: compiling compares those of a lane with one another.
pub const CONDITIONS_PER_LANE_MAX: usize = 256;

/// A lane group with its lanes, as written, shapes already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSpec {
    /// The group's name.
    pub name: GroupName,
    /// Where requests of this group are first matched.
    pub entrances: Vec<EntranceSpec>,
    /// Applications that belong to the group.
    pub applications: Vec<String>,
    /// Lanes in creation order; [`Group::compile`] orders them by priority.
    pub lanes: Vec<LaneSpec>,
}

/// What is wrong with a group, or with one of its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProblem {
    /// The lane, by its place in [`GroupSpec::lanes`].
    pub lane: Option<usize>,
    /// A lane before it that has already what only one may have.
    pub like: Option<usize>,
    /// What, with the path in the lane, or in the group.
    pub problem: Problem,
}

impl fmt::Display for GroupProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lane) = self.lane {
            write!(f, "lanes[{lane}].")?;
        }
        write!(f, "{}", self.problem)?;
        self.like.map_or(Ok(()), |like| write!(f, ": lanes[{like}] has it already"))
    }
}

/// An entrance as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntranceSpec {
    /// A gateway, optionally only some of its routes.
    Gateway {
        /// Its name.
        name: String,
        /// Names of routes; `None` means all.
        routes: Option<Vec<String>>,
    },
    /// An application whose sidecar or agent decides for requests that arrive without a member.
    Application {
        /// Its name.
        name: String,
        /// Strip what the caller sent first (semantics §12).
        edge: bool,
    },
}

/// A lane as written.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneSpec {
    /// Its tag, unique in the group.
    pub tag: Tag,
    /// A disabled lane is not tried, and who carries it is base.
    pub enabled: bool,
    /// Entrances may match it. The control plane holds a new lane back (`false`) until data planes know it:
    /// make before break. Requests that already carry it are routed by `enabled` alone.
    pub admitting: bool,
    /// Entrances put no request into it, `admitting` or not; requests that already carry it keep it. By ratio it is drawn
    /// all the same, and whoever falls to it is base: nobody comes into another lane by that (semantics §7).
    pub paused: bool,
    /// Lower is tried first; ties by order in [`GroupSpec::lanes`].
    pub priority: i32,
    /// How requests enter.
    pub entry: Entry,
    /// What serves a hop that the lane cannot.
    pub fallback: Fallback,
    /// Applications switched off in this lane (semantics §7).
    pub switched_off: Vec<String>,
}

/// How requests enter a lane. All lanes of a group use one mode.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// By content.
    Content {
        /// All of the conditions, or any.
        meet: Meet,
        /// At least one.
        conditions: Vec<Condition>,
    },
    /// By ratio.
    Ratio {
        /// Hundredths of a percent, 0..=10 000.
        percent_hundredths: u16,
        /// The parameter whose first value is the key; only header, cookie, query or client address.
        sticky_by: Option<Parameter>,
        /// How gateways issue the cookie of `sticky_by` to whom has none; goes with a cookie alone.
        issue: Option<Issue>,
    },
}

/// Whether all conditions or any must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meet {
    /// Every condition.
    All,
    /// At least one.
    Any,
}

/// What serves a hop where the lane has no usable instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// These lanes of the same group in order, at last the base.
    Then(Vec<Tag>),
    /// Nothing: 503.
    Strict,
}

/// A group compiled for decisions: conditions indexed, regexes compiled once each, lanes in rule-2 order.
#[derive(Debug)]
pub struct Group {
    spec: GroupSpec,
    /// Sorted, without duplicates.
    applications: Vec<Box<str>>,
    /// In the order of `spec.lanes`.
    routing: Vec<Routing>,
    /// Indices of `spec.lanes`, sorted by tag.
    by_tag: Vec<u16>,
    entry: EntryMatcher,
    has_application_entrance: bool,
}

/// What a hop needs to know of a lane.
#[derive(Debug)]
struct Routing {
    is_strict: bool,
    /// Indices of lanes, in the order they are tried.
    fallback: Box<[u16]>,
    /// Indices into [`Group::applications`], sorted.
    switched_off: Box<[u32]>,
}

/// Finds the lane of a request at an entrance.
#[derive(Debug)]
pub(crate) enum EntryMatcher {
    Content(Box<content::Matcher>),
    Ratio(ratio::Draw),
}

/// An application as an index into one group's applications.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApplicationIndex(u32);

impl Group {
    /// Compiles `spec`, or returns every problem it has, fields relative to the group (`lanes[3].entry…`).
    pub fn compile(spec: GroupSpec) -> Result<Self, Vec<GroupProblem>> {
        compile::compile(spec)
    }

    /// The group as written, lanes in rule-2 order.
    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    /// The group's name.
    pub fn name(&self) -> &GroupName {
        &self.spec.name
    }

    /// The lane with this tag, as an index into the lanes of [`Group::spec`].
    pub fn lane(&self, tag: &[u8]) -> Option<u16> {
        let at = self
            .by_tag
            .binary_search_by(|index| self.tag(*index).as_str().as_bytes().cmp(tag))
            .ok()?;
        Some(self.by_tag[at])
    }

    /// The tag of a lane. The index must be one of this group's.
    pub(crate) fn tag(&self, lane: u16) -> &Tag {
        &self.spec.lanes[usize::from(lane)].tag
    }

    pub(crate) fn is_enabled(&self, lane: u16) -> bool {
        self.spec.lanes[usize::from(lane)].enabled
    }

    pub(crate) fn is_strict(&self, lane: u16) -> bool {
        self.routing[usize::from(lane)].is_strict
    }

    /// Lanes to try before the base, those that are disabled included.
    pub(crate) fn fallback(&self, lane: u16) -> &[u16] {
        &self.routing[usize::from(lane)].fallback
    }

    pub(crate) fn application(&self, name: &str) -> Option<ApplicationIndex> {
        let at = self.applications.binary_search_by(|have| (**have).cmp(name)).ok()?;
        Some(ApplicationIndex(at as u32))
    }

    pub(crate) fn is_switched_off(&self, lane: u16, application: ApplicationIndex) -> bool {
        self.routing[usize::from(lane)].switched_off.binary_search(&application.0).is_ok()
    }

    pub(crate) fn entry(&self) -> &EntryMatcher {
        &self.entry
    }

    /// Whether base is written on the wire, so that no entrance decides a second time.
    pub(crate) fn has_application_entrance(&self) -> bool {
        self.has_application_entrance
    }
}
