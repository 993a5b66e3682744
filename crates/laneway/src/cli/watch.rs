//! `laneway watch`: follows the changes of resources.

use std::process::ExitCode;

use anyhow::bail;
use api::{
    resource::Kind,
    rest::{WatchEvent, WatchKind},
    write,
};
use clap::Args;

use super::{
    columns, output,
    server::{Format, Namespace, Output, Server, kind},
};

/// The arguments of `laneway watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The kind, e.g. Lane
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb: until it is interrupted.
pub(crate) async fn run(verb: Watch) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let within = (!verb.all_namespaces).then_some(verb.namespace.name());
    let mut watch = client.watch(verb.kind, within).await?;
    while let Some(event) = watch.next().await? {
        show(&event, verb.output.output);
    }
    bail!("the control plane at {} ended the watch; start it again", client.server())
}

fn show(event: &WatchEvent, format: Format) {
    let word = match event.kind {
        WatchKind::Added => "ADDED   ",
        WatchKind::Modified => "MODIFIED",
        WatchKind::Deleted => "DELETED ",
        WatchKind::Synced => "SYNCED",
    };
    match (format, &event.object) {
        // One line an event, for programs.
        (Format::Json, _) => match serde_json::to_string(event) {
            Ok(line) => output::line(line),
            Err(error) => output::error(&error),
        },
        (Format::Yaml, Some(object)) => {
            output::text(&format!("# {}\n{}---\n", word.trim_end(), write::yaml_of(object)));
        }
        (Format::Table, Some(object)) => {
            output::line(format_args!("{word}  {}", columns::line(object)))
        }
        // The end of what was there already is of no interest to people.
        (Format::Yaml | Format::Table, None) => {}
    }
}
