//! `laneway apply`: creates or changes the resources of files, all or none.

use std::{path::PathBuf, process::ExitCode};

use api::{
    client::CallError,
    read::Found,
    resource,
    rest::{Action, Applied, ApplyRequest, Finding},
};
use clap::Args;

use super::{
    EXIT_FAILED, Misunderstood,
    confirm::Confirmation,
    output,
    server::{Namespace, Server},
};
use crate::manifest::Manifest;

/// The arguments of `laneway apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    /// Say what would happen, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// Which files a verb is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Files {
    /// A file of resources, or a directory of such files; `-` reads standard input; may be given again
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Read directories with all beneath them
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// Runs the verb.
pub(crate) async fn run(verb: Apply) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let Some(found) = read(&verb.files, &verb.namespace)? else {
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    if found.is_empty() {
        output::warning("the files have no resources; nothing to do");
        return Ok(ExitCode::SUCCESS);
    }
    match client.apply(&request(&found), verb.dry_run).await {
        Ok(response) => {
            for warning in &response.warnings {
                output::warning(in_file(&found, warning));
            }
            for result in &response.results {
                tell(result, verb.dry_run);
            }
            if verb.dry_run {
                return Ok(ExitCode::SUCCESS);
            }
            let patience = verb.server.patience.limit();
            verb.confirmation.of(&client, &response.results, patience).await
        }
        Err(CallError::Refused(problem)) if !problem.errors.is_empty() => {
            for error in &problem.errors {
                output::error(&in_file(&found, error));
            }
            output::error(&"nothing was written");
            Ok(ExitCode::from(EXIT_FAILED))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says what became of an object, and in a dry run what of it would change.
pub(super) fn tell(result: &Applied, dry_run: bool) {
    output::line(format_args!("{} {}", result.object, done(result.action, dry_run)));
    for change in &result.changes {
        if dry_run {
            output::line(format_args!("  {change}"));
        }
        if change.taken_back {
            let is = if dry_run { "would count" } else { "counts" };
            output::warning(format_args!(
                "{}: {change}: somebody had changed it since it was applied; what the file says {is}",
                result.object
            ));
        }
    }
}

fn done(action: Action, dry_run: bool) -> &'static str {
    match (action, dry_run) {
        (Action::Created, false) => "created",
        (Action::Configured, false) => "configured",
        (Action::Unchanged, _) => "unchanged",
        (Action::Refused, _) => "refused",
        (Action::Created, true) => "would be created",
        (Action::Configured, true) => "would be configured",
        (Action::Deleted, false) => "deleted",
        (Action::Deleted, true) => "would be deleted",
    }
}

/// Reads files; objects that name no namespace are of `namespace`. None when something in them cannot be read,
/// which has been told then.
pub(super) fn read(files: &Files, namespace: &Namespace) -> anyhow::Result<Option<Vec<Found>>> {
    if files.files.is_empty() {
        return Err(Misunderstood("name the files with -f".to_owned()).into());
    }
    let mut manifest = Manifest::read(&files.files, files.recursive)?;
    for error in &manifest.errors {
        output::error(error);
    }
    if !manifest.errors.is_empty() {
        return Ok(None);
    }
    for found in &mut manifest.found {
        if !found.names_namespace() {
            namespace.name().clone_into(&mut found.object.metadata_mut().namespace);
        }
    }
    let twice = written_twice(&manifest.found);
    for problem in &twice {
        output::error(problem);
    }
    Ok(twice.is_empty().then_some(manifest.found))
}

/// Objects that are written more than once: which one was meant nobody can tell.
fn written_twice(found: &[Found]) -> Vec<String> {
    let keys = found.iter().map(|found| found.object.key());
    let tell = |(first, again): (usize, usize)| {
        let (first, again) = (&found[first], &found[again]);
        let places = (again.place_of(""), first.place_of(""));
        format!("{}: {} is written at {} too: keep one", places.0, again.object.key(), places.1)
    };
    resource::written_twice(keys).into_iter().map(tell).collect()
}

/// The objects, to be sent.
pub(super) fn request(found: &[Found]) -> ApplyRequest {
    ApplyRequest { objects: found.iter().map(Found::written).collect() }
}

/// A finding with the line of the file it is about.
pub(super) fn in_file(found: &[Found], finding: &Finding) -> String {
    let of = finding
        .object
        .as_ref()
        .and_then(|key| found.iter().find(|found| found.object.key() == *key));
    match of {
        Some(of) => {
            let mut finding = finding.clone();
            if let Some(written) = of.value_of(&finding.field) {
                written.clone_into(&mut finding.value);
            }
            format!("{}: {finding}", of.place_of(&finding.field))
        }
        None => finding.to_string(),
    }
}
