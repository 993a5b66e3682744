//! `laneway completions`: a completion script for a shell.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) async fn run(verb: Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut super::Arguments::command(), "laneway", &mut script);
    script.extend_from_slice(names_of_resources(verb.shell).as_bytes());
    std::io::stdout().write_all(&script).context("write the script")?;
    Ok(ExitCode::SUCCESS)
}

/// What has names of resources completed, as the control plane knows them: where shells can be told in few words.
fn names_of_resources(shell: clap_complete::Shell) -> &'static str {
    match shell {
        clap_complete::Shell::Bash => BASH,
        clap_complete::Shell::Fish => FISH,
        _ => "",
    }
}

const BASH: &str = r#"
_laneway_with_names() {
    _laneway "$@"
    local word="${COMP_WORDS[COMP_CWORD]}" names=""
    case "${COMP_WORDS[1]} $COMP_CWORD" in
        get\ [3-9]|describe\ [3-9]|delete\ [3-9]|wait\ [3-9])
            names="$(laneway get "${COMP_WORDS[2]}" -o 'jsonpath={.items[*].metadata.name}' --timeout 2 2>/dev/null)" ;;
        lane\ 3)
            names="$(laneway get lanes --timeout 2 2>/dev/null | awk 'NR > 1 { print $2 }')" ;;
    esac
    if [[ -n "$names" && "$word" != -* ]]; then
        COMPREPLY+=($(compgen -W "$names" -- "$word"))
    fi
}
complete -F _laneway_with_names -o nosort -o bashdefault -o default laneway
"#;

const FISH: &str = r#"
complete -c laneway -n '__fish_seen_subcommand_from get describe delete wait; and test (count (commandline -opc)) -ge 3' -f -a '(laneway get (commandline -opc)[3] -o "jsonpath={.items[*].metadata.name}" --timeout 2 2>/dev/null | string split " ")'
complete -c laneway -n '__fish_seen_subcommand_from lane; and test (count (commandline -opc)) -eq 3' -f -a '(laneway get lanes --timeout 2 2>/dev/null | awk "NR > 1 { print \$2 }")'
"#;
