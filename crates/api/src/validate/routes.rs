//! Gateways and routes: what `routes` says of them, and what only the whole set shows.

use std::collections::HashMap;

use lanes::{Fault, Problem};
use routes::{
    GatewaySpec, RouteKind, RouteProblem, RouteSpec, Why,
    spec::{ListenerSpec, ParentSpec},
    tls::TlsMode,
};

use super::{
    Compiled, Report, Reported, Severity, certificates,
    conditions::{self, Checked},
};
use crate::{
    convert::routes as convert,
    resource::{AnyRoute, Key, Matches, Set},
};

pub(super) fn check(set: &Set, reported: &Reported, known: &mut Compiled, report: &mut Report) {
    let mut first_of_name: HashMap<&str, Key> = HashMap::new();
    let mut gateways: Vec<GatewaySpec> = Vec::new();
    for gateway in set.gateways() {
        if let Some(class) = gateway.spec.foreign_class() {
            let remedy =
                "use laneway, if Laneway is to serve it: it is carried for another controller";
            let problem = Problem::new("spec.gatewayClassName", class, remedy);
            report.warning(&gateway.key(), problem.of(Fault::AnotherController));
        }
    }
    for (gateway, spec) in set.laneway_gateways() {
        let key = gateway.key();
        match convert::gateway(gateway, spec) {
            Ok(converted) => {
                report.errors(&key, converted.problems());
                certificates::check(gateway, spec, &converted, (set, &known.certificates), report);
                gateways.push(converted);
            }
            Err(problems) => report.errors(&key, problems),
        }
        match first_of_name.get(gateway.metadata.name.as_str()) {
            Some(first) => {
                let remedy = format!(
                    "use another name: gateway names are unique across namespaces, and {first} has it"
                );
                let problem = Problem::new("metadata.name", &gateway.metadata.name, remedy);
                report.conflict(&key, problem.of(Fault::NotUnique));
            }
            None => {
                first_of_name.insert(&gateway.metadata.name, key);
            }
        }
    }
    let at = At { gateways: &gateways, reported };
    let converted: Vec<RouteSpec> =
        (set.routes()).filter_map(|route| check_route(&route, set, &at, known, report)).collect();
    if set.grpc_routes().next().is_some() {
        check_overlaps(&gateways, &converted, report);
    }
    if set.tls_routes().next().is_some() {
        check_server_names(&gateways, &converted, report);
    }
}

/// Of routes of several kinds under one host name at one listener the oldest has it.
fn check_overlaps(gateways: &[GatewaySpec], converted: &[RouteSpec], report: &mut Report) {
    for gateway in gateways {
        for overlap in routes::overlaps(gateway, converted) {
            let hostnames = &overlap.route.hostnames;
            let written = if hostnames.is_empty() { "*".to_owned() } else { hostnames.join(", ") };
            let remedy = format!(
                "use other host names, or another listener: {}, which is older, has them at listener {} of Gateway {}, and a host name is of one kind of route",
                convert::object_of(overlap.older),
                gateway.listeners[overlap.listener].name,
                gateway.name
            );
            let problem = Problem::new("spec.hostnames", written, remedy);
            report.conflict(&convert::object_of(overlap.route), problem.of(Fault::NotUnique));
        }
    }
}

/// Of TLSRoutes under one host name at one listener the oldest has the connections, and of a port the closest listener.
fn check_server_names(gateways: &[GatewaySpec], converted: &[RouteSpec], report: &mut Report) {
    for gateway in gateways {
        for vain in routes::server_names(gateway, converted).vain {
            let key = convert::object_of(vain.route);
            let (at, name) = (&gateway.listeners[vain.listener].name, &gateway.name);
            let field = format!("spec.hostnames[{}]", vain.hostname);
            let written = &vain.route.hostnames[vain.hostname];
            match vain.why {
                Why::Older(older) => {
                    let remedy = format!(
                        "use another host name, or another listener: {}, which is older, has its connections at listener {at} of Gateway {name}",
                        convert::object_of(older)
                    );
                    let problem = Problem::new(field, written, remedy);
                    report.conflict(&key, problem.of(Fault::NotUnique));
                }
                Why::Listener(other) => {
                    let other = &gateway.listeners[other];
                    let ends = if other.ends_tls().is_some() { ", and ends TLS" } else { "" };
                    let remedy = format!(
                        "give it a listener of its own, or take it out: not listener {at} of Gateway {name} has its connections, but listener {}, which names it more closely{ends}",
                        other.name
                    );
                    let problem = Problem::new(field, written, remedy);
                    report.warning(&key, problem.of(Fault::NeverHolds));
                }
            }
        }
    }
}

/// The gateways that routes may attach to.
struct At<'g> {
    gateways: &'g [GatewaySpec],
    reported: &'g Reported,
}

/// What it is converted to, where it can be.
fn check_route(
    route: &AnyRoute<'_>,
    set: &Set,
    at: &At<'_>,
    known: &mut Compiled,
    report: &mut Report,
) -> Option<RouteSpec> {
    check_backends(route, set, report);
    match convert::route(route.clone(), set) {
        Ok(spec) => {
            check_converted(route, spec.clone(), (set, at), known, report);
            Some(spec)
        }
        Err(problems) => {
            check_parents(route, set, report);
            report.errors(&route.key(), problems);
            None
        }
    }
}

fn check_converted(
    route: &AnyRoute<'_>,
    mut spec: RouteSpec,
    (set, at): (&Set, &At<'_>),
    known: &mut Compiled,
    report: &mut Report,
) {
    let key = route.key();
    let parents = check_parents(route, set, report);
    let served: Vec<&GatewaySpec> = at
        .gateways
        .iter()
        .filter(|gateway| parents.iter().any(|(_, parent)| parent.gateway == gateway.name))
        .collect();
    // Its rules are looked at all the same where it attaches nowhere, on a gateway that takes everything.
    let anywhere = anywhere(spec.kind);
    let looked_at = if served.is_empty() { vec![&anywhere] } else { served.clone() };
    let entrances: Vec<_> = (looked_at.into_iter())
        .flat_map(|gateway| conditions::listeners(gateway, at.reported))
        .collect();
    Checked { object: key.clone(), entrances: &entrances, known, report }.check_route(&spec);
    check_calls(route, known, report);
    if served.is_empty() {
        spec.parents =
            vec![ParentSpec { gateway: anywhere.name.clone(), section: None, port: None }];
        let found = known.route(&anywhere, &spec);
        return report.errors(&key, found.into_iter().map(|found| found.problem));
    }
    spec.parents = parents.iter().map(|(_, parent)| parent.clone()).collect();
    // What is wrong with a rule is wrong at every gateway.
    let mut told: Vec<Problem> = Vec::new();
    for gateway in served {
        for RouteProblem { parent, problem, .. } in known.route(gateway, &spec) {
            let problem = match parent.and_then(|index| parents.get(index)) {
                Some((written, _)) => problem.under(&format!("spec.parentRefs[{written}]")),
                None => problem,
            };
            if !told.contains(&problem) {
                told.push(problem.clone());
                report.add(severity(&problem), &key, problem);
            }
        }
    }
}

/// Services and methods are parts of one path: an expression for one of them may match no part of any.
fn check_calls(route: &AnyRoute<'_>, known: &mut Compiled, report: &mut Report) {
    for (index, rule) in route.rules.iter().enumerate() {
        let Matches::Grpc(matches) = rule.matches else { continue };
        for (number, written) in matches.iter().enumerate() {
            for (field, value, path) in convert::expressions(written) {
                if known.may_meet(&[&path], &[]) {
                    continue;
                }
                let field = format!("spec.rules[{index}].matches[{number}].method.{field}");
                let remedy = "write what the whole name may be, without `^` and `$`: it stands between slashes in the path of a call";
                let problem = Problem::new(field, value, remedy);
                report.error(&route.key(), problem.of(Fault::NeverHolds));
            }
        }
    }
}

/// What a route refers to can come to be there without an edit of the route; what it says cannot.
fn severity(problem: &Problem) -> Severity {
    if convert::is_of_another(problem) { Severity::Warning } else { Severity::Error }
}

/// The specification's parents, and which of the written ones each comes from.
fn check_parents(route: &AnyRoute<'_>, set: &Set, report: &mut Report) -> Vec<(usize, ParentSpec)> {
    let key = route.key();
    if route.parent_refs.is_empty() {
        let remedy = "name a Gateway, e.g. [{name: edge}]: the route is not served anywhere";
        report.warning(&key, Problem::new("spec.parentRefs", "[]", remedy).of(Fault::Missing));
    }
    let mut parents = Vec::new();
    for (index, written) in route.parent_refs.iter().enumerate() {
        match convert::attach(written, route, set) {
            Ok(attached) => parents.extend(attached.into_iter().map(|parent| (index, parent))),
            Err(problem) => {
                let problem = problem.under(&format!("spec.parentRefs[{index}]"));
                report.add(severity(&problem), &key, problem);
            }
        }
    }
    parents
}

/// Backends that are not there yet, or do not speak what they must, do not stand in the way of a route.
fn check_backends(route: &AnyRoute<'_>, set: &Set, report: &mut Report) {
    for (index, rule) in route.rules.iter().enumerate() {
        for (number, reference) in rule.backend_refs.iter().enumerate() {
            if let Err(problem) = convert::usable_backend(reference, route, set)
                && convert::is_of_another(&problem)
            {
                let at = format!("spec.rules[{index}].backendRefs[{number}]");
                report.warning(&route.key(), problem.under(&at));
            }
        }
    }
}

fn anywhere(kind: RouteKind) -> GatewaySpec {
    let listener = ListenerSpec {
        name: "http".to_owned(),
        port: 80,
        hostname: None,
        trusted: true,
        trusted_hops: 1,
        merge_slashes: false,
        http2: false,
        tls: (kind == RouteKind::Tls).then_some(TlsMode::Passthrough),
    };
    GatewaySpec { name: "any".to_owned(), listeners: vec![listener] }
}
