//! What is measured, as a table: at which door a contender is asked, how it is loaded, what is aimed at.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{
    Bench, OTHER_CPU,
    contender::Contender,
    door::{Door, Way},
};

/// How contenders are loaded, which says what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// As many requests as it answers, each connection the next when it has its answer.
    Wrk { connections: u32 },
    /// The same by h2load, with these of its flags.
    H2load(&'static [&'static str]),
    /// New connections of TLS 1.3 with one request each.
    Handshakes { resumed: bool },
    /// Requests that are due at fixed times.
    OpenLoop,
    /// Connections that have done one request: `clear`, `tls` or `h2`.
    Idle(&'static str),
}

impl Load {
    /// Whether nothing is asked while it is measured.
    pub(super) const fn is_idle(self) -> bool {
        matches!(self, Self::Idle(_))
    }
}

/// What is aimed at for Laneway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// At most so many times what this contender takes.
    Times(&'static str, f64),
    /// Less than every peer: whatever is a proxy.
    BelowPeers,
    /// At most so many units of the column.
    Most(f64),
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    /// For `--only`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) way: Way,
    pub(super) door: Door,
    /// What of the path comes after the door's.
    pub(super) more_path: &'static str,
    pub(super) load: Load,
    pub(super) targets: &'static [Target],
}

/// What is asked for in the mesh, and the lane in which.
pub(super) const MESH_TARGET: &str = "http://sc-b/a";
const MESH_HOST: &str = "Host: sc-b";
pub(super) const MESH_LANE: &str = "baggage: lane.trade=gray";
/// Requests per second of the open loop.
const OPEN_LOOP_RATE: u32 = 2000;
/// Connections that are held.
pub(super) const IDLE_CONNECTIONS: u32 = 10_000;

const HTTP1: &[Target] = &[Target::Times("tcp-forwarder", 1.12), Target::BelowPeers];
const HANDSHAKES: &[Target] = &[Target::Times("nginx", 1.0)];

/// A cipher that all have, so that none is measured with another's.
const CIPHER: &str = "--tls13-ciphers=TLS_AES_128_GCM_SHA256";

/// Everything that is measured, in the page's order.
pub(super) const COLUMNS: &[Column] = &[
    clear("h1-64-128", "HTTP/1.1, 64 connections, 128 B", "", 64),
    clear("h1-4-128", "HTTP/1.1, 4 connections, 128 B", "", 4),
    clear("h1-64-10k", "HTTP/1.1, 64 connections, 10 KiB", "/10k", 64),
    clear("h1-4-10k", "HTTP/1.1, 4 connections, 10 KiB", "/10k", 4),
    Column {
        load: Load::H2load(&["--h1", "-c64", CIPHER]),
        targets: &[Target::Times("nginx", 0.7)],
        ..gateway("tls", "TLS 1.3 kept, HTTP/1.1, 64 connections, 128 B", Door::Tls)
    },
    Column {
        load: Load::Handshakes { resumed: false },
        targets: HANDSHAKES,
        ..gateway("handshakes", "TLS 1.3 handshake, full, and one request", Door::Tls)
    },
    Column {
        load: Load::Handshakes { resumed: true },
        targets: HANDSHAKES,
        ..gateway("resumed", "TLS 1.3 handshake, resumed, and one request", Door::Tls)
    },
    Column {
        load: Load::H2load(&["-c8", "-m16"]),
        targets: &[Target::Times("nginx", 0.55), Target::Times("haproxy", 1.0)],
        ..gateway("h2-h1", "HTTP/2 in the clear to HTTP/1.1, 8 × 16 streams, 128 B", Door::H2c)
    },
    Column {
        load: Load::H2load(&["-c8", "-m16", CIPHER]),
        ..gateway("h2-h2", "HTTP/2 in TLS 1.3 to HTTP/2, 8 × 16 streams, 128 B", Door::SecureH2)
    },
    Column {
        load: Load::H2load(&["-c8", "-m16", "-Hcontent-type: application/grpc", "-Hte: trailers"]),
        targets: &[Target::Times("envoy", 0.35)],
        ..gateway("grpc", "gRPC unary, 8 × 16 streams, 128 B each way", Door::Grpc)
    },
    Column {
        way: Way::Mesh,
        load: Load::Wrk { connections: 64 },
        ..gateway(
            "mesh",
            "A hop in the mesh: two proxies, HTTP/1.1, 64 connections, 128 B",
            Door::Clear,
        )
    },
    Column {
        load: Load::OpenLoop,
        targets: &[Target::BelowPeers],
        ..gateway(
            "latency",
            "Added to the median at 2 000 requests/s, HTTP/1.1, 32 connections",
            Door::Clear,
        )
    },
    idle(
        "idle-h1",
        "10 000 idle connections, HTTP/1.1",
        Door::Clear,
        "clear",
        &[Target::Most(25.0)],
    ),
    idle("idle-tls", "10 000 idle connections, TLS 1.3", Door::Tls, "tls", &[Target::Most(120.0)]),
    idle("idle-h2", "10 000 idle connections, HTTP/2", Door::H2c, "h2", &[Target::Most(120.0)]),
];

/// A column about gateways, before it says how they are loaded.
const fn gateway(name: &'static str, title: &'static str, door: Door) -> Column {
    let load = Load::Wrk { connections: 64 };
    Column { name, title, way: Way::Gateway, door, more_path: "", load, targets: &[] }
}

const fn clear(
    name: &'static str,
    title: &'static str,
    more_path: &'static str,
    connections: u32,
) -> Column {
    let load = Load::Wrk { connections };
    Column { more_path, load, targets: HTTP1, ..gateway(name, title, Door::Clear) }
}

const fn idle(
    name: &'static str,
    title: &'static str,
    door: Door,
    kind: &'static str,
    targets: &'static [Target],
) -> Column {
    Column { load: Load::Idle(kind), targets, ..gateway(name, title, door) }
}

/// What a column's first and second figure are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Units(pub(super) &'static str, pub(super) &'static str);

impl Load {
    /// What is read; the first is what is compared.
    pub(super) const fn units(self) -> Units {
        match self {
            Self::Wrk { .. } | Self::H2load(_) => Units("CPU µs a request", "requests/s"),
            Self::Handshakes { .. } => Units("CPU µs a handshake", "handshakes/s of one processor"),
            Self::OpenLoop => Units("median, µs", "p99, µs"),
            Self::Idle(_) => Units("MB added", "MB in all"),
        }
    }
}

/// The column of this name.
pub(super) fn named(name: &str) -> Result<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name).with_context(|| {
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        format!("no column is named `{name}`; there are {}", names.join(", "))
    })
}

/// What a load program says it did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Done {
    /// Requests, or handshakes.
    pub(super) count: u64,
    /// Requests a second; of an open loop the median and the 99th percentile in µs.
    pub(super) figures: (f64, f64),
}

impl Column {
    /// The URL at which a contender is asked, if it has that door.
    pub(super) fn url(&self, contender: &Contender) -> Option<String> {
        let address = contender.address(self.door)?;
        let (scheme, path) = (self.door.scheme(), self.door.path());
        Some(format!("{scheme}://{address}{path}{}", self.more_path))
    }

    /// Loads a contender for some seconds. A single wrong answer is an error.
    pub(super) fn load(&self, bench: &Bench, url: &str, seconds: u32) -> Result<Done> {
        let address = url.split('/').nth(2).unwrap_or_default();
        let mut command = Command::new("taskset");
        command.args(["-c", OTHER_CPU]);
        match self.load {
            Load::Wrk { connections } => {
                command.args(["wrk", "-t1", "-H", "canary: gray"]);
                if self.way == Way::Mesh {
                    command.arg("-s").arg(&bench.absolute).args(["-H", MESH_HOST, "-H", MESH_LANE]);
                }
                command.arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg(url);
            }
            Load::H2load(flags) => {
                command.args(["h2load", "-t1", "-Hcanary: gray"]).args(flags);
                if self.door == Door::Grpc {
                    command.arg("-d").arg(&bench.message);
                }
                command.arg(format!("-D{seconds}")).arg(url);
            }
            Load::Handshakes { resumed } => {
                let kind = if resumed { "resumed" } else { "full" };
                command.arg(bench.programs.join("client")).args(["handshakes", kind, address]);
                command.arg(&bench.certificate).arg(seconds.to_string());
            }
            Load::OpenLoop => {
                command.arg(bench.programs.join("client")).args(["open-loop", address]);
                command.args([OPEN_LOOP_RATE.to_string(), seconds.to_string()]);
            }
            Load::Idle(_) => bail!("connections that idle are held, not loaded"),
        }
        let output = command.output().context("run the load program")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told = || format!("{url}: {text}{}", String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{}", told());
        }
        let done = match self.load {
            Load::Wrk { .. } => wrk(&text),
            Load::H2load(_) => h2load(&text),
            Load::Handshakes { .. } => text.trim().parse().ok().map(|count: u64| Done {
                count,
                figures: (count as f64 / f64::from(seconds), 0.0),
            }),
            Load::OpenLoop | Load::Idle(_) => open_loop(&text),
        };
        done.filter(|done| done.count > 0).with_context(told)
    }
}

/// What wrk did; nothing if an answer was wrong or missing.
fn wrk(text: &str) -> Option<Done> {
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?;
    Some(Done { count: count.parse().ok()?, figures: (rate.trim().parse().ok()?, 0.0) })
}

/// What h2load did; nothing if an answer was wrong or missing.
fn h2load(text: &str) -> Option<Done> {
    let line = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin));
    let counted = |line: &str, word: &str| -> Option<u64> {
        let part = line.split(", ").find_map(|part| part.trim().strip_suffix(word))?;
        part.trim().parse().ok()
    };
    let requests = line("requests: ")?;
    let count = counted(requests, " succeeded")?;
    let wrong = [" failed", " errored", " timeout"].map(|word| counted(requests, word));
    if wrong != [Some(0); 3] {
        return None;
    }
    let rate = line("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s")?;
    Some(Done { count, figures: (rate.parse().ok()?, 0.0) })
}

/// What the open loop of `client` saw.
fn open_loop(text: &str) -> Option<Done> {
    let mut words = text.split_whitespace();
    let count = words.next()?.parse().ok()?;
    Some(Done { count, figures: (words.next()?.parse().ok()?, words.next()?.parse().ok()?) })
}

/// Makes wrk ask as a client of a forward proxy does.
pub(super) fn write_absolute(file: &Path) -> Result<()> {
    let script = format!("wrk.path = \"{MESH_TARGET}\"\n");
    std::fs::write(file, script).with_context(|| format!("write {}", file.display()))
}

/// The message of gRPC that is sent: its five bytes and 128 of zeros.
pub(super) fn write_message(file: &Path) -> Result<()> {
    let message = [&[0, 0, 0, 0, 128][..], &[0; 128][..]].concat();
    std::fs::write(file, message).with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const H2LOAD: &str = "finished in 1.00s, 24837.00 req/s, 4.21MB/s
requests: 24837 total, 24965 started, 24837 done, 24837 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 24837 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn what_h2load_did_is_read() {
        assert_eq!(h2load(H2LOAD), Some(Done { count: 24837, figures: (24837.0, 0.0) }));
    }

    #[test]
    fn a_wrong_answer_is_nothing() {
        assert_eq!(h2load(&H2LOAD.replace("0 failed", "1 failed")), None);
        let wrk_said = "  9 requests in 1.00s, 1MB read\nRequests/sec:  9.5\n";
        assert_eq!(wrk(wrk_said), Some(Done { count: 9, figures: (9.5, 0.0) }));
        assert_eq!(wrk(&format!("{wrk_said}  Non-2xx or 3xx responses: 1\n")), None);
        assert_eq!(
            open_loop("2000 80.5 301.0\n"),
            Some(Done { count: 2000, figures: (80.5, 301.0) })
        );
        assert_eq!(open_loop("2000\n"), None);
    }

    #[test]
    fn a_column_is_found_by_its_name_and_only_by_its_own() {
        for column in COLUMNS {
            assert_eq!(named(column.name).unwrap().title, column.title);
        }
        let told = named("h3").unwrap_err().to_string();
        assert!(told.contains("`h3`") && told.contains("h1-64-128, "), "{told}");
    }
}
