//! The sample scenario on plain hosts: control plane and gateway on one, an application with a capturing sidecar on each
//! of five others. Everything is of the package, and started as its units say.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use testkit::{Process, Switch, http, needs, wait};

use crate::{
    machine::{Machine, System},
    unit::Service,
};

/// Longest that anything may take to become so. Debug builds on a busy machine take a few seconds.
const SOON: Duration = Duration::from_secs(60);

const EDGE: u8 = 1;

/// What settings of a sidecar are copied from.
const EXAMPLE: &str = "usr/share/laneway/examples/sidecar.env";

const BASE: &str = "A[10.77.0.11] -> B[10.77.0.12] -> C[10.77.0.13]";
const GRAY: &str = "Agray[10.77.0.21] -> B[10.77.0.12] -> Cgray[10.77.0.23]";

/// Requests of each kind that are looked at.
const REQUESTS: usize = 50;

/// An instance of an application.
struct Instance {
    /// `A`: the application `spring-cloud-a`, the service `sc-A`.
    name: &'static str,
    tag: Option<&'static str>,
    host: u8,
    /// Whom it calls: always the base, by its address.
    next: Option<&'static str>,
}

const CHAIN: [Instance; 5] = [
    Instance { name: "A", tag: None, host: 11, next: Some("http://10.77.0.12:8080/b") },
    Instance { name: "A", tag: Some("gray"), host: 21, next: Some("http://10.77.0.12:8080/b") },
    Instance { name: "B", tag: None, host: 12, next: Some("http://10.77.0.13:8080/c") },
    Instance { name: "C", tag: None, host: 13, next: None },
    Instance { name: "C", tag: Some("gray"), host: 23, next: None },
];

/// An application and its sidecar on a machine. Processes end before their machine does.
struct Node {
    _application: Process,
    sidecar: Service,
    machine: Machine,
}

impl Instance {
    /// Installs it all, and starts the application and its sidecar.
    fn start(&self, system: &System, switch: &Switch, edge: &Machine) -> Result<Node> {
        let machine = Machine::new(system, switch, self.host)?;
        let letter = self.name.to_lowercase();
        let address = format!("{}:8080", machine.address());
        let mut application = machine.laneway(&["sample-application", "--name", self.name]);
        application.args(["--listen", &address]);
        application.args(self.tag.into_iter().flat_map(|tag| ["--tag", tag]));
        application.args(self.next.into_iter().flat_map(|next| ["--next", next]));
        let name = format!("{}-{}", self.name, self.host);
        let application = Process::start(&name, &mut application, system.root())?;

        // The guide's way: the example's copy, and the control plane's token.
        let file = format!("sidecar-spring-cloud-{letter}.env");
        fs::copy(machine.path(EXAMPLE), machine.path("etc/laneway").join(&file))?;
        let token = "etc/laneway/join-token";
        fs::copy(edge.path(token), machine.path(token))?;
        let (control, service) = (format!("{}:7601", edge.address()), format!("sc-{}", self.name));
        let advertised = format!("{}:15006", machine.address());
        let mut settings = vec![
            ("LANEWAY_CONTROL", control.as_str()),
            ("LANEWAY_SERVICE", &service),
            ("LANEWAY_APP_ADDRESS", &address),
            ("LANEWAY_ADVERTISE", &advertised),
            ("LANEWAY_CAPTURE", "true"),
        ];
        settings.extend(self.tag.map(|tag| ("LANEWAY_TAG", tag)));
        machine.set(&file, &settings)?;
        let sidecar = machine.start(&format!("laneway-sidecar@spring-cloud-{letter}.service"))?;
        Ok(Node { _application: application, sidecar, machine })
    }
}

/// Waits until the gateway answers so.
fn becomes(edge: &Machine, headers: &[&str], expected: &str) -> Result<()> {
    wait::until(SOON, &format!("{headers:?} answered by `{expected}`"), || {
        let got = edge.host.inside(|| http::get(&gateway(edge), "/a", headers))?;
        if got.body == expected { Ok(()) } else { bail!("{} {}", got.status, got.body) }
    })
}

/// Sees that every request goes where it should.
fn holds(edge: &Machine) -> Result<()> {
    becomes(edge, &[], BASE)?;
    becomes(edge, &["canary: gray"], GRAY)?;
    for _ in 0..REQUESTS {
        for (headers, expected) in [(&[][..], BASE), (&["canary: gray"], GRAY)] {
            let got = edge.host.inside(|| http::get(&gateway(edge), "/a", headers))?;
            assert_eq!((got.status, got.body.as_str()), (200, expected), "{headers:?}");
        }
    }
    Ok(())
}

fn gateway(edge: &Machine) -> String {
    format!("{}:8000", edge.address())
}

fn apply(edge: &Machine, sample: &str) -> Result<String> {
    let file = edge.path("usr/share/laneway/samples").join(sample);
    edge.must(&["apply", "-f", &file.to_string_lossy()])
}

/// Rules of a sidecar that is killed stay until it is back, or until systemd has given it up.
fn leaves_no_rules(Node { sidecar, machine, .. }: &mut Node) -> Result<()> {
    let are_there = || Ok::<_, anyhow::Error>(machine.rules()?.contains("LANEWAY"));
    sidecar.after(&machine.host, "timeout", "KILL")?;
    assert!(are_there()?, "a sidecar runs");
    sidecar.kill();
    sidecar.after(&machine.host, "signal", "KILL")?;
    assert!(are_there()?, "it is started again");
    sidecar.after(&machine.host, "timeout", "KILL")?;
    assert!(!are_there()?, "{}", machine.rules()?);
    Ok(())
}

/// A setting that no role reads is a warning; here it would be a mistake of ours.
fn assert_settings_are_read(service: &Service, of: &Path) {
    let output = service.output();
    assert!(!output.contains("no setting is read from this variable"), "{of:?}: {output}");
}

#[test]
fn the_sample_scenario_holds_on_plain_hosts_from_the_package() -> Result<()> {
    if !needs("netns") || !needs("packages") {
        return Ok(());
    }
    let (system, switch) = (System::installed()?, Switch::new()?);
    let edge = Machine::new(&system, &switch, EDGE)?;
    edge.set("control.env", &[("LANEWAY_DISCOVERY_LISTEN", "0.0.0.0:7601")])?;
    let mut control = edge.start("laneway-control.service")?;
    let mut gateway = edge.start("laneway-gateway.service")?;
    apply(&edge, "routes.yaml")?;
    apply(&edge, "trade.yaml")?;
    let start = |instance: &Instance| instance.start(&system, &switch, &edge);
    let mut nodes: Vec<Node> = CHAIN.iter().map(start).collect::<Result<_>>()?;
    holds(&edge).context("as it was started")?;
    for node in &nodes {
        assert!(node.machine.rules()?.contains("LANEWAY"), "{}", node.machine.address());
    }

    // A sidecar beside the gateway: each has ports of its own.
    fs::copy(edge.path(EXAMPLE), edge.path("etc/laneway/sidecar-beside.env"))?;
    let application = format!("{}:8080", edge.address());
    let beside = [("LANEWAY_CONTROL", "127.0.0.1:7601"), ("LANEWAY_APP_ADDRESS", &application)];
    edge.set("sidecar-beside.env", &beside)?;
    let advertised = format!("{}:15006", edge.address());
    edge.set("sidecar-beside.env", &[("LANEWAY_ADVERTISE", &advertised)])?;
    edge.start("laneway-sidecar@beside.service")?.stop()?;

    // `systemctl reload`, which an upgrade of the package runs too.
    control.reload(&edge.host)?;
    wait::until_true(SOON, "the control plane reads its settings again", || {
        control.output().contains("settings reloaded")
    })?;
    gateway.replace(&edge.host)?;
    let Node { sidecar, machine, .. } = &mut nodes[0];
    sidecar.replace(&machine.host)?;
    holds(&edge).context("after a reload")?;

    for service in [&control, &gateway].into_iter().chain(nodes.iter().map(|it| &it.sidecar)) {
        assert_settings_are_read(service, system.root());
    }
    for node in &nodes {
        let left = fs::read_dir(node.machine.path("var/lib/private/laneway/shared"))?.count();
        assert!(left > 0, "nothing is left to others of the application");
    }
    let last = nodes.last_mut().context("a node")?;
    last.sidecar.stop()?;
    assert!(!last.machine.rules()?.contains("LANEWAY"), "{}", last.machine.rules()?);
    becomes(&edge, &["canary: gray"], &GRAY.replace("Cgray[10.77.0.23]", "C[10.77.0.13]"))?;
    leaves_no_rules(nodes.get_mut(1).context("a node")?)?;

    // A backup while it runs, and back again, by root: the service is another user.
    edge.by_the_guide("backup")?;
    apply(&edge, "rollout.yaml")?;
    assert!(edge.must(&["get", "LaneGroup"])?.contains("rollout"));
    control.stop()?;
    edge.by_the_guide("restore")?;
    control = edge.start("laneway-control.service")?;
    let groups = edge.must(&["get", "LaneGroup"])?;
    assert!(groups.contains("trade") && !groups.contains("rollout"), "{groups}");
    control.stop()
}
