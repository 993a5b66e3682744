//! Real processes of the built binary, on a loopback network and in a directory of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use parking_lot::{Mutex, MutexGuard};

use crate::{Process, application, clock::Clocks, http, network::Network, wait};

/// Longest that a process may take to be ready. Debug builds on a busy machine take a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The host of every sandbox on which control plane and gateway listen.
pub const MAIN_HOST: u8 = 1;

/// Fleets run one at a time within a test binary: they share two cores with their load, and are timed.
static TURN: Mutex<()> = Mutex::new(());

/// One test's world. Processes started from it end with it.
#[derive(Debug)]
pub struct Sandbox {
    network: Network,
    directory: tempfile::TempDir,
    laneway: PathBuf,
    application: PathBuf,
    clocks: Option<Clocks>,
    /// Of all processes of `laneway`.
    variables: Vec<(&'static str, String)>,
    _turn: MutexGuard<'static, ()>,
}

/// An instance of an application, as it is to be started.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The letter its answers print: `A`. Its application is `app-a`, its service `sc-A`.
    pub name: &'static str,
    /// The tag its answers print: what it *is*.
    pub tag: Option<&'static str>,
    /// The tag its sidecar announces: what it is *taken for*. Differs from `tag` only to plant a mistake.
    pub announced: Option<&'static str>,
    /// Its host in the sandbox's network.
    pub host: u8,
    /// Where its sidecar looks for its control plane; there it is, unless a test stands in between.
    pub control: Option<String>,
    /// The service it calls, as `http://sc-B/b`.
    pub calls: Option<&'static str>,
    /// Where it sends those calls; its own sidecar unless a test stands in between.
    pub proxy: Option<String>,
    /// The headers it forwards.
    pub forwards: &'static str,
    /// What its sidecar asks it for to see that it is healthy; else a connection is enough.
    pub health_path: Option<&'static str>,
}

/// An application and the sidecar beside it.
#[derive(Debug)]
pub struct RunningInstance {
    /// What was started.
    pub instance: Instance,
    /// Its address.
    pub address: String,
    /// The application.
    pub application: Process,
    /// Its sidecar.
    pub sidecar: Process,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct CommandResult {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Instance {
    /// An instance of the chain A → B → C that is what it says.
    #[must_use]
    pub fn of_chain(name: &'static str, tag: Option<&'static str>, host: u8) -> Self {
        let calls = match name {
            "A" => Some("http://sc-B/b"),
            "B" => Some("http://sc-C/c"),
            _ => None,
        };
        let forwards = application::INSTRUMENTED;
        Self {
            name,
            tag,
            announced: tag,
            host,
            control: None,
            calls,
            proxy: None,
            forwards,
            health_path: None,
        }
    }

    /// What its answers begin with: `Agray`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}{}", self.name, self.tag.unwrap_or_default())
    }
}

impl Sandbox {
    /// Waits for this test's turn, then takes a network and a directory. `built` is the binary that cargo built
    /// (`env!("CARGO_BIN_EXE_laneway")`); `LANEWAY_BINARY` names another one, such as the release build.
    ///
    /// # Errors
    /// When there is no network or directory, or the test application does not build.
    #[allow(clippy::disallowed_methods, reason = "the one place that knows which binary is tested")]
    pub fn new(built: &str) -> Result<Self> {
        let turn = TURN.lock();
        let laneway =
            std::env::var_os("LANEWAY_BINARY").map_or_else(|| built.into(), PathBuf::from);
        Ok(Self {
            network: Network::claim()?,
            directory: tempfile::tempdir().context("make a directory for a sandbox")?,
            laneway,
            application: application::program()?,
            clocks: None,
            variables: Vec::new(),
            _turn: turn,
        })
    }

    /// Processes of these commands, started from now on, look at wall clocks that [`Sandbox::set_clock`] sets.
    ///
    /// # Errors
    /// When the clocks do not build.
    pub fn with_clocks(mut self, commands: &[&'static str]) -> Result<Self> {
        self.clocks = Some(Clocks::new(self.directory.path(), commands)?);
        Ok(self)
    }

    /// Sets the wall clock of all processes of a command so far ahead of the true one, or behind.
    ///
    /// # Errors
    /// When they have no clock of their own.
    pub fn set_clock(&self, command: &str, ahead_seconds: i64) -> Result<()> {
        self.clocks.as_ref().context("no clocks")?.set(command, ahead_seconds)
    }

    /// Every `laneway` process started from now on has this variable.
    pub fn set_variable(&mut self, name: &'static str, value: String) {
        self.variables.push((name, value));
    }

    /// A path in the sandbox's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The address of a host.
    #[must_use]
    pub fn host(&self, host: u8) -> String {
        self.network.host(host)
    }

    /// Where a port of a host is.
    #[must_use]
    pub fn endpoint(&self, host: u8, port: u16) -> String {
        self.network.endpoint(host, port)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> String {
        self.endpoint(MAIN_HOST, 8000)
    }

    /// Where the API listens.
    #[must_use]
    pub fn api_address(&self) -> String {
        self.endpoint(MAIN_HOST, 7600)
    }

    /// Where data planes connect.
    #[must_use]
    pub fn discovery_address(&self) -> String {
        self.endpoint(MAIN_HOST, 7601)
    }

    /// `laneway serve`, ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn serve(&self, more: &[&str]) -> Result<Process> {
        let gateway = self.gateway_address();
        let arguments = [&["serve", "--gateway-listen", &gateway][..], more].concat();
        self.start_control_plane("serve", &arguments)
    }

    /// `laneway control`, ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn control(&self, more: &[&str]) -> Result<Process> {
        self.start_control_plane("control", &[&["control"], more].concat())
    }

    fn start_control_plane(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let (api, discovery) = (self.api_address(), self.discovery_address());
        let data = self.path(name);
        let mut command = self.laneway(arguments);
        command.args(["--api-listen", &api, "--discovery-listen", &discovery, "--data"]).arg(data);
        let mut process = Process::start(name, &mut command, self.directory.path())?;
        ready(&mut process, &api)?;
        Ok(process)
    }

    /// `laneway gateway` beside a control plane, ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn gateway(&self, control: &str) -> Result<Process> {
        let mut process = self.start_gateway("gateway", MAIN_HOST, control)?;
        ready(&mut process, &self.endpoint(MAIN_HOST, 15020))?;
        Ok(process)
    }

    /// `laneway gateway` on the gateway's address, administered on another host's; not yet ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_gateway(&self, name: &str, admin_host: u8, control: &str) -> Result<Process> {
        let (listen, admin) = (self.gateway_address(), self.endpoint(admin_host, 15020));
        let mut command = self.laneway(&["gateway", "--control", control]);
        // Several may share the address, as when one takes over from another.
        command.args(["--gateway-listen", &listen, "--admin-listen", &admin, "--takeover"]);
        command.arg("--data").arg(self.path(name));
        Process::start(name, &mut command, self.directory.path())
    }

    /// An application and its sidecar, both ready: the sidecar has registered it.
    ///
    /// # Errors
    /// When they are not ready in time.
    pub fn start(&self, instance: &Instance) -> Result<RunningInstance> {
        let mut running = self.begin(instance)?;
        running.ready()?;
        Ok(running)
    }

    /// An application and its sidecar, started but perhaps not yet ready.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn begin(&self, instance: &Instance) -> Result<RunningInstance> {
        let host = instance.host;
        let label = instance.label();
        let mut command = Command::new(&self.application);
        command.args([&label, &self.endpoint(host, 8080)]);
        if let Some(next) = instance.calls {
            let own = self.endpoint(host, 15001);
            command.args([next, instance.proxy.as_deref().unwrap_or(&own), instance.forwards]);
        }
        self.begin_beside(instance, &mut command)
    }

    /// Another application, started as `command` says, and its sidecar; perhaps not yet ready. It must listen on port
    /// 8080 of the instance's host.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn begin_beside(
        &self,
        instance: &Instance,
        command: &mut Command,
    ) -> Result<RunningInstance> {
        let host = instance.host;
        let name = format!("{}-{host}", instance.label());
        let application = Process::start(&name, command, self.directory.path())?;
        let sidecar = self.begin_sidecar(instance)?;
        let address = self.host(host);
        Ok(RunningInstance { instance: instance.clone(), address, application, sidecar })
    }

    /// The sidecar of an instance, started but perhaps not yet ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin_sidecar(&self, instance: &Instance) -> Result<Process> {
        let endpoint = |port| self.endpoint(instance.host, port);
        let application = format!("app-{}", instance.name.to_lowercase());
        let service = format!("sc-{}", instance.name);
        let mut command = self.laneway(&["sidecar", "--application", &application]);
        let control = instance.control.clone().unwrap_or_else(|| self.discovery_address());
        command.args(["--service", &service, "--control", &control]);
        command.args(["--app-address", &endpoint(8080), "--advertise", &endpoint(15006)]);
        command.args(["--outbound-listen", &endpoint(15001), "--inbound-listen", &endpoint(15006)]);
        command.args(["--admin-listen", &endpoint(15020)]);
        if let Some(path) = instance.health_path {
            command.args(["--health-path", path]);
        }
        if let Some(tag) = instance.announced {
            command.args(["--tag", tag]);
        }
        let name = format!("sidecar-{}", instance.host);
        command.arg("--data").arg(self.path(&name));
        Process::start(&name, &mut command, self.directory.path())
    }

    /// A `laneway` command line without what the environment would add to it.
    #[must_use]
    pub fn laneway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.laneway);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("LANEWAY_") || name_text.starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("LANEWAY_SERVER", format!("http://{}", self.api_address()));
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CONFIG_HOME", self.path("config"));
        // No load balancer has to see it first.
        command.env("LANEWAY_LAME_DUCK_SECONDS", "0");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let (Some(clocks), Some(name)) = (&self.clocks, arguments.first()) {
            clocks.show(name, &mut command);
        }
        command
    }

    /// Runs a `laneway` command against this sandbox's control plane, to its end.
    ///
    /// # Errors
    /// When it cannot be run; an exit code is not an error.
    pub fn run(&self, arguments: &[&str]) -> Result<CommandResult> {
        let output = self.laneway(arguments).output();
        let output = output.with_context(|| format!("run laneway {}", arguments.join(" ")))?;
        Ok(CommandResult {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a `laneway` command that must succeed; returns what it printed.
    ///
    /// # Errors
    /// When it ends with anything but 0.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let result = self.run(arguments)?;
        if result.code != Some(0) {
            bail!("laneway {}: {:?} {}", arguments.join(" "), result.code, result.stderr);
        }
        Ok(result.stdout)
    }

    /// `laneway apply` of resources given as text.
    ///
    /// # Errors
    /// When they are refused.
    pub fn apply(&self, resources: &str) -> Result<String> {
        let file = self.path("applied.yaml");
        fs::write(&file, resources).context("write resources")?;
        self.must(&["apply", "-f", &file.to_string_lossy()])
    }

    /// The sandbox's directory, where logs are too.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl RunningInstance {
    /// Waits until the sidecar is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn ready(&mut self) -> Result<()> {
        ready(&mut self.sidecar, &format!("{}:15020", self.address))
    }

    /// `kill -9` of both, the application first.
    pub fn kill(&mut self) {
        self.application.kill();
        self.sidecar.kill();
    }
}

/// Waits until `/readyz` of a process says so.
///
/// # Errors
/// When the process ends first, or is not ready in time.
pub(crate) fn ready(process: &mut Process, admin: &str) -> Result<()> {
    let what = format!("{} ready at {admin}", process.name());
    let mut ended = None;
    wait::until(READY_WITHIN, &what, || {
        ended = process.ended();
        if ended.is_some() {
            return Ok(());
        }
        let answer = http::get(admin, "/readyz", &[])?;
        if answer.status == 200 { Ok(()) } else { bail!("{} {}", answer.status, answer.body) }
    })?;
    match ended {
        Some(status) => bail!("{} ended with {status}: {}", process.name(), process.output()),
        None => Ok(()),
    }
}
