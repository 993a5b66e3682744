//! Attacks in HTTP/2 on a real gateway: what they may have it keep, how they end, and what others notice of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::{
    Process, Sandbox,
    load::{self, Load, Profile, Sent},
    sample,
    wait::{self, Beat},
};

use crate::{SOON, answers, sandbox};

const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {laneway.io/http2-prior-knowledge: 'true'}}
spec: {gatewayClassName: laneway, listeners: [{name: http, port: 8000, protocol: HTTP}]}
";

/// How long a gateway here waits for a client to take something.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Attackers at a time, for at least as long as this. Each begins a connection so often: what is measured is what an
/// attack costs that is ended, not how many connections a machine can open.
const ATTACKERS: usize = 2;
pub(crate) const ATTACKED_FOR: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);

/// Requests per second of everybody else.
const OTHERS_PER_SECOND: u32 = 200;

/// What others may notice: their slowest but one in a hundred takes twice as long, and this, which is what a busy machine
/// adds by itself. A binary for debugging takes ten times as long for what an attack is, and is judged for standstills alone.
const SLACK: Duration = Duration::from_millis(200);
const SLACK_OF_DEBUG: Duration = Duration::from_secs(3);

/// What is kept of an attack at most: for each byte of it; for each of its streams, where it has an answer wait; in all.
const KEPT_PER_BYTE_MAX: u64 = 100;
const KEPT_PER_STREAM_MAX: u64 = 32 << 10;
const KEPT_MAX: u64 = 32 << 20;

const ENHANCE_YOUR_CALM: u32 = 0xb;
const CANCEL: u32 = 0x8;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0x42;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// How an attack ends.
#[derive(Clone, Copy)]
enum Ends {
    /// Its connection does, told why.
    Connection(u32),
    /// Its streams do, so many, told why.
    Streams(u32, usize),
    /// With an answer to each stream; nothing else is worth ending.
    Answers,
    /// Nobody knows: it hears nothing.
    Unheard,
}

struct Attack {
    name: &'static str,
    /// Said once, after the greeting.
    begins: Vec<u8>,
    /// Said again and again: so often at most on one connection.
    round: fn(u32) -> Vec<u8>,
    rounds: u32,
    ends: Ends,
}

/// What an attacker has heard.
#[derive(Debug, Default)]
struct Heard {
    goaway: Option<u32>,
    resets: BTreeMap<u32, usize>,
    heads: usize,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields that nobody need remember.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.bytes());
        }
    }
    block
}

fn request(method: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "shop"), (":path", "/c")])
}

/// The stream of a round.
fn stream(round: u32) -> u32 {
    round * 2 + 1
}

/// A request that is whole, and something after it.
fn request_and(round: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let head = frame(HEADERS, WHOLE, stream(round), &request("GET"));
    [head, frame(kind, 0, stream(round), payload)].concat()
}

/// A request whose fields go on like this.
fn request_with(round: u32, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream(round), &[&request("GET"), more].concat())
}

/// One remembered field of 4 000 bytes, named again and again: few bytes that mean millions.
fn bomb(round: u32) -> Vec<u8> {
    let mut more = vec![0x40, 1, b'a', 0x7f, 0xa1, 0x1e];
    more.extend([b'x'; 4_000]);
    more.extend([0xbe; 12_000]);
    request_with(round, &more)
}

fn attacks() -> Vec<Attack> {
    let calm = Ends::Connection(ENHANCE_YOUR_CALM);
    let attack = |name, round: fn(u32) -> Vec<u8>, rounds, ends| Attack {
        name,
        begins: Vec::new(),
        round,
        rounds,
        ends,
    };
    let beginning = |begins, attack| Attack { begins, ..attack };
    let unended_head = || frame(HEADERS, 0, 1, &request("GET"));
    let unended_body = || frame(HEADERS, END_HEADERS, 1, &request("POST"));
    vec![
        attack(
            "rapid resets",
            |it| request_and(it, RST_STREAM, &CANCEL.to_be_bytes()),
            2_000,
            calm,
        ),
        attack(
            "resets that a window by nothing makes (MadeYouReset)",
            |it| request_and(it, WINDOW_UPDATE, &[0; 4]),
            2_000,
            calm,
        ),
        attack(
            "resets that data after the end makes (MadeYouReset)",
            |it| request_and(it, DATA, b"x"),
            2_000,
            calm,
        ),
        beginning(
            unended_head(),
            attack("a head that goes on", |_| frame(CONTINUATION, 0, 1, &[0; 16_000]), 50, calm),
        ),
        beginning(
            unended_head(),
            attack(
                "a head that goes on with nothing",
                |_| frame(CONTINUATION, 0, 1, &[]),
                9_000,
                calm,
            ),
        ),
        beginning(unended_body(), attack("empty data", |_| frame(DATA, 0, 1, &[]), 9_000, calm)),
        attack("settings", |_| frame(SETTINGS, 0, 0, &[]), 9_000, calm),
        attack("settings, deaf", |_| frame(SETTINGS, 0, 0, &[]), 9_000, Ends::Unheard),
        attack("pings", |_| frame(PING, 0, 0, &[7; 8]), 6_000, calm),
        attack("pings, deaf", |_| frame(PING, 0, 0, &[7; 8]), 6_000, Ends::Unheard),
        attack("priorities", |it| frame(PRIORITY, 0, stream(it), &[0, 0, 0, 0, 9]), 6_000, calm),
        attack("windows by little", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 6_000, calm),
        attack("frames of no known kind", |_| frame(UNKNOWN, 0, 0, b"x"), 6_000, calm),
        attack("few bytes that mean many (HPACK bomb)", bomb, 50, Ends::Answers),
        attack("fields without names", |it| request_with(it, &[0; 15_000]), 200, calm),
        attack(
            "more fields than anybody has",
            |it| request_with(it, &[0, 1, b'a', 0].repeat(3_000)),
            50,
            Ends::Answers,
        ),
        beginning(
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
            attack(
                "windows that stay shut",
                |it| request_with(it, &[]),
                100,
                Ends::Streams(CANCEL, 100),
            ),
        ),
    ]
}

impl Heard {
    /// Hears until the end, or until this is enough.
    fn hear(mut stream: &TcpStream, is_enough: impl Fn(&Self) -> bool) -> Result<Self> {
        let mut heard = Self::default();
        loop {
            let mut head = [0; 9];
            match stream.read_exact(&mut head) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    bail!("heard nothing more than {heard:?}")
                }
                Err(_) => return Ok(heard),
            }
            let bytes = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; bytes];
            if stream.read_exact(&mut payload).is_err() {
                return Ok(heard);
            }
            let number = |at: usize| payload[at..at + 4].try_into().map(u32::from_be_bytes);
            match head[3] {
                GOAWAY => heard.goaway = Some(number(4)?),
                RST_STREAM => *heard.resets.entry(number(0)?).or_default() += 1,
                HEADERS => heard.heads += 1,
                _ => {}
            }
            if is_enough(&heard) {
                return Ok(heard);
            }
        }
    }
}

impl Attack {
    /// One connection of it: how many bytes went out.
    fn once(&self, address: &str) -> Result<u64> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(BODY_TIMEOUT))?;
        if matches!(self.ends, Ends::Unheard) {
            return Ok(self.say(&stream));
        }
        thread::scope(|scope| {
            let hearing = scope.spawn(|| {
                Heard::hear(&stream, |heard| match self.ends {
                    Ends::Streams(code, streams) => {
                        heard.resets.get(&code).is_some_and(|ended| *ended >= streams)
                    }
                    Ends::Answers => heard.heads >= self.rounds as usize,
                    Ends::Connection(_) | Ends::Unheard => false,
                })
            });
            let said = self.say(&stream);
            let heard = hearing.join().map_err(|_| anyhow::anyhow!("the hearing panicked"))??;
            let _ended = stream.shutdown(Shutdown::Both);
            match self.ends {
                Ends::Connection(code) => {
                    ensure!(heard.goaway == Some(code), "ended with {:?}", heard.goaway);
                }
                Ends::Streams(code, streams) => {
                    ensure!(heard.resets.get(&code) == Some(&streams), "{:?}", heard.resets);
                }
                Ends::Answers => {
                    let answered = (heard.heads, heard.goaway);
                    ensure!(answered == (self.rounds as usize, None), "{answered:?}");
                }
                Ends::Unheard => {}
            }
            Ok(said)
        })
    }

    /// Says all of it, or as much as anybody takes.
    fn say(&self, mut stream: &TcpStream) -> u64 {
        let mut said = 0;
        let mut piece = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        piece.extend(frame(SETTINGS, 0, 0, &[]));
        piece.extend(frame(SETTINGS, ACK, 0, &[]));
        piece.extend(&self.begins);
        for round in 0..=self.rounds {
            if round < self.rounds {
                piece.extend((self.round)(round));
            }
            if piece.len() >= 16 * 1024 || round == self.rounds {
                match stream.write_all(&piece) {
                    Ok(()) => said += piece.len() as u64,
                    Err(_) => break,
                }
                piece.clear();
            }
        }
        said
    }

    /// Bytes that may be kept of it, of which so many were said.
    fn kept_max(&self, said: u64) -> u64 {
        let max = match self.ends {
            Ends::Streams(_, streams) => (ATTACKERS * streams) as u64 * KEPT_PER_STREAM_MAX,
            Ends::Connection(_) | Ends::Answers | Ends::Unheard => said * KEPT_PER_BYTE_MAX,
        };
        max.min(KEPT_MAX)
    }

    /// Many connections of it, on several threads: how many bytes went out.
    fn all(&self, address: &str) -> Result<u64> {
        let began = Instant::now();
        let attacker = || {
            let (mut said, mut turns) = (0, Beat::every(EVERY));
            loop {
                said += self.once(address)?;
                if began.elapsed() >= ATTACKED_FOR {
                    return Ok(said);
                }
                turns.wait();
            }
        };
        thread::scope(|scope| {
            let attackers = [(); ATTACKERS].map(|()| scope.spawn(attacker));
            attackers.into_iter().try_fold(0, |said, attacker| {
                let theirs: Result<u64> =
                    attacker.join().map_err(|_| anyhow::anyhow!("an attacker panicked"))?;
                Ok(said + theirs?)
            })
        })
    }
}

/// Bytes that a process has in memory, or has had since it was asked to forget that.
fn resident(process: &Process, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("a size")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

fn forget_peak(process: &Process) -> Result<()> {
    Ok(fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?)
}

/// Everybody else's requests, all of them answered right: how long their slowest but one in a hundred took.
pub(crate) fn others(
    address: &str,
    meanwhile: impl FnOnce() -> Result<u64>,
) -> Result<(Duration, u64)> {
    let load = Load::start(Profile {
        address: address.to_owned(),
        rate: OTHERS_PER_SECOND,
        connections: 8,
        kinds: vec![load::get("/d", &[])],
    });
    let said = meanwhile();
    let sent = load.stop()?;
    let said = said?;
    let mut took = Vec::new();
    for Sent { at, until, outcome, .. } in sent {
        match outcome {
            Ok((200, body)) if body.contains("D[") => took.push(until.duration_since(at)),
            other => bail!("another client got {other:?}"),
        }
    }
    ensure!(took.len() >= 100, "{} requests of others tell little", took.len());
    took.sort_unstable();
    Ok((took[took.len() * 99 / 100], said))
}

/// Nothing, for as long as an attack takes.
pub(crate) fn quiet() -> Result<u64> {
    wait::pause(ATTACKED_FOR);
    Ok(0)
}

/// Two services, so that an instance under attack is not that of others.
pub(crate) fn resources(sandbox: &Sandbox, gateway: &str) -> String {
    let (attacked, of_others) = (sandbox.endpoint(3, 8080), sandbox.endpoint(4, 8080));
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec:
  static:
    services:
    - {{name: sc-C, application: app-c, instances: [{{address: '{attacked}'}}]}}
    - {{name: sc-D, application: app-d, instances: [{{address: '{of_others}'}}]}}
{}{}{gateway}",
        sample::routed("c", "fixed"),
        sample::routed("d", "fixed")
    )
}

pub(crate) fn application(sandbox: &Sandbox, label: &str, host: u8) -> Result<Process> {
    let mut command = Command::new(testkit::application::program()?);
    command.args([label, &sandbox.endpoint(host, 8080)]);
    Process::start(label, &mut command, sandbox.directory())
}

#[allow(clippy::disallowed_methods, reason = "who names a binary names the one for users")]
pub(crate) fn slack() -> Duration {
    if std::env::var_os("LANEWAY_BINARY").is_some() { SLACK } else { SLACK_OF_DEBUG }
}

/// A gateway that waits for nobody for long.
pub(crate) fn gateway(sandbox: &Sandbox) -> Result<Process> {
    let (listen, admin) = (sandbox.gateway_address(), sandbox.endpoint(1, 15020));
    let control = sandbox.discovery_address();
    let patience = BODY_TIMEOUT.as_secs().to_string();
    let mut command = sandbox.laneway(&["gateway", "--control", &control]);
    command.args(["--gateway-listen", &listen, "--admin-listen", &admin]);
    command.args(["--body-timeout-seconds", &patience, "--data"]).arg(sandbox.path("gateway"));
    Process::start("gateway", &mut command, sandbox.directory())
}

#[test]
#[allow(clippy::print_stderr, reason = "figures are for people")]
fn attacks_in_http2_are_kept_little_of_and_hinder_nobody() -> Result<()> {
    let sandbox = sandbox()?;
    let _applications = [application(&sandbox, "C", 3)?, application(&sandbox, "D", 4)?];
    let _control = sandbox.control(&[])?;
    sandbox.apply(&resources(&sandbox, GATEWAY))?;
    let gateway = gateway(&sandbox)?;
    let address = sandbox.gateway_address();
    answers(&address, "/c", 200, "C[")?;
    answers(&address, "/d", 200, "D[")?;
    // What a gateway fills once, it has filled.
    others(&address, quiet)?;
    for attack in attacks() {
        let (before, _) = others(&address, quiet)?;
        let kept_before = resident(&gateway, "VmRSS:")?;
        forget_peak(&gateway)?;
        let (took, said) = others(&address, || attack.all(&address))
            .with_context(|| format!("under {}", attack.name))?;
        let kept = resident(&gateway, "VmHWM:")?.saturating_sub(kept_before);
        eprintln!(
            "{}: {said} bytes, {kept} kept at most; others {took:?} instead of {before:?}",
            attack.name
        );
        ensure!(kept < attack.kept_max(said), "{}: {kept} of {said}", attack.name);
        ensure!(took < before * 2 + slack(), "{}: {took:?}, not {before:?}", attack.name);
    }
    Ok(())
}
