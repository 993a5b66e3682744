//! The clients' side: a codec per protocol, TLS in front of them, and what they have in common.

pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod tls;

use std::net::Shutdown;

use telemetry::Role;

use crate::{
    deadlines::HasDeadline as _,
    h1::{request::RequestPolicy, target::PathPolicy},
    limits::{LINGER, LINGER_BYTES_MAX},
    transport::{Connection, Transport as _},
    worker::Worker,
};

/// A gateway is strict with what servers understand differently; a sidecar leaves requests of the mesh as they are.
#[inline]
fn policy(role: Role) -> RequestPolicy {
    match role {
        Role::Gateway => RequestPolicy { path: PathPolicy::Strict, drop_underscored: true },
        Role::SidecarInbound | Role::SidecarOutbound => {
            RequestPolicy { path: PathPolicy::AsWritten, drop_underscored: false }
        }
    }
}

/// Lets the client read an answer that came before its request had ended: closing at once would reset it.
async fn linger(worker: &Worker, connection: &Connection) {
    connection.close_write();
    worker.deadlines.arm(connection.deadline(), LINGER, Shutdown::Both);
    let mut left = LINGER_BYTES_MAX;
    while let Ok(buffer) = connection.receive(&worker.buffers).await {
        let received = buffer.filled().len();
        worker.buffers.give(buffer);
        if received == 0 || received > left {
            break;
        }
        left -= received;
    }
}
