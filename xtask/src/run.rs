//! Runs other programs: says what it runs, and what failed in words that can be repeated by hand.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Runs the cargo that runs us.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    program(cargo_program().as_ref(), root, arguments)
}

/// What cargo is told before a chore of the package `checks`, which has the libraries that this door does without.
pub(crate) const CHECKS: [&str; 6] = ["run", "--quiet", "--locked", "--package", "checks", "--"];

/// Runs one of those.
pub(crate) fn checks(root: &Path, arguments: &[&str]) -> Result<()> {
    cargo(root, &[&CHECKS, arguments].concat())
}

/// The cargo that runs us, or the one on the path.
pub(crate) fn cargo_program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a program with our output as its output; anything but success is an error.
pub(crate) fn program(program: &Path, directory: &Path, arguments: &[&str]) -> Result<()> {
    command(Command::new(program).current_dir(directory).args(arguments))
}

/// Runs a prepared command; anything but success is an error naming the whole command line.
pub(crate) fn command(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The triple that the compiler builds for when it is told none.
pub(crate) fn host() -> Result<String> {
    let output = Command::new("rustc").args(["-vV"]).output().context("run rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).context("rustc -vV says no host")
}

/// Whether a program of this name is on the search path.
pub(crate) fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's path often lacks /sbin, where iptables lives.
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|directory| directory.join(name).is_file())
}

/// Removes a folder that may not be there.
pub(crate) fn clear(place: &Path) -> Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clear {}", place.display()))
        }
        _ => Ok(()),
    }
}
