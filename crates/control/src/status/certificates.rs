//! What is said of certificates, and of listeners that need them.

use api::{
    certificate::{Described, Standing, Worst},
    resource::{Certificate, CertificateStatus, Status, StatusCondition},
    time::rfc3339,
};
use routes::spec::ListenerSpec;

use super::{
    Sight,
    condition::{condition, ready, shown},
};
use crate::key::{CertificatesTold, ResourceKey};

/// The status of a certificate.
pub(super) fn of_certificate(certificate: &Certificate, sight: Sight<'_>) -> Status {
    let name = format!("{}/{}", certificate.metadata.namespace, certificate.metadata.name);
    let certificates = &sight.picture.certificates;
    let resource = ResourceKey::Certificate(name.as_str().into());
    let live =
        certificates.wire(&name).map(|wire| sight.distribution.live(&resource, wire.version));
    let of_loading = match (certificates.problem(&name), live) {
        (None, Some(live)) => ready(&resource, live, sight),
        (problem, live) => {
            let problem = problem.unwrap_or("it has not been read yet");
            let stays = if live.is_some() { "; what was loaded last stays" } else { "" };
            condition("Ready", false, "NotLoaded", format!("{problem}{stays}"))
        }
    };
    let mut conditions = vec![of_loading];
    let mut told = None;
    if let Some((described, worst)) = certificates.described(&name) {
        conditions.extend(worst.and_then(|worst| of_standing(described, worst)));
        told = shown_of(described);
    }
    let generation = certificates.generation(&name);
    let live = live.map(|live| shown(live, generation));
    Status { conditions, certificate: told, live, ..Status::default() }
}

fn of_standing(described: &Described, Worst { place, standing }: Worst) -> Option<StatusCondition> {
    let facts = &described.facts()[place];
    let (who, consequence) = (described.called(place), described.consequence(place));
    let (from, until) = (rfc3339(facts.not_before), rfc3339(facts.not_after));
    Some(match standing {
        Standing::Good => return None,
        Standing::Expiring => {
            condition("Expiring", true, "Expiring", format!("{who} expires at {until}"))
        }
        Standing::Expired => {
            let message = format!("{who} expired at {until}: {consequence}");
            condition("Expired", true, "Expired", message)
        }
        Standing::NotYet => {
            let message = format!("{who} is good from {from} on: {consequence} until then");
            condition("Valid", false, "NotYetValid", message)
        }
    })
}

fn shown_of(described: &Described) -> Option<CertificateStatus> {
    let first = described.facts().first()?;
    Some(CertificateStatus {
        subject: first.subject.clone(),
        names: first.names.clone(),
        not_before: rfc3339(first.not_before),
        not_after: rfc3339(described.good_until()?),
        fingerprint: first.fingerprint.clone(),
    })
}

/// Whether the certificates that a listener names are there; nothing of a listener in the clear.
pub(super) fn resolved(listener: &ListenerSpec, sight: Sight<'_>) -> Option<StatusCondition> {
    let tls = listener.ends_tls()?;
    let authorities = tls.clients.iter().flat_map(|clients| &clients.authorities);
    let mut named = tls.certificates.iter().chain(authorities);
    Some(match named.find_map(|name| missing(name, sight)) {
        None => condition("ResolvedRefs", true, "ResolvedRefs", String::new()),
        Some(problem) => condition("ResolvedRefs", false, "InvalidCertificateRef", problem),
    })
}

/// Why a certificate is not there that is named.
pub(super) fn missing(name: &str, sight: Sight<'_>) -> Option<String> {
    let certificates = &sight.picture.certificates;
    let shown = name.strip_prefix("default/").unwrap_or(name);
    match (certificates.wire(name), certificates.problem(name)) {
        (Some(_), _) => None,
        (None, Some(problem)) => Some(format!("Certificate {shown} is not loaded: {problem}")),
        (None, None) => Some(format!("there is no Certificate {shown}")),
    }
}

/// Why none of certificates is there, where some are named.
pub(super) fn none_of(names: &[String], sight: Sight<'_>) -> Option<String> {
    let missing: Vec<String> = names.iter().filter_map(|name| missing(name, sight)).collect();
    (!missing.is_empty() && missing.len() == names.len()).then(|| missing.join("; "))
}

/// Why some process of a gateway cannot serve its listeners in TLS, in words.
pub(super) fn not_told(gateway: &str, sight: Sight<'_>) -> Option<String> {
    let (who, why) = sight.distribution.without_certificates(gateway)?;
    let why = match why {
        CertificatesTold::Told => return None,
        CertificatesTold::NotKnown => "its release serves no TLS: update it",
        CertificatesTold::Overheard => {
            "private keys are not sent over a connection that others can read: run it on the control plane's host, with the \
             join token, or as its user and connected to 127.0.0.1"
        }
    };
    Some(format!("{who} is not told the certificates: {why}"))
}
