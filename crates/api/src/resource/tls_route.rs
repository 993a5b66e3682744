//! `TLSRoute` of the Gateway API: the fields Laneway honours. Every other field is refused, not ignored.

use lanes::{Fault, Problem};
use serde::{Deserialize, Serialize};

use super::{
    BackendRef, Describe, Metadata, ParentRef, Status,
    route::{cell_of_backends, cell_of_gateways, cell_of_hosts},
};

/// Rules that a TLSRoute has: its host names are all that it goes by.
const RULES: usize = 1;

/// Backends of its rule at most, as the Gateway API has it.
const BACKENDS_MAX: usize = 16;

/// Routes of connections in TLS that are not ended at the gateway, by the name that their clients ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TLSRouteSpec)]
pub struct TlsRouteSpec {
    /// The gateways it attaches to, at listeners of protocol `TLS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub parent_refs: Vec<ParentRef>,
    /// The names that clients ask for (SNI): exact, or `*.suffix`; at least one.
    #[serde(default)]
    #[schema(min_items = 1)]
    pub hostnames: Vec<String>,
    /// Exactly one.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 1)]
    pub rules: Vec<TlsRouteRule>,
}

/// Its rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TLSRouteRule)]
pub struct TlsRouteRule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who has the connections, by weight: Backends that speak TLS themselves.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 16)]
    pub backend_refs: Vec<BackendRef>,
}

impl Describe for TlsRouteSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["GATEWAYS", "HOSTS", "BACKENDS"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let backends = self.rules.iter().flat_map(|rule| &rule.backend_refs);
        vec![
            cell_of_gateways(&self.parent_refs),
            cell_of_hosts(&self.hostnames),
            cell_of_backends(backends),
        ]
    }

    fn problems(&self, _: &Metadata) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.hostnames.is_empty() {
            let remedy = "name the hosts that clients ask for, e.g. [db.example.com]: nothing else of a connection tells where it is to go";
            problems.push(Problem::new("spec.hostnames", "[]", remedy).of(Fault::Missing));
        }
        if self.rules.len() != RULES {
            let remedy = "write one rule: host names are of the whole route, so that another would never have a connection";
            problems.push(Problem::new("spec.rules", self.rules.len().to_string(), remedy));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("spec.rules[{index}].backendRefs");
            if rule.backend_refs.is_empty() {
                let remedy = "name a Backend: [{group: laneway.io, kind: Backend, name: NAME}]";
                problems.push(Problem::new(&at, "[]", remedy).of(Fault::Missing));
            }
            let count = rule.backend_refs.len();
            if count > BACKENDS_MAX {
                let remedy = format!("name at most {BACKENDS_MAX}");
                let problem = Problem::new(&at, count.to_string(), remedy);
                problems.push(problem.of(Fault::TooMany(count)));
            }
            for (number, backend) in rule.backend_refs.iter().enumerate() {
                if !backend.filters.is_empty() {
                    let remedy = "take it out: what passes in TLS cannot be read, nor changed";
                    problems.push(Problem::new(format!("{at}[{number}].filters"), "", remedy));
                }
            }
        }
        problems
    }
}
