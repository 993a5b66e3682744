//! Repository chores: the one door that people and CI use. `cargo xtask help` lists the verbs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod codegen;
mod tidy;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let complaints = match verb.as_str() {
        "tidy" => tidy::run(&root),
        "codegen" => {
            codegen::run(&root).err().map(|error| format!("{error:#}")).into_iter().collect()
        }
        other => vec![format!("unknown verb `{other}`; try `tidy` or `codegen`")],
    };
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
