//! One process of a data plane takes the place of another without a connection refused or cut.
//!
//! On SIGUSR2 the one that serves starts what is now at its own path, with its own arguments, and lends it what cannot be
//! there twice: the listening sockets, the lock of the data directory, the name of its registration. They talk over a
//! socket that is the new one's standard input:
//!
//! | who | says | when |
//! |---|---|---|
//! | old | [`Message::Sockets`], [`Message::Admin`], [`Message::Place`] | at once, with the files |
//! | new | [`Message::Prepared`] | its settings are right; nothing of the old one is touched before |
//! | old | [`Message::Begin`] | it follows its control plane under another name |
//! | new | [`Message::Registers`] | it knows all, and has all it needs; only a sidecar |
//! | old | [`Message::Begin`] | it no longer keeps its registration |
//! | new | [`Message::Ready`] | it serves from here on, on the same sockets |
//! | new | [`Message::Failed`] | instead of any, or the socket ends: the old one takes its place again |
//!
//! Until the last the old one alone accepts, and from then on the new one alone; the old one finishes what it has begun.

pub(crate) mod activation;
mod channel;
pub(crate) mod outcome;
pub(crate) mod predecessor;
pub(crate) mod successor;
pub(crate) mod supervisor;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Tells a process who started it to take its place: a process number.
pub(crate) const VARIABLE: &str = "LANEWAY_PREDECESSOR";

/// How long the new process may take until it serves, all in all. It waits a second for its control plane at most; the rest
/// is for a machine in trouble.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What passes between the two.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Message {
    /// Listening sockets of the proxy, with as many files: where the settings name them.
    Sockets {
        asked: Vec<SocketAddr>,
        /// Those of them that a supervisor keeps; releases before knew of none.
        #[serde(default)]
        kept: Vec<SocketAddr>,
    },
    /// That of the admin address, with its file.
    Admin {
        asked: SocketAddr,
    },
    /// The data directory, with its lock where there is one; the name by which an instance is registered.
    /// What the new process must come to as well: the control plane is connected, the instance is registered.
    Place {
        data: PathBuf,
        registration: Option<String>,
        is_connected: bool,
        is_registered: bool,
        captures: bool,
    },
    Prepared,
    Begin,
    Registers,
    /// Whether redirect rules are in force for it.
    Ready {
        captures: bool,
    },
    Failed {
        reason: String,
    },
}
