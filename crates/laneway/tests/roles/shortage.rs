//! A process that is short of something of its own blames no instance for it: lanes stay as they are.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use testkit::{Process, Sandbox, http, sample, wait};

use crate::{SOON, answers, sandbox};

/// Callers that ask, and files the gateway may open besides those it has: fewer than the idle ones take.
const ASKING: usize = 4;
const FILES_LEFT: u64 = 8;
const IDLE: usize = 24;

/// A group whose lane `gray` has an instance of its own; both instances are static.
fn resources(sandbox: &Sandbox) -> Result<String> {
    let (base, gray) = (sandbox.endpoint(3, 8080), sandbox.endpoint(4, 8080));
    let content = format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec: {{static: {{services: [{{name: sc-A, application: app-a, instances: [{{address: '{base}'}}, {{address: '{gray}', tag: gray}}]}}]}}}}
{}",
        sample::chain(&["gray"]).replace("source: embedded", "source: fixed")
    );
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("all.yaml"), content)?;
    Ok(directory.to_string_lossy().into_owned())
}

fn application(sandbox: &Sandbox, label: &str, host: u8) -> Result<Process> {
    let mut command = std::process::Command::new(testkit::application::program()?);
    command.args([label, &sandbox.endpoint(host, 8080)]);
    Process::start(&format!("{label}-{host}"), &mut command, sandbox.directory())
}

fn open_files(process: &Process) -> Result<u64> {
    let files = fs::read_dir(format!("/proc/{}/fd", process.id()))?;
    Ok(files.count() as u64)
}

/// Asks for a lane on a connection that stays.
fn ask(caller: &mut TcpStream, lane: &str) -> Result<http::Answer> {
    let request = format!("GET /a HTTP/1.1\r\nhost: shop\r\ncanary: {lane}\r\n\r\n");
    caller.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some((answer, _)) = http::parse(&received)? {
            return Ok(answer);
        }
        match caller.read(&mut piece)? {
            0 => bail!("closed after {} bytes", received.len()),
            bytes => received.extend_from_slice(&piece[..bytes]),
        }
    }
}

#[test]
fn a_gateway_without_files_ejects_nobody() -> Result<()> {
    let sandbox = sandbox()?;
    let _applications = [application(&sandbox, "A", 3)?, application(&sandbox, "Agray", 4)?];
    let _control = sandbox.control(&["--resources", &resources(&sandbox)?])?;
    let gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let address = sandbox.gateway_address();
    answers(&address, "/a", 200, "A[")?;

    let connect = || -> Result<TcpStream> {
        let caller = TcpStream::connect(&address)?;
        caller.set_read_timeout(Some(SOON))?;
        Ok(caller)
    };
    let mut asking = (0..ASKING).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    // From here on all are let in; base has a connection that waits, the lane has none.
    for caller in &mut asking {
        assert_eq!(ask(caller, "")?.status, 200);
    }
    let files = open_files(&gateway)? + FILES_LEFT;
    let process = i32::try_from(gateway.id()).ok().and_then(Pid::from_raw);
    prlimit(process, Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })?;
    let idle = (0..IDLE).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    wait::until_true(SOON, "all files of the gateway are used up", || {
        open_files(&gateway).is_ok_and(|open| open >= files)
    })?;
    for caller in &mut asking {
        let answer = ask(caller, "gray")?;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains("Too many open files"), "{}", answer.body);
    }

    drop(idle);
    // As soon as there are files again the lane serves its own; in no case does base.
    let caller = asking.first_mut().context("a caller")?;
    let mut short = ASKING;
    wait::until(SOON, "the lane's instance answers", || {
        let answer = ask(caller, "gray")?;
        assert!(!answer.body.starts_with("A["), "{}", answer.body);
        if answer.status == 200 {
            return Ok(());
        }
        short += 1;
        bail!("{} {}", answer.status, answer.body)
    })?;
    for caller in &mut asking {
        let answer = ask(caller, "gray")?;
        assert!(answer.status == 200 && answer.body.starts_with("Agray["), "{}", answer.body);
    }
    let admin = sandbox.endpoint(1, 15020);
    answers(&admin, "/metrics", 200, &format!("laneway_shortages_total {short}\n"))?;
    answers(&admin, "/metrics", 200, "laneway_ejections_total 0\n")
}
