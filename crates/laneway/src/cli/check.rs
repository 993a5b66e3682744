//! `laneway check`: validates resources and finds conflicts without applying them.

use std::process::ExitCode;

use api::{
    resource::Set,
    rest::Finding,
    validate::{Severity, validate},
};
use clap::Args;
use control::{default_gateway, provide_default_gateway};

use super::{
    EXIT_FAILED,
    apply::{self, Files},
    output,
    server::{Credentials, Format, Namespace, Output, Patience, client},
};

/// The port of the gateway that files without one are checked with: nothing listens on it.
const ANY_PORT: u16 = 8000;

/// The arguments of `laneway check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    files: Files,
    /// Check against what this control plane has; without it the files must be complete
    #[arg(long, value_name = "URL", env = "LANEWAY_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Check) -> anyhow::Result<ExitCode> {
    let Some(found) = apply::read(&verb.files, &verb.namespace)? else {
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    if found.is_empty() {
        output::warning("the files have no resources; nothing to check");
        return Ok(ExitCode::SUCCESS);
    }
    let findings: Vec<Finding> = match &verb.server {
        Some(server) => {
            let client = client(server, &verb.credentials, &verb.patience)?;
            let checked = client.check(&apply::request(&found)).await?;
            if checked.omitted > 0 {
                output::warning(format_args!("{} more findings", checked.omitted));
            }
            checked.findings
        }
        None => {
            let mut set = Set::new(found.iter().map(|found| found.object.clone()));
            // A control plane without a Gateway of Laneway's has one, and so have files.
            provide_default_gateway(&mut set, &default_gateway(ANY_PORT));
            validate(&set).into_iter().map(Finding::from).collect()
        }
    };
    match verb.output.output {
        Format::Json => output::line(api::write::json_of(&findings)),
        Format::Yaml => output::text(&api::write::yaml_of(&findings)),
        Format::Table => {
            for finding in &findings {
                let severity = match finding.severity {
                    Severity::Error => "error",
                    Severity::Conflict => "conflict",
                    Severity::Warning => "warning",
                };
                output::line(format_args!("{severity}: {}", apply::in_file(&found, finding)));
            }
            if findings.is_empty() {
                output::line(format_args!("{} resources, nothing to say", found.len()));
            }
        }
    }
    let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if wrong { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}
