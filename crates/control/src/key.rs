//! Names of what is distributed, what a data plane asks for, and what its share depends on: what the picture and
//! distribution say to each other.

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc};

use api::{
    convert::{key, wire},
    discovery::v1,
};
use lanes::ServiceId;

/// One distributed resource, as [`key`] spells it on the wire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A lane group with its lanes.
    Group(Arc<str>),
    /// A service with its endpoints.
    Service(ServiceId),
    /// A gateway's listeners.
    Gateway(Arc<str>),
    /// A route: `namespace/name`.
    Route(Arc<str>),
    /// What a host name means.
    Name(Arc<str>),
    /// What an address means.
    Address(SocketAddr),
}

impl Key {
    /// What a data plane says it holds. `None` for keys of a release that knows more.
    pub fn of(held: &v1::Held) -> Option<Self> {
        let (kind, rest) = held.key.split_once('/')?;
        Some(match kind {
            "group" => Self::Group(rest.into()),
            "service" => Self::Service(wire::service_id_from(held.service.clone()?)),
            "gateway" => Self::Gateway(rest.into()),
            "route" => Self::Route(rest.into()),
            "name" => Self::Name(rest.into()),
            "address" => Self::Address(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Service(id) => f.write_str(&key::service(id)),
            Self::Gateway(name) => write!(f, "gateway/{name}"),
            Self::Route(name) => write!(f, "route/{name}"),
            Self::Name(host) => write!(f, "name/{host}"),
            Self::Address(address) => write!(f, "address/{address}"),
        }
    }
}

/// What a data plane's share of the picture depends on, beside the resources in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// This resource: its content, or what it refers to.
    Resource(Key),
    /// Which groups have this application as a member or an entrance.
    Application(Arc<str>),
    /// Which groups have this gateway as an entrance.
    Entrance(Arc<str>),
    /// Which routes attach to this gateway.
    Attached(Arc<str>),
}

/// What decides a data plane's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Gateway, sidecar or agent.
    pub role: v1::Role,
    /// The Gateway's name, or the application.
    pub name: Arc<str>,
    /// Host names it wants to know the meaning of, lower-case.
    pub names: BTreeSet<Arc<str>>,
    /// Addresses it wants to know the meaning of.
    pub addresses: BTreeSet<SocketAddr>,
}

/// One consequence of a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Touch {
    /// The resource reads differently; who has it gets it again.
    Content(Key),
    /// Who depends on this may need other resources than before.
    Share(Topic),
}

impl Touch {
    /// Both: the resource reads differently and refers to other resources.
    pub fn both(key: Key) -> [Self; 2] {
        [Self::Share(Topic::Resource(key.clone())), Self::Content(key)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        let held = |text: &str| v1::Held { key: text.to_owned(), version: 1, service: None };
        for text in [
            "group/trade",
            "gateway/edge",
            "route/default/a",
            "name/sc-b.default",
            "address/127.0.0.1:80",
            "address/[::1]:80",
        ] {
            assert_eq!(Key::of(&held(text)).map(|key| key.to_string()).as_deref(), Some(text));
        }
        for text in ["", "group", "policy/x", "address/here", "service/embedded/default//sc-a"] {
            assert_eq!(Key::of(&held(text)), None, "{text}");
        }
        let id = ServiceId::new("nacos", "public", "a/b", "com/Foo");
        let service = Some(wire::service_id_to(&id));
        let key = Key::of(&v1::Held { service, ..held("service/nacos/public/a%2Fb/com%2Ffoo") });
        assert_eq!(key, Some(Key::Service(id)));
    }
}
