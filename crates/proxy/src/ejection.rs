//! Instances this process could not connect to, or that do not answer, put aside for a while (semantics §9).
//!
//! Each thread has its own [`Ejections`] and learns by itself: nothing is shared on the request path. What is
//! unreachable is told to the rest of the process through an [`UnreachableBoard`].

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::limits::UNANSWERED_IN_A_ROW_MAX;

/// How long the first failed connect puts an instance aside.
pub(crate) const EJECTION_FIRST: Duration = Duration::from_secs(1);

/// How long at most, however often connects failed: an instance that comes back is tried within half a minute.
pub(crate) const EJECTION_LONGEST: Duration = Duration::from_secs(30);

/// How long an instance is put aside that is heard neither by its source nor by this process: as long as the embedded
/// registry keeps it.
pub(crate) const SILENT_EJECTION: Duration = Duration::from_secs(60);

/// A failure is forgotten when nobody tried again for this long after the ejection ended. Longer than any
/// ejection, so that an instance that is still called keeps its doubled times.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Addresses one thread keeps put aside. More than the instances of all services a sidecar calls; each takes about
/// 100 bytes. Beyond it, the one whose ejection ends first is forgotten.
pub(crate) const EJECTIONS_MAX: usize = 4096;

/// What one thread could not connect to.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    by_address: HashMap<SocketAddr, Ejection>,
    /// Requests in a row that were not answered, of instances that are not put aside for it yet.
    unanswered: HashMap<SocketAddr, u32>,
    board: UnreachableBoard,
    slot: Slot,
}

/// What is wrong with an instance. An answer ends it whatever it is, a connection only where connecting was all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It cannot be connected to.
    Unreachable,
    /// Its application cannot, at a port of which its sidecar reads nothing; what its sidecar does is another matter.
    NobodyAtPort,
    /// Connecting works, answers do not come.
    Hung,
    /// The same of the application beside this sidecar, which does not give a sign of life either.
    Mute,
}

#[derive(Debug, Clone, Copy)]
struct Ejection {
    until: Instant,
    length: Duration,
    trouble: Trouble,
    /// Its source does not hear from it either: until it does, nobody tries it.
    is_silent: bool,
    /// One request tries it again, and the others go elsewhere as if it had failed already.
    is_tried: bool,
}

impl Ejection {
    /// How long the next one is.
    fn longer(self) -> Duration {
        match self.trouble {
            // Its callers put it aside for longer, where they have somebody else; those who have nobody ask again.
            Trouble::Mute => EJECTION_FIRST,
            _ => (self.length * 2).min(EJECTION_LONGEST),
        }
    }
}

type Slot = Arc<Mutex<BTreeSet<SocketAddr>>>;

/// What the threads of a process cannot reach, for status.
#[derive(Debug, Clone, Default)]
pub struct UnreachableBoard {
    threads: Arc<Mutex<Vec<Slot>>>,
}

/// [`Ejections`] at one moment: what the choice of an endpoint looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EjectionsNow<'a> {
    ejections: &'a Ejections,
    /// Put aside for one request alone.
    refused: &'a [SocketAddr],
    /// Not tried again by it, though all are put aside.
    tried: &'a [SocketAddr],
    now: Instant,
    /// Nearly always nobody is: known before anybody is looked at.
    has_any: bool,
}

impl Ejections {
    /// None yet; what becomes unreachable is told to `board`.
    pub(crate) fn new(board: &UnreachableBoard) -> Self {
        let slot = Slot::default();
        board.threads.lock().push(Arc::clone(&slot));
        Self { by_address: HashMap::new(), unanswered: HashMap::new(), board: board.clone(), slot }
    }

    #[cfg(test)]
    fn at(&self, now: Instant) -> EjectionsNow<'_> {
        self.beside(&[], &[], now)
    }

    /// As it stands at `now`, for [`lanes::Snapshot::choose`]: for a request that some have refused already, and that has
    /// tried these and others.
    pub(crate) fn beside<'a>(
        &'a self,
        refused: &'a [SocketAddr],
        tried: &'a [SocketAddr],
        now: Instant,
    ) -> EjectionsNow<'a> {
        let has_any = !self.by_address.is_empty() || !refused.is_empty();
        EjectionsNow { ejections: self, refused, tried, now, has_any }
    }

    /// A connect failed. Returns whether that ejected the instance now: connects that were under way together, or
    /// that were tried although the instance was ejected because all are, count as one failure.
    pub(crate) fn failed(&mut self, address: SocketAddr, now: Instant) -> bool {
        self.put_aside(address, now, Trouble::Unreachable)
    }

    /// The same of a connection that passes unread. An ejection for anything else stays as it is: only requests try
    /// whether that has ended.
    pub(crate) fn failed_unread(
        &mut self,
        address: SocketAddr,
        trouble: Trouble,
        now: Instant,
    ) -> bool {
        let is_anothers = self.by_address.get(&address).is_some_and(|it| it.trouble != trouble);
        !is_anothers && self.put_aside(address, now, trouble)
    }

    /// A request was not answered. Returns whether that ejected the instance now: several in a row do, or one that tried
    /// it again.
    pub(crate) fn unanswered(&mut self, address: SocketAddr, now: Instant) -> bool {
        self.not_answered(address, now, Trouble::Hung)
    }

    /// The same of the application beside this sidecar, without a sign of life.
    pub(crate) fn mute(&mut self, address: SocketAddr, now: Instant) -> bool {
        self.not_answered(address, now, Trouble::Mute)
    }

    /// The same of one whose connection has given no sign of life for long, though it was asked for one: that says more
    /// than requests that wait.
    pub(crate) fn frozen(&mut self, address: SocketAddr, now: Instant, trouble: Trouble) -> bool {
        self.unanswered.remove(&address);
        self.put_aside(address, now, trouble)
    }

    /// Whether it is put aside for being mute. Afterwards one request tries it at a time, as others.
    #[cold]
    pub(crate) fn is_mute(&self, address: SocketAddr, now: Instant) -> bool {
        let known = self.by_address.get(&address);
        known.is_some_and(|known| known.trouble == Trouble::Mute && now < known.until)
    }

    fn not_answered(&mut self, address: SocketAddr, now: Instant, trouble: Trouble) -> bool {
        if !self.by_address.contains_key(&address) {
            if self.unanswered.len() >= EJECTIONS_MAX {
                self.unanswered.clear();
            }
            let in_a_row = self.unanswered.entry(address).or_default();
            *in_a_row += 1;
            if *in_a_row < UNANSWERED_IN_A_ROW_MAX {
                return false;
            }
            self.unanswered.remove(&address);
        }
        self.put_aside(address, now, trouble)
    }

    fn put_aside(&mut self, address: SocketAddr, now: Instant, trouble: Trouble) -> bool {
        let length = match self.by_address.get(&address) {
            // That time was taken into account when it was tried.
            Some(known) if known.is_tried => known.length,
            Some(known) if now < known.until => return false,
            Some(known) => known.longer(),
            None => EJECTION_FIRST,
        };
        let until = now + length;
        let ejection = Ejection { until, length, trouble, is_silent: false, is_tried: false };
        self.insert(address, ejection);
        true
    }

    fn insert(&mut self, address: SocketAddr, ejection: Ejection) {
        if self.by_address.len() >= EJECTIONS_MAX && !self.by_address.contains_key(&address) {
            self.forget_the_first_to_end();
        }
        if self.by_address.insert(address, ejection).is_none() {
            self.slot.lock().insert(address);
        }
    }

    /// An instance that its source does not hear from did not answer either. Returns whether that ejected it now.
    pub(crate) fn silent(&mut self, address: SocketAddr, now: Instant) -> bool {
        if self.by_address.get(&address).is_some_and(|known| known.is_silent && now < known.until) {
            return false;
        }
        let (until, length) = (now + SILENT_EJECTION, EJECTION_FIRST);
        let trouble = Trouble::Hung;
        let ejection = Ejection { until, length, trouble, is_silent: true, is_tried: false };
        self.insert(address, ejection);
        true
    }

    /// There is a new picture: those whom their source hears again are as good as new.
    pub(crate) fn heard(&mut self, is_heard: impl Fn(SocketAddr) -> bool) {
        let silent = self.by_address.iter().filter(|(_, ejection)| ejection.is_silent);
        let heard: Vec<_> =
            silent.map(|(address, _)| *address).filter(|it| is_heard(*it)).collect();
        heard.into_iter().for_each(|address| self.succeeded(address));
    }

    /// Whether anything is held against anybody.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        !self.by_address.is_empty() || !self.unanswered.is_empty()
    }

    /// A connect worked, of a kind that had failed where this was the trouble.
    pub(crate) fn connected(&mut self, address: SocketAddr, trouble: Trouble) {
        if self.by_address.get(&address).is_some_and(|ejection| ejection.trouble == trouble) {
            self.succeeded(address);
        }
    }

    /// An answer came: the instance is as good as new.
    pub(crate) fn succeeded(&mut self, address: SocketAddr) {
        self.unanswered.remove(&address);
        if self.by_address.remove(&address).is_some() {
            self.slot.lock().remove(&address);
        }
    }

    /// A request is about to go to an instance. The first one after an ejection tries it; until that has ended well the
    /// instance stays put aside for the others, for the next length at most.
    pub(crate) fn try_again(&mut self, address: SocketAddr, now: Instant) {
        if let Some(ejection) = self.by_address.get_mut(&address)
            && ejection.until <= now
        {
            ejection.length = ejection.longer();
            ejection.until = now + ejection.length;
            ejection.is_tried = true;
        }
    }

    /// The same of a connection that passes unread. It tells nothing of any other trouble, and leaves that to requests.
    pub(crate) fn try_again_unread(&mut self, address: SocketAddr, trouble: Trouble, now: Instant) {
        if self.by_address.get(&address).is_some_and(|ejection| ejection.trouble == trouble) {
            self.try_again(address, now);
        }
    }

    /// Forgets failures nobody has tried again. For the thread's tick.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.by_address.is_empty() {
            return;
        }
        let slot = &self.slot;
        self.by_address.retain(|address, ejection| {
            let keep = now < ejection.until + FORGOTTEN_AFTER;
            if !keep {
                slot.lock().remove(address);
            }
            keep
        });
    }

    fn forget_the_first_to_end(&mut self) {
        let first = self
            .by_address
            .iter()
            .min_by_key(|(_, ejection)| ejection.until)
            .map(|(address, _)| *address);
        if let Some(address) = first {
            self.succeeded(address);
        }
    }
}

impl Drop for Ejections {
    fn drop(&mut self) {
        self.board.threads.lock().retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

impl lanes::Ejections for EjectionsNow<'_> {
    #[inline]
    fn is_ejected(&self, address: SocketAddr) -> bool {
        self.has_any && self.has(address)
    }

    fn is_out(&self, address: SocketAddr) -> bool {
        self.tried.contains(&address)
    }
}

impl EjectionsNow<'_> {
    #[cold]
    fn has(&self, address: SocketAddr) -> bool {
        let ejection = self.ejections.by_address.get(&address);
        ejection.is_some_and(|ejection| self.now < ejection.until)
            || self.refused.contains(&address)
    }
}

impl UnreachableBoard {
    /// Addresses to which the last connect of some thread failed, sorted.
    pub fn unreachable(&self) -> Vec<SocketAddr> {
        let mut all = BTreeSet::new();
        for slot in self.threads.lock().iter() {
            all.extend(slot.lock().iter().copied());
        }
        all.into_iter().collect()
    }

    /// Adds how many there are.
    pub(crate) fn sample(&self, samples: &mut telemetry::Samples) {
        samples.add(telemetry::names::UNREACHABLE, &[], self.unreachable().len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use lanes::Ejections as _;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn times_double_up_to_the_longest() {
        let mut ejections = Ejections::default();
        let mut now = Instant::now();
        for length in [1, 2, 4, 8, 16, 30, 30] {
            assert!(ejections.failed(address(1), now));
            now += seconds(length) - Duration::from_nanos(1);
            assert!(ejections.at(now).is_ejected(address(1)), "{length} s");
            now += Duration::from_nanos(1);
            assert!(!ejections.at(now).is_ejected(address(1)), "{length} s");
        }
    }

    #[test]
    fn failures_during_an_ejection_count_once() {
        let mut ejections = Ejections::default();
        let now = Instant::now();
        assert!(ejections.failed(address(1), now));
        for _ in 0..100 {
            assert!(!ejections.failed(address(1), now));
        }
        assert!(!ejections.at(now + seconds(1)).is_ejected(address(1)));
    }

    #[test]
    fn an_instance_that_does_not_answer_is_put_aside_after_some_in_a_row() {
        let mut ejections = Ejections::default();
        let now = Instant::now();
        assert!(!ejections.unanswered(address(1), now));
        assert!(!ejections.unanswered(address(1), now));
        ejections.succeeded(address(1));
        assert!(!ejections.has_any(), "in a row");
        assert!(!ejections.unanswered(address(1), now));
        assert!(!ejections.unanswered(address(1), now));
        assert!(!ejections.unanswered(address(2), now), "each for itself");
        assert!(ejections.unanswered(address(1), now));
        assert!(ejections.at(now).is_ejected(address(1)));
        ejections.connected(address(1), Trouble::Unreachable);
        assert!(ejections.at(now).is_ejected(address(1)), "connecting was never its trouble");
        ejections.succeeded(address(1));
        assert!(!ejections.at(now).is_ejected(address(1)));
    }

    #[test]
    fn what_passes_unread_ends_and_tries_only_what_it_began() {
        let mut ejections = Ejections::default();
        let now = Instant::now();
        let (ended, port) = (now + seconds(1), Trouble::NobodyAtPort);
        // Of two whose sidecar has another trouble.
        ejections.failed(address(1), now);
        assert!((0..UNANSWERED_IN_A_ROW_MAX).any(|_| ejections.unanswered(address(2), now)));
        for other in [address(1), address(2)] {
            ejections.connected(other, port);
            assert!(ejections.at(now).is_ejected(other), "its sidecar was not connected to");
            ejections.try_again_unread(other, port, ended);
            assert!(!ejections.failed_unread(other, port, ended));
            assert!(!ejections.at(ended).is_ejected(other), "the next request may try it");
        }
        assert!(ejections.failed_unread(address(3), port, now));
        ejections.connected(address(3), Trouble::Unreachable);
        assert!(ejections.at(now).is_ejected(address(3)), "its sidecar was there all the time");
        ejections.try_again_unread(address(3), port, ended);
        assert!(ejections.at(ended).is_ejected(address(3)), "one at a time");
        ejections.connected(address(3), port);
        assert!(!ejections.at(ended).is_ejected(address(3)));
    }

    #[test]
    fn one_at_a_time_tries_again() {
        for is_hung in [false, true] {
            let mut ejections = Ejections::default();
            let mut now = Instant::now();
            let fail = |ejections: &mut Ejections, now| {
                let mut fails = || match is_hung {
                    true => ejections.unanswered(address(1), now),
                    false => ejections.failed(address(1), now),
                };
                (0..UNANSWERED_IN_A_ROW_MAX).any(|_| fails())
            };
            assert!(fail(&mut ejections, now));
            now += seconds(1);
            assert!(!ejections.at(now).is_ejected(address(1)));
            ejections.try_again(address(1), now);
            assert!(ejections.at(now).is_ejected(address(1)), "the others wait how that ends");
            now += seconds(1);
            assert!(fail(&mut ejections, now), "one failure of whoever tries is enough");
            ejections.try_again(address(1), now + Duration::from_millis(1999));
            assert!(ejections.at(now + Duration::from_millis(1999)).is_ejected(address(1)));
            now += seconds(2);
            assert!(!ejections.at(now).is_ejected(address(1)));
            // Whoever tries may never end: the next does after the next length.
            ejections.try_again(address(1), now);
            assert!(ejections.at(now + Duration::from_millis(3999)).is_ejected(address(1)));
            assert!(!ejections.at(now + seconds(4)).is_ejected(address(1)));
            ejections.succeeded(address(1));
            assert!(!ejections.at(now).is_ejected(address(1)));
        }
    }

    #[test]
    fn a_success_clears() {
        let board = UnreachableBoard::default();
        let mut ejections = Ejections::new(&board);
        let now = Instant::now();
        ejections.failed(address(1), now);
        ejections.failed(address(2), now);
        assert_eq!(board.unreachable(), [address(1), address(2)]);
        ejections.succeeded(address(1));
        assert!(!ejections.at(now).is_ejected(address(1)));
        assert!(ejections.at(now).is_ejected(address(2)));
        assert_eq!(board.unreachable(), [address(2)]);
        assert!(ejections.failed(address(1), now + seconds(1)));
        assert!(
            !ejections.at(now + seconds(2)).is_ejected(address(1)),
            "begins with the first length again"
        );
    }

    #[test]
    fn what_nobody_tries_again_is_forgotten() {
        let board = UnreachableBoard::default();
        let mut ejections = Ejections::new(&board);
        let now = Instant::now();
        ejections.failed(address(1), now);
        ejections.tick(now + seconds(60));
        assert_eq!(
            board.unreachable(),
            [address(1)],
            "unreachable although its ejection has ended"
        );
        ejections.tick(now + seconds(61));
        assert!(board.unreachable().is_empty());
    }

    #[test]
    fn the_board_joins_threads_and_outlives_them() {
        let board = UnreachableBoard::default();
        let (mut one, mut two) = (Ejections::new(&board), Ejections::new(&board));
        let now = Instant::now();
        one.failed(address(1), now);
        two.failed(address(1), now);
        one.succeeded(address(1));
        assert_eq!(board.unreachable(), [address(1)], "the other thread still cannot reach it");
        drop(two);
        assert!(board.unreachable().is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let board = UnreachableBoard::default();
        let mut ejections = Ejections::new(&board);
        let now = Instant::now();
        for port in 0..=EJECTIONS_MAX as u16 {
            ejections.failed(address(port), now + Duration::from_millis(u64::from(port)));
        }
        let later = now + Duration::from_millis(900);
        assert_eq!(board.unreachable().len(), EJECTIONS_MAX);
        assert!(!ejections.at(later).is_ejected(address(0)), "the first to end went");
        assert!(ejections.at(later).is_ejected(address(1)));
    }
}
