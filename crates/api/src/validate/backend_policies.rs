//! Policies for Backends in TLS: what they name, and Backends that have none.

use std::collections::HashMap;

use lanes::{Fault, Problem};

use super::{Report, certificates};
use crate::{
    convert::routes as convert,
    resource::{BackendTlsPolicy, Certificate, EMBEDDED_SOURCE, Key, Kind, Object, Set},
};

pub(super) fn check(set: &Set, report: &mut Report) {
    let mut counting: HashMap<Key, Key> = HashMap::new();
    for policy in set.backend_tls_policies() {
        check_targets(policy, set, &mut counting, report);
        let key = policy.key();
        match convert::upstream_tls(policy) {
            Err(problems) => report.errors(&key, problems),
            Ok(tls) => {
                for (number, name) in tls.certificates().iter().enumerate() {
                    let at = format!("spec.validation.caCertificateRefs[{number}].name");
                    let lacks = Certificate::lacks_authorities;
                    certificates::check_named(&key, name, &at, lacks, set, report);
                }
            }
        }
    }
    for backend in set.backends().filter(|backend| backend.spec.speaks_tls()) {
        let key = backend.key();
        if !counting.contains_key(&key) && !is_only_passed_to(&key, set) {
            report.warning(&key, convert::unverified(backend));
        }
        if backend.spec.source == EMBEDDED_SOURCE {
            let remedy = "name a source of instances that no sidecar is before, e.g. static: sidecars register where they themselves listen, and they read no TLS there";
            report.warning(&key, Problem::new("spec.source", EMBEDDED_SOURCE, remedy));
        }
    }
}

/// Whether all that routes have for a Backend is TLS that goes on as it is: its clients verify who its instances are.
fn is_only_passed_to(backend: &Key, set: &Set) -> bool {
    if set.tls_routes().next().is_none() {
        return false;
    }
    let mut calling = super::in_use::calling(set, backend).peekable();
    calling.peek().is_some() && calling.all(|route| route.kind == Kind::TlsRoute)
}

/// Looks at the Backends of a policy; `counting` has those of older ones, with the policy that counts.
fn check_targets(
    policy: &BackendTlsPolicy,
    set: &Set,
    counting: &mut HashMap<Key, Key>,
    report: &mut Report,
) {
    let key = policy.key();
    let targets = policy.spec.target_refs.iter().enumerate();
    for (index, target) in targets.filter(|(_, target)| target.is_backend()) {
        let target = Key::new(Kind::Backend, key.namespace.as_str(), target.name.as_str());
        let tell =
            |remedy| Problem::new(format!("spec.targetRefs[{index}].name"), &target.name, remedy);
        match set.get(&target) {
            Some(Object::Backend(backend)) if !backend.spec.speaks_tls() => {
                let protocol = &backend.spec.protocol;
                let in_tls = if backend.spec.speaks_http2() { "h2" } else { "https" };
                // On the way to TLS, or back, it may be there before its Backend speaks it, or longer.
                let remedy = format!(
                    "write protocol: {in_tls} in {target}, or take it out here: by its protocol, {protocol}, its instances are asked in the clear"
                );
                report.warning(&key, tell(remedy));
            }
            Some(_) => {}
            None => {
                let remedy = format!("name a Backend: there is no {target}");
                report.warning(&key, tell(remedy).of(Fault::NotFound));
            }
        }
        match counting.get(&target) {
            None => drop(counting.insert(target, key.clone())),
            // Named twice.
            Some(counts) if *counts == key => {}
            Some(older) => {
                let remedy = format!(
                    "name another Backend, or change {older}: it is older, and counts for this one"
                );
                report.conflict(&key, tell(remedy).of(Fault::NotUnique));
            }
        }
    }
}
