//! How the status of one object reads.

use api::{
    convert,
    resource::{
        Key, Lane, ListenerStatus, Matched, Object, RouteGroupKind, Status, StatusCondition,
    },
    validate::{Finding, Severity},
};

use lanes::{
    Fault, GroupSpec, LaneSpec,
    group::{EntranceSpec, Entry},
};
use routes::{GatewaySpec, RouteKind, RouteSpec, spec::ListenerSpec};

use super::{
    Findings, Sight, backend_policies, certificates,
    condition::{condition, ready, shown},
    instances::Instances,
};
use crate::{
    distribute::Loss,
    key::{ISSUE, PASSTHROUGH, PAUSE, ResourceKey},
    picture::small,
    sources::Standing,
};

/// The reason where a data plane's release cannot do what is asked of it.
const TOO_OLD: &str = "DataPlaneTooOld";

/// What is said of routes of connections in TLS: whoever has written one may have expected lanes.
const UNREAD: &str = "its connections pass unread, by the name that clients ask for (SNI): they are in no lane, and the base alone has them";

/// The status of an object. `matched`: its instances, where they are counted already.
pub(super) fn status(
    object: &Object,
    matched: Option<Vec<Matched>>,
    sight: Sight<'_>,
    findings: &Findings,
    instances: &mut Instances,
) -> Status {
    let mut status = match object {
        Object::Lane(lane) => of_lane(lane, matched, sight, instances),
        Object::LaneGroup(group) => of_group(&group.key(), sight),
        Object::HttpRoute(_) | Object::GrpcRoute(_) | Object::TlsRoute(_) => {
            of_route(&object.key(), sight, findings)
        }
        Object::Gateway(gateway) => match gateway.spec.foreign_class() {
            Some(class) => of_another_controller(class),
            None => of_gateway(&gateway.key(), sight),
        },
        Object::ServiceSource(source) => of_source(&source.key(), sight),
        Object::Certificate(certificate) => certificates::of_certificate(certificate, sight),
        Object::BackendTlsPolicy(policy) => backend_policies::of_policy(policy, sight),
        Object::Backend(_) => Status::default(),
    };
    let of = |key: &Key, severity| {
        let findings = findings.get(key).into_iter().flatten();
        let mut findings = findings.chain(sight.picture.conflicts.of(key));
        findings.find(|finding: &&Finding| finding.severity == severity)
    };
    if let Some(error) = of(&object.key(), Severity::Error) {
        status.conditions.retain(|condition| condition.kind != "Ready");
        status.conditions.push(condition("Ready", false, "Invalid", error.problem.to_string()));
    }
    let of_group = match object {
        Object::Lane(lane) => of(&lane.group_key(), Severity::Conflict),
        _ => None,
    };
    if let Some(conflict) = of(&object.key(), Severity::Conflict).or(of_group) {
        let message = conflict.problem.to_string();
        status.conditions.push(condition("Conflicted", true, "Conflict", message));
    }
    status.conditions.extend(context_lost(object, sight));
    let of_listeners = status.listeners.iter_mut().flat_map(|listener| &mut listener.conditions);
    for condition in status.conditions.iter_mut().chain(of_listeners) {
        condition.observed_generation = object.metadata().generation;
    }
    if let Some(live) = &mut status.live {
        live.observed_generation = object.metadata().generation;
    }
    status
}

/// Whether applications lose the context of a group's lanes, or of a lane.
fn context_lost(object: &Object, sight: Sight<'_>) -> Option<StatusCondition> {
    let (group, lane) = match object {
        Object::LaneGroup(group) => (group.key(), None),
        Object::Lane(lane) => (lane.group_key(), Some(lane.tag_text())),
        _ => return None,
    };
    if sight.picture.groups.object(&group.name) != Some(&group) {
        return None;
    }
    let concerns = |loss: &Loss| lane.as_ref().is_none_or(|it| loss.lane == *it);
    let losses: Vec<Loss> = sight.distribution.losses().of(&group.name).filter(concerns).collect();
    let messages: Vec<&str> = losses.iter().map(|loss| loss.message.as_str()).collect();
    let lost = condition("ContextLost", true, "ContextLost", messages.join("; "));
    if losses.iter().any(|loss| loss.is_certain) {
        return Some(lost);
    }
    let (status, reason) = ("Unknown".to_owned(), "Uncertain".to_owned());
    (!losses.is_empty()).then_some(StatusCondition { status, reason, ..lost })
}

fn of_lane(
    lane: &Lane,
    matched: Option<Vec<Matched>>,
    sight: Sight<'_>,
    instances: &mut Instances,
) -> Status {
    let tag = lane.tag_text();
    let group_key = lane.group_key();
    let groups = &sight.picture.groups;
    let group =
        groups.spec(&group_key.name).filter(|_| groups.object(&group_key.name) == Some(&group_key));
    let running = group.and_then(|group| {
        group.lanes.iter().find(|running| running.tag.as_str() == tag).map(|lane| (group, lane))
    });
    let Some((group, running)) = running else {
        let message = format!("there is no group {} that has this lane", lane.spec.group);
        return not_in_force(message);
    };
    let mut status = of_group(&group_key, sight);
    if !running.enabled {
        let message = "the lane is disabled: requests in it are served by the base".to_owned();
        status.conditions = vec![condition("Ready", false, "Disabled", message)];
    } else if !(running.admitting || running.paused) {
        let message = "requests enter when the data planes behind the entrances know the lane";
        status.conditions = vec![condition("Ready", false, "Admitting", message.to_owned())];
    }
    let count = |application: &String| {
        let usable = instances.of(application, &sight.picture.services);
        let (base, tagged) = (small(usable.base()), small(usable.tagged(&running.tag)));
        Matched { application: application.clone(), base, tagged }
    };
    status.conditions.extend(paused(group, running, sight));
    status.conditions.extend(not_issued(group, running, sight));
    status.matched = matched.unwrap_or_else(|| group.applications.iter().map(count).collect());
    status
}

/// Of a lane that is paused, and where an entrance does not know what that is.
fn paused(group: &GroupSpec, lane: &LaneSpec, sight: Sight<'_>) -> Option<StatusCondition> {
    if !lane.paused {
        return None;
    }
    let Entry::Ratio { percent_hundredths, .. } = lane.entry else {
        let message = "no request enters at the entrances, a lane after this one may take it; those that carry the lane keep it";
        return Some(condition("Paused", true, "Paused", message.to_owned()));
    };
    let others = group.lanes.iter().filter(|it| it.enabled && !it.paused && it.tag != lane.tag);
    let mut without = group
        .entrances
        .iter()
        .filter_map(|entrance| sight.distribution.without_capability(entrance, PAUSE));
    if lane.enabled
        && others.count() > 0
        && let Some(who) = without.next()
    {
        let message = format!(
            "{who} puts no request into the lane, but its release draws the lanes after it as if this one were not there, so that requests may change lane there; update it"
        );
        return Some(StatusCondition {
            status: "Unknown".to_owned(),
            ..condition("Paused", true, TOO_OLD, message)
        });
    }
    let message = format!(
        "its {} % go to base at the entrances; requests that carry the lane keep it",
        f64::from(percent_hundredths) / 100.0
    );
    Some(condition("Paused", true, "Paused", message))
}

/// Where the cookie that a lane is drawn by is not issued to whom has none.
fn not_issued(group: &GroupSpec, lane: &LaneSpec, sight: Sight<'_>) -> Option<StatusCondition> {
    let Entry::Ratio { sticky_by: Some(cookie), issue: Some(_), .. } = &lane.entry else {
        return None;
    };
    let is_gateway = |it: &EntranceSpec| matches!(it, EntranceSpec::Gateway { .. });
    if !group.entrances.iter().any(is_gateway) {
        let message = format!(
            "nobody issues {cookie}: the group has no gateway as an entrance, and applications issue none, so that each request without it is drawn anew; add a gateway, or leave `issue` out"
        );
        return Some(condition("Issued", false, "NoGateway", message));
    }
    let who = group.entrances.iter().find_map(|entrance| match entrance {
        EntranceSpec::Gateway { .. } => sight.distribution.without_capability(entrance, ISSUE),
        EntranceSpec::Application { .. } => None,
    })?;
    let message = format!(
        "{who} does not issue {cookie}: its release does not know how, so that each request without it is drawn anew there; update it"
    );
    Some(condition("Issued", false, TOO_OLD, message))
}

fn of_group(key: &Key, sight: Sight<'_>) -> Status {
    let groups = &sight.picture.groups;
    let wire = groups.wire(&key.name).filter(|_| groups.object(&key.name) == Some(key));
    let Some(wire) = wire else {
        let message = "the group is not in force: another has its name, or it is wrong";
        return not_in_force(message.to_owned());
    };
    let resource = ResourceKey::Group(key.name.as_str().into());
    let live = sight.distribution.live(&resource, wire.version);
    let generation = groups.generation(&key.name).unwrap_or(0);
    Status {
        conditions: vec![ready(&resource, live, sight)],
        live: Some(shown(live, generation)),
        ..Status::default()
    }
}

fn not_in_force(message: String) -> Status {
    let conditions = vec![condition("Ready", false, "NotInForce", message)];
    Status { conditions, ..Status::default() }
}

fn not_accepted(message: &str) -> Status {
    let conditions = vec![condition("Accepted", false, "Invalid", message.to_owned())];
    Status { conditions, ..Status::default() }
}

fn of_route(key: &Key, sight: Sight<'_>, findings: &Findings) -> Status {
    let routing = &sight.picture.routing;
    let name = convert::routes::route_key(key).unwrap_or_default();
    let (Some(spec), Some(wire)) = (routing.route_spec(&name), routing.route(&name)) else {
        return not_accepted("the route cannot be used");
    };
    let resource = ResourceKey::Route(name.as_str().into());
    let live = sight.distribution.live(&resource, wire.version);
    let of_it = || findings.get(key).into_iter().flatten();
    let not_attached = |at: &str| {
        let is_it =
            |it: &&Finding| it.problem.fault == Fault::NotAttached && it.problem.field.contains(at);
        of_it().find(is_it).map(|finding| finding.problem.to_string())
    };
    // One for each listener where a route of another kind has its host names.
    let overlaps: Vec<String> = of_it()
        .filter(|it| {
            it.severity == Severity::Conflict && it.problem.field.as_str() == "spec.hostnames"
        })
        .map(|it| it.problem.to_string())
        .collect();
    let places = || routing.gateways().map(|gateway| routes::places(gateway, spec)).sum::<usize>();
    let accepted = if !overlaps.is_empty() {
        let is_somewhere = overlaps.len() < places();
        let reason = if is_somewhere { "Accepted" } else { "HostnameConflict" };
        condition("Accepted", is_somewhere, reason, overlaps.join("; "))
    } else if !spec.parents.is_empty() {
        match spec.kind {
            RouteKind::Tls => of_names(spec, of_it(), sight),
            RouteKind::Http | RouteKind::Grpc => {
                condition("Accepted", true, "Accepted", String::new())
            }
        }
    } else if let Some(message) = not_attached("spec.parentRefs[") {
        condition("Accepted", false, "NotAllowedByListeners", message)
    } else {
        let message = "no gateway of parentRefs exists and lets it attach".to_owned();
        condition("Accepted", false, "NoMatchingParent", message)
    };
    let resolved = resolved_refs(spec, findings.get(key).map_or(&[], Vec::as_slice), sight);
    let conditions = vec![accepted, resolved, ready(&resource, live, sight)];
    let live = Some(shown(live, routing.generation(&name)));
    Status { conditions, live, ..Status::default() }
}

/// Whether the host names of a TLSRoute lead to connections, and which do not.
fn of_names<'f>(
    spec: &RouteSpec,
    findings: impl Iterator<Item = &'f Finding>,
    sight: Sight<'_>,
) -> StatusCondition {
    let of_names = findings.filter(|it| it.problem.field.as_str().starts_with("spec.hostnames["));
    let mut said: Vec<String> = of_names.map(|it| it.problem.to_string()).collect();
    let routing = &sight.picture.routing;
    let has = |gateway: &GatewaySpec| {
        routes::server_names(gateway, routing.attached_specs(&gateway.name)).has(spec)
    };
    if said.is_empty() || routing.gateways().any(has) {
        said.insert(0, UNREAD.to_owned());
        return condition("Accepted", true, "Accepted", said.join("; "));
    }
    condition("Accepted", false, "HostnameConflict", said.join("; "))
}

/// Whether all Backends of a route can be asked; else what keeps the first that cannot.
fn resolved_refs(spec: &RouteSpec, findings: &[Finding], sight: Sight<'_>) -> StatusCondition {
    for (rule_at, rule) in spec.rules.iter().enumerate() {
        for (backend_at, backend) in rule.backends.iter().enumerate() {
            let at = format!("spec.rules[{rule_at}].backendRefs[{backend_at}].");
            let finding = |fault: Fault| {
                let is_it = |it: &&Finding| {
                    it.problem.fault == fault && it.problem.field.as_str().starts_with(&at)
                };
                findings.iter().find(is_it)
            };
            let (reason, message) = match &backend.service {
                Err(problem) => match finding(Fault::NotAttached) {
                    Some(finding) => ("UnsupportedProtocol", finding.problem.to_string()),
                    None if finding(Fault::NotFound).is_some() => {
                        ("BackendNotFound", problem.clone())
                    }
                    // It is there, and nobody says how its instances are verified.
                    None => ("BackendNotVerified", problem.clone()),
                },
                Ok(_) => {
                    let tls = backend.tls.as_ref();
                    match tls.and_then(|tls| certificates::none_of(tls.certificates(), sight)) {
                        Some(missing) => ("BackendNotVerified", missing),
                        None => continue,
                    }
                }
            };
            return condition("ResolvedRefs", false, reason, message);
        }
    }
    condition("ResolvedRefs", true, "ResolvedRefs", String::new())
}

fn of_gateway(key: &Key, sight: Sight<'_>) -> Status {
    let routing = &sight.picture.routing;
    let wire = routing.gateway(&key.name).filter(|_| routing.object(&key.name) == Some(key));
    let Some(wire) = wire else {
        return not_accepted("another gateway has its name, or it is wrong");
    };
    let resource = ResourceKey::Gateway(key.name.as_str().into());
    let live = sight.distribution.live(&resource, wire.version);
    let accepted = condition("Accepted", true, "Accepted", String::new());
    let ready = match live.data_planes {
        0 => {
            let message = "no data plane serves it: start `laneway gateway` with its name";
            condition("Ready", false, "NoDataPlane", message.to_owned())
        }
        _ => ready(&resource, live, sight),
    };
    let not_listening = sight.distribution.not_listening(&key.name);
    let spec = routing.gateways().find(|gateway| gateway.name == key.name);
    let listeners = spec.map(|gateway| gateway.listeners.as_slice()).unwrap_or_default();
    let reason_of = |listener: &ListenerSpec| not_listening.get(&u32::from(listener.port));
    let bound = programmed(&ready);
    let attached = spec.map(|it| routes::attached(it, routing.attached_specs(&key.name)));
    let attached = attached.unwrap_or_default();
    let supported = supported_kinds(key, sight);
    let of_listener = |(index, listener): (usize, &ListenerSpec)| {
        let programmed = match reason_of(listener) {
            Some(reason) => not_bound("Programmed", format!("port {}: {reason}", listener.port)),
            None => not_served(&key.name, listener, sight).unwrap_or_else(|| bound.clone()),
        };
        let unsupported = unsupported_kind(key, index, sight);
        let resolved = unsupported.or_else(|| certificates::resolved(listener, sight));
        let conditions = [programmed].into_iter().chain(resolved).collect();
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: supported.get(index).cloned().unwrap_or_default(),
            attached_routes: attached.get(index).copied().map_or(0, small),
            conditions,
        }
    };
    let of_listeners: Vec<ListenerStatus> = listeners.iter().enumerate().map(of_listener).collect();
    let unserved = of_listeners.iter().find_map(|listener| {
        let mut bad = listener.conditions.iter().filter(|it| {
            ["InvalidCertificateRef", "CertificateNotSent", TOO_OLD].contains(&it.reason.as_str())
        });
        bad.next().map(|bad| {
            let message = format!("listener {}: {}", listener.name, bad.message);
            condition("Ready", false, &bad.reason, message)
        })
    });
    let conditions = if let Some(unserved) = unserved.filter(|_| not_listening.is_empty()) {
        vec![accepted, unserved, bound]
    } else if not_listening.is_empty() {
        vec![accepted, ready, bound]
    } else {
        let told: Vec<String> = (not_listening.iter())
            .map(|(port, reason)| {
                let named = listeners.iter().filter(|it| u32::from(it.port) == *port);
                let names: Vec<&str> = named.map(|listener| listener.name.as_str()).collect();
                format!("listener {}: port {port}: {reason}", names.join(", "))
            })
            .collect();
        let not_served = |kind| not_bound(kind, told.join("; "));
        vec![accepted, not_served("Programmed"), not_served("Ready")]
    };
    Status { conditions, listeners: of_listeners, ..Status::default() }
}

/// Why some process of a gateway cannot serve a listener that it could bind.
fn not_served(gateway: &str, listener: &ListenerSpec, sight: Sight<'_>) -> Option<StatusCondition> {
    if listener.passes_tls() {
        let at = EntranceSpec::Gateway { name: gateway.to_owned(), routes: None };
        let who = sight.distribution.without_capability(&at, PASSTHROUGH)?;
        let message = format!("{who} passes no TLS on: its release does not know how, update it");
        return Some(condition("Programmed", false, TOO_OLD, message));
    }
    let reason = listener.ends_tls().and_then(|_| certificates::not_told(gateway, sight))?;
    Some(condition("Programmed", false, "CertificateNotSent", reason))
}

/// What a listener of a Gateway says of kinds of route and cannot keep.
fn unsupported_kind(key: &Key, index: usize, sight: Sight<'_>) -> Option<StatusCondition> {
    let Some(Object::Gateway(gateway)) = sight.picture.set().get(key) else { return None };
    let listener = gateway.spec.laneway()?.listeners.get(index)?;
    let problem = convert::routes::unsupported_kind(gateway, index, listener)?;
    Some(condition("ResolvedRefs", false, "InvalidRouteKinds", problem.to_string()))
}

/// The kinds of route that may attach to each listener of a Gateway.
fn supported_kinds(key: &Key, sight: Sight<'_>) -> Vec<Vec<RouteGroupKind>> {
    let Some(Object::Gateway(gateway)) = sight.picture.set().get(key) else { return Vec::new() };
    let listeners = gateway.spec.laneway().into_iter().flat_map(|spec| &spec.listeners);
    let kinds = |it| convert::routes::supported_kinds(gateway, it).map(RouteGroupKind::from);
    listeners.map(|listener| kinds(listener).collect()).collect()
}

/// Whether a Gateway's listeners accept requests, where all that could be bound are: as far as data planes have it.
fn programmed(ready: &StatusCondition) -> StatusCondition {
    let reason = if ready.status == "True" { "Programmed" } else { &ready.reason };
    StatusCondition { kind: "Programmed".to_owned(), reason: reason.to_owned(), ..ready.clone() }
}

fn not_bound(kind: &str, message: String) -> StatusCondition {
    condition(kind, false, "ListenerNotBound", format!("{message}; it is tried again"))
}

fn of_another_controller(class: &str) -> Status {
    let message = format!("class {class} is another controller's: Laneway carries the object");
    let unknown = StatusCondition {
        status: "Unknown".to_owned(),
        ..condition("Ready", false, "AnotherController", message)
    };
    Status { conditions: vec![unknown], ..Status::default() }
}

fn of_source(key: &Key, sight: Sight<'_>) -> Status {
    let mut sources = sight.picture.set().service_sources();
    let first = sources.find(|source| source.metadata.name == key.name);
    let is_first = first.is_some_and(|first| first.key() == *key);
    let ready = match sight.picture.sources().get(&key.name).filter(|_| is_first) {
        None => {
            let message = "another source has its name".to_owned();
            condition("Ready", false, "NotInForce", message)
        }
        Some(Standing::Syncing { problem }) => {
            let message = problem.as_deref().unwrap_or("it has not told everything yet");
            condition("Ready", false, "Syncing", message.to_owned())
        }
        Some(Standing::Synced) => condition("Ready", true, "Synced", String::new()),
        Some(Standing::SyncedBut { problem }) => {
            condition("Ready", true, "Synced", problem.clone())
        }
        // No age: this changes when the source does, not every second.
        Some(Standing::Stale { problem, .. }) => {
            let message = format!("it is out of contact, its last picture stays: {problem}");
            condition("Ready", false, "Stale", message)
        }
    };
    Status { conditions: vec![ready], ..Status::default() }
}
