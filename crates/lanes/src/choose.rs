//! The decision at every hop: which endpoint of a service may serve a request (design §2.1, 2.7 – 2.11).

use std::net::SocketAddr;

use crate::{Context, Endpoint, Service, Snapshot, explain::Observer};

/// What a data plane has seen fail. Owned by the proxy; an argument of the choice.
pub trait Ejections {
    /// Whether connects to this address fail at the moment.
    fn is_ejected(&self, address: SocketAddr) -> bool;
}

/// Nothing is ejected: for `explain` and tests.
impl Ejections for () {
    fn is_ejected(&self, _: SocketAddr) -> bool {
        false
    }
}

/// How a hop was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// By an instance of the request's own lane.
    Lane,
    /// By the base, or a lane of the fallback list, because the lane could not.
    Fallback,
    /// By the base: the request is in no lane that governs this service.
    Base,
}

/// The endpoints that the decision allows, so that a retry can stay among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subset {
    /// First index into [`Service::endpoints`].
    pub start: u32,
    /// One past the last index.
    pub end: u32,
}

/// One hop, decided.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'s> {
    /// Who serves it.
    pub endpoint: &'s Endpoint,
    /// Whom else the decision allows.
    pub subset: Subset,
    /// How it was served.
    pub outcome: Outcome,
    /// The group and lane that governed, as indices; `None` when no group did.
    pub member: Option<(u16, u16)>,
}

/// Why nobody may serve a hop: 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEndpoint {
    /// No usable base instance.
    Base {
        /// The service.
        service: String,
    },
    /// The lane is strict and has none.
    Strict {
        /// The service.
        service: String,
        /// `group/tag`.
        lane: String,
    },
}

impl std::fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base { service } => write!(f, "no usable base instance of {service}"),
            Self::Strict { service, lane } => {
                write!(f, "no usable instance of {service} in strict lane {lane}")
            }
        }
    }
}

impl Snapshot {
    /// Chooses an endpoint of `service` for a request with `context`.
    ///
    /// `caller_pick`: the address the application chose itself; kept when the decision allows it and it is
    /// not ejected. `ticket`: uniformly random, spreads by weight.
    pub fn choose<'s, O: Observer>(
        &self,
        context: &Context,
        service: &'s Service,
        caller_pick: Option<SocketAddr>,
        ejections: &impl Ejections,
        ticket: u64,
        observer: &mut O,
    ) -> Result<Choice<'s>, NoEndpoint> {
        let _ = (context, service, caller_pick, ejections, ticket, observer);
        todo!()
    }

    /// Another endpoint of the same subset, not `not_again` and not ejected, or none: for a retry after bytes
    /// were sent, which stays within the lane that was chosen.
    pub fn choose_again<'s>(
        &self,
        choice: &Choice<'s>,
        service: &'s Service,
        not_again: &[SocketAddr],
        ejections: &impl Ejections,
        ticket: u64,
    ) -> Option<Choice<'s>> {
        let _ = (choice, service, not_again, ejections, ticket);
        todo!()
    }

    /// Whether an instance with `tag` of `application` may serve a request with `context` at all, whoever is
    /// usable: what an inbound sidecar checks to count and name misrouted arrivals (design §2.11).
    pub fn allows(&self, context: &Context, application: &str, tag: Option<&crate::Tag>) -> bool {
        todo!("{context:?} {application} {tag:?}")
    }
}
