//! Which applications lose the lane of their requests, by what their sidecars count.

use std::collections::BTreeMap;

use api::discovery::v1;

/// Requests, and calls, below which nothing is told: a probe or a job that runs beside a few requests is no finding.
const TOLD_FROM: u64 = 20;

/// Of so many requests one lost call, or more, is told: an application that hands the context on has calls without one
/// now and then, of jobs of its own; one that does not has some in every request that calls at all.
const ONE_LOST_IN: u64 = 2;

/// Numbers from which on only two digits are told, so that a status changes when it says something new and not with
/// every report.
const EXACT_BELOW: u64 = 100;

/// All that is counted of connected data planes: by group, then by lane and application.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<String, BTreeMap<(String, String), v1::LaneCalls>>);

/// An application that loses a lane, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The lane's tag.
    pub lane: String,
    /// Else it only may.
    pub is_certain: bool,
    /// What happens, and what is to be done.
    pub message: String,
}

impl Losses {
    /// One more data plane's.
    pub(super) fn add(&mut self, application: &str, calls: &v1::LaneCalls) {
        let group = self.0.entry(calls.group.clone()).or_default();
        let all = group.entry((calls.lane.clone(), application.to_owned())).or_default();
        for (sum, more) in [
            (&mut all.received, calls.received),
            (&mut all.carried, calls.carried),
            (&mut all.lost, calls.lost),
            (&mut all.uncertain, calls.uncertain),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Groups of which anything is counted.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What is worth telling of a group.
    pub(crate) fn of(&self, group: &str) -> impl Iterator<Item = Loss> {
        let counted = self.0.get(group).into_iter().flatten();
        counted.filter_map(|((lane, application), calls)| {
            let (is_certain, message) = told(application, lane, calls)?;
            Some(Loss { lane: lane.clone(), is_certain, message })
        })
    }
}

/// Whether it is certain, and in words.
fn told(application: &str, lane: &str, calls: &v1::LaneCalls) -> Option<(bool, String)> {
    let &v1::LaneCalls { received, carried, lost, uncertain, .. } = calls;
    if received < TOLD_FROM {
        return None;
    }
    let requests = format!("{application} received {} requests of lane {lane}", rounded(received));
    let remedy = "OpenTelemetry instrumentation with the baggage propagator hands the context on, or let it forward \
                  traceparent or x-request-id (guide, What you need)";
    if lost >= TOLD_FROM && lost.saturating_mul(ONE_LOST_IN) >= received {
        let calls = rounded(lost);
        let message = format!(
            "{requests} and called on without context {calls} times: no instrumentation? {remedy}"
        );
        return Some((true, message));
    }
    // Calls of the base have no context, and rightly so: one that ever handed the lane on is believed to know how.
    (uncertain >= TOLD_FROM && carried == 0).then(|| {
        let calls = rounded(lost.saturating_add(uncertain));
        let message = format!(
            "{requests} and never called on in it, but {calls} times without context while it served others, too: it is uncertain whether it loses the lane; {remedy}"
        );
        (false, message)
    })
}

fn rounded(number: u64) -> String {
    if number < EXACT_BELOW {
        return number.to_string();
    }
    let step = 10_u64.pow(number.ilog10() - 1);
    format!("at least {}", number / step * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something is told of an application that counted so much, and whether it is certain.
    fn certain(received: u64, carried: u64, lost: u64, uncertain: u64) -> Option<bool> {
        let (group, lane) = ("trade".to_owned(), "gray".to_owned());
        let mut losses = Losses::default();
        losses.add("app-b", &v1::LaneCalls { group, lane, received, carried, lost, uncertain });
        losses.of("trade").next().map(|loss| loss.is_certain)
    }

    #[test]
    fn few_calls_without_context_are_not_told() {
        assert_eq!(certain(20, 0, 20, 0), Some(true));
        assert_eq!(certain(19, 0, 40, 0), None, "few requests");
        assert_eq!(certain(20, 0, 19, 0), None, "few calls");
        assert_eq!(certain(1_000, 1_000, 499, 0), None, "few of many");
        assert_eq!(certain(1_000, 1_000, 500, 0), Some(true), "one of two clients");
    }

    #[test]
    fn what_may_be_calls_of_the_base_is_uncertain() {
        assert_eq!(certain(20, 0, 3, 20), Some(false));
        assert_eq!(certain(20, 0, 0, 19), None);
        assert_eq!(certain(20, 1, 0, 2_000), None, "it does hand the lane on");
        assert_eq!(certain(20, 0, 20, 2_000), Some(true));
    }

    #[test]
    fn large_numbers_are_told_by_two_digits() {
        for (number, told) in [(99, "99"), (100, "at least 100"), (1_249, "at least 1200")] {
            assert_eq!(rounded(number), told);
        }
        assert_eq!(rounded(u64::MAX), "at least 18000000000000000000");
    }
}
