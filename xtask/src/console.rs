//! The console: built by Node into `console/dist/site`, which the binary takes in; checked by itself and in a browser.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{run, worlds::Strictness};

/// What says which modules were installed last.
const INSTALLED: &str = "node_modules/installed-from";

/// What the binary takes in.
const BUILT: &str = "dist/site";

/// The oldest Node that builds it, and how it says so.
const NODE_MIN: (u32, u32) = (20, 19);

/// What drives the browser tests.
const CHROMIUM: &str = "chromium";

fn home(root: &Path) -> PathBuf {
    root.join("console")
}

/// Installs its modules and builds it.
pub(crate) fn build(root: &Path) -> Result<()> {
    require_node()?;
    install(root)?;
    npm(root, &["run", "--silent", "build"])
}

/// Builds it where that can be done; elsewhere the binary says on its first page how. One that was built earlier would be
/// of other sources, and without a word.
pub(crate) fn build_where_possible(root: &Path) -> Result<()> {
    match require_node() {
        Ok(()) => build(root),
        Err(missing) => {
            println!("the console is left out: {missing:#}");
            let site = home(root).join(BUILT);
            match fs::remove_dir_all(&site) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove {}", site.display()))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Lints, types made from the OpenAPI document, logic, colours, words, the weight of the first load.
pub(crate) fn check(root: &Path, strictness: Strictness) -> Result<()> {
    if let Err(missing) = require_node() {
        return unless_strict(strictness, &missing);
    }
    install(root)?;
    for script in ["lint", "test", "build"] {
        npm(root, &["run", "--silent", script])?;
    }
    Ok(())
}

/// What people do, in a browser against this binary with the demo running.
pub(crate) fn browse(root: &Path, binary: &Path, strictness: Strictness) -> Result<()> {
    let browser = require_node().and_then(|()| match run::is_on_path(CHROMIUM) {
        true => Ok(()),
        false => bail!("`{CHROMIUM}` is not installed"),
    });
    if let Err(missing) = browser {
        return unless_strict(strictness, &missing);
    }
    let mut command = Command::new("npm");
    command.current_dir(home(root)).args(["run", "--silent", "browser"]);
    run::command(command.env("LANEWAY_BINARY", binary))
}

fn unless_strict(strictness: Strictness, missing: &anyhow::Error) -> Result<()> {
    if strictness == Strictness::Ci {
        bail!("the console cannot be tested: {missing:#}");
    }
    println!("SKIPPED: the console: {missing:#}");
    Ok(())
}

/// Modules by the lock file; nothing to do when they are there already.
fn install(root: &Path) -> Result<()> {
    let home = home(root);
    let lock = home.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("read {}", lock.display()))?;
    if fs::read(home.join(INSTALLED)).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    npm(root, &["ci", "--no-audit", "--no-fund"])?;
    fs::write(home.join(INSTALLED), wanted).context("note which modules are installed")
}

fn npm(root: &Path, arguments: &[&str]) -> Result<()> {
    run::command(Command::new("npm").current_dir(home(root)).args(arguments))
}

fn require_node() -> Result<()> {
    let (major, minor) = NODE_MIN;
    let output = Command::new("node").arg("--version").output();
    let Ok(output) = output else {
        bail!("`node` is not installed; {major}.{minor} or later is needed")
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !run::is_on_path("npm") {
        bail!("`npm` is not installed");
    }
    if version(text.trim()).is_none_or(|found| found < NODE_MIN) {
        bail!("node is {}; {major}.{minor} or later is needed", text.trim());
    }
    Ok(())
}

/// `v20.19.2` as its first two numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_apart_by_number() {
        assert_eq!(version("v20.19.2"), Some((20, 19)));
        assert!(version("v18.20.4") < Some(NODE_MIN));
        assert!(version("v22.1.0") > Some(NODE_MIN));
        assert!(version("v20.9.0") < Some(NODE_MIN));
        assert_eq!(version("20"), None);
    }
}
