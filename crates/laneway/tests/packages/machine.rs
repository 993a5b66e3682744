//! Machines that the package is installed on: `dpkg` installs it into a folder, and each machine has settings, state and
//! a network of its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::{Host, Switch};

use crate::unit::{Service, Unit};

/// The folder of the packages that `cargo xtask dist` made.
#[allow(clippy::disallowed_methods, reason = "a test is told its packages by the environment")]
pub(crate) fn packages() -> Result<PathBuf> {
    let place = std::env::var_os("LANEWAY_PACKAGES");
    Ok(place.context("LANEWAY_PACKAGES: names the folder that `cargo xtask dist` wrote")?.into())
}

/// The one file there whose name ends so.
pub(crate) fn package(ending: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(packages()?).context("read the folder of packages")?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut fitting = files.filter(|path| path.to_string_lossy().ends_with(ending));
    fitting.next().with_context(|| format!("no package ends in `{ending}`"))
}

/// A folder that Debian's package manager takes for a system.
#[derive(Debug)]
pub(crate) struct System {
    folder: tempfile::TempDir,
}

impl System {
    /// With nothing installed.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder for a system")?;
        // Services are others than root.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        for name in ["updates", "info", "triggers"] {
            fs::create_dir_all(folder.path().join("var/lib/dpkg").join(name))?;
        }
        fs::write(folder.path().join("var/lib/dpkg/status"), "")?;
        Ok(Self { folder })
    }

    /// With the package.
    pub(crate) fn installed() -> Result<Self> {
        let system = Self::new()?;
        let package = package(".deb")?;
        system.dpkg(&["--install", &package.to_string_lossy()])?;
        Ok(system)
    }

    /// Runs `dpkg` there. Its scripts run here, and are told where: there is no shell in there; nor are there libraries.
    pub(crate) fn dpkg(&self, arguments: &[&str]) -> Result<()> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root().display()));
        dpkg.args(["--force-script-chrootless", "--force-depends", "--force-confold"]);
        let output = dpkg.args(arguments).output().context("run dpkg")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dpkg {}: {errors}", arguments.join(" "));
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// A host with the package.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    root: PathBuf,
    logs: PathBuf,
}

impl Machine {
    /// The package's files are the installed system's; settings are as they were installed.
    pub(crate) fn new(system: &System, switch: &Switch, number: u8) -> Result<Self> {
        let host = switch.host(number)?;
        let root = system.root().join("machines").join(number.to_string());
        fs::create_dir_all(root.join("etc/laneway"))?;
        fs::create_dir_all(root.join("run"))?;
        fs::create_dir_all(root.join("root"))?;
        symlink(system.root().join("usr"), root.join("usr"))?;
        for entry in fs::read_dir(system.root().join("etc/laneway"))? {
            let entry = entry?;
            fs::copy(entry.path(), root.join("etc/laneway").join(entry.file_name()))?;
        }
        Ok(Self { host, root, logs: system.root().join("machines") })
    }

    pub(crate) fn address(&self) -> String {
        self.host.address().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A program of the package, run by root.
    pub(crate) fn laneway(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(self.path("usr/bin/laneway"));
        command.args(arguments).env("HOME", &self.root);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LANEWAY_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The same, to its end, which is to be a good one.
    pub(crate) fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.laneway(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "laneway {}: {errors}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the guide says of a verb, run by its words: paths are this machine's.
    pub(crate) fn by_the_guide(&self, verb: &str) -> Result<String> {
        let guide = fs::read_to_string(self.path("usr/share/doc/laneway/docs/guide/hosts.md"))?;
        let beginning = format!("`laneway {verb} ");
        let (_, line) =
            guide.split_once(&beginning).with_context(|| format!("{beginning} in the guide"))?;
        let words = line.split('`').next().unwrap_or_default().split(' ');
        let words = words.map(|word| match word.strip_prefix('/') {
            Some(path) => self.path(path).to_string_lossy().into_owned(),
            None => word.to_owned(),
        });
        let words: Vec<String> = std::iter::once(verb.to_owned()).chain(words).collect();
        self.must(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Says a setting as somebody does who edits the file: where the file speaks of it, or nowhere.
    pub(crate) fn set(&self, file: &str, settings: &[(&str, &str)]) -> Result<()> {
        let path = self.path("etc/laneway").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (name, value) in settings {
            let speaks = |line: &String| {
                line.trim_start_matches('#')
                    .strip_prefix(name)
                    .is_some_and(|it| it.starts_with('='))
            };
            let Some(at) = lines.iter().position(speaks) else {
                bail!("{file} does not speak of {name}");
            };
            lines[at] = format!("{name}={value}");
        }
        fs::write(&path, lines.join("\n") + "\n")?;
        Ok(())
    }

    /// `systemctl start NAME`.
    pub(crate) fn start(&self, name: &str) -> Result<Service> {
        // Logs are the test's, and hosts have units of the same name.
        let logs = self.logs.join(format!("logs-of-{}", self.host.address()));
        fs::create_dir_all(&logs)?;
        Unit::read(&self.root, name)?.start(&self.host, &logs)
    }

    /// The redirect rules in force.
    pub(crate) fn rules(&self) -> Result<String> {
        let output = self.host.command("iptables").args(["-t", "nat", "-S"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
