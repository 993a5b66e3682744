//! `laneway gateway`.

use std::process::ExitCode;

use crate::{cli::Settings, config, logging};

/// Runs the role until a signal.
pub(crate) fn run(settings: Settings<config::Gateway>) -> anyhow::Result<ExitCode> {
    let process = &settings.now.process;
    logging::start(&process.log_level, process.log_format);
    anyhow::bail!("not available yet: {settings:?}")
}
