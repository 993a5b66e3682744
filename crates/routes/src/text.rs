//! Texts that must be equal to, or wholly match, something: header values, query values, regex paths.

use lanes::Problem;
use regex::bytes::{Regex, RegexBuilder};

use crate::spec::TextSpec;

/// Bytes of a regular expression as written: the Gateway API's own limit for a path.
const REGEX_PATTERN_BYTES_MAX: usize = 1024;

/// Bytes a compiled regular expression may take, and again its lazily built automaton per thread. A route
/// table may hold hundreds, so that one must not take more than a table of plain paths would.
const REGEX_PROGRAM_BYTES_MAX: usize = 256 * 1024;

/// A compiled [`TextSpec`].
#[derive(Debug)]
pub(crate) enum TextMatcher {
    Exact(Box<[u8]>),
    Regex(Regex),
}

impl TextMatcher {
    /// Compiles; the problem's field is relative to the match, `value`.
    pub(crate) fn compile(spec: &TextSpec) -> Result<Self, Problem> {
        match spec {
            TextSpec::Exact(text) => Ok(Self::Exact(text.as_bytes().into())),
            TextSpec::Regex(pattern) => whole_value_regex(pattern).map(Self::Regex),
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A regular expression that must match the whole value, in linear time. The problem's field is `value`.
pub(crate) fn whole_value_regex(pattern: &str) -> Result<Regex, Problem> {
    if pattern.is_empty() || pattern.len() > REGEX_PATTERN_BYTES_MAX {
        let remedy =
            format!("write a regular expression of 1 to {REGEX_PATTERN_BYTES_MAX} characters");
        return Err(Problem::new("value", pattern, remedy));
    }
    // Compiled alone first: wrapped, `a)|(?:b` would pass as something nobody wrote.
    compile(pattern).and_then(|_| compile(&format!(r"\A(?:{pattern})\z"))).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        Problem::new(
            "value",
            pattern,
            format!("use RE2 syntax without look-around or back-references ({last})"),
        )
    })
}

/// What is wrong with a regular expression, at `value`.
pub fn check_expression(pattern: &str) -> Result<(), Problem> {
    whole_value_regex(pattern).map(drop)
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .dfa_size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, value: &str, expected: bool) {
        let regex = whole_value_regex(pattern).unwrap();
        assert_eq!(regex.is_match(value.as_bytes()), expected, "pattern {pattern} value {value:?}");
    }

    #[test]
    fn a_regex_must_match_the_whole_value() {
        check("v[0-9]+", "v12", true);
        check("v[0-9]+", "xv12", false);
        check("v[0-9]+", "v12x", false);
        check("a|b", "a", true);
        check("a|b", "ab", false);
        check("a.*", "a\n", false);
        check("(?i)gray", "GRAY", true);
    }

    #[test]
    fn what_cannot_be_a_regex_is_told_with_its_reason() {
        for pattern in ["(", "a)|(?:b", r"(a)\1", "(?=a)", "", "a{1000}{1000}"] {
            let problem = whole_value_regex(pattern).unwrap_err();
            assert_eq!((problem.field.as_str(), problem.value.as_str()), ("value", pattern));
        }
        assert!(whole_value_regex(&"a".repeat(REGEX_PATTERN_BYTES_MAX + 1)).is_err());
    }
}
