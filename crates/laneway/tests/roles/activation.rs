//! A gateway whose sockets systemd keeps: a restart refuses nobody, and ports that its Gateway asks for later are there.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Sandbox, wait};

use crate::{
    SOON, answers, fixed, sandbox,
    upgrade::{Last, callers::serve_application},
};

/// A further port of the Gateway.
const FURTHER: u16 = 8001;

/// What systemd has: the sockets, whether a gateway runs or not.
struct Supervisor {
    sandbox: Sandbox,
    first: TcpListener,
    further: TcpListener,
}

/// A gateway that was started with them.
struct Activated {
    child: Child,
}

impl Supervisor {
    fn new() -> Result<Self> {
        let sandbox = sandbox()?;
        let first = TcpListener::bind(sandbox.gateway_address())?;
        let further = TcpListener::bind(sandbox.endpoint(1, FURTHER))?;
        Ok(Self { sandbox, first, further })
    }

    /// A control plane, and an application that it knows.
    fn beside(&self) -> Result<impl Sized> {
        let (sandbox, application) = (&self.sandbox, self.sandbox.endpoint(3, 8080));
        let both = (sandbox.control(&[])?, serve_application(&application)?);
        sandbox.apply(&fixed(&application))?;
        Ok(both)
    }

    /// Starts a gateway as systemd does: with the sockets as files 3 and 4, and their number for this process alone.
    fn start(&self, listen: &str) -> Result<Activated> {
        let (sandbox, log) = (&self.sandbox, self.log());
        let plain = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "exec 3<&0 4<&1 0</dev/null 1>>\"$0\" 2>&1; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\"",
        ]);
        command.arg(log).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("SYSTEMD_EXEC_PID");
        command.args(["--gateway-listen", listen]);
        command.args(["--admin-listen", &sandbox.endpoint(1, 15_020)]);
        command.arg("--data").arg(sandbox.path("gateway"));
        command.stdin(OwnedFd::from(self.first.try_clone()?));
        command.stdout(OwnedFd::from(self.further.try_clone()?));
        Ok(Activated { child: command.spawn().context("start a gateway")? })
    }

    fn log(&self) -> PathBuf {
        self.sandbox.path("activated.log")
    }

    /// What gateways have said.
    fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A request of somebody who has connected, whether anybody accepts or not.
    fn ask(&self, port: u16) -> Result<TcpStream> {
        let address = self.sandbox.endpoint(1, port).parse()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))
            .with_context(|| format!("connect to {address} while nobody accepts"))?;
        stream.set_read_timeout(Some(SOON))?;
        write!(stream, "GET /c HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        Ok(stream)
    }

    /// A request that is not answered any more, for now.
    fn asks_in_vain(&self, port: u16) -> Result<TcpStream> {
        wait::until(SOON, "a request that waits", || {
            let stream = self.ask(port)?;
            stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            match stream.peek(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.set_read_timeout(Some(SOON))?;
                    Ok(stream)
                }
                answered => bail!("{answered:?}"),
            }
        })
    }
}

impl Activated {
    /// SIGTERM, and its end.
    fn stop(&mut self) -> Result<ExitStatus> {
        signal(i32::try_from(self.child.id())?, Signal::TERM)?;
        self.ended()
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        wait::until(SOON, "its end", || self.child.try_wait()?.context("it still runs"))
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn signal(process: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(process).context("a process")?, signal)?)
}

/// The answer to somebody who has asked.
fn is_answered(mut stream: TcpStream) -> Result<()> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    Ok(())
}

#[test]
fn who_connects_while_a_gateway_is_restarted_waits_and_is_not_refused() -> Result<()> {
    let supervisor = Supervisor::new()?;
    let sandbox = &supervisor.sandbox;
    let _beside = supervisor.beside()?;
    let listen = sandbox.gateway_address();
    let mut gateway = supervisor.start(&listen)?;
    answers(&listen, "/c", 200, "ok")?;
    // Its own end, twice: what one leaves behind the next one meets.
    for _ in 0..2 {
        ensure!(gateway.stop()?.success(), "{}", supervisor.output());
        let waits = supervisor.ask(8000)?;
        gateway = supervisor.start(&listen)?;
        is_answered(waits)?;
    }
    // No listener has asked for the further port, which is said; its Gateway does now.
    ensure!(supervisor.output().contains("no listener asks for it yet"), "{}", supervisor.output());
    let waits = supervisor.ask(FURTHER)?;
    sandbox.apply(&gateway_with(&[8000, FURTHER]))?;
    is_answered(waits)?;
    // It goes and comes back: the socket is the supervisor's, and is there.
    sandbox.apply(&gateway_with(&[8000]))?;
    let waits = supervisor.asks_in_vain(FURTHER)?;
    sandbox.apply(&gateway_with(&[8000, FURTHER]))?;
    is_answered(waits)
}

#[test]
fn a_successor_leaves_the_sockets_to_the_supervisor_too() -> Result<()> {
    let supervisor = Supervisor::new()?;
    let sandbox = &supervisor.sandbox;
    let _beside = supervisor.beside()?;
    let listen = sandbox.gateway_address();
    let mut gateway = supervisor.start(&listen)?;
    answers(&listen, "/c", 200, "ok")?;
    let data = sandbox.path("gateway");
    let last = Last(data.clone());
    sandbox.must(&["upgrade", "--data", &data.to_string_lossy()])?;
    ensure!(gateway.ended()?.success(), "{}", supervisor.output());
    answers(&listen, "/c", 200, "ok")?;
    // The one that nobody had asked for yet was handed on with the others.
    let waits = supervisor.ask(FURTHER)?;
    sandbox.apply(&gateway_with(&[8000, FURTHER]))?;
    is_answered(waits)?;
    let successor = last.process().context("the successor")?;
    signal(successor, Signal::TERM)?;
    wait::until_true(SOON, "the end of the successor", || {
        !Path::new("/proc").join(successor.to_string()).exists()
    })?;
    let waiting = [supervisor.ask(8000)?, supervisor.ask(FURTHER)?];
    let _gateway = supervisor.start(&listen)?;
    waiting.into_iter().try_for_each(is_answered)
}

#[test]
fn a_socket_and_a_setting_that_say_different_things_are_refused() -> Result<()> {
    let supervisor = Supervisor::new()?;
    let sandbox = &supervisor.sandbox;
    let handed = format!("{}, {}", sandbox.gateway_address(), sandbox.endpoint(1, FURTHER));
    // Another address, and another port: callers of the sockets would wait for nobody.
    for listen in ["127.0.0.1:8000".to_owned(), sandbox.endpoint(1, 8080)] {
        let mut gateway = supervisor.start(&listen)?;
        // systemd does not try again after this.
        ensure!(gateway.ended()?.code() == Some(64), "{}", supervisor.output());
        let said = supervisor.output();
        let words = format!("gateway-listen: `{listen}`: systemd hands over sockets at {handed}");
        ensure!(said.contains(&words), "{said}");
    }
    Ok(())
}

/// The Gateway `edge` with these ports.
fn gateway_with(ports: &[u16]) -> String {
    let listeners: Vec<_> = ports
        .iter()
        .map(|port| format!("{{name: port-{port}, port: {port}, protocol: HTTP}}"))
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec: {{gatewayClassName: laneway, listeners: [{}]}}
",
        listeners.join(", ")
    )
}
