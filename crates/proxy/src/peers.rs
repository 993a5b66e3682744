//! How the proxies of Laneway know each other (semantics §11): a request to an instance names the process that sent it,
//! and a sidecar that does not hand it to its application says so in a way that only a proxy understands.

use lanes::{EMBEDDED_SOURCE, ServiceId};
use routes::entrance::{self, Fields, Head, Name, Names, Written};

/// What a member of `Via` that names a process of Laneway begins with.
const MEMBER: &str = "1.1 laneway-";

/// Digits of a process's number.
const NUMBER_DIGITS: usize = 16;

/// How often a request may come back to the process that sent it on: an application behind a gateway may call through it
/// again, and the next one too. More is a circle.
const RETURNS_MAX: usize = 3;

/// Says that a request was not handed to the application. Never handed on.
pub(crate) const REFUSED: &str = "laneway-refused";

/// The status of HTTP with which gRPC says everything.
pub(crate) const GRPC_STATUS: u16 = 200;

/// Why a sidecar has no answer of its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not for this instance. Nothing of it has reached the application.
    Misrouted,
    /// The application cannot be connected to, or gives no sign of life. Nothing of it has reached it either.
    Unreachable,
    /// The application has closed without an answer. It may have done what it was asked.
    Unanswered,
    /// The deadline that the sidecar was told has passed without an answer.
    Late,
    /// The same, and nothing was heard of the application for so long that it may be blamed.
    Silent,
}

impl Refused {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Misrouted => "misrouted",
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
            Self::Silent => "silent",
        }
    }

    /// With which status it is said; to callers of gRPC, who have a status of their own, with 200.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Misrouted => 421,
            Self::Unreachable | Self::Unanswered => 502,
            Self::Late | Self::Silent => 504,
        }
    }

    pub(crate) fn read(status: u16, is_grpc: bool, value: &[u8]) -> Option<Self> {
        let all = [Self::Misrouted, Self::Unreachable, Self::Unanswered, Self::Late, Self::Silent];
        all.into_iter().find(|it| {
            status == (if is_grpc { GRPC_STATUS } else { it.status() })
                && value == it.as_str().as_bytes()
        })
    }
}

/// This process, as others see it.
#[derive(Debug)]
pub(crate) struct Via {
    member: String,
}

/// A request has come back to this process too often.
#[derive(Debug)]
pub(crate) struct Loop;

impl Via {
    pub(crate) fn new(number: u64) -> Self {
        Self { member: format!("{MEMBER}{number:0digits$x}", digits = NUMBER_DIGITS) }
    }

    /// Adds this process to those that a request has passed, and the service it was chosen for where its instances know
    /// themselves by that name.
    pub(crate) fn write<'b>(
        &self,
        head: &mut impl Head<'b>,
        service: &ServiceId,
        written: &mut Written,
    ) -> Result<(), Loop> {
        if head.names().contains(Name::Via) && self.passed(head) > RETURNS_MAX {
            return Err(Loop);
        }
        let member = self.member.as_bytes();
        // Registered by their own sidecars under the very name that callers choose them by.
        if service.source() == EMBEDDED_SOURCE {
            let (namespace, name) = (service.namespace().as_bytes(), service.name().as_bytes());
            entrance::write_via(head, &[member, b" (", namespace, b"/", name, b")"], written);
        } else {
            entrance::write_via(head, &[member], written);
        }
        Ok(())
    }

    /// How often a request has passed this process.
    fn passed<'b>(&self, fields: &impl Fields<'b>) -> usize {
        let members = fields.values(Name::Via).flat_map(|value| value.split(|byte| *byte == b','));
        members.filter(|it| it.trim_ascii().starts_with(self.member.as_bytes())).count()
    }
}

/// The proxy of Laneway that sent a request here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'b> {
    /// The service it chose this instance for, as `namespace/name` in lower case; `None` where it does not say.
    pub(crate) service: Option<&'b [u8]>,
}

impl<'b> Caller<'b> {
    /// Who sent a request here, if a proxy of Laneway did; and leaves its members out of what goes on: an application
    /// that copies fields would pass for a proxy.
    pub(crate) fn take(fields: &mut impl Fields<'b>, written: &mut Written) -> Option<Self> {
        if !fields.names().contains(Name::Via) {
            return None;
        }
        let caller = fields.values(Name::Via).next_back().and_then(Self::read);
        let others: Vec<&[u8]> = fields
            .values(Name::Via)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.starts_with(MEMBER.as_bytes()))
            .collect();
        fields.drop_named(Names::of(&[Name::Via]));
        if !others.is_empty() {
            entrance::write_via(fields, &[&others.join(&b", "[..])], written);
        }
        caller
    }

    /// Reads the last member: the one who sent it.
    fn read(value: &'b [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let at = text.rfind(MEMBER)?;
        let rest = text[at + MEMBER.len()..].get(NUMBER_DIGITS..)?;
        if rest.is_empty() {
            return Some(Self { service: None });
        }
        let service = rest.strip_prefix(" (")?.strip_suffix(')')?;
        // Somebody else came after it.
        (!service.contains(')')).then_some(Self { service: Some(service.as_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::Caller;

    #[test]
    fn the_caller_is_the_last_member() {
        for (value, expected) in [
            ("1.1 laneway-0123456789abcdef", Some(None)),
            ("1.1 laneway-0123456789abcdef (default/sc-b)", Some(Some("default/sc-b"))),
            ("1.0 fred, 1.1 laneway-0123456789abcdef (a/b)", Some(Some("a/b"))),
            ("1.1 laneway-0123456789abcdef, 1.1 nginx", None),
            ("1.1 laneway-0123456789abcdef (a/b), 1.1 nginx (c)", None),
            ("1.1 laneway-012", None),
            ("1.1 varnish", None),
            ("", None),
        ] {
            let caller = Caller::read(value.as_bytes());
            let service = caller.map(|caller| caller.service);
            assert_eq!(service, expected.map(|it| it.map(str::as_bytes)), "{value}");
        }
    }
}
