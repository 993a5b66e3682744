//! Which gateways let strangers choose a lane: sidecars restore a lane by the id in a header, and a gateway that does not
//! know that header takes it from clients it does not trust.

use std::collections::BTreeSet;

use api::validate::{Finding, Reported, Severity};
use lanes::{Fault, Problem};
use routes::entrance::Policy;

use crate::picture::Picture;

/// Applications that are named at most: they are given the same setting, and may be hundreds.
const NAMED_MAX: usize = 3;

/// What data planes tell of themselves that does not fit together.
pub(super) fn differences<'d>(
    reported: &'d Reported,
    picture: &'d Picture,
) -> impl Iterator<Item = Finding> + 'd {
    picture.routing.gateways().filter_map(|gateway| {
        // One that tells nothing of itself may know all of them.
        let known = reported.told_by_gateway(&gateway.name)?;
        let strangers = || gateway.listeners.iter().filter(|listener| !listener.trusted);
        let passes = |header: &&str| {
            strangers().any(|it| Policy::of_listener(it, known).unseen(header).is_none())
        };
        let (mut headers, mut applications) = (BTreeSet::new(), Vec::new());
        for (application, restoring) in reported.applications() {
            let passed: Vec<&str> = restoring.names().filter(passes).collect();
            applications.extend((!passed.is_empty()).then_some(application));
            headers.extend(passed);
        }
        if headers.is_empty() {
            return None;
        }
        let object = picture.routing.object(&gateway.name)?.clone();
        let problem = told(&headers.into_iter().collect::<Vec<_>>().join(", "), &applications);
        Some(Finding { object, problem, severity: Severity::Warning })
    })
}

fn told(headers: &str, applications: &[&str]) -> Problem {
    let named = applications[..applications.len().min(NAMED_MAX)].join(", ");
    let more = match applications.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let remedy = format!(
        "sidecars of {named}{more} restore lanes by what clients say here that this gateway does not trust: name it in the gateway's --correlation-headers, too"
    );
    Problem::new("", headers, remedy).of(Fault::StrangersChoose)
}
