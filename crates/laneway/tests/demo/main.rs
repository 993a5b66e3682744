//! `laneway demo`, run as a user runs it, in a network namespace of its own: its addresses are fixed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a failed expectation is a failed test; a test is told its binary by the environment"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use testkit::{Process, needs, wait};

/// Only one demo at a time: eleven processes want both cores.
static TURN: Mutex<()> = Mutex::new(());

/// How long the demo may take until it says what is running, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long the demo's processes may outlive it: they finish what they have.
const END_DEADLINE: Duration = Duration::from_secs(10);

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock()
}

/// The demo in a network namespace that has nothing but a loopback of its own.
fn demo(arguments: &[&str]) -> Command {
    let binary = std::env::var_os("LANEWAY_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_laneway")), PathBuf::from);
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    command.arg(binary).arg("demo").args(arguments);
    command
}

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    format!("{said}{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_scenario_is_as_it_should_be() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    let output = demo(&["--once", "--tls"]).output().unwrap();
    let said = text(&output);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
    let checks = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(checks, 8, "{said}");
}

#[test]
fn with_gray_c_killed_base_serves_its_hop_and_nothing_fails() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    // What it keeps for whoever looks for the reason goes with the test.
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let output = demo(&["--once", "--kill", "C-gray", "--data", data]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let chain =
        "ok      gray chain: Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
    assert!(said.lines().any(|line| line.starts_with(chain)), "{said}");
}

#[test]
fn with_base_b_killed_it_fails_and_names_the_hop() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    // What it keeps for whoever looks for the reason goes with the test.
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let output = demo(&["--once", "--kill", "B", "--data", data]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().find(|line| line.starts_with("FAILED  base chain: "));
    assert!(line.is_some_and(|line| line.contains("hop 2 (sc-B)")), "{said}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    let mut command = Command::new("unshare");
    let script = "ip link set lo up && \
        python3 -c 'import socket, sys, subprocess\n\
        taken = socket.create_server((\"127.0.0.11\", 15001))\n\
        sys.exit(subprocess.run(sys.argv[1:]).returncode)' \"$0\" demo --once";
    let binary = env!("CARGO_BIN_EXE_laneway");
    let output = command.args(["--net", "sh", "-c", script, binary]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("127.0.0.11:15001 (A outbound): Address already in use"), "{said}");
}

/// The children of a process, by its number.
fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse::<u32>().ok()
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// Starts the demo to play with, waits until it says what to try, and gives its children.
fn playing(arguments: &[&str], logs: &Path) -> (Process, Vec<u32>) {
    let mut demo = Process::start("demo", &mut demo(arguments), logs).unwrap();
    wait::until_true(START_DEADLINE, "what to try", || {
        assert!(demo.ended().is_none(), "{}", demo.output());
        demo.output().contains("\nInterrupt with Ctrl-C to end everything.\n")
    })
    .unwrap();
    let children = children(demo.id());
    // Control plane and gateway in one, five applications, five sidecars.
    assert_eq!(children.len(), 11, "{}", demo.output());
    (demo, children)
}

fn wait_until_gone(processes: &[u32]) {
    wait::until_true(END_DEADLINE, "the end of every process", || {
        processes.iter().all(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie has ended; who takes its status is no concern of the demo.
            stat.is_empty() || stat.contains(") Z ")
        })
    })
    .unwrap();
}

#[test]
fn interrupted_it_ends_everything() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    let logs = tempfile::tempdir().unwrap();
    let (mut demo, children) = playing(&[], logs.path());
    demo.signal(rustix::process::Signal::INT);
    assert!(demo.wait_for_end(END_DEADLINE).unwrap().success(), "{}", demo.output());
    wait_until_gone(&children);
}

#[test]
fn killed_it_leaves_nothing_running() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    let logs = tempfile::tempdir().unwrap();
    let (mut demo, children) = playing(&[], logs.path());
    demo.kill();
    wait_until_gone(&children);
}

#[test]
fn what_it_says_to_try_in_tls_is_answered() {
    if !needs("netns") {
        return;
    }
    let _turn = turn();
    let logs = tempfile::tempdir().unwrap();
    let (mut demo, _) = playing(&["--tls"], logs.path());
    let said = demo.output();
    let lines = said.lines().filter(|line| line.trim_start().starts_with("curl --cacert "));
    // What follows on the line, after two spaces, is for people.
    let commands: Vec<&str> =
        lines.map(|line| line.trim_start().split("  ").next().unwrap()).collect();
    assert_eq!(commands.len(), 2, "{said}");
    for command in commands {
        let mut there = Command::new("nsenter");
        there.args(["--net", "--target", &demo.id().to_string(), "sh", "-c", command]);
        let output = there.output().unwrap();
        let chain = "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
        assert!(text(&output).contains(chain), "{command}: {}", text(&output));
    }
    demo.signal(rustix::process::Signal::INT);
    assert!(demo.wait_for_end(END_DEADLINE).unwrap().success(), "{}", demo.output());
}
