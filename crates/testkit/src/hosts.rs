//! Hosts of one's own: network namespaces joined by a switch, so that packets, ports and firewall rules are real and
//! nobody else's. Needs root; see the world `netns`.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";

/// Begins the names of ours; the process id follows.
const PREFIX: &str = "lwtest";

/// A switch that hosts are plugged into. All of them are gone when the last is dropped.
#[derive(Debug, Clone)]
pub struct Switch {
    namespace: Arc<Namespace>,
}

/// A host: its own network, one cable to its [`Switch`], nothing else.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    number: u8,
    _switch: Switch,
}

#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Switch {
    /// A switch without hosts.
    ///
    /// # Errors
    /// When namespaces cannot be made: not root, or no `ip`.
    pub fn new() -> Result<Self> {
        remove_leftovers();
        let namespace = Namespace::new()?;
        namespace.ip(&["link", "add", "switch", "type", "bridge"])?;
        namespace.ip(&["link", "set", "switch", "up"])?;
        Ok(Self { namespace: Arc::new(namespace) })
    }

    /// Plugs in a new host with the addresses `10.77.0.NUMBER` and `fd77::NUMBER`.
    ///
    /// # Errors
    /// When a command fails.
    pub fn host(&self, number: u8) -> Result<Host> {
        let namespace = Namespace::new()?;
        let plug = format!("plug{number}");
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &namespace.name];
        self.namespace.ip(&[&["link", "add", &plug], &peer[..]].concat())?;
        self.namespace.ip(&["link", "set", &plug, "master", "switch", "up"])?;
        let host = Host { namespace, number, _switch: self.clone() };
        host.namespace.ip(&["link", "set", "lo", "up"])?;
        host.namespace.ip(&["link", "set", "eth0", "up"])?;
        host.namespace.ip(&["addr", "add", &format!("{}/24", host.address()), "dev", "eth0"])?;
        // A host without IPv6 is a host too. Its own addresses need no check for duplicates.
        let v6 = format!("{}/64", host.address_v6());
        let _without = host.namespace.ip(&["addr", "add", &v6, "dev", "eth0", "nodad"]);
        Ok(host)
    }
}

impl Host {
    /// Its IPv4 address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, self.number))
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn address_v6(&self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(self.number)))
    }

    /// A command that will run on this host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={NAMESPACES}/{}", self.namespace.name)).arg("--").arg(program);
        command
    }

    /// Does something on this host, in a thread of its own. Sockets made there stay there; threads and processes
    /// started there too.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new(NAMESPACES).join(&self.namespace.name);
        let entered = move || {
            let namespace = File::open(&path).expect("open the host's network namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter the host's network namespace");
            work()
        };
        // Named as the test, so that what is said about it inside carries its name.
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let outcome = thread::scope(|scope| {
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, entered)
                .expect("start a thread")
                .join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Namespace {
    fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("{PREFIX}-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        Ok(Self { name })
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _already_gone = ip(&["netns", "del", &self.name]);
    }
}

/// Namespaces of test processes that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        let (prefix, process) = (parts.next(), parts.next());
        if prefix == Some(PREFIX)
            && process.is_some_and(|process| !Path::new("/proc").join(process).exists())
        {
            let _another_was_faster = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("run `ip`")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}`: {}", arguments.join(" "), errors.trim());
    }
    Ok(())
}
