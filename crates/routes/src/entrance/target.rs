//! What may be in a target, and hosts with optional ports: `Host`, and the authority of a target.

/// Whether `target` is of visible ASCII without a fragment.
pub fn is_valid_target(target: &[u8]) -> bool {
    !target
        .iter()
        .fold(target.is_empty(), |bad, byte| bad | !(0x21..0x7f).contains(byte) | (*byte == b'#'))
}

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
                && name.iter().all(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
                })
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

/// The port that an authority names.
pub fn port(authority: &[u8]) -> Option<u16> {
    std::str::from_utf8(split_port(authority).1?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
