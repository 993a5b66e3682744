//! What a gateway does with a request: trust, route, lane, filters, backend.

use std::{net::IpAddr, sync::Arc};

use lanes::Entrance;
use routes::{
    Edits, Found,
    entrance::{self, CorrelationHeaders, Decided, Head, Policy, Written},
    spec::ListenerSpec,
};
use telemetry::{Count, Role};
use tokio::sync::watch;

use crate::{
    affinity::Owed,
    downstream::tls::Agreed,
    error::Kind,
    plan::{CONNECT, NoPlan, Plan, Protocol, Target},
    published::Published,
    tls::shown::{Reach, Shown},
    worker::Worker,
};

/// What of the gateway's settings a decision needs.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) correlation: CorrelationHeaders,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) peer: IpAddr,
    pub(super) port: u16,
    /// In TLS.
    pub(super) secured: Option<&'a Secured>,
}

/// What a connection in TLS was made for.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) agreed: Agreed,
    pub(super) shown: Arc<watch::Sender<Arc<Shown>>>,
}

impl Secured {
    /// Whether a host may be asked for: the one it was made for, and those that show the same certificate, as long as
    /// they ask no more of clients than was asked of this one.
    fn may_ask_for(
        &self,
        picture: &Published,
        port: u16,
        (host, spec): (&str, &ListenerSpec),
    ) -> Result<(), Kind> {
        let asked = self.agreed.server_name.as_deref();
        if !self.satisfies(picture, spec) {
            // Was it so from the beginning?
            let own = picture.routes.listener(port, asked.unwrap_or_default());
            let own = own.map(|own| &picture.routes.listeners()[own]);
            return Err(match own {
                Some(own) if self.satisfies(picture, own) => Kind::Misdirected,
                _ => Kind::Outdated,
            });
        }
        if asked == Some(host) {
            return Ok(());
        }
        match self.shown.borrow().reach(port, (asked, &self.agreed.met), host) {
            Reach::Within => Ok(()),
            Reach::Beyond => Err(Kind::Misdirected),
            Reach::Unknown => Err(Kind::Outdated),
        }
    }

    /// Whether the client proved as much as a listener asks for by now.
    fn satisfies(&self, picture: &Published, spec: &ListenerSpec) -> bool {
        spec.ends_tls().is_some_and(|tls| {
            self.agreed.version >= tls.minimum
                && self.agreed.met.satisfies(tls.clients.as_ref(), picture)
        })
    }
}

/// Plans a request.
pub(super) fn plan<'p, 'b>(
    worker: &Worker,
    identity: &Identity,
    picture: &'p Published,
    arrival: Arrival<'_>,
    head: &mut impl Head<'b>,
    written: &mut Written,
) -> Result<Plan<'p>, NoPlan> {
    if head.method() == CONNECT {
        return Err(Kind::ConnectMethod.into());
    }
    let listener =
        picture.routes.listener(arrival.port, head.host()).ok_or_else(|| no_listener(picture))?;
    let spec = &picture.routes.listeners()[listener];
    match arrival.secured {
        Some(secured) => secured.may_ask_for(picture, arrival.port, (head.host(), spec))?,
        None if spec.tls.is_some() => return Err(Kind::Outdated.into()),
        None => {}
    }
    let policy = Policy::of_listener(spec, &identity.correlation);
    let seen = entrance::believe(head, arrival.peer, policy).seen(&*head);

    let (rule, matched_bytes) = match picture.routes.find(listener, &seen) {
        Found::Rule { rule, matched_bytes } => (rule, matched_bytes),
        Found::NoListener | Found::NoRoute => return Err(Kind::NoRoute.into()),
    };
    let mut context = policy.context(&picture.lanes, &*head);
    if context.unknown_tags > 0 {
        worker.recorder.count(Count::UnknownTag);
    }
    let entrance = Entrance::Gateway { gateway: &identity.name, route: Some(&rule.route_name) };
    let carried = context.clone();
    let mut random = || worker.random_bytes();
    let affinity = picture.lanes.enter(entrance, &seen, &mut random, &mut context, &mut ());
    worker.account.entered(&picture.lanes, carried.members(), &context);

    if let Some(redirect) = &rule.redirect {
        let mut location = Vec::new();
        redirect.write_location(spec.scheme(), spec.port, &seen, matched_bytes, &mut location);
        return Err(NoPlan::Redirect { status: redirect.status, location });
    }
    let backend = rule
        .backend(worker.ticket())
        .ok_or_else(|| Kind::NoBackend("it has none, or all weigh 0".to_owned()))?;
    let id = backend.service.as_ref().map_err(|why| Kind::NoBackend(why.clone()))?;
    let service =
        picture.lanes.directory().service(id).ok_or_else(|| Kind::NoService(id.to_string()))?;

    let protocol =
        Protocol::of(backend, |tls| worker.tls.believed.id_of(tls, &picture.certificates))
            .map_err(Kind::NoBackend)?;
    let edits = Edits::of(rule, backend, matched_bytes);
    let decided = Decided { snapshot: &picture.lanes, context: &context, peer: arrival.peer };
    let random = || worker.random_bytes();
    edits.send_on(head, policy, decided, service.name(), random, written);
    worker.via.write(head, id, written)?;
    Ok(Plan {
        role: Role::Gateway,
        target: Target::Service { service, context, caller_pick: None },
        protocol: Some(protocol),
        edits,
        owed: Owed::new(affinity, arrival.secured.is_some()),
        counted_as: ("", ""),
        route: Some(&rule.route_name),
        member: None,
        outcome: None,
        remembered: None,
        unreachable: None,
        request_timeout_ms: rule.request_timeout_ms,
        backend_timeout_ms: rule.backend_timeout_ms,
    })
}

/// Without any listener there is no picture yet: that is no answer to what was asked for.
#[cold]
fn no_listener(picture: &Published) -> Kind {
    if picture.routes.listeners().is_empty() { Kind::NoConfiguration } else { Kind::NoRoute }
}
