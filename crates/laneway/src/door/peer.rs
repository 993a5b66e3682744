//! Whose process holds the other end of a connection within this machine. TCP has no credentials as a Unix socket has,
//! but the kernel's table of sockets names the user of each.

use std::net::SocketAddr;

use lanes::directory::canonical;
use proxy::sockets::{self, Socket};

/// Who the kernel says that a user is whom this process's user namespace does not know: it may be anybody.
const UNKNOWN_USER: u32 = 65_534;

/// How often the table is read: it is read in pieces while others come and go, and a socket can slip through.
const READINGS: usize = 3;

/// States in which the other end holds its connection: established, and half-closed.
const HELD: [u8; 3] = [0x01, 0x04, 0x05];

/// The user whose process holds the socket that is bound to `peer` and connected to `local`.
pub(super) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let ends = (canonical(peer), canonical(local));
    (0..READINGS).find_map(|_| sockets::find(|socket| owner_of(socket, ends)))
}

fn owner_of(socket: &Socket, ends: (SocketAddr, SocketAddr)) -> Option<u32> {
    // A socket that its process has closed has no inode and is root's in this table, whoever had it; one that is
    // only about to connect is another than the one that is connected here.
    let held = socket.inode != 0 && HELD.contains(&socket.state);
    let is_this = (socket.local, socket.remote) == ends;
    (is_this && held && socket.user != UNKNOWN_USER).then_some(socket.user)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_other_end_of_a_connection_of_ours_is_ours() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(listen).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            let user = rustix::process::geteuid().as_raw();
            assert_eq!(owner(peer, local), Some(user), "{listen}");
            // Half-closed, it is still there; closed, it is nobody's, and not root's.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(owner(peer, local), Some(user), "{listen}");
            drop(client);
            assert_eq!(owner(peer, local), None, "{listen}");
        }
    }

    #[test]
    fn only_the_very_socket_counts() {
        let (peer, local) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:7600".parse().unwrap());
        let held = Socket { local: peer, remote: local, state: 0x01, user: 1000, inode: 7 };
        assert_eq!(owner_of(&held, (peer, local)), Some(1000));
        assert_eq!(owner_of(&held, (local, peer)), None, "the other direction");
        let about_to_connect = Socket { state: 0x02, ..held };
        assert_eq!(owner_of(&about_to_connect, (peer, local)), None);
        let closed = Socket { state: 0x05, user: 0, inode: 0, ..held };
        assert_eq!(owner_of(&closed, (peer, local)), None);
        let unknown = Socket { user: UNKNOWN_USER, ..held };
        assert_eq!(owner_of(&unknown, (peer, local)), None);
    }
}
