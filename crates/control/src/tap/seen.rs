//! Who taps what, so that others can see it: which of it is to be told, whoever begins and ends in a loop.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use api::resource::Key;
use parking_lot::Mutex;

/// How long the same of the same person and lane is not told again: other events and entries of the audit are to be kept.
pub(crate) const TOLD_AGAIN: Duration = Duration::from_secs(5 * 60);

/// Of how many it is remembered that they are in the audit: of what is beyond there are more entries than need be.
const REMEMBERED_MAX: usize = 4_096;

/// A group, and who taps which lane of it, in words.
pub(crate) type Tapped = (Key, String);

/// Taps by who taps what.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    by_what: Mutex<HashMap<Tapped, One>>,
}

#[derive(Debug, Default)]
struct One {
    /// Taps that are under way.
    open: u32,
    /// When the audit was told last.
    entered: Option<Instant>,
}

impl One {
    fn is_entered(&self, now: Instant) -> bool {
        self.entered.is_some_and(|at| now.saturating_duration_since(at) < TOLD_AGAIN)
    }
}

impl Seen {
    /// Whether the audit is to be told of one that begins.
    pub(crate) fn is_to_enter(&self, what: &Tapped, now: Instant) -> bool {
        !self.by_what.lock().get(what).is_some_and(|one| one.is_entered(now))
    }

    /// The audit was told.
    pub(crate) fn entered(&self, what: &Tapped, now: Instant) {
        let mut by_what = self.by_what.lock();
        by_what.retain(|_, one| one.open > 0 || one.is_entered(now));
        if by_what.len() < REMEMBERED_MAX {
            by_what.entry(what.clone()).or_default().entered = Some(now);
        }
    }

    /// One begins; whether it is the only one.
    pub(crate) fn begin(&self, what: &Tapped) -> bool {
        let mut by_what = self.by_what.lock();
        let one = by_what.entry(what.clone()).or_default();
        one.open += 1;
        one.open == 1
    }

    /// One has ended; whether it was the only one.
    pub(crate) fn end(&self, what: &Tapped) -> bool {
        let mut by_what = self.by_what.lock();
        let Some(one) = by_what.get_mut(what) else { return true };
        one.open = one.open.saturating_sub(1);
        let is_last = one.open == 0;
        if is_last && one.entered.is_none() {
            by_what.remove(what);
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use api::resource::Kind;

    use super::*;

    fn what(words: &str) -> Tapped {
        (Key::new(Kind::LaneGroup, "default", "trade"), words.to_owned())
    }

    #[test]
    fn of_several_the_last_one_ends() {
        let (seen, bob) = (Seen::default(), what("bob: lane gray"));
        assert_eq!([seen.begin(&bob), seen.begin(&bob)], [true, false]);
        assert!(seen.begin(&what("alice: lane gray")));
        assert_eq!([seen.end(&bob), seen.end(&bob)], [false, true]);
        assert!(seen.begin(&bob));
    }

    #[test]
    fn a_loop_is_entered_once_in_a_time_and_what_is_kept_is_bounded() {
        let (seen, start, bob) = (Seen::default(), Instant::now(), what("bob: lane gray"));
        let mut entries = 0;
        for second in 0..3_000 {
            let now = start + Duration::from_secs(second);
            if seen.is_to_enter(&bob, now) {
                seen.entered(&bob, now);
                entries += 1;
            }
            seen.begin(&bob);
            seen.end(&bob);
        }
        assert_eq!(entries, 10);
        assert!(seen.is_to_enter(&what("alice: lane gray"), start));
        for number in 0..2 * REMEMBERED_MAX {
            seen.entered(&what(&number.to_string()), start);
        }
        assert_eq!(seen.by_what.lock().len(), REMEMBERED_MAX);
        seen.entered(&bob, start + TOLD_AGAIN * 20);
        assert_eq!(seen.by_what.lock().len(), 1);
    }
}
