//! Who asks: the peer, or what proxies in front say that are believed.

use std::net::{IpAddr, SocketAddr};

use super::{field::Fields, name::Name};

/// The client's address with `trusted_hops` proxies in front: the peer is the last of them, and each has appended
/// to `x-forwarded-for` whom it heard from. What lies further left is the client's own claim.
pub(super) fn client_ip<'b>(fields: &impl Fields<'b>, peer: IpAddr, trusted_hops: u8) -> IpAddr {
    let mut address = peer.to_canonical();
    if trusted_hops == 0 {
        return address;
    }
    let values = fields.values(Name::ForwardedFor).rev();
    let mut hops = values.flat_map(|value| value.rsplit(|byte| *byte == b','));
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
