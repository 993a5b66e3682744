//! Listening sockets that this process did not bind itself: it has them of the one before it, whose place it takes, or of
//! a supervisor that keeps them.
//!
//! They are the same sockets, so that whoever has connected and was not accepted yet is accepted here, and nobody who
//! connects meanwhile is refused. What a supervisor keeps outlives this process: who is not accepted when it leaves waits
//! for the next one.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
};

use parking_lot::Mutex;

/// A listening socket on its way from one process to the next.
#[derive(Debug)]
pub struct ListeningSocket {
    /// The address that the settings name; its port may be 0.
    pub asked: SocketAddr,
    /// The socket.
    pub socket: OwnedFd,
    /// A supervisor has it, too, and gives it to whoever comes next.
    pub is_kept: bool,
}

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) sockets: Vec<TcpListener>,
    /// With the port the kernel chose, where 0 was asked for.
    pub(crate) address: SocketAddr,
}

/// What there is, until it is taken.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    all: Arc<Mutex<Vec<Sockets>>>,
    /// Where a supervisor keeps the sockets, whether somebody has taken them or not.
    kept: Arc<[SocketAddr]>,
}

/// The sockets of one address of the settings.
#[derive(Debug)]
struct Sockets {
    asked: SocketAddr,
    bound: Bound,
}

impl Inherited {
    /// Of these sockets.
    ///
    /// # Errors
    /// When one of them is no socket that listens.
    pub fn new(sockets: impl IntoIterator<Item = ListeningSocket>) -> io::Result<Self> {
        let mut all: Vec<Sockets> = Vec::new();
        let mut kept = Vec::new();
        for ListeningSocket { asked, socket, is_kept } in sockets {
            let socket = TcpListener::from(socket);
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            if is_kept && !kept.contains(&address) {
                kept.push(address);
            }
            match all.iter_mut().find(|known| known.bound.address == address) {
                Some(known) => known.bound.sockets.push(socket),
                None => {
                    all.push(Sockets { asked, bound: Bound { sockets: vec![socket], address } })
                }
            }
        }
        Ok(Self { all: Arc::new(Mutex::new(all)), kept: kept.into() })
    }

    /// Whether there is anything: then another process accepts on it, and this one does not before it is told
    /// ([`crate::Running::accept`]).
    pub(crate) fn is_empty(&self) -> bool {
        self.all.lock().is_empty()
    }

    /// Whether a supervisor keeps the sockets of an address.
    pub(crate) fn keeps(&self, address: SocketAddr) -> bool {
        self.kept.contains(&address)
    }

    /// The sockets of an address of the settings, at least one for each worker: where there were fewer, some have the same.
    pub(crate) fn take(&self, asked: SocketAddr, workers: usize) -> io::Result<Option<Bound>> {
        let mut all = self.all.lock();
        let Some(at) = all.iter().position(|known| known.asked == asked) else { return Ok(None) };
        let Sockets { mut bound, .. } = all.remove(at);
        for again in 0..workers.saturating_sub(bound.sockets.len()) {
            bound.sockets.push(bound.sockets[again].try_clone()?);
        }
        Ok(Some(bound))
    }

    /// One thread's share of the sockets of an address; none where there are none. Each belongs to some thread.
    pub(crate) fn share(
        &self,
        address: SocketAddr,
        thread: usize,
        threads: usize,
    ) -> io::Result<Vec<TcpListener>> {
        let all = self.all.lock();
        let Some(known) = all.iter().map(|known| &known.bound).find(|it| it.address == address)
        else {
            return Ok(Vec::new());
        };
        let own = known.sockets.iter().skip(thread).step_by(threads);
        let mut own: Vec<_> = own.map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        if own.is_empty() {
            own.push(known.sockets[thread % known.sockets.len()].try_clone()?);
        }
        Ok(own)
    }

    /// Copies of what is there still.
    pub(crate) fn rest(&self) -> io::Result<Vec<ListeningSocket>> {
        let all = self.all.lock();
        let sockets = all.iter().flat_map(|known| {
            let is_kept = self.keeps(known.bound.address);
            known.bound.sockets.iter().map(move |socket| {
                let socket = socket.try_clone()?.into();
                Ok(ListeningSocket { asked: known.asked, socket, is_kept })
            })
        });
        sockets.collect()
    }

    /// Lets go of what nobody has taken, and says where that was: whoever connects there would wait for nobody. What a
    /// supervisor keeps stays: it could not be bound anew when it is asked for.
    pub(crate) fn close_rest(&self) -> Vec<SocketAddr> {
        let mut all = self.all.lock();
        let (stay, go) =
            std::mem::take(&mut *all).into_iter().partition(|it| self.keeps(it.bound.address));
        *all = stay;
        let go: Vec<Sockets> = go;
        go.into_iter().map(|known| known.bound.address).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn sockets(count: usize, is_kept: bool) -> (SocketAddr, Inherited) {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let clones = (0..count).map(|_| ListeningSocket {
            asked: "127.0.0.1:0".parse().unwrap(),
            socket: first.try_clone().unwrap().into(),
            is_kept,
        });
        (address, Inherited::new(clones).unwrap())
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        for (count, workers, dealt) in [(1, 3, 3), (3, 3, 3), (5, 2, 5)] {
            let (address, inherited) = sockets(count, false);
            let bound = inherited.take("127.0.0.1:0".parse().unwrap(), workers).unwrap().unwrap();
            assert_eq!((bound.sockets.len(), bound.address), (dealt, address));
            assert!(inherited.take("127.0.0.1:0".parse().unwrap(), workers).unwrap().is_none());
            let (address, inherited) = sockets(count, false);
            let shares =
                (0..workers).map(|it| inherited.share(address, it, workers).unwrap().len());
            let shares: Vec<_> = shares.collect();
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
            assert_eq!(shares.iter().sum::<usize>(), dealt, "{shares:?}");
        }
    }

    #[test]
    fn who_connected_before_is_accepted_after_and_nobody_waits_where_nobody_listens() {
        let (address, inherited) = sockets(1, false);
        let _early = TcpStream::connect(address).unwrap();
        let [socket] = &inherited.share(address, 0, 1).unwrap()[..] else { panic!("one socket") };
        socket.accept().unwrap();
        assert_eq!(inherited.close_rest(), [address]);
        assert!(inherited.share(address, 0, 1).unwrap().is_empty());
    }

    #[test]
    fn what_a_supervisor_keeps_stays_until_it_is_asked_for() {
        let (address, inherited) = sockets(2, true);
        assert!(inherited.close_rest().is_empty() && inherited.keeps(address));
        assert!(inherited.rest().unwrap().iter().all(|it| it.is_kept));
        assert_eq!(inherited.share(address, 0, 1).unwrap().len(), 2);
        inherited.take("127.0.0.1:0".parse().unwrap(), 1).unwrap().unwrap();
        assert!(inherited.keeps(address) && inherited.rest().unwrap().is_empty());
    }
}
