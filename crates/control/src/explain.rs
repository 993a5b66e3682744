//! Why a request goes where it goes, hop by hop, by the very functions that route it.
//!
//! The request enters at a gateway's listener as its client sent it. What the applications behind send each other
//! is not known; each hop is asked with the first request's parameters and the lane context carried so far.

use std::{net::IpAddr, sync::Arc};

use api::rest::{ExplainHop, ExplainRequest, ExplainResponse, ExplainStep};
use lanes::{
    Context, Entrance, Explanation, Problem, Request, Service, ServiceId, Snapshot,
    baggage::{self, Incoming},
    choose::Outcome,
    directory::NameAnswer,
};
use routes::{Found, Table, spec::ListenerSpec, table::Rule};

use crate::picture::Picture;

mod request;

use request::Explained;

/// Services of one explained request. A real chain has tens at most.
const HOPS_MAX: usize = 64;

/// What explaining needs of the picture, taken at one moment.
#[derive(Debug)]
pub struct Moment {
    snapshot: Snapshot,
    table: Table,
    /// What the services of the path mean, in order.
    meanings: Vec<(String, NameAnswer)>,
}

impl Moment {
    /// Takes what a request needs.
    pub fn of(picture: &Picture, wanted: &ExplainRequest) -> Result<Self, Problem> {
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
        let routes: Vec<routes::RouteSpec> = picture.routing.routes().cloned().collect();
        let (table, _) = Table::compile(Some(gateway), &routes);
        let meaning = |name: &String| (name.clone(), picture.services.name(&name.to_lowercase()));
        Ok(Self {
            snapshot: picture.snapshot(),
            table,
            meanings: wanted.path.iter().map(meaning).collect(),
        })
    }

    /// Explains a request. `random` draws for ratio lanes without a key, for backends and for instances.
    pub fn explain(
        &self,
        wanted: &ExplainRequest,
        random: &mut impl FnMut() -> [u8; 16],
    ) -> Result<ExplainResponse, Problem> {
        let mut request = Explained::read(wanted, &self.table)?;
        let mut response = ExplainResponse::default();
        let Some((index, listener)) = self.listener(&request) else {
            response.routing.push(format!(
                "no listener of gateway {} takes host {}: 404",
                wanted.gateway,
                request.host()
            ));
            return Ok(response);
        };
        request.trust(listener);
        response.listener = listener.name.clone();
        response.trusted = listener.trusted;
        let rule = match self.table.find(index, &request) {
            Found::Rule { rule, .. } => rule,
            Found::NoListener | Found::NoRoute => {
                response.routing.push(format!(
                    "no route at listener {} matches {} {}{}: 404",
                    listener.name,
                    request.method(),
                    request.host(),
                    request.path()
                ));
                return Ok(response);
            }
        };
        response.route = rule.route.clone();
        response.routing.push(format!("rule {} of route {} matches", rule.index, rule.route));
        let context = self.enter(wanted, &request, rule, random, &mut response);
        if rule.redirect.is_some() {
            response.routing.push("the route answers with a redirect: nobody is called".to_owned());
            return Ok(response);
        }
        let backend = backend(rule, random, &mut response.routing);
        self.hops(backend, &request, context, random, &mut response);
        Ok(response)
    }

    fn listener(&self, request: &Explained) -> Option<(usize, &ListenerSpec)> {
        let index = self.table.listener(request.port(), request.host())?;
        Some((index, self.table.listeners().get(index)?))
    }

    /// The decision at the gateway.
    fn enter(
        &self,
        wanted: &ExplainRequest,
        request: &Explained,
        rule: &Rule,
        random: &mut impl FnMut() -> [u8; 16],
        response: &mut ExplainResponse,
    ) -> Context {
        let mut context = match response.trusted {
            true => Context::read(&self.snapshot, request.baggage()),
            false => Context::default(),
        };
        let entrance =
            Entrance::Gateway { gateway: &wanted.gateway, route: Some(rule.route_name.as_str()) };
        let mut told = Explanation::default();
        self.snapshot.enter(entrance, request, random, &mut context, &mut told);
        response.entrance = told.steps.into_iter().map(ExplainStep::from).collect();
        let policy = if response.trusted { Incoming::Keep } else { Incoming::Strip };
        let mut carried = Vec::new();
        baggage::write(&self.snapshot, &context, request.baggage(), policy, &mut carried);
        response.baggage = String::from_utf8_lossy(&carried).into_owned();
        context
    }

    fn hops(
        &self,
        backend: Option<ServiceId>,
        request: &Explained,
        mut context: Context,
        random: &mut impl FnMut() -> [u8; 16],
        response: &mut ExplainResponse,
    ) {
        if self.meanings.is_empty() {
            let Some(id) = backend else { return };
            let name = self.service(&id).map_or_else(|| id.to_string(), |it| it.name().to_string());
            let hop = self.hop(&name, &id, request, &mut context, random);
            response.hops.push(hop);
            return;
        }
        for (index, (name, meaning)) in self.meanings.iter().enumerate() {
            // The first hop is the route's: its Backend says which service of that name is meant.
            let of_route =
                backend.as_ref().filter(|id| index == 0 && id.name() == name.to_lowercase());
            if index == 0 && of_route.is_none() {
                let goes = backend.as_ref().map_or("nobody".to_owned(), ServiceId::to_string);
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
            let hop = self.hop(name, id, request, &mut context, random);
            let ends = !hop.problem.is_empty();
            response.hops.push(hop);
            if ends {
                break;
            }
        }
    }

    fn hop(
        &self,
        name: &str,
        id: &ServiceId,
        request: &Explained,
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
        let chosen = self.snapshot.choose(context, service, None, &(), ticket(random), &mut told);
        let mut hop = ExplainHop {
            service: name.to_owned(),
            application: service.application().to_string(),
            ..ExplainHop::default()
        };
        match chosen {
            Ok(choice) => {
                hop.outcome = match choice.outcome {
                    Outcome::Lane => "lane",
                    Outcome::Fallback => "fallback",
                    Outcome::Base => "base",
                }
                .to_owned();
                hop.endpoint = choice.endpoint.address.to_string();
                hop.tag = choice.endpoint.tag.as_ref().map(ToString::to_string).unwrap_or_default();
                self.arrive(service.application(), request, context, random, &mut told);
            }
            Err(nobody) => {
                hop.outcome = "failed".to_owned();
                hop.problem = nobody.to_string();
            }
        }
        hop.steps = told.steps.into_iter().map(ExplainStep::from).collect();
        hop
    }

    /// What the sidecar of an application that is an entrance decides for the requests that arrive there.
    fn arrive(
        &self,
        application: &str,
        request: &Explained,
        context: &mut Context,
        random: &mut impl FnMut() -> [u8; 16],
        told: &mut Explanation,
    ) {
        if let Some(entrance) = self.snapshot.application_entrance(application) {
            if entrance.edge {
                *context = Context::default();
            }
            let entrance = Entrance::Application(application);
            self.snapshot.enter(entrance, request, random, context, told);
        }
    }

    fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.snapshot.directory().service(id)
    }
}

/// The backend a rule's weights draw, and what is said of it.
fn backend(
    rule: &Rule,
    random: &mut impl FnMut() -> [u8; 16],
    routing: &mut Vec<String>,
) -> Option<ServiceId> {
    let Some(drawn) = rule.backend(ticket(random)) else {
        routing.push("the rule has no backend with a weight: 500".to_owned());
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
            Some(id.clone())
        }
        Err(problem) => {
            routing.push(format!("the backend{share} does not resolve: {problem}: 500"));
            None
        }
    }
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

/// An address as the request's client has it.
fn client_address(text: Option<&str>) -> Result<IpAddr, Problem> {
    let text = text.unwrap_or("127.0.0.1");
    text.parse().map_err(|_| Problem::new("clientIp", text, "write an IP address without port"))
}
