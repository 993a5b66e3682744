//! Gateways and routes.

use routes::{
    GatewaySpec, RouteKind, RouteSpec,
    spec::{
        BackendSpec, FilterSpec, HeaderEdits, ListenerSpec, MatchSpec, NamedSpec, ParentSpec,
        PathRewrite, PathSpec, RedirectSpec, RewriteSpec, RuleSpec, TextSpec,
    },
};

use super::{NotUnderstood, filled, port, service_id_from, service_id_to, text_match, tls};
use crate::discovery::v1::{self, filter, path_rewrite};

/// To the wire.
pub fn gateway_to(gateway: &GatewaySpec) -> v1::Gateway {
    let in_the_clear = gateway.listeners.iter().filter(|listener| listener.tls.is_none());
    let all = gateway.listeners.iter().enumerate();
    let passes = |port: u16| gateway.listeners.iter().any(|it| it.port == port && it.passes_tls());
    let ending = |beside: bool| {
        let ending = all.clone().filter(move |(_, listener)| passes(listener.port) == beside);
        let ending = ending.filter_map(|(place, listener)| {
            Some(tls::listener_to(place, listener_to(listener), listener.ends_tls()?))
        });
        ending.collect()
    };
    let (tls_listeners, tls_listeners_beside) = (ending(false), ending(true));
    let passing = all.filter(|(_, listener)| listener.passes_tls());
    let passing = passing.map(|(place, listener)| tls::passing_to(place, listener_to(listener)));
    v1::Gateway {
        name: gateway.name.clone(),
        listeners: in_the_clear.map(listener_to).collect(),
        tls_listeners,
        tls_listeners_beside,
        passing_listeners: passing.collect(),
    }
}

fn listener_to(listener: &ListenerSpec) -> v1::Listener {
    v1::Listener {
        name: listener.name.clone(),
        port: u32::from(listener.port),
        hostname: listener.hostname.clone().unwrap_or_default(),
        trusted: listener.trusted,
        trusted_hops: u32::from(listener.trusted_hops),
        keeps_slashes: !listener.merge_slashes,
        http2: listener.http2,
    }
}

/// From the wire.
pub fn gateway_from(gateway: v1::Gateway) -> Result<GatewaySpec, NotUnderstood> {
    let in_the_clear = gateway.listeners.into_iter().map(listener_from);
    let mut listeners = in_the_clear.collect::<Result<Vec<_>, _>>()?;
    let ending = gateway.tls_listeners.into_iter().chain(gateway.tls_listeners_beside);
    let ending = ending.map(tls::listener_from);
    let passing = gateway.passing_listeners.into_iter().map(tls::passing_from);
    let mut in_tls = ending.chain(passing).collect::<Result<Vec<_>, _>>()?;
    in_tls.sort_by_key(|(place, ..)| *place);
    for (place, listener, tls) in in_tls {
        let listener = ListenerSpec { tls: Some(tls), ..listener_from(listener)? };
        listeners.insert(place.min(listeners.len()), listener);
    }
    Ok(GatewaySpec { name: gateway.name, listeners })
}

fn listener_from(listener: v1::Listener) -> Result<ListenerSpec, NotUnderstood> {
    Ok(ListenerSpec {
        name: listener.name,
        port: port("listener.port", listener.port)?.unwrap_or(0),
        hostname: filled(listener.hostname),
        trusted: listener.trusted,
        trusted_hops: u8::try_from(listener.trusted_hops)
            .map_err(|_| NotUnderstood::number("listener.trusted_hops", listener.trusted_hops))?,
        merge_slashes: !listener.keeps_slashes,
        http2: listener.http2,
        tls: None,
    })
}

/// To the wire.
pub fn route_to(route: &RouteSpec) -> v1::Route {
    let parents = (route.parents.iter())
        .map(|parent| v1::ParentRef {
            gateway: parent.gateway.clone(),
            section: parent.section.clone().unwrap_or_default(),
            port: u32::from(parent.port.unwrap_or(0)),
        })
        .collect();
    v1::Route {
        namespace: route.namespace.clone(),
        name: route.name.clone(),
        parents,
        hostnames: route.hostnames.clone(),
        rules: route.rules.iter().map(rule_to).collect(),
        created: route.created,
        grpc: route.kind == RouteKind::Grpc,
        tls: route.kind == RouteKind::Tls,
    }
}

/// From the wire.
pub fn route_from(route: v1::Route) -> Result<RouteSpec, NotUnderstood> {
    let parent = |parent: v1::ParentRef| {
        Ok(ParentSpec {
            gateway: parent.gateway,
            section: filled(parent.section),
            port: port("parent_ref.port", parent.port)?,
        })
    };
    Ok(RouteSpec {
        kind: match (route.grpc, route.tls) {
            (_, true) => RouteKind::Tls,
            (true, false) => RouteKind::Grpc,
            (false, false) => RouteKind::Http,
        },
        namespace: route.namespace,
        name: route.name,
        parents: route.parents.into_iter().map(parent).collect::<Result<_, _>>()?,
        hostnames: route.hostnames,
        rules: route.rules.into_iter().map(rule_from).collect::<Result<_, _>>()?,
        created: route.created,
    })
}

fn rule_to(rule: &RuleSpec) -> v1::Rule {
    v1::Rule {
        matches: rule.matches.iter().map(match_to).collect(),
        filters: rule.filters.iter().map(filter_to).collect(),
        backends: rule.backends.iter().map(backend_to).collect(),
        request_timeout_ms: rule.request_timeout_ms,
        backend_timeout_ms: rule.backend_timeout_ms,
    }
}

fn rule_from(rule: v1::Rule) -> Result<RuleSpec, NotUnderstood> {
    Ok(RuleSpec {
        matches: rule.matches.into_iter().map(match_from).collect::<Result<_, _>>()?,
        filters: rule.filters.into_iter().map(filter_from).collect::<Result<_, _>>()?,
        backends: rule.backends.into_iter().map(backend_from).collect::<Result<_, _>>()?,
        request_timeout_ms: rule.request_timeout_ms,
        backend_timeout_ms: rule.backend_timeout_ms,
    })
}

fn match_to(matching: &MatchSpec) -> v1::RouteMatch {
    let (kind, path) = match &matching.path {
        PathSpec::Exact(path) => (v1::TextMatch::Exact, path),
        PathSpec::Prefix(path) => (v1::TextMatch::Prefix, path),
        PathSpec::Regex(expression) => (v1::TextMatch::Regex, expression),
    };
    v1::RouteMatch {
        path_kind: kind.into(),
        path: path.clone(),
        method: matching.method.clone().unwrap_or_default(),
        headers: matching.headers.iter().map(named_to).collect(),
        query: matching.query.iter().map(named_to).collect(),
    }
}

fn match_from(matching: v1::RouteMatch) -> Result<MatchSpec, NotUnderstood> {
    let path = match text_match("route_match.path_kind", matching.path_kind)? {
        v1::TextMatch::Exact => PathSpec::Exact(matching.path),
        v1::TextMatch::Prefix => PathSpec::Prefix(matching.path),
        v1::TextMatch::Regex => PathSpec::Regex(matching.path),
        v1::TextMatch::Unspecified => return Err(NotUnderstood::choice("route_match.path_kind")),
    };
    Ok(MatchSpec {
        path,
        method: filled(matching.method),
        headers: matching.headers.into_iter().map(named_from).collect::<Result<_, _>>()?,
        query: matching.query.into_iter().map(named_from).collect::<Result<_, _>>()?,
    })
}

fn named_to(named: &NamedSpec) -> v1::NamedMatch {
    let (kind, value) = match &named.value {
        TextSpec::Exact(value) => (v1::TextMatch::Exact, value),
        TextSpec::Regex(expression) => (v1::TextMatch::Regex, expression),
    };
    v1::NamedMatch { name: named.name.clone(), kind: kind.into(), value: value.clone() }
}

fn named_from(named: v1::NamedMatch) -> Result<NamedSpec, NotUnderstood> {
    let value = match text_match("named_match.kind", named.kind)? {
        v1::TextMatch::Exact => TextSpec::Exact(named.value),
        v1::TextMatch::Regex => TextSpec::Regex(named.value),
        v1::TextMatch::Prefix | v1::TextMatch::Unspecified => {
            return Err(NotUnderstood::number("named_match.kind", named.kind));
        }
    };
    Ok(NamedSpec { name: named.name, value })
}

fn backend_to(backend: &BackendSpec) -> v1::RouteBackend {
    let (service, problem, tls) = match (&backend.service, &backend.tls) {
        (Ok(id), Some(tls)) => (None, tls::NOT_KNOWN.to_owned(), Some(tls::upstream_to(id, tls))),
        (Ok(id), None) => (Some(service_id_to(id)), String::new(), None),
        (Err(problem), _) => (None, problem.clone(), None),
    };
    v1::RouteBackend {
        service,
        tls,
        weight: backend.weight,
        http2: backend.http2,
        filters: backend.filters.iter().map(filter_to).collect(),
        problem,
    }
}

fn backend_from(backend: v1::RouteBackend) -> Result<BackendSpec, NotUnderstood> {
    let (service, tls) = match backend.tls.map(tls::upstream_from).transpose()? {
        Some((service, tls)) => (Ok(service), Some(tls)),
        None => (backend.service.map(service_id_from).ok_or(backend.problem), None),
    };
    Ok(BackendSpec {
        service,
        tls,
        weight: backend.weight,
        http2: backend.http2,
        filters: backend.filters.into_iter().map(filter_from).collect::<Result<_, _>>()?,
    })
}

fn filter_to(spec: &FilterSpec) -> v1::Filter {
    use filter::Filter as Wire;
    let wire = match spec {
        FilterSpec::RequestHeaders(edits) => Wire::RequestHeaders(edits_to(edits)),
        FilterSpec::ResponseHeaders(edits) => Wire::ResponseHeaders(edits_to(edits)),
        FilterSpec::Redirect(redirect) => Wire::Redirect(v1::Redirect {
            scheme: redirect.scheme.clone().unwrap_or_default(),
            hostname: redirect.hostname.clone().unwrap_or_default(),
            path: redirect.path.as_ref().map(path_to),
            port: u32::from(redirect.port.unwrap_or(0)),
            status: u32::from(redirect.status),
        }),
        FilterSpec::Rewrite(rewrite) => Wire::Rewrite(v1::UrlRewrite {
            hostname: rewrite.hostname.clone().unwrap_or_default(),
            path: rewrite.path.as_ref().map(path_to),
        }),
    };
    v1::Filter { filter: Some(wire) }
}

fn filter_from(filter: v1::Filter) -> Result<FilterSpec, NotUnderstood> {
    use filter::Filter as Wire;
    Ok(match filter.filter {
        Some(Wire::RequestHeaders(edits)) => FilterSpec::RequestHeaders(edits_from(edits)),
        Some(Wire::ResponseHeaders(edits)) => FilterSpec::ResponseHeaders(edits_from(edits)),
        Some(Wire::Redirect(redirect)) => FilterSpec::Redirect(RedirectSpec {
            scheme: filled(redirect.scheme),
            hostname: filled(redirect.hostname),
            path: redirect.path.map(path_from).transpose()?,
            port: port("redirect.port", redirect.port)?,
            status: u16::try_from(redirect.status)
                .map_err(|_| NotUnderstood::number("redirect.status", redirect.status))?,
        }),
        Some(Wire::Rewrite(rewrite)) => FilterSpec::Rewrite(RewriteSpec {
            hostname: filled(rewrite.hostname),
            path: rewrite.path.map(path_from).transpose()?,
        }),
        None => return Err(NotUnderstood::choice("filter.filter")),
    })
}

fn edits_to(edits: &HeaderEdits) -> v1::HeaderEdits {
    let fields = |fields: &[(String, String)]| {
        (fields.iter())
            .map(|(name, value)| v1::HeaderField { name: name.clone(), value: value.clone() })
            .collect()
    };
    v1::HeaderEdits {
        set: fields(&edits.set),
        add: fields(&edits.add),
        remove: edits.remove.clone(),
    }
}

fn edits_from(edits: v1::HeaderEdits) -> HeaderEdits {
    let fields = |fields: Vec<v1::HeaderField>| {
        fields.into_iter().map(|field| (field.name, field.value)).collect()
    };
    HeaderEdits { set: fields(edits.set), add: fields(edits.add), remove: edits.remove }
}

fn path_to(path: &PathRewrite) -> v1::PathRewrite {
    let wire = match path {
        PathRewrite::Full(path) => path_rewrite::Path::Full(path.clone()),
        PathRewrite::Prefix(path) => path_rewrite::Path::Prefix(path.clone()),
    };
    v1::PathRewrite { path: Some(wire) }
}

fn path_from(path: v1::PathRewrite) -> Result<PathRewrite, NotUnderstood> {
    match path.path {
        Some(path_rewrite::Path::Full(path)) => Ok(PathRewrite::Full(path)),
        Some(path_rewrite::Path::Prefix(path)) => Ok(PathRewrite::Prefix(path)),
        None => Err(NotUnderstood::choice("path_rewrite.path")),
    }
}
