//! What every role begins and ends with: logs, data directory, runtime, metrics, signals, listening.

use std::{
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context;
use proxy::sockets;
use telemetry::{
    Metrics, RequestObservers,
    access_log::{AccessLog, AccessLogConfig},
    logs::Logs,
    names, shortage,
    traces::{Resource, Traces, TracesConfig},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{
    cli::{self, Settings},
    config::{BadSettings, checked},
    data_directory::{DataDirectory, Unwritable},
    door::{Callers, Door, hosts::Host, token::Token},
    signals::{Asked, Signals},
    upgrade::{outcome::Outcome, predecessor::Predecessor, successor::Succeeded, supervisor},
};

/// Threads for what is not moving requests: API, distribution, discovery. Two, so that a long answer to an
/// operator does not hold up a change on its way to data planes.
const CONTROL_THREADS: usize = 2;

/// What stopping may take besides the drain: other programs may hold redirect rules, and logs are written to their end.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// How long work of threads beside a role is waited for at its end.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// What a role runs in.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) data: DataDirectory,
    pub(crate) logs: Logs,
    pub(crate) metrics: Arc<Metrics>,
    /// It has been asked to stop: nobody should send anything here any more.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Opened before anything else.
    access_log: Option<AccessLog>,
    /// Who is told single requests, once it moves any.
    observers: OnceLock<RequestObservers>,
    allowed_hosts: Vec<Host>,
    drain: Duration,
}

impl Process {
    /// Starts logs, opens the access log, takes the data directory, and lets the process open as many files as it may. `observers`:
    /// of a process that moves requests.
    pub(crate) fn start(
        settings: &checked::Process,
        observers: Option<&checked::Observers>,
        unwritable: Unwritable,
        predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let logs = telemetry::logs::start(settings.log_format, &settings.log_level)?;
        for variable in cli::unknown_variables() {
            tracing::warn!(
                variable,
                "no setting is read from this variable: docs/reference/settings.md has their names"
            );
        }
        // Before anything is made, opened or told that cannot be taken back, such as a one-time password.
        let access_log = observers.and_then(|it| it.access_log.clone()).map(open_access_log);
        let access_log = access_log.transpose()?;
        let lent = predecessor.and_then(|it| it.data(&settings.data));
        let data = match lent {
            Some(data) => data,
            None => DataDirectory::take(&settings.data, unwritable)?,
        };
        if let Err(error) = shortage::raise_open_files() {
            tracing::warn!(%error, "the limit on open files stays as it is");
        }
        let metrics = Arc::new(Metrics::new());
        metrics.gauge(names::BUILD, &[(names::label::VERSION, env!("CARGO_PKG_VERSION"))]).set(1.0);
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.gauge(names::STARTED, &[]).set(started.as_secs_f64());
        let of_logs = logs.clone();
        metrics.collect_from(move |samples| of_logs.sample(samples));
        let allowed_hosts = settings.allowed_hosts.clone();
        let drain = settings.drain;
        let (stopping, observers) = (Arc::default(), OnceLock::new());
        if let Some(access_log) = access_log.clone() {
            metrics.collect_from(move |samples| access_log.sample(samples));
        }
        Ok(Self { data, logs, metrics, stopping, access_log, observers, allowed_hosts, drain })
    }

    /// Begins to tell single requests, as the settings say: of this service, and of this tag.
    pub(crate) fn observe(
        &self,
        settings: &checked::Observers,
        service: &str,
        tag: Option<&str>,
    ) -> anyhow::Result<RequestObservers> {
        let traces = match settings.traces.clone() {
            Some((collector, sampler)) => {
                let resource = Resource {
                    service: service.to_owned(),
                    instance: self.data.node()?,
                    version: env!("CARGO_PKG_VERSION"),
                    tag: tag.unwrap_or_default().to_owned(),
                };
                let config = TracesConfig { collector, sampler, resource };
                Some(Traces::start(config).context("otlp-ca-file: read whom to believe")?)
            }
            None => None,
        };
        if let Some(traces) = traces.clone() {
            self.metrics.collect_from(move |samples| traces.sample(samples));
        }
        let access_log = self.access_log.clone();
        let observers = RequestObservers { access_log, traces };
        Ok(self.observers.get_or_init(|| observers).clone())
    }

    /// Writes and sends what waits for that: this is for the end.
    async fn close(&self) {
        // Beside each other: whoever is stuck there holds up the end once.
        let access_log = self.access_log.clone();
        let access_log = access_log.map(|log| tokio::task::spawn_blocking(move || log.close()));
        if let Some(traces) = self.observers.get().and_then(|it| it.traces.as_ref()) {
            traces.close().await;
        }
        if let Some(closing) = access_log {
            let _ = closing.await;
        }
        self.logs.close();
    }

    /// How the access log stands; nothing where none is written.
    pub(crate) fn access_log_status(&self) -> impl Fn() -> serde_json::Value + Send + Sync + use<> {
        let access_log = self.access_log.clone();
        move || match &access_log {
            Some(log) => serde_json::json!({
                "stalledSeconds": log.stalled().as_secs(),
                "dropped": log.dropped(),
            }),
            None => serde_json::Value::Null,
        }
    }

    /// The door of an address of this process.
    pub(crate) fn door(&self, callers: Callers) -> Door {
        Door::new(self.allowed_hosts.clone(), callers, &self.metrics)
    }

    /// The door of a data plane's admin address. It opens without a token, too: for this user alone.
    pub(crate) fn admin_door(&self) -> Door {
        let token = Token::keep(self.data.path());
        let token = token.inspect_err(|error| tracing::warn!(error = %format_args!("{error:#}"), "there is no token for the admin address"));
        self.door(Callers::Known(token.ok()))
    }
}

fn open_access_log(config: AccessLogConfig) -> anyhow::Result<AccessLog> {
    let path = config.path.clone().unwrap_or_else(|| "-".into());
    AccessLog::open(config).with_context(|| {
        format!(
            "access-log: open `{}`; name a file that this process may make and write, a pipe that somebody reads, or - for standard output",
            path.display()
        )
    })
}

/// The runtime of a control plane.
pub(crate) fn control_runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .enable_all()
        .build()
        .context("start the runtime")
}

/// The runtime of a data plane: requests are moved on the proxy's own threads, so that one thread is enough for
/// the rest.
pub(crate) fn data_plane_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("start the runtime")
}

/// Runs a role to its end. What may still be waited for then, such as a name that nobody resolves, does not hold up the end of the
/// process.
pub(crate) fn run_in<T>(runtime: Runtime, role: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(role);
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}

/// Binds a listener; `key` is the setting that named the address.
pub(crate) async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        let is_taken_by = sockets::listener_at(address).map(|who| format!(": {who}"));
        format!(
            "{key}: listen on `{address}`{}; name another address, or port 0 to have one chosen",
            is_taken_by.unwrap_or_default()
        )
    })
}

/// What a role is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// End; for so long new callers are still to be taken.
    Stop(Duration),
    /// Let another process take its place.
    Upgrade,
}

/// Waits for a signal to stop, or to be replaced. On SIGHUP the log level is read again, and `reload` does what else the role can
/// change while it runs. New callers are still to be taken for all of `lame_duck` where a supervisor asks to stop, and may
/// have told others to send callers here.
pub(crate) async fn until_asked<T>(
    signals: &mut Signals,
    process: &Process,
    settings: &Settings<T>,
    of_process: fn(&T) -> &checked::Process,
    lame_duck: Duration,
    mut reload: impl FnMut(),
) -> Next
where
    T: Clone + PartialEq,
{
    let lame_duck = loop {
        match signals.next().await {
            Asked::Reload => {}
            Asked::Stop => break lame_duck,
            Asked::StopByHand => break Duration::ZERO,
            Asked::Upgrade => return Next::Upgrade,
        }
        match settings.read_again() {
            Ok(now) => changed(process, settings, &now, of_process),
            Err(BadSettings(problems)) => {
                for problem in problems {
                    tracing::error!(%problem, "settings are not reloaded");
                }
            }
        }
        reload();
    };
    stops(process);
    Next::Stop(lame_duck)
}

fn stops(process: &Process) {
    process.stopping.store(true, Ordering::Relaxed);
    supervisor::stops(process.drain + AFTER_DRAIN);
    tracing::info!("asked to stop");
}

/// What became of giving the place to another process.
#[derive(Debug)]
pub(crate) enum Given {
    /// That one has it.
    Place(Succeeded),
    /// Nobody has it. The other may have begun to change what is not only this one's.
    Nothing { has_begun: bool },
    /// It was asked to stop meanwhile.
    Stop(Duration),
}

/// Gives the place to another process, unless it is asked to stop before that serves.
pub(crate) async fn give(
    signals: &mut Signals,
    process: &Process,
    lame_duck: Duration,
    giving: impl Future<Output = Given>,
) -> Given {
    let mut giving = pin!(giving);
    loop {
        let asked = tokio::select! {
            given = &mut giving => return given,
            asked = signals.next() => asked,
        };
        let lame_duck = match asked {
            Asked::Reload | Asked::Upgrade => continue,
            Asked::Stop => lame_duck,
            Asked::StopByHand => Duration::ZERO,
        };
        stops(process);
        return Given::Stop(lame_duck);
    }
}

/// Runs `ending` to its end in a process whose place another one has. It stops already: only a second signal hurries it. Where
/// the other one fails meanwhile nobody listens, and a supervisor starts it anew only when this one has ended, too.
pub(crate) async fn end_beside_successor(
    signals: &mut Signals,
    process: &Process,
    mut succeeded: Succeeded,
    ending: impl Future<Output = ()>,
) -> ExitCode {
    let mut ending = pin!(ending);
    tokio::select! {
        () = &mut ending => return end(signals, process, async {}).await,
        () = signals.hurry() => tracing::info!("asked to stop: what is in flight is finished"),
        status = succeeded.has_ended() => {
            let successor = succeeded.process;
            tracing::error!(successor, %status, "the process that has taken the place of this one has ended");
            if supervisor::is_there() {
                return ExitCode::FAILURE;
            }
        }
    }
    end(signals, process, ending).await
}

/// The same for a role that cannot be replaced while it runs.
pub(crate) async fn until_asked_to_stop<T>(
    signals: &mut Signals,
    process: &Process,
    settings: &Settings<T>,
    of_process: fn(&T) -> &checked::Process,
    lame_duck: Duration,
    mut reload: impl FnMut(),
) -> Duration
where
    T: Clone + PartialEq,
{
    loop {
        let reload = &mut reload;
        match until_asked(signals, process, settings, of_process, lame_duck, reload).await {
            Next::Stop(lame_duck) => return lame_duck,
            Next::Upgrade => {
                let reason = "a control plane is restarted: data planes go on meanwhile";
                tracing::error!(reason, "not replaced");
                Outcome::of_this_process(None, Some(reason.to_owned())).tell(process.data.path());
            }
        }
    }
}

fn changed<T: Clone + PartialEq>(
    process: &Process,
    settings: &Settings<T>,
    now: &T,
    of_process: fn(&T) -> &checked::Process,
) {
    let level = &of_process(now).log_level;
    match process.logs.set_level(level) {
        Ok(()) => tracing::info!(level, "settings reloaded"),
        Err(error) => tracing::error!(%error, "the log level stays"),
    }
    if now != &settings.now {
        tracing::warn!("some settings have changed that take effect only at the next start");
    }
}

/// Runs `ending` to its end, or gives up when a second signal to stop comes.
pub(crate) async fn end(
    signals: &mut Signals,
    process: &Process,
    ending: impl Future<Output = ()>,
) -> ExitCode {
    let code = tokio::select! {
        () = ending => ExitCode::SUCCESS,
        () = signals.hurry() => {
            tracing::warn!("asked to stop again: not waiting for what is in flight");
            ExitCode::from(cli::EXIT_FAILED)
        }
    };
    tracing::info!("stopped");
    process.close().await;
    code
}
