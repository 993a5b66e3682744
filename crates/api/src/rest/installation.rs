//! What there is besides objects: services, their instances, and what happened lately.

use lanes::{Endpoint, Service};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::resource::Key;

/// One instance, whichever services it is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The application it is an instance of.
    pub application: String,
    /// The namespace of its services in the source.
    #[serde(default)]
    #[schema(required = false)]
    pub namespace: String,
    /// Its tag; empty is base.
    pub tag: String,
    /// Where callers reach it; of several addresses the one it is known by.
    pub address: String,
    /// Where they reach it as well, e.g. in the other address family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub further_addresses: Vec<String>,
    /// `usable`, `silent` (not heard from, and kept all the same), `unhealthy`, `draining` or `invalidTag`.
    pub health: String,
    /// Why it is not used, or by whom it is not; empty when nothing is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub why: String,
    /// The source that told of it.
    pub source: String,
    /// The services it is of.
    pub services: Vec<String>,
    /// At which of its application's ports each is, where there are several or one does not speak HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub ports: Vec<InstancePort>,
    /// Its share among its peers.
    pub weight: u32,
    /// Data planes that cannot connect to it, as `role name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub unreachable_for: Vec<String>,
    /// For how long the control plane has not heard it, where that is longer than it may be; it is kept for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub silent_seconds: Option<u64>,
}

/// One of the ports of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstancePort {
    /// The service that is called there.
    pub service: String,
    /// `http`, of which each request is read, or `tcp`, which passes unread.
    pub protocol: String,
    /// Where the application listens for it.
    pub addresses: Vec<String>,
}

impl InstancePort {
    /// At which port of an instance's application a service is.
    pub fn of(service: &Service, endpoint: &Endpoint) -> Self {
        Self {
            service: service.name().to_string(),
            protocol: endpoint.port.protocol.as_str().to_owned(),
            addresses: endpoint.application_addresses().map(|it| it.to_string()).collect(),
        }
    }
}

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The name that callers use.
    pub name: String,
    /// The source that told of it.
    pub source: String,
    /// Its namespace in the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub namespace: String,
    /// Its group in the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub group: String,
    /// The application behind it.
    pub application: String,
    /// What its instances say that they speak: `http`, of which each request is read, or `tcp`, which passes unread and
    /// outside lanes. Empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub protocol: String,
    /// How many instances it has.
    pub instances: u32,
    /// How many of them may be chosen.
    pub usable: u32,
    /// The tags of those that have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub tags: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Counts up.
    pub number: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Whether it is something to look after.
    pub warning: bool,
    /// The object it happened to, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Key>,
    /// What it happened to, for people.
    pub about: String,
    /// One word in CamelCase.
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub message: String,
}
