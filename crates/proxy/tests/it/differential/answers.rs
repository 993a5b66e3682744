//! What comes back through a gateway is read alike by everybody: clients made with hyper, Node, Go and Python, curl, and a
//! reader by the letter. Answers of an instance are made from a seed: correct, odd, and such as are to be understood in two
//! ways. No client gets what another was answered, nor what nobody asked for.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    path::Path,
    time::Duration,
};

use futures_util::future::join_all;
use testkit::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    DIFFERENCES_SHOWN, SEED, STREAMS_AT_ONCE, asked_for, generate::NUMBER, seeds,
    servers::told_fields,
};
use crate::{
    origin::{Heard, Origin, Said},
    world::{Proxy, World, within},
};
use clients::Client;
use generate::{Asked, POISON, Stream};
use letter::{BreaksOff, Piece};

mod clients;
mod from_http2;
mod generate;
mod letter;
mod to_http2;

/// Connections of clients where nobody asks for more: each is read by five, one of which is a process of its own.
const STREAMS: u64 = 500;

/// An answer as a client read it.
#[derive(Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// Names in lower case and values, by name; those of one name in their order. Without what is about a connection or
    /// about where the body ends: that one is told itself.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answer {
    fn new(status: u16, body: &[u8], fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self { status, body: body.to_vec(), fields: told_fields(fields) }
    }

    /// Which request it says that it is for.
    fn number(&self) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == NUMBER.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body, fields } = self;
        write!(f, "{status}")?;
        for (name, value) in fields {
            write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, " | {}", body.escape_ascii())
    }
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    /// Answers of the instance that came to their clients.
    handed_on: u64,
    /// Answers of the gateway's own, in place of the instance's.
    refused: u64,
    /// Answers that broke off.
    broken_off: u64,
    /// What some clients cannot read, and was not shown to them.
    not_shown: HashMap<&'static str, usize>,
    /// What was read otherwise.
    differences: Vec<String>,
}

impl Tally {
    /// That a run of so many connections has shown something of everything.
    #[track_caller]
    fn shows_enough_of(&self, streams: u64) {
        assert!(self.handed_on > streams, "too little goes on to show anything: {self:?}");
        assert!(self.refused * 20 > streams, "too little is hostile to show anything: {self:?}");
        assert!(
            self.broken_off * 200 > streams,
            "too little breaks off to show anything: {self:?}"
        );
    }
}

/// All that a client got on its connection.
struct Conversation {
    methods: Vec<&'static str>,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a run says how it is repeated, and what it has shown")]
async fn what_comes_back_is_read_alike_by_everybody() {
    if !testkit::needs("suites") || !testkit::needs("servers") || !testkit::needs("python") {
        return;
    }
    let (streams, seed) =
        (asked_for("LANEWAY_DIFFERENTIAL", STREAMS), asked_for("LANEWAY_SEED", SEED));
    eprintln!("LANEWAY_SEED={seed} LANEWAY_DIFFERENTIAL={streams}");
    let place = tempfile::tempdir().unwrap();
    let clients = clients::all(place.path()).await;
    let (mut random, seeds) = (Random::new(seed), seeds(&["response", "chunked_body"]));
    let mut tally = Tally::default();
    let (mut number, mut shown) = (0, 0);
    while shown < streams as usize {
        let count = STREAMS_AT_ONCE.min(streams as usize - shown);
        let made: Vec<_> = (0..count)
            .map(|_| {
                let stream = generate::stream(&mut random, number, &seeds);
                number += stream.asked.len();
                stream
            })
            .collect();
        for (at, conversation) in come_back(&made, &mut tally).await.into_iter().enumerate() {
            compare(&clients, place.path(), shown + at, &conversation, &mut tally).await;
        }
        shown += count;
        differences(&tally, seed);
    }
    eprintln!("{tally:?}");
    tally.shows_enough_of(streams);
}

/// Asks through a gateway what an instance answers so. What came of it at the clients.
async fn come_back(streams: &[Stream], tally: &mut Tally) -> Vec<Conversation> {
    let instance = answering(streams).await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    let conversations = conversations(&proxy, streams, tally).await;
    proxy.running.drain(Duration::from_secs(5)).await;
    conversations
}

/// An instance that answers each request as its stream has it.
async fn answering(streams: &[Stream]) -> Origin {
    let said = said(streams);
    Origin::answering(move |heard| {
        let Heard::Request { fields, .. } = heard else { return Said::default() };
        let number = fields.iter().find(|(name, _)| name == NUMBER);
        number.and_then(|(_, number)| said.get(number)).cloned().unwrap_or_default()
    })
    .await
}

/// What is said to each request, by its number.
fn said(streams: &[Stream]) -> HashMap<String, Said> {
    let all = streams.iter().flat_map(|stream| &stream.asked);
    all.map(|it| (it.number.clone(), Said { bytes: it.bytes.clone(), closes: it.closes })).collect()
}

/// Fails where anything was read differently.
fn differences(tally: &Tally, seed: u64) {
    let shown = tally.differences.iter().take(DIFFERENCES_SHOWN).cloned().collect::<Vec<_>>();
    let count = tally.differences.len();
    assert_eq!(count, 0, "LANEWAY_SEED={seed}: read differently:\n{}", shown.join("\n\n"));
}

/// What comes to clients in HTTP/1.1 that ask so.
async fn conversations(proxy: &Proxy, streams: &[Stream], tally: &mut Tally) -> Vec<Conversation> {
    let all = streams.iter().flat_map(|stream| &stream.asked);
    let numbers: HashSet<String> = all.map(|it| it.number.clone()).collect();
    let mut conversations = Vec::new();
    for stream in streams {
        let (bytes, was_reset) = ask(proxy, stream).await;
        let methods: Vec<_> = stream.asked.iter().map(|it| it.method).collect();
        let pieces = letter::read(&bytes, &methods, was_reset);
        let pieces = pieces.unwrap_or_else(|why| {
            let answers: Vec<_> =
                stream.asked.iter().map(|it| it.bytes.escape_ascii().to_string()).collect();
            panic!("a client must guess: {why}\nin {}\nof {answers:#?}", bytes.escape_ascii())
        });
        check(stream, &pieces, &numbers, tally);
        conversations.push(Conversation { methods, bytes, pieces });
    }
    conversations
}

/// All that comes to one client, and whether its connection was reset.
async fn ask(proxy: &Proxy, stream: &Stream) -> (Vec<u8>, bool) {
    let mut asked = String::new();
    for (at, Asked { method, number, .. }) in stream.asked.iter().enumerate() {
        let is_old = stream.is_old && at + 1 == stream.asked.len();
        let version = if is_old { "HTTP/1.0" } else { "HTTP/1.1" };
        let length = if *method == "POST" { "Content-Length: 0\r\n" } else { "" };
        asked +=
            &format!("{method} / {version}\r\nHost: shop\r\n{NUMBER}: {number}\r\n{length}\r\n");
    }
    let mut client = proxy.client().await.into_stream();
    // A refusal may come before all was sent.
    let _refused = within("room to send", client.write_all(asked.as_bytes())).await;
    let _gone = client.shutdown().await;
    let mut received = Vec::new();
    let end = within("the end", client.read_to_end(&mut received)).await;
    (received, end.is_err())
}

/// Every answer is for its request, and those that are correct are as they were meant.
fn check(stream: &Stream, pieces: &[Piece], numbers: &HashSet<String>, tally: &mut Tally) {
    for (at, asked) in stream.asked.iter().enumerate() {
        let Some(piece) = pieces.get(at) else {
            let before = at.checked_sub(1).map(|before| &stream.asked[before]);
            let ends_apart = before.is_some_and(|before| before.ends_apart);
            let ends = |it: &Piece| it.closes || it.answer.is_none() || ends_apart;
            assert!(pieces.last().is_some_and(ends), "not answered: {asked:?}, behind {pieces:?}");
            return;
        };
        check_answer(asked, piece.answer.as_ref(), numbers, tally);
        if piece.answer.is_none() {
            return;
        }
    }
}

/// An answer is for its request, and as it was meant where it is correct.
fn check_answer(
    asked: &Asked,
    answer: Option<&Answer>,
    numbers: &HashSet<String>,
    tally: &mut Tally,
) {
    let Some(answer) = answer else {
        assert!(asked.correct.is_none(), "correct, and broken off: {asked:?}");
        tally.broken_off += 1;
        return;
    };
    let is_own = answer.fields.contains(&(b"server".into(), b"laneway".into()));
    if is_own {
        assert_eq!(answer.status, 502, "{asked:?}: {answer:?}");
        tally.refused += 1;
    } else {
        tally.handed_on += 1;
    }
    if let Some(number) = answer.number() {
        // What is wrong in an answer may have made what is behind it the answer to the same request.
        let number = number.strip_prefix(POISON).unwrap_or(&number);
        let is_of_another = number != asked.number && numbers.contains(number);
        assert!(!is_of_another, "{asked:?}\nis answered {answer:?}");
    }
    // The answer before, to somebody else, may have been the end of their connection, which was seen when this had gone out: what
    // is not idempotent is not sent again (RFC 9110 §9.2.2).
    let may_have_met_an_end = is_own && asked.method == "POST";
    if let Some(correct) = &asked.correct
        && !may_have_met_an_end
    {
        let meant = (correct.status, &correct.body, Some(asked.number.clone()));
        assert_eq!((answer.status, &answer.body, answer.number()), meant, "{asked:?}");
    }
}

/// Every client reads what the reader by the letter has read.
async fn compare(
    clients: &[Client],
    place: &Path,
    number: usize,
    conversation: &Conversation,
    tally: &mut Tally,
) {
    let Conversation { methods, bytes, pieces } = conversation;
    let reading = clients.iter().map(|client| async move {
        for (shown, leaves) in connections(client.name, methods, pieces) {
            let shown = (&methods[shown.clone()], &pieces[shown]);
            client.reads_the_same(place, number, shown, leaves).await?;
        }
        Ok::<_, String>(())
    });
    for (client, read) in clients.iter().zip(join_all(reading).await) {
        let shown = connections(client.name, methods, pieces);
        let shown: usize = shown.iter().map(|(shown, _)| shown.len()).sum();
        *tally.not_shown.entry(client.name).or_default() += pieces.len() - shown;
        if let Err(why) = read {
            let bytes = bytes.escape_ascii();
            tally.differences.push(format!("{}: {why}\nto {methods:?}: {bytes}", client.name));
        }
    }
}

/// What a client is shown on one connection each, and whether it leaves behind that.
fn connections(client: &str, methods: &[&str], pieces: &[Piece]) -> Vec<(Range<usize>, bool)> {
    let (mut all, mut from) = (Vec::new(), 0);
    for (at, piece) in pieces.iter().enumerate() {
        if !can_be_shown(client, piece) {
            all.push((from..at, false));
            from = at + 1;
        } else if may_leave(client, methods[at], piece) {
            all.push((from..at + 1, true));
            from = at + 1;
        }
    }
    all.push((from..pieces.len(), false));
    all.retain(|(shown, _)| !shown.is_empty());
    all
}

/// Whether a client reads what is correct by the letter, and can be told all of it.
fn can_be_shown(client: &str, piece: &Piece) -> bool {
    match client {
        // Sockets here know no reset.
        _ if piece.breaks_off == Some(BreaksOff::ByReset) => false,
        // It takes every interim answer but one for the answer, and nothing for the end of what follows a body in chunks.
        "python" => {
            let is_interim = piece.interim.iter().all(|status| *status == 100);
            is_interim && piece.breaks_off != Some(BreaksOff::BehindBody)
        }
        // It refuses an answer that announces what can be no trailer; a gateway lets none through.
        "go" => {
            let bytes = String::from_utf8_lossy(&piece.bytes).to_ascii_lowercase();
            !bytes.contains("trailer: content-length")
        }
        _ => true,
    }
}

/// Whether a client asks on another connection behind an answer that leaves its own open.
fn may_leave(client: &str, method: &str, piece: &Piece) -> bool {
    match client {
        // Behind HEAD it wants to be told how long the body is that does not come.
        "node" => method == "HEAD" && !piece.is_framed,
        _ => false,
    }
}
