//! What the REST API says besides objects: lists, watches, transactions, status, explanations, problems.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    resource::{Key, Kind, Object},
    validate,
};

// To utoipa a type written `Object` is one of which nothing is known.
use crate::resource::Object as AnyObject;

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
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResponse {
    /// Errors first.
    pub findings: Vec<Finding>,
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
        Self { object: None, code, field, value, remedy, severity }
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
            write!(f, "{}: ", self.field)?;
        }
        if !self.value.is_empty() {
            write!(f, "`{}`: ", self.value)?;
        }
        f.write_str(&self.remedy)
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

/// How the whole stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusResponse {
    /// The control plane's release.
    pub version: String,
    /// What was distributed last.
    pub generation: Generation,
    /// Where instances come from.
    pub sources: Vec<SourceStatus>,
    /// Gateways by name.
    pub gateways: Vec<GatewayStatus>,
    /// Everything that requests pass through.
    pub data_planes: Vec<DataPlaneStatus>,
    /// What of the stored objects is wrong, conflicting or doubtful.
    pub findings: Vec<Finding>,
}

/// A point in the history of what was distributed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Changes when numbers start anew.
    pub epoch: String,
    /// Counts up.
    pub number: u64,
}

/// How a source stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// `embedded`, `static`.
    pub kind: String,
    /// `syncing`, `synced`, or `stale`: out of contact, its last picture stays.
    pub state: String,
    /// Whether it has told everything at least once.
    pub synced: bool,
    /// For how long it has been stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub stale_seconds: Option<u64>,
    /// How many services it has.
    pub services: u32,
    /// How many instances they have.
    pub instances: u32,
    /// What is wrong; empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub problem: String,
}

/// How a gateway stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// How many routes attach.
    pub routes: u32,
    /// How many processes serve it.
    pub data_planes: u32,
}

/// How a data plane stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneStatus {
    /// Its identity.
    pub node: String,
    /// `gateway`, `sidecar`, `agent`.
    pub role: String,
    /// The gateway's name, or the sidecar's application.
    pub name: String,
    /// Its tag; empty is base.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub tag: String,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub address: String,
    /// Its release.
    pub version: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// Seconds since it connected, or since it went away.
    pub since_seconds: u64,
    /// What was sent to it last.
    pub sent: u64,
    /// What it has acknowledged.
    pub acknowledged: u64,
    /// How long the oldest change that it has not acknowledged has been waiting, in milliseconds.
    pub behind_ms: u64,
    /// How many names and addresses it asked for.
    pub subscriptions: u32,
    /// What it could not take; it uses its last good ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub refused: Vec<RefusedResource>,
    /// Endpoints it cannot connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub unreachable: Vec<String>,
}

/// Something a data plane could not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedResource {
    /// What.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainRequest {
    /// The gateway it enters at.
    #[serde(default = "edge")]
    #[schema(required = false, default = "edge")]
    pub gateway: String,
    /// The method.
    #[serde(default = "get")]
    #[schema(required = false, default = "GET")]
    pub method: String,
    /// `http://host:port/path?query`, or `/path?query`.
    pub url: String,
    /// In order.
    #[serde(default)]
    #[schema(required = false)]
    pub headers: Vec<crate::resource::HeaderField>,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// Services called one after the other; the route's backend alone when empty.
    #[serde(default)]
    #[schema(required = false)]
    pub path: Vec<String>,
}

fn edge() -> String {
    "edge".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

/// Why a request goes where it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainResponse {
    /// The listener that takes it; empty when none does.
    pub listener: String,
    /// Whether that listener believes the client's lane context.
    pub trusted: bool,
    /// `namespace/name` of the route that matches; empty when none does.
    pub route: String,
    /// What happened to the request at the route, and what did not, in words.
    pub routing: Vec<String>,
    /// The decision at the entrance, step by step.
    pub entrance: Vec<ExplainStep>,
    /// The `baggage` that the request carries on from the entrance; empty when none.
    pub baggage: String,
    /// The hops, one after the other.
    pub hops: Vec<ExplainHop>,
}

/// One hop of an explained request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainHop {
    /// The service called, as named.
    pub service: String,
    /// The application behind it; empty when the service is not known.
    pub application: String,
    /// The decision, step by step.
    pub steps: Vec<ExplainStep>,
    /// How it is served: `lane`, `fallback`, `base`, or `failed`.
    pub outcome: String,
    /// Who serves it, of several the one that was drawn; empty when nobody does.
    pub endpoint: String,
    /// The tag of who serves it; empty is base.
    pub tag: String,
    /// Why nobody serves it; empty when somebody does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub problem: String,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "step")]
pub enum ExplainStep {
    /// A lane was tried at an entrance.
    Lane {
        /// The group.
        group: String,
        /// The lane's tag.
        tag: String,
        /// Whether it took the request.
        matched: bool,
        /// Why, or why not.
        because: String,
    },
    /// A group's result at an entrance.
    Member {
        /// The group.
        group: String,
        /// The tag; none is base.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        /// Why.
        because: String,
    },
    /// A set of instances was considered at a hop.
    Subset {
        /// The group that governs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The tag; none is base.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        /// Whether it serves the hop.
        chosen: bool,
        /// Why, or why not.
        because: String,
    },
    /// One instance was considered at a hop.
    Instance {
        /// Its address.
        address: String,
        /// Its tag; none is base.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        /// Whether it was a candidate.
        candidate: bool,
        /// Why, or why not.
        because: String,
    },
}

impl From<lanes::explain::Step> for ExplainStep {
    fn from(step: lanes::explain::Step) -> Self {
        use lanes::explain::Step;
        match step {
            Step::Lane { group, tag, matched, because } => {
                Self::Lane { group, tag, matched, because }
            }
            Step::Member { group, tag, because } => Self::Member { group, tag, because },
            Step::Subset { group, tag, chosen, because } => {
                Self::Subset { group, tag, chosen, because }
            }
            Step::Instance { address, tag, candidate, because } => {
                Self::Instance { address, tag, candidate, because }
            }
        }
    }
}

/// The path of a kind's objects, in one namespace or in all.
pub fn collection_path(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{PREFIX}/namespaces/{}/{}", segment(namespace), kind.plural()),
        None => format!("{PREFIX}/{}", kind.plural()),
    }
}

/// The path of one object.
pub fn object_path(key: &Key) -> String {
    format!("{}/{}", collection_path(key.kind, Some(&key.namespace)), segment(&key.name))
}

/// A name as a segment of a path: good ones as they are, others so that they stay one segment and are not found.
fn segment(name: &str) -> String {
    // What `utf8_percent_encode` leaves alone besides letters and digits can be in a good name.
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    percent_encoding::utf8_percent_encode(name, KEPT).to_string()
}
