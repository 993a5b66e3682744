//! What users rely on while things go wrong: lanes switched all the time, instances dying, the control plane gone.
//!
//! Every process is real, every answer of every request is judged. `cargo xtask test` runs these against the release
//! binary at full scale; a plain `cargo test` runs them small.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::print_stderr, reason = "a run of a minute says what it did")]

mod clocks;
mod fleet;
mod instances_killed;
mod partition;
mod planted;
mod restarts;
mod rolling;
mod together;
mod toggle;
