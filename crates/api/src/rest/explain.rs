//! Why a request goes where it goes, as the REST API is asked for it and says it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::InstancePort;

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
    /// Whether TLS goes on as it is from that listener: by the name that the client asks for, unread, and so in no lane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub passes_tls: bool,
    /// `namespace/name` of the route that matches, of a GRPCRoute `grpcroute/namespace/name`, of a TLSRoute
    /// `tlsroute/namespace/name`; empty when none does.
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
    /// At which port of its application, where that has several or the service does not speak HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub port: Option<InstancePort>,
    /// The tag of who serves it; empty is base.
    pub tag: String,
    /// Why nobody serves it; empty when somebody does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub problem: String,
    /// What is not known of what this application decides, so that no further hop is told; empty when nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub unknown: String,
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
