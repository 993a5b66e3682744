//! The fleet that all these tests put under load: A → B → C with lanes gray, blue and green, and what happened to it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use parking_lot::{Mutex, MutexGuard};
use testkit::{
    Instance, Judgement, Process, RunningInstance, Sandbox, Timeline, http, load, path, sample,
    wait,
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

/// Longest until every data plane knows every instance and lane, or has found its control plane again.
pub(crate) const SETTLED_WITHIN: Duration = Duration::from_secs(30);

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

    /// Full scale in `cargo xtask faults` alone.
    pub(crate) fn of_faults(full: Self) -> Self {
        if is_full() { full } else { Self { time: full.time / 10, rate: full.rate.min(200) } }
    }
}

/// Whether experiments are to be done in full, which takes minutes each.
#[allow(clippy::disallowed_methods, reason = "`cargo xtask faults` says so")]
pub(crate) fn is_full() -> bool {
    std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full")
}

/// Processes, and the story of what was done to them.
#[derive(Debug)]
pub(crate) struct Fleet {
    instances: HashMap<u8, Instance>,
    lanes: Mutex<BTreeMap<&'static str, bool>>,
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
    /// Of those in a lane, how many had a hop that its lane has no instance for.
    pub(crate) fallbacks: usize,
    pub(crate) lost: usize,
    /// What those that were lost were told, and how many.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// Unmarked requests that a tagged instance served; they are wrong ones, too.
    pub(crate) base_on_tagged: usize,
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
        let mut instances = HashMap::new();
        for (name, tag, host) in INSTANCES {
            let mut instance = Instance::of_chain(name, *tag, *host);
            change(&sandbox, &mut instance);
            timeline.instance_started(name, *tag, &sandbox.host(*host), Instant::now());
            running.insert(*host, sandbox.begin(&instance).unwrap());
            instances.insert(*host, instance);
        }
        for instance in running.values_mut() {
            instance.ready().unwrap();
        }
        let gateway = sandbox.gateway(control_address).unwrap();
        let fleet = Self {
            instances,
            lanes: Mutex::new(LANES.iter().map(|tag| (*tag, true)).collect()),
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
            let mark = MARKS[sent.kind];
            match timeline.judge(mark, sent.at, sent.until, &sent.outcome) {
                Ok(Judgement::Base) => verdict.base += 1,
                Ok(Judgement::Lane) => {
                    verdict.lane += 1;
                    verdict.fallbacks += usize::from(has_tag(&sent.outcome, false));
                }
                Ok(Judgement::LostToKill) => {
                    verdict.lost += 1;
                    *verdict.reasons.entry(reason(&sent.outcome)).or_default() += 1;
                }
                Err(wrong) => {
                    let on_tagged = mark.is_none() && has_tag(&sent.outcome, true);
                    verdict.base_on_tagged += usize::from(on_tagged);
                    verdict.wrong.push(format!("{mark:?}: {wrong}"));
                }
            }
        }
        verdict
    }

    /// Switches a lane by the REST API. (The command also waits until the change is live everywhere.)
    pub(crate) fn switch(&self, tag: &'static str, enabled: bool) {
        let begun = Instant::now();
        let path = format!("/api/v1alpha1/namespaces/default/lanes/trade-{tag}");
        let patch = format!("{{\"spec\": {{\"enabled\": {enabled}}}}}");
        let content = ["content-type: application/merge-patch+json"];
        let api = self.sandbox.api_address();
        let answer = http::exchange(&api, "PATCH", &path, &content, &patch).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.lane_is(tag, enabled, begun);
    }

    /// Enables the lane if it is disabled, else disables it.
    pub(crate) fn toggle(&self, tag: &'static str) {
        let enabled = self.lanes()[tag];
        self.switch(tag, !enabled);
    }

    /// Takes note that since `begun` a lane has become this.
    pub(crate) fn lane_is(&self, tag: &'static str, enabled: bool, begun: Instant) {
        self.timeline().lane_switched(tag, enabled, begun, Instant::now());
        self.lanes.lock().insert(tag, enabled);
    }

    /// Which lanes are enabled.
    pub(crate) fn lanes(&self) -> BTreeMap<&'static str, bool> {
        self.lanes.lock().clone()
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
        self.begin(&self.instances[&host]);
        self.ready(host);
    }

    /// Starts an instance, perhaps where another was; [`Fleet::ready`] waits until it is in the mesh.
    pub(crate) fn begin(&self, instance: &Instance) {
        let host = instance.host;
        let address = self.sandbox.host(host);
        let at = Instant::now();
        self.timeline().instance_started(instance.name, instance.tag, &address, at);
        let running = self.sandbox.begin(instance).unwrap();
        self.running().insert(host, running);
    }

    /// Waits until what was begun is registered.
    pub(crate) fn ready(&self, host: u8) {
        self.wait_contact(host);
        self.timeline().instance_certain(&self.sandbox.host(host), Instant::now());
    }

    /// Waits until a data plane is ready and hears its control plane; the gateway's is host 1.
    pub(crate) fn wait_contact(&self, host: u8) {
        let admin = self.sandbox.endpoint(host, 15020);
        wait::until(SETTLED_WITHIN, &format!("{admin} in contact"), || {
            stands(&admin, 200, r#""stale":false"#)
        })
        .unwrap();
    }

    /// Waits until all data planes are.
    pub(crate) fn wait_all_in_contact(&self) {
        let mut hosts: Vec<u8> = self.running().keys().copied().collect();
        hosts.push(1);
        for host in hosts {
            self.wait_contact(host);
        }
    }

    /// Waits until a data plane knows that it does not hear its control plane.
    pub(crate) fn wait_cut_off(&self, host: u8) {
        let admin = self.sandbox.endpoint(host, 15020);
        wait::until(SETTLED_WITHIN, &format!("{admin} cut off"), || {
            stands(&admin, 200, r#""stale":true"#)
        })
        .unwrap();
    }
}

/// That `/readyz` answers this.
fn stands(admin: &str, status: u16, words: &str) -> Result<()> {
    let ready = http::get(admin, "/readyz", &[])?;
    ensure!(
        ready.status == status && ready.body.contains(words),
        "{} {}",
        ready.status,
        ready.body
    );
    Ok(())
}

/// Whether some hop of an answer was tagged, or was not.
fn has_tag(outcome: &Result<(u16, String), String>, tagged: bool) -> bool {
    let Ok((_, body)) = outcome else { return false };
    path::parse(body).is_ok_and(|hops| hops.iter().any(|hop| hop.tag.is_some() == tagged))
}

/// What a request that was lost was told, without what differs from one to the other.
fn reason(outcome: &Result<(u16, String), String>) -> String {
    let told = match outcome {
        Ok((status, body)) => format!("{status} {body}"),
        Err(error) => error.clone(),
    };
    let words = told.split_whitespace();
    words.filter(|word| !word.contains(['[', '/', ':'])).take(12).collect::<Vec<_>>().join(" ")
}

impl Verdict {
    #[track_caller]
    pub(crate) fn assert_right(&self) {
        let shown: Vec<_> = self.wrong.iter().take(20).collect();
        assert!(shown.is_empty(), "{self}; first: {shown:#?}");
    }
}

/// One line for people, and one for each reason.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, base, lane, fallbacks, lost, base_on_tagged, .. } = self;
        let share = 100.0 * *lane as f64 / (*answers).max(1) as f64;
        let wrong = self.wrong.len();
        write!(
            f,
            "{answers} answers: {base} base, {lane} in a lane ({share:.1} %; {fallbacks} of them with a fallback), \
             {lost} lost to kills, {wrong} wrong, {base_on_tagged} of base on a tagged instance"
        )?;
        self.reasons.iter().try_for_each(|(reason, count)| write!(f, "\n  lost {count}: {reason}"))
    }
}
