//! `laneway lane promote`: the way of a lane's version into base, for people and pipelines.

use std::process::ExitCode;

use anyhow::bail;
use api::{
    client::Client,
    resource::Key,
    rest::{
        PromotionCheck, PromotionCheckState, PromotionNextRequest, PromotionOutcome,
        PromotionRequest, PromotionStatus, PromotionStep, PromotionStepState,
    },
    write,
};
use clap::Args;

use crate::cli::{
    output::{self, Meant},
    server::{Format, LaneName, Output, find_lane},
};

/// Somebody else's change has stopped the promotion, or it was abandoned.
const EXIT_ENDED: u8 = 3;

/// Something stands in the way of the next step.
const EXIT_WAITING: u8 = 4;

/// The arguments of `laneway lane promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The lane
    #[arg(value_name = "GROUP/TAG")]
    lane: LaneName,
    /// Go on to the next step, from STEP: refused where the promotion is at another, so that a command sent twice goes on
    /// once. Without STEP from whatever step it is at
    #[arg(long, value_name = "STEP", num_args = 0..=1, value_parser = step_of, conflicts_with_all = ["abandon", "check"])]
    next: Option<Option<PromotionStep>>,
    /// With --next: vouch for a check that does not hold or cannot be known, by its id, or `all` of them
    #[arg(long, value_name = "CHECK", requires = "next")]
    confirm: Vec<String>,
    /// End it; a lane that it has paused is resumed, nothing else is changed
    #[arg(long, conflicts_with = "check")]
    abandon: bool,
    /// Show, begin nothing. Exit code 0: the next step may follow, or the lane is promoted; 3: it was abandoned, or somebody
    /// else's change has stopped it; 4: something stands in the way
    #[arg(long)]
    check: bool,
    /// To begin with: how many seconds without a request make the lane empty, 1 to 600; as long as the longest request.
    /// Default: 30
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["next", "abandon", "check"])]
    idle_seconds: Option<u32>,
    /// Begin another where the last was stopped or abandoned
    #[arg(long, conflicts_with_all = ["next", "abandon", "check"])]
    anew: bool,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(
    client: &Client,
    verb: &Promote,
    namespace: &str,
) -> anyhow::Result<ExitCode> {
    let known = known(client, &verb.lane, namespace).await?;
    let going_on = || match &known {
        Some(known) => Ok(known),
        None => {
            bail!("lane {} is not being promoted: `laneway lane promote {0}` begins", verb.lane)
        }
    };
    let status = if verb.abandon {
        client.abandon_promotion(&going_on()?.lane).await?
    } else if let Some(from) = verb.next {
        let PromotionStatus { lane, step, .. } = going_on()?;
        let step = from.unwrap_or(*step);
        let request = PromotionNextRequest { step, confirm: verb.confirm.clone() };
        client.go_on_promoting(lane, &request).await?
    } else if verb.check {
        client.promotion(&going_on()?.lane).await?
    } else {
        show_or_begin(client, verb, known, namespace).await?
    };
    match verb.output.output {
        Format::Json => output::line(write::json_of(&status)),
        Format::Yaml => output::text(&write::yaml_of(&status)),
        Format::Table => output::text(&told(&status, namespace)),
    }
    Ok(if verb.check { exit_code(&status) } else { ExitCode::SUCCESS })
}

fn step_of(text: &str) -> Result<PromotionStep, String> {
    let found = PromotionStep::ALL.into_iter().find(|it| it.word() == text);
    found.ok_or_else(|| {
        let words = PromotionStep::ALL.map(PromotionStep::word);
        format!("is no step: use one of {}", words.join(", "))
    })
}

/// Shows a promotion that goes on; else begins one.
async fn show_or_begin(
    client: &Client,
    verb: &Promote,
    known: Option<PromotionStatus>,
    namespace: &str,
) -> anyhow::Result<PromotionStatus> {
    if let Some(known) = known.filter(|it| it.end.is_none()) {
        let status = client.promotion(&known.lane).await?;
        let said = [("--idle-seconds", verb.idle_seconds.is_some()), ("--anew", verb.anew)];
        if let Some((option, _)) = said.iter().find(|(_, is_said)| *is_said)
            && status.end.is_none()
        {
            bail!(
                "lane {} is being promoted already: {option} is said at its beginning",
                verb.lane
            );
        }
        return Ok(status);
    }
    let lane: Key = find_lane(client, &verb.lane, namespace).await?.key();
    let request = PromotionRequest { idle_seconds: verb.idle_seconds, anew: verb.anew };
    Ok(client.start_promotion(&lane, &request).await?)
}

/// The promotion of a lane as people call it; the lane itself may be gone. What goes on is meant before what has ended.
async fn known(
    client: &Client,
    lane: &LaneName,
    namespace: &str,
) -> anyhow::Result<Option<PromotionStatus>> {
    let all = client.promotions().await?;
    let of_it = all.into_iter().filter(|it| {
        it.lane.namespace == namespace && it.group == lane.group && it.tag == lane.tag
    });
    let started = |it: &PromotionStatus| (it.end.is_none(), it.started.clone());
    Ok(of_it.max_by_key(started))
}

fn exit_code(status: &PromotionStatus) -> ExitCode {
    match &status.end {
        Some(end) if end.outcome == PromotionOutcome::Promoted => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(EXIT_ENDED),
        None if status.checks().iter().all(|it| it.state == PromotionCheckState::Ok) => {
            ExitCode::SUCCESS
        }
        None => ExitCode::from(EXIT_WAITING),
    }
}

/// What a step is, in words.
fn title(step: PromotionStep) -> &'static str {
    match step {
        PromotionStep::Verdict => "the lane is no worse than base",
        PromotionStep::Base => "base gets the lane's version; the lane stays open",
        PromotionStep::Health => "base is healthy with it",
        PromotionStep::Drain => "the entrances are closed (paused), and the lane drains",
        PromotionStep::Remove => "the lane is deleted",
    }
}

/// How a promotion stands, and what to do next.
fn told(status: &PromotionStatus, namespace: &str) -> String {
    let PromotionStatus { group, tag, started, started_by, .. } = status;
    let applications = status.applications.join(", ");
    let mut text = format!(
        "promotion of {group}/{tag} to base, begun by {started_by} at {started}\napplications  {applications}\n\n"
    );
    for (number, step) in status.steps.iter().enumerate() {
        let mark = match step.state {
            PromotionStepState::Done => "done",
            PromotionStepState::Current => "now",
            PromotionStepState::Later => "",
        };
        let (number, word, title) = (number + 1, step.step.word(), title(step.step));
        text.push_str(&format!("{mark:<5} {number} {word:<8} {title}\n"));
        for check in &step.checks {
            let (state, PromotionCheck { message, id, .. }) = (state(check), check);
            text.push_str(&format!("        {state}: {message} ({id})\n"));
        }
    }
    text.push('\n');
    text.push_str(&then(status, namespace));
    text
}

fn state(check: &PromotionCheck) -> String {
    match check.state {
        PromotionCheckState::Ok => output::word("ok", Meant::Well),
        PromotionCheckState::Waiting => "waiting".to_owned(),
        PromotionCheckState::Unknown => "confirm".to_owned(),
        PromotionCheckState::Failed => output::word("failed", Meant::Badly),
    }
}

/// What to do next.
fn then(status: &PromotionStatus, namespace: &str) -> String {
    if let Some(end) = &status.end {
        let outcome = match end.outcome {
            PromotionOutcome::Promoted => output::word("promoted", Meant::Well),
            PromotionOutcome::Abandoned => "abandoned".to_owned(),
            PromotionOutcome::Stopped => output::word("stopped", Meant::Badly),
        };
        let left: String = end.left.iter().map(|it| format!("  still there: {it}\n")).collect();
        let shared: String =
            end.shared.iter().map(|it| format!("  used by other groups: {it}\n")).collect();
        return format!("{outcome}: {}\n{left}{shared}", end.message);
    }
    let in_the_way: Vec<&PromotionCheck> =
        (status.checks().iter()).filter(|it| it.state != PromotionCheckState::Ok).collect();
    let confirm: String = (in_the_way.iter().filter(|it| it.confirmable))
        .map(|it| format!(" --confirm {}", it.id))
        .collect();
    let of = if namespace == api::resource::DEFAULT_NAMESPACE {
        String::new()
    } else {
        format!(" -n {namespace}")
    };
    let command = format!("laneway lane promote {}/{}{of}", status.group, status.tag);
    let does = match status.step {
        PromotionStep::Health => ", which pauses the lane",
        PromotionStep::Remove => ", which deletes the lane",
        PromotionStep::Verdict | PromotionStep::Base | PromotionStep::Drain => "",
    };
    let must_wait = in_the_way.iter().any(|it| !it.confirmable);
    let next = if must_wait {
        "next: wait for what cannot be confirmed; then".to_owned()
    } else if in_the_way.is_empty() {
        "next:".to_owned()
    } else {
        "next, when it holds or you vouch for it:".to_owned()
    };
    let step = status.step.word();
    format!("{next} {command} --next {step}{confirm}{does}\nor: {command} --abandon\n")
}

#[cfg(test)]
mod tests {
    use api::{
        resource::Kind,
        rest::{Author, AuthorKind, PromotionCheckKind, PromotionEnd, PromotionStepStatus},
    };

    use super::*;

    fn check(id: &str, state: PromotionCheckState, confirmable: bool) -> PromotionCheck {
        PromotionCheck {
            id: id.to_owned(),
            kind: PromotionCheckKind::Instances,
            application: None,
            state,
            confirmable,
            n: 0,
            of: 2,
            message: format!("words of {id}"),
        }
    }

    fn at_base(checks: Vec<PromotionCheck>) -> PromotionStatus {
        let step = |step: PromotionStep| PromotionStepStatus {
            step,
            state: match step {
                PromotionStep::Verdict => PromotionStepState::Done,
                PromotionStep::Base => PromotionStepState::Current,
                _ => PromotionStepState::Later,
            },
            checks: if step == PromotionStep::Base { checks.clone() } else { Vec::new() },
            confirmed: Vec::new(),
        };
        PromotionStatus {
            lane: Key::new(Kind::Lane, "shop", "trade-gray"),
            group: "trade".to_owned(),
            tag: "gray".to_owned(),
            applications: vec!["app-a".to_owned()],
            started: "2026-11-24T06:30:00Z".to_owned(),
            started_by: Author { kind: AuthorKind::User, name: "li".to_owned() },
            step: PromotionStep::Base,
            steps: PromotionStep::ALL.into_iter().map(step).collect(),
            end: None,
        }
    }

    #[test]
    fn it_says_what_is_checked_and_what_to_do_next() {
        let checks = vec![
            check("instances/app-a", PromotionCheckState::Waiting, true),
            check("version", PromotionCheckState::Unknown, true),
        ];
        let expected = "\
promotion of trade/gray to base, begun by li at 2026-11-24T06:30:00Z
applications  app-a

done  1 verdict  the lane is no worse than base
now   2 base     base gets the lane's version; the lane stays open
        waiting: words of instances/app-a (instances/app-a)
        confirm: words of version (version)
      3 health   base is healthy with it
      4 drain    the entrances are closed (paused), and the lane drains
      5 remove   the lane is deleted

next, when it holds or you vouch for it: laneway lane promote trade/gray -n shop --next base --confirm instances/app-a --confirm version
or: laneway lane promote trade/gray -n shop --abandon
";
        assert_eq!(told(&at_base(checks), "shop"), expected);
        let must_wait = at_base(vec![check("closed", PromotionCheckState::Waiting, false)]);
        assert!(then(&must_wait, "default").starts_with("next: wait for what cannot be confirmed"));
        let holds = at_base(vec![check("x", PromotionCheckState::Ok, true)]);
        assert!(
            then(&holds, "default")
                .starts_with("next: laneway lane promote trade/gray --next base\n")
        );
    }

    #[test]
    fn the_end_is_told_with_what_is_left() {
        let mut status = at_base(Vec::new());
        status.end = Some(PromotionEnd {
            outcome: PromotionOutcome::Promoted,
            time: String::new(),
            message: "li promoted it".to_owned(),
            left: vec!["app-a 10.0.0.1:80".to_owned()],
            shared: vec!["app-a 10.0.0.2:80 (pay/gray)".to_owned()],
        });
        let expected = "promoted: li promoted it\n  still there: app-a 10.0.0.1:80\n  used by other groups: app-a 10.0.0.2:80 (pay/gray)\n";
        assert_eq!(then(&status, "default"), expected);
        assert_eq!(exit_code(&status), ExitCode::SUCCESS);
        status.end.as_mut().unwrap().outcome = PromotionOutcome::Stopped;
        assert_eq!(exit_code(&status), ExitCode::from(EXIT_ENDED));
        let waits = at_base(vec![check("x", PromotionCheckState::Unknown, true)]);
        assert_eq!(exit_code(&waits), ExitCode::from(EXIT_WAITING));
    }
}
