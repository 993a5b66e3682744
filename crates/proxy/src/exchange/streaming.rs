//! A request whose body arrives bit by bit: sent on as it comes, while the answer may already begin.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use super::{
    AnswerOf, BodyOf, CallOf, Exchange, MessageOf, NotHandedOn, PieceOf, Planned, Rest, RestOf,
    attempts::{Connected, Tries},
    sides::{Answer as _, AnswerSink, Call, Piece, Request, RequestBody, Upstream},
};
use crate::{
    error::{Kind, ProxyError},
    limits::{KEPT_BODY_BYTES_MAX, KEPT_PIECE_BYTES},
    peers::Refused,
};

/// Why a body was not sent to its end.
enum Broken {
    /// The client's fault.
    Client(Kind),
    /// The instance reads no more. It may have answered before.
    Instance,
}

/// A body on its way out, beside the answer on its way back.
struct Upload<'u, 'b, F, B> {
    work: Pin<&'u mut F>,
    /// How it ended; with the body again when all of it was sent.
    ended: Option<Result<&'b mut B, Broken>>,
}

impl<'b, F: Future<Output = Result<&'b mut B, Broken>>, B: RequestBody> Upload<'_, 'b, F, B> {
    /// Carries it on, whatever becomes of it.
    fn advance(&mut self, context: &mut Context<'_>) {
        if self.ended.is_none()
            && let Poll::Ready(ended) = self.work.as_mut().poll(context)
        {
            self.ended = Some(ended);
        }
    }

    /// Carries it on, and once the body was sent watches the client. Ready when the client is at fault.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Kind> {
        self.advance(context);
        match self.ended.take() {
            Some(Err(Broken::Client(kind))) => Poll::Ready(kind),
            Some(Ok(body)) => {
                let gone = body.poll_gone(context).map(|()| Kind::ClientGone);
                self.ended = Some(Ok(body));
                gone
            }
            // The instance may have answered before it stopped reading.
            ended => {
                self.ended = ended;
                Poll::Pending
            }
        }
    }
}

/// How far a request came that was answered while its body was on its way.
enum Progress<A> {
    /// The body was sent before the answer came.
    Sent(A),
    /// The answer came earlier, and was handed on to its end.
    AnsweredEarly,
    /// The instance's sidecar did not hand it to its application.
    Refused(Refused),
    Failed(Kind),
    Gone,
}

/// What was sent of a body, to be sent once more.
struct Kept<P> {
    pieces: Vec<P>,
    bytes: usize,
    /// All that was sent is here.
    is_whole: bool,
}

impl<P> Default for Kept<P> {
    fn default() -> Self {
        Self { pieces: Vec::new(), bytes: 0, is_whole: true }
    }
}

impl<P: Piece> Kept<P> {
    /// Keeps what is about to be sent, while there is room. The piece to be sent in its place: when nobody waits for it
    /// to be sent, what comes after it is not lost.
    fn keep(&mut self, piece: P, body: &mut impl RequestBody<Piece = P>) -> P {
        self.bytes += piece.len() + KEPT_PIECE_BYTES;
        self.is_whole &= self.bytes <= KEPT_BODY_BYTES_MAX;
        if !self.is_whole {
            self.pieces.clear();
            return piece;
        }
        let (kept, sent) = (piece.duplicate(), piece.duplicate());
        body.give_back(piece);
        self.pieces.push(kept);
        sent
    }
}

/// What an attempt sends before it waits for more of the body.
struct Sending<'s, M, P> {
    message: &'s M,
    /// What has arrived of the body, for the first attempt.
    first: Option<P>,
    kept: &'s mut Kept<P>,
}

impl<U, S> Exchange<'_, U, S> {
    /// Sends a request whose body has not wholly arrived. A little of it is kept, for an instance that turns out to be the
    /// wrong one; whoever has taken more has it for good.
    pub(super) async fn stream<R>(
        &self,
        planned: &mut Planned<'_>,
        body: &mut BodyOf<R>,
        message: MessageOf<U, R>,
        first: PieceOf<R>,
    ) -> RestOf<U, R>
    where
        R: Request,
        U: Upstream<R>,
        S: AnswerSink<AnswerOf<U, R>, Piece = PieceOf<R>>,
    {
        let mut tries = Tries::default();
        let mut kept = Kept::default();
        let mut first = Some(kept.keep(first, body));
        let failed = loop {
            let (call, connected) = match tries.connect(self.worker, self.upstream, planned).await {
                Ok(connected) => connected,
                Err(kind) => break kind,
            };
            let patience = planned.patience;
            call.expect_by(patience.deadline_ms(self.worker));
            self.ending.observed.goes_to_instance();
            // An explicit limit is for the whole attempt; the default begins anew with every piece that is sent.
            let upload_extends = planned.plan.backend_timeout_ms.is_none();
            let progress = || {
                if upload_extends {
                    patience.expect_moves(&call);
                }
            };
            progress();
            let ended = {
                let sending = Sending { message: &message, first: first.take(), kept: &mut kept };
                let work = pin!(self.upload::<R>(body, &call, sending, &progress));
                let mut upload = Upload { work, ended: None };
                self.answer_beside(planned, (&call, connected), &mut upload).await
            };
            match ended {
                Progress::Sent(answer) => {
                    self.upstream.give_back(message);
                    return self.pass_on(planned, call, answer).await;
                }
                Progress::AnsweredEarly => {
                    self.finish(call, planned.plan.remembered.take());
                    return Rest::Unread;
                }
                Progress::Refused(refused) if kept.is_whole && refused != Refused::Unanswered => {
                    if let Err(kind) = tries.refused(self.worker, planned, refused) {
                        break kind;
                    }
                }
                Progress::Refused(refused) => {
                    planned.held_against(self.worker, refused, Instant::now());
                    break planned.refusal(refused);
                }
                Progress::Failed(Kind::Unprocessed) if kept.is_whole => {
                    call.cut();
                    let error = ProxyError::sent(Kind::Unprocessed);
                    if !tries.again(self.worker, planned, connected, &error) {
                        break Kind::Unprocessed;
                    }
                }
                Progress::Failed(kind) => {
                    call.cut();
                    break kind;
                }
                Progress::Gone => return Rest::Broken,
            }
        };
        self.fail(planned, failed, false).await
    }

    /// Waits for the answer while the body is on its way. An answer that comes before the body's end is handed on from
    /// here, since its client may be waiting for it to go on sending.
    async fn answer_beside<'b, B, C>(
        &self,
        planned: &Planned<'_>,
        (call, connected): (&C, Connected),
        upload: &mut Upload<'_, 'b, impl Future<Output = Result<&'b mut B, Broken>>, B>,
    ) -> Progress<C::Answer>
    where
        B: RequestBody + 'b,
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        let answered = {
            let mut answer = pin!(self.answer(call));
            poll_fn(|context| match upload.poll(context) {
                Poll::Ready(kind) => Poll::Ready(Err(kind)),
                Poll::Pending => answer.as_mut().poll(context),
            })
            .await
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(kind) => {
                let kind = planned.patience.meant(self.worker, kind);
                let is_lost = matches!(kind, Kind::Lost(_));
                if is_lost || matches!(upload.ended, Some(Ok(_))) {
                    planned.unanswered(self.worker, (call, connected), &kind);
                }
                return Progress::Failed(kind);
            }
        };
        if let Some(refused) = planned.refused_by(&answer) {
            return Progress::Refused(refused);
        }
        planned.answered(self.worker);
        if matches!(upload.ended, Some(Ok(_))) {
            return Progress::Sent(answer);
        }
        if answer.status() == 101 {
            return Progress::Failed(Kind::UnexpectedUpgrade);
        }
        match self.hand_on_head(planned, call, answer, false).await {
            Ok(()) => {}
            Err(NotHandedOn::Malformed(kind)) => return Progress::Failed(kind),
            Err(NotHandedOn::Gone) => return Progress::Gone,
        }
        let mut download = pin!(self.hand_on_body(call, None::<&mut B>, planned.patience));
        let handed_on = poll_fn(|context| {
            let left = upload.poll(context);
            // What the instance has said already comes first.
            if let Poll::Ready(handed_on) = download.as_mut().poll(context) {
                return Poll::Ready(handed_on);
            }
            left.map(|kind| {
                call.cut();
                Err(self.break_off(kind))
            })
        });
        match handed_on.await {
            Ok(()) => Progress::AnsweredEarly,
            Err(_) => {
                self.ending.broken_off();
                Progress::Gone
            }
        }
    }

    /// Sends head and body; what was sent before is sent once more.
    async fn upload<'b, R>(
        &self,
        body: &'b mut BodyOf<R>,
        call: &CallOf<U, R>,
        sending: Sending<'_, MessageOf<U, R>, PieceOf<R>>,
        progress: &impl Fn(),
    ) -> Result<&'b mut BodyOf<R>, Broken>
    where
        R: Request,
        U: Upstream<R>,
    {
        let Sending { message, first, kept } = sending;
        let mut message = message.clone();
        let (mut piece, again) = match first {
            Some(first) => (first, 1),
            None => {
                (kept.pieces.first().map(Piece::duplicate).unwrap_or_default(), kept.pieces.len())
            }
        };
        let is_last = again <= 1 && body.is_done();
        let mut sent = call.begin(&mut message, &mut piece, is_last).await;
        self.upstream.give_back(message);
        for index in 1..again {
            if sent.is_ok() {
                progress();
                piece = kept.pieces[index].duplicate();
                sent = call.send(&mut piece, index + 1 == again && body.is_done()).await;
            }
        }
        loop {
            if let Err(error) = sent {
                tracing::debug!(reason = %error, "upload broken off");
                return Err(Broken::Instance);
            }
            progress();
            body.give_back(piece);
            if body.is_done() {
                return Ok(body);
            }
            let next = body.next().await.map_err(|kind| {
                call.cut();
                Broken::Client(kind)
            })?;
            let is_last = body.is_done();
            self.ending.observed.received(next.len());
            piece = kept.keep(next, body);
            sent = call.send(&mut piece, is_last).await;
        }
    }
}
