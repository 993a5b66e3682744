//! `laneway tap`: single requests of a lane as they pass, each with its hops.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use api::{
    client::Lines,
    resource::one_line,
    rest::{TapEvent, TapStatus, TappedHop, TappedRequest},
    write,
};
use clap::Args;

use super::{
    EXIT_FAILED, output,
    output::Meant,
    server::{Format, Output, Server},
};

/// What base is called where a lane is named.
const BASE: &str = "base";

/// The arguments of `laneway tap`.
#[derive(Debug, Args)]
pub(crate) struct Tap {
    /// The lane; `GROUP/base`, or GROUP with --base, is base of the group's applications
    #[arg(value_name = "GROUP/TAG")]
    lane: String,
    /// Watch base
    #[arg(long)]
    base: bool,
    /// Only requests that reach this application; they are shown whole
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Requests a second, 1 to 100. Where more pass a share of them is shown, all hops of each. Default: 20
    #[arg(long, value_name = "NUMBER", value_parser = number::<1, 100>, allow_negative_numbers = true)]
    rate: Option<u32>,
    /// End after so many requests
    #[arg(long, value_name = "NUMBER", value_parser = number::<1, COUNT_MAX>, allow_negative_numbers = true)]
    count: Option<u32>,
    /// End after so many seconds; with --count and fewer requests the exit code is 1
    #[arg(long, value_name = "SECONDS", value_parser = number::<1, 86_400>, allow_negative_numbers = true)]
    duration: Option<u32>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Requests after which a tap that is told to end has ended: more than it shows in a year.
const COUNT_MAX: u32 = u32::MAX;

/// A whole number in these bounds.
fn number<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| match MOST {
        COUNT_MAX => format!("use a whole number from {LEAST}"),
        _ => format!("use a whole number from {LEAST} to {MOST}"),
    })
}

impl Tap {
    /// The group, and the lane's tag or `base`.
    fn named(&self) -> anyhow::Result<(&str, &str)> {
        let is_name = |text: &str| !text.is_empty() && !text.contains('/');
        match (self.lane.split_once('/'), self.base) {
            (Some((group, tag)), false) if is_name(group) && is_name(tag) => Ok((group, tag)),
            (Some((group, BASE)), true) if is_name(group) => Ok((group, BASE)),
            (None, true) if is_name(&self.lane) => Ok((&self.lane, BASE)),
            (Some(_), true) => bail!("`{}`: write GROUP alone with --base", self.lane),
            _ => bail!("`{}`: write GROUP/TAG, e.g. trade/gray, or GROUP with --base", self.lane),
        }
    }
}

/// Runs the verb: until it is interrupted, or has shown enough.
pub(crate) async fn run(verb: Tap) -> anyhow::Result<ExitCode> {
    let (group, tag) = verb.named()?;
    let client = verb.server.client()?;
    let lines = client.tap(group, tag, verb.application.as_deref(), verb.rate).await?;
    let shown = show(lines, verb.output.output, verb.count.map_or(u64::MAX, u64::from));
    let ended = match verb.duration {
        None => shown.await?,
        Some(seconds) => {
            match tokio::time::timeout(Duration::from_secs(seconds.into()), shown).await {
                Ok(ended) => ended?,
                Err(_) if verb.count.is_some() => return Ok(ExitCode::from(EXIT_FAILED)),
                Err(_) => return Ok(ExitCode::SUCCESS),
            }
        }
    };
    match ended {
        Ended::Enough => Ok(ExitCode::SUCCESS),
        Ended::Over(why) => bail!("the tap is over: {}", one_line(&why)),
        Ended::Told => {
            bail!("the control plane at {} ended the tap; start it again", client.server())
        }
    }
}

enum Ended {
    /// As many as were wanted were shown.
    Enough,
    /// The control plane tells no more.
    Told,
    /// The same, and why.
    Over(String),
}

async fn show(mut lines: Lines<TapEvent>, format: Format, count: u64) -> anyhow::Result<Ended> {
    let mut shown = 0;
    let mut stood = None;
    while let Some(event) = lines.next().await? {
        match format {
            // One line an event, for programs.
            Format::Json => output::line(serde_json::to_string(&event)?),
            Format::Yaml => output::text(&format!("---\n{}", write::yaml_of(&event))),
            Format::Table => {
                if let Some(status) = &event.status {
                    let words = stands(stood.as_ref(), status);
                    if !words.is_empty() {
                        output::aside(words);
                    }
                    stood = Some(status.clone());
                }
                if let Some(request) = &event.request {
                    output::text(&told(request));
                }
            }
        }
        if !event.ended.is_empty() {
            return Ok(Ended::Over(event.ended));
        }
        shown += u64::from(event.request.is_some());
        if shown >= count {
            return Ok(Ended::Enough);
        }
    }
    Ok(Ended::Told)
}

/// How much of what passes is shown: all that is worth saying at first, then what is otherwise than before.
fn stands(before: Option<&TapStatus>, now: &TapStatus) -> String {
    let TapStatus { share, data_planes, silent_data_planes, dropped, missed, excess, excess_of } =
        now;
    let is_other = |of: fn(&TapStatus) -> u64| before.is_none_or(|before| of(before) != of(now));
    let mut words = Vec::new();
    if is_other(|it| u64::from(it.data_planes) << 32 | u64::from(it.silent_data_planes)) {
        words.push(match data_planes {
            0 => "no data plane tells".to_owned(),
            1 => "1 data plane tells".to_owned(),
            several => format!("{several} data planes tell"),
        });
        if *silent_data_planes > 0 {
            words
                .push(format!("{silent_data_planes} cannot (Java agents, or of an older release)"));
        }
    }
    if before.map_or(1.0, |before| before.share) != *share {
        words.push(match share {
            share if *share >= 1.0 => "every request is shown".to_owned(),
            share => format!("more pass than are shown: about 1 of {:.0}", 1.0 / share),
        });
    }
    let so_many = |number: &u64, what: &str| match number {
        1 => format!("1 {what} was"),
        several => format!("{several} {what}s were"),
    };
    if *dropped > 0 && is_other(|it| it.dropped) {
        words.push(format!("{} dropped by data planes so far", so_many(dropped, "record")));
    }
    if *missed > 0 && is_other(|it| it.missed) {
        words.push(format!("{} not shown so far", so_many(missed, "request")));
    }
    if *excess > 0 && is_other(|it| it.excess) {
        let records = so_many(excess, "record");
        let who = one_line(excess_of);
        words.push(format!(
            "{records} not taken so far, because {who} tells more than one data plane may"
        ));
    }
    words.join("; ")
}

/// A line for a request, and one for each hop.
fn told(request: &TappedRequest) -> String {
    let TappedRequest { id, time, method, host, path, lanes, status, duration_ms, hops } = request;
    let clock = time.get(11..23).unwrap_or(time);
    let lanes = if lanes.is_empty() { BASE.to_owned() } else { lanes.join(",") };
    let status = shown_status(*status);
    let id = output::word(&one_line(id), Meant::Aside);
    // All of it but colours is somebody's words.
    let what = format!("{clock}  {lanes}  {method} {host}{path}");
    let what = one_line(&what);
    let mut text = format!("{what}  {status}  {}  {id}\n", span(*duration_ms));
    for hop in hops {
        text.push_str(&told_hop(hop));
        text.push('\n');
    }
    text
}

fn told_hop(hop: &TappedHop) -> String {
    let indent = "  ".repeat(1 + hop.depth as usize);
    let tagged = |name: &str, tag: &str| match (name, tag) {
        ("", _) => "?".to_owned(),
        (name, "") => format!("{name} {BASE}"),
        (name, tag) => format!("{name} {tag}"),
    };
    let caller =
        if hop.by_gateway { hop.caller.clone() } else { tagged(&hop.caller, &hop.caller_tag) };
    let called = tagged(&hop.application, &hop.tag);
    let outcome = match hop.outcome.as_str() {
        it @ ("failed" | "cut" | "denied") => output::word(it, Meant::Badly),
        it @ "lane" => output::word(it, Meant::Well),
        it => one_line(it).into_owned(),
    };
    let lanes =
        if hop.lanes.is_empty() { String::new() } else { format!(" in {}", hop.lanes.join(",")) };
    let instance = if hop.instance.is_empty() { "no instance" } else { &hop.instance };
    let served = hop.served_ms.map(|it| format!(" (served in {})", span(it))).unwrap_or_default();
    let reason = if hop.reason.is_empty() { String::new() } else { format!("  {}", hop.reason) };
    let (status, took) = (shown_status(hop.status), span(hop.duration_ms));
    let names = format!("{caller} -> {called} {instance}{lanes}");
    let names = one_line(&names);
    format!("{indent}{names}  {outcome}  {status}  {took}{served}{}", one_line(&reason))
}

fn shown_status(status: u16) -> String {
    match status {
        0 => output::word("-", Meant::Badly),
        it if it >= 500 => output::word(&it.to_string(), Meant::Badly),
        it => it.to_string(),
    }
}

/// Milliseconds, as exact as is of use.
fn span(milliseconds: f64) -> String {
    match milliseconds {
        it if it < 100.0 => format!("{it:.1} ms"),
        it if it < 10_000.0 => format!("{it:.0} ms"),
        it => format!("{:.1} s", it / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    fn parsed(line: &str) -> Result<(String, String), String> {
        let words = line.split(' ').map(Into::into).collect::<Vec<_>>();
        let Ok(Command::Tap(tap)) = crate::cli::read(&words) else {
            return Err("usage".to_owned());
        };
        let named = tap.named().map_err(|error| error.to_string())?;
        Ok((named.0.to_owned(), named.1.to_owned()))
    }

    #[test]
    fn a_lane_or_base_of_a_group_is_named() {
        let pair = |group: &str, lane: &str| Ok((group.to_owned(), lane.to_owned()));
        assert_eq!(parsed("laneway tap trade/gray"), pair("trade", "gray"));
        for base in ["trade --base", "trade/base", "trade/base --base"] {
            assert_eq!(parsed(&format!("laneway tap {base}")), pair("trade", "base"), "{base}");
        }
        for wrong in ["trade", "trade/", "/gray", "a/b/c", "trade/gray --base", "/ --base"] {
            let error = parsed(&format!("laneway tap {wrong}")).unwrap_err();
            assert!(error.contains("GROUP"), "{wrong}: {error}");
        }
        for (wrong, remedy) in [
            ("--rate 0", "use a whole number from 1 to 100\n"),
            ("--rate 101", "use a whole number from 1 to 100\n"),
            ("--rate -1", "use a whole number from 1 to 100\n"),
            ("--rate x", "use a whole number from 1 to 100\n"),
            ("--count 0", "use a whole number from 1\n"),
            ("--duration -5", "use a whole number from 1 to 86400\n"),
        ] {
            let line = format!("laneway tap a/b {wrong}");
            let words = line.split(' ').map(Into::into).collect::<Vec<_>>();
            let Err(crate::cli::Unreadable::Usage(error)) = crate::cli::read(&words) else {
                panic!("{wrong} is taken");
            };
            let said = error.to_string();
            assert!(said.contains(remedy) && !said.contains("tip:"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_request_is_a_line_and_each_hop_one_further_in() {
        let hop = |depth, caller: &str, application: &str, tag: &str, outcome: &str| TappedHop {
            depth,
            caller: caller.to_owned(),
            by_gateway: depth == 0,
            application: application.to_owned(),
            instance: "127.0.0.1:80".to_owned(),
            tag: tag.to_owned(),
            lanes: vec!["trade/gray".to_owned()],
            outcome: outcome.to_owned(),
            status: 200,
            duration_ms: 3.21,
            served_ms: (depth == 0).then_some(123.4),
            ..TappedHop::default()
        };
        let failed = TappedHop {
            status: 503,
            instance: String::new(),
            reason: "no usable\ninstance".to_owned(),
            ..hop(2, "b", "c", "", "failed")
        };
        let request = TappedRequest {
            id: "17".to_owned(),
            time: "2026-11-24T06:30:00.042Z".to_owned(),
            method: "GET".to_owned(),
            host: "shop".to_owned(),
            path: "/a?user=***".to_owned(),
            lanes: vec!["trade/gray".to_owned()],
            status: 200,
            duration_ms: 12_345.0,
            hops: vec![
                hop(0, "edge", "a", "gray", "lane"),
                hop(1, "a", "b", "", "fallback"),
                failed,
            ],
        };
        let expected = "\
06:30:00.042  trade/gray  GET shop/a?user=***  200  12.3 s  17
  edge -> a gray 127.0.0.1:80 in trade/gray  lane  200  3.2 ms (served in 123 ms)
    a base -> b base 127.0.0.1:80 in trade/gray  fallback  200  3.2 ms
      b base -> c base no instance in trade/gray  failed  503  3.2 ms  no usable\\ninstance
";
        assert_eq!(told(&request), expected);
        let forged = "\x1b]0;x\x07\u{202e}";
        let hop =
            TappedHop { outcome: forged.to_owned(), ..hop(0, forged, forged, forged, forged) };
        let lanes = vec![forged.to_owned()];
        let time = format!("2026-11-24T{forged}06:30:00.042Z");
        let forged = TappedRequest {
            id: forged.to_owned(),
            time,
            host: forged.to_owned(),
            lanes,
            hops: vec![hop],
            ..request.clone()
        };
        let forged = told(&forged);
        assert!(!forged.contains(['\x1b', '\x07', '\u{202e}']), "{forged:?}");
        let nothing = told(&TappedRequest { hops: vec![TappedHop::default()], ..request });
        assert!(nothing.contains("  ? -> ? no instance    -  0.0 ms\n"), "{nothing}");
    }

    #[test]
    fn how_much_is_shown_is_said_when_it_changes() {
        let first = TapStatus { share: 1.0, data_planes: 7, ..TapStatus::default() };
        assert_eq!(stands(None, &first), "7 data planes tell");
        let then = TapStatus { share: 0.04, silent_data_planes: 2, dropped: 9, ..first.clone() };
        let expected = "7 data planes tell; 2 cannot (Java agents, or of an older release); \
                        more pass than are shown: about 1 of 25; 9 records were dropped by data planes so far";
        assert_eq!(stands(Some(&first), &then), expected);
        let again = TapStatus { share: 1.0, missed: 1, ..then.clone() };
        let expected = "every request is shown; 1 request was not shown so far";
        assert_eq!(stands(Some(&then), &again), expected);
        let spoilt = TapStatus { excess: 3, excess_of: "sc-b (n\x1b)".to_owned(), ..again.clone() };
        let said = stands(Some(&again), &spoilt);
        assert!(said.starts_with("3 records were not taken so far, because sc-b (n"), "{said}");
        assert!(said.ends_with(" tells more than one data plane may") && !said.contains('\x1b'));
    }
}
