//! One request and its answer: decided, sent, tried again, answered. Knows two [`sides`], and neither sockets nor a
//! protocol's bytes: those are the codecs'.
//!
//! An exchange has three parts. Until somebody is chosen it holds the picture that decides ([`exchange`]). With an
//! instance's answer in hand it hands on the head ([`Exchange::pass_on`]). What may take long after that, a body or a
//! tunnel, holds no picture any more ([`Rest`]).

use std::{
    cell::Cell,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Instant,
};

use crate::{
    correlation::Remembered,
    error::{Kind, ProxyError},
    limits::INTERIM_ANSWERS_MAX,
    observed,
    passthrough::AlreadyRead,
    picture::Picture,
    plan::{Chosen, NoPlan, Plan, Protocol, Tunnel},
    published::Query,
    tunnel,
    worker::Worker,
};
use routes::entrance::{self, ForwardsLeft, Written};

use attempts::{Connected, Tries};
use ending::Ending;
use patience::Patience;
use sides::{
    Answer as _, AnswerSink, Call, Decide, Found, Gone, OwnAnswer, Piece as _, Request,
    RequestBody, Upstream,
};

mod answer;
mod attempts;
mod ending;
mod patience;
pub(crate) mod sides;
mod streaming;
#[cfg(test)]
mod tests;

type BodyOf<R> = <R as Request>::Body;
type PieceOf<R> = <BodyOf<R> as RequestBody>::Piece;
type CallOf<U, R> = <U as Upstream<R>>::Call;
type MessageOf<U, R> = <CallOf<U, R> as Call>::Message;
type AnswerOf<U, R> = <CallOf<U, R> as Call>::Answer;
type RestOf<U, R> = Rest<CallOf<U, R>>;

/// How an exchange ended, for the client's connection.
#[derive(Debug)]
pub(crate) enum End<B> {
    /// The request was read whole and answered: what came after it may be the next.
    Whole(B),
    /// Answered before all of the request was read: what follows cannot be told from the rest of it.
    Unread,
    /// A tunnel that was asked for is there.
    Established(B, Tunnel),
    /// The client is gone, or has been shown that the answer is not whole.
    Broken,
}

/// What is left to do when nothing of the plan is needed any more. What may be large is boxed, so that usual answers
/// need not move as much memory.
enum Rest<C> {
    /// The request was read whole and answered.
    Whole,
    /// Answered before all of the request was read.
    Unread,
    /// A tunnel that was asked for is there.
    Established(Tunnel),
    /// The client is gone, or has been shown that the answer is not whole.
    Broken,
    /// The answer's head was sent, its body not wholly.
    Body(Box<AnswersRest<C>>),
    /// Bytes both ways, from now on unread.
    Tunnel { call: Box<C>, is_websocket: bool },
}

/// An answer whose body is on its way. All of the request was sent.
struct AnswersRest<C> {
    call: C,
    remembered: Option<Remembered>,
    patience: Patience,
}

/// A request that has a plan. Large: it stays where it is, and is lent to all steps.
struct Planned<'p> {
    ending: &'p Ending<'p>,
    plan: Plan<'p>,
    picture: &'p Picture,
    started: Instant,
    is_idempotent: bool,
    /// It asks for another protocol.
    asks_to_switch: bool,
    /// What is spoken with whoever is chosen.
    protocol: Protocol,
    patience: Patience,
    /// Whom the latest attempt goes to.
    chosen: Option<Chosen>,
    /// How often an instance was tried.
    attempts: u32,
    /// It has all of the request, and has closed without an answer, or owes one for too long.
    is_unanswered: Cell<bool>,
}

/// Why an answer's head was not handed on.
enum NotHandedOn {
    /// The answer is malformed; the client can still be told.
    Malformed(Kind),
    /// The client is gone.
    Gone,
}

/// What all steps of an exchange work with.
struct Exchange<'e, U, S> {
    worker: &'e Worker,
    upstream: &'e U,
    sink: &'e S,
    ending: Ending<'e>,
}

/// Serves one request.
pub(crate) async fn exchange<D, R, U, S>(
    worker: &Worker,
    decide: &D,
    mut request: R,
    upstream: &U,
    sink: &S,
) -> End<R::Body>
where
    D: Decide,
    R: Request,
    U: Upstream<R>,
    S: AnswerSink<AnswerOf<U, R>, Piece = PieceOf<R>>,
{
    let started = Instant::now();
    worker.deadlines.set_now(started);
    let _in_flight = worker.account.begin(D::ROLE);
    let ending = Ending::new(worker, D::ROLE, decide.counted_as(), started);
    let exchange = Exchange { worker, upstream, sink, ending };
    let mut found = Found::default();
    let mut queries = 0;
    let mut picture = worker.picture();
    // Stays where it is, and is lent to all steps.
    let mut body;
    let rest = loop {
        let no_plan = match exchange.plan(decide, &picture, &mut request, &found, started) {
            Ok((mut planned, message)) => {
                body = request.into_body(upstream.keeps_framing(planned.protocol));
                break exchange.carry_out::<R>(&mut planned, message, &mut body).await;
            }
            Err(no_plan) => no_plan,
        };
        // Rare, and large: it must not make every exchange larger.
        match Box::pin(find_out(worker, no_plan, &mut queries, &mut found)).await {
            Ok(Some(newer)) => picture = newer,
            Ok(None) => {}
            Err(own) => {
                body = request.into_body(true);
                break Box::pin(exchange.answer_itself(&mut body, own)).await;
            }
        }
    };
    // What takes long from here on pins no picture.
    drop(picture);
    match rest {
        Rest::Whole => End::Whole(body),
        // Not the usual request, and large.
        rest => Box::pin(exchange.see_out(rest, body)).await,
    }
}

fn is_idempotent<'b>(head: &impl routes::entrance::Head<'b>) -> bool {
    matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
}

/// What is said to a request that may go no further. A trace is for those in front to see, who may have added what the
/// caller must not.
#[cold]
fn last_hop<'b>(head: &impl routes::entrance::Head<'b>) -> NoPlan {
    if head.method() == "OPTIONS" { NoPlan::Options } else { Kind::TraceMethod.into() }
}

/// Finds out what a plan could not be made without: a newer picture, or more about the host. The answer where there is
/// nothing to find out, or nothing was found.
pub(crate) async fn find_out(
    worker: &Worker,
    no_plan: NoPlan,
    queries: &mut usize,
    found: &mut Found,
) -> Result<Option<Picture>, OwnAnswer> {
    match no_plan {
        NoPlan::Refuse(kind) => Err(OwnAnswer::Refusal(kind)),
        NoPlan::Options => Err(OwnAnswer::Options),
        NoPlan::Establish(tunnel) => Err(OwnAnswer::Established(tunnel)),
        NoPlan::Redirect { status, location } => Err(OwnAnswer::Redirect { status, location }),
        NoPlan::Learn(query) => {
            // Twice at most: a name, then an address of it.
            *queries += 1;
            let newer = if *queries <= 2 { worker.learn(&query).await } else { None };
            match (newer, query) {
                (Some(newer), _) => Ok(Some(newer)),
                // Something is there, and perhaps a lane's: it is not called unseen.
                (None, Query::Address(address))
                    if worker.picture().lanes.directory().digest().is_some() =>
                {
                    Err(OwnAnswer::Refusal(Kind::NotLearned(address.to_string())))
                }
                (None, Query::Address(_)) => {
                    found.address_is_unknown = true;
                    Ok(None)
                }
                (None, Query::Name(name)) => Err(OwnAnswer::Refusal(Kind::NotLearned(name))),
            }
        }
        NoPlan::Resolve(host, port) => {
            let addresses = worker.resolver.resolve(&host).await;
            let addresses = addresses.map_err(|error| OwnAnswer::Refusal(Kind::Shortage(error)))?;
            found.resolved = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
            if found.resolved.is_empty() {
                return Err(OwnAnswer::Refusal(Kind::Unresolvable(host)));
            }
            Ok(None)
        }
        NoPlan::Reach(addresses) => {
            let reached = worker.reach(&addresses).await.map_err(OwnAnswer::Refusal)?;
            found.reached = Some(reached);
            Ok(None)
        }
    }
}

/// Bytes both ways, until both sides have ended.
async fn relay(worker: &Worker, body: impl RequestBody, call: impl Call, is_websocket: bool) {
    let (client, from_caller) = body.into_stream();
    let (instance, from_instance) = call.into_stream();
    let already_read =
        AlreadyRead { from_caller: from_caller.as_ref(), from_instance: from_instance.as_ref() };
    if is_websocket {
        Box::pin(tunnel::relay_websocket(worker, client, instance, already_read)).await;
    } else {
        Box::pin(tunnel::relay(worker, client, instance, already_read)).await;
    }
}

/// Carries `work` on, and meanwhile notices when the client goes away: an instance should not work for nobody.
async fn unless_gone<B: RequestBody, T>(
    body: &mut B,
    mut work: Pin<&mut impl Future<Output = Result<T, Kind>>>,
) -> Result<T, Kind> {
    poll_fn(|context| {
        // The instance first: a client that has sent its next request and closed its side still wants the answer.
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        body.poll_gone(context).map(|()| Err(Kind::ClientGone))
    })
    .await
}

/// Nobody is told an answer that means that another instance is chosen.
#[cold]
fn set_aside<C: Call>(call: C, answer: C::Answer) {
    if let Ok(piece) = call.begin_body(answer, false) {
        call.give_back(piece);
        if call.is_done() {
            call.finish();
        }
    }
}

impl<U, S> Exchange<'_, U, S> {
    /// Decides what becomes of a request, and writes what is sent for it. Waits for nothing, so that all it works with is
    /// on the stack, and only the outcome lives in the exchange.
    fn plan<'p, D, R>(
        &'p self,
        decide: &'p D,
        picture: &'p Picture,
        request: &mut R,
        found: &Found,
        started: Instant,
    ) -> Result<(Planned<'p>, MessageOf<U, R>), NoPlan>
    where
        D: Decide,
        R: Request,
        U: Upstream<R>,
    {
        let worker = self.worker;
        let mut written = Written::in_memory(worker.buffers.take_write());
        let mut head = request.head();
        let forwards_left = entrance::forwards_left(&head);
        let decided = match forwards_left {
            ForwardsLeft::None => Err(last_hop(&head)),
            ForwardsLeft::Unlimited | ForwardsLeft::Some(_) => {
                decide.plan(worker, picture, &mut head, found, &mut written)
            }
        };
        if decided.is_ok() {
            entrance::write_forwards_left(&mut head, forwards_left, &mut written);
        }
        let is_idempotent = is_idempotent(&head);
        if worker.observers.is_any() {
            let told = observed::Decided {
                role: D::ROLE,
                caller: decide.caller(),
                counted_as: decide.counted_as(),
                own_tag: decide.own_tag(),
                correlation: decide.correlation(),
                picture,
                plan: decided.as_ref(),
                started,
            };
            let random = || worker.random_bytes();
            let observed = &self.ending.observed;
            let goes_on = observed.begin(&worker.observers, &told, &head, &written, random);
            if let (Some(parent), true) = (goes_on, decided.is_ok()) {
                entrance::write_trace_parent(&mut head, parent, &mut written);
            }
        }
        drop(head);
        self.ending.observed.read(request.version(), request.is_conversation());
        let asks_to_switch = request.asks_to_switch();
        let planned = decided.and_then(|plan| {
            let patience = Patience::new(worker, &plan, request, started);
            let protocol = plan.protocol.unwrap_or(R::PROTOCOL);
            let message =
                self.upstream.message(protocol, request, patience.told_ms(), &written, &plan.edits);
            let message = message.map_err(NoPlan::Refuse)?;
            let planned = Planned {
                ending: &self.ending,
                plan,
                picture,
                started,
                // What it opens may be there although nobody has heard of it (RFC 9110 §9.3.6).
                is_idempotent: is_idempotent && !asks_to_switch,
                asks_to_switch,
                protocol,
                patience,
                chosen: None,
                attempts: 0,
                is_unanswered: Cell::new(false),
            };
            Ok((planned, message))
        });
        worker.buffers.give_write(written.into_memory());
        planned
    }

    /// Does what is left of a request that needs its plan no more.
    async fn see_out<B, C>(&self, rest: Rest<C>, mut body: B) -> End<B>
    where
        B: RequestBody,
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        match rest {
            Rest::Whole => End::Whole(body),
            Rest::Unread => End::Unread,
            Rest::Established(tunnel) => End::Established(body, tunnel),
            Rest::Broken => End::Broken,
            Rest::Body(rest) => match self.download(&mut body, *rest).await {
                Ok(()) => End::Whole(body),
                Err(Gone) => End::Broken,
            },
            Rest::Tunnel { call, is_websocket } => {
                relay(self.worker, body, *call, is_websocket).await;
                End::Broken
            }
        }
    }

    /// Sends a request and hands its answer on: whole, so that it can be sent again, or as it arrives.
    async fn carry_out<R>(
        &self,
        planned: &mut Planned<'_>,
        mut message: MessageOf<U, R>,
        body: &mut BodyOf<R>,
    ) -> RestOf<U, R>
    where
        R: Request,
        U: Upstream<R>,
        S: AnswerSink<AnswerOf<U, R>, Piece = PieceOf<R>>,
    {
        let mut first = match body.arrived() {
            Ok(first) => first,
            Err(kind) => return Box::pin(self.fail(planned, kind, false)).await,
        };
        self.ending.observed.received(first.len());
        if !body.is_done() {
            // Not the usual request, and long compared with an allocation: its large state lives on its own.
            return Box::pin(self.stream::<R>(planned, body, message, first)).await;
        }
        self.upstream.join(&mut message, &mut first);
        if first.is_empty() {
            // All there is to send, and to send again, is in the message.
            body.give_back(std::mem::take(&mut first));
        }
        let attempt = self.attempt::<R>(planned, body, &mut message, &mut first).await;
        self.upstream.give_back(message);
        if !first.is_empty() {
            body.give_back(first);
        }
        match attempt {
            Ok((call, answer)) => self.pass_on(planned, call, answer).await,
            Err(kind) => Box::pin(self.fail(planned, kind, true)).await,
        }
    }

    /// Sends a whole request until somebody answers.
    async fn attempt<R>(
        &self,
        planned: &mut Planned<'_>,
        body: &mut R::Body,
        message: &mut MessageOf<U, R>,
        first: &mut PieceOf<R>,
    ) -> Result<(CallOf<U, R>, AnswerOf<U, R>), Kind>
    where
        R: Request,
        U: Upstream<R>,
        S: AnswerSink<AnswerOf<U, R>, Piece = PieceOf<R>>,
    {
        let mut tries = Tries::default();
        loop {
            let (call, connected) = tries.connect(self.worker, self.upstream, planned).await?;
            call.expect_by(planned.patience.deadline_ms(self.worker));
            self.ending.observed.goes_to_instance();
            let answered = match call.begin(message, first, true).await {
                Ok(()) => {
                    unless_gone(body, pin!(self.answer(&call))).await.map_err(ProxyError::sent)
                }
                Err(error) => Err(error),
            };
            match answered {
                Ok(answer) => match planned.refused_by(&answer) {
                    None => {
                        planned.answered(self.worker);
                        return Ok((call, answer));
                    }
                    Some(refused) => {
                        set_aside(call, answer);
                        tries.refused(self.worker, planned, refused)?;
                    }
                },
                Err(mut error) => {
                    error.kind = planned.patience.meant(self.worker, error.kind);
                    // An orderly end would pass for a caller that has only said all, and still waits.
                    call.cut();
                    // What the instance closed while it waited in the pool says nothing about the instance.
                    if connected != Connected::Before || !error.is_reset() {
                        planned.unanswered(self.worker, (&call, connected), &error.kind);
                    }
                    if !tries.again(self.worker, planned, connected, &error) {
                        return Err(error.kind);
                    }
                }
            }
        }
    }

    /// Waits for the head of the answer, handing on interim answers.
    async fn answer<C: Call>(&self, call: &C) -> Result<C::Answer, Kind>
    where
        S: AnswerSink<C::Answer>,
    {
        let mut interim = 0;
        loop {
            let answer = call.answer().await?;
            if !answer.is_interim() {
                self.ending.observed.instance_answers();
                return Ok(answer);
            }
            interim += 1;
            if interim > INTERIM_ANSWERS_MAX {
                return Err(Kind::InterimAnswers);
            }
            Box::pin(self.sink.interim(&answer)).await.map_err(|Gone| Kind::ClientGone)?;
            call.pass_over(answer);
        }
    }

    /// Hands on the answer to a request that was sent whole.
    async fn pass_on<C>(&self, planned: &mut Planned<'_>, call: C, answer: C::Answer) -> Rest<C>
    where
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        if answer.status() == 101 {
            return Box::pin(self.switch(planned, call, answer)).await;
        }
        match self.hand_on_head(planned, &call, answer, true).await {
            Ok(()) => {
                let remembered = planned.plan.remembered.take();
                if call.is_done() {
                    self.finish(call, remembered);
                    return Rest::Whole;
                }
                let patience = planned.patience;
                Rest::Body(Box::new(AnswersRest { call, remembered, patience }))
            }
            Err(NotHandedOn::Malformed(kind)) => Box::pin(self.fail(planned, kind, true)).await,
            Err(NotHandedOn::Gone) => Rest::Broken,
        }
    }

    /// Hands on an answer's head, together with what has arrived of its body. `may_go_on`: the request was sent whole;
    /// else an unread rest of it would be taken for the client's next one.
    async fn hand_on_head<C>(
        &self,
        planned: &Planned<'_>,
        call: &C,
        mut answer: C::Answer,
        may_go_on: bool,
    ) -> Result<(), NotHandedOn>
    where
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        let status = answer.status();
        self.ending.observed.ends_as(|| answer.grpc_status());
        let head = self.sink.head(&mut answer, planned.plan.answer_edits(), may_go_on);
        let mut first =
            call.begin_body(answer, self.sink.keeps_framing()).map_err(NotHandedOn::Malformed)?;
        self.ending.observed.sent(first.len());
        self.ending.observed.ends_as(|| first.grpc_status());
        self.ending.answering(planned, status);
        let begun = {
            let begun = pin!(self.sink.begin(head, &mut first, call.is_done()));
            planned.patience.while_awaited(self.worker, begun).await
        };
        if begun.unwrap_or_else(|kind| Err(self.break_off(kind))).is_err() {
            self.ending.broken_off();
            return Err(NotHandedOn::Gone);
        }
        call.give_back(first);
        Ok(())
    }

    /// An answer was handed on to its end.
    fn finish(&self, call: impl Call, remembered: Option<Remembered>) {
        self.ending.answered();
        call.finish();
        if let Some(remembered) = remembered {
            remembered.finish(Instant::now());
        }
    }
}
