//! Certificates, and who names them.

use std::fmt;

use lanes::ServiceId;
use routes::tls::{
    Authorities, Certificate, ClientsTls, ListenerTls, PrivateKey, TlsMode, TlsVersion, UpstreamTls,
};

use super::{NotUnderstood, service_id_from, service_id_to};
use crate::discovery::v1;

/// What a release that knows no TLS to instances says of a backend that needs it.
pub(super) const NOT_KNOWN: &str =
    "its instances speak TLS, which this release of the gateway does not: update it";

/// To the wire, by `namespace/name`.
pub fn certificate_to(name: &str, certificate: &Certificate) -> v1::Certificate {
    v1::Certificate {
        name: name.to_owned(),
        chain: certificate.chain.clone(),
        private_key: certificate.key.as_ref().map(|key| key.der().to_vec()).unwrap_or_default(),
        authorities: certificate.authorities.clone(),
    }
}

/// From the wire: `namespace/name`, and what it is.
pub fn certificate_from(wire: v1::Certificate) -> (String, Certificate) {
    let v1::Certificate { name, chain, private_key, authorities } = wire;
    let key = (!private_key.is_empty()).then(|| PrivateKey::new(private_key));
    (name, Certificate { chain, key, authorities })
}

pub(super) fn listener_to(
    place: usize,
    listener: v1::Listener,
    tls: &ListenerTls,
) -> v1::TlsListener {
    let clients = tls.clients.as_ref().map(|clients| v1::ClientsTls {
        authorities: clients.authorities.clone(),
        insecure_fallback: clients.insecure_fallback,
    });
    let minimum = match tls.minimum {
        TlsVersion::V1_2 => v1::TlsVersion::Unspecified,
        TlsVersion::V1_3 => v1::TlsVersion::TlsVersion13,
    };
    v1::TlsListener {
        place: u32::try_from(place).unwrap_or(u32::MAX),
        listener: Some(listener),
        certificates: tls.certificates.clone(),
        clients,
        minimum: minimum.into(),
    }
}

pub(super) fn listener_from(
    wire: v1::TlsListener,
) -> Result<(usize, v1::Listener, TlsMode), NotUnderstood> {
    let minimum = match v1::TlsVersion::try_from(wire.minimum) {
        Ok(v1::TlsVersion::Unspecified) => TlsVersion::V1_2,
        Ok(v1::TlsVersion::TlsVersion13) => TlsVersion::V1_3,
        Err(_) => return Err(NotUnderstood::number("tls_listener.minimum", wire.minimum)),
    };
    let clients = wire.clients.map(|clients| ClientsTls {
        authorities: clients.authorities,
        insecure_fallback: clients.insecure_fallback,
    });
    let listener = wire.listener.ok_or(NotUnderstood::nothing("tls_listener.listener"))?;
    let place = usize::try_from(wire.place).unwrap_or(usize::MAX);
    let tls = ListenerTls { certificates: wire.certificates, clients, minimum };
    Ok((place, listener, tls.into()))
}

pub(super) fn passing_to(place: usize, listener: v1::Listener) -> v1::PassingListener {
    v1::PassingListener {
        place: u32::try_from(place).unwrap_or(u32::MAX),
        listener: Some(listener),
    }
}

pub(super) fn passing_from(
    wire: v1::PassingListener,
) -> Result<(usize, v1::Listener, TlsMode), NotUnderstood> {
    let listener = wire.listener.ok_or(NotUnderstood::nothing("passing_listener.listener"))?;
    Ok((usize::try_from(wire.place).unwrap_or(usize::MAX), listener, TlsMode::Passthrough))
}

pub(super) fn upstream_to(service: &ServiceId, tls: &UpstreamTls) -> v1::UpstreamTls {
    let (system, authorities) = match &tls.authorities {
        Authorities::System => (true, Vec::new()),
        Authorities::Certificates(names) => (false, names.clone()),
    };
    v1::UpstreamTls {
        service: Some(service_id_to(service)),
        hostname: tls.hostname.clone(),
        system,
        authorities,
        names: tls.names.clone(),
    }
}

pub(super) fn upstream_from(
    wire: v1::UpstreamTls,
) -> Result<(ServiceId, UpstreamTls), NotUnderstood> {
    let v1::UpstreamTls { service, hostname, system, authorities, names } = wire;
    let service = service.ok_or(NotUnderstood::nothing("upstream_tls.service"))?;
    let authorities = match system {
        true => Authorities::System,
        false => Authorities::Certificates(authorities),
    };
    Ok((service_id_from(service), UpstreamTls { hostname, authorities, names }))
}

/// What it is, without the key: messages are shown where something is wrong with them.
impl fmt::Debug for v1::Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).finish_non_exhaustive()
    }
}
