//! Listening sockets that systemd hands over (socket activation): it has them before this process is there and after it has
//! gone, so that whoever connects meanwhile waits, and is not refused.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use listenfd::ListenFd;
use proxy::{Inherited, ListeningSocket};
use socket2::SockRef;

/// All of them; none where this process was not started so. The one at the port of `listen`, as `gateway-listen` names it, is
/// to be at that address, too: else the two places say different things.
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
        if asked.port() == listen.port() && asked != listen {
            bail!(
                "gateway-listen: it says `{listen}`, and systemd hands over a socket at `{asked}`: let LANEWAY_GATEWAY_LISTEN and \
                 ListenStream= name the same address"
            );
        }
        all.push(ListeningSocket { asked, socket: socket.into(), is_kept: true });
    }
    Inherited::new(all).context("take over what systemd hands over")
}

/// What sockets of a gateway are.
const REMEDY: &str =
    "the socket unit of a gateway has ListenStream= with an address and port, and Accept=no";
