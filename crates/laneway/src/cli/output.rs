//! Where words go: answers to standard output, errors to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::{fmt, io::Write, net::SocketAddr};

/// One line of an answer. A reader that has gone away (`| head`) is no reason to panic.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Where a role listens, told before traffic flows, so that port 0 is of use.
pub(crate) fn listening(what: &str, address: SocketAddr) {
    line(format_args!("listening on {address} ({what})"));
}

/// Why a command failed.
pub(crate) fn error(error: &impl fmt::Display) {
    eprintln!("laneway: {error}");
}

/// What clap has to say: help, version or a misunderstanding, with colours where they fit.
pub(crate) fn usage(error: &clap::Error) {
    let _ = error.print();
}
