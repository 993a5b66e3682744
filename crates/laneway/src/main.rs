//! The binary: settings, roles, CLI, demo, wiring. No behaviour of its own.
//!
//! This file is the table of contents: every command of [`cli::Command`] and the module that runs it.

mod accepting;
mod admin;
mod cli;
mod config;
mod console;
mod data_directory;
mod demo;
mod door;
mod http_server;
mod logins;
mod manifest;
mod resources;
mod roles;
mod sample;
mod signals;
mod stores;
mod upgrade;

use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    match command {
        // Roles: run until a signal.
        Command::Serve(settings) => cli::finish(roles::serve::run(settings)),
        Command::Control(settings) => cli::finish(roles::control::run(settings)),
        Command::Gateway(settings) => cli::finish(roles::gateway::run(settings)),
        Command::Sidecar(settings) => cli::finish(roles::sidecar::run(settings)),
        // Verbs: do one thing over the API, or without it.
        Command::Apply(verb) => cli::run(cli::apply::run(verb)),
        Command::Delete(verb) => cli::run(cli::delete::run(verb)),
        Command::Get(verb) => cli::run(cli::get::run(verb)),
        Command::Describe(verb) => cli::run(cli::describe::run(verb)),
        Command::Diff(verb) => cli::run(cli::diff::run(verb)),
        Command::Events(verb) => cli::run(cli::events::run(verb)),
        Command::Watch(verb) => cli::run(cli::watch::run(verb)),
        Command::Wait(verb) => cli::run(cli::wait::run(verb)),
        Command::Lane(verb) => cli::run(cli::lane::run(verb)),
        Command::Route(verb) => cli::run(cli::route::run(verb)),
        Command::Certificate(verb) => cli::run(cli::certificate::run(verb)),
        Command::Explain(verb) => cli::run(cli::explain::run(verb)),
        Command::Check(verb) => cli::run(cli::check::run(verb)),
        Command::Analyze(verb) => cli::run(cli::analyze::run(verb)),
        Command::Status(verb) => cli::run(cli::status::run(verb)),
        Command::Top(verb) => cli::run(cli::top::run(verb)),
        Command::Tap(verb) => cli::run(cli::tap::run(verb)),
        Command::Upgrade(verb) => cli::run(cli::upgrade::run(verb)),
        Command::Uncapture(verb) => cli::run(cli::uncapture::run(verb)),
        Command::Token(verb) => cli::run(cli::token::run(verb)),
        Command::Ca(verb) => cli::run(cli::ca::run(verb)),
        Command::Login(verb) => cli::run(cli::login::login(verb)),
        Command::Logout(verb) => cli::run(cli::login::logout(verb)),
        Command::Whoami(verb) => cli::run(cli::login::whoami(verb)),
        Command::User(verb) => cli::run(cli::user::run(verb)),
        Command::ApiToken(verb) => cli::run(cli::api_token::run(verb)),
        Command::Audit(verb) => cli::run(cli::audit::run(verb)),
        Command::Undo(verb) => cli::run(cli::audit::undo(verb)),
        Command::Version(verb) => cli::run(cli::version::run(verb)),
        Command::Backup(verb) => cli::run(cli::backup::run(verb)),
        Command::Restore(verb) => cli::run(cli::restore::run(verb)),
        Command::Completions(verb) => cli::run(cli::completions::run(verb)),
        Command::Names(verb) => cli::run(cli::completions::print_names(verb)),
        // The sample scenario.
        Command::Demo(verb) => cli::run(cli::demo::run(verb)),
        Command::SampleApplication(verb) => cli::run(cli::sample_application::run(verb)),
        Command::ChildOf(verb) => cli::finish(cli::child_of::run(&verb)),
    }
}
