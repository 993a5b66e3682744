//! Groups and lanes: what `lanes` says of them, and what only the whole set shows.

use std::collections::HashMap;

use lanes::{Fault, Problem, group::GroupProblem};

use super::{
    Compiled, Report, Reported,
    conditions::{self, Checked},
};
use crate::{
    convert::lanes as convert,
    resource::{Entrance, Fallback, Key, Lane, LaneGroup, Meet, Object, Set},
};

/// Groups that one gateway may serve as entrance: each costs a decision per request and a baggage member of up to
/// 133 bytes, of 8192 in all (semantics, "Lane context on the wire").
const GROUPS_PER_GATEWAY_MAX: usize = 8;

pub(super) fn check(set: &Set, reported: &Reported, known: &mut Compiled, report: &mut Report) {
    let mut first_of_name: HashMap<&str, Key> = HashMap::new();
    let mut groups_at: HashMap<&str, usize> = HashMap::new();
    for group in set.lane_groups() {
        let key = group.key();
        match first_of_name.get(group.metadata.name.as_str()) {
            Some(first) => report.conflict(
                &key,
                Problem::new(
                    "metadata.name",
                    &group.metadata.name,
                    format!("use another name: group names are unique across namespaces, and {first} has it"),
                )
                .of(Fault::NotUnique),
            ),
            None => {
                first_of_name.insert(&group.metadata.name, key.clone());
            }
        }
        check_entrances(group, set, &mut groups_at, report);
        check_applications(group, report);
        let entrances = conditions::entrances(group, set, reported);
        check_group(group, set, &entrances, known, report);
    }
    for lane in set.lanes() {
        if set.get(&lane.group_key()).is_none() {
            let remedy = format!("name a group that exists: there is no {}", lane.group_key());
            let problem = Problem::new("spec.group", &lane.spec.group, remedy);
            report.error(&lane.key(), problem.of(Fault::NotFound));
            report.errors(&lane.key(), convert::lane_spec(lane, true).err().unwrap_or_default());
        }
    }
}

fn check_entrances<'s>(
    group: &'s LaneGroup,
    set: &Set,
    groups_at: &mut HashMap<&'s str, usize>,
    report: &mut Report,
) {
    let key = group.key();
    if group.spec.entrances.is_empty() {
        let remedy = "name a gateway or an application: no request enters lanes of this group";
        let problem = Problem::new("spec.entrances", "[]", remedy);
        report.warning(&key, problem.of(Fault::Missing));
    }
    let mut counted: Vec<&str> = Vec::new();
    let entrances = &group.spec.entrances;
    for (index, entrance) in entrances.iter().enumerate() {
        let at = format!("spec.entrances[{index}]");
        let is_same =
            |other: &Entrance| other.gateway.is_none() && other.application == entrance.application;
        if let (None, Some(application)) = (&entrance.gateway, &entrance.application)
            && entrances[..index].iter().any(is_same)
        {
            let problem = Problem::new(
                format!("{at}.application"),
                application,
                "name each application once",
            );
            report.error(&key, problem.of(Fault::NotUnique));
        }
        let Some(gateway) = entrance.gateway.as_deref() else { continue };
        if !set.laneway_gateways().any(|(known, _)| known.metadata.name == gateway) {
            let remedy = format!("name a Gateway: there is no Gateway {gateway}");
            let problem = Problem::new(format!("{at}.gateway"), gateway, remedy);
            report.warning(&key, problem.of(Fault::NotFound));
        }
        for (number, route) in entrance.routes.iter().flatten().enumerate() {
            let field = format!("{at}.routes[{number}]");
            match set.kinds_at(gateway, route).count() {
                0 => {
                    let is_tls = set.tls_routes().any(|it| it.metadata.name == *route);
                    let remedy = match is_tls {
                        true => format!(
                            "name an HTTPRoute or a GRPCRoute that attaches to Gateway {gateway}: what passes a TLSRoute is not read, and so in no lane"
                        ),
                        false => format!("name a route that attaches to Gateway {gateway}"),
                    };
                    let problem = Problem::new(field, route, remedy);
                    report.warning(&key, problem.of(Fault::NotFound));
                }
                1 => {}
                _ => {
                    let remedy = format!(
                        "rename one of the two, unless both are meant: an HTTPRoute and a GRPCRoute of Gateway {gateway} have this name"
                    );
                    let problem = Problem::new(field, route, remedy);
                    report.warning(&key, problem.of(Fault::NotUnique));
                }
            }
        }
        if counted.contains(&gateway) {
            continue;
        }
        counted.push(gateway);
        let count = groups_at.entry(gateway).or_default();
        *count += 1;
        if *count > GROUPS_PER_GATEWAY_MAX {
            let remedy = format!(
                "use another gateway: {gateway} is already an entrance of {GROUPS_PER_GATEWAY_MAX} groups, the most one may serve"
            );
            let problem = Problem::new(format!("{at}.gateway"), gateway, remedy);
            report.error(&key, problem.of(Fault::TooMany(*count)));
        }
    }
}

fn check_applications(group: &LaneGroup, report: &mut Report) {
    let applications = &group.spec.applications;
    if applications.is_empty() {
        let remedy = "name the applications of the group: no service is routed by its lanes";
        let problem = Problem::new("spec.applications", "[]", remedy);
        report.warning(&group.key(), problem.of(Fault::Missing));
    }
    for (index, application) in applications.iter().enumerate() {
        if applications[..index].contains(application) {
            let field = format!("spec.applications[{index}]");
            report.error(
                &group.key(),
                Problem::new(field, application, "name each application once").of(Fault::NotUnique),
            );
        }
    }
}

/// Compiles a group with its lanes and gives each problem to the object it belongs to.
fn check_group(
    group: &LaneGroup,
    set: &Set,
    entrances: &[conditions::Entrance<'_>],
    known: &mut Compiled,
    report: &mut Report,
) {
    let lanes: Vec<&Lane> = set.lanes_of(group).collect();
    let mut spec = match convert::group(group) {
        Ok(spec) => spec,
        Err(problems) => {
            report.errors(&group.key(), problems);
            for lane in &lanes {
                report
                    .errors(&lane.key(), convert::lane_spec(lane, true).err().unwrap_or_default());
            }
            return;
        }
    };
    let mut misshapen: Vec<&str> = Vec::new();
    let mut compiled: Vec<&Lane> = Vec::new();
    for lane in lanes {
        match convert::lane_spec(lane, true) {
            Ok(lane_spec) => {
                Checked { object: lane.key(), entrances, known, report }
                    .check_lane(lane, &lane_spec.entry);
                spec.lanes.push(lane_spec);
                compiled.push(lane);
                warn_of_lane(lane, group, report);
            }
            Err(problems) => {
                report.errors(&lane.key(), problems);
                misshapen.push(lane.tag_text());
            }
        }
    }
    for problem in known.group(spec) {
        // A lane that could not be read is left out, and must not look unknown to those that name it.
        let GroupProblem { problem: Problem { fault, value, .. }, .. } = &problem;
        if *fault == Fault::NotFound && misshapen.contains(&value.as_str()) {
            continue;
        }
        let (key, problem) = owner(group, &compiled, problem);
        report.error(&key, problem);
    }
}

/// The object that a compiler's problem is told of.
fn owner(group: &LaneGroup, lanes: &[&Lane], found: GroupProblem) -> (Key, Problem) {
    let GroupProblem { lane, like, mut problem } = found;
    if let Some(like) = like.and_then(|index| lanes.get(index)) {
        problem.remedy = format!("{}: {} has it already", problem.remedy, like.key());
    }
    let Some(lane) = lane.and_then(|index| lanes.get(index)) else {
        return (group.key(), problem.under("spec"));
    };
    // The only thing of a lane that two may not both have is their tag.
    let is_named = like.is_some() && lane.spec.tag.is_none();
    let problem = if is_named {
        Problem { field: "metadata.name".into(), ..problem }
    } else {
        problem.under("spec")
    };
    (lane.key(), problem)
}

fn warn_of_lane(lane: &Lane, group: &LaneGroup, report: &mut Report) {
    for (index, switch) in lane.spec.applications.iter().enumerate() {
        if !group.spec.applications.contains(&switch.name) {
            let field = format!("spec.applications[{index}].name");
            let remedy = format!("name an application of group {}", group.metadata.name);
            let problem = Problem::new(field, &switch.name, remedy);
            report.warning(&lane.key(), problem.of(Fault::NotFound));
        }
    }
    let Some(content) = &lane.spec.entry.content else { return };
    let negative = |operator: &str| operator == "!=" || operator == "notIn";
    let alone = match content.meet {
        Meet::Any => true,
        Meet::All => content.conditions.iter().all(|condition| negative(&condition.operator)),
    };
    for (index, condition) in content.conditions.iter().enumerate() {
        if alone && negative(&condition.operator) {
            let remedy = if condition.attribute.is_some() {
                "add a condition that asks for a value: alone it takes nearly every request"
            } else {
                "add `exists` for the same parameter: alone it also takes every request without it"
            };
            let field = format!("spec.entry.content.conditions[{index}].operator");
            let problem = Problem::new(field, &condition.operator, remedy);
            report.warning(&lane.key(), problem.of(Fault::HoldsTooOften));
        }
    }
}

pub(super) fn group_removed(after: &Set, group: &LaneGroup, report: &mut Report) {
    let names: Vec<String> = after.lanes_of(group).map(Lane::lane_name).collect();
    if !names.is_empty() {
        let remedy = format!("delete its lanes first: {}", names.join(", "));
        report.error(&group.key(), Problem::new("", "", remedy).of(Fault::InUse));
    }
}

pub(super) fn lane_removed(after: &Set, lane: &Lane, report: &mut Report) {
    let Some(Object::LaneGroup(group)) = after.get(&lane.group_key()) else { return };
    let mut others = after.lanes_of(group);
    if others.any(|other| other.tag_text() == lane.tag_text()) {
        return;
    }
    let names: Vec<String> = (after.lanes_of(group))
        .filter(|other| {
            matches!(&other.spec.fallback, Fallback::Tags(tags) if tags.iter().any(|tag| tag == lane.tag_text()))
        })
        .map(Lane::lane_name)
        .collect();
    if !names.is_empty() {
        let remedy = format!("take it out of the fallback of {} first", names.join(", "));
        report.error(&lane.key(), Problem::new("", "", remedy).of(Fault::InUse));
    }
}
