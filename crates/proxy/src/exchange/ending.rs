//! That every request which was read ends once, and how: counted, and told to whoever is told single requests. One whose
//! exchange is dropped before, with its client's connection or with the process, ends then.

use std::{cell::Cell, time::Instant};

use telemetry::Role;

use super::Planned;
use crate::{
    account::{Account, Answering, Counted},
    error::Kind,
    observed::Observed,
    worker::Worker,
};

/// How far a request has come.
#[derive(Debug)]
enum Stage {
    /// Nobody has answered it.
    Open,
    /// An instance's answer is on its way.
    Answering(Answering),
    /// It was counted.
    Ended,
}

/// The end of one request.
pub(super) struct Ending<'e> {
    worker: &'e Worker,
    /// For whoever is told single requests.
    pub(super) observed: Observed,
    role: Role,
    /// The application and service of one that has no plan.
    counted_as: (&'e str, &'e str),
    started: Instant,
    stage: Cell<Stage>,
}

impl<'e> Ending<'e> {
    pub(super) fn new(
        worker: &'e Worker,
        role: Role,
        counted_as: (&'e str, &'e str),
        started: Instant,
    ) -> Self {
        let (observed, stage) = (Observed::default(), Cell::new(Stage::Open));
        Self { worker, observed, role, counted_as, started, stage }
    }

    /// An instance's answer begins.
    pub(super) fn answering(&self, planned: &Planned<'_>, status: u16) {
        self.observe_answer(planned, status);
        let Planned { plan, picture, started, chosen, .. } = planned;
        let account = &self.worker.account;
        let answering = account.answering(plan, picture, chosen.as_ref(), status, *started);
        self.stage.set(Stage::Answering(answering));
    }

    /// The answer was handed on to its end.
    pub(super) fn answered(&self) {
        self.answer_ends(Account::answered);
    }

    /// The answer will never be whole.
    pub(super) fn broken_off(&self) {
        self.answer_ends(Account::broken_off);
    }

    /// No instance has answered as it should.
    pub(super) fn failed(&self, planned: &Planned<'_>, kind: &Kind) {
        let Planned { plan, picture, started, chosen, .. } = planned;
        self.observe_answer(planned, kind.status());
        self.observed.answered_itself(Some(kind), kind.status());
        let account = &self.worker.account;
        self.ends(account.failed(plan, picture, chosen.as_ref(), kind, *started));
    }

    /// Nobody was chosen for it.
    pub(super) fn unplanned(&self, refused: Option<&Kind>, status: u16) {
        let (role, duration) = (self.role, self.started.elapsed());
        self.observed.answered_itself(refused, status);
        let account = &self.worker.account;
        self.ends(account.unplanned(role, self.counted_as, refused, status, duration));
    }

    fn answer_ends(&self, count: impl FnOnce(&Account, Answering) -> Counted) {
        let stage = self.stage.replace(Stage::Ended);
        debug_assert!(matches!(stage, Stage::Answering(_)), "an answer that ends has begun");
        if let Stage::Answering(answering) = stage {
            self.ends(count(&self.worker.account, answering));
        }
    }

    fn ends(&self, counted: Counted) {
        self.stage.set(Stage::Ended);
        self.observed.end(&self.worker.observers, counted);
    }

    /// For whoever is told single requests: it is answered like that.
    fn observe_answer(&self, planned: &Planned<'_>, status: u16) {
        let Planned { plan, picture, chosen, attempts, .. } = planned;
        let latest = || self.worker.picture();
        self.observed.answered_by(plan, picture, latest, chosen.as_ref(), *attempts, status);
    }

    #[cold]
    fn is_dropped(&self) {
        match self.stage.replace(Stage::Ended) {
            Stage::Open => {
                let gone = Kind::ClientGone;
                self.unplanned(Some(&gone), gone.status());
            }
            Stage::Answering(answering) => {
                self.ends(self.worker.account.broken_off(answering));
            }
            Stage::Ended => {}
        }
    }
}

impl Drop for Ending<'_> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.stage.get_mut(), Stage::Ended) {
            self.is_dropped();
        }
    }
}

impl Drop for Planned<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.ending.stage.replace(Stage::Ended) {
            Stage::Open => self.ending.failed(self, &Kind::ClientGone),
            stage => self.ending.stage.set(stage),
        }
    }
}
