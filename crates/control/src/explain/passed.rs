//! A connection in TLS that a gateway does not end: where it goes by the name that its client asks for. Nothing else of it is
//! known, and nothing of the hops behind.

use api::rest::{ExplainHop, ExplainRequest, ExplainResponse, ExplainStep};
use lanes::{Context, Explanation, ServiceId};
use routes::Found;

use super::{
    Moment, backend, failed,
    reach::{Caller, Unreachable},
    ticket,
};

/// What becomes of a connection that nobody has.
const REFUSED: &str = "the connection is refused";

impl Moment {
    /// Explains a connection that a listener passes on.
    pub(super) fn pass(
        &self,
        wanted: &ExplainRequest,
        listener: usize,
        server_name: &str,
        random: &mut impl FnMut() -> [u8; 16],
        response: &mut ExplainResponse,
    ) {
        response.passes_tls = true;
        let Found::Rule { rule, .. } = self.table.find_by_server_name(listener, server_name) else {
            response.routing.push(format!(
                "no route at listener {} has the name that the client asks for, {server_name}: {REFUSED}",
                response.listener
            ));
            return;
        };
        response.route = rule.route.clone();
        response.routing.push(format!(
            "passed by SNI, {server_name}, by route {}: unread, and so in no lane",
            rule.route
        ));
        let drawn = backend(rule, random, REFUSED, &mut response.routing);
        if !wanted.path.is_empty() {
            let note = "what is called behind is not known here: nothing of the request is read";
            response.routing.push(note.to_owned());
        }
        if let Some((id, _)) = drawn {
            let caller = Caller::gateway(&wanted.gateway);
            response.hops.push(self.passed_to(&caller, id, random));
        }
    }

    fn passed_to(
        &self,
        caller: &Caller,
        id: &ServiceId,
        random: &mut impl FnMut() -> [u8; 16],
    ) -> ExplainHop {
        let Some(service) = self.service(id) else {
            return failed(&id.to_string(), format!("no source has a service {id}"));
        };
        let mut told = Explanation::default();
        let none = Unreachable::default();
        let reach = self.reports.of_caller(caller).unwrap_or(&none);
        let (base, ticket) = (Context::default(), ticket(random));
        let chosen = self.snapshot.choose(&base, service, None, reach, ticket, &mut told);
        reach.tell(caller, &mut told);
        let mut hop = ExplainHop {
            service: service.name().to_string(),
            application: service.application().to_string(),
            ..ExplainHop::default()
        };
        match chosen {
            Ok(choice) => self.serves(service, &choice, &mut hop),
            Err(nobody) => {
                hop.outcome = "failed".to_owned();
                hop.problem = nobody.to_string();
            }
        }
        hop.steps = told.steps.into_iter().map(ExplainStep::from).collect();
        hop
    }
}
