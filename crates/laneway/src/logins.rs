//! Where `laneway login` keeps its tokens: by server, in the user's configuration directory, for the user alone.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use discovery::snapshot::write_atomically;

use crate::config;

/// The file.
const FILE: &str = "logins.json";

/// Tokens by the server's address.
type Logins = BTreeMap<String, String>;

/// The token for a server, if somebody signed in there.
pub(crate) fn token(server: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = path() else { return Ok(None) };
    Ok(read(&path)?.remove(server))
}

/// Keeps a token for a server; where.
pub(crate) fn keep(server: &str, token: &str) -> anyhow::Result<PathBuf> {
    let path = path().context("there is no HOME to keep the token in: set XDG_CONFIG_HOME")?;
    let mut logins = read(&path)?;
    logins.insert(server.to_owned(), token.to_owned());
    write(&path, &logins)?;
    Ok(path)
}

/// Forgets the token for a server.
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
