//! One object of any kind, read from and written to JSON values.

use std::fmt;

use lanes::Problem;
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};
use serde_json::{Map, Value};

use super::{Key, Kind, Metadata, Object, Status};
use crate::read;

/// What the file of a kind says of it besides its fields.
pub trait Describe {
    /// Whether data planes get it: then its status says how far it has reached them.
    const IS_DISTRIBUTED: bool;
    /// The heads of [`Describe::cells`].
    const COLUMNS: &'static [&'static str];

    /// What people see of it in a table; of some kinds the control plane alone knows it.
    fn cells(&self, metadata: &Metadata, status: Option<&Status>) -> Vec<String>;

    /// A specification that is not Laneway's to read, whole: it is carried as it is.
    fn carried(written: &Value) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = written;
        None
    }

    /// What is wrong with it whatever else there is. What the compilers of the domain find is not repeated here.
    fn problems(&self, metadata: &Metadata) -> Vec<Problem> {
        let _ = metadata;
        Vec::new()
    }
}

/// A specification, and the kind it makes an object. Implemented by the table of kinds.
pub trait Spec:
    Describe + fmt::Debug + PartialEq + Serialize + DeserializeOwned + utoipa::ToSchema
{
    /// The kind.
    const KIND: Kind;

    /// The object, if it is of this kind.
    fn of(object: &Object) -> Option<&Resource<Self>>;
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

/// What all resources share, whatever their kind.
pub(super) trait AnyResource {
    fn kind(&self) -> Kind;
    fn metadata(&self) -> &Metadata;
    fn metadata_mut(&mut self) -> &mut Metadata;
    fn status(&self) -> Option<&Status>;
    fn set_status(&mut self, status: Option<Status>);
    fn same_spec(&self, other: &Object) -> bool;
    fn cells(&self) -> Vec<String>;
    fn problems(&self) -> Vec<Problem>;
}

impl<S: Spec> AnyResource for Resource<S> {
    fn kind(&self) -> Kind {
        S::KIND
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    fn set_status(&mut self, status: Option<Status>) {
        self.status = status;
    }

    fn same_spec(&self, other: &Object) -> bool {
        S::of(other).is_some_and(|other| other.spec == self.spec)
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.metadata.name.clone()];
        cells.extend(self.spec.cells(&self.metadata, self.status.as_ref()));
        if S::IS_DISTRIBUTED {
            let status = self.status.as_ref();
            cells.push(status.map(Status::ready).unwrap_or_default().to_owned());
            cells.push(status.and_then(Status::reached).unwrap_or_default());
        }
        cells
    }

    fn problems(&self) -> Vec<Problem> {
        self.spec.problems(&self.metadata)
    }
}

/// The heads of the cells of a kind.
pub(super) fn columns<S: Spec>() -> Vec<&'static str> {
    let reach: &[&str] = if S::IS_DISTRIBUTED { &["READY", "LIVE"] } else { &[] };
    ["NAME"].iter().chain(S::COLUMNS).chain(reach).copied().collect()
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
        let kind = take_kind(&mut fields)?;
        Self::of_kind(kind, fields)
    }

    /// The object as a JSON value: apiVersion, kind, metadata, spec, status.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self)
            .unwrap_or_else(|error| unreachable!("resources are plain data: {error}"))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.any().kind()
    }

    /// Its name among all objects.
    pub fn key(&self) -> Key {
        let metadata = self.metadata();
        Key::new(self.kind(), metadata.namespace.clone(), metadata.name.clone())
    }

    /// What it says of itself.
    pub fn metadata(&self) -> &Metadata {
        self.any().metadata()
    }

    /// What it says of itself.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        self.any_mut().metadata_mut()
    }

    /// What the control plane says of it.
    pub fn status(&self) -> Option<&Status> {
        self.any().status()
    }

    /// Says something of it, or nothing.
    pub fn set_status(&mut self, status: Option<Status>) {
        self.any_mut().set_status(status);
    }

    /// Whether both want the same: equal specifications, whatever metadata and status say.
    pub fn same_spec(&self, other: &Self) -> bool {
        self.any().same_spec(other)
    }

    /// What people see of it in a table, below [`Kind::columns`].
    pub fn cells(&self) -> Vec<String> {
        self.any().cells()
    }

    /// What is wrong with it whatever else there is.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.any().problems()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
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

/// Reads the fields of a resource but `apiVersion` and `kind`.
pub(super) fn typed<S: Spec>(fields: Map<String, Value>) -> Result<Resource<S>, Problem> {
    let value = Value::Object(fields);
    if let Some(spec) = value.get("spec").and_then(S::carried) {
        let Resource { metadata, spec: _, status } = read::value::<Resource<Value>>(&value)?;
        return Ok(Resource { metadata, spec, status });
    }
    read::value(&value)
}

/// A value as a person wrote it: strings without quotes, nothing for null.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
