//! A gateway or a sidecar is replaced by another process while it serves: nothing is refused, nothing cut, and one that
//! does not come to serve changes nothing.
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests say what they did, and are told how much to do"
)]

pub(crate) mod callers;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{
    Instance, Process, Sandbox,
    load::{self, Load, Profile},
    sample, wait,
};

use self::callers::{Callers, serve_application};
use crate::{SOON, answers, fixed, https, sandbox, says};

/// How much is done.
struct Scale {
    upgrades: usize,
    /// Requests per second, of every kind together.
    rate: u32,
}

/// As the environment says.
fn scale() -> Scale {
    match std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full") {
        true => Scale { upgrades: 20, rate: 500 },
        false => Scale { upgrades: 3, rate: 150 },
    }
}

/// Ends whoever has a data directory at the end of a test: nobody's child any more.
pub(crate) struct Last(pub(crate) PathBuf);

impl Last {
    pub(crate) fn process(&self) -> Option<i32> {
        fs::read_to_string(self.0.join("lock")).ok()?.trim().parse().ok()
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(process) = self.process().and_then(Pid::from_raw) {
            let _already_gone = kill_process(process, Signal::KILL);
        }
    }
}

fn upgrade(sandbox: &Sandbox, data: &Path) -> Result<String> {
    sandbox.must(&["upgrade", "--data", &data.to_string_lossy()])
}

#[test]
fn a_gateway_is_replaced_again_and_again_and_nobody_is_refused_or_cut() -> Result<()> {
    let scale = scale();
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    https::add_certificate(&sandbox)?;
    sandbox.apply(&[https::GATEWAY, &fixed(&sandbox.endpoint(3, 8080))].concat())?;
    let mut first = sandbox.gateway(&sandbox.discovery_address())?;
    let data = sandbox.path("gateway");
    let last = Last(data.clone());
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;

    let callers =
        Callers::start(&sandbox.gateway_address(), &sandbox.endpoint(1, 8443), scale.rate)?;
    callers.pass()?;
    for _ in 0..scale.upgrades {
        let before = last.process();
        let said = upgrade(&sandbox, &data)?;
        let now = last.process();
        ensure!(before != now && said.contains(&format!("process {}", now.unwrap_or(0))), "{said}");
        callers.pass()?;
    }
    let seen = callers.stop()?;
    eprintln!("{} upgrades: {seen:?}", scale.upgrades);
    // The first has nothing left to serve, and ends by itself.
    ensure!(first.wait_for_end(Duration::from_secs(40))?.code() == Some(0), "{}", first.output());
    answers(&sandbox.endpoint(1, 15_020), "/readyz", 200, "is current")
}

#[test]
fn a_sidecar_is_replaced_under_load_and_its_instance_stays() -> Result<()> {
    let scale = scale();
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    sandbox.apply(&sample::routed("c", "embedded"))?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let _instance = sandbox.start(&Instance::of_chain("C", None, 3))?;
    let address = sandbox.gateway_address();
    answers(&address, "/c", 200, "C[")?;
    let data = sandbox.path("sidecar-3");
    let _last = Last(data.clone());
    let kinds = vec![load::get("/c", &[]), load::post("/c", &[], "words")];
    let load = Load::start(Profile { address, rate: scale.rate, connections: 8, kinds });
    for _ in 0..scale.upgrades {
        upgrade(&sandbox, &data)?;
        let seen = load.answered() + 50;
        wait::until_true(SOON, "load to pass", || load.answered() >= seen)?;
    }
    let sent = load.stop()?;
    let failed: Vec<_> = sent.iter().filter(|it| !matches!(it.outcome, Ok((200, _)))).collect();
    ensure!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), sent.len());
    eprintln!("{} upgrades under {} requests", scale.upgrades, sent.len());
    answers(&sandbox.endpoint(3, 15_020), "/readyz", 200, "\"ready\":true")?;
    // It is one instance, and known to be well.
    let listed = sandbox.must(&["get", "instances"])?;
    ensure!(listed.lines().filter(|line| line.contains("15006")).count() == 1, "{listed}");
    Ok(())
}

#[test]
fn one_that_cannot_write_what_became_of_it_is_not_taken_for_failed() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let mut first = sandbox.gateway(&sandbox.discovery_address())?;
    let data = sandbox.path("gateway");
    let _last = Last(data.clone());
    let readiness = sandbox.endpoint(1, 15_020);
    answers(&readiness, "/readyz", 200, "is current")?;
    // Nobody writes a file where a directory is, not even root.
    fs::create_dir(data.join("upgrade"))?;
    let said = upgrade(&sandbox, &data)?;
    ensure!(
        said.contains(&format!("process {} has ended, and another has its place", first.id())),
        "{said}"
    );
    ensure!(first.wait_for_end(SOON)?.code() == Some(0), "{}", first.output());
    answers(&readiness, "/readyz", 200, "is current")
}

/// A gateway that was started by a path of the test's, and what leads there now.
struct Installed {
    path: PathBuf,
    built: PathBuf,
    config: PathBuf,
    data: PathBuf,
    heard: UnixDatagram,
    /// The settings it was started with.
    right: String,
}

impl Installed {
    fn start(sandbox: &Sandbox) -> Result<(Self, Process)> {
        let (listen, admin) = (sandbox.gateway_address(), sandbox.endpoint(1, 15_020));
        let control = sandbox.discovery_address();
        let (path, config) = (sandbox.path("laneway-now"), sandbox.path("gateway.yaml"));
        let data = sandbox.path("gateway");
        let mut plain = sandbox.laneway(&["gateway"]);
        let right = format!("gateway-listen: {listen}\ncontrol: {control}\n");
        plain
            .args(["--admin-listen", &admin])
            .arg("--data")
            .arg(&data)
            .arg("--config")
            .arg(&config);
        fs::write(&config, &right)?;
        let built = PathBuf::from(plain.get_program());
        symlink(&built, &path)?;
        let supervisor = sandbox.path("supervisor");
        let heard = UnixDatagram::bind(&supervisor)?;
        heard.set_read_timeout(Some(SOON))?;
        let mut command = Command::new(&path);
        command.args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("NOTIFY_SOCKET", &supervisor);
        let process = Process::start("gateway", &mut command, sandbox.directory())?;
        Ok((Self { path, built, config, data, heard, right }, process))
    }

    /// Puts a program at the path and settings into the file, as an installation does: under another name first.
    fn install(&self, what: &str, settings: &str) -> Result<()> {
        fs::write(self.config.with_extension("new"), settings)?;
        fs::rename(self.config.with_extension("new"), &self.config)?;
        let beside = self.path.with_extension("new");
        if what.is_empty() {
            symlink(&self.built, &beside)?;
        } else {
            fs::write(&beside, format!("#!/bin/sh\n{what}\n"))?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&beside, mode)?;
        }
        Ok(fs::rename(&beside, &self.path)?)
    }

    /// What the supervisor is told next.
    fn hear(&self) -> Result<String> {
        let mut text = [0; 200];
        let bytes = self.heard.recv(&mut text).context("what the supervisor is told")?;
        Ok(String::from_utf8_lossy(&text[..bytes]).into_owned())
    }
}

#[test]
fn one_that_does_not_come_to_serve_changes_nothing_and_says_why() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    let (installed, mut gateway) = Installed::start(&sandbox)?;
    let address = sandbox.gateway_address();
    answers(&address, "/c", 200, "ok")?;
    let own = gateway.id();
    ensure!(installed.hear()? == format!("READY=1\nMAINPID={own}"), "it says that it serves");
    let last = Last(installed.data.clone());
    let data = installed.data.to_string_lossy().into_owned();
    let node = fs::read_to_string(installed.data.join("node"))?;
    let status = |word: &str| answers(&sandbox.endpoint(1, 15_020), "/status", 200, word);

    let good = "";
    let other = |setting: &str, value: &str| {
        let lines = installed.right.lines().filter(|line| !line.starts_with(setting));
        let lines: Vec<_> =
            lines.map(str::to_owned).chain([format!("{setting}: {value}")]).collect();
        lines.join("\n")
    };
    let taken = sandbox.endpoint(3, 8080);
    for (program, settings, because) in [
        ("exit 3", installed.right.clone(), "exit code 3"),
        (good, other("drain-seconds", "soon"), "drain-seconds"),
        ("kill -9 $$", installed.right.clone(), "was ended"),
        // From here on it is found after the place was left.
        (good, other("gateway-listen", &taken), "cannot listen on"),
        (good, other("control", &sandbox.endpoint(9, 7601)), "the control plane at"),
    ] {
        installed.install(program, &settings)?;
        let mut kept = TcpStream::connect(&address)?;
        let refused = sandbox.run(&["upgrade", "--data", &data])?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(because), "{refused:?}");
        ensure!(refused.stderr.contains(&format!("process {own} goes on")), "{refused:?}");
        ensure!(gateway.ended().is_none() && last.process() == i32::try_from(own).ok());
        kept.set_read_timeout(Some(SOON))?;
        kept.write_all(b"GET /c HTTP/1.1\r\nhost: c\r\n\r\n")?;
        let mut answer = [0; 12];
        kept.read_exact(&mut answer)?;
        ensure!(&answer == b"HTTP/1.1 200", "{answer:?}");
        status("\"connected\":true")?;
        // As the node that it was.
        let node = node.trim();
        wait::until(SOON, "the gateway to be known again", || {
            let known = sandbox.must(&["status", "-o", "json"])?;
            ensure!(known.contains(node), "{known}");
            Ok(())
        })?;
    }
    ensure!(fs::read_to_string(installed.data.join("node"))? == node);
    says(&gateway, "not replaced: the new process does not serve")?;

    // What is right comes to serve, and whoever supervises knows whom.
    installed.install(good, &installed.right)?;
    sandbox.must(&["upgrade", "--data", &data])?;
    let now = last.process().context("the new process")?;
    let main = format!("MAINPID={now}");
    while installed.hear()? != main {}
    ensure!(gateway.wait_for_end(SOON)?.code() == Some(0), "{}", gateway.output());
    ensure!(fs::read_to_string(installed.data.join("node"))? == node);
    answers(&address, "/c", 200, "ok")?;
    // 25 s of drain, unless it is told otherwise, and what comes after.
    kill_process(Pid::from_raw(now).context("a process")?, Signal::TERM)?;
    let stops = "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000";
    wait::until(SOON, "it says how long it takes", || match installed.hear()? {
        said if said == stops => Ok(()),
        said => bail!("{said}"),
    })
}

#[test]
fn one_that_fails_after_a_sidecar_has_left_its_place_changes_nothing() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    sandbox.apply(&sample::routed("c", "embedded"))?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    let at = |port| sandbox.endpoint(3, port);
    let (config, data) = (sandbox.path("sidecar.yaml"), sandbox.path("sidecar-3"));
    let settings = |inbound: &str, application: &str| {
        format!("inbound-listen: {inbound}\napp-address: {application}\n")
    };
    let right = settings(&at(15_006), &at(8080));
    fs::write(&config, &right)?;
    let mut command = sandbox.laneway(&["sidecar", "--application", "app-c", "--service", "sc-C"]);
    command.args(["--control", &sandbox.discovery_address(), "--advertise", &at(15_006)]);
    command.args(["--outbound-listen", &at(15_001), "--admin-listen", &at(15_020)]);
    command.arg("--config").arg(&config).arg("--data").arg(&data);
    let mut sidecar = Process::start("sidecar-3", &mut command, sandbox.directory())?;
    let last = Last(data.clone());
    let address = sandbox.gateway_address();
    answers(&address, "/c", 200, "ok")?;
    let node = fs::read_to_string(data.join("node"))?;

    let kinds = vec![load::get("/c", &[]), load::post("/c", &[], "words")];
    let load = Load::start(Profile { address, rate: 50, connections: 4, kinds });
    for (wrong, because) in [
        // It cannot listen; it has left the former one's registration alone.
        (settings(&sandbox.gateway_address(), &at(8080)), "inbound-listen"),
        // It cannot register, when the former one does so no more.
        (settings(&at(15_006), &at(8089)), "the application does not answer its probe"),
    ] {
        fs::write(&config, wrong)?;
        let refused = sandbox.run(&["upgrade", "--data", &data.to_string_lossy()])?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(because), "{refused:?}");
        let own = sidecar.id();
        ensure!(refused.stderr.contains(&format!("process {own} goes on")), "{refused:?}");
        ensure!(sidecar.ended().is_none() && last.process() == i32::try_from(own).ok());
        answers(&at(15_020), "/readyz", 200, "\"ready\":true")?;
        answers(&at(15_020), "/status", 200, "\"registered\":true")?;
        let seen = load.answered() + 50;
        wait::until_true(SOON, "load to pass", || load.answered() >= seen)?;
        let listed = sandbox.must(&["get", "instances"])?;
        ensure!(listed.lines().filter(|line| line.contains("15006")).count() == 1, "{listed}");
    }
    let sent = load.stop()?;
    let failed: Vec<_> = sent.iter().filter(|it| !matches!(it.outcome, Ok((200, _)))).collect();
    ensure!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), sent.len());

    // What is right takes the place that others could not, as the same data plane.
    fs::write(&config, &right)?;
    upgrade(&sandbox, &data)?;
    let drained = Duration::from_secs(40);
    ensure!(sidecar.wait_for_end(drained)?.code() == Some(0), "{}", sidecar.output());
    ensure!(fs::read_to_string(data.join("node"))? == node);
    answers(&at(15_020), "/readyz", 200, "\"ready\":true")
}

#[test]
fn one_whose_parent_would_take_its_end_for_the_end_of_all_is_not_replaced() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    // Known by its name, as such programs are: it waits for what it has started.
    let supervisor = sandbox.path("tini");
    fs::write(&supervisor, "#!/bin/sh\n\"$@\" &\ntrap \"kill $!\" TERM\nwait $!\n")?;
    fs::set_permissions(&supervisor, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let data = sandbox.path("gateway");
    let plain = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
    let mut command = Command::new(&supervisor);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("SYSTEMD_EXEC_PID");
    command.args(["--gateway-listen", &sandbox.gateway_address()]);
    command.args(["--admin-listen", &sandbox.endpoint(1, 15_020)]).arg("--data").arg(&data);
    let mut parent = Process::start("gateway", &mut command, sandbox.directory())?;
    let last = Last(data.clone());
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;
    let own = last.process();
    let refused = sandbox.run(&["upgrade", "--data", &data.to_string_lossy()])?;
    let because = format!("process {} (tini) waits for the end of this one", parent.id());
    ensure!(refused.code == Some(1) && refused.stderr.contains(&because), "{refused:?}");
    ensure!(last.process() == own && parent.ended().is_none());
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;
    parent.ask_to_stop();
    parent.wait_for_end(SOON)?;
    Ok(())
}

#[test]
fn one_that_is_asked_to_stop_while_it_is_replaced_stops_in_order() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    let (installed, mut gateway) = Installed::start(&sandbox)?;
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;
    let started = sandbox.path("started");
    // One that never says a word.
    installed
        .install(&format!("echo $$ > {}; exec sleep 600", started.display()), &installed.right)?;
    gateway.signal(Signal::USR2);
    let hung = wait::until(SOON, "the new process to start", || {
        let text = fs::read_to_string(&started)?;
        Pid::from_raw(text.trim().parse()?).context("a number")
    })?;
    gateway.ask_to_stop();
    ensure!(gateway.wait_for_end(SOON)?.code() == Some(0), "{}", gateway.output());
    ensure!(rustix::process::test_kill_process(hung).is_err(), "the new process goes on");
    Ok(())
}

#[test]
fn the_first_signal_to_stop_lets_the_former_process_finish() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    let (installed, mut gateway) = Installed::start(&sandbox)?;
    let _last = Last(installed.data.clone());
    answers(&sandbox.gateway_address(), "/c", 200, "ok")?;
    let mut socket = websocket(&sandbox.gateway_address())?;
    upgrade(&sandbox, &installed.data)?;
    gateway.ask_to_stop();
    says(&gateway, "asked to stop: what is in flight is finished")?;
    repeats(&mut socket)?;
    drop(socket);
    ensure!(gateway.wait_for_end(SOON)?.code() == Some(0));
    Ok(())
}

#[test]
fn one_whose_successor_fails_makes_room_for_another_where_somebody_starts_it() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _application = serve_application(&sandbox.endpoint(3, 8080))?;
    sandbox.apply(&fixed(&sandbox.endpoint(3, 8080)))?;
    let address = sandbox.gateway_address();
    let fails = |data: &Path| -> Result<TcpStream> {
        let last = Last(data.to_owned());
        answers(&address, "/c", 200, "ok")?;
        let mut socket = websocket(&address)?;
        upgrade(&sandbox, data)?;
        repeats(&mut socket)?;
        let successor = last.process().and_then(Pid::from_raw).context("a successor")?;
        kill_process(successor, Signal::KILL)?;
        Ok(socket)
    };
    let (installed, mut gateway) = Installed::start(&sandbox)?;
    let _socket = fails(&installed.data)?;
    // What is in flight would hold it for longer than this: nobody listens meanwhile.
    ensure!(gateway.wait_for_end(SOON)?.code() == Some(1), "{}", gateway.output());
    says(&gateway, "the process that has taken the place of this one has ended")?;

    // Where nobody starts another, what is in flight is finished all the same.
    let mut alone = sandbox.gateway(&sandbox.discovery_address())?;
    let mut socket = fails(&sandbox.path("gateway"))?;
    says(&alone, "the process that has taken the place of this one has ended")?;
    repeats(&mut socket)?;
    drop(socket);
    ensure!(alone.wait_for_end(SOON)?.code() == Some(0), "{}", alone.output());
    Ok(())
}

/// A WebSocket that is open, at the application's.
fn websocket(address: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(SOON))?;
    socket.write_all(
        b"GET /c HTTP/1.1\r\nhost: c\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(socket)
}

/// Sends a word to the application, which says it again.
fn repeats(socket: &mut TcpStream) -> Result<()> {
    socket.write_all(b"word")?;
    let mut back = [0; 4];
    socket.read_exact(&mut back)?;
    ensure!(&back == b"word", "{back:?}");
    Ok(())
}

#[test]
fn what_cannot_be_replaced_is_told_and_goes_on() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let nothing =
        sandbox.run(&["upgrade", "--data", &sandbox.path("nothing").to_string_lossy()])?;
    ensure!(nothing.code == Some(1) && nothing.stderr.contains("nothing runs on"), "{nothing:?}");
    let none = sandbox.run(&["upgrade"])?;
    ensure!(none.code == Some(1) && none.stderr.contains("name one with --data"), "{none:?}");
    let data = sandbox.path("control");
    let refused = sandbox.run(&["upgrade", "--data", &data.to_string_lossy()])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("is restarted"), "{refused:?}");
    answers(&sandbox.api_address(), "/readyz", 200, "ready")
}
