//! Who changed what: the audit, as the REST API tells it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Action, Author, FieldChange};
use crate::resource::Key;

/// One change: of an object, or of who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its place; later ones are higher.
    #[serde(default)]
    pub number: u64,
    /// When.
    pub time: String,
    /// Who.
    pub author: Author,
    /// What was done.
    pub action: Action,
    /// To which object; none where it was to a user or a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Key>,
    /// To what, in words: `Lane shop/trade-gray`, `user alice`.
    pub about: String,
    /// From what to what, field by field, of an object that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub changes: Vec<FieldChange>,
    /// What was said of why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub note: String,
    /// The entry that this one undid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The object before; told of one entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The object after; told of one entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A change to be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoRequest {
    /// Say what would happen, and do nothing.
    #[serde(default)]
    #[schema(required = false)]
    pub dry_run: bool,
}
