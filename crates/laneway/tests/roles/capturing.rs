//! A capturing sidecar on a host of its own: what it opens itself goes past its rules, and it leaves in order.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use rustix::process::Signal;
use testkit::{Host, Process, Sandbox, Switch, http, needs, wait};

use crate::{SOON, sandbox, says, start_on, start_on_with};

/// How long after it was started again a sidecar that was killed may leave its application alone. From its process's
/// beginning on, which takes some of it.
const GAP_MAX: Duration = Duration::from_secs(1);

struct World {
    sandbox: Sandbox,
    pod: Host,
    elsewhere: Host,
}

impl World {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (pod, elsewhere) = (switch.host(1)?, switch.host(2)?);
        Ok(Self { sandbox: sandbox()?, pod, elsewhere })
    }

    fn control(&self) -> Result<Process> {
        let listen = format!("{}:7601", self.elsewhere.address());
        let arguments = ["control", "--discovery-listen", &listen];
        let control = start_on(&self.sandbox, &self.elsewhere, "control", &arguments)?;
        says(&control, "(discovery)")?;
        Ok(control)
    }

    /// The application is at the pod's own address, as in Kubernetes.
    fn sidecar(&self, more: &[&str]) -> Result<Process> {
        self.sidecar_with(more, |_| {})
    }

    /// The same with changes of what is run.
    fn sidecar_with(&self, more: &[&str], change: impl FnOnce(&mut Command)) -> Result<Process> {
        let (address, control) = (self.pod.address(), format!("{}:7601", self.elsewhere.address()));
        let (application, advertise) = (format!("{address}:8080"), format!("{address}:15006"));
        let arguments = ["sidecar", "--application", "app-c", "--control", &control];
        let capturing = ["--app-address", &application, "--advertise", &advertise];
        let listening = ["--inbound-listen", "0.0.0.0:15006"];
        let captures: &[&str] = match more {
            // Which says so.
            ["--config", ..] => &[],
            _ => &["--capture", "true"],
        };
        let arguments = [&arguments[..], &capturing, &listening, captures, more].concat();
        start_on_with(&self.sandbox, &self.pod, "sidecar", &arguments, change)
    }

    fn application(&self) -> Result<Process> {
        let mut command: Command = self.pod.command(testkit::application::program()?);
        command.args(["C", &format!("{}:8080", self.pod.address())]);
        Process::start("C", &mut command, self.sandbox.directory())
    }

    /// What `laneway get` says on the control plane's host.
    fn laneway_get(&self, arguments: &[&str]) -> Result<String> {
        let plain = self.sandbox.laneway(&[&["get"], arguments].concat());
        let mut command = self.elsewhere.command(plain.get_program());
        command.args(plain.get_args()).args(["--server", "http://127.0.0.1:7600", "--data"]);
        let output = command.arg(self.sandbox.path("control")).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the sidecar says so of itself.
    fn answers(&self, target: &str, words: &str) -> Result<()> {
        self.pod.inside(|| {
            wait::until(SOON, &format!("{words:?} from {target}"), || {
                let answer = http::get("127.0.0.1:15020", target, &[])?;
                if !answer.body.contains(words) {
                    bail!("{} {}", answer.status, answer.body);
                }
                Ok(())
            })
        })
    }

    /// The rules of the pod's nat tables.
    fn rules(&self) -> Result<[String; 2]> {
        let list = |program| -> Result<String> {
            let output = self.pod.command(program).args(["-t", "nat", "-S"]).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        Ok([list("iptables")?, list("ip6tables")?])
    }
}

#[test]
fn what_the_sidecar_opens_itself_is_not_captured() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let mut sidecar = world.sidecar(&[])?;
    // Its own listener would have answered the probe.
    world.answers("/readyz", "the application does not answer yet")?;
    let mut application = world.application()?;
    world.answers("/readyz", "\"ready\":true")?;
    application.kill();
    world.answers("/status", "\"applicationAnswers\":false")?;

    for rules in world.rules()? {
        assert!(
            rules.contains("--to-ports 15001") && rules.contains("--to-ports 15006"),
            "{rules}"
        );
    }
    sidecar.ask_to_stop();
    assert_eq!(sidecar.wait_for_end(SOON)?.code(), Some(0));
    for rules in world.rules()? {
        assert!(!rules.contains("LANEWAY"), "{rules}");
    }
    Ok(())
}

#[test]
fn a_sidecar_that_was_killed_captures_again_as_soon_as_it_is_started() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let mut sidecar = world.sidecar(&[])?;
    world.answers("/readyz", "\"ready\":true")?;
    let before = world.rules()?;
    sidecar.kill();
    let _sidecar = world.sidecar(&["--takeover", "true"])?;
    world.answers("/readyz", "\"ready\":true")?;
    assert_eq!(world.rules()?, before, "neither more nor fewer");
    let answer = world.elsewhere.inside(|| {
        http::get(&format!("{}:8080", world.pod.address()), "/c", &[]).context("the application")
    })?;
    assert!(answer.status == 200 && answer.body.starts_with("C["), "{answer:?}");
    Ok(())
}

#[test]
fn the_other_familys_address_is_known_without_being_named() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let _sidecar = world.sidecar(&[])?;
    world.answers("/readyz", "\"ready\":true")?;
    let listed = world.laneway_get(&["instances", "-o", "json"])?;
    for address in [world.pod.address(), world.pod.address_v6()] {
        let address = std::net::SocketAddr::new(address, 15006);
        assert!(listed.contains(&format!("\"{address}\"")), "{address}: {listed}");
    }
    Ok(())
}

#[test]
fn the_ports_of_an_application_are_one_instance() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let address = world.pod.address();
    let tcp = format!("{address}:20880,service=dubbo-c,protocol=tcp");
    let admin = format!("{address}:9090,service=admin-c");
    let _sidecar = world.sidecar(&["--app-address", &tcp, "--app-address", &admin])?;
    world.answers("/readyz", "\"ready\":true")?;
    let listed = world.laneway_get(&["instances"])?;
    let instances = listed.lines().filter(|line| line.contains(":15006")).count();
    assert_eq!(instances, 1, "{listed}");
    assert!(listed.contains("app-c:8080,admin-c:9090,dubbo-c:20880/tcp"), "{listed}");
    let services = world.laneway_get(&["services"])?;
    let of = |name: &str| services.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(of("dubbo-c").contains("app-c") && of("dubbo-c").ends_with("tcp"), "{services}");
    assert!(of("admin-c").contains("1/1") && of("admin-c").ends_with("http"), "{services}");
    // Either side may speak first at a port of which nothing is read.
    let server = world.pod.inside(|| std::net::TcpListener::bind((address, 20880)))?;
    let mut caller = world.elsewhere.inside(|| std::net::TcpStream::connect((address, 20880)))?;
    let (mut accepted, _) = server.accept()?;
    accepted.write_all(b"hello")?;
    let mut greeting = [0; 5];
    caller.set_read_timeout(Some(SOON))?;
    caller.read_exact(&mut greeting)?;
    assert_eq!(&greeting, b"hello");
    world.answers("/status", "\"protocol\":\"tcp\"")?;
    Ok(())
}

#[test]
fn a_sidecar_that_is_killed_lets_nothing_past_it_and_cuts_nothing_but_its_own() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let control = world.control()?;
    let _application = world.application()?;
    let target = format!("{}:8080", world.pod.address());
    // The kernel's own: made before there was a sidecar.
    let mut kept = world.elsewhere.inside(|| {
        wait::until(SOON, "the application to listen", || Ok(TcpStream::connect(&target)?))
    })?;
    let tagged = ["--tag", "gray", "--takeover", "true"];
    let mut sidecar = world.sidecar(&tagged)?;
    world.answers("/readyz", "\"ready\":true")?;

    let calls = Calls::default();
    std::thread::scope(|scope| -> Result<()> {
        let _over = EndsCalls(&calls);
        scope.spawn(|| world.elsewhere.inside(|| calls.make(&target)));
        calls.pass(20)?;
        assert_eq!(calls.away.load(Relaxed), 0, "refused while the sidecar was there");
        sidecar.kill();
        wait::until_true(SOON, "somebody to find nobody", || calls.away.load(Relaxed) > 0)?;
        let started = Instant::now();
        sidecar = world.sidecar(&tagged)?;
        calls.pass(1)?;
        let gap = started.elapsed();
        assert!(gap <= GAP_MAX, "captured again after {gap:?}");
        world.answers("/readyz", "\"ready\":true")?;
        let away = calls.away.load(Relaxed);
        calls.pass(20)?;
        assert_eq!(calls.away.load(Relaxed), away, "refused after it had come back");
        // Nor does it wait for a control plane that says nothing.
        control.signal(Signal::STOP);
        sidecar.kill();
        wait::until_true(SOON, "somebody to find nobody", || calls.away.load(Relaxed) > away)?;
        let started = Instant::now();
        sidecar = world.sidecar(&tagged)?;
        calls.pass(1)?;
        let gap = started.elapsed();
        assert!(gap <= GAP_MAX, "captured again after {gap:?}");
        Ok(())
    })?;
    assert_eq!(*calls.wrong.lock(), [""; 0], "base reached a tagged instance");
    kept.set_read_timeout(Some(SOON))?;
    kept.write_all(b"GET /c HTTP/1.1\r\nhost: c\r\n\r\n")?;
    let mut answer = [0; 12];
    kept.read_exact(&mut answer)?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    Ok(())
}

#[test]
fn a_sidecar_that_is_replaced_leaves_its_rules_and_lets_nothing_past_it() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let target = format!("{}:8080", world.pod.address());
    let mut sidecar = world.sidecar(&["--tag", "gray"])?;
    world.answers("/readyz", "\"ready\":true")?;
    let data = world.sandbox.path("sidecar");
    let _last = crate::upgrade::Last(data.clone());
    let before = world.rules()?;

    let calls = Calls::default();
    std::thread::scope(|scope| -> Result<()> {
        let _over = EndsCalls(&calls);
        scope.spawn(|| world.elsewhere.inside(|| calls.make(&target)));
        for _ in 0..3 {
            calls.pass(20)?;
            // A process is asked by its number: from wherever it is seen.
            world.sandbox.must(&["upgrade", "--data", &data.to_string_lossy()])?;
        }
        calls.pass(20)
    })?;
    assert_eq!(*calls.wrong.lock(), [""; 0], "base reached a tagged instance");
    assert_eq!(calls.away.load(Relaxed), 0, "somebody was refused, or cut");
    assert_eq!(sidecar.wait_for_end(SOON)?.code(), Some(0));
    assert_eq!(world.rules()?, before, "neither more nor fewer");
    world.answers("/readyz", "\"ready\":true")
}

#[test]
fn a_sidecar_that_is_replaced_by_one_that_captures_no_more_takes_its_rules_away() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let (config, data) = (world.sandbox.path("sidecar.yaml"), world.sandbox.path("sidecar"));
    std::fs::write(&config, "capture: true\n")?;
    let mut sidecar = world.sidecar(&["--config", &config.to_string_lossy()])?;
    world.answers("/readyz", "\"ready\":true")?;
    let _last = crate::upgrade::Last(data.clone());
    assert!(world.rules()?[0].contains("LANEWAY"));

    // What does not come to serve leaves them as they were.
    let before = world.rules()?;
    std::fs::write(&config, "capture: true\ncontrol-plane: none\n")?;
    let refused = world.sandbox.run(&["upgrade", "--data", &data.to_string_lossy()])?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(world.rules()?, before);

    std::fs::write(&config, "capture: false\n")?;
    world.sandbox.must(&["upgrade", "--data", &data.to_string_lossy()])?;
    assert_eq!(sidecar.wait_for_end(SOON)?.code(), Some(0));
    for rules in world.rules()? {
        assert!(!rules.contains("LANEWAY"), "{rules}");
    }
    world.answers("/readyz", "\"ready\":true")
}

/// A directory with a program that writes rules as the real one does, unless the file is there that is handed back.
fn fails_on_demand(sandbox: &Sandbox) -> Result<(PathBuf, PathBuf)> {
    let (directory, fails) = (sandbox.path("programs"), sandbox.path("fails"));
    fs::create_dir_all(&directory)?;
    let program = directory.join("iptables-restore");
    let real = ["/usr/sbin", "/sbin", "/usr/bin"].map(|it| Path::new(it).join("iptables-restore"));
    let real = real.iter().find(|it| it.exists()).context("iptables-restore")?;
    let text = format!(
        "#!/bin/sh\n[ -e {} ] && {{ echo nothing can be changed now >&2; exit 4; }}\nexec {} \"$@\"\n",
        fails.display(),
        real.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    Ok((directory, fails))
}

#[test]
fn rules_that_a_failed_upgrade_leaves_behind_are_repaired_and_until_then_the_sidecar_is_not_ready()
-> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let _application = world.application()?;
    let (programs, fails) = fails_on_demand(&world.sandbox)?;
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    let mut sidecar = world.sidecar_with(&[], |command| {
        command.env("PATH", path);
    })?;
    world.answers("/readyz", "\"ready\":true")?;
    let data = world.sandbox.path("sidecar");
    let _last = crate::upgrade::Last(data.clone());
    let before = world.rules()?;
    let upgrade = || world.sandbox.run(&["upgrade", "--data", &data.to_string_lossy()]);

    // Neither the new process can write rules, when the place was left to it, nor the former one afterwards.
    fs::write(&fails, "")?;
    let refused = upgrade()?;
    let because = "nothing can be changed now";
    assert!(refused.code == Some(1) && refused.stderr.contains(because), "{refused:?}");
    world.answers("/readyz", "redirect rules may not be in force: capture: `iptables-restore")?;
    says(&sidecar, "redirect rules cannot be written anew")?;
    // It goes on to try also after another one that fails before it touches anything.
    let flushed = world.pod.command("iptables").args(["-t", "nat", "-F"]).status()?;
    assert!(flushed.success() && world.rules()? != before);
    assert_eq!(upgrade()?.code, Some(1));
    world.answers("/readyz", "\"ready\":false")?;

    fs::remove_file(&fails)?;
    world.answers("/readyz", "\"ready\":true")?;
    assert_eq!(world.rules()?, before, "neither more nor fewer");
    says(&sidecar, "redirect rules are in force again")?;
    let answer = world.elsewhere.inside(|| {
        http::get(&format!("{}:8080", world.pod.address()), "/c", &[]).context("the application")
    })?;
    assert!(answer.status == 200 && answer.body.starts_with("C["), "{answer:?}");
    sidecar.ask_to_stop();
    assert_eq!(sidecar.wait_for_end(SOON)?.code(), Some(0));
    for rules in world.rules()? {
        assert!(!rules.contains("LANEWAY"), "{rules}");
    }
    Ok(())
}

/// Calls of base to a tagged instance, one after the other: its sidecar refuses them.
#[derive(Default)]
struct Calls {
    is_over: AtomicBool,
    refused: AtomicUsize,
    /// Nobody was there, or not to the end.
    away: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

struct EndsCalls<'c>(&'c Calls);

impl Drop for EndsCalls<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

impl Calls {
    fn make(&self, target: &str) {
        while !self.is_over.load(Relaxed) {
            match http::get(target, "/c", &[]) {
                Ok(answer) if answer.status == 503 => drop(self.refused.fetch_add(1, Relaxed)),
                Ok(answer) => self.wrong.lock().push(answer.body),
                Err(_) => drop(self.away.fetch_add(1, Relaxed)),
            }
        }
    }

    /// Waits until so many more were refused.
    fn pass(&self, more: usize) -> Result<()> {
        let wanted = self.refused.load(Relaxed) + more;
        wait::until_true(SOON, "calls to pass", || self.refused.load(Relaxed) >= wanted)
    }
}

#[test]
fn ipv6_that_is_not_captured_is_told() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let world = World::new()?;
    let _control = world.control()?;
    let sidecar = world.sidecar(&["--capture-ipv6", "false"])?;
    says(&sidecar, "IPv6 is not captured")?;
    Ok(())
}
