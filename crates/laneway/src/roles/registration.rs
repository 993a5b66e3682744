//! Keeps the application's instance in the embedded registry for as long as it answers.
//!
//! Nothing is registered before the application has answered its probe once: an instance must not be given
//! requests that it cannot serve. Afterwards every heartbeat says how the probe stands, and a change is told at
//! once. A sidecar that stops deregisters first and waits for the answer.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use api::discovery::v1::{
    self, discovery_client::DiscoveryClient, register_request::Message as Request,
    register_response::Message as Answer,
};
use registry::probe::{Probe, ProbeError};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tonic::Streaming;

use crate::publish::{endpoint, status_words};

/// How often the application is probed until it answers: its first request waits no longer than this for the
/// mesh to notice it.
const PROBE_STARTING: Duration = Duration::from_millis(100);

/// How often it is probed afterwards: half a heartbeat, so that each of these tells the truth.
const PROBE_RUNNING: Duration = Duration::from_secs(1);

/// Probes that must fail in a row before an application that has answered counts as gone; a refused connection
/// is enough at once. A full backlog drops a connect and the next one succeeds.
const PROBE_FAILURES: u32 = 2;

/// Between heartbeats, until the control plane says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Between attempts to reach the control plane. The instance expires after 6 s; three attempts fit well.
const RECONNECT: Duration = Duration::from_millis(500);

/// How long a stop waits for the answer to its deregistration: longer than a control plane that is there needs,
/// shorter than a supervisor's patience.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages that may wait to be sent; there is one every second.
const OUTGOING_MAX: usize = 8;

/// How the registration stands, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) healthy: bool,
    pub(crate) registered: bool,
    pub(crate) problem: Option<String>,
}

impl Standing {
    /// For `/status`.
    pub(crate) fn status(&self) -> Value {
        json!({
            "applicationAnswers": self.healthy,
            "registered": self.registered,
            "problem": self.problem,
        })
    }
}

/// A running registration.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) standing: watch::Receiver<Standing>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What is registered, and where.
#[derive(Debug, Clone)]
pub(crate) struct Registrant {
    pub(crate) control: String,
    pub(crate) join_token: Option<String>,
    /// Without its health, which changes.
    pub(crate) instance: v1::Instance,
    /// What is probed.
    pub(crate) application: SocketAddr,
}

impl Registration {
    /// Starts to probe, and to register once the application answers.
    pub(crate) fn start(registrant: Registrant) -> Self {
        let (standing_sender, standing) = watch::channel(Standing::default());
        let (stop, stopped) = watch::channel(false);
        let (health_sender, health) = watch::channel(false);
        let probing = tokio::spawn(probe(registrant.application, health_sender));
        let registrar = Registrar { registrant, health, stopped, standing: standing_sender };
        let task = tokio::spawn(async move {
            registrar.run().await;
            probing.abort();
        });
        Self { standing, stop, task }
    }

    /// Deregisters, and returns when the control plane has confirmed it or does not answer.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(DEREGISTER_TIMEOUT, self.task).await;
    }
}

/// Probes the application for ever, and tells changes.
async fn probe(application: SocketAddr, health: watch::Sender<bool>) {
    let mut failures = 0;
    loop {
        let probed = Probe::Tcp.run(application).await;
        failures = match &probed {
            Ok(()) => 0,
            Err(error) if nobody_listens(error) => PROBE_FAILURES,
            Err(_) => failures + 1,
        };
        // Between one failure and the last what was known stays.
        let known = *health.borrow();
        let healthy = if failures == 0 { true } else { known && failures < PROBE_FAILURES };
        if healthy != known {
            let reason = probed.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
            tracing::info!(%application, healthy, reason, "the application's probe has changed");
            health.send_replace(healthy);
        }
        tokio::time::sleep(if healthy { PROBE_RUNNING } else { PROBE_STARTING }).await;
    }
}

/// The one failure that cannot be a moment's overload.
fn nobody_listens(error: &ProbeError) -> bool {
    matches!(error, ProbeError::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused)
}

struct Registrar {
    registrant: Registrant,
    health: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    standing: watch::Sender<Standing>,
}

/// Why a connection ended.
enum Ended {
    Stopped,
    Broken(String),
}

impl Registrar {
    async fn run(mut self) {
        // Not before the application has answered once.
        tokio::select! {
            () = until_true(&mut self.health) => {}
            () = until_true(&mut self.stopped) => return,
        }
        loop {
            let ended = self.stay_registered().await;
            let Ended::Broken(reason) = ended else { return };
            if self.standing.borrow().problem.is_none() {
                tracing::warn!(
                    control = self.registrant.control,
                    reason,
                    "the registration is interrupted; trying again"
                );
            }
            self.standing.send_modify(|standing| {
                standing.registered = false;
                standing.problem = Some(reason);
            });
            tokio::select! {
                () = tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.0))) => {}
                () = until_true(&mut self.stopped) => return,
            }
        }
    }

    /// One connection, from registration to its end.
    async fn stay_registered(&mut self) -> Ended {
        let first = self.instance();
        let opened = tokio::select! {
            opened = open(&self.registrant.control, first) => opened,
            () = until_true(&mut self.stopped) => return Ended::Stopped,
        };
        let (outgoing, mut answers) = match opened {
            Ok(opened) => opened,
            Err(reason) => return Ended::Broken(reason),
        };
        let mut heartbeat = HEARTBEAT;
        let mut next = Instant::now() + heartbeat;
        loop {
            let sent = tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => match answer.message {
                        Some(Answer::Registered(registered)) => {
                            if registered.heartbeat_ms > 0 {
                                heartbeat = Duration::from_millis(registered.heartbeat_ms.into());
                            }
                            self.registered();
                            Ok(())
                        }
                        Some(Answer::Unknown(_)) => outgoing.send(self.instance()).await,
                        // Not asked for: another sidecar of this node has taken over, or an operator did it.
                        Some(Answer::Deregistered(_)) => return Ended::Broken("it was deregistered".to_owned()),
                        None => Ok(()),
                    },
                    Ok(None) => return Ended::Broken(CLOSED.to_owned()),
                    Err(status) => return Ended::Broken(status_words(&status)),
                },
                () = tokio::time::sleep_until(next.into()) => {
                    next = Instant::now() + heartbeat;
                    outgoing.send(self.heartbeat()).await
                }
                Ok(()) = self.health.changed() => {
                    next = Instant::now() + heartbeat;
                    outgoing.send(self.heartbeat()).await
                }
                () = until_true(&mut self.stopped) => {
                    self.deregister(&outgoing, &mut answers).await;
                    return Ended::Stopped;
                }
            };
            if sent.is_err() {
                return Ended::Broken(CLOSED.to_owned());
            }
        }
    }

    fn registered(&self) {
        let healthy = *self.health.borrow();
        let standing = Standing { healthy, registered: true, problem: None };
        if self.standing.send_if_modified(|known| {
            let changed = *known != standing;
            *known = standing;
            changed
        }) {
            let v1::Instance { service, tag, address, .. } = &self.registrant.instance;
            tracing::info!(service, tag, address, healthy, "registered");
        }
    }

    fn instance(&mut self) -> v1::RegisterRequest {
        let healthy = *self.health.borrow_and_update();
        let instance = v1::Instance { healthy, ..self.registrant.instance.clone() };
        self.request(Request::Instance(instance))
    }

    fn heartbeat(&mut self) -> v1::RegisterRequest {
        let healthy = *self.health.borrow_and_update();
        self.standing.send_modify(|standing| standing.healthy = healthy);
        self.request(Request::Heartbeat(v1::Heartbeat { healthy }))
    }

    fn request(&self, message: Request) -> v1::RegisterRequest {
        let join_token = self.registrant.join_token.clone().unwrap_or_default();
        v1::RegisterRequest { message: Some(message), join_token }
    }

    async fn deregister(
        &self,
        outgoing: &mpsc::Sender<v1::RegisterRequest>,
        answers: &mut Streaming<v1::RegisterResponse>,
    ) {
        if outgoing.send(self.request(Request::Deregister(v1::Deregister {}))).await.is_err() {
            return;
        }
        while let Ok(Some(answer)) = answers.message().await {
            if let Some(Answer::Deregistered(_)) = answer.message {
                tracing::info!("deregistered");
                self.standing.send_modify(|standing| standing.registered = false);
                return;
            }
        }
    }
}

/// Returns when it is true, or nobody can make it so any more.
async fn until_true(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}

/// What is said when the other side ends without words.
const CLOSED: &str = "it closed the stream";

type Opened = (mpsc::Sender<v1::RegisterRequest>, Streaming<v1::RegisterResponse>);

/// Connects and sends the first message; the error is for people.
async fn open(control: &str, first: v1::RegisterRequest) -> Result<Opened, String> {
    let channel = endpoint(control)?.connect().await.map_err(|error| error.to_string())?;
    let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
    // Cannot fail: the queue is empty and its reader is here.
    let _ = outgoing.try_send(first);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let response = DiscoveryClient::new(channel)
        .register(requests)
        .await
        .map_err(|status| status_words(&status))?;
    Ok((outgoing, response.into_inner()))
}
