//! Resources as they are distributed: encoded with their key, and the hash of their content as version.

use std::{fmt, net::SocketAddr};

use api::{
    convert::{
        key::{self, ResourceKey},
        wire,
    },
    discovery::v1::resource::Body,
};
use bytes::Bytes;
use lanes::{GroupSpec, ServiceId, directory::NameAnswer};
use prost::Message;
use routes::{GatewaySpec, RouteSpec, tls::Certificate};

/// A resource as it goes out: encoded once, and shared by all who get it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Versioned {
    /// The hash of its content.
    pub version: u64,
    /// The resource's wire message, version and key in it.
    pub encoded: Bytes,
}

/// Without its bytes: a private key may be in them.
impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Versioned {
    fn of(key: &ResourceKey, body: Body) -> Self {
        let resource = key::resource(key, body);
        Self { version: resource.version, encoded: resource.encode_to_vec().into() }
    }
}

pub(super) fn group(spec: &GroupSpec) -> Versioned {
    Versioned::of(&ResourceKey::Group(spec.name.as_str().into()), Body::Group(wire::group_to(spec)))
}

pub(super) fn gateway(spec: &GatewaySpec) -> Versioned {
    Versioned::of(
        &ResourceKey::Gateway(spec.name.as_str().into()),
        Body::Gateway(wire::gateway_to(spec)),
    )
}

/// By `namespace/name`.
pub(super) fn certificate(name: &str, certificate: &Certificate) -> Versioned {
    let body = Body::Certificate(wire::certificate_to(name, certificate));
    Versioned::of(&ResourceKey::Certificate(name.into()), body)
}

pub(super) fn route(spec: &RouteSpec) -> Versioned {
    Versioned::of(&ResourceKey::Route(spec.key().into()), Body::Route(wire::route_to(spec)))
}

pub(super) fn service(service: &lanes::Service) -> Versioned {
    Versioned::of(
        &ResourceKey::Service(service.id().clone()),
        Body::Service(wire::service_to(service)),
    )
}

/// A service that no source has told of: nobody serves it.
pub(super) fn unknown_service(id: &ServiceId) -> Versioned {
    service(&lanes::Service::new(id.clone(), id.name(), id.name(), Vec::new()))
}

pub(super) fn name(host: &str, answer: &NameAnswer) -> Versioned {
    Versioned::of(&ResourceKey::Name(host.into()), Body::Name(wire::name_to(host, answer)))
}

pub(super) fn address(address: SocketAddr, services: &[ServiceId]) -> Versioned {
    Versioned::of(
        &ResourceKey::Address(address),
        Body::Address(wire::address_to(address, services)),
    )
}
