//! What passes through the data planes, in figures: each answer says of which time it is, of how many requests, and how many
//! data planes could tell something.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Of what an answer is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsBasis {
    /// When it begins, in seconds of Unix time.
    pub from: u64,
    /// When it ends; what comes after is not counted yet.
    pub until: u64,
    /// Seconds that one figure of a series is of.
    pub step_seconds: u64,
    /// Requests that were counted.
    pub requests: u64,
    /// Data planes that could tell something, at the most at a time.
    pub data_planes: u32,
    /// Data planes that are connected and cannot, at the moment: of a release that does not report, or Java agents.
    pub silent_data_planes: u32,
    /// Who has kept it.
    pub kept_by: StatisticsKeeper,
}

/// Who has kept what passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StatisticsKeeper {
    /// The control plane itself.
    #[default]
    ControlPlane,
    /// The Prometheus that it is told to ask about long times.
    Prometheus,
}

/// Figures step by step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsSeries {
    /// Of what it is.
    pub basis: StatisticsBasis,
    /// One for each of what was asked to be told apart, by name.
    pub lines: Vec<StatisticsLine>,
}

/// One line of a chart. Its lists have an entry for each step from `from` to `until`; none where nothing was recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsLine {
    /// What it is of: the value of what was asked to be told apart. A lane is `GROUP/TAG`, or `base`.
    pub name: String,
    /// Requests.
    pub requests: Vec<Option<u64>>,
    /// Those of them that failed: answered with a 5xx, not answered, or not to the end.
    pub errors: Vec<Option<u64>>,
    /// Milliseconds that half of them did not exceed.
    pub p50_ms: Vec<Option<f64>>,
    /// Milliseconds that 99 % of them did not exceed.
    pub p99_ms: Vec<Option<f64>>,
}

/// What passes now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsTop {
    /// Of what it is.
    pub basis: StatisticsBasis,
    /// By group, lane and application; base last.
    pub rows: Vec<StatisticsRow>,
    /// Bytes, misrouted arrivals and ejections, by who told of them.
    pub processes: Vec<StatisticsProcess>,
}

/// One application in one lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsRow {
    /// The lane group; empty of base.
    pub group: String,
    /// The tag of the lane; empty is base.
    pub lane: String,
    /// The application that serves.
    pub application: String,
    /// Who counted: `application` (its sidecars), or `callers`, where it has none that report.
    pub counted_by: String,
    /// What they counted.
    pub figures: StatisticsFigures,
    /// Requests of the lane that something else than the lane served.
    pub fallback: u64,
    /// Requests that callers had nobody to serve for, or that failed on their way: the application has not seen them.
    pub unserved: u64,
    /// Requests that the application serves at the moment, in whatever lane; none where nobody tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
}

/// What some requests have in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsFigures {
    /// How many there were.
    pub requests: u64,
    /// How many there were in a second.
    pub requests_per_second: f64,
    /// Those that failed: answered with a 5xx, not answered, or not to the end.
    pub errors: u64,
    /// Their share, 0 to 1; none of no requests.
    pub error_ratio: Option<f64>,
    /// Between what the true share is, in 95 of 100 cases (Wilson).
    pub error_ratio_range: Option<[f64; 2]>,
    /// Milliseconds that half of them did not exceed.
    pub p50_ms: Option<f64>,
    /// Milliseconds that 95 % of them did not exceed.
    pub p95_ms: Option<f64>,
    /// Milliseconds that 99 % of them did not exceed.
    pub p99_ms: Option<f64>,
}

/// What a gateway, or the sidecars of an application, counted beside requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsProcess {
    /// The gateway, or the application.
    pub name: String,
    /// From callers.
    pub bytes_received: u64,
    /// To callers.
    pub bytes_sent: u64,
    /// Requests that arrived where they are not served.
    pub misrouted: u64,
    /// Instances that were put aside.
    pub ejections: u64,
}

/// How requests were spread over lanes where they entered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsShare {
    /// Of what it is.
    pub basis: StatisticsBasis,
    /// By group and lane; base last.
    pub lanes: Vec<StatisticsLaneShare>,
}

/// A lane's share of the requests that entered its group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsLaneShare {
    /// The lane group.
    pub group: String,
    /// The tag of the lane; empty is base.
    pub lane: String,
    /// Requests that entered it.
    pub requests: u64,
    /// Their share of all that entered the group, 0 to 1.
    pub share: f64,
    /// What it should be, of a group by ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
}

/// A lane beside base, application by application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsCompare {
    /// Of what it is.
    pub basis: StatisticsBasis,
    /// Those of the group, and in its order.
    pub applications: Vec<StatisticsCompared>,
}

/// An application's own instances of a lane beside those of base.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsCompared {
    /// The application.
    pub application: String,
    /// Requests of the lane that instances of the lane served.
    pub lane: StatisticsFigures,
    /// Requests of base.
    pub base: StatisticsFigures,
    /// Requests of the lane that something else than the lane served.
    pub fallback: u64,
}

/// Who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsCalls {
    /// Of what it is.
    pub basis: StatisticsBasis,
    /// By caller and application.
    pub calls: Vec<StatisticsCall>,
}

/// What one application, or gateway, asked of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsCall {
    /// The application or gateway that calls.
    pub caller: String,
    /// Whether it is a gateway.
    pub is_gateway: bool,
    /// The application that is called.
    pub application: String,
    /// How often.
    pub requests: u64,
}

/// How a lane, or an application in it, stands beside base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum VerdictState {
    /// Neither more errors nor more slow answers than base, by more than what matters.
    NoWorse,
    /// More of either: of a lane, somewhere in it; of an application, of its own.
    Worse,
    /// Of an application: more of either, which come from those it calls.
    PassedOn,
    /// There were too few requests to say.
    #[default]
    TooLittle,
}

/// What got worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum VerdictWhat {
    /// Requests that failed: answered with a 5xx, not answered, or not to the end.
    Errors,
    /// Answers slower than 95 % of those of base before them.
    Slow,
}

/// Whether a lane is worse than base, and because of which application. However often it is asked, a healthy lane is ever
/// told as worse with a chance of at most 1 %.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsVerdict {
    /// The lane group.
    pub group: String,
    /// The tag of the lane.
    pub lane: String,
    /// How it stands.
    pub state: VerdictState,
    /// The application whose own answers got worse, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
    /// The verdict in words.
    pub reason: String,
    /// From when on requests are looked at, in seconds of Unix time.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// What the verdict rests on, in particular: the figures of the culprit, or of the application that the least is known of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<VerdictApplication>,
    /// Those that have answered anything in the lane, in the order of the group.
    pub applications: Vec<VerdictApplication>,
}

/// One application in a lane beside base.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictApplication {
    /// The application.
    pub application: String,
    /// How it stands.
    pub state: VerdictState,
    /// Requests that its instances of the lane answered.
    pub requests: u64,
    /// Requests that those of base answered.
    pub base_requests: u64,
    /// Requests of the lane that are needed, about, until something can be said; none where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
    /// Between what the difference of the shares of errors is, lane less base; none where nothing could be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_range: Option<[f64; 2]>,
    /// Between what the difference of the shares of slow answers is, lane less base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_range: Option<[f64; 2]>,
    /// What got worse, where anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<VerdictWorse>,
}

/// What got worse, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictWorse {
    /// What.
    pub what: VerdictWhat,
    /// Since when it is, about, in seconds of Unix time.
    pub since: u64,
    /// Requests of the lane since then.
    pub requests: u64,
    /// The share of them that failed or were slow.
    pub ratio: f64,
    /// Requests of base since then.
    pub base_requests: u64,
    /// The share of them that failed or were slow.
    pub base_ratio: f64,
}
