//! A program under test that runs, and what all of them have.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Guard, door::Door, wait_until_answers};

/// Laneway, and the contenders that are no peers: what only copies bytes, and nothing at all.
pub(super) const LANEWAY: &str = "laneway";
pub(super) const FLOOR: &str = "tcp-forwarder";
pub(super) const DIRECT: &str = "no proxy";
/// All that may stand in a column, in the page's order.
pub(super) const NAMES: [&str; 6] = [DIRECT, FLOOR, LANEWAY, "nginx", "haproxy", "envoy"];

/// One program under test, running; or two in a row.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) doors: Vec<(Door, String)>,
    /// What is counted.
    pub(super) processes: Vec<Guard>,
    /// What must be there beside it and moves no request.
    pub(super) beside: Vec<Guard>,
}

impl Contender {
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(|process| process.0.id())
    }

    /// Has all of it end in order.
    pub(super) fn end(self) -> Result<()> {
        self.processes.into_iter().chain(self.beside).try_for_each(Guard::end)
    }

    pub(super) fn address(&self, door: Door) -> Option<&str> {
        let found = self.doors.iter().find(|(other, _)| *other == door);
        found.map(|(_, address)| address.as_str())
    }
}

/// Once it answers at every door.
pub(super) fn ready(
    name: &'static str,
    version: String,
    doors: Vec<(Door, String)>,
    processes: Vec<Guard>,
) -> Result<Contender> {
    for (door, address) in &doors {
        wait_until_answers(*door, address, &["-Hcanary: gray"])
            .with_context(|| format!("start {name}"))?;
    }
    Ok(Contender { name, version, doors, processes, beside: Vec::new() })
}

/// The first line a program says of itself, wherever it says it.
pub(super) fn version(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program).arg(flag).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    // Envoy begins with where it lies, which is nobody's business.
    Ok(line.strip_prefix(&*program.to_string_lossy()).unwrap_or(line).trim().to_owned())
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
