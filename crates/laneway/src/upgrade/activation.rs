//! Listening sockets that systemd hands over (socket activation): it has them before this process is there and after it has
//! gone, so that whoever connects meanwhile waits, and is not refused.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use listenfd::ListenFd;
use proxy::{Inherited, ListeningSocket};
use socket2::SockRef;

use crate::config::{BadSettings, SettingProblem};

/// All of them; none where this process was not started so. Where there are some, `listen`, as `gateway-listen` names it, is to
/// be one of them: else the two places say different things, and callers of the others would wait for nobody. That is a wrong
/// setting ([`BadSettings`]).
pub(crate) fn sockets(listen: SocketAddr) -> anyhow::Result<Inherited> {
    let mut handed = ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..handed.len() {
        let taken = handed.take_tcp_listener(index).context("take over what systemd hands over");
        let Some(socket) = taken.context(REMEDY)? else { continue };
        let asked = socket.local_addr().context("what systemd hands over")?;
        if !SockRef::from(&socket).is_listener()? {
            bail!("systemd hands over a connection of {asked}, and no listening socket: {REMEDY}");
        }
        all.push(ListeningSocket { asked, socket: socket.into(), is_kept: true });
    }
    if !all.is_empty() && all.iter().all(|it: &ListeningSocket| it.asked != listen) {
        let asked: Vec<_> = all.iter().map(|it| it.asked.to_string()).collect();
        return Err(BadSettings(vec![SettingProblem {
            key: "gateway-listen".to_owned(),
            value: listen.to_string(),
            origin: String::new(),
            remedy: format!(
                "systemd hands over sockets at {}: let LANEWAY_GATEWAY_LISTEN be one of them, as ListenStream= says",
                asked.join(", ")
            ),
            may_pass: false,
        }])
        .into());
    }
    Inherited::new(all).context("take over what systemd hands over")
}

/// What sockets of a gateway are.
const REMEDY: &str =
    "the socket unit of a gateway has ListenStream= with an address and port, and Accept=no";
