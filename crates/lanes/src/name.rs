//! Names that travel: group names (DNS labels) and tags (Kubernetes label values).

use std::{fmt, sync::Arc};

use crate::Problem;

/// A lane group's name: a DNS label, at most 63 of `a-z 0-9 -`, beginning and ending alphanumeric.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// An instance's tag: a Kubernetes label value (at most 63 of `A-Z a-z 0-9 - _ .`, beginning and ending
/// alphanumeric). `base` and the empty word are no tags: they mean untagged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl GroupName {
    /// Checks and takes a name.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        todo!("{text}")
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Checks and takes a tag. `Ok(None)` for `base` and for the empty word: untagged.
    pub fn parse(text: &str) -> Result<Option<Self>, Problem> {
        todo!("{text}")
    }

    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
