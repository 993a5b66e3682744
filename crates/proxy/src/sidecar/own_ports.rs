//! The ports of the application beside a sidecar, and which of them a request is for.

use std::net::SocketAddr;

use lanes::service::Protocol;

/// A port of the application.
#[derive(Debug, Clone)]
pub struct OwnPort {
    /// The service that its callers name.
    pub service: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where the application listens for it.
    pub application_address: SocketAddr,
}

/// All of them; at least one. The first gets what says nothing of a port.
#[derive(Debug)]
pub(super) struct OwnPorts(Box<[NamedPort]>);

/// One of them, and what it is called.
#[derive(Debug)]
pub(super) struct NamedPort {
    pub(super) port: OwnPort,
    /// `namespace/service` in lower case: what callers call it by that chose one of its registered instances.
    pub(super) registered_as: String,
    /// `service.namespace` in lower case: as hosts name it, beside the service alone.
    host: String,
}

impl OwnPorts {
    pub(super) fn new(ports: &[OwnPort], namespace: &str) -> Self {
        assert!(!ports.is_empty(), "an application has a port");
        let named = |port: &OwnPort| NamedPort {
            registered_as: format!("{namespace}/{}", port.service).to_lowercase(),
            host: format!("{}.{namespace}", port.service).to_lowercase(),
            port: port.clone(),
        };
        Self(ports.iter().map(named).collect())
    }

    /// The one that is meant where nothing says which.
    pub(super) fn first(&self) -> &NamedPort {
        &self.0[0]
    }

    /// The one that connections to `original` were for.
    pub(super) fn at(&self, original: SocketAddr) -> Option<&NamedPort> {
        let number = original.port();
        self.0.iter().find(|named| named.port.application_address.port() == number)
    }

    /// The one whose service a proxy has chosen this instance for (`namespace/name` in lower case).
    pub(super) fn registered_as(&self, called: &[u8]) -> Option<&NamedPort> {
        self.0.iter().find(|named| named.registered_as.as_bytes() == called)
    }

    /// The one whose service a host (in lower case) names.
    pub(super) fn named(&self, host: &str) -> Option<&NamedPort> {
        self.0.iter().find(|named| {
            named.port.service.eq_ignore_ascii_case(host) || named.host.eq_ignore_ascii_case(host)
        })
    }

    /// Whether there is no other than the first.
    pub(super) fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// By what callers may have chosen this instance, for people.
    pub(super) fn services(&self) -> String {
        let all: Vec<&str> = self.0.iter().map(|named| named.registered_as.as_str()).collect();
        all.join(", ")
    }
}

impl NamedPort {
    /// Whether nothing of what is spoken there is read, by the application's own word.
    pub(super) fn passes_unread(&self) -> bool {
        self.port.protocol == Protocol::Tcp
    }

    /// Where the application has what came for `original`.
    pub(super) fn address_for(&self, original: Option<SocketAddr>) -> SocketAddr {
        let own = self.port.application_address;
        original.filter(|original| original.port() == own.port()).unwrap_or(own)
    }
}
