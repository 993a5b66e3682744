//! `laneway sample-application`: one application of the sample scenario. Hidden: it serves the demo and tests.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;
use hyper::Uri;

use super::output;
use crate::sample::{self, Application};

/// The arguments of `laneway sample-application`.
#[derive(Debug, Args)]
pub(crate) struct SampleApplication {
    /// What it calls itself; it answers /NAME in lower case
    #[arg(long)]
    name: String,
    /// Its version, printed behind its name
    #[arg(long, default_value = "")]
    tag: String,
    /// Printed as [config=…]
    #[arg(long)]
    app_config: Option<String>,
    /// Where it listens
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Whom it calls before it answers
    #[arg(long, value_name = "URL")]
    next: Option<Uri>,
    /// The HTTP proxy it calls through
    #[arg(long, value_name = "ADDR")]
    proxy: Option<SocketAddr>,
}

/// Serves until it is stopped.
pub(crate) async fn run(verb: SampleApplication) -> anyhow::Result<ExitCode> {
    let SampleApplication { name, tag, app_config: config, listen, next, proxy } = verb;
    let application = Application { name, tag, config, listen, next, proxy };
    sample::serve(application, |address| output::listening("application", address)).await?;
    Ok(ExitCode::SUCCESS)
}
