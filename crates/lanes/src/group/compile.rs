//! Compiles a group as written into one to decide with, or finds everything that is wrong with it.

use std::collections::HashMap;

use super::{
    CONDITIONS_PER_LANE_MAX, EntranceSpec, Entry, EntryMatcher, Fallback, Group, GroupProblem,
    GroupSpec, LANES_PER_GROUP_MAX, LaneSpec, Routing,
};
use crate::{
    Fault, Problem, Tag,
    affinity::Issue,
    condition::{Condition, Operator, Parameter},
    content::Builder,
    predicate::Predicate,
    ratio::{Draw, Share, WHOLE_HUNDREDTHS},
};

/// What is found, in order.
#[derive(Default)]
struct Problems(Vec<GroupProblem>);

impl Problems {
    fn of_group(&mut self, problem: Problem) {
        self.0.push(GroupProblem { lane: None, like: None, problem });
    }

    fn of_lane(&mut self, lane: usize, problem: Problem) {
        self.0.push(GroupProblem { lane: Some(lane), like: None, problem });
    }
}

pub(super) fn compile(mut spec: GroupSpec) -> Result<Group, Vec<GroupProblem>> {
    let mut problems = Problems::default();
    check_entrances(&spec, &mut problems);
    check_applications(&spec, &mut problems);
    check_lanes(&spec, &mut problems);
    let mut predicates = compile_conditions(&spec, &mut problems);
    if !problems.0.is_empty() {
        return Err(problems.0);
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

/// Only lanes that entrances may match are in it, and of ratio lanes those that are paused: they keep their place in the
/// draw. `predicates` are in the order of the lanes.
fn entry_matcher(spec: &GroupSpec, predicates: Vec<Vec<Predicate>>) -> EntryMatcher {
    let mut content = Builder::default();
    let mut draw = Draw::default();
    let mut is_ratio = false;
    for ((lane, index), predicates) in spec.lanes.iter().zip(0..).zip(predicates) {
        is_ratio = matches!(lane.entry, Entry::Ratio { .. });
        if !(lane.enabled && (lane.admitting || lane.paused)) {
            continue;
        }
        match &lane.entry {
            Entry::Content { .. } if lane.paused => {}
            Entry::Content { meet, conditions } => {
                content.add(index, *meet, conditions, predicates)
            }
            Entry::Ratio { percent_hundredths, sticky_by, issue } => draw.add(
                index,
                (spec.name.as_str(), lane.tag.as_str()),
                Share { percent_hundredths: *percent_hundredths, is_paused: lane.paused },
                sticky_by.as_ref(),
                issue.as_ref(),
            ),
        }
    }
    if is_ratio {
        EntryMatcher::Ratio(draw)
    } else {
        EntryMatcher::Content(content.finish().into())
    }
}

fn check_entrances(spec: &GroupSpec, problems: &mut Problems) {
    for (index, entrance) in spec.entrances.iter().enumerate() {
        let at = format!("entrances[{index}]");
        match entrance {
            EntranceSpec::Gateway { name, routes } => {
                if name.is_empty() {
                    problems.of_group(
                        Problem::new(format!("{at}.gateway"), "", "name a Gateway")
                            .of(Fault::Missing),
                    );
                }
                if routes.as_ref().is_some_and(Vec::is_empty) {
                    let remedy = "name at least one route, or leave `routes` out for all of them";
                    problems.of_group(
                        Problem::new(format!("{at}.routes"), "[]", remedy).of(Fault::Missing),
                    );
                }
            }
            EntranceSpec::Application { name, .. } if name.is_empty() => {
                problems.of_group(
                    Problem::new(format!("{at}.application"), "", "name an application")
                        .of(Fault::Missing),
                );
            }
            EntranceSpec::Application { .. } => {}
        }
    }
}

fn check_applications(spec: &GroupSpec, problems: &mut Problems) {
    for (index, _) in spec.applications.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        problems.of_group(
            Problem::new(format!("applications[{index}]"), "", "name an application")
                .of(Fault::Missing),
        );
    }
}

fn check_lanes(spec: &GroupSpec, problems: &mut Problems) {
    if spec.lanes.len() > LANES_PER_GROUP_MAX {
        let remedy = format!("use at most {LANES_PER_GROUP_MAX} lanes in a group");
        let count = spec.lanes.len();
        problems.of_group(
            Problem::new("lanes", format!("{count} lanes"), remedy).of(Fault::TooMany(count)),
        );
    }
    let mut first_with: HashMap<&Tag, usize> = HashMap::new();
    for (index, lane) in spec.lanes.iter().enumerate() {
        let first = *first_with.entry(&lane.tag).or_insert(index);
        if first != index {
            let remedy = "choose a tag that is unique in the group";
            let problem = Problem::new("tag", lane.tag.as_str(), remedy).of(Fault::NotUnique);
            problems.0.push(GroupProblem { lane: Some(index), like: Some(first), problem });
        }
    }
    for (index, lane) in spec.lanes.iter().enumerate() {
        check_fallback(index, lane, &first_with, problems);
    }
    check_entry_modes(spec, problems);
    check_ratios(spec, problems);
}

fn check_fallback(
    index: usize,
    lane: &LaneSpec,
    lanes: &HashMap<&Tag, usize>,
    problems: &mut Problems,
) {
    let Fallback::Then(tags) = &lane.fallback else { return };
    for (number, tag) in tags.iter().enumerate() {
        let (fault, remedy) = if *tag == lane.tag {
            (Fault::Invalid, "name another lane: a lane cannot fall back to itself")
        } else if !lanes.contains_key(tag) {
            let remedy =
                "name lanes of the same group; the base is always tried last and is not named";
            (Fault::NotFound, remedy)
        } else {
            continue;
        };
        let field = format!("fallback[{number}]");
        problems.of_lane(index, Problem::new(field, tag.as_str(), remedy).of(fault));
    }
}

fn check_entry_modes(spec: &GroupSpec, problems: &mut Problems) {
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
            problems.of_lane(index, Problem::new("entry", mode(lane), remedy));
        }
    }
}

fn check_ratios(spec: &GroupSpec, problems: &mut Problems) {
    let whole = u32::from(WHOLE_HUNDREDTHS);
    let mut sum = 0;
    let mut cookies = HashMap::new();
    for (index, lane) in spec.lanes.iter().enumerate() {
        let Entry::Ratio { percent_hundredths, sticky_by, issue } = &lane.entry else { continue };
        let field = "entry.ratio.percent";
        let percent = u32::from(*percent_hundredths);
        if percent > whole {
            problems.of_lane(index, Problem::new(field, percent_text(percent), "use 0 to 100"));
        } else if lane.enabled {
            if sum + percent > whole {
                let remedy = format!(
                    "use at most {}: the enabled lanes of the group before it already take {} of 100",
                    percent_text(whole - sum.min(whole)),
                    percent_text(sum)
                );
                problems.of_lane(index, Problem::new(field, percent_text(percent), remedy));
            }
            sum += percent;
        }
        if let Some(parameter) = sticky_by
            && let Err(problem) = check_sticky_by(parameter)
        {
            problems.of_lane(index, problem.under("entry.ratio.stickyBy"));
        }
        let mut wrong: Vec<Problem> =
            issue.iter().flat_map(|issue| check_issue(issue, sticky_by.as_ref())).collect();
        if let Some(Parameter::Cookie(name)) = sticky_by
            && lane.enabled
            && wrong.is_empty()
        {
            let (first, of_first) = *cookies.entry(name).or_insert((&lane.tag, issue));
            wrong.extend((of_first != issue).then(|| issued_otherwise(name, first)));
        }
        for problem in wrong {
            problems.of_lane(index, problem.under("entry.ratio.stickyBy.issue"));
        }
    }
}

fn check_sticky_by(parameter: &Parameter) -> Result<(), Problem> {
    match parameter {
        Parameter::Header(_) | Parameter::Query(_) | Parameter::Cookie(_) | Parameter::ClientIp => {
            parameter.check()
        }
        Parameter::Claim(_) | Parameter::Path | Parameter::Method | Parameter::Host => {
            let remedy = "use header, cookie, query, or attribute: clientIp";
            Err(Problem::new("", parameter.to_string(), remedy))
        }
    }
}

fn check_issue(issue: &Issue, sticky_by: Option<&Parameter>) -> Vec<Problem> {
    match sticky_by {
        Some(Parameter::Cookie(name)) => issue.check(name),
        other => {
            let shown = other.map(ToString::to_string).unwrap_or_default();
            vec![Problem::new("", shown, "remove it, or use cookie: nothing else can be issued")]
        }
    }
}

/// Browsers keep one value of a name: lanes that draw some requests by it and others by chance, or set it twice, would move them.
fn issued_otherwise(cookie: &str, first: &Tag) -> Problem {
    let remedy = format!(
        "use the same `issue` (or none) as lane {first}, or another cookie: all enabled lanes of a group that draw by cookie `{cookie}` issue it alike"
    );
    Problem::new("", "", remedy)
}

/// Predicates of every lane in the order given; none for a lane that has problems.
fn compile_conditions(spec: &GroupSpec, problems: &mut Problems) -> Vec<Vec<Predicate>> {
    // Hundreds of lanes share a few expressions: each is compiled once.
    let mut known: HashMap<&str, Predicate> = HashMap::new();
    let mut all = Vec::with_capacity(spec.lanes.len());
    for (index, lane) in spec.lanes.iter().enumerate() {
        let mut predicates = Vec::new();
        if let Entry::Content { conditions, .. } = &lane.entry {
            let at = "entry.content.conditions";
            if conditions.is_empty() {
                let problem = Problem::new(at, "[]", "give at least one condition");
                problems.of_lane(index, problem.of(Fault::Missing));
            }
            if conditions.len() > CONDITIONS_PER_LANE_MAX {
                let remedy = format!(
                    "use at most {CONDITIONS_PER_LANE_MAX} conditions, or the operator `in`"
                );
                let count = conditions.len();
                let problem = Problem::new(at, format!("{count} conditions"), remedy);
                problems.of_lane(index, problem.of(Fault::TooMany(count)));
                all.push(predicates);
                continue;
            }
            for (number, condition) in conditions.iter().enumerate() {
                match compile_condition(condition, &mut known) {
                    Ok(predicate) => predicates.push(predicate),
                    Err(more) => {
                        for problem in more {
                            problems.of_lane(index, problem.under(&format!("{at}[{number}]")));
                        }
                    }
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
        && condition.parameter.check().is_ok()
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
