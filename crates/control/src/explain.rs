//! Why a request goes where it goes, hop by hop, by the very functions that route it.
//!
//! The request enters at a gateway's listener as its client sent it, and goes on as the route changes it. What the
//! applications behind send each other is not known; each hop is asked with what the gateway sends and the lane
//! context carried so far.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use api::{
    rest::{ExplainHop, ExplainRequest, ExplainResponse, ExplainStep, InstancePort},
    validate::Reported,
};
use lanes::{
    AddressLookup, Affinity, Context, Endpoint, Entrance, Explanation, Problem, Request, Service,
    ServiceId, Snapshot,
    choose::{Choice, Outcome},
    directory::NameAnswer,
    service::{Port, Protocol},
};
use routes::{
    Backend, Edits, Found, GatewaySpec, RouteSpec, Table,
    entrance::{self, Decided, Head as _, Name, Policy, TextHead, Written},
    spec::ListenerSpec,
    table::Rule,
};

use crate::hub::Hub;

mod arrival;
mod passed;
mod reach;
mod request;

use arrival::Deciding;
use reach::{Caller, Reports, Unreachable};
use request::Arriving;

/// Services of one explained request. A real chain has tens at most.
const HOPS_MAX: usize = 64;

/// What explaining needs of the picture, taken at one moment.
#[derive(Debug)]
pub(crate) struct Moment {
    snapshot: Snapshot,
    gateway: GatewaySpec,
    routes: Vec<RouteSpec>,
    table: Table,
    /// What the services of the path mean, in order.
    meanings: Vec<(String, NameAnswer)>,
    /// What entrances do not believe of clients besides the trace headers.
    reported: Arc<Reported>,
    /// Where applications decide.
    deciding: Deciding,
    /// Whom those who call cannot connect to.
    reports: Reports,
    /// `namespace/name` of the certificates that are there.
    certificates: BTreeSet<String>,
}

impl Moment {
    /// Takes what a request needs.
    pub(crate) fn of(hub: &Hub, wanted: &ExplainRequest) -> Result<Self, Problem> {
        let picture = hub.picture();
        let gateway = picture.routing.gateways().find(|gateway| gateway.name == wanted.gateway);
        let Some(gateway) = gateway else {
            let known: Vec<&str> =
                picture.routing.gateways().map(|gateway| gateway.name.as_str()).collect();
            let remedy = format!("use one of {}", known.join(", "));
            return Err(Problem::new("gateway", &wanted.gateway, remedy));
        };
        if wanted.path.len() > HOPS_MAX {
            let remedy = format!("name at most {HOPS_MAX} services");
            return Err(Problem::new("path", wanted.path.len().to_string(), remedy));
        }
        if let Some(at) = wanted.path.iter().position(String::is_empty) {
            return Err(Problem::new(format!("path[{at}]"), "", "name a service"));
        }
        let gateway = gateway.clone();
        let routes: Vec<RouteSpec> = picture.routing.routes().cloned().collect();
        let (table, _) = Table::compile(Some(&gateway), &routes);
        let meaning = |name: &String| (name.clone(), picture.services.name(&name.to_lowercase()));
        let snapshot = picture.snapshot();
        Ok(Self {
            deciding: Deciding::of(hub, &snapshot),
            reports: Reports::of(hub),
            snapshot,
            gateway,
            routes,
            table,
            meanings: wanted.path.iter().map(meaning).collect(),
            reported: hub.reported(),
            certificates: (picture.certificates.all())
                .filter(|(_, name)| picture.certificates.wire(name).is_some())
                .map(|(_, name)| name.to_owned())
                .collect(),
        })
    }

    /// Explains a request. `random` draws for ratio lanes without a key, for backends and for instances.
    pub(crate) fn explain(
        &self,
        wanted: &ExplainRequest,
        random: &mut impl FnMut() -> [u8; 16],
    ) -> Result<ExplainResponse, Problem> {
        let Arriving { mut head, port, peer } = Arriving::read(wanted, &self.table)?;
        let mut response = ExplainResponse::default();
        let Some((index, listener)) = self.listener(port, head.host()) else {
            response.routing.push(format!(
                "no listener of gateway {} takes host {}: 404",
                wanted.gateway,
                head.host()
            ));
            return Ok(response);
        };
        response.listener = listener.name.clone();
        if listener.passes_tls() {
            self.pass(wanted, index, head.host(), random, &mut response);
            return Ok(response);
        }
        response.trusted = listener.trusted;
        let policy = Policy::of_listener(listener, self.reported.of_gateway(&wanted.gateway));
        let believed = entrance::believe(&mut head, peer, policy);
        let seen = believed.seen(&head);
        let (rule, matched_bytes) = match self.table.find(index, &seen) {
            Found::Rule { rule, matched_bytes } => (rule, matched_bytes),
            Found::NoListener | Found::NoRoute => {
                response.routing.push(format!(
                    "no route at listener {} matches {} {}{}: 404",
                    listener.name,
                    seen.method(),
                    seen.host(),
                    seen.path()
                ));
                response.routing.extend(self.barred(index, seen.host()));
                return Ok(response);
            }
        };
        response.route = rule.route.clone();
        response.routing.push(format!("rule {} of route {} matches", rule.index, rule.route));
        let mut context = policy.context(&self.snapshot, &head);
        let at = Entrance::Gateway { gateway: &wanted.gateway, route: Some(&rule.route_name) };
        let mut told = Explanation::default();
        let affinity = self.snapshot.enter(at, &seen, random, &mut context, &mut told);
        response.entrance = told.steps.into_iter().map(ExplainStep::from).collect();
        if rule.redirect.is_none() {
            response.routing.extend(issued(&affinity, listener));
        }
        let (backend, edits) = if rule.redirect.is_some() {
            response.routing.push("the route answers with a redirect: nobody is called".to_owned());
            (None, Edits::NONE)
        } else {
            let drawn = backend(rule, random, "500", &mut response.routing);
            match drawn.filter(|(_, backend)| self.is_believed(backend, &mut response.routing)) {
                Some((id, backend)) => (Some(id), Edits::of(rule, backend, matched_bytes)),
                None => (None, Edits::NONE),
            }
        };
        let mut written = Written::default();
        let decided = Decided { snapshot: &self.snapshot, context: &context, peer };
        let service = backend.map(|id| id.name()).unwrap_or_default();
        edits.send_on(&mut head, policy, decided, service, &mut *random, &mut written);
        let carried = written.value(Name::Baggage).unwrap_or_default();
        response.baggage = String::from_utf8_lossy(carried).into_owned();
        if rule.redirect.is_none() {
            let mut sent = head.sent(&written, &edits);
            entrance::drop_hop_by_hop(&mut sent);
            let gateway = Caller::gateway(&wanted.gateway);
            self.hops(gateway, backend, &sent, context, random, &mut response);
        }
        Ok(response)
    }

    /// Whether instances of a backend can be believed at all, where they speak TLS; and what is said of that.
    fn is_believed(&self, backend: &Backend, routing: &mut Vec<String>) -> bool {
        let Some(tls) = &backend.tls else { return true };
        let named = tls.certificates();
        let (there, absent): (Vec<&String>, Vec<&String>) =
            named.iter().partition(|name| self.certificates.contains(*name));
        let joined = |names: &[&String]| {
            let shown = names.iter().map(|name| name.strip_prefix("default/").unwrap_or(name));
            shown.collect::<Vec<_>>().join(", ")
        };
        if !named.is_empty() && there.is_empty() {
            routing.push(format!(
                "its instances speak TLS, and none of the authorities that they are verified by is there (Certificate {}): 500",
                joined(&absent)
            ));
            return false;
        }
        let version = if backend.http2 { "HTTP/2" } else { "HTTP/1.1" };
        let by = match there.is_empty() {
            true => "whoever the gateway's host believes".to_owned(),
            false => format!("Certificate {}", joined(&there)),
        };
        let names = match tls.names.is_empty() {
            true => tls.hostname.clone(),
            false => tls.names.join(" or "),
        };
        routing.push(format!(
            "its instances are asked in TLS ({version}) for {}, and must be {names} by {by}: else 502",
            tls.hostname
        ));
        true
    }

    /// Which routes would take a host's requests at a listener, were it not another kind's.
    fn barred(&self, listener: usize, host: &str) -> impl Iterator<Item = String> {
        let overlaps = routes::overlaps(&self.gateway, &self.routes).into_iter();
        let here = overlaps.filter(move |it| it.listener == listener && it.takes(host));
        here.map(|it| {
            format!(
                "route {} does not stand there: route {}, of another kind, is older and has host names of it",
                it.route.key(),
                it.older.key()
            )
        })
    }

    fn listener(&self, port: u16, host: &str) -> Option<(usize, &ListenerSpec)> {
        let index = self.table.listener(port, host)?;
        Some((index, self.table.listeners().get(index)?))
    }

    fn hops(
        &self,
        mut caller: Caller,
        backend: Option<&ServiceId>,
        sent: &TextHead<'_>,
        mut context: Context,
        random: &mut impl FnMut() -> [u8; 16],
        response: &mut ExplainResponse,
    ) {
        if self.meanings.is_empty() {
            let Some(id) = backend else { return };
            let name = self.service(id).map_or_else(|| id.to_string(), |it| it.name().to_string());
            response.hops.push(self.hop(&caller, (&name, id), sent, &mut context, random));
            return;
        }
        for (index, (name, meaning)) in self.meanings.iter().enumerate() {
            // The first hop is the route's: its Backend says which service of that name is meant.
            let of_route = backend.filter(|id| index == 0 && id.name() == name.to_lowercase());
            if index == 0 && of_route.is_none() {
                let goes = backend.map_or("nobody".to_owned(), ServiceId::to_string);
                let note = format!("the route goes to {goes}; {name} is asked as the path says");
                response.routing.push(note);
            }
            let id = match (of_route, meaning) {
                (Some(id), _) | (None, NameAnswer::Service(id)) => id,
                (None, NameAnswer::Absent) => {
                    response.hops.push(failed(name, format!("no source has a service {name}")));
                    break;
                }
                (None, NameAnswer::Ambiguous(sources)) => {
                    let sources = sources.join(", ");
                    let problem = format!(
                        "{name} is in several sources ({sources}): write a Backend for the one that is meant"
                    );
                    response.hops.push(failed(name, problem));
                    break;
                }
            };
            let hop = self.hop(&caller, (name, id), sent, &mut context, random);
            caller = Caller::instance(&hop.application, &hop.tag);
            let ends = !hop.problem.is_empty() || !hop.unknown.is_empty();
            response.hops.push(hop);
            if ends {
                break;
            }
        }
    }

    fn hop(
        &self,
        caller: &Caller,
        (name, id): (&str, &ServiceId),
        sent: &TextHead<'_>,
        context: &mut Context,
        random: &mut impl FnMut() -> [u8; 16],
    ) -> ExplainHop {
        let Some(service) = self.service(id) else {
            return failed(
                name,
                format!("no usable base instance of {name}: source has no service {id}"),
            );
        };
        let mut told = Explanation::default();
        let (none, ticket) = (Unreachable::default(), ticket(random));
        let reach = self.reports.of_caller(caller).unwrap_or(&none);
        let chosen = self.snapshot.choose(context, service, None, reach, ticket, &mut told);
        reach.tell(caller, &mut told);
        let mut hop = ExplainHop {
            service: name.to_owned(),
            application: service.application().to_string(),
            ..ExplainHop::default()
        };
        match chosen {
            Ok(choice) if choice.endpoint.port.protocol == Protocol::Tcp => {
                hop.outcome = "failed".to_owned();
                hop.port = self.port(service, choice.endpoint);
                hop.problem = format!(
                    "{} has it at a port of protocol tcp: no request in HTTP is handed to it",
                    choice.endpoint.address
                );
            }
            Ok(choice) => {
                self.serves(service, &choice, &mut hop);
                let application = service.application();
                if !self.arrive(application, choice.endpoint, sent, context, random, &mut told) {
                    hop.unknown = format!(
                        "what {application} decides depends on clientIp, which is the address it is called from there: which one that is, is not known here"
                    );
                }
            }
            Err(nobody) => {
                hop.outcome = "failed".to_owned();
                hop.problem = nobody.to_string();
            }
        }
        hop.steps = told.steps.into_iter().map(ExplainStep::from).collect();
        hop
    }

    /// Tells who serves a hop.
    fn serves(&self, service: &Service, choice: &Choice<'_>, hop: &mut ExplainHop) {
        hop.outcome = match choice.outcome {
            Outcome::Lane => "lane",
            Outcome::Fallback => "fallback",
            Outcome::Base => "base",
        }
        .to_owned();
        hop.endpoint = choice.endpoint.address.to_string();
        hop.port = self.port(service, choice.endpoint);
        hop.tag = choice.endpoint.tag.as_ref().map(ToString::to_string).unwrap_or_default();
    }

    /// At which port of its application an instance is called, where that is not the only one or does not speak HTTP.
    fn port(&self, service: &Service, endpoint: &Endpoint) -> Option<InstancePort> {
        let is_usual = match self.snapshot.directory().by_address(endpoint.address) {
            AddressLookup::Known(ids) => ids.len() < 2 && endpoint.port == Port::default(),
            _ => endpoint.port == Port::default(),
        };
        (!is_usual).then(|| InstancePort::of(service, endpoint))
    }

    /// What the sidecar of an application that is an entrance decides for the requests that arrive there; `false` where
    /// that cannot be known.
    fn arrive(
        &self,
        application: &str,
        endpoint: &Endpoint,
        sent: &TextHead<'_>,
        context: &mut Context,
        random: &mut impl FnMut() -> [u8; 16],
        told: &mut Explanation,
    ) -> bool {
        let Some(entrance) = self.snapshot.application_entrance(application) else { return true };
        if !self.deciding.at(application, endpoint) {
            arrival::tell_nobody(&self.snapshot, application, context, told);
            return true;
        }
        if entrance.edge {
            *context = Context::default();
        }
        let caller = arrival::caller_of(endpoint.address);
        if caller.is_none() && arrival::caller_matters(&self.snapshot, application, context) {
            return false;
        }
        let mut head = sent.clone();
        let correlation = self.reported.of_application(application);
        let policy = Policy::of_application(entrance.edge, correlation);
        let peer = caller.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let seen = entrance::believe(&mut head, peer, policy).seen(&head);
        let at = Entrance::Application(application);
        self.snapshot.enter(at, &seen, random, context, told);
        true
    }

    fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.snapshot.directory().service(id)
    }
}

/// The backend a rule's weights draw, with its service, and what is said of it; `refused` is what a client gets where there
/// is none.
fn backend<'t>(
    rule: &'t Rule,
    random: &mut impl FnMut() -> [u8; 16],
    refused: &str,
    routing: &mut Vec<String>,
) -> Option<(&'t ServiceId, &'t Backend)> {
    let Some(drawn) = rule.backend(ticket(random)) else {
        routing.push(format!("the rule has no backend with a weight: {refused}"));
        return None;
    };
    let total: u64 = rule.backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let share = match rule.backends.len() {
        1 => String::new(),
        several => format!(", drawn with weight {} of {total} among {several}", drawn.weight),
    };
    match &drawn.service {
        Ok(id) => {
            routing.push(format!("backend {id}{share}"));
            Some((id, drawn))
        }
        Err(problem) => {
            routing.push(format!("the backend{share} does not resolve: {problem}: {refused}"));
            None
        }
    }
}

/// What a gateway sets with the answer, so that a browser whose place was drawn stays there.
fn issued<'a>(
    affinity: &'a Affinity,
    listener: &'a ListenerSpec,
) -> impl Iterator<Item = String> + 'a {
    let is_secured = listener.ends_tls().is_some();
    affinity.issued.iter().flat_map(|issued| issued.cookies()).map(move |cookie| {
        let shown = cookie.set_cookie("(drawn for each)", is_secured);
        let unless = match cookie.issue.on_public_answers {
            true => "",
            false => ", unless it is one that everybody may keep (Cache-Control: public, s-maxage)",
        };
        format!("the answer sets cookie {shown}{unless}")
    })
}

fn failed(name: &str, problem: String) -> ExplainHop {
    ExplainHop {
        service: name.to_owned(),
        outcome: "failed".to_owned(),
        problem,
        ..ExplainHop::default()
    }
}

fn ticket(random: &mut impl FnMut() -> [u8; 16]) -> u64 {
    lanes::hash::hash(&random())
}

#[cfg(test)]
mod tests;
