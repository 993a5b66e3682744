//! `ServiceSource` and `Backend`, as written.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use lanes::{Problem, Tag, service::Protocol};
use serde::{Deserialize, Serialize};

use super::{Describe, Metadata, Status};

mod nacos;

pub use nacos::{
    NacosIdentity, NacosLogin, NacosSecret, NacosServers, NacosTls, TagCovers, host_and_port,
};

/// It exists without an object.
pub use lanes::EMBEDDED_SOURCE;

/// Addresses of one instance beside the first: both families of a few networks, and a bound for the table of all.
const FURTHER_ADDRESSES_MAX: usize = 15;

/// Exactly one of its fields. The embedded registry is the source named `embedded` and needs no object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSourceSpec {
    /// Instances listed here.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticServices>,
    /// A Nacos server, or a cluster of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nacos: Option<NacosServers>,
    /// A Kubernetes cluster. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub kubernetes: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Services with their instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticServices {
    /// The services.
    #[serde(default)]
    pub services: Vec<StaticService>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticService {
    /// The name callers use.
    pub name: String,
    /// The application behind it; the service's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// What is spoken at its instances' ports: `http` (each request is read, and stays in its lane), or `tcp` (anything:
    /// captured connections pass unread, and base reaches no tagged instance). Another port of the same application is
    /// another service.
    #[serde(default = "http", skip_serializing_if = "is_http")]
    #[schema(required = false, default = "http")]
    pub protocol: String,
    /// Its instances.
    #[serde(default)]
    #[schema(required = false)]
    pub instances: Vec<StaticInstance>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticInstance {
    /// `IP:PORT`.
    pub address: String,
    /// Where else the same instance answers, e.g. in the other address family; each `IP:PORT`. It is known by `address`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub addresses: Vec<String>,
    /// Its tag; base when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Share of requests among its peers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schema(required = false, default = 1)]
    pub weight: u32,
}

/// HTTP/1.1, as [`BackendSpec::protocol`] spells it.
const HTTP: &str = "http";

/// HTTP/2 in the clear, as Services of Kubernetes spell it (`appProtocol: kubernetes.io/h2c`) without its prefix.
const H2C: &str = "h2c";

/// HTTP/1.1 in TLS, as Services of Kubernetes spell it.
const HTTPS: &str = "https";

/// HTTP/2 in TLS, as it is called where both agree on it (ALPN).
const H2: &str = "h2";

/// A service taken from a source for use in routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendSpec {
    /// A ServiceSource's name, or `embedded`.
    pub source: String,
    /// The source's own namespace; `default` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The source's own group, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The service's name; case does not matter.
    pub service: String,
    /// What it speaks: `http` (HTTP/1.1), `h2c` (HTTP/2 in the clear by prior knowledge, gRPC), or in TLS, as a
    /// BackendTLSPolicy says whom to believe, `https` (HTTP/1.1) or `h2` (HTTP/2, gRPC).
    #[serde(default = "http", skip_serializing_if = "is_http")]
    #[schema(required = false, default = "http")]
    pub protocol: String,
}

impl ServiceSourceSpec {
    /// Which of its fields it has.
    pub fn sort(&self) -> &'static str {
        if self.fixed.is_some() {
            "static"
        } else if self.nacos.is_some() {
            "nacos"
        } else {
            "kubernetes"
        }
    }
}

impl Describe for ServiceSourceSpec {
    const IS_DISTRIBUTED: bool = false;
    const COLUMNS: &'static [&'static str] = &["FROM", "SERVICES", "INSTANCES"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let from = self.sort();
        // How many others have, `laneway status` tells: it changes all the time.
        let Some(fixed) = &self.fixed else {
            return vec![from.to_owned(), String::new(), String::new()];
        };
        let instances: usize = fixed.services.iter().map(|service| service.instances.len()).sum();
        vec![from.to_owned(), fixed.services.len().to_string(), instances.to_string()]
    }

    fn problems(&self, metadata: &Metadata) -> Vec<Problem> {
        let mut problems = Vec::new();
        if metadata.name == EMBEDDED_SOURCE {
            let remedy = "use another name: `embedded` is the registry that instances register with themselves";
            problems.push(Problem::new("metadata.name", EMBEDDED_SOURCE, remedy));
        }
        if self.kubernetes.is_some() {
            let remedy = "remove it: this source is not supported by this version; use static, nacos, or the source `embedded`";
            problems.push(Problem::new("spec.kubernetes", "", remedy));
        }
        match (&self.fixed, &self.nacos) {
            (Some(_), Some(_)) => {
                let remedy = "write one of static and nacos: a source is one of them";
                problems.push(Problem::new("spec", "static, nacos", remedy));
            }
            (Some(fixed), None) => problems.extend(fixed.problems()),
            (None, Some(nacos)) => {
                let found = nacos.problems().into_iter();
                problems.extend(found.map(|problem| problem.under("spec.nacos")));
            }
            (None, None) if problems.is_empty() => {
                let remedy = "write static: {services: […]}, or nacos: {addresses: […]}";
                problems.push(Problem::new("spec", "", remedy));
            }
            (None, None) => {}
        }
        problems
    }
}

impl StaticServices {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut names: HashMap<String, usize> = HashMap::new();
        for (index, service) in self.services.iter().enumerate() {
            let at = format!("spec.static.services[{index}]");
            if service.name.is_empty() || service.name.contains('/') {
                let remedy = "use a name without `/`";
                problems.push(Problem::new(format!("{at}.name"), &service.name, remedy));
            }
            if let Some(first) = names.insert(service.name.to_lowercase(), index) {
                let remedy =
                    format!("use another name: services[{first}] has it (case does not matter)");
                problems.push(Problem::new(format!("{at}.name"), &service.name, remedy));
            }
            problems.extend(service.problems().into_iter().map(|problem| problem.under(&at)));
        }
        problems
    }
}

impl StaticService {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if Protocol::parse(&self.protocol).is_none() {
            const REMEDY: &str = "use http (HTTP/1.1, and HTTP/2 in the clear) or tcp (anything: passes unread). What gateways \
                 speak with it, TLS among that, is said by a Backend";
            problems.push(Problem::new("protocol", &self.protocol, REMEDY));
        }
        for (index, instance) in self.instances.iter().enumerate() {
            let at = format!("instances[{index}]");
            for (place, (field, address)) in instance.places().enumerate() {
                let mut tell = |remedy: &str| {
                    problems.push(Problem::new(format!("{at}.{field}"), address, remedy));
                };
                if let Some(remedy) = why_no_instance(address) {
                    tell(remedy);
                }
                let mut earlier = (self.instances[..index].iter().flat_map(StaticInstance::places))
                    .chain(instance.places().take(place));
                if earlier.any(|(_, earlier)| is_same(earlier, address)) {
                    tell("list each address once");
                }
            }
            if instance.addresses.len() > FURTHER_ADDRESSES_MAX {
                let count = format!("{} addresses", instance.addresses.len());
                let remedy = format!("list at most {FURTHER_ADDRESSES_MAX} beside `address`");
                problems.push(Problem::new(format!("{at}.addresses"), count, remedy));
            }
            if let Some(Err(problem)) = instance.tag.as_deref().map(Tag::parse) {
                problems.push(problem.under(&format!("{at}.tag")));
            }
        }
        problems
    }
}

impl StaticInstance {
    /// Its addresses with the fields they are written in, `address` first.
    pub fn places(&self) -> impl Iterator<Item = (String, &str)> {
        let further = self.addresses.iter().enumerate();
        let further = further.map(|(index, it)| (format!("addresses[{index}]"), it.as_str()));
        std::iter::once(("address".to_owned(), self.address.as_str())).chain(further)
    }
}

/// Why nobody can be called at an address; none where somebody can.
fn why_no_instance(address: &str) -> Option<&'static str> {
    let Ok(address) = address.parse::<SocketAddr>() else {
        return Some("use IP:PORT, e.g. 10.0.0.5:8080 or [2001:db8::5]:8080");
    };
    let ip = address.ip().to_canonical();
    let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.port() == 0 {
        Some("write the port that the instance listens at, 1 to 65535")
    } else if ip.is_unspecified() {
        Some("write the address that callers use: this one means every address of a machine")
    } else if ip.is_multicast() || is_broadcast {
        Some("write the address of one instance: this one is of many")
    } else {
        None
    }
}

/// Whether two spellings are one address: IPv4 may be written within IPv6.
fn is_same(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        let address = text.parse::<SocketAddr>().ok()?;
        Some((address.ip().to_canonical(), address.port()))
    };
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

impl BackendSpec {
    /// Whether its instances speak HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        matches!(self.protocol.as_str(), H2C | H2)
    }

    /// Whether its instances speak TLS.
    pub fn speaks_tls(&self) -> bool {
        matches!(self.protocol.as_str(), HTTPS | H2)
    }
}

/// What would be right for a protocol that cannot be used.
fn protocol_instead_of(written: &str) -> String {
    const ALL: &str = "http (HTTP/1.1), h2c (HTTP/2 in the clear, gRPC), https (HTTP/1.1 in TLS) or h2 (HTTP/2 in TLS, gRPC)";
    let meant = match written.to_ascii_lowercase().as_str() {
        "kubernetes.io/h2c" | H2C => H2C,
        "kubernetes.io/ws" | "ws" | "http/1.1" | HTTP => HTTP,
        "kubernetes.io/wss" | "wss" | HTTPS => HTTPS,
        "grpc" | "http2" | "http/2" => {
            return format!("use h2c in the clear, h2 in TLS; there are {ALL}");
        }
        "grpcs" | H2 => H2,
        _ => return format!("use {ALL}: other protocols are not supported by this version"),
    };
    format!("write {meant}; there are {ALL}")
}

impl Describe for BackendSpec {
    const IS_DISTRIBUTED: bool = false;
    const COLUMNS: &'static [&'static str] = &["SOURCE", "SERVICE", "PROTOCOL"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        vec![self.source.clone(), self.service.clone(), self.protocol.clone()]
    }

    fn problems(&self, _: &Metadata) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !matches!(self.protocol.as_str(), HTTP | H2C | HTTPS | H2) {
            let remedy = protocol_instead_of(&self.protocol);
            problems.push(Problem::new("spec.protocol", &self.protocol, remedy));
        }
        if self.service.is_empty() || self.service.contains('/') {
            let remedy = "use a service's name, without `/`";
            problems.push(Problem::new("spec.service", &self.service, remedy));
        }
        problems
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

fn http() -> String {
    HTTP.to_owned()
}

fn is_http(protocol: &str) -> bool {
    protocol == HTTP
}
