//! What a peer may have us do for nothing. Every frame that is work for us and none for it costs something; served
//! requests and sent data earn it back. Rapid resets, and floods of pings, settings or empty frames, run dry; a client that
//! gives up every other request does not.

use super::error::{Code, Fatal};
use crate::limits::{
    H2_BUDGET_MAX, H2_BUDGET_PER_SECOND, H2_FRAME_COSTS, H2_RESET_COSTS, H2_SENT_EARNS,
    H2_SERVED_EARNS,
};

/// One connection's.
#[derive(Debug)]
pub(super) struct Guard {
    budget: u32,
    refilled_ms: u64,
}

impl Guard {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { budget: H2_BUDGET_MAX, refilled_ms: now_ms }
    }

    /// Time has passed.
    pub(super) fn refill(&mut self, now_ms: u64) {
        let seconds = now_ms.saturating_sub(self.refilled_ms) / 1_000;
        if seconds > 0 {
            self.refilled_ms += seconds * 1_000;
            let earned = seconds
                .saturating_mul(u64::from(H2_BUDGET_PER_SECOND))
                .min(u64::from(H2_BUDGET_MAX));
            self.earn(earned as u32);
        }
    }

    pub(super) fn frame(&mut self) -> Result<(), Fatal> {
        self.pay(H2_FRAME_COSTS, "too many frames that carry nothing")
    }

    pub(super) fn reset(&mut self) -> Result<(), Fatal> {
        self.pay(H2_RESET_COSTS, "too many streams that end before their time")
    }

    pub(super) fn served(&mut self) {
        self.earn(H2_SERVED_EARNS);
    }

    pub(super) fn sent(&mut self) {
        self.earn(H2_SENT_EARNS);
    }

    fn earn(&mut self, earned: u32) {
        self.budget = (self.budget + earned).min(H2_BUDGET_MAX);
    }

    fn pay(&mut self, cost: u32, what: &'static str) -> Result<(), Fatal> {
        self.budget =
            self.budget.checked_sub(cost).ok_or(Fatal::new(Code::EnhanceYourCalm, what))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_run_dry_and_patience_does_not() {
        let mut guard = Guard::new(0);
        let resets = (0..10_000).take_while(|_| guard.reset().is_ok()).count();
        assert_eq!(resets, 100);
        assert!(guard.frame().is_err());
        guard.refill(999);
        assert!(guard.frame().is_err());
        for second in 1..1_000 {
            guard.refill(second * 1_000);
            for _ in 0..10 {
                assert!(guard.reset().is_ok());
            }
        }
        guard.refill(u64::MAX);
        assert_eq!(guard.budget, H2_BUDGET_MAX);
    }

    #[test]
    fn who_gives_up_every_other_request_goes_on() {
        let mut guard = Guard::new(0);
        for _ in 0..100_000 {
            guard.served();
            assert!(guard.reset().is_ok());
        }
    }
}
