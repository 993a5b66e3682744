//! The benchmark's page: what was aimed at first, ratios, figures of this one machine after.

use std::fmt::Write as _;

use super::{
    SECONDS,
    column::{Column, Load, Target},
    contender::{DIRECT, FLOOR, LANEWAY, NAMES},
};

/// What is written where a contender did not run.
const NOT_RUN: &str = "not run";

/// One contender in one round: what the column's units say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) first: f64,
    pub(super) second: f64,
}

/// What was measured of a column.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) column: &'static Column,
    contenders: Vec<Sampled>,
}

#[derive(Debug)]
struct Sampled {
    name: &'static str,
    version: String,
    /// By round.
    samples: Vec<Sample>,
}

impl Measured {
    pub(super) const fn new(column: &'static Column) -> Self {
        Self { column, contenders: Vec::new() }
    }

    pub(super) fn add(&mut self, name: &'static str, version: &str, samples: Vec<Sample>) {
        self.contenders.push(Sampled { name, version: version.to_owned(), samples });
    }

    fn samples(&self, name: &str) -> Option<&[Sample]> {
        let found = self.contenders.iter().find(|contender| contender.name == name);
        found.map(|contender| contender.samples.as_slice())
    }

    /// What is compared, by round: of latency, what the contender adds to that without it.
    fn compared(&self, name: &str) -> Option<Vec<f64>> {
        let samples = self.samples(name)?.iter().map(|sample| sample.first);
        Some(match (self.column.load, self.samples(DIRECT)) {
            (Load::OpenLoop, Some(direct)) => {
                samples.zip(direct).map(|(with, without)| with - without.first).collect()
            }
            _ => samples.collect(),
        })
    }

    /// Laneway relative to another, within each round.
    fn relative_to(&self, base: &str) -> Option<Spread> {
        let (laneway, base) = (self.compared(LANEWAY)?, self.compared(base)?);
        Spread::of(laneway.iter().zip(&base).map(|(laneway, base)| laneway / base))
    }
}

/// The middle of some values, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], low, high })
    }

    /// `**0.92** (0.90 – 0.94)`.
    fn ratio(self) -> String {
        format!("**{:.2}** ({:.2} – {:.2})", self.median, self.low, self.high)
    }
}

/// The page as Markdown.
pub(super) fn render(all: &[Measured], rounds: usize, not_run: &[String]) -> String {
    let mut text = format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench`, nothing by hand. One processor for the proxy, another for client and \
         upstream; {rounds} rounds in which every contender of a column runs {SECONDS} s in turn. CPU time is what the kernel's \
         scheduler counted for the proxy, divided by the requests that were answered; a ratio is taken within each round, its \
         median and range told. Machines differ; ratios travel better than times.\n\n\
         Laneway decides the lane of every request (a group of ten lanes by content, the last one matches; in the mesh the lane \
         that `baggage` says), keeps metrics, and checks what it parses. Peers write no access log and have one worker; connections are kept on \
         both sides; all show one certificate (ECDSA, P-256), and TLS is 1.3 with AES-128-GCM in what is kept. The TCP forwarder looks at nothing: it \
         is the floor, nearly all of it the kernel's. Where nginx is asked to speak HTTP/2 to the upstream, it does so by `grpc_pass`.\n\n\
         Latency is of requests that are due at fixed times, whatever the answers do, each as late as its answer after it was \
         due; what a contender adds is its median less that without a proxy, of the same round. Memory is what 10 000 \
         connections that have done one request each add to a process that was just started (in one run, not in rounds), \
         and what it has then. Handshakes a second follow from the CPU time: the client has less than the proxy needs.\n\n\
         ## Targets\n\n| column | target | measured | |\n|---|---|---|---|\n"
    );
    let mut missed = 0;
    for measured in all {
        for target in measured.column.targets {
            for (aim, figure, is_met) in judged(measured, *target) {
                let verdict = match is_met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "",
                };
                missed += u32::from(is_met == Some(false));
                let _ =
                    writeln!(text, "| {} | {aim} | {figure} | {verdict} |", measured.column.title);
            }
        }
    }
    let _ = writeln!(text, "\nMissed: {missed}.");
    text.push_str(&ratios(all));
    text.push_str(&figures(all));
    text.push_str(&versions(all));
    if !not_run.is_empty() {
        text.push_str("\nNot run:\n\n");
        for why in not_run {
            let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(text, "- {line}");
        }
    }
    text
}

/// What is aimed at, what was measured, and whether that is met: one row, or one for each peer.
fn judged(measured: &Measured, target: Target) -> Vec<(String, String, Option<bool>)> {
    let relative = |base: &str, aim: String, met: &dyn Fn(f64) -> bool| {
        let spread = measured.relative_to(base);
        let figure = spread.map_or(NOT_RUN.to_owned(), Spread::ratio);
        (aim, figure, spread.map(|spread| met(spread.median)))
    };
    match target {
        Target::Times(base, most) => {
            vec![relative(base, format!("≤ {most} × {base}"), &|ratio| ratio <= most)]
        }
        Target::BelowPeers => peers()
            .map(|peer| relative(peer, format!("below {peer}"), &|ratio| ratio < 1.0))
            .collect(),
        Target::Most(most) => {
            let spread = measured.compared(LANEWAY).and_then(|all| Spread::of(all.into_iter()));
            let figure =
                spread.map_or(NOT_RUN.to_owned(), |spread| format!("**{:.1}**", spread.median));
            let aim = format!("≤ {most} {}", measured.column.load.units().0);
            vec![(aim, figure, spread.map(|spread| spread.median <= most))]
        }
    }
}

/// Proxies that are compared with Laneway.
fn peers() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(|name| ![DIRECT, FLOOR, LANEWAY].contains(name))
}

fn ratios(all: &[Measured]) -> String {
    let bases: Vec<&str> = [FLOOR].into_iter().chain(peers()).collect();
    let mut text = "\n## Laneway, relative to each\n\n| column |".to_owned();
    text.push_str(&bases.iter().map(|base| format!(" {base} |")).collect::<String>());
    text.push_str("\n|---|---|---|---|---|\n");
    for measured in all {
        let _ = write!(text, "| {} |", measured.column.title);
        for base in &bases {
            let cell = match measured.relative_to(base) {
                Some(spread) => spread.ratio(),
                None if *base == FLOOR => String::new(),
                None => NOT_RUN.to_owned(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

fn figures(all: &[Measured]) -> String {
    let mut text = "\n## Figures of this run, medians\n\n| column | unit |".to_owned();
    text.push_str(&NAMES.iter().map(|name| format!(" {name} |")).collect::<String>());
    text.push_str("\n|---|---|---|---|---|---|---|---|\n");
    for measured in all {
        let units = measured.column.load.units();
        let _ = write!(text, "| {} | {} ({}) |", measured.column.title, units.0, units.1);
        for name in NAMES {
            let of = |pick: fn(&Sample) -> f64| {
                measured.samples(name).and_then(|all| Spread::of(all.iter().map(pick)))
            };
            let cell = match (of(|sample| sample.first), of(|sample| sample.second)) {
                (Some(first), Some(second)) => {
                    format!("{:.2} ({:.0})", first.median, second.median)
                }
                _ => String::new(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

fn versions(all: &[Measured]) -> String {
    let mut text = "\n| contender | version |\n|---|---|\n".to_owned();
    for name in NAMES {
        let mut contenders = all.iter().flat_map(|measured| &measured.contenders);
        if let Some(contender) = contenders.find(|contender| contender.name == name) {
            let _ = writeln!(text, "| {name} | {} |", contender.version);
        }
    }
    text
}

/// The second contender relative to the first, in one line.
pub(super) fn compared(before: &[Sample], after: &[Sample]) -> String {
    let ratios = after.iter().zip(before).map(|(after, before)| after.first / before.first);
    let Some(Spread { median, low, high }) = Spread::of(ratios) else {
        return "no round was run".to_owned();
    };
    format!("CPU time per request, relative to before: {median:.3} (median; {low:.3} – {high:.3})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::column::named;

    fn samples(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|first| Sample { first: *first, second: 1.0 }).collect()
    }

    fn measured(column: &str, contenders: &[(&'static str, &[f64])]) -> Measured {
        let mut measured = Measured::new(named(column).unwrap());
        for (name, values) in contenders {
            measured.add(name, "1", samples(values));
        }
        measured
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The second round ran on a slower machine; the ratio is the same.
        let one = measured("h2-h1", &[(LANEWAY, &[1.0, 10.0]), ("nginx", &[2.0, 20.0])]);
        let text = render(&[one], 2, &[]);
        assert!(text.contains("| ≤ 0.55 × nginx | **0.50** (0.50 – 0.50) | met |"), "{text}");
        assert!(text.contains("| ≤ 1 × haproxy | not run |  |"), "{text}");
    }

    #[test]
    fn a_target_that_is_missed_is_said_and_counted() {
        let one = measured("h1-64-128", &[(LANEWAY, &[3.0]), (FLOOR, &[2.0]), ("nginx", &[3.0])]);
        let text = render(&[one], 1, &["envoy:\n no".to_owned()]);
        assert!(
            text.contains("| ≤ 1.12 × tcp-forwarder | **1.50** (1.50 – 1.50) | **missed** |"),
            "{text}"
        );
        assert!(text.contains("| below nginx | **1.00** (1.00 – 1.00) | **missed** |"), "{text}");
        assert!(text.contains("\nMissed: 2.\n") && text.contains("\n- envoy: no\n"), "{text}");
    }

    #[test]
    fn latency_is_compared_by_what_is_added() {
        let values: &[(&'static str, &[f64])] =
            &[(DIRECT, &[100.0, 200.0]), (LANEWAY, &[110.0, 215.0]), ("nginx", &[120.0, 230.0])];
        let spread = measured("latency", values).relative_to("nginx").unwrap();
        assert_eq!(spread, Spread { median: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn memory_is_measured_in_its_unit() {
        let text = render(&[measured("idle-h1", &[(LANEWAY, &[12.34])])], 1, &[]);
        assert!(text.contains("| ≤ 25 MB added | **12.3** | met |"), "{text}");
    }

    #[test]
    fn a_change_is_told_relative_to_before() {
        let text = compared(&samples(&[10.0, 20.0, 10.0]), &samples(&[11.0, 20.0, 10.1]));
        assert!(text.ends_with("before: 1.010 (median; 1.000 – 1.100)"), "{text}");
    }
}
