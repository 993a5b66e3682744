//! What may be in a target, and hosts with optional ports: `Host`, and the authority of a target.

use std::net::IpAddr;

/// Whether `target` has neither white space nor control characters nor a fragment. Bytes beyond ASCII are let through:
/// clients send what people typed, and nearly all servers take it.
pub fn is_valid_target(target: &[u8]) -> bool {
    !target.iter().fold(target.is_empty(), |bad, byte| {
        bad | (*byte <= b' ') | (*byte == 0x7f) | (*byte == b'#')
    })
}

/// Bytes that a host name may have.
static IN_HOST_NAME: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    allowed
};

/// Whether `text` is a host name or address with an optional port.
pub fn is_valid_host(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    let port_is_valid = port.is_none_or(|digits| {
        (1..=5).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'))
                <= 65_535
    });
    let host_is_valid = match host {
        [b'[', inner @ .., b']'] => std::str::from_utf8(inner)
            .is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
        name => {
            (1..=255).contains(&name.len())
                && name.iter().all(|byte| IN_HOST_NAME[usize::from(*byte)])
        }
    };
    host_is_valid && port_is_valid
}

/// Splits the port off; the brackets of an IPv6 address stay.
pub fn split_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    }
}

/// The name of a host without the dot that says it is whole: both forms mean one host.
pub fn without_root_dot(host: &[u8]) -> &[u8] {
    match host {
        [name @ .., b'.'] if !name.is_empty() => name,
        name => name,
    }
}

/// Whether two authorities mean the same server: in any case, with the scheme's own port written or not.
pub fn is_same_authority(one: &[u8], other: &[u8], default_port: u16) -> bool {
    let ((name, _), (other_name, _)) = (split_port(one), split_port(other));
    without_root_dot(name).eq_ignore_ascii_case(without_root_dot(other_name))
        && port(one).unwrap_or(default_port) == port(other).unwrap_or(default_port)
}

/// The address that a host is, in brackets or not; none of a name.
pub fn ip_of(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The port that an authority names.
pub fn port(authority: &[u8]) -> Option<u16> {
    std::str::from_utf8(split_port(authority).1?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_compared_without_their_default_port() {
        let same = |one: &str, other: &str| is_same_authority(one.as_bytes(), other.as_bytes(), 80);
        for (one, other) in [
            ("a", "A:80"),
            ("a.:80", "a"),
            ("[::1]", "[::1]:80"),
            ("a:8080", "a.:8080"),
            ("1.2.3.4:80", "1.2.3.4"),
        ] {
            assert!(same(one, other) && same(other, one), "{one} {other}");
        }
        for (one, other) in [("a", "a:443"), ("a", "b"), ("a.b", "a"), ("a:81", "a:80"), ("a", "")]
        {
            assert!(!same(one, other) && !same(other, one), "{one} {other}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in ["a", "a.b:80", "1.2.3.4", "[::1]", "[::1]:8080", "sc_a", "A.B:65535"] {
            assert!(is_valid_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a:", "a:x", "a:65536", "a:000080", "a b", "a/b", "[::1", "::1", "a@b",
            "a,b", "[::g]", "a:80:80", "[a.b]",
        ] {
            assert!(!is_valid_host(host.as_bytes()), "{host}");
        }
    }
}
