//! Gateways and routes as operators wrote them, shapes already checked, references resolved to services.

use lanes::{Fault, Problem, ServiceId};

use crate::{
    host::HostPattern,
    tls::{ListenerTls, TlsMode, UpstreamTls},
};

/// One gateway: its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySpec {
    /// The Gateway resource's name; entrances name it.
    pub name: String,
    /// Its listeners.
    pub listeners: Vec<ListenerSpec>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSpec {
    /// Unique in the gateway.
    pub name: String,
    /// The port clients connect to.
    pub port: u16,
    /// Exact, or `*.suffix`; `None` is any.
    pub hostname: Option<String>,
    /// Whether lane context, trace and correlation ids of clients are believed (semantics §12).
    pub trusted: bool,
    /// How many proxies in front are believed in X-Forwarded-For.
    pub trusted_hops: u8,
    /// Whether slashes in a row in a path are taken for one.
    pub merge_slashes: bool,
    /// Whether clients may speak HTTP/2 in the clear from their first byte (prior knowledge).
    pub http2: bool,
    /// What it does with TLS; `None` is in the clear.
    pub tls: Option<TlsMode>,
}

impl ListenerSpec {
    /// What clients speak: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What it ends TLS with, if it does.
    pub fn ends_tls(&self) -> Option<&ListenerTls> {
        match &self.tls {
            Some(TlsMode::Terminate(tls)) => Some(tls),
            Some(TlsMode::Passthrough) | None => None,
        }
    }

    /// Whether TLS goes on as it is.
    pub fn passes_tls(&self) -> bool {
        self.tls == Some(TlsMode::Passthrough)
    }

    /// Whether routes of a kind can stand at it.
    pub fn carries(&self, kind: RouteKind) -> bool {
        self.passes_tls() == (kind == RouteKind::Tls)
    }

    /// As its protocol is written.
    fn protocol(&self) -> &'static str {
        match self.tls {
            None => "HTTP",
            Some(TlsMode::Terminate(_)) => "HTTPS",
            Some(TlsMode::Passthrough) => "TLS",
        }
    }
}

impl GatewaySpec {
    /// `namespace/name` of every certificate that its listeners name, some perhaps more than once.
    pub fn certificates(&self) -> impl Iterator<Item = &str> {
        let tls = self.listeners.iter().filter_map(ListenerSpec::ends_tls);
        let names = tls.flat_map(|tls| {
            let authorities = tls.clients.iter().flat_map(|clients| &clients.authorities);
            tls.certificates.iter().chain(authorities)
        });
        names.map(String::as_str)
    }

    /// Every host name of a listener that cannot be read, and every listener that stands behind another like it, or on
    /// the port of one that speaks otherwise. Fields are as in the resource.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut taken: Vec<(u16, HostPattern, &str)> = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let at = format!("spec.listeners[{index}]");
            let mut earlier = self.listeners[..index].iter();
            let otherwise = |other: &&ListenerSpec| {
                other.port == listener.port && other.tls.is_some() != listener.tls.is_some()
            };
            if let Some(other) = earlier.find(otherwise) {
                let remedy = format!(
                    "use another port: listener {} speaks {} there",
                    other.name,
                    other.protocol()
                );
                let port = listener.port.to_string();
                let problem = Problem::new(format!("{at}.port"), port, remedy);
                problems.push(problem.of(Fault::NotUnique));
                continue;
            }
            let hostname = listener.hostname.as_deref();
            let pattern = match HostPattern::of_listener(hostname) {
                Ok(pattern) => pattern,
                Err(remedy) => {
                    let hostname = hostname.unwrap_or_default();
                    let remedy = match hostname {
                        "*" => "leave it out: without it every host is taken",
                        _ => remedy,
                    };
                    problems.push(Problem::new(format!("{at}.hostname"), hostname, remedy));
                    continue;
                }
            };
            let like =
                taken.iter().find(|(port, known, _)| (*port, known) == (listener.port, &pattern));
            if let Some((_, _, first)) = like {
                let (field, value) = match hostname {
                    Some(hostname) => ("hostname", hostname.to_owned()),
                    None => ("port", listener.port.to_string()),
                };
                let remedy = format!(
                    "use another port or hostname: listener {first} takes every request for this one"
                );
                let problem = Problem::new(format!("{at}.{field}"), value, remedy);
                problems.push(problem.of(Fault::NotUnique));
            } else {
                taken.push((listener.port, pattern, &listener.name));
            }
        }
        problems
    }
}

/// What a route is written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// `HTTPRoute`.
    #[default]
    Http,
    /// `GRPCRoute`: its requests are `POST /service/method`, in one table with those of `HTTPRoute`.
    Grpc,
    /// `TLSRoute`: connections, by the name that their clients ask for.
    Tls,
}

impl RouteKind {
    /// What a route of this kind is known by among all routes: `namespace/name`, and before it the kind where that is not
    /// `HTTPRoute`.
    pub fn key(self, namespace: &str, name: &str) -> String {
        match self {
            Self::Http => format!("{namespace}/{name}"),
            Self::Grpc => format!("grpcroute/{namespace}/{name}"),
            Self::Tls => format!("tlsroute/{namespace}/{name}"),
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// What it is written as.
    pub kind: RouteKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name; entrances may name it.
    pub name: String,
    /// The gateways it attaches to.
    pub parents: Vec<ParentSpec>,
    /// Exact, or `*.suffix`; empty is any the listener has.
    pub hostnames: Vec<String>,
    /// Its rules in order.
    pub rules: Vec<RuleSpec>,
    /// Creation order: of two equal matches the older wins, then `namespace/name`, then the first rule.
    pub created: u64,
}

impl RouteSpec {
    /// What it is known by among all routes.
    pub fn key(&self) -> String {
        self.kind.key(&self.namespace, &self.name)
    }

    /// Less is older: by age, then alphabetical by the joined text, not by namespace first: `a/x` and `a-b/x` differ in
    /// that.
    pub(crate) fn age(&self) -> (u64, String, RouteKind) {
        (self.created, format!("{}/{}", self.namespace, self.name), self.kind)
    }

    /// Whether it means a listener of a gateway, and can stand there.
    pub(crate) fn names(&self, gateway: &GatewaySpec, listener: &ListenerSpec) -> bool {
        let mut parents = self.parents.iter();
        listener.carries(self.kind)
            && parents.any(|parent| parent.gateway == gateway.name && parent.names(listener))
    }

    /// `namespace/name` of every certificate whose authorities its backends are verified by, some perhaps more than once.
    pub fn certificates(&self) -> impl Iterator<Item = &str> {
        let backends = self.rules.iter().flat_map(|rule| &rule.backends);
        let tls = backends.filter_map(|backend| backend.tls.as_ref());
        tls.flat_map(UpstreamTls::certificates).map(String::as_str)
    }
}

/// Where a route attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentSpec {
    /// The gateway.
    pub gateway: String,
    /// Only this listener.
    pub section: Option<String>,
    /// Only this port.
    pub port: Option<u16>,
}

impl ParentSpec {
    /// Whether it means a listener of its gateway.
    pub fn names(&self, listener: &ListenerSpec) -> bool {
        self.section.as_ref().is_none_or(|section| *section == listener.name)
            && self.port.is_none_or(|port| port == listener.port)
    }
}

/// One rule of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// Any of these; empty means every path.
    pub matches: Vec<MatchSpec>,
    /// What is changed on the way.
    pub filters: Vec<FilterSpec>,
    /// Who serves it, by weight.
    pub backends: Vec<BackendSpec>,
    /// Whole request, milliseconds; none is the proxy's default, 0 no limit.
    pub request_timeout_ms: Option<u64>,
    /// One attempt, milliseconds; none is the proxy's default, 0 no limit.
    pub backend_timeout_ms: Option<u64>,
}

/// All parts must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchSpec {
    /// The path.
    pub path: PathSpec,
    /// The method; `None` is any.
    pub method: Option<String>,
    /// Headers, names case-insensitive.
    pub headers: Vec<NamedSpec>,
    /// Query parameters, names case-sensitive; the first value counts.
    pub query: Vec<NamedSpec>,
}

/// How the path must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSpec {
    /// The whole path.
    Exact(String),
    /// By segment: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// The whole path, RE2 syntax.
    Regex(String),
}

/// A header or query parameter and what its value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSpec {
    /// The name.
    pub name: String,
    /// The value.
    pub value: TextSpec,
}

/// How a text must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSpec {
    /// Equal.
    Exact(String),
    /// The whole value matches.
    Regex(String),
}

/// What is changed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterSpec {
    /// Request headers.
    RequestHeaders(HeaderEdits),
    /// Response headers.
    ResponseHeaders(HeaderEdits),
    /// Answer with a redirect instead.
    Redirect(RedirectSpec),
    /// Change host or path.
    Rewrite(RewriteSpec),
}

/// Changes to header fields: `set`, then `add`, then `remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Replace or create.
    pub set: Vec<(String, String)>,
    /// Append a value.
    pub add: Vec<(String, String)>,
    /// Remove every value.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// The fields it sets or removes: whatever came under these names goes first.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.set.iter().map(|(name, _)| name).chain(&self.remove).map(String::as_str)
    }

    /// The fields it sets or adds.
    pub fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().chain(&self.add).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A redirect; what is `None` stays as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectSpec {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Another host.
    pub hostname: Option<String>,
    /// Another path.
    pub path: Option<PathRewrite>,
    /// Another port.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A rewrite; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteSpec {
    /// The Host sent to the backend.
    pub hostname: Option<String>,
    /// The path sent to the backend.
    pub path: Option<PathRewrite>,
}

/// A new path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replaces the whole path.
    Full(String),
    /// Replaces what the rule's prefix matched.
    Prefix(String),
}

/// One backend of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSpec {
    /// The service; `Err` says why the reference does not resolve (the share of this backend answers 500).
    pub service: Result<ServiceId, String>,
    /// Share of the rule's requests.
    pub weight: u32,
    /// Its instances speak HTTP/2, from the first byte on or as agreed on in TLS; else HTTP/1.1.
    pub http2: bool,
    /// How its instances are spoken to in TLS; `None` is in the clear.
    pub tls: Option<UpstreamTls>,
    /// Filters of this backend alone.
    pub filters: Vec<FilterSpec>,
}
