//! The architecture, as a table that fails the build when the code disagrees.

use std::{collections::BTreeMap, fs, path::Path};

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
        let manifest = read(&dir.join("Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            complaints
                .push(format!("crates/{name}/Cargo.toml: does not inherit the workspace lints"));
        }
        for dependency in normal_path_dependencies(&manifest) {
            if !allowed.contains(&dependency.as_str()) {
                complaints.push(format!("crates/{name}: must not depend on `{dependency}`"));
            }
        }
        for file in rust_files(&dir.join("src")) {
            check_file(&name, &file, &mut complaints);
        }
    }
    complaints
}

fn check_file(crate_name: &str, file: &Path, complaints: &mut Vec<String>) {
    let text = read(file);
    let shown = file.display();
    if !text.starts_with("//!") {
        complaints.push(format!("{shown}: first line must say what the module is for (`//! …`)"));
    }
    let lines = text.lines().count();
    if lines > LINES_PER_FILE_MAX {
        complaints.push(format!("{shown}: {lines} lines, {LINES_PER_FILE_MAX} allowed"));
    }
    if PURE.contains(&crate_name) {
        for word in IMPURE.iter().filter(|word| text.contains(**word)) {
            complaints.push(format!("{shown}: `{crate_name}` is pure, found `{word}`"));
        }
    }
}

/// Workspace members under `[dependencies]`. Dev-dependencies may point anywhere.
fn normal_path_dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some(name) = line.strip_suffix(".workspace = true")
            && ARROWS.iter().any(|(member, _)| *member == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

fn rust_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let (dirs, files): (Vec<_>, Vec<_>) = children(dir).into_iter().partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")).collect();
    // What is generated is compared with its source by `codegen`, not read by people.
    found.extend(
        dirs.iter().filter(|dir| file_name(dir) != "generated").flat_map(|dir| rust_files(dir)),
    );
    found
}

fn children(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(run(&root), Vec::<String>::new());
    }

    #[test]
    fn arrows_have_no_cycle() {
        // Remove crates whose arrows are all gone until nothing moves; what is left is a cycle.
        let mut left: BTreeMap<_, Vec<_>> =
            ARROWS.iter().map(|(name, to)| (*name, to.to_vec())).collect();
        while let Some(leaf) = left.iter().find(|(_, to)| to.is_empty()).map(|(name, _)| *name) {
            left.remove(leaf);
            left.values_mut().for_each(|to| to.retain(|name| *name != leaf));
        }
        assert!(left.is_empty(), "cycle among {:?}", left.keys());
    }
}
