//! Host names of listeners and routes: exact, `*.suffix`, or any.
//!
//! A wildcard stands for one or more whole labels: `*.example.com` matches `a.example.com` and
//! `a.b.example.com`, not `example.com`.

use hashbrown::HashMap;
use lanes::Problem;

/// Bytes of a host name, as in DNS (RFC 1123).
const HOSTNAME_BYTES_MAX: usize = 253;

/// Bytes of one label of a host name, as in DNS.
const LABEL_BYTES_MAX: usize = 63;

/// What a listener or a route says of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// Every host that ends with this; begins with a dot.
    Suffix(Box<str>),
    /// Every host.
    Any,
}

/// How closely a pattern names a host; the greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Specificity {
    /// The pattern is any.
    Any,
    /// By this many bytes.
    Suffix(usize),
    /// Exactly.
    Exact,
}

impl HostPattern {
    /// Reads `a.example.com` or `*.example.com`; the error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(rest) => {
                check_hostname(rest)?;
                Ok(Self::Suffix(text[1..].into()))
            }
            None => {
                check_hostname(&text)?;
                Ok(Self::Exact(text.into()))
            }
        }
    }

    /// What an optional host name of a listener says; the error is the remedy.
    pub(crate) fn of_listener(hostname: Option<&str>) -> Result<Self, &'static str> {
        match hostname {
            None | Some("") => Ok(Self::Any),
            Some(text) => Self::parse(text),
        }
    }

    /// How closely this names `host`; `None` when it does not match.
    pub(crate) fn specificity(&self, host: &str) -> Option<Specificity> {
        match self {
            Self::Exact(exact) => (**exact == *host).then_some(Specificity::Exact),
            Self::Suffix(suffix) => (host.len() > suffix.len() && host.ends_with(&**suffix))
                .then_some(Specificity::Suffix(suffix.len())),
            Self::Any => Some(Specificity::Any),
        }
    }

    /// How closely this names hosts, whichever they are.
    pub(crate) fn closeness(&self) -> Specificity {
        match self {
            Self::Exact(_) => Specificity::Exact,
            Self::Suffix(suffix) => Specificity::Suffix(suffix.len()),
            Self::Any => Specificity::Any,
        }
    }

    /// What names the hosts that match both, if there are any.
    pub(crate) fn common<'p>(&'p self, other: &'p Self) -> Option<&'p Self> {
        let closer = if self.closeness() < other.closeness() { other } else { self };
        self.intersects(other).then_some(closer)
    }

    /// Whether every host that matches this matches `other` too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Exact(host), _) => other.specificity(host).is_some(),
            (Self::Suffix(one), Self::Suffix(two)) => one.ends_with(&**two),
            (Self::Suffix(_), Self::Exact(_)) | (Self::Any, _) => false,
        }
    }

    /// Whether some host matches both.
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => {
                pattern.specificity(host).is_some()
            }
            (Self::Suffix(one), Self::Suffix(two)) => {
                one.ends_with(&**two) || two.ends_with(&**one)
            }
        }
    }
}

/// Whether `text` is a host name without wildcard; the error is the remedy.
pub(crate) fn check_hostname(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > HOSTNAME_BYTES_MAX {
        return Err(
            "write a host name of 1 to 253 characters, e.g. `shop.example.com` or `*.example.com`",
        );
    }
    let label_is_valid = |label: &str| {
        let bytes = label.as_bytes();
        (1..=LABEL_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    if !text.split('.').all(label_is_valid) {
        return Err(
            "write labels of letters, digits and `-` joined by dots; a wildcard only as the whole first label, e.g. `*.example.com`",
        );
    }
    if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("use a host name; the Gateway API allows no addresses here");
    }
    Ok(())
}

/// Values by host pattern, looked up from the most specific to the least.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    exact: HashMap<Box<str>, T>,
    suffix: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), suffix: HashMap::new(), any: None }
    }
}

impl<T> HostMap<T> {
    /// The value of a pattern, created when there is none.
    pub(crate) fn entry(&mut self, pattern: &HostPattern) -> &mut T
    where
        T: Default,
    {
        match pattern {
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostPattern::Suffix(suffix) => self.suffix.entry(suffix.clone()).or_default(),
            HostPattern::Any => self.any.get_or_insert_with(T::default),
        }
    }

    /// Every value.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.suffix.values_mut()).chain(self.any.as_mut())
    }

    /// The first answer among the patterns that match `host`, the most specific asked first.
    pub(crate) fn find<'m, R>(
        &'m self,
        host: &str,
        mut ask: impl FnMut(&'m T) -> Option<R>,
    ) -> Option<R> {
        if !self.exact.is_empty()
            && let Some(answer) = self.exact.get(host).and_then(&mut ask)
        {
            return Some(answer);
        }
        if !self.suffix.is_empty() {
            // From the left, so that the longest suffix comes first; a wildcard needs a label before it.
            for dot in memchr::memchr_iter(b'.', host.as_bytes()).filter(|dot| *dot > 0) {
                if let Some(answer) = self.suffix.get(&host[dot..]).and_then(&mut ask) {
                    return Some(answer);
                }
            }
        }
        self.any.as_ref().and_then(ask)
    }
}

/// No host names at all is any host; host names that are all wrong are none.
pub(crate) fn compile_hostnames(
    hostnames: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<HostPattern> {
    if hostnames.is_empty() {
        return vec![HostPattern::Any];
    }
    let mut patterns: Vec<HostPattern> = Vec::new();
    for (index, hostname) in hostnames.iter().enumerate() {
        match HostPattern::parse(hostname) {
            Ok(pattern) if !patterns.contains(&pattern) => patterns.push(pattern),
            Ok(_) => {}
            Err(remedy) => {
                problems.push(Problem::new(format!("spec.hostnames[{index}]"), hostname, remedy));
            }
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, host: &str, expected: Option<Specificity>) {
        let parsed = HostPattern::parse(pattern).unwrap();
        assert_eq!(parsed.specificity(host), expected, "pattern {pattern} host {host}");
    }

    #[test]
    fn a_wildcard_stands_for_one_or_more_labels() {
        check("*.example.com", "a.example.com", Some(Specificity::Suffix(12)));
        check("*.example.com", "a.b.example.com", Some(Specificity::Suffix(12)));
        check("*.example.com", "example.com", None);
        check("*.example.com", ".example.com", None);
        check("*.example.com", "badexample.com", None);
        check("A.Example.com", "a.example.com", Some(Specificity::Exact));
        check("a.example.com", "b.a.example.com", None);
    }

    #[test]
    fn intersections_are_those_of_the_gateway_api_text() {
        for (listener, route, expected) in [
            ("test.example.com", "test.example.com", true),
            ("test.example.com", "*.example.com", true),
            ("test.example.com", "*.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "foo.test.example.com", true),
            ("*.example.com", "*.test.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "test.example.net", false),
        ] {
            let (one, two) =
                (HostPattern::parse(listener).unwrap(), HostPattern::parse(route).unwrap());
            assert_eq!(one.intersects(&two), expected, "{listener} {route}");
            assert_eq!(two.intersects(&one), expected, "{route} {listener}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for text in
            ["", "*", "*.", "a..b", "-a.example.com", "a_b.com", "*.*.com", "a.*.com", "10.0.0.1"]
        {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
        assert!(HostPattern::parse(&"a".repeat(64)).is_err());
        assert!(HostPattern::parse(&"a.".repeat(127)).is_err());
    }
}
