//! One instance of a service, as callers know it.

use std::net::SocketAddr;

use crate::Tag;

/// How an instance stands, before local ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// May be chosen.
    Usable,
    /// Its source does not hear from it, and keeps it all the same: may be chosen, and is not waited for for long.
    Silent,
    /// Its source says it is not healthy.
    Unhealthy,
    /// Deregistered or terminating: takes no new requests.
    Draining,
    /// Its tag is not valid, or not known yet: unusable, never base.
    InvalidTag,
}

impl Health {
    /// Whether it may be chosen.
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Usable | Self::Silent)
    }
}

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP: each request is read.
    #[default]
    Http,
    /// Anything: connections pass unread.
    Tcp,
}

impl Protocol {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }

    /// As people write it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Tcp].into_iter().find(|it| it.as_str() == text)
    }
}

/// At which of an application's ports a service is, and what is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Port {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Beside the first one, which is meant where nothing says which.
    pub is_further: bool,
}

/// One instance as callers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where connections go: for a registered sidecar its advertised address. Of several the first, which the instance
    /// is known by.
    pub address: SocketAddr,
    /// Where the application itself listens, where that differs (for original destinations).
    pub application_address: Option<SocketAddr>,
    /// Where else it is. Behind a pointer: nearly every instance is in one place, and directories hold many.
    pub further: Option<Box<FurtherAddresses>>,
    /// `None` is the base.
    pub tag: Option<Tag>,
    /// Share of requests among its peers; 0 takes none unless all are 0.
    pub weight: u32,
    /// Whether it may be chosen.
    pub health: Health,
    /// Which of its ports is the service's.
    pub port: Port,
}

/// Where an instance is beside the first address of each kind, e.g. in the other family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FurtherAddresses {
    /// Where connections may go as well.
    pub addresses: Vec<SocketAddr>,
    /// Where the application itself listens as well.
    pub application_addresses: Vec<SocketAddr>,
}

impl FurtherAddresses {
    /// As an endpoint holds them: what an instance is known by already is left out.
    pub fn beside(
        (address, application_address): (SocketAddr, Option<SocketAddr>),
        addresses: &[SocketAddr],
        application_addresses: &[SocketAddr],
    ) -> Option<Box<Self>> {
        let mut further = Self::default();
        for it in addresses {
            if *it != address && !further.addresses.contains(it) {
                further.addresses.push(*it);
            }
        }
        for it in application_addresses {
            let is_known = *it == address
                || Some(*it) == application_address
                || further.addresses.contains(it)
                || further.application_addresses.contains(it);
            if !is_known {
                further.application_addresses.push(*it);
            }
        }
        (further != Self::default()).then(|| Box::new(further))
    }
}

impl Endpoint {
    /// Where connections may go, the first first.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let further = self.further.as_deref().into_iter().flat_map(|it| &it.addresses);
        std::iter::once(self.address).chain(further.copied())
    }

    /// Whatever means this instance: where connections go, and where the application itself listens. The first first.
    pub fn all_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let further =
            self.further.as_deref().into_iter().flat_map(|it| &it.application_addresses).copied();
        self.addresses().chain(self.application_address).chain(further)
    }

    /// Where to connect for a call that named `wanted`: in its family first, for that is what the caller can reach.
    pub fn addresses_like(&self, wanted: Option<SocketAddr>) -> Vec<SocketAddr> {
        family_first(self.addresses().collect(), wanted)
    }

    /// Where its application itself listens, the first first: where connections go, unless it says something else.
    pub fn application_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let known = self.application_address.is_none().then(|| self.addresses());
        let further = self.further.as_deref().into_iter().flat_map(|it| &it.application_addresses);
        known.into_iter().flatten().chain(self.application_address).chain(further.copied())
    }

    /// Where its application is reached past its sidecar, likewise. A loopback address means another to others than those
    /// on its host.
    pub fn application_addresses_like(&self, wanted: Option<SocketAddr>) -> Vec<SocketAddr> {
        let is_on_this_host = self.address.ip().is_loopback();
        let all = self.application_addresses();
        let reached = all.filter(|it| is_on_this_host || !it.ip().is_loopback());
        family_first(reached.collect(), wanted)
    }
}

fn family_first(mut addresses: Vec<SocketAddr>, wanted: Option<SocketAddr>) -> Vec<SocketAddr> {
    if let Some(wanted) = wanted {
        addresses.sort_by_key(|it| it.is_ipv4() != wanted.is_ipv4());
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_in_one_place_pays_a_pointer_for_those_in_several() {
        assert_eq!(size_of::<Option<Box<FurtherAddresses>>>(), 8);
        // Which port it is at fits in beside its health.
        assert_eq!(size_of::<Endpoint>(), 96);
    }

    #[test]
    fn what_is_known_already_is_no_further_address() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [v4, v6, app, app6] =
            ["10.0.0.1:15006", "[fd::1]:15006", "10.0.0.1:80", "[fd::1]:80"].map(at);
        assert_eq!(FurtherAddresses::beside((v4, Some(app)), &[v4], &[app, v4]), None);
        let further =
            FurtherAddresses::beside((v4, Some(app)), &[v4, v6, v6], &[app, app6, v6, app6]);
        let expected = FurtherAddresses { addresses: vec![v6], application_addresses: vec![app6] };
        assert_eq!(further.as_deref(), Some(&expected));
        let endpoint = Endpoint {
            address: v4,
            application_address: Some(app),
            further,
            tag: None,
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        };
        assert_eq!(endpoint.all_addresses().collect::<Vec<_>>(), [v4, v6, app, app6]);
        assert_eq!(endpoint.addresses_like(Some(app6)), [v6, v4]);
        assert_eq!(endpoint.addresses_like(Some(app)), [v4, v6]);
        assert_eq!(endpoint.addresses_like(None), [v4, v6]);
        assert_eq!(endpoint.application_addresses_like(Some(v6)), [app6, app]);
        let beside = Endpoint { application_address: Some(at("127.0.0.1:80")), ..endpoint.clone() };
        assert_eq!(beside.application_addresses_like(Some(v4)), [app6], "whose loopback?");
        let here = Endpoint { address: at("127.0.0.1:15006"), ..beside.clone() };
        assert_eq!(here.application_addresses_like(None), [at("127.0.0.1:80"), app6]);
        let alone = Endpoint { application_address: None, further: None, ..endpoint };
        assert_eq!(alone.application_addresses_like(None), [v4]);
    }
}
