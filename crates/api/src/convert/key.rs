//! Keys and content versions of discovery resources. The one place that knows how a key is spelt on the wire.

use std::{fmt, net::SocketAddr, sync::Arc};

use lanes::{ServiceId, hash::hash};
use prost::Message;

use super::wire;
use crate::discovery::v1::{self, resource::Body};

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKey {
    /// A lane group with its lanes.
    Group(Arc<str>),
    /// A service with its endpoints.
    Service(ServiceId),
    /// A gateway's listeners.
    Gateway(Arc<str>),
    /// A route, by what it is known by among all routes: see [`routes::RouteKind::key`].
    Route(Arc<str>),
    /// What a host name means, lower-case.
    Name(Arc<str>),
    /// What an address means.
    Address(SocketAddr),
    /// A certificate: `namespace/name`.
    Certificate(Arc<str>),
}

impl ResourceKey {
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
            "certificate" => Self::Certificate(rest.into()),
            _ => return None,
        })
    }
}

/// As on the wire.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Service(id) => write!(f, "service/{id}"),
            Self::Gateway(name) => write!(f, "gateway/{name}"),
            Self::Route(name) => write!(f, "route/{name}"),
            Self::Name(host) => write!(f, "name/{host}"),
            Self::Address(address) => write!(f, "address/{address}"),
            Self::Certificate(name) => write!(f, "certificate/{name}"),
        }
    }
}

/// A resource with its version. The version is a hash of key and content: equal contents have equal versions in
/// every process and after every restart. It is never 0.
pub fn resource(key: &ResourceKey, body: Body) -> v1::Resource {
    let mut resource = v1::Resource { key: key.to_string(), version: 0, body: Some(body) };
    resource.version = hash(&resource.encode_to_vec()).max(1);
    resource
}

#[cfg(test)]
mod tests {
    use lanes::directory::NameAnswer;

    use super::*;

    #[test]
    fn a_version_tells_contents_apart_and_never_changes() {
        let answer = |source: &str| {
            let id = ServiceId::new(source, "default", "", "sc-b");
            let body = Body::Name(wire::name_to("sc-b", &NameAnswer::Service(id)));
            resource(&ResourceKey::Name("sc-b".into()), body)
        };
        let one = answer("embedded");
        assert_eq!(one.key, "name/sc-b");
        assert_eq!(one.version, answer("embedded").version);
        assert_ne!(one.version, answer("fixed").version);
        // Data planes keep versions on disk: a change of this number makes every one of them fetch everything.
        assert_eq!(one.version, 8_576_877_670_021_649_970);
    }

    #[test]
    fn keys_read_back_as_written() {
        let held = |text: &str| v1::Held { key: text.to_owned(), version: 1, service: None };
        for text in [
            "group/trade",
            "gateway/edge",
            "route/default/a",
            "route/grpcroute/default/a",
            "name/sc-b.default",
            "address/127.0.0.1:80",
            "address/[::1]:80",
            "certificate/default/shop",
        ] {
            assert_eq!(
                ResourceKey::of(&held(text)).map(|key| key.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in ["", "group", "policy/x", "address/here", "service/embedded/default//sc-a"] {
            assert_eq!(ResourceKey::of(&held(text)), None, "{text}");
        }
        let id = ServiceId::new("nacos", "public", "a/b", "com/Foo");
        let service = Some(wire::service_id_to(&id));
        let key =
            ResourceKey::of(&v1::Held { service, ..held("service/nacos/public/a%2Fb/com%2Ffoo") });
        assert_eq!(key, Some(ResourceKey::Service(id)));
    }
}
