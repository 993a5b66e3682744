//! What is not the usual way back: a body that arrives later than its head, a tunnel, an answer of the proxy's own.

use std::{pin::pin, time::Instant};

use super::{
    AnswersRest, Exchange, Planned, Rest,
    patience::Patience,
    sides::{Answer as _, AnswerSink, Call, Client, Gone, OwnAnswer, Piece as _, RequestBody},
    unless_gone,
};
use crate::error::Kind;

impl<U, S> Exchange<'_, U, S> {
    /// Hands on the rest of an answer.
    pub(super) async fn download<C>(
        &self,
        body: &mut impl RequestBody,
        rest: AnswersRest<C>,
    ) -> Result<(), Gone>
    where
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        let handed_on = self.hand_on_body(&rest.call, Some(body), rest.patience).await;
        match handed_on {
            Ok(()) => self.finish(rest.call, rest.remembered),
            Err(Gone) => self.ending.broken_off(),
        }
        handed_on
    }

    /// Hands on an answer's body, as fast as the client takes it. `watched`: notice when the client goes away while the
    /// instance is silent.
    pub(super) async fn hand_on_body<B, C>(
        &self,
        call: &C,
        mut watched: Option<&mut B>,
        patience: Patience,
    ) -> Result<(), Gone>
    where
        B: RequestBody,
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        let worker = self.worker;
        while !call.is_done() {
            call.expect_by(patience.silent_until_ms(worker));
            let next = pin!(call.next());
            let next = match &mut watched {
                Some(body) => unless_gone(*body, next).await,
                None => next.await,
            };
            let mut piece = next.map_err(|kind| self.break_off(patience.meant(worker, kind)))?;
            self.ending.observed.sent(piece.len());
            self.ending.observed.ends_as(|| piece.grpc_status());
            {
                let sent = pin!(self.sink.send(&mut piece, call.is_done()));
                let sent = patience.while_awaited(worker, sent).await;
                sent.map_err(|kind| self.break_off(kind))??;
            }
            call.give_back(piece);
        }
        Ok(())
    }

    /// Lets the client see that its answer is not whole.
    #[cold]
    pub(super) fn break_off(&self, kind: Kind) -> Gone
    where
        S: Client,
    {
        self.worker.account.note(&kind);
        tracing::debug!(reason = %kind, "answer broken off");
        self.sink.cut(&kind);
        Gone
    }

    /// Checks a switch of protocols and hands it on; from then on bytes pass both ways.
    pub(super) async fn switch<C>(
        &self,
        planned: &mut Planned<'_>,
        call: C,
        answer: C::Answer,
    ) -> Rest<C>
    where
        C: Call,
        S: AnswerSink<C::Answer, Piece = C::Piece>,
    {
        let Some(head) = self.sink.switch(&answer, &planned.plan.owed) else {
            return self.fail(planned, Kind::UnexpectedUpgrade, true).await;
        };
        self.ending.answering(planned, answer.status());
        let is_websocket = answer.begins_websocket();
        call.pass_over(answer);
        if let Some(remembered) = planned.plan.remembered.take() {
            remembered.finish(Instant::now());
        }
        if self.sink.begin(head, &mut C::Piece::default(), false).await.is_err() {
            self.ending.broken_off();
            return Rest::Broken;
        }
        // What follows is no answer's body: the request has been served.
        self.ending.answered();
        Rest::Tunnel { call: Box::new(call), is_websocket }
    }

    /// Tells the client of a request with a plan why nobody answers it. `is_read`: all of the request was.
    pub(super) async fn fail<C>(&self, planned: &Planned<'_>, kind: Kind, is_read: bool) -> Rest<C>
    where
        S: Client,
    {
        let kind = match (kind, planned.plan.unreachable) {
            (Kind::Connect(error), Some(unreachable)) => {
                unreachable.notify_one();
                Kind::Application(error)
            }
            (Kind::Reset(error), Some(_)) if planned.is_unanswered.get() => {
                Kind::ApplicationUnanswered(error)
            }
            (Kind::Lost(_), Some(_)) if planned.is_unanswered.get() => Kind::ApplicationFrozen,
            (Kind::DeadlineExceeded, Some(_)) => {
                Kind::ApplicationLate { is_silent: planned.is_unanswered.get() }
            }
            (kind, _) => kind,
        };
        self.ending.failed(planned, &kind);
        if matches!(kind, Kind::ClientGone) {
            return Rest::Broken;
        }
        self.own(OwnAnswer::Refusal(kind), is_read).await
    }

    /// Answers a request that has no plan.
    pub(super) async fn answer_itself<C>(
        &self,
        body: &mut impl RequestBody,
        own: OwnAnswer,
    ) -> Rest<C>
    where
        S: Client,
    {
        let refused = match &own {
            OwnAnswer::Refusal(kind) => Some(kind),
            OwnAnswer::Redirect { .. } | OwnAnswer::Options | OwnAnswer::Established(_) => None,
        };
        self.ending.unplanned(refused, own.status());
        let is_read = match body.arrived() {
            Ok(piece) if body.is_done() => {
                body.give_back(piece);
                true
            }
            Ok(_) | Err(_) => false,
        };
        self.own(own, is_read).await
    }

    /// Answers in the proxy's own name. `is_read`: all of the request was.
    async fn own<C>(&self, own: OwnAnswer, is_read: bool) -> Rest<C>
    where
        S: Client,
    {
        if let OwnAnswer::Refusal(kind) = &own {
            let source = std::error::Error::source(kind).map(ToString::to_string);
            let source = source.unwrap_or_default();
            tracing::debug!(status = kind.status(), reason = %kind, source, "request not served");
        }
        match (self.sink.own(&own, is_read).await, is_read, own) {
            (Err(Gone), ..) => Rest::Broken,
            (Ok(()), true, OwnAnswer::Established(tunnel)) => Rest::Established(tunnel),
            (Ok(()), true, _) => Rest::Whole,
            (Ok(()), false, _) => Rest::Unread,
        }
    }
}
