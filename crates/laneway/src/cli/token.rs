//! `laneway token`: tokens with which one application may be registered.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use api::rest::{TokenRequest, TokenStatus};
use clap::{Args, Subcommand};

use super::{
    output,
    server::{Namespace, Server},
    shape::Shown,
};

/// The arguments of `laneway token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for the sidecars and agents of one application (their --join-token-file); it is shown this once
    Create(Create),
    /// Show which tokens there are, not the tokens themselves
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

/// The arguments of `laneway token create`.
#[derive(Debug, Args)]
struct Create {
    /// The application that may be registered with it
    #[arg(long, value_name = "NAME")]
    application: String,
    /// The only tag that may, base for untagged. Default: any
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// A new file to write it into, readable by you alone. Default: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    namespace: Namespace,
}

/// Runs the verb.
pub(crate) async fn run(verb: Token) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    match verb.action {
        Action::Create(create) => {
            let namespace = Some(create.namespace.name().to_owned());
            let request =
                TokenRequest { application: create.application, tag: create.tag, namespace };
            let mut out = create.out.as_deref().map(private).transpose()?;
            let created = match client.create_token(&request).await {
                Ok(created) => created,
                Err(error) => {
                    // Nothing is in it.
                    create.out.as_deref().map(std::fs::remove_file).transpose()?;
                    return Err(error.into());
                }
            };
            match (&mut out, &create.out) {
                (Some(file), Some(path)) => {
                    writeln!(file, "{}", created.secret)
                        .with_context(|| format!("out: write `{}`", path.display()))?;
                    let TokenStatus { id, application, .. } = &created.token;
                    output::line(format_args!(
                        "token {id} of application {application} is in {}",
                        path.display()
                    ));
                }
                _ => output::line(&created.secret),
            }
            if !created.is_asked_for {
                output::warning(
                    "the control plane asks for no token: start it with --join-token-file, or whoever reaches it may \
                     register any application",
                );
            }
        }
        Action::List { shown } => {
            let heading = ["ID", "NAMESPACE", "APPLICATION", "TAG", "CREATED", "LAST USED"];
            shown.shape.show_data(&client.tokens().await?, &heading, row);
        }
        Action::Revoke { ids } => {
            for id in ids {
                client.revoke_token(&id).await?;
                output::line(format_args!("token {id} is revoked"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A new file that nobody else may read. It is made before the token is: one that cannot be written down is lost.
pub(super) fn private(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(|| {
        format!("out: `{}`: name a new file in a directory that can be written", path.display())
    })
}

fn row(token: &TokenStatus) -> Vec<String> {
    vec![
        token.id.clone(),
        token.namespace.clone(),
        token.application.clone(),
        token.tag.clone().unwrap_or_else(|| "(any)".to_owned()),
        token.created.clone(),
        token.last_used.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}
