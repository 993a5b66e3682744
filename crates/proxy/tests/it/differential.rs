//! What a gateway sends on is read alike by everybody: hyper, Node, Go, nginx, HAProxy, and a reader by the letter. Requests
//! are made from a seed: correct, odd, and such as are to be understood in two ways.
//!
//! `LANEWAY_DIFFERENTIAL=1000000` is so many connections of clients, `LANEWAY_SEED` another seed; every run prints its own
//! (`cargo xtask differential`).

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use telemetry::Outcome;
use testkit::Random;

use crate::{
    origin::{Conversation, Heard, Origin, Said},
    world::{Proxy, Wire, World, eventually, field},
};
use generate::{Correct, NUMBER, Stream};
use servers::{Read, Server, Understood};

mod answers;
mod frames;
mod generate;
mod http2;
mod servers;

/// Connections of clients where nobody asks for more, and the seed they are made from.
const STREAMS: u64 = 1_500;
const SEED: u64 = 9112;

/// Requests after which an instance closes its connection, on average: what servers are given at once.
const REQUESTS_ON_CONNECTION: usize = 6;

/// Differences that a failing run shows.
const DIFFERENCES_SHOWN: usize = 12;

/// How many streams go through a gateway before what came of them is shown to the servers.
const STREAMS_AT_ONCE: usize = 500;

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a run says how it is repeated, and what it has shown")]
async fn what_goes_on_is_read_alike_by_everybody() {
    if !testkit::needs("suites") || !testkit::needs("servers") {
        return;
    }
    let (streams, seed) =
        (asked_for("LANEWAY_DIFFERENTIAL", STREAMS), asked_for("LANEWAY_SEED", SEED));
    eprintln!("LANEWAY_SEED={seed} LANEWAY_DIFFERENTIAL={streams}");
    let place = tempfile::tempdir().unwrap();
    let (servers, _behind) = servers::all(place.path()).await;
    let (mut random, seeds) = (Random::new(seed), seeds(&["request", "chunked_body"]));
    let mut tally = Tally::default();
    let mut number = 0;
    while number < streams as usize {
        let count = STREAMS_AT_ONCE.min(streams as usize - number);
        let made: Vec<_> =
            (number..number + count).map(|at| generate::stream(&mut random, at, &seeds)).collect();
        for conversation in sent_on(&made, &mut tally).await {
            compare(&servers, &conversation, &mut tally).await;
        }
        number += count;
        let shown = tally.differences.iter().take(DIFFERENCES_SHOWN).cloned().collect::<Vec<_>>();
        let count = tally.differences.len();
        assert_eq!(count, 0, "LANEWAY_SEED={seed}: read differently:\n{}", shown.join("\n\n"));
    }
    eprintln!("{tally:?}");
    assert!(tally.sent_on * 2 > streams, "too little goes on to show anything: {tally:?}");
    assert!(tally.refused * 10 > streams, "too little is hostile to show anything: {tally:?}");
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    /// Requests that went on.
    sent_on: u64,
    /// Answers of the gateway's own.
    refused: u64,
    /// Requests that a server refused, though by the letter it need not.
    refused_by: HashMap<&'static str, u64>,
    /// What was read otherwise.
    differences: Vec<String>,
}

#[allow(clippy::disallowed_methods, reason = "a run is asked for by the environment")]
fn asked_for(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name}={number}: a number")),
        Err(_) => default,
    }
}

/// What others have written down: seeds of fuzz targets.
fn seeds(targets: &[&str]) -> Vec<Vec<u8>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let mut files: Vec<_> = targets
        .iter()
        .flat_map(|target| fs::read_dir(place.join(target)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    // A seed repeats a run wherever it is.
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Sends streams through a gateway. What came of them at an instance, by connection.
async fn sent_on(streams: &[Stream], tally: &mut Tally) -> Vec<Conversation> {
    let answered = AtomicUsize::new(0);
    let instance = Origin::answering(move |heard| {
        let is_last =
            answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(REQUESTS_ON_CONNECTION);
        answer(heard, is_last)
    })
    .await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let (mut served, mut own) = (0, 0);
    for stream in streams {
        let mut client = Wire::connect(proxy.address()).await;
        // A refusal may come before all was sent.
        let _refused = client.try_send_bytes(&stream.bytes).await;
        let _gone = client.try_close_write().await;
        let said = client.rest().await;
        let statuses = statuses(&said);
        served += statuses.iter().filter(|(status, _)| *status == 200).count();
        own += statuses.iter().filter(|(status, _)| *status >= 400).count();
        if let Some(correct) = &stream.correct {
            let numbers: Vec<_> = correct.iter().map(|it| (200, it.number.clone())).collect();
            let bytes = stream.bytes.escape_ascii();
            assert_eq!(statuses, numbers, "all is correct, and not answered so: {bytes}");
        }
    }
    // The gateway, its clients and the instance count the same requests.
    let counters = proxy.running.counters();
    eventually(&format!("{served} requests to be counted"), async || {
        let all = counters.requests();
        let of_instance = all.iter().filter(|row| row.labels.outcome == Outcome::Base);
        of_instance.map(|row| row.durations.count()).sum::<u64>() == served as u64
    })
    .await;
    proxy.running.drain(Duration::from_secs(5)).await;
    let heard = instance.heard().await;
    let conversations = instance.conversations();
    let whole = heard.iter().filter(|it| matches!(it, Heard::Request { .. })).count();
    assert_eq!(whole, served, "what the instance read, and what was answered");
    check_correct(streams, &heard);
    tally.sent_on += served as u64;
    tally.refused += own as u64;
    conversations
}

/// What an instance answers: which request it is.
fn answer(heard: &Heard, is_last: bool) -> Said {
    let Heard::Request { fields, .. } = heard else { return Said::default() };
    let number = fields.iter().find(|(name, _)| name == NUMBER).map_or("", |(_, it)| it.as_str());
    let close = if is_last { "connection: close\r\n" } else { "" };
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{NUMBER}: {number}\r\n{close}\r\n");
    Said { bytes: text.into_bytes(), closes: is_last }
}

/// The answers that a client got: status, and which request it is for. The proxy's own are refusals, and end what can be read.
fn statuses(said: &[u8]) -> Vec<(u16, String)> {
    let text = String::from_utf8_lossy(said);
    // No body that comes here says it, and each ends in an end of line.
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .map(|head| {
            let status = head.get(..3).and_then(|status| status.parse().ok());
            let number = field(head, NUMBER).unwrap_or_default().to_owned();
            (status.unwrap_or_else(|| panic!("no status: {head}")), number)
        })
        .collect()
}

/// Correct requests arrive as they were meant.
fn check_correct(streams: &[Stream], heard: &[Heard]) {
    let by_number: HashMap<&str, &Heard> = heard
        .iter()
        .filter_map(|heard| {
            let Heard::Request { fields, .. } = heard else { return None };
            let (_, number) = fields.iter().find(|(name, _)| name == NUMBER)?;
            Some((number.as_str(), heard))
        })
        .collect();
    for Correct { number, method, target, body } in
        streams.iter().flat_map(|it| it.correct.iter().flatten())
    {
        let heard = by_number[number.as_str()];
        let read = Read::of(heard).unwrap();
        assert_eq!(read.method, method.as_bytes(), "{heard:?}");
        assert_eq!(read.target, target.as_bytes(), "{heard:?}");
        assert_eq!(read.body, *body, "{heard:?}");
    }
}

/// Every server reads what the reader by the letter has read, or refuses what it may.
async fn compare(servers: &[Server], conversation: &Conversation, tally: &mut Tally) {
    let Conversation { bytes, heard, .. } = conversation;
    let shown = bytes.escape_ascii();
    let is_clear = !heard.iter().any(|it| matches!(it, Heard::Nonsense(_)));
    assert!(is_clear, "an instance must guess: {shown}");
    let expected: Vec<Read> = heard.iter().filter_map(Read::of).collect();
    for read in &expected {
        check_host(read, &shown.to_string());
    }
    for server in servers {
        if let Err(why) = reads_the_same(server, conversation, &expected, tally).await {
            tally.differences.push(format!("{}: {why}\nof: {shown}", server.name));
        }
    }
}

/// The error says where a server differs. What it may refuse is shown to it alone: Node answers nobody any more who came
/// before.
async fn reads_the_same(
    server: &Server,
    conversation: &Conversation,
    expected: &[Read],
    tally: &mut Tally,
) -> Result<(), String> {
    let Conversation { bytes, starts, heard } = conversation;
    let start = |at: usize| starts.get(at).copied().unwrap_or(bytes.len());
    let written = |at: usize| head_of(&bytes[start(at)..]);
    // The last may have no end, and be refused all the same, before those ahead of it are answered.
    let begun: Vec<Read> = heard.iter().filter_map(Read::begun).collect();
    let may_be_refused =
        |at: usize| at < begun.len() && may_refuse(server.name, &begun[at], &written(at));
    // Nobody sends anything behind a request for another protocol before its answer.
    let is_alone = |at: usize| may_be_refused(at) || written(at).contains("\r\nupgrade: ");
    let mut from = 0;
    while from < starts.len() {
        let is_refusable = may_be_refused(from);
        let end = if is_alone(from) {
            from + 1
        } else {
            (from..begun.len()).find(|at| is_alone(*at)).unwrap_or(starts.len())
        };
        let whole = expected.len();
        let same = &expected[from.min(whole)..end.min(whole)];
        let understood = server.understands(&bytes[start(from)..start(end)], same.len()).await;
        let Understood { requests, refused, wrongly } = &understood;
        match (wrongly, refused) {
            (Some(why), _) => return Err(format!("{why}: {requests:#?}\nnot {same:#?}")),
            (None, Some(_)) if is_refusable => {
                *tally.refused_by.entry(server.name).or_default() += 1;
            }
            (None, Some(status)) => {
                return Err(format!("it refuses with {status} behind {requests:#?}\n{same:#?}"));
            }
            (None, None) if requests != same => {
                return Err(format!("{requests:#?}\nand by the letter: {same:#?}"));
            }
            (None, None) => {}
        }
        from = end;
    }
    Ok(())
}

/// Whom the gateway took a request for is whom the instance takes it for.
fn check_host(read: &Read, shown: &str) {
    let value = |name: &str| {
        let mut fields = read.fields.iter().filter(|(found, _)| found == name.as_bytes());
        let value =
            fields.next().map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase());
        assert!(fields.next().is_none(), "{name}: {shown}");
        value.map(|it| it.trim_end_matches(":80").trim_end_matches('.').to_owned())
    };
    // In HTTP/1.0 there may be none.
    if let Some(believed) = value("x-forwarded-host") {
        assert_eq!(value("host"), Some(believed), "{shown}");
    }
}

/// What Node does not know it refuses: these it knows.
const KNOWN_TO_NODE: &[&[u8]] =
    &[b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"M-SEARCH"];

/// The first head of what was written, in lower case.
fn head_of(written: &[u8]) -> String {
    let end = written.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(written.len());
    String::from_utf8_lossy(&written[..end]).to_ascii_lowercase()
}

/// Whether a server refuses what is correct by the letter. `head`: as it is written, in lower case.
fn may_refuse(server: &str, read: &Read, head: &str) -> bool {
    let method = &read.method[..];
    match server {
        // They belong into no URI.
        "hyper" => read.target.iter().any(|byte| matches!(byte, b'<' | b'>' | b'`')),
        // Nobody may announce it, and no gateway lets it through.
        "go" => head.contains("\r\ntrailer: content-length"),
        "node" => !KNOWN_TO_NODE.contains(&method),
        "nginx" => {
            let is_name = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
            let is_method = method != b"TRACE" && method.iter().all(is_name);
            !is_method || read.target == b"*" || has_tab_around_essentials(head)
        }
        // It knows what a WebSocket is asked for with, and what HTTP/2 begins with.
        "haproxy" => head.contains("\r\nupgrade: websocket") || method == b"PRI",
        _ => false,
    }
}

/// nginx takes spaces alone for white space around a value, and no tab for a part of these.
fn has_tab_around_essentials(head: &str) -> bool {
    head.lines().any(|line| {
        let is_essential = line.starts_with("host:") || line.starts_with("content-length:");
        is_essential && line.contains('\t')
    })
}
