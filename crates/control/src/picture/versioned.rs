//! Resources as they are distributed: the wire message, its key, and the hash of its content as version.

use std::{net::SocketAddr, sync::Arc};

use api::{
    convert::{
        key::{self, Key},
        wire,
    },
    discovery::v1::{self, resource::Body},
};
use lanes::{GroupSpec, ServiceId, directory::NameAnswer};
use routes::{GatewaySpec, RouteSpec};

/// A resource, shared by all who get it.
pub type Versioned = Arc<v1::Resource>;

pub(super) fn group(spec: &GroupSpec) -> Versioned {
    Arc::new(key::resource(
        &Key::Group(spec.name.as_str().into()),
        Body::Group(wire::group_to(spec)),
    ))
}

pub(super) fn gateway(spec: &GatewaySpec) -> Versioned {
    Arc::new(key::resource(
        &Key::Gateway(spec.name.as_str().into()),
        Body::Gateway(wire::gateway_to(spec)),
    ))
}

pub(super) fn route(spec: &RouteSpec) -> Versioned {
    Arc::new(key::resource(
        &Key::route(&spec.namespace, &spec.name),
        Body::Route(wire::route_to(spec)),
    ))
}

pub(super) fn service(service: &lanes::Service) -> Versioned {
    Arc::new(key::resource(
        &Key::Service(service.id().clone()),
        Body::Service(wire::service_to(service)),
    ))
}

/// A service that no source has told of: nobody serves it.
pub(super) fn unknown_service(id: &ServiceId) -> Versioned {
    service(&lanes::Service::new(id.clone(), id.name(), id.name(), Vec::new()))
}

pub(super) fn name(host: &str, answer: &NameAnswer) -> Versioned {
    Arc::new(key::resource(&Key::Name(host.into()), Body::Name(wire::name_to(host, answer))))
}

pub(super) fn address(address: SocketAddr, services: &[ServiceId]) -> Versioned {
    Arc::new(key::resource(
        &Key::Address(address),
        Body::Address(wire::address_to(address, services)),
    ))
}
