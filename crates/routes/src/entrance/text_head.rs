//! A head given as text, for those who received none from a network: `explain`, tests.

use std::{borrow::Cow, fmt};

use lanes::is_token;

use super::{
    FIELDS_MAX, HEAD_BYTES_MAX, METHOD_BYTES_MAX, NOMINATIONS_MAX, TARGET_BYTES_MAX, Written,
    field::{Field, Fields, drop_hop_by_hop, is_expected},
    framing::{FramingError, FramingReader},
    name::Name,
    seen::Head,
    target::{is_valid_host, is_valid_target, split_port, without_root_dot},
};
use crate::{
    Edits, PathError, encode_beyond_ascii, has_slashes_in_a_row, merge_slashes, normalise,
};

/// A head as a client wrote it, understood as a gateway's codec understands one.
#[derive(Debug, Clone)]
pub struct TextHead<'b> {
    method: &'b str,
    authority: &'b str,
    host: Cow<'b, str>,
    path: Cow<'b, str>,
    query: Cow<'b, str>,
    fields: Vec<Field<'b>>,
    is_judged: bool,
}

/// Why a gateway refuses a request before it looks at routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The head is larger than [`HEAD_BYTES_MAX`].
    TooLarge,
    /// It has more fields than [`FIELDS_MAX`].
    TooManyFields,
    /// The target is longer than [`TARGET_BYTES_MAX`].
    TargetTooLong,
    /// The method is no token, or too long for one.
    Method,
    /// CONNECT.
    Connect,
    /// The target has characters that none has.
    Target,
    /// The path has no one form.
    Path(PathError),
    /// Not exactly one valid Host.
    Host,
    /// The field of this position has a name that is no token.
    FieldName(usize),
    /// The field of this position has control characters in its value.
    FieldValue(usize),
    /// No length, or several.
    ContentLength,
    /// Other codings before `chunked`.
    TransferEncoding,
    /// Codings of which `chunked` is not the last.
    NotChunkedLast,
    /// Something but `100-continue` is expected.
    Expect,
    /// `Connection` names more fields than [`NOMINATIONS_MAX`].
    Connection,
    /// A length and chunks.
    TwoFramings,
}

impl Unreadable {
    /// The status it is answered with.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyFields => 431,
            Self::TargetTooLong => 414,
            Self::Connect => 405,
            Self::TransferEncoding => 501,
            Self::Expect => 417,
            Self::Method
            | Self::Target
            | Self::Path(_)
            | Self::Host
            | Self::FieldName(_)
            | Self::FieldValue(_)
            | Self::ContentLength
            | Self::NotChunkedLast
            | Self::Connection
            | Self::TwoFramings => 400,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "head larger than {HEAD_BYTES_MAX} bytes"),
            Self::TooManyFields => write!(f, "more than {FIELDS_MAX} header fields"),
            Self::TargetTooLong => {
                write!(f, "request target longer than {TARGET_BYTES_MAX} bytes")
            }
            Self::Method => f.write_str("malformed start line"),
            Self::Connect => f.write_str("CONNECT is not supported here"),
            Self::Target => f.write_str("malformed request target"),
            Self::Path(error) => error.fmt(f),
            Self::Host => f.write_str("exactly one valid Host is required"),
            Self::FieldName(_) => f.write_str("malformed header field name"),
            Self::FieldValue(_) => f.write_str("control character in a header field"),
            Self::ContentLength => f.write_str("malformed Content-Length"),
            Self::TransferEncoding => f.write_str("Transfer-Encoding other than chunked"),
            Self::NotChunkedLast => {
                f.write_str("Transfer-Encoding whose last coding is not chunked")
            }
            Self::Expect => f.write_str("an expectation other than 100-continue"),
            Self::Connection => {
                write!(f, "Connection that names more than {NOMINATIONS_MAX} fields")
            }
            Self::TwoFramings => f.write_str("both Content-Length and Transfer-Encoding"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<PathError> for Unreadable {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Ambiguous => Self::Path(error),
            PathError::Malformed => Self::Target,
        }
    }
}

impl From<FramingError> for Unreadable {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::ContentLength => Self::ContentLength,
            FramingError::TransferEncoding => Self::TransferEncoding,
            FramingError::NotChunkedLast => Self::NotChunkedLast,
            FramingError::TwoFramings => Self::TwoFramings,
        }
    }
}

impl<'b> TextHead<'b> {
    /// Understands a request for `/path?query`, or `?query`, with these names and values of fields; for CONNECT the
    /// target is `host:port`. Refuses in the order of a gateway's codec.
    pub fn read(
        method: &'b str,
        target: &'b str,
        fields: impl IntoIterator<Item = (&'b str, &'b str)>,
    ) -> Result<Self, Unreadable> {
        let read = read_fields(method, target, fields)?;
        if !is_token(method) || method.len() > METHOD_BYTES_MAX {
            return Err(Unreadable::Method);
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(Unreadable::TargetTooLong);
        }
        let is_connect = method == "CONNECT";
        if !is_valid_target(target.as_bytes()) || is_connect && !is_valid_host(target.as_bytes()) {
            return Err(Unreadable::Target);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut normal = Vec::new();
        let path = if path.is_empty() || is_connect { "/" } else { path };
        let path = match normalise(path.as_bytes(), &mut normal)? {
            true => Cow::Owned(String::from_utf8_lossy(&normal).into_owned()),
            false => Cow::Borrowed(path),
        };
        let mut encoded = Vec::new();
        let query = match encode_beyond_ascii(query.as_bytes(), &mut encoded) {
            true => Cow::Owned(String::from_utf8_lossy(&encoded).into_owned()),
            false => Cow::Borrowed(query),
        };
        let question_mark = usize::from(target.contains('?'));
        if !target.is_ascii() && path.len() + question_mark + query.len() > TARGET_BYTES_MAX {
            return Err(Unreadable::TargetTooLong);
        }
        check_framing(&read)?;
        if read.iter().any(|field| !is_expected(field)) {
            return Err(Unreadable::Expect);
        }
        let (authority, host) = ("", Cow::default());
        let mut head =
            Self { method, authority, host, path, query, fields: read, is_judged: false };
        if drop_hop_by_hop(&mut head.clone()).nominations > NOMINATIONS_MAX {
            return Err(Unreadable::Connection);
        }
        let authority = only_host(&head.fields).ok_or(Unreadable::Host)?;
        if is_connect {
            let is_its_own = authority.eq_ignore_ascii_case(target);
            return Err(if is_its_own { Unreadable::Connect } else { Unreadable::Host });
        }
        (head.authority, head.host) = (authority, host_of(authority));
        Ok(head)
    }

    /// The head as it goes on and is read again: what Laneway wrote, what was kept, what the route adds.
    pub fn sent<'s>(&'s self, written: &'s Written, edits: &Edits<'s>) -> TextHead<'s> {
        let written = written.iter().map(|(name, value)| Field::new(name, value));
        let added = edits.added().map(|(name, value)| Field::new(name, value.as_bytes()));
        let fields: Vec<Field<'s>> = written.chain(self.kept()).chain(added).collect();
        let authority = only_host(&fields).unwrap_or(self.authority);
        let mut path = Vec::new();
        edits.write_path(self.path.as_bytes(), &mut path);
        TextHead {
            method: self.method,
            authority,
            host: host_of(authority),
            path: Cow::Owned(String::from_utf8_lossy(&path).into_owned()),
            query: Cow::Borrowed(&self.query),
            fields,
            is_judged: false,
        }
    }
}

/// The fields of a head that is not too large.
fn read_fields<'b>(
    method: &str,
    target: &str,
    fields: impl IntoIterator<Item = (&'b str, &'b str)>,
) -> Result<Vec<Field<'b>>, Unreadable> {
    let mut bytes = method.len() + target.len() + "  HTTP/1.1\r\n\r\n".len();
    let mut read: Vec<Field<'b>> = Vec::new();
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at == FIELDS_MAX {
            return Err(Unreadable::TooManyFields);
        }
        if !is_token(name) {
            return Err(Unreadable::FieldName(at));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(Unreadable::FieldValue(at));
        }
        bytes += name.len() + value.len() + ": \r\n".len();
        read.push(Field::new(name, value.trim_ascii().as_bytes()));
    }
    if bytes > HEAD_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    Ok(read)
}

/// Whether it is clear where the body ends.
fn check_framing(fields: &[Field<'_>]) -> Result<(), Unreadable> {
    let mut framing = FramingReader::default();
    for field in fields {
        framing.read(field.name, field.value)?;
    }
    framing.end()?;
    Ok(())
}

/// The host as it is matched, of one with a port as sent.
fn host_of(authority: &str) -> Cow<'_, str> {
    match &authority[..without_root_dot(split_port(authority.as_bytes()).0).len()] {
        host if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(host.to_ascii_lowercase())
        }
        host => Cow::Borrowed(host),
    }
}

/// The one valid Host.
fn only_host<'b>(fields: &[Field<'b>]) -> Option<&'b str> {
    let mut hosts = fields.iter().filter(|field| field.name == Name::Host);
    let (only, None) = (hosts.next()?, hosts.next()) else { return None };
    std::str::from_utf8(only.value).ok().filter(|_| is_valid_host(only.value))
}

impl<'b> Fields<'b> for TextHead<'b> {
    fn kept(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + Clone {
        self.fields.iter().copied()
    }

    fn drop_where(&mut self, mut is_dropped: impl FnMut(&Field<'b>) -> bool) {
        self.fields.retain(|field| !is_dropped(field));
    }
}

impl<'b> Head<'b> for TextHead<'b> {
    fn method(&self) -> &str {
        self.method
    }

    fn scheme(&self) -> Option<&'static str> {
        None
    }

    fn authority(&self) -> &'b [u8] {
        self.authority.as_bytes()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn merge_slashes(&mut self) {
        if has_slashes_in_a_row(self.path.as_bytes()) {
            let mut merged = Vec::new();
            merge_slashes(self.path.as_bytes(), &mut merged);
            self.path = Cow::Owned(String::from_utf8_lossy(&merged).into_owned());
        }
    }

    fn judge(&mut self) {
        self.is_judged = true;
    }

    fn is_judged(&self) -> bool {
        self.is_judged
    }
}
