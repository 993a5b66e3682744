//! Registrations of sidecars: from their streams into the journal, and to whoever keeps the registry.
//!
//! The end of a stream is no deregistration: a sidecar that crashed, or lost its network, is removed by the
//! registry when its heartbeats stop. The journal keeps what was acknowledged, so that a restarted control plane
//! begins with the instances it had.

mod leases;
mod refusals;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::discovery::v1::{self, register_request, register_response};
use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::{Status, Streaming};

use crate::{
    Control,
    arrived::Arrived,
    key::canonical,
    store::Change,
    tokens::{Ended, Holder},
};
pub(crate) use leases::Leases;
use leases::StreamId;
pub(crate) use refusals::{Refusal, Refusals};

/// How long a deregistration waits until the data planes that may call the instance have been told. Theirs is a
/// round trip; one that does not answer must not keep a sidecar from stopping.
const DEREGISTRATION_WAIT: Duration = Duration::from_secs(1);

/// Keeps instances: implemented over the embedded registry.
pub trait Registrations: Send + Sync + 'static {
    /// Instances that were registered before a restart. Called once, before discovery serves. None of them may
    /// expire before a full heartbeat period has passed.
    fn restore(&self, instances: Vec<v1::Instance>);

    /// An instance registers, or registers anew with something changed. What is wrong with it is refused.
    fn register(
        &self,
        instance: v1::Instance,
    ) -> impl Future<Output = Result<v1::Registered, lanes::Problem>> + Send;

    /// A node's heartbeat, with what its probe says. `false`: the node is not known, it must register again.
    fn heartbeat(&self, node: &str, healthy: bool) -> impl Future<Output = bool> + Send;

    /// A node's instance takes no new requests from now on.
    fn deregister(&self, node: &str) -> impl Future<Output = ()> + Send;
}

/// Answers one sidecar's stream of registrations.
pub(crate) fn serve<R: Registrations>(
    control: Arc<Control>,
    registrations: Arc<R>,
    arrived: Arrived,
    mut incoming: Streaming<v1::RegisterRequest>,
) -> impl Stream<Item = Result<v1::RegisterResponse, Status>> + Send {
    async_stream::stream! {
        let id = control.leases().open();
        let mut stream = RegistrationStream { control, registrations, id, arrived, holder: Holder::MESH, instance: None };
        let mut closing = stream.control.closing();
        loop {
            let request = tokio::select! {
                request = incoming.next() => request.and_then(Result::ok).map(Ok),
                _ = closing.wait_for(|closing| *closing) => break,
                ended = stream.holder.ended() => Some(Err(ended)),
            };
            let answer = match request {
                Some(Ok(request)) => stream.answer(request).await,
                Some(Err(ended)) => Err(stream.shut_out(&ended).await),
                None => break,
            };
            match answer {
                Ok(Some(message)) => yield Ok(v1::RegisterResponse { message: Some(message) }),
                Ok(None) => {}
                Err(status) => {
                    yield Err(status);
                    break;
                }
            }
        }
    }
}

struct RegistrationStream<R> {
    control: Arc<Control>,
    registrations: Arc<R>,
    id: StreamId,
    arrived: Arrived,
    /// With whose token it was let in.
    holder: Holder,
    instance: Option<v1::Instance>,
}

impl<R: Registrations> RegistrationStream<R> {
    async fn answer(
        &mut self,
        request: v1::RegisterRequest,
    ) -> Result<Option<register_response::Message>, Status> {
        use register_request::Message;
        let Some(message) = request.message else { return Ok(None) };
        match (message, &self.instance) {
            (Message::Instance(instance), _) => {
                self.register(instance, &request.join_token).await.map(Some)
            }
            (_, None) => Err(Status::invalid_argument("the first message must be `instance`")),
            (Message::Heartbeat(heartbeat), Some(instance)) => {
                self.check_holds(&instance.node)?;
                self.control.leases().is_healthy(&instance.node, heartbeat.healthy);
                let known = self.registrations.heartbeat(&instance.node, heartbeat.healthy).await;
                Ok((!known).then_some(register_response::Message::Unknown(v1::Unknown {})))
            }
            (Message::Deregister(_), Some(instance)) => {
                self.check_holds(&instance.node)?;
                self.deregister(instance).await;
                Ok(Some(register_response::Message::Deregistered(v1::Deregistered {})))
            }
        }
    }

    async fn register(
        &mut self,
        mut instance: v1::Instance,
        join_token: &str,
    ) -> Result<register_response::Message, Status> {
        // Who came with a certificate has renewed it since, perhaps: that of the connection may have ended.
        if !(join_token.is_empty() && self.holder.has_certificate()) {
            self.holder = self.control.admit(join_token, &self.arrived)?;
        }
        // What is compared with it is in one spelling. What is no address is for the registry to refuse.
        let first = [&mut instance.address, &mut instance.application_address];
        let further = (instance.further_addresses.iter_mut())
            .chain(&mut instance.further_application_addresses);
        let of_ports =
            (instance.further_ports.iter_mut()).flat_map(|port| &mut port.application_addresses);
        for text in first.into_iter().chain(further).chain(of_ports) {
            if let Some(address) = canonical(text) {
                *text = address.to_string();
            }
        }
        if instance.node.is_empty() {
            return Err(Status::invalid_argument("instance.node is empty: write it"));
        }
        let registered = match self.claim_and_register(&instance).await {
            Ok(registered) => registered,
            Err(refused) => {
                self.tell_refusal(&instance, refused.message());
                return Err(refused);
            }
        };
        self.control.refusals().remove(&instance);
        let (node, encoded) = (instance.node.clone(), instance.encode_to_vec());
        self.instance = Some(instance);
        let change = Change::Register { node, instance: encoded };
        if let Err(rejection) = self.control.ledger().journal(change).await {
            // It serves all the same: only a restart of the control plane would make it register again.
            tracing::error!(error = %rejection, "a registration could not be journalled");
        }
        Ok(register_response::Message::Registered(registered))
    }

    async fn claim_and_register(
        &mut self,
        instance: &v1::Instance,
    ) -> Result<v1::Registered, Status> {
        self.holder
            .may_register(instance, &self.control.hub())
            .map_err(|problem| Status::permission_denied(format!("instance.{problem}")))?;
        if let Some(before) = self.instance.take_if(|before| before.node != instance.node) {
            self.control.leases().closed(&before.node, self.id, Instant::now());
        }
        let of_sidecar = leases::addresses_of(instance)
            .into_iter()
            .map(|it| ("address", it, "advertise where the application's sidecar listens for it"));
        let of_ports = leases::called_past_the_sidecar(instance)
            .into_iter()
            .map(|it| ("further_ports", it, "say where the application itself listens"));
        for (field, address, remedy) in of_sidecar.chain(of_ports) {
            if let Some(whose) = self.control.listener_at(address) {
                let text = format!("instance.{field}: `{address}`: is {whose}: {remedy}");
                return Err(Status::invalid_argument(text));
            }
        }
        let claimed = self.control.leases().claim(
            instance,
            self.id,
            !self.holder.is_of_mesh(),
            Instant::now(),
        );
        for mistaken in claimed.map_err(Status::already_exists)? {
            tracing::warn!(
                node = %mistaken,
                address = instance.address,
                application = instance.application,
                "taken out: its application is another instance's sidecar"
            );
            self.registrations.deregister(&mistaken).await;
        }
        // From here on the lease is given back when the stream ends, whatever the registry says.
        self.instance.get_or_insert_with(|| instance.clone());
        self.registrations
            .register(instance.clone())
            .await
            .map_err(|problem| Status::invalid_argument(format!("instance.{problem}")))
    }

    fn tell_refusal(&self, instance: &v1::Instance, reason: &str) {
        if self.control.refusals().add(instance, reason, Instant::now()) {
            let v1::Instance { node, application, service, tag, address, .. } = instance;
            tracing::warn!(
                node,
                application,
                service,
                tag,
                address,
                reason,
                "a registration is refused"
            );
        }
    }

    /// What a token let in goes with it: the registry might keep it although it is not heard. One whose certificate has ended
    /// may come back as what it was.
    async fn shut_out(&self, ended: &Ended) -> Status {
        if *ended == Ended::Revoked
            && let Some(instance) = &self.instance
            && self.check_holds(&instance.node).is_ok()
        {
            self.deregister(instance).await;
        }
        ended.status()
    }

    /// Only who holds the lease speaks for an instance.
    fn check_holds(&self, node: &str) -> Result<(), Status> {
        match self.control.leases().heard(node, self.id, Instant::now()) {
            true => Ok(()),
            false => Err(Status::aborted(format!("another stream has registered node {node}"))),
        }
    }

    async fn deregister(&self, instance: &v1::Instance) {
        self.registrations.deregister(&instance.node).await;
        self.control.leases().release(&instance.node, self.id, Instant::now());
        let change = Change::Deregister { node: instance.node.clone() };
        if let Err(rejection) = self.control.ledger().journal(change).await {
            tracing::error!(error = %rejection, "a deregistration could not be journalled");
        }
        let Ok(address) = instance.address.parse::<SocketAddr>() else { return };
        let told = self.control.until(|hub| hub.nobody_calls(address));
        if tokio::time::timeout(DEREGISTRATION_WAIT, told).await.is_err() {
            tracing::warn!(
                node = instance.node,
                application = instance.application,
                tag = instance.tag,
                address = instance.address,
                "not every data plane knows yet that it deregistered"
            );
        }
    }
}

impl<R> Drop for RegistrationStream<R> {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            self.control.leases().closed(&instance.node, self.id, Instant::now());
            self.control.nudge();
        }
    }
}
