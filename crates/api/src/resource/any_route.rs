//! A route of any kind: what is the same of all of them. What a kind asks of requests is its own.

use super::{
    BackendRef, GrpcRoute, GrpcRouteMatch, GrpcRouteSpec, HttpRoute, HttpRouteSpec, Key, Kind,
    Metadata, Object, ParentRef, RouteFilter, RouteMatch, RouteTimeouts, Set, Spec, TlsRoute,
    TlsRouteSpec,
};

/// A route of any kind.
#[derive(Debug, Clone)]
pub struct AnyRoute<'s> {
    kind: Kind,
    /// What it says of itself.
    pub metadata: &'s Metadata,
    /// The gateways it attaches to.
    pub parent_refs: &'s [ParentRef],
    /// Exact, or `*.suffix`; any the listener has when empty.
    pub hostnames: &'s [String],
    /// In order.
    pub rules: Vec<AnyRule<'s>>,
}

/// One rule of a route.
#[derive(Debug, Clone, Copy)]
pub struct AnyRule<'s> {
    /// What it asks of requests.
    pub matches: Matches<'s>,
    /// What is changed on the way.
    pub filters: &'s [RouteFilter],
    /// Who serves it, by weight.
    pub backend_refs: &'s [BackendRef],
    /// How long it may take.
    pub timeouts: Option<&'s RouteTimeouts>,
}

/// What a rule asks of requests, any of these.
#[derive(Debug, Clone, Copy)]
pub enum Matches<'s> {
    /// Of an HTTPRoute.
    Http(&'s [RouteMatch]),
    /// Of a GRPCRoute.
    Grpc(&'s [GrpcRouteMatch]),
    /// Of a TLSRoute, whose host names are all that it goes by.
    Tls,
}

impl<'s> AnyRoute<'s> {
    /// The object, if it is a route.
    pub fn of(object: &'s Object) -> Option<Self> {
        match object {
            Object::HttpRoute(route) => Some(route.into()),
            Object::GrpcRoute(route) => Some(route.into()),
            Object::TlsRoute(route) => Some(route.into()),
            _ => None,
        }
    }

    /// What kind of route it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name among all objects.
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.metadata.namespace.as_str(), self.metadata.name.as_str())
    }

    /// Whether its requests are gRPC's, which HTTP/2 alone carries.
    pub fn is_grpc(&self) -> bool {
        self.kind == Kind::GrpcRoute
    }

    /// Whether it has connections in TLS as they are.
    pub(crate) fn is_tls(&self) -> bool {
        self.kind == Kind::TlsRoute
    }

    /// The gateways that it names as parents.
    pub fn gateways_named(&self) -> impl Iterator<Item = Key> {
        let own = self.metadata.namespace.as_str();
        self.parent_refs.iter().map(move |parent| {
            let namespace = parent.namespace.as_deref().unwrap_or(own);
            Key::new(Kind::Gateway, namespace, parent.name.as_str())
        })
    }

    /// Every backend that one of its rules names.
    pub fn backend_refs(&self) -> impl Iterator<Item = &'s BackendRef> {
        self.rules.iter().flat_map(|rule| rule.backend_refs)
    }
}

impl<'s> From<&'s HttpRoute> for AnyRoute<'s> {
    fn from(route: &'s HttpRoute) -> Self {
        let rules = route.spec.rules.iter().map(|rule| AnyRule {
            matches: Matches::Http(&rule.matches),
            filters: &rule.filters,
            backend_refs: &rule.backend_refs,
            timeouts: rule.timeouts.as_ref(),
        });
        Self {
            kind: HttpRouteSpec::KIND,
            metadata: &route.metadata,
            parent_refs: &route.spec.parent_refs,
            hostnames: &route.spec.hostnames,
            rules: rules.collect(),
        }
    }
}

impl<'s> From<&'s GrpcRoute> for AnyRoute<'s> {
    fn from(route: &'s GrpcRoute) -> Self {
        let rules = route.spec.rules.iter().map(|rule| AnyRule {
            matches: Matches::Grpc(&rule.matches),
            filters: &rule.filters,
            backend_refs: &rule.backend_refs,
            timeouts: None,
        });
        Self {
            kind: GrpcRouteSpec::KIND,
            metadata: &route.metadata,
            parent_refs: &route.spec.parent_refs,
            hostnames: &route.spec.hostnames,
            rules: rules.collect(),
        }
    }
}

impl<'s> From<&'s TlsRoute> for AnyRoute<'s> {
    fn from(route: &'s TlsRoute) -> Self {
        let rules = route.spec.rules.iter().map(|rule| AnyRule {
            matches: Matches::Tls,
            filters: &[],
            backend_refs: &rule.backend_refs,
            timeouts: None,
        });
        Self {
            kind: TlsRouteSpec::KIND,
            metadata: &route.metadata,
            parent_refs: &route.spec.parent_refs,
            hostnames: &route.spec.hostnames,
            rules: rules.collect(),
        }
    }
}

impl Set {
    /// Every route, kind by kind, each kind in order of creation.
    pub fn routes(&self) -> impl Iterator<Item = AnyRoute<'_>> {
        let of_requests =
            self.http_routes().map(AnyRoute::from).chain(self.grpc_routes().map(AnyRoute::from));
        of_requests.chain(self.tls_routes().map(AnyRoute::from))
    }

    /// Of which kinds there are routes of requests of this name, in whatever namespace, that attach to a gateway. Asked of every name
    /// in a group: what else routes say is not looked at.
    pub(crate) fn kinds_at(&self, gateway: &str, name: &str) -> impl Iterator<Item = Kind> {
        let attaches = move |metadata: &Metadata, parents: &[ParentRef]| {
            metadata.name == name && parents.iter().any(|parent| parent.name == gateway)
        };
        let mut http = self.http_routes().filter(|it| attaches(&it.metadata, &it.spec.parent_refs));
        let mut grpc = self.grpc_routes().filter(|it| attaches(&it.metadata, &it.spec.parent_refs));
        let http = http.next().map(|_| HttpRouteSpec::KIND);
        http.into_iter().chain(grpc.next().map(|_| GrpcRouteSpec::KIND))
    }
}
