//! Rules outside lanes that spread requests over versions of an application in a lane group (semantics §13).
//!
//! `api::validate` finds them as far as objects tell; here it is asked what only live services tell: which
//! application is behind a service.

use api::{
    convert,
    resource::{HttpRoute, LaneGroup, Object, Set},
    validate::{Finding, Severity},
};
use lanes::Problem;

use crate::{
    objects::ObjectChange,
    picture::{Picture, Services},
};

/// Conflicts of the objects as they are: each is told of the route and of the group.
pub(crate) fn of(picture: &Picture) -> Vec<Finding> {
    let (set, services) = (picture.set(), &picture.services);
    let mut findings = Vec::new();
    for route in set.http_routes() {
        for spread in spreads(route, set, services) {
            for group in groups_with(set, &spread.application) {
                findings.push(spread.on_route(route, group, Severity::Conflict));
                findings.push(spread.on_group(route, group));
            }
        }
    }
    findings
}

/// Errors of routes that a transaction writes although a group has the application already.
pub(crate) fn introduced(changes: &[ObjectChange], set: &Set, services: &Services) -> Vec<Finding> {
    let mut findings = Vec::new();
    for change in changes {
        let route = |stored: &crate::store::StoredObject| match &stored.object {
            Object::HttpRoute(route) => Some(route.clone()),
            _ => None,
        };
        let Some(new) = change.new.as_deref().and_then(route) else { continue };
        let before: Vec<String> = change
            .old
            .as_deref()
            .and_then(route)
            .map(|old| spreads(&old, set, services))
            .unwrap_or_default()
            .into_iter()
            .map(|spread| spread.application)
            .collect();
        for spread in spreads(&new, set, services) {
            let is_new = !before.contains(&spread.application);
            let groups = groups_with(set, &spread.application).filter(|_| is_new);
            findings.extend(groups.map(|group| spread.on_route(&new, group, Severity::Error)));
        }
    }
    findings
}

/// A rule with weights over several services of one application.
#[derive(Debug)]
struct Spread {
    rule: usize,
    application: String,
}

impl Spread {
    fn on_route(&self, route: &HttpRoute, group: &LaneGroup, severity: Severity) -> Finding {
        let remedy = format!(
            "use one backend: application {} is routed by {}; let its lanes spread requests over versions",
            self.application,
            group.key()
        );
        let field = format!("spec.rules[{}].backendRefs", self.rule);
        let problem = Problem::new(field, &self.application, remedy);
        Finding { object: route.key(), problem, severity }
    }

    fn on_group(&self, route: &HttpRoute, group: &LaneGroup) -> Finding {
        let remedy = format!(
            "remove the application, or the weights of {}: it spreads requests over versions itself; the lanes govern meanwhile",
            route.key()
        );
        let problem = Problem::new("spec.applications", &self.application, remedy);
        Finding { object: group.key(), problem, severity: Severity::Conflict }
    }
}

fn spreads(route: &HttpRoute, set: &Set, services: &Services) -> Vec<Spread> {
    let mut spreads = Vec::new();
    let rules = route.spec.rules.iter().enumerate();
    for (rule, written) in rules.filter(|(_, rule)| rule.backend_refs.len() > 1) {
        let mut seen: Vec<(lanes::ServiceId, String)> = Vec::new();
        for reference in written.backend_refs.iter().filter(|reference| reference.weight > 0) {
            let backend = convert::routes::backend(reference, &route.metadata.namespace, set);
            let Ok(id) = backend.map(convert::routes::service) else { continue };
            let Some(service) = services.get(&id) else { continue };
            let application = service.application().to_string();
            if seen.iter().any(|(other, its)| *other != id && *its == application) {
                spreads.push(Spread { rule, application });
                break;
            }
            seen.push((id, application));
        }
    }
    spreads
}

fn groups_with<'s>(set: &'s Set, application: &'s str) -> impl Iterator<Item = &'s LaneGroup> {
    set.lane_groups()
        .filter(move |group| group.spec.applications.iter().any(|it| it == application))
}
