//! What a data plane asks for, and what its share depends on: what the picture and distribution say to each other.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

pub(crate) use api::convert::key::ResourceKey;
use api::discovery::v1;

/// What a data plane's share of the picture depends on, beside the resources in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// This resource: its content, or what it refers to.
    Resource(ResourceKey),
    /// Which groups have this application as a member or an entrance.
    Application(Arc<str>),
    /// Which groups have this gateway as an entrance.
    Entrance(Arc<str>),
    /// Which routes attach to this gateway.
    Attached(Arc<str>),
    /// Which services this application has.
    Members(Arc<str>),
    /// What instances of this application have asked for.
    Dependencies(Application),
}

/// An application; those of different namespaces are different ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Application {
    /// The namespace of its services.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Application {
    /// That of a sidecar.
    pub(crate) fn of(hello: &v1::Hello) -> Self {
        let namespace = if hello.namespace.is_empty() { "default" } else { &hello.namespace };
        Self { namespace: namespace.into(), name: hello.name.as_str().into() }
    }
}

/// What decides a data plane's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Gateway, sidecar or agent.
    pub role: v1::Role,
    /// The application, whose name is the Gateway's for one.
    pub application: Application,
    /// Host names it wants to know the meaning of, lower-case.
    pub names: BTreeSet<Arc<str>>,
    /// Addresses it wants to know the meaning of.
    pub addresses: BTreeSet<SocketAddr>,
    /// Whether it may be told certificates.
    pub certificates: CertificatesTold,
}

/// Whether a data plane is told certificates with their private keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificatesTold {
    /// It is.
    Told,
    /// Its release knows none.
    NotKnown,
    /// Others could read them on the way.
    Overheard,
}

/// Who can read what is sent to a data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody else: it stays on this machine, with somebody who may know.
    Private,
    /// Whoever is on the way, or whoever connects.
    InTheClear,
}

/// The capability of data planes that serve TLS.
const TLS: &str = "tls";

/// That of gateways that pass TLS on by the name that clients ask for.
pub(crate) const PASSTHROUGH: &str = "tls-passthrough";

/// That of gateways that issue the cookies that lanes are drawn by.
pub(crate) const ISSUE: &str = "issue";

/// That of entrances that keep the place of a paused lane in the draw.
pub(crate) const PAUSE: &str = "pause";

impl CertificatesTold {
    /// By what a data plane says of itself, and the way to it.
    pub(crate) fn of(hello: &v1::Hello, way: Way) -> Self {
        if !hello.capabilities.iter().any(|capability| capability == TLS) {
            return Self::NotKnown;
        }
        match way {
            Way::Private => Self::Told,
            Way::InTheClear => Self::Overheard,
        }
    }
}

/// One consequence of a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Touch {
    /// The resource reads differently; who has it gets it again.
    Content(ResourceKey),
    /// Who depends on this may need other resources than before.
    Share(Topic),
}

impl Touch {
    /// Both: the resource reads differently and refers to other resources.
    pub(crate) fn both(key: ResourceKey) -> [Self; 2] {
        [Self::Share(Topic::Resource(key.clone())), Self::Content(key)]
    }
}
/// An address in its one spelling, if it is one.
pub(crate) fn canonical(text: &str) -> Option<SocketAddr> {
    text.parse().ok().map(lanes::directory::canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_to_whom_knows_them_where_nobody_else_hears() {
        let hello = |capabilities: &[&str]| v1::Hello {
            capabilities: capabilities.iter().map(|it| (*it).to_owned()).collect(),
            ..v1::Hello::default()
        };
        for (capabilities, way, told) in [
            (&["tls"][..], Way::Private, CertificatesTold::Told),
            (&["other", "tls"], Way::InTheClear, CertificatesTold::Overheard),
            (&[], Way::Private, CertificatesTold::NotKnown),
            (&["tls2"], Way::InTheClear, CertificatesTold::NotKnown),
        ] {
            assert_eq!(CertificatesTold::of(&hello(capabilities), way), told, "{capabilities:?}");
        }
    }
}
