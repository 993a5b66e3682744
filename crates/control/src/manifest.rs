//! What files say of objects, and what becomes of an object when a file says it again: what no file ever named stays
//! as it is, and what somebody changed by other ways stays theirs until a file names it.
//!
//! Three things are looked at, as `kubectl apply` does: the object as it is, what was said of it last, what is said of
//! it now. What is said is kept as it was written: a field that has its default is not one that was named.

use std::sync::Arc;

use api::{
    resource::{Key, Object, WrittenKey},
    rest::FieldChange,
};
use lanes::Problem;
use serde_json::{Map, Value};

/// Fields of one map of which an object has one: who names it says that the others are not wanted.
const ONE_OF: [&[&str]; 5] = [
    &["content", "ratio"],
    &["static", "nacos", "kubernetes"],
    &["file", "environment"],
    &["certificate", "caCertificates", "files"],
    &["privateKey", "caCertificates", "files"],
];

/// What of `metadata` is the owner's to say. The rest is written by control planes.
const SAID_OF_ITSELF: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// An object as a file says it.
#[derive(Debug, Clone)]
pub struct Manifest {
    object: Object,
    said: Value,
}

impl Manifest {
    /// Reads what is written.
    pub fn read(written: Value) -> Result<Self, Problem> {
        let object = Object::from_value(written.clone())?;
        Ok(Self { object, said: written })
    }

    /// Which object it is of.
    pub fn key(&self) -> Key {
        self.object.key()
    }

    /// The object as it is said.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// The object as it is said, to seal what is secret in it.
    pub(crate) fn object_mut(&mut self) -> &mut Object {
        &mut self.object
    }

    /// The object if there was none before.
    pub(crate) fn into_object(self) -> Object {
        self.object
    }

    /// What is said, to be kept beside the object.
    pub(crate) fn said(&self) -> Arc<str> {
        let mut said = self.said.clone();
        if let Value::Object(fields) = &mut said {
            fields.remove("status");
            self.seal(fields);
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.retain(|field, _| SAID_OF_ITSELF.contains(&field.as_str()));
            }
        }
        said.to_string().into()
    }

    /// Puts the private key that is sealed in place of the one that was written.
    fn seal(&self, said: &mut Map<String, Value>) {
        let Object::Certificate(certificate) = &self.object else { return };
        let sealed = certificate.spec.private_key.as_ref();
        if let Some(Value::Object(spec)) = said.get_mut("spec")
            && let (Some(said), Some(sealed)) = (spec.get_mut("privateKey"), sealed)
        {
            *said = sealed.text().into();
        }
    }

    /// The object that `live` becomes, of which `last` was said before.
    pub(crate) fn merged(&self, live: &Object, last: Option<&str>) -> Result<Object, Problem> {
        let last = last.and_then(Last::read);
        let mut said = self.said.clone();
        said.as_object_mut().into_iter().for_each(|said| self.seal(said));
        let mut merged = live.to_value();
        for part in ["metadata", "spec"] {
            let (Some(Value::Object(live)), Some(Value::Object(now))) =
                (merged.get_mut(part), said.get(part))
            else {
                continue;
            };
            let (was, meant) = last.as_ref().map_or((None, None), |last| {
                (last.said.get(part).and_then(Value::as_object), last.meant.get(part))
            });
            merge(live, was, meant, now);
        }
        // Whose version it is was said by the file, or by nobody.
        if let Some(Value::Object(metadata)) = merged.get_mut("metadata") {
            for field in ["uid", "resourceVersion"] {
                metadata.remove(field);
                let said = self.said.get("metadata").and_then(|metadata| metadata.get(field));
                said.and_then(|said| metadata.insert(field.to_owned(), said.clone()));
            }
        }
        Object::from_value(merged)
    }
}

/// What was said of an object last, as written and as it was meant.
struct Last {
    said: Value,
    meant: Value,
}

impl Last {
    /// What another release wrote and this one cannot read says nothing.
    fn read(text: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(text).ok()?;
        let meant = Object::from_value(said.clone()).ok()?.to_value();
        Some(Self { said, meant })
    }
}

/// Makes of `live` what is said `now`, where `was` was said before and meant `meant`.
fn merge(
    live: &mut Map<String, Value>,
    was: Option<&Map<String, Value>>,
    meant: Option<&Value>,
    now: &Map<String, Value>,
) {
    for (field, said) in now {
        match (live.get_mut(field), said) {
            (Some(Value::Object(live)), Value::Object(now)) => {
                let was = was.and_then(|was| was.get(field)).and_then(Value::as_object);
                merge(live, was, meant.and_then(|meant| meant.get(field)), now);
            }
            _ => {
                live.insert(field.clone(), said.clone());
            }
        }
    }
    let others = ONE_OF.iter().filter(|fields| fields.iter().any(|it| now.contains_key(*it)));
    for other in others.copied().flatten().filter(|other| !now.contains_key(**other)) {
        live.remove(*other);
    }
    let unsaid = was.into_iter().flat_map(Map::keys).filter(|field| !now.contains_key(*field));
    for field in unsaid {
        // Changed by other ways since: it is not the file's any more.
        if live.get(field) == meant.and_then(|meant| meant.get(field)) {
            live.remove(field);
        }
    }
}

/// What of the owner's fields is otherwise than before, and what of that the file of `last` did not leave so.
pub(crate) fn changes(before: &Object, after: &Object, last: Option<&str>) -> Vec<FieldChange> {
    let mut changes = differences(&before.to_value(), &after.to_value());
    if let Some(last) = last.and_then(Last::read) {
        let by_others = differences(&last.meant, &before.to_value());
        for change in &mut changes {
            let is_same = |other: &FieldChange| {
                other.field == change.field
                    || is_under(&other.field, &change.field)
                    || is_under(&change.field, &other.field)
            };
            change.taken_back = by_others.iter().any(is_same);
        }
    }
    changes
}

fn is_under(field: &str, other: &str) -> bool {
    field.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn differences(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for field in ["metadata.labels", "metadata.annotations", "spec"] {
        let pointer = format!("/{}", field.replace('.', "/"));
        differ(field, before.pointer(&pointer), after.pointer(&pointer), &mut changes);
    }
    changes
}

fn differ(
    field: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<FieldChange>,
) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let added = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(added) {
                differ(&format!("{field}.{name}"), before.get(name), after.get(name), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                differ(&format!("{field}[{index}]"), Some(before), Some(after), changes);
            }
        }
        _ => changes.push(FieldChange {
            field: field.to_owned(),
            before: before.map(told),
            after: after.map(told),
            taken_back: false,
        }),
    }
}

/// A value as it is told: what a private key is sealed as says nothing to anybody.
fn told(value: &Value) -> Value {
    match value {
        Value::String(text) if WrittenKey::new(text.as_str()).sealed().is_some() => "sealed".into(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lane(spec: Value) -> Value {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
            "metadata": {"name": "trade-gray"}, "spec": spec,
        })
    }

    fn with(base: &Value, patch: &Value) -> Value {
        let mut value = base.clone();
        json_patch::merge(&mut value, patch);
        value
    }

    fn content(value: &str) -> Value {
        json!({"content": {"conditions": [{"header": "canary", "operator": "==", "value": value}]}})
    }

    /// The specification after a file said `last`, somebody patched by other ways, and a file says `now`; and the
    /// fields that were taken back.
    #[track_caller]
    fn check(last: &Value, patch: &Value, now: &Value, expected: &Value, taken_back: &[&str]) {
        let last = Manifest::read(lane(last.clone())).unwrap();
        let live = with(&last.clone().into_object().to_value(), &json!({"spec": patch}));
        let live = Object::from_value(live).unwrap();
        let now = Manifest::read(lane(now.clone())).unwrap();
        let merged = now.merged(&live, Some(&last.said())).unwrap();
        let expected = Object::from_value(lane(expected.clone())).unwrap();
        assert_eq!(merged.to_value()["spec"], expected.to_value()["spec"]);
        let changes = changes(&live, &merged, Some(&last.said()));
        let told = changes.iter().filter(|change| change.taken_back);
        assert_eq!(told.map(|change| change.field.as_str()).collect::<Vec<_>>(), taken_back);
    }

    #[test]
    fn what_a_file_never_named_stays_as_it_is() {
        let plain = json!({"group": "trade", "tag": "gray", "entry": content("gray")});
        let enabled = with(&plain, &json!({"enabled": true}));
        let disabled = with(&plain, &json!({"enabled": false}));
        let urgent = with(&plain, &json!({"priority": 7}));
        // Disabled by hand, and the file does not speak of it: nor when it says something else anew.
        check(&plain, &json!({"enabled": false}), &plain, &disabled, &[]);
        let other = with(&plain, &json!({"entry": content("blue")}));
        let other_disabled = with(&other, &json!({"enabled": false}));
        check(&plain, &json!({"enabled": false}), &other, &other_disabled, &[]);
        check(
            &plain,
            &json!({"fallback": ["blue"], "priority": 3}),
            &urgent,
            &with(&urgent, &json!({"fallback": ["blue"]})),
            &["spec.priority"],
        );
        // A file that names it has the say, and says so.
        check(&plain, &json!({"enabled": false}), &enabled, &enabled, &["spec.enabled"]);
        check(&enabled, &json!({"enabled": false}), &enabled, &enabled, &["spec.enabled"]);
        check(&disabled, &json!({}), &enabled, &enabled, &[]);
        // What it no longer names goes back to its default, unless it is somebody else's by now.
        check(&urgent, &json!({}), &plain, &plain, &[]);
        check(
            &urgent,
            &json!({"priority": 3}),
            &plain,
            &with(&plain, &json!({"priority": 3})),
            &[],
        );
        check(&enabled, &json!({"enabled": false}), &plain, &disabled, &[]);
    }

    #[test]
    fn a_ratio_by_hand_stays_until_a_file_says_another() {
        let ratio = |percent| json!({"group": "trade", "tag": "gray", "entry": {"ratio": {"percent": percent, "stickyBy": {"cookie": "uid"}}}});
        let by_hand = json!({"entry": {"ratio": {"percent": 50}}});
        check(&ratio(5), &by_hand, &ratio(20), &ratio(20), &["spec.entry.ratio.percent"]);
        // Paused by hand, and the file does not speak of it, whatever else it says anew; one that does has the say.
        let paused = json!({"entry": {"paused": true}});
        check(&ratio(5), &paused, &ratio(20), &with(&ratio(20), &paused), &[]);
        let resumed = with(&ratio(5), &json!({"entry": {"paused": false}}));
        check(&ratio(5), &paused, &resumed, &ratio(5), &["spec.entry.paused"]);
        // Another way in is said: the one before is not wanted, whoever changed it.
        let by_content = json!({"group": "trade", "tag": "gray", "entry": content("gray")});
        check(&ratio(5), &by_hand, &by_content, &by_content, &["spec.entry.ratio"]);
    }

    #[test]
    fn an_object_that_no_file_said_before_keeps_what_the_first_does_not_name() {
        let live = lane(json!({"group": "trade", "tag": "gray", "enabled": false, "priority": 3,
            "entry": {"ratio": {"percent": 5, "stickyBy": {"cookie": "uid"}}}}));
        let live = Object::from_value(live).unwrap();
        let now = json!({"group": "trade", "tag": "gray", "entry": content("gray")});
        let merged = Manifest::read(lane(now.clone())).unwrap().merged(&live, None).unwrap();
        let expected = with(&now, &json!({"enabled": false, "priority": 3}));
        let expected = Object::from_value(lane(expected)).unwrap();
        assert_eq!(merged.to_value()["spec"], expected.to_value()["spec"]);
    }

    #[test]
    fn labels_are_named_one_by_one() {
        let labelled = |labels: Value| {
            with(
                &lane(json!({"group": "trade", "tag": "gray", "entry": content("gray")})),
                &json!({"metadata": {"labels": labels}}),
            )
        };
        let last = Manifest::read(labelled(json!({"a": "1", "b": "1"}))).unwrap();
        let live = labelled(json!({"a": "1", "b": "1", "mine": "1"}));
        let live = Object::from_value(live).unwrap();
        let now = Manifest::read(labelled(json!({"a": "2"}))).unwrap();
        let merged = now.merged(&live, Some(&last.said())).unwrap();
        assert_eq!(merged.to_value()["metadata"]["labels"], json!({"a": "2", "mine": "1"}));
    }
}
