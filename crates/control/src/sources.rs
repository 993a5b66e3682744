//! How the sources of instances stand, as whoever runs them says.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use api::resource::EMBEDDED_SOURCE;
use telemetry::{
    Samples,
    names::{self, label},
};

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not told everything yet. Until then what data planes hold of it stays.
    Syncing {
        /// What keeps it from that, if it is known.
        problem: Option<String>,
    },
    /// It has told everything, and is in contact.
    Synced,
    /// The same, and what it is told is not as somebody will want it.
    SyncedBut {
        /// What is odd, for people.
        problem: String,
    },
    /// It has told everything once, and is out of contact: its last picture stays.
    Stale {
        /// Since when.
        since: Instant,
        /// Why, for people.
        problem: String,
    },
}

impl Standing {
    /// Whether everything there is has been told at least once.
    pub(crate) fn has_synced(&self) -> bool {
        !matches!(self, Self::Syncing { .. })
    }

    /// It in one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Syncing { .. } => "syncing",
            Self::Synced | Self::SyncedBut { .. } => "synced",
            Self::Stale { .. } => "stale",
        }
    }

    /// For how long its picture has been stale.
    pub(crate) fn stale_for(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Syncing { .. } | Self::Synced | Self::SyncedBut { .. } => None,
            Self::Stale { since, .. } => Some(now.saturating_duration_since(*since)),
        }
    }

    /// What keeps it from being synced, or is odd with it, if that is known.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Syncing { problem } => problem.as_deref(),
            Self::Synced => None,
            Self::SyncedBut { problem } | Self::Stale { problem, .. } => Some(problem),
        }
    }
}

/// The sources there are, by name.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_name: BTreeMap<String, Standing>,
    /// Nobody has ever registered here: what is not registered is not about to come back.
    nobody_returns: bool,
}

impl Sources {
    /// A source exists, and has not told anything yet.
    pub(crate) fn add(&mut self, name: &str) {
        self.by_name.entry(name.to_owned()).or_insert(Standing::Syncing { problem: None });
    }

    /// A source was removed.
    pub(crate) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Whether there is such a source.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A source stands otherwise than before. Returns whether it has told everything for the first time. What is
    /// still said of a source that was removed is not heard.
    pub(crate) fn stands(&mut self, name: &str, standing: Standing) -> bool {
        let Some(before) = self.by_name.get_mut(name) else { return false };
        let is_first = standing.has_synced() && !before.has_synced();
        *before = standing;
        is_first
    }

    /// Whether everything of a source (lower-case) is known; also of one that does not exist.
    pub(crate) fn is_synced(&self, name: &str) -> bool {
        let mut same = self.by_name.iter().filter(|(have, _)| have.to_lowercase() == name);
        same.all(|(name, standing)| self.has_told_all(name, standing))
    }

    /// Whether everything of every source is known.
    pub(crate) fn all_synced(&self) -> bool {
        self.by_name.iter().all(|(name, standing)| self.has_told_all(name, standing))
    }

    /// Whether sidecars that registered before may be about to do so again.
    pub(crate) fn await_return(&mut self, awaited: bool) {
        self.nobody_returns = !awaited;
    }

    fn has_told_all(&self, name: &str, standing: &Standing) -> bool {
        standing.has_synced() || self.nobody_returns && name == EMBEDDED_SOURCE
    }

    /// How a source stands; `None`: there is none of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Standing> {
        self.by_name.get(name)
    }

    /// Sources by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Standing)> {
        self.by_name.iter().map(|(name, standing)| (name.as_str(), standing))
    }

    /// Adds samples of every source.
    pub(crate) fn measure(&self, samples: &mut Samples, now: Instant) {
        for (name, standing) in &self.by_name {
            let labels = [(label::SOURCE, name.as_str())];
            samples.add(names::SOURCE_SYNCED, &labels, f64::from(u8::from(standing.has_synced())));
            // Of one that was never in contact no age is true.
            if standing.has_synced() {
                let age = standing.stale_for(now).unwrap_or_default();
                samples.add(names::SOURCE_AGE, &labels, age.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_synced_once_and_stays_so_while_it_is_stale() {
        let now = Instant::now();
        let mut sources = Sources::default();
        sources.add("Fixed");
        let failing = Standing::Syncing { problem: Some("no route".to_owned()) };
        assert!(!sources.stands("Fixed", failing.clone()) && !sources.is_synced("fixed"));
        assert_eq!(sources.get("Fixed"), Some(&failing));
        assert!(sources.stands("Fixed", Standing::Synced), "that is news");
        let stale = Standing::Stale { since: now, problem: "it closed".to_owned() };
        assert!(!sources.stands("Fixed", stale) && sources.all_synced());
        assert!(!sources.stands("Fixed", Standing::Synced), "that is none");
        // Created again, it has to tell everything again; removed, it is not heard.
        sources.remove("Fixed");
        assert!(!sources.stands("Fixed", Standing::Synced) && !sources.contains("Fixed"));
        sources.add("Fixed");
        assert!(!sources.is_synced("fixed") && sources.is_synced("another"));
    }

    #[test]
    fn every_standing_shows_in_the_metrics() {
        let now = Instant::now();
        let mut sources = Sources::default();
        for name in ["late", "good", "lost"] {
            sources.add(name);
        }
        sources.stands("good", Standing::Synced);
        sources.stands("lost", Standing::Stale { since: now, problem: "it closed".to_owned() });
        let metrics = telemetry::Metrics::new();
        let after = now + Duration::from_secs(90);
        metrics.collect_from(move |samples| sources.measure(samples, after));
        let text = metrics.render();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("laneway_source_")).collect();
        assert_eq!(
            lines,
            [
                "laneway_source_age_seconds{source=\"good\"} 0",
                "laneway_source_age_seconds{source=\"lost\"} 90",
                "laneway_source_synced{source=\"good\"} 1",
                "laneway_source_synced{source=\"late\"} 0",
                "laneway_source_synced{source=\"lost\"} 1",
            ]
        );
    }
}
