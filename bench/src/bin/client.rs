//! `client VERB …`: what other load programs do not measure. Prints one line of figures.
//!
//! - `open-loop ADDRESS RATE SECONDS`: requests that are due at fixed times whatever the answers do; each is as late as its
//!   answer is after it was due. Prints answers, and the median and the 99th percentile in microseconds.
//! - `handshakes full|resumed ADDRESS CERTIFICATE SECONDS`: new connections of TLS 1.3 with one request each. Prints how many.
//! - `idle clear|tls|h2 ADDRESS CERTIFICATE COUNT`: connections that have done one request each and are then held until
//!   standard input ends. Prints how many, once they are there.
//! - `serial clear|mesh|tls|h2|grpc ADDRESS CERTIFICATE COUNT`: requests one after the other on one connection, each sent at once,
//!   so that a server does the same for each of them. Prints how many.

use std::{
    io::{Read, Write},
    net::TcpStream,
    num::NonZeroU64,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bench::h2::{Asks, Client};
use rustix::thread::{ClockId, Timespec, clock_nanosleep_relative, set_current_timer_slack};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: a.example\r\ncanary: gray\r\n\r\n";
/// The same of an application that has a sidecar for its forward proxy, in a lane.
const MESH_REQUEST: &[u8] =
    b"GET http://sc-b/a HTTP/1.1\r\nhost: sc-b\r\nbaggage: lane.trade=gray\r\n\r\n";
/// Connections of the open loop; also the most requests in flight.
const OPEN_CONNECTIONS: u32 = 32;
/// Handshakes at a time.
const HANDSHAKES: usize = 4;
/// Longest that anything may take to be answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest head and body of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let line = match arguments.as_slice() {
        ["open-loop", address, rate, seconds] => {
            open_loop(address, rate.parse().context("RATE")?, seconds.parse().context("SECONDS")?)?
        }
        ["handshakes", kind @ ("full" | "resumed"), address, certificate, seconds] => {
            let lasting = Duration::from_secs(seconds.parse().context("SECONDS")?);
            handshakes(*kind == "resumed", address, certificate, lasting)?
        }
        ["idle", kind @ ("clear" | "tls" | "h2"), address, certificate, count] => {
            return idle(kind, address, certificate, count.parse().context("COUNT")?);
        }
        ["serial", kind, address, certificate, count] => {
            serial(kind, address, certificate, count.parse().context("COUNT")?)?
        }
        _ => bail!(
            "usage: client open-loop ADDRESS RATE SECONDS | handshakes full|resumed ADDRESS CERTIFICATE SECONDS | \
             idle clear|tls|h2 ADDRESS CERTIFICATE COUNT | serial clear|mesh|tls|h2|grpc ADDRESS CERTIFICATE COUNT"
        ),
    };
    say(&line)
}

/// Prints a line, at once.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

/// Sends a request and reads its whole answer, which must be 200.
fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0 && answer.len() < ANSWER_BYTES_MAX, "cut: {}", answer.escape_ascii());
        answer.extend_from_slice(&buffer[..count]);
        let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") else { continue };
        let head = str::from_utf8(&answer[..end])?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        let lengths = head.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = lengths.next().context("content-length")?.1.trim().parse()?;
        if answer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}

/// Requests at a fixed rate, over connections that take turns.
fn open_loop(address: &str, rate: u32, seconds: u32) -> Result<String> {
    ensure!(rate > 0 && seconds > 0, "RATE and SECONDS are above 0");
    // Every connection is there before the first request is due.
    let streams: Vec<TcpStream> =
        (0..OPEN_CONNECTIONS).map(|_| connect(address)).collect::<Result<_>>()?;
    // Timers are as exact as the kernel can; threads have it from the one that starts them.
    set_current_timer_slack(NonZeroU64::new(1))?;
    let begin = Instant::now();
    let total = u64::from(rate) * u64::from(seconds);
    let threads = streams.into_iter().zip(0..).map(|(mut stream, first)| {
        thread::spawn(move || -> Result<Vec<Duration>> {
            let mut late = Vec::new();
            for number in (first..total).step_by(OPEN_CONNECTIONS as usize) {
                let due = begin + Duration::from_nanos(1_000_000_000 * number / u64::from(rate));
                wait_until(due);
                ask(&mut stream, REQUEST)?;
                late.push(due.elapsed());
            }
            Ok(late)
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut late = Vec::new();
    for thread in threads {
        late.extend(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread broke"))??);
    }
    late.sort_unstable();
    let at = |part: usize| late[(late.len() - 1) * part / 100].as_secs_f64() * 1e6;
    Ok(format!("{} {:.1} {:.1}", late.len(), at(50), at(99)))
}

/// Until that moment; at once when it has passed.
fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let left =
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        // Interrupted is looked at like slept: by the clock.
        let _ = clock_nanosleep_relative(ClockId::Monotonic, &left);
    }
}

/// Who believes `certificate` and speaks TLS 1.3, with the key exchange that all servers have, so that none is asked for more.
fn tls(certificate: &str, resumption: Resumption) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).context("read CERTIFICATE")?;
    roots.add(certificate)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Ok(Arc::new(config))
}

/// A new connection that has been answered once.
fn secured(
    config: &Arc<ClientConfig>,
    address: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from("a.example")?)?;
    let mut stream = StreamOwned::new(connection, connect(address)?);
    ask(&mut stream, REQUEST)?;
    Ok(stream)
}

fn handshakes(
    is_resumed: bool,
    address: &str,
    certificate: &str,
    lasting: Duration,
) -> Result<String> {
    let until = Instant::now() + lasting;
    let threads: Vec<_> = (0..HANDSHAKES)
        .map(|_| {
            let resumption = if is_resumed {
                Resumption::in_memory_sessions(64)
            } else {
                Resumption::disabled()
            };
            let (config, address) = (tls(certificate, resumption), address.to_owned());
            thread::spawn(move || -> Result<u64> {
                let config = config?;
                if is_resumed {
                    secured(&config, &address)?;
                }
                let wanted = if is_resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
                let mut count = 0;
                while Instant::now() < until {
                    let mut stream = secured(&config, &address)?;
                    let kind = stream.conn.handshake_kind();
                    ensure!(kind == Some(wanted), "a handshake was {kind:?}, not {wanted:?}");
                    stream.conn.send_close_notify();
                    stream.flush()?;
                    count += 1;
                }
                Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for thread in threads {
        count += thread.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
    }
    Ok(count.to_string())
}

fn idle(kind: &str, address: &str, certificate: &str, count: usize) -> Result<()> {
    let config = tls(certificate, Resumption::disabled())?;
    let mut held = Vec::new();
    for number in 0..count {
        let stream = match kind {
            "tls" => secured(&config, address).map(|stream| stream.sock),
            "h2" => asked_in_h2(address),
            _ => connect(address).and_then(|mut stream| ask(&mut stream, REQUEST).map(|()| stream)),
        };
        held.push(stream.with_context(|| format!("connection {number}"))?);
    }
    // One that was closed meanwhile is readable, and the figure would be of fewer.
    for (number, stream) in held.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let closed = matches!(stream.peek(&mut [0]), Ok(0));
        ensure!(!closed, "connection {number} was closed before all were there");
    }
    say(&held.len().to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn asked_in_h2(address: &str) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    ask_in_h2(&mut stream, &mut Client::new(Asks::Get))?;
    Ok(stream)
}

/// Sends the next request and reads its whole answer, which must be 200.
fn ask_in_h2(stream: &mut TcpStream, client: &mut Client) -> Result<()> {
    stream.write_all(&client.ask())?;
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "cut");
        let bytes = &buffer[..count];
        if client.take(bytes).with_context(|| format!("no answer: {}", bytes.escape_ascii()))? {
            return Ok(());
        }
    }
}

fn serial(kind: &str, address: &str, certificate: &str, count: u32) -> Result<String> {
    if kind == "tls" {
        let mut stream = secured(&tls(certificate, Resumption::disabled())?, address)?;
        (1..count).try_for_each(|_| ask(&mut stream, REQUEST))?;
        return Ok(count.to_string());
    }
    let mut stream = connect(address)?;
    let mut in_h2 = |asks| {
        let mut client = Client::new(asks);
        (0..count).try_for_each(|_| ask_in_h2(&mut stream, &mut client))
    };
    match kind {
        "h2" => in_h2(Asks::Get)?,
        "grpc" => in_h2(Asks::Call)?,
        "clear" => (0..count).try_for_each(|_| ask(&mut stream, REQUEST))?,
        "mesh" => (0..count).try_for_each(|_| ask(&mut stream, MESH_REQUEST))?,
        other => bail!("`{other}` is no kind of request"),
    }
    Ok(count.to_string())
}
