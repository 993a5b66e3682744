//! What passed, asked of a Prometheus that scrapes the data planes: long windows, where one is named.
//!
//! It knows applications, services, lanes, outcomes and codes, but not which gateway, route or caller a request came by.

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::Value;
use telemetry::{
    names::{self, label},
    sketch,
};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{
    cell::{CLASSES, Cell},
    question::{Answer, Span},
    series::{Labels, Outcome, Role},
};

/// Longest that an answer may take, connecting included.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of one: a thousand steps of some hundred series.
const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Characters of what it says of an error that are told on.
const ERROR_CHARACTERS_MAX: usize = 300;

/// Which Prometheus, and what it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// `http://host:port/path`, or `https`: what stands before `/api/v1`.
    pub url: String,
    /// Matchers that every series must meet, such as `cluster="a"`; empty: all are Laneway's of this mesh.
    pub matchers: String,
    /// What has the bearer token, read each time.
    pub token_file: Option<PathBuf>,
    /// Authorities in PEM that sign for it, beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Why it says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrometheusError {
    /// What is shown to it cannot be read.
    #[error("{0}: {1}")]
    Token(PathBuf, io::Error),
    /// It cannot be reached, or answers late.
    #[error("{0}")]
    Unanswered(#[from] ureq::Error),
    /// It does not answer the question.
    #[error("status {status}: {said}")]
    Refused { status: u16, said: String },
    /// Its answer is of another kind.
    #[error("its answer is no matrix of Prometheus")]
    Malformed,
}

/// A Prometheus that is asked.
#[derive(Debug)]
pub(crate) struct Prometheus {
    agent: ureq::Agent,
    settings: PrometheusSettings,
}

impl Prometheus {
    /// Reads what it is trusted by; nothing is asked yet.
    ///
    /// # Errors
    /// When the file of authorities cannot be read, or has none.
    pub(crate) fn new(settings: PrometheusSettings) -> io::Result<Self> {
        let mut roots: Vec<_> = rustls_native_certs::load_native_certs().certs;
        if let Some(file) = &settings.ca_file {
            let before = roots.len();
            for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                roots.push(certificate.map_err(io::Error::other)?);
            }
            if roots.len() == before {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
            }
        }
        let roots: Vec<_> = roots.iter().map(|it| Certificate::from_der(it).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()));
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent("laneway")
            .tls_config(tls.build())
            .build();
        Ok(Self { agent: agent.into(), settings })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.settings.url
    }

    /// Counts in an answer what it knows of the answer's time, of those series that `line` names. For threads that may wait.
    pub(crate) fn count<K: Ord + Clone>(
        &self,
        answer: &mut Answer<K>,
        line: impl Fn(&Labels) -> Option<K>,
    ) -> Result<(), PrometheusError> {
        let span = answer.span;
        // Every data plane serves it, whatever passes.
        let scraped = format!(
            "count(count by (instance) ({}{{{}}}))",
            names::REQUESTS_IN_FLIGHT.name,
            self.settings.matchers
        );
        for series in self.ask(span, &scraped)? {
            for (second, data_planes) in series.points {
                answer.recorded(second, data_planes as u32);
            }
        }
        let mut add = |labels: &Labels, second: u64, cell: &Cell| {
            let counted = line(labels).and_then(|key| answer.counted(&key, second));
            if let Some(counted) = counted {
                counted.add(labels.outcome, cell);
            }
        };
        let requests =
            self.increase(span, names::REQUESTS.name, &format!("{BY}, outcome, code_class"));
        for series in self.ask(span, &requests)? {
            let Some(labels) = series.labels() else { continue };
            for (second, requests) in &series.points {
                add(&labels, *second, &of_class(series.class(), *requests));
            }
        }
        let entered = self.increase(span, names::LANE_ENTERED.name, "lane_group, lane");
        for series in self.ask(span, &entered)? {
            let labels = series.labels_as(Role::Entered);
            for (second, requests) in &series.points {
                add(&labels, *second, &of_class(0, *requests));
            }
        }
        let buckets = format!("{}_bucket", names::REQUEST_DURATION.name);
        let durations = self.increase(span, &buckets, &format!("{BY}, le"));
        for ((labels, second), bounds) in by_bounds(self.ask(span, &durations)?) {
            add(&labels, second, &Cell { sketch: spread(&bounds), ..Cell::default() });
        }
        answer.leave_out_without_requests();
        Ok(())
    }

    /// The question how much a counter has grown in each step, by these labels.
    fn increase(&self, span: Span, name: &str, by: &str) -> String {
        let Span { step, .. } = span;
        format!("sum by ({by}) (increase({name}{{{}}}[{step}s]))", self.settings.matchers)
    }

    /// What it says at the end of each step.
    fn ask(&self, span: Span, query: &str) -> Result<Vec<Series>, PrometheusError> {
        let Span { from, until, step, .. } = span;
        let url = format!("{}/api/v1/query_range", self.settings.url);
        let mut request = self.agent.post(url);
        if let Some(file) = &self.settings.token_file {
            let read = fs::read_to_string(file);
            let token = read.map_err(|error| PrometheusError::Token(file.clone(), error))?;
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let (start, end, step) = ((from + step).to_string(), until.to_string(), step.to_string());
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        let mut answer = request.send_form(form)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        let status = answer.status().as_u16();
        let read = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        if read["status"] != "success" {
            let said = String::from_utf8_lossy(&body);
            let said = read["error"].as_str().unwrap_or(&said);
            let said = said.chars().take(ERROR_CHARACTERS_MAX).filter(|it| !it.is_control());
            return Err(PrometheusError::Refused { status, said: said.collect() });
        }
        let result = read["data"]["result"].as_array().ok_or(PrometheusError::Malformed)?;
        result.iter().map(|it| Series::read(it, span).ok_or(PrometheusError::Malformed)).collect()
    }
}

/// What tells series apart that count requests.
const BY: &str = "role, application, service, lane_group, lane";

/// One series of an answer.
#[derive(Debug)]
struct Series {
    labels: Value,
    /// Of each step that has one: a second in it, and the value.
    points: Vec<(u64, f64)>,
}

impl Series {
    fn read(told: &Value, span: Span) -> Option<Self> {
        let points = told["values"].as_array()?.iter().map(|point| {
            // What is told at the end of a step is of the time before it.
            let second = (point[0].as_f64()? as u64).checked_sub(span.step)?;
            Some((second, point[1].as_str()?.parse::<f64>().ok()?))
        });
        let points: Option<Vec<_>> = points.collect();
        let points = points?.into_iter().filter(|(_, value)| value.is_finite() && *value > 0.0);
        Some(Self { labels: told["metric"].clone(), points: points.collect() })
    }

    fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }

    fn labels_as(&self, role: Role) -> Labels {
        Labels {
            role,
            teller: Box::default(),
            application: self.label(label::APPLICATION).into(),
            service: self.label(label::SERVICE).into(),
            route: Box::default(),
            group: self.label(label::LANE_GROUP).into(),
            lane: self.label(label::LANE).into(),
            // Of durations it is not told how their requests ended.
            outcome: Outcome::read(self.label(label::OUTCOME)),
        }
    }

    /// `None`: of a role that is not known here.
    fn labels(&self) -> Option<Labels> {
        let role = match self.label(label::ROLE) {
            "gateway" => Role::Gateway,
            "sidecar_inbound" => Role::Inbound,
            "sidecar_outbound" => Role::Outbound,
            _ => return None,
        };
        Some(self.labels_as(role))
    }

    /// The class of the code; 0 where there was no answer.
    fn class(&self) -> usize {
        let digit = self.label(label::CODE_CLASS).bytes().next().unwrap_or_default();
        let class = usize::from(digit.wrapping_sub(b'0'));
        if class < CLASSES { class } else { 0 }
    }
}

fn of_class(class: usize, requests: f64) -> Cell {
    let mut cell = Cell::default();
    cell.classes[class] = requests.round() as u64;
    cell
}

/// Of labels and a second: how many durations were at most as long as each bound, by bounds in nanoseconds.
type Bounds = BTreeMap<(Labels, u64), BTreeMap<u64, f64>>;

fn by_bounds(all: Vec<Series>) -> Bounds {
    let mut by_bounds = Bounds::new();
    for series in all {
        let bound = match series.label(label::LE) {
            "+Inf" => Some(u64::MAX),
            text => text.parse::<f64>().ok().map(|seconds| (seconds * 1e9) as u64),
        };
        let (Some(labels), Some(bound)) = (series.labels(), bound) else { continue };
        for (second, count) in series.points {
            let bounds = by_bounds.entry((labels.clone(), second)).or_default();
            bounds.insert(bound, count);
        }
    }
    by_bounds
}

/// Durations of which it is known how many do not exceed some bounds, in the finer buckets of a sketch: spread evenly between
/// one bound and the next.
fn spread(bounds: &BTreeMap<u64, f64>) -> [u32; sketch::BUCKETS] {
    let mut sketch = [0; sketch::BUCKETS];
    let (mut lower, mut below) = (0, 0.0);
    for (upper, count) in bounds.iter().filter(|(upper, _)| **upper > 0) {
        let between = (count - below).max(0.0);
        let (first, last) = (sketch::bucket_of(lower), sketch::bucket_of(upper - 1));
        let mut left = between.round();
        let width = (upper - lower) as f64;
        for (bucket, place) in sketch.iter_mut().enumerate().take(last + 1).skip(first) {
            let ends = if bucket == last { *upper } else { sketch::lower_bound(bucket + 1) };
            let share = (ends - sketch::lower_bound(bucket).max(lower)) as f64 / width;
            let count = if bucket == last { left } else { (between * share).round().min(left) };
            *place += count as u32;
            left -= count;
        }
        (lower, below) = (*upper, count.max(below));
    }
    sketch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_spread_between_the_bounds_they_are_known_by() {
        let bounds = |known: &[(f64, f64)]| {
            known.iter().map(|(seconds, count)| ((seconds * 1e9) as u64, *count)).collect()
        };
        // 10 within 10 ms, 90 between that and 100 ms, none above.
        let sketch = spread(&bounds(&[(0.01, 10.0), (0.1, 100.0), (1.0, 100.0), (20e9, 100.0)]));
        assert_eq!(sketch.iter().sum::<u32>(), 100);
        let counts = sketch.map(u64::from);
        for (share, expected, off) in
            [(0.05, 0.005, 0.0015), (0.1, 0.01, 0.002), (0.55, 0.055, 0.006), (0.99, 0.099, 0.012)]
        {
            let seconds = sketch::quantile(&counts, share).unwrap() / 1e9;
            assert!((seconds - expected).abs() < off, "{share}: {seconds}");
        }
        assert_eq!(spread(&bounds(&[])), [0; sketch::BUCKETS]);
        // Counters that were not read at the same moment do not seem to fall.
        assert_eq!(spread(&bounds(&[(0.01, 10.0), (0.1, 9.0)])).iter().sum::<u32>(), 10);
    }

    #[test]
    fn series_are_read_step_by_step() {
        let span = Span::steps_from(1, 600, 60, 3);
        let told = json!({
            "metric": {"role": "sidecar_inbound", "application": "c", "lane": "gray", "outcome": "cut", "code_class": "5xx"},
            "values": [[660, "3.7"], [720.0, "NaN"], [780, "0"]],
        });
        let series = Series::read(&told, span).unwrap();
        assert_eq!(series.points, [(600, 3.7)]);
        assert_eq!((series.class(), of_class(5, 3.7).requests()), (5, 4));
        let labels = series.labels().unwrap();
        assert_eq!(
            (labels.role, labels.outcome, &*labels.lane),
            (Role::Inbound, Outcome::Cut, "gray")
        );
        assert!(Series::read(&json!({"metric": {}, "value": [1, "2"]}), span).is_none());
        let other = json!({"metric": {"role": "a new one"}, "values": []});
        assert_eq!(Series::read(&other, span).unwrap().labels(), None);
    }
}
