//! A Gateway's listeners: what each speaks, and what is wrong with it.

use lanes::{Fault, Problem};
use routes::tls::{self, ClientsTls, ListenerTls, TlsVersion};

use super::certificates::names;
use crate::resource::{
    ClientsMode, Kind, LanewayGatewaySpec, Listener, TlsMode, ValidationOfClients,
};

/// Option of a listener's TLS: the oldest version it speaks.
const MINIMUM_VERSION: &str = "laneway.io/tls-minimum-version";

/// Looks at all listeners of a Gateway in namespace `own`; says what each does with TLS.
pub(super) fn check(
    gateway: &LanewayGatewaySpec,
    own: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Option<tls::TlsMode>> {
    of_all(gateway, own, problems);
    let mut all = Vec::new();
    for (index, listener) in gateway.listeners.iter().enumerate() {
        let at = format!("spec.listeners[{index}]");
        all.push(tls(listener, gateway, own).unwrap_or_else(|wrong| {
            problems.extend(wrong.into_iter().map(|problem| problem.under(&at)));
            None
        }));
        check_kinds(listener, &at, problems);
        if listener.port == 0 {
            problems.push(Problem::new(format!("{at}.port"), "0", "use a port from 1 to 65535"));
        }
        if gateway.listeners[..index].iter().any(|earlier| earlier.name == listener.name) {
            let remedy = "give each listener its own name";
            problems.push(Problem::new(format!("{at}.name"), &listener.name, remedy));
        }
    }
    all
}

/// Looks at the kinds of route that a listener lets attach.
fn check_kinds(listener: &Listener, at: &str, problems: &mut Vec<Problem>) {
    let allowed = listener.allowed_routes.iter().flat_map(|allowed| &allowed.kinds);
    for (index, written) in allowed.enumerate() {
        let carried = listener.carried();
        if written.is_one_of(carried) {
            continue;
        }
        let names: Vec<&str> = carried.iter().map(|kind| kind.name()).collect();
        let remedy = format!(
            "use {}, of group {}: a listener of protocol {} carries no other",
            names.join(" or "),
            Kind::Gateway.group(),
            listener.protocol
        );
        let kind = match &written.group {
            Some(group) => format!("{group}/{}", written.kind),
            None => written.kind.clone(),
        };
        problems.push(Problem::new(
            format!("{at}.allowedRoutes.kinds[{index}].kind"),
            kind,
            remedy,
        ));
    }
}

/// What a listener does with TLS; or everything that is wrong with its protocol, relative to the listener. `own` is the
/// Gateway's namespace.
fn tls(
    written: &Listener,
    gateway: &LanewayGatewaySpec,
    own: &str,
) -> Result<Option<tls::TlsMode>, Vec<Problem>> {
    match written.protocol.as_str() {
        "HTTP" if written.tls.is_none() => Ok(None),
        "HTTP" => {
            let remedy = "remove it, or write `protocol: HTTPS`: a listener of protocol HTTP is in the clear";
            Err(vec![Problem::new("tls", "", remedy)])
        }
        "HTTPS" => https(written, gateway, own).map(|tls| Some(tls.into())),
        "TLS" => passthrough(written).map(|()| Some(tls::TlsMode::Passthrough)),
        other => {
            let remedy =
                "use HTTP, HTTPS or TLS: other protocols are not supported by this version";
            Err(vec![Problem::new("protocol", other, remedy)])
        }
    }
}

/// What is wrong with a listener that passes TLS on as it is.
fn passthrough(written: &Listener) -> Result<(), Vec<Problem>> {
    let tls = written.tls.clone().unwrap_or_default();
    let mut problems = Vec::new();
    if tls.mode == TlsMode::Terminate {
        let remedy = "write Passthrough, or `protocol: HTTPS`, which ends TLS here: what is no HTTP in it is not supported by this version";
        problems.push(Problem::new("tls.mode", "Terminate", remedy));
    }
    let unused = [
        ("certificateRefs", !tls.certificate_refs.is_empty()),
        ("frontendValidation", tls.frontend_validation.is_some()),
        ("options", !tls.options.is_empty()),
    ];
    for (field, _) in unused.into_iter().filter(|(_, is_written)| *is_written) {
        let remedy = "remove it: TLS is not ended here, so that nobody would see of it";
        problems.push(Problem::new(format!("tls.{field}"), "", remedy));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn https(
    written: &Listener,
    gateway: &LanewayGatewaySpec,
    own: &str,
) -> Result<ListenerTls, Vec<Problem>> {
    const REFS: &str = "tls.certificateRefs";
    let named = "name a Certificate: [{group: laneway.io, kind: Certificate, name: NAME}]";
    let Some(tls) = &written.tls else {
        return Err(vec![Problem::new(REFS, "", named).of(Fault::Missing)]);
    };
    let mut problems = Vec::new();
    if tls.mode == TlsMode::Passthrough {
        let remedy =
            "use Terminate, or `protocol: TLS`, which goes on as it is to where TLSRoutes lead";
        problems.push(Problem::new("tls.mode", "Passthrough", remedy));
    } else if tls.certificate_refs.is_empty() {
        problems.push(Problem::new(REFS, "[]", named).of(Fault::Missing));
    }
    let certificates = names(REFS, &tls.certificate_refs, (Kind::Gateway, own), &mut problems);
    let (at, validation) = match (&tls.frontend_validation, of_port(gateway, written.port)) {
        (Some(own), _) => ("tls.frontendValidation", Some(own)),
        // What is wrong with it is told of the Gateway.
        (None, of_port) => ("", of_port),
    };
    let mut of_clients = Vec::new();
    let clients = validation.map(|validation| clients(at, validation, own, &mut of_clients));
    if !at.is_empty() {
        problems.append(&mut of_clients);
    }
    let mut minimum = TlsVersion::default();
    for (option, value) in &tls.options {
        match (option.as_str(), value.as_str()) {
            (MINIMUM_VERSION, "1.2") => minimum = TlsVersion::V1_2,
            (MINIMUM_VERSION, "1.3") => minimum = TlsVersion::V1_3,
            (MINIMUM_VERSION, other) => {
                let field = format!("tls.options.{option}");
                problems.push(Problem::new(field, other, "use \"1.2\" or \"1.3\""));
            }
            _ => {
                let remedy = format!("unknown option: use {MINIMUM_VERSION}");
                let problem = Problem::new(format!("tls.options.{option}"), value, remedy);
                problems.push(problem.of(Fault::UnknownField));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ListenerTls { certificates, clients, minimum })
}

/// Looks at what a Gateway says of all its HTTPS listeners.
fn of_all(gateway: &LanewayGatewaySpec, own: &str, problems: &mut Vec<Problem>) {
    let Some(frontend) = gateway.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
        return;
    };
    if let Some(validation) = &frontend.default.validation {
        clients("spec.tls.frontend.default.validation", validation, own, problems);
    }
    for (index, of_port) in frontend.per_port.iter().enumerate() {
        let at = format!("spec.tls.frontend.perPort[{index}]");
        if let Some(validation) = &of_port.tls.validation {
            clients(&format!("{at}.tls.validation"), validation, own, problems);
        }
        let mut https = gateway.listeners.iter().filter(|listener| listener.protocol == "HTTPS");
        let port = of_port.port;
        let remedy = if frontend.per_port[..index].iter().any(|earlier| earlier.port == port) {
            "write each port once"
        } else if !https.any(|listener| listener.port == port) {
            "name the port of an HTTPS listener"
        } else {
            continue;
        };
        problems.push(Problem::new(format!("{at}.port"), port.to_string(), remedy));
    }
}

/// What a Gateway says of the clients of a port.
fn of_port(gateway: &LanewayGatewaySpec, port: u16) -> Option<&ValidationOfClients> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let own = frontend.per_port.iter().find(|of_port| of_port.port == port);
    own.map_or(&frontend.default, |of_port| &of_port.tls).validation.as_ref()
}

fn clients(
    at: &str,
    written: &ValidationOfClients,
    own: &str,
    problems: &mut Vec<Problem>,
) -> ClientsTls {
    let at = format!("{at}.caCertificateRefs");
    if written.ca_certificate_refs.is_empty() {
        let remedy = "name a Certificate with caCertificates: [{group: laneway.io, kind: Certificate, name: NAME}]";
        problems.push(Problem::new(&at, "[]", remedy).of(Fault::Missing));
    }
    ClientsTls {
        authorities: names(&at, &written.ca_certificate_refs, (Kind::Gateway, own), problems),
        insecure_fallback: written.mode == ClientsMode::AllowInsecureFallback,
    }
}
