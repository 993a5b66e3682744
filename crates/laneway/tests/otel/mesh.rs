//! A mesh of hosts: control plane and gateway on one, an application with a capturing sidecar on each of the others.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use testkit::{Host, Process, Switch, grpc, http, http::Answer, sample, wait};

/// Longest that anything may take to be ready: interpreters with instrumentation take seconds on a busy machine.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(60);

/// Where control plane and gateway are.
const EDGE: u8 = 1;

/// Where every application listens on its host.
pub(crate) const APPLICATION_PORT: u16 = 8080;

/// Where every sidecar takes what others send its application, and where it is administered.
const INBOUND_PORT: u16 = 15006;
const ADMIN_PORT: u16 = 15020;

/// Where the API of the control plane is, on its own host.
const API: &str = "127.0.0.1:7600";

/// The secret that lets sidecars of other hosts join.
const JOIN_TOKEN: &str = "a-token-for-the-hosts-of-one-test";

/// The lanes.
const LANES: &[&str] = &["gray", "blue"];

/// What an application is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    /// It speaks gRPC, which the chain then does as a whole.
    Grpc(grpc::Language),
    /// The sample application of `java-agent/`, under an agent.
    Java(Under),
}

/// Which agent a JVM is under, and who routes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    /// OpenTelemetry's own; a sidecar routes.
    OpenTelemetry,
    /// Laneway's, told that a sidecar routes.
    LanewayBesideSidecar,
}

/// How applications pass on what they got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// Zero-code instrumentation, and nothing in the application.
    OpenTelemetry,
    /// No instrumentation; the application passes on `x-request-id`.
    RequestId,
}

/// One instance of the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instance {
    /// `A`: its application is `app-a`, its service `sc-A`.
    pub(crate) name: &'static str,
    pub(crate) tag: Option<&'static str>,
    pub(crate) host: u8,
    pub(crate) language: Language,
    /// The host and path it calls: always an instance of the base, by address. Calls of gRPC have paths of their own.
    pub(crate) calls: Option<(u8, &'static str)>,
}

/// Everything that runs. Processes end before their hosts do.
#[derive(Debug)]
pub(crate) struct Mesh {
    nodes: Vec<Node>,
    serve: Process,
    edge: Host,
    switch: Switch,
    laneway: PathBuf,
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Node {
    instance: Instance,
    application: Process,
    /// None once it was killed.
    sidecar: Option<Process>,
    host: Host,
}

/// The worlds of the machine, as `cargo xtask test` names them.
struct Worlds {
    python: PathBuf,
    node_modules: PathBuf,
}

impl Mesh {
    /// Starts everything and waits until it is ready and the lanes are live.
    pub(crate) fn start(instances: &[Instance], forwarding: Forwarding) -> Result<Self> {
        let speaks_grpc = instances.iter().any(|it| matches!(it.language, Language::Grpc(_)));
        let all = if speaks_grpc { grpc::resources() } else { sample::chain(LANES) };
        Self::start_with(instances, forwarding, &all)
    }

    /// The same with resources of one's own.
    pub(crate) fn start_with(
        instances: &[Instance],
        forwarding: Forwarding,
        said: &str,
    ) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for the mesh")?;
        let laneway = binary();
        let switch = Switch::new()?;
        let edge = switch.host(EDGE)?;
        fs::write(directory.path().join("token"), JOIN_TOKEN).context("write the join token")?;
        let resources = directory.path().join("resources");
        fs::create_dir(&resources).context("make the directory of resources")?;
        fs::write(resources.join("all.yaml"), said).context("write resources")?;
        let serve = start_serve(&edge, &laneway, directory.path())?;
        let mut mesh = Self { nodes: Vec::new(), serve, edge, switch, laneway, directory };
        mesh.wait_for_serve()?;
        for instance in instances {
            let node = mesh.begin(instance, forwarding)?;
            mesh.nodes.push(node);
        }
        for node in &mut mesh.nodes {
            node.wait_until_ready()?;
        }
        Ok(mesh)
    }

    /// Waits until a request through the gateway is answered by `chain`.
    pub(crate) fn wait_for_chain(&self, headers: &[&str], chain: &str) -> Result<()> {
        wait::until(READY_WITHIN, &format!("{headers:?} answered by `{chain}`"), || {
            let answer = self.edge.inside(|| self.get(headers))?;
            if answer.body == chain { Ok(()) } else { bail!("{} {}", answer.status, answer.body) }
        })
    }

    /// `GET /a` through the gateway. To be called on the edge: see [`Mesh::on_edge`].
    pub(crate) fn get(&self, headers: &[&str]) -> Result<Answer> {
        self.get_at("/a", headers)
    }

    /// The same of another path.
    pub(crate) fn get_at(&self, path: &str, headers: &[&str]) -> Result<Answer> {
        http::get(&format!("{}:8000", self.edge.address()), path, headers)
    }

    /// One instance more. It is not waited for.
    pub(crate) fn add(&mut self, instance: &Instance, forwarding: Forwarding) -> Result<()> {
        let node = self.begin(instance, forwarding)?;
        self.nodes.push(node);
        Ok(())
    }

    /// `kill -9` of an application and of its sidecar, and the end of their host.
    pub(crate) fn kill(&mut self, host: u8) {
        self.nodes.retain(|node| node.instance.host != host);
    }

    /// What an application has printed.
    pub(crate) fn output(&self, host: u8) -> String {
        self.node(host).application.output()
    }

    /// What a command of `laneway` says on the host of the control plane, which must end well.
    pub(crate) fn laneway(&self, arguments: &[&str]) -> Result<String> {
        let mut command = laneway_on(&self.edge, &self.laneway, arguments);
        command.args(["--server", &format!("http://{API}"), "--data"]);
        let output = command.arg(self.directory.path().join("serve")).output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Says other resources, in the file that the control plane watches.
    pub(crate) fn say(&self, resources: &str) -> Result<()> {
        fs::write(self.directory.path().join("resources/all.yaml"), resources)
            .context("write resources")
    }

    /// Does something on the host of the gateway.
    pub(crate) fn on_edge<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.edge.inside(work)
    }

    /// Does something on the host of an instance.
    pub(crate) fn on_host<T: Send>(&self, host: u8, work: impl FnOnce() -> T + Send) -> T {
        self.node(host).host.inside(work)
    }

    fn node(&self, host: u8) -> &Node {
        self.nodes.iter().find(|node| node.instance.host == host).expect("an instance on this host")
    }

    fn node_mut(&mut self, host: u8) -> &mut Node {
        self.nodes
            .iter_mut()
            .find(|node| node.instance.host == host)
            .expect("an instance on this host")
    }

    /// A counter of a sidecar, over all its label sets that have `labels`.
    pub(crate) fn counter(&self, host: u8, metric: &str, labels: &[&str]) -> Result<u64> {
        let admin = self.node(host).admin();
        let text = self.on_host(host, || http::get(&admin, "/metrics", &[]))?.body;
        let series = text.lines().filter(|line| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(values.sum())
    }

    /// The redirect rules of a host.
    pub(crate) fn rules(&self, host: u8) -> Result<String> {
        let output = self.node(host).host.command("iptables").args(["-t", "nat", "-S"]).output();
        let output = output.context("run iptables")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kill -9` of a sidecar.
    pub(crate) fn kill_sidecar(&mut self, host: u8) {
        self.node_mut(host).sidecar = None;
    }

    /// Starts a sidecar anew after it has ended, and waits until it is ready.
    pub(crate) fn start_sidecar_again(&mut self, host: u8) -> Result<()> {
        let node = self.node(host);
        let sidecar = self.start_sidecar(&node.instance, &node.host)?;
        let node = self.node_mut(host);
        node.sidecar = Some(sidecar);
        node.wait_until_ready()
    }

    /// SIGTERM to a sidecar, and its end.
    pub(crate) fn stop_sidecar(&mut self, host: u8) -> Result<()> {
        let sidecar = self.node_mut(host).sidecar.as_mut().context("a sidecar")?;
        sidecar.ask_to_stop();
        let status = sidecar.wait_for_end(READY_WITHIN)?;
        if status.success() { Ok(()) } else { bail!("{status}: {}", sidecar.output()) }
    }

    /// `kill -9` of control plane and gateway, and a new start on what they have stored.
    pub(crate) fn restart_serve(&mut self) -> Result<()> {
        self.serve.kill();
        self.serve = start_serve(&self.edge, &self.laneway, self.directory.path())?;
        self.wait_for_serve()
    }

    /// Switches the lane gray off, in the file that the control plane watches.
    pub(crate) fn disable_gray(&self) -> Result<()> {
        let lanes = sample::chain(LANES);
        let disabled = lanes.replace("tag: gray,", "tag: gray, enabled: false,");
        assert_ne!(lanes, disabled, "the lane gray is there to be disabled");
        self.say(&disabled)
    }

    /// Runs a `laneway` command on the control plane's host, which must succeed.
    pub(crate) fn must(&self, arguments: &[&str]) -> Result<()> {
        let mut command = laneway_on(&self.edge, &self.laneway, arguments);
        command.env("LANEWAY_SERVER", format!("http://{API}"));
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        let output = command.output().with_context(|| format!("run {arguments:?}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { bail!("{arguments:?}: {errors}") }
    }

    /// A program that calls the chain of gRPC through the gateway.
    pub(crate) fn grpc_caller(&self) -> Command {
        let gateway = format!("{}:8000", self.edge.address());
        grpc::caller(|program| self.edge.command(program), &gateway)
    }

    fn wait_for_serve(&mut self) -> Result<()> {
        wait::until(READY_WITHIN, "control plane and gateway", || {
            if let Some(status) = self.serve.ended() {
                return Ok(bail_ended(&self.serve, status));
            }
            let ready = self.edge.inside(|| http::get(API, "/readyz", &[]))?;
            if ready.status == 200 { Ok(Ok(())) } else { bail!("{} {}", ready.status, ready.body) }
        })?
    }

    fn begin(&self, instance: &Instance, forwarding: Forwarding) -> Result<Node> {
        let host = self.switch.host(instance.host)?;
        let address = host.address().to_string();
        let label = instance.label();
        let logs = self.directory.path();

        let mut application = if let Language::Java(under) = instance.language {
            self.jvm(instance, under, &host)?
        } else {
            let mut application = instance.language.command(&host, forwarding, &Worlds::named())?;
            application.args([&label, &address, &APPLICATION_PORT.to_string()]);
            application.args(instance.calls_at());
            if instance.calls.is_some() && forwarding == Forwarding::RequestId {
                application.arg("x-request-id");
            }
            application
        };
        let application = Process::start(&format!("application-{label}"), &mut application, logs)?;

        let sidecar = Some(self.start_sidecar(instance, &host)?);
        Ok(Node { instance: *instance, application, sidecar, host })
    }

    fn start_sidecar(&self, instance: &Instance, host: &Host) -> Result<Process> {
        let (address, logs) = (host.address(), self.directory.path());
        let label = instance.label();
        let service = format!("sc-{}", instance.name);
        let mut sidecar =
            laneway_on(host, &self.laneway, &["sidecar", "--capture", "--service", &service]);
        sidecar.args(["--application", &format!("app-{}", instance.name.to_lowercase())]);
        sidecar.args(["--app-address", &format!("{address}:{APPLICATION_PORT}")]);
        sidecar.args(["--advertise", &format!("{address}:{INBOUND_PORT}")]);
        sidecar.args(["--inbound-listen", &format!("0.0.0.0:{INBOUND_PORT}")]);
        sidecar.args(["--admin-listen", &format!("{address}:{ADMIN_PORT}")]);
        sidecar.args(["--control", &format!("{}:7601", self.edge.address())]);
        sidecar.arg("--join-token-file").arg(logs.join("token"));
        sidecar.arg("--data").arg(logs.join(format!("sidecar-{label}")));
        if let Some(tag) = instance.tag {
            sidecar.args(["--tag", tag]);
        }
        Process::start(&format!("sidecar-{label}"), &mut sidecar, logs)
    }

    /// The sample application; its own registry knows the base of what it calls, and what lies ten hosts further.
    fn jvm(&self, instance: &Instance, under: Under, host: &Host) -> Result<Command> {
        let jar = match under {
            Under::OpenTelemetry => "extension/target/opentelemetry-javaagent.jar",
            Under::LanewayBesideSidecar => "extension/target/laneway-agent.jar",
        };
        let java = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        let mut jvm =
            host.command(java.map_or("java".into(), |home| PathBuf::from(home).join("bin/java")));
        jvm.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        jvm.arg(format!("-javaagent:{}", of_java_agent(jar)?.display()));
        for what in ["traces", "metrics", "logs"] {
            jvm.arg(format!("-Dotel.{what}.exporter=none"));
        }
        jvm.arg(format!("-Dlaneway.control={}:7601", self.edge.address()));
        let token = self.directory.path().join("token");
        jvm.arg(format!("-Dlaneway.join.token.file={}", token.display()));
        jvm.arg(format!("-Dlaneway.application=app-{}", instance.name.to_lowercase()));
        jvm.arg("-Dlaneway.tag=base");
        if under == Under::LanewayBesideSidecar {
            jvm.arg("-Dlaneway.routing=off");
        }
        jvm.arg("-jar").arg(of_java_agent("sample/target/sample.jar")?);
        jvm.arg(format!("--server.address={}", host.address()));
        jvm.arg(format!("--server.port={APPLICATION_PORT}"));
        let (next, _) = instance.calls.context("the sample application calls")?;
        for (at, next) in [next, next + 10].into_iter().enumerate() {
            let registry = "spring.cloud.discovery.client.simple.instances.sc-B";
            jvm.arg(format!("--{registry}[{at}].uri=http://10.77.0.{next}:{APPLICATION_PORT}"));
        }
        Ok(jvm)
    }

    /// What has ended although nobody asked it to, with what it printed.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for node in &mut self.nodes {
            for process in std::iter::once(&mut node.application).chain(&mut node.sidecar) {
                if let Some(status) = process.ended() {
                    ended.push(format!(
                        "{} ended with {status}: {}",
                        process.name(),
                        process.output()
                    ));
                }
            }
        }
        ended
    }
}

impl Instance {
    /// `Agray`: what its answers begin with.
    fn label(&self) -> String {
        format!("{}{}", self.name, self.tag.unwrap_or_default())
    }

    /// As its application is told whom it calls.
    fn calls_at(&self) -> Option<String> {
        let address = |host| format!("10.77.0.{host}:{APPLICATION_PORT}");
        match (self.language, self.calls) {
            (Language::Grpc(_), Some((host, _))) => Some(address(host)),
            (Language::Grpc(_), None) => Some("-".to_owned()),
            (_, calls) => calls.map(|(host, path)| format!("http://{}{path}", address(host))),
        }
    }
}

impl Node {
    fn admin(&self) -> String {
        format!("{}:{ADMIN_PORT}", self.host.address())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        if let Language::Grpc(_) = self.instance.language {
            let application = SocketAddr::new(self.host.address(), APPLICATION_PORT);
            self.host.inside(|| grpc::wait_until_listening(application))?;
        }
        let admin = self.admin();
        wait::until(READY_WITHIN, &format!("sidecar of {:?}", self.instance), || {
            let sidecar = self.sidecar.as_mut().context("a sidecar")?;
            if let Some(status) = sidecar.ended() {
                return Ok(bail_ended(sidecar, status));
            }
            let ready = self.host.inside(|| http::get(&admin, "/readyz", &[]))?;
            if ready.status == 200 { Ok(Ok(())) } else { bail!("{} {}", ready.status, ready.body) }
        })?
    }
}

/// What `mvn package` leaves in the folder `java-agent`.
fn of_java_agent(path: &str) -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../java-agent").join(path);
    place.canonicalize().with_context(|| format!("{path}: run `mvn package` in java-agent/ first"))
}

/// Waiting longer would not help.
fn bail_ended(process: &Process, status: ExitStatus) -> Result<()> {
    bail!("{} ended with {status}: {}", process.name(), process.output())
}

fn start_serve(edge: &Host, laneway: &Path, directory: &Path) -> Result<Process> {
    let mut serve = laneway_on(edge, laneway, &["serve", "--api-listen", API]);
    serve.args(["--gateway-listen", &format!("{}:8000", edge.address())]);
    serve.args(["--discovery-listen", &format!("{}:7601", edge.address())]);
    serve.arg("--join-token-file").arg(directory.join("token"));
    serve.arg("--data").arg(directory.join("serve"));
    serve.arg("--resources").arg(directory.join("resources"));
    Process::start("serve", &mut serve, directory)
}

impl Language {
    /// The command that runs an application of this language, up to its own arguments.
    fn command(self, host: &Host, forwarding: Forwarding, worlds: &Worlds) -> Result<Command> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/otel");
        let instrumented = forwarding == Forwarding::OpenTelemetry;
        let mut command = match self {
            Self::Python => {
                let folder =
                    worlds.python.parent().context("LANEWAY_PYTHON names a program in a folder")?;
                let mut command = if instrumented {
                    let mut command = host.command(folder.join("opentelemetry-instrument"));
                    command.arg(&worlds.python);
                    command
                } else {
                    host.command(&worlds.python)
                };
                command.arg(samples.join("flask_application.py"));
                command
            }
            Self::Node => {
                let mut command = host.command("node");
                command.arg(samples.join("express_application.js"));
                command.env("NODE_PATH", &worlds.node_modules);
                if instrumented {
                    // As `@opentelemetry/auto-instrumentations-node/register`, which Node would look for in the folder
                    // it runs in.
                    let register =
                        "@opentelemetry/auto-instrumentations-node/build/src/register.js";
                    let register = worlds.node_modules.join(register);
                    command.env("NODE_OPTIONS", format!("--require {}", register.display()));
                }
                command
            }
            Self::Grpc(language) => language.command(|program| host.command(program), None),
            Self::Java(_) => bail!("a JVM is started otherwise"),
        };
        for proxy in
            ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        {
            command.env_remove(proxy);
        }
        if instrumented {
            for exporter in ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"]
            {
                command.env(exporter, "none");
            }
            command.env("OTEL_PROPAGATORS", "tracecontext,baggage");
        }
        Ok(command)
    }
}

impl Worlds {
    fn named() -> Self {
        let named = |name: &str, place: &str| {
            let built =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/worlds").join(place);
            std::env::var_os(name).map_or(built, PathBuf::from)
        };
        Self {
            python: named("LANEWAY_PYTHON", "python/bin/python"),
            node_modules: named("LANEWAY_NODE_MODULES", "node/node_modules"),
        }
    }
}

/// The binary under test: the release build where `cargo xtask test` names it.
fn binary() -> PathBuf {
    std::env::var_os("LANEWAY_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_laneway").into(), PathBuf::from)
}

/// A `laneway` command on a host, without what the environment would add to it.
fn laneway_on(host: &Host, laneway: &Path, arguments: &[&str]) -> Command {
    let mut command = host.command(laneway);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LANEWAY_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}
