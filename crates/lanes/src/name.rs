//! Names that travel: group names (DNS labels) and tags (Kubernetes label values).

use std::{fmt, sync::Arc};

use crate::Problem;

/// Longest group name and longest tag: what a DNS label and a Kubernetes label value may have.
pub const NAME_BYTES_MAX: usize = 63;

/// The word that, as a tag, means untagged.
pub const BASE: &str = "base";

const GROUP_NAME_REMEDY: &str =
    "use a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
const TAG_REMEDY: &str = "use a Kubernetes label value: at most 63 of A-Z, a-z, 0-9, -, _ and ., beginning and ending with a letter or digit";

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
        if Self::is_valid(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(Problem::new("", text, GROUP_NAME_REMEDY))
        }
    }

    /// Whether `bytes` could be a group's name.
    pub(crate) fn is_valid(bytes: &[u8]) -> bool {
        is_word(bytes, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'), b"-")
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Checks and takes a tag. `Ok(None)` for `base` and for the empty word: untagged.
    pub fn parse(text: &str) -> Result<Option<Self>, Problem> {
        if text.is_empty() || text == BASE {
            Ok(None)
        } else if Self::is_valid(text.as_bytes()) {
            Ok(Some(Self(text.into())))
        } else {
            Err(Problem::new("", text, TAG_REMEDY))
        }
    }

    /// Whether `bytes` could be a tag. `base` and the empty word are none.
    pub(crate) fn is_valid(bytes: &[u8]) -> bool {
        bytes != BASE.as_bytes() && is_word(bytes, |byte| byte.is_ascii_alphanumeric(), b"-_.")
    }

    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 1 to [`NAME_BYTES_MAX`] bytes; the first and the last are `outer`, those between may be `inner` as well.
fn is_word(bytes: &[u8], outer: impl Fn(u8) -> bool, inner: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= NAME_BYTES_MAX
        && outer(*first)
        && outer(*last)
        && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, group: bool, tag: Option<Option<&str>>) {
        assert_eq!(GroupName::parse(text).is_ok(), group, "group name {text:?}");
        let parsed = Tag::parse(text).ok();
        let parsed = parsed.as_ref().map(|tag| tag.as_ref().map(Tag::as_str));
        assert_eq!(parsed, tag, "tag {text:?}");
    }

    #[test]
    fn names_follow_their_grammars() {
        let (full, long) = ("a".repeat(63), "a".repeat(64));
        check("trade", true, Some(Some("trade")));
        check("t-1", true, Some(Some("t-1")));
        check("1", true, Some(Some("1")));
        check(&full, true, Some(Some(&full)));
        check(&long, false, None);
        check("Gray", false, Some(Some("Gray")));
        check("v1.2_b", false, Some(Some("v1.2_b")));
        for bad in ["-", "-a", "a-", ".a", "a.", "_", "a b", "a,b", "a=b", "ä", "a\n"] {
            check(bad, false, None);
        }
        check("", false, Some(None));
        check("base", true, Some(None));
    }

    #[test]
    fn validity_of_bytes_agrees_with_parse() {
        assert!(!Tag::is_valid(b"base") && !Tag::is_valid(b"") && Tag::is_valid(b"Base"));
        assert!(!Tag::is_valid(&[b'a', 0xff]) && !GroupName::is_valid(b""));
    }
}
