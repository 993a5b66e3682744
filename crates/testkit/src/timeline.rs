//! What was true when: lanes switched, instances coming and going. Judges whether an answer was right for some state
//! of the last second.
//!
//! Written the slow way and shares no code with what it judges. Between the start of a change and its acknowledgement
//! both states count as possible; an instance is *certain* only while it is known to be registered and alive.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::path::{self, Hop};

/// A change must be effective everywhere within this time.
pub const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Everything that happened.
#[derive(Debug, Default)]
pub struct Timeline {
    lanes: HashMap<String, Vec<LaneChange>>,
    /// By address; a restarted instance lives again.
    instances: HashMap<String, Vec<Life>>,
    kills: Vec<(Instant, Instant)>,
}

#[derive(Debug)]
struct LaneChange {
    begun: Instant,
    acknowledged: Instant,
    enabled: bool,
}

/// One instance's life.
#[derive(Debug)]
struct Life {
    name: String,
    tag: Option<String>,
    started: Instant,
    certain_from: Option<Instant>,
    certain_until: Option<Instant>,
    gone: Option<Instant>,
}

/// What a right answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Every hop was base.
    Base,
    /// At least its first hop was in the lane.
    Lane,
    /// It failed, and may have: something on its path was killed meanwhile.
    LostToKill,
}

/// The time in which a state may have been the one that decided.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Timeline {
    /// A lane was switched, by a call that began and was acknowledged at these times.
    pub fn lane_switched(
        &mut self,
        tag: &str,
        enabled: bool,
        begun: Instant,
        acknowledged: Instant,
    ) {
        let changes = self.lanes.entry(tag.to_owned()).or_default();
        changes.push(LaneChange { begun, acknowledged, enabled });
    }

    /// An instance was started: from now on it may be called. `name` is the letter its answers print.
    pub fn instance_started(&mut self, name: &str, tag: Option<&str>, address: &str, at: Instant) {
        let life = Life {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            started: at,
            certain_from: None,
            certain_until: None,
            gone: None,
        };
        self.instances.entry(address.to_owned()).or_default().push(life);
    }

    /// An instance is registered and answers: from now on its tag has a usable instance.
    pub fn instance_certain(&mut self, address: &str, at: Instant) {
        if let Some(life) = self.last_life(address) {
            life.certain_from = Some(at);
        }
    }

    /// An instance is about to be stopped or killed: from now on it cannot be counted on.
    pub fn instance_doubtful(&mut self, address: &str, at: Instant) {
        if let Some(life) = self.last_life(address) {
            life.certain_until = Some(at);
        }
    }

    /// An instance's process has ended: it can have answered nothing that was sent later.
    pub fn instance_gone(&mut self, address: &str, at: Instant) {
        if let Some(life) = self.last_life(address) {
            life.gone = Some(at);
        }
    }

    fn last_life(&mut self, address: &str) -> Option<&mut Life> {
        self.instances.get_mut(address)?.last_mut()
    }

    /// Processes were killed between these times: requests in flight then may have failed.
    pub fn killed(&mut self, from: Instant, until: Instant) {
        self.kills.push((from, until));
    }

    /// Judges one answer of a request that would enter the lane `mark`, or none.
    ///
    /// # Errors
    /// Says what was wrong.
    pub fn judge(
        &self,
        mark: Option<&str>,
        sent: Instant,
        answered: Instant,
        outcome: &Result<(u16, String), String>,
    ) -> Result<Judgement, String> {
        let body = match outcome {
            Ok((200, body)) => body,
            Ok((_, reason)) | Err(reason) => {
                return if self.may_have_failed(sent, answered) {
                    Ok(Judgement::LostToKill)
                } else {
                    Err(format!("failed though nothing was killed: {reason}"))
                };
            }
        };
        let hops = path::parse(body).map_err(|error| format!("{error:#} in `{body}`"))?;
        let window =
            Window { from: sent.checked_sub(EFFECTIVE_WITHIN).unwrap_or(sent), until: answered };
        for hop in &hops {
            self.judge_hop(mark, hop, sent, window)
                .map_err(|wrong| format!("{wrong} in `{body}`"))?;
        }
        let first = hops.first().ok_or("no hop")?;
        if first.tag.is_some() {
            return Ok(Judgement::Lane);
        }
        if let (Some(tag), Some(hop)) = (mark, hops.iter().find(|hop| hop.tag.is_some()))
            && !self.may_lack(&first.name, tag, window)
        {
            // The entrance chose base though the lane had instances, so it had decided that the request is base.
            return Err(format!(
                "{} is in the lane of a request that entered as base in `{body}`",
                hop.name
            ));
        }
        Ok(Judgement::Base)
    }

    fn judge_hop(
        &self,
        mark: Option<&str>,
        hop: &Hop,
        sent: Instant,
        window: Window,
    ) -> Result<(), String> {
        let shown =
            format!("{}{}[{}]", hop.name, hop.tag.as_deref().unwrap_or_default(), hop.address);
        let lives = self.instances.get(&hop.address).ok_or_else(|| format!("{shown} is nobody"))?;
        // An address may have been another's before.
        let mut its_own =
            lives.iter().filter(|it| it.name == hop.name && it.tag == hop.tag).peekable();
        if its_own.peek().is_none() {
            return Err(format!("{shown} is not what was started at this address"));
        }
        let alive =
            |life: &Life| life.started <= window.until && life.gone.is_none_or(|gone| gone >= sent);
        if !its_own.any(alive) {
            return Err(format!("{shown} was not alive"));
        }
        match (&hop.tag, mark) {
            (Some(tag), Some(mark)) if tag == mark => {
                if self.lane_may_be(mark, true, window) {
                    Ok(())
                } else {
                    Err(format!("{shown} though lane {mark} was disabled for a second"))
                }
            }
            (Some(_), Some(mark)) => Err(format!("{shown} got a request of lane {mark}")),
            (Some(_), None) => Err(format!("{shown} got an unmarked request")),
            (None, Some(mark)) => {
                if self.lane_may_be(mark, false, window) || self.may_lack(&hop.name, mark, window) {
                    Ok(())
                } else {
                    let why = format!("lane {mark} was enabled and had instances for a second");
                    Err(format!("{shown} got a request of the lane though {why}"))
                }
            }
            (None, None) => Ok(()),
        }
    }

    /// Whether a lane may have been in this state at some moment of the window. Lanes nobody made are disabled.
    fn lane_may_be(&self, tag: &str, enabled: bool, window: Window) -> bool {
        let changes = self.lanes.get(tag).map(Vec::as_slice).unwrap_or_default();
        let before = changes.first().is_none_or(|first| window.from <= first.acknowledged);
        if before && !enabled {
            return true;
        }
        changes.iter().enumerate().any(|(index, change)| {
            let replaced = changes.get(index + 1).map(|next| next.acknowledged);
            change.enabled == enabled
                && change.begun <= window.until
                && replaced.is_none_or(|replaced| replaced >= window.from)
        })
    }

    /// Whether at some moment of the window the tag may have had no usable instance of this application.
    fn may_lack(&self, name: &str, tag: &str, window: Window) -> bool {
        let mut certain: Vec<_> = self
            .instances
            .values()
            .flatten()
            .filter(|life| life.name == name && life.tag.as_deref() == Some(tag))
            .filter_map(|life| Some((life.certain_from?, life.certain_until)))
            .collect();
        certain.sort();
        let mut covered_until = window.from;
        for (from, until) in certain {
            if from > covered_until {
                return true;
            }
            match until {
                None => return false,
                Some(until) => covered_until = covered_until.max(until),
            }
        }
        covered_until < window.until
    }

    fn may_have_failed(&self, sent: Instant, answered: Instant) -> bool {
        self.kills.iter().any(|(from, until)| *from <= answered && *until >= sent)
    }
}

#[cfg(test)]
mod tests;
