//! Conditions: one parameter of a request, one operator (semantics §4).

use std::fmt;

use crate::{Problem, is_token};

/// Bytes a compiled regular expression, and its cache, may take. Enough for Unicode classes with small
/// repetitions; stops `(\w{99}){99}` from taking the data plane's memory.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// Where a condition reads its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// A header; the name compares case-insensitively and is kept lower-case.
    Header(String),
    /// A query parameter, percent-decoded, `+` is a space.
    Query(String),
    /// A cookie, percent-decoded.
    Cookie(String),
    /// A claim of the authenticated caller.
    Claim(String),
    /// The normalised path.
    Path,
    /// The method.
    Method,
    /// The host, lower-case, without port.
    Host,
    /// The client's address.
    ClientIp,
}

/// What a condition asks of the values. Each knows its operand, so no other combination can be built.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `==`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `in`
    In(Vec<String>),
    /// `notIn`
    NotIn(Vec<String>),
    /// `percentage`, 0..=100
    Percentage(u8),
    /// `regex`, matching the whole value; not compiled yet
    Regex(String),
    /// `prefix`, by string
    Prefix(String),
    /// `exists`
    Exists,
    /// `notExists`
    NotExists,
    /// `cidr`, for [`Parameter::ClientIp`] only
    Cidr(String),
}

/// One condition as an operator wrote it, already of the right shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    /// What is read.
    pub parameter: Parameter,
    /// What is asked.
    pub operator: Operator,
}

impl Parameter {
    /// Where in a request it is read, in words: `header canary`.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Header(name) => ("header", name),
            Self::Query(name) => ("query", name),
            Self::Cookie(name) => ("cookie", name),
            Self::Claim(name) => ("claim", name),
            Self::Path => ("path", ""),
            Self::Method => ("method", ""),
            Self::Host => ("host", ""),
            Self::ClientIp => ("clientIp", ""),
        }
    }
}

impl Parameter {
    /// What is wrong with its name, which may still be as an operator wrote it.
    pub fn check(&self) -> Result<(), Problem> {
        let (field, name) = match self {
            Self::Header(name) => ("header", name),
            Self::Query(name) => ("query", name),
            Self::Cookie(name) => ("cookie", name),
            Self::Claim(name) => ("claim", name),
            Self::Path | Self::Method | Self::Host | Self::ClientIp => return Ok(()),
        };
        let is_good = match self {
            Self::Header(name) | Self::Cookie(name) => is_token(name),
            _ => !name.is_empty(),
        };
        if is_good {
            return Ok(());
        }
        let remedy = "use a name of letters, digits and any of !#$%&'*+-.^_`|~";
        Err(Problem::new(field, name, remedy))
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            (place, "") => f.write_str(place),
            (place, name) => write!(f, "{place} `{name}`"),
        }
    }
}

impl Operator {
    /// The operator as it is written in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Equal(_) => "==",
            Self::NotEqual(_) => "!=",
            Self::In(_) => "in",
            Self::NotIn(_) => "notIn",
            Self::Percentage(_) => "percentage",
            Self::Regex(_) => "regex",
            Self::Prefix(_) => "prefix",
            Self::Exists => "exists",
            Self::NotExists => "notExists",
            Self::Cidr(_) => "cidr",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Equal(text)
            | Self::NotEqual(text)
            | Self::Regex(text)
            | Self::Prefix(text)
            | Self::Cidr(text) => write!(f, " `{text}`"),
            Self::In(list) | Self::NotIn(list) => write!(f, " {list:?}"),
            Self::Percentage(percent) => write!(f, " {percent}"),
            Self::Exists | Self::NotExists => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parameter, self.operator)
    }
}
