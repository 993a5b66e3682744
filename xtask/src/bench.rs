//! `cargo xtask bench`: what a request costs, beside peers, in one run.
//!
//! Machines are shared and noisy, so absolute times say little. Every contender runs in every round, pinned to one
//! processor, client and upstream on another; what is compared is CPU time per request as the kernel's scheduler
//! counted it, as ratios within a round, and the median of those is told.

mod contender;
mod decision;
mod report;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::run;
use contender::Contender;

/// Rounds; each runs every contender once, in turn.
pub(crate) const ROUNDS: usize = 7;
/// Seconds of load per contender and round, after a warm-up of one.
const SECONDS: u32 = 3;
/// Keep-alive connections of the client.
const CONNECTIONS: u32 = 64;
/// The processor of the proxy under test, and that of client and upstream.
const PROXY_CPU: &str = "0";
const OTHER_CPU: &str = "1";

/// One contender in one round.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// CPU time per request, nanoseconds.
    cpu_ns: f64,
    /// Requests per second.
    rate: f64,
}

/// Measures the lane decision alone, and fails if it takes too many instructions.
pub(crate) fn decision(root: &Path) -> Result<()> {
    print!("{}", decision::section(root)?);
    Ok(())
}

/// Runs the benchmark and writes `docs/benchmarks.md`.
pub(crate) fn run(root: &Path) -> Result<()> {
    let bench = Bench::prepare(root)?;
    let contenders = contender::start_all(&bench)?;
    let rounds = run_rounds(&contenders, ROUNDS)?;
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
    let versions: Vec<String> =
        contenders.iter().map(|contender| contender.version.clone()).collect();
    let mut text = report::render(&names, &versions, &rounds);
    text.push_str(&decision::section(root)?);
    print!("{text}");
    fs::write(root.join("docs/benchmarks.md"), text).context("write docs/benchmarks.md")
}

/// What a change costs: another binary of Laneway and this tree's, in one interleaved run. Writes nothing.
pub(crate) fn against(root: &Path, other: &Path, rounds: usize) -> Result<()> {
    let bench = Bench::prepare(root)?;
    let contenders = [
        contender::laneway("laneway before", other, &bench)?,
        contender::laneway("laneway", &bench.programs.join("laneway"), &bench)?,
    ];
    println!("{}", report::compared(&run_rounds(&contenders, rounds)?));
    Ok(())
}

/// What contenders are started with.
#[derive(Debug)]
struct Bench {
    /// Where the built programs are.
    programs: PathBuf,
    /// Where contenders keep what they write.
    home: PathBuf,
    /// The address all of them forward to.
    upstream: String,
    _upstream: Guard,
}

impl Bench {
    /// Builds what is shipped, and starts the upstream.
    fn prepare(root: &Path) -> Result<Self> {
        if let Some(program) =
            ["wrk", "taskset"].into_iter().find(|program| !run::is_on_path(program))
        {
            bail!(
                "`{program}` is not installed: apt-get install wrk util-linux nginx-light haproxy"
            );
        }
        let packages = ["--package", "laneway", "--package", "bench"];
        run::cargo(root, &[&["build", "--profile", "dist"], &packages[..]].concat())?;
        let home = root.join("target/bench");
        run::clear(&home)?;
        fs::create_dir_all(&home).context("create target/bench")?;
        let upstream = free_address()?;
        let programs = root.join("target/dist");
        let process = start(OTHER_CPU, &programs.join("upstream"), &[&upstream], &home)?;
        wait_until_answers(&upstream)?;
        Ok(Self { programs, home, upstream, _upstream: process })
    }
}

/// Loads every contender once a round, in turn; every other round in the opposite order, so that none is always
/// first. Samples are in the order of the contenders.
fn run_rounds(contenders: &[Contender], rounds: usize) -> Result<Vec<Vec<Sample>>> {
    let mut all = Vec::new();
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        let mut samples = vec![Sample { cpu_ns: 0.0, rate: 0.0 }; contenders.len()];
        for index in order {
            let contender = &contenders[index];
            load(&contender.address, 1)?;
            let sample = measure(contender)?;
            let (name, cpu, rate) = (contender.name, sample.cpu_ns / 1e3, sample.rate);
            println!("round {round} {name:<14} {cpu:>6.2} µs CPU {rate:>8.0}/s");
            samples[index] = sample;
        }
        all.push(samples);
    }
    Ok(all)
}

fn measure(contender: &Contender) -> Result<Sample> {
    let before = cpu_ns(contender.pid())?;
    let (requests, rate) = load(&contender.address, SECONDS)?;
    let used = cpu_ns(contender.pid())?.saturating_sub(before);
    Ok(Sample { cpu_ns: used as f64 / requests as f64, rate })
}

/// CPU time of a process and its children so far: what the scheduler counted for every thread.
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("read tasks of {pid}"))?
    {
        let task = task?.path();
        let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        total += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let children = fs::read_to_string(task.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            total += cpu_ns(child)?;
        }
    }
    Ok(total)
}

/// Loads an address for some seconds; requests answered and their rate. A single wrong answer is an error.
fn load(address: &str, seconds: u32) -> Result<(u64, f64)> {
    let url = format!("http://{address}/a");
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", OTHER_CPU, "wrk", "-t1", "-H", "canary: gray"]);
    wrk.arg(format!("-c{CONNECTIONS}")).arg(format!("-d{seconds}s")).arg(&url);
    let output = wrk.output().context("run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") || !output.status.success() {
        bail!("{url} under load: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 =
        requests.and_then(|(count, _)| count.parse().ok()).context("requests in wrk's output")?;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate: f64 =
        rate.and_then(|word| word.trim().parse().ok()).context("rate in wrk's output")?;
    if requests == 0 {
        bail!("{url}: no request was answered");
    }
    Ok((requests, rate))
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(cpu: &str, program: &Path, arguments: &[&str], home: &Path) -> Result<Guard> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = fs::File::create(home.join(format!("{name}.log")))?;
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Guard(command.spawn().with_context(|| format!("start {}", program.display()))?))
}

/// An address nobody listens on at the moment.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Waits until a GET of `/a` is answered with 200.
fn wait_until_answers(address: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut last = String::new();
    while Instant::now() < deadline {
        let url = format!("http://{address}/a");
        let output = Command::new("curl")
            .args([
                "-s",
                "-m",
                "1",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                "canary: gray",
                &url,
            ])
            .output()
            .context("run curl")?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        if last == "200" {
            return Ok(());
        }
    }
    bail!("{address} does not answer 200 within 20 s, last: {last}")
}
