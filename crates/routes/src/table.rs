//! The compiled route table of one gateway.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use lanes::{Request, ServiceId};

use crate::{
    host::{HostMap, HostPattern},
    path::PathIndex,
    spec::{HeaderEdits, ListenerSpec, RedirectSpec, RewriteSpec},
    tls::UpstreamTls,
};

/// Listeners, and the rules attached to each in the Gateway API's order of precedence. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

/// What a [`Table`] shares between its clones.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) specs: Vec<ListenerSpec>,
    /// As `specs`.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) rules: Vec<Rule>,
}

/// One listener, ready to use.
#[derive(Debug)]
pub(crate) struct Listener {
    /// `None`: a host name nobody can read, so that nothing matches.
    pub(crate) pattern: Option<HostPattern>,
    pub(crate) paths: HostMap<PathIndex>,
}

/// What the table says of a request.
#[derive(Debug)]
pub enum Found<'t> {
    /// This rule.
    Rule {
        /// The rule.
        rule: &'t Rule,
        /// How many bytes of the path its prefix matched (for prefix rewrites); the whole path for others.
        matched_bytes: usize,
    },
    /// No listener on this port has the host: 404.
    NoListener,
    /// A listener, but no rule: 404.
    NoRoute,
}

/// One rule, ready to use.
#[derive(Debug)]
pub struct Rule {
    /// What the route is known by: `namespace/name`, or the kind before it.
    pub route: String,
    /// Name of the route alone, as entrances name it.
    pub route_name: String,
    /// Position of the rule in its route, for people.
    pub index: usize,
    /// Answer with this instead of forwarding.
    pub redirect: Option<RedirectSpec>,
    /// Change host or path.
    pub(crate) rewrite: Option<RewriteSpec>,
    /// Who serves it.
    pub backends: Vec<Backend>,
    /// Whole request, milliseconds; none is the default, 0 is no limit.
    pub request_timeout_ms: Option<u64>,
    /// One attempt, milliseconds; none is the default, 0 is no limit.
    pub backend_timeout_ms: Option<u64>,
    pub(crate) weight_total: u64,
}

/// One backend of a rule, ready to use.
#[derive(Debug)]
pub struct Backend {
    /// The service; `Err` says why there is none: 500.
    pub service: Result<ServiceId, String>,
    /// Share of the rule's requests.
    pub weight: u32,
    /// Its instances speak HTTP/2, from the first byte on or as agreed on in TLS; else HTTP/1.1.
    pub http2: bool,
    /// How its instances are spoken to in TLS; `None` is in the clear.
    pub tls: Option<Arc<UpstreamTls>>,
    /// Edits of request headers: the rule's, then its own. Most have none, which then costs a request nothing.
    pub(crate) request_headers: Vec<HeaderEdits>,
    /// Edits of response headers, likewise.
    pub(crate) response_headers: Vec<HeaderEdits>,
    /// Change host or path for this backend alone; wins over the rule's.
    pub(crate) rewrite: Option<RewriteSpec>,
}

impl From<Inner> for Table {
    fn from(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl Table {
    /// The gateway's listeners.
    pub fn listeners(&self) -> &[ListenerSpec] {
        &self.inner.specs
    }

    /// Which listener takes a request for `host` on `port`: the most specific hostname wins, of equals the
    /// first. Trust is decided by it, before anything of the request is believed. If no listener names the
    /// port, all listeners of the first listener's port stand in (a gateway bound to another address than its
    /// Gateway says).
    pub fn listener(&self, port: u16, host: &str) -> Option<usize> {
        let specs = &self.inner.specs;
        let named = specs.iter().any(|spec| spec.port == port);
        let port = if named { port } else { specs.first()?.port };
        let mut best = None;
        for (index, (spec, listener)) in specs.iter().zip(&self.inner.listeners).enumerate() {
            if spec.port == port
                && let Some(specificity) =
                    listener.pattern.as_ref().and_then(|it| it.specificity(host))
                && best.is_none_or(|(_, so_far)| specificity > so_far)
            {
                best = Some((index, specificity));
            }
        }
        best.map(|(index, _)| index)
    }

    /// Whether clients may speak HTTP/2 in the clear on `port`: what they ask for is not known yet, so that it is said of
    /// all its listeners, of whose hosts each then takes its own.
    pub fn speaks_http2(&self, port: u16) -> bool {
        self.on_port(port).any(|spec| spec.http2)
    }

    /// Whether clients must speak TLS on `port`.
    pub fn speaks_tls(&self, port: u16) -> bool {
        self.on_port(port).any(|spec| spec.tls.is_some())
    }

    /// Whether TLS goes on as it is for a client that asks for a name, in lower case, on `port`, or for none.
    pub fn passes_tls(&self, port: u16, name: Option<&str>) -> bool {
        let listener = self.listener(port, name.unwrap_or_default());
        listener.is_some_and(|index| self.inner.specs[index].passes_tls())
    }

    /// The listeners of a port, or those that stand in.
    fn on_port(&self, port: u16) -> impl Iterator<Item = &ListenerSpec> {
        let specs = &self.inner.specs;
        let named = specs.iter().any(|spec| spec.port == port);
        let port = if named { Some(port) } else { specs.first().map(|first| first.port) };
        specs.iter().filter(move |spec| Some(spec.port) == port)
    }

    /// The rule for a connection in TLS that goes on as it is from `listener`, by the name, in lower case, that its client
    /// asks for.
    pub fn find_by_server_name(&self, listener: usize, name: &str) -> Found<'_> {
        match self.inner.specs.get(listener) {
            Some(spec) if spec.passes_tls() => self.find(listener, &ByServerName(name)),
            _ => Found::NoListener,
        }
    }

    /// The rule for a request that arrived at `listener`.
    ///
    /// A host name's rules come before those of a less specific one; where none of them holds, the less
    /// specific one's are asked.
    pub fn find(&self, listener: usize, request: &impl Request) -> Found<'_> {
        let Some(listener) = self.inner.listeners.get(listener) else { return Found::NoListener };
        let found = listener.paths.find(request.host(), |paths| paths.find(request));
        match found.and_then(|(rule, bytes)| Some((self.inner.rules.get(rule as usize)?, bytes))) {
            Some((rule, matched_bytes)) => Found::Rule { rule, matched_bytes },
            None => Found::NoRoute,
        }
    }
}

/// All that can be said of a connection in TLS that is not ended here.
struct ByServerName<'n>(&'n str);

impl Request for ByServerName<'_> {
    fn method(&self) -> &str {
        ""
    }

    fn host(&self) -> &str {
        self.0
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> &str {
        ""
    }

    fn client_ip(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

impl Rule {
    /// Spreads requests over the backends by weight; `None` when there are none or all weigh 0 (answer 500).
    /// `ticket` is uniformly random.
    pub fn backend(&self, ticket: u64) -> Option<&Backend> {
        let mut left = ticket.checked_rem(self.weight_total)?;
        self.backends.iter().find(|backend| match left.checked_sub(u64::from(backend.weight)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }
}

impl Backend {
    /// Answers its share with 500, for this reason.
    pub(crate) fn broken(reason: String) -> Self {
        Self {
            service: Err(reason),
            weight: 0,
            http2: false,
            tls: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            rewrite: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
