//! Whole-set validation, the same for every writer: the control plane, `laneway check`, Kubernetes.

use serde::{Deserialize, Serialize};

use crate::resource::{Key, Kind, Object};

mod set;

pub use set::Set;

/// One thing that is wrong or doubtful with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub object: Key,
    /// What, with the path in the object.
    pub problem: lanes::Problem,
    /// How bad it is.
    pub severity: Severity,
}

/// How bad a finding is.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Not written.
    #[default]
    Error,
    /// Written, but without effect while another object says otherwise: it gets a `Conflicted` condition.
    Conflict,
    /// Written.
    Warning,
}

/// Everything that is wrong or doubtful with a set of objects, errors first.
pub fn validate(set: &Set) -> Vec<Finding> {
    let _ = set;
    Vec::new()
}

/// Why `removed` objects may not go: what of `after`, the set without them, needs them.
pub fn removals(after: &Set, removed: &[Object]) -> Vec<Finding> {
    let _ = (after, removed, Kind::ALL);
    Vec::new()
}
