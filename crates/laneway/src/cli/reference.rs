//! `docs/reference/commands.md`, generated from the definitions of the verbs and compared with the file.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

/// The whole document.
fn reference() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Generated from `crates/laneway/src/cli`; `UPDATE=1 cargo test -p laneway commands_reference` writes it anew. \
         The roles `serve`, `control`, `gateway` and `sidecar` are in [settings](settings.md).\n\n\
         Answers go to standard output: a table for people, `-o json` for programs, `-o yaml` as `apply` takes it. \
         Errors go to standard error. Exit codes: 0 done, 1 failed, 2 the command line is not understood, 64 a setting \
         cannot be used (1 where a name only does not resolve now). Colours only on a terminal. Resources are written as in [semantics](../semantics.md); a file \
         may have many YAML documents, or JSON, and a directory is its `.yaml`, `.yml` and `.json` files by name.\n",
    );
    let mut command = super::Arguments::command();
    command.build();
    for verb in command.get_subcommands() {
        let is_role = verb.get_arguments().any(|argument| argument.get_id() == "config");
        if !is_role && !verb.is_hide_set() && verb.get_name() != "help" {
            section(verb, &mut text);
        }
    }
    text
}

fn section(verb: &Command, text: &mut String) {
    let inner: Vec<&Command> =
        verb.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
    if !inner.is_empty() {
        inner.into_iter().for_each(|inner| section(inner, text));
        return;
    }
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let name = verb.get_display_name().unwrap_or_default().replace('-', " ");
    let _ = write!(
        text,
        "\n## {name}\n\n{about}.\n\n```\n{usage}\n```\n\n| argument | default | meaning |\n|---|---|---|\n"
    );
    for argument in verb.get_arguments() {
        if !["help", "version"].contains(&argument.get_id().as_str()) {
            row(argument, text);
        }
    }
}

fn row(argument: &Arg, text: &mut String) {
    let values = argument.get_value_names().unwrap_or_default().join(" ");
    let takes_value = argument.get_action().takes_values();
    let mut written = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    if takes_value {
        let space = if written.is_empty() { "" } else { " " };
        written.push_str(&format!("{space}{values}"));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match (argument.get_env(), defaults.is_empty() || !takes_value) {
        (Some(variable), true) => format!("`${}`", variable.to_string_lossy()),
        (Some(variable), false) => {
            format!("`${}`, else `{}`", variable.to_string_lossy(), defaults.join(","))
        }
        (None, true) => String::new(),
        (None, false) => format!("`{}`", defaults.join(",")),
    };
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value && !possible.is_empty() {
        help.push_str(&format!(": {}", possible.join(", ")));
    }
    let _ = writeln!(
        text,
        "| `{}` | {default} | {} |",
        written.replace('|', "\\|"),
        help.replace('|', "\\|")
    );
}

#[test]
fn commands_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
    let fresh = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &fresh).expect("write the reference");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, fresh, "run `UPDATE=1 cargo test -p laneway commands_reference`");
}
