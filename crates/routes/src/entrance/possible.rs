//! How values of requests may look where they enter, and what conditions ask of them, as regular expressions: for those
//! who check resources before any request comes. What requests have is always among them; they may allow more.

use std::{net::IpAddr, sync::LazyLock};

use lanes::condition::{Operator, Parameter};

use super::METHOD_BYTES_MAX;
use crate::{
    host::HostPattern,
    language::{beginning, literal},
    spec::ListenerSpec,
};

/// Letters of host names, in lower case.
const HOST_LETTER: &str = "[0-9a-z._~-]";

/// An IPv6 address as hosts say it.
const HOST_ADDRESS: &str = r"\[[0-9a-f]{0,4}:[0-9a-f:.]*\]";

/// A host without port and without the dot that ends a whole name. The client of an older protocol may name none.
static HOST: LazyLock<String> =
    LazyLock::new(|| format!(r"(?:{HOST_LETTER}*[0-9a-z_~-]|\.|{HOST_ADDRESS})?"));

/// As clients send it, in any case and with a port.
static HOST_FIELD: LazyLock<String> =
    LazyLock::new(|| format!("(?i-u:(?:{HOST_LETTER}+|{HOST_ADDRESS})(?::[0-9]{{1,5}})?)"));

/// A path as it was written, though with what is beyond ASCII encoded; or `*` for the server itself.
const PATH_AS_WRITTEN: &str = r#"\*|/[!"$->@-~]*"#;

/// A normalised path: as [`PATH_OF_SEGMENTS`], and no segment is empty but for the last.
static PATH: LazyLock<String> = LazyLock::new(|| format!(r"\*|/|(?:/{})+/?", *SEGMENT));

/// A path in which slashes in a row may stand: what needs no encoding has none, hexadecimal digits are upper-case, and no
/// segment is `.` or `..`, with or without parameters.
static PATH_OF_SEGMENTS: LazyLock<String> = LazyLock::new(|| format!(r"\*|(?:/{}?)+", *SEGMENT));

/// What is between two slashes.
static SEGMENT: LazyLock<String> = LazyLock::new(|| {
    let encoded = "%(?:0[1-9A-F]|[189A-F][0-9A-F]|2[0-9A-C]|3[A-F]|40|5[BDE]|60|7[BCDF])";
    let letter = format!(r#"[!"$&-\-0-:<->@-\[\]-~]|{encoded}"#);
    let name = format!(r"(?:\.?(?:{letter})(?:{letter}|\.)*|\.\.(?:{letter}|\.)+)");
    let parameters = format!(r";(?:{letter}|[.;])*");
    format!("(?:{name}(?:{parameters})?|{parameters})")
});

static METHOD: LazyLock<String> =
    LazyLock::new(|| format!("[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{METHOD_BYTES_MAX}}}"));

/// An address as conditions compare it: IPv6 in lower case, as short as can be, never an IPv4 address in its clothes.
static CLIENT_IP: LazyLock<String> = LazyLock::new(|| {
    let (octet, group) = (OCTET, "(?:0|[1-9a-f][0-9a-f]{0,3})");
    let groups = format!("(?:{group}(?::{group}){{0,5}})?");
    format!(r"{octet}(?:\.{octet}){{3}}|{group}(?::{group}){{7}}|{groups}::{groups}")
});

/// A part of an IPv4 address.
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

/// The value of a field, without the white space around it.
const FIELD: &str = r"(?s-u:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?";

const CONTENT_LENGTH: &str = "[0-9]{1,19}";

/// What was percent-encoded may be anything, without the white space around it.
const DECODED: &str = r"(?s-u:[^\t ](?:.*[^\t ])?)?";

/// Baggage with a member that tells a lane, or hides behind a `%` that it does.
pub const LANE_MEMBERS: &str =
    r"(?s-u:(?:.*,)?[\t ]*(?:l|%6[Cc])(?:a|%61)(?:n|%6[Ee])(?:e|%65)(?:\.|%2[Ee]).*)";

/// What an entrance makes of paths; the later, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paths {
    /// Normalised, slashes in a row are one.
    Merged,
    /// Normalised but for slashes in a row.
    Unmerged,
    /// Nothing.
    AsWritten,
}

/// How values of `parameter` look at some entrance, where paths are at most what `paths` says.
pub fn values(parameter: &Parameter, paths: Paths) -> &'static str {
    match parameter {
        Parameter::Header(name) => match name.as_str() {
            "host" => &HOST_FIELD,
            "content-length" => CONTENT_LENGTH,
            _ => FIELD,
        },
        Parameter::Query(_) | Parameter::Cookie(_) | Parameter::Claim(_) => DECODED,
        Parameter::Path => match paths {
            Paths::Merged => &PATH,
            Paths::Unmerged => &PATH_OF_SEGMENTS,
            Paths::AsWritten => PATH_AS_WRITTEN,
        },
        Parameter::Method => &METHOD,
        Parameter::Host => &HOST,
        Parameter::ClientIp => &CLIENT_IP,
    }
}

/// The hosts of requests that a listener takes.
pub fn hosts(listener: &ListenerSpec) -> String {
    match HostPattern::of_listener(listener.hostname.as_deref()) {
        Ok(HostPattern::Exact(host)) => literal(&host),
        Ok(HostPattern::Suffix(suffix)) => format!("{HOST_LETTER}+{}", literal(&suffix)),
        Ok(HostPattern::Any) | Err(_) => HOST.clone(),
    }
}

/// The values that an operator names: those it asks for, or those it must not have. `None` where it names none, or what
/// it names cannot be read.
pub fn named(parameter: &Parameter, operator: &Operator) -> Option<String> {
    Some(match operator {
        Operator::Equal(text) | Operator::NotEqual(text) => literal(&compared(parameter, text)?),
        Operator::In(list) | Operator::NotIn(list) => {
            let texts: Option<Vec<String>> =
                list.iter().map(|text| Some(literal(&compared(parameter, text)?))).collect();
            texts?.join("|")
        }
        Operator::Prefix(text) => beginning(&begun(parameter, text)),
        Operator::Regex(pattern) => pattern.clone(),
        Operator::Cidr(text) => network(text)?,
        Operator::Percentage(_) | Operator::Exists | Operator::NotExists => return None,
    })
}

/// A text in the form in which it is compared; `None` where it cannot be read.
pub fn compared(parameter: &Parameter, text: &str) -> Option<String> {
    Some(match parameter {
        Parameter::Host => text.to_ascii_lowercase(),
        Parameter::ClientIp => text.parse::<IpAddr>().ok()?.to_canonical().to_string(),
        _ => text.to_owned(),
    })
}

/// A beginning in the form in which it is compared.
pub fn begun(parameter: &Parameter, text: &str) -> String {
    match parameter {
        Parameter::Host => text.to_ascii_lowercase(),
        _ => text.to_owned(),
    }
}

/// The addresses of a network; of IPv6 those that begin like them.
fn network(text: &str) -> Option<String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u32>().ok()?)),
        None => (text.parse().ok()?, None),
    };
    match (address, address.to_canonical()) {
        (IpAddr::V4(address), _) => Some(ipv4_network(address.octets(), bits.unwrap_or(32))),
        (_, IpAddr::V4(address)) if bits.is_none_or(|bits| bits >= 96) => {
            Some(ipv4_network(address.octets(), bits.map_or(32, |bits| bits - 96)))
        }
        (IpAddr::V6(address), _) => {
            // A zero may be left out of the text together with its neighbours.
            let whole = bits.unwrap_or(128).min(127) / 16;
            let groups = address.segments().into_iter().take(whole as usize);
            let groups = groups.take_while(|group| *group != 0);
            let begin: String = groups.map(|group| format!("{group:x}:")).collect();
            Some(format!("{begin}[0-9a-f:]*"))
        }
    }
}

fn ipv4_network(octets: [u8; 4], bits: u32) -> String {
    let octets = octets.iter().zip([0, 8, 16, 24]).map(|(octet, before)| {
        let free = 8 - bits.saturating_sub(before).min(8);
        let first = u32::from(*octet) >> free << free;
        match free {
            8 => OCTET.to_owned(),
            _ => {
                let parts: Vec<String> =
                    (first..first + (1 << free)).map(|part| part.to_string()).collect();
                format!("(?:{})", parts.join("|"))
            }
        }
    });
    octets.collect::<Vec<_>>().join(r"\.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        entrance::{is_valid_host, is_valid_target, split_port, without_root_dot},
        has_slashes_in_a_row,
        language::Languages,
        merge_slashes, normalise,
    };

    fn is_in(pattern: &str, text: &[u8]) -> bool {
        regex::bytes::Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap().is_match(text)
    }

    #[track_caller]
    fn check(parameter: &Parameter, operator: Operator, may: bool) {
        let asked = named(parameter, &operator).unwrap();
        let said = Languages::default().may_meet(&[values(parameter, Paths::Merged), &asked], &[]);
        assert_eq!(said, may, "{parameter} {operator}");
    }

    fn check_prefixes(parameter: &Parameter, may: &[&str], never: &[&str]) {
        may.iter().for_each(|text| check(parameter, Operator::Prefix((*text).to_owned()), true));
        never.iter().for_each(|text| check(parameter, Operator::Prefix((*text).to_owned()), false));
    }

    fn check_regexes(parameter: &Parameter, may: &[&str], never: &[&str]) {
        may.iter().for_each(|text| check(parameter, Operator::Regex((*text).to_owned()), true));
        never.iter().for_each(|text| check(parameter, Operator::Regex((*text).to_owned()), false));
    }

    #[test]
    fn what_no_normalised_path_has_is_known() {
        let may = [
            "", "/", "/a", "/a%", "/a%2", "/a%20", "/%3", "/a/.", "/a/..", "/a/..b/", "/a/.b",
            "/%6", "*",
        ];
        let never =
            ["a", "/%61", "/a%2f", "/%a", "/%zz", "/a/../b", "/./", "/..;", "/a?b", "/a\\b", "/a#"];
        check_prefixes(&Parameter::Path, &may, &never);
        let may = [
            "/a",
            ".*",
            "/a|/b",
            "^/a",
            r"\A/a\z",
            "(?i)/A",
            "x*/a",
            "(a|/)b",
            "[^a]+",
            r"\W.*",
            r"\*",
            "(?s-u:.)a",
            "a|.*b",
            "(/a)?",
            r"\x2fa",
            "(?x) / a",
            "a)",
            "a?b?/",
            r"/\w+\b",
        ];
        let never = [
            "a",
            "a/b",
            "^a",
            "a|b",
            "[a-z]+",
            r"\w+/.*",
            "beta.*",
            "(a|b)/",
            "x?y",
            "a*",
            "[a&&b]",
            r"/a\?x=.*",
            "/a b",
            "/%61.*",
            "/a/[.][.]/.*",
            "/é",
            "/beta$x",
            r"/a\n",
            "/%c3%a9",
        ];
        check_regexes(&Parameter::Path, &may, &never);
    }

    #[test]
    fn what_no_host_is_is_known() {
        let may = ["shop[.]example", "(?i)Shop.*", r".*\.example", r"\[.*", "", ".*", "shop_1"];
        let never = [
            r"Shop\.Example",
            r".*\.example\.",
            ".*:8000",
            "shop:8000",
            "a b",
            "http://.*",
            "sh?op/",
            "::1",
        ];
        check_regexes(&Parameter::Host, &may, &never);
        check_prefixes(&Parameter::Host, &["Shop", "[2001:db8:"], &["shop:8", "*.", "2001:db8:"]);
        let field = Parameter::Header("host".to_owned());
        check_regexes(&field, &["Shop:80.*", "[^:]*"], &["a b", "shop:http", "http://.*"]);
    }

    #[test]
    fn what_no_address_is_is_known() {
        let may = ["10.", "2001:db8", "::1", "1", "fe80::", "", "255.255.255.255"];
        let never =
            ["10.0.0.0/8", "127.0.0.0/8", "2001:DB8", "::ffff:10.", "256.", "01", "x", "010."];
        check_prefixes(&Parameter::ClientIp, &may, &never);
        let may = [r"10\..*", r"(10|11)\.0\.0\.[0-9]+", ".*:.*", "::"];
        let never = [r"10\.0\.0\.0/8", r"10\.0\.0", "2001:0DB8:.*", "localhost", r"1\.2\.3\.4:80"];
        check_regexes(&Parameter::ClientIp, &may, &never);
    }

    #[test]
    fn what_no_other_value_is_is_known() {
        check_regexes(
            &Parameter::Method,
            &["GET|POST", "(?i)get", ".*"],
            &["", "GET ", "G/T", "A{33}"],
        );
        let field = Parameter::Header("canary".to_owned());
        let may = ["gray", "", ".*", "a b", "é", r"a\tb", r"\s+gray", r"\bgray\b"];
        let never = [r"[^\s\S]", "gray$x", " gray", r"[ \t]+gray", r"gray\n", "gray ", r"a\x00b"];
        check_regexes(&field, &may, &never);
        check_prefixes(&field, &["gr", "a b"], &["a\r", "a\0", "a\nb", "a\x7f"]);
        let length = Parameter::Header("content-length".to_owned());
        check_regexes(&length, &["[0-9]{3,}"], &["abc", r"\+5", "-.*"]);
        let query = Parameter::Query("a".to_owned());
        check_regexes(&query, &["a\nb", "x"], &[" x", "x\t", r"[^\s\S]"]);
    }

    #[test]
    fn networks_are_known_by_their_addresses() {
        let meet = |one: &str, other: &str| {
            let pattern =
                |text: &str| named(&Parameter::ClientIp, &Operator::Cidr(text.to_owned())).unwrap();
            Languages::default().may_meet(
                &[values(&Parameter::ClientIp, Paths::Merged), &pattern(one), &pattern(other)],
                &[],
            )
        };
        for (one, other) in [
            ("10.0.0.0/8", "10.1.0.0/16"),
            ("10.128.0.0/9", "10.200.3.4"),
            ("0.0.0.0/0", "255.255.255.255"),
            ("::ffff:10.0.0.0/104", "10.1.2.3"),
            ("2001:db8::/32", "2001:db8:0:1::/64"),
            ("2001:db8::/33", "2001:db8:1::1"),
            ("::/0", "fe80::1"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8/127"),
        ] {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("10.0.0.0/8", "11.0.0.0/8"),
            ("10.128.0.0/9", "10.127.255.255"),
            ("10.0.0.0/30", "10.0.0.4/30"),
            ("0.0.0.0/0", "::/0"),
            ("2001:db8::/32", "2001:db9::/32"),
        ] {
            assert!(!meet(one, other) && !meet(other, one), "{one} {other}");
        }
    }

    #[test]
    fn every_byte_that_a_target_may_have_is_in_some_path() {
        for byte in (0..0x80).filter(|byte| *byte != b'?') {
            let path = [b'/', byte];
            assert_eq!(is_in(PATH_AS_WRITTEN, &path), is_valid_target(&path), "{byte:#x}");
        }
    }

    proptest! {
        // Each compiles its expressions anew.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_normalised_path_is_in_the_language_and_no_other(
            text in "/([a.%/;0-9A-F~ \\\\]|%[0-9A-F]{2}){0,12}",
        ) {
            let mut normal = Vec::new();
            let is_path = is_valid_target(text.as_bytes());
            let outcome = normalise(text.as_bytes(), &mut normal);
            let is_normal = is_path && outcome == Ok(false);
            let is_merged = is_normal && !has_slashes_in_a_row(text.as_bytes());
            prop_assert_eq!(is_in(&PATH, text.as_bytes()), is_merged, "{}", text);
            prop_assert_eq!(is_in(&PATH_OF_SEGMENTS, text.as_bytes()), is_normal, "{}", text);
            if is_path && outcome.is_ok() {
                if outcome == Ok(false) {
                    normal.extend_from_slice(text.as_bytes());
                }
                prop_assert!(is_in(&PATH_OF_SEGMENTS, &normal), "{}", text);
                let mut merged = Vec::new();
                merge_slashes(&normal, &mut merged);
                prop_assert!(is_in(&PATH, &merged), "{}", text);
            }
        }

        #[test]
        fn every_address_is_in_the_language_and_in_its_networks(
            octets: [u8; 4],
            groups: [u16; 8],
            zeros: u8,
            bits in 0..=128_u32,
        ) {
            let some = std::array::from_fn(|at| if zeros >> at & 1 == 0 { groups[at] } else { 0 });
            for address in [IpAddr::from(octets), IpAddr::from(groups), IpAddr::from(some)] {
                let text = address.to_canonical().to_string();
                prop_assert!(is_in(&CLIENT_IP, text.as_bytes()), "{}", text);
                let bits = if address.is_ipv4() { bits.min(32) } else { bits };
                let network = network(&format!("{address}/{bits}")).unwrap();
                prop_assert!(is_in(&network, text.as_bytes()), "{} in /{}", text, bits);
            }
        }

        #[test]
        fn every_host_is_in_the_language(
            host in "[a-zA-Z0-9._~-]{1,20}|\\[[0-9a-fA-F:.]{2,12}\\]",
            port in "(:[0-9]{1,5})?",
        ) {
            let written = format!("{host}{port}");
            if is_valid_host(written.as_bytes()) {
                let bare = without_root_dot(split_port(written.as_bytes()).0);
                let bare = bare.to_ascii_lowercase();
                // No name ends with two dots.
                prop_assume!(!bare.ends_with(b".") || bare.len() == 1);
                prop_assert!(is_in(&HOST, &bare), "{}", written);
                prop_assert!(is_in(&HOST_FIELD, written.as_bytes()), "{}", written);
            }
        }
    }
}
