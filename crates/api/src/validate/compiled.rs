//! What the compilers of `lanes` and `routes` say, remembered for as long as it is asked for again: compiling the
//! regular expressions of a thousand lanes takes far longer than the rest of validation.

use std::collections::HashMap;

use lanes::{Group, GroupSpec, group::GroupProblem};
use prost::Message;
use routes::{GatewaySpec, RouteProblem, RouteSpec, Table};

use crate::convert::wire;

/// Problems by what was compiled, as it would go to the wire: equal bytes are equal rules.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    groups: Known<GroupProblem>,
    routes: Known<RouteProblem>,
}

type Known<P> = HashMap<Vec<u8>, Verdict<P>>;

#[derive(Debug)]
struct Verdict<P> {
    problems: Vec<P>,
    is_used: bool,
}

impl Compiled {
    /// The problems of a group.
    pub(super) fn group(&mut self, spec: GroupSpec) -> Vec<GroupProblem> {
        let key = wire::group_to(&spec).encode_to_vec();
        ask(&mut self.groups, key, || Group::compile(spec).err().unwrap_or_default())
    }

    /// The problems of a route at a gateway.
    pub(super) fn route(&mut self, gateway: &GatewaySpec, route: &RouteSpec) -> Vec<RouteProblem> {
        let mut key = wire::gateway_to(gateway).encode_length_delimited_to_vec();
        key.extend(wire::route_to(route).encode_to_vec());
        ask(&mut self.routes, key, || Table::compile(Some(gateway), std::slice::from_ref(route)).1)
    }

    /// Ends a validation: what it did not ask for is forgotten.
    pub(super) fn forget_unused(&mut self) {
        forget_unused(&mut self.groups);
        forget_unused(&mut self.routes);
    }
}

fn forget_unused<P>(known: &mut Known<P>) {
    known.retain(|_, verdict| std::mem::take(&mut verdict.is_used));
}

fn ask<P: Clone>(known: &mut Known<P>, key: Vec<u8>, compile: impl FnOnce() -> Vec<P>) -> Vec<P> {
    let verdict =
        known.entry(key).or_insert_with(|| Verdict { problems: compile(), is_used: true });
    verdict.is_used = true;
    verdict.problems.clone()
}
