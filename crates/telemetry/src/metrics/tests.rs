//! What threads count is what the text says: read back by a small parser of the format.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    CodeClass, Outcome, RequestLabels, Role, histogram::BOUNDS_NANOSECONDS, labels::OTHER,
    names::Kind,
};

fn labels<'a>(service: &'a str, lane: &'a str) -> RequestLabels<'a> {
    RequestLabels {
        role: Role::Gateway,
        application: "shop",
        service,
        route: "",
        lane_group: "trade",
        lane,
        outcome: Outcome::Lane,
        code_class: CodeClass::of(200),
    }
}

/// Series by name and labels, with what the format demands checked on the way.
#[derive(Debug, Default)]
struct Parsed {
    series: BTreeMap<(String, Vec<(String, String)>), f64>,
    kinds: BTreeMap<String, String>,
}

impl Parsed {
    #[track_caller]
    fn from_text(text: &str) -> Self {
        let mut parsed = Self::default();
        let mut family = String::new();
        let mut help_of = String::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                help_of = help.split_once(' ').expect("help has text").0.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type has a kind");
                assert_eq!(name, help_of, "TYPE follows HELP of the same family");
                assert!(
                    parsed.kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{name} comes twice"
                );
                family = name.to_owned();
            } else {
                let (name, labels, value) = parse_sample(line);
                let belongs = ["", "_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| name == format!("{family}{end}"));
                assert!(belongs, "{name} stands under {family}");
                let value = match value {
                    "+Inf" => f64::INFINITY,
                    value => value.parse().expect("a number"),
                };
                let twice = parsed.series.insert((name, labels), value);
                assert!(twice.is_none(), "a series comes twice: {line}");
            }
        }
        parsed
    }

    #[track_caller]
    fn value(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let matching = self.series.iter().filter(|((series, labels), _)| {
            series == name
                && wanted
                    .iter()
                    .all(|(name, value)| labels.iter().any(|(n, v)| n == name && v == value))
        });
        let matching: Vec<_> = matching.collect();
        let [(_, value)] = matching[..] else { panic!("{name} {wanted:?}: {matching:?}") };
        *value
    }
}

fn parse_sample(line: &str) -> (String, Vec<(String, String)>, &str) {
    let name_end = line.find(['{', ' ']).expect("a sample has a value");
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (name, after) = rest.split_once("=\"").expect("a label has a value");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                let (at, character) = characters.next().expect("a value ends");
                match character {
                    '"' => break at,
                    '\\' => match characters.next().expect("something is escaped").1 {
                        'n' => value.push('\n'),
                        other => value.push(other),
                    },
                    other => value.push(other),
                }
            };
            labels.push((name.to_owned(), value));
            rest = &after[end + 1..];
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').expect("labels are separated");
        }
    }
    (name.to_owned(), labels, rest.strip_prefix(' ').expect("a space before the value"))
}

#[test]
fn threads_add_up() {
    let metrics = Arc::new(Metrics::new());
    let threads: Vec<_> = (1..=3)
        .map(|count| {
            let metrics = Arc::clone(&metrics);
            std::thread::spawn(move || {
                let recorder = metrics.recorder();
                for _ in 0..count {
                    recorder.request(&labels("sc-A", "gray"), Duration::from_millis(3));
                }
                recorder.request(&labels("sc-A", ""), Duration::from_secs(20));
                recorder.add(Count::BytesSent, 100);
                recorder.raise(Level::InFlightGateway);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let parsed = Parsed::from_text(&metrics.render());
    let gray = [
        ("service", "sc-A"),
        ("lane", "gray"),
        ("outcome", "lane"),
        ("code_class", "2xx"),
        ("role", "gateway"),
    ];
    assert_eq!(parsed.value("laneway_requests_total", &gray), 6.0);
    assert_eq!(parsed.value("laneway_requests_total", &[("lane", "")]), 3.0);
    assert_eq!(parsed.value("laneway_bytes_total", &[("direction", "sent")]), 300.0);
    assert_eq!(parsed.value("laneway_requests_in_flight", &[("role", "gateway")]), 3.0);
    let duration = "laneway_request_duration_seconds";
    assert_eq!(
        parsed.value(&format!("{duration}_bucket"), &[("lane", "gray"), ("le", "0.0025")]),
        0.0
    );
    assert_eq!(
        parsed.value(&format!("{duration}_bucket"), &[("lane", "gray"), ("le", "0.005")]),
        6.0
    );
    assert_eq!(parsed.value(&format!("{duration}_bucket"), &[("lane", ""), ("le", "10")]), 0.0);
    assert_eq!(parsed.value(&format!("{duration}_bucket"), &[("lane", ""), ("le", "+Inf")]), 3.0);
    assert_eq!(parsed.value(&format!("{duration}_count"), &[("lane", "gray")]), 6.0);
    assert!((parsed.value(&format!("{duration}_sum"), &[("lane", "gray")]) - 0.018).abs() < 1e-9);
    assert_eq!(metrics.requests().len(), 2);
}

#[test]
fn what_entrances_decide_adds_up_by_lane() {
    let metrics = Metrics::new();
    let recorders = [metrics.recorder(), metrics.recorder()];
    for recorder in &recorders {
        let (gray, base) =
            (recorder.entered_lane("trade", "gray"), recorder.entered_lane("trade", ""));
        assert_eq!(recorder.entered_lane("trade", "gray"), gray);
        recorder.entered(gray);
        recorder.publish();
        recorder.entered(base);
        recorder.entered(base);
        recorder.publish();
    }
    let parsed = Parsed::from_text(&metrics.render());
    let entered = |lane| parsed.value("laneway_lane_entered_total", &[("lane", lane)]);
    assert_eq!((entered("gray"), entered("")), (2.0, 4.0));
}

#[test]
fn lanes_that_are_known_are_counted_also_when_there_are_too_many() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    let gray = recorder.entered_lane("trade", "gray");
    for tag in 0..2_000 {
        recorder.entered_lane("trade", &tag.to_string());
    }
    assert_eq!(recorder.entered_lane("trade", "gray"), gray);
    let late = recorder.entered_lane("trade", "late");
    assert_eq!(recorder.entered_lane("trade", "later"), late);
    recorder.entered(late);
    recorder.publish();
    let other = (Box::from("other"), Box::from("other"));
    assert_eq!(metrics.entered().get(&other), Some(&1));
}

#[test]
fn routes_take_no_room_from_what_prometheus_is_told() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder_with(3);
    for route in 0..3_000 {
        let route = route.to_string();
        recorder
            .request(&RequestLabels { route: &route, ..labels("sc-A", "gray") }, Duration::ZERO);
    }
    for service in ["one", "two"] {
        let labels = RequestLabels { route: "9999", ..labels(service, "gray") };
        recorder.request(&labels, Duration::ZERO);
    }
    recorder.publish();
    let parsed = Parsed::from_text(&metrics.render());
    let counted = |service| parsed.value("laneway_requests_total", &[("service", service)]);
    assert_eq!([counted("sc-A"), counted("one"), counted("two")], [3_000.0, 1.0, 1.0]);
    assert_eq!(metrics.counted(Count::LabelSetsOverflowed), 0);
}

#[test]
fn a_route_is_told_to_the_control_plane_alone() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    for route in ["one", "two"] {
        let labels = RequestLabels { route, ..labels("sc-A", "gray") };
        recorder.request(&labels, Duration::from_millis(3));
    }
    recorder.publish();
    assert_eq!(metrics.requests().len(), 2);
    let parsed = Parsed::from_text(&metrics.render());
    assert_eq!(parsed.value("laneway_requests_total", &[("service", "sc-A")]), 2.0);
}

#[test]
fn durations_of_all_outcomes_are_one_series() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    for (outcome, status) in [(Outcome::Lane, 200), (Outcome::Lane, 503), (Outcome::Fallback, 200)]
    {
        let labels =
            RequestLabels { outcome, code_class: CodeClass::of(status), ..labels("sc-A", "gray") };
        recorder.request(&labels, Duration::from_millis(1));
    }
    recorder.publish();
    let parsed = Parsed::from_text(&metrics.render());
    assert_eq!(parsed.value("laneway_request_duration_seconds_count", &[]), 3.0);
    assert_eq!(parsed.value("laneway_requests_total", &[("outcome", "fallback")]), 1.0);
    let buckets =
        parsed.series.keys().filter(|(name, _)| name == "laneway_request_duration_seconds_bucket");
    assert_eq!(buckets.count(), BOUNDS_NANOSECONDS.len() + 1);
}

#[test]
fn others_see_what_was_published() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    recorder.count(Count::Ejected);
    recorder.request(&labels("sc-A", "gray"), Duration::ZERO);
    assert_eq!(metrics.counted(Count::Ejected), 0);
    assert!(metrics.requests().is_empty());
    recorder.publish();
    recorder.request(&labels("sc-B", "gray"), Duration::ZERO);
    assert_eq!(metrics.counted(Count::Ejected), 1);
    assert_eq!(metrics.requests().len(), 1);
    drop(recorder);
    assert_eq!(metrics.requests().len(), 2, "an ended thread has told all");
}

#[test]
fn a_remembered_label_set_counts_where_it_belongs() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    let [unused, used] =
        ["sc-A", "sc-B"].map(|service| recorder.label_set(&labels(service, "gray")));
    recorder.observe(used, Duration::ZERO);
    recorder.publish();
    recorder.observe(used, Duration::ZERO);
    assert_eq!(recorder.label_set(&labels("sc-A", "gray")), unused);
    recorder.publish();
    let counts = metrics
        .requests()
        .into_iter()
        .map(|totals| (totals.labels.service.clone(), totals.durations.count()));
    assert_eq!(counts.collect::<Vec<_>>(), [("sc-A".into(), 0), ("sc-B".into(), 2)]);
}

#[test]
fn label_sets_are_bounded_and_the_rest_is_other() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder_with(10);
    for number in 0..100 {
        let service = format!("service-{number}");
        for status in [200, 500] {
            let labels =
                RequestLabels { code_class: CodeClass::of(status), ..labels(&service, "gray") };
            recorder.request(&labels, Duration::ZERO);
        }
    }
    recorder.publish();
    let requests = metrics.requests();
    assert_eq!(requests.len(), 10 + 2);
    let other = requests.iter().filter(|totals| &*totals.labels.service == OTHER);
    assert_eq!(other.map(|totals| totals.durations.count()).collect::<Vec<_>>(), [95, 95]);
    assert_eq!(metrics.counted(Count::LabelSetsOverflowed), 190);
    // What was known before is still counted by its name.
    recorder.request(&labels("service-0", "gray"), Duration::ZERO);
    recorder.publish();
    let first = metrics
        .requests()
        .into_iter()
        .find(|totals| &*totals.labels.service == "service-0")
        .unwrap();
    assert_eq!(first.durations.count(), 2);
}

#[test]
fn every_value_survives_the_format() {
    let metrics = Metrics::new();
    let odd = "back\\slash \"quote\"\nline {brace}, comma=é";
    metrics.gauge(names::SOURCE_AGE, &[(label::SOURCE, odd)]).set(0.25);
    metrics.gauge(names::SOURCE_AGE, &[(label::SOURCE, "")]).set(f64::INFINITY);
    let text = metrics.render();
    let parsed = Parsed::from_text(&text);
    assert_eq!(parsed.value("laneway_source_age_seconds", &[("source", odd)]), 0.25);
    assert_eq!(parsed.value("laneway_source_age_seconds", &[("source", "")]), f64::INFINITY);
}

#[test]
fn one_series_is_one_gauge() {
    let metrics = Metrics::new();
    let one = metrics.gauge(names::CONFIG_GENERATION, &[]);
    let other = metrics.gauge(names::CONFIG_GENERATION, &[]);
    one.set(7.0);
    assert_eq!(other.get(), 7.0);
    metrics.collect_from(|samples| samples.add(names::CONFIG_AGE, &[], 1.5));
    let parsed = Parsed::from_text(&metrics.render());
    assert_eq!(parsed.value("laneway_config_generation", &[]), 7.0);
    assert_eq!(parsed.value("laneway_config_age_seconds", &[]), 1.5);
}

#[test]
fn counts_and_levels_have_series_of_their_own() {
    let mut seen = std::collections::HashSet::new();
    for (position, count) in Count::ALL.into_iter().enumerate() {
        assert_eq!(count as usize, position, "{count:?} is out of order");
        let (metric, label) = count.series();
        assert_eq!(metric.kind, Kind::Counter, "{count:?}");
        assert!(seen.insert((metric.name, label)), "{count:?} shares its series");
    }
    for (position, level) in Level::ALL.into_iter().enumerate() {
        assert_eq!(level as usize, position, "{level:?} is out of order");
        let (metric, label) = level.series();
        assert_eq!(metric.kind, Kind::Gauge, "{level:?}");
        assert!(seen.insert((metric.name, label)), "{level:?} shares its series");
    }
}
