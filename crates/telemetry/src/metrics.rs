//! Adds up what the threads counted and what others measure, for whoever asks.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{
    Count, Level, Recorder, Samples,
    histogram::Histogram,
    labels::{LABEL_SETS_MAX, OwnedLabels},
    names::{self, Metric, label},
    recorder::{Lane, ThreadTotals},
};

/// All metrics of a process. One for all its threads, shared by `Arc`.
#[derive(Default)]
pub struct Metrics {
    threads: Mutex<Vec<Arc<Mutex<ThreadTotals>>>>,
    gauges: Mutex<Vec<Gauge>>,
    collectors: Mutex<Vec<Collector>>,
}

type Collector = Box<dyn Fn(&mut Samples) + Send + Sync>;

/// Requests of one label set, over all threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTotals {
    /// What they have in common.
    pub labels: Arc<OwnedLabels>,
    /// How long they took, and so how many there were.
    pub durations: Histogram,
}

/// A number that somebody off the request path keeps current.
#[derive(Debug, Clone)]
pub struct Gauge {
    metric: Metric,
    labels: Arc<[(&'static str, String)]>,
    bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// What it is.
    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counters for one more thread.
    pub fn recorder(&self) -> Recorder {
        self.recorder_with(LABEL_SETS_MAX)
    }

    fn recorder_with(&self, label_sets_max: usize) -> Recorder {
        let totals = Arc::new(Mutex::new(ThreadTotals::default()));
        self.threads.lock().push(Arc::clone(&totals));
        Recorder::new(totals, label_sets_max)
    }

    /// A gauge of `metric` with these labels, at first 0. Asked twice for the same series it gives the same gauge.
    pub fn gauge(&self, metric: Metric, labels: &[(&'static str, &str)]) -> Gauge {
        let mut gauges = self.gauges.lock();
        let known = gauges.iter().find(|gauge| {
            gauge.metric.name == metric.name
                && gauge.labels.len() == labels.len()
                && gauge
                    .labels
                    .iter()
                    .zip(labels)
                    .all(|((name, value), other)| (*name, value.as_str()) == *other)
        });
        if let Some(known) = known {
            return known.clone();
        }
        let gauge = Gauge {
            metric,
            labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            bits: Arc::default(),
        };
        gauges.push(gauge.clone());
        gauge
    }

    /// Asks `collector` for its samples whenever somebody reads the metrics: for what is cheaper to look up then
    /// than to keep current, such as ages and sizes.
    pub fn collect_from(&self, collector: impl Fn(&mut Samples) + Send + Sync + 'static) {
        self.collectors.lock().push(Box::new(collector));
    }

    /// Requests by label set, added up over the threads, ordered by labels.
    pub fn requests(&self) -> Vec<RequestTotals> {
        let mut sums: BTreeMap<Arc<OwnedLabels>, Histogram> = BTreeMap::new();
        for thread in self.threads.lock().iter() {
            for (labels, durations) in &thread.lock().requests {
                match sums.get_mut(labels) {
                    Some(sum) => sum.add(durations),
                    None => {
                        sums.insert(Arc::clone(labels), *durations);
                    }
                }
            }
        }
        sums.into_iter().map(|(labels, durations)| RequestTotals { labels, durations }).collect()
    }

    /// Another number whenever requests were counted.
    pub fn requests_version(&self) -> u64 {
        self.threads.lock().iter().map(|thread| thread.lock().version).sum()
    }

    /// Requests that an entrance put into each lane, added up over the threads.
    pub fn entered(&self) -> BTreeMap<Arc<Lane>, u64> {
        let mut sums = BTreeMap::new();
        for thread in self.threads.lock().iter() {
            for (lane, requests) in &thread.lock().entered {
                *sums.entry(Arc::clone(lane)).or_default() += requests;
            }
        }
        sums
    }

    /// What was counted, over all threads.
    pub fn counted(&self, what: Count) -> u64 {
        self.threads.lock().iter().map(|thread| thread.lock().counts[what as usize]).sum()
    }

    /// How many are open, over all threads.
    pub fn level(&self, what: Level) -> i64 {
        self.threads.lock().iter().map(|thread| thread.lock().levels[what as usize]).sum()
    }

    /// Everything, as Prometheus text (format 0.0.4, [`crate::text::CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut samples = Samples::new();
        self.sample_requests(&mut samples);
        for (lane, requests) in self.entered() {
            let labels = [(label::LANE_GROUP, &*lane.0), (label::LANE, &*lane.1)];
            samples.add(names::LANE_ENTERED, &labels, requests as f64);
        }
        for count in Count::ALL {
            let (metric, label) = count.series();
            samples.add(metric, label.as_slice(), self.counted(count) as f64);
        }
        for level in Level::ALL {
            let (metric, label) = level.series();
            samples.add(metric, label.as_slice(), self.level(level) as f64);
        }
        for gauge in self.gauges.lock().iter() {
            let labels: Vec<_> =
                gauge.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            samples.add(gauge.metric, &labels, gauge.get());
        }
        for collector in self.collectors.lock().iter() {
            collector(&mut samples);
        }
        samples.into_text()
    }

    fn sample_requests(&self, samples: &mut Samples) {
        // Durations are told per lane, not per outcome and class: a sixth of the series.
        let mut durations: BTreeMap<[&str; 5], Histogram> = BTreeMap::new();
        let requests = self.requests();
        for RequestTotals { labels, durations: of_set } in &requests {
            let lane = [
                labels.role.as_str(),
                &*labels.application,
                &*labels.service,
                &*labels.lane_group,
                &*labels.lane,
            ];
            samples.add(
                names::REQUESTS,
                &[
                    (label::ROLE, lane[0]),
                    (label::APPLICATION, lane[1]),
                    (label::SERVICE, lane[2]),
                    (label::LANE_GROUP, lane[3]),
                    (label::LANE, lane[4]),
                    (label::OUTCOME, labels.outcome.as_str()),
                    (label::CODE_CLASS, labels.code_class.as_str()),
                ],
                of_set.count() as f64,
            );
            durations.entry(lane).or_default().add(of_set);
        }
        for ([role, application, service, lane_group, lane], of_lane) in &durations {
            samples.add_histogram(
                names::REQUEST_DURATION,
                &[
                    (label::ROLE, role),
                    (label::APPLICATION, application),
                    (label::SERVICE, service),
                    (label::LANE_GROUP, lane_group),
                    (label::LANE, lane),
                ],
                of_lane,
            );
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("threads", &self.threads.lock().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
