//! `laneway watch`: follows the changes of resources and of how they stand.

use std::{collections::HashMap, process::ExitCode};

use anyhow::bail;
use api::{
    client::Client,
    resource::{Key, Kind, Object},
    rest::{WatchEvent, WatchKind},
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

/// How an object stands otherwise than when it was shown last: `  (Admitting -> Live)`.
fn turn(object: &Object, stood: &mut HashMap<Key, String>) -> String {
    let conditions = object.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.kind == "Ready");
    let now = ready.map(|condition| condition.reason.clone()).unwrap_or_default();
    let before = stood.insert(object.key(), now.clone());
    match before {
        Some(before) if before != now => format!("  ({before} -> {now})"),
        _ => String::new(),
    }
}
