//! `laneway diff`: what applying files would change, field by field.

use std::process::ExitCode;

use api::{
    client::CallError,
    read::Found,
    rest::{Action, Applied},
    write,
};
use clap::Args;

use super::{
    apply::{self, Files},
    output,
    server::{Namespace, Server},
};

/// There are differences.
const EXIT_DIFFERENT: u8 = 1;
/// It could not be found out whether there are: as `diff` and kubectl have it.
const EXIT_TROUBLE: u8 = 2;

/// The arguments of `laneway diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Diff) -> anyhow::Result<ExitCode> {
    match compare(&verb).await {
        Ok(is_different) => Ok(ExitCode::from(if is_different { EXIT_DIFFERENT } else { 0 })),
        Err(error) => {
            output::error(&format_args!("{error:#}"));
            Ok(ExitCode::from(EXIT_TROUBLE))
        }
    }
}

async fn compare(verb: &Diff) -> anyhow::Result<bool> {
    let client = verb.server.client()?;
    let Some(found) = apply::read(&verb.files, &verb.namespace)? else {
        anyhow::bail!("nothing was compared");
    };
    let response = match client.apply(&apply::request(&found), true).await {
        Err(CallError::Refused(problem)) if !problem.errors.is_empty() => {
            for error in &problem.errors {
                output::error(&apply::in_file(&found, error));
            }
            anyhow::bail!("the files would be refused");
        }
        other => other?,
    };
    let differs = |result: &&Applied| result.action != Action::Unchanged;
    for (result, found) in response.results.iter().zip(&found).filter(|(it, _)| differs(it)) {
        show(result, found);
    }
    Ok(response.results.iter().any(|result| differs(&result)))
}

fn show(result: &Applied, found: &Found) {
    if result.action == Action::Created {
        output::line(format_args!("{} is new", result.object));
        for line in write::yaml_of(&found.written()).lines() {
            output::line(format_args!("+ {line}"));
        }
        return;
    }
    output::line(format_args!("{} changes", result.object));
    for change in &result.changes {
        let taken_back = if change.taken_back { ": takes back what somebody changed" } else { "" };
        output::line(format_args!("~ {change}{taken_back}"));
    }
}
