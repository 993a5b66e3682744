//! Single requests while they pass, each with its hops.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of a tap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TapEvent {
    /// What it tells.
    #[serde(rename = "type")]
    pub kind: TapKind,
    /// Of `STATUS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TapStatus>,
    /// Of `REQUEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<TappedRequest>,
    /// Of `ENDED`: why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub ended: String,
}

/// What a line of a tap tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TapKind {
    /// How much of what passes is told; the first line, and whenever that changes.
    #[default]
    Status,
    /// A request.
    Request,
    /// The last line, where the tap is over though its client listens: what it was begun for is another, or gone.
    Ended,
}

/// How much of what passes is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TapStatus {
    /// Of the requests this share, 0 to 1; smaller where more pass than were asked for. It is of the same requests at all data
    /// planes, so that those are told whole, but for what `dropped` and `missed` count. Of requests that have no id none is told
    /// where it is below 1.
    pub share: f64,
    /// Data planes that have the group and tell of it.
    pub data_planes: u32,
    /// Data planes that have the group and cannot: of a release that does not know it, or Java agents.
    pub silent_data_planes: u32,
    /// Requests, as single data planes saw them, that were not told since the tap began: there were too many at once.
    pub dropped: u64,
    /// Requests that this tap was not told since it began: it reads too slowly, or more came than were asked for.
    pub missed: u64,
    /// Records that were not taken since the tap began, because one data plane told more than one may: others keep their room.
    pub excess: u64,
    /// Which did so last: the gateway or the application, and its node; empty where none did.
    pub excess_of: String,
}

/// One request with its hops. Fields of heads and bodies are in none of it; values of queries, and what looks like a secret in
/// a path, are `***`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TappedRequest {
    /// Of its trace, or else of the request; empty where it has none. A second one of the same id tells of hops that came late.
    pub id: String,
    /// When it began, as whoever saw it first has it, in RFC 3339.
    pub time: String,
    /// As its first hop had it.
    pub method: String,
    /// Likewise, without port.
    pub host: String,
    /// Likewise.
    pub path: String,
    /// The lanes it is in, as `GROUP/TAG`, by group.
    pub lanes: Vec<String>,
    /// What its client was answered; 499: it had gone before, 0: that is not known.
    pub status: u16,
    /// How long its first hop took.
    pub duration_ms: f64,
    /// In the order of calls, callers before whom they called.
    pub hops: Vec<TappedHop>,
}

/// One call of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TappedHop {
    /// How many callers are before it.
    pub depth: u32,
    /// Who called: an application, or a gateway; empty where nobody tells.
    pub caller: String,
    /// Of the caller's instance; empty: base, or a gateway.
    pub caller_tag: String,
    /// The caller is a gateway.
    pub by_gateway: bool,
    /// Who was called; empty: nobody that is known.
    pub application: String,
    /// By which name.
    pub service: String,
    /// By which route of a gateway.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub route: String,
    /// Which instance; empty: none was chosen.
    pub instance: String,
    /// Of that instance; empty: base.
    pub tag: String,
    /// The lanes it was called in, as `GROUP/TAG`.
    pub lanes: Vec<String>,
    /// `lane`: the lane's own instance; `fallback`: another, because the lane has none; `base`: no lane governs; `denied`,
    /// `failed`; `cut`: the answer broke off.
    pub outcome: String,
    /// What the caller was answered; 499: it had gone before, 0: that is not known.
    pub status: u16,
    /// Why a gateway or sidecar itself answered; empty: none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub reason: String,
    /// As called.
    pub method: String,
    /// As called.
    pub host: String,
    /// As called.
    pub path: String,
    /// When it began, in milliseconds after the request, by clocks that may differ.
    pub offset_ms: f64,
    /// How long it took the caller, or else who was called.
    pub duration_ms: f64,
    /// How long it took who was called, where that tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_ms: Option<f64>,
}
