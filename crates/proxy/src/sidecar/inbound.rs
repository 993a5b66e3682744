//! What a sidecar does with a call of others: the lane context is read and remembered, never used to route; what must not
//! be served here is refused.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use lanes::{Context, Entrance, Tag, baggage};
use routes::{
    Edits,
    entrance::{self, CorrelationHeaders, Decided, Head, Name, Policy, Written},
};
use telemetry::{Count, Role};
use tokio::sync::Notify;

use crate::{
    affinity::Owed,
    dubbo::{Serves, WhenUnread},
    error::Kind,
    exchange::sides::{Decide, Found},
    lost, observed,
    peers::Caller,
    plan::{CONNECT, NoPlan, Plan, Target},
    published::Published,
    sidecar::{Identity, own_ports::NamedPort},
    unread::Protocol,
    worker::Worker,
};

/// Calls of others to the own application.
#[derive(Debug)]
pub(super) struct Inbound {
    identity: Rc<Identity>,
    peer: IpAddr,
    /// Where the caller wanted to connect to, where that is known.
    original: Option<SocketAddr>,
}

impl Inbound {
    pub(super) fn new(identity: Rc<Identity>, peer: IpAddr, original: Option<SocketAddr>) -> Self {
        Self { identity, peer, original }
    }

    /// Whether a connection to `original` passes unread, by the application's own word; then it is counted. A port that the
    /// application has not declared is told.
    pub(super) fn is_for_tcp(&self, original: SocketAddr) -> bool {
        let identity = &self.identity;
        let Some(at) = identity.ports.at(original) else {
            if identity.undeclared_arrivals.count(original) {
                tracing::warn!(%original, "connections arrive at a port that the application has not declared");
            }
            return false;
        };
        if at.passes_unread() {
            identity.unread_arrivals.count(&at.port.service, Protocol::Tcp);
        }
        at.passes_unread()
    }
}

impl Decide for Inbound {
    const ROLE: Role = Role::SidecarInbound;

    fn plan<'p, 'b>(
        &'p self,
        worker: &Worker,
        picture: &'p Published,
        head: &mut impl Head<'b>,
        _found: &Found,
        written: &mut Written,
    ) -> Result<Plan<'p>, NoPlan> {
        plan(worker, self, picture, head, written)
    }

    /// Whatever callers speak, the application is asked in the same.
    fn speaks_http2(&self, _: &Published) -> bool {
        true
    }

    fn counted_as(&self) -> (&str, &str) {
        (&self.identity.application, &self.identity.ports.first().port.service)
    }

    fn correlation(&self) -> &CorrelationHeaders {
        &self.identity.correlation_headers
    }

    fn caller(&self) -> observed::Caller {
        observed::Caller { peer: self.peer, is_tls: false }
    }

    fn serves_strangers(&self, worker: &Worker) -> bool {
        let picture = worker.picture();
        let entrance = picture.lanes.application_entrance(&self.identity.application);
        entrance.is_some_and(|entrance| entrance.edge)
    }

    fn own_tag(&self) -> &str {
        self.identity.tag.as_ref().map_or("", Tag::as_str)
    }
}

impl Serves for Inbound {
    fn unread(&self, worker: &Worker) -> WhenUnread {
        self.arrives_unread(Protocol::Dubbo);
        // What a stranger says of lanes would go on with it.
        let may_pass = !self.identity.refuses_unread && !self.serves_strangers(worker);
        match self.original {
            Some(original) if may_pass => WhenUnread::To(original),
            _ => WhenUnread::Refused,
        }
    }

    fn unreachable(&self) -> Option<&Arc<Notify>> {
        Some(&self.identity.unreachable)
    }
}

/// Plans a request, and remembers its context.
fn plan<'p, 'b>(
    worker: &Worker,
    inbound: &'p Inbound,
    picture: &'p Published,
    head: &mut impl Head<'b>,
    written: &mut Written,
) -> Result<Plan<'p>, NoPlan> {
    let Inbound { identity, peer, .. } = inbound;
    if head.method() == CONNECT {
        return Err(Kind::ConnectMethod.into());
    }
    let lanes = &picture.lanes;
    let entrance = lanes.application_entrance(&identity.application);
    let edge = entrance.is_some_and(|entrance| entrance.edge);
    let policy = Policy::of_application(edge, &identity.correlation_headers);
    let caller = Caller::take(head, written);
    let meant = inbound.meant(caller, head.host());
    let mut context = policy.context(lanes, &*head);
    let is_allowed =
        |context: &Context| lanes.allows(context, &identity.application, identity.tag.as_ref());
    let arrived_rightly = is_allowed(&context);
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    let is_for_another = meant.is_none();
    let meant = meant.unwrap_or_else(|| identity.ports.first());
    entrance::write_host(head, None, &meant.port.service, written);
    if entrance.is_some() {
        let entrance = Entrance::Application(&identity.application);
        let seen = entrance::believe(head, *peer, policy).seen(&*head);
        let carried = context.clone();
        lanes.enter(entrance, &seen, &mut || worker.random_bytes(), &mut context, &mut ());
        worker.account.entered(lanes, carried.members(), &context);
        let decided = Decided { snapshot: lanes, context: &context, peer: *peer };
        entrance::write(head, policy, decided, || worker.random_bytes(), written);
    } else {
        entrance::believe_all(head);
    }
    let members = lane_members(worker, &*head, written);
    // An entrance may put a request into a lane whose instance it is not: it came rightly all the same.
    let is_misrouted = !arrived_rightly && !is_allowed(&context);
    if is_misrouted || is_for_another {
        let refused = inbound.misrouted(worker, caller, is_for_another, &members);
        // A lane of this instance's own tag may be newer here than at the caller, or older: it is served.
        if is_for_another || !names_tag(&members, identity.tag.as_ref()) {
            worker.buffers.give_write(members);
            return Err(refused.into());
        }
    }
    if meant.passes_unread() {
        worker.buffers.give_write(members);
        return Err(Kind::NotHttp(meant.port.service.clone()).into());
    }
    let ids = identity.correlation_headers.ids(&*head, written);
    let arrived =
        identity.in_lanes.arrived(lost::lane_of(picture, &identity.application, &context));
    let remembered = identity.correlation.remember(&ids, &members, Instant::now()).counted(arrived);
    worker.buffers.give_write(members);
    let (member, outcome) = governing(picture, identity, &context);
    Ok(Plan {
        role: Role::SidecarInbound,
        target: Target::Address(inbound.address(caller, meant)),
        protocol: None,
        edits: Edits::NONE,
        owed: Owed::default(),
        counted_as: (&identity.application, &meant.port.service),
        route: None,
        member,
        outcome: Some(outcome),
        remembered: Some(remembered),
        unreachable: Some(&identity.unreachable),
        request_timeout_ms: None,
        backend_timeout_ms: None,
    })
}

impl Inbound {
    /// The port that a request is for: the one whose service its caller has chosen the instance for, else the one that it
    /// was sent to, else the one that its host names, else the first. `None`: it was chosen for a service that it is not of,
    /// because its address was another's before.
    fn meant(&self, caller: Option<Caller<'_>>, host: &str) -> Option<&NamedPort> {
        let ports = &self.identity.ports;
        if let Some(called) = caller.and_then(|caller| caller.service) {
            return ports.registered_as(called);
        }
        if ports.is_one() {
            return Some(ports.first());
        }
        let sent_to = self.original.and_then(|original| ports.at(original));
        Some(sent_to.or_else(|| ports.named(host)).unwrap_or_else(|| ports.first()))
    }

    /// Where the application answers: where its caller wanted to connect to, unless it chose the instance for a service.
    fn address(&self, caller: Option<Caller<'_>>, meant: &NamedPort) -> SocketAddr {
        let is_chosen = caller.is_some_and(|caller| caller.service.is_some());
        match self.original {
            Some(original) if !is_chosen => original,
            original => meant.address_for(original),
        }
    }

    /// Whether the application has nothing of what cannot be read.
    pub(super) fn refuses_unread(&self) -> bool {
        self.identity.refuses_unread
    }

    /// Counts and names what reaches the application unread: whether its lane allows that is not known.
    pub(super) fn arrives_unread(&self, protocol: Protocol) {
        let identity = &self.identity;
        let at = self.original.and_then(|original| identity.ports.at(original));
        let NamedPort { port, .. } = at.unwrap_or_else(|| identity.ports.first());
        if identity.unread_arrivals.count(&port.service, protocol) && protocol != Protocol::Other {
            tracing::warn!(
                peer = %self.peer,
                protocol = protocol.name(),
                "what reaches the application passes unread: whether it is in its lane is not known"
            );
        }
    }

    /// Counts and names what arrived wrongly; what its caller is told.
    #[cold]
    fn misrouted(
        &self,
        worker: &Worker,
        caller: Option<Caller<'_>>,
        is_for_another: bool,
        members: &[u8],
    ) -> Kind {
        let Self { identity, peer, .. } = self;
        worker.recorder.count(Count::Misrouted);
        let tag = identity.tag.as_ref().map_or("base", |tag| tag.as_str());
        let context = String::from_utf8_lossy(members);
        let called = caller.and_then(|caller| caller.service).map(String::from_utf8_lossy);
        let called = called.unwrap_or_default();
        tracing::warn!(
            %peer,
            application = identity.application,
            tag,
            %context,
            %called,
            "a request arrived where its lane does not allow, or at another service than was called; its caller has no sidecar or an old picture"
        );
        let context = if context.is_empty() { "base".into() } else { context };
        let reason = if is_for_another {
            format!("it is of service {}, and {called} was called", identity.ports.services())
        } else {
            format!("it is {tag} of {}, and the request is {context}", identity.application)
        };
        Kind::Misrouted { reason, chooses_again: caller.is_some() }
    }
}

/// The lane members that go on to the application.
fn lane_members<'b>(worker: &Worker, head: &impl Head<'b>, written: &Written) -> Vec<u8> {
    let mut members = worker.buffers.take_write();
    match written.value(Name::Baggage) {
        Some(value) => baggage::lane_members(std::iter::once(value), &mut members),
        None => baggage::lane_members(head.values(Name::Baggage), &mut members),
    }
    members
}

/// Whether lane members name this tag, in whatever group.
fn names_tag(members: &[u8], tag: Option<&Tag>) -> bool {
    let Some(tag) = tag else { return false };
    let mut members = members.split(|byte| *byte == b',');
    members.any(|member| {
        let value = member.splitn(2, |byte| *byte == b'=').nth(1);
        value.is_some_and(|value| value.trim_ascii() == tag.as_str().as_bytes())
    })
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
