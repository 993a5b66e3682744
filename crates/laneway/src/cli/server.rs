//! The arguments that every verb has which talks to a control plane.

use clap::{Args, ValueEnum};

/// How to reach the control plane.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The control plane's API
    #[arg(
        long,
        value_name = "URL",
        env = "LANEWAY_SERVER",
        default_value = "http://127.0.0.1:7600",
        global = true
    )]
    pub(crate) server: String,
}

/// Which namespace is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Namespace {
    /// The namespace of the resources
    #[arg(
        short = 'n',
        long,
        value_name = "NAME",
        env = "LANEWAY_NAMESPACE",
        default_value = "default"
    )]
    pub(crate) namespace: String,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As `apply` takes it
    Yaml,
    /// For programs
    Json,
}

/// How the answer is wanted.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// How the answer looks
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}
