//! What a sidecar does with a call of others: the lane context is read and remembered, never used to route.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use lanes::{Context, Entrance, baggage};
use telemetry::{Count, Role};

use crate::{
    correlation::Remembered,
    error::Kind,
    h1::{
        fields::{write_field, write_kept},
        name::Name,
        request::{RequestHead, RequestView},
        target::Form,
    },
    plan::{Edits, NoPlan, Plan, Target},
    published::Published,
    sidecar::{Identity, write_request_line},
    trace_context::{self, TraceParent},
    worker::Worker,
};

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: IpAddr,
    /// Where the application listens.
    pub(crate) application: SocketAddr,
}

/// Plans a request and appends the head to send.
pub(crate) fn plan<'p>(
    worker: &Worker,
    identity: &'p Identity,
    picture: &'p Published,
    arrival: Arrival,
    head: &mut RequestHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(Plan<'p>, Option<Remembered>), NoPlan> {
    if head.form == Form::Authority {
        return Err(Kind::ConnectMethod.into());
    }
    let lanes = &picture.lanes;
    let entrance = lanes.application_entrance(&identity.application);
    let edge = entrance.is_some_and(|entrance| entrance.edge);
    if edge {
        distrust(head, bytes, identity);
    }
    let mut context = if edge {
        Context::default()
    } else {
        Context::read(lanes, head.values(bytes, Name::Baggage))
    };
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    let mut members = worker.buffers.take_write();
    let mut own_ids = None;
    if entrance.is_some() {
        let view = RequestView::new(head, bytes, arrival.peer.to_canonical(), edge);
        let entrance = Entrance::Application(&identity.application);
        lanes.enter(entrance, &view, &mut || worker.random_bytes(), &mut context, &mut ());
        let incoming = if edge { baggage::Incoming::Strip } else { baggage::Incoming::Keep };
        let mut value = worker.buffers.take_write();
        baggage::write(lanes, &context, head.values(bytes, Name::Baggage), incoming, &mut value);
        baggage::lane_members(std::iter::once(value.as_slice()), &mut members);
        write_request_line(head, bytes, out);
        if !value.is_empty() {
            write_field("baggage", &value, out);
        }
        worker.buffers.give_write(value);
        own_ids = Some(create_ids(worker, head, bytes, out));
        for field in head.fields_mut().iter_mut().filter(|field| field.name == Name::Baggage) {
            field.keep = false;
        }
    } else {
        baggage::lane_members(head.values(bytes, Name::Baggage), &mut members);
        write_request_line(head, bytes, out);
    }
    write_kept(bytes, head.fields(), out);
    head.write_framing(bytes, out);
    out.extend_from_slice(b"\r\n");

    if !lanes.allows(&context, &identity.application, identity.tag.as_ref()) {
        worker.recorder.count(Count::Misrouted);
        tracing::warn!(
            peer = %arrival.peer,
            application = identity.application,
            tag = identity.tag.as_ref().map_or("base", |tag| tag.as_str()),
            context = %String::from_utf8_lossy(&members),
            "a request arrived where its lane does not allow; its caller has no sidecar or an old picture"
        );
    }
    let remembered = {
        let created = own_ids.as_ref();
        let ids = identity.correlation_headers.ids(|name| {
            let created = created.and_then(|(traceparent, request_id)| match name {
                trace_context::TRACEPARENT => traceparent.as_ref().map(|value| value.as_slice()),
                trace_context::REQUEST_ID => request_id.as_ref().map(|value| value.as_slice()),
                _ => None,
            });
            created.or_else(|| head.first_value(bytes, name))
        });
        (!ids.is_empty()).then(|| identity.correlation.remember(&ids, &members, Instant::now()))
    };
    worker.buffers.give_write(members);
    let (member, outcome) = governing(picture, identity, &context);
    let plan = Plan {
        role: Role::SidecarInbound,
        target: Target::Address(arrival.application),
        edits: Edits::default(),
        counted_as: (&identity.application, &identity.service),
        member,
        outcome: Some(outcome),
        request_timeout_ms: 0,
        backend_timeout_ms: 0,
    };
    Ok((plan, remembered))
}

/// An edge believes nobody's ids.
fn distrust(head: &mut RequestHead, bytes: &[u8], identity: &Identity) {
    for field in head.fields_mut() {
        let is_id = match field.name {
            Name::Traceparent | Name::Tracestate | Name::RequestId => true,
            Name::Other => identity.correlation_headers.contains(field.name_of(bytes)),
            _ => false,
        };
        field.keep &= !is_id;
    }
}

type CreatedIds = (Option<[u8; trace_context::TRACEPARENT_BYTES]>, Option<[u8; 36]>);

/// Entrances create the ids that others will follow the call chain by.
fn create_ids(worker: &Worker, head: &RequestHead, bytes: &[u8], out: &mut Vec<u8>) -> CreatedIds {
    let mut created: CreatedIds = (None, None);
    if head.values(bytes, Name::Traceparent).next().is_none() {
        let traceparent = TraceParent::create(worker.random_bytes()).to_bytes();
        write_field("traceparent", &traceparent, out);
        created.0 = Some(traceparent);
    }
    if head.values(bytes, Name::RequestId).next().is_none() {
        let request_id = trace_context::new_request_id(worker.random_bytes());
        write_field("x-request-id", &request_id, out);
        created.1 = Some(request_id);
    }
    created
}

/// Under which group and lane a request counts here, and how: this instance may be its lane's, or a fallback.
fn governing(
    picture: &Published,
    identity: &Identity,
    context: &Context,
) -> (Option<(u16, u16)>, lanes::Outcome) {
    for member in context.members() {
        let Some(lane) = member.lane else { continue };
        let spec = picture.lanes.groups()[usize::from(member.group)].spec();
        if !spec.applications.contains(&identity.application) {
            continue;
        }
        let is_own =
            identity.tag.as_ref() == spec.lanes.get(usize::from(lane)).map(|lane| &lane.tag);
        let outcome = if is_own { lanes::Outcome::Lane } else { lanes::Outcome::Fallback };
        return (Some((member.group, lane)), outcome);
    }
    (None, lanes::Outcome::Base)
}
