//! Listening sockets: one per thread and address, the kernel spreads connections over them.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

/// Connections the kernel holds until they are accepted: a burst of a second's new clients. The kernel caps it.
const BACKLOG: i32 = 4096;

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) sockets: Vec<TcpListener>,
    /// With the port the kernel chose, where 0 was asked for.
    pub(crate) address: SocketAddr,
}

/// Binds one socket per worker to `address`. Errors name it.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let first = bind_one(address)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_one(address)?);
    }
    Ok(Bound { sockets, address })
}

/// Binds one socket that shares its address with those of other threads.
pub(crate) fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    let bound = socket
        .set_reuse_address(true)
        .and_then(|()| socket.set_reuse_port(true))
        .and_then(|()| socket.bind(&address.into()))
        .and_then(|()| socket.listen(BACKLOG));
    match bound {
        Ok(()) => Ok(socket.into()),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
        }
    }
}

/// Drops every packet: the one instruction returns how many bytes of it are kept (`BPF_RET | BPF_K`).
const KEEP_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// The connections that the kernel has completed and nobody has accepted; then the socket is closed. None can be completed
/// between the last one and the closing, which would reset it: whoever connects meanwhile is not heard, tries again a
/// second later, and is refused or meets somebody else's socket.
pub(crate) fn last_ones(socket: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // Where it cannot be attached, what is left is the moment between two system calls.
    let _ = SockRef::from(&socket).attach_filter(&[KEEP_NOTHING]);
    std::iter::from_fn(move || {
        let (stream, peer) = socket.accept().ok()?;
        // One that was just being completed has inherited it.
        let _ = SockRef::from(&stream).detach_filter();
        stream.set_nonblocking(true).ok()?;
        Some((stream, peer))
    })
}

/// Deals the sockets of several addresses to the workers: each gets one of every address.
pub(crate) fn deal<T: Copy>(
    workers: usize,
    bound: impl IntoIterator<Item = (Vec<TcpListener>, SocketAddr, T)>,
) -> Vec<Vec<(TcpListener, SocketAddr, T)>> {
    let mut hands: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (sockets, address, what) in bound {
        for (hand, socket) in hands.iter_mut().zip(sockets) {
            hand.push((socket, address, what));
        }
    }
    hands
}
