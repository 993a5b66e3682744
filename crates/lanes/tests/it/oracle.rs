//! The semantics written the slow way, from rules as written. Shares no code with the crate: its
//! own hash, its own decoding, its own order of things.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use lanes::{
    Endpoint, Entrance, GroupSpec, LaneSpec, Request,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::Health,
};

/// Group name to tag; `None` is base, decided.
pub(crate) type Membership = BTreeMap<String, Option<String>>;

/// Lanes in the order they are tried.
pub(crate) fn in_order(group: &GroupSpec) -> Vec<&LaneSpec> {
    let mut lanes: Vec<(i32, usize, &LaneSpec)> = Vec::new();
    for (number, lane) in group.lanes.iter().enumerate() {
        lanes.push((lane.priority, number, lane));
    }
    lanes.sort_by_key(|(priority, number, _)| (*priority, *number));
    lanes.into_iter().map(|(_, _, lane)| lane).collect()
}

fn is_entrance(group: &GroupSpec, at: Entrance<'_>) -> bool {
    group.entrances.iter().any(|entrance| match (entrance, at) {
        (EntranceSpec::Gateway { name, routes: None }, Entrance::Gateway { gateway, .. }) => {
            name == gateway
        }
        (
            EntranceSpec::Gateway { name, routes: Some(routes) },
            Entrance::Gateway { gateway, route },
        ) => name == gateway && route.is_some_and(|route| routes.contains(&route.to_owned())),
        (EntranceSpec::Application { name, .. }, Entrance::Application(here)) => name == here,
        _ => false,
    })
}

/// Rule 2: what the entrance adds to what the request carries.
pub(crate) fn enter(
    groups: &[GroupSpec],
    at: Entrance<'_>,
    request: &impl Request,
    random: [u8; 16],
    carried: &Membership,
) -> Membership {
    let mut all = carried.clone();
    for group in groups {
        let name = group.name.to_string();
        if !is_entrance(group, at) || all.contains_key(&name) {
            continue;
        }
        all.insert(name, first_lane(group, request, random));
    }
    all
}

fn first_lane(group: &GroupSpec, request: &impl Request, random: [u8; 16]) -> Option<String> {
    let mut left: u64 = 10_000;
    for lane in in_order(group) {
        let by_ratio = matches!(lane.entry, Entry::Ratio { .. });
        if !lane.enabled || (lane.paused && !by_ratio) || !(lane.paused || lane.admitting) {
            continue;
        }
        let takes = match &lane.entry {
            Entry::Content { meet: Meet::All, conditions } => {
                conditions.iter().all(|condition| holds(condition, request))
            }
            Entry::Content { meet: Meet::Any, conditions } => {
                conditions.iter().any(|condition| holds(condition, request))
            }
            Entry::Ratio { percent_hundredths, sticky_by, issue: _ } => {
                let sticky =
                    sticky_by.as_ref().and_then(|from| values(from, request).first().cloned());
                let key = sticky.filter(|key| !key.is_empty()).unwrap_or(random.to_vec());
                let text =
                    [group.name.as_str().as_bytes(), lane.tag.as_str().as_bytes(), &key].join(&0);
                let takes = ((xxh64(&text) >> 32) * left) >> 32 < u64::from(*percent_hundredths);
                left -= u64::from(*percent_hundredths);
                takes
            }
        };
        if takes {
            return (!lane.paused).then(|| lane.tag.to_string());
        }
    }
    None
}

/// Rule 4.
fn holds(condition: &Condition, request: &impl Request) -> bool {
    let values = values(&condition.parameter, request);
    let is_address = condition.parameter == Parameter::ClientIp;
    let is = |value: &[u8], wanted: &str| {
        if is_address {
            let wanted: IpAddr = wanted.parse().expect("generated rules are valid");
            value == wanted.to_canonical().to_string().as_bytes()
        } else {
            value == wanted.as_bytes()
        }
    };
    match &condition.operator {
        Operator::Equal(wanted) => values.iter().any(|value| is(value, wanted)),
        Operator::NotEqual(wanted) => values.iter().all(|value| !is(value, wanted)),
        Operator::In(list) => {
            values.iter().any(|value| list.iter().any(|wanted| is(value, wanted)))
        }
        Operator::NotIn(list) => {
            values.iter().all(|value| list.iter().all(|wanted| !is(value, wanted)))
        }
        Operator::Percentage(percent) => {
            values.iter().any(|value| xxh64(value) % 100 < u64::from(*percent))
        }
        Operator::Regex(text) => {
            let regex = regex::bytes::Regex::new(&format!("^(?:{text})$")).expect("a valid regex");
            values.iter().any(|value| regex.is_match(value))
        }
        Operator::Prefix(prefix) => {
            values.iter().any(|value| value.get(..prefix.len()) == Some(prefix.as_bytes()))
        }
        Operator::Exists => !values.is_empty(),
        Operator::NotExists => values.is_empty(),
        Operator::Cidr(network) => is_in_network(request.client_ip(), network),
    }
}

fn is_in_network(address: IpAddr, network: &str) -> bool {
    let (base, length) = network.split_once('/').expect("generated networks have a length");
    let base: IpAddr = base.parse().expect("an address");
    let length: usize = length.parse().expect("a length");
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect()
    };
    let address = address.to_canonical();
    address.is_ipv4() == base.is_ipv4() && bits(address)[..length] == bits(base)[..length]
}

fn values(parameter: &Parameter, request: &impl Request) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    match parameter {
        Parameter::Header(wanted) => {
            for (name, value) in request.headers() {
                if name.to_ascii_lowercase() == wanted.to_lowercase().as_bytes() {
                    found.push(value.to_vec());
                }
            }
        }
        Parameter::Cookie(wanted) => {
            for (name, header) in request.headers() {
                if name.eq_ignore_ascii_case(b"cookie") {
                    for pair in String::from_utf8_lossy(header).split(';') {
                        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                        if !pair.trim().is_empty() && name.trim() == wanted {
                            found.push(unescape(value, false));
                        }
                    }
                }
            }
        }
        Parameter::Query(wanted) => {
            for pair in request.query().split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                if !pair.is_empty() && unescape(name, true) == wanted.as_bytes() {
                    found.push(unescape(value, true));
                }
            }
        }
        Parameter::Claim(name) => {
            found.extend(request.claim(name).map(|value| value.as_bytes().to_vec()));
        }
        Parameter::Path => found.push(request.path().into()),
        Parameter::Method => found.push(request.method().into()),
        Parameter::Host => found.push(request.host().into()),
        Parameter::ClientIp => found.push(request.client_ip().to_canonical().to_string().into()),
    }
    found
        .into_iter()
        .map(|value| {
            let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
            let from = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
            let to = value.iter().rposition(|byte| !is_blank(byte)).map_or(from, |last| last + 1);
            value[from..to].to_vec()
        })
        .collect()
}

fn unescape(text: &str, plus_is_space: bool) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::new();
    while let Some(byte) = rest.first() {
        let hex = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = hex
            .filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, decoded) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                rest = &rest[3..];
                continue;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (other, _) => out.push(*other),
        }
        rest = &rest[1..];
    }
    out
}

/// How a hop must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    /// By exactly these, in the words of `Outcome`.
    Served {
        outcome: String,
        by: BTreeSet<SocketAddr>,
    },
    Refused {
        strict: bool,
    },
}

/// Rules 1 and 7 to 10: who may serve a service of `application` that has `endpoints`.
pub(crate) fn hop(
    groups: &[GroupSpec],
    membership: &Membership,
    application: &str,
    endpoints: &[Endpoint],
    ejected: &BTreeSet<SocketAddr>,
) -> Hop {
    let (turns, strict) = turns(groups, membership, application);
    for with_ejected in [false, true] {
        for (outcome, tag) in &turns {
            let usable: Vec<&Endpoint> = endpoints
                .iter()
                .filter(|endpoint| endpoint.tag.as_ref().map(|tag| tag.as_str()) == tag.as_deref())
                .filter(|endpoint| endpoint.health == Health::Usable)
                .filter(|endpoint| with_ejected || !ejected.contains(&endpoint.address))
                .collect();
            if usable.is_empty() {
                continue;
            }
            let weigh_nothing = usable.iter().all(|endpoint| endpoint.weight == 0);
            let by = usable
                .iter()
                .filter(|endpoint| weigh_nothing || endpoint.weight > 0)
                .map(|endpoint| endpoint.address)
                .collect();
            return Hop::Served { outcome: outcome.clone(), by };
        }
    }
    Hop::Refused { strict }
}

/// Whether an instance with `tag` may serve at all.
pub(crate) fn allows(
    groups: &[GroupSpec],
    membership: &Membership,
    application: &str,
    tag: Option<&str>,
) -> bool {
    turns(groups, membership, application).0.iter().any(|(_, have)| have.as_deref() == tag)
}

/// Sets of instances in the order they are tried, and whether a strict lane forbids the base.
fn turns(
    groups: &[GroupSpec],
    membership: &Membership,
    application: &str,
) -> (Vec<(String, Option<String>)>, bool) {
    let mut turns = Vec::new();
    let mut governs = false;
    let mut strict = false;
    // A map is sorted by name: rule 10.
    for (name, tag) in membership {
        let Some(group) = groups.iter().find(|group| group.name.as_str() == name) else { continue };
        let Some(tag) = tag else { continue };
        let Some(lane) = group.lanes.iter().find(|lane| lane.tag.as_str() == tag) else { continue };
        if !lane.enabled || !group.applications.contains(&application.to_owned()) {
            continue;
        }
        governs = true;
        let off = |lane: &LaneSpec| lane.switched_off.contains(&application.to_owned());
        if !off(lane) {
            turns.push(("Lane".to_owned(), Some(tag.clone())));
        }
        match &lane.fallback {
            Fallback::Strict => strict = true,
            Fallback::Then(tags) => {
                for tag in tags {
                    let listed =
                        group.lanes.iter().find(|lane| lane.tag == *tag).expect("a known lane");
                    if listed.enabled && !off(listed) {
                        turns.push(("Fallback".to_owned(), Some(tag.to_string())));
                    }
                }
            }
        }
    }
    if !strict {
        turns.push((if governs { "Fallback" } else { "Base" }.to_owned(), None));
    }
    (turns, strict)
}

/// XXH64 with seed 0, from its specification.
pub(crate) fn xxh64(input: &[u8]) -> u64 {
    const P1: u64 = 11_400_714_785_074_694_791;
    const P2: u64 = 14_029_467_366_897_019_727;
    const P3: u64 = 1_609_587_929_392_839_161;
    const P4: u64 = 9_650_029_242_287_828_579;
    const P5: u64 = 2_870_177_450_012_600_261;
    let round = |state: u64, lane: u64| {
        state.wrapping_add(lane.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let mut rest = input;
    let mut hash = P5;
    if rest.len() >= 32 {
        let mut state = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        while rest.len() >= 32 {
            for (lane, state) in state.iter_mut().enumerate() {
                *state = round(*state, number(&rest[lane * 8..lane * 8 + 8]));
            }
            rest = &rest[32..];
        }
        hash = [1, 7, 12, 18]
            .iter()
            .zip(state)
            .fold(0, |sum: u64, (by, state)| sum.wrapping_add(state.rotate_left(*by)));
        for state in state {
            hash = (hash ^ round(0, state)).wrapping_mul(P1).wrapping_add(P4);
        }
    }
    hash = hash.wrapping_add(input.len() as u64);
    while rest.len() >= 8 {
        hash =
            (hash ^ round(0, number(&rest[..8]))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        hash = (hash ^ number(&rest[..4]).wrapping_mul(P1))
            .rotate_left(23)
            .wrapping_mul(P2)
            .wrapping_add(P3);
        rest = &rest[4..];
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}
