//! What is true: who lives where, whom the registry has, which lanes are enabled, and since when. Says whether an answer was
//! right by that alone.

use std::net::SocketAddr;

use crate::hub::{ADMISSION_WAIT, tests::Instant};

pub(super) const LETTERS: [&str; 3] = ["a", "b", "c"];
pub(super) const LANES: [&str; 2] = ["gray", "blue"];

/// Addresses that instances live at.
pub(super) const PLACES: usize = 20;

/// Somebody who lives.
#[derive(Debug, Clone, Copy)]
struct Life {
    number: u64,
    letter: usize,
    tag: Option<usize>,
}

/// Somebody whom the registry has, alive or not.
#[derive(Debug, Clone, Copy)]
struct Entry {
    life: Life,
    since: u64,
    /// When it was heard for the last time.
    heard: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lane {
    enabled: bool,
    since: u64,
    /// When requests must enter it, as far as somebody hears of it; known when the time comes.
    entered_since: Option<u64>,
    switched: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Truth {
    pub(super) step: u64,
    lives: u64,
    places: [Option<Life>; PLACES],
    registry: [Option<Entry>; PLACES],
    lanes: [Lane; LANES.len()],
}

pub(super) fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], place as u16 + 1))
}

pub(super) fn place_of(address: SocketAddr) -> usize {
    usize::from(address.port()) - 1
}

impl Truth {
    pub(super) fn new() -> Self {
        let lane = Lane { enabled: true, since: 0, entered_since: None, switched: None };
        Self {
            step: 1,
            lives: 0,
            places: [None; PLACES],
            registry: [None; PLACES],
            lanes: [lane; LANES.len()],
        }
    }

    pub(super) fn begin(&mut self, place: usize, letter: usize, tag: Option<usize>) -> u64 {
        self.lives += 1;
        self.places[place] = Some(Life { number: self.lives, letter, tag });
        self.lives
    }

    pub(super) fn die(&mut self, place: usize) {
        self.places[place] = None;
    }

    pub(super) fn is_alive(&self, place: usize) -> bool {
        self.places[place].is_some()
    }

    /// Who lives at an address: application and tag.
    pub(super) fn who(&self, address: SocketAddr) -> Option<(usize, Option<usize>)> {
        self.places[place_of(address)].map(|life| (life.letter, life.tag))
    }

    /// Of which application the registry has somebody there.
    pub(super) fn registered_at(&self, place: usize) -> Option<usize> {
        self.registry[place].map(|entry| entry.life.letter)
    }

    /// Whoever lives there registers, unless the registry has another's instance there of which it believes
    /// that it lives. Of which service something is new.
    pub(super) fn register(&mut self, place: usize) -> Option<usize> {
        let life = self.places[place]?;
        match &mut self.registry[place] {
            Some(entry) if entry.life.number == life.number => {
                entry.heard = self.step;
                None
            }
            Some(entry) if entry.life.letter != life.letter => None,
            entry => {
                *entry = Some(Entry { life, since: self.step, heard: self.step });
                Some(life.letter)
            }
        }
    }

    /// Of which service one has gone, if the registry had it.
    pub(super) fn deregister(&mut self, place: usize) -> Option<usize> {
        self.registry[place].take().map(|entry| entry.life.letter)
    }

    pub(super) fn registered(&self, letter: usize) -> impl Iterator<Item = (usize, Option<usize>)> {
        let entries = self.registry.iter().enumerate();
        entries.filter_map(move |(place, entry)| {
            let life = entry.as_ref()?.life;
            (life.letter == letter).then_some((place, life.tag))
        })
    }

    pub(super) fn count_registered(&self) -> usize {
        self.registry.iter().flatten().count()
    }

    /// Who is registered and not heard, and since when: he is dead, or cut off.
    pub(super) fn silent(&mut self, is_cut: &[usize]) -> Vec<(usize, u64)> {
        let mut silent = Vec::new();
        for (place, entry) in self.registry.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            let lives = self.places[place].is_some_and(|life| life.number == entry.life.number);
            if lives && !is_cut.contains(&place) {
                entry.heard = self.step;
            } else {
                silent.push((place, entry.heard));
            }
        }
        silent
    }

    /// Switches a lane; whether it was enabled.
    pub(super) fn toggle(&mut self, lane: usize) -> bool {
        let lane = &mut self.lanes[lane];
        let was = lane.enabled;
        *lane = Lane { enabled: !was, since: self.step, entered_since: None, switched: None };
        was
    }

    /// Time has passed.
    pub(super) fn note_lanes(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            let switched = *lane.switched.get_or_insert(now);
            if lane.enabled && lane.entered_since.is_none() && now > switched + ADMISSION_WAIT {
                lane.entered_since = Some(self.step + 1);
            }
        }
    }

    /// Whether a request with this mark had to enter its lane, at whoever knew everything at that step.
    pub(super) fn must_enter(&self, lane: usize, known_at: u64) -> bool {
        self.lanes[lane].entered_since.is_some_and(|since| since <= known_at)
    }

    /// Whether the lane was surely disabled, for whoever knew everything at that step.
    pub(super) fn is_off(&self, lane: usize, known_at: u64) -> bool {
        let lane = self.lanes[lane];
        !lane.enabled && lane.since < known_at
    }

    /// Whether the lane is surely enabled.
    pub(super) fn is_on(&self, lane: usize, known_at: u64) -> bool {
        let lane = self.lanes[lane];
        lane.enabled && lane.since < known_at
    }

    /// Whether somebody lives of this application and tag of whom everybody knows who knew everything at that step.
    pub(super) fn has(&self, letter: usize, tag: Option<usize>, known_at: u64) -> bool {
        self.registry.iter().zip(&self.places).any(|(entry, life)| match (entry, life) {
            (Some(entry), Some(life)) => {
                entry.life.number == life.number
                    && life.letter == letter
                    && life.tag == tag
                    && entry.since < known_at
            }
            _ => false,
        })
    }
}
