//! Listeners of a gateway that come and go with what is published.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use routes::spec::ListenerSpec;
use socket2::SockRef;
use telemetry::Role;

use super::Gateway;
use crate::{listen, threads::Thread};

/// How often a port that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Ports of a Gateway that are bound beside those the process was told. Where none of its own ports is named by
/// a listener, they stand in for the first listener's port ([`routes::Table::listener`]), which stays unbound:
/// `--gateway-listen 127.0.0.1:9000` is meant instead of what the Gateway says, not beside it.
fn further_ports(listeners: &[ListenerSpec], own_ports: &[u16]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    let stood_in = match ports.iter().any(|port| own_ports.contains(port)) {
        true => None,
        false => ports.first().copied(),
    };
    ports.retain(|port| Some(*port) != stood_in && !own_ports.contains(port));
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Binds further ports of the published Gateway as they appear, and leaves those that are gone.
pub(super) async fn follow(thread: Rc<Thread<Gateway>>) {
    let mut pictures = thread.worker.pictures();
    loop {
        pictures.mark_unchanged();
        if thread.worker.draining.get() {
            return;
        }
        let changed = if settle(&thread) {
            pictures.changed().await
        } else {
            tokio::time::timeout(BIND_AGAIN, pictures.changed()).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Has a thread listen where the latest picture says; whether it does everywhere.
pub(super) fn settle(thread: &Rc<Thread<Gateway>>) -> bool {
    let own = thread.own_addresses();
    let Some(ip) = own.first().map(SocketAddr::ip) else { return true };
    let own_ports: Vec<u16> = own.iter().map(SocketAddr::port).collect();
    let picture = thread.worker.picture();
    let wanted = further_ports(picture.routes.listeners(), &own_ports);
    drop(picture);
    thread.remove(|port| !own_ports.contains(&port) && !wanted.contains(&port));
    let all_bound = bind(thread, ip, &wanted);
    if thread.is_first() {
        let bound: Vec<u16> = thread.addresses().iter().map(SocketAddr::port).collect();
        thread.serve.unbound.retain(|port| wanted.contains(&port) && !bound.contains(&port));
    }
    all_bound
}

/// Binds what is not bound yet; whether all is. A failure is logged once, and told for as long as it lasts.
fn bind(thread: &Rc<Thread<Gateway>>, ip: IpAddr, wanted: &[u16]) -> bool {
    let bound: Vec<u16> = thread.addresses().iter().map(SocketAddr::port).collect();
    let mut all_bound = true;
    for port in wanted.iter().filter(|port| !bound.contains(port)) {
        let address = SocketAddr::new(ip, *port);
        match listen_at(thread, address) {
            Ok(()) => {
                if thread.is_first() {
                    tracing::info!(%address, "listening");
                }
            }
            Err(error) => {
                all_bound = false;
                if thread.is_first() && thread.serve.unbound.failed(*port, &error) {
                    tracing::warn!(%error, "a listener of the Gateway is not served; trying again");
                }
            }
        }
    }
    all_bound
}

/// Listens at one further address: on the sockets that are there, else on a new one.
fn listen_at(thread: &Rc<Thread<Gateway>>, address: SocketAddr) -> io::Result<()> {
    let (serve, timeouts) = (&thread.serve, &thread.worker.timeouts);
    let mut sockets = serve.inherited.share(address, thread.index(), serve.workers)?;
    for socket in &sockets {
        listen::notice_vanished(&SockRef::from(socket), timeouts.body)?;
    }
    if sockets.is_empty() {
        sockets.push(listen::bind_one(address, timeouts)?);
    }
    sockets.into_iter().try_for_each(|socket| thread.listen(socket, address, Role::Gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listeners: &[u16], own: &[u16], further: &[u16]) {
        let listeners: Vec<_> = listeners
            .iter()
            .map(|port| ListenerSpec {
                name: format!("port-{port}"),
                port: *port,
                hostname: None,
                trusted: false,
                trusted_hops: 0,
                merge_slashes: true,
                http2: false,
                tls: None,
            })
            .collect();
        assert_eq!(further_ports(&listeners, own), further, "{listeners:?} beside {own:?}");
    }

    #[test]
    fn ports_of_the_gateway_are_bound_beside_its_own_but_for_the_one_that_is_stood_in() {
        check(&[8000], &[8000], &[]);
        check(&[8000, 8443], &[8000], &[8443]);
        check(&[8443, 8000], &[8000], &[8443]);
        check(&[8000], &[9000], &[]);
        check(&[8000, 8443, 8443], &[9000], &[8443]);
        check(&[], &[9000], &[]);
    }
}
