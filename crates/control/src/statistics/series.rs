//! What tells series apart, and the numbers that stand for them.

use std::{collections::HashMap, sync::Arc};

use super::cell::Cell;

/// Series that are counted apart. 10 000 data planes of 500 applications, each with 20 series, have about 10 000: those of
/// the same application are one. What comes later is counted as `other`.
pub(crate) const SERIES_MAX: usize = 20_000;

/// Of these, such as one teller has: a gateway or the sidecars of an application. What comes later is counted as its `other`;
/// nobody takes the room of all.
pub(crate) const OF_TELLER_MAX: usize = 2_000;

/// Bytes of a label; names of services are DNS names at the longest.
pub(crate) const LABEL_BYTES_MAX: usize = 253;

/// Stands for the labels of what exceeds [`SERIES_MAX`].
const OTHER: &str = "other";

/// From where requests were counted, or what else was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Role {
    /// At a gateway.
    Gateway = 1,
    /// Where an application was handed them.
    Inbound = 2,
    /// On an application's way out.
    Outbound = 3,
    /// What an entrance put into lanes.
    Entered = 4,
    /// Bytes received and sent, misrouted arrivals, ejections: in the places of classes 0 to 3.
    Process = 5,
}

/// How requests ended, as `TrafficOutcome` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Outcome {
    Unknown = 0,
    Lane = 1,
    Fallback = 2,
    Base = 3,
    Denied = 4,
    Failed = 5,
    Cut = 6,
}

impl Role {
    pub(crate) fn of(number: i32) -> Option<Self> {
        [Self::Gateway, Self::Inbound, Self::Outbound, Self::Entered, Self::Process]
            .into_iter()
            .find(|role| *role as i32 == number)
    }
}

impl Outcome {
    const KNOWN: [Self; 6] =
        [Self::Lane, Self::Fallback, Self::Base, Self::Denied, Self::Failed, Self::Cut];

    pub(crate) fn of(number: i32) -> Self {
        let found = Self::KNOWN.into_iter().find(|outcome| *outcome as i32 == number);
        found.unwrap_or(Self::Unknown)
    }

    /// As [`Self::as_str`] writes it.
    pub(crate) fn read(text: &str) -> Self {
        Self::KNOWN.into_iter().find(|it| it.as_str() == text).unwrap_or(Self::Unknown)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Lane => "lane",
            Self::Fallback => "fallback",
            Self::Base => "base",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}

/// What tells series apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Labels {
    pub(crate) role: Role,
    /// Who told it: the gateway, or the application whose sidecar it was.
    pub(crate) teller: Box<str>,
    /// Who serves.
    pub(crate) application: Box<str>,
    pub(crate) service: Box<str>,
    pub(crate) route: Box<str>,
    pub(crate) group: Box<str>,
    /// The tag; empty is base.
    pub(crate) lane: Box<str>,
    pub(crate) outcome: Outcome,
}

/// How long spans of time are, in seconds: those that are in memory, and the two that are on disk alone.
pub(crate) const TIERS: [u64; 3] = [1, 10, 300];

/// One series with what is being counted of it.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Arc<Labels>,
    /// Of each tier's open span.
    pub(crate) open: [Cell; TIERS.len()],
    /// The second of its latest request.
    pub(crate) latest: u64,
    /// Its labels are on disk.
    pub(crate) is_kept: bool,
}

/// All series that anything was heard of lately, by numbers that are never used again.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_labels: HashMap<Arc<Labels>, u32>,
    by_teller: HashMap<Box<str>, usize>,
    all: HashMap<u32, Series>,
    next: u32,
}

impl Table {
    /// Gives no number below this one.
    pub(crate) fn reserve(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    /// A series of before a restart.
    pub(crate) fn restore(&mut self, number: u32, labels: Labels) {
        let labels = Arc::new(labels);
        *self.by_teller.entry(labels.teller.clone()).or_default() += 1;
        self.by_labels.insert(Arc::clone(&labels), number);
        self.all
            .insert(number, Series { labels, open: Default::default(), latest: 0, is_kept: true });
    }

    /// The number of a series; of a new one, too, or of the one that stands for those that are too many. With what it is known
    /// by, which all who tell of it share.
    pub(crate) fn number(&mut self, labels: Labels) -> (u32, Arc<Labels>) {
        if let Some((labels, number)) = self.by_labels.get_key_value(&labels) {
            return (*number, Arc::clone(labels));
        }
        let of_teller = self.by_teller.get(&labels.teller).copied().unwrap_or_default();
        let is_full = self.all.len() >= SERIES_MAX;
        if is_full || of_teller >= OF_TELLER_MAX {
            let other = || Box::<str>::from(OTHER);
            let teller = if is_full { other() } else { labels.teller.clone() };
            let of_rest = Labels {
                teller,
                application: other(),
                service: other(),
                route: other(),
                group: other(),
                lane: other(),
                ..labels
            };
            // Roles and outcomes are few: so many come on top.
            return match self.by_labels.get_key_value(&of_rest) {
                Some((labels, number)) => (*number, Arc::clone(labels)),
                None => self.add(of_rest),
            };
        }
        self.add(labels)
    }

    fn add(&mut self, labels: Labels) -> (u32, Arc<Labels>) {
        let (number, labels) = (self.next, Arc::new(labels));
        self.next += 1;
        *self.by_teller.entry(labels.teller.clone()).or_default() += 1;
        self.by_labels.insert(Arc::clone(&labels), number);
        let series = Series {
            labels: Arc::clone(&labels),
            open: Default::default(),
            latest: 0,
            is_kept: false,
        };
        self.all.insert(number, series);
        (number, labels)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Series> {
        self.all.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Series> {
        self.all.get_mut(&number)
    }

    /// Labels that were on their way to the disk may not have come there: they are written again.
    pub(crate) fn forget_what_is_kept(&mut self) {
        for series in self.all.values_mut() {
            series.is_kept = false;
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Series)> {
        self.all.iter().map(|(number, series)| (*number, series))
    }

    /// Forgets what nothing was heard of since a second, and nothing is open of.
    pub(crate) fn forget_before(&mut self, second: u64) {
        self.all.retain(|_, series| {
            series.latest >= second || series.open.iter().any(|open| !open.is_empty())
        });
        self.by_labels.retain(|_, number| self.all.contains_key(number));
        self.by_teller.clear();
        for labels in self.by_labels.keys() {
            *self.by_teller.entry(labels.teller.clone()).or_default() += 1;
        }
    }
}
