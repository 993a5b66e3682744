//! What is wrong with something an operator wrote: which sort of fault it is, for programs, and words that name
//! the field, the value and the remedy, for people. No decision hangs on a word.

use std::{fmt, ops::Deref};

/// What sort of mistake something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The value cannot be used.
    #[default]
    Invalid,
    /// Something has to be there.
    Missing,
    /// A field, or a kind, of which nothing is known.
    UnknownField,
    /// So many; fewer are allowed.
    TooMany(usize),
    /// Another has it already, and only one may.
    NotUnique,
    /// What is named does not exist.
    NotFound,
    /// What is named does not let it attach, or has not what it asks for.
    NotAttached,
    /// A condition that no request meets.
    NeverHolds,
    /// A condition that every request meets, or more requests than it seems.
    HoldsTooOften,
    /// Both lanes and a route spread requests over versions of an application.
    SpreadTwice,
    /// Others need what is to go.
    InUse,
    /// Applications call on without the lane context that they were called with.
    ContextLost,
    /// A gateway takes from strangers what sidecars restore lanes by.
    StrangersChoose,
    /// It belongs to another controller.
    AnotherController,
    /// A certificate that has expired, does so soon, or is not good yet.
    Expiry,
}

impl Fault {
    /// What programs know it by, as docs/reference/problems.md tells them. Never changed.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::UnknownField => "unknown-field",
            Self::TooMany(_) => "too-many",
            Self::NotUnique => "not-unique",
            Self::NotFound => "not-found",
            Self::NotAttached => "not-attached",
            Self::NeverHolds => "never-holds",
            Self::HoldsTooOften => "holds-too-often",
            Self::SpreadTwice => "spread-twice",
            Self::InUse => "in-use",
            Self::ContextLost => "context-lost",
            Self::StrangersChoose => "strangers-choose",
            Self::AnotherController => "another-controller",
            Self::Expiry => "expiry",
        }
    }
}

/// Where something is inside a resource, e.g. `spec.entry.content.conditions[0].operator`; empty for the resource itself.
/// What is known before and after a change is told apart by it: it says where, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same seen from an enclosing object: `spec` + `tag` → `spec.tag`.
    #[must_use]
    fn under(self, prefix: &str) -> Self {
        let joint = if self.starts_with('[') || self.is_empty() { "" } else { "." };
        Self(format!("{prefix}{joint}{}", self.0))
    }
}

impl Deref for FieldPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FieldPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl From<&String> for FieldPath {
    fn from(path: &String) -> Self {
        Self(path.clone())
    }
}

impl From<String> for FieldPath {
    fn from(path: String) -> Self {
        Self(path)
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One mistake in a resource. Compilers in `lanes` and `routes` return *every* problem, not the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// What sort of mistake it is: what programs decide on.
    pub fault: Fault,
    /// Where in the resource.
    pub field: FieldPath,
    /// The offending value as written; empty when the field is missing.
    pub value: String,
    /// What would be right, as a sentence fragment, e.g. `use one of ==, !=, in, …`.
    pub remedy: String,
}

impl Problem {
    /// A `value` at `field` that cannot be used; or what else is wrong, see [`Problem::of`].
    pub fn new(
        field: impl Into<FieldPath>,
        value: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            fault: Fault::default(),
            field: field.into(),
            value: value.into(),
            remedy: remedy.into(),
        }
    }

    /// The same problem, as a fault of this sort.
    #[must_use]
    pub fn of(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// Whether this one, known before, excuses `later`: the same fault of the same value of the same field, in
    /// whatever words; where there are too many, as many or fewer.
    pub fn excuses(&self, later: &Self) -> bool {
        let is_same = match (self.fault, later.fault) {
            (Fault::TooMany(before), Fault::TooMany(after)) => after <= before,
            (before, after) => before == after && self.value == later.value,
        };
        is_same && self.field == later.field
    }

    /// The same problem seen from an enclosing object: `spec` + `tag` → `spec.tag`.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        Self { field: self.field.under(prefix), ..self }
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
        assert_eq!(seen("tag").as_str(), "spec.lanes.tag");
        assert_eq!(seen("[3].tag").as_str(), "spec.lanes[3].tag");
        assert_eq!(seen("").as_str(), "spec.lanes");
    }

    #[test]
    fn a_problem_excuses_the_same_mistake_in_whatever_words() {
        let known = Problem::new("tag", "A", "use a").of(Fault::NotUnique);
        assert!(known.excuses(&Problem::new("tag", "A", "anything else").of(Fault::NotUnique)));
        for other in [
            Problem::new("tag", "A", "use a"),
            Problem::new("tag", "B", "use a").of(Fault::NotUnique),
            Problem::new("group", "A", "use a").of(Fault::NotUnique),
        ] {
            assert!(!known.excuses(&other), "{other:?}");
        }
        let many = |count: usize| Problem::new("lanes", format!("{count} lanes"), "");
        let many = |count: usize| many(count).of(Fault::TooMany(count));
        assert!(many(70).excuses(&many(70)) && many(70).excuses(&many(69)));
        assert!(!many(70).excuses(&many(71)));
    }

    /// Every one; of those with a number any.
    const ALL: [Fault; 14] = [
        Fault::Invalid,
        Fault::Missing,
        Fault::UnknownField,
        Fault::TooMany(0),
        Fault::NotUnique,
        Fault::NotFound,
        Fault::NotAttached,
        Fault::NeverHolds,
        Fault::HoldsTooOften,
        Fault::SpreadTwice,
        Fault::InUse,
        Fault::ContextLost,
        Fault::StrangersChoose,
        Fault::AnotherController,
    ];

    #[test]
    fn every_fault_has_a_code_of_its_own_and_is_in_the_reference() {
        let mut codes = ALL.map(Fault::code).to_vec();
        let told = include_str!("../../../docs/reference/problems.md");
        assert!(codes.iter().all(|code| told.contains(&format!("\n| `{code}` |"))));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }
}
