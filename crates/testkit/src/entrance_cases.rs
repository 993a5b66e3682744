//! Requests as they enter, with what is seen of them and sent on: one file for everybody who reads requests.

use std::collections::BTreeMap;

use lanes::{
    GroupName, GroupSpec, LaneSpec, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
};
use serde::Deserialize;

const TEXT: &str = include_str!("../../routes/tests/cases/entrance.yaml");

/// The tag of the one lane of every group.
const GRAY: &str = "gray";

/// A request, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What is shown.
    pub name: String,
    /// Where it enters.
    #[serde(default)]
    pub at: At,
    /// The Host that is sent.
    #[serde(default = "shop")]
    pub host: String,
    /// What else is sent: `NAME: VALUE`.
    #[serde(default)]
    pub fields: Vec<String>,
    #[serde(default)]
    seen: Vec<String>,
    #[serde(default)]
    unseen: Vec<String>,
    #[serde(default)]
    sent: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    outbound: BTreeMap<String, Vec<String>>,
}

/// Where a request enters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct At {
    /// The listener believes its clients.
    #[serde(default)]
    pub trusted: bool,
    /// Proxies in front that are believed.
    #[serde(default)]
    pub trusted_hops: u8,
    /// An application, no gateway.
    pub application: Option<Application>,
}

/// An application that is an entrance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Application {
    /// Inside the mesh.
    Member,
    /// It believes nobody.
    Edge,
}

fn shop() -> String {
    "shop".to_owned()
}

/// Every case.
pub fn all() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    let file: File = serde_saphyr::from_str(TEXT).unwrap_or_else(|error| panic!("{error}"));
    file.cases
}

impl Case {
    /// A group with one lane for each condition: which lanes the request enters says what was seen of it.
    pub fn groups(&self, entrance: &EntranceSpec) -> Vec<GroupSpec> {
        let (seen, unseen) = (named("seen", &self.seen), named("unseen", &self.unseen));
        let group = |(name, text): (String, &String)| GroupSpec {
            name: GroupName::parse(&name).unwrap_or_else(|problem| panic!("{problem}")),
            entrances: vec![entrance.clone()],
            applications: vec!["nobody".to_owned()],
            lanes: vec![LaneSpec {
                tag: Tag::parse(GRAY).ok().flatten().expect("a tag"),
                enabled: true,
                admitting: true,
                paused: false,
                priority: 0,
                entry: Entry::Content { meet: Meet::All, conditions: vec![condition(text)] },
                fallback: Fallback::Then(Vec::new()),
                switched_off: Vec::new(),
            }],
        };
        seen.chain(unseen).map(group).collect()
    }

    /// Names and values of everything that is sent, Host first.
    pub fn request_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.fields.iter().map(|line| {
            let (name, value) = line.split_once(':').expect("NAME: VALUE");
            (name, value.trim())
        });
        std::iter::once(("Host", self.host.as_str())).chain(others)
    }

    /// Whether the request entered the lanes of what is seen, and no others.
    pub fn check_seen(&self, baggage: &str) {
        let entered = |name: &str| {
            let member = format!("lane.{name}={GRAY}");
            baggage.split(',').any(|found| found.trim() == member)
        };
        for (name, condition) in named("seen", &self.seen) {
            assert!(entered(&name), "{}: `{condition}` does not hold: {baggage}", self.name);
        }
        for (name, condition) in named("unseen", &self.unseen) {
            assert!(!entered(&name), "{}: `{condition}` holds: {baggage}", self.name);
        }
    }

    /// Whether what goes on is what should. `fields` are names and values in order.
    pub fn check_sent<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f str)>) {
        let fields: Vec<(&str, &str)> = fields.collect();
        let values = |wanted: &str| -> Vec<&str> {
            let named = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.map(|(_, value)| *value).collect()
        };
        self.check_seen(&values("baggage").join(","));
        for (name, expected) in &self.sent {
            let mut found: Vec<String> =
                values(name).into_iter().map(|value| self.without_own_lanes(name, value)).collect();
            found.retain(|value| !value.is_empty());
            let is_new = |value: &String| {
                self.request_fields()
                    .all(|(other, sent)| !other.eq_ignore_ascii_case(name) || sent != value)
            };
            let matches = |(expected, found): (&String, &String)| {
                expected == found || expected == "NEW" && is_new(found)
            };
            assert!(
                found.len() == expected.len() && expected.iter().zip(&found).all(matches),
                "{}: {name} goes on as {found:?}, not {expected:?}",
                self.name
            );
        }
    }

    /// Whether what goes on of the same request, made by an application, is what should: what was sent, but for what
    /// the case says, and for the proxy's own name in `via`. `fields` are names and values in order.
    pub fn check_outbound<'f>(&'f self, fields: impl Iterator<Item = (&'f str, &'f str)>) {
        let mut expected = by_name(self.request_fields());
        for (name, values) in &self.outbound {
            expected.insert(name.clone(), values.iter().map(String::as_str).collect());
        }
        expected.retain(|_, values| !values.is_empty());
        let fields = fields.filter(|(name, value)| {
            !(name.eq_ignore_ascii_case("via") && value.starts_with("1.1 laneway-"))
        });
        assert_eq!(by_name(fields), expected, "{}", self.name);
    }

    fn without_own_lanes(&self, name: &str, value: &str) -> String {
        if name != "baggage" {
            return value.to_owned();
        }
        let is_own = |member: &&str| {
            ["lane.seen-", "lane.unseen-"].iter().any(|own| member.starts_with(own))
        };
        value.split(',').filter(|member| !is_own(member)).collect::<Vec<_>>().join(",")
    }
}

fn by_name<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> BTreeMap<String, Vec<&'f str>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in fields {
        found.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    found
}

fn named<'c>(kind: &str, texts: &'c [String]) -> impl Iterator<Item = (String, &'c String)> {
    texts.iter().enumerate().map(move |(index, text)| (format!("{kind}-{index}"), text))
}

/// `header NAME`, `header NAME = VALUE`, `clientIp = VALUE`, …
fn condition(text: &str) -> Condition {
    let (parameter, value) = match text.split_once(" = ") {
        Some((parameter, value)) => (parameter, Some(value)),
        None => (text, None),
    };
    let parameter = match parameter {
        "clientIp" => Parameter::ClientIp,
        "host" => Parameter::Host,
        "path" => Parameter::Path,
        other => match other.strip_prefix("header ") {
            Some(name) => Parameter::Header(name.to_owned()),
            None => panic!("condition `{text}`"),
        },
    };
    let operator = value.map_or(Operator::Exists, |value| Operator::Equal(value.to_owned()));
    Condition { parameter, operator }
}
