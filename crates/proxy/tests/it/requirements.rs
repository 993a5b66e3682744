//! What RFC 9112 and RFC 9110 require of a proxy (tests/cases/requirements.yaml), each row shown at a gateway and at both
//! sides of a sidecar: bytes of a client, what an instance gets of them, its answer, and what the client gets of that.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::Deserialize;

use crate::{
    origin::{Fields, Heard, Origin, Said},
    world::{Instance, Proxy, Wire, World, field, get, nobody, status},
};

const TABLE: &str = include_str!("../cases/requirements.yaml");

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// Such as `9112 §2.2`.
    rfc: String,
    /// Whom it binds, and so as what a proxy meets it.
    binds: Vec<Role>,
    /// In short.
    must: String,
    /// What goes over the wire when it is kept.
    #[serde(default)]
    shown: Vec<Exchange>,
    /// Tests that show it: `file::name` below `tests/it` or `src`.
    #[serde(default)]
    tests: Vec<String>,
    /// Why there is nothing to show: a proxy does not do what it is about.
    #[serde(default)]
    not_met_with: Option<String>,
    /// Where Laneway does otherwise, and why.
    #[serde(default)]
    otherwise: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Intermediary,
    Proxy,
    Gateway,
    Server,
    Client,
    Sender,
    Recipient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    /// A gateway that believes nobody.
    Gateway,
    /// Beside the server.
    Inbound,
    /// Beside the client, which names the server in its target.
    Outbound,
}

const EVERYWHERE: [Place; 3] = [Place::Gateway, Place::Inbound, Place::Outbound];

/// One connection of a client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// Everywhere, where it says nothing.
    #[serde(default)]
    at: Vec<Place>,
    /// The client's bytes. A line ends in CR LF; `\r`, `\n`, `\xNN` and `\\` are the bytes they name; `{at}` is what comes in
    /// front of a path: nothing, or `http://sc-a` at the outbound side.
    sent: String,
    /// The client ends its side behind them.
    #[serde(default)]
    ends: bool,
    /// What the instance says to one request after the other, in the same form; where it is told nothing: 200, `hello`.
    #[serde(default)]
    answers: Vec<String>,
    /// It closes the connection behind the last of these.
    #[serde(default)]
    closes: bool,
    /// The request is refused with this status, no instance hears of it, and the connection ends.
    #[serde(default)]
    refused: Option<u16>,
    /// What the instance gets, one request after the other.
    #[serde(default)]
    forwarded: Vec<Expected>,
    /// What the client gets, interim answers too.
    #[serde(default)]
    answered: Vec<Expected>,
    /// How the client's connection is behind these.
    #[serde(default)]
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Then {
    /// Open, and nothing more comes.
    #[default]
    Stays,
    /// Ended by the proxy.
    Closes,
    /// Ended within the last answer, so that nobody takes it for whole.
    Breaks,
}

/// A message.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// How its first line begins; all of it where it ends in `$`.
    line: String,
    /// Of these names it has exactly these fields, in this order.
    #[serde(default)]
    has: Vec<String>,
    /// Names that it does not have.
    #[serde(default)]
    lacks: Vec<String>,
    /// Its body.
    #[serde(default)]
    body: Option<String>,
    /// The lines behind a body in chunks.
    #[serde(default)]
    trailers: Option<Vec<String>>,
    /// Its end never comes.
    #[serde(default)]
    unfinished: bool,
}

/// A message as it came.
#[derive(Debug)]
struct Message {
    line: String,
    fields: Fields,
    body: Vec<u8>,
    trailers: Vec<String>,
    is_whole: bool,
}

/// The bytes of a text of the table.
fn bytes_of(text: &str, origin: &str) -> Vec<u8> {
    let text = text.replace("{at}", origin).replace('\n', "\r\n");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, length) = match rest {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', digits @ ..] => {
                let digits = std::str::from_utf8(&digits[..2]).unwrap();
                (u8::from_str_radix(digits, 16).unwrap(), 3)
            }
            _ => panic!("no escape: {text}"),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

impl Expected {
    fn check(&self, found: &Message, shown: &str) {
        let line = &found.line;
        match self.line.strip_suffix('$') {
            Some(all) => assert_eq!(line, all, "{shown}"),
            None => assert!(line.starts_with(&self.line), "{line}: not {}\n{shown}", self.line),
        }
        let expected: Vec<(&str, &str)> = self
            .has
            .iter()
            .map(|field| field.split_once(':').unwrap_or_else(|| panic!("no field: {field}")))
            .map(|(name, value)| (name, value.trim()))
            .collect();
        let names: BTreeSet<&str> = expected.iter().map(|(name, _)| *name).collect();
        for name in names {
            let of_name =
                |(found, value): &(&str, &str)| (*found == name).then(|| (*value).to_owned());
            let expected: Vec<String> = expected.iter().filter_map(of_name).collect();
            let all = found.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let found: Vec<String> = all.filter_map(|field| of_name(&field)).collect();
            assert_eq!(found, expected, "{name}\n{shown}");
        }
        for name in &self.lacks {
            assert!(!found.fields.iter().any(|(it, _)| it == name), "{name}\n{shown}");
        }
        if let Some(body) = &self.body {
            assert_eq!(String::from_utf8_lossy(&found.body), *body, "{shown}");
        }
        if let Some(trailers) = &self.trailers {
            assert_eq!(found.trailers, *trailers, "{shown}");
        }
        assert_eq!(found.is_whole, !self.unfinished, "whole\n{shown}");
    }
}

/// The first answer in `bytes`, and how long it is; `None` before all of it is there. `ended`: nothing more comes.
fn answer(bytes: &[u8], to_head: bool, ended: bool) -> Option<(Message, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text: String = bytes[..end - 4].iter().copied().map(char::from).collect();
    let (line, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
    let fields: Fields = fields
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let field = |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, it)| it.as_str());
    let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
    let (mut body, mut trailers, mut at) = (Vec::new(), Vec::new(), end);
    let is_whole = if to_head || status < 200 || matches!(status, 204 | 304) {
        true
    } else if field("transfer-encoding").is_some() {
        read_chunks(bytes, &mut at, &mut body, &mut trailers)
    } else if let Some(length) = field("content-length") {
        let length: usize = length.parse().unwrap();
        let there = length.min(bytes.len() - end);
        body.extend_from_slice(&bytes[end..end + there]);
        at += there;
        there == length
    } else {
        body.extend_from_slice(&bytes[end..]);
        at = bytes.len();
        ended
    };
    let at = if is_whole { at } else { bytes.len() };
    (is_whole || ended)
        .then(|| (Message { line: line.to_owned(), fields, body, trailers, is_whole }, at))
}

/// Whether the last chunk and the trailers are there.
fn read_chunks(
    bytes: &[u8],
    at: &mut usize,
    body: &mut Vec<u8>,
    trailers: &mut Vec<String>,
) -> bool {
    let line = |at: &mut usize| {
        let length = bytes[*at..].windows(2).position(|two| two == b"\r\n")?;
        let line = String::from_utf8_lossy(&bytes[*at..*at + length]).into_owned();
        *at += length + 2;
        Some(line)
    };
    while let Some(size) = line(at) {
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no size: {size}"));
        if size > 0 {
            let Some(data) = bytes.get(*at..*at + size + 2) else { return false };
            body.extend_from_slice(&data[..size]);
            *at += size + 2;
            continue;
        }
        while let Some(trailer) = line(at) {
            if trailer.is_empty() {
                return true;
            }
            trailers.push(trailer);
        }
    }
    false
}

impl Exchange {
    async fn check(&self, row: &Row, place: Place) {
        let origin = if place == Place::Outbound { "http://sc-a" } else { "" };
        let mut answers: Vec<Said> = self
            .answers
            .iter()
            .map(|answer| Said { bytes: bytes_of(answer, ""), closes: false })
            .collect();
        if let Some(last) = answers.last_mut() {
            last.closes = self.closes;
        }
        let instance = Origin::saying(answers).await;
        let world = World::new(&[instance.address]);
        let (proxy, address) = match place {
            Place::Gateway => {
                let proxy = Proxy::gateway(&world);
                let address = proxy.address();
                (proxy, address)
            }
            Place::Inbound => {
                let proxy = Proxy::sidecar(&world, None, instance.address);
                let address = proxy.inbound();
                (proxy, address)
            }
            Place::Outbound => {
                let proxy = Proxy::sidecar(&world, None, nobody().await);
                let address = proxy.address();
                (proxy, address)
            }
        };
        let sent = bytes_of(&self.sent, origin);
        let mut client = Wire::connect(address).await;
        client.send_bytes(&sent).await;
        if self.ends {
            client.close_write().await;
        }
        let shown =
            format!("{} at {place:?}: {}\nsent: {}", row.rfc, row.must, sent.escape_ascii());
        let said = self.answers(&mut client, &shown).await;
        // Who is refused is listened to for as long as it is there.
        drop(client);
        proxy.running.drain(Duration::from_secs(5)).await;
        let heard: Vec<Message> = instance.heard().await.into_iter().map(read).collect();
        let shown = format!("{shown}\nheard: {heard:#?}\nsaid: {said:#?}");
        let is_refused = self.refused.is_some();
        assert!(!is_refused || self.forwarded.is_empty(), "{shown}");
        assert_eq!(heard.len(), self.forwarded.len(), "requests at the instance\n{shown}");
        for (expected, found) in self.forwarded.iter().zip(&heard) {
            expected.check(found, &shown);
        }
        if let Some(status) = self.refused {
            assert_eq!(said.len(), 1, "{shown}");
            let line = format!("HTTP/1.1 {status} ");
            Expected { line, has: vec!["connection: close".to_owned()], ..Expected::default() }
                .check(&said[0], &shown);
            return;
        }
        for (expected, found) in self.answered.iter().zip(&said) {
            expected.check(found, &shown);
        }
    }

    /// The answers that come, and that the connection is then as it should be.
    async fn answers(&self, client: &mut Wire, shown: &str) -> Vec<Message> {
        let expected = if self.refused.is_some() { 1 } else { self.answered.len() };
        let then = if self.refused.is_some() { Then::Closes } else { self.then };
        let to_head = self.sent.starts_with("HEAD ");
        let (mut said, mut received) = (Vec::new(), Vec::new());
        loop {
            let ended = said.len() + 1 == expected && then != Then::Stays;
            if said.len() == expected {
                break;
            }
            // What may be ended by the end of the connection alone.
            if ended {
                received.extend(client.rest().await);
            }
            match answer(&received, to_head, ended) {
                Some((message, length)) => {
                    received.drain(..length);
                    said.push(message);
                }
                None if ended => panic!("no answer: {}\n{shown}", received.escape_ascii()),
                None => {
                    let more = client.some().await;
                    assert!(!more.is_empty(), "{} {said:?}\n{shown}", received.escape_ascii());
                    received.extend(more);
                }
            }
        }
        if then == Then::Stays && !self.ends {
            client.close_write().await;
        }
        received.extend(client.rest().await);
        assert!(received.is_empty(), "came as well: {}\n{shown}", received.escape_ascii());
        said
    }
}

fn read(heard: Heard) -> Message {
    match heard {
        Heard::Request { line, fields, body, trailers } => {
            Message { line, fields, body, trailers, is_whole: true }
        }
        Heard::Unfinished { line, fields } => {
            Message { line, fields, body: Vec::new(), trailers: Vec::new(), is_whole: false }
        }
        Heard::Nonsense(bytes) => panic!("an instance must guess: {}", bytes.escape_ascii()),
    }
}

fn table() -> Vec<Row> {
    serde_saphyr::from_str(TABLE).unwrap_or_else(|error| panic!("requirements.yaml: {error}"))
}

#[tokio::test]
async fn what_the_standard_requires_of_a_proxy_is_kept() {
    let rows: &'static [Row] = table().leak();
    let mut broken = BTreeSet::new();
    for row in rows {
        let mut checks = Vec::new();
        for exchange in &row.shown {
            let places = if exchange.at.is_empty() { &EVERYWHERE[..] } else { &exchange.at };
            let at = |place: &Place| (*place, tokio::spawn(exchange.check(row, *place)));
            checks.extend(places.iter().map(at));
        }
        // All that is broken is told at once.
        for (place, check) in checks {
            if check.await.is_err() {
                broken.insert(format!("{}: {} ({place:?})", row.rfc, row.must));
            }
        }
    }
    assert!(broken.is_empty(), "not kept: {broken:#?}");
}

#[tokio::test]
async fn an_answer_without_a_date_gets_one() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);
    let gateway = Proxy::gateway(&world);
    let sidecar = Proxy::sidecar(&world, None, instance.address);
    let address = instance.serve("A");
    let outbound = format!("GET http://{address}/ HTTP/1.1\r\nHost: sc-a\r\n\r\n");
    for (at, request, expected) in [
        (gateway.address(), get("/"), 200),
        (sidecar.inbound(), get("/"), 200),
        (sidecar.address(), outbound, 200),
        // The proxy's own.
        (gateway.address(), get("/a/../b"), 400),
    ] {
        let mut client = Wire::connect(at).await;
        client.send(&request).await;
        let (head, _) = client.answer().await;
        assert_eq!(status(&head), expected, "{head}");
        assert_eq!(head.to_ascii_lowercase().matches("\r\ndate: ").count(), 1, "{head}");
        let said = httpdate::parse_http_date(field(&head, "date").unwrap()).unwrap();
        let age = SystemTime::now().duration_since(said).unwrap();
        assert!(age < Duration::from_secs(5), "{head}: {age:?}");
    }
}

#[tokio::test]
async fn whoever_forwards_names_itself() {
    let instance = Instance::new().await;
    let world = World::new(&[instance.address]);
    let gateway = Proxy::gateway(&world);
    let outbound = Proxy::sidecar(&world, None, nobody().await);
    for (at, origin) in [(gateway.address(), ""), (outbound.address(), "http://sc-a")] {
        let mut client = Wire::connect(at).await;
        let fields = "Host: sc-a\r\nVia: 1.0 fred, 1.1 p.example.com (x)";
        client.send(&format!("GET {origin}/ HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        let head = instance.accept().await.head().await;
        let via = field(&head, "via").unwrap();
        assert!(via.starts_with("1.0 fred, 1.1 p.example.com (x), 1.1 laneway-"), "{via}");
    }
}

#[tokio::test]
async fn a_tunnel_is_opened_without_a_length() {
    let instance = Instance::new().await;
    let proxy = Proxy::sidecar(&World::new(&[instance.address]), None, nobody().await);
    let mut client = proxy.client().await;
    client.send("CONNECT sc-a:80 HTTP/1.1\r\nHost: sc-a:80\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(status(&head), 200);
    for name in ["content-length", "transfer-encoding"] {
        assert_eq!(field(&head, name), None, "{head}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_has_said_close() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let (mut client, mut server) = proxy.under_way(&instance, &get("/1")).await;
    server.send("HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n").await;
    client.head().await;
    server.closed().await;
    client.send(&get("/2")).await;
    assert!(instance.accept().await.head().await.starts_with("GET /2 "));
}

/// A row that shows nothing says why, and a test that is named is there.
#[test]
fn every_requirement_is_shown_or_says_why_not() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = table();
    for row in &rows {
        let said = [
            !row.shown.is_empty(),
            !row.tests.is_empty(),
            row.not_met_with.is_some(),
            row.otherwise.is_some(),
        ];
        assert!(said.contains(&true), "nothing is said of {row:?}");
        assert!(!(said[2] && (said[0] || said[1] || said[3])), "it is met with after all: {row:?}");
        assert!(!row.binds.is_empty() && row.rfc.starts_with("91"), "{row:?}");
        for name in &row.tests {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("no test: {name}"));
            let text = fs::read_to_string(here.join(file))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "there is no {name}");
        }
    }
    let sections: Vec<(&str, Vec<u32>)> = rows.iter().map(|row| section(&row.rfc)).collect();
    assert!(sections.is_sorted(), "in order of the standards: {sections:?}");
}

/// `("9112", [2, 2])` of `9112 §2.2`.
fn section(rfc: &str) -> (&str, Vec<u32>) {
    let (number, section) = rfc.split_once(" §").unwrap_or_else(|| panic!("no section: {rfc}"));
    (number, section.split('.').map(|it| it.parse().unwrap()).collect())
}
