//! What a data plane asks for, and what its share depends on: what the picture and distribution say to each other.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

pub(crate) use api::convert::key::Key;
use api::discovery::v1;

/// What a data plane's share of the picture depends on, beside the resources in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// This resource: its content, or what it refers to.
    Resource(Key),
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
}

/// One consequence of a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Touch {
    /// The resource reads differently; who has it gets it again.
    Content(Key),
    /// Who depends on this may need other resources than before.
    Share(Topic),
}

impl Touch {
    /// Both: the resource reads differently and refers to other resources.
    pub(crate) fn both(key: Key) -> [Self; 2] {
        [Self::Share(Topic::Resource(key.clone())), Self::Content(key)]
    }
}
/// An address in its one spelling, if it is one.
pub(crate) fn canonical(text: &str) -> Option<SocketAddr> {
    text.parse().ok().map(lanes::directory::canonical)
}
