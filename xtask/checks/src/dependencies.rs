//! What may be built into Laneway: licences, bans, one version of each crate, one registry.
//!
//! What is shipped is judged: everything the workspace's packages need to be built for the systems we build for,
//! without what only tests and chores use. Advisories need a database that is no package: `cargo deny check
//! advisories`, where it can be fetched.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::CRATES_IO;

/// What we build for. Crates only for other systems are not judged.
const TARGETS: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Packages of ours that are not shipped: chores, and what tests use.
const NOT_SHIPPED: &[&str] = &["checks", "testkit", "xtask"];

/// What is allowed and what is not, each with its reason.
struct Rules<'a> {
    /// Licences: permissive ones only, as Laneway is Apache-2.0 and is shipped as one binary.
    licences: &'a [(&'a str, &'a str)],
    /// Crates that are never built in.
    banned: &'a [(&'a str, &'a str)],
    /// Crates of which another version is there besides: the version that may go, and what ends it.
    twice: &'a [(&'a str, &'a str, &'a str)],
}

const RULES: Rules<'_> = Rules {
    licences: &[
        ("Apache-2.0", "our own"),
        ("BSD-3-Clause", "permissive"),
        ("BSL-1.0", "xxhash-rust; asks nothing of binaries"),
        ("CC0-1.0", "notify; public domain"),
        ("ISC", "permissive"),
        ("MIT", "permissive"),
        ("Unicode-3.0", "permissive"),
        ("Zlib", "permissive"),
    ],
    banned: &[
        ("native-tls", "one TLS stack: rustls"),
        ("openssl-sys", "one TLS stack: rustls"),
        ("ring", "one crypto provider: aws-lc-rs"),
        ("serde_yaml", "archived; YAML is read by serde-saphyr"),
        ("serde_yml", "unsound; YAML is read by serde-saphyr"),
    ],
    twice: &[
        ("base64", "0.22", "tonic 0.14; serde-saphyr has 0.23; ends with the next tonic"),
        (
            "syn",
            "2",
            "half of the macro crates have moved to syn 3; build time only; ends as prost, pin-project and tracing move",
        ),
        (
            "synstructure",
            "0.13",
            "asn1-rs-derive, of x509-parser 0.18; build time only; ends with the asn1-rs after 0.7",
        ),
        (
            "untrusted",
            "0.7",
            "aws-lc-rs 1, as x509-parser has it verify requests for certificates (rcgen); rustls-webpki has 0.9; ends with the next aws-lc-rs",
        ),
    ],
};

/// Everything wrong with what is shipped; empty when all of it is allowed.
pub(crate) fn run(root: &Path) -> Result<Vec<String>> {
    Ok(judge(&shipped(root, "normal,build")?, &RULES))
}

fn judge(metadata: &Metadata, rules: &Rules<'_>) -> Vec<String> {
    let shipped: Vec<_> = metadata.packages.iter().collect();
    let mut complaints = Vec::new();
    check_licences(&shipped, rules, &mut complaints);
    check_versions(&shipped, rules, &mut complaints);
    for package in &shipped {
        let name = package.name.as_str();
        if let Some((_, reason)) = rules.banned.iter().find(|(banned, _)| *banned == name) {
            complaints.push(format!("{name}: banned: {reason}"));
        }
        if package.source.as_ref().is_some_and(|source| source.repr != CRATES_IO) {
            complaints
                .push(format!("{name}: only crates.io is a source, not {:?}", package.source));
        }
        // A member of the workspace is named by its path, which is as exact as it gets.
        let any = |dependency: &&cargo_metadata::Dependency| {
            dependency.path.is_none() && dependency.req.comparators.is_empty()
        };
        for dependency in package.dependencies.iter().filter(any) {
            complaints.push(format!("{name}: takes any version of {}", dependency.name));
        }
    }
    complaints
}

/// What the shipped packages need by such edges (`normal`, `build`), themselves included. Cargo's metadata know more, also what is behind features
/// that nobody asks for; its tree shows what it builds.
pub(crate) fn shipped(root: &Path, edges: &str) -> Result<Metadata> {
    let mut metadata = MetadataCommand::new();
    metadata.current_dir(root).other_options(["--locked".to_owned()]);
    let mut metadata = metadata.exec().context("run cargo metadata")?;
    let mut tree = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.current_dir(root).args(["tree", "--locked", "--workspace", "--edges", edges]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    for package in NOT_SHIPPED {
        tree.args(["--exclude", package]);
    }
    for target in TARGETS {
        tree.args(["--target", target]);
    }
    let tree = tree.output().context("run cargo tree")?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).context("read what cargo tree says")?;
    // `NAME vVERSION`, and what else there is to say.
    let built: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    metadata
        .packages
        .retain(|it| built.contains(&(it.name.as_str(), it.version.to_string().as_str())));
    let key = |it: &Package| (it.name.to_string(), it.version.clone());
    metadata.packages.sort_by_key(key);
    Ok(metadata)
}

/// Each package may be had under allowed licences alone, and each allowed licence is some package's.
fn check_licences(shipped: &[&Package], rules: &Rules<'_>, complaints: &mut Vec<String>) {
    let mut used: BTreeSet<&(&str, &str)> = BTreeSet::new();
    for package in shipped {
        let name = &package.name;
        let Some(text) = &package.license else {
            complaints.push(format!("{name}: names no licence"));
            continue;
        };
        let allowed =
            spdx::Expression::parse_mode(text, spdx::ParseMode::LAX).is_ok_and(|expression| {
                expression.evaluate(|required| {
                    let licence = required.license.id().map_or("", |id| id.name);
                    let known = rules.licences.iter().find(|(allowed, _)| *allowed == licence);
                    used.extend(known);
                    known.is_some()
                })
            });
        if !allowed {
            complaints.push(format!("{name}: its licence `{text}` is not allowed"));
        }
    }
    for (licence, _) in rules.licences.iter().filter(|licence| !used.contains(licence)) {
        complaints.push(format!("licence {licence}: allowed, and nothing shipped is under it"));
    }
}

/// One version of each crate, but for the exceptions; and each exception is still needed.
fn check_versions(shipped: &[&Package], rules: &Rules<'_>, complaints: &mut Vec<String>) {
    let is_of = |package: &Package, version: &str| {
        let rest = package.version.to_string();
        rest.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
    };
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in shipped {
        versions.entry(package.name.as_str()).or_default().push(package);
    }
    for (name, packages) in &versions {
        let mut left = packages.clone();
        left.retain(|package| {
            !rules.twice.iter().any(|(other, version, _)| name == other && is_of(package, version))
        });
        if left.len() > 1 {
            let left: Vec<_> = left.iter().map(|package| package.version.to_string()).collect();
            complaints.push(format!("{name}: in several versions: {}", left.join(", ")));
        }
    }
    for (name, version, _) in rules.twice {
        let packages = versions.get(name).map_or(&[][..], Vec::as_slice);
        if packages.len() < 2 || !packages.iter().any(|package| is_of(package, version)) {
            complaints.push(format!("{name} {version}: an exception that is no longer needed"));
        }
    }
}
