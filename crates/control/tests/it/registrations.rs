//! Registrations: what the registry is told, and what a restart remembers.

use api::discovery::v1::{
    self, discovery_client::DiscoveryClient, register_request, register_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::harness::{PATIENCE, Plane, id, service, sidecar};

/// A sidecar's stream of registrations.
struct Registering {
    sender: mpsc::Sender<v1::RegisterRequest>,
    receiver: Streaming<v1::RegisterResponse>,
}

impl Registering {
    async fn start(plane: &Plane, instance: v1::Instance) -> Result<Self, tonic::Status> {
        let server = format!("http://{}", plane.discovery);
        let channel = tonic::transport::Endpoint::from_shared(server).unwrap();
        let mut client = DiscoveryClient::new(channel.connect().await.unwrap());
        let (sender, outgoing) = mpsc::channel(16);
        let request = register_request::Message::Instance(instance);
        sender
            .send(v1::RegisterRequest { message: Some(request), ..Default::default() })
            .await
            .unwrap();
        let receiver = client.register(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { sender, receiver })
    }

    async fn say(&self, message: register_request::Message) {
        let request = v1::RegisterRequest { message: Some(message), ..Default::default() };
        self.sender.send(request).await.unwrap();
    }

    async fn hear(&mut self) -> Result<register_response::Message, tonic::Status> {
        let answer = tokio::time::timeout(PATIENCE, self.receiver.message()).await.unwrap()?;
        Ok(answer.unwrap().message.unwrap())
    }
}

fn instance(node: &str) -> v1::Instance {
    v1::Instance {
        node: node.to_owned(),
        application: "app-a".to_owned(),
        service: "sc-a".to_owned(),
        address: "127.0.0.1:15006".to_owned(),
        healthy: true,
        ..v1::Instance::default()
    }
}

fn calls(plane: &Plane) -> Vec<String> {
    plane.registry.calls.lock().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_registration_survives_a_restart_and_a_deregistered_one_does_not() {
    let plane = Plane::start().await;
    let mut stays = Registering::start(&plane, instance("stays")).await.unwrap();
    let registered = stays.hear().await.unwrap();
    let expected = v1::Registered { heartbeat_ms: 2000, expiry_ms: 6000 };
    assert_eq!(registered, register_response::Message::Registered(expected));
    let mut leaves = Registering::start(&plane, instance("leaves")).await.unwrap();
    leaves.hear().await.unwrap();
    leaves.say(register_request::Message::Deregister(v1::Deregister {})).await;
    let answer = leaves.hear().await.unwrap();
    assert_eq!(answer, register_response::Message::Deregistered(v1::Deregistered {}));
    // The end of a stream is no deregistration.
    drop(stays);
    assert_eq!(calls(&plane), ["register stays", "register leaves", "deregister leaves"]);

    let plane = plane.restart().await;
    assert_eq!(calls(&plane), ["restore stays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_of_an_unknown_node_is_asked_to_register_again() {
    let plane = Plane::start().await;
    let mut sidecar = Registering::start(&plane, instance("node")).await.unwrap();
    sidecar.hear().await.unwrap();
    *plane.registry.known.lock() = false;
    sidecar.say(register_request::Message::Heartbeat(v1::Heartbeat { healthy: true })).await;
    assert_eq!(sidecar.hear().await.unwrap(), register_response::Message::Unknown(v1::Unknown {}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_registration_is_refused_by_field_and_not_remembered() {
    let plane = Plane::start().await;
    let wrong = v1::Instance { address: "nowhere".to_owned(), ..instance("node") };
    let mut sidecar = Registering::start(&plane, wrong).await.unwrap();
    let status = sidecar.hear().await.unwrap_err();
    assert!(status.message().contains("instance.address: `nowhere`"), "{status}");
    let plane = plane.restart().await;
    assert_eq!(calls(&plane), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deregistration_is_answered_when_callers_know() {
    let plane = Plane::start().await;
    plane.serve(&[service("sc-a", "app-a", &["15006"])]);
    let mut caller = plane.connect(sidecar("caller", "app-x")).await;
    caller.subscribe(&["sc-a"], &[]).await;
    caller.until(|it| it.endpoints("sc-a").is_some()).await;
    let mut leaving = Registering::start(&plane, instance("leaving")).await.unwrap();
    leaving.hear().await.unwrap();
    leaving.say(register_request::Message::Deregister(v1::Deregister {})).await;
    while !calls(&plane).contains(&"deregister leaving".to_owned()) {
        tokio::task::yield_now().await;
    }
    // What the registry does next, and then what the caller does.
    plane.control.update_services("embedded", vec![(id("sc-a"), None)]);
    let told = caller.receive().await;
    assert_eq!(caller.endpoints("sc-a").unwrap(), [""; 0]);
    caller.acknowledge(&told).await;
    let answer = leaving.hear().await.unwrap();
    assert_eq!(answer, register_response::Message::Deregistered(v1::Deregistered {}));
}
