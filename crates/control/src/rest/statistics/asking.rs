//! Who is asked: the control plane's own statistics, or Prometheus; a few questions at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Json;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::super::Refused;
use crate::{
    Control,
    statistics::{
        prometheus::{self, Prometheus, PrometheusError},
        question::{Answer, Wanted},
        series::{Labels, Role},
    },
};

/// The shortest step that is asked of Prometheus, in seconds: the growth of a counter between four scrapes, as often as they are
/// usual.
const LEAST_STEP: u64 = 60;

/// Questions answered at a time: each holds some 20 MB, and a processor for a while.
static ANSWERING: Semaphore = Semaphore::const_new(3);

/// Questions that Prometheus is asked at a time, which may be slow: others wait behind none of them.
static ASKING: Semaphore = Semaphore::const_new(3);

/// Longest that a question waits for those before it to be answered by Prometheus.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// Answers on a thread that may wait for the disk.
pub(super) async fn beside<T: Send + 'static>(
    control: Arc<Control>,
    answer: impl FnOnce(&Control) -> Result<T, Refused> + Send + 'static,
) -> Result<Json<T>, Refused> {
    // It is never closed.
    let permit = ANSWERING.acquire().await;
    on_a_thread(control, permit, answer).await
}

/// The same of what may be asked of Prometheus.
pub(super) async fn beside_others<T: Send + 'static>(
    control: Arc<Control>,
    wanted: Wanted,
    answer: impl FnOnce(&Control) -> Result<T, Refused> + Send + 'static,
) -> Result<Json<T>, Refused> {
    let Some(prometheus) = control.prometheus().filter(|_| wanted.is_long()) else {
        return beside(control, answer).await;
    };
    let Ok(permit) = tokio::time::timeout(ASKED_WITHIN, ASKING.acquire()).await else {
        let detail =
            format!("Prometheus at {} has too much to answer: ask again", prometheus.url());
        return Err(Refused::new(503, "no history", detail));
    };
    on_a_thread(control, permit, answer).await
}

/// `permit`: held as long as there is work, whoever still waits for it.
async fn on_a_thread<T: Send + 'static>(
    control: Arc<Control>,
    permit: Result<SemaphorePermit<'static>, AcquireError>,
    answer: impl FnOnce(&Control) -> Result<T, Refused> + Send + 'static,
) -> Result<Json<T>, Refused> {
    let answering = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        answer(&control)
    });
    match answering.await {
        Ok(answered) => answered.map(Json),
        Err(_) => Err(Refused::new(500, "failed", "see the control plane's log".to_owned())),
    }
}

/// What was counted: in a time that is longer than what is in memory, by the Prometheus that is to be asked, if any, of what it is
/// told to be wanted.
pub(super) fn ask<K: Ord + Clone>(
    control: &Control,
    wanted: Wanted,
    of: &prometheus::Wanted<'_>,
    line: impl Fn(&Labels) -> Option<K>,
) -> Result<Answer<K>, Refused> {
    let long = || control.statistics().long_answer(wanted, Instant::now(), LEAST_STEP);
    let Some((prometheus, mut answer)) = control.prometheus().zip(long()) else {
        return ask_own(control, wanted, line);
    };
    prometheus.count(&mut answer, of, &line).map_err(|error| unanswered(prometheus, &error))?;
    // What is no request, processes have told us alone.
    let of_process =
        |labels: &Labels| (labels.role == Role::Process).then(|| line(labels)).flatten();
    answer.add_lines(ask_own(control, wanted, of_process)?);
    whole(answer)
}

/// What the control plane has counted itself.
pub(super) fn ask_own<K: Ord + Clone>(
    control: &Control,
    wanted: Wanted,
    line: impl Fn(&Labels) -> Option<K>,
) -> Result<Answer<K>, Refused> {
    whole(control.statistics().answer(wanted, Instant::now(), line).map_err(no_history)?)
}

/// Figures that are too small because there are more are not told.
fn whole<K: Ord + Clone>(answer: Answer<K>) -> Result<Answer<K>, Refused> {
    if answer.is_cut {
        let detail =
            "it is too much for one answer: name an application or a group, or a longer step";
        return Err(Refused::new(400, "too much", detail.to_owned()));
    }
    Ok(answer)
}

fn unanswered(prometheus: &Prometheus, error: &PrometheusError) -> Refused {
    let url = prometheus.url();
    tracing::warn!(url, %error, "Prometheus does not tell what passed");
    let detail = format!(
        "Prometheus at {url}: {error}; ask for at most 15m, which the control plane has in memory"
    );
    Refused::new(503, "no history", detail)
}

pub(super) fn no_history(error: rusqlite::Error) -> Refused {
    tracing::warn!(%error, "the history of statistics cannot be read");
    let detail = "the history cannot be read: ask for at most 15m, which is in memory";
    Refused::new(503, "no history", detail.to_owned())
}
