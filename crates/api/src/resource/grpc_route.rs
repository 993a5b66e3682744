//! `GRPCRoute` of the Gateway API: the fields Laneway honours. Every other field is refused, not ignored.

use serde::{Deserialize, Serialize};

use super::{
    BackendRef, Describe, MatchType, Metadata, NamedMatch, ParentRef, RouteFilter, Status,
    route::{cell_of_backends, cell_of_gateways, cell_of_hosts},
};

/// Routes of gRPC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GRPCRouteSpec)]
pub struct GrpcRouteSpec {
    /// The gateways it attaches to, at listeners that speak HTTP/2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub parent_refs: Vec<ParentRef>,
    /// Exact, or `*.suffix`; any the listener has when empty. Where an older HTTPRoute has one of them, it keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub hostnames: Vec<String>,
    /// In order.
    #[serde(default)]
    #[schema(required = false)]
    pub rules: Vec<GrpcRouteRule>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GRPCRouteRule)]
pub struct GrpcRouteRule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; every call when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub matches: Vec<GrpcRouteMatch>,
    /// What is changed on the way: `RequestHeaderModifier` and `ResponseHeaderModifier`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub filters: Vec<RouteFilter>,
    /// Who serves it, by weight: Backends that speak HTTP/2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub backend_refs: Vec<BackendRef>,
}

/// All parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GRPCRouteMatch)]
pub struct GrpcRouteMatch {
    /// What is called; anything when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub headers: Vec<NamedMatch>,
}

/// A service, a method, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GRPCMethodMatch)]
pub struct GrpcMethodMatch {
    /// How both are meant.
    #[serde(rename = "type", default, skip_serializing_if = "MatchType::is_exact")]
    #[schema(required = false)]
    pub kind: MatchType,
    /// With its package, e.g. `shop.v1.Orders`, or an expression; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A name, or an expression; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl GrpcRouteMatch {
    /// `service/method`, as people say it.
    fn shown(&self) -> String {
        let part = |part: Option<&String>| part.map_or("*", String::as_str).to_owned();
        let method = self.method.as_ref();
        let service = part(method.and_then(|it| it.service.as_ref()));
        format!("{service}/{}", part(method.and_then(|it| it.method.as_ref())))
    }
}

impl Describe for GrpcRouteSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["GATEWAYS", "HOSTS", "METHODS", "BACKENDS"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let all = |rule: &GrpcRouteRule| match rule.matches.as_slice() {
            [] => vec![GrpcRouteMatch::default().shown()],
            matches => matches.iter().map(GrpcRouteMatch::shown).collect(),
        };
        let methods: Vec<String> = self.rules.iter().flat_map(all).collect();
        let backends = self.rules.iter().flat_map(|rule| &rule.backend_refs);
        vec![
            cell_of_gateways(&self.parent_refs),
            cell_of_hosts(&self.hostnames),
            methods.join(","),
            cell_of_backends(backends),
        ]
    }
}
