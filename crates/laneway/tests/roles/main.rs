//! The long-running commands as an operator meets them: addresses, settings, data directories, signals, restarts.
//! Every process is the real one.

mod activation;
mod addresses_and_settings;
mod attacks;
mod backend_tls;
mod backup;
mod capturing;
mod changes;
mod data_planes;
mod door;
mod drain;
mod full_disk;
mod handshakes;
mod https;
mod joining;
mod listeners;
mod lossy;
mod monitoring;
mod resources_directory;
mod shortage;
mod slow;
mod twice;
mod upgrade;

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use testkit::{Host, Process, Sandbox, http, sample, wait};

/// Longest that anything here may take to become so. Debug builds on a busy machine take a few seconds.
const SOON: Duration = Duration::from_secs(20);

fn sandbox() -> Result<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_laneway"))
}

/// A `laneway` process on a host of its own; it shows the token of this test.
fn start_on(sandbox: &Sandbox, host: &Host, name: &str, arguments: &[&str]) -> Result<Process> {
    start_on_with(sandbox, host, name, arguments, |_| {})
}

/// The same with changes of what is run.
fn start_on_with(
    sandbox: &Sandbox,
    host: &Host,
    name: &str,
    arguments: &[&str],
    change: impl FnOnce(&mut Command),
) -> Result<Process> {
    let token = sandbox.path("token");
    // Once: whoever was started before may be about to read it.
    if !token.exists() {
        std::fs::write(&token, "the-token-of-this-test-alone")?;
    }
    let plain = sandbox.laneway(arguments);
    let mut command = host.command(plain.get_program());
    command.args(plain.get_args()).arg("--join-token-file").arg(token);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("--data").arg(sandbox.path(name));
    change(&mut command);
    Process::start(name, &mut command, sandbox.directory())
}

/// A static source with one instance, and a route to it: a mesh without any registration.
fn fixed(instance: &str) -> String {
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec: {{static: {{services: [{{name: sc-C, application: app-c, instances: [{{address: '{instance}'}}]}}]}}}}
{}",
        sample::routed("c", "fixed")
    )
}

/// Waits until a GET is answered with this status, and with these words in the body.
#[track_caller]
fn answers(address: &str, target: &str, status: u16, words: &str) -> Result<()> {
    wait::until(SOON, &format!("{status} {words:?} from {address}{target}"), || {
        let answer = http::get(address, target, &[])?;
        if answer.status != status || !answer.body.contains(words) {
            bail!("{} {}", answer.status, answer.body);
        }
        Ok(())
    })
}

/// Waits for a process to say where it listens, as `gateway` or `api`.
fn printed_address(process: &Process, what: &str) -> Result<String> {
    wait::until(SOON, &format!("{} prints its {what} address", process.name()), || {
        let output = process.output();
        let line = output.lines().find(|line| line.ends_with(&format!("({what})")));
        let address = line.and_then(|line| line.strip_prefix("listening on "));
        let address = address.and_then(|line| line.split(' ').next());
        address.map(str::to_owned).with_context(|| output.clone())
    })
}

/// Waits for words in what a process says.
fn says(process: &Process, words: &str) -> Result<()> {
    wait::until_true(SOON, &format!("{} says {words:?}", process.name()), || {
        process.output().contains(words)
    })
}
