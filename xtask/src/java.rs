//! The Java agent: Maven builds it and runs its tests, which decide what the crate `lanes` has decided.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    run,
    worlds::{Strictness, Worlds},
};

/// Random cases that both decide.
const CASES: &str = "10000";

/// Where it is, and the applications that it is shown with.
const AGENT: &str = "java-agent";
pub(crate) const SAMPLE: &str = "java-agent/sample";
pub(crate) const SAMPLES: &str = "samples/spring-cloud";
pub(crate) const MESSAGES: &str = "java-agent/messages";

/// The world of tests that run the built agent.
const WORLD: &str = "java";

/// What Spring Boot 3, under which the agent is tested, runs on.
const RELEASE_MIN: u32 = 17;

/// Builds and tests it. Where that cannot be built the world of those who would run it is missing; in CI that is an
/// error, as a failed test is everywhere.
pub(crate) fn build(root: &Path, worlds: &mut Worlds, strictness: Strictness) -> Result<()> {
    let built = require_jdk().and_then(|()| match strictness {
        Strictness::Local => run::command(&mut maven(root, AGENT, &["-DskipTests"])),
        Strictness::Ci => Ok(()),
    });
    let built = built.and_then(|()| run::command(&mut maven(root, SAMPLES, &[])));
    if let Err(missing) = built {
        if strictness == Strictness::Ci {
            return Err(missing.context("the Java agent cannot be built"));
        }
        println!("world missing: {WORLD}: {missing:#}");
        worlds.note(WORLD, Err(missing));
        return Ok(());
    }
    let cases = format!("-Dlaneway.random.cases={}", random_cases(root)?.display());
    run::command(&mut maven(root, AGENT, &[&cases]))?;
    worlds.note(WORLD, Ok(()));
    Ok(())
}

/// The agent, untested.
pub(crate) fn build_agent(root: &Path) -> Result<()> {
    require_jdk()?;
    run::command(&mut maven(root, AGENT, &["-DskipTests"]))
}

/// The agent and the applications that it is shown with, untested.
pub(crate) fn build_for_demo(root: &Path) -> Result<()> {
    build_agent(root)?;
    run::command(&mut maven(root, SAMPLES, &[]))
}

pub(crate) fn maven(root: &Path, project: &str, more: &[&str]) -> Command {
    let mut maven = Command::new("mvn");
    maven.current_dir(root.join(project)).args(["-q", "-B", "package"]).args(more);
    maven
}

/// Maven, and the compiler that it will use: that of `JAVA_HOME`, or the one on the path.
fn require_jdk() -> Result<()> {
    if !run::is_on_path("mvn") {
        bail!("`mvn` is not installed");
    }
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let compiler = home.map_or("javac".into(), |home| Path::new(&home).join("bin/javac"));
    let shown = compiler.display();
    let output = Command::new(&compiler).arg("-version").output();
    let output = output.with_context(|| format!("run `{shown} -version`"))?;
    // Java 8 says it on the other one.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match release(&said) {
        Some(release) if release >= RELEASE_MIN => Ok(()),
        _ => bail!(
            "a JDK {RELEASE_MIN} or later is needed, and `{shown}` is `{}`: set JAVA_HOME to one",
            said.trim()
        ),
    }
}

/// `17` of `javac 17.0.15`, `8` of `javac 1.8.0_292`.
fn release(version: &str) -> Option<u32> {
    let version = version.lines().find_map(|line| line.strip_prefix("javac "))?;
    let version = version.strip_prefix("1.").unwrap_or(version);
    let digits = version.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Cases, and what the crate decides in them.
fn random_cases(root: &Path) -> Result<PathBuf> {
    let place = root.join("target/random-cases.json");
    let file = File::create(&place).with_context(|| format!("create {}", place.display()))?;
    let mut command = Command::new(run::cargo_program());
    let example = ["run", "--quiet", "--locked", "-p", "lanes", "--example", "random_cases"];
    command.current_dir(root).args(example).args(["--", CASES]).stdout(file);
    let line = run::line(&command);
    println!("$ {line} > {}", place.display());
    let status = command.status().with_context(|| format!("run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    fs::canonicalize(&place).with_context(|| format!("find {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_java_are_read_old_and_new() {
        for (version, expected) in [
            ("javac 17.0.15\n", Some(17)),
            ("Picked up _JAVA_OPTIONS: -Xmx1g\njavac 25\n", Some(25)),
            ("javac 1.8.0_292\n", Some(8)),
            ("javac 26-ea\n", Some(26)),
            ("javac: not found\n", None),
        ] {
            assert_eq!(release(version), expected, "{version}");
        }
    }
}
