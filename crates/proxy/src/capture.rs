//! Transparent capture: the sidecar's own redirect rules in its network namespace, installed and removed by itself.
//!
//! Two chains of the `nat` table are ours, [`OUTPUT_CHAIN`] and [`INBOUND_CHAIN`]. Installing writes them whole and
//! in one step, so it also repairs what a killed sidecar left behind; removing takes away the chains and the jumps
//! to them and touches nothing else. The work is done by `iptables` (and `ip6tables`), as on every host that has
//! either of the kernel's two packet filters.

use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    os::fd::AsFd,
    process::{Command, Output, Stdio},
    time::Duration,
};

use ipnet::IpNet;
use socket2::SockRef;

use rules::INBOUND_CHAIN;

pub use rules::OUTPUT_CHAIN;
pub use siblings::siblings;

mod rules;
mod siblings;

/// Marks the sidecar's own connections (SO_MARK), so that they are not captured again; "LW" in ASCII. Works where
/// the sidecar and its application run as the same user, which a rule by user cannot tell apart.
pub const MARK: u32 = 0x4c57;

/// Seconds to wait for another program that is changing rules. Kubernetes' kube-proxy holds the lock for seconds
/// when it rewrites thousands of services.
const LOCK_WAIT_SECONDS: u32 = 10;

/// Longest that a listener on loopback may take to answer the kernel's way, whether its process gets to it or not.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Entries of each list of exclusions. Every one is a rule that each new connection passes by.
pub const EXCLUSIONS_MAX: usize = 256;

/// What to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Where outbound connections are redirected to: the sidecar's outbound listener, on 127.0.0.1 and, with
    /// `ipv6`, on ::1.
    pub outbound_port: u16,
    /// Where inbound connections are redirected to: the sidecar's inbound listener, on all addresses.
    pub inbound_port: u16,
    /// Ports of the application whose inbound connections are captured.
    pub application_ports: Vec<u16>,
    /// The user the sidecar runs as, when the application runs as another: its connections are not captured. Not
    /// needed for connections with [`MARK`].
    pub own_user_id: Option<u32>,
    /// Destination ports that are not captured on the way out.
    pub excluded_outbound_ports: Vec<u16>,
    /// Destinations that are not captured on the way out. Loopback never is.
    pub excluded_destinations: Vec<Cidr>,
    /// Ports that are not captured on the way in: the sidecar's admin port, and what the operator excludes.
    pub excluded_inbound_ports: Vec<u16>,
    /// Whether IPv6 is captured too. The outbound listener must then also be on ::1.
    pub ipv6: bool,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Whether an address lies in it.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }

    fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }
}

/// Text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address range; write e.g. 10.0.0.0/8, fd00::/8 or a single address")]
pub struct BadCidr(String);

/// What sends packets to our chains: beginnings of connections alone. Of one that the kernel has not followed from its
/// beginning it would redirect the next packet, and so end it.
const JUMP: [&str; 3] = ["-p", "tcp", "--syn"];

/// What a release before did.
const FORMER_JUMP: [&str; 2] = ["-p", "tcp"];

/// Which built-in chain leads to which of ours.
const OUTPUT_JUMP: (&str, &str) = ("OUTPUT", OUTPUT_CHAIN);
const INBOUND_JUMP: (&str, &str) = ("PREROUTING", INBOUND_CHAIN);

/// Rules that are in place. Dropping it removes them; [`Capture::remove`] also tells how that went.
#[derive(Debug)]
pub struct Capture {
    families: Vec<Family>,
    /// They are another process's, too, and stay.
    is_shared: bool,
}

/// Why rules could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The configuration cannot work.
    #[error("capture: {field} {value}: {remedy}")]
    Config {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The rules for IPv6 could not be installed on a host that has it.
    #[error(
        "capture of IPv6, which this host has: calls over it would go past the lanes; where none goes over it, start with \
         --capture-ipv6 false"
    )]
    Ipv6(#[source] Box<CaptureError>),
    /// A program is not installed.
    #[error(
        "capture: run `{program}`: not found; install the package `iptables`, or start without --capture"
    )]
    Missing {
        /// Which one.
        program: &'static str,
    },
    /// The process may not change rules.
    #[error(
        "capture: `{command}` was refused ({message}); run as root or with CAP_NET_ADMIN and CAP_NET_RAW, \
         or start without --capture and set HTTP_PROXY for the application"
    )]
    NotPermitted {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
    /// A program could not be run.
    #[error("capture: run `{command}`")]
    Run {
        /// What was to be run.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A program failed.
    #[error("capture: `{command}` failed: {message}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
}

/// IPv4 or IPv6: each has its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Marks a socket of the sidecar before it connects, so that its connection is not captured.
pub fn mark(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_mark(MARK)
}

/// Whether this host, or network namespace, speaks IPv6 at all.
pub fn host_has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Whether rules are in place, such as those that a killed sidecar left behind.
pub fn is_in_place() -> bool {
    let (from, chain) = INBOUND_JUMP;
    let rule = [&["-C", from][..], &JUMP, &["-j", chain]].concat();
    Family::V4.nat(&rule).is_ok_and(|output| output.status.success())
}

/// What became of rules that a killed sidecar may have left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// There are none.
    Absent,
    /// They are gone.
    Removed,
    /// They stay: a sidecar listens at this port of loopback, where they lead.
    InUse(u16),
}

/// Removes rules that lead to nobody: those of a sidecar that was killed and is not started again. Blocks while programs run.
pub fn remove_leftovers() -> Result<Leftovers, CaptureError> {
    let mut became = Leftovers::Absent;
    for family in [Family::V4, Family::V6] {
        let Some(port) = family.target()? else { continue };
        if family.is_served(port) {
            return Ok(Leftovers::InUse(port));
        }
        family.remove()?;
        became = Leftovers::Removed;
    }
    Ok(became)
}

impl Capture {
    /// Installs the rules in this network namespace, replacing what an earlier sidecar left. Blocks while programs
    /// run, some 20 ms. When it fails it leaves nothing behind.
    pub fn install(config: &CaptureConfig) -> Result<Self, CaptureError> {
        Self::put(config, false)
    }

    /// The same in place of rules that are in force for another process, too: nothing of them is removed, neither when it
    /// fails nor when it is dropped, until [`Capture::own`].
    pub fn install_over(config: &CaptureConfig) -> Result<Self, CaptureError> {
        Self::put(config, true)
    }

    /// From now on they are this process's alone.
    pub fn own(&mut self) {
        self.is_shared = false;
    }

    fn put(config: &CaptureConfig, is_shared: bool) -> Result<Self, CaptureError> {
        config.check()?;
        let families = if config.ipv6 { vec![Family::V4, Family::V6] } else { vec![Family::V4] };
        // Made first: whatever goes wrong below, dropping it cleans up.
        let capture = Self { families, is_shared };
        for family in &capture.families {
            family.install(config).map_err(|error| match family {
                Family::V4 => error,
                Family::V6 => CaptureError::Ipv6(Box::new(error)),
            })?;
        }
        if !config.ipv6 {
            // A sidecar that captured IPv6 may have been here before.
            drop(Family::V6.remove());
        }
        Ok(capture)
    }

    /// Leaves the rules as they are: they are another process's now.
    pub fn leave(mut self) {
        self.is_shared = true;
    }

    /// Lets new connections from outside pass by. Those that were captured stay so as long as the chains are there: with
    /// the last of them the kernel may cease to translate, and a connection that talks would be reset.
    pub fn release_inbound(&self) -> Result<(), CaptureError> {
        self.families.iter().try_for_each(|family| family.leave(INBOUND_JUMP))
    }

    /// The same for new connections of the application.
    pub fn release_outbound(&self) -> Result<(), CaptureError> {
        self.families.iter().try_for_each(|family| family.leave(OUTPUT_JUMP))
    }

    /// Removes the rules.
    pub fn remove(mut self) -> Result<(), CaptureError> {
        let families = std::mem::take(&mut self.families);
        families.into_iter().try_for_each(Family::remove)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.is_shared {
            return;
        }
        for family in std::mem::take(&mut self.families) {
            if let Err(error) = family.remove() {
                tracing::warn!(error = %error, "redirect rules may be left behind");
            }
        }
    }
}

impl CaptureConfig {
    fn check(&self) -> Result<(), CaptureError> {
        let bad = |field, value: String, remedy| Err(CaptureError::Config { field, value, remedy });
        for (field, port) in
            [("outbound port", self.outbound_port), ("inbound port", self.inbound_port)]
        {
            if port == 0 {
                return bad(
                    field,
                    "0".to_owned(),
                    "capture after binding, with the port that was bound",
                );
            }
        }
        if self.outbound_port == self.inbound_port {
            return bad(
                "inbound port",
                self.inbound_port.to_string(),
                "use another than the outbound port",
            );
        }
        if let Some(port) = self.application_ports.iter().find(|port| **port == self.inbound_port) {
            return bad(
                "application port",
                port.to_string(),
                "use another than the sidecar's inbound port",
            );
        }
        for (field, length) in [
            ("application ports", self.application_ports.len()),
            ("excluded outbound ports", self.excluded_outbound_ports.len()),
            ("excluded destinations", self.excluded_destinations.len()),
            ("excluded inbound ports", self.excluded_inbound_ports.len()),
        ] {
            if length > EXCLUSIONS_MAX {
                return bad(field, format!("{length} entries"), "use at most 256, or wider ranges");
            }
        }
        Ok(())
    }
}

impl Family {
    fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn restore_program(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    /// The port that our chains lead to, where they are there.
    fn target(self) -> Result<Option<u16>, CaptureError> {
        for chain in [OUTPUT_CHAIN, INBOUND_CHAIN] {
            let arguments = ["-S", chain];
            let listed = match self.nat(&arguments) {
                // What is not installed has installed nothing.
                Err(CaptureError::Missing { .. }) => return Ok(None),
                listed => listed?,
            };
            match succeeded(self.program(), &arguments, &listed) {
                Ok(()) => {}
                Err(refused @ CaptureError::NotPermitted { .. }) => return Err(refused),
                // There is no such chain.
                Err(_) => continue,
            }
            let rules = String::from_utf8_lossy(&listed.stdout);
            let mut words = rules.split_whitespace().skip_while(|word| *word != "--to-ports");
            return Ok(Some(words.nth(1).and_then(|port| port.parse().ok()).unwrap_or(0)));
        }
        Ok(None)
    }

    /// Whether anybody listens at a port of loopback, which our rules leave alone.
    fn is_served(self, port: u16) -> bool {
        let loopback: IpAddr = match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        port != 0 && TcpStream::connect_timeout(&(loopback, port).into(), CONNECT_WITHIN).is_ok()
    }

    /// Writes our chains in one step.
    fn restore(self, chains: &str) -> Result<(), CaptureError> {
        let wait = LOCK_WAIT_SECONDS.to_string();
        let output = run(self.restore_program(), &["-w", &wait, "--noflush"], Some(chains))?;
        succeeded(self.restore_program(), &["--noflush"], &output)
    }

    fn nat(self, arguments: &[&str]) -> Result<Output, CaptureError> {
        let wait = LOCK_WAIT_SECONDS.to_string();
        let mut all = vec!["-w", wait.as_str(), "-t", "nat"];
        all.extend(arguments);
        run(self.program(), &all, None)
    }

    fn install(self, config: &CaptureConfig) -> Result<(), CaptureError> {
        self.restore(&rules::chains(config, self))?;
        for jump in [OUTPUT_JUMP, INBOUND_JUMP] {
            self.jump(jump)?;
            self.delete_all(jump, &FORMER_JUMP)?;
        }
        Ok(())
    }

    /// Sends new connections of the built-in chain to ours, once.
    fn jump(self, (from, chain): (&str, &str)) -> Result<(), CaptureError> {
        let rule = [&JUMP[..], &["-j", chain]].concat();
        if self.nat(&[&["-C", from][..], &rule].concat())?.status.success() {
            return Ok(());
        }
        // First: rules of others (Docker, kube-proxy) would otherwise rewrite the destination before we see it.
        let arguments = [&["-I", from, "1"][..], &rule].concat();
        succeeded(self.program(), &arguments, &self.nat(&arguments)?)
    }

    /// Removes the jumps to a chain of ours, as many as there are.
    fn leave(self, jump: (&str, &str)) -> Result<(), CaptureError> {
        self.delete_all(jump, &JUMP)?;
        self.delete_all(jump, &FORMER_JUMP)
    }

    fn delete_all(self, (from, chain): (&str, &str), matches: &[&str]) -> Result<(), CaptureError> {
        let arguments = [&["-D", from][..], matches, &["-j", chain]].concat();
        while self.nat(&arguments)?.status.success() {}
        Ok(())
    }

    /// Removes jumps and chains, as many as there are.
    fn remove(self) -> Result<(), CaptureError> {
        for jump @ (_, chain) in [OUTPUT_JUMP, INBOUND_JUMP] {
            if !self.nat(&["-n", "-L", chain])?.status.success() {
                continue; // not there, or not to be seen by us
            }
            self.leave(jump)?;
            for arguments in [["-F", chain], ["-X", chain]] {
                succeeded(self.program(), &arguments, &self.nat(&arguments)?)?;
            }
        }
        Ok(())
    }
}

fn run(
    program: &'static str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<Output, CaptureError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CaptureError::Missing { program },
        _ => CaptureError::Run { command: shown(program, arguments), source },
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C") // messages are read below
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends without reading says why on its standard error.
        drop(stdin.write_all(input.as_bytes()));
    }
    child.wait_with_output().map_err(failed)
}

fn succeeded(
    program: &'static str,
    arguments: &[&str],
    output: &Output,
) -> Result<(), CaptureError> {
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let command = shown(program, arguments);
    if ["Permission denied", "Operation not permitted", "you must be root"]
        .iter()
        .any(|text| message.contains(text))
    {
        return Err(CaptureError::NotPermitted { command, message });
    }
    Err(CaptureError::Failed { command, message })
}

fn shown(program: &str, arguments: &[&str]) -> String {
    format!("{program} {}", arguments.join(" "))
}

impl std::str::FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        match bits {
            None => Ok(address.into()),
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let bits = bits.parse().map_err(|_| bad())?;
                IpNet::new(address, bits).map(Self).map_err(|_| bad())
            }
            Some(_) => Err(bad()),
        }
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self(address.into())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CaptureConfig {
        CaptureConfig {
            outbound_port: 15001,
            inbound_port: 15006,
            application_ports: vec![8080],
            own_user_id: None,
            excluded_outbound_ports: Vec::new(),
            excluded_destinations: Vec::new(),
            excluded_inbound_ports: vec![15020],
            ipv6: false,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut CaptureConfig), message: &str) {
        let mut config = config();
        change(&mut config);
        // Refused before anything is run, so this is safe wherever it runs.
        assert_eq!(Capture::install(&config).unwrap_err().to_string(), message);
    }

    #[test]
    fn what_cannot_work_is_refused_with_field_value_and_remedy() {
        check(
            |config| config.outbound_port = 0,
            "capture: outbound port 0: capture after binding, with the port that was bound",
        );
        check(
            |config| config.inbound_port = 15001,
            "capture: inbound port 15001: use another than the outbound port",
        );
        check(
            |config| config.application_ports = vec![80, 15006],
            "capture: application port 15006: use another than the sidecar's inbound port",
        );
        check(
            |config| config.excluded_outbound_ports = (1..=257).collect(),
            "capture: excluded outbound ports 257 entries: use at most 256, or wider ranges",
        );
    }

    #[test]
    fn ranges_are_read_and_written() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), written);
        }
        for text in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "host", "10.0.0.0/8/8"]
        {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no address range")), "{error}");
        }
    }
}
