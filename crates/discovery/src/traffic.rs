//! What a data plane counted, as differences for its control plane: of one stream, and of what happened during it.
//!
//! The counters are the proxy's own, added up over its threads; nothing is asked of the request path. What was counted
//! before the stream began, or between two streams, is nobody's: a control plane that comes back sees no peak of what it
//! has missed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::discovery::v1;
use telemetry::{
    CodeClass, Count, Histogram, Level, Metrics, Outcome, OwnedLabels, RequestTotals, Role,
};

/// Series told in one message: some 100 kB. What is left is told with the next.
const SAMPLES_MAX: usize = 2_048;

/// Series told of one stream; as many as one thread of a proxy tells apart, and some more. What comes later is not told.
const SERIES_MAX: usize = 8_192;

/// What one stream was told, and so what it is told next.
#[derive(Debug)]
pub(crate) struct Reporter {
    metrics: Arc<Metrics>,
    role: Role,
    series: HashMap<Arc<OwnedLabels>, Series>,
    /// How many of them the stream knows.
    told: u32,
    /// The last one of a message that had no room for all: the next begins behind it.
    behind: Option<Arc<OwnedLabels>>,
    /// What was counted when requests were told last.
    version: Option<u64>,
    entered: HashMap<(Box<str>, Box<str>), u64>,
    totals: Totals,
    in_flight: u32,
}

/// One series, as the stream knows it.
#[derive(Debug)]
struct Series {
    /// Its number, when it has been told.
    number: Option<u32>,
    counted: Histogram,
}

/// Counters that have no labels.
#[derive(Debug, Clone, Copy)]
struct Totals {
    bytes_received: u64,
    bytes_sent: u64,
    misrouted: u64,
    ejections: u64,
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        Self {
            bytes_received: metrics.counted(Count::BytesReceived),
            bytes_sent: metrics.counted(Count::BytesSent),
            misrouted: metrics.counted(Count::Misrouted),
            ejections: metrics.counted(Count::Ejected),
        }
    }
}

impl Reporter {
    /// For a stream that begins now. `role`: what requests in flight are those of the process: a gateway's, or those that a
    /// sidecar's application serves.
    pub(crate) fn new(metrics: Arc<Metrics>, role: Role) -> Self {
        let counted = metrics.requests().into_iter();
        let series = counted
            .map(|RequestTotals { labels, durations }| {
                (labels, Series { number: None, counted: durations })
            })
            .collect();
        let entered =
            metrics.entered().into_iter().map(|(lane, counted)| ((*lane).clone(), counted));
        Self {
            entered: entered.collect(),
            totals: Totals::of(&metrics),
            version: None,
            told: 0,
            behind: None,
            in_flight: 0,
            series,
            role,
            metrics,
        }
    }

    /// What happened since it was asked last; `None`: nothing.
    pub(crate) fn next(&mut self, period: Duration) -> Option<v1::Traffic> {
        let mut traffic = v1::Traffic {
            period_ms: u32::try_from(period.as_millis()).unwrap_or(u32::MAX),
            ..Default::default()
        };
        // Asked before what it is about: what is counted meanwhile is told the next time.
        let version = self.metrics.requests_version();
        if self.version != Some(version) && self.requests(&mut traffic) {
            self.version = Some(version);
        }
        self.entered(&mut traffic);
        let totals = Totals::of(&self.metrics);
        let before = std::mem::replace(&mut self.totals, totals);
        traffic.bytes_received = totals.bytes_received.saturating_sub(before.bytes_received);
        traffic.bytes_sent = totals.bytes_sent.saturating_sub(before.bytes_sent);
        traffic.misrouted = small(totals.misrouted.saturating_sub(before.misrouted));
        traffic.ejections = small(totals.ejections.saturating_sub(before.ejections));
        let in_flight = self.metrics.level(Level::in_flight(self.role)).max(0);
        traffic.in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        let was_in_flight = std::mem::replace(&mut self.in_flight, traffic.in_flight);
        let nothing = v1::Traffic { period_ms: traffic.period_ms, ..Default::default() };
        (traffic != nothing || was_in_flight > 0).then_some(traffic)
    }

    /// Whether all that changed is told.
    fn requests(&mut self, traffic: &mut v1::Traffic) -> bool {
        let mut all = self.metrics.requests();
        let behind = self.behind.take();
        let begun = behind.map_or(0, |last| all.partition_point(|it| it.labels <= last));
        all.rotate_left(begun);
        let mut last = None;
        for RequestTotals { labels, durations } in all {
            let is_new = !self.series.contains_key(&labels);
            if is_new && self.series.len() >= SERIES_MAX {
                continue;
            }
            let series = self
                .series
                .entry(Arc::clone(&labels))
                .or_insert_with(|| Series { number: None, counted: Histogram::default() });
            if series.counted.sketch == durations.sketch {
                continue;
            }
            if traffic.samples.len() >= SAMPLES_MAX {
                self.behind = last;
                return false;
            }
            last = Some(Arc::clone(&labels));
            let number = *series.number.get_or_insert_with(|| {
                traffic.series.push(wire(&labels));
                self.told += 1;
                self.told - 1
            });
            traffic.samples.push(difference(number, &series.counted, &durations));
            series.counted = durations;
        }
        true
    }

    fn entered(&mut self, traffic: &mut v1::Traffic) {
        for (lane, counted) in self.metrics.entered() {
            let before = self.entered.get(&*lane).copied().unwrap_or_default();
            if counted > before {
                traffic.entered.push(v1::TrafficEntered {
                    group: lane.0.to_string(),
                    lane: lane.1.to_string(),
                    requests: counted - before,
                });
                self.entered.insert((*lane).clone(), counted);
            }
        }
    }
}

/// What was counted of one series between two times.
fn difference(series: u32, before: &Histogram, now: &Histogram) -> v1::TrafficSample {
    let mut buckets = Vec::new();
    let mut last = 0;
    for (bucket, (now, before)) in now.sketch.iter().zip(&before.sketch).enumerate() {
        let counted = now.wrapping_sub(*before);
        if counted > 0 {
            buckets.extend([small(bucket as u64 - last), counted]);
            last = bucket as u64;
        }
    }
    let sum_us = now.sum_nanoseconds.saturating_sub(before.sum_nanoseconds) / 1_000;
    v1::TrafficSample { series, sum_us, buckets }
}

/// A role, as control planes are told it.
pub fn role_on_wire(role: Role) -> v1::TrafficRole {
    match role {
        Role::Gateway => v1::TrafficRole::Gateway,
        Role::SidecarInbound => v1::TrafficRole::Inbound,
        Role::SidecarOutbound => v1::TrafficRole::Outbound,
    }
}

/// An outcome, likewise.
pub fn outcome_on_wire(outcome: Outcome) -> v1::TrafficOutcome {
    match outcome {
        Outcome::Lane => v1::TrafficOutcome::Lane,
        Outcome::Fallback => v1::TrafficOutcome::Fallback,
        Outcome::Base => v1::TrafficOutcome::Base,
        Outcome::Denied => v1::TrafficOutcome::Denied,
        Outcome::Failed => v1::TrafficOutcome::Failed,
        Outcome::Cut => v1::TrafficOutcome::Cut,
    }
}

fn wire(labels: &OwnedLabels) -> v1::TrafficSeries {
    let code_class = match labels.code_class {
        CodeClass::None => 0,
        CodeClass::Informational => 1,
        CodeClass::Success => 2,
        CodeClass::Redirection => 3,
        CodeClass::ClientError => 4,
        CodeClass::ServerError => 5,
    };
    v1::TrafficSeries {
        role: role_on_wire(labels.role).into(),
        application: labels.application.to_string(),
        service: labels.service.to_string(),
        route: labels.route.to_string(),
        group: labels.lane_group.to_string(),
        lane: labels.lane.to_string(),
        outcome: outcome_on_wire(labels.outcome).into(),
        code_class,
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use telemetry::{Recorder, RequestLabels, sketch};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn request(recorder: &Recorder, service: &str, duration: Duration) {
        recorder.request(
            &RequestLabels {
                role: Role::Gateway,
                application: "shop",
                service,
                route: "all",
                lane_group: "trade",
                lane: "gray",
                outcome: Outcome::Lane,
                code_class: CodeClass::of(200),
            },
            duration,
        );
        recorder.publish();
    }

    fn requests(sample: &v1::TrafficSample) -> u32 {
        sample.buckets.chunks(2).map(|pair| pair[1]).sum()
    }

    #[test]
    fn only_what_changed_is_told_and_a_series_once() {
        let metrics = Arc::new(Metrics::new());
        let recorder = metrics.recorder();
        request(&recorder, "before", SECOND);
        let mut reporter = Reporter::new(Arc::clone(&metrics), Role::Gateway);
        assert_eq!(reporter.next(SECOND), None, "what was before the stream is nobody's");

        request(&recorder, "a", Duration::from_millis(3));
        request(&recorder, "a", Duration::from_millis(900));
        let first = reporter.next(SECOND).unwrap();
        assert_eq!((first.series.len(), first.samples.len()), (1, 1));
        assert_eq!(first.series[0].route, "all");
        let buckets = [3_000_000, 900_000_000].map(|it| sketch::bucket_of(it) as u32);
        let expected = [buckets[0], 1, buckets[1] - buckets[0], 1];
        assert_eq!(first.samples[0].buckets, expected);
        assert_eq!(first.samples[0].sum_us, 903_000);
        assert_eq!(reporter.next(SECOND), None);

        request(&recorder, "b", SECOND);
        request(&recorder, "a", SECOND);
        let second = reporter.next(SECOND).unwrap();
        assert_eq!(second.series.len(), 1, "the other is known");
        let told: Vec<_> = second.samples.iter().map(|it| (it.series, requests(it))).collect();
        assert_eq!(told, [(0, 1), (1, 1)]);
    }

    #[test]
    fn what_is_too_much_for_one_message_is_told_with_the_next() {
        let metrics = Arc::new(Metrics::new());
        let recorder = metrics.recorder();
        let mut reporter = Reporter::new(Arc::clone(&metrics), Role::Gateway);
        for service in 0..SAMPLES_MAX + 10 {
            request(&recorder, &service.to_string(), SECOND);
        }
        let told: Vec<_> =
            std::iter::from_fn(|| reporter.next(SECOND)).map(|it| it.samples.len()).collect();
        assert_eq!(told, [SAMPLES_MAX, 10]);
    }

    #[test]
    fn series_that_are_always_busy_do_not_keep_others_from_being_told() {
        let metrics = Arc::new(Metrics::new());
        let recorder = metrics.recorder();
        let mut reporter = Reporter::new(Arc::clone(&metrics), Role::Gateway);
        let mut told = std::collections::HashSet::new();
        for _ in 0..2 {
            for service in 0..SAMPLES_MAX + 10 {
                request(&recorder, &service.to_string(), SECOND);
            }
            let traffic = reporter.next(SECOND).unwrap();
            told.extend(traffic.samples.iter().map(|it| it.series));
        }
        assert_eq!(told.len(), SAMPLES_MAX + 10);
    }

    #[test]
    fn what_is_in_flight_and_its_end_are_told() {
        let metrics = Arc::new(Metrics::new());
        let recorder = metrics.recorder();
        let mut reporter = Reporter::new(Arc::clone(&metrics), Role::SidecarInbound);
        recorder.raise(Level::InFlightInbound);
        recorder.publish();
        assert_eq!(reporter.next(SECOND).unwrap().in_flight, 1);
        assert_eq!(reporter.next(SECOND).unwrap().in_flight, 1);
        recorder.lower(Level::InFlightInbound);
        recorder.publish();
        assert_eq!(reporter.next(SECOND).unwrap().in_flight, 0);
        assert_eq!(reporter.next(SECOND), None);
    }

    #[test]
    fn entrances_tell_what_they_decided() {
        let metrics = Arc::new(Metrics::new());
        let recorder = metrics.recorder();
        let gray = recorder.entered_lane("trade", "gray");
        recorder.entered(gray);
        recorder.publish();
        let mut reporter = Reporter::new(Arc::clone(&metrics), Role::Gateway);
        recorder.entered(gray);
        recorder.entered(gray);
        recorder.publish();
        let entered = reporter.next(SECOND).unwrap().entered;
        let expected =
            v1::TrafficEntered { group: "trade".to_owned(), lane: "gray".to_owned(), requests: 2 };
        assert_eq!(entered, [expected]);
        assert_eq!(reporter.next(SECOND), None);
    }
}
