//! Cookies and queries: a lane is entered exactly when a slow reading of them finds the parameter.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
};

use lanes::{
    Context, Directory, Entrance, Group, GroupName, GroupSpec, LaneSpec, Request, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
};

/// What is looked for: the parameter `u`, in either place, with this value or any.
static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let (query, cookie) = (Parameter::Query("u".to_owned()), Parameter::Cookie("u".to_owned()));
    let is = || Operator::Equal("7 x".to_owned());
    let conditions = [
        (query.clone(), Operator::Exists),
        (query, is()),
        (cookie.clone(), Operator::Exists),
        (cookie, is()),
    ];
    let groups = conditions.into_iter().enumerate().map(|(at, (parameter, operator))| {
        let conditions = vec![Condition { parameter, operator }];
        let lane = LaneSpec {
            tag: Tag::parse("gray").unwrap().unwrap(),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry: Entry::Content { meet: Meet::All, conditions },
            fallback: Fallback::Then(Vec::new()),
            switched_off: Vec::new(),
        };
        let entrances = vec![EntranceSpec::Gateway { name: "edge".to_owned(), routes: None }];
        let name = GroupName::parse(&format!("g{at}")).unwrap();
        let spec =
            GroupSpec { name, entrances, applications: vec!["a".to_owned()], lanes: vec![lane] };
        Arc::new(Group::compile(spec).unwrap())
    });
    Snapshot::new(groups.collect(), Directory::new(true))
});

/// One request: its query, and each `cookie` it has.
struct Asked<'b> {
    query: &'b str,
    cookies: Vec<&'b [u8]>,
}

impl Request for Asked<'_> {
    fn method(&self) -> &str {
        "GET"
    }

    fn host(&self) -> &str {
        "shop"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> &str {
        self.query
    }

    fn client_ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.cookies.iter().map(|value| (&b"cookie"[..], *value))
    }
}

/// `%41` is `A`; where no two digits follow, a percent sign is one.
fn decoded(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.chars().all(|digit| digit.is_ascii_hexdigit()));
        match (text[at], digits) {
            (b'%', Some(digits)) => {
                out.push(u8::from_str_radix(digits, 16).unwrap());
                at += 2;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(is_text) else { return &[] };
    let end = text.iter().rposition(is_text).unwrap_or(start);
    &text[start..=end]
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Every value of `u`.
fn expected(asked: &Asked<'_>) -> [Vec<Vec<u8>>; 2] {
    let pairs = asked.query.as_bytes().split(|byte| *byte == b'&');
    let of_query = pairs.filter(|pair| !pair.is_empty()).map(split);
    let of_query = of_query.filter(|(name, _)| decoded(name, true) == b"u");
    let of_query = of_query.map(|(_, value)| trimmed(&decoded(value, true)).to_vec());
    let crumbs = asked.cookies.iter().flat_map(|value| value.split(|byte| *byte == b';'));
    let crumbs = crumbs.map(trimmed).filter(|crumb| !crumb.is_empty()).map(split);
    let of_cookies = crumbs.filter(|(name, _)| trimmed(name) == b"u");
    let of_cookies = of_cookies.map(|(_, value)| trimmed(&decoded(trimmed(value), false)).to_vec());
    [of_query.collect(), of_cookies.collect()]
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first line is the query, the others are cookies.
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(query) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let asked = Asked { query, cookies: lines.collect() };
    let mut context = Context::default();
    let entrance = Entrance::Gateway { gateway: "edge", route: None };
    SNAPSHOT.enter(entrance, &asked, &mut || [0; 16], &mut context, &mut ());
    let entered = |group| context.member(group).is_some_and(|member| member.lane.is_some());
    let [of_query, of_cookies] = expected(&asked);
    for (at, values) in [(0, of_query), (2, of_cookies)] {
        assert_eq!(entered(at), !values.is_empty(), "{}", bytes.escape_ascii());
        let is_seven = values.iter().any(|value| value == b"7 x");
        assert_eq!(entered(at + 1), is_seven, "{}", bytes.escape_ascii());
    }
});
