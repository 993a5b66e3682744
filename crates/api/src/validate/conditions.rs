//! Conditions that no request can meet where they are asked: what an entrance hides, values in a form that is never
//! compared. What is seen is said by `routes::entrance`, which every entrance reads requests by.

use lanes::{
    Fault, Problem,
    condition::{Condition, Operator, Parameter},
    group::Entry,
};
use routes::entrance::{
    CorrelationHeaders, Policy, Unseen, is_token, may_be_host, may_be_path, may_begin_path,
};

use super::{Report, Severity};
use crate::{
    convert::routes as convert,
    resource::{Key, LaneGroup, Set},
};

/// Whom the entrances of a group believe.
pub(super) fn entrances<'c>(
    group: &LaneGroup,
    set: &Set,
    correlation: &'c CorrelationHeaders,
) -> Vec<Policy<'c>> {
    let mut policies = Vec::new();
    for entrance in &group.spec.entrances {
        if entrance.application.is_some() {
            let edge = entrance.edge.unwrap_or_default();
            policies.push(Policy::of_application(edge, correlation));
        }
        let named = set
            .laneway_gateways()
            .filter(|(known, _)| Some(&known.metadata.name) == entrance.gateway.as_ref());
        for gateway in named.filter_map(|(gateway, spec)| convert::gateway(gateway, spec).ok()) {
            let listeners = gateway.listeners.iter();
            policies.extend(listeners.map(|listener| Policy::of_listener(listener, correlation)));
        }
    }
    policies
}

/// Checks how a lane is entered.
pub(super) fn check(lane: &Key, entry: &Entry, entrances: &[Policy<'_>], report: &mut Report) {
    match entry {
        Entry::Content { conditions, .. } => {
            for (index, condition) in conditions.iter().enumerate() {
                let at = format!("spec.entry.content.conditions[{index}]");
                check_parameter(lane, &condition.parameter, &at, entrances, report);
                check_values(lane, condition, &at, entrances, report);
            }
        }
        Entry::Ratio { sticky_by: Some(parameter), .. } => {
            check_parameter(lane, parameter, "spec.entry.ratio.stickyBy", entrances, report);
        }
        Entry::Ratio { sticky_by: None, .. } => {}
    }
}

fn check_parameter(
    lane: &Key,
    parameter: &Parameter,
    at: &str,
    entrances: &[Policy<'_>],
    report: &mut Report,
) {
    match parameter {
        Parameter::Claim(name) => {
            let remedy = "use a header, cookie, query or attribute: no entrance authenticates callers yet, so that nobody has a claim";
            let problem = Problem::new(format!("{at}.claim"), name, remedy);
            report.error(lane, problem.of(Fault::NeverHolds));
        }
        // A name that is no token is told by the compiler.
        Parameter::Header(name) if is_token(name) => {
            let unseen: Option<Vec<Unseen>> =
                entrances.iter().map(|entrance| entrance.unseen(name)).collect();
            let Some(why) = unseen
                .as_ref()
                .and_then(|all| all.iter().find(|why| why.depends_on_entrance()).or(all.first()))
            else {
                return;
            };
            let severity =
                if why.depends_on_entrance() { Severity::Warning } else { Severity::Error };
            let problem = Problem::new(format!("{at}.header"), name, remedy(*why));
            report.add(severity, lane, problem.of(Fault::NeverHolds));
        }
        _ => {}
    }
}

fn remedy(why: Unseen) -> &'static str {
    match why {
        Unseen::OneHop => {
            "use another header: this one is for one connection alone, and no condition sees it"
        }
        Unseen::Underscored => {
            "use a name with `-`: gateways drop headers with `_` in the name before conditions see them"
        }
        Unseen::NotTrusted => {
            "use another header, or an entrance that trusts its clients: the entrances of this group replace it before conditions see it"
        }
        Unseen::NoTrustedHops => {
            "use clientIp or another header, or set laneway.io/trusted-hops: without proxies in front that are trusted it is dropped before conditions see it"
        }
    }
}

/// Values that no request has.
fn check_values(
    lane: &Key,
    condition: &Condition,
    at: &str,
    entrances: &[Policy<'_>],
    report: &mut Report,
) {
    let as_written = entrances.iter().any(|entrance| !entrance.is_gateway());
    let is_prefix = matches!(condition.operator, Operator::Prefix(_));
    let (may_be, remedy): (fn(&str) -> bool, _) = match (&condition.parameter, is_prefix) {
        (Parameter::Host, false) => (
            may_be_host,
            "write a host name or address alone, without port: it is compared without",
        ),
        (Parameter::Host, true) => (
            |text| text.starts_with('[') || may_be_host(text),
            "write the beginning of a host name or address, without port: it is compared without",
        ),
        (Parameter::Path, false) if !as_written => (
            may_be_path,
            "write a normalised path that begins with `/`, without query: it is compared so",
        ),
        (Parameter::Path, _) => {
            (may_begin_path, "begin with `/` and leave the query out: a path is compared without")
        }
        (Parameter::Method, _) => {
            (is_token, "write a method such as GET: letters, digits and any of !#$%&'*+-.^_`|~")
        }
        _ => return,
    };
    let one = |text| vec![("value".to_owned(), text)];
    let values: Vec<(String, &String)> = match &condition.operator {
        Operator::Equal(text) | Operator::NotEqual(text) | Operator::Prefix(text) => one(text),
        Operator::In(list) | Operator::NotIn(list) => list
            .iter()
            .enumerate()
            .map(|(index, text)| (format!("values[{index}]"), text))
            .collect(),
        _ => return,
    };
    // Everything begins with nothing.
    let is_wrong = |text: &str| !(may_be(text) || is_prefix && text.is_empty());
    for (field, text) in values.into_iter().filter(|(_, text)| is_wrong(text)) {
        let problem = Problem::new(format!("{at}.{field}"), text, remedy);
        report.error(lane, problem.of(Fault::NeverHolds));
    }
}
