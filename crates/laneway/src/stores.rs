//! Where this user's control planes keep their stores: `backup` and `restore` find the one that is meant without being
//! told again what the control plane was told.

use std::{
    fs,
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, bail};

use crate::{config::default_data, data_directory};

/// The file in the data directory that holds all objects.
pub(crate) const DATABASE_FILE: &str = "laneway.db";

/// Beside the default data directories: the data directory of the control plane that was started last.
const LAST: &str = "last-data-directory";

/// Remembers the data directory of a control plane that starts. That it cannot be remembered hinders nothing.
pub(crate) fn remember(data: &Path) {
    let Some(file) = default_data(LAST) else { return };
    let written = absolute(data).and_then(|data| {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&file, data.to_string_lossy().as_bytes())
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the data directory is not remembered");
    }
}

/// The data directory that is meant: the one that was named, else the only one with a store, else the only one of
/// these that is in use.
pub(crate) fn find(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named);
    }
    let last = default_data(LAST).and_then(|file| fs::read_to_string(file).ok()).map(PathBuf::from);
    choose(last.into_iter().chain(defaults()))
}

/// Where control planes of this user keep their data unless they are told otherwise.
pub(crate) fn defaults() -> impl Iterator<Item = PathBuf> {
    ["serve", "control"].into_iter().filter_map(default_data)
}

fn choose(directories: impl Iterator<Item = PathBuf>) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> =
        directories.filter(|data| data.join(DATABASE_FILE).exists()).collect();
    found.sort();
    found.dedup();
    let in_use: Vec<&PathBuf> = found.iter().filter(|data| data_directory::is_held(data)).collect();
    match (found.as_slice(), in_use.as_slice()) {
        ([only], _) => Ok(only.clone()),
        (_, [only]) => Ok((*only).clone()),
        ([], _) => default_data("serve")
            .context("data: name the control plane's data directory with --data"),
        _ => {
            let shown: Vec<_> = found.iter().map(|data| data.display().to_string()).collect();
            bail!("data: there are stores in {}: name one with --data", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_directory::{DataDirectory, Unwritable};

    #[test]
    fn the_store_that_is_meant_is_found_or_asked_for() {
        let parent = tempfile::tempdir().unwrap();
        let [one, other, empty] = ["one", "other", "empty"].map(|name| parent.path().join(name));
        let held = DataDirectory::take(&one, Unwritable::IsRefused).unwrap();
        for data in [&one, &other] {
            fs::create_dir_all(data).unwrap();
            fs::write(data.join(DATABASE_FILE), "").unwrap();
        }
        let choose = |directories: &[&PathBuf]| super::choose(directories.iter().copied().cloned());
        assert_eq!(choose(&[&other, &empty, &other]).unwrap(), other);
        assert_eq!(choose(&[&other, &one]).unwrap(), one, "it is in use");
        drop(held);
        let asked = choose(&[&one, &other]).unwrap_err().to_string();
        assert!(asked.contains("name one with --data"), "{asked}");
    }
}
