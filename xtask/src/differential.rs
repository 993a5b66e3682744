//! `cargo xtask differential`: what a gateway sends on, read by the servers of others, and what it answers, read by clients of
//! others, at length and from a seed of one's own.

use std::{path::Path, process::Command, time::SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::{
    run,
    worlds::{self, Strictness},
};

/// Connections of clients when nothing else is said.
const CONNECTIONS: u64 = 100_000;

/// What `cargo xtask differential` was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    connections: u64,
    /// None: another one each time.
    seed: Option<u64>,
}

impl Asked {
    /// Reads `[--connections N] [--seed N]`.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let mut asked = Self { connections: CONNECTIONS, seed: None };
        for pair in arguments.chunks(2) {
            let value = pair.get(1).map(String::as_str).unwrap_or_default();
            let number = || value.parse().ok();
            match pair[0].as_str() {
                "--connections" => {
                    asked.connections = number()
                        .filter(|count| *count > 0)
                        .with_context(|| format!("--connections `{value}`: a number above 0"))?;
                }
                "--seed" => {
                    asked.seed =
                        Some(number().with_context(|| format!("--seed `{value}`: a number"))?);
                }
                other => {
                    bail!("`{other}`: differential takes `[--connections N] [--seed N]`")
                }
            }
        }
        Ok(asked)
    }
}

/// Runs the check. Every server must be there.
pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    let worlds = worlds::prepare(root, Strictness::Local)?;
    for world in ["suites", "servers", "python"] {
        if let Some(why) = worlds.missing.iter().find(|why| why.starts_with(world)) {
            bail!("what goes through cannot be shown to all: {why}");
        }
    }
    let seed = match asked.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as u64,
    };
    let mut command = Command::new(run::cargo_program());
    command
        .current_dir(root)
        .args(["test", "--locked", "--package", "proxy", "--test", "it", "differential"])
        .args(["--", "--nocapture"])
        .env("LANEWAY_REAL", worlds.names.join(","))
        .env("LANEWAY_SUITES", &worlds.suites)
        .env("LANEWAY_SEED", seed.to_string())
        .env("LANEWAY_DIFFERENTIAL", asked.connections.to_string());
    run::command(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_connections_and_a_seed_may_be_asked_for() {
        let read = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let asked = Asked::read(&words).map_err(|error| error.to_string());
            asked.map(|asked| (asked.connections, asked.seed))
        };
        assert_eq!(read(""), Ok((CONNECTIONS, None)));
        assert_eq!(read("--seed 7 --connections 5"), Ok((5, Some(7))));
        let error = |text: &str| read(text).unwrap_err();
        assert_eq!(error("--connections 0"), "--connections `0`: a number above 0");
        assert_eq!(error("--seed"), "--seed ``: a number");
        assert!(error("--fast 1").contains("takes `[--connections N] [--seed N]`"));
    }
}
