//! The one reading of a request where it enters: what of it is seen by routes and conditions, what is kept, and what
//! is written anew (semantics §12).
//!
//! Gateways, both sides of a sidecar and `explain` read requests by these functions and no others. In order:
//! 1. [`drop_underscored`] (gateways) and [`drop_hop_by_hop`]: fields that are not the request's own.
//! 2. [`believe`]: what the listener does not believe goes; the client's address; slashes in a row. Where nobody is a stranger
//!    [`believe_all`].
//! 3. [`Policy::context`] and [`Believed::seen`]: what decisions read.
//! 4. After the decision [`write_host`] and [`write`], at gateways by [`Edits::send_on`](crate::Edits::send_on): what is
//!    sent besides the fields that are still there.

mod client_address;
mod correlation_headers;
mod correlation_id;
mod field;
mod framing;
mod limits;
mod max_forwards;
mod name;
pub mod possible;
mod seen;
mod skywalking;
mod target;
mod text_head;
mod trace_parent;
mod unseen;
mod written;

use std::net::IpAddr;

use crate::spec::ListenerSpec;
use lanes::{
    Context, Snapshot,
    baggage::{self, Incoming},
};

pub use correlation_headers::{BadCorrelationHeader, CorrelationHeaders};
pub use correlation_id::{CORRELATION_ID_BYTES_MAX, CorrelationId};
pub use field::{
    ConnectionOptions, Field, Fields, Nominated, drop_hop_by_hop, drop_underscored, is_expected,
};
pub use framing::{Framing, FramingError, FramingReader};
pub use limits::{FIELDS_MAX, HEAD_BYTES_MAX, METHOD_BYTES_MAX, NOMINATIONS_MAX, TARGET_BYTES_MAX};
pub use max_forwards::{ForwardsLeft, forwards_left, write_forwards_left};
pub use name::{Name, Names};
pub use seen::{Head, Seen};
pub use target::{
    ip_of, is_same_authority, is_valid_host, is_valid_target, port, split_port, without_root_dot,
};
pub use text_head::{TextHead, Unreadable};
pub use trace_parent::TraceParent;
pub use unseen::Unseen;
pub use written::Written;

/// What proxies in front say of the client.
const FORWARDED: Names = Names::of(&[
    Name::Forwarded,
    Name::ForwardedFor,
    Name::ForwardedProto,
    Name::ForwardedHost,
    Name::ForwardedPort,
    Name::ForwardedOther,
    Name::RealIp,
]);

/// What tells those who follow the call chain which requests belong together.
const IDS: Names =
    Names::of(&[Name::Traceparent, Name::Tracestate, Name::RequestId, Name::B3, Name::Sw8]);

/// Whom an entrance believes.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'c> {
    /// Whether lane context, trace and correlation ids of clients are believed.
    pub is_trusted: bool,
    /// What becomes of what proxies in front say of the client.
    pub forwarded: Forwarded,
    /// Whether slashes in a row in the path are taken for one.
    pub merge_slashes: bool,
    /// What clients speak: `http` or `https`.
    pub scheme: &'static str,
    /// Fields that carry correlation ids besides the trace headers.
    pub correlation: &'c CorrelationHeaders,
}

/// What becomes of `forwarded`, `x-forwarded-*` and `x-real-ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// They are appended to what this many trusted proxies in front said; with none it is said anew.
    Appended { trusted_hops: u8 },
    /// They stay as they came: who calls is the peer.
    Untouched,
}

impl<'c> Policy<'c> {
    /// At a gateway's listener.
    pub fn of_listener(listener: &ListenerSpec, correlation: &'c CorrelationHeaders) -> Self {
        let forwarded = Forwarded::Appended { trusted_hops: listener.trusted_hops };
        let ListenerSpec { trusted: is_trusted, merge_slashes, .. } = *listener;
        Self { is_trusted, forwarded, merge_slashes, scheme: listener.scheme(), correlation }
    }

    /// In front of an application; an edge believes nobody.
    pub fn of_application(edge: bool, correlation: &'c CorrelationHeaders) -> Self {
        let forwarded = Forwarded::Untouched;
        Self { is_trusted: !edge, forwarded, merge_slashes: false, scheme: "http", correlation }
    }

    /// The lane context that arrived, as far as it is believed.
    pub fn context<'b>(&self, snapshot: &Snapshot, fields: &impl Fields<'b>) -> Context {
        if self.is_trusted {
            Context::read(snapshot, fields.values(Name::Baggage))
        } else {
            Context::default()
        }
    }

    /// The names that are not believed, besides those that carry correlation ids.
    fn dropped(&self) -> Names {
        let ids = if self.is_trusted { Names::default() } else { IDS };
        match self.forwarded {
            Forwarded::Appended { trusted_hops: 0 } => ids.and(FORWARDED),
            Forwarded::Appended { .. } | Forwarded::Untouched => ids,
        }
    }

    /// Whether a field carries a correlation id that is not believed.
    fn drops_id(&self, field: &Field<'_>) -> bool {
        field.name == Name::Other && !self.is_trusted && self.correlation.contains(field.written)
    }
}

/// What is believed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Believed {
    client_ip: IpAddr,
    /// Lane members arrived and are not believed.
    hides_lanes: bool,
}

impl Believed {
    /// The request as routes and conditions see it.
    pub fn seen<'h, 'b, H: Head<'b>>(&self, head: &'h H) -> Seen<'h, 'b, H> {
        Seen::new(head, self.client_ip, self.hides_lanes)
    }
}

/// Drops what is not believed, before anything reads it, and gives the path its one form. From here on the head says that it
/// was [judged](Head::is_judged).
pub fn believe<'b>(head: &mut impl Head<'b>, peer: IpAddr, policy: Policy<'_>) -> Believed {
    head.judge();
    if policy.merge_slashes {
        head.merge_slashes();
    }
    let client_ip = match policy.forwarded {
        Forwarded::Appended { trusted_hops } => client_address::client_ip(head, peer, trusted_hops),
        Forwarded::Untouched => peer.to_canonical(),
    };
    let hides_lanes =
        !policy.is_trusted && head.values(Name::Baggage).any(baggage::has_lane_members);
    head.drop_named(policy.dropped());
    if !policy.is_trusted && policy.correlation.has_others() {
        head.drop_where(|field| policy.drops_id(field));
    }
    Believed { client_ip, hides_lanes }
}

/// Inside the mesh, and of the application beside a sidecar, what came is believed as it is: the head says that it was
/// [judged](Head::is_judged).
pub fn believe_all<'b>(head: &mut impl Head<'b>) {
    head.judge();
}

/// What was decided of a request.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'d> {
    /// Whose groups the context means.
    pub snapshot: &'d Snapshot,
    /// The lanes it is in.
    pub context: &'d Context,
    /// Who sent it.
    pub peer: IpAddr,
}

/// Writes a `host` where another is wanted, or where the client sent none (HTTP/1.0, made HTTP/1.1 by proxies).
pub fn write_host<'b>(
    head: &mut impl Head<'b>,
    instead: Option<&str>,
    service: &str,
    written: &mut Written,
) {
    let host = match instead {
        Some(host) => {
            head.drop_named(Names::of(&[Name::Host]));
            host.as_bytes()
        }
        None if head.values(Name::Host).next().is_some() => return,
        None if head.authority().is_empty() => service.as_bytes(),
        None => head.authority(),
    };
    written.push(Name::Host, host);
}

/// Writes the lane context, ids for those who follow the call chain, and who called; what came of these goes.
pub fn write<'b>(
    head: &mut impl Head<'b>,
    policy: Policy<'_>,
    decided: Decided<'_>,
    mut random: impl FnMut() -> [u8; 16],
    written: &mut Written,
) {
    write_baggage(head, policy, decided, written);
    write_ids(head, policy, &mut random, written);
    if let Forwarded::Appended { .. } = policy.forwarded {
        write_forwarded(head, decided.peer, policy.scheme, written);
    }
}

/// The lanes first, then whatever else came.
fn write_baggage<'b>(
    fields: &mut impl Fields<'b>,
    policy: Policy<'_>,
    decided: Decided<'_>,
    written: &mut Written,
) {
    let values = fields.values(Name::Baggage);
    if decided.context.members().is_empty() && values.clone().next().is_none() {
        return;
    }
    let incoming = if policy.is_trusted { Incoming::Keep } else { Incoming::Strip };
    written.push_with(Name::Baggage, |text| {
        baggage::write(decided.snapshot, decided.context, values, incoming, text);
    });
    fields.drop_named(Names::of(&[Name::Baggage]));
}

/// Adds what correlation gave back to a request that carries no lane context, before the baggage it has.
pub fn write_restored<'b>(fields: &mut impl Fields<'b>, restored: &[u8], written: &mut Written) {
    if restored.is_empty() {
        return;
    }
    written.push_with(Name::Baggage, |text| {
        text.extend_from_slice(restored);
        let own = text.len();
        for value in fields.values(Name::Baggage).filter(|value| !value.is_empty()) {
            text.push(b',');
            text.extend_from_slice(value);
        }
        if text.len() - own + restored.len() > baggage::BAGGAGE_BYTES_MAX {
            text.truncate(own);
        }
    });
    fields.drop_named(Names::of(&[Name::Baggage]));
}

/// Names another place in its trace as the one that a request goes on from, or says that nobody is to trace it.
pub fn write_trace_parent<'b>(
    fields: &mut impl Fields<'b>,
    parent: TraceParent,
    written: &mut Written,
) {
    fields.drop_named(Names::of(&[Name::Traceparent]));
    written.remove(Name::Traceparent);
    written.push(Name::Traceparent, &parent.to_bytes());
}

/// Adds a proxy to those that a request has passed: the parts of its member of `via`.
pub fn write_via<'b>(fields: &mut impl Fields<'b>, member: &[&[u8]], written: &mut Written) {
    let passed = fields.names().contains(Name::Via);
    written.push_with(Name::Via, |text| {
        if passed {
            for value in fields.values(Name::Via).filter(|value| !value.is_empty()) {
                text.extend_from_slice(value);
                text.extend_from_slice(b", ");
            }
        }
        member.iter().for_each(|part| text.extend_from_slice(part));
    });
    if passed {
        fields.drop_named(Names::of(&[Name::Via]));
    }
}

/// Entrances create the ids that others follow the call chain by. One that is no valid id helps nobody: it is
/// replaced, and a `tracestate` means nothing without its `traceparent`. SkyWalking's is created where applications are
/// told apart by it alone: its agents go on with the trace of a request that has one, and begin a new one otherwise.
fn write_ids<'b>(
    fields: &mut impl Fields<'b>,
    policy: Policy<'_>,
    random: &mut impl FnMut() -> [u8; 16],
    written: &mut Written,
) {
    let last = |name| fields.values(name).next_back();
    let traceparent = last(Name::Traceparent).is_some_and(|it| TraceParent::parse(it).is_some());
    let request_id = last(Name::RequestId).is_some_and(correlation_id::is_valid_id);
    let sw8 = !policy.correlation.has_sw8()
        || last(Name::Sw8).is_some_and(|it| skywalking::trace_id(it).is_some());
    // New ones are of the same digits: applications forward the one or the other, and both lead to the same request.
    let is_any_new = !traceparent || !request_id || !sw8;
    let new = is_any_new.then(&mut *random).unwrap_or_default();
    if !traceparent {
        let (trace_id, span) = (new, random());
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&trace_id);
        bytes[16..].copy_from_slice(&span[..8]);
        written.push(Name::Traceparent, &TraceParent::create(bytes).to_bytes());
    }
    if !request_id {
        written.push(Name::RequestId, &trace_parent::new_request_id(new));
    }
    if !traceparent {
        fields.drop_named(Names::of(&[Name::Traceparent, Name::Tracestate]));
    }
    if !request_id {
        fields.drop_named(Names::of(&[Name::RequestId]));
    }
    if !sw8 {
        fields.drop_named(Names::of(&[Name::Sw8]));
        written.push(Name::Sw8, &skywalking::create(new));
    }
}

/// Who called, and how: appended to what trusted proxies in front said, else said anew.
fn write_forwarded<'b>(
    head: &mut impl Head<'b>,
    peer: IpAddr,
    scheme: &str,
    written: &mut Written,
) {
    written.push_with(Name::ForwardedFor, |text| {
        for value in head.values(Name::ForwardedFor) {
            text.extend_from_slice(value);
            text.extend_from_slice(b", ");
        }
        written::write_address(peer, text);
    });
    head.drop_named(Names::of(&[Name::ForwardedFor]));
    if head.values(Name::ForwardedProto).next().is_none() {
        written.push(Name::ForwardedProto, scheme.as_bytes());
    }
    if head.values(Name::ForwardedHost).next().is_none() {
        written.push(Name::ForwardedHost, head.authority());
    }
}
