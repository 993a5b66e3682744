//! Runs a source in a task of its own, begins it again when it ends, and tells how it stands.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{task::JoinHandle, time::Instant};

use crate::source::{Ended, Receiver, Sink, Source};

/// Least and most pause before a source that ended is begun again: a hiccup is over at once, and what is broken for
/// good neither fills the log nor burdens whom it asks.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);

/// A run that lasted longer than this was a good one: the next pause is the least again.
const RUN_GOOD: Duration = Duration::from_secs(60);

/// A source that runs. Dropping it ends it, without waiting for that.
#[derive(Debug)]
pub struct Supervised {
    task: JoinHandle<()>,
}

impl Supervised {
    /// Ends it. When this returns it tells nothing more.
    pub async fn stop(mut self) {
        self.task.abort();
        // An error is the abort itself.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs `source` until the result is stopped or dropped. However a run ends (it returns, it fails, it panics where
/// panics unwind), what it told stays, the receiver hears why, and after a pause it is run again.
pub fn supervise(name: &str, source: impl Source, receiver: Arc<dyn Receiver>) -> Supervised {
    Supervised { task: tokio::spawn(keep_running(source, Sink::new(name, receiver))) }
}

async fn keep_running(mut source: impl Source, mut sink: Sink) {
    let mut pause = PAUSE_LEAST;
    loop {
        sink.begin();
        let began = Instant::now();
        // A source that panicked is run again as it was left: it tells everything anew, so that what it had begun
        // to tell does not matter.
        let ended = AssertUnwindSafe(source.run(&mut sink)).catch_unwind().await;
        if began.elapsed() >= RUN_GOOD {
            pause = PAUSE_LEAST;
        }
        let why = in_words(ended);
        sink.stale(format!("{why}; it begins again after {} s", pause.as_secs()));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

fn in_words(ended: Result<Result<(), Ended>, Box<dyn Any + Send>>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(reason)) => {
            let mut words = reason.to_string();
            let mut cause = reason.source();
            while let Some(error) = cause {
                words.push_str(&format!(": {error}"));
                cause = error.source();
            }
            words
        }
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            format!("it panicked: {}", said.unwrap_or("it does not say why"))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
