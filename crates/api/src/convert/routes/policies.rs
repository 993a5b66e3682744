//! `BackendTLSPolicy`: how the instances of a Backend are spoken to in TLS.

use lanes::{Fault, Problem};
use routes::tls::{Authorities, UpstreamTls};

use super::certificates::names;
use crate::resource::{Backend, BackendTlsPolicy, Describe as _, Key, Kind, Set};

/// What a policy says of the Backends that it is for. Of one with anything wrong in it nothing counts: half of it may believe
/// more than the whole. The error has what is wrong with certificates that it names; what is wrong with it by itself is told
/// where it is read.
pub fn upstream_tls(policy: &BackendTlsPolicy) -> Result<UpstreamTls, Vec<Problem>> {
    let validation = &policy.spec.validation;
    let mut problems = Vec::new();
    let own = (Kind::BackendTlsPolicy, policy.metadata.namespace.as_str());
    let at = "spec.validation.caCertificateRefs";
    let authorities = match validation.well_known_ca_certificates {
        Some(_) => Authorities::System,
        None => Authorities::Certificates(names(
            at,
            &validation.ca_certificate_refs,
            own,
            &mut problems,
        )),
    };
    if !problems.is_empty() || !policy.spec.problems(&policy.metadata).is_empty() {
        return Err(problems);
    }
    let names = validation.subject_alt_names.iter();
    Ok(UpstreamTls {
        hostname: validation.hostname.clone(),
        authorities,
        names: names.filter_map(|name| name.hostname.clone()).collect(),
    })
}

/// The Backends that a policy is for.
pub fn targets(policy: &BackendTlsPolicy) -> impl Iterator<Item = Key> {
    let namespace = policy.metadata.namespace.as_str();
    (policy.spec.target_refs.iter())
        .filter(|target| target.is_backend())
        .map(move |target| Key::new(Kind::Backend, namespace, target.name.as_str()))
}

/// The policy that counts for a Backend: the oldest.
pub fn policy_of<'s>(backend: &Key, set: &'s Set) -> Option<&'s BackendTlsPolicy> {
    set.backend_tls_policies().find(|policy| {
        policy.metadata.namespace == backend.namespace
            && (policy.spec.target_refs.iter())
                .any(|target| target.is_backend() && target.name == backend.name)
    })
}

/// How the instances of a Backend are spoken to in TLS, if they speak it. Without anybody who says whom to believe they are
/// not spoken to: the error says what would be right.
pub(super) fn tls_of(backend: &Backend, set: &Set) -> Result<Option<UpstreamTls>, String> {
    if !backend.spec.speaks_tls() {
        return Ok(None);
    }
    let key = backend.key();
    let policy = policy_of(&key, set).ok_or_else(|| unverified(backend).remedy)?;
    let tls = upstream_tls(policy);
    tls.map(Some).map_err(|_| format!("{} of {key} cannot be used", policy.key()))
}

/// That nothing says how the instances of a Backend are verified.
pub(crate) fn unverified(backend: &Backend) -> Problem {
    let remedy = format!(
        "write a BackendTLSPolicy for {}: nobody says by which name and authorities its instances are verified, and they are not asked until then",
        backend.key()
    );
    Problem::new("spec.protocol", &backend.spec.protocol, remedy).of(Fault::Missing)
}
