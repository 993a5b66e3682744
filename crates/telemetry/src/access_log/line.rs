//! A request as a line of the access log; `docs/reference/access-log.md` says what its fields mean.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{Outcome, RequestRecord};

/// The fields in their order. What is not known, or is not there, is left out.
#[derive(Serialize)]
struct Line<'r> {
    time: String,
    role: &'static str,
    client: IpAddr,
    #[serde(skip_serializing_if = "str::is_empty")]
    forwarded_for: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    protocol: &'r str,
    tls: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    unread: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'r str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u32>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'r str,
    duration_ms: f64,
    received_bytes: u64,
    sent_bytes: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    application: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    route: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    lane_group: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    lane: &'r str,
    fallback: bool,
    lanes: Vec<LaneOf<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'r>>,
    attempts: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'r str,
}

#[derive(Serialize)]
struct LaneOf<'r> {
    group: &'r str,
    /// Empty is base.
    lane: &'r str,
}

#[derive(Serialize)]
struct Upstream<'r> {
    address: SocketAddr,
    /// Empty is base.
    tag: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
}

/// The line, with its end.
pub(super) fn of(record: &RequestRecord) -> Vec<u8> {
    let trace_id = record.trace_id.map(|id| format!("{:032x}", u128::from_be_bytes(id)));
    let lanes = record.lanes.iter().map(|(group, lane)| LaneOf { group, lane });
    let line = Line {
        // Beyond the year 9999 nothing is told.
        time: Timestamp::try_from(record.started).map(|it| format!("{it:.3}")).unwrap_or_default(),
        role: record.role.as_str(),
        client: record.peer.to_canonical(),
        forwarded_for: &record.forwarded_for,
        protocol: record.protocol,
        tls: record.is_tls,
        unread: record.unread.as_str(),
        method: &record.method,
        host: &record.host,
        path: &record.path,
        status: record.status,
        grpc_status: record.grpc_status,
        outcome: record.outcome.as_str(),
        reason: &record.reason,
        duration_ms: milliseconds(record.duration),
        received_bytes: record.received_bytes,
        sent_bytes: record.sent_bytes,
        application: &record.application,
        service: &record.service,
        route: &record.route,
        lane_group: &record.lane_group,
        lane: &record.lane,
        fallback: record.outcome == Outcome::Fallback,
        lanes: lanes.collect(),
        upstream: record.instance.map(|address| Upstream {
            address,
            tag: &record.instance_tag,
            duration_ms: record.upstream_duration.map(milliseconds),
        }),
        attempts: record.attempts,
        trace_id: trace_id.as_deref().unwrap_or_default(),
        request_id: &record.request_id,
    };
    // Texts and numbers alone: nothing in it cannot be written.
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

/// With three digits behind the point.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}
