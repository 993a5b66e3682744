//! What requests of several kinds cost in instructions, held to figures that are committed.
//!
//! Times depend on the machine and on who else uses it; instructions in user space hardly do. Laneway runs under callgrind,
//! and a client makes the same request some times, then twice as often, on one connection each, one after the other: the
//! difference of the two counts is what the requests take, without connecting and what is done once. Only the thread that
//! moves requests is counted: what others do goes by the clock. Nor is the depth of the C library's allocator: what it does there
//! depends on what has been allocated since the process started.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Bench, Means, OTHER_CPU,
    contender::{Contender, LANEWAY},
    door::{Door, Way},
    laneway, lineup,
};
use crate::{
    run,
    worlds::{self, Strictness},
};

/// The committed counts, and how far off a count may be.
const BUDGET: &str = "xtask/instructions.txt";

/// How they are written anew.
const UPDATE: &str = "cargo xtask bench instructions --update";

/// What the counts are of: another processor has other instructions.
const ARCHITECTURE: &str = "x86_64";

/// Requests before anything is counted: pools, tables and caches are filled then.
const WARM: u32 = 200;
/// Requests of the first run that is counted; the second has twice as many.
const REQUESTS: u32 = 1_500;

/// The program that has a process under valgrind write down what it has counted.
const ASKS_VALGRIND: &str = "vgdb";

/// How the functions begin that the allocator calls where its own cache has nothing; the calls of the allocator are counted.
const ALLOCATOR: &[&str] = &["_int_", "unlink_chunk", "malloc_consolidate", "sysmalloc", "systrim"];

/// The programs beside are built as tests are: they are not counted.
const COUNTED: Means = Means {
    profile: ("dev", "debug"),
    programs: &[
        ("valgrind", "valgrind"),
        (ASKS_VALGRIND, "valgrind"),
        ("curl", "curl"),
        ("openssl", "openssl"),
        ("taskset", "util-linux"),
    ],
    under: &[
        "valgrind",
        "--tool=callgrind",
        "--separate-threads=yes",
        "--dump-line=no",
        "--callgrind-out-file={home}/counts.%p",
    ],
};

/// A kind of request.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// What is asked for, in words.
    what: &'static str,
    way: Way,
    door: Door,
    /// Whether a lane is decided on.
    lanes: bool,
    /// What the client calls it.
    asked: &'static str,
}

/// Those before lanes are decided on come first: the same gateway is given them then.
const KINDS: &[Kind] = &[
    gateway("h1", "HTTP/1.1, no lanes", Door::Clear, false, "clear"),
    gateway("h1-lanes", "HTTP/1.1, the last of ten lanes", Door::Clear, true, "clear"),
    gateway("tls", "HTTP/1.1 in TLS 1.3, the same lanes", Door::Tls, true, "tls"),
    gateway("h2-h1", "HTTP/2 to HTTP/1.1, the same lanes", Door::H2c, true, "h2"),
    gateway("grpc", "a call of gRPC, the same lanes", Door::Grpc, true, "grpc"),
    Kind {
        way: Way::Mesh,
        ..gateway("mesh", "HTTP/1.1 through two sidecars, in a lane", Door::Clear, true, "mesh")
    },
];

const fn gateway(
    name: &'static str,
    what: &'static str,
    door: Door,
    lanes: bool,
    asked: &'static str,
) -> Kind {
    Kind { name, what, way: Way::Gateway, door, lanes, asked }
}

/// What to do with what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// An error where it is not what is committed.
    Compare,
    /// It is what is to be committed.
    Update,
}

/// The step of `cargo xtask test`. Where nothing can be counted it is said; in CI it is an error.
pub(crate) fn gate(root: &Path, binary: &Path, strictness: Strictness) -> Result<()> {
    match worlds::on_path("valgrind") {
        Err(missing) if strictness == Strictness::Local => {
            println!("SKIPPED: instructions are not counted: {missing:#}");
            Ok(())
        }
        Err(missing) => Err(missing),
        Ok(()) => run(root, Some(binary.to_owned()), Then::Compare),
    }
}

/// Counts, and compares with what is committed or writes that. Without a binary the release binary is built.
pub(crate) fn run(root: &Path, binary: Option<PathBuf>, then: Then) -> Result<()> {
    let binary = match binary {
        Some(binary) => binary,
        None => {
            let build = ["build", "--release", "--locked", "--package", "laneway"];
            run::cargo(root, &build)?;
            root.join("target/release/laneway")
        }
    };
    let bench = Bench::with(root, &COUNTED, binary)?;
    let mut counts = of_gateway(&bench)?;
    counts.extend(of_mesh(&bench)?);
    if std::env::consts::ARCH != ARCHITECTURE {
        println!("NOT COMPARED: {BUDGET} is of {ARCHITECTURE}");
        return Ok(());
    }
    let file = root.join(BUDGET);
    let text = fs::read_to_string(&file).with_context(|| format!("read {BUDGET}"))?;
    let budget = Budget::read(&text)?;
    match then {
        Then::Compare => budget.compare(&counts),
        Then::Update => fs::write(&file, budget.written_anew(&counts))
            .with_context(|| format!("write {BUDGET}")),
    }
}

fn of_gateway(bench: &Bench) -> Result<Vec<(&'static str, u64)>> {
    let (contender, control) = laneway::gateway_alone(bench)?;
    let mut counts = Vec::new();
    let mut are_lanes_there = false;
    for kind in KINDS.iter().filter(|kind| kind.way == Way::Gateway) {
        if kind.lanes && !are_lanes_there {
            control.apply(bench, &laneway::lane_group("a")?)?;
            are_lanes_there = true;
        }
        counts.push((kind.name, count(kind, &contender, bench)?));
    }
    Ok(counts)
}

fn of_mesh(bench: &Bench) -> Result<Vec<(&'static str, u64)>> {
    let contender = lineup::begin(LANEWAY, Way::Mesh, bench)?;
    let kinds = KINDS.iter().filter(|kind| kind.way == Way::Mesh);
    kinds.map(|kind| Ok((kind.name, count(kind, &contender, bench)?))).collect()
}

/// Instructions of one request, in all of the contender's processes.
fn count(kind: &Kind, contender: &Contender, bench: &Bench) -> Result<u64> {
    let address = contender.address(kind.door).context("no such door")?;
    let taken = |requests: u32| -> Result<Vec<BTreeMap<String, u64>>> {
        ask(kind, address, requests, bench)?;
        contender.pids().map(|pid| dump(pid, &bench.home)).collect()
    };
    taken(WARM)?;
    let (few, many) = (taken(REQUESTS)?, taken(2 * REQUESTS)?);
    let mut instructions = 0;
    for (few, many) in few.iter().zip(&many) {
        let busiest = many.iter().max_by_key(|(_, count)| **count);
        let (thread, many) = busiest.context("no thread was counted")?;
        let few = few.get(thread).copied().unwrap_or_default();
        instructions += many.checked_sub(few).context("more requests took fewer instructions")?;
    }
    let each = instructions / u64::from(REQUESTS);
    println!("{:<10} {each:>7} instructions: {}", kind.name, kind.what);
    Ok(each)
}

/// Makes so many requests on one connection, one after the other; each must be answered with 200.
fn ask(kind: &Kind, address: &str, requests: u32, bench: &Bench) -> Result<()> {
    let mut client = Command::new("taskset");
    client.args(["-c", OTHER_CPU]).arg(bench.programs.join("client"));
    client.args(["serial", kind.asked, address]).arg(&bench.certificate).arg(requests.to_string());
    let output = client.output().context("run the client")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        kind.name,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Instructions of each thread of a process since it was last asked.
fn dump(pid: u32, home: &Path) -> Result<BTreeMap<String, u64>> {
    let mut asks = Command::new(ASKS_VALGRIND);
    let output = asks.args([&format!("--pid={pid}"), "dump"]).output().context("run vgdb")?;
    if !output.status.success() {
        bail!("vgdb: {}", String::from_utf8_lossy(&output.stderr));
    }
    // `counts.PID.DUMP-THREAD`; one that has nothing to say writes nothing.
    let prefix = format!("counts.{pid}.");
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(home).with_context(|| format!("look into {}", home.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Some((_, thread)) = name.strip_prefix(&prefix).and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let count = counted(&text).with_context(|| format!("read {}", path.display()))?;
        counts.insert(thread.to_owned(), count);
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(counts)
}

/// Instructions in what callgrind writes: each function's own, without the depth of the allocator.
fn counted(text: &str) -> Result<u64> {
    // A name is written once, with a number that stands for it from then on.
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut all, mut allocator) = (0, 0);
    let (mut is_allocator, mut is_callees) = (false, false);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            let name = if name.is_empty() { names.get(number).copied() } else { Some(name) };
            let name = name.with_context(|| format!("`{line}` names no function"))?;
            names.insert(number, name);
            if line.starts_with("fn=") {
                is_allocator = ALLOCATOR.iter().any(|begin| name.starts_with(begin));
            }
        } else if line.starts_with("calls=") {
            // The line after it says what was called took.
            is_callees = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let count = line.split_once(' ').and_then(|(_, count)| count.trim().parse().ok());
            let count: u64 = count.with_context(|| format!("`{line}` is no count"))?;
            if !std::mem::take(&mut is_callees) {
                all += count;
                allocator += if is_allocator { count } else { 0 };
            }
        }
    }
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let total: u64 = totals.and_then(|count| count.trim().parse().ok()).context("no `totals:`")?;
    ensure!(all == total, "{all} in functions, {total} in all");
    Ok(all - allocator)
}

/// What is committed.
#[derive(Debug, PartialEq)]
struct Budget {
    /// What is said before the figures.
    comment: String,
    /// How far a count may be off to either side, in percent.
    drift_percent: f64,
    counts: BTreeMap<String, u64>,
}

impl Budget {
    fn read(text: &str) -> Result<Self> {
        let mut budget =
            Self { comment: String::new(), drift_percent: 0.0, counts: BTreeMap::new() };
        for line in text.lines() {
            if line.starts_with('#') || line.is_empty() {
                writeln!(budget.comment, "{line}")?;
                continue;
            }
            let wrong = || format!("{BUDGET}: `{line}` is no name and number");
            let (name, number) = line.split_once(' ').with_context(wrong)?;
            if name == "drift-percent" {
                budget.drift_percent = number.trim().parse().with_context(wrong)?;
            } else {
                let number = number.trim().parse().ok().filter(|number| *number > 0);
                budget.counts.insert(name.to_owned(), number.with_context(wrong)?);
            }
        }
        ensure!(
            budget.drift_percent > 0.0,
            "{BUDGET}: `drift-percent` says how far a count may be off"
        );
        Ok(budget)
    }

    /// An error that names every kind whose count is off: more costs, and less that is not committed hides what costs more later.
    fn compare(&self, counts: &[(&str, u64)]) -> Result<()> {
        let mut off = Vec::new();
        for (name, count) in counts {
            let Some(committed) = self.counts.get(*name) else {
                off.push(format!("{name}: {count}, nothing committed"));
                continue;
            };
            let percent = (*count as f64 - *committed as f64) * 100.0 / *committed as f64;
            println!("{name:<10} {count:>7}, committed {committed} ({percent:+.2} %)");
            if percent.abs() > self.drift_percent {
                off.push(format!("{name}: {count}, committed {committed} ({percent:+.2} %)"));
            }
        }
        let is_counted = |name: &String| counts.iter().any(|(counted, _)| counted == name);
        let unknown = self.counts.keys().filter(|name| !is_counted(name));
        off.extend(unknown.map(|name| format!("{name}: committed, not counted")));
        ensure!(
            off.is_empty(),
            "instructions a request are off by more than {} % of what {BUDGET} says: {}; if that is meant, or is what was won, \
             `{UPDATE}`, commit it and say why",
            self.drift_percent,
            off.join("; ")
        );
        Ok(())
    }

    fn written_anew(&self, counts: &[(&str, u64)]) -> String {
        let mut text = format!("{}drift-percent {}\n", self.comment, self.drift_percent);
        for (name, count) in counts {
            let _ = writeln!(text, "{name} {count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = "# Why.\n\ndrift-percent 2.5\nh1 1000\ntls 2000\n";

    const WRITTEN: &str = "# callgrind format\npositions: line\nevents: Ir\nsummary: 1234\n\nob=(3) libc.so.6\nfl=(4) a.c\n\
        fn=(1) serve\n0 1000\ncfi=(5) b.c\ncfn=(2) malloc\ncalls=3 0 \n0 234\n\nfn=(2)\n0 30\ncfn=(7) _int_malloc\ncalls=1 +4 \n+4 204\n\n\
        fn=(7)\n* 4\n-2 200\n\ntotals: 1234\n";

    #[test]
    fn what_functions_take_themselves_is_counted_but_the_depth_of_the_allocator() {
        assert_eq!(counted(WRITTEN).unwrap(), 1030);
        let nothing = "# callgrind format\nevents: Ir\n\ntotals: 0\n";
        assert_eq!(counted(nothing).unwrap(), 0);
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        for (text, told) in [
            (WRITTEN.replace("totals: 1234", "totals: 1235"), "1235 in all"),
            (WRITTEN.replace("totals: 1234\n", ""), "no `totals:`"),
            (WRITTEN.replace("fn=(7)\n", "fn=(8)\n"), "`fn=(8)` names no function"),
        ] {
            let error = counted(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn what_is_off_to_either_side_is_an_error_that_names_the_kind() {
        let budget = Budget::read(COMMITTED).unwrap();
        budget.compare(&[("h1", 1025), ("tls", 1950)]).unwrap();
        for (h1, told) in [(1026, "(+2.60 %)"), (974, "(-2.60 %)")] {
            let error = budget.compare(&[("h1", h1), ("tls", 2000)]).unwrap_err().to_string();
            assert!(error.contains(&format!("h1: {h1}, committed 1000 {told}")), "{error}");
            assert!(error.contains(UPDATE) && !error.contains("tls:"), "{error}");
        }
    }

    #[test]
    fn a_kind_that_only_one_of_both_knows_is_an_error() {
        let budget = Budget::read(COMMITTED).unwrap();
        let error = budget.compare(&[("h1", 1000), ("h2", 1)]).unwrap_err().to_string();
        assert!(error.contains("h2: 1, nothing committed"), "{error}");
        assert!(error.contains("tls: committed, not counted"), "{error}");
    }

    #[test]
    fn what_is_written_anew_keeps_why_and_how_far_off() {
        let written = Budget::read(COMMITTED).unwrap().written_anew(&[("h1", 7), ("h2", 8)]);
        assert_eq!(written, "# Why.\n\ndrift-percent 2.5\nh1 7\nh2 8\n");
    }

    #[test]
    fn a_budget_that_is_none_is_refused_with_its_line() {
        for (text, told) in [
            ("drift-percent 2\nh1 many\n", "`h1 many`"),
            ("drift-percent 2\nh1 0\n", "`h1 0`"),
            ("drift-percent 2\nh1\n", "`h1`"),
            ("h1 1000\n", "`drift-percent`"),
        ] {
            let error = Budget::read(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn every_kind_is_committed() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
        let budget = Budget::read(&fs::read_to_string(file).unwrap()).unwrap();
        let mut kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        kinds.sort_unstable();
        assert_eq!(budget.counts.keys().collect::<Vec<_>>(), kinds);
    }
}
