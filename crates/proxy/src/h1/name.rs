//! The field names the engine itself acts on.

/// A field name the engine knows, or any other.
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
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map_or(Self::Other, |(_, known)| *known)
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

    /// What `Connection` may remove by naming it: only names the engine does not know. Otherwise a client could
    /// make the proxy drop what authenticates, frames or routes its request.
    pub fn may_be_nominated(self) -> bool {
        self == Self::Other
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
