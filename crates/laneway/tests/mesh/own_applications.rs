//! Somebody's own applications: resources written by hand, watched in a directory and applied; sidecars started by hand.

use std::{collections::HashSet, fs, process::Command, time::Duration};

use testkit::{Instance, Process, RunningInstance, Sandbox, http, load, sample, wait};

/// Longest until a change is effective everywhere; a debug build on a busy machine gets no more.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Longest until processes that were just started know each other.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// The same service once more, by a path of its own: what the group `share` is entered by.
const RATIO_ROUTE: &str = r"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ratio}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /ratio/a}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /a}}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]
";

const GROUPS: &str = r"
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge, routes: [a]}], applications: [app-a, app-b, app-c]}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: share}
spec: {entrances: [{gateway: edge, routes: [ratio]}], applications: [app-a, app-b, app-c]}
";

const RATIO_LANE: &str = r"
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: share-gray}
spec: {group: share, tag: gray, entry: {ratio: {percent: 30}}}
";

fn routes() -> String {
    sample::routed("a", "embedded") + RATIO_ROUTE
}

/// `laneway serve` with routes and groups in a watched directory, and five applications in Python.
struct World {
    _serve: Process,
    _applications: Vec<RunningInstance>,
    base: String,
    gray: String,
    sandbox: Sandbox,
}

impl World {
    fn start() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
        let resources = sandbox.path("resources");
        fs::create_dir(&resources).unwrap();
        fs::write(resources.join("routes.yaml"), routes()).unwrap();
        let serve = sandbox.serve(&["--resources", &resources.to_string_lossy()]).unwrap();
        // Written while it runs: the directory is watched.
        fs::write(resources.join("groups.yaml"), GROUPS).unwrap();
        let chain = [("A", None, 11), ("B", None, 12), ("C", None, 13)];
        let gray = [("A", Some("gray"), 21), ("C", Some("gray"), 23)];
        let mut applications: Vec<_> = chain
            .into_iter()
            .chain(gray)
            .map(|(name, tag, host)| begin(&sandbox, &Instance::of_chain(name, tag, host)))
            .collect();
        for application in &mut applications {
            application.ready().unwrap();
        }
        let at = |label: &str, host| format!("{label}[{}]", sandbox.host(host));
        let (b, c) = (at("B", 12), at("C", 13));
        let base = format!("{} -> {b} -> {c}", at("A", 11));
        let gray = format!("{} -> {b} -> {}", at("Agray", 21), at("Cgray", 23));
        let world = Self { _serve: serve, _applications: applications, base, gray, sandbox };
        world.becomes(&[], &world.base, SETTLED_WITHIN);
        world
    }

    fn answer(&self, target: &str, headers: &[&str]) -> String {
        http::get(&self.sandbox.gateway_address(), target, headers).unwrap().body
    }

    #[track_caller]
    fn becomes(&self, headers: &[&str], expected: &str, within: Duration) {
        let mut answer = String::new();
        wait::until_true(within, "the expected answer", || {
            answer = self.answer("/a", headers);
            answer == expected
        })
        .unwrap_or_else(|error| panic!("{error}: got {answer}, expected {expected}"));
    }
}

fn begin(sandbox: &Sandbox, instance: &Instance) -> RunningInstance {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mesh/application.py");
    let mut command = Command::new("python3");
    command.args([script, &instance.label(), &sandbox.host(instance.host), "8080"]);
    command.args([instance.calls.unwrap_or("-"), &sandbox.endpoint(instance.host, 15_001)]);
    sandbox.begin_beside(instance, &mut command).unwrap()
}

const CANARY: &[&str] = &["canary: gray"];

#[test]
fn a_lane_by_content_holds_through_the_chain_and_switches_without_a_dropped_request() {
    if !testkit::needs("python") {
        return;
    }
    let world = World::start();
    world.sandbox.apply(&sample::lane("gray")).unwrap();
    world.becomes(CANARY, &world.gray, EFFECTIVE_WITHIN * 5);
    assert_eq!(world.answer("/a", &["canary: blue"]), world.base);
    assert_eq!(world.answer("/a", &["baggage: lane.trade=gray"]), world.base, "forged context");
    assert_eq!(world.answer("/a", &["canary: gray", "baggage: x=1,lane.trade=-"]), world.gray);

    let load = load::Load::start(load::Profile {
        address: world.sandbox.gateway_address(),
        rate: 50,
        connections: 8,
        kinds: vec![load::get("/a", CANARY), load::get("/a", &[])],
    });
    for _ in 0..3 {
        world.sandbox.must(&["lane", "disable", "trade/gray"]).unwrap();
        world.becomes(CANARY, &world.base, EFFECTIVE_WITHIN);
        world.sandbox.must(&["lane", "enable", "trade/gray"]).unwrap();
        world.becomes(CANARY, &world.gray, EFFECTIVE_WITHIN);
    }
    for sent in load.stop().unwrap() {
        let (status, body) = sent.outcome.unwrap();
        let right = if sent.kind == 1 { body == world.base } else { status == 200 };
        assert!(right, "{status} {body}");
    }

    world.sandbox.must(&["delete", "Lane", "trade-gray"]).unwrap();
    world.becomes(CANARY, &world.base, EFFECTIVE_WITHIN);
}

#[test]
fn a_lane_by_ratio_takes_its_share_and_a_sticky_one_keeps_each_key() {
    if !testkit::needs("python") {
        return;
    }
    let world = World::start();
    world.sandbox.apply(RATIO_LANE).unwrap();
    let within = EFFECTIVE_WITHIN * 5;
    let in_lane = |headers: &[&str]| {
        let answer = world.answer("/ratio/a", headers);
        assert!(answer == world.gray || answer == world.base, "{answer}");
        answer == world.gray
    };
    wait::until_true(within, "a request in the lane", || in_lane(&[])).unwrap();
    let taken = (0..1_000).filter(|_| in_lane(&[])).count();
    // Six standard deviations to either side: wrong once in 10^8 runs.
    assert!((213..=387).contains(&taken), "{taken} of 1000 at 30 %");
    assert_eq!(world.answer("/a", &[]), world.base, "the other route is no entrance of the group");

    world
        .sandbox
        .apply(&RATIO_LANE.replace("percent: 30", "percent: 30, stickyBy: {cookie: uid}"))
        .unwrap();
    let key_in_lane = |key: u32| in_lane(&[&format!("cookie: a=b; uid=user-{key}")]);
    // Sticky is live when ten answers in a row agree for each key.
    let keys = 0..60;
    let settled = |key| (0..10).map(|_| key_in_lane(key)).collect::<HashSet<_>>().len() == 1;
    wait::until_true(within, "keys that stay", || keys.clone().all(settled)).unwrap();
    let before: Vec<_> = keys.clone().filter(|key| key_in_lane(*key)).collect();
    assert!(!before.is_empty() && before.len() < 60, "{} of 60 keys", before.len());

    world.sandbox.must(&["lane", "ratio", "share/gray", "60"]).unwrap();
    let more = || keys.clone().filter(|key| key_in_lane(*key)).collect::<Vec<_>>();
    wait::until_true(within, "more keys", || more().len() > before.len()).unwrap();
    let after = more();
    assert!(before.iter().all(|key| after.contains(key)), "raising moved a key out of the lane");
}

#[test]
fn what_is_refused_names_field_value_and_remedy_and_loses_nothing() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let _serve = sandbox.serve(&[]).unwrap();
    let gray = sample::lane("gray");
    // Each document on its own: what separates them is written where they are put together.
    let gray = gray.trim_start_matches("---");
    sandbox.apply(&format!("{}---{GROUPS}---{gray}---{RATIO_LANE}", routes())).unwrap();
    let everything = || {
        ["backends", "httproutes", "lanegroups", "lanes"]
            .map(|kind| sandbox.must(&["get", kind, "-o", "json"]).unwrap())
    };
    let before = everything();
    let lane = |from: &str, to: &str| {
        gray.replace("trade-gray", "trade-more").replace("tag: gray", "tag: more").replace(from, to)
    };
    // What is wrong, and words that must be in the message: the field and the value.
    let refused = [
        (lane(r#"operator: "==""#, r#"operator: "=~""#), ["operator", "=~"]),
        (lane(r#"operator: "==", value: gray"#, r#"operator: regex, value: "(""#), ["value", "("]),
        (lane("header: canary", "hedder: canary"), ["hedder", "conditions"]),
        (lane(r#"[{header: canary, operator: "==", value: gray}]"#, "[]"), ["conditions", "[]"]),
        (lane("group: trade", "group: nowhere"), ["group", "nowhere"]),
        (lane("entry:", "fallback: [more], entry:"), ["fallback", "more"]),
        (lane("entry:", "fallback: [nobody], entry:"), ["fallback", "nobody"]),
        (lane("tag: more", "tag: gray"), ["tag", "gray"]),
        (lane("tag: more", "tag: \"no good\""), ["tag", "no good"]),
        (lane("name: trade-more", "name: Not_A_Name"), ["name", "Not_A_Name"]),
        (lane("entry:", "colour: red, entry:"), ["colour", "spec"]),
        (
            RATIO_LANE
                .replace("share-gray", "share-more")
                .replace("tag: gray", "tag: more")
                .replace("30", "71"),
            ["percent", "100"],
        ),
        (RATIO_LANE.replace("30", "101"), ["percent", "101"]),
        (
            RATIO_LANE
                .replace("share-gray", "m")
                .replace("group: share, tag: gray", "group: trade, tag: m"),
            ["entry", "content"],
        ),
    ];
    for (wrong, words) in refused {
        // A right object in the same file is not written either.
        let both = format!("{}---{wrong}", sample::routed("other", "embedded"));
        let file = sandbox.path("wrong.yaml");
        fs::write(&file, both).unwrap();
        let result = sandbox.run(&["apply", "-f", &file.to_string_lossy()]).unwrap();
        assert_eq!(result.code, Some(1), "accepted: {wrong}");
        for word in words {
            assert!(result.stderr.contains(word), "no `{word}` in `{}` for {wrong}", result.stderr);
        }
        assert_eq!(everything(), before, "changed by {wrong}");
    }
}
