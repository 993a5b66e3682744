//! Wall clocks that a test sets, of real processes: one for each command (`control`, `sidecar`, …).

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::program;

/// The clocks of a sandbox's processes.
#[derive(Debug)]
pub(crate) struct Clocks {
    library: PathBuf,
    files: HashMap<&'static str, (PathBuf, File)>,
}

impl Clocks {
    /// Clocks that are right, for processes of these commands.
    pub(crate) fn new(directory: &Path, commands: &[&'static str]) -> Result<Self> {
        let library = program::build("clock", &["--crate-type", "cdylib"])?;
        let mut files = HashMap::new();
        for command in commands {
            let path = directory.join(format!("clock-{command}"));
            fs::write(&path, 0_i64.to_ne_bytes()).context("write a clock")?;
            let file = File::options().write(true).open(&path).context("open a clock")?;
            files.insert(*command, (path, file));
        }
        Ok(Self { library, files })
    }

    /// From now on the clocks of these processes are so many seconds ahead of the true one, or behind.
    pub(crate) fn set(&self, command: &str, ahead_seconds: i64) -> Result<()> {
        let (_, file) = self.files.get(command).context("no clock of this command")?;
        file.write_at(&ahead_seconds.to_ne_bytes(), 0).context("set a clock")?;
        Ok(())
    }

    /// Has a process of this command look at its clock.
    pub(crate) fn show(&self, name: &str, command: &mut Command) {
        if let Some((path, _)) = self.files.get(name) {
            command.env("LD_PRELOAD", &self.library).env("TESTKIT_CLOCK", path);
        }
    }
}
