//! Keeps the application's instance in the embedded registry for as long as it answers.
//!
//! Nothing is registered before the application has answered its probe once: an instance must not be given
//! requests that it cannot serve. Afterwards every heartbeat says how the probe stands, and a change is told at
//! once. A sidecar that stops deregisters first and waits for the answer.

pub mod probe;
mod standing;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::discovery::v1::{
    self, discovery_client::DiscoveryClient, register_request::Message as Request,
    register_response::Message as Answer,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};
use tonic::Streaming;

use crate::{
    connection::{ConnectionError, in_words},
    credentials::{Connected, Credentials, Shown},
};
use probe::{Probe, ProbeError};
pub use standing::Standing;

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

/// What is registered, and where.
#[derive(Debug, Clone)]
pub struct Registrant {
    /// `host:port` of the control plane's discovery listener.
    pub control: String,
    /// What is shown there, and how it is connected to.
    pub credentials: Credentials,
    /// Without its health, which changes.
    pub instance: v1::Instance,
    /// Where the application is probed, and how.
    pub application: SocketAddr,
    pub probe: Probe,
    /// `SO_MARK` of what is opened for it, so that redirect rules leave it alone.
    pub mark: Option<u32>,
    /// Told when others find that the application cannot be connected to: it is probed at once.
    pub doubted: Arc<Notify>,
}

/// A running registration.
#[derive(Debug)]
pub struct Registration {
    /// How it stands.
    pub standing: watch::Receiver<Standing>,
    told: watch::Sender<Told>,
    task: JoinHandle<()>,
}

/// What is to become of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Keep,
    /// To be left as it is: another process keeps it.
    Rest,
    /// To be taken back.
    Stop,
}

impl Registration {
    /// Starts to probe, and to register once the application answers.
    pub fn start(registrant: Registrant) -> Self {
        let (standing_sender, standing) = watch::channel(Standing::default());
        let (tell, told) = watch::channel(Told::Keep);
        let (health_sender, health) = watch::channel(false);
        let probing = tokio::spawn(keep_probing(
            registrant.probe.clone(),
            (registrant.application, registrant.mark),
            Arc::clone(&registrant.doubted),
            health_sender,
        ));
        let holder = LeaseHolder { registrant, health, told, standing: standing_sender };
        let task = tokio::spawn(async move {
            holder.run().await;
            probing.abort();
        });
        Self { standing, told: tell, task }
    }

    /// Leaves it to another process, which registers under the same process id: says nothing to the control plane. It is
    /// not taken back then, however this one ends.
    pub fn leave_place(&self) {
        self.told.send_replace(Told::Rest);
    }

    /// Keeps it again: nobody else did.
    pub fn take_place_again(&self) {
        self.told.send_replace(Told::Keep);
    }

    /// Deregisters, and returns when the control plane has confirmed it or does not answer.
    pub async fn stop(self) {
        // Who has left it to another has nothing to take back.
        self.told.send_if_modified(|told| {
            let keeps = *told == Told::Keep;
            if keeps {
                *told = Told::Stop;
            }
            keeps
        });
        if *self.told.borrow() == Told::Rest {
            return self.task.abort();
        }
        let _ = tokio::time::timeout(DEREGISTER_TIMEOUT, self.task).await;
    }
}

/// Probes the application for ever, and tells changes.
async fn keep_probing(
    probe: Probe,
    (application, mark): (SocketAddr, Option<u32>),
    doubted: Arc<Notify>,
    health: watch::Sender<bool>,
) {
    let mut failures = 0;
    let mut has_been_told = false;
    loop {
        let probed = probe.run(application, mark).await;
        let known = *health.borrow();
        let healthy = match &probed {
            Ok(()) => {
                failures = 0;
                true
            }
            // What this process is short of says nothing about the application.
            Err(error) if is_own_shortage(error) => known,
            Err(error) => {
                failures = if nobody_listens(error) { PROBE_FAILURES } else { failures + 1 };
                // Between one failure and the last what was known stays.
                known && failures < PROBE_FAILURES
            }
        };
        if let (Err(error), false, false) = (&probed, healthy, has_been_told) {
            let reason = in_words(error);
            tracing::warn!(%application, reason, "the application does not answer: it gets no requests before it does");
        }
        has_been_told = !healthy;
        if healthy != known {
            let reason = probed.err().map(|error| in_words(&error));
            tracing::info!(%application, healthy, reason, "the application's probe has changed");
            health.send_replace(healthy);
        }
        let wait = tokio::time::sleep(if healthy { PROBE_RUNNING } else { PROBE_STARTING });
        tokio::select! {
            () = wait => {}
            // One that is known not to answer is probed often enough.
            () = doubted.notified(), if healthy => {}
        }
    }
}

/// The one failure that cannot be a moment's overload.
fn nobody_listens(error: &ProbeError) -> bool {
    matches!(error, ProbeError::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused)
}

fn is_own_shortage(error: &ProbeError) -> bool {
    matches!(error, ProbeError::Connect { source, .. } if telemetry::shortage::is_ours(source))
}

struct LeaseHolder {
    registrant: Registrant,
    health: watch::Receiver<bool>,
    told: watch::Receiver<Told>,
    standing: watch::Sender<Standing>,
}

/// Both directions of a registration's stream.
struct Stream {
    outgoing: mpsc::Sender<v1::RegisterRequest>,
    answers: Streaming<v1::RegisterResponse>,
    /// What is shown on it.
    join_token: String,
    shown: Shown,
}

impl LeaseHolder {
    async fn run(mut self) {
        // Not before the application has answered once.
        tokio::select! {
            () = until_true(&mut self.health) => {}
            () = until_told(&mut self.told, Told::Stop) => return,
        }
        loop {
            // A registration that was dropped tells nothing any more.
            match self.told.wait_for(|told| *told != Told::Rest).await.as_deref() {
                Ok(Told::Keep) => {}
                Ok(_) | Err(_) => return,
            }
            if let Err(error) = self.stay_registered().await {
                self.lost(&error);
                tokio::select! {
                    () = tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.0))) => {}
                    () = until_told(&mut self.told, Told::Stop) => return,
                }
            }
        }
    }

    /// One connection, from registration to its end: `Ok` when it is to be kept no longer.
    async fn stay_registered(&mut self) -> Result<(), ConnectionError> {
        let first = self.instance();
        let mut stream = tokio::select! {
            opened = Stream::open(&self.registrant, first) => opened?,
            () = until_kept_no_longer(&mut self.told) => return Ok(()),
        };
        let mut period = HEARTBEAT;
        let mut next = Instant::now() + period;
        loop {
            tokio::select! {
                answer = stream.next() => match answer? {
                    Answer::Registered(registered) => {
                        if registered.heartbeat_ms > 0 {
                            period = Duration::from_millis(registered.heartbeat_ms.into());
                        }
                        self.registered();
                    }
                    // The control plane has forgotten it, or was restarted without it.
                    Answer::Unknown(_) => stream.send(self.instance()).await?,
                    Answer::Deregistered(_) => return Err(ConnectionError::Deregistered),
                },
                () = tokio::time::sleep_until(next.into()) => {
                    next = Instant::now() + period;
                    stream.send(self.heartbeat()).await?;
                }
                Ok(()) = self.health.changed() => {
                    next = Instant::now() + period;
                    stream.send(self.heartbeat()).await?;
                }
                () = until_kept_no_longer(&mut self.told) => {
                    if *self.told.borrow() != Told::Rest {
                        self.deregister(stream).await;
                    }
                    return Ok(());
                }
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
            let v1::Instance { application, service, tag, address, .. } = &self.registrant.instance;
            tracing::info!(application, service, tag, address, healthy, "registered");
        }
    }

    fn lost(&self, error: &ConnectionError) {
        let reason = error.in_words();
        // Once per outage, not once per attempt; and once more when the control plane answers and refuses.
        let is_refusal = matches!(error, ConnectionError::Refused(_));
        let is_told = match &self.standing.borrow().problem {
            None => false,
            Some(told) => !is_refusal || *told == reason,
        };
        if !is_told {
            let v1::Instance { application, tag, address, .. } = &self.registrant.instance;
            tracing::warn!(
                control = self.registrant.control,
                application,
                tag,
                address,
                reason,
                "the registration is interrupted; trying again"
            );
        }
        self.standing.send_modify(|standing| {
            standing.registered = false;
            standing.problem = Some(reason);
        });
    }

    fn instance(&mut self) -> v1::RegisterRequest {
        let healthy = *self.health.borrow_and_update();
        let instance = v1::Instance { healthy, ..self.registrant.instance.clone() };
        request(Request::Instance(instance))
    }

    fn heartbeat(&mut self) -> v1::RegisterRequest {
        let healthy = *self.health.borrow_and_update();
        self.standing.send_modify(|standing| standing.healthy = healthy);
        request(Request::Heartbeat(v1::Heartbeat { healthy }))
    }

    async fn deregister(&self, mut stream: Stream) {
        let request = request(Request::Deregister(v1::Deregister {}));
        if stream.send(request).await.is_err() {
            return;
        }
        while let Ok(answer) = stream.next().await {
            if let Answer::Deregistered(_) = answer {
                tracing::info!("deregistered");
                self.standing.send_modify(|standing| standing.registered = false);
                return;
            }
        }
    }
}

impl Stream {
    /// Connects and sends the first message.
    async fn open(
        registrant: &Registrant,
        first: v1::RegisterRequest,
    ) -> Result<Self, ConnectionError> {
        let Connected { channel, join_token, shown } = registrant.credentials.connect().await?;
        let first = v1::RegisterRequest { join_token: join_token.clone(), ..first };
        let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
        // Cannot fail: the queue is empty and its reader is here.
        let _ = outgoing.try_send(first);
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let response = DiscoveryClient::new(channel).register(requests).await;
        let response = response.map_err(|status| shown.refused(status))?;
        Ok(Self { outgoing, answers: response.into_inner(), join_token, shown })
    }

    /// Waits for the next answer. One that says nothing this release knows is passed over.
    async fn next(&mut self) -> Result<Answer, ConnectionError> {
        loop {
            let answer = self.answers.message().await;
            let answer = answer.map_err(|status| self.shown.refused(status))?;
            let answer = answer.ok_or(ConnectionError::Closed)?;
            if let Some(message) = answer.message {
                return Ok(message);
            }
        }
    }

    async fn send(&self, request: v1::RegisterRequest) -> Result<(), ConnectionError> {
        let request = v1::RegisterRequest { join_token: self.join_token.clone(), ..request };
        self.outgoing.send(request).await.map_err(|_| ConnectionError::Closed)
    }
}

/// Without what is shown, which the stream knows.
fn request(message: Request) -> v1::RegisterRequest {
    v1::RegisterRequest { message: Some(message), ..v1::RegisterRequest::default() }
}

/// Returns when it is told so, or nobody can tell any more.
async fn until_told(told: &mut watch::Receiver<Told>, what: Told) {
    let _ = told.wait_for(|told| *told == what).await;
}

/// Returns when it is to be kept no longer.
async fn until_kept_no_longer(told: &mut watch::Receiver<Told>) {
    let _ = told.wait_for(|told| *told != Told::Keep).await;
}

/// Returns when it is true, or nobody can make it so any more.
async fn until_true(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}
