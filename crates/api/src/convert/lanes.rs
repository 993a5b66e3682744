//! `LaneGroup` and `Lane` → [`lanes::GroupSpec`].

use lanes::{
    Fault, GroupName, GroupSpec, LaneSpec, Problem, Tag,
    affinity::{self, Issue, MAX_AGE_SECONDS_MAX},
    condition::{Condition, Operator, Parameter},
    group::{self, EntranceSpec},
};

use super::duration;
use crate::resource::{
    AttributeName, ConditionValue, CookieIssue, Entrance, Entry, Fallback, Lane, LaneCondition,
    LaneGroup, Meet, ParameterRef, Ratio, SameSite,
};

/// The operators, as written.
const OPERATORS: &str = "==, !=, in, notIn, percentage, regex, prefix, exists, notExists, cidr";

/// A group without its lanes, or every problem of its shape.
pub fn group(resource: &LaneGroup) -> Result<GroupSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = GroupName::parse(&resource.metadata.name)
        .map_err(|problem| problems.push(problem.under("metadata.name")));
    let mut entrances = Vec::new();
    for (index, written) in resource.spec.entrances.iter().enumerate() {
        match entrance(written) {
            Ok(entrance) => entrances.push(entrance),
            Err(problem) => problems.push(problem.under(&format!("spec.entrances[{index}]"))),
        }
    }
    match name {
        Ok(name) if problems.is_empty() => Ok(GroupSpec {
            name,
            entrances,
            applications: resource.spec.applications.clone(),
            lanes: Vec::new(),
        }),
        _ => Err(problems),
    }
}

fn entrance(written: &Entrance) -> Result<EntranceSpec, Problem> {
    match written {
        Entrance { gateway: Some(name), routes, application: None, edge: None } => {
            if routes.as_ref().is_some_and(Vec::is_empty) {
                return Err(Problem::new(
                    "routes",
                    "[]",
                    "name at least one route, or leave it out for all",
                ));
            }
            Ok(EntranceSpec::Gateway { name: name.clone(), routes: routes.clone() })
        }
        Entrance { application: Some(name), edge, gateway: None, routes: None } => {
            Ok(EntranceSpec::Application { name: name.clone(), edge: edge.unwrap_or(false) })
        }
        Entrance { gateway: Some(_), edge: Some(edge), application: None, .. } => {
            Err(Problem::new(
                "edge",
                edge.to_string(),
                "remove it: it goes with application, not with gateway",
            ))
        }
        Entrance { application: Some(_), routes: Some(routes), gateway: None, .. } => {
            let remedy = "remove it: it goes with gateway, not with application";
            Err(Problem::new("routes", routes.join(", "), remedy))
        }
        Entrance { gateway: Some(_), application: Some(application), .. } => Err(Problem::new(
            "application",
            application,
            "write {gateway: NAME} or {application: NAME}, and a second entrance for the other",
        )),
        Entrance { gateway: None, application: None, .. } => {
            Err(Problem::new("", "", "write {gateway: NAME} or {application: NAME}")
                .of(Fault::Missing))
        }
    }
}

/// A lane, or every problem of its shape.
pub fn lane_spec(lane: &Lane, admitting: bool) -> Result<LaneSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    let tag_field = if lane.spec.tag.is_some() { "spec.tag" } else { "metadata.name" };
    let tag = tag(lane.tag_text()).map_err(|problem| problems.push(problem.under(tag_field)));
    let entry = entry(&lane.spec.entry).map_err(|wrong| {
        problems.extend(wrong.into_iter().map(|problem| problem.under("spec.entry")))
    });
    let fallback = fallback(&lane.spec.fallback).map_err(|wrong| {
        problems.extend(wrong.into_iter().map(|problem| problem.under("spec.fallback")))
    });
    let mut switched_off = Vec::new();
    for (index, switch) in lane.spec.applications.iter().enumerate() {
        if lane.spec.applications[..index].iter().any(|earlier| earlier.name == switch.name) {
            let field = format!("spec.applications[{index}].name");
            let problem = Problem::new(field, &switch.name, "name each application once");
            problems.push(problem.of(Fault::NotUnique));
        } else if !switch.enabled {
            switched_off.push(switch.name.clone());
        }
    }
    match (tag, entry, fallback) {
        (Ok(tag), Ok(entry), Ok(fallback)) if problems.is_empty() => Ok(LaneSpec {
            tag,
            enabled: lane.spec.enabled,
            admitting,
            paused: lane.spec.entry.paused,
            priority: lane.spec.priority,
            entry,
            fallback,
            switched_off,
        }),
        _ => Err(problems),
    }
}

fn tag(text: &str) -> Result<Tag, Problem> {
    match Tag::parse(text)? {
        Some(tag) => Ok(tag),
        None => Err(Problem::new(
            "",
            text,
            "use another tag: `base` and the empty word mean untagged instances",
        )),
    }
}

fn fallback(written: &Fallback) -> Result<group::Fallback, Vec<Problem>> {
    let Fallback::Tags(written) = written else { return Ok(group::Fallback::Strict) };
    let mut problems = Vec::new();
    let mut tags = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match Tag::parse(text) {
            Ok(Some(tag)) => tags.push(tag),
            Ok(None) => problems.push(Problem::new(
                format!("[{index}]"),
                text,
                "remove it: the base always comes last by itself",
            )),
            Err(problem) => problems.push(problem.under(&format!("[{index}]"))),
        }
    }
    if problems.is_empty() { Ok(group::Fallback::Then(tags)) } else { Err(problems) }
}

fn entry(written: &Entry) -> Result<group::Entry, Vec<Problem>> {
    match (&written.content, &written.ratio) {
        (Some(content), None) => {
            let meet = match content.meet {
                Meet::All => group::Meet::All,
                Meet::Any => group::Meet::Any,
            };
            let mut problems = Vec::new();
            let mut conditions = Vec::new();
            for (index, written) in content.conditions.iter().enumerate() {
                match condition(written) {
                    Ok(condition) => conditions.push(condition),
                    Err(wrong) => problems.extend(
                        wrong
                            .into_iter()
                            .map(|problem| problem.under(&format!("content.conditions[{index}]"))),
                    ),
                }
            }
            if problems.is_empty() {
                Ok(group::Entry::Content { meet, conditions })
            } else {
                Err(problems)
            }
        }
        (None, Some(written)) => ratio(written)
            .map_err(|wrong| wrong.into_iter().map(|problem| problem.under("ratio")).collect()),
        (None, None) => {
            Err(vec![Problem::new("", "", "write content: {…} or ratio: {…}").of(Fault::Missing)])
        }
        (Some(_), Some(_)) => {
            Err(vec![Problem::new("", "", "write one of content and ratio, not both")])
        }
    }
}

/// Hundredths of a percent in a whole.
const HUNDREDTHS_MAX: f64 = 10_000.0;

/// How far a percentage may be from two decimals: less than half of what a third decimal would say, more than
/// what binary fractions are off.
const DECIMALS_TOLERANCE: f64 = 1e-6;

fn ratio(written: &Ratio) -> Result<group::Entry, Vec<Problem>> {
    let mut problems = Vec::new();
    let percent = percent_hundredths(written.percent).map_err(|remedy| {
        problems.push(Problem::new("percent", written.percent.to_string(), remedy))
    });
    let issue = written.sticky_by.as_ref().and_then(|by| by.issue.as_ref());
    let issue = issue.map(issue_of).transpose().map_err(|problem| {
        problems.push(problem.under("stickyBy.issue"));
    });
    let sticky_by = match &written.sticky_by {
        None => Ok(None),
        Some(written) => {
            sticky_by(written).map(Some).map_err(|problem| problems.push(problem.under("stickyBy")))
        }
    };
    match (percent, sticky_by, issue) {
        (Ok(percent_hundredths), Ok(sticky_by), Ok(issue)) => {
            Ok(group::Entry::Ratio { percent_hundredths, sticky_by, issue })
        }
        _ => Err(problems),
    }
}

fn issue_of(written: &CookieIssue) -> Result<Issue, Problem> {
    let CookieIssue { max_age, path, domain, same_site, secure, on_public_answers } = written;
    let usual = Issue::default();
    Ok(Issue {
        max_age_seconds: max_age.as_deref().map(max_age_seconds).transpose()?,
        path: path.clone().unwrap_or(usual.path),
        domain: domain.clone(),
        same_site: match same_site {
            None => usual.same_site,
            Some(SameSite::Lax) => affinity::SameSite::Lax,
            Some(SameSite::Strict) => affinity::SameSite::Strict,
            Some(SameSite::None) => affinity::SameSite::None,
        },
        secure: *secure,
        on_public_answers: on_public_answers.unwrap_or(usual.on_public_answers),
    })
}

fn max_age_seconds(text: &str) -> Result<u32, Problem> {
    let milliseconds = duration::with_days_ms(text).filter(|it| it % 1000 == 0);
    let seconds = milliseconds.and_then(|it| u32::try_from(it / 1000).ok());
    seconds
        .filter(|it| (1..=MAX_AGE_SECONDS_MAX).contains(it))
        .ok_or_else(|| Problem::new("maxAge", text, affinity::MAX_AGE_REMEDY))
}

/// A percentage in hundredths, or the remedy.
pub fn percent_hundredths(percent: f64) -> Result<u16, &'static str> {
    let hundredths = (percent * 100.0).round();
    if !(0.0..=HUNDREDTHS_MAX).contains(&hundredths) {
        return Err("use a number from 0 to 100");
    }
    if (percent * 100.0 - hundredths).abs() > DECIMALS_TOLERANCE {
        return Err("use at most two decimals");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number, 0 to 10 000"
    )]
    Ok(hundredths as u16)
}

fn sticky_by(written: &ParameterRef) -> Result<Parameter, Problem> {
    let ParameterRef { header, query, cookie, attribute, issue: _ } = written;
    if let Some(attribute) = attribute
        && *attribute != AttributeName::ClientIp
    {
        let written = attribute.as_written();
        return Err(Problem::new(
            "attribute",
            written,
            "use clientIp, or a header, cookie or query",
        ));
    }
    let named = [
        header.as_deref().map(|name| ("header", name, Parameter::Header(name.to_owned()))),
        query.as_deref().map(|name| ("query", name, Parameter::Query(name.to_owned()))),
        cookie.as_deref().map(|name| ("cookie", name, Parameter::Cookie(name.to_owned()))),
        attribute.map(|attribute| ("attribute", attribute.as_written(), Parameter::ClientIp)),
    ];
    one_parameter(named, "write one of header, cookie, query, or attribute: clientIp")
}

/// The only one of the parameters.
fn one_parameter<const N: usize>(
    written: [Option<(&'static str, &str, Parameter)>; N],
    remedy_of_none: &str,
) -> Result<Parameter, Problem> {
    let mut written = written.into_iter().flatten();
    let Some((field, name, parameter)) = written.next() else {
        return Err(Problem::new("", "", remedy_of_none).of(Fault::Missing));
    };
    if name.is_empty() {
        return Err(
            Problem::new(field, "", format!("write the name of the {field}")).of(Fault::Missing)
        );
    }
    match written.next() {
        None => match parameter {
            // A name is told as it was written, and kept as it is compared.
            Parameter::Header(name) => {
                Parameter::Header(name.clone()).check()?;
                Ok(Parameter::Header(name.to_ascii_lowercase()))
            }
            other => Ok(other),
        },
        Some((second, name, _)) => Err(Problem::new(
            second,
            name,
            format!("remove it: the parameter is already named by {field}"),
        )),
    }
}

fn condition(written: &LaneCondition) -> Result<Condition, Vec<Problem>> {
    let mut problems = Vec::new();
    let parameter = parameter(written).map_err(|problem| problems.push(problem));
    let operator = operator(written).map_err(|problem| problems.push(problem));
    match (parameter, operator) {
        (Ok(parameter), Ok(operator)) => Ok(Condition { parameter, operator }),
        _ => Err(problems),
    }
}

fn parameter(written: &LaneCondition) -> Result<Parameter, Problem> {
    let attribute = |attribute| match attribute {
        AttributeName::Path => Parameter::Path,
        AttributeName::Method => Parameter::Method,
        AttributeName::Host => Parameter::Host,
        AttributeName::ClientIp => Parameter::ClientIp,
    };
    let named = [
        written.header.as_deref().map(|name| ("header", name, Parameter::Header(name.to_owned()))),
        written.query.as_deref().map(|name| ("query", name, Parameter::Query(name.to_owned()))),
        written.cookie.as_deref().map(|name| ("cookie", name, Parameter::Cookie(name.to_owned()))),
        written.claim.as_deref().map(|name| ("claim", name, Parameter::Claim(name.to_owned()))),
        written.attribute.map(|name| ("attribute", name.as_written(), attribute(name))),
    ];
    one_parameter(named, "name a parameter by one of header, query, cookie, claim, attribute")
}

fn operator(written: &LaneCondition) -> Result<Operator, Problem> {
    let one = |make: fn(String) -> Operator| text(written).map(make);
    let list = |make: fn(Vec<String>) -> Operator| values(written).map(make);
    match written.operator.as_str() {
        "==" => one(Operator::Equal),
        "!=" => one(Operator::NotEqual),
        "in" => list(Operator::In),
        "notIn" => list(Operator::NotIn),
        "percentage" => percentage(written).map(Operator::Percentage),
        "regex" => one(Operator::Regex),
        "prefix" => one(Operator::Prefix),
        "exists" => none(written).map(|()| Operator::Exists),
        "notExists" => none(written).map(|()| Operator::NotExists),
        "cidr" => one(Operator::Cidr),
        unknown => Err(Problem::new("operator", unknown, format!("use one of {OPERATORS}"))),
    }
}

fn no_values(written: &LaneCondition) -> Result<(), Problem> {
    match &written.values {
        None => Ok(()),
        Some(values) => {
            let remedy = format!("remove it: {} does not take a list", written.operator);
            Err(Problem::new("values", values.join(", "), remedy))
        }
    }
}

fn no_value(written: &LaneCondition, instead: &str) -> Result<(), Problem> {
    match &written.value {
        None => Ok(()),
        Some(value) => {
            let remedy = format!("remove it: {} {instead}", written.operator);
            Err(Problem::new("value", value.to_string(), remedy))
        }
    }
}

fn text(written: &LaneCondition) -> Result<String, Problem> {
    no_values(written)?;
    match &written.value {
        Some(ConditionValue::Text(text)) => Ok(text.clone()),
        Some(ConditionValue::Number(number)) => {
            let remedy = format!("put quotes around it: {} compares text", written.operator);
            Err(Problem::new("value", number.to_string(), remedy))
        }
        None => Err(Problem::new("value", "", format!("write the value for {}", written.operator))
            .of(Fault::Missing)),
    }
}

fn values(written: &LaneCondition) -> Result<Vec<String>, Problem> {
    no_value(written, "takes a list; write it as values: […]")?;
    match &written.values {
        Some(values) if !values.is_empty() => Ok(values.clone()),
        _ => Err(Problem::new(
            "values",
            "",
            format!("write a list of values for {}", written.operator),
        )),
    }
}

fn percentage(written: &LaneCondition) -> Result<u8, Problem> {
    no_values(written)?;
    let number = match &written.value {
        Some(ConditionValue::Number(number)) => number.as_u64().filter(|number| *number <= 100),
        Some(ConditionValue::Text(_)) | None => None,
    };
    number.and_then(|number| u8::try_from(number).ok()).ok_or_else(|| {
        let shown = written.value.as_ref().map(ToString::to_string).unwrap_or_default();
        Problem::new("value", shown, "use a whole number from 0 to 100, without quotes")
    })
}

fn none(written: &LaneCondition) -> Result<(), Problem> {
    no_value(written, "takes no value")?;
    no_values(written)
}
