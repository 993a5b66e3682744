//! What the compilers of `lanes` and `routes` say, remembered for as long as it is asked for again: compiling the
//! regular expressions of a thousand lanes takes far longer than the rest of validation.

use std::collections::HashMap;

use lanes::{Group, GroupSpec, group::GroupProblem};
use prost::Message;
use routes::{GatewaySpec, RouteProblem, RouteSpec, Table, language::Languages};

use super::judged::Judged;
use crate::convert::wire;

/// Problems by what was compiled, as it would go to the wire: equal bytes are equal rules.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    groups: Known<Vec<GroupProblem>>,
    routes: Known<Vec<RouteProblem>>,
    meetings: Known<bool>,
    pub(super) certificates: Judged,
    pub(super) languages: Languages,
}

type Known<V> = HashMap<Vec<u8>, Verdict<V>>;

#[derive(Debug)]
struct Verdict<V> {
    verdict: V,
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

    /// Whether some text may be among those of each of `these` regular expressions and of none of `those`.
    pub(super) fn may_meet(&mut self, these: &[&str], those: &[&str]) -> bool {
        let key = format!("{these:?}{those:?}").into_bytes();
        ask(&mut self.meetings, key, || self.languages.may_meet(these, those))
    }

    /// Ends a validation: what it did not ask for is forgotten.
    pub(super) fn forget_unused(&mut self) {
        forget_unused(&mut self.groups);
        forget_unused(&mut self.routes);
        forget_unused(&mut self.meetings);
        self.certificates.forget_unused();
    }
}

fn forget_unused<V>(known: &mut Known<V>) {
    known.retain(|_, verdict| std::mem::take(&mut verdict.is_used));
}

fn ask<V: Clone>(known: &mut Known<V>, key: Vec<u8>, judge: impl FnOnce() -> V) -> V {
    let known = known.entry(key).or_insert_with(|| Verdict { verdict: judge(), is_used: true });
    known.is_used = true;
    known.verdict.clone()
}
