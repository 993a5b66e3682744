//! `cargo xtask fuzz`: builds the targets of `fuzz/` and runs them. On the stable compiler, with the coverage that
//! libFuzzer reads; nothing is needed but a C++ compiler.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{run, worlds::Strictness};

/// Seconds each target runs for when nothing else is said, and in CI.
const SECONDS: u32 = 60;

/// The same among the tests of a developer: what the seeds have and little more.
const SECONDS_IN_PASSING: u32 = 3;

/// Targets that run at once: what CI has processors for.
const AT_ONCE: usize = 2;

/// Bytes of an input at most. Limits that are larger have tests of their own; short inputs are tried often.
const INPUT_BYTES_MAX: &str = "4096";

/// Memory of one target, and how long one input may take, until that is a finding.
const LIMITS: [&str; 2] = ["-rss_limit_mb=1024", "-timeout=10"];

/// What has the compiler count branches and comparisons for libFuzzer.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// What `cargo xtask fuzz` was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    target: Option<&'a str>,
    seconds: u32,
    search: Search,
}

/// What is tried beside the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Other inputs each time, beginning with what earlier runs kept.
    Further,
    /// From the same beginning each time, whatever was kept: whether a change passes should not be luck. Runs are alike and not
    /// the same, since the time ends them and some maps are laid out by chance.
    Anew,
}

impl<'a> Asked<'a> {
    /// Reads `[TARGET] [--seconds N]`.
    pub(crate) fn read(arguments: &'a [String]) -> Result<Self> {
        let mut asked = Self { target: None, seconds: SECONDS, search: Search::Further };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seconds" => {
                    let value = rest.next().map(String::as_str).unwrap_or_default();
                    asked.seconds = value
                        .parse()
                        .ok()
                        .filter(|seconds| *seconds > 0)
                        .with_context(|| format!("--seconds `{value}`: a number above 0"))?;
                }
                option if option.starts_with('-') => {
                    bail!("`{option}`: fuzz takes `[TARGET] [--seconds N]`");
                }
                target if asked.target.is_none() => asked.target = Some(target),
                other => bail!("`{other}`: one TARGET, or none for all of them"),
            }
        }
        Ok(asked)
    }
}

/// All targets, as one of many tests.
pub(crate) fn in_passing(root: &Path, strictness: Strictness) -> Result<()> {
    let seconds = match strictness {
        Strictness::Ci => SECONDS,
        Strictness::Local => SECONDS_IN_PASSING,
    };
    run(root, &Asked { target: None, seconds, search: Search::Anew })
}

/// Builds all targets and runs those that are asked for, as long as is asked for. What they find is an error.
pub(crate) fn run(root: &Path, asked: &Asked<'_>) -> Result<()> {
    let all = targets(root)?;
    let chosen: Vec<String> = match asked.target {
        None => all,
        Some(name) if all.iter().any(|it| it == name) => vec![name.to_owned()],
        Some(name) => bail!("no target `{name}`: there are {}", all.join(", ")),
    };
    let programs = build(root)?;
    let (mut waiting, mut running) = (chosen.into_iter(), Vec::new());
    let mut done = Vec::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(name) = waiting.next()
        {
            running.push(Target::start(root, &programs, name, asked)?);
        }
        if running.is_empty() {
            break;
        }
        // They take equally long: the first is done no later than the others.
        done.push(running.remove(0).finish()?);
    }
    conclude(&done)
}

/// Names of the files in `fuzz/fuzz_targets`.
fn targets(root: &Path) -> Result<Vec<String>> {
    let place = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&place).with_context(|| format!("read {}", place.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// The folder of the built programs. With a target triple, so that build scripts are built without coverage.
fn build(root: &Path) -> Result<PathBuf> {
    let triple = run::host()?;
    let place = root.join("target/fuzz");
    let mut build = Command::new(run::cargo_program());
    build.current_dir(root).env("RUSTFLAGS", COVERAGE).args(["build", "--release", "--locked"]);
    build.args(["--manifest-path", "fuzz/Cargo.toml", "--target", &triple, "--target-dir"]);
    run::command(build.arg(&place))?;
    Ok(place.join(triple).join("release"))
}

/// A target that runs.
struct Target {
    name: String,
    child: Child,
    started: Instant,
}

/// A target that has ended.
struct Done {
    name: String,
    executions: u64,
    seconds: f64,
    /// What it said, where it found something.
    found: Option<String>,
}

impl Target {
    fn start(root: &Path, programs: &Path, name: String, asked: &Asked<'_>) -> Result<Self> {
        let home = root.join("target/fuzz");
        let artifacts = home.join("artifacts");
        let corpus = match asked.search {
            Search::Further => home.join("corpus").join(&name),
            Search::Anew => home.join("anew").join(&name),
        };
        if asked.search == Search::Anew && corpus.exists() {
            fs::remove_dir_all(&corpus).with_context(|| format!("empty {}", corpus.display()))?;
        }
        for place in [&corpus, &artifacts] {
            fs::create_dir_all(place).with_context(|| format!("create {}", place.display()))?;
        }
        let mut command = Command::new(programs.join(&name));
        command
            .current_dir(root)
            .arg(corpus)
            .arg(root.join("fuzz/seeds").join(&name))
            .args(LIMITS)
            .args([&format!("-max_len={INPUT_BYTES_MAX}")])
            .args([&format!("-max_total_time={}", asked.seconds)])
            .args([&format!("-artifact_prefix={}/{name}-", artifacts.display())])
            .args(["-print_final_stats=1", "-verbosity=0"]);
        if asked.search == Search::Anew {
            command.arg("-seed=1");
        }
        println!("$ {}", run::line(&command));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = child.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name, child, started: Instant::now() })
    }

    fn finish(mut self) -> Result<Done> {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).with_context(|| format!("read {}", self.name))?;
            said = String::from_utf8_lossy(&bytes).into_owned();
        }
        let status = self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        let executions = executions(&said);
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(Done {
            name: self.name,
            executions,
            seconds,
            found: (!status.success()).then_some(said),
        })
    }
}

/// What libFuzzer says at the end of how often it tried.
fn executions(said: &str) -> u64 {
    let number = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

fn conclude(done: &[Done]) -> Result<()> {
    for target in done {
        let Done { name, executions, seconds, found } = target;
        let per_second = *executions as f64 / seconds.max(0.001);
        let outcome = if found.is_some() { "FOUND SOMETHING" } else { "nothing found" };
        println!("{name:<16} {executions:>12} executions, {per_second:>8.0} a second: {outcome}");
    }
    for target in done {
        if let Some(said) = &target.found {
            println!("== {}\n{said}", target.name);
        } else if target.executions == 0 {
            bail!("{} tried nothing", target.name);
        }
    }
    let found: Vec<&str> =
        done.iter().filter(|it| it.found.is_some()).map(|it| it.name.as_str()).collect();
    if !found.is_empty() {
        bail!(
            "{} found something: `target/fuzz/TRIPLE/release/TARGET FILE` repeats it with the file it names; once mended, the file is a seed",
            found.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_target_and_a_time_may_be_asked_for() {
        let read = |text: &str| {
            let words = words(text);
            Asked::read(&words)
                .map(|asked| (asked.target.map(str::to_owned), asked.seconds))
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok((None, SECONDS)));
        assert_eq!(read("path --seconds 5"), Ok((Some("path".to_owned()), 5)));
        assert_eq!(read("--seconds 0"), Err("--seconds `0`: a number above 0".to_owned()));
        assert_eq!(read("--seconds"), Err("--seconds ``: a number above 0".to_owned()));
        assert!(read("--fast").is_err());
        assert!(read("path yaml").is_err());
    }

    #[test]
    fn what_was_tried_is_read_from_what_libfuzzer_says() {
        let said = "Done\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec: 7\n";
        assert_eq!(executions(said), 1234);
        assert_eq!(executions("killed"), 0);
    }
}
