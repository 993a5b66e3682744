//! Groups and their lanes.

use lanes::{
    GroupName, GroupSpec, LaneSpec, Tag,
    affinity::{Issue, SameSite},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
};

use super::NotUnderstood;
use crate::discovery::v1::{self, condition, entrance::At, lane, parameter};

/// To the wire.
pub fn group_to(group: &GroupSpec) -> v1::Group {
    v1::Group {
        name: group.name.as_str().to_owned(),
        entrances: group.entrances.iter().map(entrance_to).collect(),
        applications: group.applications.clone(),
        lanes: group.lanes.iter().map(lane_to).collect(),
    }
}

/// From the wire.
pub fn group_from(group: v1::Group) -> Result<GroupSpec, NotUnderstood> {
    Ok(GroupSpec {
        name: GroupName::parse(&group.name)
            .map_err(|_| NotUnderstood::text("group.name", &group.name))?,
        entrances: group.entrances.into_iter().map(entrance_from).collect::<Result<_, _>>()?,
        applications: group.applications,
        lanes: group.lanes.into_iter().map(lane_from).collect::<Result<_, _>>()?,
    })
}

fn entrance_to(entrance: &EntranceSpec) -> v1::Entrance {
    let at = match entrance {
        EntranceSpec::Gateway { name, routes } => At::Gateway(v1::GatewayEntrance {
            name: name.clone(),
            all_routes: routes.is_none(),
            routes: routes.clone().unwrap_or_default(),
        }),
        EntranceSpec::Application { name, edge } => {
            At::Application(v1::ApplicationEntrance { name: name.clone(), edge: *edge })
        }
    };
    v1::Entrance { at: Some(at) }
}

fn entrance_from(entrance: v1::Entrance) -> Result<EntranceSpec, NotUnderstood> {
    match entrance.at {
        Some(At::Gateway(at)) => Ok(EntranceSpec::Gateway {
            name: at.name,
            routes: (!at.all_routes).then_some(at.routes),
        }),
        Some(At::Application(at)) => Ok(EntranceSpec::Application { name: at.name, edge: at.edge }),
        None => Err(NotUnderstood::choice("entrance.at")),
    }
}

fn lane_to(lane: &LaneSpec) -> v1::Lane {
    let entry = match &lane.entry {
        Entry::Content { meet, conditions } => lane::Entry::Content(v1::Content {
            meet_any: *meet == Meet::Any,
            conditions: conditions.iter().map(condition_to).collect(),
        }),
        Entry::Ratio { percent_hundredths, sticky_by, issue } => lane::Entry::Ratio(v1::Ratio {
            percent_hundredths: u32::from(*percent_hundredths),
            sticky_by: sticky_by.as_ref().map(parameter_to),
            issue: issue.as_ref().map(issue_to),
        }),
    };
    let (strict, fallback) = match &lane.fallback {
        Fallback::Then(tags) => (false, tags.iter().map(|tag| tag.as_str().to_owned()).collect()),
        Fallback::Strict => (true, Vec::new()),
    };
    v1::Lane {
        tag: lane.tag.as_str().to_owned(),
        enabled: lane.enabled,
        admitting: lane.admitting && !lane.paused,
        paused: lane.paused,
        priority: lane.priority,
        entry: Some(entry),
        strict,
        fallback,
        switched_off: lane.switched_off.clone(),
    }
}

fn lane_from(lane: v1::Lane) -> Result<LaneSpec, NotUnderstood> {
    let entry = match lane.entry {
        Some(lane::Entry::Content(content)) => Entry::Content {
            meet: if content.meet_any { Meet::Any } else { Meet::All },
            conditions: content
                .conditions
                .into_iter()
                .map(condition_from)
                .collect::<Result<_, _>>()?,
        },
        Some(lane::Entry::Ratio(ratio)) => Entry::Ratio {
            percent_hundredths: u16::try_from(ratio.percent_hundredths).map_err(|_| {
                NotUnderstood::number("ratio.percent_hundredths", ratio.percent_hundredths)
            })?,
            sticky_by: ratio.sticky_by.map(parameter_from).transpose()?,
            issue: ratio.issue.map(issue_from).transpose()?,
        },
        None => return Err(NotUnderstood::choice("lane.entry")),
    };
    let fallback = if lane.strict {
        Fallback::Strict
    } else {
        let tags = lane.fallback.iter().map(|text| tag("lane.fallback", text));
        Fallback::Then(tags.collect::<Result<_, _>>()?)
    };
    Ok(LaneSpec {
        tag: tag("lane.tag", &lane.tag)?,
        enabled: lane.enabled,
        // Nobody of ours says both.
        admitting: lane.admitting && !lane.paused,
        paused: lane.paused,
        priority: lane.priority,
        entry,
        fallback,
        switched_off: lane.switched_off,
    })
}

fn tag(field: &'static str, text: &str) -> Result<Tag, NotUnderstood> {
    Tag::parse(text).ok().flatten().ok_or_else(|| NotUnderstood::text(field, text))
}

fn parameter_to(parameter: &Parameter) -> v1::Parameter {
    use parameter::Parameter as Wire;
    let wire = match parameter {
        Parameter::Header(name) => Wire::Header(name.clone()),
        Parameter::Query(name) => Wire::Query(name.clone()),
        Parameter::Cookie(name) => Wire::Cookie(name.clone()),
        Parameter::Claim(name) => Wire::Claim(name.clone()),
        Parameter::Path => Wire::Attribute(v1::Attribute::Path.into()),
        Parameter::Method => Wire::Attribute(v1::Attribute::Method.into()),
        Parameter::Host => Wire::Attribute(v1::Attribute::Host.into()),
        Parameter::ClientIp => Wire::Attribute(v1::Attribute::ClientIp.into()),
    };
    v1::Parameter { parameter: Some(wire) }
}

fn parameter_from(parameter: v1::Parameter) -> Result<Parameter, NotUnderstood> {
    use parameter::Parameter as Wire;
    Ok(match parameter.parameter {
        Some(Wire::Header(name)) => Parameter::Header(name),
        Some(Wire::Query(name)) => Parameter::Query(name),
        Some(Wire::Cookie(name)) => Parameter::Cookie(name),
        Some(Wire::Claim(name)) => Parameter::Claim(name),
        Some(Wire::Attribute(number)) => match v1::Attribute::try_from(number) {
            Ok(v1::Attribute::Path) => Parameter::Path,
            Ok(v1::Attribute::Method) => Parameter::Method,
            Ok(v1::Attribute::Host) => Parameter::Host,
            Ok(v1::Attribute::ClientIp) => Parameter::ClientIp,
            Ok(v1::Attribute::Unspecified) | Err(_) => {
                return Err(NotUnderstood::number("parameter.attribute", number));
            }
        },
        None => return Err(NotUnderstood::choice("parameter.parameter")),
    })
}

fn issue_to(issue: &Issue) -> v1::CookieIssue {
    let same_site = match issue.same_site {
        SameSite::Lax => v1::SameSite::Lax,
        SameSite::Strict => v1::SameSite::Strict,
        SameSite::None => v1::SameSite::None,
    };
    v1::CookieIssue {
        max_age_seconds: issue.max_age_seconds,
        path: issue.path.clone(),
        domain: issue.domain.clone(),
        same_site: same_site.into(),
        secure: issue.secure,
        on_public_answers: issue.on_public_answers,
    }
}

fn issue_from(issue: v1::CookieIssue) -> Result<Issue, NotUnderstood> {
    let same_site = match v1::SameSite::try_from(issue.same_site) {
        Ok(v1::SameSite::Lax) => SameSite::Lax,
        Ok(v1::SameSite::Strict) => SameSite::Strict,
        Ok(v1::SameSite::None) => SameSite::None,
        Ok(v1::SameSite::Unspecified) | Err(_) => {
            return Err(NotUnderstood::number("issue.same_site", issue.same_site));
        }
    };
    Ok(Issue {
        max_age_seconds: issue.max_age_seconds,
        path: issue.path,
        domain: issue.domain,
        same_site,
        secure: issue.secure,
        on_public_answers: issue.on_public_answers,
    })
}

fn condition_to(condition: &Condition) -> v1::Condition {
    use condition::Operator as Wire;
    let list = |values: &[String]| v1::Values { values: values.to_vec() };
    let operator = match &condition.operator {
        Operator::Equal(value) => Wire::Equal(value.clone()),
        Operator::NotEqual(value) => Wire::NotEqual(value.clone()),
        Operator::In(values) => Wire::In(list(values)),
        Operator::NotIn(values) => Wire::NotIn(list(values)),
        Operator::Percentage(percent) => Wire::Percentage(u32::from(*percent)),
        Operator::Regex(expression) => Wire::Regex(expression.clone()),
        Operator::Prefix(prefix) => Wire::Prefix(prefix.clone()),
        Operator::Exists => Wire::Exists(true),
        Operator::NotExists => Wire::NotExists(true),
        Operator::Cidr(network) => Wire::Cidr(network.clone()),
    };
    v1::Condition { parameter: Some(parameter_to(&condition.parameter)), operator: Some(operator) }
}

fn condition_from(condition: v1::Condition) -> Result<Condition, NotUnderstood> {
    use condition::Operator as Wire;
    let parameter =
        condition.parameter.ok_or_else(|| NotUnderstood::choice("condition.parameter"))?;
    let operator = match condition.operator {
        Some(Wire::Equal(value)) => Operator::Equal(value),
        Some(Wire::NotEqual(value)) => Operator::NotEqual(value),
        Some(Wire::In(list)) => Operator::In(list.values),
        Some(Wire::NotIn(list)) => Operator::NotIn(list.values),
        Some(Wire::Percentage(percent)) => Operator::Percentage(
            u8::try_from(percent)
                .map_err(|_| NotUnderstood::number("condition.percentage", percent))?,
        ),
        Some(Wire::Regex(expression)) => Operator::Regex(expression),
        Some(Wire::Prefix(prefix)) => Operator::Prefix(prefix),
        Some(Wire::Exists(_)) => Operator::Exists,
        Some(Wire::NotExists(_)) => Operator::NotExists,
        Some(Wire::Cidr(network)) => Operator::Cidr(network),
        None => return Err(NotUnderstood::choice("condition.operator")),
    };
    Ok(Condition { parameter: parameter_from(parameter)?, operator })
}
