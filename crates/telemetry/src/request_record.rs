//! What is told of a single request, and to whom: beside the figures, and only where somebody has asked for it.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use crate::{
    Outcome, Role,
    access_log::AccessLog,
    traces::{Span, Traces},
};

/// What of a request's head could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It was read whole.
    Nothing,
    /// It is no request, but some of what it asks for can be told.
    Part,
    /// Nothing of it can be told.
    All,
}

impl Unread {
    /// What it is called where it is told; nothing of what was read whole.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Part => "part",
            Self::All => "all",
        }
    }
}

/// One request as a proxy saw it. Nothing that is meant to be secret is in it: neither fields of its head nor bodies, nor its
/// query.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// What the process was to it.
    pub role: Role,
    /// By the wall clock.
    pub started: SystemTime,
    /// Until the last byte of its answer was sent, or was known never to be.
    pub duration: Duration,
    /// The other side of its connection.
    pub peer: IpAddr,
    /// What a gateway says on of those who have asked before that, the peer last; empty where it is the peer alone.
    pub forwarded_for: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`; empty where it could not be read.
    pub protocol: &'static str,
    /// It came in TLS that ends here.
    pub is_tls: bool,
    /// What of its head could not be read.
    pub unread: Unread,
    /// A call of gRPC.
    pub is_grpc: bool,
    /// As sent.
    pub method: String,
    /// Without port.
    pub host: String,
    /// Normalised, without query.
    pub path: String,
    /// As counted; for gRPC what would have been said in HTTP.
    pub status: u16,
    /// What gRPC says of how it ended, where it did.
    pub grpc_status: Option<u32>,
    /// Bytes of the request's body.
    pub received_bytes: u64,
    /// Bytes of the body of an instance's answer.
    pub sent_bytes: u64,
    /// Who was to serve it; empty where nobody is known.
    pub application: String,
    /// The service that was called.
    pub service: String,
    /// A gateway's route.
    pub route: String,
    /// Groups and tags it goes on with; an empty tag is base, said so.
    pub lanes: Vec<(String, String)>,
    /// The group that governed the hop, and the request's lane there; empty where none did.
    pub lane_group: String,
    /// The tag.
    pub lane: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The instance that was tried last.
    pub instance: Option<SocketAddr>,
    /// Of that; empty is the base.
    pub instance_tag: String,
    /// How often an instance was tried.
    pub attempts: u32,
    /// From when it was begun to be sent to that instance until the head of its answer came.
    pub upstream_duration: Option<Duration>,
    /// Why this proxy itself answered; empty where it did not.
    pub reason: String,
    /// Of the trace it belongs to, as it goes on.
    pub trace_id: Option<[u8; 16]>,
    /// Its place there, where the trace is sampled and spans are sent.
    pub span: Option<Span>,
    /// Its `x-request-id` as it goes on.
    pub request_id: String,
}

impl RequestRecord {
    /// Of a request of which nothing else is known yet. Until it is known otherwise it failed.
    pub fn new(role: Role, peer: IpAddr) -> Self {
        Self {
            role,
            started: SystemTime::now(),
            duration: Duration::ZERO,
            peer,
            forwarded_for: String::new(),
            protocol: "",
            is_tls: false,
            unread: Unread::Nothing,
            is_grpc: false,
            method: String::new(),
            host: String::new(),
            path: String::new(),
            status: 0,
            grpc_status: None,
            received_bytes: 0,
            sent_bytes: 0,
            application: String::new(),
            service: String::new(),
            route: String::new(),
            lanes: Vec::new(),
            lane_group: String::new(),
            lane: String::new(),
            outcome: Outcome::Failed,
            instance: None,
            instance_tag: String::new(),
            attempts: 0,
            upstream_duration: None,
            reason: String::new(),
            trace_id: None,
            span: None,
            request_id: String::new(),
        }
    }
}

/// Who is told single requests.
#[derive(Debug, Clone, Default)]
pub struct RequestObservers {
    /// Of all of them.
    pub access_log: Option<AccessLog>,
    /// Of those whose trace is sampled.
    pub traces: Option<Traces>,
}

impl RequestObservers {
    /// Whether there is anybody.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.access_log.is_some() || self.traces.is_some()
    }

    /// A request has ended. Never waits.
    pub fn tell(&self, record: RequestRecord) {
        if let Some(access_log) = &self.access_log {
            access_log.write(&record);
        }
        if let Some(traces) = self.traces.as_ref().filter(|_| record.span.is_some()) {
            traces.send(record);
        }
    }
}
