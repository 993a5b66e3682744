//! The verbs as a person at a shell meets them: the built binary against a real `laneway serve`.

mod certificates;
mod confirmed;
mod day;
mod lanes;
mod people;
mod promote;
mod refusals;
mod resources;
mod tap;
mod tokens;
mod top;

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use testkit::{CommandResult, Sandbox};

/// Longest that anything here may take to become so. Debug builds on a busy machine take a few seconds.
const SOON: Duration = Duration::from_secs(20);

/// Two services, one of them with a gray instance, and a lane for it.
const TRADE: &str = "\
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {name: fixed}
spec:
  static:
    services:
    - name: sc-A
      application: spring-cloud-a
      instances: [{address: '127.0.0.1:9991'}, {address: '127.0.0.1:9992', tag: gray}]
    - name: sc-B
      application: spring-cloud-b
      instances: [{address: '127.0.0.1:9993'}]
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-a}
spec: {source: fixed, service: sc-A}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [spring-cloud-a, spring-cloud-b]}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: trade-gray}
spec:
  group: trade
  tag: gray
  entry:
    content:
      conditions:
      - {header: canary, operator: \"==\", value: gray}
";

fn sandbox() -> Result<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_laneway"))
}

/// Runs a command against the sandbox's control plane that reads `input`.
fn run_with_input(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Result<CommandResult> {
    feed(sandbox.laneway(arguments), input)
}

/// Runs a command that reads `input` and knows no control plane.
fn run_offline(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Result<CommandResult> {
    let mut command = sandbox.laneway(arguments);
    command.env_remove("LANEWAY_SERVER");
    feed(command, input)
}

fn feed(mut command: Command, input: &str) -> Result<CommandResult> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(CommandResult {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Asserts exit code and both outputs.
#[track_caller]
fn check(result: &CommandResult, code: i32, stdout: &str, stderr: &str) {
    let got = (result.code, result.stdout.as_str(), result.stderr.as_str());
    assert_eq!(got, (Some(code), stdout, stderr));
}
