//! Promotions: what stands between a lane and its version being that of base, checked step by step.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Author;
use crate::resource::Key;

/// The steps of a promotion, in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum PromotionStep {
    /// The lane is no worse than base.
    Verdict,
    /// Whoever deploys gives base the lane's version; the lane stays open, and its requests in it.
    Base,
    /// Base is healthy with it.
    Health,
    /// The entrances are closed to the lane (it is paused), and no request is in it any more.
    Drain,
    /// The lane is deleted; tagged instances are left to whoever deploys.
    Remove,
}

impl PromotionStep {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Verdict, Self::Base, Self::Health, Self::Drain, Self::Remove];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Base => "base",
            Self::Health => "health",
            Self::Drain => "drain",
            Self::Remove => "remove",
        }
    }

    /// The one after it; none after the last.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it > self)
    }
}

/// Whether a step is behind, or before whoever promotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionStepState {
    /// It was gone on from.
    Done,
    /// It is being done.
    Current,
    /// It comes later, or never where the promotion has ended.
    Later,
}

/// What a check looks at. What `n` and `of` count is said with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionCheckKind {
    /// The lane beside base: `n` is 1 where it is worse, 2 where there is too little traffic to say, else 0.
    Verdict,
    /// Base of an application: `n` of its `of` instances were not there at the start. Those that leave are not counted.
    Instances,
    /// That the new instances run the version of the lane, which no source tells: whoever deploys confirms it.
    Version,
    /// Base of an application since it is new: `n` errors of `of` requests.
    Errors,
    /// The entrances are closed to the lane: `n` of `of` data planes have confirmed.
    Closed,
    /// Requests in the lane: `n` in the last `of` seconds.
    Idle,
    /// Data planes that report nothing of what passes: `n` of them.
    Reports,
    /// Lanes that fall back to this one: `n` of them.
    Fallback,
    /// An application that came into the lane after `base` had begun: its base is not looked at, and somebody vouches for it.
    Scope,
    /// Files that say the lane: `n` is 1 where a file said it last, which brings it back the next time that it is applied.
    Files,
    /// That the lane goes, and its `n` tagged instances are left, besides `of` that lanes of other groups use: whoever promotes
    /// confirms it.
    Removal,
}

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionCheckState {
    /// It holds.
    Ok,
    /// It does not hold yet.
    Waiting,
    /// It cannot be known here.
    Unknown,
    /// It does not hold, and does not come to by waiting.
    Failed,
}

/// Something that must hold before the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionCheck {
    /// What to confirm it by: unique within its step, e.g. `instances/spring-cloud-b`.
    pub id: String,
    /// What it looks at.
    pub kind: PromotionCheckKind,
    /// Of which application, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// How it stands.
    pub state: PromotionCheckState,
    /// Whether it may be confirmed where it does not hold.
    pub confirmable: bool,
    /// A number, by its kind.
    pub n: u64,
    /// Another.
    pub of: u64,
    /// The same in words.
    pub message: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStepStatus {
    /// Which.
    pub step: PromotionStep,
    /// Where it stands.
    pub state: PromotionStepState,
    /// Of the current step of a promotion that has not ended: what must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub checks: Vec<PromotionCheck>,
    /// What of it was confirmed, and by whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub confirmed: Vec<PromotionConfirmation>,
}

/// That somebody vouched for a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionConfirmation {
    /// Its id.
    pub check: String,
    /// How it stood then, in words.
    pub message: String,
    /// Who.
    pub by: Author,
    /// When, RFC 3339.
    pub time: String,
}

/// How a promotion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionOutcome {
    /// Base runs the version, the lane is gone.
    Promoted,
    /// Somebody abandoned it; what it had changed is as before.
    Abandoned,
    /// Somebody else changed or deleted the lane. Nothing was changed by that.
    Stopped,
}

/// The end of a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionEnd {
    /// How.
    pub outcome: PromotionOutcome,
    /// When, RFC 3339.
    pub time: String,
    /// In words: by whom, and why; what is left to do.
    pub message: String,
    /// Instances of the lane that were still there, as `application address`: the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub left: Vec<String>,
    /// Those of them that lanes of other groups use too, and are not to be stopped, as `application address (GROUP/TAG)`: the
    /// first 100. They are not in `left`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub shared: Vec<String>,
}

/// A promotion of a lane. It watches and checks, and changes no workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// The lane's object.
    pub lane: Key,
    /// The lane's group.
    pub group: String,
    /// The lane's tag.
    pub tag: String,
    /// Applications of the group that had instances in the lane at the start: their base is to run its version.
    pub applications: Vec<String>,
    /// When it was started, RFC 3339.
    pub started: String,
    /// By whom.
    pub started_by: Author,
    /// The step it is at, or was at when it ended.
    pub step: PromotionStep,
    /// All steps, in order.
    pub steps: Vec<PromotionStepStatus>,
    /// How it ended; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<PromotionEnd>,
}

impl PromotionStatus {
    /// What must hold before the next step.
    pub fn checks(&self) -> &[PromotionCheck] {
        let current = self.steps.iter().find(|it| it.state == PromotionStepState::Current);
        current.map_or(&[], |it| &it.checks)
    }
}

/// How long a lane must have had no request, when not said.
pub const PROMOTION_IDLE_SECONDS: u32 = 30;

/// To begin a promotion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromotionRequest {
    /// How many seconds without a request make the lane empty, 1 to 600; 30 when not given. Requests are counted when they
    /// end: as long as the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 600)]
    pub idle_seconds: Option<u32>,
    /// Begin also where the lane's last promotion was stopped or abandoned: without this that is refused, with what became of
    /// it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub anew: bool,
}

/// To go on to the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromotionNextRequest {
    /// The step that is gone on from: whoever sees another than the current one is refused.
    pub step: PromotionStep,
    /// Checks, by their ids, that whoever asks vouches for.
    #[serde(default)]
    #[schema(required = false)]
    pub confirm: Vec<String>,
}
