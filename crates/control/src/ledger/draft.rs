//! One transaction, evaluated on the working objects and undone if it may not be.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::SystemTime,
};

use api::{
    resource::{Certificate, CreationOrder, Key, Object, written_twice},
    rest::{Action, Applied},
    time::rfc3339,
    validate::{self, Finding, Reported, Severity, Validator},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Done, Edit, Precondition, Rejection, Transaction, removals};
use crate::{
    keyring::Keyring,
    manifest::{self, Manifest},
    objects::{ObjectChange, Objects},
    store::{Contents, Revision, StoredObject},
};

/// The objects as they will be when everything so far is durable, and what judges them.
#[derive(Debug)]
pub(super) struct Working {
    state: State,
    validator: Validator,
    keyring: Arc<Keyring>,
}

/// What was done to an object, and what it was before if it changed.
type Put = (Action, Option<Arc<StoredObject>>);

/// What a transaction changes. A copy is what to come back to: the objects in it are shared.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) objects: Arc<Objects>,
    pub(super) revision: Revision,
    created: CreationOrder,
    /// What is wrong or doubtful with them, errors first. Errors that are there already, e.g. since an upgrade,
    /// must not stand in the way of other writes.
    pub(super) findings: Arc<Vec<Finding>>,
    /// What cannot be read can be deleted all the same.
    unreadable: BTreeSet<Key>,
}

/// A transaction that passed.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) done: Done,
    pub(super) changes: Vec<ObjectChange>,
    /// Objects that stay as they are, and of which files say something else than before.
    pub(super) said_anew: Vec<Arc<StoredObject>>,
}

/// What the edits of a transaction come to.
#[derive(Debug, Default)]
struct Edited {
    changes: Vec<ObjectChange>,
    said_anew: Vec<Arc<StoredObject>>,
    applied: Vec<Applied>,
    objects: Vec<Arc<StoredObject>>,
}

impl Working {
    pub(super) fn new(objects: Arc<Objects>, contents: &Contents, keyring: Arc<Keyring>) -> Self {
        let mut validator = Validator::default();
        let findings = Arc::new(validator.validate(objects.set()));
        let (revision, created) = (contents.revision, contents.created);
        let unreadable = contents.unreadable.iter().flat_map(|row| row.keys.clone()).collect();
        Self {
            state: State { objects, revision, created, findings, unreadable },
            validator,
            keyring,
        }
    }

    /// As it stands.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What entrances tell of themselves, for what is evaluated from now on. Whether that is news: what is doubtful by it
    /// is then no write's doing.
    pub(super) fn entrances_report(&mut self, reported: Arc<Reported>) -> bool {
        let is_news = self.validator.entrances_report(reported);
        if is_news {
            self.state.findings = Arc::new(self.validator.validate(self.state.objects.set()));
        }
        is_news
    }

    /// Takes back what was done since.
    pub(super) fn return_to(&mut self, state: State) {
        self.state = state;
    }

    /// Evaluates a transaction. Its changes stay in the working objects only if it passes and is no dry run.
    pub(super) fn evaluate(
        &mut self,
        transaction: Transaction,
        now: SystemTime,
        check: &mut super::Check,
    ) -> Result<Passed, Rejection> {
        let before = self.state.clone();
        let evaluated = self.edit_all(transaction.edits, now).and_then(|edited| {
            let warnings = self.validate(&edited.changes, check)?;
            Ok((edited, warnings))
        });
        if evaluated.is_err() || transaction.dry_run {
            self.return_to(before);
        }
        let (Edited { mut changes, mut said_anew, applied, objects }, warnings) = evaluated?;
        let done = Done { revision: self.state.revision, applied, objects, warnings };
        if transaction.dry_run {
            changes.clear();
            said_anew.clear();
        }
        Ok(Passed { done, changes, said_anew })
    }

    fn edit_all(&mut self, edits: Vec<Edit>, now: SystemTime) -> Result<Edited, Rejection> {
        check_written_once(&edits)?;
        let mut edited = Edited::default();
        for edit in edits {
            let (key, (action, before)) = match edit {
                Edit::Put { mut object, precondition } => {
                    self.seal(&mut object)?;
                    let key = object.key();
                    let said = self.said_of(&key);
                    (key, self.put(*object, said, &precondition, now, &mut edited)?)
                }
                Edit::Apply { mut manifest, only_news } => {
                    self.seal(manifest.object_mut())?;
                    let key = manifest.key();
                    (key, self.apply(*manifest, only_news, now, &mut edited)?)
                }
                Edit::Patch { key, patch } => {
                    let done = self.patch(&key, &patch, now, &mut edited)?;
                    (key, done)
                }
                Edit::Delete { key, revision, precondition } => {
                    let is_gone = self.state.objects.get(&key).is_none()
                        && !self.state.unreadable.contains(&key);
                    if !(is_gone && precondition != Precondition::Present) {
                        self.delete(key.clone(), revision.as_deref(), &mut edited.changes)?;
                        let (action, changes) = (Action::Deleted, Vec::new());
                        edited.applied.push(Applied { object: key, action, changes });
                    }
                    continue;
                }
            };
            let Some(stored) = self.state.objects.get(&key).map(Arc::clone) else { continue };
            let changes = before.map_or_else(Vec::new, |before| {
                manifest::changes(&before.object, &stored.object, before.said.as_deref())
            });
            edited.applied.push(Applied { object: key, action, changes });
            edited.objects.push(stored);
        }
        Ok(edited)
    }

    /// Seals the private key of what is written, before anything else sees it.
    fn seal(&self, object: &mut Object) -> Result<(), Rejection> {
        let key = object.key();
        let Object::Certificate(certificate) = object else { return Ok(()) };
        let Some(written) = &certificate.spec.private_key else { return Ok(()) };
        let stored = self.state.objects.set().certificates();
        let sealed = stored.filter(|it| it.spec.private_key.is_some());
        let (live, others): (Vec<&Certificate>, Vec<_>) = sealed.partition(|it| it.key() == key);
        let live = live.first().and_then(|live| live.spec.private_key.as_ref());
        let sealed = self.keyring.sealed(&key, written, live, !others.is_empty());
        certificate.spec.private_key = Some(sealed.map_err(|problem| {
            Rejection::Invalid(vec![Finding { object: key, problem, severity: Severity::Error }])
        })?);
        Ok(())
    }

    /// What a file said last of an object that is there.
    fn said_of(&self, key: &Key) -> Option<Arc<str>> {
        self.state.objects.get(key)?.said.clone()
    }

    fn apply(
        &mut self,
        manifest: Manifest,
        only_news: bool,
        now: SystemTime,
        edited: &mut Edited,
    ) -> Result<Put, Rejection> {
        let key = manifest.key();
        let said = manifest.said();
        let object = match self.state.objects.get(&key) {
            None => manifest.into_object(),
            Some(old) if only_news && old.said.as_ref() == Some(&said) => {
                return Ok((Action::Unchanged, None));
            }
            Some(old) => manifest.merged(&old.object, old.said.as_deref()).map_err(|problem| {
                let object = key.clone();
                Rejection::Invalid(vec![Finding { object, problem, severity: Severity::Error }])
            })?,
        };
        self.put(object, Some(said), &Precondition::None, now, edited)
    }

    /// Writes an object of which a file says `said`, or said last; answers with what it was if it changed.
    fn put(
        &mut self,
        mut object: Object,
        said: Option<Arc<str>>,
        precondition: &Precondition,
        now: SystemTime,
        edited: &mut Edited,
    ) -> Result<Put, Rejection> {
        let key = object.key();
        let old = self.state.objects.get(&key).cloned();
        match (precondition, &old) {
            (Precondition::Absent, Some(_)) => return Err(Rejection::Exists(key)),
            (Precondition::Present, None) => return Err(Rejection::NotFound(key)),
            _ => {}
        }
        let given = object.metadata();
        let is_foreign = is_foreign(given.uid.as_deref(), old.as_deref());
        let given = given.resource_version.as_deref().filter(|_| !is_foreign);
        match given.filter(|given| *precondition == Precondition::Absent && !given.is_empty()) {
            // There is none, as was wanted: no version of it is the current one.
            Some(given) => {
                let (given, current) = (given.to_owned(), "none".to_owned());
                return Err(Rejection::Conflict { key, given, current });
            }
            None => expect_revision(&key, given, old.as_deref())?,
        }
        object.set_status(None);
        if let Some(old) = &old
            && old.object.same_spec(&object)
            && old.object.metadata().same_notes(object.metadata())
        {
            if old.said != said {
                let stored = Arc::new(StoredObject { said, ..StoredObject::clone(old) });
                Arc::make_mut(&mut self.state.objects).put(Arc::clone(&stored));
                edited.said_anew.push(stored);
            }
            return Ok((Action::Unchanged, None));
        }
        self.state.revision = self.state.revision.next();
        if old.is_none() {
            self.state.created = self.state.created.next();
        }
        let created = old.as_ref().map_or(self.state.created, |old| old.created);
        let same_spec = old.as_ref().is_some_and(|old| old.object.same_spec(&object));
        let before = old.as_ref().map(|old| old.object.metadata());
        let metadata = object.metadata_mut();
        metadata.resource_version = Some(self.state.revision.to_string());
        metadata.generation = before.map_or(0, |before| before.generation) + u64::from(!same_spec);
        metadata.uid = before.and_then(|before| before.uid.clone()).or_else(|| Some(new_uid()));
        metadata.creation_timestamp = before
            .and_then(|before| before.creation_timestamp.clone())
            .or_else(|| Some(rfc3339(now)));
        let (object, revision) = (Arc::new(object), self.state.revision);
        let stored = Arc::new(StoredObject { object, revision, created, said });
        let action = if old.is_some() { Action::Configured } else { Action::Created };
        self.change(key, old.clone(), Some(stored), &mut edited.changes);
        Ok((action, old))
    }

    fn patch(
        &mut self,
        key: &Key,
        patch: &Value,
        now: SystemTime,
        edited: &mut Edited,
    ) -> Result<Put, Rejection> {
        let old = self.state.objects.get(key).ok_or_else(|| Rejection::NotFound(key.clone()))?;
        let mut value = old.object.to_value();
        let given = |name: &str| patch.get("metadata")?.get(name)?.as_str();
        let is_foreign = is_foreign(given("uid"), Some(old));
        let revision = given("resourceVersion").filter(|_| !is_foreign);
        expect_revision(key, revision, Some(old))?;
        json_patch::merge(&mut value, patch);
        let mut object = Object::from_value(value).map_err(|problem| {
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
        self.seal(&mut object)?;
        let said = self.said_of(key);
        self.put(object, said, &Precondition::Present, now, edited)
    }

    fn delete(
        &mut self,
        key: Key,
        revision: Option<&str>,
        changes: &mut Vec<ObjectChange>,
    ) -> Result<(), Rejection> {
        let old = self.state.objects.get(&key).cloned();
        if old.is_none() && !self.state.unreadable.contains(&key) {
            return Err(Rejection::NotFound(key));
        }
        expect_revision(&key, revision, old.as_deref())?;
        self.state.revision = self.state.revision.next();
        self.change(key, old, None, changes);
        Ok(())
    }

    fn change(
        &mut self,
        key: Key,
        old: Option<Arc<StoredObject>>,
        new: Option<Arc<StoredObject>>,
        changes: &mut Vec<ObjectChange>,
    ) {
        self.state.unreadable.remove(&key);
        let objects = Arc::make_mut(&mut self.state.objects);
        match &new {
            Some(stored) => objects.put(Arc::clone(stored)),
            None => objects.remove(&key),
        }
        changes.push(ObjectChange { key, revision: self.state.revision, old, new });
    }

    fn validate(
        &mut self,
        changes: &[ObjectChange],
        check: &mut super::Check,
    ) -> Result<Vec<Finding>, Rejection> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let objects = Arc::clone(&self.state.objects);
        let findings = self.validator.validate(objects.set());
        let written: HashSet<&Key> = changes.iter().map(|change| &change.key).collect();
        let is_written = |key: &Key| written.contains(key);
        let removed = (changes.iter())
            .filter(|change| change.new.is_none() && objects.get(&change.key).is_none())
            .filter_map(|change| change.old.as_ref())
            .map(|stored| stored.object.as_ref());
        let mut wrong = validate::removals(objects.set(), removed);
        let is_told = !wrong.is_empty();
        let introduced = validate::introduced(&self.state.findings, &findings).into_iter();
        // Who may not go is told by name: that others would then miss it says nothing more.
        wrong.extend(introduced.filter(|error| !is_told || is_written(&error.object)));
        let (mistakes, doubts): (Vec<Finding>, _) = check(changes, objects.set())
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error);
        wrong.extend(mistakes);
        if !wrong.is_empty() {
            return Err(Rejection::Invalid(wrong));
        }
        let is_doubt = |finding: &&Finding| finding.severity != Severity::Error;
        let before: HashSet<&Finding> = self.state.findings.iter().collect();
        // What is new is this write's doing, whatever object it is told of.
        let concerns =
            |finding: &&Finding| is_written(&finding.object) || !before.contains(finding);
        let mut warnings: Vec<Finding> =
            findings.iter().filter(is_doubt).filter(concerns).cloned().collect();
        warnings.extend(doubts);
        warnings
            .extend(changes.iter().flat_map(|change| removals::affected(change, objects.set())));
        self.state.findings = Arc::new(findings);
        Ok(warnings)
    }
}

/// That no object is written twice: the last would win without a word.
fn check_written_once(edits: &[Edit]) -> Result<(), Rejection> {
    let put = |(at, edit): (usize, &Edit)| match edit {
        Edit::Put { object, .. } => Some((at, object.key())),
        Edit::Apply { manifest, .. } => Some((at, manifest.key())),
        Edit::Patch { .. } | Edit::Delete { .. } => None,
    };
    let written: Vec<(usize, Key)> = edits.iter().enumerate().filter_map(put).collect();
    let tell = |(first, again): (usize, usize)| {
        let ((first, _), (again, object)) = (&written[first], written[again].clone());
        let remedy =
            format!("keep one: objects[{first}] and objects[{again}] are both this object");
        let problem = lanes::Problem::new("metadata.name", object.name.as_str(), remedy);
        Finding { object, problem, severity: Severity::Error }
    };
    let twice = written_twice(written.iter().map(|(_, key)| key.clone()));
    let wrong: Vec<Finding> = twice.into_iter().map(tell).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Rejection::Invalid(wrong)) }
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

/// Whether an object comes from elsewhere, by its `uid`: its `resourceVersion` then says nothing here. What is told
/// apart is a cluster's object and one of ours that was deleted since, or written anew.
fn is_foreign(uid: Option<&str>, old: Option<&StoredObject>) -> bool {
    let Some(uid) = uid.filter(|uid| !uid.is_empty()) else { return false };
    let is_stored = old.is_some_and(|old| old.object.metadata().uid.as_deref() == Some(uid));
    !is_stored && Uuid::parse_str(uid).is_ok_and(|uid| uid.get_version_num() != UID_VERSION)
}

/// The version of the UUIDs we make, custom: Kubernetes makes version 4.
const UID_VERSION: usize = 8;

fn new_uid() -> String {
    uuid::Builder::from_custom_bytes(Uuid::new_v4().into_bytes()).into_uuid().to_string()
}
