//! What happened lately, for people: objects written, lanes let in, sources and data planes that came and went.
//!
//! They are in memory for whoever asks, and in the store so that a restart takes nothing away. The store is told a moment
//! later, of many at once: no write waits for what is said of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use api::{resource::Key, rest::Event, time::rfc3339};

/// Events that are kept: some hours of a quiet installation, minutes of a busy one; a few hundred kilobytes.
pub(crate) const EVENTS_MAX: usize = 2_048;

/// How long an event is kept: a week has passed by the time that nobody asks any more.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long events gather before the store is told: one commit for all of them, and little enough to be lost with the
/// process.
const GATHERED: Duration = Duration::from_millis(200);

/// The latest events.
#[derive(Debug)]
pub(crate) struct Events {
    kept: VecDeque<Event>,
    number: u64,
    /// The last one that was taken for the store.
    taken: u64,
    taken_at: Instant,
}

impl Events {
    /// Goes on from those of before a restart.
    pub(crate) fn restored(stored: Vec<Event>, now: Instant) -> Self {
        let number = stored.last().map_or(0, |event| event.number);
        let mut events = Self { kept: stored.into(), number, taken: number, taken_at: now };
        events.forget();
        events
    }

    /// Something happened to an object.
    pub(crate) fn of_object(&mut self, object: &Key, warning: bool, reason: &str, message: String) {
        let (about, object) = (object.to_string(), Some(object.clone()));
        self.add(Event {
            object,
            about,
            warning,
            reason: reason.to_owned(),
            message,
            ..Event::default()
        });
    }

    /// Something happened to an object, unless the same did within so long a time; whether it is told.
    pub(crate) fn of_object_anew(
        &mut self,
        object: &Key,
        reason: &str,
        message: &str,
        within: Duration,
    ) -> bool {
        let is_told = self.recent(object, message, within).any(|it| it.reason == reason);
        if !is_told {
            self.of_object(object, false, reason, message.to_owned());
        }
        !is_told
    }

    /// Something happened to an object, unless it is the latest that was told in these words within so long a time; whether it
    /// is told.
    pub(crate) fn of_object_otherwise(
        &mut self,
        object: &Key,
        reason: &str,
        message: &str,
        within: Duration,
    ) -> bool {
        let latest = self.recent(object, message, within).next();
        let is_told = latest.is_some_and(|it| it.reason == reason);
        if !is_told {
            self.of_object(object, false, reason, message.to_owned());
        }
        !is_told
    }

    /// What was told of an object in these words within so long a time, the latest first.
    fn recent<'t>(
        &'t self,
        object: &'t Key,
        message: &'t str,
        within: Duration,
    ) -> impl Iterator<Item = &'t Event> {
        let since =
            rfc3339(SystemTime::now().checked_sub(within).unwrap_or(SystemTime::UNIX_EPOCH));
        let recent = self.kept.iter().rev().take_while(move |event| event.time >= since);
        recent.filter(move |it| it.message == message && it.object.as_ref() == Some(object))
    }

    /// Something happened to something else.
    pub(crate) fn of(&mut self, about: String, warning: bool, reason: &str, message: String) {
        self.add(Event { about, warning, reason: reason.to_owned(), message, ..Event::default() });
    }

    /// Those after a number, in order.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Event> {
        self.kept.iter().skip_while(move |event| event.number <= number)
    }

    /// What the store must be told, if it is time; and else when it is.
    pub(crate) fn take(&mut self, now: Instant) -> (Vec<Event>, Option<Instant>) {
        let due = self.taken_at + GATHERED;
        if self.taken == self.number {
            return (Vec::new(), None);
        }
        if now < due {
            return (Vec::new(), Some(due));
        }
        self.taken_at = now;
        (self.take_all(), None)
    }

    /// What the store was not told yet.
    pub(crate) fn take_all(&mut self) -> Vec<Event> {
        let taken = std::mem::replace(&mut self.taken, self.number);
        self.after(taken).cloned().collect()
    }

    fn add(&mut self, mut event: Event) {
        self.number += 1;
        event.number = self.number;
        event.time = rfc3339(SystemTime::now());
        self.kept.push_back(event);
        self.forget();
    }

    fn forget(&mut self) {
        let oldest = oldest_kept(SystemTime::now());
        while self.kept.len() > EVENTS_MAX
            || self.kept.front().is_some_and(|event| event.time < oldest)
        {
            self.kept.pop_front();
        }
    }
}

/// The time of the oldest event that is kept, as events write it: texts of this form compare as their times do.
pub(crate) fn oldest_kept(now: SystemTime) -> String {
    rfc3339(now.checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use api::resource::Kind;

    use super::*;

    #[test]
    fn the_store_is_told_of_many_at_once() {
        let start = Instant::now();
        let mut events = Events::restored(Vec::new(), start);
        assert_eq!(events.take(start + GATHERED), (Vec::new(), None));
        for about in ["one", "two"] {
            events.of(about.to_owned(), false, "Connected", String::new());
        }
        assert_eq!(events.take(start), (Vec::new(), Some(start + GATHERED)));
        let (told, due) = events.take(start + GATHERED);
        assert_eq!((told.len(), told[1].number, due), (2, 2, None));
        assert_eq!(events.take(start + 2 * GATHERED), (Vec::new(), None));
        let mut again = Events::restored(told, start);
        again.of("three".to_owned(), false, "Connected", String::new());
        assert_eq!(again.after(0).map(|event| event.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(again.take_all().len(), 1);
    }

    #[test]
    fn what_somebody_does_in_a_loop_is_told_once_in_a_time() {
        let mut events = Events::restored(Vec::new(), Instant::now());
        let key = |name: &str| Key::new(Kind::LaneGroup, "default", name);
        let minute = Duration::from_secs(60);
        let mut told = |name: &str, reason: &str, message: &str, within| {
            events.of_object_anew(&key(name), reason, message, within)
        };
        assert!(told("trade", "Tapped", "bob: lane gray", minute));
        assert!(!told("trade", "Tapped", "bob: lane gray", minute));
        assert!(told("trade", "TapEnded", "bob: lane gray", minute));
        assert!(told("trade", "Tapped", "alice: lane gray", minute));
        assert!(told("other", "Tapped", "bob: lane gray", minute));
        events.kept.iter_mut().for_each(|event| event.time = "2000-01-01T00:00:00Z".to_owned());
        assert!(events.of_object_anew(&key("trade"), "Tapped", "bob: lane gray", minute));
        assert_eq!(events.number, 5);
    }

    #[test]
    fn what_was_begun_anew_is_the_last_that_is_told() {
        let mut events = Events::restored(Vec::new(), Instant::now());
        let key = Key::new(Kind::LaneGroup, "default", "trade");
        let minute = Duration::from_secs(60);
        let what = "bob: lane gray";
        for _ in 0..9 {
            events.of_object_otherwise(&key, "Tapped", what, minute);
            // Of another nothing is said by that.
            events.of_object(&key, false, "TapEnded", "alice: lane gray".to_owned());
            events.of_object_anew(&key, "TapEnded", what, minute);
        }
        let of_bob = events.after(0).filter(|event| event.message == what);
        let reasons: Vec<&str> = of_bob.map(|event| event.reason.as_str()).collect();
        assert_eq!(reasons, ["Tapped", "TapEnded", "Tapped"]);
        events.kept.iter_mut().for_each(|event| event.time = "2000-01-01T00:00:00Z".to_owned());
        assert!(events.of_object_otherwise(&key, "Tapped", what, minute));
    }

    #[test]
    fn neither_too_many_nor_too_old_ones_are_kept() {
        let now = Instant::now();
        let event =
            |number, time: SystemTime| Event { number, time: rfc3339(time), ..Event::default() };
        let old = SystemTime::now() - KEPT - Duration::from_secs(60);
        let stored = vec![event(1, old), event(2, SystemTime::now())];
        let mut events = Events::restored(stored, now);
        assert_eq!(events.after(0).map(|event| event.number).collect::<Vec<_>>(), [2]);
        for _ in 0..EVENTS_MAX {
            events.of("one".to_owned(), false, "Connected", String::new());
        }
        assert_eq!(events.after(0).count(), EVENTS_MAX);
        // Of what is gone before the store was told, it is not told.
        assert_eq!(events.take_all().len(), EVENTS_MAX);
    }
}
