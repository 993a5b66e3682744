//! The access log: one line of JSON for each request, in files that are bounded, never in the way of a request.
//!
//! Lines go through a bounded queue to a thread of their own. What the disk does not take in time, or at all, is dropped and
//! counted.

mod line;
mod rotating;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use self::rotating::{Counts, Rotating};
use crate::{
    RequestRecord, Samples,
    names::{self, label},
};

/// Lines that may wait to be written: some 4 MB of usual ones, and some tenths of a second of as many requests as a process
/// moves.
const LINES_WAITING_MAX: usize = 8192;

/// Longest that lines which wait are written for at the end.
const CLOSED_WITHIN: Duration = Duration::from_millis(1200);

/// Where an access log is written, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// The file; `None`: standard output.
    pub path: Option<PathBuf>,
    /// A file that would become larger is put aside as `PATH.1`, that of before as `PATH.2`, and so on.
    pub file_bytes_max: u64,
    /// How many files there are at most, with the one that is written; at least 1.
    pub files_max: u32,
}

/// A running access log. Clones write to the same.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: NonBlocking,
    counts: Arc<Counts>,
    /// The thread that writes; gone when the log is closed.
    writer: Arc<Mutex<Option<WorkerGuard>>>,
}

impl AccessLog {
    /// Opens the file, and starts to write. The error is why it cannot be opened.
    pub fn open(config: AccessLogConfig) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let builder = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_WAITING_MAX)
            .thread_name("laneway-access");
        let (queue, writer) = builder.finish(Rotating::open(config, Arc::clone(&counts))?);
        Ok(Self { queue, counts, writer: Arc::new(Mutex::new(Some(writer))) })
    }

    /// Writes a line, or drops it where too many wait. Never waits.
    pub(crate) fn write(&self, record: &RequestRecord) {
        // Whoever does not wait never fails.
        let _ = self.queue.clone().write_all(&line::of(record));
    }

    /// Writes what waits, taking about a second at most. What comes later is lost: this is for the end of the process.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        // It waits by itself, but for ever where nobody reads what it would like to say about that.
        let (done, closed) = mpsc::channel();
        let closing = thread::Builder::new().name("laneway-closing".to_owned()).spawn(move || {
            drop(writer);
            let _ = done.send(());
        });
        if closing.is_ok() {
            let _ = closed.recv_timeout(CLOSED_WITHIN);
        }
    }

    /// For how long what is being written has not been taken: whoever reads it is stuck, or its disk is.
    pub fn stalled(&self) -> Duration {
        self.counts.stalled()
    }

    /// Lines that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.queue.error_counter().dropped_lines() as u64
    }

    /// Adds how many lines were written, how many were not, and whether it is stuck.
    pub fn sample(&self, samples: &mut Samples) {
        samples.add(names::ACCESS_LOG_STALLED, &[], self.stalled().as_secs_f64());
        let lost = self.dropped();
        for (result, lines) in [
            ("written", self.counts.written()),
            ("dropped", lost),
            ("failed", self.counts.failed()),
        ] {
            samples.add(names::ACCESS_LOG_LINES, &[(label::RESULT, result)], lines as f64);
        }
    }
}

#[cfg(test)]
mod tests;
