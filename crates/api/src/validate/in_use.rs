//! What others refer to by name does not go before them: a route without its gateway or its backend serves nobody, and
//! whoever deletes one rarely sees the other.

use std::collections::BTreeSet;

use ::lanes::{Fault, Problem};

use super::Report;
use crate::{
    convert::routes as convert,
    resource::{AnyRoute, BackendTlsPolicy, Key, Kind, LaneGroup, Object, Set},
};

/// Names shown of those that refer to what is deleted; the rest is counted.
const NAMED_MAX: usize = 10;

/// Refuses that an object goes which others of `after`, the set without it, refer to.
pub(super) fn removed(after: &Set, object: &Object, report: &mut Report) {
    let key = object.key();
    let users = match object {
        Object::Gateway(_) => of_gateway(after, &key),
        Object::HttpRoute(_) | Object::GrpcRoute(_) => of_route(after, &key),
        // Of those that it has, no request enters a lane.
        Object::TlsRoute(_) => Vec::new(),
        Object::Backend(_) => of_backend(after, &key),
        Object::ServiceSource(_) => of_source(after, &key),
        Object::Certificate(_) => of_certificate(after, &key),
        Object::BackendTlsPolicy(policy) => of_policy(after, policy),
        Object::LaneGroup(_) | Object::Lane(_) => Vec::new(),
    };
    if users.is_empty() {
        return;
    }
    let named: Vec<String> = users.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = match users.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let remedy = format!("{}{more} would miss it: change or delete them first", named.join(", "));
    report.error(&key, Problem::new("", "", remedy).of(Fault::InUse));
}

fn of_gateway(after: &Set, gateway: &Key) -> Vec<Key> {
    let attaches = |route: &AnyRoute<'_>| {
        route.parent_refs.iter().any(|parent| {
            let namespace = parent.namespace.as_deref().unwrap_or(&route.metadata.namespace);
            parent.kind.as_deref().is_none_or(|kind| kind == Kind::Gateway.name())
                && parent.group.as_deref().is_none_or(|group| group == Kind::Gateway.group())
                && parent.name == gateway.name
                && namespace == gateway.namespace
        })
    };
    let routes = after.routes().filter(attaches).map(|route| route.key());
    // Groups name gateways across namespaces.
    if after.gateways().any(|other| other.metadata.name == gateway.name) {
        return routes.collect();
    }
    let enters = |group: &&LaneGroup| {
        (group.spec.entrances.iter())
            .any(|entrance| entrance.gateway.as_deref() == Some(&gateway.name))
    };
    routes.chain(after.lane_groups().filter(enters).map(LaneGroup::key)).collect()
}

fn of_route(after: &Set, route: &Key) -> Vec<Key> {
    let is_left = |gateway: &str| {
        after.routes().any(|other| {
            other.metadata.name == route.name
                && other.parent_refs.iter().any(|parent| parent.name == gateway)
        })
    };
    let names = |group: &&LaneGroup| {
        group.spec.entrances.iter().any(|entrance| {
            let gateway = entrance.gateway.as_deref();
            entrance.routes.iter().flatten().any(|name| *name == route.name)
                && gateway.is_some_and(|gateway| !is_left(gateway))
        })
    };
    after.lane_groups().filter(names).map(LaneGroup::key).collect()
}

fn of_backend(after: &Set, backend: &Key) -> Vec<Key> {
    let names = |policy: &&BackendTlsPolicy| convert::targets(policy).any(|it| it == *backend);
    let policies = after.backend_tls_policies().filter(names).map(BackendTlsPolicy::key);
    calling(after, backend).chain(policies).collect()
}

/// Routes to Backends whose instances nobody would verify any more, so that they would not be asked.
fn of_policy(after: &Set, policy: &BackendTlsPolicy) -> Vec<Key> {
    let is_unverified = |backend: &Key| {
        let found = after.get(backend);
        let speaks_tls = matches!(found, Some(Object::Backend(it)) if it.spec.speaks_tls());
        speaks_tls && convert::policy_of(backend, after).is_none()
    };
    let backends: Vec<Key> = convert::targets(policy).filter(is_unverified).collect();
    let routes: BTreeSet<Key> =
        backends.iter().flat_map(|backend| calling(after, backend)).collect();
    // Whoever asks through these verifies for himself.
    let routes = routes.into_iter().filter(|route| route.kind != Kind::TlsRoute);
    routes.collect()
}

/// Routes that name a Backend.
pub(super) fn calling(after: &Set, backend: &Key) -> impl Iterator<Item = Key> {
    let calls = move |route: &AnyRoute<'_>| {
        route.metadata.namespace == backend.namespace
            && route.backend_refs().any(|reference| {
                reference.kind.as_deref() == Some(Kind::Backend.name())
                    && reference.group.as_deref() == Some(Kind::Backend.group())
                    && reference.name == backend.name
                    && (reference.namespace.as_deref())
                        .is_none_or(|namespace| namespace == backend.namespace)
            })
    };
    after.routes().filter(calls).map(|route| route.key())
}

fn of_certificate(after: &Set, certificate: &Key) -> Vec<Key> {
    let name = format!("{}/{}", certificate.namespace, certificate.name);
    let names = after.laneway_gateways().filter(|(gateway, written)| {
        let spec = convert::gateway(gateway, written);
        spec.is_ok_and(|spec| spec.certificates().any(|named| named == name))
    });
    let policies = after.backend_tls_policies().filter(|policy| {
        convert::upstream_tls(policy).is_ok_and(|tls| tls.certificates().contains(&name))
    });
    let gateways = names.map(|(gateway, _)| gateway.key());
    gateways.chain(policies.map(BackendTlsPolicy::key)).collect()
}

fn of_source(after: &Set, source: &Key) -> Vec<Key> {
    if after.service_sources().any(|other| other.metadata.name == source.name) {
        return Vec::new();
    }
    let of_it = after.backends().filter(|backend| backend.spec.source == source.name);
    let joined = after.service_sources().filter(|other| {
        other.spec.nacos.as_ref().is_some_and(|nacos| nacos.joins.contains(&source.name))
    });
    of_it.map(|backend| backend.key()).chain(joined.map(|other| other.key())).collect()
}
