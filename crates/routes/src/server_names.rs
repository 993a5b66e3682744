//! Host names of `TLSRoute`s: which of them lead to connections, and which never do. Unlike rules on requests, those of two
//! routes under one name cannot be told apart, and of a port each name is of one listener.

use std::collections::HashMap;

use crate::{
    host::HostPattern,
    spec::{GatewaySpec, RouteKind, RouteSpec},
};

/// The host names of routes at the listeners of a gateway.
#[derive(Debug, Default)]
pub struct ServerNames<'r> {
    /// Those that never have a connection.
    pub vain: Vec<Vain<'r>>,
    /// Where routes have connections: listeners, by their place, and each route there once.
    served: Vec<(usize, &'r RouteSpec)>,
}

/// A host name that never has a connection at a listener.
#[derive(Debug)]
pub struct Vain<'r> {
    /// The route.
    pub route: &'r RouteSpec,
    /// Which of its host names, by its place.
    pub hostname: usize,
    /// Where, by its place in the gateway.
    pub listener: usize,
    /// Who has the connections.
    pub why: Why<'r>,
}

/// Who has connections that a route never has.
#[derive(Debug)]
pub enum Why<'r> {
    /// An older route of the same host name.
    Older(&'r RouteSpec),
    /// Another listener of the port, whose host name is closer; by its place.
    Listener(usize),
}

impl ServerNames<'_> {
    /// Whether a route has connections at some listener.
    pub fn has(&self, route: &RouteSpec) -> bool {
        self.served.iter().any(|(_, served)| served.key() == route.key())
    }

    /// The listeners at which routes have connections, once for each route.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = usize> {
        self.served.iter().map(|(listener, _)| *listener)
    }
}

/// What host names of these routes come to at the listeners of `gateway`; routes of requests have no part in it.
pub fn server_names<'r>(
    gateway: &GatewaySpec,
    routes: impl IntoIterator<Item = &'r RouteSpec>,
) -> ServerNames<'r> {
    let mut by_age: Vec<_> = routes.into_iter().filter(|it| it.kind == RouteKind::Tls).collect();
    by_age.sort_by_cached_key(|route| route.age());
    let patterns: Vec<Option<HostPattern>> = (gateway.listeners.iter())
        .map(|it| HostPattern::of_listener(it.hostname.as_deref()).ok())
        .collect();
    let mut names = ServerNames::default();
    for (listener, spec) in gateway.listeners.iter().enumerate() {
        let Some(of_listener) = &patterns[listener] else { continue };
        let closer = |common: &HostPattern| {
            let others = gateway.listeners.iter().zip(&patterns).enumerate();
            let mut others = others.filter(|(_, (other, _))| other.port == spec.port);
            let is_closer = |theirs: &HostPattern| {
                common.is_within(theirs) && theirs.closeness() > of_listener.closeness()
            };
            others.find(|(_, (_, theirs))| theirs.as_ref().is_some_and(is_closer)).map(|it| it.0)
        };
        let mut taken: HashMap<HostPattern, &'r RouteSpec> = HashMap::new();
        for route in by_age.iter().filter(|route| route.names(gateway, spec)) {
            for (hostname, written) in route.hostnames.iter().enumerate() {
                let Ok(pattern) = HostPattern::parse(written) else { continue };
                let Some(common) = pattern.common(of_listener) else { continue };
                let why = match taken.get(&pattern) {
                    // It says one name twice.
                    Some(older) if std::ptr::eq(*older, *route) => continue,
                    Some(older) => Some(Why::Older(older)),
                    None => closer(common).map(Why::Listener),
                };
                if let Some(why) = why {
                    names.vain.push(Vain { route, hostname, listener, why });
                    continue;
                }
                taken.insert(pattern, route);
                let is_last = |(at, last): &(usize, &RouteSpec)| {
                    *at == listener && std::ptr::eq(*last, *route)
                };
                if !names.served.last().is_some_and(is_last) {
                    names.served.push((listener, route));
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::tests::{gateway, route},
        tls::{ListenerTls, TlsMode, TlsVersion},
    };

    #[test]
    fn a_name_is_of_the_oldest_route_and_of_the_closest_listener() {
        let mut gateway = gateway(&[
            ("any", 443, None),
            ("wild", 443, Some("*.shop.example")),
            ("one", 443, Some("one.example")),
            ("other", 444, Some("*.shop.example")),
        ]);
        for listener in &mut gateway.listeners {
            listener.tls = Some(TlsMode::Passthrough);
        }
        let tls =
            ListenerTls { certificates: Vec::new(), clients: None, minimum: TlsVersion::default() };
        gateway.listeners[1].tls = Some(tls.into());
        let of = |name: &str, created, hostnames: &[&str]| RouteSpec {
            kind: RouteKind::Tls,
            hostnames: hostnames.iter().map(|it| (*it).to_owned()).collect(),
            ..route(name, created, Vec::new())
        };
        let routes = [
            of("early", 1, &["a.example", "a.example"]),
            of("late", 2, &["a.example", "b.example"]),
            of("none", 3, &["A.example"]),
            // Not the same names, so that both have some.
            of("wide", 4, &["*.example"]),
            of("ended", 5, &["x.shop.example", "*.y.shop.example"]),
            of("exact", 6, &["one.example"]),
        ];
        let names = server_names(&gateway, &routes);
        let vain: Vec<String> = (names.vain.iter())
            .map(|it| {
                let why = match it.why {
                    Why::Older(older) => older.name.clone(),
                    Why::Listener(other) => format!("@{}", gateway.listeners[other].name),
                };
                let at = &gateway.listeners[it.listener].name;
                format!("{}[{}]@{at} {why}", it.route.name, it.hostname)
            })
            .collect();
        assert_eq!(
            vain,
            [
                "late[0]@any early",
                "none[0]@any early",
                "ended[0]@any @wild",
                "ended[1]@any @wild",
                "exact[0]@any @one",
            ]
        );
        let has: Vec<&str> =
            routes.iter().filter(|it| names.has(it)).map(|it| it.name.as_str()).collect();
        // `ended` has connections on the other port.
        assert_eq!(has, ["early", "late", "wide", "ended", "exact"]);
        assert_eq!(crate::attached(&gateway, &routes), [3, 0, 2, 2]);
    }
}
