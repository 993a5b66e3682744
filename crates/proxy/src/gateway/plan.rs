//! What a gateway does with a request: trust, route, lane, filters, backend.

use std::net::IpAddr;

use lanes::{Context, Entrance, baggage};
use routes::{Found, spec::ListenerSpec};
use smallvec::SmallVec;
use telemetry::{Count, Role};

use crate::{
    error::Kind,
    gateway::client_address,
    h1::{
        fields::{write_field, write_kept},
        name::Name,
        request::{RequestHead, RequestView},
        target::Form,
    },
    plan::{Edits, NoPlan, Plan, Target},
    published::Published,
    trace_context::{self, CorrelationHeaders, TraceParent},
    worker::Worker,
};

/// What of the gateway's settings a decision needs.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) correlation: CorrelationHeaders,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: IpAddr,
    pub(crate) port: u16,
}

/// Plans a request and appends the head to send.
pub(crate) fn plan<'p>(
    worker: &Worker,
    identity: &Identity,
    picture: &'p Published,
    arrival: Arrival,
    head: &mut RequestHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<Plan<'p>, NoPlan> {
    if head.form == Form::Authority {
        return Err(Kind::ConnectMethod.into());
    }
    let host = std::str::from_utf8(head.host(bytes)).unwrap_or_default();
    let listener = picture.routes.listener(arrival.port, host).ok_or(Kind::NoRoute)?;
    let spec = &picture.routes.listeners()[listener];
    let client_ip = client_address::client_ip(head, bytes, arrival.peer, spec.trusted_hops);
    let lanes_arrived = distrust(head, bytes, spec, &identity.correlation);
    let view = RequestView::new(head, bytes, client_ip, lanes_arrived && !spec.trusted);

    let (rule, matched_bytes) = match picture.routes.find(listener, &view) {
        Found::Rule { rule, matched_bytes } => (rule, matched_bytes),
        Found::NoListener | Found::NoRoute => return Err(Kind::NoRoute.into()),
    };
    let mut context = if spec.trusted {
        Context::read(&picture.lanes, head.values(bytes, Name::Baggage))
    } else {
        Context::default()
    };
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    let entrance = Entrance::Gateway { gateway: &identity.name, route: Some(&rule.route_name) };
    picture.lanes.enter(entrance, &view, &mut || worker.random_bytes(), &mut context, &mut ());

    if let Some(redirect) = &rule.redirect {
        let mut location = Vec::new();
        redirect.write_location("http", spec.port, &view, matched_bytes, &mut location);
        return Err(NoPlan::Redirect { status: redirect.status, location });
    }
    let backend = rule
        .backend(worker.ticket())
        .ok_or_else(|| Kind::NoBackend("it has none, or all weigh 0".to_owned()))?;
    let id = backend.service.as_ref().map_err(|why| Kind::NoBackend(why.clone()))?;
    let service =
        picture.lanes.directory().service(id).ok_or_else(|| Kind::NoService(id.to_string()))?;

    let incoming = if spec.trusted { baggage::Incoming::Keep } else { baggage::Incoming::Strip };
    let mut edits = Edits::default();
    for headers in [&rule.request_headers, &backend.request_headers] {
        if !is_empty(headers) {
            edits.request_headers.push(headers);
        }
    }
    for headers in [&rule.response_headers, &backend.response_headers] {
        if !is_empty(headers) {
            edits.response_headers.push(headers);
        }
    }
    edits.rewrite =
        backend.rewrite.as_ref().or(rule.rewrite.as_ref()).map(|rewrite| (rewrite, matched_bytes));
    let hops = spec.trusted_hops;
    write_head(
        worker,
        picture,
        &edits,
        &context,
        incoming,
        service.name(),
        arrival.peer,
        hops,
        head,
        bytes,
        out,
    );
    Ok(Plan {
        role: Role::Gateway,
        target: Target::Service { service, context, caller_pick: None },
        edits,
        counted_as: ("", ""),
        member: None,
        outcome: None,
        request_timeout_ms: rule.request_timeout_ms,
        backend_timeout_ms: rule.backend_timeout_ms,
    })
}

fn is_empty(edits: &routes::spec::HeaderEdits) -> bool {
    edits.set.is_empty() && edits.add.is_empty() && edits.remove.is_empty()
}

/// Drops what this listener does not believe, before anything reads it. Returns whether lane members arrived.
fn distrust(
    head: &mut RequestHead,
    bytes: &[u8],
    spec: &ListenerSpec,
    correlation: &CorrelationHeaders,
) -> bool {
    let mut lanes_arrived = false;
    for field in head.fields_mut() {
        match field.name {
            Name::Forwarded
            | Name::ForwardedFor
            | Name::RealIp
            | Name::ForwardedPort
            | Name::ForwardedProto
            | Name::ForwardedHost
                if spec.trusted_hops == 0 =>
            {
                field.keep = false;
            }
            Name::Traceparent | Name::Tracestate | Name::RequestId if !spec.trusted => {
                field.keep = false
            }
            Name::Baggage => {
                lanes_arrived |= memchr::memmem::find(field.value.of(bytes), b"lane.").is_some()
            }
            Name::Other if !spec.trusted && correlation.contains(field.name_of(bytes)) => {
                field.keep = false
            }
            _ => {}
        }
    }
    lanes_arrived
}

#[allow(clippy::too_many_arguments)]
fn write_head(
    worker: &Worker,
    picture: &Published,
    edits: &Edits<'_>,
    context: &Context,
    incoming: baggage::Incoming,
    service: &str,
    peer: IpAddr,
    trusted_hops: u8,
    head: &mut RequestHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) {
    let (rewrite, matched_bytes) = match edits.rewrite {
        Some((rewrite, matched_bytes)) => (Some(rewrite), matched_bytes),
        None => (None, 0),
    };
    out.extend_from_slice(head.method.of(bytes));
    out.push(b' ');
    match rewrite {
        Some(rewrite) if rewrite.path.is_some() => {
            let path = std::str::from_utf8(head.path(bytes)).unwrap_or_default();
            rewrite.write_path(path, matched_bytes, out);
        }
        _ => out.extend_from_slice(head.path(bytes)),
    }
    if !head.query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(head.query.of(bytes));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    match rewrite.and_then(|rewrite| rewrite.hostname.as_deref()) {
        Some(hostname) => {
            write_field("host", hostname.as_bytes(), out);
            for field in head.fields_mut().iter_mut().filter(|field| field.name == Name::Host) {
                field.keep = false;
            }
        }
        None if head.authority.is_empty() => write_field("host", service.as_bytes(), out),
        None => {}
    }
    for headers in &edits.request_headers {
        for name in headers.set.iter().map(|(name, _)| name).chain(&headers.remove) {
            head.drop_named(bytes, name.as_bytes());
        }
    }
    write_context(worker, picture, context, incoming, head, bytes, out);
    write_forwarded(peer, trusted_hops, head, bytes, out);
    write_kept(bytes, head.fields(), out);
    for headers in &edits.request_headers {
        for (name, value) in headers.set.iter().chain(&headers.add) {
            write_field(name, value.as_bytes(), out);
        }
    }
    head.write_framing(bytes, out);
    out.extend_from_slice(b"\r\n");
}

/// Baggage with the lanes first, and ids for those who follow the call chain.
fn write_context(
    worker: &Worker,
    picture: &Published,
    context: &Context,
    incoming: baggage::Incoming,
    head: &mut RequestHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) {
    let (mut traceparent, mut request_id, mut baggage_arrived) = (false, false, false);
    for field in head.fields().iter().filter(|field| field.keep) {
        match field.name {
            // One that is no valid traceparent helps nobody: it is replaced.
            Name::Traceparent => traceparent = TraceParent::parse(field.value.of(bytes)).is_some(),
            Name::RequestId => request_id = trace_context::is_valid_id(field.value.of(bytes)),
            Name::Baggage => baggage_arrived = true,
            _ => {}
        }
    }
    if baggage_arrived || !context.members().is_empty() {
        let start = out.len();
        out.extend_from_slice(b"baggage: ");
        let value_start = out.len();
        baggage::write(&picture.lanes, context, head.values(bytes, Name::Baggage), incoming, out);
        if out.len() == value_start {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    if !traceparent {
        write_field("traceparent", &TraceParent::create(worker.random_bytes()).to_bytes(), out);
    }
    if !request_id {
        write_field("x-request-id", &trace_context::new_request_id(worker.random_bytes()), out);
    }
    for field in head.fields_mut() {
        match field.name {
            Name::Baggage => field.keep = false,
            Name::Traceparent => field.keep &= traceparent,
            Name::RequestId => field.keep &= request_id,
            _ => {}
        }
    }
}

/// Who called, and how: appended to what trusted proxies in front said, else said anew.
fn write_forwarded(
    peer: IpAddr,
    trusted_hops: u8,
    head: &mut RequestHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) {
    let (mut protocol, mut host) = (false, false);
    out.extend_from_slice(b"x-forwarded-for: ");
    let mut so_far: SmallVec<[&[u8]; 2]> = SmallVec::new();
    for field in head.fields() {
        match field.name {
            Name::ForwardedFor if trusted_hops > 0 => so_far.push(field.value.of(bytes)),
            Name::ForwardedProto => protocol |= field.keep,
            Name::ForwardedHost => host |= field.keep,
            _ => {}
        }
    }
    for value in so_far {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    write_address(peer, out);
    out.extend_from_slice(b"\r\n");
    if !protocol {
        out.extend_from_slice(b"x-forwarded-proto: http\r\n");
    }
    if !host && !head.authority.is_empty() {
        write_field("x-forwarded-host", head.authority.of(bytes), out);
    }
    for field in head.fields_mut().iter_mut().filter(|field| field.name == Name::ForwardedFor) {
        field.keep = false;
    }
}

/// Appends an address as text. Formatting is slow; nearly all callers are IPv4.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                if octet >= 100 {
                    out.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    out.push(b'0' + octet / 10 % 10);
                }
                out.push(b'0' + octet % 10);
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for text in ["0.0.0.0", "1.2.3.4", "10.20.30.40", "100.101.209.255", "::1", "2001:db8::1"] {
            let mut out = Vec::new();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let mut out = Vec::new();
        write_address("::ffff:1.2.3.4".parse().unwrap(), &mut out);
        assert_eq!(out, b"1.2.3.4");
    }
}
