//! Who changed what: the entries of the audit.
//!
//! An entry is written in the commit of its change: there is no change without one. It is never changed itself: an undo is
//! a change of its own.

use std::time::SystemTime;

use api::{
    resource::Key,
    rest::{Action, AuditEntry, Author, AuthorKind, FieldChange},
    time::rfc3339,
};

use crate::{
    manifest,
    objects::ObjectChange,
    store::{Change, StoredObject},
};

/// Bytes of an object that an entry keeps: larger ones are told field by field, and their change cannot be undone.
pub(crate) const OBJECT_BYTES_MAX: usize = 64 * 1024;

/// Fields that an entry tells: of more the first are told.
const CHANGES_MAX: usize = 100;

/// Who writes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorship {
    /// Who.
    pub author: Author,
    /// Why, in words; empty when nothing was said.
    pub note: String,
    /// The entry of the audit that this undoes.
    pub undoes: Option<u64>,
}

impl Authorship {
    /// Somebody, who says nothing.
    pub fn of(kind: AuthorKind, name: impl Into<String>) -> Self {
        Self { author: Author { kind, name: name.into() }, note: String::new(), undoes: None }
    }

    /// An entry that tells of this.
    fn entry(&self, about: String, action: Action, now: SystemTime) -> AuditEntry {
        AuditEntry {
            number: 0,
            time: rfc3339(now),
            author: self.author.clone(),
            action,
            object: None,
            about,
            changes: Vec::new(),
            note: self.note.clone(),
            undoes: self.undoes,
            before: None,
            after: None,
        }
    }
}

/// The control plane itself.
impl Default for Authorship {
    fn default() -> Self {
        Self::of(AuthorKind::Controller, "control plane")
    }
}

/// An entry for a change of an object.
pub(crate) fn of_object(change: &ObjectChange, by: &Authorship, now: SystemTime) -> Change {
    let (action, changes) = match (&change.old, &change.new) {
        (None, _) => (Action::Created, Vec::new()),
        (_, None) => (Action::Deleted, Vec::new()),
        (Some(old), Some(new)) => {
            (Action::Configured, manifest::changes(&old.object, &new.object, None))
        }
    };
    let kept = |stored: &Option<std::sync::Arc<StoredObject>>| {
        let value = stored.as_ref()?.object.to_value();
        (value.to_string().len() <= OBJECT_BYTES_MAX).then_some(value)
    };
    let mut entry = by.entry(change.key.to_string(), action, now);
    entry.object = Some(change.key.clone());
    (entry.before, entry.after) = (kept(&change.old), kept(&change.new));
    entry.changes = changes;
    entry.changes.truncate(CHANGES_MAX);
    Change::Audit(Box::new(entry))
}

/// An entry for what is no change of an object, and cannot be undone: of who may do what, or `about` an object, or of
/// nothing that is one.
pub(crate) fn of_action(
    object: Option<Key>,
    about: String,
    action: Action,
    changes: Vec<FieldChange>,
    by: &Authorship,
    now: SystemTime,
) -> Change {
    Change::Audit(Box::new(told(object, about, action, changes, by, now)))
}

/// An entry of a user who signs in or out; of none: of whoever was not let in.
pub(crate) fn of_sign_in(
    user: Option<&str>,
    about: String,
    action: Action,
    changes: Vec<FieldChange>,
    by: &Authorship,
    now: SystemTime,
) -> Change {
    let entry = Box::new(told(None, about, action, changes, by, now));
    Change::AuditSignIn { entry, user: user.map(str::to_owned) }
}

fn told(
    object: Option<Key>,
    about: String,
    action: Action,
    changes: Vec<FieldChange>,
    by: &Authorship,
    now: SystemTime,
) -> AuditEntry {
    let mut entry = by.entry(about, action, now);
    (entry.object, entry.changes) = (object, changes);
    entry
}

/// A field that was `before`, and is `after`.
pub(crate) fn changed(
    field: &str,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
) -> FieldChange {
    FieldChange { field: field.to_owned(), before, after, taken_back: false }
}
