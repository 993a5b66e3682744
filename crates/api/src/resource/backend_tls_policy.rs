//! `BackendTLSPolicy`, as the Gateway API writes it: whom gateways believe that they speak to in TLS.

use std::collections::BTreeMap;

use lanes::{Fault, Problem};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::{CertificateRef, Describe, Metadata, Status};

/// Backends, certificates and names that one policy may name: the Gateway API's own limits.
const TARGETS_MAX: usize = 16;
const CERTIFICATES_MAX: usize = 8;
const NAMES_MAX: usize = 5;

/// How the instances of Backends are verified that speak TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTlsPolicySpec {
    /// The Backends, of the policy's own namespace and of protocol `https` or `h2`. Of two policies for one Backend the
    /// older counts.
    #[schema(min_items = 1, max_items = 16)]
    pub(crate) target_refs: Vec<PolicyTarget>,
    /// Whose certificate is believed.
    pub validation: ValidationOfBackends,
    /// None is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub options: BTreeMap<String, String>,
}

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTarget {
    /// `laneway.io`.
    pub group: String,
    /// `Backend`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A part of it. A Backend has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) section_name: Option<String>,
}

/// Whose certificate is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationOfBackends {
    /// Certificates of which the authorities sign those of instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 8)]
    pub ca_certificate_refs: Vec<CertificateRef>,
    /// Instead: the authorities that the gateway's host believes.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub(crate) well_known_ca_certificates: Option<WellKnown>,
    /// The name that instances are asked for (SNI), and that their certificate covers unless `subjectAltNames` says others.
    pub hostname: String,
    /// Names of which the certificate covers one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 5)]
    pub(crate) subject_alt_names: Vec<SubjectAltName>,
}

/// Authorities that need not be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = WellKnownAuthorities)]
pub enum WellKnown {
    /// Those of the gateway's host.
    System,
}

/// A name that a certificate may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubjectAltName {
    /// Which of the fields says it.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// A host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A URI. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// What sort of name a certificate may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum SubjectAltNameType {
    /// A host name.
    Hostname,
    /// A URI. Not supported by this version.
    #[serde(rename = "URI")]
    Uri,
}

impl Describe for BackendTlsPolicySpec {
    const IS_DISTRIBUTED: bool = false;
    const COLUMNS: &'static [&'static str] = &["BACKENDS", "HOSTNAME", "ACCEPTED"];

    fn cells(&self, _: &Metadata, status: Option<&Status>) -> Vec<String> {
        let targets: Vec<&str> =
            self.target_refs.iter().map(|target| target.name.as_str()).collect();
        let bad = status.iter().flat_map(|status| &status.conditions).find(|it| it.is_bad());
        let accepted = match bad {
            Some(bad) => bad.reason.clone(),
            None => status.map(|_| "yes".to_owned()).unwrap_or_default(),
        };
        vec![targets.join(","), self.validation.hostname.clone(), accepted]
    }

    fn problems(&self, _: &Metadata) -> Vec<Problem> {
        let mut problems = self.of_targets();
        let validation = self.validation.problems().into_iter();
        problems.extend(validation.map(|problem| problem.under("spec.validation")));
        for (option, value) in &self.options {
            let problem =
                Problem::new(format!("spec.options.{option}"), value, "unknown option: remove it");
            problems.push(problem.of(Fault::UnknownField));
        }
        problems
    }
}

impl BackendTlsPolicySpec {
    fn of_targets(&self) -> Vec<Problem> {
        const REFS: &str = "spec.targetRefs";
        let mut problems = Vec::new();
        problems.extend(too_many(TARGETS_MAX, self.target_refs.len(), REFS, "Backends"));
        if self.target_refs.is_empty() {
            let remedy = "name a Backend: [{group: laneway.io, kind: Backend, name: NAME}]";
            problems.push(Problem::new(REFS, "[]", remedy).of(Fault::Missing));
        }
        // Of too many the others need not be looked at to say so.
        for (index, target) in self.target_refs.iter().enumerate().take(TARGETS_MAX) {
            let at = format!("{REFS}[{index}]");
            if self.target_refs[..index].contains(target) {
                let problem =
                    Problem::new(format!("{at}.name"), &target.name, "name each Backend once");
                problems.push(problem.of(Fault::NotUnique));
            }
            problems.extend(target.problem().map(|problem| problem.under(&at)));
        }
        problems
    }
}

impl PolicyTarget {
    /// Whether it is a Backend.
    pub(crate) fn is_backend(&self) -> bool {
        use super::Kind::Backend;
        (self.group.as_str(), self.kind.as_str()) == (Backend.group(), Backend.name())
    }

    fn problem(&self) -> Option<Problem> {
        if !self.is_backend() {
            let shown = match self.group.as_str() {
                "" => self.kind.clone(),
                group => format!("{group}/{}", self.kind),
            };
            return Some(Problem::new("kind", shown, "write group: laneway.io and kind: Backend"));
        }
        let section = self.section_name.as_ref()?;
        Some(Problem::new("sectionName", section, "remove it: a Backend has no sections"))
    }
}

impl ValidationOfBackends {
    /// What is wrong with it, relative to it. Certificates that cannot be named are told where they are read.
    fn problems(&self) -> Vec<Problem> {
        const REFS: &str = "caCertificateRefs";
        let mut problems = Vec::new();
        let named = self.ca_certificate_refs.len();
        problems.extend(too_many(CERTIFICATES_MAX, named, REFS, "Certificates"));
        match (self.ca_certificate_refs.is_empty(), self.well_known_ca_certificates) {
            (true, None) => {
                let remedy = "name Certificates with caCertificates: [{group: laneway.io, kind: Certificate, name: NAME}]; or write wellKnownCACertificates: System, for those that the gateway's host believes";
                problems.push(Problem::new(REFS, "[]", remedy).of(Fault::Missing));
            }
            (false, Some(_)) => {
                let remedy = "remove it, or caCertificateRefs: one of both says who is believed";
                problems.push(Problem::new("wellKnownCACertificates", "System", remedy));
            }
            _ => {}
        }
        problems.extend(wrong_name("hostname", &self.hostname));
        let names = &self.subject_alt_names;
        problems.extend(too_many(NAMES_MAX, names.len(), "subjectAltNames", "names"));
        for (index, name) in names.iter().enumerate() {
            let at = format!("subjectAltNames[{index}]");
            problems.extend(name.problem().map(|problem| problem.under(&at)));
        }
        problems
    }
}

impl SubjectAltName {
    fn problem(&self) -> Option<Problem> {
        match (self.kind, &self.hostname, &self.uri) {
            (SubjectAltNameType::Uri, ..) => {
                let remedy = "use Hostname: URIs are not supported by this version";
                Some(Problem::new("type", "URI", remedy))
            }
            (SubjectAltNameType::Hostname, _, Some(uri)) => {
                Some(Problem::new("uri", uri, "remove it: type says Hostname"))
            }
            (SubjectAltNameType::Hostname, None, None) => {
                let remedy = "is missing: write what type names";
                Some(Problem::new("hostname", "", remedy).of(Fault::Missing))
            }
            (SubjectAltNameType::Hostname, Some(name), None) => wrong_name("hostname", name),
        }
    }
}

/// What is wrong with a name that a certificate covers.
fn wrong_name(field: &str, name: &str) -> Option<Problem> {
    let remedy = if name.starts_with("*.") {
        "write a whole host name: certificates may have wildcards, what is asked of them may not"
    } else if ServerName::try_from(name).is_err() {
        "use a host name, e.g. orders.internal"
    } else {
        return None;
    };
    Some(Problem::new(field, name, remedy))
}

fn too_many(most: usize, count: usize, field: &str, what: &str) -> Option<Problem> {
    let problem = || Problem::new(field, format!("{count} {what}"), format!("name at most {most}"));
    (count > most).then(|| problem().of(Fault::TooMany(count)))
}
