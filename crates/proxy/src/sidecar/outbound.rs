//! What a sidecar does with a call of its own application: which service, which lane, which instance.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use lanes::{AddressLookup, Context, Lookup, Service, ServiceId, baggage};
use routes::{
    Edits,
    entrance::{self, Head, Name, Written},
};
use smallvec::SmallVec;
use telemetry::{Count, Role};

use crate::{
    correlation::Restored,
    error::Kind,
    exchange::sides::{Decide, Found},
    plan::{CONNECT, NoPlan, Plan, Target},
    published::{Published, Query},
    sidecar::Identity,
    transport::Connection,
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
}

impl Outbound {
    pub(super) fn new(
        identity: Rc<Identity>,
        connection: &Connection,
        original: Option<SocketAddr>,
    ) -> Self {
        let (peer, local) = (connection.peer.ip(), connection.local_address());
        Self { identity, peer, local, original }
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
            by_address(worker, picture, original, head.host(), found.address_is_unknown)?
        }
        None => by_target(worker, outbound, picture, head, found)?,
    };
    let mut context = Context::default();
    let restored = read_context(worker, identity, picture, head, &mut context);
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    match &destination {
        Destination::Service(service, _) => {
            entrance::write_host(head, None, service.name(), written);
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
        edits: Edits::NONE,
        counted_as: ("", ""),
        member: None,
        outcome: None,
        remembered: None,
        unreachable: None,
        request_timeout_ms: 0,
        backend_timeout_ms: 0,
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
    head: &impl Head<'b>,
    found: &Found,
) -> Result<Destination<'p>, NoPlan> {
    let peer = outbound.peer.to_canonical();
    if !peer.is_loopback() && outbound.local.is_none_or(|local| local.ip().to_canonical() != peer) {
        return Err(Kind::NotLocal.into());
    }
    if head.method() == CONNECT {
        return Err(Kind::ConnectMethod.into());
    }
    if head.scheme() != Some("http") {
        return Err(Kind::NotAbsolute.into());
    }
    let host = head.host();
    let port = entrance::port(head.authority()).unwrap_or(DEFAULT_PORT);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let address = SocketAddr::new(ip.to_canonical(), port);
        return match by_address(worker, picture, address, host, found.address_is_unknown)? {
            Destination::Address(address) => match allowed(outbound, &[address])?.as_slice() {
                [only] => Ok(Destination::Address(*only)),
                _ => Err(Kind::Forbidden(address).into()),
            },
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
        Lookup::Absent => match allowed(outbound, &found.resolved)?.as_slice() {
            [only] => Ok(Destination::Address(*only)),
            several => match found.reached {
                Some(reached) => Ok(Destination::Address(reached)),
                None => Err(NoPlan::Reach(several.to_vec())),
            },
        },
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
        AddressLookup::Known(ids) => match shared(picture, ids, host) {
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

/// Of the services at one address: the one that Host names, else the first by name if all are one application.
fn shared<'p>(picture: &'p Published, ids: &[ServiceId], host: &str) -> Option<&'p Arc<Service>> {
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
    let first = services().min_by(|one, other| one.name().cmp(other.name()))?;
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

/// What the request carries itself, else what its correlation ids restore, else base. Returns the members to add.
fn read_context<'b>(
    worker: &Worker,
    identity: &Identity,
    picture: &Published,
    head: &impl Head<'b>,
    context: &mut Context,
) -> Vec<u8> {
    let mut restored = Vec::new();
    if head.values(Name::Baggage).any(baggage::has_lane_members) {
        *context = Context::read(&picture.lanes, head.values(Name::Baggage));
        // Members that say nothing, such as an invalid tag, are no context.
        baggage::lane_members(head.values(Name::Baggage), &mut restored);
        if !restored.is_empty() {
            restored.clear();
            return restored;
        }
    }
    let ids = identity.correlation_headers.ids(head, &Written::default());
    if ids.is_empty() {
        return restored;
    }
    match identity.correlation.restore(&ids, Instant::now(), &mut restored) {
        Restored::Context => {
            worker.recorder.count(Count::CorrelationRestored);
            *context = Context::read(&picture.lanes, std::iter::once(restored.as_slice()));
        }
        Restored::Conflict => worker.recorder.count(Count::CorrelationConflict),
        Restored::Unknown => worker.recorder.count(Count::CorrelationUnknown),
    }
    restored
}
