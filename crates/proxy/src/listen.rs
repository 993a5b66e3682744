//! Listening sockets: one per thread and address, the kernel spreads connections over them.

use std::{
    fmt::Display,
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    inherited::{Bound, Inherited},
    limits::{ASKED_EVERY, ASKED_MAX, SILENT_BEFORE_ASKED, Timeouts, UNCONFIRMED_MIN, UNLIMITED},
    sockets,
};

/// Connections the kernel holds until they are accepted: a burst of a second's new clients. The kernel caps it.
const BACKLOG: i32 = 4096;

/// How addresses are come by.
#[derive(Debug)]
pub(crate) struct Binding<'a> {
    /// Threads; each gets a socket of its own.
    pub(crate) workers: usize,
    /// They are shared with another process.
    pub(crate) takeover: bool,
    /// What need not be bound.
    pub(crate) inherited: &'a Inherited,
    pub(crate) timeouts: &'a Timeouts,
}

impl Binding<'_> {
    /// The sockets of an address, at least one per worker: what is inherited, else bound anew. Errors name the address.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<Bound> {
        match self.taken(address)? {
            Some(bound) => Ok(bound),
            None => bind(address, self.workers, self.takeover, self.timeouts),
        }
    }

    /// The same port in IPv6, for what is captured there, beside listeners for IPv4.
    pub(crate) fn bind_beside(&self, ip: Ipv6Addr, beside: SocketAddr) -> io::Result<Bound> {
        match self.taken(SocketAddr::new(ip.into(), beside.port()))? {
            Some(bound) => Ok(bound),
            None => bind_beside(ip, beside, self.workers, self.timeouts),
        }
    }

    fn taken(&self, address: SocketAddr) -> io::Result<Option<Bound>> {
        let Some(bound) = self.inherited.take(address, self.workers)? else { return Ok(None) };
        for socket in &bound.sockets {
            notice_vanished(&SockRef::from(socket), self.timeouts.body)?;
        }
        Ok(Some(bound))
    }
}

/// Binds one socket per worker to `address`. Only who takes over shares it with another process: the kernel would deal
/// connections to both, and one of two sidecars at an address answers for the other's application.
fn bind(
    address: SocketAddr,
    workers: usize,
    takeover: bool,
    timeouts: &Timeouts,
) -> io::Result<Bound> {
    if !takeover {
        probe(address)?;
    }
    let first = bind_one(address, timeouts).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => taken(address, "it does not share it with one that takes over"),
        _ => error,
    })?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_one(address, timeouts)?);
    }
    Ok(Bound { sockets, address })
}

fn bind_beside(
    ip: Ipv6Addr,
    beside: SocketAddr,
    workers: usize,
    timeouts: &Timeouts,
) -> io::Result<Bound> {
    let address = SocketAddr::new(ip.into(), beside.port());
    let bind = |_| {
        let socket = socket(address)?;
        socket.set_only_v6(true)?;
        bind_socket(socket, address, timeouts)
    };
    let sockets = (0..workers).map(bind).collect::<io::Result<_>>()?;
    Ok(Bound { sockets, address })
}

/// Whether the address could be had alone: a socket that shares with nobody is bound to it, and closed.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    let bound = socket.bind(&address.into());
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => taken(address, "to take over from it, start with --takeover"),
        kind => cannot_listen(address, kind, error),
    })
}

/// Another process has an address: who, and what of it.
fn taken(address: SocketAddr, remedy: &str) -> io::Error {
    let who = sockets::listener_at(address);
    let who = who.as_deref().unwrap_or("another process has it");
    cannot_listen(address, io::ErrorKind::AddrInUse, format!("{who}; {remedy}"))
}

/// Binds one socket that shares its address with those of other threads.
pub(crate) fn bind_one(address: SocketAddr, timeouts: &Timeouts) -> io::Result<TcpListener> {
    bind_socket(socket(address)?, address, timeouts)
}

fn bind_socket(
    socket: Socket,
    address: SocketAddr,
    timeouts: &Timeouts,
) -> io::Result<TcpListener> {
    let bound = socket
        .set_reuse_port(true)
        .and_then(|()| notice_vanished(&SockRef::from(&socket), timeouts.body))
        .and_then(|()| socket.bind(&address.into()))
        .and_then(|()| socket.listen(BACKLOG));
    match bound {
        Ok(()) => Ok(socket.into()),
        Err(error) => Err(cannot_listen(address, error.kind(), error)),
    }
}

/// A socket to listen with; connections of a former process that linger are no obstacle.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn cannot_listen(address: SocketAddr, kind: io::ErrorKind, why: impl Display) -> io::Error {
    io::Error::new(kind, format!("cannot listen on {address}: {why}"))
}

/// Has the kernel notice that the other side has vanished without a word: a silent connection is asked after, and bytes
/// that nobody confirms, or takes, for longer than it may take here are given up. What is accepted inherits it from its
/// listener.
pub(crate) fn notice_vanished(socket: &SockRef<'_>, patience: Duration) -> io::Result<()> {
    let asked_after = TcpKeepalive::new()
        .with_time(SILENT_BEFORE_ASKED)
        .with_interval(ASKED_EVERY)
        .with_retries(ASKED_MAX);
    socket.set_tcp_keepalive(&asked_after)?;
    socket.set_tcp_user_timeout((patience < UNLIMITED).then_some(patience.max(UNCONFIRMED_MIN)))
}

/// Drops the packets that ask for a new connection: loads the flags of the TCP header (`BPF_LD | BPF_B | BPF_ABS`), asks
/// whether SYN is among them (`BPF_JMP | BPF_JSET`), and returns how many bytes are kept (`BPF_RET`).
const NO_NEW_CONNECTION: [SockFilter; 4] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x45, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Answers nobody who connects from now on: they try again a second later, and are refused or meet somebody else's socket.
/// Who has been answered already can complete the connection, and is to be accepted before the socket is closed, which
/// would reset it.
pub(crate) fn answer_nobody_new(socket: &SockRef<'_>) {
    // Where it cannot be attached, whoever connects in the last moment is reset.
    let _ = socket.attach_filter(&NO_NEW_CONNECTION);
}

/// The connections that the kernel has completed and nobody has accepted.
pub(crate) fn last_ones(socket: &impl AsFd) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(move || {
        let (stream, peer) = SockRef::from(socket).accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((stream.into(), peer.as_socket()?))
    })
}

/// Deals the sockets of several addresses to the workers: each gets at least one of every address.
pub(crate) fn deal<T: Copy>(
    workers: usize,
    bound: impl IntoIterator<Item = (Vec<TcpListener>, SocketAddr, T)>,
) -> Vec<Vec<(TcpListener, SocketAddr, T)>> {
    let mut hands: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (sockets, address, what) in bound {
        for (index, socket) in sockets.into_iter().enumerate() {
            hands[index % workers].push((socket, address, what));
        }
    }
    hands
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn bind_with(address: SocketAddr, workers: usize, takeover: bool) -> io::Result<Bound> {
        bind(address, workers, takeover, &Timeouts::default())
    }

    #[test]
    fn who_connects_to_one_that_leaves_is_not_answered_and_who_was_is_accepted() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut before = TcpStream::connect(address).unwrap();
        answer_nobody_new(&SockRef::from(&socket));
        // Long enough for an answer, and shorter than the time until it is asked again.
        let wait = Duration::from_millis(300);
        let unanswered = TcpStream::connect_timeout(&address, wait).unwrap_err();
        assert_eq!(unanswered.kind(), io::ErrorKind::TimedOut);
        socket.set_nonblocking(true).unwrap();
        let mut accepted: Vec<_> = last_ones(&socket).map(|(stream, _)| stream).collect();
        drop(socket);
        assert_eq!(accepted.len(), 1);
        before.write_all(b"hello").unwrap();
        accepted[0].set_nonblocking(false).unwrap();
        let mut heard = [0; 5];
        accepted[0].read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_is_shared_with_another_process_only_to_take_over() {
        let first = bind_with("127.0.0.1:0".parse().unwrap(), 2, false).unwrap();
        let refused = bind_with(first.address, 1, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let said = refused.to_string();
        let who = format!("this process itself listens on {}", first.address);
        assert!(said.contains(&who) && said.ends_with("start with --takeover"), "{said}");
        let alone = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = bind_with(alone.local_addr().unwrap(), 1, true).unwrap_err().to_string();
        assert!(
            said.contains(": this process itself listens on ") && said.contains("share"),
            "{said}"
        );
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), first.address.port());
        assert!(bind_with(everywhere, 1, false).is_err(), "it would share this one address");
        let second = bind_with(first.address, 2, true).unwrap();
        // What is left of it counts until it is closed.
        drop(first);
        assert!(bind_with(second.address, 1, false).is_err());
        let port = second.address;
        let _connected = TcpStream::connect(port).unwrap();
        drop(second);
        bind_with(port, 1, false).unwrap();
    }
}
