//! What the fields of either direction have in common: framing, `Connection`, copying.

use super::head::{Field, HeadError};
use super::name::Name;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes (responses only).
    UntilClose,
}

/// What `Content-Length` and `Transfer-Encoding` say together; `None` when neither is there.
/// Marks repeated equal lengths, so that one goes on.
pub(super) fn framing(bytes: &[u8], fields: &mut [Field]) -> Result<Option<Framing>, HeadError> {
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for field in fields {
        match field.name {
            Name::ContentLength => {
                let value = content_length(field.value.of(bytes))?;
                match length {
                    None => length = Some(value),
                    Some(first) if first == value => field.keep = false,
                    Some(_) => return Err(HeadError::ContentLength),
                }
            }
            Name::TransferEncoding => {
                if chunked || !field.value.of(bytes).eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(HeadError::TwoFramings),
        (Some(bytes), false) => Ok(Some(Framing::Length(bytes))),
        (None, true) => Ok(Some(Framing::Chunked)),
        (None, false) => Ok(None),
    }
}

fn content_length(text: &[u8]) -> Result<u64, HeadError> {
    if text.is_empty() || text.len() > 19 {
        return Err(HeadError::ContentLength);
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + u64::from(digit - b'0')),
        _ => Err(HeadError::ContentLength),
    })
}

/// What `Connection` asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// Reads `Connection` and drops what is meant for this hop alone, nominated fields included.
pub(super) fn hop_by_hop(bytes: &[u8], fields: &mut [Field]) -> Options {
    let mut options = Options::default();
    for at in 0..fields.len() {
        if fields[at].name.is_hop_by_hop() {
            fields[at].keep = false;
        }
        if fields[at].name != Name::Connection {
            continue;
        }
        for token in fields[at].value.of(bytes).split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            if token.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else if !token.is_empty() && Name::of(token).may_be_nominated() {
                for field in fields.iter_mut() {
                    if field.name == Name::Other && field.name_of(bytes).eq_ignore_ascii_case(token)
                    {
                        field.keep = false;
                    }
                }
            }
        }
    }
    options
}

/// Appends the lines of all kept fields, whole runs at once.
pub fn write_kept(bytes: &[u8], fields: &[Field], out: &mut Vec<u8>) {
    let mut run: Option<(usize, usize)> = None;
    for field in fields {
        let (start, end) = (field.line.start as usize, field.line.end as usize);
        run = match (run, field.keep) {
            (Some((first, last)), true) if last == start => Some((first, end)),
            (previous, keep) => {
                if let Some((first, last)) = previous {
                    out.extend_from_slice(&bytes[first..last]);
                }
                keep.then_some((start, end))
            }
        };
    }
    if let Some((first, last)) = run {
        out.extend_from_slice(&bytes[first..last]);
    }
}

/// Appends `name: value CRLF`.
pub fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
