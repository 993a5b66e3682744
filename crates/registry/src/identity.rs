//! Which tag an instance has and which application it belongs to (semantics, "What an instance is"): the first of
//! several places that says something.

use lanes::{Problem, Tag};

/// Metadata keys that name the tag, the first that says something wins.
const TAG_KEYS: [&str; 2] = ["laneway.io/tag", "alicloud.service.tag"];

/// Metadata key under which the MSE agent writes JSON: a list of objects, the tag under `tag`.
const MSE_ENVIRONMENT_KEY: &str = "__micro.service.env__";

/// Metadata key that names the application.
const APPLICATION_KEY: &str = "laneway.io/application";

/// The tag of an instance: metadata (`laneway.io/tag`, `alicloud.service.tag`, the MSE agent's JSON), then what
/// its sidecar announced. `Ok(None)` is the base. An error means that the instance must not be used: one that
/// wants to be something else than base must never pass for base.
pub(crate) fn tag_of<'a>(
    metadata: impl Fn(&str) -> Option<&'a str>,
    announced: &str,
) -> Result<Option<Tag>, Problem> {
    match tag_in(metadata)? {
        Some(tag) => Ok(tag),
        None => Tag::parse(announced.trim()).map_err(|problem| problem.under("tag")),
    }
}

/// What metadata say of the tag; `Ok(None)`: nothing, which is not the same as saying base.
pub(crate) fn tag_in<'a>(
    metadata: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Option<Tag>>, Problem> {
    for key in TAG_KEYS {
        if let Some(text) = metadata(key).map(str::trim).filter(|text| !text.is_empty()) {
            let tag = Tag::parse(text);
            return tag.map(Some).map_err(|problem| problem.under(&format!("metadata[{key}]")));
        }
    }
    let Some(text) = metadata(MSE_ENVIRONMENT_KEY).map(str::trim).filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let field = format!("metadata[{MSE_ENVIRONMENT_KEY}]");
    match tag_in_json(text) {
        Err(remedy) => Err(Problem::new(field, text, remedy)),
        Ok(Some(tag)) => Tag::parse(&tag).map(Some).map_err(|problem| problem.under(&field)),
        Ok(None) => Ok(None),
    }
}

/// The application of an instance: what it announced, then its metadata, then the name of its service.
pub(crate) fn application_of<'a>(
    metadata: impl Fn(&str) -> Option<&'a str>,
    announced: &'a str,
    service: &'a str,
) -> &'a str {
    let said = [Some(announced), metadata(APPLICATION_KEY)];
    said.into_iter().flatten().map(str::trim).find(|text| !text.is_empty()).unwrap_or(service)
}

/// The first `tag` (or `alicloud.service.tag`) in an object, or in a list of objects.
fn tag_in_json(text: &str) -> Result<Option<String>, &'static str> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "write JSON, e.g. [{\"tag\": \"gray\"}]")?;
    let objects = match &value {
        serde_json::Value::Array(list) => list.as_slice(),
        other => std::slice::from_ref(other),
    };
    for object in objects {
        for key in ["tag", TAG_KEYS[1]] {
            match object.get(key) {
                None | Some(serde_json::Value::Null) => {}
                Some(serde_json::Value::String(tag)) if tag.trim().is_empty() => {}
                Some(serde_json::Value::String(tag)) => return Ok(Some(tag.trim().to_owned())),
                Some(_) => return Err("write the tag as a string"),
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metadata: &[(&str, &str)], announced: &str, expected: Result<Option<&str>, &str>) {
        let look_up =
            |key: &str| metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let tag = tag_of(look_up, announced);
        let tag = tag.as_ref().map(|tag| tag.as_ref().map(Tag::as_str));
        let tag = tag.map_err(|problem| problem.field.as_str());
        assert_eq!(tag, expected, "{metadata:?} announced {announced:?}");
    }

    #[test]
    fn the_first_place_that_says_something_names_the_tag() {
        let mse = (
            "__micro.service.env__",
            r#"[{"desc":"k8s-pod-label","priority":100,"tag":"gray","type":"tag"}]"#,
        );
        check(&[], "", Ok(None));
        check(&[], "gray", Ok(Some("gray")));
        check(&[], "base", Ok(None));
        check(
            &[("laneway.io/tag", "blue"), ("alicloud.service.tag", "gray")],
            "red",
            Ok(Some("blue")),
        );
        check(&[("alicloud.service.tag", "gray")], "red", Ok(Some("gray")));
        check(&[("laneway.io/tag", "base")], "red", Ok(None));
        check(&[("laneway.io/tag", " ")], "red", Ok(Some("red")));
        check(&[mse], "red", Ok(Some("gray")));
        check(&[("alicloud.service.tag", "blue"), mse], "", Ok(Some("blue")));
        check(
            &[("__micro.service.env__", r#"{"alicloud.service.tag":"gray"}"#)],
            "",
            Ok(Some("gray")),
        );
        check(&[("__micro.service.env__", "[]")], "red", Ok(Some("red")));
        check(&[("__micro.service.env__", r#"[{"tag":""},{"tag":"gray"}]"#)], "", Ok(Some("gray")));
    }

    #[test]
    fn what_is_no_tag_is_an_error_and_never_base() {
        check(&[], "gray!", Err("tag"));
        check(&[("laneway.io/tag", "-gray")], "blue", Err("metadata[laneway.io/tag]"));
        check(&[("__micro.service.env__", "{")], "", Err("metadata[__micro.service.env__]"));
        check(
            &[("__micro.service.env__", r#"[{"tag":7}]"#)],
            "",
            Err("metadata[__micro.service.env__]"),
        );
        check(
            &[("__micro.service.env__", r#"[{"tag":"a b"}]"#)],
            "",
            Err("metadata[__micro.service.env__]"),
        );
    }

    #[test]
    fn the_application_is_announced_or_in_metadata_or_the_service() {
        let with = |_: &str| Some("from-metadata");
        let without = |_: &str| None;
        assert_eq!(application_of(with, "announced", "service"), "announced");
        assert_eq!(application_of(with, " ", "service"), "from-metadata");
        assert_eq!(application_of(without, "", "service"), "service");
    }
}
