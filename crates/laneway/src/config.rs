//! Settings of the roles. Two forms: [`raw`] as the operator wrote them, [`checked`] as a role runs with them.
//!
//! A setting is written as a flag, an environment variable or a key of the YAML file that `--config` names; the
//! first of these that says something wins, else the default. All of it is declared once, in [`raw`]: flags,
//! variables, keys, defaults and explanations of `docs/reference/settings.md` are read from there.

pub(crate) mod checked;
mod file;
pub(crate) mod log_level;
pub(crate) mod raw;
#[cfg(test)]
mod reference;

use std::{collections::BTreeMap, fmt};

pub(crate) use checked::{Control, Gateway, Port, Serve, Sidecar, configuration, default_data};
pub(crate) use file::{FileValues, Known};

/// One setting that cannot be used, in words that name key, value and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingProblem {
    /// The setting's key, which is also its flag without dashes.
    pub(crate) key: String,
    /// What was written; empty where something is missing.
    pub(crate) value: String,
    /// Where it was written: a flag, a variable, a file.
    pub(crate) origin: String,
    /// What would be right.
    pub(crate) remedy: String,
    /// Whether the same may be right a little later: a name that nobody resolves now.
    pub(crate) may_pass: bool,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, origin, remedy, may_pass: _ } = self;
        write!(f, "{key}: `{value}`")?;
        if !origin.is_empty() {
            write!(f, " (from {origin})")?;
        }
        write!(f, ": {remedy}")
    }
}

/// Settings that cannot be used: every problem, not the first. The process exits with 64, unless all of it may pass.
#[derive(Debug)]
pub(crate) struct BadSettings(pub(crate) Vec<SettingProblem>);

impl BadSettings {
    /// Whether the same settings may be right a little later, so that whoever starts the process may try again.
    pub(crate) fn may_pass(&self) -> bool {
        self.0.iter().all(|problem| problem.may_pass)
    }
}

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for BadSettings {}

/// Where each setting was written, by key.
pub(crate) type Origins = BTreeMap<String, String>;
