//! Redirect rules of a sidecar, and their repair: a process that was to take its place, and did not, may have changed them.

use std::{sync::Arc, time::Duration};

use discovery::Readiness;
use proxy::capture::{Capture, CaptureConfig, CaptureError};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// How long after rules could not be written that is tried again: another program that changes rules may be at fault, and
/// meanwhile requests may go past the lanes.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why that is not known before the first attempt to write them anew has ended.
const UNKNOWN: &str = "they are being written anew";

/// Why rules are not known to be in force; `None` while they are.
pub(super) type Problem = watch::Receiver<Option<Arc<str>>>;

/// Rules that are in force, or on their way to be again.
#[derive(Debug)]
pub(super) struct Rules {
    capture: Capture,
    config: CaptureConfig,
    problem: watch::Sender<Option<Arc<str>>>,
    repair: Option<Repair>,
}

/// Rules are being written anew until they are.
#[derive(Debug)]
struct Repair {
    /// Dropped, it is the last attempt.
    _goes_on: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Rules {
    /// Installs them. `over`: in place of those of another process, whose they stay until [`Self::own`].
    pub(super) fn install(config: CaptureConfig, over: bool) -> Result<Self, CaptureError> {
        let capture = match over {
            true => Capture::install_over(&config)?,
            false => Capture::install(&config)?,
        };
        let problem = watch::Sender::new(None);
        Ok(Self { capture, config, problem, repair: None })
    }

    /// From now on they are this process's alone.
    pub(super) fn own(&mut self) {
        self.capture.own();
    }

    /// For readiness.
    pub(super) fn problem(&self) -> Problem {
        self.problem.subscribe()
    }

    /// Writes them anew, as often as it takes.
    pub(super) async fn repair(&mut self) {
        let was_told = self.rest().await;
        let config = self.config.clone();
        let write = move || Capture::install_over(&config).map(Capture::leave);
        let (goes_on, ends) = oneshot::channel();
        let problem = self.problem.clone();
        let task = tokio::spawn(repair(write, AGAIN_AFTER, problem, was_told, ends));
        self.repair = Some(Repair { _goes_on: goes_on, task });
    }

    /// Writes nothing any more, so that others may. Whether there was something to be repaired.
    pub(super) async fn rest(&mut self) -> bool {
        if let Some(Repair { _goes_on: goes_on, task }) = self.repair.take() {
            drop(goes_on);
            let _ended = task.await;
        }
        self.problem.borrow().is_some()
    }

    /// They are as they are, and another's: or this process's to take away.
    pub(super) async fn into_capture(mut self) -> Capture {
        self.rest().await;
        self.capture
    }
}

/// How a sidecar stands whose rules may not be in force: whoever is sent to it may be served past the lanes.
pub(super) fn readiness(problem: Option<&Problem>, otherwise: Readiness) -> Readiness {
    match problem.and_then(|problem| problem.borrow().clone()) {
        Some(problem) if otherwise.ready => Readiness {
            ready: false,
            stale: otherwise.stale,
            reason: format!("redirect rules may not be in force: {problem}"),
        },
        _ => otherwise,
    }
}

/// Writes rules off this thread, since another program may hold them for seconds, until that succeeds or `ends`. `is_told`: of
/// an attempt before, that it failed.
async fn repair<W>(
    write: W,
    again_after: Duration,
    problem: watch::Sender<Option<Arc<str>>>,
    mut is_told: bool,
    mut ends: oneshot::Receiver<()>,
) where
    W: Fn() -> Result<(), CaptureError> + Send + Sync + 'static,
{
    let write = Arc::new(write);
    // The first attempt may wait long for another program, and meanwhile nobody knows what they are.
    problem.send_replace(Some(UNKNOWN.into()));
    loop {
        let now = Arc::clone(&write);
        let written = tokio::task::spawn_blocking(move || now()).await;
        let failed = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let Some(error) = failed else {
            problem.send_replace(None);
            if is_told {
                tracing::info!("redirect rules are in force again");
            }
            return;
        };
        // Once, not at every attempt.
        problem.send_replace(Some(error.as_str().into()));
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!(
                error,
                "redirect rules cannot be written anew: they are as another process left them; it is tried again"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(again_after) => {}
            _ = &mut ends => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Tests and what they test share a thread: nothing hangs on it.
    const SHORT: Duration = Duration::from_millis(1);

    fn failed(message: &str) -> CaptureError {
        CaptureError::Failed { command: "iptables-restore".into(), message: message.into() }
    }

    #[tokio::test]
    async fn rules_are_written_until_they_are_and_meanwhile_nobody_is_ready() {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let write = move || match counted.fetch_add(1, Relaxed) {
            0..3 => Err(failed("busy")),
            _ => Ok(()),
        };
        let problem = watch::Sender::new(None);
        let mut seen = problem.subscribe();
        let ready = Readiness { ready: true, stale: false, reason: "current".into() };
        assert_eq!(readiness(Some(&seen), ready.clone()), ready);
        let (_goes_on, ends) = oneshot::channel();
        let task = tokio::spawn(repair(write, SHORT, problem, false, ends));
        seen.wait_for(|why| why.as_deref().is_some_and(|why| why != UNKNOWN)).await.unwrap();
        let told = readiness(Some(&seen), ready.clone());
        assert!(!told.ready, "{told:?}");
        let expected =
            "redirect rules may not be in force: capture: `iptables-restore` failed: busy";
        assert_eq!(told.reason, expected);
        // What is not ready anyway says why as before.
        let unready = Readiness { ready: false, stale: false, reason: "not registered".into() };
        assert_eq!(readiness(Some(&seen), unready.clone()), unready);
        task.await.unwrap();
        assert_eq!(attempts.load(Relaxed), 4);
        assert_eq!(readiness(Some(&seen), ready.clone()), ready);
    }

    #[tokio::test]
    async fn nobody_is_ready_while_another_program_holds_up_the_first_attempt() {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let write = move || {
            let _ = held.lock().unwrap().recv();
            Ok(())
        };
        let problem = watch::Sender::new(None);
        let mut seen = problem.subscribe();
        let (_goes_on, ends) = oneshot::channel();
        let task = tokio::spawn(repair(write, SHORT, problem, false, ends));
        let told = tokio::time::timeout(Duration::from_secs(10), seen.wait_for(Option::is_some));
        told.await.expect("it is told before the attempt has ended").unwrap();
        let ready = Readiness { ready: true, stale: false, reason: "current".into() };
        let told = readiness(Some(&seen), ready.clone());
        assert_eq!(told.reason, format!("redirect rules may not be in force: {UNKNOWN}"));
        assert!(!told.ready);
        let_go.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(readiness(Some(&seen), ready.clone()), ready);
    }

    #[tokio::test]
    async fn whoever_is_to_write_nothing_any_more_does_not() {
        let problem = watch::Sender::new(None);
        let mut seen = problem.subscribe();
        let (goes_on, ends) = oneshot::channel();
        let task = tokio::spawn(repair(|| Err(failed("never")), SHORT, problem, false, ends));
        seen.wait_for(Option::is_some).await.unwrap();
        drop(goes_on);
        task.await.unwrap();
        assert!(seen.borrow().is_some(), "they are as they were left");
    }
}
