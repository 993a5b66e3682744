//! `HTTPRoute` of the Gateway API: the fields Laneway honours. Every other field is refused, not ignored.

use serde::{Deserialize, Serialize};

use super::{Describe, Metadata, Status};

/// Routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = HTTPRouteSpec)]
pub struct HttpRouteSpec {
    /// The gateways it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub parent_refs: Vec<ParentRef>,
    /// Exact, or `*.suffix`; any the listener has when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub hostnames: Vec<String>,
    /// In order.
    #[serde(default)]
    #[schema(required = false)]
    pub rules: Vec<RouteRule>,
}

/// A gateway that a route attaches to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// `gateway.networking.k8s.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The route's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The gateway's name.
    pub name: String,
    /// Only this listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Only listeners on this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; every request when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub matches: Vec<RouteMatch>,
    /// What is changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub filters: Vec<RouteFilter>,
    /// Who serves it, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub backend_refs: Vec<BackendRef>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
}

/// All parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteMatch {
    /// The path; every one when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub headers: Vec<NamedMatch>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub query_params: Vec<NamedMatch>,
    /// The method; any when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// How the path must look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How `value` is meant.
    #[serde(rename = "type", default)]
    #[schema(required = false)]
    pub kind: PathMatchType,
    /// A path, or an expression; `/` when not given.
    #[serde(default = "slash")]
    #[schema(required = false, default = "/")]
    pub value: String,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// By segment.
    #[default]
    PathPrefix,
    /// The whole path matches the expression.
    RegularExpression,
}

/// A header or query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RouteNamedMatch)]
pub struct NamedMatch {
    /// How `value` is meant.
    #[serde(rename = "type", default, skip_serializing_if = "MatchType::is_exact")]
    #[schema(required = false)]
    pub kind: MatchType,
    /// The name.
    pub name: String,
    /// A value, or an expression.
    pub value: String,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum MatchType {
    /// Equal.
    #[default]
    Exact,
    /// The whole value matches the expression.
    RegularExpression,
}

impl MatchType {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(super) fn is_exact(&self) -> bool {
        *self == Self::Exact
    }
}

/// A filter: the field of the same name as `type` says how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteFilter {
    /// Which.
    #[serde(rename = "type")]
    pub kind: RouteFilterType,
    /// Edits of request headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Edits of response headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Answer with a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,
    /// Change host or path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,
}

/// The filters Laneway honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum RouteFilterType {
    /// `requestHeaderModifier`.
    RequestHeaderModifier,
    /// `responseHeaderModifier`.
    ResponseHeaderModifier,
    /// `requestRedirect`.
    RequestRedirect,
    /// `urlRewrite`.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
}

/// Edits of header fields: `set`, then `add`, then `remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderModifier {
    /// Replace or create.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub set: Vec<HeaderField>,
    /// Append a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub add: Vec<HeaderField>,
    /// Remove every value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub remove: Vec<String>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderField {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A redirect; what is not given stays as requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRedirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Another port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302 (the default), 303, 307 or 308.
    #[serde(default = "found", skip_serializing_if = "is_found")]
    #[schema(required = false, default = 302)]
    pub(crate) status_code: u16,
}

/// A rewrite; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// The Host sent to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The path sent to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A new path: the field that `type` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathModifier {
    /// Which.
    #[serde(rename = "type")]
    pub kind: PathModifierType,
    /// Replaces the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// Replaces what the rule's prefix matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

/// How a path is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum PathModifierType {
    /// `replaceFullPath`.
    ReplaceFullPath,
    /// `replacePrefixMatch`.
    ReplacePrefixMatch,
}

/// Who serves a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// `laneway.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `Backend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The route's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Backend's name.
    pub name: String,
    /// Share of the rule's requests.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schema(required = false, default = 1)]
    pub weight: u32,
    /// Filters of this backend alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub filters: Vec<RouteFilter>,
}

/// How long a request may take, e.g. `10s` or `1m30s`; `0s` is no limit, nothing written is the gateway's default (an hour for a
/// request, 60 s for an attempt; a longer one that is written lifts the other's default).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTimeouts {
    /// The whole request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// One attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backend_request: Option<String>,
}

impl Describe for HttpRouteSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["GATEWAYS", "HOSTS", "PATHS", "BACKENDS"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let paths: Vec<&str> = self.rules.iter().flat_map(RouteRule::paths).collect();
        let backends = self.rules.iter().flat_map(|rule| &rule.backend_refs);
        vec![
            cell_of_gateways(&self.parent_refs),
            cell_of_hosts(&self.hostnames),
            paths.join(","),
            cell_of_backends(backends),
        ]
    }
}

/// The gateways of a route of any kind in a cell of a table.
pub(super) fn cell_of_gateways(parent_refs: &[ParentRef]) -> String {
    let names: Vec<&str> = parent_refs.iter().map(|it| it.name.as_str()).collect();
    names.join(",")
}

/// The hosts of a route of any kind in a cell of a table.
pub(super) fn cell_of_hosts(hostnames: &[String]) -> String {
    if hostnames.is_empty() { "*".to_owned() } else { hostnames.join(",") }
}

/// The backends of a route of any kind in a cell of a table, each once.
pub(super) fn cell_of_backends<'s>(backend_refs: impl Iterator<Item = &'s BackendRef>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for backend in backend_refs {
        if !names.contains(&backend.name.as_str()) {
            names.push(&backend.name);
        }
    }
    names.join(",")
}

impl RouteRule {
    /// The paths it matches, as written; `/` where it says nothing.
    fn paths(&self) -> Vec<&str> {
        if self.matches.is_empty() {
            return vec!["/"];
        }
        let paths = self.matches.iter().map(|matching| matching.path.as_ref());
        paths.map(|path| path.map_or("/", |path| path.value.as_str())).collect()
    }
}

fn slash() -> String {
    "/".to_owned()
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

fn found() -> u16 {
    302
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_found(status: &u16) -> bool {
    *status == 302
}
