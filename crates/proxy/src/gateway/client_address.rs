//! Who asks: the peer, or what proxies in front say that are believed.

use std::net::{IpAddr, SocketAddr};

use crate::h1::{name::Name, request::RequestHead};

/// The client's address with `trusted_hops` proxies in front: the peer is the last of them, and each has appended
/// to `x-forwarded-for` whom it heard from. What lies further left is the client's own claim.
pub(crate) fn client_ip(
    head: &RequestHead,
    bytes: &[u8],
    peer: IpAddr,
    trusted_hops: u8,
) -> IpAddr {
    let mut address = peer.to_canonical();
    if trusted_hops == 0 {
        return address;
    }
    let fields = head.fields().iter().rev().filter(|field| field.name == Name::ForwardedFor);
    let mut hops = fields.flat_map(|field| field.value.of(bytes).rsplit(|byte| *byte == b','));
    for _ in 0..trusted_hops {
        match hops.next().and_then(parse) {
            Some(hop) => address = hop,
            // The chain is shorter than configured, or broken here: the last believable address stands.
            None => break,
        }
    }
    address
}

fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{request::RequestPolicy, target::PathPolicy};

    #[track_caller]
    fn check(forwarded: &[&str], trusted_hops: u8, expected: &str) {
        let mut text = "GET / HTTP/1.1\r\nhost: a\r\n".to_owned();
        for value in forwarded {
            text += &format!("X-Forwarded-For: {value}\r\n");
        }
        text += "\r\n";
        let mut head = RequestHead::default();
        let policy = RequestPolicy { path: PathPolicy::Strict, drop_underscored: true };
        assert!(head.advance(text.as_bytes(), policy).unwrap());
        let found = client_ip(&head, text.as_bytes(), "10.0.0.9".parse().unwrap(), trusted_hops);
        assert_eq!(found.to_string(), expected, "{forwarded:?} behind {trusted_hops}");
    }

    #[test]
    fn only_as_many_hops_are_believed_as_are_trusted() {
        check(&[], 0, "10.0.0.9");
        check(&["1.1.1.1"], 0, "10.0.0.9");
        check(&["1.1.1.1"], 1, "1.1.1.1");
        check(&["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1");
        check(&["6.6.6.6, 1.1.1.1, 2.2.2.2"], 2, "1.1.1.1");
        check(&["6.6.6.6", "1.1.1.1", "2.2.2.2"], 2, "1.1.1.1");
        check(&["1.1.1.1"], 3, "1.1.1.1");
        check(&["nonsense, 1.1.1.1"], 2, "1.1.1.1");
        check(&[], 1, "10.0.0.9");
        check(&["[2001:db8::1]:80, ::ffff:1.2.3.4"], 2, "2001:db8::1");
        check(&["::ffff:1.2.3.4"], 1, "1.2.3.4");
    }
}
