//! What is wrong with something an operator wrote, in words that name the field, the value and the remedy.

use std::fmt;

/// One mistake in a resource. Compilers in `lanes` and `routes` return *every* problem, not the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path inside the resource, e.g. `spec.entry.content.conditions[0].operator`.
    pub field: String,
    /// The offending value as written; empty when the field is missing.
    pub value: String,
    /// What would be right, as a sentence fragment, e.g. `use one of ==, !=, in, …`.
    pub remedy: String,
}

impl Problem {
    /// A problem with `value` at `field`.
    pub fn new(
        field: impl Into<String>,
        value: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), value: value.into(), remedy: remedy.into() }
    }

    /// The same problem seen from an enclosing object: `spec` + `tag` → `spec.tag`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        let joint = if self.field.starts_with('[') || self.field.is_empty() { "" } else { "." };
        self.field = format!("{prefix}{joint}{}", self.field);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.field, self.value, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_seen_from_what_encloses_it() {
        let seen = |field: &str| Problem::new(field, "", "").under("spec.lanes").field;
        assert_eq!(seen("tag"), "spec.lanes.tag");
        assert_eq!(seen("[3].tag"), "spec.lanes[3].tag");
        assert_eq!(seen(""), "spec.lanes");
    }
}
