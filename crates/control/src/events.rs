//! What happened lately, kept in memory for people: objects written, lanes let in, sources and data planes that came and
//! went.

use std::{collections::VecDeque, time::SystemTime};

use api::{resource::Key, rest::Event};

/// Events that are kept: some hours of a quiet installation, minutes of a busy one; a few hundred kilobytes.
const EVENTS_MAX: usize = 2_048;

/// The latest events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    kept: VecDeque<Event>,
    number: u64,
}

impl Events {
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

    /// Something happened to something else.
    pub(crate) fn of(&mut self, about: String, warning: bool, reason: &str, message: String) {
        self.add(Event { about, warning, reason: reason.to_owned(), message, ..Event::default() });
    }

    /// Those after a number, in order.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Event> {
        self.kept.iter().skip_while(move |event| event.number <= number)
    }

    fn add(&mut self, mut event: Event) {
        self.number += 1;
        event.number = self.number;
        event.time = crate::ledger::rfc3339(SystemTime::now());
        self.kept.push_back(event);
        if self.kept.len() > EVENTS_MAX {
            self.kept.pop_front();
        }
    }
}
