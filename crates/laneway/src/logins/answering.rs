//! Whose process answers at a server: the kernel names the user of each socket of this machine.
//!
//! Trusted are processes of the user that the login was made with, of root, and of this very user, who may read the token in
//! any case. It is looked at on the connection itself, before anything is said over it: who listens may be another a
//! moment later.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use api::client::{PeerCheck, Trust};
use lanes::directory::canonical;
use parking_lot::Mutex;
use proxy::sockets;

/// Who the kernel says that a user is whom this process's user namespace does not know: it may be anybody.
const UNKNOWN_USER: u32 = 65_534;

/// How often the table is read: it is read in pieces while others come and go, and a socket can slip through.
const READINGS: usize = 3;

/// Who has taken a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// A process of this user on this machine.
    User(u32),
    /// None of this machine, as far as can be seen from here.
    Elsewhere,
}

/// Who was seen to answer last.
pub(crate) type Seen = Arc<Mutex<Option<Answering>>>;

/// A check for a login that was made with a user's process, `Some(None)` with none of this machine; `None`: there was no
/// login, and whoever answers is only seen.
pub(crate) fn check(login: Option<Option<u32>>, seen: Seen) -> PeerCheck {
    let own = rustix::process::geteuid().as_raw();
    Arc::new(move |peer, local| {
        let Some(answering) = answering(peer, local) else { return Trust::Unknown };
        *seen.lock() = Some(answering);
        let why = login.and_then(|user| distrust(user, answering, peer.ip().to_canonical(), own));
        why.map_or(Trust::Trusted, Trust::Distrusted)
    })
}

/// Who has taken the connection from `local` to `peer`; `None`: nobody yet.
fn answering(peer: SocketAddr, local: SocketAddr) -> Option<Answering> {
    let ends = (canonical(peer), canonical(local));
    let its = |socket: &sockets::Socket| ((socket.local, socket.remote) == ends).then_some(*socket);
    match (0..READINGS).find_map(|_| sockets::find(its)) {
        None => Some(Answering::Elsewhere),
        // One that its process has not accepted yet, or has closed, has no inode and is root's in this table.
        Some(socket) if socket.inode == 0 => None,
        Some(socket) => Some(Answering::User(socket.user)),
    }
}

/// Why a login made with `login` is not shown to whoever answers.
fn distrust(login: Option<u32>, answering: Answering, peer: IpAddr, own: u32) -> Option<String> {
    let found = match answering {
        Answering::User(UNKNOWN_USER) => "a process of a user that cannot be told".to_owned(),
        Answering::User(user) if user == 0 || user == own || login == Some(user) => return None,
        Answering::User(user) => format!("a process of user {user}"),
        // Only from this machine does anybody listen at its loopback.
        Answering::Elsewhere if login.is_none() || !peer.is_loopback() => return None,
        Answering::Elsewhere => "no process of this machine".to_owned(),
    };
    let was = match login {
        Some(user) => format!("one of user {user}"),
        None => "none that is known of this machine".to_owned(),
    };
    Some(format!(
        "{found} answers there, and it was {was} when you signed in: where that is right, `laneway logout` and sign in again"
    ))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_login_is_shown_to_whom_it_was_made_with_to_root_and_to_oneself() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let remote = IpAddr::from([10, 0, 0, 1]);
        let is_told = |login, answering, peer| distrust(login, answering, peer, 1000).is_none();
        for user in [0, 1000, 998] {
            assert!(is_told(Some(998), Answering::User(user), loopback), "{user}");
        }
        for (login, answering, peer) in [
            (Some(998), Answering::User(1001), loopback),
            (None, Answering::User(1001), loopback),
            // What answers at an address of this machine may be moved to another one, and not the other way round.
            (None, Answering::User(1001), remote),
            (Some(998), Answering::Elsewhere, loopback),
            (Some(UNKNOWN_USER), Answering::User(UNKNOWN_USER), loopback),
        ] {
            assert!(!is_told(login, answering, peer), "{login:?} {answering:?} {peer}");
        }
        assert!(is_told(None, Answering::Elsewhere, loopback));
        assert!(is_told(Some(998), Answering::Elsewhere, remote));
    }

    #[test]
    fn whoever_has_taken_a_connection_is_known_and_not_before() {
        let own = rustix::process::geteuid().as_raw();
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(listen).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, local) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!(answering(peer, local), None, "{listen}: nobody has taken it");
            let taken = listener.accept().unwrap();
            assert_eq!(answering(peer, local), Some(Answering::User(own)), "{listen}");
            drop(taken);
        }
        let nowhere = "127.0.0.1:1".parse().unwrap();
        assert_eq!(answering(nowhere, nowhere), Some(Answering::Elsewhere));
    }
}
