//! Keys and content versions of discovery resources.

use std::net::SocketAddr;

use lanes::{GroupName, ServiceId, hash::hash};
use prost::Message;

use super::wire;
use crate::discovery::v1::{self, resource::Body};

/// The key of a group.
pub fn group(name: &GroupName) -> String {
    format!("group/{name}")
}

/// The key of a service.
pub fn service(id: &ServiceId) -> String {
    format!("service/{id}")
}

/// The key of a gateway.
pub fn gateway(name: &str) -> String {
    format!("gateway/{name}")
}

/// The key of a route.
pub fn route(namespace: &str, name: &str) -> String {
    format!("route/{namespace}/{name}")
}

/// The key of what a host name means.
pub fn name(host: &str) -> String {
    format!("name/{}", host.to_lowercase())
}

/// The key of what an address means.
pub fn address(address: SocketAddr) -> String {
    format!("address/{address}")
}

/// The key of a message.
pub fn of(body: &Body) -> String {
    match body {
        Body::Group(group) => format!("group/{}", group.name),
        Body::Service(service) => {
            self::service(&wire::service_id_from(service.id.clone().unwrap_or_default()))
        }
        Body::Gateway(gateway) => self::gateway(&gateway.name),
        Body::Route(route) => self::route(&route.namespace, &route.name),
        Body::Name(answer) => name(&answer.name),
        Body::Address(answer) => format!("address/{}", answer.address),
    }
}

/// A resource with its key and version. The version is a hash of key and content: equal contents have equal
/// versions in every process and after every restart. It is never 0.
pub fn resource(body: Body) -> v1::Resource {
    let mut resource = v1::Resource { key: of(&body), version: 0, body: Some(body) };
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
            resource(Body::Name(wire::name_to("sc-b", &NameAnswer::Service(id))))
        };
        let one = answer("embedded");
        assert_eq!(one.key, "name/sc-b");
        assert_eq!(one.version, answer("embedded").version);
        assert_ne!(one.version, answer("fixed").version);
        // Data planes keep versions on disk: a change of this number makes every one of them fetch everything.
        assert_eq!(one.version, 8_576_877_670_021_649_970);
    }
}
