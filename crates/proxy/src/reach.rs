//! Which of several addresses answers: a host's, or an instance's.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use crate::{
    error::{Kind, ProxyError},
    limits::{ADDRESS_STAGGER, SLOW_ADDRESS_LAST, SLOW_ADDRESSES_MAX},
    transport::Connection,
    worker::Worker,
};

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
}
