//! Where `laneway login` keeps its tokens: by server, in the user's configuration directory, for the user alone.
//!
//! A token of a login may do all that its user may, and on this machine anybody may listen where a control plane does not
//! just now. So whose process answered is kept with it, and the token goes to that user's processes alone ([`answering`]).

mod answering;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use discovery::snapshot::write_atomically;
use serde::{Deserialize, Serialize};

pub(crate) use self::answering::{Answering, Seen, check};
use crate::config;

/// The file.
const FILE: &str = "logins.json";

/// What is kept of having signed in at a server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// What is shown there.
    pub(crate) token: String,
    /// The user whose process answered there; none: none of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
}

/// The token is for the server alone.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The same as it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Login(Login),
    /// As releases kept it that did not look at who answered.
    Token(String),
}

impl Kept {
    fn into_login(self) -> Login {
        match self {
            Self::Login(login) => login,
            Self::Token(token) => Login { token, user: None },
        }
    }
}

/// By the server's address.
type Logins = BTreeMap<String, Kept>;

/// The login at a server, if somebody signed in there.
pub(crate) fn at(server: &str) -> anyhow::Result<Option<Login>> {
    let Some(path) = path() else { return Ok(None) };
    Ok(read(&path)?.remove(server).map(Kept::into_login))
}

/// Keeps a login at a server; where.
pub(crate) fn keep(server: &str, login: Login) -> anyhow::Result<PathBuf> {
    let path = path().context("there is no HOME to keep the token in: set XDG_CONFIG_HOME")?;
    let mut logins = read(&path)?;
    logins.insert(server.to_owned(), Kept::Login(login));
    write(&path, &logins)?;
    Ok(path)
}

/// Forgets the login at a server.
pub(crate) fn forget(server: &str) -> anyhow::Result<()> {
    let Some(path) = path() else { return Ok(()) };
    let mut logins = read(&path)?;
    if logins.remove(server).is_some() { write(&path, &logins) } else { Ok(()) }
}

fn path() -> Option<PathBuf> {
    config::configuration(FILE)
}

fn read(path: &Path) -> anyhow::Result<Logins> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Logins::new()),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => bail!(
            "`{}` can be read by others: sign out everywhere and delete it, or keep it with `chmod 600`",
            path.display()
        ),
        _ => {}
    }
    let text = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("read `{}`: delete it, and sign in again", path.display()))
}

fn write(path: &Path, logins: &Logins) -> anyhow::Result<()> {
    let written = || -> io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        write_atomically(path, serde_json::to_string_pretty(logins)?.as_bytes())
    };
    written().with_context(|| format!("write `{}`", path.display()))
}
