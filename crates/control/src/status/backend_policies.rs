//! What is said of policies for Backends in TLS.

use api::{
    convert::routes as convert,
    resource::{BackendTlsPolicy, Key, Status, StatusCondition},
};

use super::{Sight, certificates, condition::condition};

/// The status of a policy.
pub(super) fn of_policy(policy: &BackendTlsPolicy, sight: Sight<'_>) -> Status {
    let names = convert::upstream_tls(policy).map(|tls| tls.certificates().to_vec());
    let names = names.unwrap_or_default();
    let missing: Vec<String> =
        names.iter().filter_map(|name| certificates::missing(name, sight)).collect();
    let none_is_there = !names.is_empty() && missing.len() == names.len();
    let mut accepted = of_targets(policy, sight);
    if accepted.status == "True" && none_is_there {
        accepted = condition("Accepted", false, "NoValidCACertificate", missing.join("; "));
    }
    let resolved = match missing.is_empty() {
        true => condition("ResolvedRefs", true, "ResolvedRefs", String::new()),
        false => condition("ResolvedRefs", false, "InvalidCACertificateRef", missing.join("; ")),
    };
    Status { conditions: vec![accepted, resolved], ..Status::default() }
}

/// Whether it counts for all Backends that it names.
fn of_targets(policy: &BackendTlsPolicy, sight: Sight<'_>) -> StatusCondition {
    let set = sight.picture.set();
    let absent: Vec<Key> =
        convert::targets(policy).filter(|target| set.get(target).is_none()).collect();
    let older = convert::targets(policy).find_map(|target| {
        let counts = convert::policy_of(&target, set).map(BackendTlsPolicy::key)?;
        (counts != policy.key()).then(|| format!("for {target} counts {counts}, which is older"))
    });
    match (absent.first(), older) {
        (_, Some(older)) => condition("Accepted", false, "Conflicted", older),
        (Some(absent), None) => {
            condition("Accepted", false, "TargetNotFound", format!("there is no {absent}"))
        }
        (None, None) => condition("Accepted", true, "Accepted", String::new()),
    }
}
