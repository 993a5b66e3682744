//! The architecture, as a table that fails the build when the code disagrees.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every arrow in ARCHITECTURE.md. An arrow that is not here is a design change, not a chore.
const ARROWS: &[(&str, &[&str])] = &[
    ("lanes", &[]),
    ("telemetry", &[]),
    ("routes", &["lanes"]),
    ("api", &["lanes", "routes"]),
    ("registry", &["lanes", "telemetry"]),
    ("proxy", &["lanes", "routes", "telemetry"]),
    ("control", &["api", "lanes", "routes", "telemetry"]),
    ("testkit", &["lanes"]),
    ("laneway", &["api", "control", "lanes", "proxy", "registry", "routes", "telemetry"]),
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

/// Largest file that is searched for words; larger ones are data.
const SEARCHED_BYTES_MAX: u64 = 2_000_000;

/// The only registry a Rust lock file may name.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Words that say where somebody worked instead of what Laneway is. Written in two halves, so that this file has none.
const FOREIGN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("registry.np", "mjs.org"), "a registry host; lock files are written without"),
    (concat!("files.python", "hosted.org"), "a registry host; lock files are written without"),
    (concat!("static.cra", "tes.io"), "a registry host; lock files are written without"),
    (concat!("design ", "§"), "the numbers are those of docs/semantics.md: `semantics §4`"),
    (concat!("sub", "agent"), "the repository speaks of Laneway alone"),
    (concat!("AI ", "agent"), "the repository speaks of Laneway alone"),
    (concat!("this ", "session"), "the repository speaks of Laneway alone"),
];

/// Everything wrong with the tree under `root`; empty when it is tidy.
pub(crate) fn run(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for dir in children(&root.join("crates")) {
        let name = file_name(&dir);
        let Some(allowed) = arrows.get(name.as_str()) else {
            complaints
                .push(format!("crates/{name}: not in the table; see \"when to add a crate\""));
            continue;
        };
        for dependency in normal_path_dependencies(&read(&dir.join("Cargo.toml"))) {
            if !allowed.contains(&dependency.as_str()) {
                complaints.push(format!("crates/{name}: must not depend on `{dependency}`"));
            }
        }
        check_package(root, &dir, &mut complaints);
    }
    for chores in ["xtask", "xtask/checks"] {
        check_package(root, &root.join(chores), &mut complaints);
    }
    check_bans(root, &mut complaints);
    for file in all_files(root) {
        check_words(root, &file, &mut complaints);
    }
    complaints
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

/// Each ban in clippy.toml and deny.toml carries its reason, for the person who meets it.
fn check_bans(root: &Path, complaints: &mut Vec<String>) {
    for file in ["clippy.toml", "deny.toml"] {
        let text = read(&root.join(file));
        let entries = ["{ path =", "{ name =", "{ crate ="];
        for line in text.lines().filter(|line| entries.iter().any(|entry| line.contains(entry))) {
            if !line.contains("reason = \"") && !line.trim_start().starts_with('#') {
                complaints.push(format!("{file}: `{}` carries no reason", line.trim()));
            }
        }
    }
}

/// Lock files name no mirror, and nothing names where it was written.
fn check_words(root: &Path, file: &Path, complaints: &mut Vec<String>) {
    if fs::metadata(file).is_ok_and(|metadata| metadata.len() > SEARCHED_BYTES_MAX) {
        return;
    }
    // Binary files have no words.
    let Ok(text) = fs::read_to_string(file) else { return };
    let shown = relative(root, file);
    for (word, why) in FOREIGN.iter().filter(|(word, _)| text.contains(word)) {
        complaints.push(format!("{shown}: contains `{word}`: {why}"));
    }
    match file_name(file).as_str() {
        "Cargo.lock" => {
            for line in text.lines().filter(|line| line.starts_with("source = ")) {
                if !line.contains(CRATES_IO) {
                    complaints.push(format!("{shown}: `{line}`: only crates.io is a source"));
                }
            }
        }
        "package-lock.json" if text.contains("\"resolved\": \"http") => complaints.push(format!(
            "{shown}: names a registry host; set `omit-lockfile-registry-resolved=true` in .npmrc"
        )),
        _ => {}
    }
}

/// Workspace members under `[dependencies]`, of any target. Dev-dependencies may point anywhere.
fn normal_path_dependencies(manifest: &str) -> Vec<String> {
    let mut normal = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            normal = section.starts_with("dependencies]")
                || section.starts_with("target.") && section.ends_with(".dependencies]");
        } else if normal {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if ARROWS.iter().any(|(member, _)| *member == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
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
