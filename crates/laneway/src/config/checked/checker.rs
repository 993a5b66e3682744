//! Checks one text after the other, and collects every problem.

mod observers;
mod ports;
mod prometheus;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use api::join::JoinToken;
use proxy::{
    capture::{Cidr, EXCLUSIONS_MAX},
    limits::{Timeouts, UNLIMITED},
};
use routes::entrance::CorrelationHeaders;
use telemetry::logs::Format;

pub(crate) use self::ports::Port;
use super::{
    ApiAuth, CaptureExclusions, Connect, ControlPlane, GatewayListener, Limits, Observers, Process,
    Workers,
};
use crate::{
    config::{BadSettings, Origins, SettingProblem, log_level, raw},
    door::hosts::Host,
};

/// Characters of a join token: 64 bits written in hexadecimal, which nobody guesses over a network.
const JOIN_TOKEN_BYTES_MIN: usize = 16;

/// Seconds that a certificate of a data plane may be good: long enough to be renewed, and short for one that was lost.
const CERTIFICATE_SECONDS_MIN: u64 = 10;
const CERTIFICATE_SECONDS_MAX: u64 = 90 * 86_400;

/// The longest a drain may be set to: a day, longer than any supervisor waits for a process to end.
const DRAIN_SECONDS_MAX: u32 = 86_400;

/// The longest that anything may be waited for: a day. What lasts longer is not waited for but forgotten.
const TIMEOUT_SECONDS_MAX: u32 = 86_400;

/// More threads than any machine has cores; a larger number is a typing error.
const THREADS_MAX: u32 = 1024;

/// `Option<Option<T>>`: written or not, usable or not.
pub(super) trait TransposeInner<T> {
    /// `None` when written and unusable, `Some(None)` when not written.
    fn transpose_inner(self) -> Option<Option<T>>;
}

impl<T> TransposeInner<T> for Option<Option<T>> {
    fn transpose_inner(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(value)) => Some(Some(value)),
        }
    }
}

/// Collects every problem; a method answers `None` when it has noted one.
pub(super) struct Checker<'a> {
    origins: &'a Origins,
    problems: Vec<SettingProblem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, problems: Vec::new() }
    }

    pub(super) fn finish<T>(self, settings: impl FnOnce() -> Option<T>) -> Result<T, BadSettings> {
        match settings() {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => Err(BadSettings(self.problems)),
        }
    }

    pub(super) fn refuse(&mut self, key: &str, value: &str, remedy: impl Into<String>) {
        let origin = self.origins.get(key).cloned().unwrap_or_default();
        let remedy = remedy.into();
        let (key, value) = (key.to_owned(), value.to_owned());
        self.problems.push(SettingProblem { key, value, origin, remedy, may_pass: false });
    }

    /// Notes what may be right a little later, as it stands.
    fn refuse_for_now(&mut self, key: &str, value: &str, remedy: impl Into<String>) {
        self.refuse(key, value, remedy);
        if let Some(problem) = self.problems.last_mut() {
            problem.may_pass = true;
        }
    }

    /// Refuses what was to be an address.
    fn refuse_address(&mut self, key: &str, text: &str, unresolved: &Unresolved, remedy: &str) {
        match unresolved {
            Unresolved::Malformed => self.refuse(key, text, remedy),
            Unresolved::Unanswered(error) => {
                self.refuse_for_now(
                    key,
                    text,
                    format!("the name stands for no address ({error}): {remedy}"),
                );
            }
        }
    }

    pub(super) fn process(&mut self, raw: raw::Process, directory: &str) -> Option<Process> {
        let data = match raw.data {
            Some(text) if text.is_empty() => {
                self.refuse("data", "", "name a directory that this process may create and write");
                None
            }
            Some(text) => Some(PathBuf::from(text)),
            None => self.default_data(directory),
        };
        let log_level = if log_level::is_level(&raw.log_level) {
            Some(raw.log_level)
        } else {
            self.refuse("log-level", &raw.log_level, log_level::REMEDY);
            None
        };
        let log_format = match raw.log_format.as_str() {
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            other => {
                self.refuse("log-format", other, "use text or json");
                None
            }
        };
        let allowed_hosts = self.hosts("allowed-hosts", &raw.allowed_hosts);
        let drain = self.drain_seconds("drain-seconds", &raw.drain_seconds);
        Some(Process {
            data: data?,
            log_level: log_level?,
            log_format: log_format?,
            allowed_hosts: allowed_hosts?,
            drain: drain?,
        })
    }

    fn default_data(&mut self, directory: &str) -> Option<PathBuf> {
        let data = default_data(directory);
        if data.is_none() {
            self.refuse("data", "", "name a directory: there is no HOME to choose one in");
        }
        data
    }

    /// `none` keeps nothing for others, nor does a process without a home unless it is told where.
    pub(super) fn shared_data(&mut self, text: Option<String>) -> Option<Option<PathBuf>> {
        match text.as_deref() {
            None => Some(default_data("shared").filter(|path| is_own(path))),
            Some("none") => Some(None),
            Some(text) if Path::new(text).is_absolute() => Some(Some(PathBuf::from(text))),
            Some(text) => {
                let remedy = "name a directory by its absolute path, the same for all instances on this machine, or none";
                self.refuse("shared-data", text, remedy);
                None
            }
        }
    }

    pub(super) fn control_plane(
        &mut self,
        raw: raw::ControlPlane,
        join: raw::Join,
    ) -> Option<ControlPlane> {
        let prometheus = self.prometheus(&raw);
        let api_listen = self.listen("api-listen", &raw.api_listen);
        let api_auth = self.api_auth(&raw.api_auth);
        let plain_text = self.yes_or_no("api-plain-text", &raw.api_plain_text);
        if let (Some(listen), Some(false)) = (api_listen, plain_text)
            && !listen.ip().is_loopback()
        {
            self.refuse(
                "api-plain-text",
                "false",
                format!("say true to serve the API at {listen} all the same: it is not a loopback address, and what is not encrypted shows the token to whoever reads along"),
            );
        }
        let discovery_listen = self.listen("discovery-listen", &raw.discovery_listen);
        let join_token = self.join_token(join);
        if let (Some(listen), Some(None)) = (discovery_listen, &join_token)
            && !listen.ip().is_loopback()
        {
            self.refuse(
                "join-token-file",
                "",
                format!("name a file with a secret that data planes share: {listen} is not a loopback address"),
            );
        }
        let discovery_plain_text =
            self.yes_or_no("discovery-plain-text", &raw.discovery_plain_text);
        let certificate_life = self.certificate_life(&raw.data_plane_certificate_seconds);
        let resources = match raw.resources.map(PathBuf::from) {
            Some(path) if !path.is_dir() => {
                self.refuse("resources", &path.to_string_lossy(), "name an existing directory");
                None
            }
            resources => Some(resources),
        };
        Some(ControlPlane {
            prometheus: prometheus?,
            resources: resources?,
            // One that is not there is no mistake of all that needs no private key.
            key_file: raw.key_file.map(PathBuf::from),
            api_listen: api_listen?,
            api_auth: api_auth?,
            admin_password_file: raw.admin_password_file.map(PathBuf::from),
            discovery_listen: discovery_listen?,
            join_token: join_token?,
            discovery_plain_text: discovery_plain_text?,
            certificate_life: certificate_life?,
        })
    }

    fn api_auth(&mut self, text: &str) -> Option<ApiAuth> {
        match text {
            "token" => Some(ApiAuth::Token),
            "none" => Some(ApiAuth::None),
            other => {
                self.refuse("api-auth", other, "use token or none");
                None
            }
        }
    }

    fn hosts(&mut self, key: &str, text: &str) -> Option<Vec<Host>> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let hosts: Option<Vec<Host>> = items.map(Host::parse).collect();
        if hosts.is_none() {
            self.refuse(key, text, "use names or addresses without ports, separated by commas, e.g. laneway.example,10.0.0.7");
        }
        hosts
    }

    pub(super) fn connect(&mut self, raw: raw::Connect, join: raw::Join) -> Option<Connect> {
        const REMEDY: &str = "name the control plane's discovery address, e.g. 127.0.0.1:7601";
        let join_token = self.join_token(join);
        let control = self.required("control", raw.control, REMEDY)?;
        if split_host_port(&control).is_none_or(|(_, port)| port == 0) {
            self.refuse("control", &control, REMEDY);
            return None;
        }
        let authorities = match raw.control_ca {
            Some(path) => self.control_ca(&path)?,
            None => Vec::new(),
        };
        Some(Connect { control, join_token: join_token?, authorities })
    }

    fn control_ca(&mut self, path: &str) -> Option<Vec<Vec<u8>>> {
        let read = std::fs::read_to_string(path)
            .map_err(|error| format!("name a file that can be read ({error})"));
        read.and_then(|text| api::certificate::certificates(&text))
            .map_err(|remedy| self.refuse("control-ca", path, remedy))
            .ok()
    }

    fn certificate_life(&mut self, text: &str) -> Option<Duration> {
        const KEY: &str = "data-plane-certificate-seconds";
        match text.parse() {
            Ok(seconds)
                if (CERTIFICATE_SECONDS_MIN..=CERTIFICATE_SECONDS_MAX).contains(&seconds) =>
            {
                Some(Duration::from_secs(seconds))
            }
            _ => {
                let remedy = format!("use {CERTIFICATE_SECONDS_MIN} to {CERTIFICATE_SECONDS_MAX}");
                self.refuse(KEY, text, remedy);
                None
            }
        }
    }

    /// `Some(None)`: no file is named.
    fn join_token(&mut self, raw: raw::Join) -> Option<Option<String>> {
        let Some(path) = raw.join_token_file else { return Some(None) };
        match std::fs::read_to_string(&path) {
            Ok(ref text) if let Some(wrong) = JoinToken::misspelt_authority(text.trim()) => {
                let remedy = format!(
                    "`@{wrong}` is to say who signs for the control plane: write @sha256: and 64 hexadecimal digits, as `laneway ca show` tells them"
                );
                self.refuse("join-token-file", &path, remedy);
                None
            }
            // Who signs, behind it, everybody knows.
            Ok(text) if JoinToken::read(text.trim()).secret.len() >= JOIN_TOKEN_BYTES_MIN => {
                Some(Some(text.trim().to_owned()))
            }
            Ok(text) if !text.trim().is_empty() => {
                let which = match JoinToken::read(text.trim()).authority {
                    Some(_) => "the secret in it, before `@sha256:`,",
                    None => "the token in it",
                };
                let remedy = format!(
                    "{which} is too short to be a secret: write at least {JOIN_TOKEN_BYTES_MIN} characters, e.g. of `openssl rand -hex 24`"
                );
                self.refuse("join-token-file", &path, remedy);
                None
            }
            Ok(_) => {
                self.refuse("join-token-file", &path, "the file is empty; write the token into it");
                None
            }
            Err(error) => {
                let remedy = format!("name a file that can be read ({error})");
                self.refuse("join-token-file", &path, remedy);
                None
            }
        }
    }

    pub(super) fn gateway(
        &mut self,
        raw: raw::GatewayListener,
        correlation: raw::Correlation,
        (workers, limits, observers): (raw::Workers, raw::Limits, raw::Observers),
    ) -> Option<GatewayListener> {
        let listen = self.listen("gateway-listen", &raw.gateway_listen);
        let lame_duck = self.drain_seconds("lame-duck-seconds", &raw.lame_duck_seconds);
        let name = self.name("name", raw.name, "edge");
        let correlation_headers = self.correlation(&correlation);
        let workers = self.workers(&workers, 0);
        let limits = self.limits(&limits, &Timeouts::default());
        let observers = self.observers(observers);
        Some(GatewayListener {
            listen: listen?,
            lame_duck: lame_duck?,
            name: name?,
            correlation_headers: correlation_headers?,
            workers: workers?,
            limits: limits?,
            observers: observers?,
        })
    }

    /// A part of the time between a signal to stop and the end.
    pub(super) fn drain_seconds(&mut self, key: &str, text: &str) -> Option<Duration> {
        let seconds = self.number(key, text, 0, DRAIN_SECONDS_MAX);
        seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// `defaults`: for the two timeouts that a gateway has and a sidecar has not.
    pub(super) fn limits(&mut self, raw: &raw::Limits, defaults: &Timeouts) -> Option<Limits> {
        let connections_max = self.number("connections-max", &raw.connections_max, 0, u32::MAX);
        let mut seconds = |key, text| {
            let seconds = self.number(key, text, 1, TIMEOUT_SECONDS_MAX);
            seconds.map(|seconds| Duration::from_secs(seconds.into()))
        };
        let connect = seconds("connect-timeout-seconds", &raw.connect_timeout_seconds);
        let idle = seconds("idle-timeout-seconds", &raw.idle_timeout_seconds);
        let head = seconds("head-timeout-seconds", &raw.head_timeout_seconds);
        let body = seconds("body-timeout-seconds", &raw.body_timeout_seconds);
        let answer_body = seconds("answer-body-timeout-seconds", &raw.answer_body_timeout_seconds);
        let tunnel = seconds("tunnel-timeout-seconds", &raw.tunnel_timeout_seconds);
        let mut perhaps = |key, text: &String| {
            Some(match self.number(key, text, 0, TIMEOUT_SECONDS_MAX)? {
                0 => UNLIMITED,
                seconds => Duration::from_secs(seconds.into()),
            })
        };
        let backend = match &raw.answer_timeout_seconds {
            Some(text) => perhaps("answer-timeout-seconds", text),
            None => Some(defaults.backend),
        };
        let request = match &raw.request_timeout_seconds {
            Some(text) => perhaps("request-timeout-seconds", text),
            None => Some(defaults.request),
        };
        let sign_of_life =
            perhaps("sign-of-life-timeout-seconds", &raw.sign_of_life_timeout_seconds);
        let timeouts = Timeouts {
            head: head?,
            idle: idle?,
            body: body?,
            answer_body: answer_body?,
            connect: connect?,
            backend: backend?,
            request: request?,
            tunnel: tunnel?,
            sign_of_life: sign_of_life?,
        };
        let connections_max = connections_max?;
        Some(Limits {
            connections_max: (connections_max > 0).then_some(connections_max.into()),
            timeouts,
        })
    }

    pub(super) fn correlation(&mut self, raw: &raw::Correlation) -> Option<CorrelationHeaders> {
        let text = &raw.correlation_headers;
        let headers =
            CorrelationHeaders::new(text.split(',').filter(|name| !name.trim().is_empty()));
        headers.map_err(|error| self.refuse("correlation-headers", text, error.to_string())).ok()
    }

    /// `otherwise` stands for a 0; 0 again is the number of cores.
    pub(super) fn workers(&mut self, raw: &raw::Workers, otherwise: usize) -> Option<Workers> {
        let takeover = self.yes_or_no("takeover", &raw.takeover);
        let threads = self.number("threads", &raw.threads, 0, THREADS_MAX)? as usize;
        let threads = match if threads == 0 { otherwise } else { threads } {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Some(Workers { threads, takeover: takeover? })
    }

    pub(super) fn required(
        &mut self,
        key: &str,
        value: Option<String>,
        remedy: &str,
    ) -> Option<String> {
        if value.is_none() {
            let variable = format!("LANEWAY_{}", key.replace('-', "_").to_uppercase());
            self.refuse(key, "", format!("{remedy} (or {variable}, or `{key}:` in the file)"));
        }
        value
    }

    pub(super) fn name(&mut self, key: &str, text: String, example: &str) -> Option<String> {
        // Names become parts of service ids, which `/` separates.
        let usable = !text.is_empty()
            && text.chars().all(|c| c.is_ascii_graphic() && c != '/')
            && text.len() <= NAME_BYTES_MAX;
        if !usable {
            let remedy = format!(
                "use 1 to {NAME_BYTES_MAX} printable ASCII characters without blanks or `/`, e.g. {example}"
            );
            self.refuse(key, &text, remedy);
            return None;
        }
        Some(text)
    }

    /// `Some(None)` for `base` and the empty word: untagged.
    pub(super) fn tag(&mut self, text: String) -> Option<Option<String>> {
        match lanes::Tag::parse(&text) {
            Ok(tag) => Some(tag.map(|tag| tag.as_str().to_owned())),
            Err(problem) => {
                self.refuse("tag", &text, problem.remedy);
                None
            }
        }
    }

    /// What a probe asks the application for.
    pub(super) fn path(&mut self, text: String) -> Option<String> {
        if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(text);
        }
        let remedy = "use a path, perhaps with a query, in printable ASCII, e.g. /actuator/health";
        self.refuse("health-path", &text, remedy);
        None
    }

    /// An address to listen on; port 0 chooses one.
    pub(super) fn listen(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        const REMEDY: &str = "use an address of this machine and a port, e.g. 127.0.0.1:8000, [::1]:8000, or port 0 to have one chosen";
        let address = resolve(text);
        address.inspect_err(|error| self.refuse_address(key, text, error, REMEDY)).ok()
    }

    /// Addresses that others connect to, as many as one instance has.
    pub(super) fn reachable(&mut self, key: &str, texts: &[String]) -> Option<Vec<SocketAddr>> {
        let addresses = self.addresses(key, texts)?;
        if addresses.len() > ADDRESSES_MAX {
            self.refuse(key, &texts.join(" "), format!("use at most {ADDRESSES_MAX} addresses"));
            return None;
        }
        Some(addresses)
    }

    /// Addresses that can be connected to, each said once; blanks and commas separate them where they are said together.
    fn addresses(&mut self, key: &str, texts: &[String]) -> Option<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        let mut is_good = true;
        for text in each(texts) {
            let address = resolve(text).map(canonical).and_then(|address| {
                match address.port() == 0 || address.ip().is_unspecified() {
                    true => Err(Unresolved::Malformed),
                    false => Ok(address),
                }
            });
            match address {
                Err(error) => {
                    const REMEDY: &str =
                        "use a host and a port that can be connected to, e.g. 10.0.0.7:8080";
                    self.refuse_address(key, text, &error, REMEDY);
                }
                Ok(address) if addresses.contains(&address) => {
                    self.refuse(key, text, "say each address once");
                }
                Ok(address) => {
                    addresses.push(address);
                    continue;
                }
            }
            is_good = false;
        }
        is_good.then_some(addresses)
    }

    /// Others must be told an address.
    pub(super) fn advertised(
        &mut self,
        inbound: Option<SocketAddr>,
        advertise: Option<&[SocketAddr]>,
    ) {
        if let (Some(inbound), Some([])) = (inbound, advertise)
            && inbound.ip().is_unspecified()
        {
            self.refuse(
                "advertise",
                "",
                "say where other hosts reach this sidecar: inbound-listen names every address, so none can be told from it",
            );
        }
    }

    /// Redirected connections arrive at other addresses than explicit ones.
    pub(super) fn captured(&mut self, outbound: Option<SocketAddr>, inbound: Option<SocketAddr>) {
        if let Some(outbound) = outbound
            && !outbound.ip().is_unspecified()
            && outbound.ip() != Ipv4Addr::LOCALHOST
        {
            self.refuse(
                "outbound-listen",
                &outbound.to_string(),
                format!(
                    "captured connections arrive at 127.0.0.1; use 127.0.0.1:{}",
                    outbound.port()
                ),
            );
        }
        if let Some(inbound) = inbound
            && inbound.ip().is_loopback()
        {
            self.refuse(
                "inbound-listen",
                &inbound.to_string(),
                format!(
                    "captured connections arrive at the addresses of this host; use 0.0.0.0:{}, and advertise one of them",
                    inbound.port()
                ),
            );
        }
    }

    pub(super) fn exclusions(&mut self, raw: raw::CaptureExclusions) -> Option<CaptureExclusions> {
        const PORTS: &str = "use port numbers separated by commas, e.g. 3306,6379";
        let outbound_ports =
            self.list("capture-exclude-outbound-ports", &raw.capture_exclude_outbound_ports, PORTS);
        let destinations =
            self.ranges("capture-exclude-destinations", &raw.capture_exclude_destinations);
        let inbound_ports =
            self.list("capture-exclude-inbound-ports", &raw.capture_exclude_inbound_ports, PORTS);
        Some(CaptureExclusions {
            outbound_ports: outbound_ports?,
            destinations: destinations?,
            inbound_ports: inbound_ports?,
        })
    }

    /// Ranges of addresses separated by commas.
    pub(super) fn ranges(&mut self, key: &str, text: &str) -> Option<Vec<Cidr>> {
        const REMEDY: &str =
            "use addresses or ranges separated by commas, e.g. 10.0.0.0/8,fd00::/8";
        self.list(key, text, REMEDY)
    }

    /// Values separated by commas; the empty word is none.
    fn list<T: FromStr>(&mut self, key: &str, text: &str, remedy: &str) -> Option<Vec<T>> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let list: Result<Vec<T>, _> = items.map(str::parse).collect();
        let list = list.ok().filter(|list| list.len() <= EXCLUSIONS_MAX);
        if list.is_none() {
            self.refuse(key, text, format!("{remedy}; at most {EXCLUSIONS_MAX}"));
        }
        list
    }

    pub(super) fn number(&mut self, key: &str, text: &str, least: u32, most: u32) -> Option<u32> {
        let number = text.parse::<u32>().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.refuse(key, text, format!("use a whole number from {least} to {most}"));
        }
        number
    }

    pub(super) fn yes_or_no(&mut self, key: &str, text: &str) -> Option<bool> {
        let value = text.parse().ok();
        if value.is_none() {
            self.refuse(key, text, "use true or false");
        }
        value
    }
}

/// Where a role keeps its state unless told: `$XDG_STATE_HOME/laneway/…`, else `~/.local/state/laneway/…`.
pub(crate) fn default_data(directory: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = state.filter(|path| path.is_absolute()).or_else(home)?;
    Some(state.join("laneway").join(directory))
}

/// A file of this user's for all his commands: `$XDG_CONFIG_HOME/laneway/…`, else `~/.config/laneway/…`.
pub(crate) fn configuration(file: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let directory = directory.filter(|path| path.is_absolute()).or_else(home)?;
    Some(directory.join("laneway").join(file))
}

/// Whether a path is, or would be made, in a directory of the user that this process runs as: whoever becomes root with
/// somebody's home (sudo -E) leaves nothing there.
fn is_own(path: &Path) -> bool {
    let found = path.ancestors().find_map(|it| std::fs::symlink_metadata(it).ok());
    found.is_some_and(|it| it.uid() == rustix::process::geteuid().as_raw())
}

/// Addresses of one instance, as many as the registry takes.
const ADDRESSES_MAX: usize = 16;

/// In the spelling that is compared: an IPv4 address may be written as an IPv6 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The values of a setting that may be said several times.
fn each(texts: &[String]) -> impl Iterator<Item = &str> {
    let texts = texts.iter().flat_map(|text| text.split([',', ' ', '\t', '\n']));
    texts.filter(|text| !text.is_empty())
}

/// The longest DNS name; service and application names travel in URLs and host headers.
const NAME_BYTES_MAX: usize = 253;

/// The host of `host:port` without brackets, and the port.
fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', '[', ']', ' ']),
    };
    valid.then_some((bare.unwrap_or(host), port.parse().ok()?))
}

/// Why text is no address.
enum Unresolved {
    /// It never will be.
    Malformed,
    /// Nobody says now what the name stands for.
    Unanswered(io::Error),
}

/// An address as written, or the first that the host's name stands for.
fn resolve(text: &str) -> Result<SocketAddr, Unresolved> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = split_host_port(text).ok_or(Unresolved::Malformed)?;
    // IPv4 first: it is what `localhost` and most container networks are reached by.
    let resolved = (host, port).to_socket_addrs().map_err(Unresolved::Unanswered)?;
    let mut addresses: Vec<_> = resolved.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let none = || Unresolved::Unanswered(io::ErrorKind::NotFound.into());
    addresses.first().copied().ok_or_else(none)
}

/// Hundredths of a percent.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 2 {
        return None;
    }
    let hundredths = whole.parse::<u32>().ok()?.checked_mul(100)?;
    let decimals = decimals.parse::<u32>().ok()? * if decimals.len() == 1 { 10 } else { 1 };
    Some(hundredths.checked_add(decimals)?).filter(|it| *it <= 10_000)
}
