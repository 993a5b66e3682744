//! How the whole stands, as the REST API says it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Finding;

/// How the whole stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusResponse {
    /// The control plane's release.
    pub version: String,
    /// What was distributed last.
    pub generation: Generation,
    /// How many data planes hold the configuration of another control plane while this one's store is new and empty:
    /// they keep it until something is applied here.
    #[serde(default)]
    #[schema(required = false)]
    pub doubted_by: u32,
    /// Where instances come from.
    pub sources: Vec<SourceStatus>,
    /// Gateways by name.
    pub gateways: Vec<GatewayStatus>,
    /// Everything that requests pass through.
    pub data_planes: Vec<DataPlaneStatus>,
    /// Instances that try to register and may not.
    #[serde(default)]
    #[schema(required = false)]
    pub refused_registrations: Vec<RefusedRegistration>,
    /// What of the stored objects is wrong, conflicting or doubtful.
    pub findings: Vec<Finding>,
}

/// An instance that may not register.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRegistration {
    /// The sidecar's node.
    pub node: String,
    /// What it says it is an instance of.
    pub application: String,
    /// Its tag; empty is base.
    pub tag: String,
    /// The address it says it has.
    pub address: String,
    /// Why it may not.
    pub reason: String,
    /// For how long it has been trying.
    pub since_seconds: u64,
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
    /// Listeners of its Gateway that it cannot serve, each with the reason; it goes on trying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub not_listening: Vec<String>,
    /// What its application calls in a protocol that passes unread, and so outside lanes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub unread: Vec<UnreadCalls>,
    /// Ports of instances that its application calls and nobody has declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub undeclared: Vec<UndeclaredCalls>,
}

/// Calls of an application to a service that its sidecar cannot read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnreadCalls {
    /// The service.
    pub service: String,
    /// What is spoken: `tls`.
    pub protocol: String,
    /// Connections since the sidecar started.
    pub connections: u64,
}

/// Dubbo's own protocol: it is read, but for single requests.
const DUBBO: &str = "dubbo";

impl fmt::Display for UnreadCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, protocol, connections } = self;
        if protocol == DUBBO {
            return write!(
                f,
                "calls {service} by dubbo with requests that cannot be read, and are in no lane ({connections} requests): \
                 Hessian 2 is read, dubbo.protocol.serialization=hessian2"
            );
        }
        write!(
            f,
            "calls {service} by {protocol}, which passes unread and outside lanes ({connections} connections): HTTP in \
             plain text is read"
        )
    }
}

/// Calls of an application to a port on the host of registered instances that is no service's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UndeclaredCalls {
    /// The address, with its port.
    pub address: String,
    /// The applications that have instances on that host.
    pub applications: Vec<String>,
    /// Connections since the sidecar started.
    pub connections: u64,
}

impl fmt::Display for UndeclaredCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, applications, connections } = self;
        write!(
            f,
            "calls {address}, a port of {} that nobody has declared: it goes past the lanes ({connections} connections); if \
             they are about it, start that sidecar with --app-address {address},service=NAME as well",
            applications.join(" or ")
        )
    }
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
