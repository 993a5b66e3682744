//! Where a redirected connection was going before the redirect (SO_ORIGINAL_DST).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use lanes::directory::canonical;
use rustix::{io::Errno, net::sockopt};

/// The address that the caller connected to, or `None` when the connection came straight to us: nobody redirected
/// it, or there is no connection tracking here at all.
///
/// `local` is the socket's own address (`getsockname`), which the redirect has made ours.
pub fn original_destination(
    socket: impl AsFd,
    local: SocketAddr,
) -> io::Result<Option<SocketAddr>> {
    let local = canonical(local);
    // An IPv4 connection on a dual-stack socket is tracked as IPv4.
    let asked = match local.ip() {
        IpAddr::V4(_) => sockopt::ip_original_dst(socket).map(SocketAddr::V4),
        // Without flow label and scope.
        IpAddr::V6(_) => sockopt::ipv6_original_dst(socket).map(|it| canonical(it.into())),
    };
    match asked {
        Ok(original) => Ok((original != local).then_some(original)),
        Err(error) if is_untracked(error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What kernels answer for a connection they do not track, or without the module that tracks.
fn is_untracked(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOPROTOOPT | Errno::OPNOTSUPP | Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[track_caller]
    fn check_straight(listen: &str, connect: &str) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _caller = TcpStream::connect((connect, port)).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let local = socket.local_addr().unwrap();
        assert_eq!(original_destination(&socket, local).unwrap(), None, "{listen} from {connect}");
    }

    #[test]
    fn a_connection_that_came_straight_has_none() {
        check_straight("127.0.0.1:0", "127.0.0.1");
        if TcpListener::bind("[::1]:0").is_ok() {
            check_straight("[::1]:0", "::1");
            check_straight("[::]:0", "127.0.0.1");
        } else {
            writeln!(std::io::stderr(), "SKIPPED: the IPv6 half needs a host with IPv6").unwrap();
        }
    }
}
