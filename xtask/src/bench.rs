//! `cargo xtask bench`: what a request costs, beside peers, in one run.
//!
//! Machines are shared and noisy, so absolute times say little. Every contender runs in every round, pinned to one
//! processor, client and upstream on another; what is compared is CPU time per request as the kernel's scheduler
//! counted it, as ratios within a round, and the median of those is told.

mod column;
mod contender;
mod decision;
mod door;
pub(crate) mod instructions;
mod laneway;
mod lineup;
mod peers;
mod report;

use std::{
    cell::Cell,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{profile, run};
use column::{COLUMNS, Column, IDLE_CONNECTIONS, Load};
use contender::{Contender, LANEWAY};
use door::{Door, Way};
use laneway::Listeners;
use report::{Measured, Sample};

/// Rounds, unless told; each runs every contender of a column once, in turn.
pub(crate) const ROUNDS: usize = 5;
/// Seconds of load per contender and round of a column, and of an unmeasured one before the first.
const SECONDS: u32 = 1;
/// The same of a program that counts what it executes: enough that what is usual stands out.
const EXERCISED_SECONDS: u32 = 3;
/// The same of a comparison of two binaries, which is of one column and about less.
const COMPARED_SECONDS: u32 = 3;
/// The processor of the proxy under test, and that of client and upstream.
const PROXY_CPU: &str = "0";
const OTHER_CPU: &str = "1";
/// Seconds within which all connections that are to be idle are there.
const HELD_WITHIN: &str = "120";

/// How the programs beside Laneway are built, what is run, and how the proxies under test are.
#[derive(Debug)]
struct Means {
    /// Cargo's profile, and the folder of what is built with it.
    profile: (&'static str, &'static str),
    /// Programs, and the Debian package that has each.
    programs: &'static [(&'static str, &'static str)],
    /// What runs a proxy of Laneway under test, the proxy's own words after these; `{home}` is the benchmark's folder.
    under: &'static [&'static str],
}

/// For what is measured by the clock.
const MEASURED: Means = Means {
    profile: ("dist", "dist"),
    programs: &[
        ("wrk", "wrk"),
        ("h2load", "nghttp2-client"),
        ("curl", "curl"),
        ("openssl", "openssl"),
        ("taskset", "util-linux"),
    ],
    under: &[],
};

/// Longest until a process that was asked to end has, what it is in the middle of included.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Longest until a process that was just started answers, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Measures the lane decision alone, and fails if it takes too many instructions.
pub(crate) fn decision(root: &Path) -> Result<()> {
    print!("{}", decision::section(root)?);
    Ok(())
}

/// Runs the benchmark and writes `docs/benchmarks.md`; of one column it is only printed.
pub(crate) fn run(root: &Path, rounds: usize, only: Option<&str>) -> Result<()> {
    let columns: Vec<&'static Column> = match only {
        Some(name) => vec![column::named(name)?],
        None => COLUMNS.iter().collect(),
    };
    let bench = Bench::prepare(root)?;
    let mut not_run = Vec::new();
    let mut all = Vec::new();
    for way in [Way::Gateway, Way::Mesh] {
        let loaded = |column: &&&'static Column| column.way == way && !column.load.is_idle();
        let loaded: Vec<&'static Column> = columns.iter().filter(loaded).copied().collect();
        if loaded.is_empty() {
            continue;
        }
        let contenders = begin_all(way, &bench, &mut not_run)?;
        for column in loaded {
            all.push(measure_column(column, &contenders, &bench, rounds, &mut not_run)?);
        }
    }
    for column in columns.iter().filter(|column| column.load.is_idle()) {
        all.push(measure_idle(column, &bench, &mut not_run)?);
    }
    let place = |measured: &Measured| COLUMNS.iter().position(|c| c.name == measured.column.name);
    all.sort_by_key(place);
    not_run.sort();
    not_run.dedup();
    let mut text = report::render(&all, rounds, &not_run);
    if only.is_some() {
        print!("{text}");
        return Ok(());
    }
    text.push_str(&decision::section(root)?);
    print!("{text}");
    fs::write(root.join("docs/benchmarks.md"), text).context("write docs/benchmarks.md")
}

/// Has a binary of Laneway do what the columns measure, and end in order, so that it can tell what it did.
pub(crate) fn exercise(root: &Path, binary: &Path) -> Result<()> {
    let bench = Bench::with(root, &MEASURED, binary.to_owned())?;
    for way in [Way::Gateway, Way::Mesh] {
        let contender = lineup::begin(LANEWAY, way, &bench)?;
        for column in COLUMNS.iter().filter(|column| column.way == way) {
            if let (Some(url), false) = (column.url(&contender), column.load.is_idle()) {
                let done = column.load(&bench, &url, EXERCISED_SECONDS)?;
                println!("{:<10} {} requests", column.name, done.count);
            }
        }
        contender.end()?;
    }
    Ok(())
}

/// What a change costs: another binary of Laneway and this tree's, in one interleaved run. Writes nothing.
pub(crate) fn against(root: &Path, other: &Path, rounds: usize) -> Result<()> {
    let bench = Bench::prepare(root)?;
    let contenders = [
        laneway::gateway("laneway before", other, &bench, Listeners::One)?,
        laneway::gateway(LANEWAY, &bench.laneway, &bench, Listeners::One)?,
    ];
    let column = &COLUMNS[0];
    let url = |contender: &Contender| column.url(contender).context("a door in the clear");
    let mut sampled: [Vec<Sample>; 2] = Default::default();
    for round in 0..rounds {
        for index in in_turn(round, contenders.len()) {
            let (contender, url) = (&contenders[index], url(&contenders[index])?);
            column.load(&bench, &url, 1)?;
            let sample = measure(column, contender, &bench, &url, COMPARED_SECONDS)?;
            say(round, column, contender.name, sample);
            sampled[index].push(sample);
        }
    }
    let [before, after] = &sampled;
    println!("{}", report::compared(before, after));
    Ok(())
}

/// Starts every contender that can go this way. Laneway must.
fn begin_all(way: Way, bench: &Bench, not_run: &mut Vec<String>) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for name in contender::NAMES {
        match lineup::begin(name, way, bench) {
            Ok(contender) => contenders.push(contender),
            Err(error) if name == LANEWAY => return Err(error),
            Err(error) => note(not_run, format!("{name}: {error:#}")),
        }
    }
    Ok(contenders)
}

/// What did not run is said aloud, and on the page.
fn note(not_run: &mut Vec<String>, why: String) {
    println!("NOT RUN: {why}");
    not_run.push(why);
}

/// What contenders are started with.
#[derive(Debug)]
struct Bench {
    /// Where the built programs are.
    programs: PathBuf,
    /// The binary of Laneway under test.
    laneway: PathBuf,
    /// Where contenders keep what they write.
    home: PathBuf,
    /// Folders in there so far.
    folders: Cell<u32>,
    /// The address all of them forward to.
    upstream: String,
    /// The same at another address: the instance of the lane.
    second_upstream: String,
    /// What all of them show to clients of TLS: ECDSA with P-256.
    certificate: PathBuf,
    key: PathBuf,
    /// A message of gRPC.
    message: PathBuf,
    /// A script for wrk.
    absolute: PathBuf,
    means: &'static Means,
    _upstream: Guard,
}

impl Bench {
    /// Builds what is missing, unless `LANEWAY_BINARY` names Laneway, and starts the upstream.
    fn prepare(root: &Path) -> Result<Self> {
        let laneway = match std::env::var_os("LANEWAY_BINARY") {
            Some(binary) => PathBuf::from(binary),
            None => profile::build(root, exercise)?,
        };
        Self::with(root, &MEASURED, laneway)
    }

    /// The same by these means, with a binary of Laneway that is built.
    fn with(root: &Path, means: &'static Means, laneway: PathBuf) -> Result<Self> {
        for (program, package) in means.programs {
            if !run::is_on_path(program) {
                bail!("`{program}` is not installed: apt-get install {package}");
            }
        }
        let (profile, folder) = means.profile;
        let programs = root.join("target").join(folder);
        let build = ["build", "--locked", "--profile", profile, "--package", "bench"];
        run::cargo(root, &build)?;
        let home = root.join("target/bench");
        run::clear(&home)?;
        fs::create_dir_all(&home).context("create target/bench")?;
        let (certificate, key) = make_certificate(&home)?;
        let message = home.join("message");
        column::write_message(&message)?;
        let absolute = home.join("absolute.lua");
        column::write_absolute(&absolute)?;
        let upstream = free_address()?;
        let port = upstream.rsplit(':').next().unwrap_or_default();
        let second_upstream = format!("127.0.0.2:{port}");
        let process =
            start(OTHER_CPU, &programs.join("upstream"), &[&upstream, &second_upstream], &home)?;
        wait_until_answers(Door::Clear, &upstream, &[])?;
        let folders = Cell::new(0);
        Ok(Self {
            programs,
            laneway,
            home,
            folders,
            upstream,
            second_upstream,
            certificate,
            key,
            message,
            absolute,
            means,
            _upstream: process,
        })
    }

    /// Starts a proxy of Laneway under test.
    fn start_proxy(&self, binary: &Path, arguments: &[&str], home: &Path) -> Result<Guard> {
        let folder = self.home.to_string_lossy();
        let under: Vec<String> =
            self.means.under.iter().map(|word| word.replace("{home}", &folder)).collect();
        let Some((program, words)) = under.split_first() else {
            return start(PROXY_CPU, binary, arguments, home);
        };
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let binary = binary.to_string_lossy();
        words.push(&binary);
        start(PROXY_CPU, program.as_ref(), &[&words, arguments].concat(), home)
    }

    /// A new folder for one process.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        self.folders.set(self.folders.get() + 1);
        let folder = self.home.join(format!("{}-{}", self.folders.get(), name.replace(' ', "-")));
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }
}

/// A certificate for `a.example` that vouches for itself, and its key.
fn make_certificate(home: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (home.join("certificate.crt"), home.join("certificate.key"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    openssl.args(["-days", "365", "-subj", "/CN=a.example"]);
    openssl.args(["-addext", "subjectAltName=DNS:a.example"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let output = openssl.output().context("run openssl")?;
    if !output.status.success() {
        bail!("openssl req: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((certificate, key))
}

/// The order of a round: every other one the opposite, so that none is always first.
fn in_turn(round: usize, contenders: usize) -> Vec<usize> {
    let order = 0..contenders;
    if round.is_multiple_of(2) { order.collect() } else { order.rev().collect() }
}

/// Loads every contender of a column once a round, in turn. A peer that fails is left out, and that is said.
fn measure_column(
    column: &'static Column,
    contenders: &[Contender],
    bench: &Bench,
    rounds: usize,
    not_run: &mut Vec<String>,
) -> Result<Measured> {
    let mut measured = Measured::new(column);
    let mut failed = vec![false; contenders.len()];
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for index in in_turn(round, contenders.len()) {
            let contender = &contenders[index];
            let takes_part = lineup::takes_part(contender.name, column.way, column.load);
            let Some(url) = column.url(contender).filter(|_| takes_part && !failed[index]) else {
                continue;
            };
            // Nobody has been asked anything before the first round.
            let warm =
                if round == 0 { column.load(bench, &url, SECONDS).map(|_| ()) } else { Ok(()) };
            match warm.and_then(|()| measure(column, contender, bench, &url, SECONDS)) {
                Ok(sample) => {
                    say(round, column, contender.name, sample);
                    samples[index].push(sample);
                }
                Err(error) if contender.name == LANEWAY => return Err(error),
                Err(error) => {
                    failed[index] = true;
                    note(not_run, format!("{}, {}: {error:#}", column.name, contender.name));
                }
            }
        }
    }
    for (index, contender) in contenders.iter().enumerate() {
        if !failed[index] && !samples[index].is_empty() {
            measured.add(contender.name, &contender.version, std::mem::take(&mut samples[index]));
        }
    }
    Ok(measured)
}

fn say(round: usize, column: &Column, name: &str, sample: Sample) {
    let units = column.load.units();
    let (round, title, Sample { first, second }) = (round + 1, column.name, sample);
    println!(
        "{title:<10} round {round} {name:<14} {first:>9.2} {}, {second:.0} {}",
        units.0, units.1
    );
}

fn measure(
    column: &Column,
    contender: &Contender,
    bench: &Bench,
    url: &str,
    seconds: u32,
) -> Result<Sample> {
    let used =
        || contender.pids().try_fold(0, |sum, pid| Ok::<u64, anyhow::Error>(sum + cpu_ns(pid)?));
    let before = used()?;
    let done = column.load(bench, url, seconds)?;
    let cpu_us = used()?.saturating_sub(before) as f64 / done.count as f64 / 1e3;
    Ok(match column.load {
        Load::OpenLoop => Sample { first: done.figures.0, second: done.figures.1 },
        // The client is slower than the proxy; what a processor would do follows from what it did.
        Load::Handshakes { .. } => Sample { first: cpu_us, second: 1e6 / cpu_us },
        _ => Sample { first: cpu_us, second: done.figures.0 },
    })
}

/// What idle connections add to the memory of contenders that are started for that.
fn measure_idle(
    column: &'static Column,
    bench: &Bench,
    not_run: &mut Vec<String>,
) -> Result<Measured> {
    let mut measured = Measured::new(column);
    let Load::Idle(kind) = column.load else { bail!("`{}` holds no connections", column.name) };
    let takes_part = |name: &&str| lineup::takes_part(name, column.way, column.load);
    for name in contender::NAMES.into_iter().filter(takes_part) {
        let sampled = lineup::begin(name, column.way, bench).and_then(|contender| {
            let sample = hold(kind, column, &contender, bench)?;
            Ok((contender.version.clone(), sample))
        });
        match sampled {
            Ok((version, sample)) => {
                say(0, column, name, sample);
                measured.add(name, &version, vec![sample]);
            }
            Err(error) if name == LANEWAY => return Err(error),
            Err(error) => note(not_run, format!("{}, {name}: {error:#}", column.name)),
        }
    }
    Ok(measured)
}

/// Holds connections at a contender, and looks at its memory before and while.
fn hold(kind: &str, column: &Column, contender: &Contender, bench: &Bench) -> Result<Sample> {
    let memory = || {
        contender.pids().try_fold(0, |sum, pid| Ok::<u64, anyhow::Error>(sum + resident_kb(pid)?))
    };
    let before = memory()?;
    let address = contender.address(column.door).context("no such door")?;
    let mut client = Command::new("timeout");
    client.args([HELD_WITHIN, "taskset", "-c", OTHER_CPU]).arg(bench.programs.join("client"));
    client.args(["idle", kind, address]).arg(&bench.certificate).arg(IDLE_CONNECTIONS.to_string());
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Guard(client.spawn().context("start the client")?);
    let mut line = String::new();
    let output = client.0.stdout.take().context("the client's output")?;
    BufReader::new(output).read_line(&mut line)?;
    if line.trim() != IDLE_CONNECTIONS.to_string() {
        bail!("{kind} connections at {address}: the client did not hold them all");
    }
    let during = memory()?;
    // It ends with its standard input.
    drop(client.0.stdin.take());
    client.0.wait().context("wait for the client")?;
    let megabytes = |kb: u64| kb as f64 * 1024.0 / 1e6;
    Ok(Sample { first: megabytes(during.saturating_sub(before)), second: megabytes(during) })
}

/// Resident memory of a process, KiB.
fn resident_kb(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse().ok()).with_context(|| format!("VmRSS in {file}"))
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

/// A process that ends with its owner.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    /// Asks it to end, as an operator does, and waits until it has.
    fn end(mut self) -> Result<()> {
        let pid = self.0.id().to_string();
        run::command(Command::new("kill").args(["-TERM", &pid]))?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while self.0.try_wait().context("wait for a process")?.is_none() {
            if Instant::now() > deadline {
                bail!("process {pid} does not end within {ENDS_WITHIN:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

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
    // Ours, and no setting of Laneway.
    command.env_remove("LANEWAY_BINARY");
    Ok(Guard(command.spawn().with_context(|| format!("start {}", program.display()))?))
}

/// An address nobody listens on at the moment.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Waits until a request at a door is answered with 200.
fn wait_until_answers(door: Door, address: &str, more: &[&str]) -> Result<()> {
    let flags: &[&str] = match door {
        Door::Clear => &[],
        Door::Tls => &["-k", "--http1.1"],
        Door::H2c => &["--http2-prior-knowledge"],
        Door::SecureH2 => &["-k", "--http2"],
        Door::Grpc => &[
            "--http2-prior-knowledge",
            "-Hcontent-type: application/grpc",
            "-Hte: trailers",
            "-dx",
        ],
    };
    let deadline = Instant::now() + READY_WITHIN;
    let url = format!("{}://{address}{}", door.scheme(), door.path());
    let mut last = String::new();
    while Instant::now() < deadline {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "2", "-w", "\n%{http_code}"]);
        let output = curl.args(flags).args(more).arg(&url).output().context("run curl")?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        if last.ends_with("\n200") {
            return Ok(());
        }
    }
    bail!("{url} does not answer 200 within {READY_WITHIN:?}, last: {last}")
}
