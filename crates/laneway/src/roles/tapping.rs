//! Single requests on their way from a proxy to whoever watches them: between the proxy's words and discovery's.

use std::time::{Duration, UNIX_EPOCH};

use api::discovery::v1;
use discovery::{Client, outcome_on_wire, role_on_wire};
use proxy::{Tap, Tapped, Watched};
use tokio::sync::{mpsc, watch};

/// How often what passed is told on: often enough for people, seldom enough to share messages.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// Requests that wait for that: as many as are told in a second at the most; a few hundred kilobytes.
const WAITING_MAX: usize = 1_024;

/// Requests told in one message; some 100 kB.
const TOLD_AT_ONCE_MAX: usize = 256;

/// Requests told in a second, whatever the control plane says.
const PER_SECOND_MAX: u32 = 1_000;

/// From now on requests are told that somebody watches.
pub(crate) fn tap(client: &Client, proxy: &proxy::Running) {
    let teller = Teller::new(proxy.tap(), client.tapped.clone());
    tokio::spawn(teller.run(client.taps.clone()));
}

struct Teller {
    tap: Tap,
    tell: mpsc::Sender<Tapped>,
    requests: mpsc::Receiver<Tapped>,
    tapped: mpsc::Sender<v1::Tapped>,
    /// What had no room yet.
    waiting: Option<v1::Tapped>,
}

impl Teller {
    fn new(tap: Tap, tapped: mpsc::Sender<v1::Tapped>) -> Self {
        let (tell, requests) = mpsc::channel(WAITING_MAX);
        Self { tap, tell, requests, tapped, waiting: None }
    }

    /// For as long as there is a client that says what is watched.
    async fn run(mut self, mut taps: watch::Receiver<v1::Taps>) {
        loop {
            let told = taps.borrow_and_update().clone();
            let is_watched = !told.taps.is_empty();
            self.watch(told);
            loop {
                tokio::select! {
                    changed = taps.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return self.watch(v1::Taps::default()),
                    },
                    () = tokio::time::sleep(TOLD_EVERY), if is_watched => self.tell_on(),
                }
            }
            // Counts are of what is watched.
            self.tell_on();
        }
    }

    /// From now on these are watched instead.
    fn watch(&mut self, told: v1::Taps) {
        if told.taps.is_empty() {
            // Who comes after is told of nothing that was before: neither of what waits, nor of what ends later.
            (self.tell, self.requests) = mpsc::channel(WAITING_MAX);
            self.waiting = None;
        }
        let per_second_max = told.per_second_max.min(PER_SECOND_MAX);
        let watched = told.taps.into_iter();
        let watched = watched.map(|v1::Tap { group, lane, share }| Watched { group, lane, share });
        self.tap.watch(watched.collect(), per_second_max, self.tell.clone());
    }

    /// Tells what there is, if there is room.
    fn tell_on(&mut self) {
        let told = self.waiting.take().or_else(|| self.gathered());
        let Some(told) = told else { return };
        if let Err(mpsc::error::TrySendError::Full(told)) = self.tapped.try_send(told) {
            self.waiting = Some(told);
        }
    }

    fn gathered(&mut self) -> Option<v1::Tapped> {
        let requests = std::iter::from_fn(|| self.requests.try_recv().ok()).take(TOLD_AT_ONCE_MAX);
        let requests: Vec<_> = requests.map(wire).collect();
        let counts = self.tap.take_counts().into_iter().filter(|count| count.matched > 0);
        let counts: Vec<_> = counts
            .map(|count| v1::TapCount {
                group: count.group,
                lane: count.lane,
                matched: count.matched,
                dropped: count.dropped,
            })
            .collect();
        let is_anything = !requests.is_empty() || !counts.is_empty();
        is_anything.then_some(v1::Tapped { requests, counts })
    }
}

fn wire(tapped: Tapped) -> v1::TappedRequest {
    let microseconds = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
    let lanes = tapped.lanes.into_iter().map(|(group, lane)| v1::TappedLane { group, lane });
    v1::TappedRequest {
        role: role_on_wire(tapped.role).into(),
        started_us: microseconds(tapped.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_us: microseconds(tapped.duration),
        method: tapped.method,
        host: tapped.host,
        path: tapped.path,
        outcome: outcome_on_wire(tapped.outcome).into(),
        status: tapped.status.into(),
        reason: tapped.reason,
        application: tapped.application,
        service: tapped.service,
        route: tapped.route,
        instance: tapped.instance.map(|it| it.to_string()).unwrap_or_default(),
        tag: tapped.tag,
        lanes: lanes.collect(),
        ids: tapped.ids,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn taps(groups: &[&str]) -> v1::Taps {
        let tap = |group: &&str| v1::Tap { group: (*group).to_owned(), ..v1::Tap::default() };
        v1::Taps { taps: groups.iter().map(tap).collect(), per_second_max: 50, lease_ms: 0 }
    }

    fn request(path: &str) -> Tapped {
        Tapped {
            role: telemetry::Role::Gateway,
            started: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            method: "GET".to_owned(),
            host: "shop".to_owned(),
            path: path.to_owned(),
            outcome: telemetry::Outcome::Lane,
            status: 200,
            reason: String::new(),
            application: "a".to_owned(),
            service: "sc-a".to_owned(),
            route: String::new(),
            instance: None,
            tag: String::new(),
            lanes: Vec::new(),
            ids: Vec::new(),
        }
    }

    #[test]
    fn who_comes_later_is_told_nothing_of_what_was_before() {
        let (tapped, mut told) = mpsc::channel(1);
        let mut paths = || {
            let told: Option<v1::Tapped> = told.try_recv().ok();
            let requests = told.into_iter().flat_map(|it| it.requests);
            requests.map(|it| it.path).collect::<Vec<_>>()
        };
        let mut teller = Teller::new(Tap::default(), tapped);
        teller.watch(taps(&["trade"]));
        // As the proxy keeps it with each request that it has begun.
        let of_before = teller.tell.clone();
        for path in ["/1", "/2", "/3"] {
            of_before.try_send(request(path)).unwrap();
            teller.tell_on();
        }
        // The first is told, the second waits for room, and the third for that; a fourth has not ended yet.
        teller.watch(taps(&[]));
        assert_eq!(paths(), ["/1"]);
        teller.watch(taps(&["trade"]));
        let _ = of_before.try_send(request("/4"));
        teller.tell.try_send(request("/5")).unwrap();
        teller.tell_on();
        assert_eq!(paths(), ["/5"]);
        assert_eq!(paths(), [""; 0]);
    }
}
