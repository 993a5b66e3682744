//! Settings as run: no options left where a role needs a value, nothing to check again.

mod checker;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use control::PrometheusSettings;
use proxy::{
    capture::Cidr,
    limits::{Timeouts, UNLIMITED},
};
use routes::entrance::CorrelationHeaders;
use telemetry::{
    access_log::AccessLogConfig,
    logs::Format,
    traces::{Collector, RootSampler},
};

use self::checker::{Checker, TransposeInner};
use super::{BadSettings, Origins, raw};
use crate::door::hosts::Host;

pub(crate) use self::checker::{Port, configuration, default_data};

/// What every role runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Where state is kept; one process per directory.
    pub(crate) data: PathBuf,
    /// Directives for the log filter, known to parse.
    pub(crate) log_level: String,
    /// How log lines look.
    pub(crate) log_format: Format,
    /// Names by which this process is reached, beside its own.
    pub(crate) allowed_hosts: Vec<Host>,
    /// How long requests in flight may take after a signal to stop.
    pub(crate) drain: Duration,
}

/// What the control plane runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlPlane {
    /// A directory of resource files to follow.
    pub(crate) resources: Option<PathBuf>,
    /// What private keys are sealed under; `None` is a file of the data directory.
    pub(crate) key_file: Option<PathBuf>,
    /// Who is asked what passed in long times.
    pub(crate) prometheus: Option<PrometheusSettings>,
    /// Where the API is served.
    pub(crate) api_listen: SocketAddr,
    /// Who may use the API.
    pub(crate) api_auth: ApiAuth,
    /// What has the password of the first user, looked at when he is made; none: one is made up.
    pub(crate) admin_password_file: Option<PathBuf>,
    /// Where data planes connect.
    pub(crate) discovery_listen: SocketAddr,
    /// What data planes must show; `None` only on loopback.
    pub(crate) join_token: Option<String>,
    /// Whether those of other machines may connect in the clear.
    pub(crate) discovery_plain_text: bool,
    /// How long the certificates are good that they get.
    pub(crate) certificate_life: Duration,
}

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiAuth {
    /// Whoever is known: by the token, or as the user that runs the control plane.
    Token,
    /// Whoever reaches it.
    None,
}

/// How a data plane reaches its control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    /// `host:port`; the host is looked up anew at every attempt.
    pub(crate) control: String,
    /// What it shows there.
    pub(crate) join_token: Option<String>,
    /// Who signs there, beside whom the token names: certificates in DER.
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// What a gateway listens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayListener {
    /// Where requests are accepted.
    pub(crate) listen: SocketAddr,
    /// How long it goes on after a signal to stop.
    pub(crate) lame_duck: Duration,
    /// The Gateway resource it serves.
    pub(crate) name: String,
    /// Headers by which requests of one call chain are recognised.
    pub(crate) correlation_headers: CorrelationHeaders,
    pub(crate) workers: Workers,
    pub(crate) limits: Limits,
    pub(crate) observers: Observers,
}

/// What moves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workers {
    pub(crate) threads: usize,
    /// Another process may have the addresses they listen at.
    pub(crate) takeover: bool,
}

/// Who is told of single requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observers {
    /// `None`: no access log is written.
    pub(crate) access_log: Option<AccessLogConfig>,
    /// Where spans are sent, and of which traces that begin here. `None`: nowhere.
    pub(crate) traces: Option<(Collector, RootSampler)>,
}

/// What bounds the connections of a process that moves requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `None`: as many as the limit on open files allows.
    pub(crate) connections_max: Option<u64>,
    pub(crate) timeouts: Timeouts,
}

/// `laneway serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serve {
    pub(crate) process: Process,
    pub(crate) control: ControlPlane,
    pub(crate) gateway: GatewayListener,
}

/// `laneway control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) process: Process,
    pub(crate) control: ControlPlane,
}

/// `laneway gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) connect: Connect,
    pub(crate) gateway: GatewayListener,
    pub(crate) admin_listen: SocketAddr,
}

/// `laneway sidecar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    /// Where instances of one application on this machine leave one another what they were told last.
    pub(crate) shared_data: Option<PathBuf>,
    pub(crate) connect: Connect,
    pub(crate) application: String,
    pub(crate) service_namespace: String,
    /// At least one: the first is probed, and gets what comes without a destination.
    pub(crate) ports: Vec<Port>,
    /// `None`: a connection is enough.
    pub(crate) health_path: Option<String>,
    /// None: the inbound address, once it is bound. The first is the one that the instance is known by.
    pub(crate) advertise: Vec<SocketAddr>,
    pub(crate) tag: Option<String>,
    pub(crate) weight: u32,
    pub(crate) outbound_listen: SocketAddr,
    pub(crate) inbound_listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// How long it goes on after a signal to stop.
    pub(crate) lame_duck: Duration,
    pub(crate) capture: bool,
    /// Over IPv6 too, where the host has it.
    pub(crate) capture_ipv6: bool,
    pub(crate) exclusions: CaptureExclusions,
    /// What the forward proxy must not reach.
    pub(crate) forbid_destinations: Vec<Cidr>,
    /// Nothing passes as base because it cannot be read.
    pub(crate) refuse_unread: bool,
    pub(crate) correlation_headers: CorrelationHeaders,
    pub(crate) workers: Workers,
    pub(crate) limits: Limits,
    pub(crate) observers: Observers,
}

/// What a capturing sidecar leaves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaptureExclusions {
    pub(crate) outbound_ports: Vec<u16>,
    pub(crate) destinations: Vec<Cidr>,
    pub(crate) inbound_ports: Vec<u16>,
}

impl raw::Serve {
    /// Checks everything and says all that is wrong.
    pub(crate) fn check(self, origins: &Origins) -> Result<Serve, BadSettings> {
        let mut checker = Checker::new(origins);
        let process = checker.process(self.process, "serve");
        let control = checker.control_plane(self.control, self.join);
        let moves = (self.workers, self.limits, self.observers);
        let gateway = checker.gateway(self.gateway, self.correlation, moves);
        checker.finish(|| Some(Serve { process: process?, control: control?, gateway: gateway? }))
    }
}

impl raw::Control {
    /// Checks everything and says all that is wrong.
    pub(crate) fn check(self, origins: &Origins) -> Result<Control, BadSettings> {
        let mut checker = Checker::new(origins);
        let process = checker.process(self.process, "control");
        let control = checker.control_plane(self.control, self.join);
        checker.finish(|| Some(Control { process: process?, control: control? }))
    }
}

impl raw::Gateway {
    /// Checks everything and says all that is wrong.
    pub(crate) fn check(self, origins: &Origins) -> Result<Gateway, BadSettings> {
        let mut checker = Checker::new(origins);
        let process = checker.process(self.process, "gateway");
        let connect = checker.connect(self.connect, self.join);
        let moves = (self.workers, self.limits, self.observers);
        let gateway = checker.gateway(self.gateway, self.correlation, moves);
        let admin_listen = checker.listen("admin-listen", &self.admin.admin_listen);
        checker.finish(|| {
            Some(Gateway {
                process: process?,
                connect: connect?,
                gateway: gateway?,
                admin_listen: admin_listen?,
            })
        })
    }
}

impl raw::Sidecar {
    /// Checks everything and says all that is wrong.
    pub(crate) fn check(self, origins: &Origins) -> Result<Sidecar, BadSettings> {
        let mut checker = Checker::new(origins);
        let application = checker.required(
            "application",
            self.application,
            "name the application beside this sidecar, e.g. --application spring-cloud-a",
        );
        let application =
            application.and_then(|text| checker.name("application", text, "spring-cloud-a"));
        let directory = format!("sidecar-{}", application.as_deref().unwrap_or_default());
        let process = checker.process(self.process, &directory);
        let shared_data = checker.shared_data(self.shared_data);
        let connect = checker.connect(self.connect, self.join);
        let service = self.service.and_then(|text| checker.name("service", text, "sc-A"));
        let service_namespace =
            checker.name("service-namespace", self.service_namespace, "default");
        let ports = checker.ports(&self.app_address, service.as_deref(), application.as_deref());
        if ports.as_ref().is_some_and(Vec::is_empty) {
            const REMEDY: &str =
                "say where the application listens, e.g. --app-address 127.0.0.1:8080";
            checker.required("app-address", None, REMEDY);
        }
        let health_path = self.health_path.map(|path| checker.path(path)).transpose_inner();
        let advertise = checker.reachable("advertise", &self.advertise);
        let tag = self.tag.map(|text| checker.tag(text)).transpose_inner();
        let weight = checker.number("weight", &self.weight, 0, u32::MAX);
        let outbound_listen = checker.listen("outbound-listen", &self.outbound_listen);
        let inbound_listen = checker.listen("inbound-listen", &self.inbound_listen);
        checker.advertised(inbound_listen, advertise.as_deref());
        let admin_listen = checker.listen("admin-listen", &self.admin.admin_listen);
        let lame_duck = checker.drain_seconds("lame-duck-seconds", &self.lame_duck_seconds);
        let capture = checker.yes_or_no("capture", &self.capture);
        let capture_ipv6 = checker.yes_or_no("capture-ipv6", &self.capture_ipv6);
        if capture == Some(true) {
            checker.captured(outbound_listen, inbound_listen);
        }
        let exclusions = checker.exclusions(self.exclusions);
        let forbidden = checker.ranges("forbid-destinations", &self.forbid_destinations);
        let refuse_unread = checker.yes_or_no("refuse-unread", &self.refuse_unread);
        let correlation_headers = checker.correlation(&self.correlation);
        let workers = checker.workers(&self.workers, 1);
        // Its caller is a proxy with limits, or an application: it ends the wait by leaving.
        let unlimited = Timeouts { backend: UNLIMITED, request: UNLIMITED, ..Timeouts::default() };
        let limits = checker.limits(&self.limits, &unlimited);
        let observers = checker.observers(self.observers);
        checker.finish(|| {
            Some(Sidecar {
                process: process?,
                shared_data: shared_data?,
                connect: connect?,
                application: application?,
                service_namespace: service_namespace?,
                ports: ports?,
                health_path: health_path?,
                advertise: advertise?,
                tag: tag?.flatten(),
                weight: weight?,
                outbound_listen: outbound_listen?,
                inbound_listen: inbound_listen?,
                admin_listen: admin_listen?,
                lame_duck: lame_duck?,
                capture: capture?,
                capture_ipv6: capture_ipv6?,
                exclusions: exclusions?,
                forbid_destinations: forbidden?,
                refuse_unread: refuse_unread?,
                correlation_headers: correlation_headers?,
                workers: workers?,
                limits: limits?,
                observers: observers?,
            })
        })
    }
}

#[cfg(test)]
mod tests;
