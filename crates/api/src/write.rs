//! Writes resources as people keep them: apiVersion first, status last, nothing that says nothing.

use serde::Serialize;

use crate::resource::Object;

/// Objects as YAML documents, as [`crate::read`] takes them.
pub fn yaml(objects: &[Object]) -> String {
    let mut text = String::new();
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&yaml_of(object));
    }
    text
}

/// Any plain data as one YAML document.
pub fn yaml_of(data: &impl Serialize) -> String {
    let mut text = String::new();
    // Neither can fail: a text grows, and plain data has a form.
    serde_saphyr::to_fmt_writer(&mut text, data)
        .unwrap_or_else(|error| unreachable!("plain data: {error}"));
    text
}

/// Any plain data as JSON for people to read and programs to parse.
pub fn json_of(data: &impl Serialize) -> String {
    serde_json::to_string_pretty(data).unwrap_or_else(|error| unreachable!("plain data: {error}"))
}
