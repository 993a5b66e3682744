//! Hosts outside the mesh: what their names mean.

use std::{
    cell::RefCell,
    io,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use telemetry::shortage;

use crate::limits::{ADDRESSES_TRIED_MAX, NAME_GRACE, NAME_KEPT, NAME_WAIT, NAMES_MAX};

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
