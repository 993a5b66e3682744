//! Request targets and hosts: their forms, and one normalised path that is used to match and to forward.

use std::ops::Range;

use routes::entrance::{is_valid_host, is_valid_target, port};

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
    /// The query without `?`; none where there is no `?`.
    pub(crate) query: Option<Range<usize>>,
}

/// Takes a target apart. No white space, no control characters, no fragment.
#[inline]
pub(crate) fn parse(method: &[u8], target: &[u8], policy: PathPolicy) -> Result<Target, HeadError> {
    if !is_valid_target(target) {
        return Err(HeadError::Target);
    }
    let end = target.len();
    if method == b"CONNECT" {
        // There is no port that is meant where none is said (RFC 9110 §9.3.6).
        if !is_valid_host(target) || port(target).is_none_or(|port| port == 0) {
            return Err(HeadError::Target);
        }
        return Ok(Target { form: Form::Authority, path: 0..0, query: None });
    }
    if target == b"*" {
        if method != b"OPTIONS" {
            return Err(HeadError::Target);
        }
        return Ok(Target { form: Form::Asterisk, path: 0..1, query: None });
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
        let (start, end) =
            (start + userinfo(&target[start..start + length], policy), start + length);
        if !is_valid_host(&target[start..end]) {
            return Err(HeadError::TargetHost);
        }
        (Form::Absolute { secure, authority: start..end }, end)
    };
    let path_end = memchr::memchr(b'?', &target[path_start..]).map_or(end, |at| path_start + at);
    let query = (path_end < end).then_some(path_end + 1..end);
    Ok(Target { form, path: path_start..path_end, query })
}

/// Bytes of the name and password in front of a host. Old clients write them into what they ask a forward proxy for,
/// besides the field that authenticates; nobody else wants them. At an edge they only hide the host from people.
fn userinfo(authority: &[u8], policy: PathPolicy) -> usize {
    match (policy, memchr::memchr(b'@', authority)) {
        (PathPolicy::AsWritten, Some(at)) if !authority[..at].contains(&b'\\') => at + 1,
        _ => 0,
    }
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.len() >= prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// What to do with paths that servers resolve differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathPolicy {
    /// An edge: refuse encoded slashes, backslashes and dot segments; decode what needs no encoding, encode what does.
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
            parse(method.as_bytes(), target.as_bytes(), PathPolicy::Strict)
                .map(|target| target.form)
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
            ("CONNECT", "a"),
            ("CONNECT", "a:0"),
            ("GET", "/a#b"),
            ("GET", ""),
            ("GET", "ftp://a/"),
            ("GET", "/a\tb"),
        ] {
            assert!(form(method, target).is_err(), "{method} {target}");
        }
        assert_eq!(form("GET", "http:///a"), Err(HeadError::TargetHost));
        assert_eq!(form("GET", "http://u@a/"), Err(HeadError::TargetHost));
        let parts = parse(b"GET", b"http://a?x", PathPolicy::Strict).unwrap();
        assert_eq!((parts.path, parts.query), (8..8, Some(9..10)));
        let lenient = |target: &str| parse(b"GET", target.as_bytes(), PathPolicy::AsWritten);
        for target in ["http://u@a:80/x?", "http://u:p@a:80/x?", "http://@a:80/x?"] {
            let parts = lenient(target).unwrap();
            let end = target.len();
            assert_eq!(parts.form, Form::Absolute { secure: false, authority: end - 7..end - 3 });
            assert_eq!((parts.path, parts.query), (end - 3..end - 1, Some(end..end)), "{target}");
        }
        for target in ["http://u@/", "http://u@b@a/", "http://b\\@a/", "http://u:p@/x@a"] {
            assert_eq!(lenient(target), Err(HeadError::TargetHost), "{target}");
        }
    }
}
