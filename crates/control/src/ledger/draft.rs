//! One transaction, evaluated on the working objects and undone if it may not be.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use api::{
    resource::{CreationOrder, Gateway, Key, Metadata, Object, Set},
    rest::{Action, Applied},
    validate::{self, Finding, Severity, Validator},
};
use serde_json::Value;

use super::{Done, Edit, Precondition, Rejection, Transaction, removals, timestamp};
use crate::{
    objects::{ObjectChange, provide_default_gateway},
    store::{Contents, Revision, StoredObject},
};

/// The objects as they will be when everything so far is durable.
#[derive(Debug)]
pub(super) struct Working {
    stored: BTreeMap<Key, Arc<StoredObject>>,
    /// The same for validation, with the default gateway while there is no other.
    set: Set,
    default_gateway: Gateway,
    revision: Revision,
    created: CreationOrder,
    /// What is wrong or doubtful with them, errors first. Errors that are there already, e.g. since an upgrade,
    /// must not stand in the way of other writes.
    findings: Arc<Vec<Finding>>,
    validator: Validator,
}

/// A state of [`Working`] beside its objects.
#[derive(Debug)]
pub(super) struct Mark {
    revision: Revision,
    created: CreationOrder,
    findings: Arc<Vec<Finding>>,
}

/// A transaction that passed.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) done: Done,
    pub(super) changes: Vec<ObjectChange>,
}

impl Working {
    pub(super) fn new(contents: &Contents, default_gateway: Gateway) -> Self {
        let stored = (contents.objects.iter())
            .map(|stored| (stored.object.key(), Arc::new(stored.clone())))
            .collect();
        let mut set = Set::default();
        for stored in &contents.objects {
            set.put(stored.object.clone(), stored.created);
        }
        provide_default_gateway(&mut set, &default_gateway);
        let mut validator = Validator::default();
        let findings = Arc::new(validator.validate(&set));
        Self {
            validator,
            stored,
            set,
            default_gateway,
            revision: contents.revision,
            created: contents.created,
            findings,
        }
    }

    /// What is wrong or doubtful with the objects.
    pub(super) fn findings(&self) -> &Arc<Vec<Finding>> {
        &self.findings
    }

    /// Evaluates a transaction. Its changes stay in the working objects only if it passes and is no dry run.
    pub(super) fn evaluate(
        &mut self,
        transaction: Transaction,
        now: SystemTime,
        check: &mut super::Check,
    ) -> Result<Passed, Rejection> {
        let mark = self.mark();
        let mut changes = Vec::new();
        let evaluated = self
            .edit_all(transaction.edits, now, &mut changes)
            .and_then(|applied| self.validate(&changes, check).map(|warnings| (applied, warnings)));
        if evaluated.is_err() || transaction.dry_run {
            self.undo(&changes, mark);
        }
        let ((applied, objects), warnings) = evaluated?;
        let done = Done { revision: self.revision, applied, objects, warnings };
        let changes = if transaction.dry_run { Vec::new() } else { changes };
        Ok(Passed { done, changes })
    }

    /// Where the working objects stand, to come back to.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            revision: self.revision,
            created: self.created,
            findings: Arc::clone(&self.findings),
        }
    }

    /// Takes back the changes since `mark`, the latest first.
    pub(super) fn undo(&mut self, changes: &[ObjectChange], mark: Mark) {
        for change in changes.iter().rev() {
            self.set_object(&change.key, change.old.clone());
        }
        provide_default_gateway(&mut self.set, &self.default_gateway);
        self.revision = mark.revision;
        self.created = mark.created;
        self.findings = mark.findings;
    }

    fn edit_all(
        &mut self,
        edits: Vec<Edit>,
        now: SystemTime,
        changes: &mut Vec<ObjectChange>,
    ) -> Result<(Vec<Applied>, Vec<Arc<StoredObject>>), Rejection> {
        let (mut applied, mut objects) = (Vec::new(), Vec::new());
        for edit in edits {
            let edited = match edit {
                Edit::Put { object, precondition } => {
                    Some(self.put(*object, &precondition, now, changes)?)
                }
                Edit::Patch { key, patch } => Some(self.patch(&key, &patch, now, changes)?),
                Edit::Delete { key, revision, precondition } => {
                    let is_gone = !self.stored.contains_key(&key);
                    if !(is_gone && precondition != Precondition::Present) {
                        self.delete(key, revision.as_deref(), changes)?;
                    }
                    None
                }
            };
            if let Some((action, stored)) = edited {
                applied.push(Applied { object: stored.object.key(), action });
                objects.push(stored);
            }
        }
        Ok((applied, objects))
    }

    fn put(
        &mut self,
        mut object: Object,
        precondition: &Precondition,
        now: SystemTime,
        changes: &mut Vec<ObjectChange>,
    ) -> Result<(Action, Arc<StoredObject>), Rejection> {
        let key = object.key();
        let old = self.stored.get(&key).cloned();
        match (precondition, &old) {
            (Precondition::Absent, Some(_)) => return Err(Rejection::Exists(key)),
            (Precondition::Present, None) => return Err(Rejection::NotFound(key)),
            _ => {}
        }
        let given = object.metadata().resource_version.clone();
        expect_revision(&key, given.as_deref(), old.as_deref())?;
        object.set_status(None);
        if let Some(old) = &old
            && old.object.same_spec(&object)
            && same_notes(old.object.metadata(), object.metadata())
        {
            return Ok((Action::Unchanged, Arc::clone(old)));
        }
        self.revision = self.revision.next();
        if old.is_none() {
            self.created = self.created.next();
        }
        let created = old.as_ref().map_or(self.created, |old| old.created);
        let same_spec = old.as_ref().is_some_and(|old| old.object.same_spec(&object));
        let before = old.as_ref().map(|old| old.object.metadata());
        let metadata = object.metadata_mut();
        metadata.resource_version = Some(self.revision.to_string());
        metadata.generation = before.map_or(0, |before| before.generation) + u64::from(!same_spec);
        metadata.uid = before
            .and_then(|before| before.uid.clone())
            .or_else(|| Some(uuid::Uuid::new_v4().to_string()));
        metadata.creation_timestamp = before
            .and_then(|before| before.creation_timestamp.clone())
            .or_else(|| Some(timestamp::rfc3339(now)));
        let stored = Arc::new(StoredObject { object, revision: self.revision, created });
        let action = if old.is_some() { Action::Configured } else { Action::Created };
        self.change(key, old, Some(Arc::clone(&stored)), changes);
        Ok((action, stored))
    }

    fn patch(
        &mut self,
        key: &Key,
        patch: &Value,
        now: SystemTime,
        changes: &mut Vec<ObjectChange>,
    ) -> Result<(Action, Arc<StoredObject>), Rejection> {
        let old = self.stored.get(key).ok_or_else(|| Rejection::NotFound(key.clone()))?;
        let mut value = old.object.to_value();
        let given = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        expect_revision(key, given, Some(old))?;
        merge(&mut value, patch);
        let object = Object::from_value(value).map_err(|problem| {
            let object = key.clone();
            Rejection::Invalid(vec![Finding { object, problem, severity: Severity::Error }])
        })?;
        if object.key() != *key {
            let remedy = format!("leave it out: this is {key}, and names do not change");
            let problem = lanes::Problem::new("metadata", object.key().to_string(), remedy);
            let object = key.clone();
            return Err(Rejection::Invalid(vec![Finding {
                object,
                problem,
                severity: Severity::Error,
            }]));
        }
        self.put(object, &Precondition::Present, now, changes)
    }

    fn delete(
        &mut self,
        key: Key,
        revision: Option<&str>,
        changes: &mut Vec<ObjectChange>,
    ) -> Result<(), Rejection> {
        let Some(old) = self.stored.get(&key).cloned() else {
            return Err(Rejection::NotFound(key));
        };
        expect_revision(&key, revision, Some(&old))?;
        self.revision = self.revision.next();
        self.change(key, Some(old), None, changes);
        Ok(())
    }

    fn change(
        &mut self,
        key: Key,
        old: Option<Arc<StoredObject>>,
        new: Option<Arc<StoredObject>>,
        changes: &mut Vec<ObjectChange>,
    ) {
        self.set_object(&key, new.clone());
        changes.push(ObjectChange { key, revision: self.revision, old, new });
    }

    fn set_object(&mut self, key: &Key, to: Option<Arc<StoredObject>>) {
        match to {
            Some(stored) => {
                self.set.put(stored.object.clone(), stored.created);
                self.stored.insert(key.clone(), stored);
            }
            None => {
                self.set.remove(key);
                self.stored.remove(key);
            }
        }
    }

    fn validate(
        &mut self,
        changes: &[ObjectChange],
        check: &mut super::Check,
    ) -> Result<Vec<Finding>, Rejection> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        provide_default_gateway(&mut self.set, &self.default_gateway);
        let findings = self.validator.validate(&self.set);
        let is_written = |key: &Key| changes.iter().any(|change| change.key == *key);
        let removed = (changes.iter())
            .filter(|change| change.new.is_none() && !self.stored.contains_key(&change.key))
            .filter_map(|change| change.old.as_ref())
            .map(|stored| &stored.object);
        let mut wrong = validate::removals(&self.set, removed);
        let is_told = !wrong.is_empty();
        let introduced = validate::introduced(&self.findings, &findings).into_iter();
        // Who may not go is told by name: that others would then miss it says nothing more.
        wrong.extend(introduced.filter(|error| !is_told || is_written(&error.object)));
        wrong.extend(check(changes, &self.set));
        if !wrong.is_empty() {
            return Err(Rejection::Invalid(wrong));
        }
        let is_doubt = |finding: &&Finding| finding.severity != Severity::Error;
        let concerns = |finding: &&Finding| is_written(&finding.object);
        let mut warnings: Vec<Finding> =
            findings.iter().filter(is_doubt).filter(concerns).cloned().collect();
        warnings.extend(changes.iter().flat_map(|change| removals::affected(change, &self.set)));
        self.findings = Arc::new(findings);
        Ok(warnings)
    }
}

fn expect_revision(
    key: &Key,
    given: Option<&str>,
    old: Option<&StoredObject>,
) -> Result<(), Rejection> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(()) };
    match old {
        None => Err(Rejection::NotFound(key.clone())),
        Some(old) if Revision::parse(given) == Some(old.revision) => Ok(()),
        Some(old) => Err(Rejection::Conflict {
            key: key.clone(),
            given: given.to_owned(),
            current: old.revision.to_string(),
        }),
    }
}

fn same_notes(one: &Metadata, other: &Metadata) -> bool {
    one.labels == other.labels && one.annotations == other.annotations
}

/// RFC 7396: `null` removes, objects merge, everything else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
