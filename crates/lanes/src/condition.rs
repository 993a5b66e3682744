//! Conditions: one parameter of a request, one operator (design §2.4).

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
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What is read.
    pub parameter: Parameter,
    /// What is asked.
    pub operator: Operator,
}
