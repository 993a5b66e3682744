//! What a sidecar does with a call of its own application: which service, which lane, which instance.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use lanes::{
    AddressLookup, Context, Endpoint, Lookup, Service, ServiceId, baggage, service::Health,
};
use routes::{
    Edits,
    entrance::{self, CorrelationHeaders, Head, Name, Written},
};
use smallvec::SmallVec;
use telemetry::{Count, Role};

use crate::{
    affinity::Owed,
    correlation::Restored,
    dubbo::{Serves, WhenUnread},
    ejection::Trouble,
    error::Kind,
    exchange::sides::{Decide, Found},
    lost,
    observed::Caller,
    plan::{CONNECT, NoPlan, Plan, Target, Tunnel},
    published::{Published, Query},
    sidecar::Identity,
    transport::Connection,
    unread::{
        Protocol,
        instances::{Reached, base_of},
    },
    worker::Worker,
};

/// The port of `http://` without one.
const DEFAULT_PORT: u16 = 80;

/// What a request without host goes on with where nobody knows a name for its destination: HTTP/1.1 must say one.
const UNKNOWN_HOST: &str = "localhost";

/// Calls of the own application to others.
#[derive(Debug)]
pub(super) struct Outbound {
    identity: Rc<Identity>,
    peer: IpAddr,
    /// This side of the connection.
    local: Option<SocketAddr>,
    /// Where the application wanted to connect to; `None` when it used the sidecar as its proxy.
    original: Option<SocketAddr>,
    /// The host and port of the tunnel that these calls are in.
    tunnel: Option<(String, u16)>,
}

impl Outbound {
    pub(super) fn new(
        identity: Rc<Identity>,
        connection: &Connection,
        original: Option<SocketAddr>,
    ) -> Self {
        let (peer, local) = (connection.peer.ip(), connection.local_address());
        Self { identity, peer, local, original, tunnel: None }
    }
}

impl Decide for Outbound {
    const ROLE: Role = Role::SidecarOutbound;

    fn plan<'p, 'b>(
        &'p self,
        worker: &Worker,
        picture: &'p Published,
        head: &mut impl Head<'b>,
        found: &Found,
        written: &mut Written,
    ) -> Result<Plan<'p>, NoPlan> {
        plan(worker, self, picture, head, found, written)
    }

    /// Whatever the application speaks to others it speaks here. A forward proxy is asked in HTTP/1.1.
    fn speaks_http2(&self, _: &Published) -> bool {
        self.original.is_some() || self.tunnel.is_some()
    }

    fn correlation(&self) -> &CorrelationHeaders {
        &self.identity.correlation_headers
    }

    fn caller(&self) -> Caller {
        Caller { peer: self.peer, is_tls: false }
    }
}

impl Serves for Outbound {
    fn unread(&self, worker: &Worker) -> WhenUnread {
        if let Some(original) = self.original {
            self.passes_unread(worker, original, Protocol::Dubbo);
        }
        if self.identity.refuses_unread { WhenUnread::Refused } else { WhenUnread::AsBase }
    }
}

impl Outbound {
    /// Whether nobody has what cannot be read, of calls to services at ports that are not said to be of another protocol.
    pub(super) fn refuses_unread(&self) -> bool {
        self.identity.refuses_unread
    }

    /// Calls in a tunnel to a host.
    pub(super) fn inside(self, host: String, port: u16) -> Self {
        Self { tunnel: Some((host, port)), ..self }
    }

    /// Counts what passes unread to a service: no request of it can be kept in its lane.
    pub(super) fn passes_unread(&self, worker: &Worker, original: SocketAddr, protocol: Protocol) {
        let picture = worker.picture();
        let directory = picture.lanes.directory();
        let AddressLookup::Known(ids) = directory.by_address(original) else { return };
        let Some(service) = ids.first().and_then(|id| directory.service(id)) else { return };
        if self.identity.unread.count(service.name(), protocol) && protocol != Protocol::Other {
            tracing::warn!(
                service = %service.name(),
                protocol = protocol.name(),
                "calls to a service pass unread: their lane is not known, and goes no further"
            );
        }
    }

    /// Where a connection goes to whose service is at a port of protocol `tcp`: to the instance that was picked, unless it is
    /// of a tag that is not this one's: nothing says that it is more than base. Nowhere where there is no other that was not
    /// `tried`. `None`: it is for no such port.
    pub(super) fn beyond_http(
        &self,
        worker: &Worker,
        picked: Option<SocketAddr>,
        tried: &[SocketAddr],
    ) -> Option<Option<Reached>> {
        let picture = worker.picture();
        let directory = picture.lanes.directory();
        let service = match (picked, &self.tunnel) {
            (Some(picked), tunnel) => {
                let AddressLookup::Known(ids) = directory.by_address(picked) else { return None };
                let host = tunnel.as_ref().map_or("", |(host, _)| host.as_str());
                shared(&picture, ids, picked, host)?
            }
            (None, Some((host, _))) => match directory.by_name(host) {
                Lookup::Known(service) => service,
                _ => return None,
            },
            (None, None) => return None,
        };
        let there = picked.and_then(|picked| service.endpoint_anywhere_at(picked));
        if there.or(service.endpoints().first())?.port.protocol != lanes::service::Protocol::Tcp {
            return None;
        }
        if tried.is_empty() {
            self.identity.unread.count(service.name(), Protocol::Tcp);
        }
        let (endpoint, trouble) = match there.filter(|there| self.may_have_unread(there)) {
            // Picked for a reason that nobody else knows, it is there for its caller or nobody is.
            Some(there) => (Some(there).filter(|there| !tried.contains(&there.address)), None),
            None => {
                let base = base_of(worker, &picture, service, picked, tried);
                (base, Some(Trouble::NobodyAtPort))
            }
        };
        Some(endpoint.map(|endpoint| reached(endpoint, picked, trouble)))
    }

    /// Where a captured connection goes that nobody can read, and that must not go to the instance that was picked: that is of
    /// a tag that is not this one's, and nothing says that the connection is more than base. Nowhere where there is no instance
    /// of the base that was not `tried`. `None`: it goes where it was to go.
    pub(super) fn must_not_have_unread(
        &self,
        worker: &Worker,
        picked: SocketAddr,
        tried: &[SocketAddr],
    ) -> Option<Option<Reached>> {
        let picture = worker.picture();
        let directory = picture.lanes.directory();
        let AddressLookup::Known(ids) = directory.by_address(picked) else { return None };
        let service = shared(&picture, ids, picked, "")?;
        let there = service.endpoint_anywhere_at(picked)?;
        if self.may_have_unread(there) {
            return None;
        }
        let base = base_of(worker, &picture, service, Some(picked), tried);
        Some(base.map(|base| reached(base, Some(picked), Some(Trouble::NobodyAtPort))))
    }

    /// Whether an instance may have what its caller sends unread: one of the base, or of its own tag.
    fn may_have_unread(&self, there: &Endpoint) -> bool {
        there.health != Health::InvalidTag
            && (there.tag.is_none() || there.tag.as_ref() == self.identity.tag.as_ref())
    }

    /// The same of what comes through a tunnel.
    pub(super) fn beyond_http_inside(
        &self,
        worker: &Worker,
        tried: &[SocketAddr],
    ) -> Option<Option<Reached>> {
        let (host, port) = self.tunnel.as_ref()?;
        self.beyond_http(worker, entrance::ip_of(host).map(|ip| SocketAddr::new(ip, *port)), tried)
    }

    /// Tells of a connection to a port, on a host of registered instances, that nobody has declared.
    pub(super) fn goes_past(&self, worker: &Worker, original: SocketAddr) {
        let is_its_own = original.ip() == self.peer.to_canonical();
        if !is_its_own
            && worker.picture().lanes.directory().has_instances_on(original.ip())
            && self.identity.undeclared.count(original)
        {
            tracing::warn!(%original, "calls to a port of an instance that nobody has declared go past the lanes");
        }
    }

    /// Who serves what is no HTTP in a tunnel to a service, unless `tried`: nothing says that it is more than base.
    pub(super) fn base_instance(&self, worker: &Worker, tried: &[SocketAddr]) -> Option<Reached> {
        let picture = worker.picture();
        let (host, port) = self.tunnel.as_ref()?;
        let directory = picture.lanes.directory();
        let picked = entrance::ip_of(host).map(|ip| SocketAddr::new(ip, *port));
        let service = match picked.map(|address| directory.by_address(address)) {
            Some(AddressLookup::Known(ids)) => shared(&picture, ids, picked?, host)?,
            Some(_) => return None,
            None => match directory.by_name(host) {
                Lookup::Known(service) => service,
                _ => return None,
            },
        };
        let base = base_of(worker, &picture, service, picked, tried)?;
        let addresses = base.addresses_like(picked);
        Some(Reached { instance: base.address, addresses, trouble: Some(Trouble::Unreachable) })
    }
}

/// An instance, past its sidecar: where its caller has picked it, there.
fn reached(endpoint: &Endpoint, picked: Option<SocketAddr>, trouble: Option<Trouble>) -> Reached {
    let reached = endpoint.application_addresses_like(picked);
    let addresses = match picked.filter(|picked| reached.contains(picked)) {
        Some(picked) => vec![picked],
        None => reached,
    };
    Reached { instance: endpoint.address, addresses, trouble }
}

/// Plans a request.
fn plan<'p, 'b>(
    worker: &Worker,
    outbound: &Outbound,
    picture: &'p Published,
    head: &mut impl Head<'b>,
    found: &Found,
    written: &mut Written,
) -> Result<Plan<'p>, NoPlan> {
    let identity = &outbound.identity;
    let destination = match outbound.original {
        Some(original) => {
            entrance::believe_all(head);
            by_address(worker, picture, original, head.host(), found.address_is_unknown)?
        }
        None => by_target(worker, outbound, picture, head, found)?,
    };
    let mut context = Context::default();
    let (told, restored) = read_context(worker, identity, picture, head, &mut context);
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    match &destination {
        Destination::Service(service, _) => {
            entrance::write_host(head, None, service.name(), written);
            match told {
                Restored::Context => {
                    let lane = lost::lane_of(picture, &identity.application, &context);
                    lane.into_iter().for_each(|lane| identity.in_lanes.carried(lane));
                }
                Restored::Unknown => identity.in_lanes.left_out(true),
                Restored::Conflict => identity.in_lanes.left_out(false),
            }
        }
        Destination::Address(_) => entrance::write_host(head, None, UNKNOWN_HOST, written),
    }
    entrance::write_restored(head, &restored, written);
    let target = match destination {
        Destination::Service(service, caller_pick) => {
            worker.via.write(head, service.id(), written)?;
            Target::Service { service, context, caller_pick }
        }
        Destination::Address(address) => Target::Address(address),
    };
    Ok(Plan {
        role: Role::SidecarOutbound,
        target,
        protocol: None,
        edits: Edits::NONE,
        owed: Owed::default(),
        counted_as: ("", ""),
        route: None,
        member: None,
        outcome: None,
        remembered: None,
        unreachable: None,
        request_timeout_ms: None,
        backend_timeout_ms: None,
    })
}

enum Destination<'p> {
    /// A service, and the instance that the application itself picked.
    Service(&'p Arc<Service>, Option<SocketAddr>),
    Address(SocketAddr),
}

/// A forward proxy's request names its server.
fn by_target<'p, 'b>(
    worker: &Worker,
    outbound: &Outbound,
    picture: &'p Published,
    head: &mut impl Head<'b>,
    found: &Found,
) -> Result<Destination<'p>, NoPlan> {
    let peer = outbound.peer.to_canonical();
    if !peer.is_loopback() && outbound.local.is_none_or(|local| local.ip().to_canonical() != peer) {
        return Err(Kind::NotLocal.into());
    }
    entrance::believe_all(head);
    let is_connect = head.method() == CONNECT;
    let (host, port) = match &outbound.tunnel {
        Some(_) if is_connect => return Err(Kind::ConnectMethod.into()),
        Some((host, port)) => (host.as_str(), *port),
        None if is_connect || head.scheme() == Some("http") => {
            (head.host(), entrance::port(head.authority()).unwrap_or(DEFAULT_PORT))
        }
        None => return Err(Kind::NotAbsolute.into()),
    };
    let destination = by_host(worker, outbound, picture, found, (host, port), is_connect)?;
    if !is_connect {
        return Ok(destination);
    }
    Err(NoPlan::Establish(match destination {
        Destination::Service(..) => Tunnel::Service(host.to_owned(), port),
        Destination::Address(address) => Tunnel::Address(address),
    }))
}

/// A host is a service, an address or a name of others. `is_answered`: of others it must be known that they answer.
fn by_host<'p>(
    worker: &Worker,
    outbound: &Outbound,
    picture: &'p Published,
    found: &Found,
    (host, port): (&str, u16),
    is_answered: bool,
) -> Result<Destination<'p>, NoPlan> {
    let one_of = |addresses: &[SocketAddr]| {
        let allowed = allowed(outbound, addresses)?;
        match (found.reached, allowed.as_slice()) {
            (Some(reached), _) => Ok(Destination::Address(reached)),
            (None, [only]) if !is_answered => Ok(Destination::Address(*only)),
            (None, several) => Err(NoPlan::Reach(several.to_vec())),
        }
    };
    if let Some(ip) = entrance::ip_of(host) {
        let address = SocketAddr::new(ip, port);
        return match by_address(worker, picture, address, host, found.address_is_unknown)? {
            Destination::Address(address) => one_of(&[address]),
            service => Ok(service),
        };
    }
    match picture.lanes.directory().by_name(host) {
        Lookup::Known(service) => Ok(Destination::Service(service, None)),
        Lookup::Ambiguous(sources) => {
            Err(Kind::Ambiguous { name: host.to_owned(), sources: sources.join(", ") }.into())
        }
        Lookup::Unsubscribed => Err(NoPlan::Learn(Query::Name(host.to_owned()))),
        Lookup::Absent if found.resolved.is_empty() => Err(NoPlan::Resolve(host.to_owned(), port)),
        Lookup::Absent => one_of(&found.resolved),
    }
}

/// An address may be one service's, several services', or nobody's.
fn by_address<'p>(
    worker: &Worker,
    picture: &'p Published,
    address: SocketAddr,
    host: &str,
    is_unknown: bool,
) -> Result<Destination<'p>, NoPlan> {
    let directory = picture.lanes.directory();
    match directory.by_address(address) {
        AddressLookup::Known(ids) => match shared(picture, ids, address, host) {
            Some(service) => Ok(Destination::Service(service, Some(address))),
            None => {
                worker.recorder.count(Count::AmbiguousAddress);
                Ok(Destination::Address(address))
            }
        },
        AddressLookup::Unsubscribed if !is_unknown => Err(NoPlan::Learn(Query::Address(address))),
        AddressLookup::Unsubscribed | AddressLookup::Absent => Ok(Destination::Address(address)),
    }
}

/// Of the services at one address: the one that Host names, else, if all are one application, the one that is at its first
/// port, or of several the first by name.
fn shared<'p>(
    picture: &'p Published,
    ids: &[ServiceId],
    address: SocketAddr,
    host: &str,
) -> Option<&'p Arc<Service>> {
    let directory = picture.lanes.directory();
    if let [only] = ids {
        return directory.service(only);
    }
    if let Lookup::Known(named) = directory.by_name(host)
        && ids.contains(named.id())
    {
        return Some(named);
    }
    let services = || ids.iter().filter_map(|id| directory.service(id));
    let order = |service: &Arc<Service>| {
        let there = service.endpoint_anywhere_at(address);
        (there.is_some_and(|it| it.port.is_further), Arc::clone(service.name()))
    };
    let first = services().min_by_key(|service| order(service))?;
    services().all(|service| service.application() == first.application()).then_some(first)
}

/// Of the addresses of a host those that a forward proxy may reach; at least one.
fn allowed(
    outbound: &Outbound,
    addresses: &[SocketAddr],
) -> Result<SmallVec<[SocketAddr; 2]>, NoPlan> {
    let forbidden = &outbound.identity.forbidden;
    let allowed = addresses.iter().filter(|address| !forbidden.contains(**address));
    let allowed: SmallVec<_> = allowed.copied().collect();
    if allowed.is_empty() { Err(Kind::Forbidden(addresses[0]).into()) } else { Ok(allowed) }
}

/// What the request carries itself, else what its correlation ids restore, else base. Returns whether it is known, and
/// the members to add.
fn read_context<'b>(
    worker: &Worker,
    identity: &Identity,
    picture: &Published,
    head: &impl Head<'b>,
    context: &mut Context,
) -> (Restored, Vec<u8>) {
    let mut restored = Vec::new();
    if head.values(Name::Baggage).any(baggage::has_lane_members) {
        *context = Context::read(&picture.lanes, head.values(Name::Baggage));
        // Members that say nothing, such as an invalid tag, are no context.
        baggage::lane_members(head.values(Name::Baggage), &mut restored);
        if !restored.is_empty() {
            restored.clear();
            return (Restored::Context, restored);
        }
    }
    let ids = identity.correlation_headers.ids(head, &Written::default());
    if ids.is_empty() {
        return (Restored::Unknown, restored);
    }
    let told = identity.correlation.restore(&ids, Instant::now(), &mut restored);
    match told {
        Restored::Context => {
            worker.recorder.count(Count::CorrelationRestored);
            *context = Context::read(&picture.lanes, std::iter::once(restored.as_slice()));
        }
        Restored::Conflict => worker.recorder.count(Count::CorrelationConflict),
        Restored::Unknown => worker.recorder.count(Count::CorrelationUnknown),
    }
    (told, restored)
}
