//! The architecture, as a table that fails the build when the code disagrees.

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

use crate::CRATES_IO;

/// Every arrow in ARCHITECTURE.md. An arrow that is not here is a design change, not a chore.
const ARROWS: &[(&str, &[&str])] = &[
    ("lanes", &[]),
    ("telemetry", &[]),
    ("routes", &["lanes"]),
    ("api", &["lanes", "routes"]),
    ("nacos", &[]),
    ("registry", &["lanes", "nacos", "telemetry"]),
    ("proxy", &["lanes", "routes", "telemetry"]),
    ("control", &["api", "lanes", "routes", "telemetry"]),
    ("discovery", &["api", "lanes", "routes", "telemetry"]),
    ("testkit", &["lanes"]),
    (
        "laneway",
        &[
            "api",
            "control",
            "discovery",
            "lanes",
            "nacos",
            "proxy",
            "registry",
            "routes",
            "telemetry",
        ],
    ),
];

/// Words a pure crate must not contain: it takes time, bytes and keys as arguments.
const IMPURE: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "tokio",
    "async fn",
    "rand::",
];
const PURE: &[&str] = &["lanes", "routes"];

/// Longest file we accept without a note; the models' 90th percentile is near 900 lines.
const LINES_PER_FILE_MAX: usize = 900;

/// Everything wrong with the tree under `root`; empty when it is tidy.
pub(crate) fn run(root: &Path) -> Result<Vec<String>> {
    let mut metadata = MetadataCommand::new();
    let metadata = metadata.current_dir(root).no_deps().exec().context("run cargo metadata")?;
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let dir = package.manifest_path.parent().map_or(root, |dir| dir.as_std_path());
        if dir.parent() == Some(&root.join("crates")) {
            check_arrows(package, &mut complaints);
        }
        check_package(root, dir, &mut complaints);
    }
    check_bans(root, &mut complaints);
    for file in all_files(root) {
        check_lock_file(root, &file, &mut complaints);
    }
    Ok(complaints)
}

/// A crate depends on no other of ours than its arrows say. What only its tests use may be anything.
fn check_arrows(package: &Package, complaints: &mut Vec<String>) {
    let name = package.name.as_str();
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        complaints.push(format!("crates/{name}: not in the table; see \"when to add a crate\""));
        return;
    };
    let ours = |dependency: &&Dependency| {
        dependency.path.is_some() && dependency.kind != DependencyKind::Development
    };
    for Dependency { name: other, .. } in package.dependencies.iter().filter(ours) {
        if !allowed.contains(&other.as_str()) {
            complaints.push(format!("crates/{name}: must not depend on `{other}`"));
        }
    }
}

/// A package: inherits the lints, and every module is short and says what it is for.
fn check_package(root: &Path, dir: &Path, complaints: &mut Vec<String>) {
    let name = file_name(dir);
    if !read(&dir.join("Cargo.toml")).contains("[lints]\nworkspace = true") {
        let shown = relative(root, dir);
        complaints.push(format!("{shown}/Cargo.toml: does not inherit the workspace lints"));
    }
    for part in ["src", "tests", "benches", "programs"] {
        for file in rust_files(&dir.join(part)) {
            check_module(root, &file, complaints);
            if part == "src" && PURE.contains(&name.as_str()) {
                check_purity(root, &name, &file, complaints);
            }
        }
    }
}

fn check_module(root: &Path, file: &Path, complaints: &mut Vec<String>) {
    let text = read(file);
    let shown = relative(root, file);
    if !text.starts_with("//!") {
        complaints.push(format!("{shown}: first line must say what the module is for (`//! …`)"));
    }
    let lines = text.lines().count();
    if lines > LINES_PER_FILE_MAX {
        complaints.push(format!("{shown}: {lines} lines, {LINES_PER_FILE_MAX} allowed"));
    }
}

fn check_purity(root: &Path, name: &str, file: &Path, complaints: &mut Vec<String>) {
    let text = read(file);
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for word in IMPURE.iter().filter(|word| code.iter().any(|line| line.contains(**word))) {
        complaints.push(format!("{}: `{name}` is pure, found `{word}`", relative(root, file)));
    }
}

/// Each ban in clippy.toml carries its reason, for the person who meets it. (Those of crates are a table of reasons.)
fn check_bans(root: &Path, complaints: &mut Vec<String>) {
    let text = read(&root.join("clippy.toml"));
    for line in text.lines().filter(|line| line.contains("{ path =")) {
        if !line.contains("reason = \"") && !line.trim_start().starts_with('#') {
            complaints.push(format!("clippy.toml: `{}` carries no reason", line.trim()));
        }
    }
}

/// Lock files name no mirror.
fn check_lock_file(root: &Path, file: &Path, complaints: &mut Vec<String>) {
    let shown = relative(root, file);
    match file_name(file).as_str() {
        "Cargo.lock" => {
            for line in read(file).lines().filter(|line| line.starts_with("source = ")) {
                if !line.contains(CRATES_IO) {
                    complaints.push(format!("{shown}: `{line}`: only crates.io is a source"));
                }
            }
        }
        "package-lock.json" if read(file).contains("\"resolved\": \"http") => {
            complaints.push(format!(
                "{shown}: names a registry host; set `omit-lockfile-registry-resolved=true` in .npmrc"
            ));
        }
        _ => {}
    }
}

/// Rust files, without what is generated: that is compared with its source by `codegen`, not read by people.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let (dirs, files): (Vec<_>, Vec<_>) = children(dir).into_iter().partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")).collect();
    found.extend(
        dirs.iter().filter(|dir| file_name(dir) != "generated").flat_map(|dir| rust_files(dir)),
    );
    found
}

/// Every file of the repository: what is built or fetched is left out.
fn all_files(dir: &Path) -> Vec<PathBuf> {
    const NOT_OURS: &[&str] = &["target", "data", ".git", "node_modules", "__pycache__"];
    let (dirs, files): (Vec<_>, Vec<_>) = children(dir).into_iter().partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|file| !NOT_OURS.contains(&file_name(file).as_str())).collect();
    let dirs = dirs.iter().filter(|dir| !NOT_OURS.contains(&file_name(dir).as_str()));
    found.extend(dirs.flat_map(|dir| all_files(dir)));
    found
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
