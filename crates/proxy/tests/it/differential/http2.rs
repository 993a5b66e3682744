//! What comes in HTTP/2 and goes on in HTTP/1.1 is read alike by everybody, and as the client meant it: no field, no line and
//! no request comes of what stood in a name, a value, a path or a method.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use telemetry::Outcome;
use testkit::Random;

use super::{
    DIFFERENCES_SHOWN, SEED, STREAMS_AT_ONCE, Tally, answer, asked_for, compare,
    frames::{
        self, ACK, Fields, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, status,
    },
    generate::NUMBER,
    seeds,
    servers::{self, Read, told_fields},
};
use crate::{
    origin::{Conversation, Heard, Origin},
    world::{Proxy, Wire, World, eventually},
};
use generate::{Asked, Connection, Meant};

mod generate;

/// Connections of clients where nobody asks for more: each has several streams.
const CONNECTIONS: u64 = 700;

/// What a gateway says of a request itself, of an untrusted client's always; what of a client's crumbs is one field; and what
/// is for it alone.
const OF_GATEWAY: [&str; 13] = [
    "host",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "via",
    "baggage",
    "te",
    "http2-settings",
    "x-real-ip",
];

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a run says how it is repeated, and what it has shown")]
async fn what_comes_in_http2_is_read_alike_by_everybody() {
    if !testkit::needs("suites") || !testkit::needs("servers") {
        return;
    }
    let (count, seed) =
        (asked_for("LANEWAY_DIFFERENTIAL", CONNECTIONS), asked_for("LANEWAY_SEED", SEED));
    eprintln!("LANEWAY_SEED={seed} LANEWAY_DIFFERENTIAL={count}");
    let place = tempfile::tempdir().unwrap();
    let (servers, _behind) = servers::all(place.path()).await;
    let (mut random, seeds) = (Random::new(seed), seeds(&["translation", "header_block"]));
    let mut tally = Tally::default();
    let mut number = 0;
    while number < count as usize {
        let at_once = STREAMS_AT_ONCE.min(count as usize - number);
        let made: Vec<_> = (number..number + at_once)
            .map(|at| generate::connection(&mut random, at, &seeds))
            .collect();
        for conversation in sent_on(&made, &mut tally).await {
            compare(&servers, &conversation, &mut tally).await;
        }
        number += at_once;
        let shown = tally.differences.iter().take(DIFFERENCES_SHOWN).cloned().collect::<Vec<_>>();
        let differences = tally.differences.len();
        assert_eq!(
            differences,
            0,
            "LANEWAY_SEED={seed}: read differently:\n{}",
            shown.join("\n\n")
        );
    }
    eprintln!("{tally:?}");
    assert!(tally.sent_on > count, "too little goes on to show anything: {tally:?}");
    assert!(tally.refused * 4 > count, "too little is hostile to show anything: {tally:?}");
}

/// What became of a stream at its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Answered(u16),
    Ended,
}

/// Sends what clients say through a gateway. What came of it at an instance, by connection.
async fn sent_on(connections: &[Connection], tally: &mut Tally) -> Vec<Conversation> {
    let instance = Origin::answering(|heard| answer(heard, false)).await;
    let mut world = World::new(&[instance.address]);
    world.listeners[0].http2 = true;
    // Paths that go on are those that came.
    world.listeners[0].merge_slashes = false;
    let proxy = Proxy::gateway(&world);
    let mut served = HashSet::new();
    for connection in connections {
        let became = converse(&proxy, connection).await;
        for (at, asked) in connection.asked.iter().enumerate() {
            let became = became.get(&(at as u32 * 2 + 1)).copied();
            if asked.is_correct {
                let bytes = connection.bytes.escape_ascii();
                assert_eq!(became, Some(Became::Answered(200)), "correct: {asked:?}\nof {bytes}");
            }
            match became {
                Some(Became::Answered(200)) => {
                    served.insert(asked.number.as_str());
                }
                _ => tally.refused += 1,
            }
        }
    }
    // The gateway counts the same requests as its clients.
    let counters = proxy.running.counters();
    eventually(&format!("{} requests to be counted", served.len()), async || {
        let all = counters.requests();
        let of_instance = all.iter().filter(|row| row.labels.outcome == Outcome::Base);
        of_instance.map(|row| row.durations.count()).sum::<u64>() >= served.len() as u64
    })
    .await;
    proxy.running.drain(Duration::from_secs(5)).await;
    let heard = instance.heard().await;
    let conversations = instance.conversations();
    check(connections, &heard, &served);
    tally.sent_on += served.len() as u64;
    conversations
}

/// Says all of a connection, and hears until it knows what became of each stream, or the gateway has ended it.
async fn converse(proxy: &Proxy, connection: &Connection) -> HashMap<u32, Became> {
    let mut client = Wire::connect(proxy.address()).await;
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &connection.bytes].concat();
    // A refusal may come before all was sent.
    let _refused = client.try_send_bytes(&greeting).await;
    let (mut received, mut became) = (Vec::new(), HashMap::new());
    let wanted = connection.asked.iter().enumerate().filter(|(_, asked)| !asked.is_given_up);
    let mut open: HashSet<u32> = wanted.map(|(at, _)| at as u32 * 2 + 1).collect();
    while !open.is_empty() {
        let bytes = client.some().await;
        if bytes.is_empty() {
            break;
        }
        received.extend(bytes);
        while let Some(frame) = frames::take(&mut received) {
            hear(&frame, &mut became);
            if frame.ends_stream() || frame.kind == RST_STREAM {
                open.remove(&frame.stream);
            }
            if frame.kind == SETTINGS && !frame.has(ACK) {
                let _gone = client.try_send_bytes(&frames::frame(SETTINGS, ACK, 0, &[])).await;
            }
            if frame.kind == GOAWAY && frame.payload.get(4..8) != Some(&[0; 4]) {
                open.clear();
            }
        }
    }
    became
}

fn hear(frame: &Frame, became: &mut HashMap<u32, Became>) {
    match frame.kind {
        HEADERS => {
            let status = status(&frame.payload);
            let status = status.unwrap_or_else(|| panic!("no status: {frame:?}"));
            became.insert(frame.stream, Became::Answered(status));
        }
        RST_STREAM => {
            became.entry(frame.stream).or_insert(Became::Ended);
        }
        _ => {}
    }
}

/// Nothing arrives but what a client means, once each, and as it means it; and all that was answered has arrived.
fn check(connections: &[Connection], heard: &[Heard], served: &HashSet<&str>) {
    let asked: HashMap<&str, &Asked> =
        connections.iter().flat_map(|it| &it.asked).map(|it| (it.number.as_str(), it)).collect();
    let (mut arrived, mut unknown) = (HashSet::new(), 0);
    for heard in heard {
        let Heard::Request { fields, trailers, .. } = heard else { continue };
        let number = fields.iter().find(|(name, _)| name == NUMBER).map_or("", |(_, it)| it);
        match asked.get(number) {
            Some(asked) => {
                assert!(arrived.insert(number), "twice: {heard:?}");
                if let Some(meant) = &asked.meant {
                    let read = Read::of(heard).unwrap();
                    check_meant(meant, &read, trailers);
                }
            }
            // Its bytes were made wrong, or it says nothing of a number.
            None => unknown += 1,
        }
    }
    let lost: Vec<_> = served.iter().filter(|number| !arrived.contains(*number)).collect();
    let is_numbered =
        |meant: &Meant| meant.fields.iter().any(|(name, _)| name == NUMBER.as_bytes());
    let unnumbered = asked.values().filter(|it| !it.meant.as_ref().is_some_and(is_numbered));
    let unnumbered: HashSet<_> = unnumbered.map(|it| it.number.as_str()).collect();
    assert!(lost.iter().all(|number| unnumbered.contains(**number)), "never arrived: {lost:?}");
    assert!(unknown <= unnumbered.len(), "{unknown} requests that nobody has asked: {heard:?}");
}

/// A request that arrived is what its frames say.
fn check_meant(meant: &Meant, read: &Read, trailers: &[String]) {
    let value = |name: &str| {
        let mut of_name = meant.fields.iter().filter(|(found, _)| found == name.as_bytes());
        of_name.next().map(|(_, value)| &value[..])
    };
    assert_eq!(Some(&read.method[..]), value(":method"), "{meant:?}: {read:?}");
    // What is no ASCII is encoded on its way.
    let path = decoded(value(":path").unwrap_or_default());
    assert_eq!(Shown(&decoded(&read.target)), Shown(&path), "{meant:?}: {read:?}");
    // What is more than was announced comes when the rest has gone on. It is the client that lies who is told.
    let announced = value("content-length").map(|it| String::from_utf8_lossy(it).parse().unwrap());
    let body = meant.body.get(..announced.unwrap_or(meant.body.len())).unwrap_or(&meant.body);
    if meant.is_body_known {
        assert_eq!(Shown(&read.body), Shown(body), "{meant:?}");
    }
    let host = read.fields.iter().find(|(name, _)| name == b"host").map(|(_, value)| &value[..]);
    assert_eq!(host, value(":authority").or(value("host")), "{meant:?}: {read:?}");
    assert_eq!(of_client(&read.fields), of_client(&joined(&meant.fields)), "{meant:?}: {read:?}");
    for line in trailers {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line}"));
        let bytes = |text: &str| text.chars().map(|it| it as u8).collect::<Vec<u8>>();
        let said = (bytes(name), bytes(value.trim_matches([' ', '\t'])));
        assert!(meant.trailers.contains(&said), "{meant:?}: {line}");
        let is_of_head = ["host", "content-length", "transfer-encoding", "cookie"].contains(&name);
        assert!(!is_of_head, "behind a body: {line}");
    }
}

/// The bytes that a path and a query mean.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((byte, behind)) = rest.split_first() {
        let digits =
            behind.get(..2).filter(|_| *byte == b'%').and_then(|it| str::from_utf8(it).ok());
        let encoded = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        decoded.push(encoded.unwrap_or(*byte));
        rest = if encoded.is_some() { &behind[2..] } else { behind };
    }
    decoded
}

/// Bytes as they are told.
#[derive(PartialEq, Eq)]
struct Shown<'b>(&'b [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Without what is the gateway's, pseudo-fields, and names with `_`, which do not go on: applications behind CGI read others.
fn of_client(fields: &Fields) -> Fields {
    let is_of_client = |(name, _): &&(Vec<u8>, Vec<u8>)| {
        !name.starts_with(b":")
            && !name.contains(&b'_')
            && !OF_GATEWAY.iter().any(|it| it.as_bytes() == name)
    };
    told_fields(fields.iter().filter(is_of_client).cloned())
}

/// The crumbs of `cookie` as one field.
fn joined(fields: &Fields) -> Fields {
    let (crumbs, mut all): (Fields, Fields) =
        fields.iter().cloned().partition(|(name, _)| name == b"cookie");
    let crumbs: Vec<_> =
        crumbs.into_iter().map(|(_, value)| value).filter(|it| !it.is_empty()).collect();
    if !crumbs.is_empty() {
        all.push((b"cookie".to_vec(), crumbs.join(&b"; "[..])));
    }
    all
}
