//! An exchange between two sides that have neither sockets nor bytes of a protocol: another codec would do as well.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use routes::{
    Edits,
    entrance::{CorrelationHeaders, Field, Fields, Head},
};
use telemetry::{Metrics, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::{
    Published,
    affinity::{AnswerEdits, Owed},
    exchange::sides::{Answer, Client, Piece},
    observed::Caller,
    plan::{Protocol, Target},
};

/// A part of a body, or its trailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Nothing,
    Data(&'static str),
    Trailers(&'static str),
}

impl Piece for Part {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Data(text) | Self::Trailers(text) => text.len(),
        }
    }

    fn duplicate(&self) -> Self {
        self.clone()
    }
}

/// What one side tells the other, until it says that nothing follows or goes away.
#[derive(Debug, Default)]
struct Pipe {
    parts: RefCell<VecDeque<Part>>,
    is_ended: Cell<bool>,
    is_gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pipe {
    fn push(&self, part: Part) {
        self.parts.borrow_mut().push_back(part);
        self.wake();
    }

    fn end(&self) {
        self.is_ended.set(true);
        self.wake();
    }

    fn leave(&self) {
        self.is_gone.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn is_done(&self) -> bool {
        self.is_ended.get() && self.parts.borrow().is_empty()
    }

    async fn next(&self) -> Option<Part> {
        poll_fn(|context| {
            if let Some(part) = self.parts.borrow_mut().pop_front() {
                return Poll::Ready(Some(part));
            }
            if self.is_gone.get() {
                return Poll::Ready(None);
            }
            if self.is_ended.get() {
                return Poll::Ready(Some(Part::Nothing));
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// A request in memory.
struct Asked {
    fields: Vec<Field<'static>>,
    body: Rc<Pipe>,
    stream: DuplexStream,
}

struct AskedHead<'h>(&'h mut Vec<Field<'static>>);

impl<'b> Fields<'b> for AskedHead<'b> {
    fn kept(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + Clone {
        self.0.iter().copied()
    }

    fn drop_where(&mut self, mut is_dropped: impl FnMut(&Field<'b>) -> bool) {
        self.0.retain(|field| !is_dropped(field));
    }
}

impl<'b> Head<'b> for AskedHead<'b> {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Option<&'static str> {
        None
    }

    fn authority(&self) -> &'b [u8] {
        b"shop"
    }

    fn host(&self) -> &str {
        "shop"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> &str {
        ""
    }

    fn merge_slashes(&mut self) {}

    fn judge(&mut self) {}

    fn is_judged(&self) -> bool {
        true
    }
}

impl Request for Asked {
    type Body = AskedBody;

    const PROTOCOL: Protocol = Protocol::HTTP1;

    fn head(&mut self) -> impl Head<'_> {
        AskedHead(&mut self.fields)
    }

    fn into_body(self, _: bool) -> AskedBody {
        AskedBody { pipe: self.body, stream: self.stream }
    }
}

struct AskedBody {
    pipe: Rc<Pipe>,
    stream: DuplexStream,
}

impl RequestBody for AskedBody {
    type Piece = Part;
    type Stream = DuplexStream;

    fn arrived(&mut self) -> Result<Part, Kind> {
        Ok(self.pipe.parts.borrow_mut().pop_front().unwrap_or_default())
    }

    async fn next(&mut self) -> Result<Part, Kind> {
        self.pipe.next().await.ok_or(Kind::ClientGone)
    }

    fn is_done(&self) -> bool {
        self.pipe.is_done()
    }

    fn give_back(&mut self, _: Part) {}

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.pipe.is_gone.get() {
            return Poll::Ready(());
        }
        self.pipe.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    fn into_stream(self) -> (DuplexStream, impl AsRef<[u8]>) {
        (self.stream, b"early ")
    }
}

/// What the client was told.
#[derive(Debug, Default)]
struct Told {
    words: RefCell<Vec<String>>,
}

impl Told {
    fn tell(&self, word: impl ToString) {
        self.words.borrow_mut().push(word.to_string());
    }

    fn tell_part(&self, part: &Part) {
        match part {
            Part::Nothing => {}
            Part::Data(text) => self.tell(text),
            Part::Trailers(text) => self.tell(format!("trailers {text}")),
        }
    }
}

impl Client for Told {
    async fn own(&self, answer: &OwnAnswer, may_go_on: bool) -> Result<(), Gone> {
        self.tell(format!("own {} {may_go_on}", answer.status()));
        Ok(())
    }

    fn cut(&self, _: &Kind) {
        self.tell("cut");
    }
}

/// An answer's head in memory.
#[derive(Debug)]
struct Status(u16);

impl Answer for Status {
    fn status(&self) -> u16 {
        self.0
    }
}

impl AnswerSink<Status> for Told {
    type Piece = Part;
    type Head = String;

    fn keeps_framing(&self) -> bool {
        false
    }

    async fn interim(&self, answer: &Status) -> Result<(), Gone> {
        self.tell(answer.0);
        Ok(())
    }

    fn head(&self, answer: &mut Status, _: AnswerEdits<'_>, may_go_on: bool) -> String {
        format!("{} {may_go_on}", answer.0)
    }

    fn switch(&self, answer: &Status, _: &Owed) -> Option<String> {
        Some(format!("switch {}", answer.0))
    }

    async fn begin(&self, head: String, first: &mut Part, _: bool) -> Result<(), Gone> {
        self.tell(head);
        self.tell_part(first);
        Ok(())
    }

    async fn send(&self, piece: &mut Part, _: bool) -> Result<(), Gone> {
        self.tell_part(piece);
        Ok(())
    }
}

/// What an instance does with one request.
#[derive(Default)]
struct Script {
    /// It closes without an answer.
    breaks: bool,
    /// Others have every place on its connection.
    is_full: bool,
    statuses: RefCell<VecDeque<u16>>,
    answer: Pipe,
    waker: RefCell<Option<Waker>>,
    heard: RefCell<Vec<Part>>,
    stream: RefCell<Option<DuplexStream>>,
    is_finished: Cell<bool>,
    is_dropped: Cell<bool>,
}

impl Script {
    fn answers(statuses: &[u16]) -> Rc<Self> {
        let statuses = RefCell::new(statuses.iter().copied().collect());
        Rc::new(Self { statuses, ..Self::default() })
    }

    fn say(&self, status: u16) {
        self.statuses.borrow_mut().push_back(status);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Instances in memory: each connection follows the next script.
struct Scripts(RefCell<VecDeque<Rc<Script>>>);

struct Playing(Rc<Script>);

impl Drop for Playing {
    fn drop(&mut self) {
        self.0.is_dropped.set(true);
    }
}

impl Upstream<Asked> for Scripts {
    type Call = Playing;

    fn message(
        &self,
        _: Protocol,
        _: &Asked,
        _: Option<u64>,
        _: &Written,
        _: &Edits<'_>,
    ) -> Result<(), Kind> {
        Ok(())
    }

    fn join(&self, (): &mut (), _: &mut Part) {}

    fn give_back(&self, (): ()) {}

    fn keeps_framing(&self, _: Protocol) -> bool {
        true
    }

    async fn connect(
        &self,
        _: Protocol,
        _: std::net::SocketAddr,
        _: Option<std::net::SocketAddr>,
    ) -> Result<(Playing, bool), ProxyError> {
        let script = self.0.borrow_mut().pop_front().unwrap();
        // Others have them on a connection that one of them opened.
        let is_joined = script.is_full;
        Ok((Playing(script), is_joined))
    }

    fn pooled(&self, _: Protocol, _: std::net::SocketAddr) -> Option<Playing> {
        self.0.borrow_mut().pop_front().map(Playing)
    }
}

impl Call for Playing {
    type Message = ();
    type Piece = Part;
    type Answer = Status;
    type Stream = DuplexStream;

    fn leads_to(&self, _: &lanes::ServiceId) {}

    fn leads_to_application(&self) {}

    fn expect_by(&self, _: u64) {}

    fn expect_moves(&self, _: std::time::Duration, _: u64) {}

    fn cut(&self) {}

    fn owes_an_answer(&self) -> bool {
        true
    }

    fn is_mute(&self) -> bool {
        false
    }

    async fn begin(&self, (): &mut (), first: &mut Part, last: bool) -> Result<(), ProxyError> {
        if self.0.is_full {
            return Err(ProxyError::unsent(Kind::NoStream));
        }
        self.send(first, last).await
    }

    async fn send(&self, piece: &mut Part, _: bool) -> Result<(), ProxyError> {
        if !piece.is_empty() {
            self.0.heard.borrow_mut().push(piece.clone());
        }
        Ok(())
    }

    async fn answer(&self) -> Result<Status, Kind> {
        if self.0.breaks {
            return Err(Kind::Reset(std::io::ErrorKind::ConnectionReset.into()));
        }
        poll_fn(|context| match self.0.statuses.borrow_mut().pop_front() {
            Some(status) => Poll::Ready(Ok(Status(status))),
            None => {
                self.0.waker.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    fn pass_over(&self, _: Status) {}

    fn begin_body(&self, _: Status, _: bool) -> Result<Part, Kind> {
        Ok(self.0.answer.parts.borrow_mut().pop_front().unwrap_or_default())
    }

    async fn next(&self) -> Result<Part, Kind> {
        self.0.answer.next().await.ok_or(Kind::AnswerTimeout)
    }

    fn is_done(&self) -> bool {
        self.0.answer.is_done()
    }

    fn give_back(&self, _: Part) {}

    fn finish(self) {
        self.0.is_finished.set(true);
    }

    fn into_stream(self) -> (DuplexStream, impl AsRef<[u8]>) {
        (self.0.stream.take().unwrap(), b"greeting ")
    }
}

/// Sends everything to one address.
struct ToOne;

impl Decide for ToOne {
    const ROLE: Role = Role::Gateway;

    fn plan<'p, 'b>(
        &'p self,
        _: &Worker,
        _: &'p Published,
        _: &mut impl Head<'b>,
        _: &Found,
        _: &mut Written,
    ) -> Result<Plan<'p>, NoPlan> {
        Ok(Plan {
            role: Role::Gateway,
            target: Target::Address("10.0.0.1:80".parse().unwrap()),
            protocol: None,
            edits: Edits::NONE,
            counted_as: ("a", "sc-A"),
            route: None,
            member: None,
            outcome: None,
            owed: Owed::default(),
            remembered: None,
            unreachable: None,
            request_timeout_ms: None,
            backend_timeout_ms: None,
        })
    }

    fn correlation(&self) -> &CorrelationHeaders {
        static DEFAULT: LazyLock<CorrelationHeaders> = LazyLock::new(CorrelationHeaders::default);
        &DEFAULT
    }

    fn caller(&self) -> Caller {
        Caller { peer: std::net::Ipv4Addr::LOCALHOST.into(), is_tls: false }
    }
}

/// Drives one exchange; `meanwhile` plays client and instances. What the client was told, how it ended, and what was
/// counted.
async fn drive(
    body: &Rc<Pipe>,
    scripts: &[&Rc<Script>],
    meanwhile: impl AsyncFnOnce(&Told, DuplexStream),
) -> (Vec<String>, &'static str, Vec<String>) {
    let metrics = Metrics::default();
    let worker = Worker::alone(&metrics);
    let told = Told::default();
    let (stream, client) = duplex(1024);
    let asked = Asked { fields: Vec::new(), body: Rc::clone(body), stream };
    let scripts = Scripts(RefCell::new(scripts.iter().map(|script| Rc::clone(script)).collect()));
    let (end, ()) =
        tokio::join!(exchange(&worker, &ToOne, asked, &scripts, &told), meanwhile(&told, client));
    let end = match end {
        End::Whole(_) => "whole",
        End::Established(..) => "established",
        End::Unread => "unread",
        End::Broken => "broken",
    };
    // Counts of a thread that has ended are told, also of labels that nothing was counted under.
    drop(worker);
    let rows = metrics.requests().into_iter().filter(|row| row.durations.count() > 0);
    let counted = rows.map(|row| {
        let (outcome, code_class) = (row.labels.outcome, row.labels.code_class);
        format!("{} {outcome:?} {code_class:?}", row.durations.count())
    });
    (told.words.take(), end, counted.collect())
}

async fn turns() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn ended() -> Rc<Pipe> {
    let pipe = Rc::new(Pipe::default());
    pipe.end();
    pipe
}

#[tokio::test]
async fn a_whole_request_is_tried_again_and_answered_with_trailers() {
    let (broken, good) =
        (Rc::new(Script { breaks: true, ..Script::default() }), Script::answers(&[103, 200]));
    good.answer.push(Part::Data("hello"));
    good.answer.push(Part::Trailers("sum=1"));
    good.answer.end();
    let body = ended();
    body.push(Part::Data("body"));
    let (words, end, _) = drive(&body, &[&broken, &good], async |_, _| {}).await;
    assert_eq!((words.join(","), end), ("103,200 true,hello,trailers sum=1".to_owned(), "whole"));
    assert_eq!((broken.heard.take(), broken.is_finished.get()), (vec![Part::Data("body")], false));
    assert_eq!((good.heard.take(), good.is_finished.get()), (vec![Part::Data("body")], true));
}

#[tokio::test]
async fn that_others_had_the_place_uses_up_no_attempt() {
    let full = Rc::new(Script { is_full: true, ..Script::default() });
    let good = Script::answers(&[200]);
    good.answer.end();
    let scripts = [&full, &full, &full, &full, &full, &good];
    let (words, end, _) = drive(&ended(), &scripts, async |_, _| {}).await;
    assert_eq!((words.join(","), end), ("200 true".to_owned(), "whole"));
}

#[tokio::test]
async fn an_early_answer_leaves_the_request_unread() {
    let instance = Script::answers(&[413]);
    instance.answer.end();
    let body = Rc::new(Pipe::default());
    body.push(Part::Data("half"));
    let (words, end, _) = drive(&body, &[&instance], async |_, _| {}).await;
    assert_eq!((words.join(","), end), ("413 false".to_owned(), "unread"));
}

#[tokio::test]
async fn both_directions_stream_at_once_and_trailers_pass_both_ways() {
    let (instance, body) = (Script::answers(&[]), Rc::new(Pipe::default()));
    body.push(Part::Data("one"));
    let (words, end, _) = drive(&body, &[&instance], async |told, _| {
        turns().await;
        assert_eq!(*instance.heard.borrow(), [Part::Data("one")]);
        instance.say(200);
        instance.answer.push(Part::Data("first"));
        turns().await;
        assert_eq!(told.words.borrow().join(","), "200 false,first");
        body.push(Part::Data("two"));
        body.push(Part::Trailers("sum=2"));
        body.end();
        turns().await;
        instance.answer.push(Part::Trailers("sum=1"));
        instance.answer.end();
    })
    .await;
    assert_eq!((words.join(","), end), ("200 false,first,trailers sum=1".to_owned(), "unread"));
    let heard = [Part::Data("one"), Part::Data("two"), Part::Trailers("sum=2")];
    assert_eq!(instance.heard.take(), heard);
}

#[tokio::test]
async fn when_the_client_goes_away_the_instance_is_let_go() {
    for answers in [false, true] {
        let (instance, body) = (Script::answers(&[]), ended());
        let (words, end, _) = drive(&body, &[&instance], async |_, _| {
            if answers {
                instance.say(200);
            }
            turns().await;
            body.leave();
        })
        .await;
        assert_eq!(end, "broken", "{words:?}");
        assert!(instance.is_dropped.get() && !instance.is_finished.get());
    }
}

#[tokio::test]
async fn an_answer_counts_by_how_its_body_ends() {
    for (whole, told, counted) in
        [(true, "200 true,first", "1 Base Success"), (false, "200 true,first,cut", "1 Cut Success")]
    {
        let instance = Script::answers(&[200]);
        instance.answer.push(Part::Data("first"));
        let (words, _, counts) = drive(&ended(), &[&instance], async |_, _| {
            turns().await;
            if whole { instance.answer.end() } else { instance.answer.leave() }
        })
        .await;
        assert_eq!((words.join(","), counts), (told.to_owned(), vec![counted.to_owned()]));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_counts_once() {
    // Before the answer, within its body, and within the request's body.
    for (answers, body, counted) in [
        (false, ended(), "1 Failed ClientError"),
        (true, ended(), "1 Cut Success"),
        (false, Rc::default(), "1 Failed ClientError"),
    ] {
        let instance = Script::answers(&[]);
        let (words, end, counts) = drive(&body, &[&instance], async |_, _| {
            if answers {
                instance.say(200);
                instance.answer.push(Part::Data("first"));
            }
            turns().await;
            body.leave();
        })
        .await;
        assert_eq!((end, counts), ("broken", vec![counted.to_owned()]), "{words:?}");
    }
}

#[tokio::test]
async fn after_an_upgrade_bytes_pass_both_ways() {
    let (instance, body) = (Script::answers(&[101]), ended());
    let (stream, mut far) = duplex(1024);
    instance.stream.replace(Some(stream));
    let (words, end, _) = drive(&body, &[&instance], async |_, mut client| {
        let (mut there, mut back) = (vec![0; 11], vec![0; 12]);
        client.write_all(b"hello").await.unwrap();
        far.write_all(b"you").await.unwrap();
        far.read_exact(&mut there).await.unwrap();
        client.read_exact(&mut back).await.unwrap();
        assert_eq!((&there[..], &back[..]), (&b"early hello"[..], &b"greeting you"[..]));
        drop((client, far));
    })
    .await;
    assert_eq!((words.join(","), end), ("switch 101".to_owned(), "broken"));
}
