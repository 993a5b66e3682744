//! Where the instance beside a sidecar is: what was written, and what a capture adds to it.

use std::net::{IpAddr, SocketAddr};

use crate::config;

/// All addresses of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Where callers connect; the first is the one that the instance is known by.
    pub(super) advertised: Vec<SocketAddr>,
    /// Where its application listens, port by port.
    pub(super) ports: Vec<Vec<SocketAddr>>,
}

impl Addresses {
    /// As they were written.
    pub(super) fn written(settings: &config::Sidecar, inbound: SocketAddr) -> Self {
        let advertised = match &*settings.advertise {
            [] => vec![inbound],
            advertised => advertised.to_vec(),
        };
        let ports = settings.ports.iter().map(|port| port.addresses.clone()).collect();
        Self { advertised, ports }
    }

    /// Connections of both families to the application's ports are redirected to `inbound`: whatever address the host has
    /// there is the instance's, too. Told are those of the other family at the same interface, where that was not written;
    /// another address of the same family may wander from host to host. The application is found at no host that its
    /// instance is not called at: an address there is nobody's word but this capture's.
    pub(super) fn captured(
        mut self,
        inbound: SocketAddr,
        siblings: impl Fn(IpAddr) -> Vec<IpAddr>,
    ) -> Self {
        let first = self.advertised[0].ip();
        // Beside a listener at one IPv4 address there is one at all of IPv6, but not the other way round.
        let listens = inbound.ip().is_unspecified() || inbound.is_ipv4() && first.is_ipv4();
        // Another port is a translator's, who has addresses of his own.
        if listens && is_one_family(&self.advertised) && self.advertised[0].port() == inbound.port()
        {
            let found = siblings(first).into_iter().map(|ip| SocketAddr::new(ip, inbound.port()));
            self.advertised.extend(found);
        }
        let is_called_at = |ip: IpAddr| self.advertised.iter().any(|it| it.ip() == ip);
        // An application on loopback answers callers at the addresses of its host, or nowhere.
        let of_host = |ip: IpAddr| if ip.is_loopback() { first } else { ip };
        for addresses in self.ports.iter_mut().filter(|addresses| is_one_family(addresses)) {
            for written in addresses.clone() {
                let ip = of_host(written.ip());
                for ip in std::iter::once(ip).chain(siblings(ip)) {
                    let found = SocketAddr::new(ip, written.port());
                    if !ip.is_loopback() && is_called_at(ip) && !addresses.contains(&found) {
                        addresses.push(found);
                    }
                }
            }
        }
        self
    }
}

fn is_one_family(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|it| it.is_ipv4() == addresses[0].is_ipv4())
}

/// As they are told.
pub(super) fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &str) -> Vec<SocketAddr> {
        texts.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    /// On a host whose one interface has 10.0.0.5 and fd00::5.
    #[track_caller]
    fn check(advertised: &str, applications: &str, inbound: &str, expected: [&str; 2]) {
        let further = vec!["127.0.0.1:9090".parse().unwrap()];
        let written =
            Addresses { advertised: all(advertised), ports: vec![all(applications), further] };
        let own: [IpAddr; 2] = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let siblings = |ip: IpAddr| match own.contains(&ip) {
            true => own.into_iter().filter(|it| it.is_ipv4() != ip.is_ipv4()).collect(),
            false => Vec::new(),
        };
        let found = written.captured(inbound.parse().unwrap(), siblings);
        let [first, further] = <[_; 2]>::try_from(found.ports).unwrap();
        // Each port by itself: what is on loopback is called at the addresses of its host.
        let host = found.advertised[0].ip();
        assert!(further.contains(&SocketAddr::new(host, 9090)), "{further:?}");
        assert_eq!([found.advertised, first], expected.map(all), "{advertised}");
    }

    #[test]
    fn what_is_captured_is_the_instances_in_both_families() {
        let both = "10.0.0.5:15006 [fd00::5]:15006";
        check("10.0.0.5:15006", "10.0.0.5:80", "0.0.0.0:15006", [both, "10.0.0.5:80 [fd00::5]:80"]);
        check(
            "[fd00::5]:15006",
            "[fd00::5]:80",
            "[::]:15006",
            ["[fd00::5]:15006 10.0.0.5:15006", "[fd00::5]:80 10.0.0.5:80"],
        );
        check(
            "10.0.0.5:15006",
            "127.0.0.1:80",
            "0.0.0.0:15006",
            [both, "127.0.0.1:80 10.0.0.5:80 [fd00::5]:80"],
        );
        check(
            "10.0.0.5:15006",
            "127.0.0.1:80 10.0.0.5:80",
            "10.0.0.5:15006",
            [both, "127.0.0.1:80 10.0.0.5:80 [fd00::5]:80"],
        );
    }

    #[test]
    fn what_was_written_of_both_families_stays_as_it_is() {
        let both = "10.0.0.5:15006 [fd00::9]:15006";
        let applications = "10.0.0.5:80 [fd00::9]:80";
        check(both, applications, "0.0.0.0:15006", [both, applications]);
    }

    #[test]
    fn nothing_is_told_of_what_is_not_this_hosts_or_not_listened_at() {
        // Behind a translator, which a second word may say more of; and the listener is at one address of the other family.
        let v4 = "10.0.0.5:80";
        for advertised in ["192.0.2.1:30006", "192.0.2.1:30006 10.0.0.5:15006", "10.0.0.5:30006"] {
            check(advertised, v4, "0.0.0.0:15006", [advertised, v4]);
        }
        let listens = "[fd00::5]:15006";
        check(listens, "[fd00::5]:80", listens, [listens, "[fd00::5]:80"]);
        check(listens, v4, listens, [listens, "10.0.0.5:80 [fd00::5]:80"]);
        check(listens, "127.0.0.1:80", listens, [listens, "127.0.0.1:80 [fd00::5]:80"]);
        check(
            "10.0.0.5:30006",
            "127.0.0.1:80",
            "0.0.0.0:15006",
            ["10.0.0.5:30006", "127.0.0.1:80 10.0.0.5:80"],
        );
    }
}
