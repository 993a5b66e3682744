//! The one form of a path that is used to match and to forward, so that no server behind resolves another path than
//! the one that was matched.

use std::fmt;

/// Why a path has no one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// `%2F`, `%5C`, `\` or dot segments, which servers resolve differently.
    Ambiguous,
    /// Percent-encoding that is none, or of NUL.
    Malformed,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ambiguous => "ambiguous path (encoded slash, backslash or dot segment)",
            Self::Malformed => "malformed percent-encoding in the path",
        })
    }
}

impl std::error::Error for PathError {}

/// Normalises `path`: appends the normalised form to `out` and returns true, or returns false when it is normal
/// already. Percent-encoding of characters that need none is undone, hexadecimal digits become upper case, and what is
/// beyond ASCII is encoded. Slashes in a row stay: see [`merge_slashes`].
pub fn normalise(path: &[u8], out: &mut Vec<u8>) -> Result<bool, PathError> {
    let suspicious = path
        .iter()
        .fold(false, |seen, byte| seen | matches!(byte, b'%' | b'\\' | b'.') | !byte.is_ascii());
    if !suspicious {
        return Ok(false);
    }
    let start = out.len();
    let mut at = 0;
    while at < path.len() {
        match path[at] {
            b'\\' => return Err(PathError::Ambiguous),
            b'%' => {
                let (Some(high), Some(low)) = (hex(path.get(at + 1)), hex(path.get(at + 2))) else {
                    return Err(PathError::Malformed);
                };
                match high << 4 | low {
                    b'/' | b'\\' => return Err(PathError::Ambiguous),
                    0 => return Err(PathError::Malformed),
                    byte if byte.is_ascii_alphanumeric()
                        || matches!(byte, b'-' | b'.' | b'_' | b'~') =>
                    {
                        out.push(byte)
                    }
                    _ => out.extend_from_slice(&[
                        b'%',
                        path[at + 1].to_ascii_uppercase(),
                        path[at + 2].to_ascii_uppercase(),
                    ]),
                }
                at += 3;
            }
            byte => {
                push_encoded(byte, out);
                at += 1;
            }
        }
    }
    // `..;` counts too: some servers cut path parameters off before they resolve dots.
    let dotted = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or(segment);
        matches!(name, b"." | b"..")
    };
    if out[start..].split(|byte| *byte == b'/').any(dotted) {
        return Err(PathError::Ambiguous);
    }
    let changed = &out[start..] != path;
    if !changed {
        out.truncate(start);
    }
    Ok(changed)
}

/// Whether slashes stand in a row.
pub fn has_slashes_in_a_row(path: &[u8]) -> bool {
    let pairs = path.iter().zip(path.iter().skip(1));
    pairs.fold(false, |seen, pair| seen | matches!(pair, (b'/', b'/')))
}

/// Appends `path` with one slash for those in a row, as most servers take them.
pub fn merge_slashes(path: &[u8], out: &mut Vec<u8>) {
    let mut last = 0;
    for byte in path.iter().copied() {
        if (last, byte) != (b'/', b'/') {
            out.push(byte);
        }
        last = byte;
    }
}

/// Appends `text` with everything beyond ASCII percent-encoded and returns true, or returns false when it has nothing of
/// the kind.
pub fn encode_beyond_ascii(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.is_ascii() {
        return false;
    }
    text.iter().for_each(|byte| push_encoded(*byte, out));
    true
}

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii() {
        out.push(byte);
    } else {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
    }
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    char::from(*digit?).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<&str, PathError>) {
        let mut out = b"kept".to_vec();
        let outcome = normalise(path.as_bytes(), &mut out).map(|changed| {
            assert_eq!(&out[..4], b"kept");
            if changed { String::from_utf8(out[4..].to_vec()).unwrap() } else { path.to_owned() }
        });
        assert_eq!(outcome.as_deref().map_err(|error| *error), expected, "path {path}");
    }

    #[test]
    fn paths_have_one_form() {
        check("/a/b", Ok("/a/b"));
        check("/a.b/..c/d..", Ok("/a.b/..c/d.."));
        check("/%61%2d%7e", Ok("/a-~"));
        check("/%c3%a9", Ok("/%C3%A9"));
        check("/%C3%A9", Ok("/%C3%A9"));
        check("/a%20b", Ok("/a%20b"));
        check("/\u{4e2d}/%e4", Ok("/%E4%B8%AD/%E4"));
        check("//a", Ok("//a"));
        check("/a//%62", Ok("/a//b"));
        check("/%2e//a/%61", Err(PathError::Ambiguous));
    }

    #[test]
    fn slashes_in_a_row_are_one() {
        for (path, expected) in
            [("//a", "/a"), ("/a///b//", "/a/b/"), ("//", "/"), ("/a/b", "/a/b"), ("", "")]
        {
            let mut out = Vec::new();
            merge_slashes(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
            assert_eq!(has_slashes_in_a_row(path.as_bytes()), path != expected, "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/.",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a/..;x/b",
        ] {
            check(path, Err(PathError::Ambiguous));
        }
        for path in ["/%", "/%4", "/%zz", "/%00"] {
            check(path, Err(PathError::Malformed));
        }
    }
}
