//! Services, and what names and addresses mean.

use std::net::SocketAddr;

use lanes::{
    Endpoint, Service, ServiceId, Tag,
    directory::NameAnswer,
    service::{FurtherAddresses, Health, Port, Protocol},
};

use super::{NotUnderstood, filled};
use crate::discovery::v1;

/// To the wire.
pub fn service_id_to(id: &ServiceId) -> v1::ServiceId {
    v1::ServiceId {
        source: id.source().to_owned(),
        namespace: id.namespace().to_owned(),
        group: id.group().to_owned(),
        name: id.name().to_owned(),
    }
}

/// From the wire.
pub fn service_id_from(id: v1::ServiceId) -> ServiceId {
    ServiceId::new(&id.source, &id.namespace, &id.group, &id.name)
}

/// To the wire.
pub fn service_to(service: &Service) -> v1::Service {
    v1::Service {
        id: Some(service_id_to(service.id())),
        name: service.name().to_string(),
        application: service.application().to_string(),
        endpoints: service.endpoints().iter().map(endpoint_to).collect(),
    }
}

/// From the wire.
pub fn service_from(service: v1::Service) -> Result<Service, NotUnderstood> {
    let id = service.id.ok_or_else(|| NotUnderstood::nothing("service.id"))?;
    let endpoints = service.endpoints.into_iter().map(endpoint_from).collect::<Result<_, _>>()?;
    Ok(Service::new(service_id_from(id), &service.name, &service.application, endpoints))
}

fn endpoint_to(endpoint: &Endpoint) -> v1::Endpoint {
    let health = match endpoint.health {
        Health::Usable | Health::Silent => v1::Health::Usable,
        Health::Unhealthy => v1::Health::Unhealthy,
        Health::Draining => v1::Health::Draining,
        Health::InvalidTag => v1::Health::InvalidTag,
    };
    v1::Endpoint {
        address: endpoint.address.to_string(),
        application_address: endpoint
            .application_address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        tag: endpoint.tag.as_ref().map(|tag| tag.as_str().to_owned()).unwrap_or_default(),
        weight: endpoint.weight,
        health: health.into(),
        silent: endpoint.health == Health::Silent,
        further_addresses: endpoint
            .further
            .as_ref()
            .map(|it| texts(&it.addresses))
            .unwrap_or_default(),
        further_application_addresses: endpoint
            .further
            .as_ref()
            .map(|it| texts(&it.application_addresses))
            .unwrap_or_default(),
        protocol: protocol_to(endpoint.port.protocol).into(),
        further_port: endpoint.port.is_further,
    }
}

/// To the wire.
pub fn protocol_to(protocol: Protocol) -> v1::PortProtocol {
    match protocol {
        Protocol::Http => v1::PortProtocol::Http,
        Protocol::Tcp => v1::PortProtocol::Tcp,
    }
}

/// From the wire.
pub fn protocol_from(field: &'static str, protocol: i32) -> Result<Protocol, NotUnderstood> {
    match v1::PortProtocol::try_from(protocol) {
        Ok(v1::PortProtocol::Http) => Ok(Protocol::Http),
        Ok(v1::PortProtocol::Tcp) => Ok(Protocol::Tcp),
        Err(_) => Err(NotUnderstood::number(field, protocol)),
    }
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

fn endpoint_from(endpoint: v1::Endpoint) -> Result<Endpoint, NotUnderstood> {
    let health = match v1::Health::try_from(endpoint.health) {
        Ok(v1::Health::Usable) if endpoint.silent => Health::Silent,
        Ok(v1::Health::Usable) => Health::Usable,
        Ok(v1::Health::Unhealthy) => Health::Unhealthy,
        Ok(v1::Health::Draining) => Health::Draining,
        Ok(v1::Health::InvalidTag) => Health::InvalidTag,
        Ok(v1::Health::Unspecified) | Err(_) => {
            return Err(NotUnderstood::number("endpoint.health", endpoint.health));
        }
    };
    let address = socket_address("endpoint.address", &endpoint.address)?;
    let application_address = filled(endpoint.application_address)
        .map(|text| socket_address("endpoint.application_address", &text))
        .transpose()?;
    let all = |field: &'static str, texts: &[String]| {
        texts.iter().map(|text| socket_address(field, text)).collect::<Result<Vec<_>, _>>()
    };
    let further = FurtherAddresses::beside(
        (address, application_address),
        &all("endpoint.further_addresses", &endpoint.further_addresses)?,
        &all("endpoint.further_application_addresses", &endpoint.further_application_addresses)?,
    );
    Ok(Endpoint {
        address,
        application_address,
        further,
        tag: Tag::parse(&endpoint.tag)
            .map_err(|_| NotUnderstood::text("endpoint.tag", &endpoint.tag))?,
        weight: endpoint.weight,
        health,
        port: Port {
            protocol: protocol_from("endpoint.protocol", endpoint.protocol)?,
            is_further: endpoint.further_port,
        },
    })
}

fn socket_address(field: &'static str, text: &str) -> Result<SocketAddr, NotUnderstood> {
    text.parse().map_err(|_| NotUnderstood::text(field, text))
}

/// To the wire.
pub fn name_to(name: &str, answer: &NameAnswer) -> v1::NameAnswer {
    let (service, ambiguous) = match answer {
        NameAnswer::Service(id) => (Some(service_id_to(id)), Vec::new()),
        NameAnswer::Absent => (None, Vec::new()),
        NameAnswer::Ambiguous(sources) => (None, sources.clone()),
    };
    v1::NameAnswer { name: name.to_lowercase(), service, ambiguous }
}

/// From the wire: the name, and what it means.
pub fn name_from(answer: v1::NameAnswer) -> (String, NameAnswer) {
    let meaning = if let Some(id) = answer.service {
        NameAnswer::Service(service_id_from(id))
    } else if answer.ambiguous.is_empty() {
        NameAnswer::Absent
    } else {
        NameAnswer::Ambiguous(answer.ambiguous)
    };
    (answer.name, meaning)
}

/// To the wire.
pub fn address_to(address: SocketAddr, services: &[ServiceId]) -> v1::AddressAnswer {
    let services = services.iter().map(service_id_to).collect();
    v1::AddressAnswer { address: address.to_string(), services }
}

/// From the wire: the address, and the services there.
pub fn address_from(
    answer: v1::AddressAnswer,
) -> Result<(SocketAddr, Vec<ServiceId>), NotUnderstood> {
    let address = socket_address("address_answer.address", &answer.address)?;
    Ok((address, answer.services.into_iter().map(service_id_from).collect()))
}
