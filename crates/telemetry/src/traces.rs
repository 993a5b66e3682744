//! Traces: which requests have a span, and the spans on their way to a collector, by the protocol of OpenTelemetry (OTLP over
//! HTTP or gRPC, in the clear or in TLS). Never in the way of a request: spans wait in a bounded queue, and what does not fit, or nobody takes, is counted.

mod collector;
mod connect;
mod export;
mod message;
mod post;
mod span;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    RequestRecord, Samples,
    names::{self, label},
};

pub use collector::{
    BadEndpoint, BadHeaders, Collector, Endpoint, HEADERS_BYTES_MAX, Headers, Protocol,
};

/// Spans that may wait; as many as OpenTelemetry's own libraries let wait. About 2 MB.
const SPANS_WAITING_MAX: usize = 2048;

/// How long spans are still sent at the end of the process.
const SENT_WITHIN: Duration = Duration::from_secs(2);

/// What is traced, and where that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// Where spans are sent.
    pub collector: Collector,
    /// Of traces that begin here.
    pub sampler: RootSampler,
    /// Who reports.
    pub resource: Resource,
}

/// Who reports, as every span of a process says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `service.name`: the application beside a sidecar; a gateway's name.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
    /// `service.version`: of Laneway.
    pub version: &'static str,
    /// `laneway.tag`: of a sidecar's application; empty is the base, and is left out.
    pub tag: String,
}

/// Which of the traces that begin here are sampled; of others whoever began them has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootSampler {
    /// Of 2^56 trace ids that many.
    sampled: u64,
}

impl RootSampler {
    /// So many hundredths of a percent of all.
    pub fn of_hundredths(hundredths: u32) -> Self {
        Self {
            sampled: (1 << 56) / 10_000 * u64::from(hundredths.min(10_000))
                + u64::from(hundredths >= 10_000) * ((1 << 56) % 10_000),
        }
    }

    /// The same answer wherever it is asked of a trace: by the random part of its id (W3C Trace Context, level 2).
    pub fn samples(self, trace_id: [u8; 16]) -> bool {
        let random = u128::from_be_bytes(trace_id) as u64 & ((1 << 56) - 1);
        random < self.sampled
    }
}

/// Where a request is in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its own.
    pub id: [u8; 8],
    /// Of the one before; none: the trace begins here.
    pub parent: Option<[u8; 8]>,
}

/// Traces that are sent to a collector. Clones send to the same.
#[derive(Debug, Clone)]
pub struct Traces {
    /// Which traces that begin here are sampled.
    pub sampler: RootSampler,
    queue: mpsc::Sender<RequestRecord>,
    counts: Arc<Counts>,
    /// Ends what sends them.
    ending: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Traces {
    /// Begins to send, as a task of the runtime this is called in.
    ///
    /// # Errors
    /// When there is nobody to be believed in TLS.
    pub fn start(config: TracesConfig) -> io::Result<Self> {
        let (queue, spans) = mpsc::channel(SPANS_WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let (ending, ended) = watch::channel(false);
        let TracesConfig { collector, sampler, resource } = config;
        let tls = collector.tls()?;
        tokio::spawn(export::run((collector, tls), resource, spans, Arc::clone(&counts), ended));
        Ok(Self { sampler, queue, counts, ending: Arc::new(ending) })
    }

    /// A request with a span has ended. Never waits.
    pub(crate) fn send(&self, record: RequestRecord) {
        if self.queue.try_send(record).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Sends what waits, taking two seconds at most. What comes later is lost: this is for the end of the process.
    pub async fn close(&self) {
        self.ending.send_replace(true);
        // Nobody looks at it any more when all has been sent.
        let _ = tokio::time::timeout(SENT_WITHIN, self.ending.closed()).await;
    }

    /// Adds what became of spans.
    pub fn sample(&self, samples: &mut Samples) {
        for (result, count) in [
            ("exported", &self.counts.exported),
            ("dropped", &self.counts.dropped),
            ("failed", &self.counts.failed),
        ] {
            let labels = [(label::RESULT, result)];
            samples.add(names::SPANS, &labels, count.load(Relaxed) as f64);
        }
    }
}

#[cfg(test)]
mod tests;
