//! What gateway and sidecar share: who they are to the control plane, and what they report to it.

use std::{net::SocketAddr, time::Duration};

use api::discovery::v1;
use proxy::ejection::UnreachableBoard;
use tokio::{sync::watch, task::JoinHandle};

use super::process::Process;
use crate::{
    config::checked::Connect,
    publish::{Identity, Publishing},
};

/// How often instances that cannot be reached are looked up for the report: as often as heartbeats, for people.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The file in the data directory that keeps the last good picture.
const SNAPSHOT_FILE: &str = "snapshot";

/// What a data plane is.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) role: v1::Role,
    /// The Gateway's name, or the application.
    pub(crate) name: &'a str,
    pub(crate) tag: Option<&'a str>,
    /// Where it answers, for people.
    pub(crate) admin: SocketAddr,
    /// In one process with its control plane.
    pub(crate) beside_control_plane: bool,
}

/// Starts to follow the control plane; returns when there is a picture, or none is to be had for now.
pub(crate) async fn follow(
    process: &Process,
    connect: &Connect,
    about: About<'_>,
) -> anyhow::Result<Publishing> {
    let hello = v1::Hello {
        node: process.data.node()?,
        role: about.role.into(),
        name: about.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: Vec::new(),
        held: Vec::new(),
        address: about.admin.to_string(),
        join_token: connect.join_token.clone().unwrap_or_default(),
        tag: about.tag.unwrap_or_default().to_owned(),
    };
    let snapshot = process.data.file(SNAPSHOT_FILE);
    let identity = Identity { control: connect.control.clone(), hello, snapshot };
    let publishing = Publishing::start(identity).await;
    let state = publishing.state.clone();
    let beside_control_plane = about.beside_control_plane;
    process.metrics.collect_from(move |samples| {
        let state = state.borrow();
        state.sample(samples);
        if !beside_control_plane {
            state.sample_generation(samples);
        }
    });
    Ok(publishing)
}

/// Tells the control plane which instances a proxy cannot reach, whenever that changes.
pub(crate) fn report(
    board: UnreachableBoard,
    unreachable: watch::Sender<Vec<String>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(REPORT_EVERY).await;
            let now: Vec<_> = board.unreachable().iter().map(ToString::to_string).collect();
            unreachable.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    })
}
