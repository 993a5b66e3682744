//! A request as a span: its attributes are those of OpenTelemetry's conventions for HTTP, and the lanes.

use std::time::{Duration, UNIX_EPOCH};

use super::{
    Resource,
    message::{
        AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, ResourceSpans,
        ScopeSpans, Span, SpanKind, Status, StatusCode, Value,
    },
};
use crate::{Outcome, RequestRecord, Role};

/// What instruments: the scope of all spans.
const SCOPE: &str = "laneway";

/// Methods that are told as they are; others may be anything (RFC 9110, and PATCH).
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What stands for any other.
const OTHER_METHOD: &str = "_OTHER";

/// Flags of a span: its parent was told, and came from elsewhere; and the trace is sampled.
const FLAGS_REMOTE_PARENT: u32 = 0x301;
const FLAGS_ROOT: u32 = 0x001;

/// Key and value pairs without those that have no value.
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value });
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.push(key, Value::Text(text.to_owned()));
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        self.push(key, Value::Number(i64::try_from(number).unwrap_or(i64::MAX)));
    }
}

/// All of a batch.
pub(super) fn request(resource: &Resource, records: &[RequestRecord]) -> ExportTraceServiceRequest {
    let mut attributes = Attributes(Vec::new());
    attributes.text("service.name", &resource.service);
    attributes.text("service.instance.id", &resource.instance);
    attributes.text("telemetry.sdk.name", SCOPE);
    attributes.text("telemetry.sdk.language", "rust");
    attributes.text("telemetry.sdk.version", resource.version);
    attributes.text("laneway.tag", &resource.tag);
    let scope =
        InstrumentationScope { name: SCOPE.to_owned(), version: resource.version.to_owned() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(super::message::Resource { attributes: attributes.0 }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: records.iter().filter_map(span).collect(),
            }],
        }],
    }
}

/// None without a place in a trace.
fn span(record: &RequestRecord) -> Option<Span> {
    let (trace_id, span) = (record.trace_id?, record.span?);
    let start = record.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_known = METHODS.contains(&record.method.as_str());
    let method = if is_known { record.method.as_str() } else { "HTTP" };
    let target = if record.route.is_empty() { &record.service } else { &record.route };
    let is_error = is_error(record);
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    // A sidecar calls on behalf of its application what others serve.
    let kind = match record.role {
        Role::Gateway | Role::SidecarInbound => SpanKind::Server,
        Role::SidecarOutbound => SpanKind::Client,
    };
    Some(Span {
        trace_id: trace_id.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        name: if target.is_empty() { method.to_owned() } else { format!("{method} {target}") },
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(start),
        end_time_unix_nano: nanoseconds(start + record.duration),
        attributes: attributes(record, is_error),
        status: Some(Status { message: record.reason.clone(), code: code.into() }),
        flags: if span.parent.is_some() { FLAGS_REMOTE_PARENT } else { FLAGS_ROOT },
    })
}

fn attributes(record: &RequestRecord, is_error: bool) -> Vec<KeyValue> {
    let mut attributes = Attributes(Vec::new());
    match METHODS.contains(&record.method.as_str()) {
        true => attributes.text("http.request.method", &record.method),
        false => {
            attributes.text("http.request.method", OTHER_METHOD);
            attributes.text("http.request.method_original", &record.method);
        }
    }
    attributes.text("url.scheme", if record.is_tls { "https" } else { "http" });
    attributes.text("url.path", &record.path);
    attributes.text("server.address", &record.host);
    attributes.text("client.address", &record.peer.to_canonical().to_string());
    attributes.text("network.protocol.version", record.protocol.trim_start_matches("HTTP/"));
    if record.status > 0 {
        attributes.number("http.response.status_code", record.status.into());
    }
    if let Some(status) = record.grpc_status {
        attributes.number("rpc.grpc.status_code", status.into());
    }
    if is_error {
        attributes.text("error.type", &record.status.to_string());
    }
    attributes.number("http.request.body.size", record.received_bytes);
    attributes.number("http.response.body.size", record.sent_bytes);
    let first = record.lanes.first().map(|(group, lane)| (group.as_str(), lane.as_str()));
    let governing = (!record.lane_group.is_empty()).then_some((&*record.lane_group, &*record.lane));
    if let Some((group, lane)) = governing.or(first) {
        attributes.text("lane.group", group);
        attributes.text("lane.name", if lane.is_empty() { "base" } else { lane });
        attributes.push("lane.fallback", Value::Bool(record.outcome == Outcome::Fallback));
    }
    attributes.text("laneway.role", record.role.as_str());
    attributes.text("laneway.unread", record.unread.as_str());
    attributes.text("laneway.outcome", record.outcome.as_str());
    attributes.text("laneway.application", &record.application);
    attributes.text("laneway.service", &record.service);
    attributes.text("laneway.route", &record.route);
    if let Some(instance) = record.instance {
        attributes.text("laneway.instance", &instance.to_string());
        attributes.text("laneway.instance.tag", &record.instance_tag);
        attributes.number("laneway.attempts", record.attempts.into());
    }
    attributes.0
}

/// Whose fault a status of 4xx is depends on the side, by the conventions.
fn is_error(record: &RequestRecord) -> bool {
    let least = if record.role == Role::SidecarOutbound { 400 } else { 500 };
    record.status >= least || matches!(record.outcome, Outcome::Failed | Outcome::Cut)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
