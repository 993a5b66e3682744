//! A promotion as it is kept.

use std::collections::BTreeMap;

use api::{
    resource::Key,
    rest::{Author, PromotionConfirmation, PromotionEnd, PromotionStep},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A promotion of a lane: where it stands, and what it was like at the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPromotion {
    /// The lane's object.
    pub lane: Key,
    /// Which object of that name.
    pub uid: String,
    /// The lane's group.
    pub group: String,
    /// The lane's tag.
    pub tag: String,
    /// The lane's `spec` at the start, without `entry.paused`: whatever differs was changed by somebody else.
    pub spec: Value,
    /// Whether the lane was paused already: then it is not resumed either.
    pub was_paused: bool,
    /// When it was started: seconds since 1970.
    pub started: u64,
    /// By whom.
    pub started_by: Author,
    /// How many seconds without a request make the lane empty.
    pub idle_seconds: u32,
    /// Base at the start, by those applications of the group that had instances in the lane.
    pub applications: BTreeMap<String, BaseBefore>,
    /// The step it is at.
    pub step: PromotionStep,
    /// Since when: seconds since 1970.
    pub since: u64,
    /// The change of the lane that this step takes, while it is not known to be made: a restart goes on with it.
    pub pending: bool,
    /// What was vouched for, by steps.
    pub confirmed: Vec<(PromotionStep, PromotionConfirmation)>,
    /// How it ended.
    pub end: Option<PromotionEnd>,
}

/// What base of an application was like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseBefore {
    /// Its instances: `ADDRESS PROCESS`, by whatever registered them.
    pub instances: Vec<String>,
    /// Requests in the hour before.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
}
