//! A process that a test started: its output goes to a file, it ends with the test, and a failing test shows the file.
#![allow(clippy::print_stderr, reason = "a failing test shows what its processes said")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Lines of a process's output that a failing test shows.
const SHOWN_LINES: usize = 40;

/// A running child process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    over: bool,
}

impl Process {
    /// Starts a command; what it prints goes to `NAME.log` in `logs`, after what an earlier process of the name printed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let errors = file.try_clone().context("share the log between stdout and stderr")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log, over: false })
    }

    /// The name it was started by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs; otherwise how it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.over |= status.is_some();
        status
    }

    /// `kill -9`: no warning, nothing finished.
    pub fn kill(&mut self) {
        if !self.over {
            let _already_gone = self.child.kill();
            let _status = self.child.wait();
            self.over = true;
        }
    }

    /// Sends SIGTERM and goes on; [`Process::wait_for_end`] tells when it has ended.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal to a process that still runs.
    pub fn signal(&self, signal: Signal) {
        if !self.over
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _already_gone = kill_process(pid, signal);
        }
    }

    /// Waits for the end of a process that was asked to stop.
    ///
    /// # Errors
    /// When it has not ended by the deadline.
    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait::until(deadline, &what, || match self.ended() {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- {} (last {} lines)", self.name, lines.len() - from);
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}
