//! One object of any kind, read from and written to JSON values.

use lanes::Problem;
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};
use serde_json::{Map, Value};

use super::{
    Backend, BackendSpec, Gateway, GatewaySpec, HttpRoute, HttpRouteSpec, Key, Kind, Lane,
    LaneGroup, LaneGroupSpec, LaneSpec, Metadata, ServiceSource, ServiceSourceSpec, Status,
};
use crate::problem;

/// A specification, and the kind it makes an object.
pub trait Spec: Serialize + DeserializeOwned + utoipa::ToSchema {
    /// The kind.
    const KIND: Kind;
}

/// An object with a specification of one kind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource<S> {
    /// What it says of itself.
    pub metadata: Metadata,
    /// What its owner wants.
    pub spec: S,
    /// What the control plane says of it.
    #[serde(default)]
    pub status: Option<Status>,
}

impl<S: Spec> Resource<S> {
    /// A new object in namespace `default`.
    pub fn new(name: impl Into<String>, spec: S) -> Self {
        Self { metadata: Metadata::named(name), spec, status: None }
    }

    /// Its name among all objects.
    pub fn key(&self) -> Key {
        Key::new(S::KIND, self.metadata.namespace.clone(), self.metadata.name.clone())
    }
}

impl<S: Spec> Serialize for Resource<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut fields =
            serializer.serialize_struct("Resource", 4 + usize::from(self.status.is_some()))?;
        fields.serialize_field("apiVersion", S::KIND.api_version())?;
        fields.serialize_field("kind", S::KIND.name())?;
        fields.serialize_field("metadata", &self.metadata)?;
        fields.serialize_field("spec", &self.spec)?;
        if let Some(status) = &self.status {
            fields.serialize_field("status", status)?;
        }
        fields.end()
    }
}

/// One `match` over every kind, for what all kinds share.
macro_rules! each {
    ($object:expr, $resource:ident => $result:expr) => {
        match $object {
            Object::ServiceSource($resource) => $result,
            Object::Backend($resource) => $result,
            Object::Gateway($resource) => $result,
            Object::HttpRoute($resource) => $result,
            Object::LaneGroup($resource) => $result,
            Object::Lane($resource) => $result,
        }
    };
}

/// One object of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// Where instances come from.
    ServiceSource(ServiceSource),
    /// A service for use in routes.
    Backend(Backend),
    /// Listeners.
    Gateway(Gateway),
    /// Routes.
    HttpRoute(HttpRoute),
    /// A group of lanes.
    LaneGroup(LaneGroup),
    /// A lane.
    Lane(Lane),
}

impl Object {
    /// Reads an object. What is wrong is named by its path in the object.
    pub fn from_value(value: Value) -> Result<Self, Problem> {
        let Value::Object(mut fields) = value else {
            return Err(Problem::new(
                "",
                shown(&value),
                "write an object with apiVersion, kind, metadata, spec",
            ));
        };
        Ok(match take_kind(&mut fields)? {
            Kind::ServiceSource => Self::ServiceSource(typed(fields)?),
            Kind::Backend => Self::Backend(typed(fields)?),
            Kind::Gateway => Self::Gateway(typed(fields)?),
            Kind::HttpRoute => Self::HttpRoute(typed(fields)?),
            Kind::LaneGroup => Self::LaneGroup(typed(fields)?),
            Kind::Lane => Self::Lane(typed(fields)?),
        })
    }

    /// The object as a JSON value: apiVersion, kind, metadata, spec, status.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self)
            .unwrap_or_else(|error| unreachable!("resources are plain data: {error}"))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.key_parts().0
    }

    /// Its name among all objects.
    pub fn key(&self) -> Key {
        let (kind, metadata) = self.key_parts();
        Key::new(kind, metadata.namespace.clone(), metadata.name.clone())
    }

    fn key_parts(&self) -> (Kind, &Metadata) {
        fn parts<S: Spec>(resource: &Resource<S>) -> (Kind, &Metadata) {
            (S::KIND, &resource.metadata)
        }
        each!(self, resource => parts(resource))
    }

    /// What it says of itself.
    pub fn metadata(&self) -> &Metadata {
        each!(self, resource => &resource.metadata)
    }

    /// What it says of itself.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        each!(self, resource => &mut resource.metadata)
    }

    /// What the control plane says of it.
    pub fn status(&self) -> Option<&Status> {
        each!(self, resource => resource.status.as_ref())
    }

    /// Says something of it, or nothing.
    pub fn set_status(&mut self, status: Option<Status>) {
        each!(self, resource => resource.status = status);
    }

    /// Whether both want the same: equal specifications, whatever metadata and status say.
    pub fn same_spec(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ServiceSource(one), Self::ServiceSource(other)) => one.spec == other.spec,
            (Self::Backend(one), Self::Backend(other)) => one.spec == other.spec,
            (Self::Gateway(one), Self::Gateway(other)) => one.spec == other.spec,
            (Self::HttpRoute(one), Self::HttpRoute(other)) => one.spec == other.spec,
            (Self::LaneGroup(one), Self::LaneGroup(other)) => one.spec == other.spec,
            (Self::Lane(one), Self::Lane(other)) => one.spec == other.spec,
            _ => false,
        }
    }
}

impl Serialize for Object {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        each!(self, resource => resource.serialize(serializer))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

macro_rules! kinds {
    ($($spec:ty, $variant:ident, $resource:ty;)*) => {$(
        impl Spec for $spec {
            const KIND: Kind = Kind::$variant;
        }

        impl From<$resource> for Object {
            fn from(resource: $resource) -> Self {
                Self::$variant(resource)
            }
        }
    )*};
}

kinds! {
    ServiceSourceSpec, ServiceSource, ServiceSource;
    BackendSpec, Backend, Backend;
    GatewaySpec, Gateway, Gateway;
    HttpRouteSpec, HttpRoute, HttpRoute;
    LaneGroupSpec, LaneGroup, LaneGroup;
    LaneSpec, Lane, Lane;
}

/// Takes `apiVersion` and `kind` out of an object's fields.
fn take_kind(fields: &mut Map<String, Value>) -> Result<Kind, Problem> {
    let api_version = fields.remove("apiVersion").unwrap_or_default();
    let kind = fields.remove("kind").unwrap_or_default();
    let Some(known) = kind.as_str().and_then(Kind::from_name) else {
        let names = Kind::ALL.map(Kind::name).join(", ");
        return Err(Problem::new("kind", shown(&kind), format!("use one of {names}")));
    };
    if api_version.as_str() != Some(known.api_version()) {
        let remedy = format!("write `apiVersion: {}` for kind {known}", known.api_version());
        return Err(Problem::new("apiVersion", shown(&api_version), remedy));
    }
    Ok(known)
}

fn typed<S: Spec>(fields: Map<String, Value>) -> Result<Resource<S>, Problem> {
    let value = Value::Object(fields);
    serde_path_to_error::deserialize(&value).map_err(|error| problem::from_serde(&error, &value))
}

/// A value as a person wrote it: strings without quotes, nothing for null.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
