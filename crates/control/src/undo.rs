//! How the change that an entry of the audit tells of is undone: by a new one, which takes back what nobody changed since.

use api::{
    resource::{Key, Object},
    rest::{Action, AuditEntry, FieldChange},
};
use serde_json::{Map, Value};

use crate::{
    ledger::{Edit, Precondition},
    manifest,
    store::StoredObject,
};

/// What of an object is its owner's to say, as pointers.
const OWNED: [&str; 3] = ["/metadata/labels", "/metadata/annotations", "/spec"];

/// Why a change is not undone.
#[derive(Debug, PartialEq)]
pub(crate) enum NotUndone {
    /// It is none of an object.
    OfNoObject,
    /// What was before was too large to be kept.
    NotKept,
    /// All of it is as before already.
    AsBefore,
    /// The object changed since, in what the undo would change: what is there, and what would be.
    ChangedSince(Vec<FieldChange>),
}

/// The edit that undoes what an entry tells of, on the object as it is now.
pub(crate) fn undo(entry: &AuditEntry, now: Option<&StoredObject>) -> Result<Edit, NotUndone> {
    // What is only about an object, as taps and promotions are, is told in words.
    let of_object = entry.object.clone().filter(|key| entry.about == key.to_string());
    let key = of_object.ok_or(NotUndone::OfNoObject)?;
    match (entry.action, &entry.before, &entry.after, now) {
        (Action::Created, _, Some(after), Some(now)) => undo_creation(key, after, now),
        (Action::Created, _, _, None) => Err(NotUndone::AsBefore),
        (Action::Deleted, Some(before), _, None) => {
            Ok(Edit::Put { object: Box::new(anew(before)?), precondition: Precondition::Absent })
        }
        (Action::Deleted, Some(before), _, Some(now)) => {
            let before = anew(before)?;
            match manifest::changes(&now.object, &before, None) {
                same if same.is_empty() => Err(NotUndone::AsBefore),
                since => Err(NotUndone::ChangedSince(since)),
            }
        }
        (Action::Configured, Some(before), Some(after), Some(now)) => {
            undo_change(before, after, now)
        }
        (Action::Configured, Some(_), Some(_), None) => {
            Err(NotUndone::ChangedSince(vec![FieldChange {
                field: key.to_string(),
                before: None,
                after: Some("as it was before".into()),
                taken_back: false,
            }]))
        }
        _ => Err(NotUndone::NotKept),
    }
}

fn undo_creation(key: Key, created: &Value, now: &StoredObject) -> Result<Edit, NotUndone> {
    let created = Object::from_value(created.clone()).map_err(|_| NotUndone::NotKept)?;
    let since = manifest::changes(&now.object, &created, None);
    if !since.is_empty() {
        return Err(NotUndone::ChangedSince(since));
    }
    let revision = Some(now.revision.to_string());
    Ok(Edit::Delete { key, revision, precondition: Precondition::Present })
}

/// The object without what a control plane wrote.
fn anew(before: &Value) -> Result<Object, NotUndone> {
    let mut value = before.clone();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
            metadata.remove(field);
        }
    }
    Object::from_value(value).map_err(|_| NotUndone::NotKept)
}

fn undo_change(before: &Value, after: &Value, now: &StoredObject) -> Result<Edit, NotUndone> {
    let mut value = now.object.to_value();
    let mut since = Vec::new();
    for pointer in OWNED {
        let field = pointer[1..].replace('/', ".");
        let [was, became] = [before, after].map(|value| value.pointer(pointer));
        let merged = merge_back(&field, value.pointer(pointer), was, became, &mut since);
        put(&mut value, pointer, merged);
    }
    if !since.is_empty() {
        return Err(NotUndone::ChangedSince(since));
    }
    let object = Object::from_value(value).map_err(|_| NotUndone::NotKept)?;
    if manifest::changes(&now.object, &object, None).is_empty() {
        return Err(NotUndone::AsBefore);
    }
    Ok(Edit::Put { object: Box::new(object), precondition: Precondition::Present })
}

fn put(value: &mut Value, pointer: &str, merged: Option<Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    let Some(Value::Object(parent)) = value.pointer_mut(parent) else { return };
    match merged {
        Some(merged) => drop(parent.insert(name.to_owned(), merged)),
        None => drop(parent.remove(name)),
    }
}

/// What a field becomes that `was`, `became`, and reads `now`: as it was, where nobody changed it since.
fn merge_back(
    field: &str,
    now: Option<&Value>,
    was: Option<&Value>,
    became: Option<&Value>,
    since: &mut Vec<FieldChange>,
) -> Option<Value> {
    if was == became || now == was {
        return now.cloned();
    }
    if now == became {
        return was.cloned();
    }
    let empty = Map::new();
    let map = |value: Option<&Value>| match value {
        Some(Value::Object(map)) => Some(map.clone()),
        None => Some(empty.clone()),
        Some(_) => None,
    };
    if let (Some(now), Some(was), Some(became)) = (map(now), map(was), map(became)) {
        let mut merged = now.clone();
        let names = was.keys().chain(became.keys().filter(|name| !was.contains_key(*name)));
        for name in names {
            let path = format!("{field}.{name}");
            let back = merge_back(&path, now.get(name), was.get(name), became.get(name), since);
            match back {
                Some(value) => drop(merged.insert(name.clone(), value)),
                None => drop(merged.remove(name)),
            }
        }
        return Some(Value::Object(merged));
    }
    let (before, after) = (now.cloned(), was.cloned());
    since.push(FieldChange { field: field.to_owned(), before, after, taken_back: false });
    now.cloned()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use api::resource::CreationOrder;
    use serde_json::json;

    use super::*;
    use crate::{
        audit::{Authorship, OBJECT_BYTES_MAX, of_object},
        objects::ObjectChange,
        store::{Change, Revision},
    };

    fn lane(patch: &Value) -> Arc<StoredObject> {
        let mut value = json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
            "metadata": {"name": "trade-gray", "labels": {"team": "a"}},
            "spec": {"group": "trade", "tag": "gray", "priority": 1,
                "entry": {"ratio": {"percent": 5, "stickyBy": {"cookie": "uid"}}}},
        });
        json_patch::merge(&mut value, patch);
        Arc::new(StoredObject {
            object: Arc::new(Object::from_value(value).unwrap()),
            revision: Revision::parse("7").unwrap(),
            created: CreationOrder(1),
            said: None,
        })
    }

    fn entry(old: Option<&Value>, new: Option<&Value>) -> AuditEntry {
        let (old, new) = (old.map(lane), new.map(lane));
        let key = old.as_ref().or(new.as_ref()).unwrap().object.key();
        let change = ObjectChange { key, revision: Revision::parse("7").unwrap(), old, new };
        match of_object(&change, &Authorship::default(), SystemTime::UNIX_EPOCH) {
            Change::Audit(entry) => *entry,
            other => panic!("{other:?}"),
        }
    }

    /// The specification after the change from `old` to `new` is undone on the object as it is now; or the fields that
    /// stand in the way.
    #[track_caller]
    fn check(old: &Value, new: &Value, now: &Value, expected: Result<&Value, &[&str]>) {
        let undone = undo(&entry(Some(old), Some(new)), Some(&lane(now)));
        match (undone, expected) {
            (Ok(Edit::Put { object, .. }), Ok(expected)) => {
                let expected = lane(expected);
                assert_eq!(manifest::changes(&expected.object, &object, None), []);
            }
            (Err(NotUndone::ChangedSince(since)), Err(fields)) => {
                assert_eq!(since.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), fields);
            }
            (undone, expected) => panic!("{undone:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_change_is_undone_where_nobody_changed_the_same_since() {
        let priority = |priority| json!({"spec": {"priority": priority}});
        let none = json!({});
        check(&none, &priority(7), &priority(7), Ok(&none));
        // What others changed stays.
        let other =
            json!({"spec": {"priority": 7, "enabled": false}, "metadata": {"labels": {"b": "1"}}});
        let stays = json!({"spec": {"enabled": false}, "metadata": {"labels": {"b": "1"}}});
        check(&none, &priority(7), &other, Ok(&stays));
        check(&none, &priority(7), &priority(8), Err(&["spec.priority"]));
        let percent = |percent| json!({"spec": {"entry": {"ratio": {"percent": percent}}}});
        let content = json!({"spec": {"entry": {"ratio": null, "content": {
            "conditions": [{"header": "canary", "operator": "==", "value": "gray"}]}}}});
        check(&none, &content, &content, Ok(&none));
        check(&percent(20), &percent(50), &content, Err(&["spec.entry.ratio.percent"]));
        let labels = json!({"metadata": {"labels": {"team": null, "b": "1"}}});
        check(&none, &labels, &labels, Ok(&none));
        let as_before = undo(&entry(Some(&none), Some(&priority(7))), Some(&lane(&none)));
        assert_eq!(as_before.err(), Some(NotUndone::AsBefore));
    }

    #[test]
    fn what_was_made_is_deleted_and_what_was_deleted_is_made_again_but_not_over_others() {
        let (none, other) = (json!({}), json!({"spec": {"priority": 7}}));
        let created = entry(None, Some(&none));
        let deleted = entry(Some(&none), None);
        let edit = undo(&created, Some(&lane(&none))).unwrap();
        assert!(matches!(edit, Edit::Delete { revision: Some(text), .. } if text == "7"));
        assert!(matches!(undo(&created, Some(&lane(&other))), Err(NotUndone::ChangedSince(_))));
        assert_eq!(undo(&created, None).err(), Some(NotUndone::AsBefore));
        match undo(&deleted, None).unwrap() {
            Edit::Put { object, precondition: Precondition::Absent } => {
                assert_eq!(object.metadata().resource_version, None);
                assert!(manifest::changes(&lane(&none).object, &object, None).is_empty());
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(undo(&deleted, Some(&lane(&other))), Err(NotUndone::ChangedSince(_))));
        let about_it = AuditEntry { about: "tap of trade/gray".to_owned(), ..created };
        assert_eq!(undo(&about_it, Some(&lane(&none))).err(), Some(NotUndone::OfNoObject));
        let large = json!({"metadata": {"annotations": {"a": "x".repeat(OBJECT_BYTES_MAX)}}});
        let large = entry(Some(&none), Some(&large));
        assert_eq!(undo(&large, Some(&lane(&none))).err(), Some(NotUndone::NotKept));
    }
}
