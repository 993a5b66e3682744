//! `laneway version`: of this program, and of the control plane.

use std::process::ExitCode;

use api::write;
use clap::Args;
use serde_json::json;

use super::{
    output,
    server::{Format, Output, Server},
};

/// The arguments of `laneway version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Only of this program: the control plane is not asked
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
pub(crate) async fn run(verb: Version) -> anyhow::Result<ExitCode> {
    let own = env!("CARGO_PKG_VERSION");
    let client = verb.server.client()?;
    let server = if verb.client { None } else { Some(client.status().await) };
    let of_server = server.as_ref().and_then(|status| status.as_ref().ok());
    let both = json!({"client": own, "server": of_server.map(|status| &status.version)});
    match verb.output.output {
        Format::Json => output::line(write::json_of(&both)),
        Format::Yaml => output::text(&write::yaml_of(&both)),
        Format::Table => {
            output::line(format_args!("client  {own}"));
            if let Some(status) = of_server {
                output::line(format_args!("server  {} at {}", status.version, client.server()));
            }
        }
    }
    match server {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
