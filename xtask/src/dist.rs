//! `cargo xtask dist`: what is given to those who run Laneway on hosts: a Debian package and a tarball of the same files.
//!
//! Both are packed by the programs that are there for it (`dpkg-deb`, `tar`), and are the same bytes whenever they are
//! packed from the same files: names in order, owned by root, none younger than the commit. What is left out because it
//! cannot be made here is said.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    bench, console, java, profile, run,
    worlds::{self, Strictness, Worlds},
};

/// The release that is packed: that of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where packages are written.
const PLACE: &str = "target/packages";

/// Programs that pack, and the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("strip", "binutils"),
    ("tar", "tar"),
    ("gzip", "gzip"),
];

/// Files of the repository, and where they are in the packages.
const FILES: &[(&str, &str)] = &[
    ("LICENSE", "usr/share/doc/laneway/copyright"),
    ("README.md", "usr/share/doc/laneway/README.md"),
    ("CHANGELOG.md", "usr/share/doc/laneway/CHANGELOG.md"),
    ("deploy/etc/control.env", "etc/laneway/control.env"),
    ("deploy/etc/gateway.env", "etc/laneway/gateway.env"),
    ("deploy/etc/sidecar.env", "usr/share/laneway/examples/sidecar.env"),
];

/// Folders of the repository, whole, and where they are in the packages.
const FOLDERS: &[(&str, &str)] = &[
    ("deploy/systemd", "usr/lib/systemd/system"),
    ("deploy/prometheus", "usr/share/laneway/prometheus"),
    ("deploy/grafana", "usr/share/laneway/grafana"),
    ("docs/guide", "usr/share/doc/laneway/docs/guide"),
    ("docs/reference", "usr/share/doc/laneway/docs/reference"),
    ("samples/kinds", "usr/share/laneway/samples/kinds"),
];

/// Single documents, at the same place below one folder as in the repository.
const DOCUMENTS: &[&str] = &["docs/guide.md", "docs/semantics.md", "docs/clients.md"];

/// The same of what is applied and copied: small images leave `usr/share/doc` out.
const SAMPLES: &[&str] = &["samples/trade.yaml", "samples/rollout.yaml", "samples/routes.yaml"];

/// Settings may hold secrets of those who edit them: root and its group read them.
const SETTINGS: &str = "etc/laneway";

/// Whose code is in the binary, and their licences. The agent's jars have those of theirs within.
const NOTICES: &str = "usr/share/doc/laneway/THIRD-PARTY";

/// The agent's jars, where Maven leaves them.
const JARS: &str = "java-agent/extension/target";
const JAR_NAMES: [&str; 2] = ["laneway-agent.jar", "laneway-agent-extension.jar"];

/// Shells, and where each looks for what completes a command.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/laneway"),
    ("zsh", "usr/share/zsh/vendor-completions/_laneway"),
    ("fish", "usr/share/fish/vendor_completions.d/laneway.fish"),
];

/// What the Debian package says of itself.
const CONTROL: &str = "deploy/debian/control";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// The world of tests that install a package.
const WORLD: &str = "packages";

/// What was packed.
#[derive(Debug)]
pub(crate) struct Packages {
    /// The folder of both, and of `SHA256SUMS`.
    pub(crate) place: PathBuf,
    names: [String; 2],
}

/// The arguments of the verb.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// A binary that is built, instead of one that is built now.
    binary: Option<PathBuf>,
}

impl Asked {
    /// Reads the arguments; `named` is what the environment says of a built binary.
    pub(crate) fn read(rest: &[String], named: Option<OsString>) -> Result<Self> {
        let binary = match rest {
            [] => named.filter(|name| !name.is_empty()).map(PathBuf::from),
            [flag, binary] if flag == "--binary" => Some(PathBuf::from(binary)),
            _ => bail!("dist takes nothing, or `--binary PATH`; not `{}`", rest.join(" ")),
        };
        Ok(Self { binary })
    }
}

/// Builds everything that is packed, the binary unless it is named, and packs it.
pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    require_programs()?;
    let binary = match &asked.binary {
        Some(binary) => fs::canonicalize(binary)
            .with_context(|| format!("--binary: find `{}`", binary.display()))?,
        None => {
            console::build_where_possible(root)?;
            profile::build(root, bench::exercise)?
        }
    };
    if let Err(missing) = java::build_agent(root) {
        println!("the Java agent is left out: {missing:#}");
        // Jars of an earlier build would be of other sources.
        for name in JAR_NAMES {
            remove_file(&root.join(JARS).join(name))?;
        }
    }
    let Packages { place, names } = pack(root, &binary)?;
    for name in names {
        println!("{}", place.join(name).display());
    }
    Ok(())
}

/// Packs the binary under test, with the jars that are built. Where that cannot be done the world of those who would
/// install it is missing; in CI that is an error.
pub(crate) fn for_tests(
    root: &Path,
    binary: &Path,
    worlds: &mut Worlds,
    strictness: Strictness,
) -> Result<()> {
    let tools = ["systemd-analyze", "setpriv", "dpkg"].into_iter().try_for_each(worlds::on_path);
    let may_install = match worlds::is_root() {
        true => tools,
        false => tools.and(Err(anyhow!("packages are installed by root: run as root"))),
    };
    match may_install.and_then(|()| pack(root, binary)) {
        Err(missing) if strictness == Strictness::Ci => {
            Err(missing.context("packages cannot be made"))
        }
        Err(missing) => {
            println!("world missing: {WORLD}: {missing:#}");
            worlds.note(WORLD, Err(missing));
            Ok(())
        }
        Ok(packed) => {
            worlds.packages = packed.place;
            worlds.note(WORLD, Ok(()));
            Ok(())
        }
    }
}

/// Packs a binary with what is built beside it; says what is not.
pub(crate) fn pack(root: &Path, binary: &Path) -> Result<Packages> {
    require_programs()?;
    require_release(binary)?;
    let place = root.join(PLACE);
    run::clear(&place)?;
    let tree = place.join("tree");
    lay_out(root, binary, &tree)?;
    let machine = Machine::of(&beginning(binary)?)?;
    let since_epoch = source_date(root)?;
    let packing = Packing { root, tree: &tree, place: &place, since_epoch, machine };
    let names = [packing.debian()?, packing.tarball()?];
    run::clear(&tree)?;
    let mut sums = Command::new("sha256sum");
    let output = succeeded(sums.current_dir(&place).args(&names))?;
    fs::write(place.join("SHA256SUMS"), output).context("write SHA256SUMS")?;
    Ok(Packages { place, names })
}

/// What is needed to pack anything.
pub(crate) fn require_programs() -> Result<()> {
    for (program, package) in PROGRAMS {
        if !run::is_on_path(program) {
            bail!("`{program}` is not installed: apt-get install {package}");
        }
    }
    Ok(())
}

/// A binary of another release than the packages say would be found out by users.
fn require_release(binary: &Path) -> Result<()> {
    let said = succeeded(Command::new(binary).arg("--version"))?;
    let said = String::from_utf8_lossy(&said);
    match said.split_whitespace().nth(1) {
        Some(VERSION) => Ok(()),
        _ => bail!(
            "`{}` says that it is `{}`, and packages of {VERSION} are made: build it from this tree",
            binary.display(),
            said.trim()
        ),
    }
}

/// Everything at its place, as both packages have it.
fn lay_out(root: &Path, binary: &Path, tree: &Path) -> Result<()> {
    let program = tree.join("usr/bin/laneway");
    make_parent(&program)?;
    // Whoever wants the symbols of this build has the binary that it was made from.
    run::command(Command::new("strip").arg("-o").arg(&program).arg(binary))?;
    set_mode(&program, 0o755)?;
    for (from, to) in FILES {
        put(&root.join(from), &tree.join(to))?;
    }
    for (from, to) in FOLDERS {
        let entries = fs::read_dir(root.join(from)).with_context(|| format!("read {from}"))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read {from}"))?;
            put(&entry.path(), &tree.join(to).join(entry.file_name()))?;
        }
    }
    for name in DOCUMENTS {
        put(&root.join(name), &tree.join("usr/share/doc/laneway").join(name))?;
    }
    for name in SAMPLES {
        put(&root.join(name), &tree.join("usr/share/laneway").join(name))?;
    }
    for file in all_files(&tree.join(SETTINGS))? {
        set_mode(&file, 0o640)?;
    }
    for name in JAR_NAMES {
        let jar = root.join(JARS).join(name);
        match jar.exists() {
            true => put(&jar, &tree.join("usr/share/laneway").join(name))?,
            false => println!("left out: {name} is not built (`mvn package` in java-agent/)"),
        }
    }
    let mut notices = Command::new(run::cargo_program());
    notices.current_dir(root).args(run::CHECKS).arg("notices");
    write(&tree.join(NOTICES), &succeeded(&mut notices)?)?;
    for (shell, to) in COMPLETIONS {
        let script = succeeded(Command::new(binary).args(["completions", shell]))?;
        write(&tree.join(to), &script)?;
    }
    Ok(())
}

/// The seconds since 1970 that nothing packed is younger than: as reproducible builds are told, or else the commit's.
fn source_date(root: &Path) -> Result<String> {
    let told = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|told| !told.is_empty());
    let seconds = match told {
        Some(told) => told,
        None => {
            let mut git = Command::new("git");
            let said = succeeded(git.current_dir(root).args(["log", "-1", "--format=%ct"]))
                .context("SOURCE_DATE_EPOCH: neither set nor known from git: set it to seconds since 1970")?;
            String::from_utf8_lossy(&said).trim().to_owned()
        }
    };
    match seconds.parse::<u64>() {
        Ok(_) => Ok(seconds),
        Err(_) => bail!("SOURCE_DATE_EPOCH: `{seconds}` is not a number of seconds since 1970"),
    }
}

/// What is packed, and how.
struct Packing<'a> {
    root: &'a Path,
    tree: &'a Path,
    place: &'a Path,
    since_epoch: String,
    machine: Machine,
}

/// What a binary runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    /// As Debian names it.
    debian: &'static str,
    /// As compilers do.
    triple: &'static str,
}

impl Machine {
    /// By the header of the binary: it may have been built for another machine than this one.
    fn of(binary: &[u8]) -> Result<Self> {
        // `e_machine` of ELF, in the order that the binary's own machine has.
        match (binary.get(..6), binary.get(18..20)) {
            (Some(b"\x7fELF\x02\x01"), Some([62, 0])) => {
                Ok(Self { debian: "amd64", triple: "x86_64-unknown-linux-gnu" })
            }
            (Some(b"\x7fELF\x02\x01"), Some([183, 0])) => {
                Ok(Self { debian: "arm64", triple: "aarch64-unknown-linux-gnu" })
            }
            _ => bail!(
                "the binary is no ELF for x86-64 or 64-bit ARM, and packages are made for these"
            ),
        }
    }
}

/// As much of a binary as its header is.
fn beginning(binary: &Path) -> Result<Vec<u8>> {
    let mut header = Vec::new();
    let file = fs::File::open(binary).with_context(|| format!("open {}", binary.display()))?;
    file.take(64).read_to_end(&mut header).context("read the binary")?;
    Ok(header)
}

/// A version as Debian orders them: `~` comes before the end, so that a pre-release is older than its release.
fn debian_version(version: &str) -> String {
    version.replacen('-', "~", 1)
}

impl Packing<'_> {
    /// `laneway_VERSION_ARCHITECTURE.deb`.
    fn debian(&self) -> Result<String> {
        let (version, architecture) = (debian_version(VERSION), self.machine.debian);
        let about = self.tree.join("DEBIAN");
        let control = fs::read_to_string(self.root.join(CONTROL)).context("read control")?;
        let control = control
            .replace("@VERSION@", &version)
            .replace("@ARCHITECTURE@", architecture)
            .replace("@SIZE@", &kibibytes(self.tree)?.to_string())
            .replace("@LIBRARIES@", &self.libraries()?);
        write(&about.join("control"), control.as_bytes())?;
        put(&self.root.join("deploy/debian/conffiles"), &about.join("conffiles"))?;
        for script in SCRIPTS {
            put(&self.root.join("deploy/debian").join(script), &about.join(script))?;
            set_mode(&about.join(script), 0o755)?;
        }
        let name = format!("laneway_{version}_{architecture}.deb");
        self.date_all()?;
        let mut build = Command::new("dpkg-deb");
        build.current_dir(self.place).env("SOURCE_DATE_EPOCH", &self.since_epoch);
        build.args(["--root-owner-group", "--build"]).arg(self.tree).arg(&name);
        run::command(&mut build)?;
        run::clear(&about)?;
        Ok(name)
    }

    /// The libraries that the binary needs, as `Depends` has them, by what the machine that builds it has.
    fn libraries(&self) -> Result<String> {
        // It asks for the source of a package, and reads nothing of it.
        let home = self.place.join("libraries");
        fs::create_dir_all(home.join("debian")).context("make a folder for dpkg-shlibdeps")?;
        fs::write(
            home.join("debian/control"),
            "Source: laneway\n\nPackage: laneway\nArchitecture: any\n",
        )
        .context("write a control file for dpkg-shlibdeps")?;
        let mut asked = Command::new("dpkg-shlibdeps");
        asked.current_dir(&home).arg("-O").arg(self.tree.join("usr/bin/laneway"));
        let said = succeeded(&mut asked)?;
        run::clear(&home)?;
        let said = String::from_utf8_lossy(&said);
        let needed = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
        needed.map(str::to_owned).with_context(|| format!("dpkg-shlibdeps says `{said}`"))
    }

    /// `laneway-VERSION-TRIPLE.tar.gz`: files alone, so that unpacking at `/` touches no folder that is there.
    fn tarball(&self) -> Result<String> {
        let folder = format!("laneway-{VERSION}-{}", self.machine.triple);
        let name = format!("{folder}.tar.gz");
        let mut files = Vec::new();
        for file in all_files(self.tree)? {
            let file = file.strip_prefix(self.tree).context("a file of the tree")?;
            files.push(file.to_string_lossy().into_owned());
        }
        files.sort();
        let list = self.place.join("files");
        fs::write(&list, files.join("\n")).context("write the list of files")?;
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .args(["--format=gnu", "--owner=0", "--group=0", "--numeric-owner", "--mode=go-w"])
            .arg(format!("--mtime=@{}", self.since_epoch))
            .arg(format!("--transform=s,^,{folder}/,"))
            .args(["--use-compress-program=gzip -9n", "--file"])
            .arg(self.place.join(&name))
            .arg("--directory")
            .arg(self.tree)
            .arg("--files-from")
            .arg(&list);
        run::command(&mut tar)?;
        remove_file(&list)?;
        Ok(name)
    }

    /// Dates everything in the tree: `dpkg-deb` takes the date only of what is younger.
    fn date_all(&self) -> Result<()> {
        let mut touch = Command::new("find");
        touch
            .arg(self.tree)
            .args(["-exec", "touch"])
            .arg(format!("--date=@{}", self.since_epoch))
            .args(["{}", "+"]);
        succeeded(&mut touch).map(|_| ())
    }
}

/// What all files take, as `Installed-Size` has it.
fn kibibytes(tree: &Path) -> Result<u64> {
    let mut all = 0;
    for file in all_files(tree)? {
        let size = fs::metadata(&file).with_context(|| format!("look at {}", file.display()))?;
        all += size.len().div_ceil(1024);
    }
    Ok(all)
}

fn all_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let shown = folder.display();
        for entry in fs::read_dir(&folder).with_context(|| format!("read {shown}"))? {
            let path = entry.with_context(|| format!("read {shown}"))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Writes a file that everybody may read.
fn write(to: &Path, what: &[u8]) -> Result<()> {
    make_parent(to)?;
    fs::write(to, what).with_context(|| format!("write {}", to.display()))?;
    set_mode(to, 0o644)
}

/// Copies a file that everybody may read.
fn put(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    set_mode(to, 0o644)
}

/// Folders are made as the umask has it; packages have them as everybody's.
fn make_parent(file: &Path) -> Result<()> {
    let Some(parent) = file.parent().filter(|parent| !parent.exists()) else { return Ok(()) };
    make_parent(parent)?;
    fs::create_dir(parent).with_context(|| format!("make {}", parent.display()))?;
    set_mode(parent, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).with_context(|| format!("mode of {}", path.display()))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What a program says; anything but success is an error with what it says of it.
fn succeeded(command: &mut Command) -> Result<Vec<u8>> {
    let line = run::line(command);
    let output = command.output().with_context(|| format!("run `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` ended with {}: {}", output.status, said.trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_of_the_binarys_machine() {
        let header =
            |machine: u8| [&b"\x7fELF\x02\x01"[..], &[0; 12], &[machine, 0], &[0; 44]].concat();
        assert_eq!(Machine::of(&header(62)).unwrap().debian, "amd64");
        assert_eq!(Machine::of(&header(183)).unwrap().triple, "aarch64-unknown-linux-gnu");
        for other in [header(243), header(62)[..10].to_vec(), b"#!/bin/sh\nexec laneway\n".to_vec()]
        {
            assert!(Machine::of(&other).is_err(), "{other:?}");
        }
        assert!(Machine::of(&beginning(&std::env::current_exe().unwrap()).unwrap()).is_ok());
    }

    #[test]
    fn a_pre_release_is_older_than_its_release() {
        for (version, debian) in
            [("0.2.0", "0.2.0"), ("0.2.0-rc.1", "0.2.0~rc.1"), ("0.2.0-a-b", "0.2.0~a-b")]
        {
            assert_eq!(debian_version(version), debian);
        }
    }

    #[test]
    fn the_binary_is_named_by_an_argument_or_else_by_the_environment() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let read = |rest: &[&str], named: Option<&str>| {
            let asked = Asked::read(&words(rest), named.map(OsString::from)).ok()?;
            Some(asked.binary.map(PathBuf::into_os_string))
        };
        assert_eq!(read(&[], None), Some(None));
        assert_eq!(read(&[], Some("")), Some(None));
        assert_eq!(read(&[], Some("b")), Some(Some("b".into())));
        assert_eq!(read(&["--binary", "a"], Some("b")), Some(Some("a".into())));
        assert_eq!(read(&["--binary"], None), None);
        assert_eq!(read(&["a"], None), None);
    }
}
