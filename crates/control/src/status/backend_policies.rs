//! What is said of policies for Backends in TLS.

use api::{
    convert::routes as convert,
    resource::{BackendTlsPolicy, Key, Object, Status, StatusCondition},
};

use super::{Sight, certificates, condition::condition};

/// The status of a policy.
pub(super) fn of_policy(policy: &BackendTlsPolicy, sight: Sight<'_>) -> Status {
    let names = convert::upstream_tls(policy).map(|tls| tls.certificates().to_vec());
    let names = names.unwrap_or_default();
    let missing: Vec<String> =
        names.iter().filter_map(|name| certificates::missing(name, sight)).collect();
    let mut accepted = of_targets(policy, sight);
    if accepted.status == "True"
        && let Some(missing) = certificates::none_of(&names, sight)
    {
        accepted = condition("Accepted", false, "NoValidCACertificate", missing);
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
    let in_the_clear = convert::targets(policy).find(
        |target| matches!(set.get(target), Some(Object::Backend(it)) if !it.spec.speaks_tls()),
    );
    match (absent.first(), older, in_the_clear) {
        (_, Some(older), _) => condition("Accepted", false, "Conflicted", older),
        (Some(absent), None, _) => {
            condition("Accepted", false, "TargetNotFound", format!("there is no {absent}"))
        }
        (None, None, Some(backend)) => {
            let message = format!("the instances of {backend} are asked in the clear");
            condition("Accepted", false, "TargetNotInTls", message)
        }
        (None, None, None) => condition("Accepted", true, "Accepted", String::new()),
    }
}
