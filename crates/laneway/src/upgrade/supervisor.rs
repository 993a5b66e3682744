//! What systemd is told (`sd_notify`): that a process serves, that another one is the main one now, that it stops.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, getppid};

use super::VARIABLE as PREDECESSOR;

/// Names the socket of whoever wants to know.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// What waits for the end of what it has started, takes it for the end of all, and cannot be told of another process.
const WAITING: [&str; 6] = ["runsv", "supervisord", "s6-supervise", "circusd", "tini", "dumb-init"];

/// Fails where somebody would take the end of this process for the end of all: whoever started it waits for it, and cannot
/// be told that another process is the main one now.
pub(crate) fn may_be_succeeded() -> anyhow::Result<()> {
    if let Some(name) = env::var_os(VARIABLE) {
        return say(&name, "STATUS=another process is to take the place of this one")
            .with_context(|| format!("tell the supervisor at {}", name.display()));
    }
    let own = std::process::id();
    if own == 1 {
        bail!("this is process 1: its end ends the container; restart that");
    }
    let executed = env::var_os("SYSTEMD_EXEC_PID");
    if executed.is_some_and(|process| process.to_str() == Some(&own.to_string())) {
        bail!(
            "systemd would stop the new process with this one: say Type=notify in the unit, and start it anew once"
        );
    }
    // Whoever waited for the first of several has seen its end.
    if env::var_os(PREDECESSOR).is_some() {
        return Ok(());
    }
    let parent = getppid().map_or(1, Pid::as_raw_pid);
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let name = name.trim();
    let is_init = ["systemd", "init"].contains(&name);
    if parent == 1 && !is_init || WAITING.contains(&name) {
        bail!(
            "process {parent} ({name}) waits for the end of this one, and would take it for the end of all: restart it there"
        );
    }
    Ok(())
}

/// Whether there is one that hears, and starts this program anew when all of its processes have ended.
pub(crate) fn is_there() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// This process serves, as the main one.
pub(crate) fn serves() {
    tell(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// Another process is the main one from now on.
pub(crate) fn is_succeeded_by(process: u32) {
    tell(&format!("MAINPID={process}"));
}

/// This process ends, and may take so long for it: systemd kills it no earlier, however short the unit's own time is.
pub(crate) fn stops(within: Duration) {
    tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
}

fn tell(what: &str) {
    let Some(name) = env::var_os(VARIABLE) else { return };
    let said =
        address(&name).and_then(|to| UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &to));
    if let Err(error) = said {
        tracing::warn!(socket = ?name, %error, "the supervisor cannot be told how this process stands");
    }
}

fn say(name: &OsString, what: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address(name)?).map(drop)
}

/// A path, or after `@` a name without one.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}
