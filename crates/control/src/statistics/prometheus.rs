//! What passed, asked of a Prometheus that scrapes the data planes: long windows, where one is named.
//!
//! It knows applications, services, lanes, outcomes and codes, but not which gateway, route or caller a request came by.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::Deserialize;
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

/// Longest that all of a question may take, connecting included: who looks at a page gives it up after 8 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// Scrapes that the growth of a counter is read from; two would do, were none of them late.
const SCRAPES: u64 = 4;

/// Seconds in which scrapes are counted, to know how far they are apart.
const COUNTED_IN: u64 = 300;

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
    /// All the time that there is was taken by what was asked before.
    #[error("it takes longer than {} s", ANSWER_WITHIN.as_secs())]
    Late,
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

    /// Counts in an answer what it knows of the answer's time, of those series that `line` names. `of`: what of it is wanted. For
    /// threads that may wait.
    pub(crate) fn count<K: Ord + Clone>(
        &self,
        answer: &mut Answer<K>,
        of: &Wanted<'_>,
        line: impl Fn(&Labels) -> Option<K>,
    ) -> Result<(), PrometheusError> {
        let asking = self.begin(answer.span, of)?;
        for (second, data_planes) in asking.data_planes()? {
            answer.recorded(second, data_planes as u32);
        }
        let mut add = |labels: &Labels, second: u64, cell: &Cell| {
            let counted = line(labels).and_then(|key| answer.counted(&key, second));
            if let Some(counted) = counted {
                counted.add(labels.outcome, cell);
            }
        };
        if of.entered {
            for series in asking.growth(names::LANE_ENTERED.name, "lane_group, lane")? {
                for (second, requests) in &series.points {
                    add(&series.labels_as(Role::Entered), *second, &of_class(0, *requests));
                }
            }
            return Ok(());
        }
        for series in asking.growth(names::REQUESTS.name, &format!("{BY}, outcome, code_class"))? {
            let Some(labels) = series.labels() else { continue };
            for (second, requests) in &series.points {
                add(&labels, *second, &of_class(series.class(), *requests));
            }
        }
        let buckets = format!("{}_bucket", names::REQUEST_DURATION.name);
        for ((labels, second), bounds) in by_bounds(asking.growth(&buckets, &format!("{BY}, le"))?)
        {
            add(&labels, second, &Cell { sketch: spread(&bounds), ..Cell::default() });
        }
        answer.leave_out_without_requests();
        Ok(())
    }

    /// Asks how far apart scrapes are: of a shorter time a counter's growth is not known.
    fn begin(&self, span: Span, of: &Wanted<'_>) -> Result<Asking<'_>, PrometheusError> {
        let own = Some(self.settings.matchers.as_str()).filter(|it| !it.is_empty());
        let named = of.labels.iter().map(|(name, value)| matcher(name, value));
        let matchers: Vec<String> = own.map(str::to_owned).into_iter().chain(named).collect();
        let token = self.settings.token_file.as_ref().map(|file| {
            let read = fs::read_to_string(file);
            read.map_err(|error| PrometheusError::Token(file.clone(), error))
        });
        let mut asking = Asking {
            prometheus: self,
            token: token.transpose()?,
            span,
            everybody: own.unwrap_or_default(),
            matchers: matchers.join(","),
            range: span.step,
            until: Instant::now() + ANSWER_WITHIN,
        };
        let series = format!("{}{{{}}}", names::REQUESTS_IN_FLIGHT.name, asking.everybody);
        // Those that have been there all the time, scraped the least often; else whoever is there.
        let counted = format!("count_over_time({series}[{COUNTED_IN}s])");
        let scrapes =
            format!("min({counted} and ({series} offset {COUNTED_IN}s)) or max({counted})");
        let last = Span::steps_from(0, span.until - span.step, span.step, 1);
        let scrapes = asking.ask(last, &scrapes)?;
        if let Some((_, scrapes)) = scrapes.first().and_then(|series| series.points.first()) {
            let apart = COUNTED_IN as f64 / scrapes;
            asking.range = span.step.max((apart * SCRAPES as f64).ceil() as u64);
        }
        Ok(asking)
    }
}

/// What of a time is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// What entered lanes; else requests and how long they took.
    pub(crate) entered: bool,
    /// Labels, and the values that they have.
    pub(crate) labels: Vec<(&'static str, &'a str)>,
}

/// A matcher of PromQL, whose texts are escaped as those of JSON are.
fn matcher(name: &str, value: &str) -> String {
    format!("{name}={}", serde_json::Value::from(value))
}

/// One question, in parts.
#[derive(Debug)]
struct Asking<'p> {
    prometheus: &'p Prometheus,
    token: Option<String>,
    span: Span,
    /// Of all series of the mesh.
    everybody: &'p str,
    /// Of those that are wanted.
    matchers: String,
    /// Seconds that growth is read from.
    range: u64,
    until: Instant,
}

impl Asking<'_> {
    /// Of each step, how many data planes were scraped.
    fn data_planes(&self) -> Result<Vec<(u64, f64)>, PrometheusError> {
        // Every one serves this, whatever passes.
        let name = names::REQUESTS_IN_FLIGHT.name;
        let query = format!("count(count by (instance) ({name}{{{}}}))", self.everybody);
        Ok(self.ask(self.span, &query)?.into_iter().flat_map(|series| series.points).collect())
    }

    /// How much a counter has grown in each step, by these labels.
    fn growth(&self, name: &str, by: &str) -> Result<Vec<Series>, PrometheusError> {
        let (Self { matchers, range, .. }, Span { step, .. }) = (self, self.span);
        let query = format!("sum by ({by}) (rate({name}{{{matchers}}}[{range}s])) * {step}");
        let mut all = self.ask(self.span, &query)?;
        all.iter_mut().for_each(|series| make_whole(&mut series.points));
        Ok(all)
    }

    /// What Prometheus says at the end of each step.
    fn ask(&self, span: Span, query: &str) -> Result<Vec<Series>, PrometheusError> {
        let Span { from, until, step, .. } = span;
        let Prometheus { agent, settings } = self.prometheus;
        let left =
            self.until.checked_duration_since(Instant::now()).ok_or(PrometheusError::Late)?;
        let mut request = agent.post(format!("{}/api/v1/query_range", settings.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let request = request.config().timeout_global(Some(left)).build();
        let (start, end, step) = ((from + step).to_string(), until.to_string(), step.to_string());
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        let mut answer = request.send_form(form)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        let status = answer.status().as_u16();
        let refused = |said: &str| {
            let said = said.chars().take(ERROR_CHARACTERS_MAX).filter(|it| !it.is_control());
            PrometheusError::Refused { status, said: said.collect() }
        };
        let read = serde_json::from_slice::<Told<'_>>(&body);
        let told = read.map_err(|_| match status {
            200 => PrometheusError::Malformed,
            _ => refused(&String::from_utf8_lossy(&body)),
        })?;
        let Some(Matrix { result }) = told.data else {
            return Err(refused(told.error.as_deref().unwrap_or_default()));
        };
        result.into_iter().map(|it| it.read(span).ok_or(PrometheusError::Malformed)).collect()
    }
}

/// An answer as it is written.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    data: Option<Matrix<'a>>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Matrix<'a> {
    #[serde(borrow)]
    result: Vec<ToldSeries<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToldSeries<'a> {
    metric: BTreeMap<String, String>,
    /// Seconds, and a number as a text.
    #[serde(borrow)]
    values: Vec<(f64, &'a str)>,
}

impl ToldSeries<'_> {
    fn read(self, span: Span) -> Option<Series> {
        let points = self.values.into_iter().map(|(time, value)| {
            // What is told at the end of a step is of the time before it.
            Some(((time as u64).checked_sub(span.step)?, value.parse::<f64>().ok()?))
        });
        let points: Option<Vec<_>> = points.collect();
        let points = points?.into_iter().filter(|(_, value)| value.is_finite() && *value > 0.0);
        Some(Series { labels: self.metric, points: points.collect() })
    }
}

/// What tells series apart that count requests.
const BY: &str = "role, application, service, lane_group, lane";

/// One series of an answer.
#[derive(Debug)]
struct Series {
    labels: BTreeMap<String, String>,
    /// Of each step that has one: a second in it, and the value.
    points: Vec<(u64, f64)>,
}

impl Series {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
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

/// Makes whole numbers of fractions, so that of all steps together there are as many as there were: of a counter that grows slowly
/// each step by itself would be nothing.
fn make_whole(points: &mut [(u64, f64)]) {
    let (mut so_far, mut told) = (0.0, 0.0);
    for (_, value) in points {
        so_far += *value;
        *value = (so_far - told).round();
        told += *value;
    }
}

fn of_class(class: usize, requests: f64) -> Cell {
    let mut cell = Cell::default();
    cell.classes[class] = requests.round() as u64;
    cell
}

/// Stands for no bound at all.
const ABOVE_ALL: u64 = u64::MAX;

/// Of labels and a second: how many durations were at most as long as each bound, by bounds in nanoseconds.
type Bounds = BTreeMap<(Labels, u64), BTreeMap<u64, f64>>;

fn by_bounds(all: Vec<Series>) -> Bounds {
    let mut by_bounds = Bounds::new();
    for series in all {
        let bound = match series.label(label::LE) {
            "+Inf" => Some(ABOVE_ALL),
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
/// one bound and the next. Those above all bounds are as long as the last, as far as anybody knows.
fn spread(bounds: &BTreeMap<u64, f64>) -> [u32; sketch::BUCKETS] {
    let mut sketch = [0_u32; sketch::BUCKETS];
    let (mut lower, mut below) = (0, 0.0);
    for (upper, count) in bounds.iter().filter(|(upper, _)| **upper > 0) {
        let mut left = (count - below).max(0.0).round();
        let first = sketch::bucket_of(lower);
        let last = if *upper == ABOVE_ALL { first } else { sketch::bucket_of(upper - 1) };
        let (between, width) = (left, (upper - lower) as f64);
        for (bucket, place) in sketch.iter_mut().enumerate().take(last + 1).skip(first) {
            let ends = if bucket == last { *upper } else { sketch::lower_bound(bucket + 1) };
            let share = (ends - sketch::lower_bound(bucket).max(lower)) as f64 / width;
            let count = if bucket == last { left } else { (between * share).round().min(left) };
            *place = place.saturating_add(count as u32);
            left -= count;
        }
        (lower, below) = (*upper, count.max(below));
    }
    sketch
}

#[cfg(test)]
mod tests {
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
        // What takes longer than any bound is told as that, and not as the longest that there is.
        let above = spread(&bounds(&[(1.0, 98.0), (10.0, 98.0), (20e9, 100.0)])).map(u64::from);
        let p99 = sketch::quantile(&above, 0.99).unwrap() / 1e9;
        assert!((9.0..13.0).contains(&p99), "{p99}");
        // Counters that were not read at the same moment do not seem to fall.
        assert_eq!(spread(&bounds(&[(0.01, 10.0), (0.1, 9.0)])).iter().sum::<u32>(), 10);
    }

    #[test]
    fn what_grows_slowly_is_as_much_in_all_steps_together() {
        let mut points: Vec<_> = (0..60).map(|step| (step * 60, 1.0 / 3.0)).collect();
        make_whole(&mut points);
        assert_eq!(points.iter().map(|(_, value)| value).sum::<f64>(), 20.0);
        assert!(points.iter().all(|(_, value)| [0.0, 1.0].contains(value)));
    }

    #[test]
    fn what_is_wanted_is_named_to_prometheus_whatever_is_in_it() {
        assert_eq!(matcher("lane", ""), r#"lane="""#);
        assert_eq!(matcher("application", "a-1"), r#"application="a-1""#);
        assert_eq!(matcher("application", "b.c"), r#"application="b.c""#);
        assert_eq!(
            matcher("application", "\u{e9}t\u{e9}\n\u{b}"),
            "application=\"\u{e9}t\u{e9}\\n\\u000b\""
        );
        assert_eq!(matcher("application", r#"a"b\c"#), r#"application="a\"b\\c""#);
    }

    #[test]
    fn series_are_read_step_by_step() {
        let span = Span::steps_from(1, 600, 60, 3);
        let read = |text: &str| {
            serde_json::from_str::<Told<'_>>(text).ok()?.data?.result.pop()?.read(span)
        };
        let labels = r#"{"role":"sidecar_inbound","application":"c","lane":"gray","outcome":"cut","code_class":"5xx"}"#;
        let values = r#"[[660,"3.7"],[720.0,"NaN"],[780,"0"]]"#;
        let series = read(&format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{labels},"values":{values}}}]}}}}"#)).unwrap();
        assert_eq!(series.points, [(600, 3.7)]);
        assert_eq!((series.class(), of_class(5, 3.7).requests()), (5, 4));
        let labels = series.labels().unwrap();
        assert_eq!(
            (labels.role, labels.outcome, &*labels.lane),
            (Role::Inbound, Outcome::Cut, "gray")
        );
        let of = |metric: &str, values: &str| {
            format!(r#"{{"data":{{"result":[{{"metric":{metric},"values":{values}}}]}}}}"#)
        };
        assert!(read(&of("{}", r#"[[660,"much"]]"#)).is_none());
        let other = read(&of(r#"{"role":"a new one"}"#, "[]")).unwrap();
        assert_eq!(other.labels(), None);
    }
}
