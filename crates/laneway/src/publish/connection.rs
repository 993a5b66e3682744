//! The stream to the control plane, and what is said first on it.

use std::time::Duration;

use api::discovery::v1::{self, data_plane_message::Message};
use tokio::sync::mpsc;
use tonic::{Streaming, transport::Endpoint};

use super::Identity;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A silent connection is asked for a sign of life this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Messages to the control plane that may wait for the connection; a handful per change.
const OUTGOING_MAX: usize = 256;

/// A discovery message may carry everything a gateway needs at its start: 1 000 services of 100 instances take
/// about 5 MB.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One connection: what is received and what is sent.
pub(super) struct Connection {
    pub(super) incoming: Streaming<v1::ControlMessage>,
    outgoing: mpsc::Sender<v1::DataPlaneMessage>,
    /// For what is applied but not published yet.
    pub(super) unsent_acks: Vec<v1::Ack>,
}

impl Connection {
    pub(super) async fn send(&self, message: Message) -> Result<(), ()> {
        let message = v1::DataPlaneMessage { message: Some(message) };
        self.outgoing.send(message).await.map_err(drop)
    }
}

/// Connects, says hello and subscribes. The error is for people.
pub(super) async fn open(
    identity: Identity,
    held: Vec<v1::Held>,
    subscribe: v1::Subscribe,
) -> Result<Connection, String> {
    let channel = endpoint(&identity.control)?.connect().await.map_err(|error| chain(&error))?;
    let mut client = v1::discovery_client::DiscoveryClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
    let connection_messages =
        [Message::Hello(v1::Hello { held, ..identity.hello }), Message::Subscribe(subscribe)];
    for message in connection_messages {
        // Cannot fail: the queue is empty and its reader is here.
        let _ = outgoing.try_send(v1::DataPlaneMessage { message: Some(message) });
    }
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, client.stream(messages)).await;
    let response = opened
        .map_err(|_| format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))?
        .map_err(|status| status_words(&status))?;
    Ok(Connection { incoming: response.into_inner(), outgoing, unsent_acks: Vec::new() })
}

/// A connection to a control plane that notices when the other side is gone.
pub(crate) fn endpoint(control: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{control}"))
        .map_err(|error| format!("`{control}` is no address: {error}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// What the other side says went wrong.
pub(crate) fn status_words(status: &tonic::Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
