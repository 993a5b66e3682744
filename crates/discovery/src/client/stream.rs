//! The stream to the control plane, and what is said first on it.

use std::time::Duration;

use api::discovery::{
    EncodedControlMessage,
    v1::{self, data_plane_message::Message, discovery_client::DiscoveryClient},
};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::{
    connection::{CONNECT_TIMEOUT, ConnectionError},
    credentials::{Connected, Credentials, Shown},
};

/// Messages to the control plane that may wait for the connection; a handful per change.
const OUTGOING_MAX: usize = 256;

/// A discovery message may carry everything a gateway needs at its start: 1 000 services of 100 instances take
/// about 5 MB.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long an orderly end waits until the control plane has closed the stream: a round trip, and no supervisor's
/// patience.
const GOODBYE_WAIT: Duration = Duration::from_millis(500);

/// One stream: what is received and what is sent.
pub(super) struct Stream {
    incoming: Streaming<EncodedControlMessage>,
    outgoing: mpsc::Sender<v1::DataPlaneMessage>,
    shown: Shown,
    /// For what is applied but not published yet.
    pub(super) unsent_acks: Vec<v1::Ack>,
}

impl Stream {
    /// Connects, says hello and subscribes.
    pub(super) async fn open(
        credentials: Credentials,
        mut hello: v1::Hello,
        subscribe: v1::Subscribe,
    ) -> Result<Self, ConnectionError> {
        let Connected { channel, join_token, shown } = credentials.connect().await?;
        hello.join_token = join_token;
        let mut client = DiscoveryClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        for message in [Message::Hello(hello), Message::Subscribe(subscribe)] {
            // Cannot fail: the queue is empty and its reader is here.
            let _ = outgoing.try_send(v1::DataPlaneMessage { message: Some(message) });
        }
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        let response = tokio::time::timeout(CONNECT_TIMEOUT, client.stream(messages))
            .await
            .map_err(|_| ConnectionError::NoAnswer)?
            .map_err(|status| shown.refused(status))?;
        Ok(Self { incoming: response.into_inner(), outgoing, shown, unsent_acks: Vec::new() })
    }

    /// Waits for the next message.
    pub(super) async fn next(&mut self) -> Result<EncodedControlMessage, ConnectionError> {
        let message = self.incoming.message().await;
        message.map_err(|status| self.shown.refused(status))?.ok_or(ConnectionError::Closed)
    }

    /// The next message, if it is here already. What ends the stream is seen again by [`Self::next`].
    pub(super) fn next_now(&mut self) -> Option<EncodedControlMessage> {
        self.next().now_or_never().and_then(Result::ok)
    }

    /// Says goodbye and waits until that is heard, but not for long.
    pub(super) async fn take_leave(self) {
        let Self { mut incoming, outgoing, .. } = self;
        let message = Some(Message::Goodbye(v1::Goodbye {}));
        let said = outgoing.try_send(v1::DataPlaneMessage { message });
        drop(outgoing);
        if said.is_ok() {
            let closed = async { while let Ok(Some(_)) = incoming.message().await {} };
            let _ = tokio::time::timeout(GOODBYE_WAIT, closed).await;
        }
    }

    /// Sends what may be left out: only where it need not wait. Whether it was sent.
    pub(super) fn send_now(&self, message: Message) -> bool {
        self.outgoing.try_send(v1::DataPlaneMessage { message: Some(message) }).is_ok()
    }

    /// Whether what is sent now need not wait.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.capacity() > 0
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), ConnectionError> {
        let message = v1::DataPlaneMessage { message: Some(message) };
        self.outgoing.send(message).await.map_err(|_| ConnectionError::Closed)
    }
}
