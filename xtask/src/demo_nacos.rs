//! `cargo xtask demo --nacos`: the applications of `samples/spring-cloud` on this machine, registered in a Nacos server, with
//! the Java agent in each and no sidecar.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{java, run, worlds};

/// Where everybody finds the server; its gRPC port is 1000 above.
const NACOS: &str = "127.0.0.1:8848";
const GATEWAY: &str = "127.0.0.1:8000";
const DISCOVERY: &str = "127.0.0.1:7601";

/// JVMs that start together on a small machine take their time.
const READY_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// One answer that does not come is as good as a wrong one.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Application, host, tag.
const INSTANCES: [(&str, &str, &str); 6] = [
    ("c", "127.0.0.13", ""),
    ("c", "127.0.0.23", "gray"),
    ("b", "127.0.0.12", ""),
    ("a", "127.0.0.11", ""),
    ("a", "127.0.0.21", "gray"),
    ("gateway", "127.0.0.10", ""),
];

/// Laneway's, and Spring Cloud's.
const GATEWAYS: [&str; 2] = [GATEWAY, "127.0.0.10:8080"];

/// The clients that the applications can be asked for; without a word RestTemplate.
const PATHS: [&str; 6] = ["/a", "/a/feign", "/a/webclient", "/a/reactive", "/a/dubbo", "/a/triple"];
const BASE: &str = "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
const GRAY: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> Cgray[127.0.0.23]";

/// What was started; it ends with this.
struct Started(Vec<(String, Child)>);

impl Drop for Started {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ended_before = child.kill();
            let _status = child.wait();
        }
    }
}

/// Builds what it needs, starts it, and says what to try; `once`: looks whether every hop is right, and ends.
pub(crate) fn run(root: &Path, once: bool) -> Result<()> {
    let nacos = worlds::nacos_server(root)?;
    java::build_for_demo(root)?;
    run::cargo(root, &["build", "--release", "--locked", "--package", "laneway"])?;
    let home = root.join("target/demo-nacos");
    run::clear(&home)?;
    fs::create_dir_all(&home).context("create target/demo-nacos")?;
    let mut started = Started(Vec::new());
    start_server(&nacos, &home, &mut started)?;
    start_laneway(root, &home, &mut started)?;
    for (name, host, tag) in INSTANCES {
        start_application(root, &home, (name, host, tag), &mut started)?;
    }
    println!("waiting for the applications; what they say is in {} …", home.display());
    for path in PATHS {
        for (canary, expected) in [("", BASE), ("gray", GRAY)] {
            wait(&mut started, &format!("{path} in lane `{canary}`"), || {
                GATEWAYS.iter().try_for_each(|gateway| {
                    let answer = get(gateway, "GET", path, canary)?;
                    ensure!(answer == expected, "expected {expected}, got {answer}");
                    Ok(())
                })
            })?;
            println!(
                "{path:<14} {:<14} {expected}",
                if canary.is_empty() { "" } else { "canary: gray" }
            );
        }
    }
    if once {
        return Ok(());
    }
    introduce(&started);
    while started.0.iter().any(|(name, _)| name == "laneway") {
        // Killing an application is one of the things to try.
        started.0.retain_mut(|(name, child)| match child.try_wait() {
            Ok(Some(status)) => {
                println!("{name} has ended ({status})");
                false
            }
            _ => true,
        });
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("the control plane has ended: see target/demo-nacos/laneway.log")
}

fn start(started: &mut Started, home: &Path, name: &str, command: &mut Command) -> Result<()> {
    let log = File::create(home.join(format!("{name}.log"))).context("create a log")?;
    let errors = log.try_clone().context("share a log")?;
    let line = run::line(command);
    let child = command.current_dir(home).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    started.0.push((name.to_owned(), child.with_context(|| format!("start `{line}`"))?));
    Ok(())
}

fn jvm(home: &Path, memory: &str) -> Command {
    let mut command = Command::new("java");
    command.args([memory, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.arg(format!("-Duser.home={}", home.display()));
    command
}

fn start_server(world: &Path, home: &Path, started: &mut Started) -> Result<()> {
    let target = world.join("target");
    // Two jars have the same classes; the server wants those of this one.
    let parts = ["classes", "jars/hessian-4.0.63.jar", "jars/*"].map(|part| target.join(part));
    let class_path = parts.map(|part| part.display().to_string()).join(":");
    let mut command = jvm(home, "-Xmx512m");
    command
        .arg(format!("-Dnacos.home={}", home.join("nacos").display()))
        .args(["-Dserver.port=8848", "-Dserver.servlet.context-path=/nacos"])
        .args(["-Dnacos.server.ip=127.0.0.1", "-Dnacos.functionMode=naming"])
        .args(["-Ddb.pool.config.connectionTimeout=120000", "-cp", &class_path, "NacosServer"]);
    start(started, home, "nacos", &mut command)?;
    println!("waiting for Nacos …");
    let registration =
        "/nacos/v2/ns/instance?serviceName=start&groupName=start&ip=127.0.0.1&port=1";
    wait(started, "a Nacos server", || get(NACOS, "POST", registration, "").map(drop))
}

fn start_laneway(root: &Path, home: &Path, started: &mut Started) -> Result<()> {
    let binary = root.join("target/release/laneway");
    let data = home.join("control");
    let mut serve = Command::new(&binary);
    serve.args(["serve", "--gateway-listen", GATEWAY, "--discovery-listen", DISCOVERY, "--data"]);
    start(started, home, "laneway", serve.arg(&data))?;
    wait(started, "the control plane takes the lanes", || {
        let mut apply = Command::new(&binary);
        apply.arg("apply").arg("-f").arg(root.join("samples/spring-cloud/lanes.yaml"));
        let output = apply.arg("--data").arg(&data).output().context("run laneway apply")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}

fn start_application(
    root: &Path,
    home: &Path,
    (name, host, tag): (&str, &str, &str),
    started: &mut Started,
) -> Result<()> {
    let mut command = jvm(home, "-Xmx256m");
    let agent = root.join("java-agent/extension/target/laneway-agent.jar");
    command
        .arg(format!("-javaagent:{}", agent.display()))
        .arg(format!("-Dlaneway.control={DISCOVERY}"))
        .arg(format!("-Dlaneway.application=spring-cloud-{name}"));
    if !tag.is_empty() {
        command.arg(format!("-Dalicloud.service.tag={tag}"));
    }
    let jar = root.join(format!("samples/spring-cloud/{name}/target/spring-cloud-{name}.jar"));
    command.arg("-jar").arg(jar).arg(format!("--host={host}")).arg(format!("--nacos={NACOS}"));
    let number = host.rsplit_once('.').map_or(host, |(_, number)| number);
    command.arg(format!("--dubbo-port=208{number}")).arg(format!("--triple-port=500{number}"));
    start(started, home, &format!("{name}{tag}"), &mut command)
}

/// Repeats until it is so. A process that has ended would be waited for in vain.
fn wait(started: &mut Started, what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        check_all_run(started)?;
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > READY_WITHIN => {
                return Err(error.context(format!("{what}: not within {READY_WITHIN:?}")));
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn check_all_run(started: &mut Started) -> Result<()> {
    for (name, child) in &mut started.0 {
        if let Some(status) = child.try_wait().context("look whether a process runs")? {
            bail!("{name} has ended ({status}): see target/demo-nacos/{name}.log");
        }
    }
    Ok(())
}

/// The body of an answer of 200.
fn get(address: &str, method: &str, target: &str, canary: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).context("bound the wait for an answer")?;
    let canary = if canary.is_empty() { String::new() } else { format!("canary: {canary}\r\n") };
    let request = format!(
        "{method} {target} HTTP/1.0\r\nHost: {address}\r\n{canary}Content-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).context("send a request")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read an answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    ensure!(status == "200", "{target} is answered with {status}: {body}");
    Ok(body.to_owned())
}

fn introduce(started: &Started) {
    println!("\n{:<10} {:>8}", "RUNNING", "PROCESS");
    for (name, child) in &started.0 {
        println!("{name:<10} {:>8}", child.id());
    }
    println!("\nTRY");
    for (command, effect) in [
        ("curl http://127.0.0.1:8000/a", "every hop is base"),
        (
            "curl -H 'canary: gray' http://127.0.0.1:8000/a",
            "A and C are gray; B has no gray instance",
        ),
        (
            "curl -H 'canary: gray' http://127.0.0.1:8000/a/dubbo",
            "by Dubbo; also feign, webclient, triple",
        ),
        (
            "curl -H 'canary: gray' http://127.0.0.10:8080/a",
            "through Spring Cloud Gateway, which lets in by the same rule",
        ),
        ("target/release/laneway lane disable trade/gray", "the second answers as the first"),
        ("target/release/laneway lane enable trade/gray", "and as before"),
        ("target/release/laneway status", "what is connected; the agents among it"),
        (
            "target/release/laneway get instances -A",
            "who is registered in Nacos, and with which tag",
        ),
    ] {
        println!("  {command:<54} {effect}");
    }
    println!(
        "\nNacos listens on every address of this machine. Interrupt with Ctrl-C to end everything."
    );
}
