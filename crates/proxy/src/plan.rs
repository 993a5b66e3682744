//! What is to be done with one request: decided from its head and one picture, then carried out by `exchange`.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use lanes::{Choice, Context, Service, choose::Subset};
use routes::{Edits, table::Backend, tls::UpstreamTls};
use telemetry::Role;
use tokio::sync::Notify;

use crate::{
    affinity::{AnswerEdits, Owed},
    correlation::Remembered,
    ejection::{Ejections, EjectionsNow},
    error::{Kind, ProxyError},
    peers::Loop,
    published::{Published, Query},
    tls::believed::Believed,
};

/// The method of a tunnel through a proxy; forward proxies alone offer any.
pub(crate) const CONNECT: &str = "CONNECT";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) version: Version,
    /// In TLS with those who are believed; none is in the clear.
    pub(crate) tls: Option<Believed>,
}

/// Of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// From the first byte on.
    Http2,
}

impl Protocol {
    /// In the clear.
    pub(crate) const HTTP1: Self = Self { version: Version::Http1, tls: None };
    pub(crate) const HTTP2: Self = Self { version: Version::Http2, tls: None };

    /// What a route's backend speaks. The error says why nobody of it is believed.
    pub(crate) fn of(
        backend: &Backend,
        believed: impl FnOnce(&Arc<UpstreamTls>) -> Result<Believed, String>,
    ) -> Result<Self, String> {
        let version = if backend.http2 { Version::Http2 } else { Version::Http1 };
        Ok(Self { version, tls: backend.tls.as_ref().map(believed).transpose()? })
    }

    /// The scheme of what is asked in it.
    pub(crate) fn scheme(self) -> &'static [u8] {
        if self.tls.is_some() { b"https" } else { b"http" }
    }
}

/// Who serves a request.
#[derive(Debug)]
pub(crate) enum Target<'p> {
    /// An instance of a service, by the lanes.
    Service {
        service: &'p Arc<Service>,
        context: Context,
        /// The instance the application itself picked.
        caller_pick: Option<SocketAddr>,
    },
    /// This address, whatever the lanes say: the own application, a host that is no service.
    Address(SocketAddr),
}

/// A request, decided.
#[derive(Debug)]
pub(crate) struct Plan<'p> {
    pub(crate) role: Role,
    pub(crate) target: Target<'p>,
    /// What the instance speaks; none: what the client speaks.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) edits: Edits<'p>,
    /// What the answer tells its client besides.
    pub(crate) owed: Owed,
    /// The application and service it is counted under where the target is an address.
    pub(crate) counted_as: (&'p str, &'p str),
    /// The gateway's route that it is counted under.
    pub(crate) route: Option<&'p str>,
    /// The group and lane it is counted under where the target is an address.
    pub(crate) member: Option<(u16, u16)>,
    /// How it counts where the target is an address.
    pub(crate) outcome: Option<lanes::Outcome>,
    /// A sidecar's memory of the request's context, until some time after the answer.
    pub(crate) remembered: Option<Remembered>,
    /// Told when a sidecar cannot connect to its application.
    pub(crate) unreachable: Option<&'p Notify>,
    /// None: the default; 0: no limit.
    pub(crate) request_timeout_ms: Option<u64>,
    pub(crate) backend_timeout_ms: Option<u64>,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NoPlan {
    /// Answer with an error.
    Refuse(Kind),
    /// Answer with a redirect.
    Redirect { status: u16, location: Vec<u8> },
    /// Ask first, then plan again with a newer picture.
    Learn(Query),
    /// Resolve this host (with port) first, then plan again.
    Resolve(String, u16),
    /// Answer OPTIONS: it was to come no further.
    Options,
    /// Answer that a tunnel is there, then let it pass.
    Establish(Tunnel),
    /// Find out which of these addresses of a host answers, then plan again.
    Reach(Vec<SocketAddr>),
}

/// Where a tunnel leads that a client has asked a forward proxy for.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// To a service, by the name and port that the client gave: what it asks in there is decided request by request.
    Service(String, u16),
    /// To a host outside the mesh, which answers there.
    Address(SocketAddr),
}

impl From<Loop> for NoPlan {
    fn from(Loop: Loop) -> Self {
        Self::Refuse(Kind::Loop)
    }
}

impl From<Kind> for NoPlan {
    fn from(kind: Kind) -> Self {
        Self::Refuse(kind)
    }
}

/// Who was chosen for one attempt. Owns what it needs, so that it pins no picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen {
    /// What the instance is known by; of several addresses the first.
    pub(crate) address: SocketAddr,
    pub(crate) has_several_addresses: bool,
    pub(crate) subset: Option<Subset>,
    pub(crate) outcome: lanes::Outcome,
    pub(crate) member: Option<(u16, u16)>,
}

impl Plan<'_> {
    /// What the answer's head is given.
    pub(crate) fn answer_edits(&self) -> AnswerEdits<'_> {
        AnswerEdits { headers: self.edits.response_headers, owed: &self.owed }
    }

    /// Chooses an instance.
    pub(crate) fn choose(
        &self,
        picture: &Published,
        ejections: &Ejections,
        ticket: u64,
        now: Instant,
        not_again: &[SocketAddr],
    ) -> Result<Chosen, ProxyError> {
        match &self.target {
            Target::Address(address) => Ok(Chosen {
                address: *address,
                has_several_addresses: false,
                subset: None,
                outcome: lanes::Outcome::Base,
                member: None,
            }),
            Target::Service { service, context, caller_pick } => {
                let ejected = ejections.beside(not_again, not_again, now);
                picture
                    .lanes
                    .choose(context, service, *caller_pick, &ejected, ticket, &mut ())
                    .map(Chosen::from)
                    .map_err(|none| ProxyError::unsent(Kind::NoEndpoint(none)))
            }
        }
    }

    /// Chooses after bytes were sent to one, among the instances of the latest picture: another of the same lane; where
    /// nobody of it is left, whoever would have a request that comes now and is refused by the same.
    pub(crate) fn choose_again(
        &self,
        picture: &Published,
        latest: &Published,
        ejected: &EjectionsNow<'_>,
        ticket: u64,
        chosen: &Chosen,
        not_again: &[SocketAddr],
    ) -> Option<Chosen> {
        let Target::Service { service, context, caller_pick } = &self.target else { return None };
        let latest = latest.lanes.directory().service(service.id())?;
        // The context is one of the picture that the request was planned by, and so are the lanes.
        let lanes = &picture.lanes;
        let choice = choice_of(service, chosen).or_else(|| choice_of(latest, chosen));
        let of_lane =
            choice.and_then(|it| lanes.choose_again(&it, latest, not_again, ejected, ticket));
        let of_those_who_come = || {
            let choice = lanes.choose(context, latest, *caller_pick, ejected, ticket, &mut ());
            choice.ok().filter(|it| !not_again.contains(&it.endpoint.address))
        };
        // Ejection alone fails nobody: another request may just be trying that one again.
        let put_aside =
            || choice.and_then(|it| lanes.choose_again(&it, latest, not_again, &(), ticket));
        of_lane.or_else(of_those_who_come).or_else(put_aside).map(Chosen::from)
    }

    /// Whether no instance of its lane is left beside it and those that were tried.
    pub(crate) fn is_alone(
        &self,
        picture: &Published,
        ejections: &Ejections,
        now: Instant,
        chosen: &Chosen,
        tried: &[SocketAddr],
    ) -> bool {
        let Target::Service { service, .. } = &self.target else { return false };
        let Some(choice) = choice_of(service, chosen) else { return false };
        let (ejected, itself) = (ejections.beside(tried, tried, now), [chosen.address]);
        picture.lanes.choose_again(&choice, service, &itself, &ejected, 0).is_none()
    }
}

/// The choice of an instance of a service.
fn choice_of<'s>(service: &'s Service, chosen: &Chosen) -> Option<Choice<'s>> {
    let endpoint = service.endpoints().iter().find(|it| it.address == chosen.address)?;
    let Chosen { subset, outcome, member, .. } = *chosen;
    Some(Choice { endpoint, subset: subset?, outcome, member })
}

impl From<Choice<'_>> for Chosen {
    fn from(choice: Choice<'_>) -> Self {
        Self {
            address: choice.endpoint.address,
            has_several_addresses: choice.endpoint.further.is_some(),
            subset: Some(choice.subset),
            outcome: choice.outcome,
            member: choice.member,
        }
    }
}
