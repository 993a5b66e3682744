//! `laneway lane verdict`: whether a lane may go on, for people and pipelines.

use std::{
    process::ExitCode,
    time::{Duration, Instant, UNIX_EPOCH},
};

use api::{
    client::Client,
    rest::{StatisticsVerdict, VerdictApplication, VerdictState, VerdictWhat},
    time::rfc3339,
    write,
};
use clap::Args;

use crate::cli::{
    output::{self, Meant},
    server::{Format, LaneName, Output, find_lane},
};

/// The lane is worse than base.
const EXIT_WORSE: u8 = 3;

/// There were too few requests to say.
const EXIT_TOO_LITTLE: u8 = 4;

/// How often it is asked again while it is waited for: as often as lanes are judged.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// The arguments of `laneway lane verdict`.
#[derive(Debug, Args)]
pub(crate) struct Verdict {
    /// The lane
    #[arg(value_name = "GROUP/TAG")]
    lane: LaneName,
    /// How long ago to begin, 1s to 24h, or when: a time such as 2026-11-24T06:30:00Z, or now. Default: since the lane was enabled
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many more errors matter, in percent of requests
    #[arg(long, value_name = "PERCENT", default_value = "1")]
    errors: String,
    /// How many more answers slower than 95 % of base's matter, in percent of requests
    #[arg(long, value_name = "PERCENT", default_value = "10")]
    slow: String,
    /// While there is too little traffic to say, wait so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(
    client: &Client,
    verb: &Verdict,
    namespace: &str,
) -> anyhow::Result<ExitCode> {
    let lane = find_lane(client, &verb.lane, namespace).await?;
    let mut query = vec![("errors", verb.errors.clone()), ("slow", verb.slow.clone())];
    query.extend(verb.since.clone().map(|since| ("since", since)));
    let until = Instant::now() + Duration::from_secs(verb.wait.into());
    let verdict = loop {
        let ask = client.statistics_verdict(&lane.spec.group, lane.tag_text(), &query);
        let asked = ask.await;
        let left = until.saturating_duration_since(Instant::now());
        let verdict = match asked {
            Ok(verdict) => verdict,
            // A control plane that restarts is back before long.
            Err(error) if error.is_passing() && !left.is_zero() => {
                tokio::time::sleep(left.min(ASKED_EVERY)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // What is waited for begins when it did at first: a window that moved on would be looked at anew each time.
        if let Some((_, since)) = query.iter_mut().find(|(name, _)| *name == "since") {
            *since = rfc3339(UNIX_EPOCH + Duration::from_secs(verdict.since));
        }
        if verdict.state != VerdictState::TooLittle || left.is_zero() {
            break verdict;
        }
        tokio::time::sleep(left.min(ASKED_EVERY)).await;
    };
    match verb.output.output {
        Format::Json => output::line(write::json_of(&verdict)),
        Format::Yaml => output::text(&write::yaml_of(&verdict)),
        Format::Table => output::text(&told(&verdict)),
    }
    Ok(match verdict.state {
        VerdictState::NoWorse => ExitCode::SUCCESS,
        VerdictState::Worse | VerdictState::PassedOn => ExitCode::from(EXIT_WORSE),
        VerdictState::TooLittle => ExitCode::from(EXIT_TOO_LITTLE),
    })
}

/// The verdict in words, and what it rests on.
fn told(verdict: &StatisticsVerdict) -> String {
    let is_worse = verdict.state == VerdictState::Worse;
    let reason = &verdict.reason;
    let mut text = if is_worse { output::word(reason, Meant::Badly) } else { reason.clone() };
    text.push('\n');
    if !verdict.applications.is_empty() {
        let heading = ["APPLICATION", "VERDICT", "REQUESTS", "BASE", "MORE ERRORS", "MORE SLOW"];
        let rows: Vec<Vec<String>> = verdict.applications.iter().map(row).collect();
        text.push('\n');
        text.push_str(&output::table(&heading, &rows));
    }
    text
}

fn row(it: &VerdictApplication) -> Vec<String> {
    let what = it.worse.as_ref().map_or("", |worse| match worse.what {
        VerdictWhat::Errors => ": errors",
        VerdictWhat::Slow => ": slow",
    });
    let state = match it.state {
        VerdictState::NoWorse => "no worse".to_owned(),
        VerdictState::Worse => format!("worse{what}"),
        VerdictState::PassedOn => format!("passed on{what}"),
        VerdictState::TooLittle => {
            format!("too little: about {} needed", it.needed.unwrap_or_default())
        }
    };
    let range = |of: Option<[f64; 2]>| match of {
        Some([low, high]) => format!("{:+.1} to {:+.1} %", low * 100.0, high * 100.0),
        None => "-".to_owned(),
    };
    vec![
        it.application.clone(),
        state,
        it.requests.to_string(),
        it.base_requests.to_string(),
        range(it.errors_range),
        range(it.slow_range),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_stands_above_what_it_rests_on() {
        let application = VerdictApplication {
            application: "app-c".to_owned(),
            state: VerdictState::TooLittle,
            requests: 38,
            base_requests: 700,
            needed: Some(400),
            errors_range: Some([-0.012, 0.034]),
            ..VerdictApplication::default()
        };
        let verdict = StatisticsVerdict {
            reason: "too little traffic to say: 38 of about 400 needed, for app-c".to_owned(),
            applications: vec![application],
            ..StatisticsVerdict::default()
        };
        let expected = "\
too little traffic to say: 38 of about 400 needed, for app-c

APPLICATION  VERDICT                       REQUESTS  BASE  MORE ERRORS     MORE SLOW
app-c        too little: about 400 needed  38        700   -1.2 to +3.4 %  -
";
        assert_eq!(told(&verdict), expected);
    }
}
