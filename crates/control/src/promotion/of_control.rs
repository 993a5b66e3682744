//! What the control plane does for promotions: starts, looks, goes on, abandons, and notices what others do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use api::{
    resource::{Fallback, Key, Kind, Lane, LaneGroup, Object, Set},
    rest::{
        Action, FieldChange, PROMOTION_IDLE_SECONDS, PromotionCheck, PromotionConfirmation,
        PromotionEnd, PromotionNextRequest, PromotionOutcome, PromotionRequest, PromotionStatus,
        PromotionStep, VerdictState,
    },
    time::rfc3339,
};
use lanes::{Problem, service::Health};
use parking_lot::MutexGuard;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::{
    PromotionError, Promotions, checks,
    checks::{Reached, Requests, Seen},
    fixed, put, strange, told,
};
use crate::{
    Control,
    audit::{self, Authorship},
    ledger::{Edit, Precondition, Transaction},
    statistics::{question::Wanted, series::Role},
    store::{AuditQuery, BaseBefore, Change, StoredPromotion},
};

/// How often promotions are looked after while nobody asks: somebody else's change is told within this.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// Seconds before a promotion that base is judged by.
const HOUR: u64 = 3_600;

/// Seconds of which memory tells: base with the new version is judged by no more.
const LATELY_MAX: u64 = 900;

/// Seconds that a lane may have to be without a request: memory tells of more.
const IDLE_SECONDS_MAX: u32 = 600;

/// Instances that an end names.
const LEFT_MAX: usize = 100;

/// Instances of a lane that are there, as `application address`.
#[derive(Debug, Default)]
struct Left {
    /// Those that nothing uses once the lane is gone.
    to_stop: Vec<String>,
    /// Those that lanes of other groups use, which are named with them.
    shared: Vec<String>,
}

/// Looks after promotions for as long as the control plane is there.
pub(crate) async fn follow(control: Weak<Control>) {
    let mut ticks = tokio::time::interval(LOOKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(control) = control.upgrade() else { return };
        let active: Vec<Key> = control.promotions().active().map(|it| it.lane.clone()).collect();
        for lane in active {
            let _one = control.promoting.lock().await;
            if let Err(error) = control.notice(&lane).await {
                tracing::warn!(%lane, %error, "that a promotion has ended could not be kept");
            }
        }
    }
}

/// What is asked of a promotion.
impl Control {
    /// Begins to promote a lane.
    pub(crate) async fn start_promotion(
        self: &Arc<Self>,
        key: &Key,
        request: PromotionRequest,
        by: &Authorship,
    ) -> Result<PromotionStatus, PromotionError> {
        let idle_seconds = request.idle_seconds.unwrap_or(PROMOTION_IDLE_SECONDS);
        if !(1..=IDLE_SECONDS_MAX).contains(&idle_seconds) {
            let remedy = format!("use 1 to {IDLE_SECONDS_MAX}");
            let problem = Problem::new("idleSeconds", idle_seconds.to_string(), remedy);
            return Err(PromotionError::Invalid(problem));
        }
        let _one = self.promoting.lock().await;
        self.notice(key).await?;
        let lane = self
            .lane_at(key)
            .ok_or_else(|| PromotionError::NotFound(format!("{key} does not exist")))?;
        let name = lane.lane_name();
        if self.promotions().active().any(|it| it.lane == *key) {
            let why =
                format!("{name} is being promoted already: go on with it, or abandon it first");
            return Err(PromotionError::Conflict(why));
        }
        self.refuse_beginning(&lane, request.anew)?;
        let applications = self.members(&lane);
        if applications.is_empty() {
            let why = format!(
                "no application of {} has an instance in {name}: there is nothing to promote",
                lane.spec.group
            );
            return Err(PromotionError::Conflict(why));
        }
        let now = second_of(SystemTime::now());
        let promotion = StoredPromotion {
            lane: key.clone(),
            uid: lane.metadata.uid.clone().unwrap_or_default(),
            group: lane.spec.group.clone(),
            tag: lane.tag_text().to_owned(),
            spec: fixed(&lane),
            was_paused: lane.spec.entry.paused,
            started: now,
            started_by: by.author.clone(),
            idle_seconds,
            applications: self.base_before(applications).await,
            step: PromotionStep::Verdict,
            since: now,
            pending: false,
            confirmed: Vec::new(),
            end: None,
        };
        let entry = of_audit(&promotion, Action::Created, Vec::new(), by);
        self.keep(promotion.clone(), vec![entry]).await?;
        let message = format!("{} promotes it to base", by.author);
        self.tell(&promotion, false, "PromotionStarted", message);
        Ok(told(&promotion, self.checks(&promotion).await))
    }

    /// How the promotion of a lane stands.
    pub(crate) async fn promotion(
        self: &Arc<Self>,
        key: &Key,
    ) -> Result<PromotionStatus, PromotionError> {
        {
            let _one = self.promoting.lock().await;
            self.notice(key).await?;
        }
        self.as_it_stands(key).await
    }

    /// The same of what is kept, whatever became of the lane since.
    async fn as_it_stands(self: &Arc<Self>, key: &Key) -> Result<PromotionStatus, PromotionError> {
        let found = self.promotions().get(key).cloned();
        let promotion = found.ok_or_else(|| not_promoted(key))?;
        let checks = match promotion.end {
            None => self.checks(&promotion).await,
            Some(_) => Vec::new(),
        };
        Ok(told(&promotion, checks))
    }

    /// All promotions, those that have ended lately too; what must hold is told of one alone.
    pub(crate) fn promotions_told(&self) -> Vec<PromotionStatus> {
        self.promotions().all().map(|it| told(it, Vec::new())).collect()
    }

    /// Goes on to the next step.
    pub(crate) async fn go_on_promoting(
        self: &Arc<Self>,
        key: &Key,
        request: PromotionNextRequest,
        by: &Authorship,
    ) -> Result<PromotionStatus, PromotionError> {
        let _one = self.promoting.lock().await;
        self.notice(key).await?;
        let mut promotion = self.active(key)?;
        if request.step != promotion.step {
            let (is, given) = (promotion.step.word(), request.step.word());
            let why = format!("the promotion is at step {is}, not {given}: look at it again");
            return Err(PromotionError::Conflict(why));
        }
        if promotion.step == PromotionStep::Drain && promotion.pending {
            self.close_entrances(&mut promotion, by).await?;
        }
        let checks = self.checks(&promotion).await;
        confirm(&mut promotion, &checks, &request.confirm, by)?;
        if promotion.step == PromotionStep::Verdict {
            // Base is replaced from now on: who came into the lane meanwhile is looked at too.
            let come = self.base_before(self.come_since(&promotion)).await;
            promotion.applications.extend(come);
        }
        let before = promotion.step;
        match before.next() {
            None => self.remove(promotion, by).await?,
            Some(next) => {
                promotion.step = next;
                promotion.since = second_of(SystemTime::now());
                promotion.pending = next == PromotionStep::Drain && !promotion.was_paused;
                let change = FieldChange {
                    field: "step".to_owned(),
                    before: Some(before.word().into()),
                    after: Some(next.word().into()),
                    taken_back: false,
                };
                let entry = of_audit(&promotion, Action::Configured, vec![change], by);
                self.keep(promotion.clone(), vec![entry]).await?;
                let message = format!("{} went on with the promotion: {}", by.author, next.word());
                self.tell(&promotion, false, "PromotionStep", message);
                if promotion.pending {
                    self.close_entrances(&mut promotion, by).await?;
                }
            }
        }
        self.as_it_stands(key).await
    }

    /// Ends a promotion; what it has changed of the lane is as before, and nothing else.
    pub(crate) async fn abandon_promotion(
        self: &Arc<Self>,
        key: &Key,
        by: &Authorship,
    ) -> Result<PromotionStatus, PromotionError> {
        let _one = self.promoting.lock().await;
        self.notice(key).await?;
        let promotion = self.active(key)?;
        let is_closed = self.lane_at(key).is_some_and(|lane| lane.spec.entry.paused);
        let is_ours = promotion.step >= PromotionStep::Drain && !promotion.was_paused;
        let done = if is_closed && is_ours {
            self.set_paused(&promotion, false, by).await?;
            "the lane is open again"
        } else {
            "nothing of the lane had been changed"
        };
        let message = format!("{} abandoned it; {done}", by.author);
        let ended = self.end(promotion, PromotionOutcome::Abandoned, message, by).await?;
        Ok(told(&ended, Vec::new()))
    }

    pub(super) fn promotions(&self) -> MutexGuard<'_, Promotions> {
        self.promotions.lock()
    }

    /// Refuses to begin where the lane is disabled, or nobody has said that he knows of the last promotion's end.
    fn refuse_beginning(&self, lane: &Lane, anew: bool) -> Result<(), PromotionError> {
        let name = lane.lane_name();
        let earlier = self.broken_off(lane);
        if !lane.spec.enabled {
            let earlier = earlier.map(|it| format!("; {it}")).unwrap_or_default();
            let why = format!(
                "{name} is disabled: enable it first, so that its version is seen beside base{earlier}"
            );
            return Err(PromotionError::Conflict(why));
        }
        if let Some(earlier) = earlier.filter(|_| !anew) {
            let why = format!(
                "{earlier}: to begin another say `anew` (`laneway lane promote {name} --anew`)"
            );
            return Err(PromotionError::Conflict(why));
        }
        Ok(())
    }

    /// What became of the last promotion of this very lane, where that is not that it was promoted.
    fn broken_off(&self, lane: &Lane) -> Option<String> {
        let promotions = self.promotions();
        let last =
            promotions.get(&lane.key()).filter(|it| Some(&it.uid) == lane.metadata.uid.as_ref())?;
        let end = last.end.as_ref()?;
        let how = match end.outcome {
            PromotionOutcome::Promoted => return None,
            PromotionOutcome::Abandoned => "abandoned",
            PromotionOutcome::Stopped => "stopped",
        };
        let (name, started) = (lane.lane_name(), super::time_text(last.started));
        let (by, step, time, message) =
            (&last.started_by, last.step.word(), &end.time, &end.message);
        Some(format!(
            "the promotion of {name} that {by} began at {started} was {how} at step {step} at {time}: {message}"
        ))
    }

    fn active(&self, key: &Key) -> Result<StoredPromotion, PromotionError> {
        let promotions = self.promotions();
        let found = promotions.get(key).ok_or_else(|| not_promoted(key))?;
        match &found.end {
            None => Ok(found.clone()),
            Some(end) => {
                let why = format!("the promotion has ended: {}", end.message);
                Err(PromotionError::Conflict(why))
            }
        }
    }
}

/// What is changed.
impl Control {
    /// Ends a promotion whose lane somebody else has changed. Held by whoever calls: `promoting`.
    async fn notice(&self, key: &Key) -> Result<(), PromotionError> {
        let Ok(promotion) = self.active(key) else { return Ok(()) };
        let lane = self.lane_at(key);
        let is_gone =
            lane.as_ref().is_none_or(|it| it.metadata.uid.as_deref() != Some(&promotion.uid));
        let controller = Authorship::default();
        if is_gone && promotion.step == PromotionStep::Remove && promotion.pending {
            let message = removed(&promotion.started_by.to_string(), &self.left(&promotion));
            self.end(promotion, PromotionOutcome::Promoted, message, &controller).await?;
            return Ok(());
        }
        let Some(what) = strange(&promotion, lane.as_ref()) else { return Ok(()) };
        let query = AuditQuery { about: Some(key.to_string()), limit: 1, ..AuditQuery::default() };
        let latest = self.ledger().audit(query).await?.into_iter().next();
        let by = latest.map(|entry| format!(" by {}", entry.author)).unwrap_or_default();
        let is_ours = promotion.step >= PromotionStep::Drain && !promotion.was_paused;
        let still = lane.filter(|it| !is_gone && is_ours && it.spec.entry.paused).map(|lane| {
            let name = lane.lane_name();
            format!("; it is still paused by the promotion: `laneway lane resume {name}` opens it")
        });
        let message = format!("{what}{by}{}", still.unwrap_or_default());
        self.end(promotion, PromotionOutcome::Stopped, message, &controller).await?;
        Ok(())
    }

    async fn close_entrances(
        &self,
        promotion: &mut StoredPromotion,
        by: &Authorship,
    ) -> Result<(), PromotionError> {
        self.set_paused(promotion, true, by).await?;
        promotion.pending = false;
        // It drains from now on, whenever the step began.
        promotion.since = second_of(SystemTime::now());
        self.keep(promotion.clone(), Vec::new()).await
    }

    async fn set_paused(
        &self,
        promotion: &StoredPromotion,
        paused: bool,
        by: &Authorship,
    ) -> Result<(), PromotionError> {
        let revision = self.ledger().view().get(&promotion.lane).map(|it| it.revision.to_string());
        let patch = json!({
            "metadata": {"resourceVersion": revision}, "spec": {"entry": {"paused": paused}},
        });
        let edits = vec![Edit::Patch { key: promotion.lane.clone(), patch }];
        self.transact(Transaction { edits, dry_run: false, by: by.clone() }).await?;
        Ok(())
    }

    async fn remove(
        &self,
        mut promotion: StoredPromotion,
        by: &Authorship,
    ) -> Result<(), PromotionError> {
        let key = promotion.lane.clone();
        let revision = self.ledger().view().get(&key).map(|it| it.revision.to_string());
        promotion.pending = true;
        self.keep(promotion.clone(), Vec::new()).await?;
        let edits = vec![Edit::Delete { key, revision, precondition: Precondition::Present }];
        let done = self.transact(Transaction { edits, dry_run: false, by: by.clone() }).await;
        if let Err(rejection) = done {
            promotion.pending = false;
            self.keep(promotion, Vec::new()).await?;
            return Err(rejection.into());
        }
        let message = removed(&by.author.to_string(), &self.left(&promotion));
        self.end(promotion, PromotionOutcome::Promoted, message, by).await.map(drop)
    }

    async fn end(
        &self,
        mut promotion: StoredPromotion,
        outcome: PromotionOutcome,
        message: String,
        by: &Authorship,
    ) -> Result<StoredPromotion, PromotionError> {
        let left = match outcome {
            PromotionOutcome::Promoted => self.left(&promotion),
            PromotionOutcome::Abandoned | PromotionOutcome::Stopped => Left::default(),
        };
        let first = |of: Vec<String>| of.into_iter().take(LEFT_MAX).collect();
        let [left, shared] = [left.to_stop, left.shared].map(first);
        let time = rfc3339(SystemTime::now());
        let message_told = message.clone();
        promotion.end = Some(PromotionEnd { outcome, time, message: message_told, left, shared });
        let forgotten = self.promotions().forgotten();
        let mut more = vec![of_audit(&promotion, Action::Deleted, Vec::new(), by)];
        more.extend(forgotten.iter().map(|lane| Change::ForgetPromotion { lane: lane.clone() }));
        self.keep(promotion.clone(), more).await?;
        self.promotions().forget(&forgotten);
        let (is_bad, reason) = match outcome {
            PromotionOutcome::Promoted => (false, "Promoted"),
            PromotionOutcome::Abandoned => (false, "PromotionAbandoned"),
            PromotionOutcome::Stopped => (true, "PromotionStopped"),
        };
        self.tell(&promotion, is_bad, reason, message);
        Ok(promotion)
    }

    /// Makes durable how a promotion stands, then shows it.
    async fn keep(
        &self,
        promotion: StoredPromotion,
        mut more: Vec<Change>,
    ) -> Result<(), PromotionError> {
        more.insert(0, put(&promotion));
        self.ledger().journal_all(more).await?;
        self.promotions().put(promotion);
        Ok(())
    }

    fn tell(&self, promotion: &StoredPromotion, is_bad: bool, reason: &str, message: String) {
        self.hub().events_mut().of_object(&promotion.lane, is_bad, reason, message);
        self.nudge();
    }
}

/// What is looked at.
impl Control {
    fn lane_at(&self, key: &Key) -> Option<Lane> {
        match &*self.ledger().view().get(key)?.object {
            Object::Lane(lane) => Some(lane.clone()),
            _ => None,
        }
    }

    /// Applications of the group, those apart that are switched off in the lane, that have an instance in it.
    fn members(&self, lane: &Lane) -> Vec<String> {
        let group = self.ledger().view().get(&lane.group_key()).map(|it| Arc::clone(&it.object));
        let Some(Object::LaneGroup(group)) = group.as_deref() else { return Vec::new() };
        let is_off =
            |name: &String| lane.spec.applications.iter().any(|it| it.name == *name && !it.enabled);
        let all = group.spec.applications.iter().filter(|name| !is_off(name));
        all.filter(|name| !self.seen(name, lane.tag_text()).is_empty()).cloned().collect()
    }

    /// Applications that are in the lane and were not when what is looked at was laid down.
    fn come_since(&self, promotion: &StoredPromotion) -> Vec<String> {
        let members = self.lane_at(&promotion.lane).map(|lane| self.members(&lane));
        let is_new = |name: &String| !promotion.applications.contains_key(name);
        members.unwrap_or_default().into_iter().filter(is_new).collect()
    }

    /// Those of them that nobody has vouched for.
    fn unchecked(&self, promotion: &StoredPromotion) -> Vec<PromotionCheck> {
        if promotion.step == PromotionStep::Verdict {
            return Vec::new();
        }
        let checks = self.come_since(promotion).into_iter().map(|name| checks::scope(&name));
        let is_open =
            |it: &PromotionCheck| promotion.confirmed.iter().all(|(_, by)| by.check != it.id);
        checks.filter(is_open).collect()
    }

    /// Instances of an application with a tag; the empty one is base.
    fn seen(&self, application: &str, tag: &str) -> Vec<Seen> {
        let mut endpoints = BTreeMap::new();
        for service in self.hub().picture().services.of_application(application) {
            for it in service.endpoints() {
                let is = it.tag.as_ref().map_or("", |tag| tag.as_str()) == tag;
                if is && it.health != Health::InvalidTag {
                    endpoints.insert(it.address, it.health);
                }
            }
        }
        let leases = self.leases();
        let seen = endpoints.into_iter().map(|(address, health)| Seen {
            identity: format!("{address} {}", leases.process_at(&address).unwrap_or_default()),
            is_usable: health.takes_requests(),
            is_leaving: health == Health::Draining,
        });
        seen.collect()
    }

    async fn base_before(
        self: &Arc<Self>,
        applications: Vec<String>,
    ) -> BTreeMap<String, BaseBefore> {
        let requests = self.base_requests(applications.iter().cloned().collect(), HOUR).await;
        let of = |name: String| {
            let Requests { all, errors } = requests.get(&name).copied().unwrap_or_default();
            let instances = self.seen(&name, "").into_iter().map(|it| it.identity).collect();
            (name, BaseBefore { instances, requests: all, errors })
        };
        applications.into_iter().map(of).collect()
    }

    /// What base of applications has answered in the latest `window` seconds: as they report themselves, else their callers.
    async fn base_requests(
        self: &Arc<Self>,
        applications: BTreeSet<String>,
        window: u64,
    ) -> BTreeMap<String, Requests> {
        let control = Arc::clone(self);
        let read = move || {
            let wanted = Wanted { window, step: None, is_one: true };
            let statistics = control.statistics();
            let answer = statistics.answer(wanted, Instant::now(), |labels| {
                let is_by_itself = match labels.role {
                    Role::Inbound => true,
                    Role::Gateway | Role::Outbound => false,
                    Role::Entered | Role::Process => return None,
                };
                let is_asked =
                    labels.lane.is_empty() && applications.contains(&*labels.application);
                is_asked.then(|| (labels.application.to_string(), is_by_itself))
            });
            let lines = answer.map(|it| it.lines).unwrap_or_else(|error| {
                tracing::warn!(%error, "the history of statistics cannot be read");
                BTreeMap::new()
            });
            // The application's own come last.
            let counted = lines.into_iter().filter_map(|((name, _), line)| {
                let it = line.into_iter().next()??;
                Some((name, Requests { all: it.requests(), errors: it.errors() }))
            });
            counted.collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// Requests in the lane in the latest seconds, whoever has seen them.
    async fn in_lane(self: &Arc<Self>, promotion: &StoredPromotion) -> u64 {
        let control = Arc::clone(self);
        let (group, tag) = (promotion.group.clone(), promotion.tag.clone());
        let window = promotion.idle_seconds.into();
        let read = move || {
            let wanted = Wanted { window, step: None, is_one: true };
            let answer = control.statistics().answer(wanted, Instant::now(), |labels| {
                (*labels.group == *group && *labels.lane == *tag).then_some(())
            });
            let lines = answer.map(|it| it.lines).unwrap_or_default();
            lines
                .into_values()
                .flatten()
                .flatten()
                .map(|it| it.requests())
                .fold(0, u64::saturating_add)
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// What must hold before the next step.
    async fn checks(self: &Arc<Self>, promotion: &StoredPromotion) -> Vec<PromotionCheck> {
        let applications = || promotion.applications.iter();
        let mut all = match promotion.step {
            PromotionStep::Verdict => {
                let verdict = self.hub().status(&promotion.lane).verdict;
                let state = verdict.as_ref().map_or(VerdictState::TooLittle, |it| it.state);
                let culprit = verdict.and_then(|it| it.culprit);
                let is_paused =
                    self.lane_at(&promotion.lane).is_some_and(|it| it.spec.entry.paused);
                vec![checks::verdict(state, culprit.as_deref(), is_paused)]
            }
            PromotionStep::Base => {
                let of = |(name, before): (&String, &BaseBefore)| {
                    checks::instances(name, before, &self.seen(name, ""))
                };
                applications().map(of).chain([checks::version()]).collect()
            }
            PromotionStep::Health => {
                let names = applications().map(|(name, _)| name.clone()).collect();
                let passed = second_of(SystemTime::now()).saturating_sub(promotion.since);
                let now = self.base_requests(names, passed.clamp(1, LATELY_MAX)).await;
                let of = |(name, before): (&String, &BaseBefore)| {
                    checks::errors(name, before, now.get(name).copied().unwrap_or_default())
                };
                applications().map(of).collect()
            }
            PromotionStep::Drain => {
                let requests = self.in_lane(promotion).await;
                let passed = second_of(SystemTime::now()).saturating_sub(promotion.since);
                let passed = passed.min(self.opened.elapsed().as_secs());
                let idle = checks::idle(requests, promotion.idle_seconds.into(), passed);
                vec![checks::closed(self.reached(promotion)), idle, checks::reports(self.silent())]
            }
            PromotionStep::Remove => {
                let objects = self.ledger().view().objects();
                let lanes = objects.set().lanes();
                let falls_back = lanes.filter(|it| {
                    let Fallback::Tags(tags) = &it.spec.fallback else { return false };
                    it.spec.group == promotion.group && tags.contains(&promotion.tag)
                });
                let names: Vec<String> = falls_back.map(Lane::lane_name).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let is_said =
                    (self.ledger().view().get(&promotion.lane)).is_some_and(|it| it.said.is_some());
                let Left { to_stop, shared } = self.left(promotion);
                let removal = checks::removal(to_stop.len() as u64, shared.len() as u64);
                vec![checks::fallback(&names), checks::files(is_said), removal]
            }
        };
        all.extend(self.unchecked(promotion));
        all
    }

    fn reached(&self, promotion: &StoredPromotion) -> Reached {
        let Some(lane) = self.lane_at(&promotion.lane) else { return Reached::default() };
        let Some(live) = self.hub().status(&promotion.lane).live else { return Reached::default() };
        Reached {
            is_told: lane.spec.entry.paused && live.observed_generation >= lane.metadata.generation,
            acknowledged: live.acknowledged.into(),
            data_planes: live.data_planes.into(),
            disconnected: live.disconnected.into(),
        }
    }

    /// Connected data planes that report nothing of what passes.
    fn silent(&self) -> u64 {
        let hub = self.hub();
        let planes = hub.nodes().filter_map(|node| hub.data_plane(node));
        let connected = planes.filter(|it| it.is_connected()).count();
        drop(hub);
        connected.saturating_sub(self.statistics().reporting()) as u64
    }

    /// Instances of the lane, of every application of its group: one may have come into it after the start.
    fn left(&self, promotion: &StoredPromotion) -> Left {
        let objects = self.ledger().view().objects();
        let set = objects.set();
        let is_own = |it: &&LaneGroup| {
            it.metadata.namespace == promotion.lane.namespace && it.metadata.name == promotion.group
        };
        let members = set.lane_groups().filter(is_own).flat_map(|it| &it.spec.applications);
        let names: BTreeSet<&String> = promotion.applications.keys().chain(members).collect();
        let mut left = Left::default();
        for name in names {
            let users = other_users(set, promotion, name);
            for it in self.seen(name, &promotion.tag).into_iter().filter(|it| !it.is_leaving) {
                let address = it.identity.split(' ').next().unwrap_or_default();
                if users.is_empty() {
                    left.to_stop.push(format!("{name} {address}"));
                } else {
                    left.shared.push(format!("{name} {address} ({})", users.join(", ")));
                }
            }
        }
        left
    }
}

/// Notes what is vouched for; refuses where something stands in the way.
fn confirm(
    promotion: &mut StoredPromotion,
    all: &[PromotionCheck],
    ids: &[String],
    by: &Authorship,
) -> Result<(), PromotionError> {
    let is_known = |id: &&String| **id == checks::ALL || all.iter().any(|it| it.id == **id);
    if let Some((index, id)) = ids.iter().enumerate().find(|(_, id)| !is_known(id)) {
        let known: Vec<&str> = all.iter().map(|it| it.id.as_str()).collect();
        let remedy = format!("use {}, or `{}`", known.join(", "), checks::ALL);
        let problem = Problem::new(format!("confirm[{index}]"), id, remedy);
        return Err(PromotionError::Invalid(problem));
    }
    let in_the_way = checks::in_the_way(all, ids);
    if !in_the_way.is_empty() {
        let told: Vec<String> =
            in_the_way.iter().map(|it| format!("{}: {}", it.id, it.message)).collect();
        return Err(PromotionError::Conflict(told.join("; ")));
    }
    let time = rfc3339(SystemTime::now());
    let vouched = all.iter().filter(|it| it.state != api::rest::PromotionCheckState::Ok);
    let noted = vouched.map(|it| {
        let confirmation = PromotionConfirmation {
            check: it.id.clone(),
            message: it.message.clone(),
            by: by.author.clone(),
            time: time.clone(),
        };
        (promotion.step, confirmation)
    });
    promotion.confirmed.extend(noted.collect::<Vec<_>>());
    Ok(())
}

fn removed(who: &str, left: &Left) -> String {
    let mut message = format!("{who} promoted it: base runs its version, the lane is deleted");
    if !left.to_stop.is_empty() {
        let n = left.to_stop.len();
        message.push_str(&format!("; stop its instances, {n} are left"));
    }
    if !left.shared.is_empty() {
        let n = left.shared.len();
        message.push_str(&format!("; keep {n} that lanes of other groups use"));
    }
    message
}

/// Enabled lanes of other groups that use instances of an application with a promoted lane's tag, also as a fallback.
fn other_users(set: &Set, promotion: &StoredPromotion, application: &str) -> Vec<String> {
    let own = (promotion.lane.namespace.as_str(), promotion.group.as_str());
    let groups = set.lane_groups().filter(|it| {
        (it.metadata.namespace.as_str(), it.metadata.name.as_str()) != own
            && it.spec.applications.iter().any(|name| name == application)
    });
    let uses = |lane: &&Lane| {
        let falls_to = match &lane.spec.fallback {
            Fallback::Tags(tags) => tags.contains(&promotion.tag),
            _ => false,
        };
        let is_off = lane.spec.applications.iter().any(|it| it.name == application && !it.enabled);
        lane.spec.enabled && !is_off && (lane.tag_text() == promotion.tag || falls_to)
    };
    groups.flat_map(|group| set.lanes_of(group)).filter(uses).map(Lane::lane_name).collect()
}

fn not_promoted(key: &Key) -> PromotionError {
    PromotionError::NotFound(format!("{key} is not being promoted"))
}

fn of_audit(
    promotion: &StoredPromotion,
    action: Action,
    changes: Vec<FieldChange>,
    by: &Authorship,
) -> Change {
    let about = format!("promotion of {}/{}", promotion.group, promotion.tag);
    audit::of_action(Some(promotion.lane.clone()), about, action, changes, by, SystemTime::now())
}

fn second_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The key of a lane's object.
pub(crate) fn lane_key(namespace: &str, name: &str) -> Key {
    Key::new(Kind::Lane, namespace, name)
}
