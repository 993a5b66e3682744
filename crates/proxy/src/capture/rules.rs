//! The redirect rules as text for `iptables-restore`.

use std::fmt::Write;

use super::{CaptureConfig, Family, MARK};

/// What leaves this host or namespace passes here.
pub const OUTPUT_CHAIN: &str = "LANEWAY_OUTPUT";
/// What arrives from outside passes here.
pub(crate) const INBOUND_CHAIN: &str = "LANEWAY_INBOUND";

/// Both chains, whole. Declaring a chain empties it, and everything up to `COMMIT` takes effect at once.
pub(super) fn chains(config: &CaptureConfig, family: Family) -> String {
    let mut text = format!("*nat\n:{OUTPUT_CHAIN} - [0:0]\n:{INBOUND_CHAIN} - [0:0]\n");
    let mut rule = |chain: &str, matches: &str, target: &str| {
        writeln!(text, "-A {chain} {matches} -j {target}")
            .expect("writing to a string cannot fail");
    };

    rule(OUTPUT_CHAIN, &format!("-m mark --mark {MARK:#x}"), "RETURN");
    if let Some(user) = config.own_user_id {
        rule(OUTPUT_CHAIN, &format!("-m owner --uid-owner {user}"), "RETURN");
    }
    let loopback = match family {
        Family::V4 => "127.0.0.0/8",
        Family::V6 => "::1/128",
    };
    rule(OUTPUT_CHAIN, &format!("-d {loopback}"), "RETURN");
    // Name servers, where an answer is too long for UDP: no HTTP, and the sidecar's own resolver marks nothing.
    rule(OUTPUT_CHAIN, "-p tcp --dport 53", "RETURN");
    for range in &config.excluded_destinations {
        if range.is_ipv4() == (family == Family::V4) {
            rule(OUTPUT_CHAIN, &format!("-d {range}"), "RETURN");
        }
    }
    for port in &config.excluded_outbound_ports {
        rule(OUTPUT_CHAIN, &format!("-p tcp --dport {port}"), "RETURN");
    }
    rule(OUTPUT_CHAIN, "-p tcp", &format!("REDIRECT --to-ports {}", config.outbound_port));

    for port in &config.excluded_inbound_ports {
        rule(INBOUND_CHAIN, &format!("-p tcp --dport {port}"), "RETURN");
    }
    // Only what is for this host: a host that routes must not capture what passes it by.
    for port in &config.application_ports {
        let redirect = format!("REDIRECT --to-ports {}", config.inbound_port);
        rule(
            INBOUND_CHAIN,
            &format!("-m addrtype --dst-type LOCAL -p tcp --dport {port}"),
            &redirect,
        );
    }
    text.push_str("COMMIT\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusions_come_before_the_redirect_and_ranges_go_to_their_family() {
        let config = CaptureConfig {
            outbound_port: 15001,
            inbound_port: 15006,
            application_ports: vec![8080, 8081],
            own_user_id: Some(1337),
            excluded_outbound_ports: vec![3306],
            excluded_destinations: vec![
                "10.9.0.0/16".parse().unwrap(),
                "fd00::/8".parse().unwrap(),
            ],
            excluded_inbound_ports: vec![15020],
            ipv6: true,
        };
        let v4 = "\
*nat
:LANEWAY_OUTPUT - [0:0]
:LANEWAY_INBOUND - [0:0]
-A LANEWAY_OUTPUT -m mark --mark 0x4c57 -j RETURN
-A LANEWAY_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A LANEWAY_OUTPUT -d 127.0.0.0/8 -j RETURN
-A LANEWAY_OUTPUT -p tcp --dport 53 -j RETURN
-A LANEWAY_OUTPUT -d 10.9.0.0/16 -j RETURN
-A LANEWAY_OUTPUT -p tcp --dport 3306 -j RETURN
-A LANEWAY_OUTPUT -p tcp -j REDIRECT --to-ports 15001
-A LANEWAY_INBOUND -p tcp --dport 15020 -j RETURN
-A LANEWAY_INBOUND -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j REDIRECT --to-ports 15006
-A LANEWAY_INBOUND -m addrtype --dst-type LOCAL -p tcp --dport 8081 -j REDIRECT --to-ports 15006
COMMIT
";
        assert_eq!(chains(&config, Family::V4), v4);
        let v6 = v4.replace("127.0.0.0/8", "::1/128").replace("10.9.0.0/16", "fd00::/8");
        assert_eq!(chains(&config, Family::V6), v6);
    }
}
