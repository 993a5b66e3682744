//! What the control plane says of an object. Unknown fields are ignored: users send back what they got, also
//! from another version, and it is never read.

use serde::{Deserialize, Serialize};

use super::RouteGroupKind;
use crate::rest::VerdictState;

/// What the control plane says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The facts: `Ready`, `Conflicted`, `Accepted`, `ResolvedRefs`, `Programmed`, `ContextLost`, `Expiring`, `Expired`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub conditions: Vec<StatusCondition>,
    /// Of a lane: how many instances of each application are base, and how many have its tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub matched: Vec<Matched>,
    /// Of a Gateway: its listeners, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub listeners: Vec<ListenerStatus>,
    /// Of a Certificate: what it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// How far it has reached the data planes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// Of a lane that is enabled: how it stands beside base. None while there is too little traffic to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<LaneVerdict>,
}

/// How a lane stands beside base. What that rests on moves with every request, and is told by `/statistics/verdict`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneVerdict {
    /// How it stands.
    pub state: VerdictState,
    /// The application whose own answers got worse, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
}

/// What the control plane says of one listener of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    #[serde(default)]
    #[schema(required = false)]
    pub name: String,
    /// The kinds of route that may attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes stand at it.
    #[serde(default)]
    #[schema(required = false)]
    pub attached_routes: u32,
    /// The facts: `Programmed`, `ResolvedRefs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub conditions: Vec<StatusCondition>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Whose it is; of authorities, the first.
    #[serde(default)]
    #[schema(required = false)]
    pub subject: String,
    /// Names and addresses it covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub names: Vec<String>,
    /// RFC 3339: from when it is good.
    #[serde(default)]
    #[schema(required = false)]
    pub not_before: String,
    /// RFC 3339: until when. Of several authorities the earliest.
    #[serde(default)]
    #[schema(required = false)]
    pub not_after: String,
    /// SHA-256, in hexadecimal.
    #[serde(default)]
    #[schema(required = false)]
    pub fingerprint: String,
}

impl Status {
    /// The reason of the condition that matters most.
    pub(super) fn ready(&self) -> &str {
        let bad = self.conditions.iter().find(|condition| condition.is_bad());
        let shown =
            bad.or_else(|| self.conditions.iter().find(|condition| condition.kind == "Ready"));
        shown.map_or("", |condition| &condition.reason)
    }

    /// `acknowledged/data planes`.
    pub(super) fn reached(&self) -> Option<String> {
        self.live.as_ref().map(|live| format!("{}/{}", live.acknowledged, live.data_planes))
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word in CamelCase.
    #[serde(default)]
    #[schema(required = false)]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub message: String,
    /// The generation of the specification it speaks of.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub observed_generation: u64,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

impl StatusCondition {
    /// Whether it says that something is not as it should be.
    pub fn is_bad(&self) -> bool {
        let bad = match self.kind.as_str() {
            "Conflicted" | "ContextLost" | "Expiring" | "Expired" => "True",
            _ => "False",
        };
        self.status == bad
    }
}

/// An application of a lane, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matched {
    /// The application.
    pub application: String,
    /// Usable untagged instances.
    pub base: u32,
    /// Usable instances with the lane's tag.
    pub tagged: u32,
}

/// The reason of a `Ready` condition that is false only because data planes are disconnected: whoever else needs the
/// object has it.
pub const DISCONNECTED: &str = "Disconnected";

/// How far an object has reached the data planes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Data planes that need it, those lately disconnected included.
    pub data_planes: u32,
    /// How many of them are connected and have acknowledged `generation`.
    pub acknowledged: u32,
    /// How many of them are disconnected: gone, or cut off with what they had.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    #[schema(required = false)]
    pub disconnected: u32,
    /// The generation of the distribution that brought its last change.
    pub generation: u64,
    /// `metadata.generation` of the specification that `generation` brought.
    #[serde(default)]
    #[schema(required = false)]
    pub observed_generation: u64,
}
