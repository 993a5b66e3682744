//! The arguments that every verb has which talks to a control plane.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use api::{
    client::{CallError, Client},
    resource::{DEFAULT_NAMESPACE, Kind, Lane, Object},
    rest::NOTE_CHARACTERS_MAX,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    config::{BadSettings, SettingProblem},
    door::token::{self, Token},
    logins::{self, Login},
    stores,
};

/// How to reach the control plane.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The control plane's API
    #[arg(
        long,
        value_name = "URL",
        env = "LANEWAY_SERVER",
        default_value = "http://127.0.0.1:7600",
        global = true
    )]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
    /// Why something is changed, for the audit: at most 500 characters
    #[arg(long, value_name = "TEXT", env = "LANEWAY_NOTE", global = true, value_parser = note)]
    note: Option<String>,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

fn note(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=NOTE_CHARACTERS_MAX => Ok(text.to_owned()),
        count => Err(format!("write at most {NOTE_CHARACTERS_MAX} characters, not {count}")),
    }
}

/// A verb that has actions, each in a namespace of a control plane.
#[derive(Debug, Args)]
pub(crate) struct Actions<A: Subcommand> {
    #[command(subcommand)]
    pub(crate) action: A,
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
}

/// How long is waited.
#[derive(Debug, Clone, Args)]
pub(crate) struct Patience {
    /// Seconds that an answer may take, and what is waited for
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_TIMEOUT", default_value = "30", global = true,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl Patience {
    /// The same as a time.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// What is shown to the control plane.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Credentials {
    /// A file with a token of the API. Default: that of `laneway login`, then that of a control plane that runs on this
    /// machine
    #[arg(long, value_name = "FILE", env = "LANEWAY_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The data directory of a control plane on this machine, where its token is. Default: that of `laneway serve`,
    /// then that of `laneway control`
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA", global = true)]
    data: Option<PathBuf>,
}

impl Credentials {
    /// Shows a server its token: the one that is named, that of `laneway login`, which goes to whom it was made with, or the
    /// machine's, which goes to the process it belongs to.
    fn shown_by(&self, client: Client) -> anyhow::Result<Client> {
        if let Some(file) = &self.token_file {
            let token = Token::read(file).context("token-file")?;
            return Ok(client.with_token(&token.into_text()));
        }
        if self.data.is_none()
            && let Some(login) = logins::at(client.server())?
        {
            return Ok(with_login(client, &login));
        }
        let token = self.of_machine(&client);
        Ok(match token {
            Some(token) => client.with_token(&token),
            None => client,
        })
    }

    fn of_machine(&self, client: &Client) -> Option<String> {
        let directories = match &self.data {
            Some(data) => vec![data.clone()],
            None => stores::defaults().collect(),
        };
        let (host, port) = client.address()?;
        let token = token::for_server(host, port, directories.iter().map(PathBuf::as_path));
        token.map(Token::into_text)
    }
}

/// Which namespace is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Namespace {
    /// The namespace of the resources that name none
    #[arg(
        short = 'n',
        long,
        value_name = "NAME",
        env = "LANEWAY_NAMESPACE",
        default_value = DEFAULT_NAMESPACE,
        global = true
    )]
    namespace: String,
}

impl Namespace {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.namespace
    }
}

/// Within which namespaces.
#[derive(Debug, Clone, Args)]
pub(crate) struct Within {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    namespace: Namespace,
}

impl Within {
    /// The namespace of what is named.
    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    /// The one namespace; `None`: all.
    pub(crate) fn one(&self) -> Option<&str> {
        (!self.all_namespaces).then_some(self.namespace.name())
    }
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As `apply` takes it
    Yaml,
    /// For programs
    Json,
}

/// How the answer is wanted.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// How the answer looks
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

impl Server {
    /// A client of it.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let client = client(&self.server, &self.credentials, &self.patience)?;
        Ok(match &self.note {
            Some(note) => client.with_note(note),
            None => client,
        })
    }

    /// A client that shows nothing: of somebody who is about to sign in.
    pub(crate) fn stranger(&self) -> anyhow::Result<Client> {
        Ok(unknown(&self.server)?.with_timeout(self.patience.limit()))
    }
}

/// A client of the control plane at `server`; an address that is none is a bad setting.
pub(crate) fn client(
    server: &str,
    credentials: &Credentials,
    patience: &Patience,
) -> anyhow::Result<Client> {
    credentials.shown_by(unknown(server)?.with_timeout(patience.limit()))
}

/// Shows a login to whom it was made with, and to nobody else.
pub(crate) fn with_login(client: Client, login: &Login) -> Client {
    let check = logins::check(Some(login.user), logins::Seen::default());
    client.with_peer_check(check).with_token(&login.token)
}

fn unknown(server: &str) -> anyhow::Result<Client> {
    Client::new(server).map_err(|error| match error {
        CallError::Server { server, remedy } => BadSettings(vec![SettingProblem {
            key: "server".to_owned(),
            value: server,
            origin: String::new(),
            remedy,
            may_pass: false,
        }])
        .into(),
        other => anyhow::Error::from(other),
    })
}

/// Reads a kind as a person writes it.
pub(crate) fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_word(word)
        .ok_or_else(|| format!("use one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

/// A lane as people call it: `GROUP/TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneName {
    pub(crate) group: String,
    pub(crate) tag: String,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.tag)
    }
}

impl FromStr for LaneName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((group, tag)) if !group.is_empty() && !tag.is_empty() && !tag.contains('/') => {
                Ok(Self { group: group.to_owned(), tag: tag.to_owned() })
            }
            _ => Err("write GROUP/TAG, e.g. trade/gray"),
        }
    }
}

/// The lane of this name in a namespace.
pub(crate) async fn find_lane(
    client: &Client,
    name: &LaneName,
    namespace: &str,
) -> anyhow::Result<Lane> {
    let lanes = client.list(Kind::Lane, None).await?.items.into_iter();
    let lanes =
        lanes.filter_map(|object| if let Object::Lane(lane) = object { Some(lane) } else { None });
    let (of_name, others): (Vec<Lane>, Vec<Lane>) =
        lanes.partition(|lane| lane.spec.group == name.group && lane.tag_text() == name.tag);
    let elsewhere: Vec<String> =
        of_name.iter().map(|lane| lane.metadata.namespace.clone()).collect();
    match of_name.into_iter().find(|lane| lane.metadata.namespace == namespace) {
        Some(lane) => Ok(lane),
        None if !elsewhere.is_empty() => bail!(
            "there is no lane {name} in namespace {namespace}; there is one in {}: name it with -n",
            elsewhere.join(", ")
        ),
        None if others.is_empty() => bail!("there is no lane {name}, nor any other"),
        None => {
            let names: Vec<String> = others.iter().map(Lane::lane_name).collect();
            bail!("there is no lane {name}; there are {}", names.join(", "))
        }
    }
}
