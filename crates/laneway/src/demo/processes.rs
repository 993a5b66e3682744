//! The demo's processes: started with a log file each, watched, and ended together.
//!
//! Each is started through the hidden command `child-of`, which asks the kernel to stop it when the demo dies,
//! whatever the demo dies of.

use std::{
    fmt,
    fs::File,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// How long processes may take to end before they are killed: a sidecar drains for a second, and deregisters.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Lines of a log that are shown when its process ends unexpectedly.
const LOG_TAIL_LINES: usize = 10;

/// What runs.
#[derive(Debug)]
pub(crate) struct Processes {
    program: PathBuf,
    logs: PathBuf,
    running: Vec<Running>,
    tell: mpsc::UnboundedSender<Ended>,
    told: mpsc::UnboundedReceiver<Ended>,
}

#[derive(Debug)]
struct Running {
    name: String,
    pid: Pid,
}

/// A process that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// Its name.
    pub(crate) name: String,
    pid: Pid,
    status: ExitStatus,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {}) has ended: {}", self.name, self.pid, self.status)
    }
}

impl Processes {
    /// None yet. `logs` is created.
    pub(crate) fn new(program: PathBuf, logs: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        // As many messages as processes: one each.
        let (tell, told) = mpsc::unbounded_channel();
        Ok(Self { program, logs, running: Vec::new(), tell, told })
    }

    /// Starts this program with other arguments.
    pub(crate) fn start(&mut self, name: &str, arguments: &[String]) -> anyhow::Result<()> {
        let path = self.logs.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let errors = log.try_clone().with_context(|| format!("use {}", path.display()))?;
        let mut child = Command::new(&self.program)
            .args(["child-of", &std::process::id().to_string(), "--"])
            .args(arguments)
            // What the user's environment says is meant for other instances than these.
            .env_clear()
            // A terminal's interrupt goes to the demo alone, which ends the others in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = Pid::from_child(&child);
        self.running.push(Running { name: name.to_owned(), pid });
        let (tell, name) = (self.tell.clone(), name.to_owned());
        // A thread waits: with processes of its own, the runtime would look after them on every request of a proxy.
        std::thread::spawn(move || {
            // Waiting for a child of our own fails only if somebody else has taken its status.
            if let Ok(status) = child.wait() {
                let _ = tell.send(Ended { name, pid, status });
            }
        });
        Ok(())
    }

    /// Name and process number of everything that runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&str, Pid)> {
        self.running.iter().map(|running| (running.name.as_str(), running.pid))
    }

    /// A process that has ended since the last call, if any.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        let ended = self.told.try_recv().ok()?;
        self.running.retain(|running| running.pid != ended.pid);
        Some(ended)
    }

    /// Waits for the next process to end.
    pub(crate) async fn next_ended(&mut self) -> Ended {
        match self.told.recv().await {
            Some(ended) => {
                self.running.retain(|running| running.pid != ended.pid);
                ended
            }
            None => unreachable!("this end keeps a sender of its own"),
        }
    }

    /// Kills one process, as an accident would, and waits until it is gone.
    pub(crate) async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let running = self.running.iter().find(|running| running.name == name);
        let pid = running.with_context(|| format!("{name} does not run"))?.pid;
        kill_process(pid, Signal::KILL).with_context(|| format!("kill {name}"))?;
        while self.running.iter().any(|running| running.pid == pid) {
            self.next_ended().await;
        }
        Ok(())
    }

    /// The last lines a process logged.
    pub(crate) fn log_tail(&self, name: &str) -> String {
        let path = self.logs.join(format!("{name}.log"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
        lines[tail..].join("\n")
    }

    /// Ends everything, the last started first, so that sidecars can still deregister; kills what does not end.
    pub(crate) async fn stop(&mut self) {
        let Some(first) = self.running.first().map(|running| running.pid) else { return };
        for running in self.running.iter().skip(1) {
            // One that has just ended cannot be told to.
            let _ = kill_process(running.pid, Signal::TERM);
        }
        self.wait_until(1).await;
        let _ = kill_process(first, Signal::TERM);
        self.wait_until(0).await;
    }

    async fn wait_until(&mut self, left: usize) {
        let all_ended = async {
            while self.running.len() > left {
                self.next_ended().await;
            }
        };
        if tokio::time::timeout(STOP_DEADLINE, all_ended).await.is_err() {
            for running in self.running.iter().skip(left) {
                tracing::warn!(name = running.name, "does not end; killed");
                let _ = kill_process(running.pid, Signal::KILL);
            }
        }
    }
}
