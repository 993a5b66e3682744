//! `laneway login`, `logout`, `whoami`: who this user is to a control plane.

use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::{Context, bail};
use api::{
    client::Client,
    rest::{Grant, PasswordChange, SessionStatus, SignInRequest},
};
use clap::Args;

use super::{
    output,
    server::{Server, with_login},
};
use crate::logins::{self, Answering, Login as Kept, Seen};

/// The arguments of `laneway login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The user. The password is asked for, or is a line of standard input
    #[arg(long, value_name = "NAME")]
    user: String,
    #[command(flatten)]
    server: Server,
}

/// The arguments of `laneway logout` and `laneway whoami`.
#[derive(Debug, Args)]
pub(crate) struct AtServer {
    #[command(flatten)]
    server: Server,
}

/// Signs in and keeps the token.
pub(crate) async fn login(verb: Login) -> anyhow::Result<ExitCode> {
    let client = verb.server.stranger()?;
    // The password, too, goes to no other than last time.
    let last = logins::at(client.server())?.map(|login| login.user);
    let seen = Seen::default();
    let client = client.with_peer_check(logins::check(last, Seen::clone(&seen)));
    let password = secret("Password: ")?;
    let host = rustix::system::uname();
    let host: String = host.nodename().to_string_lossy().chars().take(40).collect();
    let request = SignInRequest {
        user: verb.user.clone(),
        password: password.clone(),
        token_name: Some(format!("login on {host}")),
    };
    let signed_in = client.sign_in(&request).await?;
    let token = signed_in.secret.context("the control plane answered without a token")?;
    let client = client.with_token(&token);
    if signed_in.session.must_change_password {
        output::warning("this is a one-time password: choose another, of at least 12 characters");
        choose_another(&client, password).await?;
    }
    let (user, whose) = match *seen.lock() {
        Some(Answering::User(user)) => (Some(user), format!(", a process of user {user}")),
        _ => (None, String::new()),
    };
    let file = logins::keep(client.server(), Kept { token, user })?;
    output::line(format_args!(
        "signed in as {} at {}{whose} ({}); the token is in {}",
        verb.user,
        client.server(),
        granted(&signed_in.session.grants),
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Signs out: the token is good no longer, and forgotten.
pub(crate) async fn logout(verb: AtServer) -> anyhow::Result<ExitCode> {
    let client = verb.server.stranger()?;
    let Some(login) = logins::at(client.server())? else {
        bail!("not signed in at {}: see `laneway login`", client.server());
    };
    let ended = with_login(client.clone(), &login).sign_out().await;
    logins::forget(client.server())?;
    ended.context("the token is forgotten here, but the control plane was not told")?;
    output::line(format_args!("signed out at {}", client.server()));
    Ok(ExitCode::SUCCESS)
}

/// Says who one is.
pub(crate) async fn whoami(verb: AtServer) -> anyhow::Result<ExitCode> {
    let SessionStatus { author, grants, must_change_password, expires } =
        verb.server.client()?.session().await?;
    let until = expires.map(|expires| format!(", until {expires}")).unwrap_or_default();
    output::line(format_args!("{author}: {}{until}", granted(&grants)));
    if must_change_password {
        output::warning(
            "the password is a one-time one: choose another with `laneway user passwd`",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes one's own password.
pub(crate) async fn change_password(client: &Client) -> anyhow::Result<()> {
    let current = secret("Current password: ")?;
    choose_another(client, current).await
}

async fn choose_another(client: &Client, current: String) -> anyhow::Result<()> {
    let new = secret("New password: ")?;
    if std::io::stdin().is_terminal() && secret("The same again: ")? != new {
        bail!("the two are not the same: nothing was changed");
    }
    Ok(client.change_password(&PasswordChange { current, new }).await?)
}

/// What is granted, in words.
pub(super) fn granted(grants: &[Grant]) -> String {
    let words: Vec<String> = grants.iter().map(Grant::to_string).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// A secret, typed without being shown, or a line of standard input.
fn secret(prompt: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).context("ask for a password");
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("read standard input")?;
    if read == 0 {
        bail!("{}write it into standard input as a line", prompt.to_lowercase());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
