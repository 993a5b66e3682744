//! What the sources that a Nacos is joined to say of its instances, and what is still waited for. Time is an argument.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lanes::{Problem, Tag};
use tokio::{sync::watch, time::Instant};

use crate::joined::{Answer, Joined};

/// How long an instance is held back that no source knows.
pub(super) const HELD_BACK: Duration = Duration::from_secs(10);

/// Which sources are asked, and what they said.
#[derive(Debug)]
pub(super) struct Joins {
    joined: Joined,
    /// In the order they are asked: the first that knows an address counts.
    to: Vec<String>,
    /// Whether who has an IP address to itself is one process.
    shares_ip: bool,
    known: HashMap<SocketAddr, Known>,
    /// What they had said when all were looked at.
    seen: u64,
}

/// What is known of whatever is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// Nobody knows it yet, since then.
    Waiting(Instant),
    /// This is its tag, says the source of that place in their order; it is remembered after that has forgotten it: a sidecar may
    /// die before its application.
    Tag(usize, Option<Tag>),
    /// That source says this, which is no one tag.
    Unclear(usize, String),
    /// Nobody knew it in time.
    Nobody,
}

/// What joined sources say of an instance whose registration says nothing of its tag.
#[derive(Debug)]
pub(super) enum Said {
    /// Its tag; none is the base.
    Tag(Option<Tag>),
    /// What is no one tag.
    Unclear(Problem),
    /// Nothing yet: until then it is neither base nor in a lane.
    NotYet,
}

impl Joins {
    pub(super) fn new(joined: &Joined, to: &[String], shares_ip: bool) -> Self {
        Self { joined: joined.clone(), to: to.to_vec(), shares_ip, known: HashMap::new(), seen: 0 }
    }

    /// Wakes whenever it is worth looking again.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.joined.changes()
    }

    /// Whether nobody is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// Whether the sources have said something else since this was asked last.
    pub(super) fn have_changed(&mut self) -> bool {
        let version = self.joined.version(&self.to);
        std::mem::replace(&mut self.seen, version) != version
    }

    /// Asks of instances at these addresses; says of which something else is known than before.
    pub(super) fn look(
        &mut self,
        addresses: impl Iterator<Item = SocketAddr>,
        now: Instant,
    ) -> HashSet<SocketAddr> {
        addresses.filter(|address| self.look_at(*address, now)).collect()
    }

    fn look_at(&mut self, address: SocketAddr, now: Instant) -> bool {
        let before = self.known.get(&address);
        let is = match (self.asked(address), before) {
            // One that is asked first has said it, and has forgotten it since.
            (Some(Known::Tag(of, _) | Known::Unclear(of, _)), Some(Known::Tag(first, _)))
                if *first < of =>
            {
                return false;
            }
            (Some(said), _) => said,
            (None, None | Some(Known::Unclear(..))) => Known::Waiting(now),
            (None, Some(Known::Waiting(since))) if *since + HELD_BACK <= now => Known::Nobody,
            (None, Some(_)) => return false,
        };
        let is_other = before != Some(&is);
        if is_other {
            self.known.insert(address, is);
        }
        is_other
    }

    /// What the first says that knows the address.
    fn asked(&self, address: SocketAddr) -> Option<Known> {
        let mut sources = self.to.iter().enumerate();
        sources.find_map(|(of, source)| match self.joined.answer(source, address, self.shares_ip) {
            Answer::Unknown => None,
            Answer::Tag(tag) => Some(Known::Tag(of, tag)),
            Answer::Unclear(words) => Some(Known::Unclear(of, words)),
        })
    }

    /// Forgets all other addresses.
    pub(super) fn keep_only(&mut self, addresses: &HashSet<SocketAddr>) {
        self.known.retain(|address, _| addresses.contains(address));
    }

    /// How many are waited for.
    pub(super) fn waits_for(&self) -> usize {
        self.known.values().filter(|known| matches!(known, Known::Waiting(_))).count()
    }

    /// Who is waited for, in words.
    pub(super) fn sources(&self) -> String {
        self.to.join(", ")
    }

    /// The tag of an instance whose registration says nothing of it.
    pub(super) fn tag(&self, address: SocketAddr) -> Said {
        match self.known.get(&address) {
            _ if self.to.is_empty() => Said::Tag(None),
            Some(Known::Tag(_, tag)) => Said::Tag(tag.clone()),
            Some(Known::Nobody) => Said::Tag(None),
            Some(Known::Unclear(of, words)) => {
                let source = &self.to[*of];
                let remedy = format!(
                    "source {source} says these at its address: let its registration in Nacos name its tag, or base"
                );
                Said::Unclear(Problem::new("tag", words, remedy))
            }
            Some(Known::Waiting(_)) | None => Said::NotYet,
        }
    }

    /// What is odd where an instance's registration, or that of its address, says `tag`: it counts, whoever else says another.
    pub(super) fn contradiction(&self, address: SocketAddr, tag: Option<&Tag>) -> Option<Problem> {
        let Some(Known::Tag(of, other)) = self.known.get(&address) else { return None };
        let source = &self.to[*of];
        let word = |tag: Option<&Tag>| tag.map_or_else(|| "base".to_owned(), Tag::to_string);
        (other.as_ref() != tag).then(|| {
            let (own, other) = (word(tag), word(other.as_ref()));
            let remedy = format!(
                "Nacos says {own}, which counts, and source {source} says {other}: let both say the same"
            );
            Problem::new("tag", format!("{own}, {other}"), remedy)
        })
    }
}
