//! What `explain` says is what live traffic then does: random lanes, random requests, every hop compared.
#![allow(clippy::print_stderr, reason = "a long run says what it did")]

mod cases;

use std::{thread, time::Duration};

use serde_json::{Value, json};
use testkit::{Instance, Process, Random, RunningInstance, Sandbox, http, path, wait};

use cases::Case;

/// Random lanes to try, and requests for each. A plain `cargo test` tries a twentieth.
const CONFIGURATIONS: usize = 40;
const REQUESTS_PER_CONFIGURATION: usize = 250;
const SMALL_SHARE: usize = 20;

/// Cases at a time: one alone has most of the machine wait for the next process of its chain.
const AT_A_TIME: usize = 4;

/// Longest until lanes are live at every data plane.
const LIVE_WITHIN: Duration = Duration::from_secs(20);

/// Name, tag and host of every instance: red lacks B, green has only B, blue has all, nobody is violet.
const INSTANCES: [(&str, Option<&str>, u8); 9] = [
    ("A", None, 11),
    ("B", None, 12),
    ("C", None, 13),
    ("A", Some("red"), 21),
    ("C", Some("red"), 23),
    ("B", Some("green"), 32),
    ("A", Some("blue"), 41),
    ("B", Some("blue"), 42),
    ("C", Some("blue"), 43),
];

/// The tag of each hop, `-` for base, then `failed` if the next hop was refused; or what the gateway itself answers.
type Path = Vec<String>;

struct World {
    _serve: Process,
    _instances: Vec<RunningInstance>,
    sandbox: Sandbox,
}

impl World {
    fn start() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
        let serve = sandbox.serve(&[]).unwrap();
        sandbox.apply(&cases::resources()).unwrap();
        let mut instances: Vec<_> = INSTANCES
            .iter()
            .map(|(name, tag, host)| sandbox.begin(&Instance::of_chain(name, *tag, *host)).unwrap())
            .collect();
        for instance in &mut instances {
            instance.ready().unwrap();
        }
        let world = Self { _serve: serve, _instances: instances, sandbox };
        wait::until_true(LIVE_WITHIN, "a base answer", || {
            let answer = http::get(&world.sandbox.gateway_address(), "/a", &[]);
            answer.is_ok_and(|answer| answer.body.contains(" -> C["))
        })
        .unwrap();
        world
    }

    /// Replaces all lanes, and waits until every data plane that they concern has acknowledged them.
    fn set_lanes(&self, before: &[Value], lanes: &[Value]) {
        let mut loose = before.to_vec();
        loose.iter_mut().for_each(|lane| lane["spec"]["fallback"] = json!([]));
        if !loose.is_empty() {
            // A lane that another falls back to cannot be deleted.
            self.apply(&loose);
        }
        for lane in before {
            let name = lane["metadata"]["name"].as_str().unwrap();
            self.sandbox.must(&["delete", "Lane", name]).unwrap();
        }
        self.apply(lanes);
        let api = self.sandbox.api_address();
        wait::until(LIVE_WITHIN, "lanes live everywhere", || {
            // Lanes are told in two steps; what is acknowledged after the second is live.
            let (_, told) = self.explained(&Case::plain());
            if told.to_string().contains("not yet admitting") {
                anyhow::bail!("entrances are still held back");
            }
            let told = http::get(&api, "/api/v1alpha1/namespaces/default/lanes", &[])?;
            let told: Value = serde_json::from_str(&told.body)?;
            let told = told["items"].as_array().cloned().unwrap_or_default();
            if told.len() != lanes.len() {
                anyhow::bail!("{} lanes of {}", told.len(), lanes.len());
            }
            for lane in &told {
                let live = &lane["status"]["live"];
                let (planes, acknowledged) =
                    (live["dataPlanes"].as_u64(), live["acknowledged"].as_u64());
                if acknowledged != planes || planes < Some(2) {
                    anyhow::bail!("{} is live at {live}", lane["metadata"]["name"]);
                }
            }
            Ok(())
        })
        .unwrap();
    }

    fn apply(&self, lanes: &[Value]) {
        let text = lanes.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        self.sandbox.apply(&text).unwrap();
    }

    /// Asks whether each case goes where `explain` says, and fails where one does not; where they went.
    fn compare(&self, cases: &[Case], configuration: &str) -> Vec<Path> {
        let compare = |case: &Case| {
            let (explained, told) = self.explained(case);
            let (live, answer) = self.live(case);
            assert_eq!(
                explained, live,
                "{configuration}\n{case:?} was answered {answer}\nexplained: {told:#}"
            );
            live
        };
        let compare_all = |cases: &[Case]| cases.iter().map(compare).collect::<Vec<_>>();
        thread::scope(|scope| {
            let shares = cases.chunks(cases.len().div_ceil(AT_A_TIME));
            let callers: Vec<_> =
                shares.map(|share| scope.spawn(move || compare_all(share))).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        })
    }

    fn explained(&self, case: &Case) -> (Path, Value) {
        let headers: Vec<_> = case
            .headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let request = json!({
            "method": case.method,
            "url": format!("http://{}{}", self.sandbox.gateway_address(), case.target),
            "headers": headers,
            "clientIp": "127.0.0.1",
            "path": ["sc-A", "sc-B", "sc-C"],
        });
        let api = self.sandbox.api_address();
        let content = ["content-type: application/json"];
        let answer =
            http::exchange(&api, "POST", "/api/v1alpha1/explain", &content, &request.to_string());
        let answer = answer.unwrap();
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        if answer.status == 422 {
            let remedy = told["errors"][0]["remedy"].as_str().unwrap_or_default();
            let refusal = remedy.strip_prefix("the gateway answers ").expect(&answer.body);
            return (vec![refusal.to_owned()], told);
        }
        assert_eq!(answer.status, 200, "{} for {request}", answer.body);
        let mut path = Path::new();
        for hop in told["hops"].as_array().unwrap() {
            if hop["outcome"] == "failed" {
                path.push("failed".to_owned());
                break;
            }
            path.push(hop["tag"].as_str().filter(|tag| !tag.is_empty()).unwrap_or("-").to_owned());
        }
        (path, told)
    }

    fn live(&self, case: &Case) -> (Path, String) {
        let headers: Vec<_> =
            case.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let gateway = self.sandbox.gateway_address();
        // Clients write no path where they ask for a way through.
        let target = if case.target.is_empty() { &gateway } else { &case.target };
        let answer = http::exchange(&gateway, case.method, target, &headers, "").unwrap();
        if matches!(answer.status, 400 | 405 | 414 | 431 | 501) {
            let refusal = format!("{}: {}", answer.status, answer.body.trim_end());
            return (vec![refusal.clone()], refusal);
        }
        // A 502 of an application tells how its own call failed: the hops go on in it.
        let told = answer.body.replace(" -> ERROR 502 ", " -> ");
        let (served, failed) = match told.split_once(" -> ERROR 503") {
            Some((served, _reason)) => (served, true),
            None if answer.status == 503 => ("", true),
            None => (told.as_str(), false),
        };
        let hops = if served.is_empty() { Vec::new() } else { path::parse(served).unwrap() };
        let tags = hops.into_iter().map(|hop| hop.tag.unwrap_or_else(|| "-".to_owned()));
        let path = tags.chain(failed.then(|| "failed".to_owned())).collect();
        (path, format!("{} {}", answer.status, answer.body))
    }
}

#[test]
fn live_traffic_does_what_explain_says() {
    let share = if full_scale() { 1 } else { SMALL_SHARE };
    let seed = u64::from(std::process::id());
    let mut dice = Random::new(seed);
    let world = World::start();
    let mut before = Vec::new();
    let (mut compared, mut in_lane, mut failed, mut refused) = (0, 0, 0, 0);
    for number in 0..CONFIGURATIONS / share {
        let lanes = if number == 0 { cases::strict_lanes } else { cases::lanes };
        let configuration = lanes(&mut dice);
        world.set_lanes(&before, &configuration);
        let cases: Vec<_> =
            (0..REQUESTS_PER_CONFIGURATION).map(|_| Case::random(&mut dice)).collect();
        for live in world.compare(&cases, &format!("seed {seed}, lanes: {configuration:#?}")) {
            compared += 1;
            let by_gateway = live.first().is_some_and(|told| told.contains(": "));
            refused += usize::from(by_gateway);
            let is_lane = |tag: &String| tag != "-" && tag != "failed";
            in_lane += usize::from(!by_gateway && live.iter().any(is_lane));
            failed += usize::from(live.last().is_some_and(|last| last == "failed"));
        }
        before = configuration;
    }
    eprintln!(
        "seed {seed}: {compared} compared, {in_lane} with a hop in a lane, {failed} failed at a hop, {refused} refused by the gateway"
    );
    let enough = in_lane * 10 >= compared && refused > 0 && failed > 0;
    assert!(enough, "{in_lane} in a lane, {failed} failed, {refused} refused");
}

#[allow(clippy::disallowed_methods, reason = "the scale follows the binary that is tested")]
fn full_scale() -> bool {
    std::env::var_os("LANEWAY_BINARY").is_some()
}
