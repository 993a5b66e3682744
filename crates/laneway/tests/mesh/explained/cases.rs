//! Random lanes and random requests that often meet their conditions.

use serde_json::{Value, json};

/// Routes and two groups that share applications; each test adds its lanes.
pub(crate) const RESOURCES: &str = r"
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-a}
spec: {source: embedded, service: sc-A}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /a}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: search}
spec: {entrances: [{gateway: edge}], applications: [app-b, app-c]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [app-a, app-b, app-c]}
";

/// The tags of lanes; instances have all but the last.
const TAGS: [&str; 4] = ["red", "green", "blue", "violet"];

/// The few values that conditions and requests share, so that they meet.
const VALUES: [&str; 6] = ["gray", "7", "8", "a b", "GRAY", "x-gray-1"];

/// SplitMix64: the same seed, the same test.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// True in one of so many throws.
    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

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

    pub(crate) fn random(dice: &mut Dice) -> Self {
        let mut target = dice.of(&["/a", "/a/beta/x", "/a/b"]).to_owned();
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
        if dice.one_in(4) {
            headers.push(("baggage", "other=1,lane.trade=blue,lane.search=red".to_owned()));
        }
        Self { method: dice.of(&["GET", "GET", "POST"]), target, headers }
    }
}

/// One to four random lanes in each group.
pub(crate) fn lanes(dice: &mut Dice) -> Vec<Value> {
    let mut lanes = group(dice, "search", &["app-b", "app-c"]);
    lanes.extend(group(dice, "trade", &["app-a", "app-b", "app-c"]));
    lanes
}

fn group(dice: &mut Dice, group: &str, applications: &[&str]) -> Vec<Value> {
    let by_ratio = dice.one_in(4);
    let mut tags = TAGS.to_vec();
    for _ in 0..dice.below(TAGS.len()) {
        let gone = dice.below(tags.len());
        tags.remove(gone);
    }
    let lane = |dice: &mut Dice, tag: &str| {
        let entry = if by_ratio {
            json!({"ratio": {"percent": 5 + dice.below(20), "stickyBy": {"header": "x-user"}}})
        } else {
            let conditions: Vec<_> = (0..=dice.below(3)).map(|_| condition(dice)).collect();
            json!({"content": {"meet": dice.of(&["all", "any", "any"]), "conditions": conditions}})
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
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
            "metadata": {"name": format!("{group}-{tag}")}, "spec": spec,
        })
    };
    tags.clone().into_iter().map(|tag| lane(dice, tag)).collect()
}

fn condition(dice: &mut Dice) -> Value {
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
