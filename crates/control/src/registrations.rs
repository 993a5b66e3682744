//! Registrations of sidecars: from their streams into the journal, and to whoever keeps the registry.
//!
//! The end of a stream is no deregistration: a sidecar that crashed, or lost its network, is removed by the
//! registry when its heartbeats stop. The journal keeps what was acknowledged, so that a restarted control plane
//! begins with the instances it had.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use api::discovery::v1::{self, register_request, register_response};
use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::{Status, Streaming};

use crate::{Control, store::Change};

/// How long a deregistration waits until the data planes that may call the instance have been told. Theirs is a
/// round trip; one that does not answer must not keep a sidecar from stopping.
const DEREGISTRATION_WAIT: Duration = Duration::from_secs(1);

/// A registration whose node has been away for this long leaves the journal: its instance expired in the
/// registry long before (after 6 s).
pub(crate) const JOURNAL_KEPT: Duration = Duration::from_secs(60);

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

/// Which journalled registrations have nobody who keeps them alive, and since when.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    streams: HashMap<String, usize>,
    alone_since: HashMap<String, Instant>,
}

impl Journal {
    /// Registrations of before a restart: nobody keeps them alive yet.
    pub(crate) fn restored<'a>(nodes: impl Iterator<Item = &'a str>, now: Instant) -> Self {
        let alone_since = nodes.map(|node| (node.to_owned(), now)).collect();
        Self { streams: HashMap::new(), alone_since }
    }

    fn opened(&mut self, node: &str) {
        *self.streams.entry(node.to_owned()).or_default() += 1;
        self.alone_since.remove(node);
    }

    fn closed(&mut self, node: &str, now: Instant) {
        let Some(streams) = self.streams.get_mut(node) else { return };
        *streams -= 1;
        if *streams == 0 {
            self.streams.remove(node);
            self.alone_since.insert(node.to_owned(), now);
        }
    }

    /// Takes the nodes that have been alone for too long; says when the next one is due.
    pub(crate) fn take_expired(&mut self, now: Instant) -> (Vec<String>, Option<Instant>) {
        let expired: Vec<String> = (self.alone_since.iter())
            .filter(|(_, since)| **since + JOURNAL_KEPT <= now)
            .map(|(node, _)| node.clone())
            .collect();
        for node in &expired {
            self.alone_since.remove(node);
        }
        (expired, self.alone_since.values().min().map(|since| *since + JOURNAL_KEPT))
    }
}

/// Answers one sidecar's stream of registrations.
pub(crate) fn serve<R: Registrations>(
    control: Arc<Control>,
    registrations: Arc<R>,
    mut incoming: Streaming<v1::RegisterRequest>,
) -> impl Stream<Item = Result<v1::RegisterResponse, Status>> + Send {
    async_stream::stream! {
        let mut stream = RegistrationStream { control, registrations, instance: None };
        let mut closing = stream.control.closing();
        loop {
            let request = tokio::select! {
                request = incoming.next() => request,
                _ = closing.wait_for(|closing| *closing) => break,
            };
            let Some(Ok(request)) = request else { break };
            match stream.answer(request).await {
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
                self.control.check_join_token(&request.join_token)?;
                self.register(instance).await.map(Some)
            }
            (_, None) => Err(Status::invalid_argument("the first message must be `instance`")),
            (Message::Heartbeat(heartbeat), Some(instance)) => {
                let known = self.registrations.heartbeat(&instance.node, heartbeat.healthy).await;
                Ok((!known).then_some(register_response::Message::Unknown(v1::Unknown {})))
            }
            (Message::Deregister(_), Some(instance)) => {
                let instance = instance.clone();
                self.deregister(&instance).await;
                Ok(Some(register_response::Message::Deregistered(v1::Deregistered {})))
            }
        }
    }

    async fn register(
        &mut self,
        instance: v1::Instance,
    ) -> Result<register_response::Message, Status> {
        if instance.node.is_empty() {
            return Err(Status::invalid_argument("instance.node is empty: write it"));
        }
        let registered = self
            .registrations
            .register(instance.clone())
            .await
            .map_err(|problem| Status::invalid_argument(format!("instance.{problem}")))?;
        let (node, encoded) = (instance.node.clone(), instance.encode_to_vec());
        if self.instance.as_ref().is_none_or(|before| before.node != node) {
            self.close();
            self.control.journal().opened(&node);
        }
        self.instance = Some(instance);
        let change = Change::Register { node, instance: encoded };
        if let Err(rejection) = self.control.ledger().journal(change).await {
            // It serves all the same: only a restart of the control plane would make it register again.
            tracing::error!(error = %rejection, "a registration could not be journalled");
        }
        Ok(register_response::Message::Registered(registered))
    }

    async fn deregister(&self, instance: &v1::Instance) {
        self.registrations.deregister(&instance.node).await;
        let change = Change::Deregister { node: instance.node.clone() };
        if let Err(rejection) = self.control.ledger().journal(change).await {
            tracing::error!(error = %rejection, "a deregistration could not be journalled");
        }
        let Ok(address) = instance.address.parse::<SocketAddr>() else { return };
        let told = self.control.until(|hub| hub.nobody_calls(address));
        if tokio::time::timeout(DEREGISTRATION_WAIT, told).await.is_err() {
            tracing::warn!(
                node = instance.node,
                "not every data plane knows yet that it deregistered"
            );
        }
    }

    fn close(&self) {
        if let Some(instance) = &self.instance {
            self.control.journal().closed(&instance.node, Instant::now());
        }
    }
}

impl<R> Drop for RegistrationStream<R> {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            self.control.journal().closed(&instance.node, Instant::now());
            self.control.nudge();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_leaves_the_journal_when_nobody_kept_it_alive_for_a_minute() {
        let start = Instant::now();
        let mut journal = Journal::restored(["lost", "back"].into_iter(), start);
        journal.opened("back");
        journal.opened("new");
        let early = start + JOURNAL_KEPT - Duration::from_millis(1);
        assert_eq!(journal.take_expired(early), (Vec::new(), Some(start + JOURNAL_KEPT)));
        let due = start + JOURNAL_KEPT;
        assert_eq!(journal.take_expired(due), (vec!["lost".to_owned()], None));
        // Two streams of one node, as when it reconnects before its old stream is known to be dead.
        journal.opened("new");
        journal.closed("new", due);
        assert_eq!(journal.take_expired(due + JOURNAL_KEPT), (Vec::new(), None));
        journal.closed("new", due);
        assert_eq!(journal.take_expired(due + JOURNAL_KEPT), (vec!["new".to_owned()], None));
    }
}
