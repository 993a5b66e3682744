//! `docs/reference/settings.md`, generated from the declarations in [`super::raw`] and compared with the file.

use std::fmt::Write;

use clap::{Command, CommandFactory};

/// The roles in the order of the reference.
const ROLES: [&str; 4] = ["serve", "control", "gateway", "sidecar"];

/// The whole document.
fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Generated from `crates/laneway/src/config/raw.rs`; \
         `UPDATE=1 cargo test -p laneway settings_reference` writes it anew.\n\n\
         Every setting of a role is a flag, an environment variable and a key of the YAML file that `--config` names \
         (the flag without its dashes, e.g. `gateway-listen: 0.0.0.0:8000`). A flag wins over the variable, the \
         variable over the file, the file over the default. Unknown keys and bad values end the process with exit \
         code 64 and a message that names key, value and remedy; a name that only \
         does not resolve now, with 1. On SIGHUP the log level is read again; what else has changed is logged and waits for a restart.\n",
    );
    let command = crate::cli::Arguments::command();
    for role in ROLES {
        let role = command.find_subcommand(role).expect("a role");
        section(role, &mut text);
    }
    limits(&mut text);
    text
}

/// What is no setting, and bounds a connection or a request all the same.
fn limits(text: &mut String) {
    text.push_str(
        "\n## Limits\n\nWhat bounds a connection or a request in gateways and sidecars and cannot be set; generated from \
         `crates/proxy/src/limits.rs`. At its start every role raises its limit on open files (`ulimit -n`) as far as it \
         may.\n\nThe API and every admin address take 1024 connections at a time, discovery 65536, as far as half the files that \
         may be open allow; a head, or the next piece of a body, must come within 10 s; a peer that has vanished is \
         noticed within 15 s.\n\n| limit | value | meaning |\n|---|---|---|\n",
    );
    for proxy::limits::Limit { name, value, reason } in proxy::limits::all() {
        let _ = writeln!(text, "| `{name}` | {value} | {reason} |");
    }
}

fn section(role: &Command, text: &mut String) {
    let about = role.get_about().unwrap_or_default();
    let _ = write!(
        text,
        "\n## laneway {}\n\n{about}.\n\n| flag and key | environment | default | meaning |\n|---|---|---|---|\n",
        role.get_name()
    );
    for argument in role.get_arguments() {
        let (Some(long), Some(variable)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default =
            if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
        let value = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
        let help = argument.get_help().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `--{long} {value}` | `{}` | {default} | {help} |",
            variable.to_string_lossy()
        );
    }
}

#[test]
fn settings_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/settings.md");
    let fresh = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &fresh).expect("write the reference");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, fresh, "run `UPDATE=1 cargo test -p laneway settings_reference`");
}

#[test]
fn every_setting_is_a_flag_a_variable_and_a_key_of_one_name() {
    let command = crate::cli::Arguments::command();
    for role in ROLES {
        let role = command.find_subcommand(role).expect("a role");
        for argument in role.get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            assert_eq!(argument.get_id().as_str().replace('_', "-"), long);
            let variable = format!("LANEWAY_{}", long.replace('-', "_").to_uppercase());
            let env = argument.get_env().map(|env| env.to_string_lossy().into_owned());
            assert_eq!(env, Some(variable), "--{long} of {}", role.get_name());
        }
    }
}
