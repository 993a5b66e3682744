//! The words of explanations. Only those who observe a decision pay for them.

use crate::{
    Endpoint, Group, Request, Service, Tag,
    condition::Condition,
    group::{Entry, Meet},
    ratio::{Tried, TriedKey},
    service::Health,
    values,
};

/// Bytes of a value that an explanation shows; cookies and queries can be kilobytes.
const VALUE_BYTES_MAX: usize = 120;

/// Why a lane was not even tried, if it was not. `taken`: the lane that the request fell to, also one that is paused.
pub(crate) fn not_tried(group: &Group, lane: u16, taken: Option<u16>) -> Option<String> {
    let spec = &group.spec().lanes[usize::from(lane)];
    if !spec.enabled {
        return Some("the lane is disabled".into());
    }
    if spec.paused && matches!(spec.entry, Entry::Content { .. }) {
        return Some(
            "not tried: paused at the entrance; requests that carry the lane already keep it"
                .into(),
        );
    }
    if !(spec.admitting || spec.paused) {
        return Some(
            "the lane is enabled but not yet admitting: data planes are still being told".into(),
        );
    }
    let taken = taken.filter(|taken| *taken < lane)?;
    let took = match is_paused(group, taken) {
        true => "has it in its share, which is base while that lane is paused at the entrance",
        false => "took the request",
    };
    Some(format!("not tried: {} comes before it and {took}", group.tag(taken)))
}

/// Why a lane that was tried takes the request or not. `answers`: whether each of its conditions holds.
pub(crate) fn content(
    group: &Group,
    lane: u16,
    took: bool,
    answers: &[bool],
    request: &impl Request,
) -> String {
    let Entry::Content { meet, conditions } = &group.spec().lanes[usize::from(lane)].entry else {
        return String::new();
    };
    let told: Vec<(bool, String)> = conditions
        .iter()
        .zip(answers)
        .map(|(condition, holds)| (*holds, condition_seen(condition, request)))
        .collect();
    // What settles it: for `all` the first that fails, for `any` the first that holds.
    let settles = match meet {
        Meet::All => false,
        Meet::Any => true,
    };
    match told.iter().find(|(holds, _)| *holds == settles) {
        Some((_, text)) if took => format!("holds: {text}"),
        Some((_, text)) => format!("does not hold: {text}"),
        None => {
            let every: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
            let what = if took { "all hold" } else { "none holds" };
            format!("{what}: {}", every.join("; "))
        }
    }
}

/// One condition beside what the request has: `header `canary` == `gray` (seen: `blue`)`.
fn condition_seen(condition: &Condition, request: &impl Request) -> String {
    let seen = values::read(&condition.parameter, request);
    let seen = match &*seen {
        [] => "absent".to_owned(),
        seen => seen.iter().map(|value| value_text(value)).collect::<Vec<_>>().join(", "),
    };
    format!("{condition} (seen: {seen})")
}

/// Why a ratio lane that was tried takes the request or not.
pub(crate) fn tried(tried: &Tried<'_>) -> String {
    let key = match tried.key {
        TriedKey::Read(parameter, value) => format!("{parameter} is {}", value_text(value)),
        TriedKey::Issued(cookie) => format!(
            "no cookie `{}` that can be a key, so one is drawn and issued with the answer",
            cookie.name
        ),
        TriedKey::Random => "no sticky key, so a random one".to_owned(),
    };
    let relation = if tried.took { "below" } else { "not below" };
    let percent = tried.share.percent_hundredths;
    let paused = match (tried.share.is_paused, tried.took) {
        (true, true) => "; paused at the entrance: its share is base",
        (true, false) => "; paused at the entrance",
        (false, _) => "",
    };
    format!(
        "{key}: its hash falls on {} of 0..{}, {relation} {percent} ({} %){paused}",
        tried.point,
        tried.left,
        f64::from(percent) / 100.0
    )
}

fn is_paused(group: &Group, lane: u16) -> bool {
    group.spec().lanes[usize::from(lane)].paused
}

/// How a group ended. `lane`: the one that the request fell to, also one that is paused.
pub(crate) fn decided(group: &Group, lane: Option<u16>) -> String {
    match lane {
        Some(lane) if is_paused(group, lane) => {
            format!("{}/{} is paused at the entrance: base", group.name(), group.tag(lane))
        }
        Some(lane) => format!("{}/{} took the request", group.name(), group.tag(lane)),
        None if group.spec().lanes.is_empty() => "the group has no lanes: base".to_owned(),
        None => "no lane took the request: base".to_owned(),
    }
}

pub(crate) fn route_is_no_entrance(route: Option<&str>) -> String {
    match route {
        Some(route) => {
            format!("route `{route}` is not among the routes that are an entrance of this group")
        }
        None => "no route matched, and only some routes are an entrance of this group".to_owned(),
    }
}

fn value_text(value: &[u8]) -> String {
    let shown = &value[..value.len().min(VALUE_BYTES_MAX)];
    let more = if shown.len() < value.len() { "…" } else { "" };
    format!("`{}{more}`", String::from_utf8_lossy(shown))
}

/// Why a set of instances cannot serve.
pub(crate) fn subset_is_out(
    service: &Service,
    tag: Option<&Tag>,
    is_ejected: impl Fn(&Endpoint) -> bool,
) -> String {
    let peers = service.subset(tag).map_or(&[][..], |subset| &service.endpoints()[subset.range()]);
    if peers.is_empty() {
        return "no instance".to_owned();
    }
    let count = |wanted| peers.iter().filter(|peer| peer.health == wanted).count();
    let ejected =
        peers.iter().filter(|peer| peer.health.takes_requests() && is_ejected(peer)).count();
    let told: Vec<String> = [
        (count(Health::Unhealthy), "unhealthy"),
        (count(Health::Draining), "draining"),
        (count(Health::InvalidTag), "without a valid tag"),
        (ejected, "ejected"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    format!("no usable instance: {}", told.join(", "))
}

/// Why an instance is no candidate, ejection apart.
pub(crate) fn instance_is_out(
    endpoint: &Endpoint,
    is_in_subset: bool,
    is_any_subset: bool,
) -> Option<String> {
    match endpoint.health {
        Health::InvalidTag => {
            Some("its tag is not valid, or not known yet: unusable, never base".to_owned())
        }
        _ if !is_in_subset => Some(match &endpoint.tag {
            Some(tag) => format!("tagged `{tag}`: not the set that serves this hop"),
            None if is_any_subset => "base: not the set that serves this hop".to_owned(),
            None => "base: not allowed, or not usable".to_owned(),
        }),
        Health::Unhealthy => Some("unhealthy, says its source".to_owned()),
        Health::Draining => Some("draining: it takes no new requests".to_owned()),
        Health::Usable | Health::Silent => None,
    }
}
