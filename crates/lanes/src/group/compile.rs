//! Compiles a group as written into one to decide with, or finds everything that is wrong with it.

use std::collections::HashMap;

use super::{
    CONDITIONS_PER_LANE_MAX, EntranceSpec, Entry, EntryMatcher, Fallback, Group, GroupSpec,
    LANES_PER_GROUP_MAX, LaneSpec, Routing,
};
use crate::{
    Problem, Tag,
    condition::{Condition, Operator, Parameter},
    content::Builder,
    predicate::{Predicate, check_parameter},
    ratio::{Draw, WHOLE_HUNDREDTHS},
};

pub(super) fn compile(mut spec: GroupSpec) -> Result<Group, Vec<Problem>> {
    let mut problems = Vec::new();
    check_entrances(&spec, &mut problems);
    check_applications(&spec, &mut problems);
    check_lanes(&spec, &mut problems);
    let mut predicates = compile_conditions(&spec, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }

    let mut order: Vec<usize> = (0..spec.lanes.len()).collect();
    order.sort_by_key(|index| spec.lanes[*index].priority);
    predicates = order.iter().map(|index| std::mem::take(&mut predicates[*index])).collect();
    // Stable, like the order above: of equal priorities the one created first is tried first.
    spec.lanes.sort_by_key(|lane| lane.priority);

    let mut applications: Vec<Box<str>> =
        spec.applications.iter().map(|name| name.as_str().into()).collect();
    applications.sort();
    applications.dedup();
    let by_name: HashMap<&Tag, u16> = spec.lanes.iter().map(|lane| &lane.tag).zip(0..).collect();
    let routing = spec.lanes.iter().map(|lane| routing(lane, &by_name, &applications)).collect();
    let mut by_tag: Vec<u16> = (0..spec.lanes.len() as u16).collect();
    by_tag.sort_by_key(|index| &spec.lanes[usize::from(*index)].tag);
    Ok(Group {
        routing,
        by_tag,
        applications,
        entry: entry_matcher(&spec, predicates),
        has_application_entrance: spec
            .entrances
            .iter()
            .any(|entrance| matches!(entrance, EntranceSpec::Application { .. })),
        spec,
    })
}

fn routing(lane: &LaneSpec, by_tag: &HashMap<&Tag, u16>, applications: &[Box<str>]) -> Routing {
    let fallback = match &lane.fallback {
        Fallback::Then(tags) => tags.iter().filter_map(|tag| by_tag.get(tag).copied()).collect(),
        Fallback::Strict => Box::default(),
    };
    // Who is not in the group is not routed by it: switching it off means nothing.
    let mut switched_off: Vec<u32> = lane
        .switched_off
        .iter()
        .filter_map(|name| applications.binary_search_by(|have| (**have).cmp(name)).ok())
        .map(|index| index as u32)
        .collect();
    switched_off.sort_unstable();
    Routing {
        is_strict: lane.fallback == Fallback::Strict,
        fallback,
        switched_off: switched_off.into(),
    }
}

/// Only lanes that entrances may match are in it. `predicates` are in the order of the lanes.
fn entry_matcher(spec: &GroupSpec, predicates: Vec<Vec<Predicate>>) -> EntryMatcher {
    let mut content = Builder::default();
    let mut draw = Draw::default();
    let mut is_ratio = false;
    for ((lane, index), predicates) in spec.lanes.iter().zip(0..).zip(predicates) {
        is_ratio = matches!(lane.entry, Entry::Ratio { .. });
        if !(lane.enabled && lane.admitting) {
            continue;
        }
        match &lane.entry {
            Entry::Content { meet, conditions } => {
                content.add(index, *meet, conditions, predicates)
            }
            Entry::Ratio { percent_hundredths, sticky_by } => draw.add(
                index,
                spec.name.as_str(),
                lane.tag.as_str(),
                *percent_hundredths,
                sticky_by.as_ref(),
            ),
        }
    }
    if is_ratio {
        EntryMatcher::Ratio(draw)
    } else {
        EntryMatcher::Content(content.finish().into())
    }
}

fn check_entrances(spec: &GroupSpec, problems: &mut Vec<Problem>) {
    for (index, entrance) in spec.entrances.iter().enumerate() {
        let at = format!("entrances[{index}]");
        match entrance {
            EntranceSpec::Gateway { name, routes } => {
                if name.is_empty() {
                    problems.push(Problem::new(format!("{at}.gateway"), "", "name a Gateway"));
                }
                if routes.as_ref().is_some_and(Vec::is_empty) {
                    let remedy = "name at least one route, or leave `routes` out for all of them";
                    problems.push(Problem::new(format!("{at}.routes"), "[]", remedy));
                }
            }
            EntranceSpec::Application { name, .. } if name.is_empty() => {
                problems.push(Problem::new(format!("{at}.application"), "", "name an application"));
            }
            EntranceSpec::Application { .. } => {}
        }
    }
}

fn check_applications(spec: &GroupSpec, problems: &mut Vec<Problem>) {
    for (index, _) in spec.applications.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        problems.push(Problem::new(format!("applications[{index}]"), "", "name an application"));
    }
}

fn check_lanes(spec: &GroupSpec, problems: &mut Vec<Problem>) {
    if spec.lanes.len() > LANES_PER_GROUP_MAX {
        let remedy = format!("use at most {LANES_PER_GROUP_MAX} lanes in a group");
        problems.push(Problem::new("lanes", format!("{} lanes", spec.lanes.len()), remedy));
    }
    let mut first_with: HashMap<&Tag, usize> = HashMap::new();
    for (index, lane) in spec.lanes.iter().enumerate() {
        let first = *first_with.entry(&lane.tag).or_insert(index);
        if first != index {
            let remedy =
                format!("choose a tag that is unique in the group: lanes[{first}] has it already");
            problems.push(Problem::new(format!("lanes[{index}].tag"), lane.tag.as_str(), remedy));
        }
    }
    for (index, lane) in spec.lanes.iter().enumerate() {
        check_fallback(lane, &first_with, &format!("lanes[{index}]"), problems);
    }
    check_entry_modes(spec, problems);
    check_ratios(spec, problems);
}

fn check_fallback(
    lane: &LaneSpec,
    lanes: &HashMap<&Tag, usize>,
    at: &str,
    problems: &mut Vec<Problem>,
) {
    let Fallback::Then(tags) = &lane.fallback else { return };
    for (index, tag) in tags.iter().enumerate() {
        let remedy = if *tag == lane.tag {
            "name another lane: a lane cannot fall back to itself"
        } else if !lanes.contains_key(tag) {
            "name lanes of the same group; the base is always tried last and is not named"
        } else {
            continue;
        };
        problems.push(Problem::new(format!("{at}.fallback[{index}]"), tag.as_str(), remedy));
    }
}

fn check_entry_modes(spec: &GroupSpec, problems: &mut Vec<Problem>) {
    let mode = |lane: &LaneSpec| match lane.entry {
        Entry::Content { .. } => "content",
        Entry::Ratio { .. } => "ratio",
    };
    let Some(first) = spec.lanes.first() else { return };
    for (index, lane) in spec.lanes.iter().enumerate() {
        if mode(lane) != mode(first) {
            let remedy = format!(
                "use `{}`: all lanes of a group enter the same way, fixed by the first ({})",
                mode(first),
                first.tag
            );
            problems.push(Problem::new(format!("lanes[{index}].entry"), mode(lane), remedy));
        }
    }
}

fn check_ratios(spec: &GroupSpec, problems: &mut Vec<Problem>) {
    let whole = u32::from(WHOLE_HUNDREDTHS);
    let mut sum = 0;
    for (index, lane) in spec.lanes.iter().enumerate() {
        let Entry::Ratio { percent_hundredths, sticky_by } = &lane.entry else { continue };
        let at = format!("lanes[{index}].entry.ratio");
        let percent = u32::from(*percent_hundredths);
        if percent > whole {
            problems.push(Problem::new(
                format!("{at}.percent"),
                percent_text(percent),
                "use 0 to 100",
            ));
        } else if lane.enabled {
            if sum + percent > whole {
                let remedy = format!(
                    "use at most {}: the enabled lanes of the group before it already take {} of 100",
                    percent_text(whole - sum.min(whole)),
                    percent_text(sum)
                );
                problems.push(Problem::new(format!("{at}.percent"), percent_text(percent), remedy));
            }
            sum += percent;
        }
        if let Some(parameter) = sticky_by {
            check_sticky_by(parameter, &format!("{at}.stickyBy"), problems);
        }
    }
}

fn check_sticky_by(parameter: &Parameter, at: &str, problems: &mut Vec<Problem>) {
    match parameter {
        Parameter::Header(_) | Parameter::Query(_) | Parameter::Cookie(_) | Parameter::ClientIp => {
            problems
                .extend(check_parameter(parameter).into_iter().map(|problem| problem.under(at)));
        }
        Parameter::Claim(_) | Parameter::Path | Parameter::Method | Parameter::Host => {
            let remedy = "use header, cookie, query, or attribute: clientIp";
            problems.push(Problem::new(at, parameter.to_string(), remedy));
        }
    }
}

/// Predicates of every lane in the order given; none for a lane that has problems.
fn compile_conditions(spec: &GroupSpec, problems: &mut Vec<Problem>) -> Vec<Vec<Predicate>> {
    // Hundreds of lanes share a few expressions: each is compiled once.
    let mut known: HashMap<&str, Predicate> = HashMap::new();
    let mut all = Vec::with_capacity(spec.lanes.len());
    for (index, lane) in spec.lanes.iter().enumerate() {
        let mut predicates = Vec::new();
        if let Entry::Content { conditions, .. } = &lane.entry {
            let at = format!("lanes[{index}].entry.content.conditions");
            if conditions.is_empty() {
                problems.push(Problem::new(&at, "[]", "give at least one condition"));
            }
            if conditions.len() > CONDITIONS_PER_LANE_MAX {
                let remedy = format!(
                    "use at most {CONDITIONS_PER_LANE_MAX} conditions, or the operator `in`"
                );
                problems.push(Problem::new(
                    &at,
                    format!("{} conditions", conditions.len()),
                    remedy,
                ));
                all.push(predicates);
                continue;
            }
            for (number, condition) in conditions.iter().enumerate() {
                match compile_condition(condition, &mut known) {
                    Ok(predicate) => predicates.push(predicate),
                    Err(more) => problems.extend(
                        more.into_iter().map(|problem| problem.under(&format!("{at}[{number}]"))),
                    ),
                }
            }
        }
        all.push(predicates);
    }
    all
}

fn compile_condition<'s>(
    condition: &'s Condition,
    known: &mut HashMap<&'s str, Predicate>,
) -> Result<Predicate, Vec<Problem>> {
    let Operator::Regex(text) = &condition.operator else { return Predicate::compile(condition) };
    if let Some(predicate) = known.get(text.as_str())
        && check_parameter(&condition.parameter).is_empty()
    {
        return Ok(predicate.clone());
    }
    let predicate = Predicate::compile(condition)?;
    known.insert(text, predicate.clone());
    Ok(predicate)
}

/// Hundredths as an operator writes them: `12.5`.
fn percent_text(hundredths: u32) -> String {
    (f64::from(hundredths) / 100.0).to_string()
}
