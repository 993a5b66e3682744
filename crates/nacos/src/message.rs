//! What travels: one envelope in protobuf, and JSON in it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, error::shortened, login::About};

/// What a server's code says where all is well.
const SUCCESS: i32 = 200;

/// What it says where we may not, and where our token is over.
pub(crate) const NO_RIGHT: i32 = 403;

/// What it says before it has taken note of a connection.
pub(crate) const UNREGISTERED: i32 = 301;

/// What it says while it starts.
pub(crate) const STARTING: i32 = -401;

/// The envelope of everything.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(crate) body: Option<Body>,
}

/// What is inside, and who asks.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Metadata {
    /// A simple class name of theirs, as `SubscribeServiceRequest`.
    #[prost(string, tag = "3")]
    pub(crate) kind: String,
    /// What shows who asks is among them.
    #[prost(map = "string, string", tag = "7")]
    pub(crate) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(crate) client_ip: String,
}

/// `google.protobuf.Any`, whose type they leave empty.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Body {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

macro_rules! shows_no_contents {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
shows_no_contents!(Payload, Metadata, Body);

impl Payload {
    /// An envelope with this inside, and what shows who asks.
    pub(crate) fn new(
        kind: &str,
        body: &impl Serialize,
        headers: Vec<(&'static str, String)>,
    ) -> Self {
        let metadata = Metadata {
            kind: kind.to_owned(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            client_ip: String::new(),
        };
        // What is ours can be written as JSON.
        let value = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
        Self { metadata: Some(metadata), body: Some(Body { type_url: String::new(), value }) }
    }

    pub(crate) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// What is inside.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let bytes = self.body.as_ref().map_or(&[][..], |body| &body.value);
        serde_json::from_slice(bytes).map_err(|error| Error::NotUnderstood {
            what: self.kind().to_owned(),
            reason: shortened(&error.to_string()),
        })
    }
}

/// What a question of ours is about.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Naming<'a> {
    pub(crate) module: &'static str,
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'a str,
    #[serde(flatten)]
    pub(crate) asks: Asks,
}

impl<'a> Naming<'a> {
    pub(crate) fn about(&self) -> About<'a> {
        About::Service { group: self.group_name, name: self.service_name }
    }
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(crate) enum Asks {
    #[serde(rename_all = "camelCase")]
    List { page_no: u32, page_size: u32 },
    #[serde(rename_all = "camelCase")]
    Subscribe { subscribe: bool, clusters: &'static str },
}

/// How every answer begins.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    #[serde(default = "success")]
    pub(crate) result_code: i32,
    #[serde(default)]
    pub(crate) error_code: i32,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

impl Outcome {
    /// Their code, where it is not well.
    pub(crate) fn fault(&self) -> Option<i32> {
        match (self.result_code, self.error_code) {
            (SUCCESS, _) => None,
            (code, 0) => Some(code),
            (_, code) => Some(code),
        }
    }
}

fn success() -> i32 {
    SUCCESS
}

/// Names of a group's services.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    pub(crate) count: usize,
    pub(crate) service_names: Vec<String>,
}

/// An answer that tells a service; a push has the same field.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    pub(crate) service_info: ServiceInfo,
}

/// Which service a push tells, where nothing else of it can be read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) service_info: Name,
}

/// A service's name as the server writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Name {
    /// Some servers write the group before it.
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) group_name: Option<String>,
}

impl Name {
    /// The group, and the name in it.
    pub(crate) fn parts(&self) -> (&str, &str) {
        let (group, name) = self.name.split_once("@@").unwrap_or(("", &self.name));
        (self.group_name.as_deref().filter(|group| !group.is_empty()).unwrap_or(group), name)
    }
}

/// What a question of the server's begins with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    #[serde(default)]
    pub(crate) request_id: Option<String>,
}

/// A service as the server tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInfo {
    #[serde(flatten)]
    pub(crate) name: Name,
    /// All of its instances, or in words what cannot be read of one. An answer without them is none: nothing of it says
    /// that there are no instances.
    #[serde(deserialize_with = "one_by_one")]
    pub hosts: Vec<Result<Instance, String>>,
    /// When the server looked, in its own milliseconds: what was looked at earlier is older.
    #[serde(default)]
    pub last_ref_time: i64,
}

impl ServiceInfo {
    /// Its group, and its name in it.
    pub fn group_and_name(&self) -> (&str, &str) {
        self.name.parts()
    }
}

/// One that cannot be read hides none of the others.
fn one_by_one<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Result<Instance, String>>, D::Error> {
    let hosts: Vec<Value> = Vec::deserialize(deserializer)?;
    let read = |host: Value| {
        let address = format!("{}:{}", host["ip"], host["port"]);
        let wrong = |error| shortened(&format!("{address}: {error}"));
        serde_json::from_value(host).map_err(|error: serde_json::Error| wrong(error))
    };
    Ok(hosts.into_iter().map(read).collect())
}

/// One registration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// An address; whoever registers may write a host's name as well.
    pub ip: String,
    /// Where it listens.
    pub port: u32,
    /// Its share among its peers.
    #[serde(default = "one")]
    pub weight: f64,
    /// What the server thinks of it.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// Whether an operator lets it take requests.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it says of itself.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_envelope_is_what_servers_read() {
        let asks = Asks::Subscribe { subscribe: true, clusters: "" };
        let naming = Naming {
            module: "naming",
            namespace: "public",
            group_name: "G",
            service_name: "sc-A",
            asks,
        };
        let payload = Payload::new(
            "SubscribeServiceRequest",
            &naming,
            vec![("accessToken", "secret".to_owned())],
        );
        let bytes = payload.encode_to_vec();
        // Field 2, whose field 3 is the class; field 7 the headers.
        assert_eq!(bytes[0], 2 << 3 | 2);
        assert_eq!(bytes[2..4], [3 << 3 | 2, 23]);
        let read = Payload::decode(&bytes[..]).unwrap();
        assert_eq!(read, payload);
        assert_eq!(read.metadata.as_ref().unwrap().headers["accessToken"], "secret");
        let json: serde_json::Value = read.read().unwrap();
        let expected = serde_json::json!({
            "module": "naming", "namespace": "public", "groupName": "G", "serviceName": "sc-A",
            "subscribe": true, "clusters": "",
        });
        assert_eq!(json, expected);
        assert!(!format!("{payload:?}{:?}", payload.metadata).contains("secret"));
    }

    #[test]
    fn a_service_is_read_as_java_writes_it() {
        let text = r#"{"resultCode":200,"errorCode":0,"message":"success","requestId":null,"success":true,
            "serviceInfo":{"name":"sc-A","groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"lastRefTime":1700000000123,
            "checksum":"","allIPs":false,"reachProtectionThreshold":false,"valid":true,"hosts":[{"instanceId":"10.0.0.5#8080##",
            "ip":"10.0.0.5","port":8080,"weight":0.5,"healthy":false,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT",
            "serviceName":"DEFAULT_GROUP@@sc-A","metadata":{"laneway.io/tag":"gray","empty":null},"instanceHeartBeatInterval":5000}]}}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        let info = told.service_info;
        assert_eq!(info.group_and_name(), ("DEFAULT_GROUP", "sc-A"));
        let [Ok(instance)] = &info.hosts[..] else { panic!("{info:?}") };
        assert_eq!((instance.ip.as_str(), instance.port), ("10.0.0.5", 8080));
        assert!(!instance.healthy && instance.enabled);
        assert_eq!(instance.metadata.as_ref().unwrap()["laneway.io/tag"].as_deref(), Some("gray"));
        let grouped = Name { name: "G@@x".to_owned(), group_name: None };
        assert_eq!(grouped.parts(), ("G", "x"));
    }

    #[test]
    fn an_instance_that_cannot_be_read_hides_no_other() {
        let text = r#"{"serviceInfo":{"name":"a","groupName":"G","lastRefTime":7,"hosts":[
            {"ip":"10.0.0.1","port":80,"weight":"NaN"},{"ip":"10.0.0.2","port":80}]}}"#;
        let info = serde_json::from_str::<Told>(text).unwrap().service_info;
        let [Err(wrong), Ok(instance)] = &info.hosts[..] else { panic!("{info:?}") };
        assert!(wrong.starts_with("\"10.0.0.1\":80: ") && wrong.contains("NaN"), "{wrong}");
        assert_eq!((instance.ip.as_str(), info.last_ref_time), ("10.0.0.2", 7));
    }

    #[test]
    fn an_answer_that_tells_no_instances_says_nothing_of_them() {
        for text in [
            r#"{"serviceInfo":{"name":"a"}}"#,
            r#"{"serviceInfo":{"name":"a","hosts":null}}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<Told>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_known_by_either_code() {
        let fault = |text: &str| serde_json::from_str::<Outcome>(text).unwrap().fault();
        assert_eq!(fault(r#"{"resultCode":200}"#), None);
        assert_eq!(fault(r#"{"resultCode":500,"errorCode":403}"#), Some(NO_RIGHT));
        assert_eq!(fault(r#"{"resultCode":403}"#), Some(NO_RIGHT));
        assert_eq!(fault("{}"), None);
    }
}
