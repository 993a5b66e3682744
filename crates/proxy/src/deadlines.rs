//! The coarse clock of one thread and its table of deadlines: a late socket is shut down by a sweep, so that
//! no read or write needs a timer of its own and none is ever cancelled.

use std::{
    cell::{Cell, RefCell},
    net::Shutdown,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How often all deadlines are looked at. Those set nearer than that move the next look forward.
const SWEEP_PERIOD_MS: u64 = 1000;

/// The least time between two looks: bounds what very short timeouts can cost.
const SWEEP_GAP_MS: u64 = 10;

/// Something with a deadline.
pub(crate) trait Late {
    /// Shuts down whatever waits, so that its read or write ends.
    fn shut_down(&self, how: Shutdown);
}

/// One entry: when, and what is shut down then. No deadline is `u64::MAX`.
#[derive(Debug)]
pub(crate) struct Deadline {
    at_ms: Cell<u64>,
    how: Cell<Shutdown>,
    expired: Cell<bool>,
}

impl Default for Deadline {
    fn default() -> Self {
        Self {
            at_ms: Cell::new(u64::MAX),
            how: Cell::new(Shutdown::Both),
            expired: Cell::new(false),
        }
    }
}

impl Deadline {
    /// Whether it has passed and the socket was shut down for it.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired.get()
    }

    pub(crate) fn disarm(&self) {
        self.at_ms.set(u64::MAX);
    }
}

/// What the table holds: a connection.
pub(crate) trait HasDeadline: Late {
    fn deadline(&self) -> &Deadline;
}

/// All deadlines of one thread.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    epoch: Instant,
    now_ms: Cell<u64>,
    entries: RefCell<Vec<Weak<T>>>,
    vacant: RefCell<Vec<u32>>,
    next_look_ms: Cell<u64>,
    sooner: Notify,
}

impl<T: HasDeadline> Deadlines<T> {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            now_ms: Cell::new(0),
            entries: RefCell::default(),
            vacant: RefCell::default(),
            next_look_ms: Cell::new(SWEEP_PERIOD_MS),
            sooner: Notify::new(),
        }
    }

    /// Milliseconds since the thread began, as last looked at.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Brings the coarse clock up to date.
    pub(crate) fn set_now(&self, now: Instant) {
        self.now_ms.set(now.saturating_duration_since(self.epoch).as_millis() as u64);
    }

    /// Enters something; the key is for [`Deadlines::leave`].
    pub(crate) fn enter(&self, entry: Weak<T>) -> u32 {
        let mut entries = self.entries.borrow_mut();
        match self.vacant.borrow_mut().pop() {
            Some(key) => {
                entries[key as usize] = entry;
                key
            }
            None => {
                entries.push(entry);
                entries.len() as u32 - 1
            }
        }
    }

    /// Removes an entry.
    pub(crate) fn leave(&self, key: u32) {
        self.entries.borrow_mut()[key as usize] = Weak::new();
        self.vacant.borrow_mut().push(key);
    }

    /// How many are entered.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len() - self.vacant.borrow().len()
    }

    /// Sets a deadline `after` now.
    pub(crate) fn arm(&self, deadline: &Deadline, after: Duration, how: Shutdown) {
        self.arm_at(deadline, self.now_ms.get() + after.as_millis() as u64, how);
    }

    /// Sets a deadline at a time of this table's clock.
    pub(crate) fn arm_at(&self, deadline: &Deadline, at_ms: u64, how: Shutdown) {
        deadline.at_ms.set(at_ms);
        deadline.how.set(how);
        if at_ms < self.next_look_ms.get() {
            self.next_look_ms.set(at_ms);
            self.sooner.notify_one();
        }
    }

    /// Everything in the table, for the few things that concern all connections.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Rc<T>)) {
        for entry in self.entries.borrow().iter().filter_map(Weak::upgrade) {
            each(&entry);
        }
    }

    /// Waits until the next look is due.
    pub(crate) async fn until_next_look(&self) {
        loop {
            let at = self.epoch + Duration::from_millis(self.next_look_ms.get());
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => return,
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Shuts down all that is late at `now`.
    pub(crate) fn sweep(&self, now: Instant) {
        self.set_now(now);
        let now_ms = self.now_ms.get();
        let mut nearest_ms = now_ms + SWEEP_PERIOD_MS;
        self.for_each(|entry| {
            let deadline = entry.deadline();
            let at_ms = deadline.at_ms.get();
            if at_ms <= now_ms {
                deadline.at_ms.set(u64::MAX);
                deadline.expired.set(true);
                entry.shut_down(deadline.how.get());
            } else {
                nearest_ms = nearest_ms.min(at_ms);
            }
        });
        self.next_look_ms.set(nearest_ms.max(now_ms + SWEEP_GAP_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        deadline: Deadline,
        shut: Cell<Option<Shutdown>>,
    }

    impl Late for Fake {
        fn shut_down(&self, how: Shutdown) {
            self.shut.set(Some(how));
        }
    }

    impl HasDeadline for Fake {
        fn deadline(&self) -> &Deadline {
            &self.deadline
        }
    }

    #[test]
    fn what_is_late_is_shut_down_once() {
        let epoch = Instant::now();
        let table = Deadlines::new(epoch);
        let fake = Rc::new(Fake::default());
        let key = table.enter(Rc::downgrade(&fake));
        table.arm(&fake.deadline, Duration::from_millis(1500), Shutdown::Read);
        table.sweep(epoch + Duration::from_secs(1));
        assert_eq!(fake.shut.get(), None);
        assert_eq!(table.next_look_ms.get(), 1500);
        table.sweep(epoch + Duration::from_millis(1501));
        assert_eq!(fake.shut.take(), Some(Shutdown::Read));
        assert!(fake.deadline.is_expired());
        table.sweep(epoch + Duration::from_secs(9));
        assert_eq!(fake.shut.get(), None);
        table.leave(key);
        assert_eq!(table.enter(Rc::downgrade(&fake)), key);
    }

    #[test]
    fn a_near_deadline_moves_the_next_look_forward() {
        let table = Deadlines::<Fake>::new(Instant::now());
        let fake = Fake::default();
        table.arm(&fake.deadline, Duration::from_secs(60), Shutdown::Both);
        assert_eq!(table.next_look_ms.get(), SWEEP_PERIOD_MS);
        table.arm(&fake.deadline, Duration::from_millis(200), Shutdown::Both);
        assert_eq!(table.next_look_ms.get(), 200);
    }
}
