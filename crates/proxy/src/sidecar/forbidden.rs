//! Where a forward proxy must not lead: to Laneway's own doors, to what machines of a cloud are told about themselves, to
//! whatever else the operator names. An application that fetches what strangers ask for would lend them its place in the
//! network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{capture::Cidr, sockets::arrives_at};

/// Services of clouds that hand credentials to whoever is on the machine, and lie outside the link-local networks.
const METADATA: &[IpAddr] = &[
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle Cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS, also in its link-local form with another service.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023)),
    // Google Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
    // Scaleway.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042)),
];

/// What must not be reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forbidden {
    /// Laneway's own listeners, in this process and in others it knows of.
    doors: Vec<SocketAddr>,
    /// What the operator has named.
    networks: Vec<Cidr>,
}

impl Forbidden {
    pub(crate) fn new(doors: Vec<SocketAddr>, networks: Vec<Cidr>) -> Self {
        Self { doors, networks }
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        meanings(address.ip()).any(|ip| {
            is_local_link(ip)
                || METADATA.contains(&ip)
                || self.networks.iter().any(|network| network.contains(ip))
                || self
                    .doors
                    .iter()
                    .any(|door| arrives_at(SocketAddr::new(ip, address.port()), *door))
        })
    }
}

/// An address, and the IPv4 address within it where translators on the way would find one.
fn meanings(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let ip = ip.to_canonical();
    let within = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => within(ip),
    };
    std::iter::once(ip).chain(within.map(IpAddr::V4))
}

/// The IPv4 address that an IPv6 address stands for.
fn within(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let at = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // NAT64, well-known (RFC 6052) and of the site (RFC 8215); translated (SIIT).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low] => at(high, low),
        // Not `::` and `::1`, which are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => at(high, low),
        // 6to4.
        [0x2002, high, low, ..] => at(high, low),
        // Teredo, which turns all bits over.
        [0x2001, 0, _, _, _, _, high, low] => at(!high, !low),
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => at(high, low),
        _ => None,
    }
}

/// Nobody beyond this link has such an address, or it is nobody's.
fn is_local_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // All of 0.0.0.0/8 means this host to some kernels.
            ip.is_link_local() || ip.octets()[0] == 0 || ip.is_broadcast() || ip.is_multicast()
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_link_or_machine_has_is_forbidden_in_every_spelling() {
        let doors = vec!["127.0.0.1:15000".parse().unwrap(), "0.0.0.0:15001".parse().unwrap()];
        let networks = vec![
            "10.9.0.0/16".parse().unwrap(),
            "2001:db8:9::/48".parse().unwrap(),
            "192.0.2.77".parse().unwrap(),
        ];
        let forbidden = Forbidden::new(doors, networks);
        for address in [
            "169.254.169.254:80",
            "169.254.0.1:1",
            "[::ffff:169.254.169.254]:80",
            "[::169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[64:ff9b:1::a9fe:a9fe]:80",
            "[2002:a9fe:a9fe::1]:80",
            "[::ffff:0:a9fe:a9fe]:80",
            "[2001:0:1:2:3:4:5601:5601]:80",
            "[fe80::1]:80",
            "[2001:db8::200:5efe:a9fe:a9fe]:80",
            "100.100.100.200:80",
            "[64:ff9b::6464:64c8]:80",
            "168.63.129.16:80",
            "192.0.0.192:80",
            "[fd00:ec2::254]:80",
            "[fd20:ce::254]:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::]:80",
            "255.255.255.255:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "10.9.8.7:80",
            "192.0.2.77:1",
            "[2002:0a09:0807::]:80",
            "[2001:db8:9::1]:80",
            "127.0.0.1:15000",
            "[::ffff:127.0.0.1]:15000",
            "127.0.0.1:15001",
            "127.1.2.3:15001",
            "[::1]:15001",
        ] {
            assert!(forbidden.contains(address.parse().unwrap()), "{address}");
        }
        for address in [
            "169.253.1.1:80",
            "127.0.0.1:80",
            "127.0.0.2:15000",
            "192.0.2.1:15001",
            "[::1]:80",
            "[2001:db8::a9fe:a9fe]:80",
            "[64:ff9b::0102:0304]:80",
            "[fd00:ec2::253]:80",
            "10.8.0.1:80",
            "100.100.100.201:80",
        ] {
            assert!(!forbidden.contains(address.parse().unwrap()), "{address}");
        }
    }
}
