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
    /// Its tag is no valid tag: unusable, never base.
    InvalidTag,
}

impl Health {
    /// Whether it may be chosen.
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Usable | Self::Silent)
    }
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
        let mut addresses: Vec<SocketAddr> = self.addresses().collect();
        if let Some(wanted) = wanted {
            addresses.sort_by_key(|it| it.is_ipv4() != wanted.is_ipv4());
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_in_one_place_pays_a_pointer_for_those_in_several() {
        assert_eq!(size_of::<Option<Box<FurtherAddresses>>>(), 8);
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
        };
        assert_eq!(endpoint.all_addresses().collect::<Vec<_>>(), [v4, v6, app, app6]);
        assert_eq!(endpoint.addresses_like(Some(app6)), [v6, v4]);
        assert_eq!(endpoint.addresses_like(Some(app)), [v4, v6]);
        assert_eq!(endpoint.addresses_like(None), [v4, v6]);
    }
}
