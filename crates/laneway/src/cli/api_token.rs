//! `laneway api-token`: tokens with which programs use the API.

use std::{path::PathBuf, process::ExitCode};

use api::rest::{ApiTokenRequest, ApiTokenStatus, Grant};
use clap::{Args, Subcommand};

use super::{output, server::Server, shape::Shown, token::Out, user::Granted};

/// The arguments of `laneway api-token`.
#[derive(Debug, Args)]
pub(crate) struct ApiToken {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

/// What to do with tokens of the API.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for a program (its --token-file), good for no more than you may; it is shown this once
    Create {
        /// What it is for
        name: String,
        /// viewer, operator or admin, everywhere or as ROLE@NAMESPACE
        #[arg(long, value_name = "ROLE[@NAMESPACE]")]
        role: Granted,
        /// For how many days it is good, 1 to 366. Default: 90
        #[arg(long, value_name = "NUMBER")]
        days: Option<u32>,
        /// A new file to write it into, readable by you alone. Default: standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show your tokens, for an admin everybody's; not the tokens themselves
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Shut out whoever holds a token, at once
    Revoke {
        /// The token, as the list shows it
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: ApiToken) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    match verb.action {
        Action::Create { name, role: Granted(grant), days, out } => {
            let out = Out::open(out)?;
            let request = ApiTokenRequest { name, grant, days };
            let created = out.kept_for(client.create_api_token(&request).await)?;
            let ApiTokenStatus { id, expires, .. } = &created.token;
            out.tell(&created.secret, format_args!("token {id}, good until {expires},"))?;
        }
        Action::List { shown } => {
            let heading = ["ID", "NAME", "OWNER", "ROLE", "EXPIRES", "LAST USED"];
            shown.shape.show_data(&client.api_tokens().await?, &heading, row);
        }
        Action::Revoke { ids } => {
            for id in ids {
                client.revoke_api_token(&id).await?;
                output::line(format_args!("token {id} is revoked"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(token: &ApiTokenStatus) -> Vec<String> {
    vec![
        token.id.clone(),
        token.name.clone(),
        token.owner.clone().unwrap_or_else(|| "(the machine)".to_owned()),
        token.grant.as_ref().map_or_else(|| "as the owner".to_owned(), Grant::to_string),
        token.expires.clone(),
        token.last_used.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}
