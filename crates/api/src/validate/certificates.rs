//! Certificates that are named.

use lanes::{Fault, Problem};
use routes::{GatewaySpec, spec::ListenerSpec};

use super::{Report, judged::Judged};
use crate::resource::{Certificate, Gateway, Key, Kind, LanewayGatewaySpec, Object, Set};

/// What is doubtful or wrong with the certificates that a gateway names.
pub(super) fn check(
    gateway: &Gateway,
    written: &LanewayGatewaySpec,
    spec: &GatewaySpec,
    (set, judged): (&Set, &Judged),
    report: &mut Report,
) {
    let key = gateway.key();
    for (index, (listener, written)) in spec.listeners.iter().zip(&written.listeners).enumerate() {
        let Some(tls) = listener.ends_tls() else { continue };
        let at = format!("spec.listeners[{index}]");
        for (number, name) in tls.certificates.iter().enumerate() {
            let at = format!("{at}.tls.certificateRefs[{number}].name");
            check_named(&key, name, &at, Certificate::lacks_key, set, report);
        }
        let own = written.tls.as_ref().and_then(|tls| tls.frontend_validation.as_ref());
        let validation = match own {
            Some(_) => format!("{at}.tls.frontendValidation"),
            None => "spec.tls.frontend".to_owned(),
        };
        let authorities = tls.clients.iter().flat_map(|clients| &clients.authorities);
        for (number, name) in authorities.enumerate() {
            let at = format!("{validation}.caCertificateRefs[{number}].name");
            check_named(&key, name, &at, Certificate::lacks_authorities, set, report);
        }
        if let Some(problem) = not_covered(listener, &tls.certificates, (set, judged)) {
            report.warning(&key, problem.under(&at));
        }
    }
}

impl Certificate {
    fn lacks_key(&self) -> Option<&'static str> {
        (!self.spec.has_key())
            .then_some("a Certificate with a private key: it has authorities alone")
    }

    pub(super) fn lacks_authorities(&self) -> Option<&'static str> {
        (!self.spec.has_authorities()).then_some("a Certificate with caCertificates: it has none")
    }
}

/// The certificate of `namespace/name`.
pub(super) fn named<'s>(name: &str, set: &'s Set) -> Option<&'s Certificate> {
    let (namespace, name) = name.split_once('/')?;
    match set.get(&Key::new(Kind::Certificate, namespace, name)) {
        Some(Object::Certificate(certificate)) => Some(certificate),
        _ => None,
    }
}

/// What is doubtful or wrong with a certificate that an object names.
pub(super) fn check_named(
    object: &Key,
    name: &str,
    at: &str,
    lacks: impl Fn(&Certificate) -> Option<&'static str>,
    set: &Set,
    report: &mut Report,
) {
    let (namespace, short) = name.split_once('/').unwrap_or_default();
    match named(name, set) {
        None => {
            let key = Key::new(Kind::Certificate, namespace, short);
            let remedy = format!("name a Certificate: there is no {key}");
            report.warning(object, Problem::new(at, short, remedy).of(Fault::NotFound));
        }
        Some(certificate) => {
            if let Some(lacks) = lacks(certificate) {
                report.error(object, Problem::new(at, short, format!("name {lacks}")));
            }
        }
    }
}

/// That none of a listener's certificates covers its host, where all of them can be read here.
fn not_covered(
    listener: &ListenerSpec,
    certificates: &[String],
    (set, judged): (&Set, &Judged),
) -> Option<Problem> {
    let host = listener.hostname.as_deref()?;
    let mut told: Vec<&str> = Vec::new();
    for name in certificates {
        told.extend(judged.names(named(name, set)?)?.iter().map(String::as_str));
    }
    if told.iter().any(|name| covers(name, host)) {
        return None;
    }
    let remedy = format!(
        "use a host that a certificate of the listener covers ({}), or name one that covers it: clients refuse the connection",
        told.join(", ")
    );
    (!told.is_empty()).then(|| Problem::new("hostname", host, remedy))
}

/// Whether a certificate's name is good for a host, or for the same wildcard.
fn covers(name: &str, host: &str) -> bool {
    let of_one_label = || {
        let parent = name.strip_prefix("*.")?;
        let (_, rest) = host.split_once('.')?;
        Some(rest.eq_ignore_ascii_case(parent))
    };
    name.eq_ignore_ascii_case(host) || of_one_label().unwrap_or(false)
}
