//! The binary that is shipped, optimised by a profile of what it does.
//!
//! It is built twice: once to count what is executed while it is loaded as the benchmark loads it, then with these counts.
//! What is often executed is inlined and laid out together, apart from the rest, of which hardly a page is ever looked at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Where this is known to be linked by LLD: what is executed and what hardly ever is stay apart, and functions of the same
/// code are one.
const LINKED_BY_LLD: &str = "x86_64-unknown-linux-gnu";
const LAYOUT: [&str; 2] =
    ["-Clink-arg=-Wl,-z,keep-text-section-prefix", "-Clink-arg=-Wl,--icf=safe"];

/// Where all of this lies, under `target`.
const HOME: &str = "profile";

/// Builds it; where it lies. `exercise` loads a binary as it will be used.
pub(crate) fn build(
    root: &Path,
    exercise: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let triple = run::host()?;
    let tools = llvm_tools(&triple)?;
    let home = root.join("target").join(HOME);
    let raw = home.join("raw");
    run::clear(&raw)?;
    fs::create_dir_all(&raw).with_context(|| format!("create {}", raw.display()))?;

    // Of the same profile of cargo's, settings included: they are in the names of functions, by which counts are found again.
    let counting = vec![format!("-Cprofile-generate={}", raw.display())];
    println!("Building twice, first to count what is executed: about 25 minutes on two cores.");
    let binary = cargo(root, &triple, &home.join("counting"), &counting)?;
    let profile = home.join(format!("{}.profdata", built_at(&binary)?));
    if !profile.is_file() {
        exercise(root, &binary)?;
        let mut command = Command::new(tools.join("llvm-profdata"));
        run::command(command.args(["merge", "-o"]).arg(&profile).arg(&raw))?;
    }
    let mut using = vec![format!("-Cprofile-use={}", profile.display())];
    if triple == LINKED_BY_LLD {
        using.extend(LAYOUT.map(str::to_owned));
    }
    let binary = cargo(root, &triple, &home, &using)?;
    if triple == LINKED_BY_LLD {
        require_used(&tools, &binary)?;
    }
    Ok(binary)
}

/// Counts that fit no function are no error of the compiler's: nothing is hot then.
fn require_used(tools: &Path, binary: &Path) -> Result<()> {
    let mut readobj = Command::new(tools.join("llvm-readobj"));
    let output = readobj.arg("--sections").arg(binary).output().context("run llvm-readobj")?;
    if !String::from_utf8_lossy(&output.stdout).contains(".text.hot") {
        bail!("{}: nothing of it is hot: the counts are not of these functions", binary.display());
    }
    Ok(())
}

/// Names the counts by the program they are of: cargo builds anew what is built with others, and does not look into them.
fn built_at(binary: &Path) -> Result<u128> {
    let modified = fs::metadata(binary).and_then(|metadata| metadata.modified());
    let modified = modified.with_context(|| format!("look at {}", binary.display()))?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
}

/// Builds Laneway in a place of its own. With a target triple, so that build scripts are built without flags.
fn cargo(root: &Path, triple: &str, place: &Path, flags: &[String]) -> Result<PathBuf> {
    let mut build = Command::new(run::cargo_program());
    build.current_dir(root).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    build.args(["build", "--locked", "--profile", "dist", "--package", "laneway"]);
    build.args(["--target", triple, "--target-dir"]).arg(place);
    run::command(&mut build)?;
    Ok(place.join(triple).join("dist/laneway"))
}

/// The folder of LLVM's programs of this compiler's version; installed with rustup where it is missing.
fn llvm_tools(triple: &str) -> Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = output.context("run rustc --print sysroot")?.stdout;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    let tools = sysroot.join("lib/rustlib").join(triple).join("bin");
    let is_there = || tools.join("llvm-profdata").is_file() && tools.join("llvm-readobj").is_file();
    if !is_there() {
        let mut rustup = Command::new("rustup");
        run::command(rustup.args(["component", "add", "llvm-tools"]))?;
    }
    if !is_there() {
        bail!("{}: install the component llvm-tools of this Rust", tools.display());
    }
    Ok(tools)
}
