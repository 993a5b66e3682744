//! A control plane in a folder of its own, served on loopback, and data planes that talk to it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use api::{
    discovery::{
        EncodedControlMessage,
        v1::{self, data_plane_message, discovery_client::DiscoveryClient, resource::Body},
    },
    resource::Object,
};
use control::{
    Arrived, Caller, Control, Done, Edit, Precondition, Registrations, Rejection, Settings,
    Standing, Transaction, Whose,
};
use lanes::{
    Endpoint, Service, ServiceId, Tag,
    service::{Health, Port},
};
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Streaming, service::interceptor::InterceptedService};

/// How long a test waits for what must happen. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A registry that remembers what it is told.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) known: Mutex<bool>,
}

impl Registry {
    fn note(&self, call: String) {
        self.calls.lock().push(call);
    }
}

impl Registrations for Registry {
    fn restore(&self, instances: Vec<v1::Instance>) {
        for instance in instances {
            self.note(format!("restore {}", instance.node));
        }
    }

    async fn register(&self, instance: v1::Instance) -> Result<v1::Registered, lanes::Problem> {
        if instance.address.parse::<SocketAddr>().is_err() {
            return Err(lanes::Problem::new("address", instance.address, "write IP:PORT"));
        }
        self.note(format!("register {}", instance.node));
        *self.known.lock() = true;
        Ok(v1::Registered { heartbeat_ms: 2000, expiry_ms: 6000 })
    }

    async fn heartbeat(&self, _: &str, _: bool) -> bool {
        *self.known.lock()
    }

    async fn deregister(&self, node: &str) {
        self.note(format!("deregister {node}"));
    }
}

/// A served control plane.
pub(crate) struct Plane {
    pub(crate) control: Arc<Control>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) discovery: SocketAddr,
    pub(crate) directory: Arc<tempfile::TempDir>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), None).await
    }

    pub(crate) async fn start_in(
        directory: Arc<tempfile::TempDir>,
        join_token: Option<&str>,
    ) -> Self {
        Self::start_with(directory, join_token, |_| {}).await
    }

    /// The same, where whoever connects is somebody's.
    pub(crate) async fn start_among(
        directory: Arc<tempfile::TempDir>,
        join_token: Option<&str>,
        whose: fn(SocketAddr, SocketAddr) -> Whose,
    ) -> Self {
        Self::start_with(directory, join_token, |settings| settings.whose = whose).await
    }

    /// The same, with whatever settings are changed.
    pub(crate) async fn start_with(
        directory: Arc<tempfile::TempDir>,
        join_token: Option<&str>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings {
            database: directory.path().join("laneway.db"),
            gateway_port: 8000,
            join_token: join_token.map(str::to_owned),
            key_file: None,
            prometheus: None,
            own_listeners: vec![("API", "127.0.0.1:7600".parse().unwrap())],
            certificate_life: Duration::from_secs(600),
            whose: |_, _| Whose::Ours,
        };
        change(&mut settings);
        let control = Control::open(settings).await.unwrap();
        let registry = Arc::new(Registry::default());
        let service = control.discovery(Arc::clone(&registry));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let discovery = listener.local_addr().unwrap();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { control, registry, discovery, directory }
    }

    /// A connection that came in otherwise than it did.
    pub(crate) async fn channel_as(&self, arrived: Arrived) -> tonic::transport::Channel {
        let service = self.control.discovery(Arc::clone(&self.registry));
        let service = InterceptedService::new(service, move |mut request: tonic::Request<()>| {
            request.extensions_mut().insert(arrived.clone());
            Ok(request)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let to = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        to.connect().await.unwrap()
    }

    /// As after a crash of the process: nothing is told to anybody, the store is opened again.
    pub(crate) async fn restart(self) -> Self {
        let directory = Arc::clone(&self.directory);
        self.control.close();
        drop(self);
        Self::start_in(directory, None).await
    }

    /// Starts it again with one row of its store written over.
    pub(crate) async fn restart_after(self, written_over: &str) -> Self {
        self.control.stop().await;
        let raw = rusqlite::Connection::open(self.directory.path().join("laneway.db")).unwrap();
        assert_eq!(raw.execute(written_over, []).unwrap(), 1);
        drop(raw);
        self.restart().await
    }

    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<Done, Rejection> {
        let put = |value: &Value| Edit::Put {
            object: Box::new(Object::from_value(value.clone()).unwrap()),
            precondition: Precondition::None,
        };
        let edits = objects.iter().map(put).collect();
        self.control.transact(Transaction { edits, ..Transaction::default() }).await
    }

    /// Services of the embedded registry, each with one untagged endpoint per address.
    pub(crate) fn serve(&self, services: &[Service]) {
        let changes = services
            .iter()
            .map(|service| (service.id().clone(), Some(Arc::new(service.clone()))))
            .collect();
        self.control.update_services("embedded", changes);
        self.control.source_stands("embedded", Standing::Synced);
    }

    /// Serves REST to whoever may do everything, and says where.
    pub(crate) async fn rest(&self) -> SocketAddr {
        self.rest_for(Caller::machine("a test")).await
    }

    /// Serves REST to a caller, and says where.
    pub(crate) async fn rest_for(&self, caller: Caller) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.control.rest().layer(axum::Extension(caller));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Waits until no lane is held back any more.
    pub(crate) async fn admitted(&self) {
        let admitted = async {
            while self.control.holds_lanes_back() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, admitted).await.unwrap();
    }

    pub(crate) async fn connect(&self, hello: v1::Hello) -> DataPlane {
        DataPlane::connect(self.discovery, hello).await.unwrap()
    }
}

pub(crate) fn id(name: &str) -> ServiceId {
    ServiceId::new("embedded", "default", "", name)
}

/// A service with endpoints written `PORT` or `PORT=TAG`, all on 127.0.0.1.
pub(crate) fn service(name: &str, application: &str, endpoints: &[&str]) -> Service {
    let endpoint = |text: &&str| {
        let (port, tag) = text.split_once('=').unwrap_or((text, ""));
        Endpoint {
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            application_address: None,
            further: None,
            tag: Tag::parse(tag).unwrap(),
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        }
    };
    Service::new(id(name), name, application, endpoints.iter().map(endpoint).collect())
}

pub(crate) fn gateway(node: &str) -> v1::Hello {
    v1::Hello {
        node: node.to_owned(),
        role: v1::Role::Gateway.into(),
        name: "edge".to_owned(),
        ..v1::Hello::default()
    }
}

pub(crate) fn sidecar(node: &str, application: &str) -> v1::Hello {
    v1::Hello {
        node: node.to_owned(),
        role: v1::Role::Sidecar.into(),
        name: application.to_owned(),
        ..v1::Hello::default()
    }
}

pub(crate) fn group(name: &str, applications: &[&str]) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": name},
        "spec": {"entrances": [{"gateway": "edge"}], "applications": applications},
    })
}

pub(crate) fn lane(group: &str, tag: &str) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": format!("{group}-{tag}")},
        "spec": {"group": group, "tag": tag, "entry": {"content": {"conditions": [
            {"header": "canary", "operator": "==", "value": tag},
        ]}}},
    })
}

pub(crate) fn backend(name: &str, service: &str) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Backend", "metadata": {"name": name},
        "spec": {"source": "embedded", "service": service},
    })
}

pub(crate) fn route(name: &str, prefix: &str, backend: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
            "backendRefs": [{"group": "laneway.io", "kind": "Backend", "name": backend}],
        }]},
    })
}

/// A data plane that keeps what it is sent.
pub(crate) struct DataPlane {
    pub(crate) held: BTreeMap<String, v1::Resource>,
    /// Every message, in order.
    pub(crate) messages: Vec<v1::ControlMessage>,
    sender: mpsc::Sender<v1::DataPlaneMessage>,
    receiver: Streaming<EncodedControlMessage>,
}

impl DataPlane {
    pub(crate) async fn connect(to: SocketAddr, hello: v1::Hello) -> Result<Self, tonic::Status> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{to}")).unwrap();
        Self::connect_over(channel.connect().await.unwrap(), hello).await
    }

    /// Over a connection that others use too.
    pub(crate) async fn connect_over(
        channel: tonic::transport::Channel,
        hello: v1::Hello,
    ) -> Result<Self, tonic::Status> {
        let mut client = DiscoveryClient::new(channel);
        let (sender, outgoing) = mpsc::channel(16);
        let hello =
            v1::DataPlaneMessage { message: Some(data_plane_message::Message::Hello(hello)) };
        sender.send(hello).await.unwrap();
        let receiver = client.stream(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { held: BTreeMap::new(), messages: Vec::new(), sender, receiver })
    }

    pub(crate) async fn say(&self, message: data_plane_message::Message) {
        self.sender.send(v1::DataPlaneMessage { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, names: &[&str], addresses: &[&str]) {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        self.say(data_plane_message::Message::Subscribe(v1::Subscribe {
            names: texts(names),
            addresses: texts(addresses),
            ..v1::Subscribe::default()
        }))
        .await;
    }

    pub(crate) async fn acknowledge(&self, message: &v1::ControlMessage) {
        self.say(data_plane_message::Message::Ack(v1::Ack {
            generation: message.generation.clone(),
            refused: Vec::new(),
        }))
        .await;
    }

    /// The next message, applied but not acknowledged.
    pub(crate) async fn receive(&mut self) -> v1::ControlMessage {
        let message = tokio::time::timeout(PATIENCE, self.receiver.message())
            .await
            .expect("a message within the patience of the test")
            .unwrap()
            .expect("the stream goes on");
        self.take(decoded(&message))
    }

    fn take(&mut self, message: v1::ControlMessage) -> v1::ControlMessage {
        for resource in &message.upserts {
            self.held.insert(resource.key.clone(), resource.clone());
        }
        for key in &message.removals {
            self.held.remove(key);
        }
        self.messages.push(message.clone());
        message
    }

    /// The next message, however long it takes; not applied.
    pub(crate) async fn receive_for_ever(&mut self) -> v1::ControlMessage {
        match self.receiver.message().await {
            Ok(Some(message)) => decoded(&message),
            _ => std::future::pending().await,
        }
    }

    /// Why the stream ended.
    pub(crate) async fn ended(&mut self) -> tonic::Status {
        loop {
            match self.receiver.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return tonic::Status::ok("the stream ended in order"),
                Err(status) => return status,
            }
        }
    }

    /// Receives and acknowledges until something holds.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let message = self.receive().await;
            self.acknowledge(&message).await;
        }
    }

    /// Whether the last message removed a resource.
    pub(crate) fn has_lost(&self, key: &str) -> bool {
        self.messages.last().is_some_and(|it| it.removals.iter().any(|removed| removed == key))
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.held.keys().map(String::as_str).collect()
    }

    pub(crate) fn group(&self, name: &str) -> Option<&v1::Group> {
        match self.held.get(&format!("group/{name}"))?.body.as_ref()? {
            Body::Group(group) => Some(group),
            _ => None,
        }
    }

    pub(crate) fn endpoints(&self, service: &str) -> Option<Vec<String>> {
        match self.held.get(&format!("service/{}", id(service)))?.body.as_ref()? {
            Body::Service(service) => {
                Some(service.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect())
            }
            _ => None,
        }
    }
}

fn decoded(message: &EncodedControlMessage) -> v1::ControlMessage {
    v1::ControlMessage::decode(&*message.encode_to_vec()).unwrap()
}

/// One plain request on a connection of its own: status and body.
pub(crate) async fn call(to: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    call_with(to, method, path, "application/json", body).await
}

/// The same, with a media type.
pub(crate) async fn call_with(
    to: SocketAddr,
    method: &str,
    path: &str,
    media_type: &str,
    body: &str,
) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
