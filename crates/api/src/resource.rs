//! Resources: the Kubernetes-style objects operators write, the same in a file, over REST and in a cluster.
//!
//! These types are *as written*: shapes are checked here, meaning in [`crate::validate`]. The table of kinds below
//! says what exists; the store, REST and the CLI are generic over [`Kind`] and [`Object`], which it makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod any_route;
mod backend_tls_policy;
mod certificate;
mod gateway;
mod grpc_route;
mod kind;
mod lane;
mod object;
mod route;
mod schema;
mod set;
mod source;
mod status;
mod table;
mod tls;
mod tls_route;

pub use any_route::{AnyRoute, AnyRule, Matches};
pub use backend_tls_policy::{
    BackendTlsPolicySpec, PolicyTarget, SubjectAltName, SubjectAltNameType, ValidationOfBackends,
    WellKnown,
};
pub use certificate::{CertificateFiles, CertificateSpec, NOT_ITS_KEY, WrittenKey};
pub use gateway::{
    AllowedRoutes, GatewaySpec, LanewayGatewaySpec, Listener, NamespacesFrom, RouteGroupKind,
    RouteNamespaces,
};
pub use grpc_route::{GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec};
pub use kind::{Key, one_line};
pub use lane::{
    ApplicationSwitch, AttributeName, ConditionValue, Content, CookieIssue, Entrance, Entry,
    Fallback, LaneCondition, LaneGroupSpec, LaneSpec, Meet, ParameterRef, Ratio, SameSite,
};
pub use object::{Describe, Resource, Spec};
pub use route::{
    BackendRef, HeaderField, HeaderModifier, HttpRouteSpec, MatchType, NamedMatch, ParentRef,
    PathMatch, PathMatchType, PathModifier, PathModifierType, RequestRedirect, RouteFilter,
    RouteFilterType, RouteMatch, RouteRule, RouteTimeouts, UrlRewrite,
};
pub use set::{CreationOrder, Set, written_twice};
pub use source::{
    BackendSpec, EMBEDDED_SOURCE, NacosIdentity, NacosLogin, NacosSecret, NacosServers, NacosTls,
    ServiceSourceSpec, StaticInstance, StaticService, StaticServices, TagCovers, host_and_port,
};
pub use status::{
    CertificateStatus, DISCONNECTED, LaneVerdict, ListenerStatus, Live, Matched, Status,
    StatusCondition,
};
pub use tls::{
    CertificateRef, ClientsMode, FrontendTls, GatewayTls, ListenerTls, PortTls, PortValidation,
    TlsMode, ValidationOfClients,
};
pub use tls_route::{TlsRouteRule, TlsRouteSpec};

table::kinds! {
    /// Where instances come from.
    ServiceSource(ServiceSourceSpec) as service_sources: Laneway, "ServiceSource", "servicesources", ["source", "sources"];
    /// A service for use in routes.
    Backend(BackendSpec) as backends: Laneway, "Backend", "backends", [];
    /// A certificate with its private key, or authorities.
    Certificate(CertificateSpec) as certificates: Laneway, "Certificate", "certificates", ["cert", "certs"];
    /// How instances of Backends are verified that speak TLS.
    BackendTlsPolicy(BackendTlsPolicySpec) as backend_tls_policies: GatewayApi, "BackendTLSPolicy", "backendtlspolicies", ["btlspolicy", "tlspolicy"];
    /// Listeners.
    Gateway(GatewaySpec) as gateways: GatewayApi, "Gateway", "gateways", ["gw"];
    /// Routes.
    HttpRoute(HttpRouteSpec) as http_routes: GatewayApi, "HTTPRoute", "httproutes", ["route", "routes"];
    /// Routes of gRPC.
    GrpcRoute(GrpcRouteSpec) as grpc_routes: GatewayApi, "GRPCRoute", "grpcroutes", [];
    /// Routes of connections in TLS.
    TlsRoute(TlsRouteSpec) as tls_routes: GatewayApi, "TLSRoute", "tlsroutes", [];
    /// A group of lanes.
    LaneGroup(LaneGroupSpec) as lane_groups: Laneway, "LaneGroup", "lanegroups", ["group", "groups"];
    /// A lane.
    Lane(LaneSpec) as lanes: Laneway, "Lane", "lanes", [];
}

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What every object says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique per kind and namespace.
    pub name: String,
    /// `default` when not given.
    #[serde(default = "default_namespace")]
    #[schema(required = false)]
    pub namespace: String,
    /// For selection by people and programs; no meaning to Laneway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub labels: BTreeMap<String, String>,
    /// Settings of an object that the Gateway API has no field for, and notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub annotations: BTreeMap<String, String>,
    /// Opaque; changes with every write. Sent back on a write it must be the current one (else 409), unless the
    /// `uid` beside it is of another cluster's object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Counts changes of the specification. Written by the control plane.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub generation: u64,
    /// Identity of this object among all of its name, ever. Written by the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// RFC 3339. Written by the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Of Kubernetes, as are all that follow: carried as they are, without a meaning to Laneway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_timestamp: Option<String>,
    /// Carried as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_grace_period_seconds: Option<i64>,
    /// Carried as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generate_name: Option<String>,
    /// Carried as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) self_link: Option<String>,
    /// Carried as they are: nobody is waited for before an object is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub finalizers: Vec<String>,
    /// Carried as they are: nothing is deleted with its owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<Object>)]
    pub(crate) owner_references: Vec<Map<String, Value>>,
    /// Carried as they are: who last wrote a field says nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<Object>)]
    pub(crate) managed_fields: Vec<Map<String, Value>>,
}

impl Metadata {
    /// Metadata of a new object in namespace `default`.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: default_namespace(), ..Self::default() }
    }

    /// Whether both say the same, whatever the control plane has written beside it.
    pub fn same_notes(&self, other: &Self) -> bool {
        let notes = |of: &Self| Self {
            resource_version: None,
            generation: 0,
            uid: None,
            creation_timestamp: None,
            ..of.clone()
        };
        notes(self) == notes(other)
    }
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

/// Whether a number may be left out of what is written.
pub(crate) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
