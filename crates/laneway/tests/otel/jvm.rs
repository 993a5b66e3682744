//! A JVM in one chain with Node and Python, twice: under OpenTelemetry's agent beside a sidecar; under Laneway's agent beside
//! a sidecar, which routes. The same holds each time. A chain of JVMs under Laneway's agent alone is `nacos/spring_cloud`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::{needs, sample, wait};

use crate::{
    TURN, at_once, instance,
    mesh::{Forwarding, Instance, Language, Mesh, Under},
};

/// Longest that a JVM with an agent takes to answer on a busy machine: half a minute of processor time.
const READY_WITHIN: Duration = Duration::from_secs(600);

/// B and C, both in the lane gray and both reached by A's call, which is in no lane itself.
const CALLED: [Instance; 4] = [
    instance("B", None, 12, Language::Node, Some((13, "/c"))),
    instance("B", Some("gray"), 22, Language::Node, Some((13, "/c"))),
    instance("C", None, 13, Language::Python, None),
    GRAY_C,
];
const GRAY_C: Instance = instance("C", Some("gray"), 23, Language::Python, None);

const BASE: &str = "A -> B[10.77.0.12] -> C[10.77.0.13]";
const GRAY: &str = "A -> Bgray[10.77.0.22] -> Cgray[10.77.0.23]";
const WITHOUT_C: &str = "A -> Bgray[10.77.0.22] -> C[10.77.0.13]";
const IN_LANE: &[&str] = &["canary: gray"];

/// Requests of content, a third of them in the lane, and keys of ratio.
const REQUESTS: usize = 120;
const KEYS: usize = 200;

/// Requests in flight at once: what a JVM that has just started can take on a busy machine.
const IN_FLIGHT: usize = 8;

/// How A runs: under which agent, on which host, and by which clients it calls.
struct SetUp {
    under: Under,
    host: u8,
    clients: &'static [&'static str],
}

/// A raw thread keeps its request's context under Laneway's agent alone, whoever routes.
const SET_UPS: [SetUp; 2] = [
    SetUp { under: Under::OpenTelemetry, host: 11, clients: &["rest-template", "web-client"] },
    SetUp {
        under: Under::LanewayBesideSidecar,
        host: 14,
        clients: &["rest-template", "web-client", "thread"],
    },
];

/// How requests enter the lane.
#[derive(Clone, Copy)]
enum Entry {
    Content,
    /// So many in a hundred, by the field `user`.
    Ratio(u32),
}

impl SetUp {
    /// The chain behind the path `/a`.
    fn resources(entry: Entry) -> String {
        let entry = match entry {
            Entry::Content => {
                "content: {meet: all, conditions: [{header: canary, operator: \"==\", value: gray}]}"
                    .to_owned()
            }
            Entry::Ratio(percent) => {
                format!("ratio: {{percent: {percent}, stickyBy: {{header: user}}}}")
            }
        };
        format!(
            "{}---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [app-a, app-b, app-c]}}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-gray}}
spec: {{group: trade, tag: gray, entry: {{{entry}}}}}
",
            sample::routed("a", "embedded"),
        )
    }

    fn answer(&self, mesh: &Mesh, number: usize, headers: &[&str]) -> Result<String> {
        let client = self.clients[number % self.clients.len()];
        let answer = mesh.get_at(&format!("/a/{client}"), headers)?;
        ensure!(answer.status == 200, "{client} {headers:?}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// Waits until every client is answered by this chain.
    fn wait_for(&self, mesh: &Mesh, headers: &[&str], chain: &str) -> Result<()> {
        wait::until(READY_WITHIN, &format!("{:?}: {headers:?} by `{chain}`", self.under), || {
            (0..self.clients.len()).try_for_each(|number| {
                let answer = mesh.on_edge(|| self.answer(mesh, number, headers))?;
                ensure!(answer == chain, "{answer}");
                Ok(())
            })
        })
    }

    /// Requests of base and lane, many in flight, each by its own chain.
    fn check_content(&self, mesh: &Mesh, in_lane: &str) -> Result<()> {
        let complaints = at_once(mesh, IN_FLIGHT, REQUESTS, |number| {
            let (headers, chain) =
                if number % 3 == 0 { (IN_LANE, in_lane) } else { (&[][..], BASE) };
            match self.answer(mesh, number / 3, headers) {
                Ok(answer) if answer == chain => None,
                Ok(answer) => Some(format!("{headers:?}: {answer}")),
                Err(error) => Some(format!("{error:#}")),
            }
        });
        ensure!(complaints.is_empty(), "{:?}: {complaints:#?}", self.under);
        Ok(())
    }

    /// A share of the keys is in the lane, in every hop, and each stays where it is.
    fn check_ratio(&self, mesh: &Mesh) -> Result<()> {
        mesh.say(&Self::resources(Entry::Ratio(100)))?;
        self.wait_for(mesh, &["user: 7"], GRAY)?;
        mesh.say(&Self::resources(Entry::Ratio(30)))?;
        wait::until(READY_WITHIN, "some in base again", || {
            let in_base = (0..20).any(|key| {
                let user = format!("user: {key}");
                mesh.on_edge(|| self.answer(mesh, 0, &[&user])).is_ok_and(|it| it == BASE)
            });
            ensure!(in_base, "none of 20");
            Ok(())
        })?;
        let seen = parking_lot::Mutex::new(BTreeMap::<usize, Vec<String>>::new());
        let complaints = at_once(mesh, IN_FLIGHT, 2 * KEYS, |number| {
            let key = number % KEYS;
            let answer = self.answer(mesh, number, &[&format!("user: {key}")]);
            match answer {
                Ok(answer) if answer == BASE || answer == GRAY => {
                    seen.lock().entry(key).or_default().push(answer);
                    None
                }
                other => Some(format!("{other:?}")),
            }
        });
        ensure!(complaints.is_empty(), "{:?}: {complaints:#?}", self.under);
        let seen = seen.into_inner();
        ensure!(seen.values().all(|both| both.windows(2).all(|it| it[0] == it[1])), "{seen:?}");
        let share = seen.values().filter(|both| both[0] == GRAY).count() * 100 / KEYS;
        // Three times the deviation of 30 of 100 among so many.
        ensure!((20..=40).contains(&share), "{share} % are in the lane");
        Ok(())
    }

    /// Everything that is to hold.
    fn check(&self, mesh: &mut Mesh) -> Result<()> {
        self.wait_for(mesh, &[], BASE)?;
        self.wait_for(mesh, IN_LANE, GRAY)?;
        let before = requests_in_lane(mesh, self.clients.len() as u64)?;
        self.check_content(mesh, GRAY)?;
        let sent = REQUESTS as u64 / 3;
        let counted = requests_in_lane(mesh, before + sent)? - before;
        ensure!(counted == sent, "{:?}: {counted} of {sent} counted at A", self.under);
        // Who does not route follows nobody: it has nothing to tell.
        let status = mesh.laneway(&["status"])?;
        ensure!(!status.contains("agent"), "{status}");

        mesh.laneway(&["lane", "disable", "trade/gray"])?;
        self.check_content(mesh, BASE)?;
        mesh.laneway(&["lane", "enable", "trade/gray"])?;
        self.check_content(mesh, GRAY)?;
        self.check_ratio(mesh)?;
        mesh.say(&Self::resources(Entry::Content))?;
        self.wait_for(mesh, IN_LANE, GRAY)?;

        mesh.kill(GRAY_C.host);
        self.wait_for(mesh, IN_LANE, WITHOUT_C)?;
        self.check_content(mesh, WITHOUT_C)?;
        mesh.add(&GRAY_C, Forwarding::OpenTelemetry)?;
        self.wait_for(mesh, IN_LANE, GRAY)
    }
}

/// What was served by A in the lane, once everybody has told all there is, which is at least so much: they tell once a
/// second, and on a busy machine later.
fn requests_in_lane(mesh: &Mesh, at_least: u64) -> Result<u64> {
    let mut last = None;
    wait::until(READY_WITHIN, "figures that stay", || {
        let told = mesh.laneway(&["top", "trade", "--window", "15m", "-o", "json"])?;
        let top: Value = serde_json::from_str(&told)?;
        let mut rows = top["rows"].as_array().context("rows")?.iter();
        let row = rows.find(|row| row["lane"] == "gray" && row["application"] == "app-a");
        let now = row.and_then(|row| row["figures"]["requests"].as_u64()).unwrap_or_default();
        let before = last.replace(now);
        if before == Some(now) && now >= at_least {
            return Ok(now);
        }
        wait::pause(Duration::from_millis(2500));
        bail!("{now} after {before:?}, of {at_least}")
    })
}

#[test]
fn a_jvm_among_others_stays_in_its_lane_whichever_agent_and_sidecar_it_has() -> Result<()> {
    if !(needs("netns") && needs("otel") && needs("java")) {
        return Ok(());
    }
    let _turn = TURN.lock();
    let first = SetUp::resources(Entry::Content);
    let mut mesh = Mesh::start_with(&CALLED, Forwarding::OpenTelemetry, &first)?;
    for set_up in &SET_UPS {
        mesh.say(&SetUp::resources(Entry::Content))?;
        let calls = Some((12, "/b"));
        let jvm = instance("A", None, set_up.host, Language::Java(set_up.under), calls);
        mesh.add(&jvm, Forwarding::OpenTelemetry)?;
        let outcome = set_up.check(&mut mesh);
        outcome.with_context(|| mesh.output(set_up.host))?;
        let said = mesh.output(set_up.host);
        let is_told = said.contains("laneway: routing is off: a sidecar beside this process");
        ensure!(is_told == (set_up.under == Under::LanewayBesideSidecar), "{said}");
        // In order, so that nobody goes on calling it.
        mesh.stop_sidecar(set_up.host)?;
        mesh.kill(set_up.host);
    }
    ensure!(mesh.ended().is_empty(), "{:?}", mesh.ended());
    Ok(())
}
