//! Request targets and hosts: their forms, and one normalised path that is used to match and to forward.

use std::ops::Range;

use routes::entrance::{is_valid_host, is_valid_target};

use super::head::HeadError;

/// The form of a request target (RFC 9112 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`.
    Absolute {
        /// Whether the scheme is `https`.
        secure: bool,
        /// Where the authority lies in the target.
        authority: Range<usize>,
    },
    /// `host:port`, for CONNECT alone.
    Authority,
    /// `*`, for OPTIONS alone.
    Asterisk,
}

/// A target taken apart, as ranges of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its form.
    pub(crate) form: Form,
    /// The path; empty for an absolute form without one (it means `/`).
    pub(crate) path: Range<usize>,
    /// The query without `?`.
    pub(crate) query: Range<usize>,
}

/// Takes a target apart. Visible ASCII only, no fragment.
pub(crate) fn parse(method: &[u8], target: &[u8]) -> Result<Target, HeadError> {
    if !is_valid_target(target) {
        return Err(HeadError::Target);
    }
    let end = target.len();
    if method == b"CONNECT" {
        if !is_valid_host(target) {
            return Err(HeadError::Target);
        }
        return Ok(Target { form: Form::Authority, path: 0..0, query: end..end });
    }
    if target == b"*" {
        if method != b"OPTIONS" {
            return Err(HeadError::Target);
        }
        return Ok(Target { form: Form::Asterisk, path: 0..1, query: 1..1 });
    }
    let (form, path_start) = if target[0] == b'/' {
        (Form::Origin, 0)
    } else {
        let (secure, start) = if starts_with_ignoring_case(target, b"http://") {
            (false, 7)
        } else if starts_with_ignoring_case(target, b"https://") {
            (true, 8)
        } else {
            return Err(HeadError::Target);
        };
        let length = target[start..]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(end - start);
        if !is_valid_host(&target[start..start + length]) {
            return Err(HeadError::Host);
        }
        (Form::Absolute { secure, authority: start..start + length }, start + length)
    };
    let path_end = memchr::memchr(b'?', &target[path_start..]).map_or(end, |at| path_start + at);
    let query_start = (path_end + 1).min(end);
    Ok(Target { form, path: path_start..path_end, query: query_start..end })
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.len() >= prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// What to do with paths that servers resolve differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathPolicy {
    /// An edge: refuse encoded slashes, backslashes and dot segments; decode what needs no encoding.
    Strict,
    /// Between applications that know each other: the path stays byte for byte as it was written.
    AsWritten,
}

/// Normalises `path` as `policy` says: appends the normalised form to `out` and returns true, or returns false when
/// it stays as it is.
pub(crate) fn normalise(
    path: &[u8],
    policy: PathPolicy,
    out: &mut Vec<u8>,
) -> Result<bool, HeadError> {
    match policy {
        PathPolicy::AsWritten => Ok(false),
        PathPolicy::Strict => routes::normalise(path, out).map_err(|error| match error {
            routes::PathError::Ambiguous => HeadError::AmbiguousPath,
            routes::PathError::Malformed => HeadError::Target,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_four_forms() {
        let form = |method: &str, target: &str| {
            parse(method.as_bytes(), target.as_bytes()).map(|target| target.form)
        };
        assert_eq!(form("GET", "/a?b"), Ok(Form::Origin));
        assert_eq!(
            form("GET", "HTTP://a:80/b"),
            Ok(Form::Absolute { secure: false, authority: 7..11 })
        );
        assert_eq!(form("GET", "https://a"), Ok(Form::Absolute { secure: true, authority: 8..9 }));
        assert_eq!(form("CONNECT", "a:443"), Ok(Form::Authority));
        assert_eq!(form("OPTIONS", "*"), Ok(Form::Asterisk));
        for (method, target) in [
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "a:443"),
            ("CONNECT", "/a"),
            ("GET", "/a#b"),
            ("GET", "/\u{e9}"),
            ("GET", ""),
            ("GET", "ftp://a/"),
            ("GET", "/a\tb"),
        ] {
            assert!(form(method, target).is_err(), "{method} {target}");
        }
        assert_eq!(form("GET", "http:///a"), Err(HeadError::Host));
        assert_eq!(form("GET", "http://u@a/"), Err(HeadError::Host));
        let parts = parse(b"GET", b"http://a?x").unwrap();
        assert_eq!((parts.path, parts.query), (8..8, 9..10));
    }
}
