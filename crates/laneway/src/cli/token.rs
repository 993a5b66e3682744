//! `laneway token`: tokens with which one application may be registered.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use api::{
    client::CallError,
    join::JoinToken,
    rest::{TokenRequest, TokenStatus},
};
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
            let out = Out::open(create.out)?;
            let created = out.kept_for(client.create_token(&request).await)?;
            let TokenStatus { id, application, .. } = &created.token;
            out.tell(&created.secret, format_args!("token {id} of application {application}"))?;
            if !created.is_asked_for {
                output::warning(
                    "the control plane asks for no token: start it with --join-token-file, or whoever reaches it may \
                     register any application",
                );
            }
            if let Some(words) = warning_of(&created.secret) {
                output::warning(words);
            }
        }
        Action::List { shown } => {
            let heading =
                ["ID", "NAMESPACE", "APPLICATION", "TAG", "CREATED", "LAST USED", "CERTIFICATES"];
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

/// What is to be said of a token that leads to nobody in TLS.
fn warning_of(secret: &str) -> Option<&'static str> {
    let names_nobody = JoinToken::read(secret).authority.is_none();
    names_nobody.then_some(
        "nobody signs for the control plane, which its log explains: this token names no authority, and whoever shows it \
         connects in the clear. Put the key file back or make another authority (`laneway ca rotate`), then make the token anew",
    )
}

/// Where a token is told this once: a new file that nobody else may read, else standard output.
pub(super) struct Out(Option<(File, PathBuf)>);

impl Out {
    /// The file is made before the token is: one that cannot be written down is lost.
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let mut new = OpenOptions::new();
        let file = new.write(true).create_new(true).mode(0o600).open(&path).with_context(|| {
            format!("out: `{}`: name a new file in a directory that can be written", path.display())
        })?;
        Ok(Self(Some((file, path))))
    }

    /// What was made for it. Where nothing was, nothing is left of the file.
    pub(super) fn kept_for<T>(&self, made: Result<T, CallError>) -> anyhow::Result<T> {
        if let (Err(_), Some((_, path))) = (&made, &self.0) {
            std::fs::remove_file(path)?;
        }
        Ok(made?)
    }

    /// Tells the token; says where it is when that is a file.
    pub(super) fn tell(self, secret: &str, what: fmt::Arguments<'_>) -> anyhow::Result<()> {
        let Some((mut file, path)) = self.0 else {
            output::line(secret);
            return Ok(());
        };
        let path = path.display();
        writeln!(file, "{secret}").with_context(|| format!("out: write `{path}`"))?;
        output::line(format_args!("{what} is in {path}"));
        Ok(())
    }
}

fn row(token: &TokenStatus) -> Vec<String> {
    vec![
        token.id.clone(),
        token.namespace.clone(),
        token.application.clone(),
        token.tag.clone().unwrap_or_else(|| "(any)".to_owned()),
        token.created.clone(),
        token.last_used.clone().unwrap_or_else(|| "never".to_owned()),
        match &token.certificates_until {
            Some(until) => format!("{} until {until}", token.certificates),
            None => "none".to_owned(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_names_nobody_is_warned_of() {
        let signs = api::join::Fingerprint::of(b"an authority");
        assert_eq!(warning_of(&format!("laneway_id_secret@{signs}")), None);
        assert!(warning_of("laneway_id_secret").unwrap().contains("`laneway ca rotate`"));
    }
}
