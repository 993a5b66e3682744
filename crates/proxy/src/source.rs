//! Where a proxy's own connections come from: its mark, and on loopback the address that tells doors of Laneway whom it
//! speaks for.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use lanes::directory::canonical;
use tokio::net::TcpSocket;

/// Where a proxy calls from on loopback, whatever it calls but its own application: a door may be registered as an
/// instance. Whoever uses the proxy is behind it, and not the proxy's user: nobody may be known by his user who comes
/// from here. Each address of the network has 28 000 ports for all that a host's proxies call on loopback.
const ON_BEHALF: [u8; 3] = [127, 200, 76];

/// Whether whoever comes from here speaks for others.
pub fn speaks_for_others(ip: Ipv4Addr) -> bool {
    ip.octets()[..3] == ON_BEHALF
}

/// What sockets are bound and marked by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// `SO_MARK` of connections, so that redirect rules leave them alone.
    pub(crate) mark: Option<u32>,
    /// Of a sidecar, its application's ports. To these it stays the machine itself.
    pub(crate) applications: Arc<[SocketAddr]>,
}

impl Source {
    /// A socket to connect to `address` with, and how it is to be asked for it.
    pub(crate) fn socket(&self, address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
        let (socket, to) = match canonical(address) {
            to @ SocketAddr::V4(_) => (TcpSocket::new_v4()?, to),
            SocketAddr::V6(_) => (TcpSocket::new_v6()?, address),
        };
        if let Some(mark) = self.mark {
            socket2::SockRef::from(&socket).set_mark(mark)?;
        }
        if is_loopback_v4(to.ip()) && !self.applications.contains(&to) {
            let [a, b, c] = ON_BEHALF;
            socket.bind((Ipv4Addr::new(a, b, c, rand::random_range(1..255)), 0).into())?;
        }
        Ok((socket, to))
    }
}

/// Of IPv6 there is one loopback address, and no other to come from: doors take nobody there for known.
fn is_loopback_v4(ip: IpAddr) -> bool {
    // The unspecified address leads to loopback.
    matches!(ip, IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn on_loopback_all_but_the_application_is_called_from_an_address_of_its_own() {
        let application = "127.0.0.1:8080".parse().unwrap();
        let source = Source { mark: None, applications: [application].into() };
        let from = |to: &str| {
            let (socket, to) = source.socket(to.parse().unwrap()).unwrap();
            let SocketAddr::V4(local) = socket.local_addr().unwrap() else {
                return (false, to.to_string());
            };
            (speaks_for_others(*local.ip()), to.to_string())
        };
        assert_eq!(from("127.0.0.1:7600"), (true, "127.0.0.1:7600".to_owned()));
        assert_eq!(from("[::ffff:127.0.0.1]:7600"), (true, "127.0.0.1:7600".to_owned()));
        assert_eq!(from("127.9.0.1:8080"), (true, "127.9.0.1:8080".to_owned()));
        for to in ["127.0.0.1:8080", "192.0.2.1:7600", "[::1]:7600"] {
            assert_eq!(from(to), (false, to.to_owned()));
        }
    }
}
