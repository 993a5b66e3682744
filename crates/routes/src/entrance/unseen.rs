//! What conditions can never see at an entrance, for those who check resources before any request comes.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::{
    Forwarded, Policy,
    field::{Field, is_underscored},
    name::{Name, Names},
    target::{is_valid_host, is_valid_target, split_port, without_root_dot},
};
use crate::normalise;

/// Why no condition sees a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// It is for one hop alone, at every entrance.
    OneHop,
    /// Gateways drop names with `_`.
    Underscored,
    /// Clients are not believed.
    NotTrusted,
    /// No proxies in front are believed.
    NoTrustedHops,
}

impl Policy<'_> {
    /// Whether it is a gateway's: names with `_` are dropped there, and paths normalised.
    pub fn is_gateway(&self) -> bool {
        matches!(self.forwarded, Forwarded::Appended { .. })
    }

    /// Why no condition sees fields with this name; `None` where they are seen.
    pub fn unseen(&self, name: &str) -> Option<Unseen> {
        let field = Field::new(name, b"");
        if Names::HOP_BY_HOP.contains(field.name) {
            Some(Unseen::OneHop)
        } else if self.is_gateway() && is_underscored(&field) {
            Some(Unseen::Underscored)
        } else if !self.dropped().contains(field.name) && !self.drops_id(&field) {
            None
        } else if matches!(
            field.name,
            Name::Traceparent | Name::Tracestate | Name::RequestId | Name::B3 | Name::Other
        ) {
            Some(Unseen::NotTrusted)
        } else {
            Some(Unseen::NoTrustedHops)
        }
    }
}

impl Unseen {
    /// Whether another entrance in the same place might show the field: one that trusts more, or speaks a protocol
    /// in which it is no connection's own.
    pub fn depends_on_entrance(self) -> bool {
        matches!(self, Self::OneHop | Self::NotTrusted | Self::NoTrustedHops)
    }
}

/// Whether the host of some request may be `text`, in any case.
pub fn may_be_host(text: &str) -> bool {
    let bytes = text.as_bytes();
    is_valid_host(bytes) && split_port(bytes).1.is_none() && without_root_dot(bytes) == bytes
}

/// Whether the path of some request may be `text`, where paths are normalised.
pub fn may_be_path(text: &str) -> bool {
    may_begin_path(text) && normalise(text.as_bytes(), &mut Vec::new()) == Ok(false)
}

/// Whether the path of some request may begin with `text`, where paths are normalised.
pub fn may_begin_normal_path(text: &str) -> bool {
    // It may end within a percent-encoding, or within a segment that is dots so far.
    ["", "x", "0", "B", "20"].iter().any(|rest| may_be_path(&format!("{text}{rest}")))
}

/// Whether the path of some request may begin with `text`.
pub fn may_begin_path(text: &str) -> bool {
    let is_path = text.starts_with('/') && !text.contains('?');
    // What is beyond ASCII is seen percent-encoded.
    text == "*" || is_path && text.is_ascii() && is_valid_target(text.as_bytes())
}

/// Whether a regular expression that must match the whole path of a request may match one. What cannot be read is told
/// by who compiles it.
pub fn may_match_path(pattern: &str) -> bool {
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
    let Ok(pattern) = parsed else { return true };
    may_begin_with(&pattern, b'/') || may_begin_with(&pattern, b'*')
}

/// Whether some text that the expression matches may begin with a byte. What it asserts of places in the text is taken
/// to hold.
fn may_begin_with(pattern: &Hir, first: u8) -> bool {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.first() == Some(&first),
        HirKind::Class(Class::Unicode(class)) => {
            let first = char::from(first);
            class.iter().any(|range| (range.start()..=range.end()).contains(&first))
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&first))
        }
        HirKind::Repetition(repeated) => may_begin_with(&repeated.sub, first),
        HirKind::Capture(group) => may_begin_with(&group.sub, first),
        HirKind::Alternation(either) => either.iter().any(|one| may_begin_with(one, first)),
        HirKind::Concat(parts) => {
            let is_empty = |part: &&Hir| part.properties().minimum_len() == Some(0);
            let behind = parts.iter().take_while(is_empty).count();
            parts.iter().take(behind + 1).any(|part| may_begin_with(part, first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_no_normalised_path_has_is_known() {
        for text in [
            "/", "/a", "/a%", "/a%2", "/a%20", "/%3", "/a/.", "/a/..", "/a/..b/", "/a/.b", "/%6",
            "*",
        ] {
            assert!(may_begin_normal_path(text), "{text}");
        }
        for text in
            ["", "a", "/%61", "/a%2f", "/%a", "/%zz", "/a/../b", "/./", "/..;", "/a?b", "/a\\b"]
        {
            assert!(!may_begin_normal_path(text), "{text}");
        }
    }

    #[test]
    fn a_regular_expression_that_no_path_matches_is_known() {
        for pattern in [
            "/a",
            ".*",
            "/a|/b",
            "^/a",
            r"\A/a\z",
            "(?i)/A",
            "x*/a",
            "(a|/)b",
            "[^a]+",
            r"\W.*",
            "(?:)/",
            r"\*",
            "(?s-u:.)a",
            "a|.*b",
            "(/a)?",
            r"\x2fa",
            "(?x) / a",
            "a)",
            "a?b?/",
        ] {
            assert!(may_match_path(pattern), "{pattern}");
        }
        for pattern in [
            "a", "a/b", "^a", "a|b", "[a-z]+", r"\w+/.*", "beta.*", "(a|b)/", "x?y", "", "a*",
            "[a&&b]",
        ] {
            assert!(!may_match_path(pattern), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_matches_a_path_may_match_one(
            pattern in "(\\^|[/a*.?|()\\[\\]+-]){0,8}",
            path in "/[/a*]{0,5}",
        ) {
            let whole = regex::bytes::Regex::new(&format!(r"\A(?:{pattern})\z"));
            if regex_syntax::parse(&pattern).is_ok()
                && whole.is_ok_and(|whole| whole.is_match(path.as_bytes()))
            {
                proptest::prop_assert!(may_match_path(&pattern), "{pattern} matches {path}");
            }
        }

        #[test]
        fn what_a_normalised_path_begins_with_may_begin_one(
            text in "/[a.%/;0-9A-F~ ]{0,12}",
            cut in 0..12_usize,
        ) {
            let mut path = Vec::new();
            let path = match normalise(text.as_bytes(), &mut path) {
                Ok(true) => String::from_utf8(path).unwrap(),
                Ok(false) => text,
                Err(_) => return Ok(()),
            };
            if may_be_path(&path) && cut > 0 {
                let begin = &path[..cut.min(path.len())];
                proptest::prop_assert!(may_begin_normal_path(begin), "{begin} of {path}");
            }
        }
    }
}
