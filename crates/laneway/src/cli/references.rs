//! Which resources name which others.

use api::{
    convert,
    resource::{AnyRoute, Fallback, Key, Kind, Lane, Object},
};

/// Something that a resource names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where it is named.
    pub(crate) field: String,
    pub(crate) kind: Kind,
    /// The namespace it is looked for in; any where there is none.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Reference {
    /// Whether it is this one.
    pub(crate) fn is_to(&self, key: &Key) -> bool {
        self.kind == key.kind
            && self.name == key.name
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }
}

/// What an object names.
pub(crate) fn of(object: &Object) -> Vec<Reference> {
    let own = || Some(object.metadata().namespace.clone());
    let to = |field: &str, kind, namespace, name: &str| Reference {
        field: field.to_owned(),
        kind,
        namespace,
        name: name.to_owned(),
    };
    match object {
        Object::Lane(lane) => vec![to("spec.group", Kind::LaneGroup, own(), &lane.spec.group)],
        Object::LaneGroup(group) => {
            let gateways = group.spec.entrances.iter().filter_map(|it| it.gateway.as_ref());
            gateways.map(|name| to("spec.entrances", Kind::Gateway, None, name)).collect()
        }
        Object::Backend(backend) => {
            vec![to("spec.source", Kind::ServiceSource, None, &backend.spec.source)]
        }
        Object::HttpRoute(_) | Object::GrpcRoute(_) | Object::TlsRoute(_) => {
            let Some(route) = AnyRoute::of(object) else { return Vec::new() };
            let parents = route.parent_refs.iter();
            let mut all: Vec<Reference> = parents
                .map(|parent| to("spec.parentRefs", Kind::Gateway, None, &parent.name))
                .collect();
            all.extend(route.backend_refs().map(|backend| {
                let namespace = backend.namespace.clone().or_else(own);
                to("spec.rules.backendRefs", Kind::Backend, namespace, &backend.name)
            }));
            all
        }
        Object::Gateway(gateway) => {
            let converted = gateway
                .spec
                .laneway()
                .and_then(|spec| convert::routes::gateway(gateway, spec).ok());
            let names = converted.iter().flat_map(|gateway| gateway.certificates());
            let names = names.filter_map(|name| name.split_once('/'));
            let at = "spec.listeners.tls";
            let named = |(namespace, name): (&str, &str)| {
                to(at, Kind::Certificate, Some(namespace.to_owned()), name)
            };
            names.map(named).collect()
        }
        Object::BackendTlsPolicy(policy) => {
            let at = "spec.targetRefs";
            let targets = convert::routes::targets(policy);
            let mut all: Vec<Reference> =
                targets.map(|target| to(at, Kind::Backend, own(), &target.name)).collect();
            let validation = &policy.spec.validation;
            all.extend(validation.ca_certificate_refs.iter().map(|named| {
                let at = "spec.validation.caCertificateRefs";
                to(at, Kind::Certificate, own(), &named.name)
            }));
            all
        }
        Object::Certificate(_) | Object::ServiceSource(_) => Vec::new(),
    }
}

/// Lanes that fall back to a lane.
pub(crate) fn falls_back_to(object: &Object, lane: &Lane) -> bool {
    let Object::Lane(other) = object else { return false };
    let Fallback::Tags(tags) = &other.spec.fallback else { return false };
    other.group_key() == lane.group_key() && tags.iter().any(|tag| *tag == lane.tag_text())
}
