//! What the REST API says besides objects: lists, watches, transactions, status, explanations, problems.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    resource::{Key, Object, one_line},
    validate,
};

// To utoipa a type written `Object` is one of which nothing is known.
use crate::resource::Object as AnyObject;

mod audit;
mod explain;
mod installation;
mod people;
mod promotion;
mod statistics;
mod status;
mod tap;
mod tokens;

pub use audit::{AuditEntry, UndoRequest};
pub use explain::{ExplainHop, ExplainRequest, ExplainResponse, ExplainStep};
pub use installation::{Event, InstancePort, InstanceStatus, ServiceStatus};
pub use people::{
    ApiTokenCreated, ApiTokenRequest, ApiTokenStatus, Author, AuthorKind, EVERYWHERE, Grant,
    GrantsRequest, NOTE, NOTE_CHARACTERS_MAX, PasswordChange, Role, SessionStatus, SignInRequest,
    SignedIn, UserCreated, UserRequest, UserStatus,
};
pub use promotion::{
    PROMOTION_IDLE_SECONDS, PromotionCheck, PromotionCheckKind, PromotionCheckState,
    PromotionConfirmation, PromotionEnd, PromotionNextRequest, PromotionOutcome, PromotionRequest,
    PromotionStatus, PromotionStep, PromotionStepState, PromotionStepStatus,
};
pub use statistics::{
    StatisticsBasis, StatisticsCall, StatisticsCalls, StatisticsCompare, StatisticsCompared,
    StatisticsFigures, StatisticsKeeper, StatisticsLaneShare, StatisticsLine, StatisticsProcess,
    StatisticsRow, StatisticsSeries, StatisticsShare, StatisticsTop, StatisticsVerdict,
    VerdictApplication, VerdictState, VerdictWhat, VerdictWorse,
};
pub use status::{
    DataPlaneStatus, GatewayStatus, Generation, RefusedRegistration, RefusedResource, SourceStatus,
    StatusResponse, UndeclaredCalls, UnreadCalls,
};
pub use tap::{TapEvent, TapKind, TapStatus, TappedHop, TappedRequest};
pub use tokens::{AuthorityStatus, TokenCreated, TokenRequest, TokenStatus};

/// The prefix of every path.
pub const PREFIX: &str = "/api/v1alpha1";

/// The media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of a watch: one [`WatchEvent`] a line.
pub const WATCH_LINES: &str = "application/x-ndjson";

/// The media type of a change of some fields (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// Objects of one kind, sorted by namespace and name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// The state the list shows; a watch can go on from it.
    pub resource_version: String,
    /// The objects.
    #[schema(value_type = Vec<AnyObject>)]
    pub items: Vec<Object>,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchEvent {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: WatchKind,
    /// The state after it; a watch can go on from it.
    pub resource_version: String,
    /// The object; none of a `SYNCED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AnyObject>)]
    pub object: Option<Object>,
}

/// What a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum WatchKind {
    /// There is an object; also each one that was there when the watch began.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
    /// Everything that was there when the watch began has been told.
    Synced,
}

/// Objects to write as one transaction, or to check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// The objects, in order of creation.
    #[schema(value_type = Vec<AnyObject>)]
    pub objects: Vec<Value>,
}

/// A transaction that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyResponse {
    /// The state after it.
    pub resource_version: String,
    /// What became of each object, in the order they were sent.
    pub results: Vec<Applied>,
    /// What is doubtful.
    pub warnings: Vec<Finding>,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Which.
    pub object: Key,
    /// What was done.
    pub action: Action,
    /// Of one that changed: which of its owner's fields, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub changes: Vec<FieldChange>,
}

/// How one field of an object changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its path in the object.
    pub field: String,
    /// What it was, if it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether a file says it that somebody had changed by other ways since the object was applied last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub taken_back: bool,
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "(default)".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        write!(f, "{}: {} -> {}", self.field, shown(&self.before), shown(&self.after))
    }
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is new.
    Created,
    /// It changed.
    Configured,
    /// It was like this already.
    Unchanged,
    /// It is gone.
    Deleted,
    /// It was not done: of signing in, told by the audit alone.
    Refused,
}

/// Objects to delete as one transaction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteRequest {
    /// Which, in any order. One that is gone already is no mistake, and not among the results.
    pub objects: Vec<Key>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResponse {
    /// Errors first.
    pub findings: Vec<Finding>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "crate::resource::is_zero")]
    #[schema(required = false)]
    pub omitted: u32,
}

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The object; none where it could not be told which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Key>,
    /// What sort of mistake it is, in a word that never changes (docs/reference/problems.md).
    #[serde(default)]
    #[schema(required = false)]
    pub code: String,
    /// The path of the field in the object.
    pub field: String,
    /// The offending value; empty when the field is missing.
    pub value: String,
    /// What would be right.
    pub remedy: String,
    /// How bad it is.
    #[serde(default)]
    #[schema(required = false)]
    pub severity: validate::Severity,
}

impl Finding {
    /// An error of an object that could not be read, or was not a known one.
    pub fn unread(problem: lanes::Problem) -> Self {
        let lanes::Problem { fault, field, value, remedy } = problem;
        let (code, severity) = (fault.code().to_owned(), validate::Severity::Error);
        Self { object: None, code, field: field.into(), value, remedy, severity }
    }
}

impl From<validate::Finding> for Finding {
    fn from(finding: validate::Finding) -> Self {
        let mut of = Self::unread(finding.problem);
        of.object = Some(finding.object);
        of.severity = finding.severity;
        of
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", one_line(&self.field))?;
        }
        if !self.value.is_empty() {
            write!(f, "`{}`: ", one_line(&self.value))?;
        }
        f.write_str(&one_line(&self.remedy))
    }
}

/// An error, as RFC 9457 has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The status of the response.
    pub status: u16,
    /// The error in a few words, the same for all of its sort.
    pub title: String,
    /// What went wrong this time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub detail: String,
    /// Field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<Finding>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}
