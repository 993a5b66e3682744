//! One request on its way to whoever is told single requests: begun where it is decided, filled in as it goes on, told where it
//! is counted.
//!
//! While nobody is told anything a request costs a look at an empty place for each step.

use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    time::{Instant, SystemTime},
};

use lanes::{Service, baggage};
use routes::entrance::{
    CORRELATION_ID_BYTES_MAX, CorrelationHeaders, Head, METHOD_BYTES_MAX, Name, TraceParent,
    Written,
};
use smallvec::SmallVec;
use telemetry::{
    Recorder, RequestObservers, RequestRecord, Role, Unread,
    traces::{RootSampler, Span},
};

use crate::{
    account::{Counted, outcome_without_plan},
    error::Kind,
    h2::grpc,
    picture::Picture,
    plan::{Chosen, NoPlan, Plan, Target},
    published::Published,
    read_so_far::{HOST_BYTES_MAX, PATH_BYTES_MAX, ReadSoFar, cut},
    tap::{self, Tap},
};

/// Lanes of one request that are told; a gateway is the entrance of at most 8 groups.
const LANES_MAX: usize = 8;

/// Bytes of those who have asked before: some ten addresses.
const FORWARDED_FOR_BYTES_MAX: usize = 256;

/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 256;

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The other side of its connection.
    pub(crate) peer: IpAddr,
    /// In TLS that ends here.
    pub(crate) is_tls: bool,
}

/// Whom one thread tells single requests.
#[derive(Debug)]
pub(crate) struct Observers {
    /// All of them.
    of_all: RequestObservers,
    /// Those that somebody watches.
    tap: tap::OfThread,
}

/// A request that may be told.
#[derive(Debug, Default)]
pub(crate) struct Observed(RefCell<Option<Box<Observation>>>);

#[derive(Debug)]
struct Observation {
    record: RequestRecord,
    /// Somebody watches it.
    tapped: Option<tap::Begun>,
    /// When it was begun to be sent to the instance that was tried last.
    sent_at: Option<Instant>,
}

/// What a request's decision tells of it.
pub(crate) struct Decided<'d, 'p> {
    pub(crate) role: Role,
    pub(crate) caller: Caller,
    /// The application and service of one that has no plan.
    pub(crate) counted_as: (&'d str, &'d str),
    /// The tag of the application beside a sidecar.
    pub(crate) own_tag: &'d str,
    /// Where the ids are by which its hops are put together.
    pub(crate) correlation: &'d CorrelationHeaders,
    pub(crate) picture: &'p Published,
    pub(crate) plan: Result<&'d Plan<'p>, &'d NoPlan>,
    pub(crate) started: Instant,
}

impl Observers {
    pub(crate) fn new(of_all: RequestObservers, tap: &Tap, recorder: Rc<Recorder>) -> Self {
        Self { of_all, tap: tap::OfThread::new(tap, recorder) }
    }

    /// Whether there is anybody.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.of_all.is_any() || self.tap.is_watched()
    }

    /// What of it is to be told to those who watch some requests, if it is one of these.
    fn watched<'b>(
        &self,
        decided: &Decided<'_, '_>,
        application: &str,
        lanes: &[(&str, &str)],
        head: &impl Head<'b>,
        written: &Written,
    ) -> Option<tap::Begun> {
        if !self.tap.is_watched() {
            return None;
        }
        let Decided { picture, correlation, started, plan, .. } = *decided;
        let waits = matches!(plan, Err(NoPlan::Learn(_) | NoPlan::Resolve(..) | NoPlan::Reach(_)));
        let seen = tap::Seen { application, lanes, picture, correlation, waits, started };
        self.tap.begin(&seen, head, written)
    }
}

impl Observed {
    /// A request was decided; again where something had to be found out first. What it is to go on with instead of its place in
    /// a trace, where it has one.
    #[cold]
    pub(crate) fn begin<'b>(
        &self,
        observers: &Observers,
        decided: &Decided<'_, '_>,
        head: &impl Head<'b>,
        written: &Written,
        random: impl FnOnce() -> [u8; 24],
    ) -> Option<TraceParent> {
        let Decided { role, caller, own_tag, plan, started, .. } = *decided;
        let is_judged = head.is_judged();
        let (application, service) = decided.served_by();
        let members = members(role != Role::Gateway && is_judged, head, written);
        let lanes = lanes_of(&members);
        let tapped = observers.watched(decided, application, &lanes, head, written);
        // Of several the first, as whoever restores lanes by it reads it.
        let came = |name| head.values(name).next().filter(|_| is_judged);
        let goes_on = |name| written.value(name).or_else(|| came(name));
        let arrived = goes_on(Name::Traceparent).and_then(TraceParent::parse);
        let begins_here = written.value(Name::Traceparent).is_some();
        let traced = match &observers.of_all.traces {
            Some(traces) => Traced::of(traces.sampler, role, arrived, begins_here, random()),
            None => Traced { trace_id: arrived.map(|it| it.trace_id), span: None, goes_on: None },
        };
        let goes_on_as = traced.goes_on.filter(|_| arrived.is_some());
        if tapped.is_none() && observers.of_all.access_log.is_none() && traced.span.is_none() {
            self.0.take();
            return goes_on_as;
        }
        let text = |name, bytes_max: usize| {
            let value = goes_on(name).unwrap_or_default();
            cut(&String::from_utf8_lossy(&value[..value.len().min(bytes_max)]), bytes_max)
        };
        let forwarded_for = match role {
            Role::Gateway => text(Name::ForwardedFor, FORWARDED_FOR_BYTES_MAX),
            Role::SidecarInbound | Role::SidecarOutbound => String::new(),
        };
        let record = RequestRecord {
            started: SystemTime::now() - started.elapsed(),
            // Of the peer alone the record tells in any case.
            forwarded_for: if forwarded_for.contains(',') { forwarded_for } else { String::new() },
            is_tls: caller.is_tls,
            method: cut(head.method(), METHOD_BYTES_MAX),
            host: cut(head.host(), HOST_BYTES_MAX),
            path: cut(head.path(), PATH_BYTES_MAX),
            application: application.to_owned(),
            service: service.to_owned(),
            route: plan.ok().and_then(|plan| plan.route).unwrap_or_default().to_owned(),
            lanes: lanes.iter().map(|(group, tag)| ((*group).into(), (*tag).into())).collect(),
            instance_tag: own_tag.to_owned(),
            trace_id: traced.trace_id,
            span: traced.span,
            request_id: text(Name::RequestId, CORRELATION_ID_BYTES_MAX),
            ..RequestRecord::new(role, caller.peer)
        };
        *self.0.borrow_mut() = Some(Box::new(Observation { record, tapped, sent_at: None }));
        goes_on_as
    }

    /// What its codec knows of it.
    #[inline]
    pub(crate) fn read(&self, protocol: &'static str, is_grpc: bool) {
        self.update(|it| (it.record.protocol, it.record.is_grpc) = (protocol, is_grpc));
    }

    /// So many bytes of its body go on.
    #[inline]
    pub(crate) fn received(&self, bytes: usize) {
        self.update(|it| it.record.received_bytes += bytes as u64);
    }

    /// So many bytes of its answer's body go on.
    #[inline]
    pub(crate) fn sent(&self, bytes: usize) {
        self.update(|it| it.record.sent_bytes += bytes as u64);
    }

    /// It is sent to an instance, perhaps once more.
    #[inline]
    pub(crate) fn goes_to_instance(&self) {
        self.update(|it| {
            it.sent_at = Some(Instant::now());
            it.record.upstream_duration = None;
        });
    }

    /// The head of an instance's answer has come.
    #[inline]
    pub(crate) fn instance_answers(&self) {
        self.update(|it| it.record.upstream_duration = it.sent_at.map(|sent| sent.elapsed()));
    }

    /// An answer may say how a call of gRPC ended.
    #[inline]
    pub(crate) fn ends_as(&self, grpc_status: impl FnOnce() -> Option<u32>) {
        self.update(|it| {
            if it.record.is_grpc {
                it.record.grpc_status = grpc_status().or(it.record.grpc_status);
            }
        });
    }

    /// Somebody was chosen for it, or nobody, and this is the status that its caller is shown. Who was chosen is of the picture
    /// that it was planned by, or of the `latest`.
    #[inline]
    pub(crate) fn answered_by(
        &self,
        plan: &Plan<'_>,
        picture: &Picture,
        latest: impl FnOnce() -> Picture,
        chosen: Option<&Chosen>,
        attempts: u32,
        status: u16,
    ) {
        self.update(|it| it.answered_by(plan, picture, latest, chosen, attempts, status));
    }

    /// This proxy itself answers it: refuses it, or sends its caller elsewhere.
    #[inline]
    pub(crate) fn answered_itself(&self, refused: Option<&Kind>, status: u16) {
        self.update(|it| {
            it.record.status = status;
            let Some(kind) = refused else { return };
            it.record.reason = cut(&kind.to_string(), REASON_BYTES_MAX);
            if it.record.is_grpc {
                it.record.grpc_status = Some(grpc::status_of(status).into());
            }
        });
    }

    /// Tells it: it has ended.
    #[inline]
    pub(crate) fn end(&self, observers: &Observers, counted: Counted) {
        let Some(it) = self.0.take() else { return };
        let Observation { mut record, tapped, .. } = *it;
        (record.outcome, record.duration) = (counted.outcome, counted.duration);
        if let Some(tapped) = tapped {
            observers.tap.end(tapped, &record);
        }
        observers.of_all.tell(record);
    }

    #[inline]
    fn update(&self, update: impl FnOnce(&mut Observation)) {
        if let Some(observation) = &mut *self.0.borrow_mut() {
            update(observation);
        }
    }
}

impl Observation {
    #[cold]
    fn answered_by(
        &mut self,
        plan: &Plan<'_>,
        picture: &Picture,
        latest: impl FnOnce() -> Picture,
        chosen: Option<&Chosen>,
        attempts: u32,
        status: u16,
    ) {
        let record = &mut self.record;
        (record.status, record.attempts) = (status, attempts);
        record.instance = chosen.map(|chosen| chosen.address);
        if let Some((group, lane)) = chosen.and_then(|chosen| chosen.member).or(plan.member) {
            let spec = picture.lanes.groups()[usize::from(group)].spec();
            let lane = spec.lanes.get(usize::from(lane));
            record.lane_group = spec.name.to_string();
            record.lane = lane.map(|lane| lane.tag.to_string()).unwrap_or_default();
        }
        if let (Target::Service { service, .. }, Some(chosen)) = (&plan.target, chosen) {
            let of = |service: &Service| {
                let endpoint =
                    service.endpoints().iter().find(|it| it.address == chosen.address)?;
                Some(endpoint.tag.as_ref().map(ToString::to_string).unwrap_or_default())
            };
            let of_latest = || of(latest().lanes.directory().service(service.id())?);
            record.instance_tag = match of(service).or_else(of_latest) {
                Some(tag) => tag,
                // It has come since the request was planned, and is gone again.
                None if chosen.outcome == lanes::Outcome::Lane => record.lane.clone(),
                None => String::new(),
            };
        }
    }
}

impl<'d> Decided<'d, '_> {
    fn served_by(&self) -> (&'d str, &'d str) {
        match self.plan {
            Ok(Plan { target: Target::Service { service, .. }, .. }) => {
                (service.application(), service.name())
            }
            Ok(plan) => plan.counted_as,
            Err(_) => self.counted_as,
        }
    }
}

/// Where a request is in a trace.
struct Traced {
    trace_id: Option<[u8; 16]>,
    /// It is sampled.
    span: Option<Span>,
    /// What it goes on with, where that is not what it has.
    goes_on: Option<TraceParent>,
}

impl Traced {
    /// `begins_here`: this proxy has made it up. Elsewhere a request without a trace is in none, but for gateways, which refuse
    /// some before they make one.
    fn of(
        sampler: RootSampler,
        role: Role,
        parent: Option<TraceParent>,
        begins_here: bool,
        random: [u8; 24],
    ) -> Self {
        let (parent, begins_here) = match parent {
            Some(parent) => (parent, begins_here),
            None if role == Role::Gateway => (TraceParent::create(random), true),
            None => return Self { trace_id: None, span: None, goes_on: None },
        };
        let trace_id = Some(parent.trace_id);
        // Whoever begins a trace has named its first span: it is this one.
        let (span, goes_on) = match (begins_here, parent.is_sampled()) {
            (true, _) if sampler.samples(parent.trace_id) => {
                (Some(Span { id: parent.parent_id, parent: None }), None)
            }
            (true, _) => (None, Some(TraceParent { flags: 0, ..parent })),
            (false, true) => {
                let own = TraceParent::create(random).parent_id;
                let span = Span { id: own, parent: Some(parent.parent_id) };
                (Some(span), Some(TraceParent { parent_id: own, ..parent }))
            }
            (false, false) => (None, None),
        };
        Self { trace_id, span, goes_on }
    }
}

impl Observers {
    /// Tells what could not be read as a request: those who are told all of them, since it is in no lane. A span of it begins a
    /// trace, at gateways, as of all that they refuse before they have judged it.
    #[cold]
    pub(crate) fn tell_unread(
        &self,
        caller: (Role, Caller),
        kind: &Kind,
        random: impl FnOnce() -> [u8; 24],
        read: impl FnOnce() -> ReadSoFar,
    ) {
        self.tell_without_exchange(caller, kind, random, read, ReadSoFar::unread);
    }

    /// Tells a request that nobody has begun to serve: its client was gone.
    #[cold]
    pub(crate) fn tell_given_up(
        &self,
        caller: (Role, Caller),
        kind: &Kind,
        random: impl FnOnce() -> [u8; 24],
        read: impl FnOnce() -> ReadSoFar,
    ) {
        self.tell_without_exchange(caller, kind, random, read, |_| Unread::Nothing);
    }

    fn tell_without_exchange(
        &self,
        (role, caller): (Role, Caller),
        kind: &Kind,
        random: impl FnOnce() -> [u8; 24],
        read: impl FnOnce() -> ReadSoFar,
        unread: impl FnOnce(&ReadSoFar) -> Unread,
    ) {
        if !self.of_all.is_any() {
            return;
        }
        let traced = match &self.of_all.traces {
            Some(traces) => Traced::of(traces.sampler, role, None, false, random()),
            None => Traced { trace_id: None, span: None, goes_on: None },
        };
        let read = read();
        self.of_all.tell(RequestRecord {
            is_tls: caller.is_tls,
            unread: unread(&read),
            protocol: read.protocol,
            method: read.method,
            host: read.host,
            path: read.path,
            status: kind.status(),
            reason: cut(&kind.to_string(), REASON_BYTES_MAX),
            outcome: outcome_without_plan(Some(kind)),
            trace_id: traced.trace_id,
            span: traced.span,
            ..RequestRecord::new(role, caller.peer)
        });
    }
}

/// Lane members that go on. What came to a gateway that did not decide, or was not judged at all, is nobody's word.
fn members<'b>(may_be_read: bool, head: &impl Head<'b>, written: &Written) -> Vec<u8> {
    let mut members = Vec::new();
    match written.value(Name::Baggage) {
        Some(value) => baggage::lane_members(std::iter::once(value), &mut members),
        None if !may_be_read => {}
        None => baggage::lane_members(head.values(Name::Baggage), &mut members),
    }
    members
}

/// Groups and tags of lane members; an empty tag is base, said so.
fn lanes_of(members: &[u8]) -> SmallVec<[(&str, &str); LANES_MAX]> {
    let text = std::str::from_utf8(members).unwrap_or_default();
    let members = text.split(',').filter_map(|member| {
        let (group, tag) = member.strip_prefix("lane.")?.split_once('=')?;
        Some((group, if tag == "-" { "" } else { tag }))
    });
    members.take(LANES_MAX).collect()
}
