//! `laneway delete`: deletes resources, by name or those of files.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use api::{
    client::Client,
    resource::{Key, Kind},
    rest::Finding,
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
    /// Delete the resources of a file, or of a directory of such files; `-` reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Delete) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let namespace = &verb.namespace.namespace;
    if let (Some(kind), Some(name)) = (verb.kind, &verb.name) {
        let key = match name.parse::<LaneName>() {
            Ok(lane) if kind == Kind::Lane => find_lane(&client, &lane, namespace).await?.key(),
            _ => Key::new(kind, namespace, name),
        };
        client.delete(&key).await?;
        output::line(format_args!("{key} deleted"));
        warn_of_missing(&client, &[key]).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(found) = apply::read(&verb.files, namespace)? else {
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    let mut keys: Vec<Key> = found.iter().map(|found| found.object.key()).collect();
    // What names others goes first.
    keys.sort_by_key(|key| std::cmp::Reverse(key.kind));
    let mut failed = false;
    for key in &keys {
        match client.delete(key).await.with_context(|| format!("delete {key}")) {
            Ok(()) => output::line(format_args!("{key} deleted")),
            Err(error) => {
                failed = true;
                output::error(&format_args!("{error:#}"));
            }
        }
    }
    warn_of_missing(&client, &keys).await?;
    Ok(if failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// Says what is doubtful about objects that name one of these, which are gone.
async fn warn_of_missing(client: &Client, keys: &[Key]) -> anyhow::Result<()> {
    let findings = client.status().await?.findings;
    let names_one = |finding: &&Finding| keys.iter().any(|key| finding.value == key.name);
    findings.iter().filter(names_one).for_each(output::warning);
    Ok(())
}
