//! `laneway delete`: deletes resources, by name or those of files.

use std::process::ExitCode;

use api::{client::CallError, resource::Key};
use clap::Args;

use super::{
    EXIT_FAILED, apply,
    apply::Files,
    confirm::Confirmation,
    output,
    server::{Namespace, Server},
    target::{First, FirstWord, Targets},
};

/// The arguments of `laneway delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The kind, or a resource as KIND/NAME
    #[arg(value_name = "KIND|KIND/NAME", value_parser = FirstWord, required_unless_present = "files", conflicts_with = "files")]
    first: Option<First>,
    /// Names of resources, of lanes also as GROUP/TAG; after KIND/NAME more of the same
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Say what would happen, and delete nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Delete) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let namespace = verb.namespace.name();
    let keys = if let Some(first) = verb.first {
        Targets::new(first, verb.names).keys(&client, namespace).await?
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
    let confirmed = if verb.dry_run {
        ExitCode::SUCCESS
    } else {
        verb.confirmation.of(&client, &response.results, verb.server.patience.limit()).await?
    };
    Ok(if absent.is_empty() { confirmed } else { ExitCode::from(EXIT_FAILED) })
}
