//! Reads resources from YAML (any number of documents) or JSON. What is wrong is told with file, document, line,
//! field, value and remedy; one wrong document does not hide the mistakes of the others.

use std::{fmt, sync::Arc};

use lanes::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    problem,
    resource::{Object, one_line},
};

mod node;
mod strict;

use node::Node;

pub use strict::json;

/// Bytes of what is written at once, in a file or as a body: 10 000 lanes take about 5 MB.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Objects that are written at once: ten times the lanes of the largest installation measured.
pub(crate) const OBJECTS_MAX: usize = 10_000;

/// One object, and where it was written.
#[derive(Debug, Clone)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Where it was written.
    pub place: Place,
    node: Node,
    /// The whole of what it was written in.
    text: Arc<str>,
}

impl Found {
    /// Whether the namespace was written, or is the default.
    pub fn names_namespace(&self) -> bool {
        self.node.has("metadata", "namespace")
    }

    /// The object as it was written, of its namespace: what it does not name is not in it.
    pub fn written(&self) -> Value {
        let mut written = self.node.to_value();
        if let Some(Value::Object(metadata)) = written.get_mut("metadata") {
            let namespace = self.object.metadata().namespace.clone();
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        written
    }

    /// How a field's number, or word that is no text, was written: `1e2` is not `100`.
    pub fn value_of(&self, field: &str) -> Option<&str> {
        self.node.written_in(&self.text, field)
    }

    /// Where a field of the object was written; for a missing field, the part it is missing from.
    pub fn place_of(&self, field: &str) -> Place {
        Place { line: self.node.line_of(field), ..self.place.clone() }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as named by who asked to read it.
    pub file: String,
    /// Which document of the file, from 1; 0 when there is only one.
    pub document: usize,
    /// The line, from 1; 0 when it is not known.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.document > 0 {
            write!(f, " (document {})", self.document)?;
        }
        Ok(())
    }
}

/// Why a document is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}", said(problem))]
pub struct ReadError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// A problem without the parts it does not have.
fn said(problem: &Problem) -> String {
    let field =
        if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
    let value =
        if problem.value.is_empty() { String::new() } else { format!("`{}`: ", problem.value) };
    one_line(&format!("{field}{value}{}", problem.remedy)).into_owned()
}

/// Every object of a text, in order, and everything that is no object. Empty documents are skipped; of an object
/// with a list of objects named `items` (what `get -o json` prints) each item is an object.
pub fn text(file: &str, text: &str) -> (Vec<Found>, Vec<ReadError>) {
    let documents = match Node::read(text) {
        Ok(documents) => documents,
        Err((line, message)) => {
            let place = Place { file: file.to_owned(), document: 0, line };
            return (Vec::new(), vec![ReadError { place, problem: Problem::new("", "", message) }]);
        }
    };
    let several = documents.len() > 1;
    let whole: Arc<str> = text.into();
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (index, document) in documents.into_iter().enumerate() {
        let number = if several { index + 1 } else { 0 };
        for node in document.objects() {
            let place = Place { file: file.to_owned(), document: number, line: node.line() };
            match Object::from_value(node.to_value()) {
                Ok(object) => {
                    found.push(Found { object, place, node, text: Arc::clone(&whole) });
                }
                Err(mut problem) => {
                    let line = node.line_of(&problem.field);
                    if let Some(written) = node.written_in(text, &problem.field) {
                        written.clone_into(&mut problem.value);
                    }
                    errors.push(ReadError { place: Place { line, ..place }, problem });
                }
            }
        }
    }
    if found.len() > OBJECTS_MAX {
        let place = Place { file: file.to_owned(), document: 0, line: 0 };
        let message = format!("{} objects: write at most {OBJECTS_MAX} into one file", found.len());
        return (Vec::new(), vec![ReadError { place, problem: Problem::new("", "", message) }]);
    }
    (found, errors)
}

/// Reads a value as one of a type. What is wrong with it is told by its path in the value.
///
/// # Errors
/// The first part that is not as the type wants it.
pub fn value<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| problem::from_serde(&error, value))
}

#[cfg(test)]
mod tests;
