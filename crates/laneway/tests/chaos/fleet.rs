//! The fleet that all these tests put under load: A → B → C with lanes gray, blue and green, and what happened to it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use testkit::{
    Instance, Judgement, Process, RunningInstance, Sandbox, Timeline, http, load, sample, wait,
};

/// The lanes, all enabled.
pub(crate) const LANES: &[&str] = &["gray", "blue", "green"];

/// Name, tag and host of every instance. Base has two of each; gray lacks B; blue has one of each; green has only C.
const INSTANCES: &[(&str, Option<&str>, u8)] = &[
    ("A", None, 11),
    ("A", None, 12),
    ("B", None, 13),
    ("B", None, 14),
    ("C", None, 15),
    ("C", None, 16),
    ("A", Some("gray"), 21),
    ("A", Some("gray"), 22),
    ("C", Some("gray"), 23),
    ("C", Some("gray"), 24),
    ("A", Some("blue"), 31),
    ("B", Some("blue"), 32),
    ("C", Some("blue"), 33),
    ("C", Some("green"), 43),
];

/// Longest until every data plane knows every instance and lane.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// The kinds of requests, sent in turn: 4 of 10 unmarked, 3 gray, 2 blue, 1 green.
const MARKS: [Option<&str>; 10] = [
    None,
    Some("gray"),
    None,
    Some("gray"),
    Some("blue"),
    None,
    Some("green"),
    Some("gray"),
    None,
    Some("blue"),
];

/// How much load, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) time: Duration,
    pub(crate) rate: u32,
}

impl Scale {
    /// Full scale when the release binary is tested, which `cargo xtask test` does; small otherwise.
    #[allow(clippy::disallowed_methods, reason = "the scale follows the binary that is tested")]
    pub(crate) fn of(full: Self) -> Self {
        if std::env::var_os("LANEWAY_BINARY").is_some() {
            full
        } else {
            Self { time: full.time.min(Duration::from_secs(8)), rate: full.rate.min(200) }
        }
    }
}

/// Processes, and the story of what was done to them.
#[derive(Debug)]
pub(crate) struct Fleet {
    running: Mutex<HashMap<u8, RunningInstance>>,
    timeline: Mutex<Timeline>,
    pub(crate) control: Mutex<Process>,
    pub(crate) gateways: Mutex<Vec<Process>>,
    pub(crate) sandbox: Sandbox,
}

/// How the answers of a run were judged.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) answers: usize,
    pub(crate) base: usize,
    pub(crate) lane: usize,
    pub(crate) lost: usize,
    pub(crate) wrong: Vec<String>,
}

impl Fleet {
    /// Control plane and gateway as processes of their own, every instance running and every lane live. `change` may
    /// alter an instance before it is started; `control_address` is where the gateway looks for its control plane.
    pub(crate) fn start(
        sandbox: Sandbox,
        control_address: &str,
        change: impl Fn(&Sandbox, &mut Instance),
    ) -> Self {
        let control = sandbox.control(&[]).unwrap();
        let begun = Instant::now();
        sandbox.apply(&sample::chain(LANES)).unwrap();
        let mut timeline = Timeline::default();
        for tag in LANES {
            timeline.lane_switched(tag, true, begun, Instant::now());
        }
        let mut running = HashMap::new();
        for (name, tag, host) in INSTANCES {
            let mut instance = Instance::of_chain(name, *tag, *host);
            change(&sandbox, &mut instance);
            timeline.instance_started(name, *tag, &sandbox.host(*host), Instant::now());
            running.insert(*host, sandbox.begin(&instance).unwrap());
        }
        for instance in running.values_mut() {
            instance.ready().unwrap();
        }
        let gateway = sandbox.gateway(control_address).unwrap();
        let fleet = Self {
            running: Mutex::new(running),
            timeline: Mutex::new(timeline),
            control: Mutex::new(control),
            gateways: Mutex::new(vec![gateway]),
            sandbox,
        };
        fleet.settle();
        for (_, _, host) in INSTANCES {
            fleet.timeline().instance_certain(&fleet.sandbox.host(*host), Instant::now());
        }
        fleet
    }

    /// Waits until answers have named every instance: then every data plane knows the fleet.
    fn settle(&self) {
        let addresses = INSTANCES.iter().map(|(_, _, host)| self.sandbox.host(*host));
        let mut unseen: Vec<String> = addresses.map(|address| format!("[{address}]")).collect();
        let mut marks = MARKS.iter().cycle();
        wait::until(SETTLED_WITHIN, "an answer of every instance", || {
            let header = marks.next().copied().flatten().map(|mark| format!("canary: {mark}"));
            let headers: Vec<&str> = header.iter().map(String::as_str).collect();
            let answer = http::get(&self.sandbox.gateway_address(), "/a", &headers)?;
            unseen.retain(|address| !answer.body.contains(address.as_str()));
            if unseen.is_empty() {
                return Ok(());
            }
            anyhow::bail!("not yet: {unseen:?}; last {} {}", answer.status, answer.body)
        })
        .unwrap();
    }

    pub(crate) fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock()
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<u8, RunningInstance>> {
        self.running.lock()
    }

    /// Starts the mixed load.
    pub(crate) fn load(&self, rate: u32) -> load::Load {
        let kinds = MARKS.iter().map(|mark| match mark {
            Some(mark) => load::get("/a", &[&format!("canary: {mark}")]),
            None => load::get("/a", &[]),
        });
        load::Load::start(load::Profile {
            address: self.sandbox.gateway_address(),
            rate,
            connections: 48,
            kinds: kinds.collect(),
        })
    }

    /// Judges everything that was sent.
    pub(crate) fn judge(&self, sent: &[load::Sent]) -> Verdict {
        let timeline = self.timeline();
        let mut verdict = Verdict { answers: sent.len(), ..Verdict::default() };
        for sent in sent {
            match timeline.judge(MARKS[sent.kind], sent.at, sent.until, &sent.outcome) {
                Ok(Judgement::Base) => verdict.base += 1,
                Ok(Judgement::Lane) => verdict.lane += 1,
                Ok(Judgement::LostToKill) => verdict.lost += 1,
                Err(wrong) => verdict.wrong.push(format!("{:?}: {wrong}", MARKS[sent.kind])),
            }
        }
        verdict
    }

    /// Switches a lane by the REST API. (The command also waits until the change is live everywhere.)
    pub(crate) fn switch(&self, tag: &str, enabled: bool) {
        let begun = Instant::now();
        let path = format!("/api/v1alpha1/namespaces/default/lanes/trade-{tag}");
        let patch = format!("{{\"spec\": {{\"enabled\": {enabled}}}}}");
        let content = ["content-type: application/merge-patch+json"];
        let api = self.sandbox.api_address();
        let answer = http::exchange(&api, "PATCH", &path, &content, &patch).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.timeline().lane_switched(tag, enabled, begun, Instant::now());
    }

    /// `kill -9` of an instance: its application and its sidecar.
    pub(crate) fn kill(&self, host: u8) {
        let mut instance = self.running().remove(&host).unwrap();
        let from = Instant::now();
        self.timeline().instance_doubtful(&instance.address, from);
        instance.kill();
        let mut timeline = self.timeline();
        timeline.killed(from, Instant::now());
        timeline.instance_gone(&instance.address, Instant::now());
    }

    /// Stops an instance in order: its sidecar deregisters it and finishes what it has, then the application ends.
    pub(crate) fn stop(&self, host: u8) {
        let mut instance = self.running().remove(&host).unwrap();
        self.timeline().instance_doubtful(&instance.address, Instant::now());
        instance.sidecar.ask_to_stop();
        instance.sidecar.wait_for_end(Duration::from_secs(30)).unwrap();
        instance.application.kill();
        self.timeline().instance_gone(&instance.address, Instant::now());
    }

    /// Starts an instance (again).
    pub(crate) fn restart(&self, host: u8) {
        let (name, tag, _) = INSTANCES.iter().find(|(_, _, known)| *known == host).unwrap();
        let address = self.sandbox.host(host);
        self.timeline().instance_started(name, *tag, &address, Instant::now());
        let instance = self.sandbox.start(&Instance::of_chain(name, *tag, host)).unwrap();
        self.timeline().instance_certain(&address, Instant::now());
        self.running().insert(host, instance);
    }
}

impl Verdict {
    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let Self { answers, base, lane, lost, wrong } = self;
        let share = 100.0 * *lane as f64 / (*answers).max(1) as f64;
        let wrong = wrong.len();
        format!(
            "{answers} answers: {base} base, {lane} in a lane ({share:.1} %), {lost} lost to kills, {wrong} wrong"
        )
    }

    #[track_caller]
    pub(crate) fn assert_right(&self) {
        let shown: Vec<_> = self.wrong.iter().take(20).collect();
        assert!(shown.is_empty(), "{}; first: {shown:#?}", self.summary());
    }
}
