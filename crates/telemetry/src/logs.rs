//! Structured logs on standard error: text or JSON, level changeable at run time, never in the way of a request.
//!
//! Lines go through a bounded queue to a thread of their own. When standard error is not read fast enough, lines
//! are dropped and counted; a request never waits for a terminal. And no place in the code writes more than a few lines a
//! second, whatever traffic makes it say.
//!
//! Fields mean the same everywhere: `peer` and `address` are addresses of the other side of a connection, `service`,
//! `application`, `tag` and `lane` (`group/tag`) are names, `error` is an error with all its causes, `request_id` is
//! the request's `x-request-id`, `generation` the number of a configuration.

mod line;
mod suppression;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, reload};

use self::{line::Lines, suppression::Suppression};
use crate::{Samples, names};

/// Lines that may wait to be written: two seconds of 2 000 a second, about 1 MB.
const LINES_WAITING_MAX: usize = 4096;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// A log format that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("log format `{0}` is unknown; use `text` or `json`")]
pub struct UnknownFormat(String);

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "log level `{level}` cannot be read; use error, warn, info, debug or trace, or `info,proxy=debug`"
)]
pub struct BadLevel {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The level cannot be read.
    #[error(transparent)]
    Level(#[from] BadLevel),
    /// Somebody else already logs in this process.
    #[error("start logging: a subscriber is already set in this process")]
    AlreadyStarted,
}

/// Running logs.
#[derive(Debug, Clone)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
    /// Lines left out because one place wrote too many.
    suppressed: Arc<AtomicU64>,
    /// The thread that writes; gone when the logs are closed.
    writer: Arc<Mutex<Option<WorkerGuard>>>,
}

/// Starts logging to standard error for the whole process. `level` as in `info,proxy=debug`.
pub fn start(format: Format, level: &str) -> Result<Logs, StartError> {
    let (subscriber, logs) = subscriber(format, level, io::stderr())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::AlreadyStarted)?;
    Ok(logs)
}

impl Logs {
    /// Changes the level from now on. On an error the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), BadLevel> {
        let filter = parse_level(level)?;
        // Fails only when the subscriber is gone, and then nobody logs.
        let _gone = self.filter.reload(filter);
        Ok(())
    }

    /// The level in use, as it would be written.
    pub fn level(&self) -> String {
        self.filter.with_current(EnvFilter::to_string).unwrap_or_default()
    }

    /// Writes what was logged so far, waiting about a second at most: longer than any healthy terminal needs, short
    /// enough not to hold up an exit. What is logged later is lost: this is for the end of the process.
    pub fn close(&self) {
        drop(self.writer.lock().take());
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }

    /// Adds what logging measures about itself.
    pub fn sample(&self, samples: &mut Samples) {
        samples.add(names::LOG_LINES_DROPPED, &[], self.dropped() as f64);
        let suppressed = self.suppressed.load(Ordering::Relaxed);
        samples.add(names::LOG_LINES_SUPPRESSED, &[], suppressed as f64);
    }
}

fn parse_level(level: &str) -> Result<EnvFilter, BadLevel> {
    EnvFilter::builder().parse(level).map_err(|source| BadLevel { level: level.to_owned(), source })
}

fn subscriber(
    format: Format,
    level: &str,
    sink: impl Write + Send + 'static,
) -> Result<(impl Subscriber + Send + Sync, Logs), StartError> {
    let (filter, filter_handle) = reload::Layer::new(parse_level(level)?);
    let (queue, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("laneway-logs")
        .finish(sink);
    let dropped = queue.error_counter();
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(queue)).with_ansi(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let suppression = Suppression::new();
    let suppressed = suppression.counter();
    let writer = Arc::new(Mutex::new(Some(writer)));
    Ok((
        // Outermost, so that what it says itself is written by the others.
        tracing_subscriber::registry().with(filter).with(lines).with(suppression),
        Logs { filter: filter_handle, dropped, suppressed, writer },
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: &str, log: impl FnOnce(&Logs)) -> String {
        let sink = Sink::default();
        let (subscriber, logs) = subscriber(format, level, sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || log(&logs));
        logs.close();
        sink.text()
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let text = logged(Format::Json, "info", |_| {
            tracing::info!(lane = "trade/gray", peer = "10.0.0.1:5", "the \"lane\"\nis full");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            r#""level":"INFO""#,
            r#""message":"the \"lane\"\nis full""#,
            r#""lane":"trade/gray""#,
            r#""peer":"10.0.0.1:5""#,
            r#""target":"telemetry::logs::tests""#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn names_cannot_forge_lines_or_steer_terminals() {
        let tag = "gray\n2026 ERROR forged \u{1b}[31m\u{9b}2J";
        for format in [Format::Text, Format::Json] {
            let text = logged(format, "info", |_| {
                tracing::info!(%tag, application = tag, "{tag} has come");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            let raw = text.trim_end().chars().find(|character| character.is_control());
            assert_eq!(raw, None, "{text}");
            assert!(text.contains(r"gray\n2026 ERROR forged"), "{text}");
        }
    }

    #[test]
    fn the_level_changes_at_run_time() {
        let text = logged(Format::Text, "warn", |logs| {
            tracing::info!("before");
            logs.set_level("off,telemetry=debug").unwrap();
            tracing::debug!("after");
            let error = logs.set_level("telemetry=loud").unwrap_err().to_string();
            assert!(error.contains("`telemetry=loud`"), "{error}");
            tracing::debug!("the old level stays");
            assert_eq!(logs.level(), "telemetry=debug,off");
        });
        assert!(
            !text.contains("before")
                && text.contains("after")
                && text.contains("the old level stays"),
            "{text}"
        );
    }

    #[test]
    fn lines_are_dropped_and_counted_rather_than_waited_for() {
        /// Takes nothing until it is let go.
        struct Stuck(mpsc::Receiver<()>, Sink);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _go = self.0.recv();
                self.1.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, stuck) = mpsc::channel();
        let sink = Sink::default();
        let (subscriber, logs) =
            subscriber(Format::Text, "debug", Stuck(stuck, sink.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES_WAITING_MAX + 100 {
                tracing::debug!(number, "line");
            }
        });
        drop(go);
        logs.close();
        let (dropped, written) = (logs.dropped() as usize, sink.text().lines().count());
        assert!((99..=100).contains(&dropped), "one line may be with the writer: {dropped}");
        assert_eq!(dropped + written, LINES_WAITING_MAX + 100);
        let mut samples = Samples::new();
        logs.sample(&mut samples);
        assert!(
            samples.into_text().contains(&format!("laneway_log_lines_dropped_total {dropped}\n"))
        );
    }

    #[test]
    fn one_place_writes_a_few_lines_a_second_and_what_was_left_out_is_told() {
        let lines = suppression::LINES_PER_SECOND_MAX as usize;
        let shout = |number: usize| tracing::warn!(number, "too often");
        let text = logged(Format::Json, "info", |logs| {
            (0..3000).for_each(shout);
            tracing::info!("another place");
            // The next period has come when the place may write again.
            let suppressed = || logs.suppressed.load(Ordering::Relaxed);
            let mut before = suppressed();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while std::time::Instant::now() < deadline {
                shout(0);
                if suppressed() == before {
                    break;
                }
                before = suppressed();
            }
            assert!(suppressed() >= 3000 - lines as u64);
            let mut samples = Samples::new();
            logs.sample(&mut samples);
            let expected = format!("laneway_log_lines_suppressed_total {}\n", suppressed());
            assert!(samples.into_text().contains(&expected));
        });
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        let written = count("too often");
        assert!((lines + 1..=10 * lines).contains(&written), "{written} of more than 3000");
        assert_eq!(count("another place"), 1);
        let told = text.lines().find(|line| line.contains("more lines of this place")).unwrap();
        assert!(told.contains(r#""level":"WARN""#) && !told.contains("null"), "{told}");
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "log format `xml` is unknown; use `text` or `json`");
    }
}
