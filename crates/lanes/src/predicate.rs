//! A condition compiled: its operand checked once, its question answered for the values of a request.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use regex::bytes::{Regex, RegexBuilder};

use crate::{
    Problem,
    condition::{Condition, Operator, Parameter, REGEX_BYTES_MAX},
    hash::hash,
    values::{address_text, trim},
};

/// Values a condition names, sorted, without duplicates.
pub(crate) type Words = Box<[Box<[u8]>]>;

/// What a condition asks, with its operand ready to compare.
#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    /// `==` and `in`: a value is among these (sorted).
    Among(Words),
    /// `!=` and `notIn`: no value is among these (sorted).
    NotAmong(Words),
    Percentage(u8),
    Regex(Regex),
    Prefix(Box<[u8]>),
    Exists,
    NotExists,
    Cidr(IpNet),
}

impl Predicate {
    /// Checks and compiles one condition. Fields of problems are relative to it.
    pub(crate) fn compile(condition: &Condition) -> Result<Self, Vec<Problem>> {
        let mut problems: Vec<_> = condition.parameter.check().err().into_iter().collect();
        let predicate = match &condition.operator {
            Operator::Equal(text) => {
                Self::among(&condition.parameter, &[("value", text)]).map(Self::Among)
            }
            Operator::NotEqual(text) => {
                Self::among(&condition.parameter, &[("value", text)]).map(Self::NotAmong)
            }
            Operator::In(list) => Self::list(&condition.parameter, list).map(Self::Among),
            Operator::NotIn(list) => Self::list(&condition.parameter, list).map(Self::NotAmong),
            Operator::Percentage(percent) if *percent > 100 => {
                Err(vec![Problem::new("value", percent.to_string(), "use a number from 0 to 100")])
            }
            Operator::Percentage(percent) => Ok(Self::Percentage(*percent)),
            Operator::Regex(text) => compile_regex(text).map(Self::Regex),
            Operator::Prefix(text) if trim_start(text) != text => {
                Err(vec![Problem::new("value", text, UNTRIMMED_REMEDY)])
            }
            Operator::Prefix(text) => Ok(Self::Prefix(as_compared(&condition.parameter, text))),
            Operator::Exists => Ok(Self::Exists),
            Operator::NotExists => Ok(Self::NotExists),
            Operator::Cidr(_) if condition.parameter != Parameter::ClientIp => {
                Err(vec![Problem::new(
                    "operator",
                    "cidr",
                    "use `cidr` with `attribute: clientIp` only",
                )])
            }
            Operator::Cidr(text) => network(text).map(Self::Cidr).map_err(|problem| vec![problem]),
        };
        match predicate {
            Ok(predicate) if problems.is_empty() => Ok(predicate),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    /// Whether the question is answered yes. `values` are those of the condition's parameter; any of several
    /// may satisfy a positive operator, a negative one must hold for all.
    pub(crate) fn holds<'v>(
        &self,
        mut values: impl Iterator<Item = &'v [u8]>,
        client_ip: IpAddr,
    ) -> bool {
        match self {
            Self::Among(wanted) => values.any(|value| is_among(wanted, value)),
            Self::NotAmong(wanted) => !values.any(|value| is_among(wanted, value)),
            Self::Percentage(percent) => {
                values.any(|value| hash(value) % 100 < u64::from(*percent))
            }
            Self::Regex(regex) => values.any(|value| regex.is_match(value)),
            Self::Prefix(prefix) => values.any(|value| value.starts_with(prefix)),
            Self::Exists => values.next().is_some(),
            Self::NotExists => values.next().is_none(),
            Self::Cidr(network) => contains(*network, client_ip),
        }
    }

    /// Whether it is worth remembering the answer.
    pub(crate) fn is_costly(&self) -> bool {
        matches!(self, Self::Regex(_) | Self::Percentage(_))
    }

    fn list(parameter: &Parameter, list: &[String]) -> Result<Words, Vec<Problem>> {
        if list.is_empty() {
            return Err(vec![Problem::new("values", "[]", "list at least one value")]);
        }
        let fields: Vec<String> = (0..list.len()).map(|index| format!("values[{index}]")).collect();
        let named: Vec<_> = fields.iter().map(String::as_str).zip(list).collect();
        Self::among(parameter, &named)
    }

    fn among(parameter: &Parameter, named: &[(&str, &String)]) -> Result<Words, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wanted = Vec::new();
        for (field, text) in named {
            if trim(text.as_bytes()) != text.as_bytes() {
                problems.push(Problem::new(*field, *text, UNTRIMMED_REMEDY));
            } else if *parameter == Parameter::ClientIp {
                match text.parse::<IpAddr>() {
                    Ok(address) => wanted.push(address_text(address).as_slice().into()),
                    Err(_) => problems.push(Problem::new(
                        *field,
                        *text,
                        "use an IP address, or the operator `cidr` for a network",
                    )),
                }
            } else {
                wanted.push(as_compared(parameter, text));
            }
        }
        wanted.sort();
        wanted.dedup();
        if problems.is_empty() { Ok(wanted.into()) } else { Err(problems) }
    }
}

/// Hosts are lower-case when they are compared, however the operator wrote them.
fn as_compared(parameter: &Parameter, text: &str) -> Box<[u8]> {
    match parameter {
        Parameter::Host => text.to_ascii_lowercase().into_bytes().into(),
        _ => text.as_bytes().into(),
    }
}

const UNTRIMMED_REMEDY: &str =
    "remove the surrounding white space: values of requests are compared without it";

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn is_among(wanted: &[Box<[u8]>], value: &[u8]) -> bool {
    wanted.binary_search_by(|have| (**have).cmp(value)).is_ok()
}

/// Compiles `text` so that it matches whole values only.
fn compile_regex(text: &str) -> Result<Regex, Vec<Problem>> {
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build()
    };
    // Alone first: `a)|(b` must not become right by what we put around it. The line feed is for patterns
    // that end in a comment of the `x` mode.
    build(text)
        .and_then(|_| build(&format!(r"\A(?:{text})\z")))
        .or_else(|error| {
            build(text).and_then(|_| build(&format!("\\A(?:{text}\n)\\z"))).map_err(|_| error)
        })
        .map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            let remedy = match reason.contains("size limit") {
                true => "write a shorter one: this one would take too much memory".to_owned(),
                false => format!("use RE2 syntax (no look-around, no back-references): {reason}"),
            };
            vec![Problem::new("value", text, remedy)]
        })
}

/// `10.0.0.0/8`, `2001:db8::/32`, or a bare address. Bits beyond the length do not count, and
/// `::ffff:10.0.0.0/104` is an IPv4 network in other words.
fn network(text: &str) -> Result<IpNet, Problem> {
    let address_alone = |_| text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse().or_else(address_alone).map_err(|_| {
        Problem::new(
            "value",
            text,
            "use a network such as 10.0.0.0/8 or 2001:db8::/32, or an address",
        )
    })?;
    let as_ipv4 = |wide: Ipv6Net| {
        let address = wide.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, wide.prefix_len().checked_sub(96)?).ok()
    };
    Ok(match network {
        IpNet::V6(wide) => as_ipv4(wide).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    })
}

/// An IPv4 address in IPv6 clothes is an IPv4 address; `::/0` does not contain it.
fn contains(network: IpNet, address: IpAddr) -> bool {
    network.contains(&address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, inside: &[&str], outside: &[&str]) {
        let network = network(text).expect("a valid network");
        let holds = |address: &str| contains(network, address.parse().expect("an address"));
        for address in inside {
            assert!(holds(address), "{text} contains {address}");
        }
        for address in outside {
            assert!(!holds(address), "{text} does not contain {address}");
        }
    }

    #[test]
    fn networks_contain_what_they_say() {
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            &["11.0.0.0", "9.255.255.255", "::a00:1"],
        );
        check("10.1.2.3/16", &["10.1.255.0"], &["10.2.0.0"]);
        check("10.1.2.3", &["10.1.2.3"], &["10.1.2.2", "10.1.2.4"]);
        check("10.1.2.2/31", &["10.1.2.2", "10.1.2.3"], &["10.1.2.4", "10.1.2.1"]);
        check(
            "0.0.0.0/0",
            &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"],
            &["::", "2001:db8::1"],
        );
        check("::/0", &["::", "2001:db8::1", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]);
        check(
            "2001:db8::/32",
            &["2001:db8::", "2001:db8:ffff::1"],
            &["2001:db9::", "2001:db7:ffff::"],
        );
        check("2001:db8::1", &["2001:db8::1"], &["2001:db8::2", "2001:db8::"]);
        check("2001:db8::/96", &["2001:db8::1.2.3.4"], &["2001:db8::1:0:0"]);
        // IPv4 networks in IPv6 clothes, and one that only begins like them.
        check("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]);
        check("::ffff:0:0/96", &["1.2.3.4"], &["::1"]);
        check("::ffff:0:0/95", &["::fffe:0:1"], &["1.2.3.4"]);
    }
}
