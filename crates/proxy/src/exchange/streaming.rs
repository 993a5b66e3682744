//! A request whose body arrives bit by bit: sent on as it comes, while the answer may already begin.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use super::{
    AnswerOf, BodyOf, CallOf, End, Exchange, MessageOf, PieceOf, Planned, Rest, RestOf,
    answer::NotHandedOn,
    attempts::Tries,
    sides::{Answer as _, AnswerSink, Call, Request, RequestBody, Upstream},
};
use crate::{account::Answering, error::Kind};

/// Why a body was not sent to its end.
enum Broken {
    /// The client's fault.
    Client(Kind),
    /// The instance reads no more. It may have answered before.
    Instance,
}

/// A body on its way out, beside the answer on its way back.
struct Upload<'u, F, B> {
    work: Pin<&'u mut F>,
    /// How it ended; with the body again when all of it was sent.
    ended: Option<Result<B, Broken>>,
}

impl<F: Future<Output = Result<B, Broken>>, B: RequestBody> Upload<'_, F, B> {
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
            Some(Ok(mut body)) => {
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
enum Progress<A, B> {
    /// The body was sent before the answer came.
    Sent(A, B),
    /// The answer came earlier, and was handed on to its end.
    AnsweredEarly(Answering),
    Failed(Kind),
    Gone,
}

impl<U, S> Exchange<'_, U, S> {
    /// Sends a request whose body has not wholly arrived. Nothing of it is kept, so it cannot be sent again; but
    /// instances that cannot be reached are passed over as always.
    pub(super) async fn stream<R>(
        &self,
        planned: &mut Planned<'_>,
        body: BodyOf<R>,
        message: MessageOf<U, R>,
        first: PieceOf<R>,
    ) -> RestOf<U, R>
    where
        R: Request,
        U: Upstream<R>,
        S: AnswerSink<AnswerOf<U, R>, Piece = PieceOf<R>>,
    {
        let connected = Tries::default().connect(self.worker, self.upstream, planned).await;
        let call = match connected {
            Ok((call, _)) => call,
            Err(kind) => return self.fail(planned, kind, None).await,
        };
        let patience = planned.patience;
        call.expect_by(patience.deadline_ms(self.worker));
        // An explicit limit is for the whole attempt; the default begins anew with every piece that is sent.
        let upload_extends = planned.plan.backend_timeout_ms == 0;
        let progress = || {
            if upload_extends {
                patience.expect_moves(&call);
            }
        };
        progress();
        let ended = {
            let work = pin!(self.upload::<R>(body, &call, message, first, &progress));
            let mut upload = Upload { work, ended: None };
            self.answer_beside(planned, &call, &mut upload).await
        };
        match ended {
            Progress::Sent(answer, body) => self.pass_on::<R>(planned, call, answer, body).await,
            Progress::AnsweredEarly(answering) => {
                self.finish(call, answering, planned.plan.remembered.take());
                Rest::Done(End::Unread)
            }
            Progress::Failed(kind) => self.fail(planned, kind, None).await,
            Progress::Gone => Rest::Done(End::Broken),
        }
    }

    /// Waits for the answer while the body is on its way. An answer that comes before the body's end is handed on from
    /// here, since its client may be waiting for it to go on sending.
    async fn answer_beside<B, C>(
        &self,
        planned: &Planned<'_>,
        call: &C,
        upload: &mut Upload<'_, impl Future<Output = Result<B, Broken>>, B>,
    ) -> Progress<C::Answer, B>
    where
        B: RequestBody,
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
            Err(kind) => return Progress::Failed(kind),
        };
        if let Some(Ok(body)) = upload.ended.take_if(|ended| ended.is_ok()) {
            return Progress::Sent(answer, body);
        }
        if answer.status() == 101 {
            return Progress::Failed(Kind::UnexpectedUpgrade);
        }
        let answering = match self.hand_on_head(planned, call, answer, false).await {
            Ok(answering) => answering,
            Err(NotHandedOn::Malformed(kind)) => return Progress::Failed(kind),
            Err(NotHandedOn::Gone) => return Progress::Gone,
        };
        let deadline_ms = planned.patience.request_deadline_ms;
        let mut download = pin!(self.hand_on_body(call, None::<&mut B>, deadline_ms));
        let handed_on = poll_fn(|context| {
            upload.advance(context);
            download.as_mut().poll(context)
        });
        match handed_on.await {
            Ok(()) => Progress::AnsweredEarly(answering),
            Err(_) => {
                self.worker.account.broken_off(answering);
                Progress::Gone
            }
        }
    }

    /// Sends head and body.
    async fn upload<R>(
        &self,
        mut body: BodyOf<R>,
        call: &CallOf<U, R>,
        mut message: MessageOf<U, R>,
        mut piece: PieceOf<R>,
        progress: &impl Fn(),
    ) -> Result<BodyOf<R>, Broken>
    where
        R: Request,
        U: Upstream<R>,
    {
        let mut sent = call.begin(&mut message, &mut piece, false).await;
        self.upstream.give_back(message);
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
            piece = body.next().await.map_err(|kind| {
                call.cut();
                Broken::Client(kind)
            })?;
            sent = call.send(&mut piece, body.is_done()).await;
        }
    }
}
