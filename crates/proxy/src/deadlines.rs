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

    /// Ends whatever waits to send, so that the other side sees a reset: what it got must not pass for all of it.
    fn cut(&self);
}

/// What becomes of something that is late.
#[derive(Debug, Clone, Copy)]
enum Then {
    ShutDown(Shutdown),
    Cut,
    /// It goes on, and is known to be late.
    Note,
}

/// One entry: when, and what is done then. No deadline is `u64::MAX`.
#[derive(Debug)]
pub(crate) struct Deadline {
    at_ms: Cell<u64>,
    then: Cell<Then>,
    expired: Cell<bool>,
    /// It has passed, and nothing was ended for it.
    noted: Cell<bool>,
    /// What moves puts it off by so much; 0 where it is for the whole.
    period_ms: Cell<u64>,
    /// But never beyond this.
    until_ms: Cell<u64>,
}

impl Default for Deadline {
    fn default() -> Self {
        Self {
            at_ms: Cell::new(u64::MAX),
            then: Cell::new(Then::ShutDown(Shutdown::Both)),
            expired: Cell::new(false),
            noted: Cell::new(false),
            period_ms: Cell::new(0),
            until_ms: Cell::new(u64::MAX),
        }
    }
}

impl Deadline {
    /// Whether it has passed and the socket was shut down for it.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// Whether it has passed since this was asked for, though nothing was ended for it.
    pub(crate) fn take_noted(&self) -> bool {
        self.noted.take()
    }

    pub(crate) fn disarm(&self) {
        self.at_ms.set(u64::MAX);
        self.period_ms.set(0);
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

    /// This table's time in `after`; what is too far away for it is never.
    pub(crate) fn at_ms(&self, after: Duration) -> u64 {
        self.now_ms.get().saturating_add(after.as_millis() as u64)
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
        self.arm_at(deadline, self.at_ms(after), how);
    }

    /// Sets a deadline at a time of this table's clock.
    pub(crate) fn arm_at(&self, deadline: &Deadline, at_ms: u64, how: Shutdown) {
        deadline.period_ms.set(0);
        self.set(deadline, at_ms, Then::ShutDown(how));
    }

    /// Sets a deadline for something that may go on when it has passed.
    #[cold]
    pub(crate) fn arm_note(&self, deadline: &Deadline, after: Duration) {
        deadline.period_ms.set(0);
        self.set(deadline, self.at_ms(after), Then::Note);
    }

    /// Sets a deadline for the next bytes that go out; it is put off whenever some have, and ends in a cut.
    pub(crate) fn arm_sending(&self, deadline: &Deadline, period: Duration) {
        self.arm_moving(deadline, period, u64::MAX, Then::Cut);
    }

    /// The same for bytes to an instance, up to some time at most.
    pub(crate) fn arm_sending_until(&self, deadline: &Deadline, period: Duration, until_ms: u64) {
        self.arm_moving(deadline, period, until_ms, Then::ShutDown(Shutdown::Both));
    }

    fn arm_moving(&self, deadline: &Deadline, period: Duration, until_ms: u64, then: Then) {
        deadline.period_ms.set(period.as_millis() as u64);
        deadline.until_ms.set(until_ms);
        self.set(deadline, self.at_ms(period).min(until_ms), then);
    }

    /// Bytes have gone out. Told by slow sides alone, so that the time may be asked for.
    pub(crate) fn moved(&self, deadline: &Deadline, now: Instant) {
        let period_ms = deadline.period_ms.get();
        if period_ms > 0 {
            self.set_now(now);
            let at_ms = self.at_ms(Duration::from_millis(period_ms));
            deadline.at_ms.set(at_ms.min(deadline.until_ms.get()));
        }
    }

    fn set(&self, deadline: &Deadline, at_ms: u64, then: Then) {
        deadline.at_ms.set(at_ms);
        deadline.then.set(then);
        if at_ms < self.next_look_ms.get() {
            self.next_look_ms.set(at_ms);
            self.sooner.notify_one();
        }
    }

    /// Everything in the table, for the few things that concern all connections. What is done to one may end it and others,
    /// which leave the table meanwhile.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Rc<T>)) {
        let mut key = 0;
        loop {
            // Borrowed for this alone.
            let Some(entry) = self.entries.borrow().get(key).map(Weak::upgrade) else { return };
            if let Some(entry) = entry {
                each(&entry);
            }
            key += 1;
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

    /// Does what is to be done about all that is late at `now`. Whether any of it is to be noted.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut any_noted = false;
        self.set_now(now);
        let now_ms = self.now_ms.get();
        let mut nearest_ms = now_ms + SWEEP_PERIOD_MS;
        self.for_each(|entry| {
            let deadline = entry.deadline();
            let at_ms = deadline.at_ms.get();
            if at_ms <= now_ms {
                deadline.at_ms.set(u64::MAX);
                match deadline.then.get() {
                    Then::ShutDown(how) => {
                        deadline.expired.set(true);
                        entry.shut_down(how);
                    }
                    Then::Cut => {
                        deadline.expired.set(true);
                        entry.cut();
                    }
                    Then::Note => {
                        deadline.noted.set(true);
                        any_noted = true;
                    }
                }
            } else {
                nearest_ms = nearest_ms.min(at_ms);
            }
        });
        self.next_look_ms.set(nearest_ms.max(now_ms + SWEEP_GAP_MS));
        any_noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        deadline: Deadline,
        shut: Cell<Option<Shutdown>>,
        is_cut: Cell<bool>,
    }

    impl Late for Fake {
        fn shut_down(&self, how: Shutdown) {
            self.shut.set(Some(how));
        }

        fn cut(&self) {
            self.is_cut.set(true);
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
    fn what_is_done_to_one_may_have_others_leave_and_enter() {
        let table = Deadlines::new(Instant::now());
        let fakes: Vec<_> = (0..3).map(|_| Rc::new(Fake::default())).collect();
        let keys: Vec<u32> = fakes.iter().map(|it| table.enter(Rc::downgrade(it))).collect();
        let mut seen = 0;
        table.for_each(|_| {
            seen += 1;
            if seen == 1 {
                table.leave(keys[1]);
                table.leave(keys[2]);
                table.enter(Rc::downgrade(&fakes[2]));
            }
        });
        assert_eq!((seen, table.len()), (2, 2));
    }

    #[test]
    fn what_moves_is_not_late() {
        let epoch = Instant::now();
        let table = Deadlines::new(epoch);
        let fake = Rc::new(Fake::default());
        table.enter(Rc::downgrade(&fake));
        table.arm_sending(&fake.deadline, Duration::from_millis(1500));
        for second in 1..=100 {
            table.sweep(epoch + Duration::from_secs(second));
            table.moved(&fake.deadline, epoch + Duration::from_millis(second * 1000 + 500));
        }
        assert!(!fake.is_cut.get());
        table.sweep(epoch + Duration::from_millis(101_999));
        assert!(!fake.is_cut.get());
        table.sweep(epoch + Duration::from_millis(102_001));
        assert!(fake.is_cut.get() && fake.deadline.is_expired());
        assert_eq!(fake.shut.get(), None, "an orderly end would pass for the whole");

        let fake = Rc::new(Fake::default());
        table.enter(Rc::downgrade(&fake));
        table.arm_sending_until(&fake.deadline, Duration::from_secs(2), 104_000);
        table.sweep(epoch + Duration::from_millis(103_000));
        table.moved(&fake.deadline, epoch + Duration::from_millis(103_000));
        assert_eq!(fake.shut.get(), None);
        table.sweep(epoch + Duration::from_millis(104_001));
        assert_eq!(fake.shut.get(), Some(Shutdown::Both), "not beyond its end");

        // Nor does what was disarmed come back.
        fake.deadline.disarm();
        table.moved(&fake.deadline, epoch + Duration::from_millis(105_000));
        assert_eq!(fake.deadline.at_ms.get(), u64::MAX);
    }

    #[test]
    fn what_has_no_limit_is_never_late() {
        let epoch = Instant::now();
        let table = Deadlines::new(epoch);
        let fake = Rc::new(Fake::default());
        table.enter(Rc::downgrade(&fake));
        table.sweep(epoch + Duration::from_secs(1));
        let never = Duration::from_millis(u64::MAX);
        table.arm_sending_until(&fake.deadline, never, table.at_ms(never));
        for hours in 1..=3 {
            let now = epoch + Duration::from_secs(hours * 3600);
            table.sweep(now);
            table.moved(&fake.deadline, now);
        }
        assert_eq!(fake.shut.get(), None);
    }

    #[test]
    fn what_is_noted_goes_on() {
        let epoch = Instant::now();
        let table = Deadlines::new(epoch);
        let fake = Rc::new(Fake::default());
        table.enter(Rc::downgrade(&fake));
        table.arm_note(&fake.deadline, Duration::from_secs(60));
        assert!(!table.sweep(epoch + Duration::from_secs(59)));
        assert!(table.sweep(epoch + Duration::from_secs(60)));
        assert!(fake.deadline.take_noted());
        assert!(!table.sweep(epoch + Duration::from_secs(61)), "once");
        assert!(!fake.deadline.take_noted() && !fake.deadline.is_expired());
        assert_eq!((fake.shut.get(), fake.is_cut.get()), (None, false));
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
