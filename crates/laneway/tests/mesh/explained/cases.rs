//! Random lanes and random requests that often meet their conditions.

use std::collections::HashSet;

use serde_json::{Value, json};
use testkit::{Random, sample};

/// A gateway behind one proxy that is believed, a second group that shares applications with the sample's, one that is
/// entered behind the gateway, and routes that change what is seen there.
const BESIDES: &str = r#"---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {laneway.io/trusted-hops: "1"}}
spec: {gatewayClassName: laneway, listeners: [{name: http, port: 8000, protocol: HTTP}]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: search}
spec: {entrances: [{gateway: edge}], applications: [app-b, app-c]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: front}
spec: {entrances: [{application: app-a}], applications: [app-a, app-b]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: changed}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: Canary, value: gray}], remove: [cookie, x-request-id]}
    - type: URLRewrite
      urlRewrite: {hostname: shop.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /a}}
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]
  - matches: [{path: {type: PathPrefix, value: /moved}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {add: [{name: canary, value: "7"}], remove: [x-forwarded-for, baggage-of-others]}
    backendRefs:
    - {group: laneway.io, kind: Backend, name: sc-a, filters: [
        {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-user, value: user-1}, {name: user_id, value: "7"}]}},
        {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /c}}}]}
"#;

/// Everything but lanes: those each test adds.
pub(crate) fn resources() -> String {
    sample::chain(&[]) + BESIDES
}

/// The tags of lanes; instances have all but the last.
const TAGS: [&str; 4] = ["red", "green", "blue", "violet"];

/// The few values that conditions and requests share, so that they meet.
const VALUES: [&str; 6] = ["gray", "7", "8", "a b", "GRAY", "x-gray-1"];

/// What proxies in front, or clients in their name, say of the client; several fields where there is a line feed.
const FORWARDED: [&str; 10] = [
    "198.51.100.7",
    "198.51.100.7:51234",
    "203.0.113.1, 198.51.100.7:1",
    "198.51.100.7, 203.0.113.1",
    "203.0.113.1\n198.51.100.7",
    "198.51.100.7\nunknown",
    "[2001:db8::7]:443",
    "[2001:db8::7]",
    "::ffff:198.51.100.7",
    "_hidden, 198.51.100.7:port",
];

/// Baggage of others and of strangers who would choose their lane.
const BAGGAGE: [&str; 6] = [
    "other=1,lane.trade=blue,lane.search=red",
    "site=fastlane.example,key=7",
    "lane.trade=blue",
    "a=1, lane.front=red , key=7",
    "%6cane.trade=blue,key=7",
    "key=lane.trade;lane.search=red",
];

/// Hosts as clients write them.
const HOSTS: [&str; 6] = [
    "shop.example",
    "Shop.Example",
    "SHOP.example:8000",
    "shop.example.",
    "[2001:DB8::1]:80",
    "a_b~c",
];

/// A random request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Case {
    /// A request that says nothing.
    pub(crate) fn plain() -> Self {
        Self { method: "GET", target: "/a".to_owned(), headers: Vec::new() }
    }

    pub(crate) fn random(dice: &mut Random) -> Self {
        let mut target = dice.of(&["/a", "/a/beta/x", "/a/b", "/old/beta", "/moved/b"]).to_owned();
        if !dice.one_in(2) {
            let value = dice.of(&VALUES).replace(' ', if dice.one_in(2) { "+" } else { "%20" });
            target.push_str(&format!("?user={value}"));
        }
        // Always there, so that a lane by ratio decides by it and not by chance.
        let mut headers = vec![("x-user", format!("user-{}", dice.below(1_000)))];
        for _ in 0..dice.below(3) {
            headers.push(("canary", dice.of(&VALUES).to_owned()));
        }
        if dice.one_in(2) {
            headers.push(("cookie", format!("a=1; uid={}", dice.of(&VALUES).replace(' ', "%20"))));
        }
        if dice.one_in(3) {
            headers.push(("baggage", dice.of(&BAGGAGE).to_owned()));
        }
        if dice.one_in(2) {
            let fields = dice.of(&FORWARDED).split('\n');
            headers.extend(fields.map(|value| ("X-Forwarded-For", value.to_owned())));
        }
        if dice.one_in(3) {
            headers.push(("Host", dice.of(&HOSTS).to_owned()));
        }
        if dice.one_in(4) {
            let nominated =
                dice.of(&["canary", "Canary, x-other", "te", "cookie", "host", "CANARY , te"]);
            headers.push(("Connection", nominated.to_owned()));
        }
        if dice.one_in(4) {
            headers.push(("TE", "trailers".to_owned()));
        }
        if dice.one_in(6) {
            headers
                .push((dice.of(&["user_id", "x-request-id", "X-Forwarded-Proto"]), "7".to_owned()));
        }
        let mut case = Self { method: dice.of(&["GET", "GET", "POST"]), target, headers };
        if dice.one_in(20) {
            case.become_refused(dice);
        }
        case
    }

    /// What a gateway refuses before it looks at routes.
    fn become_refused(&mut self, dice: &mut Random) {
        let add = |headers: &mut Vec<_>, name, value: &str| headers.push((name, value.to_owned()));
        match dice.below(9) {
            0 => {
                self.method = "CONNECT";
                self.target = dice.of(&["", "/a"]).to_owned();
            }
            1 => add(&mut self.headers, "Content-Length", dice.of(&["", "+1", "1, 1", "0x1"])),
            2 => {
                add(&mut self.headers, "Content-Length", "1");
                add(&mut self.headers, "content-length", "2");
            }
            3 => {
                add(&mut self.headers, "Transfer-Encoding", dice.of(&["gzip", "chunked, chunked"]))
            }
            4 => {
                add(&mut self.headers, "Content-Length", "1");
                add(&mut self.headers, "Transfer-Encoding", "chunked");
            }
            5 => add(&mut self.headers, "x-large", &"x".repeat(70_000)),
            6 => (0..120).for_each(|_| add(&mut self.headers, "x-many", "1")),
            7 => self.target.push_str(&"/x".repeat(5_000)),
            _ => self.target = dice.of(&["/a/../b", "/a%2fb", "/a%zz"]).to_owned(),
        }
    }
}

/// One to four random lanes in each group.
pub(crate) fn lanes(dice: &mut Random) -> Vec<Value> {
    let mut lanes = group(dice, "front", &["app-a", "app-b"]);
    lanes.extend(group(dice, "search", &["app-b", "app-c"]));
    lanes.extend(group(dice, "trade", &["app-a", "app-b", "app-c"]));
    lanes
}

/// Lanes of which it is sure that requests are in one and that requests fail in one: for calls by POST there is no
/// violet A, and all else is red.
pub(crate) fn strict_lanes(dice: &mut Random) -> Vec<Value> {
    let is_post = json!({"attribute": "method", "operator": "==", "value": "POST"});
    let is_any = json!({"attribute": "path", "operator": "exists"});
    let trade = |tag, priority, condition, fallback| {
        let entry = json!({"content": {"meet": "all", "conditions": [condition]}});
        let spec = json!({"group": "trade", "tag": tag, "priority": priority, "entry": entry, "fallback": fallback});
        lane("trade", tag, spec)
    };
    let mut lanes = group(dice, "search", &["app-b", "app-c"]);
    lanes.push(trade("violet", 0, is_post, json!("none")));
    lanes.push(trade("red", 1, is_any, json!([])));
    lanes
}

fn lane(group: &str, tag: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": format!("{group}-{tag}")}, "spec": spec,
    })
}

fn group(dice: &mut Random, group: &str, applications: &[&str]) -> Vec<Value> {
    let by_ratio = dice.one_in(4);
    let mut tags = TAGS.to_vec();
    for _ in 0..dice.below(TAGS.len()) {
        let gone = dice.below(tags.len());
        tags.remove(gone);
    }
    let random = |dice: &mut Random, tag: &str| {
        let entry = if by_ratio {
            json!({"ratio": {"percent": 5 + dice.below(20), "stickyBy": {"header": "x-user"}}})
        } else {
            let mut conditions: Vec<_> = (0..=dice.below(3)).map(|_| condition(dice)).collect();
            let meet = dice.of(&["all", "any", "any"]);
            if meet == "all" {
                // What two say of one parameter may contradict itself, which is refused.
                let mut seen = HashSet::new();
                conditions.retain(|condition| seen.insert(parameter(condition)));
            }
            json!({"content": {"meet": meet, "conditions": conditions}})
        };
        let others: Vec<_> = tags.iter().filter(|other| **other != tag).collect();
        let fallback = match dice.below(4) {
            0 => json!("none"),
            1 | 2 if !others.is_empty() => json!([dice.of(&others)]),
            _ => json!([]),
        };
        let mut spec = json!({
            "group": group, "tag": tag, "entry": entry, "fallback": fallback,
            "enabled": !dice.one_in(5), "priority": dice.below(3),
        });
        if dice.one_in(3) {
            spec["applications"] = json!([{"name": dice.of(applications), "enabled": false}]);
        }
        lane(group, tag, spec)
    };
    tags.clone().into_iter().map(|tag| random(dice, tag)).collect()
}

/// What a condition reads; names of headers in one case.
fn parameter(condition: &Value) -> String {
    ["header", "query", "cookie", "attribute"]
        .iter()
        .filter_map(|kind| Some(format!("{kind} {}", condition[kind].as_str()?.to_lowercase())))
        .collect()
}

/// What an entrance changes before conditions see it.
fn condition_at_the_entrance(dice: &mut Random) -> Value {
    let (parameter, name, operator, value) = dice.of(&[
        ("attribute", "clientIp", "cidr", "198.51.100.0/24"),
        ("attribute", "clientIp", "cidr", "2001:db8::/32"),
        ("attribute", "clientIp", "==", "198.51.100.7"),
        ("attribute", "host", "==", "shop.example"),
        ("attribute", "host", "prefix", "Shop."),
        ("attribute", "host", "regex", ".*\\.|\\[.*\\]"),
        ("header", "host", "regex", ".*:8000"),
        ("header", "host", "exists", ""),
        ("header", "baggage", "regex", ".*key=7.*"),
        ("header", "baggage", "prefix", "lane."),
        ("header", "baggage", "==", "a=1"),
        ("header", "baggage", "notExists", ""),
        ("header", "te", "exists", ""),
        ("header", "connection", "exists", ""),
        ("header", "x-request-id", "exists", ""),
        ("header", "x-forwarded-for", "regex", ".*198.*"),
        ("header", "x-forwarded-proto", "exists", ""),
        ("header", "canary", "notExists", ""),
    ]);
    match value {
        "" => json!({parameter: name, "operator": operator}),
        value => json!({parameter: name, "operator": operator, "value": value}),
    }
}

fn condition(dice: &mut Random) -> Value {
    if dice.one_in(2) {
        return condition_at_the_entrance(dice);
    }
    let (parameter, name) = dice.of(&[
        ("header", "canary"),
        ("header", "Canary"),
        ("header", "x-user"),
        ("query", "user"),
        ("cookie", "uid"),
        ("attribute", "path"),
        ("attribute", "method"),
        ("attribute", "clientIp"),
    ]);
    let mut condition = json!({parameter: name});
    match name {
        "path" => {
            condition["operator"] = json!("prefix");
            condition["value"] = json!(dice.of(&["/a/beta", "/a", "/c"]));
        }
        "method" => {
            condition["operator"] = json!("==");
            condition["value"] = json!("POST");
        }
        "clientIp" => {
            condition["operator"] = json!("cidr");
            condition["value"] = json!(dice.of(&["127.0.0.0/8", "10.0.0.0/8"]));
        }
        _ => {
            let operator = dice.of(&[
                "==",
                "!=",
                "in",
                "notIn",
                "percentage",
                "regex",
                "prefix",
                "exists",
                "notExists",
            ]);
            condition["operator"] = json!(operator);
            match operator {
                "in" | "notIn" => {
                    condition["values"] = json!([dice.of(&VALUES[..3]), dice.of(&VALUES[3..])]);
                }
                "percentage" => condition["value"] = json!(dice.below(101)),
                "regex" => {
                    condition["value"] = json!(dice.of(&["[0-9]+", "(?i)gray", "x-.*", "user-1.*"]))
                }
                "exists" | "notExists" => {}
                _ => condition["value"] = json!(dice.of(&VALUES)),
            }
        }
    }
    condition
}
