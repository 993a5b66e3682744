//! Guessing made slow: every attempt takes from a measure that fills again with time.
//!
//! An address has a measure of its own, and one for each account it tries; an account has one for all addresses together,
//! against guessing from many. A browser in which the user has signed in before shows that it is one (a cookie of its own) and
//! has a measure of its own, which no stranger can take from: so nobody keeps the owner out there.
//!
//! Measures are in a fixed number of places, found by a keyed hash of what they are of: whatever is tried takes no memory,
//! and nothing that is tried makes another measure be forgotten. Two that share a place share a measure; who they are
//! nobody can know.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Places of each table: more than there are people and networks that sign in; 100 KiB.
const PLACES: usize = 4_096;

/// What an attempt takes from.
#[derive(Debug, Clone, Copy)]
struct Measure {
    attempts: f64,
    every: Duration,
}

/// Of one address at one account: ten at once, then one in six seconds. Of one browser of the user's the same.
const AT_ONE_ACCOUNT: Measure = Measure { attempts: 10.0, every: Duration::from_secs(6) };

/// Of one address at all accounts.
const OF_ADDRESS: Measure = Measure { attempts: 50.0, every: Duration::from_secs(3) };

/// Of all addresses at one account: thirty at once, then one in half a minute, 2 880 a day.
const AT_ACCOUNT: Measure = Measure { attempts: 30.0, every: Duration::from_secs(30) };

#[derive(Debug, Clone, Copy)]
struct Used {
    attempts: f64,
    at: Instant,
}

#[derive(Debug)]
struct Table {
    measure: Measure,
    places: Vec<Option<Used>>,
}

impl Table {
    fn new(measure: Measure) -> Self {
        Self { measure, places: vec![None; PLACES] }
    }

    /// How many were used, by now.
    fn used(&self, place: usize, now: Instant) -> f64 {
        self.places[place].map_or(0.0, |used| {
            let passed = now.saturating_duration_since(used.at).as_secs_f64();
            (used.attempts - passed / self.measure.every.as_secs_f64()).max(0.0)
        })
    }

    /// How long until there is one.
    fn wait(&self, place: usize, now: Instant) -> Duration {
        let missing = 1.0 + self.used(place, now) - self.measure.attempts;
        self.measure.every.mul_f64(missing.max(0.0))
    }

    /// Takes one, or gives one back.
    fn take(&mut self, place: usize, count: f64, now: Instant) {
        let attempts = (self.used(place, now) + count).clamp(0.0, self.measure.attempts);
        self.places[place] = Some(Used { attempts, at: now });
    }
}

/// Who tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// Whose account.
    pub(super) account: &'a str,
    /// From where.
    pub(super) address: IpAddr,
    /// In which browser of that user's, if it is one: something that names it.
    pub(super) device: Option<&'a str>,
}

/// How many attempts were made lately.
#[derive(Debug)]
pub(super) struct Slowing {
    keyed: RandomState,
    addresses: Table,
    at_accounts: Table,
    accounts: Table,
    devices: Table,
}

impl Default for Slowing {
    fn default() -> Self {
        Self {
            keyed: RandomState::new(),
            addresses: Table::new(OF_ADDRESS),
            at_accounts: Table::new(AT_ONE_ACCOUNT),
            accounts: Table::new(AT_ACCOUNT),
            devices: Table::new(AT_ONE_ACCOUNT),
        }
    }
}

impl Slowing {
    /// The measures that an attempt takes from, each with its place.
    fn measures(&mut self, attempt: Attempt<'_>) -> Vec<(&mut Table, usize)> {
        let Attempt { account, address, device } = attempt;
        let (keyed, network) = (&self.keyed, network(address));
        let place = |hash: u64| hash as usize % PLACES;
        if let Some(device) = device {
            let of_device = place(keyed.hash_one(device));
            return vec![(&mut self.devices, of_device)];
        }
        let of_address = place(keyed.hash_one(network));
        let of_pair = place(keyed.hash_one((network, account)));
        let of_account = place(keyed.hash_one(account));
        vec![
            (&mut self.addresses, of_address),
            (&mut self.at_accounts, of_pair),
            (&mut self.accounts, of_account),
        ]
    }

    /// Takes an attempt, or says how long to wait for the next. One that is refused takes nothing.
    pub(super) fn attempt(&mut self, attempt: Attempt<'_>, now: Instant) -> Result<(), Duration> {
        let mut measures = self.measures(attempt);
        let waits = measures.iter().map(|(table, place)| table.wait(*place, now));
        let wait = waits.max().unwrap_or_default();
        if wait > Duration::ZERO {
            return Err(wait);
        }
        measures.iter_mut().for_each(|(table, place)| table.take(*place, 1.0, now));
        Ok(())
    }

    /// The attempt was the owner's: it counts for nothing.
    pub(super) fn succeeded(&mut self, attempt: Attempt<'_>, now: Instant) {
        self.measures(attempt).iter_mut().for_each(|(table, place)| table.take(*place, -1.0, now));
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

    fn of<'a>(account: &'a str, address: &str) -> Attempt<'a> {
        Attempt { account, address: address.parse().unwrap(), device: None }
    }

    /// How many attempts pass at one moment, of so many.
    fn pass(slowing: &mut Slowing, attempt: Attempt<'_>, now: Instant, of: usize) -> usize {
        (0..of).filter(|_| slowing.attempt(attempt, now).is_ok()).count()
    }

    #[test]
    fn one_address_gets_ten_attempts_at_an_account_and_then_one_in_six_seconds() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        assert_eq!(pass(&mut slowing, of("alice", "10.0.0.1"), start, 100), 10);
        let wait = slowing.attempt(of("alice", "10.0.0.1"), start).unwrap_err();
        assert!(wait <= Duration::from_secs(6) && wait > Duration::from_secs(5), "{wait:?}");
        let later = start + Duration::from_secs(6);
        assert_eq!(pass(&mut slowing, of("alice", "10.0.0.1"), later, 9), 1);
        assert_eq!(pass(&mut slowing, of("bob", "10.0.0.1"), start, 5), 5);
        assert_eq!(pass(&mut slowing, of("alice", "2001:db8::1"), start, 5), 5);
        assert_eq!(pass(&mut slowing, of("alice", "2001:db8::ffff"), start, 100), 5, "one network");
        // Not even by trying every account there may be.
        let tried = (0..500)
            .filter(|n| slowing.attempt(of(&format!("user{n}"), "10.0.0.9"), start).is_ok());
        assert_eq!(tried.count(), 50);
    }

    #[test]
    fn guessing_from_many_addresses_is_slow_and_the_owners_browser_gets_in() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        let guessed: usize = (0..250)
            .map(|n| pass(&mut slowing, of("alice", &format!("10.0.0.{n}")), start, 10))
            .sum();
        assert_eq!(guessed, 30);
        assert!(slowing.attempt(of("alice", "10.0.9.9"), start).is_err());
        // Also through the same address as those who guess, as behind a proxy.
        let own = Attempt { device: Some("laptop"), ..of("alice", "10.0.0.1") };
        assert_eq!(pass(&mut slowing, own, start, 100), 10);
        assert_eq!(pass(&mut slowing, own, start + Duration::from_secs(6), 9), 1);
    }

    #[test]
    fn a_good_attempt_counts_for_nothing_however_often() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        for _ in 0..1_000 {
            slowing.attempt(of("ci", "10.0.0.1"), start).unwrap();
            slowing.succeeded(of("ci", "10.0.0.1"), start);
        }
        assert_eq!(pass(&mut slowing, of("bob", "10.0.0.1"), start, 100), 10);
    }

    #[test]
    fn whatever_strangers_try_takes_no_memory_and_fills_no_measure_again() {
        let (mut slowing, start) = (Slowing::default(), Instant::now());
        assert_eq!(pass(&mut slowing, of("alice", "10.0.0.1"), start, 100), 10);
        for n in 0..100_000_u32 {
            let address = std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string();
            let _ = slowing.attempt(of(&n.to_string(), &address), start);
        }
        assert!(slowing.attempt(of("alice", "10.0.0.1"), start).is_err());
        for table in [&slowing.addresses, &slowing.at_accounts, &slowing.accounts] {
            assert_eq!(table.places.len(), PLACES);
            assert!(table.places.iter().flatten().all(|used| used.attempts >= 0.0));
        }
    }
}
