//! Services and their endpoints, sorted by tag for the choice.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::Tag;

/// `source/namespace/group/name`, lower-case (services match case-insensitively).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Arc<str>);

impl ServiceId {
    /// From its four parts, lower-cased. `group` may be empty.
    pub fn new(source: &str, namespace: &str, group: &str, name: &str) -> Self {
        Self(format!("{source}/{namespace}/{group}/{name}").to_lowercase().into())
    }

    /// From text in the form of [`ServiceId::as_str`].
    pub fn from_text(text: &str) -> Self {
        Self(text.to_lowercase().into())
    }

    /// The four parts joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How an instance stands, before local ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// May be chosen.
    Usable,
    /// Its source says it is not healthy.
    Unhealthy,
    /// Deregistered or terminating: takes no new requests.
    Draining,
    /// Its tag is no valid tag: unusable, never base.
    InvalidTag,
}

/// One instance as callers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where connections go: for a registered sidecar its advertised address.
    pub address: SocketAddr,
    /// Where the application itself listens, where that differs (for original destinations).
    pub application_address: Option<SocketAddr>,
    /// `None` is the base.
    pub tag: Option<Tag>,
    /// Share of requests among its peers; 0 takes none unless all are 0.
    pub weight: u32,
    /// Whether it may be chosen.
    pub health: Health,
}

/// The instances of one service, grouped by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    id: ServiceId,
    name: Arc<str>,
    application: Arc<str>,
    endpoints: Vec<Endpoint>,
}

impl Service {
    /// Sorts `endpoints` by tag and address; duplicates of one address keep the first.
    pub fn new(id: ServiceId, name: &str, application: &str, endpoints: Vec<Endpoint>) -> Self {
        Self { id, name: name.into(), application: application.into(), endpoints }
    }

    /// Its identity.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// The name callers use, as registered.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The application behind it.
    pub fn application(&self) -> &Arc<str> {
        &self.application
    }

    /// All instances, usable or not, sorted by tag (base first), then address.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}
