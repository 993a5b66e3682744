//! Promotions: the way of a lane's version into base, step by step, resumable, abandoned at any step.
//!
//! The order is why no request meets the wrong version. Base gets the lane's version *while the lane stays open*: whoever
//! is in the lane keeps meeting the new version, on the lane's own instances, and base serves whom it served. Only when
//! base is new are the entrances closed (the lane is paused): who would have entered meets the same version in base, and
//! what is in the lane finishes there. Closed first, requests of the lane would have gone back to the old version until
//! base was new, and to a mixture while it became so. When nothing is in the lane it is deleted.
//!
//! Nothing here changes a workload. What is changed is the lane: `entry.paused`, and at the end it is deleted. Where somebody
//! else changes the lane meanwhile the promotion ends and changes nothing more ([`strange`]).
//!
//! This file says what promotions are; [`checks`] what must hold before each next step, pure; `of_control` does it.

use std::collections::BTreeMap;

use api::{
    resource::{Key, Lane, Object},
    rest::{
        PromotionCheck, PromotionConfirmation, PromotionStatus, PromotionStep, PromotionStepState,
        PromotionStepStatus,
    },
    time::rfc3339,
};
use serde_json::Value;

use crate::{
    ledger::Rejection,
    store::{Change, StoredPromotion},
};

mod checks;
mod of_control;
#[cfg(test)]
mod tests;

pub(crate) use of_control::{follow, lane_key};

/// Promotions that have ended and are still told: who looks later sees how; of more the oldest are forgotten.
const ENDED_MAX: usize = 256;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromotionError {
    /// There is no such lane, or none of its promotion.
    #[error("{0}")]
    NotFound(String),
    /// It does not go with how things stand.
    #[error("{0}")]
    Conflict(String),
    /// What was sent is wrong.
    #[error("{0}")]
    Invalid(lanes::Problem),
    /// The lane is not changed, or nothing can be kept.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// All promotions that are kept, by the object of their lane.
#[derive(Debug, Default)]
pub(crate) struct Promotions(BTreeMap<Key, StoredPromotion>);

impl Promotions {
    pub(crate) fn new(stored: Vec<StoredPromotion>) -> Self {
        Self(stored.into_iter().map(|it| (it.lane.clone(), it)).collect())
    }

    fn get(&self, lane: &Key) -> Option<&StoredPromotion> {
        self.0.get(lane)
    }

    fn all(&self) -> impl Iterator<Item = &StoredPromotion> {
        self.0.values()
    }

    fn active(&self) -> impl Iterator<Item = &StoredPromotion> {
        self.all().filter(|it| it.end.is_none())
    }

    fn put(&mut self, promotion: StoredPromotion) {
        self.0.insert(promotion.lane.clone(), promotion);
    }

    /// Those that are forgotten where one more ends.
    fn forgotten(&self) -> Vec<Key> {
        let mut ended: Vec<(&str, &Key)> = (self.all())
            .filter_map(|it| Some((it.end.as_ref()?.time.as_str(), &it.lane)))
            .collect();
        ended.sort_unstable();
        let more = (ended.len() + 1).saturating_sub(ENDED_MAX);
        ended.into_iter().take(more).map(|(_, lane)| lane.clone()).collect()
    }

    fn forget(&mut self, lanes: &[Key]) {
        for lane in lanes {
            self.0.remove(lane);
        }
    }
}

/// What of a lane is nobody's to change while it is promoted.
fn fixed(lane: &Lane) -> Value {
    let mut spec = Object::from(lane.clone()).to_value()["spec"].take();
    if let Some(Value::Object(entry)) = spec.get_mut("entry") {
        entry.remove("paused");
    }
    spec
}

/// A specification that another release may have kept, as this one writes it: a field that is new is no change.
fn as_written_now(spec: &Value, lane: &Lane) -> Value {
    let mut value = Object::from(lane.clone()).to_value();
    value["spec"] = spec.clone();
    match Object::from_value(value) {
        Ok(Object::Lane(before)) => fixed(&before),
        _ => spec.clone(),
    }
}

/// How a lane differs from what its promotion has left, if somebody else has changed it; `None` is the lane that is gone.
fn strange(promotion: &StoredPromotion, lane: Option<&Lane>) -> Option<String> {
    let is_same = |lane: &&Lane| lane.metadata.uid.as_deref() == Some(&promotion.uid);
    let Some(lane) = lane.filter(is_same) else {
        // Deleted by the promotion itself, which was ended before it could say so.
        let is_own = promotion.step == PromotionStep::Remove && promotion.pending;
        return (!is_own).then(|| "the lane was deleted".to_owned());
    };
    let (before, now) = (as_written_now(&promotion.spec, lane), fixed(lane));
    if now != before {
        let fields = differing(&before, &now);
        return Some(format!("{} of the lane was changed", fields.join(", ")));
    }
    let is_closed = promotion.step >= PromotionStep::Drain;
    let expected = is_closed || promotion.was_paused;
    // Whether the change is made yet is not known after a restart in the midst of it.
    let is_open_still = promotion.step == PromotionStep::Drain && promotion.pending;
    let paused = lane.spec.entry.paused;
    (paused != expected && !is_open_still).then(|| {
        let what = if paused { "paused" } else { "resumed" };
        format!("the lane was {what}")
    })
}

/// Fields of two specifications that differ, outermost first.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let [before, after] = [before, after].map(|it| it.as_object().unwrap_or(&empty));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&&String| before.get(**name) != after.get(**name);
    names.iter().filter(differs).map(|name| format!("spec.{name}")).collect()
}

/// A promotion as it is told; `checks`: those of its current step.
fn told(promotion: &StoredPromotion, checks: Vec<PromotionCheck>) -> PromotionStatus {
    let confirmed = |step: PromotionStep| -> Vec<PromotionConfirmation> {
        let of = promotion.confirmed.iter().filter(|(of, _)| *of == step);
        of.map(|(_, confirmation)| confirmation.clone()).collect()
    };
    let mut checks = Some(checks);
    let step = |step: PromotionStep| {
        let is_promoted = promotion
            .end
            .as_ref()
            .is_some_and(|end| end.outcome == api::rest::PromotionOutcome::Promoted);
        let state = if step < promotion.step || is_promoted {
            PromotionStepState::Done
        } else if step == promotion.step && promotion.end.is_none() {
            PromotionStepState::Current
        } else {
            PromotionStepState::Later
        };
        let is_current = state == PromotionStepState::Current;
        let checks = if is_current { checks.take().unwrap_or_default() } else { Vec::new() };
        PromotionStepStatus { step, state, checks, confirmed: confirmed(step) }
    };
    PromotionStatus {
        lane: promotion.lane.clone(),
        group: promotion.group.clone(),
        tag: promotion.tag.clone(),
        applications: promotion.applications.keys().cloned().collect(),
        started: time_text(promotion.started),
        started_by: promotion.started_by.clone(),
        step: promotion.step,
        steps: PromotionStep::ALL.into_iter().map(step).collect(),
        end: promotion.end.clone(),
    }
}

fn time_text(second: u64) -> String {
    rfc3339(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
}

fn put(promotion: &StoredPromotion) -> Change {
    Change::PutPromotion(Box::new(promotion.clone()))
}
