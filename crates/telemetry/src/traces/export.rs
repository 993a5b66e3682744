//! Sends spans in batches; one that is not taken is tried again for a while, and then given up.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Collector, Counts, Resource,
    message::ExportTraceServiceRequest,
    post::{NotTaken, Poster},
    span,
};
use crate::RequestRecord;

/// Spans in one message; as OpenTelemetry's own libraries have it.
const BATCH_SPANS_MAX: usize = 512;

/// How long the first of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// After how long a batch is tried again, attempt by attempt: what waits meanwhile is bounded.
const TRIED_AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Sends until `ended` says that no more come, and then what is there.
pub(super) async fn run(
    (collector, tls): (Collector, Option<Arc<ClientConfig>>),
    resource: Resource,
    mut spans: mpsc::Receiver<RequestRecord>,
    counts: Arc<Counts>,
    mut ended: watch::Receiver<bool>,
) {
    let endpoint = collector.endpoint.clone();
    let mut poster = Poster::new(collector, tls);
    let mut is_failing = false;
    let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
    loop {
        let is_last = gather(&mut spans, &mut batch, &mut ended).await;
        if !batch.is_empty() {
            let message = span::request(&resource, &batch);
            let sent = send(&mut poster, &message, &mut ended).await;
            let (count, spans) = match sent {
                Ok(()) => (&counts.exported, batch.len()),
                Err(_) => (&counts.failed, batch.len()),
            };
            count.fetch_add(spans as u64, Relaxed);
            if let Err(reason) = &sent
                && !is_failing
            {
                tracing::warn!(%endpoint, reason, "spans are not taken: they are lost, and counted, until they are");
            }
            is_failing = sent.is_err();
            batch.clear();
        }
        if is_last && spans.is_empty() {
            return;
        }
    }
}

/// Waits for a batch. Whether no more are to come.
async fn gather(
    spans: &mut mpsc::Receiver<RequestRecord>,
    batch: &mut Vec<RequestRecord>,
    ended: &mut watch::Receiver<bool>,
) -> bool {
    let mut until: Option<Instant> = None;
    while batch.len() < BATCH_SPANS_MAX {
        let more = spans.recv_many(batch, BATCH_SPANS_MAX - batch.len());
        let more = async {
            match until {
                Some(until) => timeout_at(until, more).await.unwrap_or_default(),
                None => more.await,
            }
        };
        let came = tokio::select! {
            biased;
            came = more => came,
            _ = ended.wait_for(|ended| *ended) => {
                // What is there already still goes.
                while batch.len() < BATCH_SPANS_MAX && let Ok(span) = spans.try_recv() {
                    batch.push(span);
                }
                return true;
            }
        };
        if came == 0 {
            // Either it is time, or nobody is left who could send any.
            return batch.is_empty() || spans.is_closed();
        }
        until = until.or_else(|| Some(Instant::now() + BATCH_WAIT));
    }
    *ended.borrow()
}

/// Tries until it is taken, or nobody wants to wait for that any more. The error says why it was not.
async fn send(
    poster: &mut Poster,
    message: &ExportTraceServiceRequest,
    ended: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let mut pauses = TRIED_AGAIN_AFTER.into_iter();
    loop {
        let NotTaken { reason, may_pass } = match timeout(ATTEMPT_MAX, poster.post(message)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(not_taken)) => not_taken,
            Err(_) => NotTaken { reason: "it does not answer".to_owned(), may_pass: true },
        };
        let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(reason) };
        if timeout(pause, ended.wait_for(|ended| *ended)).await.is_ok() {
            return Err(reason);
        }
    }
}
