//! Whether hits (errors, slow answers) are more frequent in a lane than in base: evidence that may be looked at as often as
//! one likes.
//!
//! Lane and base are compared step by step, so that what changes for both, such as a slow database, is no evidence. Given how
//! many hits a step had in all, each is the lane's with a chance of the lane's share of the step's requests, unless the lane
//! is worse. Each bet multiplies its stake by the likelihood of the odds it bets on, relative to equal ones; drawing without
//! replacement is bounded by drawing with it (Hoeffding), so that under equal rates the stake grows at no step on average. By
//! Ville's inequality it then ever reaches 1/alpha with a chance of at most alpha.
//!
//! A lane may get worse after days of health: stakes are put in at each of many times (their sum is 1), so that what was lost
//! before matters little. Once nothing speaks for a change any more, what was won is given back, and the stakes begin anew with
//! no more than there was at first: a repaired fault is no evidence of the next one, and the bound still holds, as giving away
//! makes no game more favourable.

/// Odds of the lane's hits against base's that are bet on; a mixture over them is as valid as each.
const ODDS: [f64; 4] = [1.5, 3.0, 8.0, 25.0];

/// Steps between two stakes.
const STAKE_EVERY: u64 = 15;

/// The most, as a logarithm, that one step is evidence of: hits that come in bursts are no independent witnesses.
const GAIN_MAX: f64 = 4.0;

/// Requests at which the range of the difference is the narrowest there can be for one that always holds.
const TUNED_FOR: f64 = 100.0;

/// Requests of a lane and of base, and how many of them were hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) lane: u64,
    pub(crate) lane_hits: u64,
    pub(crate) base: u64,
    pub(crate) base_hits: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.lane, other.lane),
            (&mut self.lane_hits, other.lane_hits),
            (&mut self.base, other.base),
            (&mut self.base_hits, other.base_hits),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// The shares of hits, of the lane and of base; 0 of nothing.
    pub(crate) fn ratios(self) -> [f64; 2] {
        let ratio = |hits: u64, all: u64| if all == 0 { 0.0 } else { hits as f64 / all as f64 };
        [ratio(self.lane_hits, self.lane), ratio(self.base_hits, self.base)]
    }
}

/// What was seen of one application for one kind of hits.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    steps: u64,
    /// Logarithms of the stakes that were put in, by [`ODDS`].
    stakes: [f64; ODDS.len()],
    /// The share of the stakes that is not put in yet.
    rest: f64,
    /// How much speaks for a change, as a logarithm; at 0 there is none, and it begins anew.
    change: f64,
    /// Since what speaks for one, if anything does: when, and what was seen since.
    since: Option<(u64, Tally)>,
    all: Tally,
    /// Of the difference: sums of each step's weight, and of its square by the requests of either side.
    weight: f64,
    difference: f64,
    squares: [f64; 2],
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            steps: 0,
            stakes: [f64::NEG_INFINITY; ODDS.len()],
            rest: 1.0,
            change: 0.0,
            since: None,
            all: Tally::default(),
            weight: 0.0,
            difference: 0.0,
            squares: [0.0; 2],
        }
    }
}

impl Evidence {
    /// Takes one step of time, that begins at a second, into account.
    pub(super) fn observe(&mut self, second: u64, mut seen: Tally) {
        seen.lane_hits = seen.lane_hits.min(seen.lane);
        seen.base_hits = seen.base_hits.min(seen.base);
        self.all.add(seen);
        if seen.lane == 0 || seen.base == 0 {
            return;
        }
        self.bet(second, seen);
        let (lane, base) = (seen.lane as f64, seen.base as f64);
        let weight = lane * base / (lane + base);
        let [lane_ratio, base_ratio] = seen.ratios();
        self.weight += weight;
        self.difference += weight * (lane_ratio - base_ratio);
        self.squares[0] += weight * weight / lane;
        self.squares[1] += weight * weight / base;
    }

    fn bet(&mut self, second: u64, seen: Tally) {
        if self.steps.is_multiple_of(STAKE_EVERY) {
            // What is left after so many stakes: ln 2 / ln(n + 2), which falls so slowly that late stakes count, too.
            let left = std::f64::consts::LN_2 / ((self.steps / STAKE_EVERY + 3) as f64).ln();
            for stake in &mut self.stakes {
                *stake = add_logarithms(*stake, (self.rest - left).ln());
            }
            self.rest = left;
        }
        self.steps += 1;
        let share = seen.lane as f64 / (seen.lane as f64 + seen.base as f64);
        let hits = seen.lane_hits as f64 + seen.base_hits as f64;
        let mut mean = f64::NEG_INFINITY;
        for (stake, odds) in self.stakes.iter_mut().zip(ODDS) {
            let gain = seen.lane_hits as f64 * odds.ln() - hits * (share * (odds - 1.0)).ln_1p();
            let gain = gain.min(GAIN_MAX);
            *stake += gain;
            mean = add_logarithms(mean, gain);
        }
        self.change += mean - (ODDS.len() as f64).ln();
        if self.change <= 0.0 {
            (self.change, self.since) = (0.0, None);
            if self.worth() > 0.0 {
                (self.steps, self.rest) = (0, 1.0);
                self.stakes = [f64::NEG_INFINITY; ODDS.len()];
            }
        } else {
            self.since.get_or_insert((second, Tally::default())).1.add(seen);
        }
    }

    /// The logarithm of what the stakes are worth.
    pub(super) fn worth(&self) -> f64 {
        let rest = self.rest.ln();
        let all = self.stakes.iter().map(|stake| add_logarithms(*stake, rest));
        all.fold(f64::NEG_INFINITY, add_logarithms) - (ODDS.len() as f64).ln()
    }

    /// Since when the lane is different, if anything speaks for it, and what was seen since.
    pub(super) fn since(&self) -> Option<(u64, Tally)> {
        self.since
    }

    /// What was seen in all.
    pub(super) fn all(&self) -> Tally {
        self.all
    }

    /// Between what the difference of the shares is, at all times at once but for a chance of `alpha`: Robbins' normal mixture,
    /// with a hit and a miss added to either side for what has not been seen yet. `None` of nothing.
    pub(super) fn range(&self, alpha: f64) -> Option<[f64; 2]> {
        if self.weight <= 0.0 {
            return None;
        }
        let middle = self.difference / self.weight;
        let radius = self.radius(alpha, 1.0);
        Some([(middle - radius).max(-1.0), (middle + radius).min(1.0)])
    }

    /// Half of the range's width once there were so many times the requests there were.
    fn radius(&self, alpha: f64, times: f64) -> f64 {
        let variance = |hits: u64, all: u64| {
            let ratio = (hits as f64 * times + 1.0) / (all as f64 * times + 2.0);
            ratio * (1.0 - ratio)
        };
        let [lane, base] = self.squares;
        let sum = variance(self.all.lane_hits, self.all.lane) * lane
            + variance(self.all.base_hits, self.all.base) * base;
        let count = self.weight * self.weight / (lane + base) * times;
        let widening =
            (1.0 + TUNED_FOR / count) * ((count + TUNED_FOR) / (TUNED_FOR * alpha * alpha)).ln();
        (sum / (self.weight * self.weight * times) * widening).sqrt()
    }

    /// Requests of the lane after which the range will end below `effect`, about, if all goes on as it does.
    pub(super) fn needed(&self, alpha: f64, effect: f64) -> Option<u64> {
        if self.weight <= 0.0 {
            return None;
        }
        // What is worse already, but not for certain, is taken to be halfway.
        let middle = (self.difference / self.weight).clamp(0.0, effect / 2.0);
        let steps = (0..200).map(|step| 1.1_f64.powi(step));
        let times =
            steps.into_iter().find(|times| middle + self.radius(alpha, *times) <= effect)?;
        Some((self.all.lane as f64 * times).ceil() as u64)
    }
}

fn add_logarithms(a: f64, b: f64) -> f64 {
    let (most, least) = if a > b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_lose_the_stakes_and_unequal_ones_gain() {
        let mut equal = Evidence::default();
        let mut worse = Evidence::default();
        for second in 0..300 {
            let tally = Tally { lane: 50, lane_hits: 1, base: 50, base_hits: 1 };
            equal.observe(second, tally);
            worse.observe(second, Tally { lane_hits: 3, ..tally });
        }
        assert!(equal.worth() < 0.0 && worse.worth() > 20.0);
        let [low, high] = worse.range(0.05).unwrap();
        assert!(low > 0.02 && high < 0.06, "{low} to {high}");
        let [low, high] = equal.range(0.05).unwrap();
        assert!(low < 0.0 && high < 0.01, "{low} to {high}");
    }

    #[test]
    fn what_comes_after_long_health_is_seen_at_once() {
        let mut evidence = Evidence::default();
        let tally = Tally { lane: 100, lane_hits: 0, base: 100, base_hits: 1 };
        for second in 0..40_000 {
            evidence.observe(second, tally);
        }
        let seen = (0..30).position(|second| {
            evidence.observe(40_000 + second, Tally { lane_hits: 5, ..tally });
            evidence.worth() > 7.0
        });
        assert!(seen.is_some_and(|steps| steps < 20), "{seen:?} steps");
        assert_eq!(evidence.since().unwrap().0, 40_000);
    }

    #[test]
    fn what_was_won_before_a_repair_accuses_nobody_after_it() {
        use rand::{RngExt, SeedableRng, rngs::StdRng};

        for seed in 0..5 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut evidence = Evidence::default();
            let mut step = |evidence: &mut Evidence, second: u64, rate: f64| {
                let mut hits =
                    |rate: f64| (0..100).filter(|_| random.random::<f64>() < rate).count() as u64;
                let (lane_hits, base_hits) = (hits(rate), hits(0.002));
                evidence.observe(second, Tally { lane: 100, lane_hits, base: 100, base_hits });
            };
            (0..60).for_each(|second| step(&mut evidence, second, 0.05));
            assert!(evidence.worth() > 7.0, "seed {seed}: {}", evidence.worth());
            let repaired = (60..4_000).find(|second| {
                step(&mut evidence, *second, 0.002);
                evidence.since().is_none()
            });
            let repaired = repaired.expect("the fault is never outweighed");
            for second in repaired + 1..repaired + 4_000 {
                step(&mut evidence, second, 0.002);
                assert!(evidence.worth() < 6.0, "seed {seed}, {second}: {}", evidence.worth());
            }
        }
    }

    #[test]
    fn nobody_beside_is_no_evidence() {
        let mut evidence = Evidence::default();
        evidence.observe(1, Tally { lane: 9, lane_hits: 9, base: 0, base_hits: 0 });
        assert_eq!((evidence.worth(), evidence.range(0.05)), (0.0, None));
    }
}
