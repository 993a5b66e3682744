//! One host with a Nacos server, a control plane with a gateway, and applications.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testkit::{Host, Process, Sandbox, Switch, http, relay::Relay, wait};

/// Longest that anything but the server may take to become so.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Longest that the server may take to start: 25 s on idle cores.
pub(crate) const SERVER_SOON: Duration = Duration::from_secs(180);

/// Longest that an application waits for an answer of the server.
const ANSWERED_MILLIS: u32 = 60_000;

/// Where the server listens; gRPC is 1000 above.
pub(crate) const SERVER: &str = "127.0.0.1:8848";

/// Where Laneway finds it: what stands between may fall silent.
pub(crate) const BETWEEN: &str = "127.0.0.1:18848";

/// Both ports, before and behind what stands between.
const RELAYED: [(&str, &str); 2] = [(BETWEEN, SERVER), ("127.0.0.1:19848", "127.0.0.1:9848")];

/// Where the gateway listens.
pub(crate) const GATEWAY: &str = "127.0.0.1:8000";

/// What each registration by HTTP asks for, which sends no heartbeats: to be believed for longer than the test takes.
const LASTING: [(&str, &str); 2] =
    [("preserved.heart.beat.timeout", "3600000"), ("preserved.ip.delete.timeout", "3600000")];

pub(crate) struct World {
    sandbox: Sandbox,
    host: Host,
    _control: Process,
    between: Vec<Relay>,
    server: Process,
    /// How often it was started: each time with nothing.
    starts: u32,
}

/// The source `registry`, with the services of one group.
pub(crate) fn source(group: &str) -> String {
    source_named("registry", group)
}

/// A source with the services of one group.
pub(crate) fn source_named(name: &str, group: &str) -> String {
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: {name}}}
spec: {{nacos: {{addresses: ['{BETWEEN}'], groups: [{group}]}}}}
"
    )
}

impl World {
    pub(crate) fn start() -> Result<Self> {
        Self::start_as(Functions::Naming)
    }

    /// With a server that has configurations too.
    pub(crate) fn start_with_configurations() -> Result<Self> {
        Self::start_as(Functions::All)
    }

    fn start_as(functions: Functions) -> Result<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway"))?;
        let host = Switch::new()?.host(1)?;
        let plain = sandbox.laneway(&["serve", "--gateway-listen", GATEWAY]);
        let mut command = host.command(plain.get_program());
        command.args(plain.get_args()).arg("--data").arg(sandbox.path("control"));
        let control = Process::start("control", &mut command, sandbox.directory())?;
        let server = server(&sandbox, &host, 0, functions)?;
        let between = host.inside(|| {
            let relays = RELAYED.iter().map(|(listen, target)| Relay::start(listen, target, None));
            relays.collect::<Result<Vec<_>>>()
        })?;
        let world = Self { sandbox, host, _control: control, between, server, starts: 0 };
        world.server_is_there()?;
        Ok(world)
    }

    /// An application at an address of this host.
    pub(crate) fn application(&self, label: &str, address: &str) -> Result<Process> {
        let mut command = self.host.command(testkit::application::program()?);
        command.args([label, address]);
        Process::start(label, &mut command, self.sandbox.directory())
    }

    /// A sidecar that registers an application at an address of this host.
    pub(crate) fn sidecar(&self, application: &str, address: &str, tag: &str) -> Result<Process> {
        let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
        let plain = self.sandbox.laneway(&["sidecar", "--application", application]);
        let mut command = self.host.command(plain.get_program());
        command.args(plain.get_args()).args(["--app-address", address, "--tag", tag]);
        command.args(["--control", "127.0.0.1:7601", "--data"]);
        command.arg(self.sandbox.path(&format!("sidecar-{application}")));
        for (listener, port) in [("outbound", 15001), ("inbound", 15006), ("admin", 15020)] {
            command.args([format!("--{listener}-listen"), format!("{ip}:{port}")]);
        }
        Process::start(&format!("sidecar-{application}"), &mut command, self.sandbox.directory())
    }

    /// One of `samples/spring-cloud` in a JVM under the agent, which finds the server by itself.
    pub(crate) fn jvm(
        &self,
        name: &str,
        flags: &[String],
        jar: &str,
        arguments: &[String],
    ) -> Result<Process> {
        let mut agent = std::ffi::OsString::from("-javaagent:");
        agent.push(built("java-agent/extension/target/laneway-agent.jar")?);
        let letter = jar.rsplit_once('-').map_or(jar, |(_, letter)| letter);
        let jar = format!("{letter}/target/{jar}.jar");
        // Built for other versions where a row of `cargo xtask jvm` says so.
        let jar = match std::env::var_os("LANEWAY_JAVA_BUILT") {
            Some(folder) => PathBuf::from(folder).join(jar),
            None => built(&format!("samples/spring-cloud/{jar}"))?,
        };
        let java = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        let java = java.map_or("java".into(), |home| Path::new(&home).join("bin/java"));
        let home = self.sandbox.path(&format!("home-{name}"));
        fs::create_dir_all(&home)?;
        let mut command = self.host.command(java);
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            // An application ends where its registry does not answer within 3 s: longer than that on a machine on which all start.
            .args(
                ["timeout", "server.check.timeout", "health.timeout"]
                    .map(|what| format!("-Dnacos.remote.client.grpc.{what}={ANSWERED_MILLIS}")),
            )
            // Nacos's and Dubbo's clients keep files there.
            .arg(format!("-Duser.home={}", home.display()))
            .arg(agent)
            .args(flags)
            .arg("-jar")
            .arg(jar)
            .arg(format!("--nacos={SERVER}"))
            .args(arguments)
            .current_dir(&home);
        Process::start(name, &mut command, self.sandbox.directory())
    }

    /// A place of this world's own for a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    pub(crate) fn kill_server(&mut self) {
        self.server.kill();
    }

    /// Lets nothing through between Laneway and the server, and closes nothing.
    pub(crate) fn fall_silent(&self) {
        self.between.iter().for_each(Relay::freeze);
    }

    /// Lets everything through again.
    pub(crate) fn heal(&self) {
        self.between.iter().for_each(Relay::heal);
    }

    /// Starts the server anew, with nothing of what it knew.
    pub(crate) fn start_server(&mut self) -> Result<()> {
        self.starts += 1;
        self.server = server(&self.sandbox, &self.host, self.starts, Functions::Naming)?;
        self.server_is_there()
    }

    /// Waits until the server takes registrations.
    fn server_is_there(&self) -> Result<()> {
        wait::until(SERVER_SOON, "a Nacos server", || {
            let instance = parameters("start", "start", "127.0.0.1:1", &LASTING);
            self.ask("POST", &format!("/nacos/v2/ns/instance?{instance}"))
        })
    }

    pub(crate) fn register(
        &self,
        service: &str,
        address: &str,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        self.register_in("DEFAULT_GROUP", service, address, metadata)
    }

    pub(crate) fn register_in(
        &self,
        group: &str,
        service: &str,
        address: &str,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        let metadata = [&LASTING[..], metadata].concat();
        let instance = parameters(group, service, address, &metadata);
        self.ask("POST", &format!("/nacos/v2/ns/instance?{instance}"))
    }

    pub(crate) fn deregister(&self, service: &str, address: &str) -> Result<()> {
        let instance = parameters("DEFAULT_GROUP", service, address, &[]);
        self.ask("DELETE", &format!("/nacos/v2/ns/instance?{instance}"))
    }

    /// Changes a registration as the server's console does.
    pub(crate) fn edit(&self, service: &str, address: &str, change: &str) -> Result<()> {
        let metadata = [&LASTING[..], &[("alicloud.service.tag", "gray")]].concat();
        let instance = parameters("DEFAULT_GROUP", service, address, &metadata);
        self.ask("PUT", &format!("/nacos/v2/ns/instance?{instance}&{change}"))
    }

    /// Publishes a configuration of Dubbo's group, as its console does.
    pub(crate) fn configure(&self, data_id: &str, content: &str) -> Result<()> {
        let (id, content) = (escaped(data_id), escaped(content));
        let form = format!("dataId={id}&group=dubbo&content={content}");
        self.ask("POST", &format!("/nacos/v2/cs/config?{form}"))
    }

    pub(crate) fn forget_configuration(&self, data_id: &str) -> Result<()> {
        let id = escaped(data_id);
        self.ask("DELETE", &format!("/nacos/v2/cs/config?dataId={id}&group=dubbo"))
    }

    fn ask(&self, method: &str, target: &str) -> Result<()> {
        let answer = self.host.inside(|| http::exchange(SERVER, method, target, &[], ""))?;
        ensure!(answer.status == 200, "{method} {target}: {} {}", answer.status, answer.body);
        Ok(())
    }

    pub(crate) fn apply(&self, resources: &str) -> Result<()> {
        let file = self.sandbox.path("resources.yaml");
        fs::write(&file, resources)?;
        let file = file.to_string_lossy().into_owned();
        wait::until(SOON, "the resources are applied", || {
            self.laneway(&["apply", "-f", &file]).map(drop)
        })
    }

    /// What a command says on this host, which must end well.
    pub(crate) fn laneway(&self, arguments: &[&str]) -> Result<String> {
        let plain = self.sandbox.laneway(arguments);
        let mut command = self.host.command(plain.get_program());
        command.args(plain.get_args()).args(["--server", "http://127.0.0.1:7600", "--data"]);
        let output = command.arg(self.sandbox.path("control")).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// One request through the gateway.
    pub(crate) fn get(&self, headers: &[&str]) -> Result<http::Answer> {
        self.get_at(GATEWAY, "/c", headers)
    }

    /// One request to a gateway, of this path.
    pub(crate) fn get_at(
        &self,
        gateway: &str,
        path: &str,
        headers: &[&str],
    ) -> Result<http::Answer> {
        self.host.inside(|| http::get(gateway, path, headers))
    }

    /// Waits until a request is answered so.
    pub(crate) fn answers(&self, headers: &[&str], status: u16, words: &str) -> Result<()> {
        wait::until(SOON, &format!("{status} {words:?} for {headers:?}"), || {
            let answer = self.get(headers)?;
            ensure!(answer.status == status && answer.body.contains(words), "{answer:?}");
            Ok(())
        })
        .with_context(|| self.laneway(&["get", "instances", "-A"]).unwrap_or_default())
    }

    /// How the source `registry` stands.
    pub(crate) fn state(&self) -> Result<String> {
        let status = self.laneway(&["status"])?;
        let line = status.lines().find(|line| line.starts_with("registry "));
        let state = line.and_then(|line| {
            let at = ["syncing", "synced", "stale"].iter().find_map(|word| line.find(word))?;
            Some(line[at..].trim_end().to_owned())
        });
        state.with_context(|| status.clone())
    }

    /// Waits until the source `registry` stands so: in a word, or with these words.
    pub(crate) fn stands(&self, words: &str) -> Result<()> {
        wait::until(SOON, &format!("the source is {words:?}"), || {
            let state = self.state()?;
            let is_so = if words == "synced" { state == words } else { state.contains(words) };
            ensure!(is_so, "{state}");
            Ok(())
        })
    }

    /// Waits until an instance is shown with a word: its tag, or its health.
    pub(crate) fn instance(&self, address: &str, word: &str) -> Result<()> {
        wait::until(SOON, &format!("{address} is {word}"), || {
            let instances = self.laneway(&["get", "instances", "-A"])?;
            let line = instances.lines().find(|line| line.contains(address));
            ensure!(line.is_some_and(|line| line.contains(word)), "{instances}");
            Ok(())
        })
    }
}

/// What Maven leaves in a folder of the repository.
fn built(path: &str) -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let remedy = "run `mvn package` in java-agent/ and in samples/spring-cloud/ first";
    place.canonicalize().with_context(|| format!("{path}: {remedy}"))
}

/// What of a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Functions {
    Naming,
    All,
}

/// As it stands in a query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A registration as HTTP asks for it.
fn parameters(group: &str, service: &str, address: &str, metadata: &[(&str, &str)]) -> String {
    let (ip, port) = address.rsplit_once(':').unwrap_or_default();
    let metadata: serde_json::Map<_, _> = (metadata.iter())
        .map(|(key, value)| ((*key).to_owned(), serde_json::Value::from(*value)))
        .collect();
    let metadata = serde_json::Value::from(metadata).to_string();
    let (metadata, service) = (escaped(&metadata), escaped(service));
    format!(
        "groupName={group}&serviceName={service}&ip={ip}&port={port}&ephemeral=true&weight=1&healthy=true&metadata={metadata}"
    )
}

/// A server that knows nothing, starting.
fn server(sandbox: &Sandbox, host: &Host, start: u32, functions: Functions) -> Result<Process> {
    let world = std::env::var_os("LANEWAY_NACOS").map(PathBuf::from);
    let world = world.context("LANEWAY_NACOS names the folder that the server is started from")?;
    let home = sandbox.path(&format!("nacos-{start}"));
    fs::create_dir_all(&home)?;
    let target = world.join("target");
    // Two jars have the same classes; the server wants those of this one.
    let parts = ["classes", "jars/hessian-4.0.63.jar", "jars/*"].map(|part| target.join(part));
    let class_path = parts.map(|part| part.display().to_string()).join(":");
    let port = SERVER.rsplit_once(':').map_or("", |(_, port)| port);
    let mut command = host.command("java");
    command
        .args(["-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(format!("-Dnacos.home={}", home.display()))
        .arg(format!("-Duser.home={}", home.display()))
        .arg(format!("-Dserver.port={port}"))
        .args(["-Dserver.servlet.context-path=/nacos", "-Dnacos.server.ip=127.0.0.1"])
        // Its embedded database may take its time on a busy machine.
        .arg("-Ddb.pool.config.connectionTimeout=120000")
        .args((functions == Functions::Naming).then_some("-Dnacos.functionMode=naming"))
        .args(["-cp", &class_path, "NacosServer"])
        .current_dir(&home);
    Process::start(&format!("nacos-{start}"), &mut command, sandbox.directory())
}
