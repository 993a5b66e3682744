//! `laneway user`: who may use the API.

use std::{process::ExitCode, str::FromStr};

use api::{
    client::{CallError, Client},
    rest::{EVERYWHERE, Grant, GrantsRequest, Role, UserRequest, UserStatus},
};
use clap::{Args, Subcommand};

use super::{login, output, server::Server, shape::Shown};

/// The arguments of `laneway user`.
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a user; the one-time password is shown this once
    Create {
        /// The user
        name: String,
        #[command(flatten)]
        roles: Roles,
    },
    /// Show users and what they may
    List {
        #[command(flatten)]
        shown: Shown,
    },
    /// Say what a user may: all of it, what is not said is taken away
    Grant {
        /// The user
        name: String,
        #[command(flatten)]
        roles: Roles,
    },
    /// Change one's own password, or give a user a new one-time password
    Passwd {
        /// The user. Default: change the password of whoever asks
        name: Option<String>,
    },
    /// Remove a user, with his sessions and tokens
    Delete {
        /// The users
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What is granted.
#[derive(Debug, Args)]
struct Roles {
    /// viewer, operator or admin, everywhere or as ROLE@NAMESPACE; may be said several times
    #[arg(long = "role", value_name = "ROLE[@NAMESPACE]", required = true)]
    roles: Vec<Granted>,
}

impl Roles {
    fn grants(self) -> Vec<Grant> {
        self.roles.into_iter().map(|Granted(grant)| grant).collect()
    }
}

/// A grant as it is written.
#[derive(Debug, Clone)]
pub(super) struct Granted(pub(super) Grant);

impl FromStr for Granted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (word, namespace) = text.split_once('@').unwrap_or((text, EVERYWHERE));
        let role = Role::ALL.into_iter().find(|role| role.word() == word);
        let role = role.ok_or("use viewer, operator or admin, also as ROLE@NAMESPACE")?;
        Ok(Self(Grant { role, namespace: namespace.to_owned() }))
    }
}

/// Runs the verb.
pub(crate) async fn run(verb: User) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    match verb.action {
        Action::Create { name, roles } => {
            let request = UserRequest { name: name.clone(), grants: roles.grants() };
            let created = client.create_user(&request).await?;
            tell_password(&name, &created.one_time_password);
        }
        Action::List { shown } => {
            let heading = ["NAME", "ROLES", "CREATED", "LAST SIGNED IN"];
            shown.shape.show_data(&client.users().await?, &heading, row);
        }
        Action::Grant { name, roles } => {
            let request = GrantsRequest { grants: roles.grants() };
            let user = client.grant(&name, &request).await?;
            output::line(format_args!("user {name} is {}", login::granted(&user.grants)));
            tell_without_admin(&client).await?;
        }
        Action::Passwd { name: None } => {
            login::change_password(&client).await?;
            output::line("the password is changed");
        }
        Action::Passwd { name: Some(name) } => {
            let reset = client.reset_password(&name).await?;
            tell_password(&name, &reset.one_time_password);
        }
        Action::Delete { names } => {
            for name in names {
                client.delete_user(&name).await?;
                output::line(format_args!("user {name} is removed"));
            }
            tell_without_admin(&client).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says when nobody is left who may manage users from a browser or from another machine.
async fn tell_without_admin(client: &Client) -> anyhow::Result<()> {
    let is_admin = |user: &UserStatus| {
        user.grants.iter().any(|it| it.role == Role::Admin && it.namespace == EVERYWHERE)
    };
    let users = match client.users().await {
        Ok(users) => users,
        // Whoever took the right away may have had it by that alone.
        Err(CallError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !users.iter().any(is_admin) {
        output::warning(
            "no user is admin everywhere any more: users are managed only by the user that runs the control plane, on its \
             machine (laneway user create NAME --role admin)",
        );
    }
    Ok(())
}

fn tell_password(name: &str, password: &str) {
    output::line(format_args!("user {name} has the one-time password {password}"));
}

fn row(user: &UserStatus) -> Vec<String> {
    let signed_in = match (&user.last_signed_in, user.must_change_password) {
        (Some(time), false) => time.clone(),
        (Some(time), true) => format!("{time} (one-time password)"),
        (None, _) => "never".to_owned(),
    };
    vec![user.name.clone(), login::granted(&user.grants), user.created.clone(), signed_in]
}
