//! The compiled route table of one gateway.

use lanes::{Problem, Request, ServiceId};

use crate::{
    GatewaySpec, RouteSpec,
    spec::{HeaderEdits, ListenerSpec, RedirectSpec, RewriteSpec},
};

/// Listeners, and the rules attached to each in the Gateway API's order of precedence.
#[derive(Debug, Default)]
pub struct Table {}

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
    /// `namespace/name` of the route.
    pub route: String,
    /// Name of the route alone, as entrances name it.
    pub route_name: String,
    /// Edits of request headers, in filter order merged.
    pub request_headers: HeaderEdits,
    /// Edits of response headers.
    pub response_headers: HeaderEdits,
    /// Answer with this instead of forwarding.
    pub redirect: Option<RedirectSpec>,
    /// Change host or path.
    pub rewrite: Option<RewriteSpec>,
    /// Who serves it.
    pub backends: Vec<Backend>,
    /// Whole request, milliseconds; 0 is the default.
    pub request_timeout_ms: u64,
    /// One attempt, milliseconds; 0 is the default.
    pub backend_timeout_ms: u64,
}

/// One backend of a rule, ready to use.
#[derive(Debug)]
pub struct Backend {
    /// The service; `Err` says why there is none: 500.
    pub service: Result<ServiceId, String>,
    /// Share of the rule's requests.
    pub weight: u32,
    /// Edits of request headers for this backend alone.
    pub request_headers: HeaderEdits,
    /// Edits of response headers for this backend alone.
    pub response_headers: HeaderEdits,
    /// Change host or path for this backend alone; wins over the rule's.
    pub rewrite: Option<RewriteSpec>,
}

impl Table {
    /// Compiles the routes that attach to `gateway`. What is wrong is left out and told, each problem with
    /// the `namespace/name` of its route; the rest works.
    pub fn compile(
        gateway: Option<&GatewaySpec>,
        routes: &[RouteSpec],
    ) -> (Self, Vec<(String, Problem)>) {
        todo!("{gateway:?} {routes:?}")
    }

    /// The gateway's listeners.
    pub fn listeners(&self) -> &[ListenerSpec] {
        &[]
    }

    /// Which listener takes a request for `host` on `port`: the most specific hostname wins. Trust is decided
    /// by it, before anything of the request is believed. If no listener names the port, all listeners of the
    /// first listener's port stand in (a gateway bound to another address than its Gateway says).
    pub fn listener(&self, port: u16, host: &str) -> Option<usize> {
        todo!("{port} {host}")
    }

    /// The rule for a request that arrived at `listener`.
    pub fn find(&self, listener: usize, request: &impl Request) -> Found<'_> {
        let _ = (listener, request);
        todo!()
    }
}

impl Rule {
    /// Spreads requests over the backends by weight; `None` when there are none or all weigh 0 (answer 500).
    /// `ticket` is uniformly random.
    pub fn backend(&self, ticket: u64) -> Option<&Backend> {
        todo!("{ticket}")
    }
}

impl RewriteSpec {
    /// Appends the path to send (no query). `matched_bytes` is from [`Found::Rule`].
    pub fn write_path(&self, path: &str, matched_bytes: usize, out: &mut Vec<u8>) {
        todo!("{path} {matched_bytes} {out:?}")
    }
}

impl RedirectSpec {
    /// Appends the `Location` value. `scheme` and `port` are those of the listener.
    pub fn write_location(
        &self,
        scheme: &str,
        port: u16,
        request: &impl Request,
        matched_bytes: usize,
        out: &mut Vec<u8>,
    ) {
        let _ = (scheme, port, request, matched_bytes, out);
        todo!()
    }
}
