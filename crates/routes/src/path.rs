//! Paths: exact, by segment prefix, by regular expression; and the index that finds the most specific.
//!
//! Exact paths come first, then prefixes by length, then regular expressions by the length of their pattern,
//! last the prefix `/`. The Gateway API leaves the place of regular expressions open; they come before `/`
//! because that prefix says nothing of the path, and would hide each of them behind a catch-all rule.

use std::{borrow::Cow, cmp::Reverse};

use hashbrown::HashMap;
use lanes::Request;
use regex::bytes::Regex;

use crate::precedence::Candidate;

/// Bytes of an exact path or prefix: the Gateway API's own limit.
const PATH_BYTES_MAX: usize = 1024;

/// A path of a match, compiled.
#[derive(Debug, Clone)]
pub(crate) enum PathMatcher {
    Exact(Box<str>),
    /// Without trailing slash; empty for `/`.
    Prefix(Box<str>),
    Regex {
        regex: Regex,
        pattern_bytes: usize,
    },
}

/// The candidates of one host of one listener, by path.
#[derive(Debug, Default)]
pub(crate) struct PathIndex {
    exact: HashMap<Box<str>, Vec<Candidate>>,
    prefixes: HashMap<Box<str>, Vec<Candidate>>,
    /// The lengths that occur in `prefixes`, the longest first.
    prefix_bytes: Vec<usize>,
    regexes: Vec<(PathRegex, Candidate)>,
    everything: Vec<Candidate>,
}

#[derive(Debug)]
struct PathRegex {
    regex: Regex,
    pattern_bytes: usize,
}

impl PathIndex {
    pub(crate) fn insert(&mut self, path: &PathMatcher, candidate: Candidate) {
        match path {
            PathMatcher::Exact(path) => self.exact.entry(path.clone()).or_default().push(candidate),
            PathMatcher::Prefix(prefix) if prefix.is_empty() => self.everything.push(candidate),
            PathMatcher::Prefix(prefix) => {
                self.prefixes.entry(prefix.clone()).or_default().push(candidate);
            }
            PathMatcher::Regex { regex, pattern_bytes } => self.regexes.push((
                PathRegex { regex: regex.clone(), pattern_bytes: *pattern_bytes },
                candidate,
            )),
        }
    }

    /// Puts everything in order; to be called once all candidates are in.
    pub(crate) fn finish(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        for list in lists.chain([&mut self.everything]) {
            list.sort_by(Candidate::compare);
        }
        self.regexes.sort_by(|(path, candidate), (other_path, other)| {
            let longest_first = Reverse(path.pattern_bytes).cmp(&Reverse(other_path.pattern_bytes));
            longest_first.then_with(|| candidate.compare(other))
        });
        self.prefix_bytes = self.prefixes.keys().map(|prefix| prefix.len()).collect();
        self.prefix_bytes.sort_unstable_by_key(|bytes| Reverse(*bytes));
        self.prefix_bytes.dedup();
    }

    /// The best candidate that holds, as index of its rule, and the bytes its path matched.
    pub(crate) fn find(&self, request: &impl Request) -> Option<(u32, usize)> {
        let path = request.path();
        let first = |list: &Vec<Candidate>| {
            list.iter().find(|candidate| candidate.conditions.hold(request)).map(|it| it.rule)
        };
        if !self.exact.is_empty()
            && let Some(rule) = self.exact.get(path).and_then(first)
        {
            return Some((rule, path.len()));
        }
        for &bytes in &self.prefix_bytes {
            // Only where a segment ends is it worth hashing.
            if (path.len() == bytes || path.as_bytes().get(bytes) == Some(&b'/'))
                && let Some(rule) = self.prefixes.get(&path[..bytes]).and_then(first)
            {
                return Some((rule, bytes));
            }
        }
        for (regex, candidate) in &self.regexes {
            if candidate.conditions.hold(request) && regex.regex.is_match(path.as_bytes()) {
                return Some((candidate.rule, path.len()));
            }
        }
        if path.starts_with('/') { first(&self.everything).map(|rule| (rule, 0)) } else { None }
    }
}

/// Checks an exact path or a prefix by the Gateway API's rules and normalises its percent-encoding the way
/// requests are normalised; the error is the remedy.
pub(crate) fn check_path(path: &str) -> Result<Cow<'_, str>, String> {
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("write at most {PATH_BYTES_MAX} characters"));
    }
    if !path.starts_with('/') {
        return Err("begin with `/`".to_owned());
    }
    let path = normalised(path).ok_or_else(|| {
        "use letters, digits and -._~!$&'()*+,;=:@/ only, anything else as %XX, without `?` and `#`".to_owned()
    })?;
    for part in ["//", "/./", "/../", "%2F"] {
        if path.contains(part) {
            return Err(format!("write it without `{part}`"));
        }
    }
    for end in ["/.", "/.."] {
        if path.ends_with(end) {
            return Err(format!("do not end with `{end}`"));
        }
    }
    Ok(path)
}

/// Hexadecimal digits in upper case, unreserved characters decoded (RFC 3986, 6.2.2); `None` where a
/// character is not allowed in a path.
fn normalised(path: &str) -> Option<Cow<'_, str>> {
    let mut out = String::new();
    let mut rest = path.as_bytes();
    let mut changed = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            let digits = std::str::from_utf8(digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let decoded = u8::from_str_radix(digits, 16).ok()?;
            if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) {
                out.push(char::from(decoded));
                changed = true;
            } else {
                changed |= digits.bytes().any(|digit| digit.is_ascii_lowercase());
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        } else if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            return None;
        }
    }
    Some(if changed { Cow::Owned(out) } else { Cow::Borrowed(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_the_gateway_api_refuses_are_refused() {
        for path in [
            "",
            "a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a%2fb",
            "/a%2Fb",
            "/a#b",
            "/a?b",
            "/a/..",
            "/a/.",
            "/a b",
            "/é",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%2e%2e/a",
            "/a/%2E",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn percent_encoding_is_normalised() {
        for (path, expected) in [
            ("/a", "/a"),
            ("/%61", "/a"),
            ("/%c3%a9", "/%C3%A9"),
            ("/%C3%A9", "/%C3%A9"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(check_path(path).as_deref(), Ok(expected), "{path}");
        }
    }
}
