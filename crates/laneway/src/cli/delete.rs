//! `laneway delete`: deletes resources, by name or those of files.

use std::{path::PathBuf, process::ExitCode};

use api::{
    client::CallError,
    resource::{Key, Kind},
};
use clap::Args;

use super::{
    EXIT_FAILED, apply, output,
    server::{LaneName, Namespace, Server, find_lane, kind},
};

/// The arguments of `laneway delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The kind, e.g. Lane
    #[arg(value_parser = kind, required_unless_present = "files", conflicts_with = "files", requires = "name")]
    kind: Option<Kind>,
    /// The resource's name; a lane's also as GROUP/TAG
    name: Option<String>,
    /// Delete the resources of a file, or of a directory of such files, all or none; `-` reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Say what would happen, and delete nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Delete) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let namespace = verb.namespace.name();
    let keys = if let (Some(kind), Some(name)) = (verb.kind, &verb.name) {
        vec![match name.parse::<LaneName>() {
            Ok(lane) if kind == Kind::Lane => find_lane(&client, &lane, namespace).await?.key(),
            _ => Key::new(kind, namespace, name),
        }]
    } else {
        let Some(found) = apply::read(&verb.files, &verb.namespace)? else {
            return Ok(ExitCode::from(EXIT_FAILED));
        };
        found.iter().map(|found| found.object.key()).collect()
    };
    let response = match client.delete_all(keys.clone(), verb.dry_run).await {
        Err(CallError::Refused(problem)) if !problem.errors.is_empty() => {
            problem.errors.iter().for_each(output::error);
            output::error(&"nothing was deleted");
            return Ok(ExitCode::from(EXIT_FAILED));
        }
        other => other?,
    };
    response.warnings.iter().for_each(output::warning);
    response.results.iter().for_each(|result| apply::tell(result, verb.dry_run));
    let is_there = |key: &&Key| response.results.iter().any(|result| result.object == **key);
    let absent: Vec<&Key> = keys.iter().filter(|key| !is_there(key)).collect();
    for key in &absent {
        output::error(&format_args!("not found: {key} does not exist"));
    }
    Ok(if absent.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}
