//! What the matches of routes ask, by the same rules as the conditions of lanes.

use lanes::{
    Fault, Problem,
    condition::{Condition, Operator, Parameter},
};
use routes::{
    RouteKind, RouteSpec,
    spec::{MatchSpec, NamedSpec, PathSpec, TextSpec},
};

use super::{Checked, Place};
use crate::validate::Severity;

impl Checked<'_> {
    /// Checks every match of a route.
    pub(in crate::validate) fn check_route(&mut self, route: &RouteSpec) {
        for (index, rule) in route.rules.iter().enumerate() {
            for (number, written) in rule.matches.iter().enumerate() {
                let at = format!("spec.rules[{index}].matches[{number}]");
                // Path and method of a call are made of what else a GRPCRoute says.
                if route.kind == RouteKind::Http {
                    self.check_target(written, &at);
                }
                self.check_fields(written, &at);
            }
        }
    }

    fn check_target(&mut self, written: &MatchSpec, at: &str) {
        // Other paths are judged by who compiles them.
        if let PathSpec::Regex(pattern) = &written.path {
            let operator = Operator::Regex(pattern.clone());
            let condition = Condition { parameter: Parameter::Path, operator };
            self.check_condition(&condition, &place(format!("{at}.path"), "", "value"));
        }
        if let Some(method) = &written.method {
            let operator = Operator::Equal(method.clone());
            let condition = Condition { parameter: Parameter::Method, operator };
            self.check_condition(&condition, &place(at.to_owned(), "", "method"));
        }
    }

    fn check_fields(&mut self, written: &MatchSpec, at: &str) {
        let of_header = |name: &str| Parameter::Header(name.to_ascii_lowercase());
        self.check_named(&written.headers, &format!("{at}.headers"), of_header);
        let of_query = |name: &str| Parameter::Query(name.to_owned());
        self.check_named(&written.query, &format!("{at}.queryParams"), of_query);
    }

    fn check_named(&mut self, all: &[NamedSpec], at: &str, parameter: impl Fn(&str) -> Parameter) {
        for (index, written) in all.iter().enumerate() {
            let at = format!("{at}[{index}]");
            let own = parameter(&written.name);
            let first = all[..index].iter().position(|earlier| parameter(&earlier.name) == own);
            if let Some(first) = first {
                let remedy =
                    format!("take it out: of several with one name the first counts, [{first}]");
                let problem = Problem::new(format!("{at}.name"), &written.name, remedy);
                self.report.warning(&self.object, problem.of(Fault::NotUnique));
                continue;
            }
            if let Parameter::Query(_) = own {
                self.check_query(&written.value, &at);
                continue;
            }
            let operator = match &written.value {
                TextSpec::Exact(text) => Operator::Equal(text.clone()),
                TextSpec::Regex(pattern) => Operator::Regex(pattern.clone()),
            };
            let condition = Condition { parameter: own, operator };
            self.check_condition(&condition, &place(at, &written.name, "value"));
        }
    }

    /// Unlike conditions, routes compare what a query says with the white space around it: it may be anything.
    fn check_query(&mut self, value: &TextSpec, at: &str) {
        if let TextSpec::Regex(pattern) = value
            && !self.known.may_meet(&[pattern], &[])
        {
            let remedy = "write a regular expression that some text matches";
            let problem = Problem::new(format!("{at}.value"), pattern, remedy);
            self.tell(false, Severity::Error, problem);
        }
    }
}

fn place<'w>(at: String, name: &'w str, value: &'static str) -> Place<'w> {
    Place { at, name: ("name", name), value, is_of_lane: false }
}
