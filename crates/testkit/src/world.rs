//! Runs a test only where its world exists, and says aloud when it does not.
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
        // Not `eprintln!`: what that prints is hidden when the test passes.
        let _unwritable = writeln!(std::io::stderr(), "SKIPPED: {note}");
        note_skipped(&note);
    }
    here
}

/// Where `cargo xtask test` reads it, to list what did not run at the end.
fn note_skipped(note: &str) {
    if let Some(path) = std::env::var_os("LANEWAY_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _unwritable = file.and_then(|mut file| writeln!(file, "{note}"));
    }
}
