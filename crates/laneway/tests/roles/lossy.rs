//! Hosts whose network loses packets, and a control plane that is far away: TCP makes of it answers that come late, and
//! nothing else becomes of it. No request fails, none leaves its lane, nobody is put aside.
//!
//! Packets are dropped by the firewall of each host, at random; delay is a relay's, because not every kernel can delay
//! packets itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use testkit::{
    Host, Process, Sandbox, Switch, Timeline, http, load, needs, relay::Relay, sample, wait,
};

use crate::{SOON, sandbox, says, start_on};

/// Of 100 packets that come in over the network so many are lost.
const LOST_PERCENT: u32 = 3;

/// How late each piece from and to the control plane is.
const LATE_BY: Duration = Duration::from_millis(50);

/// Longest that anything may take here.
const WITHIN: Duration = Duration::from_secs(60);

const MARKS: [Option<&str>; 2] = [None, Some("gray")];

/// Lanes are switched so often.
#[allow(clippy::disallowed_methods, reason = "`cargo xtask faults` says how often")]
fn switches() -> usize {
    if std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full") { 40 } else { 4 }
}

struct World {
    sandbox: Sandbox,
    timeline: Timeline,
    edge: Host,
    _processes: Vec<Process>,
}

impl World {
    fn new() -> Result<Self> {
        let (switch, sandbox) = (Switch::new()?, sandbox()?);
        let [far, edge, base, gray] = [1, 2, 3, 4].map(|number| switch.host(number));
        let (far, edge, base, gray) = (far?, edge?, base?, gray?);
        for host in [&far, &edge, &base, &gray] {
            lose_packets(host)?;
        }
        fs::create_dir_all(sandbox.path("resources"))?;
        let resources = sandbox.path("resources").to_string_lossy().into_owned();
        let all =
            sample::chain(&[]).replace("sc-A", "sc-C").replace("[app-a, app-b, app-c]", "[app-c]");
        fs::write(sandbox.path("resources").join("all.yaml"), all)?;
        let control_address = format!("{}:7601", far.address());
        let arguments =
            ["control", "--discovery-listen", &control_address, "--resources", &resources];
        let control = start_on(&sandbox, &far, "control", &arguments)?;
        says(&control, "(discovery)")?;
        let relay = edge.inside(|| Relay::start("127.0.0.1:7601", &control_address, None))?;
        relay.delay(1, LATE_BY);
        let arguments = ["gateway", "--control", "127.0.0.1:7601"];
        let listening = ["--gateway-listen", "127.0.0.1:8000", "--admin-listen", "127.0.0.1:15020"];
        let gateway = start_on(&sandbox, &edge, "gateway", &[&arguments[..], &listening].concat())?;
        let mut timeline = Timeline::default();
        let mut processes = vec![control, gateway];
        for (host, tag) in [(&base, None), (&gray, Some("gray"))] {
            let address = host.address().to_string();
            timeline.instance_started("C", tag, &address, Instant::now());
            processes.extend(instance(&sandbox, host, tag, &control_address)?);
        }
        let mut world = Self { sandbox, timeline, edge, _processes: processes };
        world.switch(true)?;
        world.answers(None, "C[")?;
        for host in [&base, &gray] {
            world.timeline.instance_certain(&host.address().to_string(), Instant::now());
        }
        Ok(world)
    }

    /// Switches the lane, and waits until requests go where they must.
    fn switch(&mut self, enabled: bool) -> Result<()> {
        let begun = Instant::now();
        let lane =
            sample::lane("gray").replace("spec: {", &format!("spec: {{enabled: {enabled}, "));
        // As a whole: a file that is half written is another test's.
        let fresh = self.sandbox.path("lane.yaml");
        fs::write(&fresh, lane)?;
        fs::rename(fresh, self.sandbox.path("resources").join("lane.yaml"))?;
        self.answers(Some("gray"), if enabled { "Cgray[" } else { "C[" })?;
        self.timeline.lane_switched("gray", enabled, begun, Instant::now());
        Ok(())
    }

    fn answers(&self, mark: Option<&str>, words: &str) -> Result<()> {
        let header = mark.map(|mark| format!("canary: {mark}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        self.edge.inside(|| {
            wait::until(WITHIN, &format!("{words} for {mark:?}"), || {
                let answer = http::get("127.0.0.1:8000", "/a", &headers)?;
                ensure!(answer.body.starts_with(words), "{} {}", answer.status, answer.body);
                Ok(())
            })
        })
    }
}

/// An application and its sidecar on a host.
fn instance(
    sandbox: &Sandbox,
    host: &Host,
    tag: Option<&str>,
    control: &str,
) -> Result<[Process; 2]> {
    let label = format!("C{}", tag.unwrap_or_default());
    let (inside, outside) =
        (format!("{}:8080", host.address()), format!("{}:15006", host.address()));
    let mut command = host.command(testkit::application::program()?);
    command.args([&label, &inside]);
    let application = Process::start(&label, &mut command, sandbox.directory())?;
    let mut arguments = vec!["sidecar", "--application", "app-c", "--service", "sc-C"];
    arguments.extend(["--control", control, "--app-address", &inside]);
    arguments.extend(["--inbound-listen", &outside, "--advertise", &outside]);
    arguments.extend(tag.iter().flat_map(|tag| ["--tag", tag]));
    let sidecar = start_on(sandbox, host, &format!("sidecar-{label}"), &arguments)?;
    Ok([application, sidecar])
}

fn lose_packets(host: &Host) -> Result<()> {
    let probability = format!("{:.2}", f64::from(LOST_PERCENT) / 100.0);
    let matching = ["-m", "statistic", "--mode", "random", "--probability", &probability];
    let mut command = host.command("iptables");
    command.args(["-A", "INPUT", "-i", "eth0"]).args(matching).args(["-j", "DROP"]);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Packets that a host has lost.
fn lost(host: &Host) -> Result<u64> {
    let output = host.command("iptables").args(["-L", "INPUT", "-v", "-x", "-n"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("DROP"));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.ok_or_else(|| anyhow::anyhow!(text))
}

#[test]
#[allow(clippy::print_stderr, reason = "figures are for people")]
fn a_network_that_loses_packets_loses_no_request_and_no_lane() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let mut world = World::new()?;
    let kinds = MARKS.map(|mark| match mark {
        Some(mark) => load::get("/a", &[&format!("canary: {mark}")]),
        None => load::get("/a", &[]),
    });
    let profile = load::Profile {
        address: "127.0.0.1:8000".to_owned(),
        rate: 200,
        connections: 32,
        kinds: kinds.to_vec(),
    };
    let load = world.edge.inside(|| load::Load::start(profile));
    for switch in 0..switches() {
        world.switch(switch % 2 == 1)?;
        let seen = load.answered() + 200;
        wait::until_true(SOON, "load to pass", || load.answered() >= seen)?;
    }
    let sent = load.stop()?;
    let mut late = 0;
    for sent in &sent {
        late += usize::from(sent.until - sent.at > LATE_BY);
        let judged = world.timeline.judge(MARKS[sent.kind], sent.at, sent.until, &sent.outcome);
        judged.map_err(|wrong| anyhow::anyhow!("{:?}: {wrong}", MARKS[sent.kind]))?;
    }
    let (packets, metrics) =
        (lost(&world.edge)?, world.edge.inside(|| http::get("127.0.0.1:15020", "/metrics", &[]))?);
    eprintln!("{} answers, {late} of them late, {packets} packets lost at the gateway", sent.len());
    ensure!(metrics.body.contains("laneway_ejections_total 0\n"), "{}", metrics.body);
    ensure!(late > 0 && packets > 0, "{late} answers were late, {packets} packets lost");
    Ok(())
}
