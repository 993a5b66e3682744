//! Certificates that are named, wherever they are.

use lanes::Problem;

use crate::resource::{CertificateRef, Kind};

/// `namespace/name` of certificates that an object of this kind and namespace names.
pub(super) fn names(
    at: &str,
    references: &[CertificateRef],
    of: (Kind, &str),
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let named = references.iter().enumerate().filter_map(|(index, reference)| {
        let name = name(reference, of);
        name.map_err(|problem| problems.push(problem.under(&format!("{at}[{index}]")))).ok()
    });
    named.collect()
}

/// `namespace/name` of a certificate that is named, or why it cannot be, relative to the reference.
fn name(written: &CertificateRef, (kind_of, own): (Kind, &str)) -> Result<String, Problem> {
    let (group, kind) =
        (written.group.as_deref().unwrap_or(""), written.kind.as_deref().unwrap_or("Secret"));
    if (group, kind) != (Kind::Certificate.group(), Kind::Certificate.name()) {
        let shown = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
        let remedy = match (group, kind) {
            ("", "Secret" | "ConfigMap") => {
                "write group: laneway.io and kind: Certificate (Secrets and ConfigMaps are Kubernetes'; `laneway certificate add NAME --cert FILE --key FILE` makes a Certificate)"
            }
            _ => "write group: laneway.io and kind: Certificate",
        };
        return Err(Problem::new("kind", shown, remedy));
    }
    if let Some(namespace) = written.namespace.as_deref().filter(|namespace| *namespace != own) {
        let remedy = format!(
            "use a Certificate of the {kind_of}'s own namespace: grants between namespaces are not supported by this version"
        );
        return Err(Problem::new("namespace", namespace, remedy));
    }
    Ok(format!("{own}/{}", written.name))
}
