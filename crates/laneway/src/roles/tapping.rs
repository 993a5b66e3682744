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
    let (tell, requests) = mpsc::channel(WAITING_MAX);
    let (taps, tapped) = (client.taps.clone(), client.tapped.clone());
    let teller = Teller { tap: proxy.tap(), tell, requests, tapped, waiting: None };
    tokio::spawn(teller.run(taps));
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
    /// For as long as there is a client that says what is watched.
    async fn run(mut self, mut taps: watch::Receiver<v1::Taps>) {
        loop {
            let told = taps.borrow_and_update().clone();
            let per_second_max = told.per_second_max.min(PER_SECOND_MAX);
            let is_watched = !told.taps.is_empty();
            let watched = told.taps.into_iter();
            let watched =
                watched.map(|v1::Tap { group, lane, share }| Watched { group, lane, share });
            self.tap.watch(watched.collect(), per_second_max, self.tell.clone());
            if !is_watched {
                // Nobody of those who come after is told of what was before.
                while self.requests.try_recv().is_ok() {}
                self.waiting = None;
            }
            loop {
                tokio::select! {
                    changed = taps.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return self.tap.watch(Vec::new(), 0, self.tell.clone()),
                    },
                    () = tokio::time::sleep(TOLD_EVERY), if is_watched => self.tell_on(),
                }
            }
            // Counts are of what is watched.
            self.tell_on();
        }
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
