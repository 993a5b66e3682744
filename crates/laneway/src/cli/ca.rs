//! `laneway ca`: who signs certificates of data planes.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use api::rest::AuthorityStatus;
use clap::{Args, Subcommand};

use super::{output, server::Server};

/// The arguments of `laneway ca`.
#[derive(Debug, Args)]
pub(crate) struct Ca {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

/// What to do with authorities.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the fingerprint and the certificate of whoever signs, and of those that did and are still believed
    Show {
        /// A file to write the certificates into, for --control-ca
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make another that signs from now on; the one before is believed until all that it signed has ended
    Rotate,
}

/// Runs the verb.
pub(crate) async fn run(verb: Ca) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    match verb.action {
        Action::Show { out } => {
            let all = client.authorities().await?;
            if all.is_empty() {
                output::warning("nobody signs: the control plane's log says why");
                return Ok(ExitCode::FAILURE);
            }
            for authority in &all {
                output::line(format_args!("# {}, {}", authority.fingerprint, standing(authority)));
                if out.is_none() {
                    output::line(authority.certificate.trim_end());
                }
            }
            if let Some(path) = out {
                let pem: String = all.iter().map(|it| it.certificate.as_str()).collect();
                std::fs::write(&path, pem).with_context(|| {
                    format!("out: `{}`: name a file that can be written", path.display())
                })?;
            }
        }
        Action::Rotate => {
            let made = client.rotate_authority().await?;
            output::line(format_args!("{} signs from now on", made.fingerprint));
            output::line(
                "data planes learn it when they renew; tokens and files that name the one before lead to it until that is believed no more",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn standing(authority: &AuthorityStatus) -> String {
    let what = if authority.signs { "signs" } else { "signs no more, is still believed" };
    format!("{what}, made {}", authority.created)
}
