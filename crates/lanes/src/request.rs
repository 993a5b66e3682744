//! What a decision may read of a request. The proxy implements it over the bytes it received, tests and
//! `explain` over plain strings; nothing is copied on the way.

use std::net::IpAddr;

/// A request as rules see it: after the entrance has stripped what is not trusted, before any filter.
pub trait Request {
    /// The method, as sent (methods are case-sensitive).
    fn method(&self) -> &str;
    /// The host, lower-case, without port.
    fn host(&self) -> &str;
    /// The normalised path, without query, percent-encoding kept as normalised.
    fn path(&self) -> &str;
    /// The raw query, without `?`; empty when there is none.
    fn query(&self) -> &str;
    /// Who asks: the peer, or what the listener's trusted hops say.
    fn client_ip(&self) -> IpAddr;
    /// All header fields in order, values trimmed of surrounding white space. Names compare case-insensitively.
    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
    /// Values of an authenticated claim; none before authentication exists.
    fn claim(&self, _name: &str) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of a caller whom nobody has authenticated.
    struct Anonymous;

    impl Request for Anonymous {
        fn method(&self) -> &str {
            "GET"
        }

        fn host(&self) -> &str {
            "a"
        }

        fn path(&self) -> &str {
            "/"
        }

        fn query(&self) -> &str {
            ""
        }

        fn client_ip(&self) -> IpAddr {
            IpAddr::from([127, 0, 0, 1])
        }

        fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
            std::iter::empty()
        }
    }

    #[test]
    fn without_authentication_there_are_no_claims() {
        assert_eq!(Anonymous.claim("sub"), None);
    }
}
