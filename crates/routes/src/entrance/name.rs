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
}

impl Name {
    /// Recognises a name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        // By length first: most names are settled by one comparison of integers.
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            4 => &[(b"host", Self::Host)],
            6 => &[(b"cookie", Self::Cookie), (b"expect", Self::Expect)],
            7 => &[(b"baggage", Self::Baggage), (b"upgrade", Self::Upgrade)],
            9 => &[(b"forwarded", Self::Forwarded), (b"x-real-ip", Self::RealIp)],
            10 => &[
                (b"connection", Self::Connection),
                (b"keep-alive", Self::KeepAlive),
                (b"tracestate", Self::Tracestate),
            ],
            11 => &[(b"traceparent", Self::Traceparent)],
            12 => &[(b"content-type", Self::ContentType), (b"x-request-id", Self::RequestId)],
            13 => &[(b"authorization", Self::Authorization)],
            14 => &[
                (b"content-length", Self::ContentLength),
                (b"http2-settings", Self::Http2Settings),
            ],
            15 => &[(b"x-forwarded-for", Self::ForwardedFor)],
            16 => &[
                (b"proxy-connection", Self::ProxyConnection),
                (b"x-forwarded-host", Self::ForwardedHost),
                (b"x-forwarded-port", Self::ForwardedPort),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::ForwardedProto),
            ],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            _ => &[],
        };
        candidates
            .iter()
            .find(|(known, _)| name[0] | 0x20 == known[0] && name.eq_ignore_ascii_case(known))
            .map_or(Self::Other, |(_, known)| *known)
    }

    /// The name in lower case; `None` for [`Name::Other`].
    pub fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Self::Other => return None,
            Self::Connection => "connection",
            Self::KeepAlive => "keep-alive",
            Self::ProxyConnection => "proxy-connection",
            Self::Te => "te",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::Http2Settings => "http2-settings",
            Self::ProxyAuthorization => "proxy-authorization",
            Self::Host => "host",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::Expect => "expect",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Baggage => "baggage",
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
            Self::RequestId => "x-request-id",
            Self::Forwarded => "forwarded",
            Self::ForwardedFor => "x-forwarded-for",
            Self::ForwardedProto => "x-forwarded-proto",
            Self::ForwardedHost => "x-forwarded-host",
            Self::ForwardedPort => "x-forwarded-port",
            Self::RealIp => "x-real-ip",
        })
    }

    /// Meant for the next hop only: never forwarded as it came.
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
                | Self::ProxyAuthorization
        )
    }

    /// What `Connection` may remove by naming it: only names Laneway does not know. Otherwise a client could
    /// make the proxy drop what authenticates, frames or routes its request.
    pub fn may_be_nominated(self) -> bool {
        self == Self::Other
    }
}

/// Whether this may be the name of a field, or a method (RFC 9110 `token`).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Characters of names and methods (RFC 9110 `tchar`).
pub fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
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
        ] {
            assert_eq!(Name::of(text.as_bytes()).as_str(), Some(text));
            assert_eq!(Name::of(text.to_uppercase().as_bytes()).as_str(), Some(text));
            known += 1;
        }
        assert_eq!(known, Name::RealIp as usize, "all but Other");
        assert_eq!(Name::of(b"x-other").as_str(), None);
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
