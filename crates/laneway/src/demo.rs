//! The sample scenario on this machine: A → B → C, base and gray, a sidecar beside each, control plane and
//! gateway in one process. Every part is the real one, run the way a user would run it.

pub(crate) mod chain;
mod https;
mod processes;
pub(crate) mod scenario;
mod traffic;
mod verify;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use proxy::sockets;
use tokio::time::Instant;

use processes::Processes;
pub(crate) use traffic::Client;
pub(crate) use verify::{Check, Verification};

use crate::door::token;
use chain::Deviation;
use https::Https;
use scenario::{API, DISCOVERY, GATEWAY, HTTPS, INSTANCES, Instance};

/// How long everything may take to come up. It takes about two seconds; a busy machine with two cores is given
/// time, since nothing is gained by giving up early.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where the demo keeps its state and logs.
#[derive(Debug)]
enum Data {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

/// The running scenario.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) processes: Processes,
    pub(crate) client: Client,
    /// Where HTTPS is served too.
    pub(crate) https: Option<Https>,
    program: PathBuf,
    data: Data,
}

impl Demo {
    /// Starts everything and waits until both chains answer as they should; with `serves_https` in TLS too. `tell` hears
    /// what goes on.
    pub(crate) async fn start(
        data: Option<PathBuf>,
        serves_https: bool,
        mut tell: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        require_free_addresses(serves_https)?;
        let data = match data {
            None => {
                let directory = tempfile::Builder::new().prefix("laneway-demo-").tempdir();
                Data::Temporary(directory.context("create a temporary directory")?)
            }
            Some(path) => {
                std::fs::create_dir_all(&path)
                    .with_context(|| format!("create {}", path.display()))?;
                Data::Given(path)
            }
        };
        let program = std::env::current_exe().context("find this program's own file")?;
        let processes = Processes::new(program.clone(), data.path().join("logs"))?;
        let made = serves_https.then(|| Https::make(HTTPS, &data.path().join("https")));
        let https = made.transpose().context("make a certificate")?;
        let mut demo = Self { processes, client: Client::new(GATEWAY), https, program, data };
        if let Err(error) = demo.bring_up(&mut tell).await {
            demo.processes.stop().await;
            return Err(error);
        }
        Ok(demo)
    }

    async fn bring_up(&mut self, tell: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        tell("starting control plane and gateway");
        let control_plane = self.control_plane_data();
        self.processes
            .start(scenario::CONTROL_PLANE, &scenario::serve_arguments(&control_plane))?;
        let api = Client::new(API);
        self.wait(deadline, async || match api.get("/readyz", &[]).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("http://{API}/readyz answers {}", answer.status)),
            Err(error) => Err(format!("http://{API}/readyz: {error}")),
        })
        .await?;

        tell("starting applications and their sidecars");
        for instance in INSTANCES {
            self.processes
                .start(&instance.application_process(), &instance.application_arguments())?;
            let data = self.data.path().join(instance.sidecar_process());
            self.processes
                .start(&instance.sidecar_process(), &instance.sidecar_arguments(&data))?;
        }

        tell("applying samples/*.yaml");
        let resources = self.data.path().join("resources");
        std::fs::create_dir_all(&resources).context("create a directory for resources")?;
        if let Some(https) = &self.https {
            let (pair, key) = (https.certificate.display(), https.key.display());
            let (pair, key) = (pair.to_string(), key.to_string());
            let add = ["certificate", "add", https::CERTIFICATE, "--cert", &pair, "--key", &key];
            self.laneway(&add).await?;
        }
        for (name, text) in scenario::resources(self.https.is_some()) {
            std::fs::write(resources.join(name), text).with_context(|| format!("write {name}"))?;
        }
        self.laneway(&["apply", "-f", &resources.display().to_string()]).await?;

        tell("waiting until both chains answer");
        let client = self.client.clone();
        self.wait(deadline, async || {
            chain::expect(&client, "/a", &[], &scenario::base_chain()).await?;
            chain::expect(&client, "/a", &[scenario::GRAY_HEADER], &scenario::gray_chain()).await
        })
        .await?;
        let Some(https) = self.https.clone() else { return Ok(()) };
        self.wait(deadline, async || match https.get("/a").await {
            Ok(answer) => chain::compare(&answer, &scenario::base_chain()).map_err(String::from),
            Err(error) => Err(format!("https://{HTTPS}/a: {error:#}")),
        })
        .await
    }

    /// Repeats `attempt` until it succeeds; ends early when a process does.
    async fn wait<E: std::fmt::Display>(
        &mut self,
        deadline: Instant,
        mut attempt: impl AsyncFnMut() -> Result<(), E>,
    ) -> anyhow::Result<()> {
        loop {
            let Err(reason) = attempt().await else { return Ok(()) };
            if let Some(ended) = self.processes.ended() {
                bail!("{ended}\n{}", self.processes.log_tail(&ended.name));
            }
            if Instant::now() >= deadline {
                bail!(
                    "not ready within {START_DEADLINE:?}: {reason}; logs are in {}",
                    self.keep_data()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs a command of this program against the demo's control plane, as a user would.
    pub(crate) async fn laneway(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run_laneway(&self.program, arguments).await
    }

    /// Verifies the scenario.
    pub(crate) fn verification(&self, killed: Option<&str>) -> Verification {
        let (program, client) = (self.program.clone(), self.client.clone());
        Verification::new(program, client, self.https.clone(), killed)
    }

    /// Ends every process, each with time to finish.
    pub(crate) async fn stop(mut self) {
        self.processes.stop().await;
    }

    fn control_plane_data(&self) -> PathBuf {
        self.data.path().join("control-plane")
    }

    /// The file with the API's token.
    pub(crate) fn api_token(&self) -> PathBuf {
        self.control_plane_data().join(token::FILE)
    }

    /// Keeps a temporary directory for whoever looks for the reason of a failure; says where it is.
    pub(crate) fn keep_data(&mut self) -> String {
        if let Data::Temporary(directory) = &mut self.data {
            directory.disable_cleanup(true);
        }
        self.data.path().display().to_string()
    }
}

impl Data {
    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

async fn run_laneway(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).args(["--server", &format!("http://{API}")]);
    command.env_clear().stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.with_context(|| format!("run {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("laneway {}: {}: {}", arguments.join(" "), output.status, said.trim());
    }
    Ok(())
}

/// Says which of the demo's addresses are in use, all of them at once.
fn require_free_addresses(serves_https: bool) -> anyhow::Result<()> {
    let own = [("gateway", GATEWAY), ("API", API), ("discovery", DISCOVERY)];
    let https = serves_https.then_some(("gateway, HTTPS", HTTPS));
    let own = own.into_iter().chain(https).map(|(what, address)| (what.to_owned(), address));
    let all = own.chain(INSTANCES.iter().flat_map(Instance::addresses));
    let taken: Vec<String> = all
        .filter_map(|(what, address): (String, SocketAddr)| {
            let error = TcpListener::bind(address).err()?;
            let who = sockets::listener_at(address).map(|who| format!(": {who}"));
            Some(format!("{address} ({what}): {error}{}", who.unwrap_or_default()))
        })
        .collect();
    if !taken.is_empty() {
        bail!(
            "the demo needs these addresses, and cannot have them; stop what uses them (`ss -ltnp` tells who):\n  {}",
            taken.join("\n  ")
        );
    }
    Ok(())
}

impl From<Deviation> for String {
    fn from(deviation: Deviation) -> Self {
        deviation.to_string()
    }
}
