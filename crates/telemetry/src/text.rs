//! Prometheus text, written from samples: families together, each series once, everything escaped.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    histogram::{BOUNDS_NANOSECONDS, Histogram},
    names::{Kind, Metric, label},
};

/// What `/metrics` answers as its content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples on their way into one text.
#[derive(Debug, Default)]
pub struct Samples {
    families: BTreeMap<&'static str, Family>,
}

#[derive(Debug)]
struct Family {
    metric: Metric,
    /// By labels as written, so that a series appears once however often it is added.
    series: BTreeMap<String, Value>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram(Box<Histogram>),
}

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one sample of a counter or gauge. Samples of the same series add up: the threads and parts of a process
    /// tell their shares.
    pub fn add(&mut self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        debug_assert_ne!(metric.kind, Kind::Histogram, "{} is a histogram", metric.name);
        match self.series(metric, labels) {
            Value::Number(sum) => *sum += value,
            Value::Histogram(_) => unreachable!("{} is no histogram", metric.name),
        }
    }

    /// Adds one histogram.
    pub(crate) fn add_histogram(
        &mut self,
        metric: Metric,
        labels: &[(&str, &str)],
        histogram: &Histogram,
    ) {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{} is no histogram", metric.name);
        match self.series(metric, labels) {
            Value::Histogram(sum) => sum.add(histogram),
            Value::Number(_) => unreachable!("{} is a histogram", metric.name),
        }
    }

    fn series(&mut self, metric: Metric, labels: &[(&str, &str)]) -> &mut Value {
        debug_assert!(
            labels.iter().map(|(name, _)| name).eq(metric.labels),
            "{} has the labels {:?}, not {labels:?}",
            metric.name,
            metric.labels
        );
        let family = self
            .families
            .entry(metric.name)
            .or_insert_with(|| Family { metric, series: BTreeMap::new() });
        family.series.entry(written(labels)).or_insert_with(|| match metric.kind {
            Kind::Histogram => Value::Histogram(Box::default()),
            Kind::Counter | Kind::Gauge => Value::Number(0.0),
        })
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        let mut text = String::new();
        for Family { metric, series } in self.families.values() {
            let Metric { name, help, kind, .. } = metric;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let help = help.replace('\\', r"\\").replace('\n', r"\n");
            line(&mut text, format_args!("# HELP {name} {help}"));
            line(&mut text, format_args!("# TYPE {name} {kind}"));
            for (labels, value) in series {
                match value {
                    Value::Number(number) => {
                        let labels = braced(labels);
                        line(&mut text, format_args!("{name}{labels} {}", Number(*number)));
                    }
                    Value::Histogram(histogram) => {
                        write_histogram(&mut text, name, labels, histogram)
                    }
                }
            }
        }
        text
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (index, bucket) in histogram.buckets.iter().enumerate() {
        below += bucket;
        let bound =
            BOUNDS_NANOSECONDS.get(index).map_or(f64::INFINITY, |bound| *bound as f64 / 1e9);
        let le = label::LE;
        line(
            text,
            format_args!("{name}_bucket{{{labels}{comma}{le}=\"{}\"}} {below}", Number(bound)),
        );
    }
    let labels = braced(labels);
    line(text, format_args!("{name}_sum{labels} {}", Number(histogram.sum_seconds())));
    line(text, format_args!("{name}_count{labels} {below}"));
}

/// Labels without their braces, values escaped.
fn written(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str(r"\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
    text.push('\n');
}

/// A number as Prometheus reads it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}
