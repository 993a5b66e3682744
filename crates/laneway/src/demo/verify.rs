//! Verifies the sample scenario from outside, as a user would see it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    chain::{compare, compare_any, expect},
    https::Https,
    run_laneway,
    scenario::{GRAY_HEADER, Hop, RATIO_PERCENT, STICKY_HEADER, base_chain, gray_chain_without},
    traffic::{Answer, Client},
};

/// Requests per chain.
const CHAIN_REQUESTS: usize = 20;

/// How long a switched lane may take to be effective everywhere.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// How long each state of the lane is kept under load: until it must be effective, and half a second of proof.
const STATE_KEPT: Duration = Duration::from_millis(1500);

/// Loops that send under load, half of them marked for the lane.
const LOAD_LOOPS: usize = 8;

/// The beat of each loop: 800 requests a second together, which a laptop carries while it does other things.
const LOAD_BEAT: Duration = Duration::from_millis(10);

/// Requests that show the ratio.
const RATIO_REQUESTS: usize = 1000;

/// How many of [`RATIO_REQUESTS`] the lane may differ from its share. The standard deviation is 14.5; five of
/// them are passed once in two million runs.
const RATIO_TOLERANCE: usize = 72;

/// Requests at once that show the ratio.
const RATIO_LOOPS: usize = 16;

/// Users that show stickiness, and how often each asks. That none of 40, or all, fall into 30 % happens once in
/// a million sets of names; these are always the same names.
const STICKY_USERS: usize = 40;
const STICKY_REQUESTS: usize = 5;

/// Deviations that are told of one check; the rest is counted.
const TOLD_MAX: usize = 3;

/// One thing that was verified.
#[derive(Debug)]
pub(crate) struct Check {
    /// What.
    pub(crate) name: &'static str,
    /// How it went: what was seen, or how it differs from what it should be.
    pub(crate) result: Result<String, String>,
}

/// Verifies a running demo.
#[derive(Debug)]
pub(crate) struct Verification {
    program: PathBuf,
    client: Client,
    https: Option<Https>,
    /// The chain of a request in a lane, with those instances that run.
    gray: Vec<Hop>,
}

impl Verification {
    /// `killed`: an instance that does not run.
    pub(super) fn new(
        program: PathBuf,
        client: Client,
        https: Option<Https>,
        killed: Option<&str>,
    ) -> Self {
        Self { program, client, https, gray: gray_chain_without(killed) }
    }

    /// Runs every check; `tell` hears each as soon as it is done.
    pub(crate) async fn run(&self, mut tell: impl FnMut(&Check)) -> bool {
        let mut passed = true;
        let mut done = |name, result: Result<String, String>| {
            passed &= result.is_ok();
            tell(&Check { name, result });
        };
        done("base chain", self.chain(&[], &base_chain()).await);
        done("gray chain", self.chain(&[GRAY_HEADER], &self.gray).await);
        done("other header", self.chain(&[("canary", "blue")], &base_chain()).await);
        let forged = [("baggage", "lane.trade=gray,lane.rollout=gray")];
        done("forged baggage", self.chain(&forged, &base_chain()).await);
        done("disable and enable", self.switch().await);
        done("ratio", self.ratio().await);
        done("sticky", self.sticky().await);
        if let Some(https) = &self.https {
            done("https", self.in_tls(https).await);
        }
        passed
    }

    async fn chain(&self, headers: &[(&str, &str)], expected: &[Hop]) -> Result<String, String> {
        let mut deviations = Deviations::default();
        for _ in 0..CHAIN_REQUESTS {
            if let Err(deviation) = expect(&self.client, "/a", headers, expected).await {
                deviations.add(deviation);
            }
        }
        let chain: Vec<&str> = expected.iter().map(|hop| hop.answer.as_str()).collect();
        deviations.finish(CHAIN_REQUESTS, chain.join(" -> "))
    }

    /// Asks in TLS, and in the clear where requests are sent on to it.
    async fn in_tls(&self, https: &Https) -> Result<String, String> {
        let answer = https.get("/a").await.map_err(|error| format!("{error:#}"))?;
        compare(&answer, &base_chain())?;
        let sent_on = self.client.get("/secure/a", &[]).await;
        match sent_on.map_err(|error| format!("{error:#}"))?.status {
            301 => Ok(format!("{}; HTTP is sent on to it", answer.body.trim())),
            other => Err(format!("/secure/a: expected 301, got {other}")),
        }
    }

    /// Switches the lane off and on under load: no request fails, unmarked ones never leave the base, and marked
    /// ones are where they should be a second after each switch at the latest.
    async fn switch(&self) -> Result<String, String> {
        let load = Load::start(&self.client);
        sleep(STATE_KEPT / 3).await;
        let off = self.lane("disable").await;
        sleep(STATE_KEPT).await;
        let on = self.lane("enable").await;
        sleep(STATE_KEPT).await;
        let seen = load.stop().await;
        judge(&seen, &self.gray, off?, on?)
    }

    /// When the switch was begun, and when the command had ended.
    async fn lane(&self, verb: &str) -> Result<(Instant, Instant), String> {
        let begun = Instant::now();
        run_laneway(&self.program, &["lane", verb, "trade/gray"])
            .await
            .map_err(|error| format!("{error:#}"))?;
        Ok((begun, Instant::now()))
    }

    async fn ratio(&self) -> Result<String, String> {
        let mut loops = JoinSet::new();
        let left = Arc::new(AtomicUsize::new(RATIO_REQUESTS));
        for _ in 0..RATIO_LOOPS {
            let (client, left) = (self.client.clone(), Arc::clone(&left));
            loops.spawn(async move {
                let mut answers = Vec::new();
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    answers.push(client.get("/ratio/a", &[]).await);
                }
                answers
            });
        }
        let base = base_chain();
        let mut deviations = Deviations::default();
        let mut in_lane = 0;
        for answer in loops.join_all().await.into_iter().flatten() {
            match place(answer, &base, &self.gray) {
                Ok(gray) => in_lane += usize::from(gray),
                Err(deviation) => deviations.add(deviation),
            }
        }
        let share = format!("{in_lane} of {RATIO_REQUESTS} in rollout/gray");
        deviations.finish(RATIO_REQUESTS, &share)?;
        let expected = RATIO_REQUESTS * RATIO_PERCENT / 100;
        if in_lane.abs_diff(expected) > RATIO_TOLERANCE {
            return Err(format!(
                "hop 1 (sc-A): expected {expected} ± {RATIO_TOLERANCE}, got {share}"
            ));
        }
        Ok(share)
    }

    async fn sticky(&self) -> Result<String, String> {
        let base = base_chain();
        let mut deviations = Deviations::default();
        let mut in_lane = 0;
        for user in 0..STICKY_USERS {
            let user = format!("user-{user}");
            let mut first = None;
            for _ in 0..STICKY_REQUESTS {
                let answer = self.client.get("/ratio/a", &[(STICKY_HEADER, &user)]).await;
                match place(answer, &base, &self.gray) {
                    Err(deviation) => deviations.add(format!("{user}: {deviation}")),
                    Ok(gray) if *first.get_or_insert(gray) != gray => {
                        deviations.add(format!(
                            "{user}: hop 1 (sc-A): expected the same version every time, got both"
                        ));
                    }
                    Ok(_) => {}
                }
            }
            in_lane += usize::from(first == Some(true));
        }
        deviations.finish(
            STICKY_USERS * STICKY_REQUESTS,
            format!("{in_lane} of {STICKY_USERS} users in rollout/gray, each every time"),
        )?;
        if in_lane == 0 || in_lane == STICKY_USERS {
            return Err(format!(
                "hop 1 (sc-A): expected some of {STICKY_USERS} users in rollout/gray, got {in_lane}"
            ));
        }
        Ok(format!("{in_lane} of {STICKY_USERS} users in rollout/gray, each every time"))
    }
}

/// Whether an answer is the gray chain; an error when it is neither that nor the base chain.
fn place(answer: anyhow::Result<Answer>, base: &[Hop], gray: &[Hop]) -> Result<bool, String> {
    let answer =
        answer.map_err(|error| format!("hop 1 ({}): no answer: {error:#}", base[0].service))?;
    if answer.body.starts_with(&gray[0].answer) {
        compare(&answer, gray).map(|()| true).map_err(String::from)
    } else {
        compare(&answer, base).map(|()| false).map_err(String::from)
    }
}

/// Requests on their way while something else happens.
struct Load {
    loops: JoinSet<Vec<Seen>>,
    stop: Arc<AtomicBool>,
}

/// One request of the load.
struct Seen {
    sent: Instant,
    marked: bool,
    answer: anyhow::Result<Answer>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loops = JoinSet::new();
        for number in 0..LOAD_LOOPS {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            let marked = number % 2 == 1;
            loops.spawn(async move {
                let headers: &[(&str, &str)] = if marked { &[GRAY_HEADER] } else { &[] };
                let mut beat = interval(LOAD_BEAT);
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut seen = Vec::new();
                while !stop.load(Relaxed) {
                    beat.tick().await;
                    let sent = Instant::now();
                    seen.push(Seen { sent, marked, answer: client.get("/a", headers).await });
                }
                seen
            });
        }
        Self { loops, stop }
    }

    async fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Relaxed);
        self.loops.join_all().await.into_iter().flatten().collect()
    }
}

/// What the load saw, against when the lane was switched off and on.
fn judge(
    seen: &[Seen],
    gray: &[Hop],
    off: (Instant, Instant),
    on: (Instant, Instant),
) -> Result<String, String> {
    let base = base_chain();
    let mut deviations = Deviations::default();
    let (mut in_lane, mut last_gray, mut first_gray) = (0, off.0, None);
    for Seen { sent, marked, answer } in seen {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                deviations.add(format!("hop 1 ({}): no answer: {error:#}", base[0].service));
                continue;
            }
        };
        let since_off = sent.saturating_duration_since(off.1);
        let since_on = sent.saturating_duration_since(on.1);
        let (when, allowed): (&str, &[&[Hop]]) = if !marked {
            ("unmarked requests", &[&base])
        } else if *sent < off.0 {
            ("marked requests before disable", &[gray])
        } else if since_on > EFFECTIVE_WITHIN {
            ("marked requests more than a second after enable", &[gray])
        } else if *sent < on.0 && since_off > EFFECTIVE_WITHIN {
            ("marked requests more than a second after disable", &[&base])
        } else {
            ("marked requests within a second of a switch", &[&base, gray])
        };
        if let Err(deviation) = compare_any(answer, allowed) {
            deviations.add(format!("{when}: {deviation}"));
        }
        if *marked && compare(answer, gray).is_ok() {
            in_lane += 1;
            if *sent < on.0 {
                last_gray = last_gray.max(*sent);
            } else {
                first_gray = Some(first_gray.unwrap_or(*sent).min(*sent));
            }
        }
    }
    let enabled =
        first_gray.map_or(EFFECTIVE_WITHIN, |first| first.saturating_duration_since(on.0));
    deviations.finish(
        seen.len(),
        format!(
            "{} requests, {in_lane} in the lane, none failed; off after {} ms, on after {} ms",
            seen.len(),
            last_gray.saturating_duration_since(off.0).as_millis(),
            enabled.as_millis()
        ),
    )
}

/// Deviations of one check, the same ones counted together.
#[derive(Default)]
struct Deviations {
    counts: BTreeMap<String, usize>,
}

impl Deviations {
    fn add(&mut self, deviation: String) {
        *self.counts.entry(deviation).or_default() += 1;
    }

    fn finish(self, total: usize, good: impl Display) -> Result<String, String> {
        if self.counts.is_empty() {
            return Ok(good.to_string());
        }
        let mut worst: Vec<_> = self.counts.into_iter().collect();
        worst.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let failed: usize = worst.iter().map(|(_, count)| count).sum();
        let told: Vec<_> = worst
            .iter()
            .take(TOLD_MAX)
            .map(|(text, count)| format!("{text} ({count} times)"))
            .collect();
        Err(format!("{failed} of {total} deviate: {}", told.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario::gray_chain;

    const BASE: &str = "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
    const GRAY: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> Cgray[127.0.0.23]";
    const MIXED: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";

    /// One request sent so many milliseconds into a run in which the lane is switched off from 1000 to 1010 and
    /// on again from 3000 to 3010.
    #[track_caller]
    fn check(at: u64, marked: bool, status: u16, body: &str, wrong: Option<&str>) {
        let start = Instant::now();
        let time = |milliseconds| start + Duration::from_millis(milliseconds);
        let answer = Ok(Answer { status, body: body.to_owned() });
        let seen = [Seen { sent: time(at), marked, answer }];
        let judged =
            judge(&seen, &gray_chain(), (time(1000), time(1010)), (time(3000), time(3010)));
        match wrong {
            None => assert!(judged.is_ok(), "{judged:?}"),
            Some(part) => {
                assert!(judged.as_ref().is_err_and(|said| said.contains(part)), "{judged:?}")
            }
        }
    }

    #[test]
    fn marked_requests_may_be_either_for_a_second_after_a_switch() {
        check(500, true, 200, GRAY, None);
        check(500, true, 200, BASE, Some("hop 1 (sc-A)"));
        check(1500, true, 200, GRAY, None);
        check(1500, true, 200, MIXED, None);
        check(1500, true, 200, BASE, None);
        check(2500, true, 200, BASE, None);
        check(2500, true, 200, GRAY, Some("hop 1 (sc-A)"));
        check(3500, true, 200, BASE, None);
        check(3500, true, 200, GRAY, None);
        check(4500, true, 200, GRAY, None);
        check(4500, true, 200, MIXED, Some("hop 3 (sc-C)"));
    }

    #[test]
    fn unmarked_requests_are_base_and_nothing_fails_at_any_time() {
        for at in [500, 1500, 2500, 3500, 4500] {
            check(at, false, 200, BASE, None);
            check(at, false, 200, GRAY, Some("unmarked"));
            check(at, true, 503, "no usable base instance of sc-A", Some("status 503"));
            check(at, false, 502, BASE, Some("status 502"));
        }
    }

    #[test]
    fn deviations_are_counted_and_the_most_frequent_told() {
        let mut deviations = Deviations::default();
        for text in ["a", "b", "b", "c", "d"] {
            deviations.add(text.to_owned());
        }
        let told = deviations.finish(9, "good").unwrap_err();
        assert_eq!(told, "5 of 9 deviate: b (2 times); a (1 times); c (1 times)");
        assert_eq!(Deviations::default().finish(9, "good"), Ok("good".to_owned()));
    }
}
