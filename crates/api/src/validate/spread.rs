//! Rules outside lanes that spread requests over versions of an application that a lane group routes (semantics
//! §13): refused when the group was there first, else a conflict of both.
//!
//! Which application is behind a backend, a set of objects knows only in part; whoever knows the live services
//! says more.

use lanes::{Fault, Problem, ServiceId};

use super::{Finding, Severity, sources};
use crate::{
    convert::routes as convert,
    resource::{AnyRoute, Backend, Key, LaneGroup, Set},
};

/// A rule with weights over several services of one application.
#[derive(Debug)]
pub struct Spread {
    rule: usize,
    /// The application.
    pub application: String,
}

/// The rules of a route that spread requests. `live` says which application is behind a service, where that is
/// known; else the objects say it.
pub fn spreads(
    route: &AnyRoute<'_>,
    set: &Set,
    live: impl Fn(&ServiceId) -> Option<String>,
) -> Vec<Spread> {
    let mut spreads = Vec::new();
    for (rule, written) in route.rules.iter().enumerate() {
        let mut seen: Vec<(ServiceId, String)> = Vec::new();
        for reference in written.backend_refs.iter().filter(|reference| reference.weight > 0) {
            let own = &route.metadata.namespace;
            let Ok(backend) = convert::backend(reference, own, set) else { continue };
            let id = convert::service(backend);
            let application = live(&id).unwrap_or_else(|| declared(backend, set));
            if seen.iter().any(|(other, its)| *other != id && *its == application) {
                spreads.push(Spread { rule, application });
                break;
            }
            seen.push((id, application));
        }
    }
    spreads
}

/// Groups that have `application`, in order of creation.
pub fn groups_with<'s>(set: &'s Set, application: &'s str) -> impl Iterator<Item = &'s LaneGroup> {
    set.lane_groups()
        .filter(move |group| group.spec.applications.iter().any(|name| name == application))
}

impl Spread {
    /// What is told of the route.
    pub fn on_route(&self, route: &AnyRoute<'_>, group: &LaneGroup, severity: Severity) -> Finding {
        let remedy = format!(
            "use one backend: application {} is routed by {}; let its lanes spread requests over versions",
            self.application,
            group.key()
        );
        let field = format!("spec.rules[{}].backendRefs", self.rule);
        Finding {
            object: route.key(),
            problem: Problem::new(field, &self.application, remedy).of(Fault::SpreadTwice),
            severity,
        }
    }

    /// What is told of the group.
    pub fn on_group(&self, route: &AnyRoute<'_>, group: &LaneGroup) -> Finding {
        let remedy = format!(
            "remove the application, or the weights of {}: it spreads requests over versions itself; the lanes govern meanwhile",
            route.key()
        );
        let problem = Problem::new("spec.applications", &self.application, remedy);
        let problem = problem.of(Fault::SpreadTwice);
        Finding { object: group.key(), problem, severity: Severity::Conflict }
    }
}

/// A rule outside Laneway that chooses among the instances of an application: Dubbo's of tags or of conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRule {
    /// The application.
    pub application: String,
    /// Where it is written, in the words of the source that tells of it: group and id of a configuration.
    pub configuration: String,
}

impl ForeignRule {
    /// What is told of the source that knows the rule, and of a group with the application.
    pub fn between(&self, source: &Key, group: &LaneGroup) -> [Finding; 2] {
        let Self { application, configuration } = self;
        let chooses = "Dubbo's own rule leaves out instances that lanes need; lanes govern among the others meanwhile";
        let of_source = format!(
            "delete the configuration, or say `enabled: false` in it: application {application} is routed by {}, and {chooses}",
            group.key()
        );
        let of_group = format!(
            "remove the application, or delete the configuration {configuration} at {source}, or say `enabled: false` in it: {chooses}"
        );
        let told = |object: Key, field: &str, value: &str, remedy: String| {
            let problem = Problem::new(field, value, remedy).of(Fault::SpreadTwice);
            Finding { object, problem, severity: Severity::Conflict }
        };
        [
            told(source.clone(), "configuration", configuration, of_source),
            told(group.key(), "spec.applications", application, of_group),
        ]
    }
}

/// As far as the objects tell: an error where the group was there first, else a conflict of both.
pub(super) fn check(set: &Set) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in &set.routes().collect::<Vec<_>>() {
        for spread in spreads(route, set, |_| None) {
            for group in groups_with(set, &spread.application) {
                if set.created(&group.key()) < set.created(&route.key()) {
                    findings.push(spread.on_route(route, group, Severity::Error));
                } else {
                    findings.push(spread.on_route(route, group, Severity::Conflict));
                    findings.push(spread.on_group(route, group));
                }
            }
        }
    }
    findings
}

/// The application behind a backend, as far as the set says: the service's name unless its source lists another.
fn declared(backend: &Backend, set: &Set) -> String {
    sources::application(backend, set).to_owned()
}
