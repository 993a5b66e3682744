//! `laneway completions`: a completion script for a shell. Names of resources are asked of the control plane while one
//! types: the scripts call `laneway names` with the words so far.

use std::{ffi::OsString, io::Write, process::ExitCode};

use anyhow::Context;
use api::resource::{Kind, Object};
use clap::{ArgAction, Args, CommandFactory};
use clap_complete::Shell;

use super::{Command, output, server::kind};

/// Seconds that a person waits for a completion without wondering.
const PATIENCE: &str = "2";

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

/// Prints the script.
pub(crate) async fn run(verb: Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut super::Arguments::command(), "laneway", &mut script);
    let script = String::from_utf8(script).context("write the script")?;
    let script = with_names(verb.shell, script);
    std::io::stdout().write_all(script.as_bytes()).context("write the script")?;
    Ok(ExitCode::SUCCESS)
}

/// Has names of resources completed besides what clap completes.
fn with_names(shell: Shell, script: String) -> String {
    match shell {
        Shell::Bash => script + BASH,
        Shell::Fish => script + FISH,
        // Zsh calls one function, whether it reads the script at once or by its name: that one asks for names first.
        Shell::Zsh => script.replacen("_laneway() {", &format!("{ZSH}_laneway_words() {{"), 1),
        _ => script,
    }
}

const BASH: &str = r#"
_laneway_with_names() {
    _laneway "$@"
    local word="${COMP_WORDS[COMP_CWORD]}" names
    if [[ "$word" != -* ]]; then
        names="$(laneway names -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$word" 2>/dev/null)"
        [[ -n "$names" ]] && COMPREPLY+=($(compgen -W "$names" -- "$word"))
    fi
}
complete -F _laneway_with_names -o nosort -o bashdefault -o default laneway
"#;

const ZSH: &str = r#"_laneway() {
    local -a names
    if [[ "$words[CURRENT]" != -* ]]; then
        names=(${(f)"$(laneway names -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
        (( $#names )) && compadd -a names
    fi
    _laneway_words "$@"
}

"#;

const FISH: &str = r#"
complete -c laneway -f -a '(laneway names -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"#;

/// The words of a command line up to the one that is being written.
#[derive(Debug, Args)]
pub(crate) struct Names {
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// Prints what may stand in the place of the last word, one name a line. Nothing where no resource is named there, or
/// nobody answers.
pub(crate) async fn print_names(verb: Names) -> anyhow::Result<ExitCode> {
    let Some(wanted) = Wanted::read(&verb.words) else { return Ok(ExitCode::SUCCESS) };
    let mut line: Vec<OsString> = ["laneway", "get", wanted.kind.plural()].map(Into::into).into();
    line.extend(wanted.options.iter().map(Into::into));
    line.extend(["--timeout", PATIENCE].map(Into::into));
    let Ok(Command::Get(get)) = super::read(&line) else { return Ok(ExitCode::SUCCESS) };
    for object in get.all_of(wanted.kind).await? {
        output::line(wanted.name(&object));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is being named.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'w> {
    kind: Kind,
    /// Whether names are written as `GROUP/TAG`, or as `KIND/NAME` with this kind.
    form: Form<'w>,
    /// Options that say where, as written.
    options: Vec<&'w str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Form<'w> {
    Name,
    OfLane,
    WithKind(&'w str),
}

impl<'w> Wanted<'w> {
    fn read(words: &'w [String]) -> Option<Self> {
        let (current, before) = words.split_last()?;
        let (plain, options) = sort(before);
        let wanted = |kind, form| Some(Self { kind, form, options });
        match plain.as_slice() {
            ["lane", "enable" | "disable" | "status" | "ratio"] => wanted(Kind::Lane, Form::OfLane),
            ["tap"] => wanted(Kind::Lane, Form::OfLane),
            ["top"] => wanted(Kind::LaneGroup, Form::Name),
            ["get" | "describe" | "delete" | "wait", others @ ..] => {
                match current.split_once('/') {
                    Some((word, _)) if kind(word).is_ok() => {
                        wanted(kind(word).ok()?, Form::WithKind(word))
                    }
                    _ => wanted(kind(others.first()?.split('/').next()?).ok()?, Form::Name),
                }
            }
            _ => None,
        }
    }

    fn name(&self, object: &Object) -> String {
        match (&self.form, object) {
            (Form::OfLane, Object::Lane(lane)) => lane.lane_name(),
            (Form::WithKind(kind), _) => format!("{kind}/{}", object.metadata().name),
            _ => object.metadata().name.clone(),
        }
    }
}

/// Options that say which control plane and namespace is asked.
const WHERE: [&str; 5] = ["--server", "--token-file", "--data", "--namespace", "-n"];

/// The words that are no options, and of the options those that say where.
fn sort(words: &[String]) -> (Vec<&str>, Vec<&str>) {
    let command = super::Arguments::command();
    // Of the verbs that are named: one's flag may take a value elsewhere.
    let is_named = |verb: &&clap::Command| words.iter().any(|word| word == verb.get_name());
    let verbs = command.get_subcommands().filter(is_named);
    let all = verbs.flat_map(|verb| verb.get_subcommands().filter(is_named).chain([verb]));
    let options: Vec<_> = all.flat_map(clap::Command::get_arguments).collect();
    let takes_value = |word: &str| {
        options.iter().any(|option| {
            let is_this =
                option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
                    || option.get_short().is_some_and(|short| word == format!("-{short}"));
            let is_bare = option.get_num_args().is_some_and(|count| count.min_values() == 0);
            is_this && matches!(option.get_action(), ArgAction::Set | ArgAction::Append) && !is_bare
        })
    };
    let (mut plain, mut of_place) = (Vec::new(), Vec::new());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = if takes_value(word) { words.next() } else { None };
        let option = word.split('=').next().unwrap_or_default();
        if WHERE.contains(&option) {
            of_place.push(word);
            of_place.extend(value);
        } else if !word.starts_with('-') {
            plain.push(word);
        }
    }
    (plain, of_place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Option<(Kind, String, String)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let wanted = Wanted::read(&words)?;
        Some((wanted.kind, format!("{:?}", wanted.form), wanted.options.join(" ")))
    }

    #[test]
    fn what_is_being_named_is_read_from_the_words_so_far() {
        for (line, kind, form, options) in [
            ("get lanes ", Kind::Lane, "Name", ""),
            ("get -o name lanes t", Kind::Lane, "Name", ""),
            ("get lanes a b", Kind::Lane, "Name", ""),
            ("-n shop describe gw ", Kind::Gateway, "Name", "-n shop"),
            ("wait --server=http://a:1 route/x ", Kind::HttpRoute, "Name", "--server=http://a:1"),
            ("delete backend/", Kind::Backend, "WithKind(\"backend\")", ""),
            ("delete --wait backend a", Kind::Backend, "Name", ""),
            ("top --once tr", Kind::LaneGroup, "Name", ""),
            ("tap --rate 5 tr", Kind::Lane, "OfLane", ""),
            ("lane enable ", Kind::Lane, "OfLane", ""),
            ("lane ratio --namespace shop tr", Kind::Lane, "OfLane", "--namespace shop"),
        ] {
            let expected = Some((kind, form.to_owned(), options.to_owned()));
            assert_eq!(wanted(line), expected, "{line}");
        }
        for line in
            ["", "get ", "get lan", "get instances ", "apply -f ", "lane ", "lane ratio a/b "]
        {
            assert_eq!(wanted(line), None, "{line}");
        }
    }

    #[test]
    fn every_shell_that_can_asks_for_names() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            let command = &mut super::super::Arguments::command();
            clap_complete::generate(shell, command, "laneway", &mut script);
            let script = with_names(shell, String::from_utf8(script).unwrap());
            assert_eq!(script.matches("laneway names -- ").count(), 1, "{shell}");
        }
    }
}
