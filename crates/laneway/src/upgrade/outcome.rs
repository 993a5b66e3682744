//! What became of an upgrade, for whoever asked for it: a file in the data directory.

use std::{fs, io, path::Path};

use discovery::snapshot::write_atomically;
use serde::{Deserialize, Serialize};

/// Its name.
const FILE: &str = "upgrade";

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// The process that was asked.
    pub(crate) process: u32,
    /// Tells this outcome from others of the same process.
    pub(crate) number: String,
    /// The one that has its place now.
    pub(crate) successor: Option<u32>,
    /// Why there is none.
    pub(crate) reason: Option<String>,
}

impl Outcome {
    /// Of an upgrade of this process.
    pub(crate) fn of_this_process(successor: Option<u32>, reason: Option<String>) -> Self {
        let number = uuid::Uuid::new_v4().to_string();
        Self { process: std::process::id(), number, successor, reason }
    }

    /// Tells it. Where the disk takes nothing the log alone says it.
    pub(crate) fn tell(&self, data: &Path) {
        let written = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|text| write_atomically(&data.join(FILE), &text));
        if let Err(error) = written {
            tracing::warn!(%error, "what became of the upgrade cannot be written");
        }
    }

    /// What became of the upgrade of a process, if that is known.
    pub(crate) fn read(data: &Path, process: u32) -> Option<Self> {
        let text = fs::read(data.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok().filter(|outcome: &Self| outcome.process == process)
    }
}
