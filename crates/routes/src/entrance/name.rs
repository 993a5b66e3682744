//! The field names that Laneway itself acts on.

/// A field name Laneway knows, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Name {
    /// Not one of ours: copied through.
    Other,
    /// `connection`
    Connection,
    /// `keep-alive`
    KeepAlive,
    /// `proxy-connection`
    ProxyConnection,
    /// `te`
    Te,
    /// `transfer-encoding`
    TransferEncoding,
    /// `upgrade`
    Upgrade,
    /// `http2-settings`
    Http2Settings,
    /// `proxy-authorization`
    ProxyAuthorization,
    /// `host`
    Host,
    /// `content-length`
    ContentLength,
    /// `content-type`
    ContentType,
    /// `expect`
    Expect,
    /// `authorization`
    Authorization,
    /// `cookie`
    Cookie,
    /// `baggage`
    Baggage,
    /// `traceparent`
    Traceparent,
    /// `tracestate`
    Tracestate,
    /// `x-request-id`
    RequestId,
    /// `forwarded`
    Forwarded,
    /// `x-forwarded-for`
    ForwardedFor,
    /// `x-forwarded-proto`
    ForwardedProto,
    /// `x-forwarded-host`
    ForwardedHost,
    /// `x-forwarded-port`
    ForwardedPort,
    /// `x-real-ip`
    RealIp,
    /// `grpc-timeout`
    GrpcTimeout,
    /// `via`
    Via,
    /// `date`
    Date,
    /// `max-forwards`
    MaxForwards,
    /// `laneway-refused`
    LanewayRefused,
    /// `sw8`
    Sw8,
    /// Any other that begins with `x-forwarded-`.
    ForwardedOther,
    /// `b3`, and any that begins with `x-b3-`.
    B3,
}

impl Name {
    /// Recognises a name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        match Self::known(name) {
            Self::Other => Self::of_family(name),
            known => known,
        }
    }

    /// Names that nobody has written down, known by how they begin.
    fn of_family(name: &[u8]) -> Self {
        let begins_with = |family: &[u8]| {
            name.split_at_checked(family.len())
                .is_some_and(|(it, _)| it.eq_ignore_ascii_case(family))
        };
        // Settles most of them.
        if !matches!(name, [b'x' | b'X', b'-', ..]) {
            Self::Other
        } else if begins_with(b"x-forwarded-") {
            Self::ForwardedOther
        } else if begins_with(b"x-b3-") {
            Self::B3
        } else {
            Self::Other
        }
    }

    fn known(name: &[u8]) -> Self {
        // By length first: most names are settled by one comparison.
        match name.len() {
            2 => among(name, [(b"te", Self::Te), (b"b3", Self::B3)]),
            3 => among(name, [(b"via", Self::Via), (b"sw8", Self::Sw8)]),
            4 => among(name, [(b"host", Self::Host), (b"date", Self::Date)]),
            6 => among(name, [(b"cookie", Self::Cookie), (b"expect", Self::Expect)]),
            7 => among(name, [(b"baggage", Self::Baggage), (b"upgrade", Self::Upgrade)]),
            9 => among(name, [(b"forwarded", Self::Forwarded), (b"x-real-ip", Self::RealIp)]),
            10 => among(
                name,
                [
                    (b"connection", Self::Connection),
                    (b"keep-alive", Self::KeepAlive),
                    (b"tracestate", Self::Tracestate),
                ],
            ),
            11 => among(name, [(b"traceparent", Self::Traceparent)]),
            12 => among(
                name,
                [
                    (b"content-type", Self::ContentType),
                    (b"x-request-id", Self::RequestId),
                    (b"grpc-timeout", Self::GrpcTimeout),
                    (b"max-forwards", Self::MaxForwards),
                ],
            ),
            13 => among(name, [(b"authorization", Self::Authorization)]),
            14 => among(
                name,
                [
                    (b"content-length", Self::ContentLength),
                    (b"http2-settings", Self::Http2Settings),
                ],
            ),
            15 => among(
                name,
                [
                    (b"x-forwarded-for", Self::ForwardedFor),
                    (b"laneway-refused", Self::LanewayRefused),
                ],
            ),
            16 => among(
                name,
                [
                    (b"proxy-connection", Self::ProxyConnection),
                    (b"x-forwarded-host", Self::ForwardedHost),
                    (b"x-forwarded-port", Self::ForwardedPort),
                ],
            ),
            17 => among(
                name,
                [
                    (b"transfer-encoding", Self::TransferEncoding),
                    (b"x-forwarded-proto", Self::ForwardedProto),
                ],
            ),
            19 => among(name, [(b"proxy-authorization", Self::ProxyAuthorization)]),
            _ => Self::Other,
        }
    }

    /// The name in lower case; `None` where several have it.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        self.line_start().strip_suffix(": ")
    }

    /// What a line of this field begins with: the name in lower case, a colon and a space. Nothing where several
    /// names are meant.
    pub(super) fn line_start(self) -> &'static str {
        match self {
            Self::Other | Self::ForwardedOther | Self::B3 => "",
            Self::Connection => "connection: ",
            Self::KeepAlive => "keep-alive: ",
            Self::ProxyConnection => "proxy-connection: ",
            Self::Te => "te: ",
            Self::TransferEncoding => "transfer-encoding: ",
            Self::Upgrade => "upgrade: ",
            Self::Http2Settings => "http2-settings: ",
            Self::ProxyAuthorization => "proxy-authorization: ",
            Self::Host => "host: ",
            Self::ContentLength => "content-length: ",
            Self::ContentType => "content-type: ",
            Self::Expect => "expect: ",
            Self::Authorization => "authorization: ",
            Self::Cookie => "cookie: ",
            Self::Baggage => "baggage: ",
            Self::Traceparent => "traceparent: ",
            Self::Tracestate => "tracestate: ",
            Self::RequestId => "x-request-id: ",
            Self::Forwarded => "forwarded: ",
            Self::ForwardedFor => "x-forwarded-for: ",
            Self::ForwardedProto => "x-forwarded-proto: ",
            Self::ForwardedHost => "x-forwarded-host: ",
            Self::ForwardedPort => "x-forwarded-port: ",
            Self::RealIp => "x-real-ip: ",
            Self::GrpcTimeout => "grpc-timeout: ",
            Self::Via => "via: ",
            Self::Date => "date: ",
            Self::MaxForwards => "max-forwards: ",
            Self::LanewayRefused => "laneway-refused: ",
            Self::Sw8 => "sw8: ",
        }
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// What `Connection` may remove by naming it: only names Laneway does not know. Otherwise a client could
    /// make the proxy drop what authenticates, frames or routes its request.
    pub(super) fn may_be_nominated(self) -> bool {
        self == Self::Other
    }
}

/// Which of the known names of `LENGTH` bytes this is. With the length known at compile time, letters are lowered and
/// names compared many bytes at a time: in names, the bit that lowers letters is set in everything else but control
/// characters, which no head has.
fn among<const LENGTH: usize, const KNOWN: usize>(
    name: &[u8],
    known: [(&[u8; LENGTH], Name); KNOWN],
) -> Name {
    let Some(name) = name.first_chunk::<LENGTH>() else { return Name::Other };
    let lower = name.map(|byte| byte | 0x20);
    known.into_iter().find(|(known, _)| **known == lower).map_or(Name::Other, |(_, name)| name)
}

/// Names of fields, as a set: what is looked for in a head that does not have it costs one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names(u64);

impl Names {
    /// Meant for the next hop only: never forwarded as they came.
    pub(super) const HOP_BY_HOP: Self = Self::of(&[
        Name::Connection,
        Name::KeepAlive,
        Name::ProxyConnection,
        Name::Te,
        Name::TransferEncoding,
        Name::Upgrade,
        Name::Http2Settings,
        Name::ProxyAuthorization,
    ]);

    /// Those that stand for several names: how one of them is written must be looked at.
    pub(super) const FAMILIES: Self = Self::of(&[Name::Other, Name::ForwardedOther, Name::B3]);

    /// These.
    pub const fn of(names: &[Name]) -> Self {
        let (mut set, mut at) = (Self(0), 0);
        while at < names.len() {
            set = set.with(names[at]);
            at += 1;
        }
        set
    }

    /// These and this one.
    #[must_use]
    pub const fn with(self, name: Name) -> Self {
        Self(self.0 | name.bit())
    }

    /// Whether this one is among them.
    pub fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// Whether one of `others` is among them.
    pub fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// These and `others`.
    #[must_use]
    pub(super) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_are_recognised_in_any_case() {
        assert_eq!(Name::of(b"TRANSFER-encoding"), Name::TransferEncoding);
        assert_eq!(Name::of(b"Host"), Name::Host);
        assert_eq!(Name::of(b"Hosts"), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }

    #[test]
    fn every_known_name_is_recognised_as_itself() {
        let mut known = 0;
        for text in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "proxy-authorization",
            "host",
            "content-length",
            "content-type",
            "expect",
            "authorization",
            "cookie",
            "baggage",
            "traceparent",
            "tracestate",
            "x-request-id",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-real-ip",
            "grpc-timeout",
            "via",
            "date",
            "max-forwards",
            "laneway-refused",
            "sw8",
        ] {
            assert_eq!(Name::of(text.as_bytes()).as_str(), Some(text));
            assert_eq!(Name::of(text.to_uppercase().as_bytes()).as_str(), Some(text));
            known += 1;
        }
        assert_eq!(known, Name::Sw8 as usize, "all but Other");
        assert_eq!(Name::of(b"x-other").as_str(), None);
    }

    #[test]
    fn families_are_known_by_how_they_begin() {
        for (name, expected) in [
            ("X-Forwarded-Prefix", Name::ForwardedOther),
            ("x-forwarded-client-cert", Name::ForwardedOther),
            ("x-forwarded-", Name::ForwardedOther),
            ("x-forwarded-for", Name::ForwardedFor),
            ("x-forwarded", Name::Other),
            ("b3", Name::B3),
            ("X-B3-TraceId", Name::B3),
            ("x-b3", Name::Other),
            ("x-", Name::Other),
            ("my-x-forwarded-for", Name::Other),
        ] {
            assert_eq!(Name::of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn connection_cannot_name_away_what_routes_or_frames_a_request() {
        for name in [
            "host",
            "baggage",
            "content-length",
            "traceparent",
            "authorization",
            "cookie",
            "x-forwarded-for",
        ] {
            assert!(!Name::of(name.as_bytes()).may_be_nominated(), "{name}");
        }
        assert!(Name::of(b"x-hop").may_be_nominated());
    }
}
