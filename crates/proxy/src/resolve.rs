//! Hosts outside the mesh: what their names mean, and which of their addresses answers.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use telemetry::shortage;

use crate::{
    error::{Kind, ProxyError},
    limits::{
        ADDRESS_STAGGER, ADDRESSES_TRIED_MAX, NAME_GRACE, NAME_KEPT, NAME_WAIT, NAMES_MAX,
        SLOW_ADDRESS_LAST, SLOW_ADDRESSES_MAX,
    },
    transport::Connection,
    worker::Worker,
};

/// What one thread knows of host names.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    known: RefCell<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    addresses: Rc<[IpAddr]>,
    since: Instant,
}

impl Resolver {
    /// The addresses of a host in the order in which they are tried. None: it has none, or nobody can tell.
    /// An error is the process's own shortage.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Rc<[IpAddr]>> {
        if let Some(addresses) = self.known(host, NAME_KEPT, Instant::now()) {
            return Ok(addresses);
        }
        let found = tokio::time::timeout(NAME_WAIT, tokio::net::lookup_host((host, 0))).await;
        let found: Vec<IpAddr> = match found {
            Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
            Ok(Err(error)) if shortage::is_ours(&error) => return Err(error),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let now = Instant::now();
        Ok(if found.is_empty() {
            self.known(host, NAME_GRACE, now).unwrap_or_default()
        } else {
            self.learn(host, &found, now)
        })
    }

    /// What was learnt at most `age` ago.
    fn known(&self, host: &str, age: Duration, now: Instant) -> Option<Rc<[IpAddr]>> {
        let known = self.known.borrow();
        let known = known.get(host)?;
        (now.duration_since(known.since) < age).then(|| Rc::clone(&known.addresses))
    }

    fn learn(&self, host: &str, found: &[IpAddr], now: Instant) -> Rc<[IpAddr]> {
        let addresses: Rc<[IpAddr]> = in_turns(found).into();
        let mut known = self.known.borrow_mut();
        if known.len() >= NAMES_MAX {
            known.retain(|_, known| now.duration_since(known.since) < NAME_KEPT);
        }
        if known.len() < NAMES_MAX {
            let newer = Known { addresses: Rc::clone(&addresses), since: now };
            known.insert(host.to_owned(), newer);
        }
        addresses
    }
}

/// In the resolver's order, but both families by turns (RFC 8305 §4): where one of them leads nowhere, the second
/// attempt is of the other.
fn in_turns(found: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = found.first() else { return Vec::new() };
    let is_first_kind = |address: &&IpAddr| address.is_ipv4() == first.is_ipv4();
    let mut one = found.iter().filter(is_first_kind);
    let mut other = found.iter().filter(|address| !is_first_kind(address));
    let mut turns: Vec<IpAddr> = Vec::new();
    while turns.len() < ADDRESSES_TRIED_MAX {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten() {
            if !turns.contains(address) {
                turns.push(*address);
            }
        }
    }
    turns
}

type Opening<'w> = Pin<Box<dyn Future<Output = Result<Rc<Connection>, ProxyError>> + 'w>>;

impl Worker {
    /// Which of a host's addresses answers. The connection that says so waits in the pool.
    pub(crate) async fn reach(&self, addresses: &[SocketAddr]) -> Result<SocketAddr, Kind> {
        if let Some(address) = addresses.iter().find(|address| self.upstreams.has(**address)) {
            return Ok(*address);
        }
        let connection = self.first_to_answer(addresses).await.map_err(|error| error.kind)?;
        let address = connection.peer;
        self.upstreams.give(address, connection, self.deadlines.now_ms());
        Ok(address)
    }

    /// Which of an instance's addresses is connected to, the wanted ones first; the connection waits in the pool. Whether
    /// it is a new one.
    pub(crate) async fn reach_instance(
        &self,
        mut addresses: Vec<SocketAddr>,
        fresh: bool,
    ) -> Result<(SocketAddr, bool), ProxyError> {
        let now = Instant::now();
        let is_slow = |address: &SocketAddr| {
            self.slow_addresses.borrow().get(address).is_some_and(|until| now < *until)
        };
        addresses.sort_by_key(is_slow);
        if !fresh && self.upstreams.has(addresses[0]) {
            return Ok((addresses[0], false));
        }
        let connection = self.first_to_answer(&addresses).await?;
        let reached = connection.peer;
        let mut slow = self.slow_addresses.borrow_mut();
        slow.remove(&reached);
        for address in addresses.into_iter().take_while(|it| *it != reached) {
            if slow.len() < SLOW_ADDRESSES_MAX {
                slow.insert(address, now + SLOW_ADDRESS_LAST);
            }
        }
        self.upstreams.give(reached, connection, self.deadlines.now_ms());
        Ok((reached, true))
    }

    /// Tries all addresses in order, each beside those before it when these take long.
    pub(crate) async fn first_to_answer(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<Rc<Connection>, ProxyError> {
        if addresses.is_empty() {
            let nowhere = Kind::Connect(io::ErrorKind::AddrNotAvailable.into());
            return Err(ProxyError::unsent(nowhere));
        }
        let mut left = addresses.iter();
        let mut openings: Vec<Opening<'_>> = Vec::new();
        loop {
            if let Some(address) = left.next() {
                openings.push(Box::pin(self.open(*address)));
            }
            let first = poll_fn(|context| {
                for (index, opening) in openings.iter_mut().enumerate() {
                    if let Poll::Ready(opened) = opening.as_mut().poll(context) {
                        return Poll::Ready((index, opened));
                    }
                }
                Poll::Pending
            });
            let patience = if left.len() > 0 { ADDRESS_STAGGER } else { Duration::MAX };
            match tokio::time::timeout(patience, first).await {
                Ok((_, Ok(connection))) => return Ok(connection),
                Ok((index, Err(error))) => {
                    drop(openings.swap_remove(index));
                    if openings.is_empty() && left.len() == 0 {
                        return Err(error);
                    }
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let turns = |text: &str| {
            let found: Vec<IpAddr> = text.split(' ').map(|text| text.parse().unwrap()).collect();
            in_turns(&found).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turns("::1 ::2 ::1 1.1.1.1"), "::1 1.1.1.1 ::2");
        assert_eq!(turns("1.1.1.1 2.2.2.2 ::1"), "1.1.1.1 ::1 2.2.2.2");
        assert_eq!(in_turns(&[]), Vec::<IpAddr>::new());
    }

    #[tokio::test]
    async fn what_was_known_last_is_good_for_a_while_when_the_resolver_fails() {
        let resolver = Resolver::default();
        let now = Instant::now();
        let host = "no-such-host.invalid";
        assert!(resolver.resolve(host).await.unwrap().is_empty());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let Some(earlier) = now.checked_sub(NAME_KEPT * 2) else { return };
        resolver.learn(host, &[address], earlier);
        assert_eq!(resolver.known(host, NAME_KEPT, now), None, "asked again");
        assert_eq!(*resolver.resolve(host).await.unwrap(), [address]);
        assert_eq!(resolver.known(host, NAME_GRACE, earlier + NAME_GRACE), None);
    }

    #[tokio::test]
    async fn the_first_address_that_answers_is_reached_and_its_connection_kept() {
        let worker = Worker::alone(&telemetry::Metrics::default());
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = somebody.local_addr().unwrap();
        for addresses in [&[nobody, address][..], &[nobody, nobody, address], &[address, nobody]] {
            assert_eq!(worker.reach(addresses).await.unwrap(), address);
            assert!(worker.upstreams.has(address));
        }
        assert!(matches!(worker.reach(&[nobody, nobody]).await, Err(Kind::Connect(_))));
        // The connection that is open already was used again.
        let kept = somebody.accept().unwrap();
        drop(kept);
        assert!(somebody.set_nonblocking(true).and_then(|()| somebody.accept()).is_err());
    }

    #[tokio::test]
    async fn an_instances_address_that_does_not_answer_is_tried_last_for_a_while() {
        let worker = Worker::alone(&telemetry::Metrics::default());
        let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let here = somebody.local_addr().unwrap();
        assert_eq!(worker.reach_instance(vec![nobody, here], false).await.unwrap(), (here, true));
        assert_eq!(worker.reach_instance(vec![nobody, here], false).await.unwrap(), (here, false));
        assert_eq!(worker.reach_instance(vec![nobody, here], true).await.unwrap(), (here, true));
        // A connection to another address than the wanted one is no reason to stay with it.
        worker.slow_addresses.borrow_mut().clear();
        let back = std::net::TcpListener::bind(nobody).unwrap();
        assert_eq!(worker.reach_instance(vec![nobody, here], false).await.unwrap(), (nobody, true));
        drop(back);
        assert!(worker.reach_instance(vec![nobody, nobody], true).await.is_err());
    }

    #[test]
    fn no_more_names_are_kept_than_allowed() {
        let (resolver, now) = (Resolver::default(), Instant::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for number in 0..NAMES_MAX + 10 {
            resolver.learn(&number.to_string(), &[address], now);
        }
        assert_eq!(resolver.known.borrow().len(), NAMES_MAX);
        resolver.learn("later", &[address], now + NAME_KEPT);
        assert_eq!(resolver.known.borrow().len(), 1);
    }
}
