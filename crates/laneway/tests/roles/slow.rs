//! Thousands of callers that say half a word to a listener, and no more: each costs little, all are counted, and others are
//! served meanwhile.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testkit::{Instance, Process, Sandbox, http, sample, wait};

use crate::{SOON, answers, listeners::API_CONNECTIONS_MAX, sandbox};

/// More than the API and an admin address take, fewer than the rest does.
const FEW: usize = 2_000;
const MANY: usize = 10_000;

/// Longest that another caller may have to wait meanwhile, on a machine that others use too.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Memory that one may cost: its state, and what has been read of a head.
const BYTES_EACH_MAX: usize = 16 * 1024;

/// Half of a request's head.
const HALF_A_HEAD: &[u8] = b"GET /c HTTP/1.1\r\nhost: sh";
/// Half of what begins HTTP/2.
const HALF_A_PREFACE: &[u8] = b"PRI * HTT";

/// A listener, and the process it belongs to.
struct Slowed<'process> {
    name: &'static str,
    address: String,
    words: &'static [u8],
    process: &'process Process,
    /// Where it tells how many connections were refused, and by which line.
    counted: (String, &'static str),
    /// How many it takes at a time.
    room: usize,
}

impl Slowed<'_> {
    fn refused(&self) -> Result<usize> {
        let (admin, name) = &self.counted;
        let metrics = http::get(admin, "/metrics", &[])?.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("0").parse().context("a count")
    }
}

#[allow(clippy::disallowed_methods, reason = "`cargo xtask faults` says how many")]
fn how_many() -> usize {
    if std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full") { MANY } else { FEW }
}

/// Bytes that a process has in memory.
fn resident(process: &Process) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("VmRSS")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}

fn open_files(process: &Process) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", process.id()))?.count())
}

/// Slow callers at one listener; `meanwhile` must go well while they are there.
#[allow(clippy::print_stderr, reason = "figures are for people")]
fn slow_callers_at(listener: &Slowed<'_>, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let (bytes_before, files_before) = (resident(listener.process)?, open_files(listener.process)?);
    let refused_before = listener.refused()?;
    // They were connected before all the others, and ask now.
    let mut callers = Vec::new();
    for _ in 0..how_many() {
        let mut caller = TcpStream::connect(&listener.address)?;
        // One that there is no room for may have been closed by now.
        let _closed = caller.write_all(listener.words);
        callers.push(caller);
    }
    let began = Instant::now();
    meanwhile().with_context(|| format!("beside slow callers of {}", listener.name))?;
    ensure!(began.elapsed() < AT_ONCE, "{}: others waited {:?}", listener.name, began.elapsed());
    let held = open_files(listener.process)?.saturating_sub(files_before);
    let bytes = resident(listener.process)?.saturating_sub(bytes_before);
    drop(callers);
    wait::until_true(SOON, &format!("the callers of {} are forgotten", listener.name), || {
        open_files(listener.process).is_ok_and(|files| files <= files_before + 16)
    })?;
    let refused = listener.refused()? - refused_before;
    // Of those that were let in some may have been let go: they have had their time.
    let let_in = how_many() - refused.min(how_many());
    let each = bytes / let_in.max(1);
    eprintln!("{}: {held} held of {let_in}, {refused} refused, {each} bytes each", listener.name);
    ensure!(held <= listener.room + 16, "{} holds {held}", listener.name);
    ensure!(bytes <= let_in * BYTES_EACH_MAX + (8 << 20), "{}: {bytes} bytes", listener.name);
    Ok(())
}

/// That a change of a resource comes through to the gateway: its route is there.
fn changes_come_through(sandbox: &Sandbox, name: &str) -> Result<()> {
    let route = sample::routed("c", "embedded").replace("/c", &format!("/{name}"));
    sandbox.apply(&route)?;
    answers(&sandbox.gateway_address(), &format!("/{name}"), 200, "C[")
}

#[test]
fn slow_callers_of_any_listener_take_little_and_hinder_nobody() -> Result<()> {
    let sandbox = sandbox()?;
    let control = sandbox.control(&[])?;
    sandbox.apply(&sample::routed("c", "embedded"))?;
    let gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let instance = sandbox.start(&Instance::of_chain("C", None, 3))?;
    let (entrance, api) = (sandbox.gateway_address(), sandbox.api_address());
    let (gateway_admin, admin) = (sandbox.endpoint(1, 15_020), sandbox.endpoint(3, 15_020));
    let (inbound, outbound) = (sandbox.endpoint(3, 15_006), sandbox.endpoint(3, 15_001));
    answers(&entrance, "/c", 200, "C[")?;

    let callers = "laneway_connections_refused_total";
    let slowed = |name: &'static str, address: &str, words, process, counted: (&str, _)| Slowed {
        name,
        address: address.to_owned(),
        words,
        process,
        counted: (counted.0.to_owned(), counted.1),
        room: if ["api", "admin"].contains(&name) { API_CONNECTIONS_MAX } else { how_many() },
    };
    let at_gateway = slowed("gateway", &entrance, HALF_A_HEAD, &gateway, (&gateway_admin, callers));
    slow_callers_at(&at_gateway, || answers(&entrance, "/c", 200, "C["))?;
    let at_inbound = slowed("inbound", &inbound, HALF_A_HEAD, &instance.sidecar, (&admin, callers));
    slow_callers_at(&at_inbound, || answers(&inbound, "/c", 200, "C["))?;
    let at_outbound =
        slowed("outbound", &outbound, HALF_A_HEAD, &instance.sidecar, (&admin, callers));
    slow_callers_at(&at_outbound, || {
        let answer = http::get(&outbound, "http://sc-C/c", &["host: sc-C"])?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        Ok(())
    })?;
    let of_admin = "laneway_listener_refused_total{listener=\"admin\"}";
    let at_admin = slowed("admin", &admin, HALF_A_HEAD, &instance.sidecar, (&admin, of_admin));
    slow_callers_at(&at_admin, || answers(&entrance, "/c", 200, "C["))?;
    let of_discovery = "laneway_listener_refused_total{listener=\"discovery\"}";
    let discovery = sandbox.discovery_address();
    let at_discovery =
        slowed("discovery", &discovery, HALF_A_PREFACE, &control, (&api, of_discovery));
    slow_callers_at(&at_discovery, || changes_come_through(&sandbox, "changed"))?;
    let of_api = "laneway_listener_refused_total{listener=\"api\"}";
    let at_api = slowed("api", &api, HALF_A_HEAD, &control, (&api, of_api));
    slow_callers_at(&at_api, || answers(&entrance, "/changed", 200, "C["))?;
    changes_come_through(&sandbox, "afterwards")
}
