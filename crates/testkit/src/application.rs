//! The test application: an ordinary program, built once, that tests put behind sidecars and gateways.

use std::path::PathBuf;

use anyhow::Result;

use crate::program;

/// What an instrumented application forwards.
pub(crate) const INSTRUMENTED: &str = "baggage,traceparent";

/// The built program; see its source for its arguments.
///
/// # Errors
/// When `rustc` fails.
pub fn program() -> Result<PathBuf> {
    program::build("application", &[])
}
