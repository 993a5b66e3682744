//! A control plane on loopback that says what a test tells it to, and hands over what it is told.

use std::{net::SocketAddr, time::Duration};

use api::discovery::{
    EncodedControlMessage,
    v1::{
        self,
        discovery_server::{Discovery, DiscoveryServer},
    },
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long a test waits for what must happen. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when something does not come in time.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A served control plane.
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    registering: mpsc::Receiver<Registering>,
}

/// One side of a conversation: dropped, it ends as when a control plane goes away.
pub(crate) struct Conversation<Heard, Said> {
    heard: Streaming<Heard>,
    say: mpsc::Sender<Result<Said, Status>>,
}

pub(crate) type Stream = Conversation<v1::DataPlaneMessage, EncodedControlMessage>;
pub(crate) type Registering = Conversation<v1::RegisterRequest, v1::RegisterResponse>;

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream_sender, streams) = mpsc::channel(8);
        let (registering_sender, registering) = mpsc::channel(8);
        let service = DiscoveryServer::new(Service { stream_sender, registering_sender });
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, streams, registering }
    }

    pub(crate) async fn next_stream(&mut self) -> Stream {
        soon("a data plane", self.streams.recv()).await.unwrap()
    }

    pub(crate) async fn next_registering(&mut self) -> Registering {
        soon("a registration", self.registering.recv()).await.unwrap()
    }

    pub(crate) fn nobody_has_registered(&mut self) -> bool {
        self.registering.try_recv().is_err()
    }
}

impl<Heard, Said> Conversation<Heard, Said> {
    pub(crate) async fn say(&self, said: Said) {
        self.say.send(Ok(said)).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        soon("a message", self.heard.message()).await.unwrap().expect("the stream goes on")
    }
}

impl Stream {
    pub(crate) async fn tell(&self, message: v1::ControlMessage) {
        self.say(EncodedControlMessage::decode(&*message.encode_to_vec()).unwrap()).await;
    }

    pub(crate) async fn hears(&mut self) -> v1::data_plane_message::Message {
        self.hear().await.message.unwrap()
    }

    /// What is said first: who it is, and what it asks for.
    pub(crate) async fn greeting(&mut self) -> (v1::Hello, v1::Subscribe) {
        use v1::data_plane_message::Message;
        match (self.hears().await, self.hears().await) {
            (Message::Hello(hello), Message::Subscribe(subscribe)) => (hello, subscribe),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn acknowledgement(&mut self) -> v1::Ack {
        match self.hears().await {
            v1::data_plane_message::Message::Ack(ack) => ack,
            other => panic!("{other:?} is no acknowledgement"),
        }
    }
}

struct Service {
    stream_sender: mpsc::Sender<Stream>,
    registering_sender: mpsc::Sender<Registering>,
}

#[tonic::async_trait]
impl Discovery for Service {
    type StreamStream = ReceiverStream<Result<EncodedControlMessage, Status>>;
    type RegisterStream = ReceiverStream<Result<v1::RegisterResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::DataPlaneMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        converse(request, &self.stream_sender).await
    }

    async fn register(
        &self,
        request: Request<Streaming<v1::RegisterRequest>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        converse(request, &self.registering_sender).await
    }

    async fn certify(
        &self,
        _: Request<v1::CertifyRequest>,
    ) -> Result<Response<v1::CertifyResponse>, Status> {
        Err(Status::failed_precondition("in TLS alone"))
    }
}

async fn converse<Heard, Said>(
    request: Request<Streaming<Heard>>,
    conversations: &mpsc::Sender<Conversation<Heard, Said>>,
) -> Result<Response<ReceiverStream<Result<Said, Status>>>, Status> {
    let (say, said) = mpsc::channel(8);
    let conversation = Conversation { heard: request.into_inner(), say };
    // A test that is over hears nothing.
    let _ = conversations.send(conversation).await;
    Ok(Response::new(ReceiverStream::new(said)))
}
