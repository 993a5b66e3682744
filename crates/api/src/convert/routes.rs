//! `Gateway`, routes of every kind and `Backend` → [`routes::GatewaySpec`] and [`routes::RouteSpec`].

use lanes::{Fault, Problem, ServiceId};
use routes::{
    GatewaySpec, RouteKind, RouteSpec,
    spec::{
        BackendSpec, ListenerSpec, MatchSpec, NamedSpec, ParentSpec, PathSpec, RuleSpec, TextSpec,
    },
};

use super::duration;
use crate::resource::{
    AnyRoute, AnyRule, Backend, BackendRef, DEFAULT_NAMESPACE, Gateway, Key, Kind,
    LanewayGatewaySpec, Listener, MatchType, Matches, NamedMatch, Object, ParentRef, PathMatchType,
    RouteMatch, Set,
};

mod certificates;
mod filters;
mod grpc;

pub(crate) use grpc::expressions;
mod listeners;
mod policies;

pub(crate) use policies::unverified;
pub use policies::{policy_of, targets, upstream_tls};

/// Annotation of a Gateway: its clients' lane context, trace and correlation ids are believed. `"true"`.
const TRUSTED: &str = "laneway.io/trusted";

/// Annotation of a Gateway: slashes in a row in paths are taken for one. `"true"` unless it says `"false"`.
const MERGE_SLASHES: &str = "laneway.io/merge-slashes";

/// Annotation of a Gateway: clients may speak HTTP/2 in the clear from their first byte. `"true"`.
const HTTP2_PRIOR_KNOWLEDGE: &str = "laneway.io/http2-prior-knowledge";

/// Annotation of a Gateway: how many proxies in front are believed in X-Forwarded-For. A number in quotes.
const TRUSTED_HOPS: &str = "laneway.io/trusted-hops";

/// Proxies in front of a gateway that can be believed: more than any chain has, few enough to read quickly.
const TRUSTED_HOPS_MAX: u8 = 16;

/// The service a Backend means. Sources without namespaces or groups of their own say `default` and nothing.
pub fn service(backend: &Backend) -> ServiceId {
    let spec = &backend.spec;
    let namespace = spec.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    ServiceId::new(&spec.source, namespace, spec.group.as_deref().unwrap_or(""), &spec.service)
}

/// A gateway, or every problem of its shape.
pub fn gateway(
    resource: &Gateway,
    written: &LanewayGatewaySpec,
) -> Result<GatewaySpec, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut is_on = |name: &str, by_default: bool| match resource
        .metadata
        .annotations
        .get(name)
        .map(String::as_str)
    {
        None => by_default,
        Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let field = format!("metadata.annotations.{name}");
            problems.push(Problem::new(field, other, "use \"true\" or \"false\""));
            by_default
        }
    };
    let (trusted, merge_slashes) = (is_on(TRUSTED, false), is_on(MERGE_SLASHES, true));
    let http2 = is_on(HTTP2_PRIOR_KNOWLEDGE, false);
    let trusted_hops = match resource.metadata.annotations.get(TRUSTED_HOPS) {
        None => 0,
        Some(text) => match text.parse() {
            Ok(hops) if hops <= TRUSTED_HOPS_MAX => hops,
            _ => {
                let field = format!("metadata.annotations.{TRUSTED_HOPS}");
                let remedy = format!("use a whole number from \"0\" to \"{TRUSTED_HOPS_MAX}\"");
                problems.push(Problem::new(field, text, remedy));
                0
            }
        },
    };
    if written.listeners.is_empty() {
        problems.push(
            Problem::new("spec.listeners", "[]", "write at least one listener").of(Fault::Missing),
        );
    }
    let tls = listeners::check(written, &resource.metadata.namespace, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let listeners = (written.listeners.iter().zip(tls))
        .map(|(listener, tls)| ListenerSpec {
            name: listener.name.clone(),
            port: listener.port,
            hostname: listener.hostname.clone().filter(|hostname| !hostname.is_empty()),
            trusted,
            trusted_hops,
            merge_slashes,
            http2,
            tls,
        })
        .collect();
    Ok(GatewaySpec { name: resource.metadata.name.clone(), listeners })
}

/// A route as it attaches and resolves in `set`, or every problem of its shape. A parent that does not exist, or does
/// not let it attach, is left out.
pub fn route<'s>(resource: impl Into<AnyRoute<'s>>, set: &Set) -> Result<RouteSpec, Vec<Problem>> {
    let resource = resource.into();
    let mut problems = Vec::new();
    let parents = (resource.parent_refs.iter())
        .filter_map(|written| attach(written, &resource, set).ok())
        .flatten()
        .collect();
    let mut rules = Vec::new();
    for (index, written) in resource.rules.iter().enumerate() {
        match rule(written, &resource, set) {
            Ok(rule) => rules.push(rule),
            Err(wrong) => problems.extend(
                wrong.into_iter().map(|problem| problem.under(&format!("spec.rules[{index}]"))),
            ),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(RouteSpec {
        kind: route_kind(resource.kind()).unwrap_or_default(),
        namespace: resource.metadata.namespace.clone(),
        name: resource.metadata.name.clone(),
        parents,
        hostnames: resource.hostnames.to_vec(),
        rules,
        created: set.created(&resource.key()).unwrap_or_default().0,
    })
}

/// What a route is known by among all routes, if it is one.
pub fn route_key(key: &Key) -> Option<String> {
    Some(route_kind(key.kind)?.key(&key.namespace, &key.name))
}

/// What objects of a kind are among routes, if they are.
fn route_kind(kind: Kind) -> Option<RouteKind> {
    match kind {
        Kind::HttpRoute => Some(RouteKind::Http),
        Kind::GrpcRoute => Some(RouteKind::Grpc),
        Kind::TlsRoute => Some(RouteKind::Tls),
        _ => None,
    }
}

/// The object that a route is of.
pub(crate) fn object_of(route: &RouteSpec) -> Key {
    let kind = match route.kind {
        RouteKind::Http => Kind::HttpRoute,
        RouteKind::Grpc => Kind::GrpcRoute,
        RouteKind::Tls => Kind::TlsRoute,
    };
    Key::new(kind, route.namespace.as_str(), route.name.as_str())
}

/// Where a route attaches by one of its parents; or why it does not, relative to the parent.
pub fn attach(
    written: &ParentRef,
    route: &AnyRoute<'_>,
    set: &Set,
) -> Result<Vec<ParentSpec>, Problem> {
    let own = route.metadata.namespace.as_str();
    if written.kind.as_deref().is_some_and(|kind| kind != "Gateway") {
        return Err(Problem::new("kind", written.kind.clone().unwrap_or_default(), "use Gateway"));
    }
    if written.group.as_deref().is_some_and(|group| group != Kind::Gateway.group()) {
        let remedy = format!("use {}", Kind::Gateway.group());
        return Err(Problem::new("group", written.group.clone().unwrap_or_default(), remedy));
    }
    let namespace = written.namespace.as_deref().unwrap_or(own);
    let key = Key::new(Kind::Gateway, namespace, written.name.as_str());
    let gateway = match set.get(&key) {
        Some(Object::Gateway(gateway)) => match gateway.spec.laneway() {
            Some(spec) => Ok((gateway, spec)),
            None => {
                Err(format!("name a Gateway of Laneway's: {key} belongs to another controller"))
            }
        },
        _ => Err(format!("name a Gateway: there is no {key}")),
    };
    let (gateway, spec) = gateway
        .map_err(|remedy| Problem::new("name", &written.name, remedy).of(Fault::NotFound))?;
    let meant: Vec<_> = (spec.listeners.iter())
        .filter(|listener| {
            written.section_name.as_ref().is_none_or(|section| *section == listener.name)
        })
        .filter(|listener| written.port.is_none_or(|port| port == listener.port))
        .collect();
    // A listener that does not exist is left to the route table, which names those that do.
    let carries = |listener: &Listener| why_not_carried(route, gateway, listener).is_none();
    let lets_in = |listener: &Listener| listener.allows(namespace, own) && carries(listener);
    let allowed = meant.iter().filter(|listener| lets_in(listener)).count();
    let parent = |section: Option<String>| ParentSpec {
        gateway: written.name.clone(),
        section,
        port: written.port,
    };
    if allowed == meant.len() {
        return Ok(vec![parent(written.section_name.clone())]);
    }
    let open = || meant.iter().filter(|listener| listener.allows(namespace, own));
    // Where one would carry it, its namespace is what is in the way.
    let is_barred = meant.iter().any(|listener| carries(listener));
    let why_not = |listener: &Listener| why_not_carried(route, gateway, listener);
    if allowed == 0
        && !is_barred
        && let Some(why) = open().find_map(|listener| why_not(listener))
    {
        let alike = open().filter(|listener| why_not(listener) == Some(why));
        let names: Vec<&str> = alike.map(|listener| listener.name.as_str()).collect();
        let remedy = why.remedy(route.kind(), &key, &names.join(", "));
        return Err(Problem::new("name", &written.name, remedy).of(Fault::NotAttached));
    }
    if allowed == 0 {
        let remedy = format!(
            "move the route to namespace {namespace}, or set allowedRoutes.namespaces.from: All on the listeners of {key}"
        );
        return Err(Problem::new("name", &written.name, remedy).of(Fault::NotAttached));
    }
    Ok((meant.into_iter().filter(|listener| lets_in(listener)))
        .map(|listener| parent(Some(listener.name.clone())))
        .collect())
}

/// The kinds of route that may attach to a listener of a gateway.
pub fn supported_kinds(gateway: &Gateway, listener: &Listener) -> impl Iterator<Item = Kind> {
    let http2 = speaks_http2(gateway, listener);
    listener.allowed_kinds().filter(move |kind| *kind != Kind::GrpcRoute || http2)
}

/// A kind of route that the listener at `index` of a gateway asks for and cannot carry, for want of something else that is
/// written of it.
pub fn unsupported_kind(gateway: &Gateway, index: usize, listener: &Listener) -> Option<Problem> {
    if speaks_http2(gateway, listener) {
        return None;
    }
    let kinds = listener.allowed_routes.iter().flat_map(|allowed| &allowed.kinds);
    let at = kinds.enumerate().find(|(_, written)| written.is_one_of(&[Kind::GrpcRoute]))?.0;
    let field = format!("spec.listeners[{index}].allowedRoutes.kinds[{at}].kind");
    let remedy = format!(
        "use protocol HTTPS, or annotate the Gateway with {HTTP2_PRIOR_KNOWLEDGE}: \"true\": gRPC needs HTTP/2, which this listener does not speak"
    );
    Some(Problem::new(field, Kind::GrpcRoute.name(), remedy).of(Fault::NotAttached))
}

/// Why a listener does not carry a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotCarried {
    /// Its protocol carries none of its kind.
    Protocol,
    /// It lets none of its kind attach.
    Kind,
    /// It does not speak HTTP/2.
    Http2,
}

impl NotCarried {
    /// What would be right, by the kind of the route, at listeners of a gateway.
    fn remedy(&self, kind: Kind, gateway: &Key, listeners: &str) -> String {
        match (self, kind) {
            (Self::Protocol, Kind::TlsRoute) => format!(
                "use a listener of protocol TLS with tls.mode: Passthrough: listener {listeners} of {gateway} carries no {kind}"
            ),
            (Self::Protocol, _) => format!(
                "use a listener of protocol HTTP or HTTPS: listener {listeners} of {gateway} passes TLS on as it is, and carries no {kind}"
            ),
            (Self::Kind, _) => format!(
                "name {kind} in allowedRoutes.kinds of listener {listeners} of {gateway}, or use another listener"
            ),
            (Self::Http2, _) => format!(
                "use a listener of protocol HTTPS, or annotate {gateway} with {HTTP2_PRIOR_KNOWLEDGE}: \"true\": gRPC needs HTTP/2, which listener {listeners} does not speak"
            ),
        }
    }
}

fn why_not_carried(
    route: &AnyRoute<'_>,
    gateway: &Gateway,
    listener: &Listener,
) -> Option<NotCarried> {
    if !listener.carried().contains(&route.kind()) {
        Some(NotCarried::Protocol)
    } else if !listener.allowed_kinds().any(|kind| kind == route.kind()) {
        Some(NotCarried::Kind)
    } else if route.is_grpc() && !speaks_http2(gateway, listener) {
        Some(NotCarried::Http2)
    } else {
        None
    }
}

/// Whether clients can speak HTTP/2 at a listener.
fn speaks_http2(gateway: &Gateway, listener: &Listener) -> bool {
    let annotations = &gateway.metadata.annotations;
    listener.protocol == "HTTPS"
        || annotations.get(HTTP2_PRIOR_KNOWLEDGE).is_some_and(|said| said == "true")
}

/// The Backend a reference means, or why there is none.
pub fn backend<'s>(written: &BackendRef, own: &str, set: &'s Set) -> Result<&'s Backend, Problem> {
    let (group, kind) =
        (written.group.as_deref().unwrap_or(""), written.kind.as_deref().unwrap_or("Service"));
    if (group, kind) != (Kind::Backend.group(), Kind::Backend.name()) {
        let shown = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
        return Err(Problem::new("kind", shown, "write group: laneway.io and kind: Backend"));
    }
    if let Some(namespace) = written.namespace.as_deref().filter(|namespace| *namespace != own) {
        let remedy = "use a Backend of the route's own namespace: grants between namespaces are not supported by this version";
        return Err(Problem::new("namespace", namespace, remedy));
    }
    let key = Key::new(Kind::Backend, own, written.name.as_str());
    match set.get(&key) {
        Some(Object::Backend(backend)) => Ok(backend),
        _ => {
            let remedy = format!("name a Backend: there is no {key}");
            Err(Problem::new("name", &written.name, remedy).of(Fault::NotFound))
        }
    }
}

/// The Backend that a rule of a route may use, or why there is none.
pub(crate) fn usable_backend<'s>(
    written: &BackendRef,
    route: &AnyRoute<'_>,
    set: &'s Set,
) -> Result<&'s Backend, Problem> {
    let backend = backend(written, &route.metadata.namespace, set)?;
    if route.is_grpc() && !backend.spec.speaks_http2() {
        let spoken = backend.spec.protocol.as_str();
        let right = if spoken == "https" { "h2" } else { "h2c" };
        let remedy = format!(
            "write protocol: {right} in {}: gRPC needs HTTP/2, and its instances are said to speak {spoken}",
            backend.key()
        );
        return Err(Problem::new("name", &written.name, remedy).of(Fault::NotAttached));
    }
    if route.is_tls() && !backend.spec.speaks_tls() {
        let spoken = backend.spec.protocol.as_str();
        let right = if backend.spec.speaks_http2() { "h2" } else { "https" };
        let remedy = format!(
            "write protocol: {right} in {}: TLS goes on to its instances as it is, and they are said to speak {spoken}",
            backend.key()
        );
        return Err(Problem::new("name", &written.name, remedy).of(Fault::NotAttached));
    }
    Ok(backend)
}

/// A backend of a rule. What is wrong with it goes to `problems`; what is not there yet makes it answer 500.
fn backend_spec(
    written: &BackendRef,
    route: &AnyRoute<'_>,
    set: &Set,
    problems: &mut Vec<Problem>,
) -> BackendSpec {
    let meant = usable_backend(written, route, set);
    if let Err(problem) = &meant
        && !is_of_another(problem)
    {
        problems.push(problem.clone());
    }
    if route.is_tls() {
        // Who they are their clients find out.
        let service = meant.map(service).map_err(|problem| problem.remedy);
        let weight = written.weight;
        return BackendSpec { service, weight, http2: false, tls: None, filters: Vec::new() };
    }
    let http2 = meant.as_ref().is_ok_and(|backend| backend.spec.speaks_http2());
    let meant = meant.map_err(|problem| problem.remedy);
    let (service, tls) =
        match meant.and_then(|backend| Ok((service(backend), policies::tls_of(backend, set)?))) {
            Ok((service, tls)) => (Ok(service), tls),
            Err(remedy) => (Err(remedy), None),
        };
    if route.is_grpc() {
        grpc::check_filters(&written.filters, problems);
    }
    let filters = filters::specs(&written.filters, problems);
    BackendSpec { service, weight: written.weight, http2, tls, filters }
}

fn rule(written: &AnyRule<'_>, route: &AnyRoute<'_>, set: &Set) -> Result<RuleSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    if route.is_grpc() {
        grpc::check_filters(written.filters, &mut problems);
    }
    let filters = filters::specs(written.filters, &mut problems);
    let mut backends = Vec::new();
    for (index, reference) in written.backend_refs.iter().enumerate() {
        let mut wrong = Vec::new();
        backends.push(backend_spec(reference, route, set, &mut wrong));
        problems.extend(
            wrong.into_iter().map(|problem| problem.under(&format!("backendRefs[{index}]"))),
        );
    }
    let timeouts = written.timeouts.cloned().unwrap_or_default();
    let mut timeout = |name: &str, text: Option<&str>| match text.map(duration::gateway_api_ms) {
        None => None,
        Some(Some(milliseconds)) => Some(milliseconds),
        Some(None) => {
            let remedy = "use a duration such as 10s, 1m30s or 500ms";
            problems.push(Problem::new(
                format!("timeouts.{name}"),
                text.unwrap_or_default(),
                remedy,
            ));
            None
        }
    };
    let request_timeout_ms = timeout("request", timeouts.request.as_deref());
    let backend_timeout_ms = timeout("backendRequest", timeouts.backend_request.as_deref());
    let matches = match written.matches {
        Matches::Http(matches) => matches.iter().map(route_match).collect(),
        Matches::Grpc(matches) => grpc::matches(matches, &mut problems),
        Matches::Tls => Vec::new(),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(RuleSpec { matches, filters, backends, request_timeout_ms, backend_timeout_ms })
}

/// Whether what is wrong with a reference is up to what it names: it can come right without an edit of the route.
pub(crate) fn is_of_another(problem: &Problem) -> bool {
    matches!(problem.fault, Fault::NotFound | Fault::NotAttached)
}

fn route_match(written: &RouteMatch) -> MatchSpec {
    let path = written.path.clone().unwrap_or_default();
    let value = if path.value.is_empty() { "/".to_owned() } else { path.value };
    MatchSpec {
        path: match path.kind {
            PathMatchType::Exact => PathSpec::Exact(value),
            PathMatchType::PathPrefix => PathSpec::Prefix(value),
            PathMatchType::RegularExpression => PathSpec::Regex(value),
        },
        method: written.method.clone(),
        headers: written.headers.iter().map(named).collect(),
        query: written.query_params.iter().map(named).collect(),
    }
}

fn named(written: &NamedMatch) -> NamedSpec {
    let value = written.value.clone();
    let value = match written.kind {
        MatchType::Exact => TextSpec::Exact(value),
        MatchType::RegularExpression => TextSpec::Regex(value),
    };
    NamedSpec { name: written.name.clone(), value }
}
