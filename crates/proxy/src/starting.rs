//! The first moments after a restart: whom a proxy knows from before, and cannot connect to, may be coming back as it is
//! (semantics §9).

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::limits::{COMES_BACK_TRIED_EVERY, COMES_BACK_WITHIN, FIRST_MOMENTS};

/// What one thread has seen of those who may be coming back.
#[derive(Debug)]
pub(crate) struct Starting {
    /// Until then; `None`: nobody is expected any more.
    until: Cell<Option<Instant>>,
    seen: RefCell<HashMap<SocketAddr, Seen>>,
}

#[derive(Debug, Clone, Copy)]
enum Seen {
    /// It could be connected to: what is refused from now on is refused by somebody who has left.
    Reached,
    /// It could not be connected to, for the first time then.
    Refused(Instant),
}

impl Starting {
    /// `comes_back`: the process was here before, and knows whom it called then.
    pub(crate) fn new(comes_back: bool, now: Instant) -> Self {
        let until = Cell::new(comes_back.then(|| now + FIRST_MOMENTS));
        Self { until, seen: RefCell::default() }
    }

    /// A connect worked.
    #[inline]
    pub(crate) fn reached(&self, address: SocketAddr) {
        if self.until.get().is_some() {
            self.seen.borrow_mut().insert(address, Seen::Reached);
        }
    }

    /// A connect was refused: how long to wait before the next, if the other side may be about to listen.
    pub(crate) fn pause(&self, address: SocketAddr, now: Instant) -> Option<Duration> {
        self.until.get().filter(|until| now < *until)?;
        match *self.seen.borrow_mut().entry(address).or_insert(Seen::Refused(now)) {
            Seen::Refused(first) if now < first + COMES_BACK_WITHIN => Some(COMES_BACK_TRIED_EVERY),
            Seen::Refused(_) | Seen::Reached => None,
        }
    }

    /// For the thread's tick.
    pub(crate) fn tick(&self, now: Instant) {
        if self.until.get().is_some_and(|until| until <= now) {
            self.until.set(None);
            self.seen.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_restarted_proxy_has_not_reached_yet_is_waited_for_a_moment() {
        let [one, other, late] = [1, 2, 3].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let start = Instant::now();
        let starting = Starting::new(true, start);
        assert!(starting.pause(one, start).is_some());
        let nearly = start + COMES_BACK_WITHIN - Duration::from_millis(1);
        assert!(starting.pause(one, nearly).is_some());
        assert!(starting.pause(one, start + COMES_BACK_WITHIN).is_none(), "dead after all");
        starting.reached(other);
        assert!(starting.pause(other, start).is_none(), "it came back, and has left again");
        let end = start + FIRST_MOMENTS;
        starting.tick(end - Duration::from_millis(1));
        assert!(starting.pause(late, end - Duration::from_millis(1)).is_some());
        assert!(starting.pause(late, end).is_none());
        starting.tick(end);
        starting.reached(late);
        assert!(starting.seen.borrow().is_empty());
        assert!(Starting::new(false, start).pause(one, start).is_none());
    }
}
