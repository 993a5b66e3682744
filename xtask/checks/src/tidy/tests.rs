//! Tidy judged on trees with one violation planted in each, and on the repository itself.

use std::collections::BTreeMap;

use super::*;

/// A small tree that is tidy: two crates, a chore and the lock file.
struct Tree(tempfile::TempDir);

/// A manifest without dependencies.
fn manifest(name: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n"
    )
}

impl Tree {
    fn tidy() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let members =
            "members = [\"crates/*\", \"xtask\"]\nresolver = \"3\"\n\n[workspace.dependencies]\n";
        let crates = "lanes = { path = \"crates/lanes\" }\nroutes = { path = \"crates/routes\" }\n";
        tree.write("Cargo.toml", &format!("[workspace]\n{members}{crates}\n[workspace.lints]\n"));
        tree.write("crates/lanes/Cargo.toml", &manifest("lanes"));
        tree.write("crates/lanes/src/lib.rs", "//! Lanes.\n");
        tree.write(
            "crates/routes/Cargo.toml",
            &format!("{}lanes.workspace = true\n", manifest("routes")),
        );
        tree.write("crates/routes/src/lib.rs", "//! Routes. No tokio here, says a comment.\n");
        tree.write("xtask/Cargo.toml", &manifest("xtask"));
        tree.write("xtask/src/main.rs", "//! Chores.\n");
        tree.write("Cargo.lock", &format!("source = \"{CRATES_IO}\"\n"));
        tree.write("clippy.toml", "[{ path = \"std::env::var\", reason = \"read once\" }]\n");
        assert_eq!(tree.complaints(), Vec::<String>::new());
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn complaints(&self) -> Vec<String> {
        run(self.0.path()).unwrap()
    }
}

/// Plants one file in a tidy tree and expects exactly one complaint with these words.
#[track_caller]
fn planted(path: &str, text: &str, expected: &str) {
    let tree = Tree::tidy();
    tree.write(path, text);
    let complaints = tree.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains(expected), "{complaints:?}");
}

#[test]
fn the_repository_is_tidy() {
    assert_eq!(run(&crate::root().unwrap()).unwrap(), Vec::<String>::new());
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_found() {
    for line in [
        "lanes.workspace = true",
        "lanes = { workspace = true, features = [] }",
        "lanes = { path = \"../lanes\" }",
        "[target.'cfg(unix)'.dependencies]\nlanes.workspace = true",
        "[build-dependencies]\nlanes.workspace = true",
    ] {
        let text = format!("{}{line}\n", manifest("telemetry"));
        let tree = Tree::tidy();
        tree.write("crates/telemetry/src/lib.rs", "//! Telemetry.\n");
        tree.write("crates/telemetry/Cargo.toml", &text);
        assert_eq!(tree.complaints(), ["crates/telemetry: must not depend on `lanes`"]);
    }
}

#[test]
fn a_test_may_depend_on_anything() {
    let tree = Tree::tidy();
    let text = format!("{}\n[dev-dependencies]\nlanes.workspace = true\n", manifest("telemetry"));
    tree.write("crates/telemetry/src/lib.rs", "//! Telemetry.\n");
    tree.write("crates/telemetry/Cargo.toml", &text);
    assert_eq!(tree.complaints(), Vec::<String>::new());
}

#[test]
fn a_crate_outside_the_table_is_found() {
    let tree = Tree::tidy();
    tree.write("crates/common/src/lib.rs", "//! Things.\n");
    tree.write("crates/common/Cargo.toml", &manifest("common"));
    let complaints = tree.complaints();
    assert!(
        complaints.len() == 1 && complaints[0].contains("crates/common: not in"),
        "{complaints:?}"
    );
}

#[test]
fn time_in_a_pure_crate_is_found() {
    let module = "//! Purpose.\nfn now() { Instant::now(); }\n";
    planted("crates/lanes/src/clock.rs", module, "`lanes` is pure, found `Instant::now`");
}

#[test]
fn a_module_without_purpose_is_found_in_sources_tests_and_chores() {
    for path in ["crates/lanes/src/a.rs", "crates/lanes/tests/it/main.rs", "xtask/src/main.rs"] {
        planted(path, "fn main() {}\n", "first line must say what the module is for");
    }
}

#[test]
fn a_file_of_901_lines_is_found() {
    let lines = format!("//! Long.\n{}", "\n".repeat(LINES_PER_FILE_MAX));
    planted("crates/routes/src/long.rs", &lines, "901 lines, 900 allowed");
}

#[test]
fn lints_that_are_not_inherited_are_found() {
    let text = manifest("xtask").replace("[lints]\nworkspace = true\n", "");
    planted("xtask/Cargo.toml", &text, "does not inherit the workspace lints");
}

#[test]
fn a_ban_without_a_reason_is_found() {
    planted("clippy.toml", "[\n{ path = \"std::env::var\" },\n]\n", "carries no reason");
}

#[test]
fn a_lock_file_with_another_source_is_found() {
    let mirror = "source = \"registry+https://mirror.example/index\"\n";
    planted("Cargo.lock", mirror, "only crates.io is a source");
    let npm = "{\"resolved\": \"https://mirror.example/a.tgz\"}";
    planted("samples/package-lock.json", npm, "names a registry host");
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
