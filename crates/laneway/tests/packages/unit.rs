//! A unit file of the package, and a process started as systemd would start it: its words, its environment, its user,
//! its capabilities, its folders, its credentials.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Host, Process};

/// Where units are.
pub(crate) const UNITS: &str = "usr/lib/systemd/system";

/// What systemd gives to those whose unit says nothing of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// Longest until a process says that it serves. Debug builds on a busy machine take a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The first user of those that systemd keeps for units with `DynamicUser`.
const FIRST_DYNAMIC_USER: u32 = 61_184;

/// A unit, for a machine whose files are under a folder.
#[derive(Debug)]
pub(crate) struct Unit {
    /// `laneway-sidecar@orders.service`.
    name: String,
    /// `orders`.
    instance: String,
    root: PathBuf,
    text: String,
}

/// A process that is what a unit says.
#[derive(Debug)]
pub(crate) struct Service {
    unit: Unit,
    process: Process,
    notified: UnixDatagram,
    /// Who is the main process now.
    main: u32,
}

impl Unit {
    pub(crate) fn read(root: &Path, name: &str) -> Result<Self> {
        let (file, instance) = match name.split_once('@') {
            None => (name.to_owned(), ""),
            Some((template, instance)) => {
                (format!("{template}@.service"), instance.trim_end_matches(".service"))
            }
        };
        let path = root.join(UNITS).join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(!text.contains("\\\n"), "{name}: this reader knows no lines that go on");
        Ok(Self {
            name: name.to_owned(),
            instance: instance.to_owned(),
            root: root.to_owned(),
            text,
        })
    }

    /// All that a key is set to, specifiers expanded; an empty one takes back what was before.
    fn all(&self, key: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for line in self.text.lines() {
            match line.split_once('=') {
                Some((known, "")) if known == key => all.clear(),
                Some((known, value)) if known == key => all.push(self.expanded(value)?),
                _ => {}
            }
        }
        Ok(all)
    }

    fn one(&self, key: &str) -> Result<String> {
        match &self.all(key)?[..] {
            [value] => Ok(value.clone()),
            all => bail!("{}: {key} is there {} times", self.name, all.len()),
        }
    }

    /// The words of all values of a key.
    fn words(&self, key: &str) -> Result<Vec<String>> {
        Ok(self.all(key)?.iter().flat_map(|value| value.split(' ')).map(str::to_owned).collect())
    }

    fn expanded(&self, value: &str) -> Result<String> {
        let mut parts = value.split('%');
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let mut letters = part.chars();
            match letters.next() {
                Some('i') => whole.push_str(&self.instance),
                Some('S') => whole.push_str(&self.state().to_string_lossy()),
                Some('d') => whole.push_str(&self.credentials().to_string_lossy()),
                other => bail!("{}: `{value}`: this reader knows no %{other:?}", self.name),
            }
            whole.push_str(letters.as_str());
        }
        Ok(whole)
    }

    fn state(&self) -> PathBuf {
        self.root.join("var/lib")
    }

    fn credentials(&self) -> PathBuf {
        self.root.join("run/credentials").join(&self.name)
    }

    /// Where a path of the machine is.
    fn on_machine(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The user that it runs as: one of those that systemd gives to nobody else, the same for all units that name it.
    fn user(&self) -> Result<u32> {
        ensure!(self.one("DynamicUser")? == "yes", "{}: is to run as a dynamic user", self.name);
        let named = self.all("User")?.pop().unwrap_or_else(|| self.name.clone());
        Ok(FIRST_DYNAMIC_USER + named.bytes().map(u32::from).sum::<u32>() % 4096)
    }

    /// What systemd makes before it starts anything.
    fn prepare(&self) -> Result<()> {
        let user = self.user()?;
        let mode = u32::from_str_radix(&self.one("StateDirectoryMode")?, 8)?;
        for name in self.words("StateDirectory")? {
            let private = self.state().join("private");
            make_own(&private.join(&name), user, mode)?;
            let link = self.state().join(&name);
            fs::create_dir_all(link.parent().context("a folder")?)?;
            if !link.exists() {
                symlink(private.join(&name), link)?;
            }
        }
        make_own(&self.credentials(), user, 0o500)?;
        for credential in self.all("LoadCredential")? {
            let (name, from) = credential.split_once(':').context("ID:PATH")?;
            let to = self.credentials().join(name);
            fs::copy(self.on_machine(from), &to)
                .with_context(|| format!("{}: {from}", self.name))?;
            chown(&to, Some(user), Some(user))?;
            fs::set_permissions(&to, PermissionsExt::from_mode(0o400))?;
        }
        Ok(())
    }

    /// The environment: what the unit says, and then its files.
    fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut all = vec![("PATH".to_owned(), PATH.to_owned())];
        let words = self.words("Environment")?;
        all.extend(words.iter().filter_map(|word| word.split_once('=')).map(owned));
        for named in self.all("EnvironmentFile")? {
            let path = self.on_machine(named.trim_start_matches('-'));
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let lines = text.lines().filter(|line| !line.starts_with('#'));
                    all.extend(lines.filter_map(|line| line.split_once('=')).map(owned));
                }
                Err(_) if named.starts_with('-') => {}
                Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
            }
        }
        Ok(all)
    }

    /// The command of a key such as `ExecStart`, as its user, with its capabilities and no way to others.
    fn command(&self, host: &Host, key: &str, main: u32) -> Result<Command> {
        ensure!(self.one("NoNewPrivileges")? == "yes", "{}: NoNewPrivileges", self.name);
        let line = self.one(key)?.replace("$MAINPID", &main.to_string());
        let ours = |program: &str| match self.on_machine(program) {
            ours if ours.exists() => ours,
            _ => PathBuf::from(program),
        };
        // The one quoted word that units have is a line of a shell.
        let (line, script) = match line.strip_suffix('\'').and_then(|line| line.split_once(" '")) {
            Some((line, script)) => (line.to_owned(), Some(script.replace("$$", "$"))),
            None => (line, None),
        };
        let program = ours("/usr/bin/laneway");
        let script = script.map(|it| it.replace("/usr/bin/laneway", &program.to_string_lossy()));
        let mut words = line.split(' ');
        let program = ours(words.next().context("a program")?);
        let user = self.user()?.to_string();
        let (bounds, given) =
            (self.words("CapabilityBoundingSet")?, self.words("AmbientCapabilities")?);
        let mut command = host.command("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
        command.args(["--bounding-set", &capabilities(&bounds)]);
        command.args([
            "--inh-caps",
            &capabilities(&given),
            "--ambient-caps",
            &capabilities(&given),
        ]);
        command.arg("--").arg(program).args(words).args(script);
        command.env_clear().envs(self.environment()?);
        Ok(command)
    }

    /// Starts it, and waits until it says to systemd that it serves.
    pub(crate) fn start(self, host: &Host, logs: &Path) -> Result<Service> {
        ensure!(self.one("Type")? == "notify", "{}: Type", self.name);
        self.prepare()?;
        let socket = self.root.join("run").join(format!("{}.notify", self.name));
        // There from the start before.
        let _none = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket)?;
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o777))?;
        notified.set_read_timeout(Some(READY_WITHIN))?;
        let mut command = self.command(host, "ExecStart", 0)?;
        let process = Process::start(&self.name, command.env("NOTIFY_SOCKET", socket), logs)?;
        let main = process.id();
        let mut service = Service { unit: self, process, notified, main };
        ensure!(service.hear()? == format!("READY=1\nMAINPID={main}"), "it is to say who serves");
        Ok(service)
    }
}

impl Service {
    /// What it tells systemd next.
    fn hear(&mut self) -> Result<String> {
        let mut told = [0; 1024];
        let length = self.notified.recv(&mut told).with_context(|| {
            let ended = self.process.ended();
            format!("{} says nothing ({ended:?}): {}", self.unit.name, self.process.output())
        })?;
        Ok(String::from_utf8_lossy(&told[..length]).into_owned())
    }

    /// What `systemctl reload` runs, to its end.
    pub(crate) fn reload(&self, host: &Host) -> Result<()> {
        let output = self.unit.command(host, "ExecReload", self.main)?.output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}{}", self.unit.name, self.output());
        Ok(())
    }

    /// The same of one that has another process take its place.
    pub(crate) fn replace(&mut self, host: &Host) -> Result<()> {
        self.reload(host)?;
        let before = self.main;
        // What the new process says before the old one has named it, systemd does not listen to.
        for _ in 0..8 {
            let said = self.hear()?;
            if let Some(main) = said.strip_prefix("MAINPID=") {
                self.main = main.parse().with_context(|| format!("`{said}`"))?;
                break;
            }
        }
        ensure!(self.main != before, "{}: nobody was named", self.unit.name);
        Ok(())
    }

    /// Asks the main process to stop, as systemd does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        ensure!(self.main == self.process.id(), "only who was not replaced is waited for");
        self.process.ask_to_stop();
        let status = self.process.wait_for_end(READY_WITHIN)?;
        ensure!(status.success(), "{}: {status}: {}", self.unit.name, self.output());
        Ok(())
    }

    /// What systemd runs when the process has ended, however it did: `result` and `status` are what it says of that.
    pub(crate) fn after(&self, host: &Host, result: &str, status: &str) -> Result<()> {
        let mut command = self.unit.command(host, "ExecStopPost", self.main)?;
        let output = command.env("SERVICE_RESULT", result).env("EXIT_STATUS", status).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", self.unit.name);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn output(&self) -> String {
        self.process.output()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A successor outlives the process that this test started.
        if self.main != self.process.id()
            && let Some(main) = i32::try_from(self.main).ok().and_then(Pid::from_raw)
        {
            let _already_gone = kill_process(main, Signal::KILL);
        }
    }
}

fn make_own(folder: &Path, user: u32, mode: u32) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    chown(folder, Some(user), Some(user))?;
    Ok(fs::set_permissions(folder, PermissionsExt::from_mode(mode))?)
}

/// `-all,+net_admin` of `CAP_NET_ADMIN`.
fn capabilities(named: &[String]) -> String {
    let named =
        named.iter().map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    std::iter::once("-all".to_owned()).chain(named).collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
