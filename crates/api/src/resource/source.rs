//! `ServiceSource` and `Backend`, as written.

use serde::{Deserialize, Serialize};

/// The source of instances that register themselves; it exists without an object.
pub const EMBEDDED_SOURCE: &str = "embedded";

/// Exactly one of its fields. The embedded registry is the source named `embedded` and needs no object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSourceSpec {
    /// Instances listed here.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticServices>,
    /// A Nacos server. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub nacos: Option<serde_json::Map<String, serde_json::Value>>,
    /// A Kubernetes cluster. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub kubernetes: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Services with their instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticServices {
    /// The services.
    #[serde(default)]
    pub services: Vec<StaticService>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticService {
    /// The name callers use.
    pub name: String,
    /// The application behind it; the service's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Its instances.
    #[serde(default)]
    #[schema(required = false)]
    pub instances: Vec<StaticInstance>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticInstance {
    /// `IP:PORT`.
    pub address: String,
    /// Its tag; base when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Share of requests among its peers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schema(required = false, default = 1)]
    pub weight: u32,
}

/// A service taken from a source for use in routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendSpec {
    /// A ServiceSource's name, or `embedded`.
    pub source: String,
    /// The source's own namespace; `default` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The source's own group, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The service's name; case does not matter.
    pub service: String,
    /// What it speaks: `http`.
    #[serde(default = "http", skip_serializing_if = "is_http")]
    #[schema(required = false, default = "http")]
    pub protocol: String,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

fn http() -> String {
    "http".to_owned()
}

fn is_http(protocol: &str) -> bool {
    protocol == "http"
}
