//! What a sidecar says of its application, and what of that cannot be.

use std::{collections::BTreeMap, net::SocketAddr};

use lanes::{Problem, service::Protocol};

use super::why_unreachable;
use crate::application_of;

/// Further addresses of one instance, of each kind: both families of a few networks, and a bound for the table of all.
pub(super) const FURTHER_ADDRESSES_MAX: usize = 15;

/// Ports of one application beside the first: HTTP, gRPC, Dubbo, management, and then some.
pub(super) const FURTHER_PORTS_MAX: usize = 15;

/// Bytes of one instance's metadata, keys and values: the limit Nacos has for an instance's metadata, and then some.
pub(super) const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a node's, service's, namespace's or application's name: as a DNS name.
const NAME_BYTES_MAX: usize = 253;

/// Largest weight: that of a Gateway API backend.
pub(super) const WEIGHT_MAX: u32 = 1_000_000;

/// What a sidecar says of its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Who registers; one instance per node.
    pub node: String,
    /// The service callers name.
    pub service: String,
    /// Its namespace; empty is `default`.
    pub namespace: String,
    /// The application as announced; empty: its metadata's, else the service's name.
    pub application: String,
    /// Where callers connect: the sidecar's advertised address.
    pub address: SocketAddr,
    /// Where the application itself listens.
    pub application_address: Option<SocketAddr>,
    /// Where callers may connect as well, e.g. in the other family.
    pub further_addresses: Vec<SocketAddr>,
    /// Where the application itself listens as well.
    pub further_application_addresses: Vec<SocketAddr>,
    /// What it speaks there.
    pub protocol: Protocol,
    /// Its other ports.
    pub further_ports: Vec<FurtherPort>,
    /// The tag as announced, unchecked; empty is base.
    pub tag: String,
    /// Share of requests among its peers.
    pub weight: u32,
    /// What else it says of itself.
    pub metadata: BTreeMap<String, String>,
    /// What the probe of the application says.
    pub healthy: bool,
}

/// A port of an application beside the first: another service of the same instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherPort {
    /// The service callers name.
    pub service: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where the application listens for it; at least one.
    pub application_addresses: Vec<SocketAddr>,
}

impl Instance {
    /// The services it is of, the first port's first.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        let further = self.further_ports.iter().map(|port| port.service.as_str());
        std::iter::once(self.service.as_str()).chain(further)
    }

    /// Where callers connect, the first first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.address).chain(self.further_addresses.iter().copied())
    }

    /// The application it is of.
    pub(super) fn application(&self) -> &str {
        let metadata = |key: &str| self.metadata.get(key).map(String::as_str);
        application_of(metadata, &self.application, &self.service)
    }

    /// What cannot be registered is refused.
    pub(super) fn check(&self) -> Result<(), Problem> {
        for (field, name) in
            [("node", &self.node), ("service", &self.service), ("namespace", &self.namespace)]
        {
            check_name(field, name)?;
        }
        check_ports(self)?;
        if self.application.len() > NAME_BYTES_MAX {
            let remedy = format!("use at most {NAME_BYTES_MAX} bytes");
            return Err(Problem::new("application", &self.application, remedy));
        }
        check_addresses(self)?;
        if self.weight > WEIGHT_MAX {
            return Err(Problem::new(
                "weight",
                self.weight.to_string(),
                format!("use 0 to {WEIGHT_MAX}"),
            ));
        }
        let metadata: usize =
            self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if metadata > METADATA_BYTES_MAX {
            let remedy = format!("use at most {METADATA_BYTES_MAX} bytes");
            return Err(Problem::new("metadata", format!("{metadata} bytes"), remedy));
        }
        Ok(())
    }
}

fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        let remedy = format!("use 1 to {NAME_BYTES_MAX} visible ASCII characters without `/`");
        return Err(Problem::new(field, name, remedy));
    }
    Ok(())
}

fn check_ports(instance: &Instance) -> Result<(), Problem> {
    let ports = &instance.further_ports;
    if ports.len() > FURTHER_PORTS_MAX {
        let remedy = format!("use at most {FURTHER_PORTS_MAX}");
        return Err(Problem::new("further_ports", format!("{} ports", ports.len()), remedy));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("further_ports[{index}]");
        check_name("service", &port.service).map_err(|problem| problem.under(&at))?;
        let mut before = instance.services().take(index + 1);
        if before.any(|name| name.eq_ignore_ascii_case(&port.service)) {
            const REMEDY: &str =
                "name each port's service once: its callers could not say which they mean";
            return Err(Problem::new("service", &port.service, REMEDY).under(&at));
        }
        if port.application_addresses.is_empty() {
            const REMEDY: &str = "say where the application listens for it";
            return Err(Problem::new("application_addresses", "", REMEDY).under(&at));
        }
        check_reachable("application_addresses", &port.application_addresses)
            .map_err(|problem| problem.under(&at))?;
    }
    Ok(())
}

fn check_addresses(instance: &Instance) -> Result<(), Problem> {
    let application_address: Vec<_> = instance.application_address.into_iter().collect();
    for (field, addresses) in [
        ("address", &[instance.address][..]),
        ("application_address", &application_address),
        ("further_addresses", &instance.further_addresses),
        ("further_application_addresses", &instance.further_application_addresses),
    ] {
        check_reachable(field, addresses)?;
    }
    Ok(())
}

fn check_reachable(field: &str, addresses: &[SocketAddr]) -> Result<(), Problem> {
    for address in addresses {
        if let Some(why) = why_unreachable(*address) {
            return Err(Problem::new(field, address.to_string(), why));
        }
    }
    if addresses.len() > FURTHER_ADDRESSES_MAX {
        let remedy = format!("use at most {FURTHER_ADDRESSES_MAX}");
        return Err(Problem::new(field, format!("{} addresses", addresses.len()), remedy));
    }
    Ok(())
}
