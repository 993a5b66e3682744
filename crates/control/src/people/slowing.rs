//! Guessing made slow: every attempt takes from a measure that fills again with time.
//!
//! An address has a measure of its own, and one for each account it tries; so whoever guesses at others' accounts from
//! the owner's network does not keep the owner out. An account has one for all addresses together, against guessing from
//! many; addresses from which its owner has signed in go by their own measure alone.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Accounts and addresses that are remembered; beyond it those that were quiet longest are forgotten.
const KEPT_MAX: usize = 10_000;

/// Addresses of one account from which its owner signed in.
const OWN_ADDRESSES_MAX: usize = 16;

/// What an attempt takes from.
#[derive(Debug, Clone, Copy)]
struct Measure {
    attempts: f64,
    every: Duration,
}

/// Of one address at one account: ten at once, then one in six seconds.
const OF_ADDRESS_AT_ACCOUNT: Measure = Measure { attempts: 10.0, every: Duration::from_secs(6) };

/// Of one address at all accounts.
const OF_ADDRESS: Measure = Measure { attempts: 50.0, every: Duration::from_secs(3) };

/// Of all addresses at one account: thirty at once, then one in half a minute, 2 880 a day.
const AT_ACCOUNT: Measure = Measure { attempts: 30.0, every: Duration::from_secs(30) };

#[derive(Debug)]
struct Left {
    attempts: f64,
    at: Instant,
}

#[derive(Debug)]
struct Table<K>(HashMap<K, Left>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    /// How many are left now.
    fn left(&mut self, key: &K, measure: Measure, now: Instant) -> &mut Left {
        if !self.0.contains_key(key) && self.0.len() >= KEPT_MAX {
            let oldest = self.0.iter().min_by_key(|(_, left)| left.at).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let left =
            self.0.entry(key.clone()).or_insert(Left { attempts: measure.attempts, at: now });
        let gained =
            now.saturating_duration_since(left.at).as_secs_f64() / measure.every.as_secs_f64();
        left.attempts = (left.attempts + gained).min(measure.attempts);
        left.at = now;
        left
    }

    /// How long until there is one.
    fn wait(&mut self, key: &K, measure: Measure, now: Instant) -> Duration {
        let missing = 1.0 - self.left(key, measure, now).attempts;
        measure.every.mul_f64(missing.max(0.0))
    }

    fn take(&mut self, key: &K, measure: Measure, now: Instant) {
        self.left(key, measure, now).attempts -= 1.0;
    }
}

/// How many attempts were made lately.
#[derive(Debug, Default)]
pub(super) struct Slowing {
    addresses: Table<IpAddr>,
    at_accounts: Table<(IpAddr, String)>,
    accounts: Table<String>,
    own: HashMap<String, Vec<IpAddr>>,
}

impl Slowing {
    /// Takes an attempt, or says how long to wait for the next.
    pub(super) fn attempt(
        &mut self,
        account: &str,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let address = network(address);
        let pair = (address, account.to_owned());
        let is_own = self.own.get(account).is_some_and(|own| own.contains(&address));
        let mut wait = self.at_accounts.wait(&pair, OF_ADDRESS_AT_ACCOUNT, now);
        if !is_own {
            wait = wait.max(self.addresses.wait(&address, OF_ADDRESS, now));
            wait = wait.max(self.accounts.wait(&pair.1, AT_ACCOUNT, now));
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.at_accounts.take(&pair, OF_ADDRESS_AT_ACCOUNT, now);
        self.addresses.take(&address, OF_ADDRESS, now);
        if !is_own {
            self.accounts.take(&pair.1, AT_ACCOUNT, now);
        }
        Ok(())
    }

    /// The attempt was the owner's.
    pub(super) fn succeeded(&mut self, account: &str, address: IpAddr) {
        let address = network(address);
        self.at_accounts.0.remove(&(address, account.to_owned()));
        let own = self.own.entry(account.to_owned()).or_default();
        own.retain(|other| *other != address);
        own.push(address);
        if own.len() > OWN_ADDRESSES_MAX {
            own.remove(0);
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many attempts pass at one moment, of so many.
    fn pass(slowing: &mut Slowing, account: &str, address: &str, now: Instant, of: usize) -> usize {
        (0..of).filter(|_| slowing.attempt(account, ip(address), now).is_ok()).count()
    }

    #[test]
    fn one_address_gets_ten_attempts_at_an_account_and_then_one_in_six_seconds() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        assert_eq!(pass(&mut slowing, "alice", "10.0.0.1", start, 100), 10);
        let wait = slowing.attempt("alice", ip("10.0.0.1"), start).unwrap_err();
        assert!(wait <= Duration::from_secs(6) && wait > Duration::from_secs(5), "{wait:?}");
        assert_eq!(pass(&mut slowing, "alice", "10.0.0.1", start + Duration::from_secs(6), 9), 1);
        // A guesser at one account does not keep others out, nor the neighbours of his network.
        assert_eq!(pass(&mut slowing, "bob", "10.0.0.1", start, 5), 5);
        assert_eq!(pass(&mut slowing, "alice", "2001:db8::1", start, 5), 5);
        assert_eq!(pass(&mut slowing, "alice", "2001:db8::ffff", start, 100), 5, "one network");
        // Not even by trying every account there may be.
        let tried = (0..500)
            .filter(|n| slowing.attempt(&format!("user{n}"), ip("10.0.0.9"), start).is_ok());
        assert_eq!(tried.count(), 50);
    }

    #[test]
    fn guessing_from_many_addresses_is_slow_and_the_owner_gets_in() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        slowing.attempt("alice", ip("10.1.1.1"), start).unwrap();
        slowing.succeeded("alice", ip("10.1.1.1"));
        let guessed: usize =
            (0..250).map(|n| pass(&mut slowing, "alice", &format!("10.0.0.{n}"), start, 10)).sum();
        assert_eq!(guessed, 29);
        assert!(slowing.attempt("alice", ip("10.0.9.9"), start).is_err());
        assert!(slowing.attempt("alice", ip("10.1.1.1"), start).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        for n in 0..KEPT_MAX as u32 + 100 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(n));
            let _ =
                slowing.attempt(&n.to_string(), address, start + Duration::from_millis(n.into()));
        }
        assert_eq!(slowing.addresses.0.len(), KEPT_MAX);
        assert_eq!(slowing.accounts.0.len(), KEPT_MAX);
        assert!(!slowing.accounts.0.contains_key("0"));
    }
}
