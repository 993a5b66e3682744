//! Whose process holds the other end of a connection within this machine. TCP has no credentials as a Unix socket has,
//! but the kernel's table of sockets names the user of each.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// Who the kernel says that a user is whom this process's user namespace does not know: it may be anybody.
const UNKNOWN_USER: u32 = 65_534;

/// How often the table is read: it is read in pieces while others come and go, and a socket can slip through.
const READINGS: usize = 3;

/// The user whose process holds the socket that is bound to `peer` and connected to `local`.
pub(super) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (peer, local) = (canonical(peer), canonical(local));
    (0..READINGS).find_map(|_| {
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].iter().find_map(|table| {
            let table = fs::read_to_string(table).ok()?;
            owner_in(&table, peer, local)
        })
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Looks a socket up in a table as `/proc/net/tcp` and `tcp6` are written.
fn owner_in(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let of_line = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let ends = (address(columns.next()?)?, address(columns.next()?)?);
        let state = columns.next()?;
        let mut columns = columns.skip(3);
        let user: u32 = columns.next()?.parse().ok()?;
        let inode: u64 = columns.nth(1)?.parse().ok()?;
        // A socket that its process has closed has no inode and is root's in this table, whoever had it; one that is
        // only about to connect is another than the one that is connected here.
        let held = inode != 0 && matches!(state, "01" | "04" | "05");
        (ends == (peer, local) && held && user != UNKNOWN_USER).then_some(user)
    };
    table.lines().find_map(of_line)
}

/// `0100007F:1DB0`: words of the address in the order of this machine's bytes, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = words.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let ip = match words.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
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
        let table = |state: &str, user: u32, inode: u32| {
            format!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                 0: 0100007F:1F90 0100007F:1DB0 {state} 00000000:00000000 00:00000000 00000000  {user}        0 {inode} 1 0 20 4 30 10 -1\n"
            )
        };
        let (peer, local) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:7600".parse().unwrap());
        assert_eq!(owner_in(&table("01", 1000, 7), peer, local), Some(1000));
        assert_eq!(owner_in(&table("01", 1000, 7), local, peer), None, "the other direction");
        assert_eq!(owner_in(&table("02", 1000, 7), peer, local), None, "only about to connect");
        assert_eq!(owner_in(&table("05", 0, 0), peer, local), None, "closed by its process");
        assert_eq!(owner_in(&table("01", UNKNOWN_USER, 7), peer, local), None, "nobody knows who");
        let six = "0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:1DB0 01 0:0 0:0 0 5 0 9";
        assert_eq!(owner_in(six, peer, local), Some(5));
    }
}
