//! Runs a test only where its world exists, and says aloud when it does not.
#![allow(clippy::print_stderr, reason = "a test that did not run says so")]
#![allow(clippy::disallowed_methods, reason = "worlds are named by the environment")]

use std::io::Write as _;

/// Whether a world is there: `LANEWAY_REAL` lists them. A test whose world is missing is noted, so that a skipped test
/// is never mistaken for a passed one: `if !testkit::needs("otel") { return; }`
#[must_use]
pub fn needs(world: &str) -> bool {
    let worlds = std::env::var("LANEWAY_REAL").unwrap_or_default();
    let here = worlds.split(',').any(|name| name == world);
    if !here {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let note = format!("{test}: needs {world}; `cargo xtask test` prepares it");
        eprintln!("SKIPPED: {note}");
        note_skipped(&note);
    }
    here
}

/// `cargo test` hides what passing tests print, so the note also goes where `cargo xtask test` reads it.
fn note_skipped(note: &str) {
    if let Some(path) = std::env::var_os("LANEWAY_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _unwritable = file.and_then(|mut file| writeln!(file, "{note}"));
    }
}
