//! `laneway watch`: follows the changes of resources and of how they stand.

use std::{collections::HashMap, process::ExitCode};

use anyhow::bail;
use api::{
    client::Client,
    resource::{Key, Kind, Object},
    rest::{VerdictState, WatchEvent, WatchKind},
    write,
};
use clap::Args;

use super::{
    columns, output,
    server::{Server, Within, kind},
    shape::{Shape, Shown},
};

/// The arguments of `laneway watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The kind, e.g. Lane
    #[arg(value_parser = kind)]
    kind: Kind,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the verb: until it is interrupted.
pub(crate) async fn run(verb: Watch) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let watch = client.watch(verb.kind, verb.within.one()).await?;
    follow(&client, watch, &verb.shown.shape, &[], |_| true).await
}

/// Shows those resources that are wanted of what a watch tells; `shown` were shown already.
pub(crate) async fn follow(
    client: &Client,
    mut watch: api::client::Watch,
    shape: &Shape,
    shown: &[Object],
    wanted: impl Fn(&Key) -> bool,
) -> anyhow::Result<ExitCode> {
    let (mut stood, mut shown_as) = (HashMap::new(), HashMap::new());
    for object in shown {
        turn(object, &mut stood);
        shown_as.insert(object.key(), object);
    }
    while let Some(event) = watch.next().await? {
        // A watch goes on from a state of objects, and may tell a status of before.
        let mut is_news = |object: &Object| shown_as.remove(&object.key()) != Some(object);
        let is_wanted = |object: &Object| wanted(&object.key());
        if event.object.as_ref().is_none_or(|object| is_news(object) && is_wanted(object)) {
            show(&event, shape, &mut stood);
        }
    }
    bail!("the control plane at {} ended the watch; start it again", client.server())
}

fn show(event: &WatchEvent, shape: &Shape, stood: &mut HashMap<Key, String>) {
    let word = match event.kind {
        WatchKind::Added => "ADDED   ",
        WatchKind::Modified => "MODIFIED",
        WatchKind::Deleted => "DELETED ",
        WatchKind::Synced => "SYNCED",
    };
    match (shape, &event.object) {
        // One line an event, for programs.
        (Shape::Json, _) => match serde_json::to_string(event) {
            Ok(line) => output::line(line),
            Err(error) => output::error(&error),
        },
        (Shape::Yaml, Some(object)) => {
            output::text(&format!("# {}\n{}---\n", word.trim_end(), write::yaml_of(object)));
        }
        (Shape::JsonPath(path), Some(object)) => output::line(path.pick(&object.to_value())),
        (Shape::Table | Shape::Wide | Shape::Name, Some(object)) => {
            let turn = turn(object, stood);
            output::line(format_args!("{word}  {}{turn}", columns::line(object)));
        }
        // The end of what was there already is of no interest to people.
        (_, None) => {}
    }
}

/// How an object stands otherwise than when it was shown last: `  (Admitting -> Live)`, `  (Live -> Live, worse than base: app-c)`.
fn turn(object: &Object, stood: &mut HashMap<Key, String>) -> String {
    let conditions = object.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.kind == "Ready");
    let mut now = ready.map(|condition| condition.reason.clone()).unwrap_or_default();
    if let Some(verdict) = object.status().and_then(|status| status.verdict.as_ref()) {
        now.push_str(match verdict.state {
            VerdictState::NoWorse => ", no worse than base",
            VerdictState::Worse | VerdictState::PassedOn => ", worse than base",
            VerdictState::TooLittle => "",
        });
        now.extend(verdict.culprit.iter().map(|culprit| format!(": {culprit}")));
    }
    let before = stood.insert(object.key(), now.clone());
    match before {
        Some(before) if before != now => format!("  ({before} -> {now})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use api::resource::{Entry, Fallback, Lane, LaneSpec, LaneVerdict, Status, StatusCondition};

    use super::*;

    fn live(verdict: Option<LaneVerdict>) -> Object {
        let spec = LaneSpec {
            group: "trade".to_owned(),
            tag: None,
            enabled: true,
            priority: 0,
            entry: Entry::default(),
            fallback: Fallback::default(),
            applications: Vec::new(),
        };
        let mut lane = Lane::new("trade-gray", spec);
        let ready = StatusCondition {
            kind: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: "Live".to_owned(),
            message: String::new(),
            observed_generation: 0,
            last_transition_time: None,
        };
        lane.status = Some(Status { conditions: vec![ready], verdict, ..Status::default() });
        lane.into()
    }

    #[test]
    fn another_verdict_is_told_with_what_it_was() {
        let mut stood = HashMap::new();
        let verdict = |state, culprit: Option<&str>| {
            Some(LaneVerdict { state, culprit: culprit.map(str::to_owned) })
        };
        assert_eq!(turn(&live(None), &mut stood), "");
        let well = live(verdict(VerdictState::NoWorse, None));
        assert_eq!(turn(&well, &mut stood), "  (Live -> Live, no worse than base)");
        assert_eq!(turn(&well, &mut stood), "");
        let worse = live(verdict(VerdictState::Worse, Some("c")));
        let told = "  (Live, no worse than base -> Live, worse than base: c)";
        assert_eq!(turn(&worse, &mut stood), told);
    }
}
