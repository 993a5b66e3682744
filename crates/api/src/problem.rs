//! Turns serde's errors into problems that name field, value and remedy.

use lanes::{Fault, Problem};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// The problem behind an error of reading `whole`.
pub(crate) fn from_serde(
    error: &serde_path_to_error::Error<serde_json::Error>,
    whole: &Value,
) -> Problem {
    let message = error.inner().to_string();
    let path = field(error.path());
    if let Some((missing, _)) =
        message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'))
    {
        return Problem::new(missing, "", "is missing: write it")
            .of(Fault::Missing)
            .under_path(&path);
    }
    if let Some((unknown, rest)) =
        message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'))
    {
        let known = rest.trim_start_matches([',', ' ']);
        let remedy = if known.starts_with("expected") {
            format!("unknown field: {}", known.replacen("expected", "use", 1))
        } else {
            "unknown field: remove it".to_owned()
        };
        // The path of an unknown field already ends in it, or ends in its object.
        let own = path == unknown || path.ends_with(&format!(".{unknown}"));
        let shown = at(whole, error.path());
        let problem = if own {
            Problem::new(path, shown, remedy)
        } else {
            Problem::new(unknown, "", remedy).under_path(&path)
        };
        return problem.of(Fault::UnknownField);
    }
    let shown = at(whole, error.path());
    if let Some((_, rest)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`'))
    {
        let known = rest.trim_start_matches([',', ' ']).replacen("expected", "use", 1);
        return Problem::new(path, shown, known);
    }
    let remedy = match message.rsplit_once(", expected ") {
        Some((_, expected)) if is_secret(error.path()) && plain(expected) == "a map" => {
            "write {file: PATH} or {environment: NAME}, never the secret itself".to_owned()
        }
        Some((found, "a string")) if found.ends_with(" map") || found.ends_with(" sequence") => {
            "write a string alone, no map or list".to_owned()
        }
        Some((_, expected)) => format!("write {}", plain(expected)),
        None => message,
    };
    Problem::new(path, shown, remedy)
}

/// serde's words for types, in a person's.
fn plain(expected: &str) -> String {
    match expected {
        "a string" => "a string; put quotes around it".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u64" => "a whole number, 0 or more".to_owned(),
        "u32" => format!("a whole number, 0 to {}", u32::MAX),
        "u16" => "a whole number, 0 to 65535".to_owned(),
        "i32" => format!("a whole number, {} to {}", i32::MIN, i32::MAX),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a map".to_owned(),
        other => {
            other.strip_prefix("struct ").map_or_else(|| other.to_owned(), |_| "a map".to_owned())
        }
    }
}

/// A path as Laneway writes it: `spec.entry.content.conditions[0].operator`.
fn field(path: &Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } => push_key(&mut text, key),
            Segment::Enum { variant } => push_key(&mut text, variant),
            Segment::Unknown => {}
        }
    }
    text
}

fn push_key(text: &mut String, key: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(key);
}

/// Whether what stands there may be somebody's secret, written where only its place should be.
fn is_secret(path: &Path) -> bool {
    path.iter().any(|segment| {
        let Segment::Map { key } = segment else { return false };
        let key = key.to_lowercase();
        ["secret", "password", "token", "key"].iter().any(|word| key.contains(word))
    })
}

/// The value at a path, as written; nothing for whole objects and lists, and of secrets.
fn at(whole: &Value, path: &Path) -> String {
    let mut value = whole;
    for segment in path.iter() {
        let next = match segment {
            Segment::Seq { index } => value.get(*index),
            Segment::Map { key } => value.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    match value {
        // Wherever it was written by mistake.
        Value::String(text) if text.contains("PRIVATE KEY") || is_secret(path) => String::new(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Object(_) | Value::Array(_) => String::new(),
        other => other.to_string(),
    }
}

/// Problems seen from an enclosing path that may be empty.
trait UnderPath {
    fn under_path(self, path: &str) -> Self;
}

impl UnderPath for Problem {
    fn under_path(self, path: &str) -> Self {
        if path.is_empty() { self } else { self.under(path) }
    }
}
