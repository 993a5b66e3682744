//! The command line: every command, how it is read, how it answers and with which exit code.
//!
//! The only place that prints. Roles are in [`crate::roles`]; each verb has a module here with its arguments and
//! one `run`.

pub(crate) mod analyze;
pub(crate) mod api_token;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod ca;
pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod child_of;
mod columns;
pub(crate) mod completions;
mod confirm;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod get;
mod json_path;
pub(crate) mod lane;
pub(crate) mod login;
pub(crate) mod output;
#[cfg(test)]
mod reference;
mod references;
pub(crate) mod restore;
pub(crate) mod route;
pub(crate) mod sample_application;
mod selector;
pub(crate) mod server;
mod shape;
pub(crate) mod status;
pub(crate) mod tap;
mod target;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod uncapture;
pub(crate) mod upgrade;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod watch;

use std::{ffi::OsString, fmt, process::ExitCode};

use clap::{
    ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource,
};

use crate::{
    config::{self, BadSettings, FileValues, Known, Origins, raw},
    upgrade::{VARIABLE as PREDECESSOR_VARIABLE, predecessor},
};
use server::Actions;

/// Something failed; the message says what.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line is not understood; clap exits with it, too.
pub(crate) const EXIT_USAGE: u8 = 2;
/// A setting cannot be used.
pub(crate) const EXIT_BAD_SETTINGS: u8 = 64;

/// End-to-end canary release for microservices: a request stays in its lane.
#[derive(Debug, Parser)]
#[command(name = "laneway", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: WrittenCommand,
}

/// Every command as written. There is one of it, once: its size does not matter.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value per process")]
enum WrittenCommand {
    /// Control plane and gateway in one process: the default on one machine
    Serve(raw::Serve),
    /// The control plane alone
    Control(raw::Control),
    /// A gateway alone
    Gateway(raw::Gateway),
    /// Beside one instance of an application
    Sidecar(raw::Sidecar),
    /// Create or change resources from files, all or none
    Apply(apply::Apply),
    /// Delete a resource
    Delete(delete::Delete),
    /// Show resources
    Get(get::Get),
    /// Show a resource with all that is known of it: how it stands and why, its instances, who needs it, what happened
    Describe(describe::Describe),
    /// Say what files would change, field by field
    Diff(diff::Diff),
    /// Show what happened lately
    Events(events::Events),
    /// Follow the changes of resources and of how they stand
    Watch(watch::Watch),
    /// Wait until resources stand as wanted, or are gone
    Wait(wait::Wait),
    /// Switch lanes on and off, change their ratio, see how they stand
    Lane(Actions<lane::Action>),
    /// Write routes without writing YAML
    Route(Actions<route::Action>),
    /// Write certificates from PEM files
    Certificate(Actions<certificate::Action>),
    /// Say why a request goes where it goes, at every hop
    Explain(explain::Explain),
    /// Validate resources without applying them
    Check(check::Check),
    /// Look for what is wrong or doubtful in the whole installation
    Analyze(analyze::Analyze),
    /// Sources, gateways and data planes: how far behind each is, what each cannot reach
    Status(status::Status),
    /// Show what passes now, by lane and application: requests, errors, durations
    Top(top::Top),
    /// Show single requests of a lane as they pass, with every hop
    Tap(tap::Tap),
    /// Let what is now at its path take the place of a running gateway or sidecar: no connection is refused or cut
    Upgrade(upgrade::Upgrade),
    /// Remove the redirect rules that a killed sidecar has left on this host; those of one that runs stay
    Uncapture(uncapture::Uncapture),
    /// Make, list and revoke tokens with which sidecars of one application may join
    Token(token::Token),
    /// Show or replace who signs certificates of data planes
    Ca(ca::Ca),
    /// Sign in at a control plane; the token is kept for you alone
    Login(login::Login),
    /// Sign out at a control plane
    Logout(login::AtServer),
    /// Say who you are to a control plane, and what you may
    Whoami(login::AtServer),
    /// Make, list, grant and remove users of the API
    User(user::User),
    /// Make, list and revoke tokens with which programs use the API
    ApiToken(api_token::ApiToken),
    /// Show who changed what, when and why
    Audit(audit::Audit),
    /// Undo a change by a new one, unless the same was changed since
    Undo(audit::Undo),
    /// Copy the control plane's store into a file while it runs
    Backup(backup::Backup),
    /// Put a backup in place of the store of a stopped control plane
    Restore(restore::Restore),
    /// The releases of this program and of the control plane
    Version(version::Version),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// What may be named in a place of a command line: for completion scripts
    #[command(hide = true)]
    Names(completions::Names),
    /// The sample scenario on this machine: A, B and C, base and gray
    Demo(demo::DemoArguments),
    /// One application of the sample scenario
    #[command(hide = true)]
    SampleApplication(sample_application::SampleApplication),
    /// A command that ends when its parent does
    #[command(hide = true)]
    ChildOf(child_of::ChildOf),
}

/// Every command, ready to run: settings of roles are checked.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one value per process")]
pub(crate) enum Command {
    Serve(Settings<config::Serve>),
    Control(Settings<config::Control>),
    Gateway(Settings<config::Gateway>),
    Sidecar(Settings<config::Sidecar>),
    Apply(apply::Apply),
    Delete(delete::Delete),
    Get(get::Get),
    Describe(describe::Describe),
    Diff(diff::Diff),
    Events(events::Events),
    Watch(watch::Watch),
    Wait(wait::Wait),
    Lane(Actions<lane::Action>),
    Route(Actions<route::Action>),
    Certificate(Actions<certificate::Action>),
    Explain(explain::Explain),
    Check(check::Check),
    Analyze(analyze::Analyze),
    Status(status::Status),
    Top(top::Top),
    Tap(tap::Tap),
    Upgrade(upgrade::Upgrade),
    Uncapture(uncapture::Uncapture),
    Token(token::Token),
    Ca(ca::Ca),
    Login(login::Login),
    Logout(login::AtServer),
    Whoami(login::AtServer),
    User(user::User),
    ApiToken(api_token::ApiToken),
    Audit(audit::Audit),
    Undo(audit::Undo),
    Version(version::Version),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Completions(completions::Completions),
    Names(completions::Names),
    Demo(demo::DemoArguments),
    SampleApplication(sample_application::SampleApplication),
    ChildOf(child_of::ChildOf),
}

/// A role's settings, and how to read them again on SIGHUP.
#[derive(Debug)]
pub(crate) struct Settings<T> {
    /// As read at start.
    pub(crate) now: T,
    arguments: Vec<OsString>,
    pick: fn(Command) -> Option<T>,
}

impl<T> Settings<T> {
    /// Reads flags, environment and file once more.
    pub(crate) fn read_again(&self) -> Result<T, BadSettings> {
        match read(&self.arguments) {
            Ok(command) => {
                Ok((self.pick)(command).expect("the same arguments name the same command"))
            }
            Err(Unreadable::Settings(bad)) => Err(bad),
            Err(Unreadable::Usage(_)) => unreachable!("the same arguments were understood before"),
        }
    }
}

/// Reads the command line; on failure the message has been printed.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitCode> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    read(&arguments).map_err(|unreadable| match unreadable {
        Unreadable::Usage(error) => {
            predecessor::tell_failure(&error.to_string());
            output::usage(&error);
            ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
        }
        Unreadable::Settings(bad) => {
            predecessor::tell_failure(&bad.to_string());
            output::error(&bad);
            ExitCode::from(bad_settings(&bad))
        }
    })
}

/// Why a command line cannot be run.
enum Unreadable {
    Usage(clap::Error),
    Settings(BadSettings),
}

fn read(arguments: &[OsString]) -> Result<Command, Unreadable> {
    let arguments = &verb_first(arguments);
    let matches =
        Arguments::command().try_get_matches_from(arguments).map_err(Unreadable::Usage)?;
    let Some((role, role_matches)) = matches.subcommand() else {
        unreachable!("a command is required")
    };
    let file = settings_file(role, role_matches).map_err(Unreadable::Settings)?;
    let (matches, file) = match file {
        None => (matches, FileValues::default()),
        // What the file says stands where the default stood: flags and environment win over both.
        Some(file) => {
            let command = Arguments::command().mut_subcommand(role, |mut command| {
                for (key, value) in &file.values {
                    command = command.mut_arg(argument_id(key), |argument| {
                        argument.default_value(value.clone())
                    });
                }
                command
            });
            (command.try_get_matches_from(arguments).map_err(Unreadable::Usage)?, file)
        }
    };
    let origins = matches
        .subcommand()
        .map(|(role, role_matches)| origins(role, role_matches, &file))
        .unwrap_or_default();
    let written = Arguments::from_arg_matches(&matches).map_err(Unreadable::Usage)?;
    written.command.check(arguments, &origins).map_err(Unreadable::Settings)
}

/// What names the server may stand before the verb, too: it is put behind it.
fn verb_first(arguments: &[OsString]) -> Vec<OsString> {
    let mut rest = arguments.iter().cloned();
    let mut ordered: Vec<OsString> = rest.by_ref().take(1).collect();
    let mut before = Vec::new();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        let is_written = |option: &str| {
            text == option || text.strip_prefix(option).is_some_and(|value| value.starts_with('='))
        };
        let Some(option) = BEFORE_THE_VERB.iter().find(|option| is_written(option)) else {
            ordered.push(word);
            break;
        };
        let has_value = text != **option;
        before.push(word);
        if !has_value {
            before.extend(rest.next());
        }
    }
    ordered.extend(before);
    ordered.extend(rest);
    ordered
}

/// Options of verbs that may stand before the verb; each takes a value.
const BEFORE_THE_VERB: [&str; 6] =
    ["--server", "--token-file", "--data", "--timeout", "--namespace", "-n"];

impl WrittenCommand {
    fn check(self, arguments: &[OsString], origins: &Origins) -> Result<Command, BadSettings> {
        macro_rules! settings {
            ($command:ident, $raw:expr) => {
                Command::$command(Settings {
                    now: $raw.check(origins)?,
                    arguments: arguments.to_vec(),
                    pick: |command| match command {
                        Command::$command(settings) => Some(settings.now),
                        _ => None,
                    },
                })
            };
        }
        Ok(match self {
            Self::Serve(raw) => settings!(Serve, raw),
            Self::Control(raw) => settings!(Control, raw),
            Self::Gateway(raw) => settings!(Gateway, raw),
            Self::Sidecar(raw) => settings!(Sidecar, raw),
            Self::Apply(verb) => Command::Apply(verb),
            Self::Delete(verb) => Command::Delete(verb),
            Self::Get(verb) => Command::Get(verb),
            Self::Describe(verb) => Command::Describe(verb),
            Self::Diff(verb) => Command::Diff(verb),
            Self::Events(verb) => Command::Events(verb),
            Self::Watch(verb) => Command::Watch(verb),
            Self::Wait(verb) => Command::Wait(verb),
            Self::Analyze(verb) => Command::Analyze(verb),
            Self::Version(verb) => Command::Version(verb),
            Self::Lane(verb) => Command::Lane(verb),
            Self::Route(verb) => Command::Route(verb),
            Self::Certificate(verb) => Command::Certificate(verb),
            Self::Explain(verb) => Command::Explain(verb),
            Self::Check(verb) => Command::Check(verb),
            Self::Status(verb) => Command::Status(verb),
            Self::Top(verb) => Command::Top(verb),
            Self::Tap(verb) => Command::Tap(verb),
            Self::Upgrade(verb) => Command::Upgrade(verb),
            Self::Uncapture(verb) => Command::Uncapture(verb),
            Self::Token(verb) => Command::Token(verb),
            Self::Ca(verb) => Command::Ca(verb),
            Self::Login(verb) => Command::Login(verb),
            Self::Logout(verb) => Command::Logout(verb),
            Self::Whoami(verb) => Command::Whoami(verb),
            Self::User(verb) => Command::User(verb),
            Self::ApiToken(verb) => Command::ApiToken(verb),
            Self::Audit(verb) => Command::Audit(verb),
            Self::Undo(verb) => Command::Undo(verb),
            Self::Backup(verb) => Command::Backup(verb),
            Self::Restore(verb) => Command::Restore(verb),
            Self::Completions(verb) => Command::Completions(verb),
            Self::Names(verb) => Command::Names(verb),
            Self::Demo(verb) => Command::Demo(verb),
            Self::SampleApplication(verb) => Command::SampleApplication(verb),
            Self::ChildOf(verb) => Command::ChildOf(verb),
        })
    }
}

/// The file that `--config` or its variable names; verbs have none.
fn settings_file(role: &str, matches: &ArgMatches) -> Result<Option<FileValues>, BadSettings> {
    let path = matches.try_get_one::<String>("config").ok().flatten();
    let Some(path) = path else { return Ok(None) };
    let command = Arguments::command();
    let known = |key: &str| {
        let mut arguments =
            command.find_subcommand(role).into_iter().flat_map(clap::Command::get_arguments);
        match arguments.find(|argument| argument.get_long() == Some(key)) {
            // A file cannot name another file.
            None => Known::Unknown,
            Some(_) if key == "config" => Known::Unknown,
            Some(argument) if matches!(argument.get_action(), ArgAction::Append) => {
                Known::SeveralTimes
            }
            Some(_) => Known::Once,
        }
    };
    FileValues::read(path, role, known).map(Some).map_err(BadSettings)
}

/// Where every setting of a role was written.
fn origins(role: &str, matches: &ArgMatches, file: &FileValues) -> Origins {
    let command = Arguments::command();
    let Some(command) = command.find_subcommand(role) else { return Origins::new() };
    let mut origins = Origins::new();
    for argument in command.get_arguments() {
        let Some(key) = argument.get_long() else { continue };
        let origin = match matches.value_source(argument.get_id().as_str()) {
            Some(ValueSource::CommandLine) => format!("--{key}"),
            Some(ValueSource::EnvVariable) => {
                argument.get_env().unwrap_or_default().to_string_lossy().into_owned()
            }
            Some(_) if file.values.contains_key(key) => file.path.clone(),
            _ => continue,
        };
        origins.insert(key.to_owned(), origin);
    }
    origins
}

/// clap calls `--app-address` `app_address`.
fn argument_id(key: &str) -> String {
    key.replace('-', "_")
}

/// Variables of the environment that look like Laneway's and are no setting's.
pub(crate) fn unknown_variables() -> Vec<String> {
    let command = Arguments::command();
    let roles_and_verbs = command.get_subcommands();
    let all = roles_and_verbs.flat_map(|verb| verb.get_subcommands().chain([verb]));
    let known: Vec<String> = all
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let is_known = |name: &String| known.contains(name) || name == PREDECESSOR_VARIABLE;
    names.filter(|name| name.starts_with("LANEWAY_") && !is_known(name)).collect()
}

/// Runs a verb to its end on a runtime of its own.
pub(crate) fn run(verb: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => finish(runtime.block_on(verb)),
        Err(error) => finish(Err(error.into())),
    }
}

/// The exit code of what was run; a failure is printed with its whole chain.
pub(crate) fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        if let Some(misunderstood) = error.downcast_ref::<Misunderstood>() {
            let kind = clap::error::ErrorKind::MissingRequiredArgument;
            output::usage(&Arguments::command().error(kind, misunderstood));
            return ExitCode::from(EXIT_USAGE);
        }
        predecessor::tell_failure(&format!("{error:#}"));
        output::error(&format_args!("{error:#}"));
        let bad = error.downcast_ref::<BadSettings>();
        ExitCode::from(bad.map_or(EXIT_FAILED, bad_settings))
    })
}

/// What may pass is worth another try by whoever starts this program; it is not tried again after the other code.
fn bad_settings(bad: &BadSettings) -> u8 {
    if bad.may_pass() { EXIT_FAILED } else { EXIT_BAD_SETTINGS }
}

/// Words that were read one by one do not go together.
#[derive(Debug)]
pub(crate) struct Misunderstood(pub(crate) String);

impl std::error::Error for Misunderstood {}

impl fmt::Display for Misunderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
