//! Connections in TLS that are not ended here: a route says by the name that a client asks for who has one, and it is passed
//! on as it is. Nothing in it tells of a lane: the base has it.

use std::{net::SocketAddr, rc::Rc};

use lanes::ServiceId;
use routes::Found;
use smallvec::SmallVec;

use crate::{
    downstream::tls::{Greeting, Refused, refuse},
    ejection::Trouble,
    limits::ATTEMPTS_MAX,
    published::Published,
    transport::Connection,
    unread::{
        Protocol, UnreadCalls,
        instances::{Reached, base_of, connect_to_one_of, pass_through},
    },
    worker::Worker,
};

/// Passes a connection on, from the first byte that its client sent.
pub(super) async fn pass(
    worker: &Worker,
    connection: Rc<Connection>,
    port: u16,
    greeting: Greeting,
    passed: &UnreadCalls,
) {
    let Greeting { server_name, received } = greeting;
    let asked = server_name.as_deref();
    let why = match service_for(worker, &worker.picture(), port, asked) {
        Err(why) => why,
        Ok(service) => {
            let one_of = |tried: &[SocketAddr]| instance_of(worker, &service, tried);
            match connect_to_one_of(worker, one_of(&[]), one_of).await {
                Some((instance, opened)) => {
                    count(worker, &service, passed);
                    let opened = Some((opened, Default::default()));
                    return pass_through(worker, connection, instance, opened, received).await;
                }
                None => Refused::NoInstance(format!("no usable base instance of {service}")),
            }
        }
    };
    let peer = connection.peer;
    match &why {
        Refused::UnknownName => {
            tracing::debug!(%peer, port, asked, "no route has the name that a client asks for");
        }
        Refused::NoInstance(reason) => {
            tracing::warn!(%peer, port, asked, reason, "nobody is there to whom TLS is passed on");
        }
    }
    refuse(worker, &connection, why).await;
}

fn count(worker: &Worker, service: &ServiceId, passed: &UnreadCalls) {
    let picture = worker.picture();
    let known = picture.lanes.directory().service(service);
    passed.count(known.map_or(service.name(), |it| it.name()), Protocol::Tls);
}

/// The service that has a client's connection by the name that it asks for.
fn service_for(
    worker: &Worker,
    picture: &Published,
    port: u16,
    asked: Option<&str>,
) -> Result<ServiceId, Refused> {
    let (routes, name) = (&picture.routes, asked.unwrap_or_default());
    let listener = routes.listener(port, name).ok_or(Refused::UnknownName)?;
    let Found::Rule { rule, .. } = routes.find_by_server_name(listener, name) else {
        return Err(Refused::UnknownName);
    };
    let none = || Refused::NoInstance(format!("route {}: all of its backends weigh 0", rule.route));
    let backend = rule.backend(worker.ticket()).ok_or_else(none)?;
    let unresolved = |why| Refused::NoInstance(format!("route {}: {why}", rule.route));
    backend.service.clone().map_err(unresolved)
}

/// An instance of the base that was not `tried`, at its application's own port: what is before it reads HTTP.
fn instance_of(worker: &Worker, service: &ServiceId, tried: &[SocketAddr]) -> Option<Reached> {
    let picture = worker.picture();
    let service = picture.lanes.directory().service(service)?;
    let mut tried: SmallVec<[SocketAddr; ATTEMPTS_MAX]> = tried.into();
    loop {
        let base = base_of(worker, &picture, service, None, &tried)?;
        let trouble = match base.application_address {
            Some(_) => Trouble::NobodyAtPort,
            None => Trouble::Unreachable,
        };
        let addresses = base.application_addresses_like(None);
        if !addresses.is_empty() {
            return Some(Reached { instance: base.address, addresses, trouble: Some(trouble) });
        }
        // Its application listens on its own host alone. Requests reach it by its sidecar: it is not put aside.
        if tried.contains(&base.address) {
            return None;
        }
        tried.push(base.address);
    }
}
