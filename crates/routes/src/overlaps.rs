//! Routes of several kinds under one host name: at one listener the Gateway API lets the oldest of them have it, so that
//! whoever writes an HTTPRoute is not surprised by a GRPCRoute of somebody else, or the other way round.

use crate::{
    host::{HostPattern, compile_hostnames},
    server_names::server_names,
    spec::{GatewaySpec, ListenerSpec, RouteKind, RouteSpec},
};

/// A route that does not attach to a listener, because an older one of another kind has one of its host names there.
#[derive(Debug)]
pub struct Overlap<'r> {
    /// The younger.
    pub route: &'r RouteSpec,
    /// The older.
    pub older: &'r RouteSpec,
    /// Where, by its place in the gateway.
    pub listener: usize,
}

impl Overlap<'_> {
    /// Whether the younger route names a host.
    pub fn takes(&self, host: &str) -> bool {
        let hosts = compile_hostnames(&self.route.hostnames, &mut Vec::new());
        hosts.iter().any(|it| it.specificity(host).is_some())
    }
}

/// Every route that does not attach to a listener of `gateway` because of an older one of another kind.
pub fn overlaps<'r>(
    gateway: &GatewaySpec,
    routes: impl IntoIterator<Item = &'r RouteSpec>,
) -> Vec<Overlap<'r>> {
    let mut by_age: Vec<&RouteSpec> = routes.into_iter().collect();
    by_age.sort_by_cached_key(|route| route.age());
    among(gateway, &by_age)
}

/// The same of routes in order, the oldest first.
pub(crate) fn among<'r>(gateway: &GatewaySpec, by_age: &[&'r RouteSpec]) -> Vec<Overlap<'r>> {
    let has = |kind: RouteKind| by_age.iter().any(|route| route.kind == kind);
    if !(has(RouteKind::Http) && has(RouteKind::Grpc)) {
        return Vec::new();
    }
    let hosts: Vec<Vec<HostPattern>> =
        by_age.iter().map(|route| compile_hostnames(&route.hostnames, &mut Vec::new())).collect();
    let mut overlaps = Vec::new();
    for (listener, spec) in gateway.listeners.iter().enumerate() {
        let Ok(of_listener) = HostPattern::of_listener(spec.hostname.as_deref()) else { continue };
        // Each looks through what the other kind has taken: there may be many of one kind, and few of the other.
        let (mut of_http, mut of_grpc) = (Vec::new(), Vec::new());
        for (&route, hosts) in by_age.iter().zip(&hosts) {
            if !route.names(gateway, spec) {
                continue;
            }
            // Of host patterns that meet one holds the other: if all three meet in pairs, there is a host in all.
            let own: Vec<_> = hosts.iter().filter(|host| host.intersects(&of_listener)).collect();
            let (taken, of_others) = match route.kind {
                RouteKind::Http => (&mut of_http, &of_grpc),
                RouteKind::Grpc => (&mut of_grpc, &of_http),
                // Where these stand nothing else does.
                RouteKind::Tls => continue,
            };
            let mut of_others = of_others.iter();
            let older = of_others.find(|(_, theirs): &&(&RouteSpec, &HostPattern)| {
                own.iter().any(|host| host.intersects(theirs))
            });
            match older {
                Some(&(older, _)) => overlaps.push(Overlap { route, older, listener }),
                None => taken.extend(own.into_iter().map(|host| (route, host))),
            }
        }
    }
    overlaps
}

/// At how many listeners of `gateway` a route would stand, were it alone.
pub fn places(gateway: &GatewaySpec, route: &RouteSpec) -> usize {
    standing(gateway, route).count()
}

/// How many of these routes stand at each listener of `gateway`.
pub fn attached<'r>(
    gateway: &GatewaySpec,
    routes: impl IntoIterator<Item = &'r RouteSpec>,
) -> Vec<usize> {
    let mut by_age: Vec<&RouteSpec> = routes.into_iter().collect();
    by_age.sort_by_cached_key(|route| route.age());
    let mut counts = vec![0; gateway.listeners.len()];
    let of_requests = by_age.iter().filter(|route| route.kind != RouteKind::Tls);
    let of_requests = of_requests.flat_map(|route| standing(gateway, route));
    let of_connections = server_names(gateway, by_age.iter().copied());
    for listener in of_requests.chain(of_connections.listeners()) {
        counts[listener] += 1;
    }
    for overlap in among(gateway, &by_age) {
        counts[overlap.listener] -= 1;
    }
    counts
}

/// The listeners of `gateway` at which a route would stand, were it alone.
fn standing<'g>(
    gateway: &'g GatewaySpec,
    route: &'g RouteSpec,
) -> impl Iterator<Item = usize> + use<'g> {
    let hosts = compile_hostnames(&route.hostnames, &mut Vec::new());
    let stands_at = move |listener: &ListenerSpec| {
        let of_listener = HostPattern::of_listener(listener.hostname.as_deref());
        route.names(gateway, listener)
            && of_listener.is_ok_and(|it| hosts.iter().any(|host| host.intersects(&it)))
    };
    let listeners = gateway.listeners.iter().enumerate();
    listeners.filter(move |(_, listener)| stands_at(listener)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Found, Table,
        table::tests::{gateway, route, rule, sent},
        tls::TlsMode,
    };
    use RouteKind::{Grpc, Http, Tls};

    #[test]
    fn of_two_kinds_under_one_host_the_older_has_it() {
        let of = |name: &str, created, kind, hostnames: &[&str]| RouteSpec {
            kind,
            hostnames: hostnames.iter().map(|it| (*it).to_owned()).collect(),
            ..route(name, created, Vec::new())
        };
        for (routes, expected) in [
            (vec![of("a", 1, Http, &["x.example"]), of("b", 2, Grpc, &["x.example"])], vec!["b a"]),
            (vec![of("a", 2, Http, &["x.example"]), of("b", 1, Grpc, &["x.example"])], vec!["a b"]),
            // Of one age the name decides.
            (vec![of("b", 1, Http, &[]), of("a", 1, Grpc, &[])], vec!["b a"]),
            (vec![of("a", 1, Http, &[]), of("b", 2, Grpc, &["x.example"])], vec!["b a"]),
            (vec![of("a", 1, Http, &["*.example"]), of("b", 2, Grpc, &["x.example"])], vec!["b a"]),
            (vec![of("a", 1, Http, &["x.example"]), of("b", 2, Grpc, &["y.example"])], vec![]),
            (vec![of("a", 1, Http, &["x.example"]), of("b", 2, Http, &["x.example"])], vec![]),
            (vec![of("a", 1, Grpc, &["x.example"]), of("b", 2, Grpc, &["x.example"])], vec![]),
            // Who does not attach takes nothing from others.
            (
                vec![
                    of("a", 1, Http, &["x.example"]),
                    of("b", 2, Grpc, &["x.example", "y.example"]),
                    of("c", 3, Http, &["y.example"]),
                ],
                vec!["b a"],
            ),
        ] {
            let gateway = gateway(&[("http", 80, None)]);
            let found = overlaps(&gateway, &routes);
            let found: Vec<_> =
                found.iter().map(|it| format!("{} {}", it.route.name, it.older.name)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_route_stands_where_its_kind_is_carried_and_names_lead_to_the_oldest() {
        let mut gateway = gateway(&[
            ("http", 80, None),
            ("passing", 443, Some("*.example")),
            ("one", 443, Some("one.example")),
        ]);
        gateway.listeners[1].tls = Some(TlsMode::Passthrough);
        gateway.listeners[2].tls = Some(TlsMode::Passthrough);
        let of = |name: &str, created, kind, hostname: &str| RouteSpec {
            kind,
            hostnames: vec![hostname.to_owned()],
            ..route(name, created, vec![rule(Vec::new())])
        };
        let routes = [
            of("web", 1, Http, "x.example"),
            of("calls", 2, Grpc, "x.example"),
            of("wide", 3, Tls, "*.example"),
            of("late", 5, Tls, "x.example"),
            of("early", 4, Tls, "x.example"),
        ];
        assert_eq!(attached(&gateway, &routes), [1, 2, 1], "of one name the older has it");
        assert_eq!(places(&gateway, &routes[2]), 2);
        let (table, problems) = Table::compile(Some(&gateway), &routes);
        assert_eq!(problems, []);
        for (name, listener, expected) in [
            ("x.example", 1, "tlsroute/default/early"),
            ("y.example", 1, "tlsroute/default/wide"),
            ("one.example", 2, "tlsroute/default/wide"),
        ] {
            assert_eq!(table.listener(443, name), Some(listener), "{name}");
            assert!(table.passes_tls(443, Some(name)));
            match table.find_by_server_name(listener, name) {
                Found::Rule { rule, .. } => assert_eq!(rule.route, expected, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(!table.passes_tls(443, None), "no listener there takes every name");
        assert!(matches!(table.find_by_server_name(0, "x.example"), Found::NoListener));
        assert!(matches!(table.find(0, &sent("GET y.example/")), Found::NoRoute));
    }
}
