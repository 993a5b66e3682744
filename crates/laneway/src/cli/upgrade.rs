//! `laneway upgrade`: has a running gateway or sidecar replaced by what is now at its path, and says what became of it.

use std::{fs, path::Path, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

use super::output;
use crate::{
    config::default_data,
    data_directory::{holder, is_held},
    upgrade::outcome::Outcome,
};

/// How often is looked what became of it.
const LOOK: Duration = Duration::from_millis(50);

/// How long it may take: longer than the process itself waits for its successor.
const WITHIN: Duration = Duration::from_secs(40);

/// The arguments of `laneway upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The data directory of the gateway or sidecar. Default: that of the only one that this user runs
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    data: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn run(verb: Upgrade) -> anyhow::Result<ExitCode> {
    let data = match verb.data {
        Some(data) => data,
        None => only_one(&in_use())?,
    };
    let Some(process) = holder(&data)? else {
        bail!(
            "data: nothing runs on `{}`: name the data directory of a gateway or sidecar",
            data.display()
        )
    };
    if !takes_the_signal(process) {
        bail!(
            "process {process} is of a release that cannot be replaced while it runs: restart it"
        );
    }
    // One that has given its place already is not asked again.
    let before = Outcome::read(&data, process);
    let is_done = before.as_ref().is_some_and(|outcome| outcome.successor.is_some());
    let number = i32::try_from(process).ok().and_then(Pid::from_raw);
    let number = number.context("no process has this number")?;
    if !is_done {
        kill_process(number, Signal::USR2).with_context(|| format!("ask process {process}"))?;
    }
    let until = Instant::now() + WITHIN;
    loop {
        // What it has said is read after it has ended, if it has.
        let has_ended = has_ended(number);
        let told =
            Outcome::read(&data, process).filter(|it| is_done || Some(it) != before.as_ref());
        match told {
            Some(Outcome { successor: Some(successor), .. }) => {
                output::line(format_args!(
                    "process {successor} has the place of process {process}, which finishes what it has begun"
                ));
                return Ok(ExitCode::SUCCESS);
            }
            Some(Outcome { reason, .. }) => {
                let reason = reason.unwrap_or_default();
                bail!("process {process} goes on, since the new one does not serve: {reason}")
            }
            // It holds the directory with its successor; where nothing can be written that alone tells.
            None if has_ended && is_held(&data) => {
                output::line(format_args!(
                    "process {process} has ended, and another has its place; which one could not be written in `{}`",
                    data.display()
                ));
                return Ok(ExitCode::SUCCESS);
            }
            None if has_ended => bail!("process {process} has ended; its log says why"),
            None if Instant::now() >= until => {
                bail!("process {process} has not said what became of it; its log does")
            }
            None => sleep(LOOK).await,
        }
    }
}

/// The data directories of this user's gateways and sidecars that are in use.
fn in_use() -> Vec<PathBuf> {
    let all = default_data("gateway").and_then(|data| data.parent().map(fs::read_dir));
    let all = all.and_then(Result::ok).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        all.map(|entry| entry.path()).filter(|it| is_data_planes(it)).collect();
    found.sort();
    found
}

fn is_data_planes(data: &Path) -> bool {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    (name == "gateway" || name.starts_with("sidecar")) && is_held(data)
}

fn only_one(found: &[PathBuf]) -> anyhow::Result<PathBuf> {
    match found {
        [only] => Ok(only.clone()),
        [] => bail!(
            "data: no gateway or sidecar of this user runs on a default directory: name one with --data"
        ),
        several => {
            let shown: Vec<_> = several.iter().map(|data| data.display().to_string()).collect();
            bail!("data: several run, on {}: name one with --data", shown.join(", "))
        }
    }
}

/// Whether a process has ended, also where its parent has not asked for it yet.
fn has_ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).ok();
    let state = stat.as_deref().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    match state {
        Some(state) => state == 'Z',
        None => test_kill_process(process).is_err(),
    }
}

/// Whether a process has a handler for the signal, which would end it otherwise. What cannot be seen is believed.
fn takes_the_signal(process: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_none_or(|mask| mask & 1 << (Signal::USR2.as_raw() - 1) != 0)
}
