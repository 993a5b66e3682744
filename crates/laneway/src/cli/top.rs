//! `laneway top`: what passes now, by lane and application.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use api::{
    rest::{StatisticsBasis, StatisticsKeeper, StatisticsRow, StatisticsTop},
    write,
};
use clap::Args;

use super::{
    output::{self, Meant},
    server::{Format, Output, Server},
};

/// How often the table is drawn anew: as often as data planes report.
const DRAWN_EVERY: Duration = Duration::from_secs(1);

/// From this share of errors on a figure is red.
const BAD_RATIO: f64 = 0.01;

/// The arguments of `laneway top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// A lane group: its lanes, and base of its applications. Default: all that passes
    group: Option<String>,
    /// Only this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Of how long until now figures are, e.g. 10s, 5m, 24h
    #[arg(long, value_name = "TIME", default_value = "10s")]
    window: String,
    /// Show it once and end; so does what is not shown on a terminal, or is no table
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb: until it is interrupted, or once.
pub(crate) async fn run(verb: Top) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let is_table = verb.output.output == Format::Table;
    let is_live = is_table && !verb.once && std::io::stdout().is_terminal();
    let mut has_shown = false;
    loop {
        let asked = (verb.group.as_deref(), verb.application.as_deref());
        let top = match client.statistics_top(asked.0, asked.1, &verb.window).await {
            Ok(top) => top,
            // It is about to be back.
            Err(error) if is_live && has_shown => {
                output::error(&error);
                tokio::time::sleep(DRAWN_EVERY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        has_shown = true;
        match verb.output.output {
            Format::Json => output::line(write::json_of(&top)),
            Format::Yaml => output::text(&write::yaml_of(&top)),
            Format::Table => {
                if is_live {
                    output::text(CLEAR);
                }
                output::text(&told(&top));
            }
        }
        if !is_live {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(DRAWN_EVERY).await;
    }
}

/// To the first place, and nothing from there on.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// The whole table.
fn told(top: &StatisticsTop) -> String {
    let rows: Vec<Vec<String>> = top.rows.iter().map(row).collect();
    let heading = [
        "LANE",
        "APPLICATION",
        "REQ/S",
        "ERRORS",
        "P50",
        "P95",
        "P99",
        "FALLBACK",
        "UNSERVED",
        "IN FLIGHT",
    ];
    let mut text = output::table(&heading, &rows);
    if rows.is_empty() {
        text.push_str("no request in this window\n");
    }
    text.push('\n');
    text.push_str(&basis(&top.basis));
    text
}

/// Of what the figures are.
fn basis(basis: &StatisticsBasis) -> String {
    let StatisticsBasis { from, until, requests, data_planes, silent_data_planes, kept_by, .. } =
        basis;
    let planes = if *data_planes == 1 { "data plane" } else { "data planes" };
    let mut text =
        format!("{requests} requests in {} s, as {data_planes} {planes} counted", until - from);
    if *silent_data_planes > 0 {
        text.push_str(&format!("; {silent_data_planes} more report nothing"));
    }
    if *kept_by == StatisticsKeeper::Prometheus {
        text.push_str("; kept by Prometheus");
    }
    text.push('\n');
    text
}

fn row(row: &StatisticsRow) -> Vec<String> {
    let StatisticsRow { group, lane, application, figures, fallback, unserved, in_flight, .. } =
        row;
    let lane = if lane.is_empty() { "base".to_owned() } else { format!("{group}/{lane}") };
    let application = if application.is_empty() { "-" } else { application };
    let errors = match figures.error_ratio {
        None => "-".to_owned(),
        Some(ratio) => {
            let text = format!("{:.1} %", ratio * 100.0);
            if ratio >= BAD_RATIO { output::word(&text, Meant::Badly) } else { text }
        }
    };
    let milliseconds = |it: Option<f64>| it.map_or("-".to_owned(), span);
    let count = |it: u64| if it == 0 { String::new() } else { it.to_string() };
    vec![
        lane,
        application.to_owned(),
        format!("{:.1}", figures.requests_per_second),
        errors,
        milliseconds(figures.p50_ms),
        milliseconds(figures.p95_ms),
        milliseconds(figures.p99_ms),
        count(*fallback),
        count(*unserved),
        in_flight.map_or("-".to_owned(), |it| it.to_string()),
    ]
}

/// Milliseconds, as exact as they are known.
fn span(milliseconds: f64) -> String {
    match milliseconds {
        it if it < 10.0 => format!("{it:.1} ms"),
        it if it < 10_000.0 => format!("{it:.0} ms"),
        it => format!("{:.1} s", it / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use api::rest::StatisticsFigures;

    use super::*;

    #[test]
    fn figures_stand_with_what_they_are_of() {
        let figures = StatisticsFigures {
            requests: 310,
            requests_per_second: 31.0,
            errors: 10,
            error_ratio: Some(0.0323),
            error_ratio_range: Some([0.02, 0.05]),
            p50_ms: Some(3.21),
            p95_ms: Some(47.4),
            p99_ms: Some(12_000.0),
        };
        let gray = StatisticsRow {
            group: "trade".to_owned(),
            lane: "gray".to_owned(),
            application: "spring-cloud-c".to_owned(),
            counted_by: "application".to_owned(),
            figures,
            fallback: 2,
            unserved: 0,
            in_flight: Some(4),
        };
        let base =
            StatisticsRow { application: "spring-cloud-c".to_owned(), ..StatisticsRow::default() };
        let basis = StatisticsBasis {
            from: 100,
            until: 110,
            requests: 310,
            data_planes: 1,
            silent_data_planes: 2,
            ..StatisticsBasis::default()
        };
        let top = StatisticsTop { basis, rows: vec![gray, base], processes: Vec::new() };
        let expected = "\
LANE        APPLICATION     REQ/S  ERRORS  P50     P95    P99     FALLBACK  UNSERVED  IN FLIGHT
trade/gray  spring-cloud-c  31.0   3.2 %   3.2 ms  47 ms  12.0 s  2                   4
base        spring-cloud-c  0.0    -       -       -      -                           -

310 requests in 10 s, as 1 data plane counted; 2 more report nothing
";
        assert_eq!(told(&top), expected);
        let nothing = told(&StatisticsTop::default());
        assert!(nothing.starts_with("no request in this window\n"), "{nothing}");
    }
}
