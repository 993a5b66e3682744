//! A head given as text, for those who received none from a network: `explain`, tests.

use std::{borrow::Cow, fmt};

use super::{
    Written,
    field::{Field, Fields},
    name::{Name, is_token},
    seen::Head,
    target::{is_valid_host, is_valid_target, split_port},
};
use crate::{PathError, normalise};

/// A head as a client wrote it, understood as a gateway's codec understands one.
#[derive(Debug, Clone)]
pub struct TextHead<'b> {
    method: &'b str,
    authority: &'b str,
    host: Cow<'b, str>,
    path: Cow<'b, str>,
    query: &'b str,
    fields: Vec<Field<'b>>,
}

/// Why a gateway answers a request with 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The method is no token.
    Method,
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
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("malformed method"),
            Self::Target => f.write_str("malformed request target"),
            Self::Path(error) => error.fmt(f),
            Self::Host => f.write_str("exactly one valid Host is required"),
            Self::FieldName(_) => f.write_str("malformed header field name"),
            Self::FieldValue(_) => f.write_str("control character in a header field"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl<'b> TextHead<'b> {
    /// Understands a request for `/path?query`, or `?query`, with these names and values of fields.
    pub fn read(
        method: &'b str,
        target: &'b str,
        fields: impl IntoIterator<Item = (&'b str, &'b str)>,
    ) -> Result<Self, Unreadable> {
        if !is_token(method) {
            return Err(Unreadable::Method);
        }
        if !is_valid_target(target.as_bytes()) {
            return Err(Unreadable::Target);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut normal = Vec::new();
        let path = if path.is_empty() { "/" } else { path };
        let path = match normalise(path.as_bytes(), &mut normal).map_err(Unreadable::Path)? {
            true => Cow::Owned(String::from_utf8_lossy(&normal).into_owned()),
            false => Cow::Borrowed(path),
        };
        let mut read: Vec<Field<'b>> = Vec::new();
        let mut authority = None;
        for (at, (name, value)) in fields.into_iter().enumerate() {
            if !is_token(name) {
                return Err(Unreadable::FieldName(at));
            }
            if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return Err(Unreadable::FieldValue(at));
            }
            let field = Field::new(name, value.as_bytes());
            if field.name == Name::Host && authority.replace(value.trim_ascii()).is_some() {
                return Err(Unreadable::Host);
            }
            read.push(field);
        }
        let authority = authority.ok_or(Unreadable::Host)?;
        if !is_valid_host(authority.as_bytes()) {
            return Err(Unreadable::Host);
        }
        let bare = split_port(authority.as_bytes()).0.len();
        let host = match &authority[..bare] {
            host if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(host.to_ascii_lowercase())
            }
            host => Cow::Borrowed(host),
        };
        Ok(Self { method, authority, host, path, query, fields: read })
    }

    /// The head as it goes on: what Laneway wrote, then what was kept.
    pub fn sent<'s>(&'s self, written: &'s Written) -> TextHead<'s> {
        let written = written.iter().map(|(name, value)| Field::new(name, value));
        TextHead {
            method: self.method,
            authority: self.authority,
            host: Cow::Borrowed(&self.host),
            path: Cow::Borrowed(&self.path),
            query: self.query,
            fields: written.chain(self.kept()).collect(),
        }
    }
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
        self.query
    }
}
