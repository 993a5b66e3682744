//! Registrations: what the registry is told, and what a restart remembers.

use std::sync::Arc;

use api::discovery::v1::{
    self, data_plane_message, discovery_client::DiscoveryClient, register_request,
    register_response,
};
use lanes::{
    Endpoint, Service, ServiceId,
    directory::digest,
    service::{Health, Port},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::harness::{DataPlane, PATIENCE, Plane, call, id, service, sidecar};

/// A sidecar's stream of registrations.
pub(crate) struct Registering {
    sender: mpsc::Sender<v1::RegisterRequest>,
    receiver: Streaming<v1::RegisterResponse>,
}

impl Registering {
    async fn start(plane: &Plane, instance: v1::Instance) -> Result<Self, tonic::Status> {
        Self::with_token(plane, instance, "").await
    }

    pub(crate) async fn with_token(
        plane: &Plane,
        instance: v1::Instance,
        join_token: &str,
    ) -> Result<Self, tonic::Status> {
        let join_token = join_token.to_owned();
        let server = format!("http://{}", plane.discovery);
        let channel = tonic::transport::Endpoint::from_shared(server).unwrap();
        let mut client = DiscoveryClient::new(channel.connect().await.unwrap());
        let (sender, outgoing) = mpsc::channel(16);
        let request = register_request::Message::Instance(instance);
        sender.send(v1::RegisterRequest { message: Some(request), join_token }).await.unwrap();
        let receiver = client.register(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { sender, receiver })
    }

    async fn say(&self, message: register_request::Message) {
        let request = v1::RegisterRequest { message: Some(message), ..Default::default() };
        self.sender.send(request).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Result<register_response::Message, tonic::Status> {
        let answer = tokio::time::timeout(PATIENCE, self.receiver.message()).await.unwrap()?;
        Ok(answer.unwrap().message.unwrap())
    }
}

/// An instance with an address of its own.
pub(crate) fn instance(node: &str) -> v1::Instance {
    let host = node.bytes().fold(1u8, |sum, byte| sum.wrapping_mul(3).wrapping_add(byte));
    v1::Instance {
        node: node.to_owned(),
        process: format!("{node}-1"),
        application: "app-a".to_owned(),
        service: "sc-a".to_owned(),
        address: format!("127.0.0.{host}:15006"),
        healthy: true,
        ..v1::Instance::default()
    }
}

pub(crate) fn calls(plane: &Plane) -> Vec<String> {
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
    let at_its_endpoint =
        v1::Instance { address: "127.0.0.1:15006".to_owned(), ..instance("leaving") };
    let mut leaving = Registering::start(&plane, at_its_endpoint).await.unwrap();
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

/// Says something that only the holder of a lease may say.
async fn is_not_heard(sidecar: &mut Registering, message: register_request::Message) {
    sidecar.say(message).await;
    assert_eq!(sidecar.hear().await.unwrap_err().code(), tonic::Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_for_a_node_or_an_address_is_refused_while_the_first_lives() {
    let plane = Plane::start().await;
    let mut first = Registering::start(&plane, instance("node")).await.unwrap();
    first.hear().await.unwrap();
    let at_its_address =
        v1::Instance { node: "other".to_owned(), process: "q".to_owned(), ..instance("node") };
    let copied_to_another_host = v1::Instance { process: "copy".to_owned(), ..at("127.0.0.9:1") };
    for (wrong, words) in [
        (at_its_address, "is registered by node node, which is alive"),
        (copied_to_another_host, "node node is registered by another process, at 127.0.0."),
    ] {
        let mut second = Registering::start(&plane, wrong).await.unwrap();
        let status = second.hear().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::AlreadyExists);
        assert!(status.message().contains(words), "{status}");
        let (_, answer) = call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await;
        assert!(answer.contains(words), "{answer}");
    }
    // The first does not notice; its own reconnect continues at once, and then the old stream has no say.
    let heartbeat = register_request::Message::Heartbeat(v1::Heartbeat { healthy: true });
    let mut again = Registering::start(&plane, instance("node")).await.unwrap();
    again.hear().await.unwrap();
    is_not_heard(&mut first, heartbeat).await;
    assert_eq!(calls(&plane), ["register node", "register node"], "nobody has deregistered it");
    let goodbye = register_request::Message::Deregister(v1::Deregister {});
    again.say(goodbye.clone()).await;
    again.hear().await.unwrap();
    is_not_heard(&mut again, goodbye).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_laneway_is_no_instances_address() {
    let plane = Plane::start().await;
    let gateway = v1::Hello {
        address: "127.0.0.3:15020".to_owned(),
        listeners: ["127.0.0.3:8000", "0.0.0.0:8001", "[::ffff:127.0.0.3]:8002"]
            .map(str::to_owned)
            .into(),
        ..crate::harness::gateway("g1")
    };
    let mut gateway = plane.connect(gateway).await;
    gateway.receive().await;
    for (address, words) in [
        ("127.0.0.1:7600", "is the control plane's own API listener"),
        ("127.0.0.3:15020", "is a listener of gateway edge, node g1"),
        ("127.0.0.3:8000", "is a listener of gateway edge, node g1"),
        ("127.0.0.1:8001", "is a listener of gateway edge, node g1"),
        ("127.0.0.3:8002", "is a listener of gateway edge, node g1"),
        ("[::ffff:127.0.0.3]:8000", "is a listener of gateway edge, node g1"),
    ] {
        let mut wrong = Registering::start(&plane, at(address)).await.unwrap();
        let status = wrong.hear().await.unwrap_err();
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_an_instance_is_held_and_judged() {
    let plane = Plane::start().await;
    let both = |node: &str, further: &str| v1::Instance {
        further_addresses: vec![further.to_owned()],
        ..instance(node)
    };
    let mut first = Registering::start(&plane, both("node", "[fd00::5]:15006")).await.unwrap();
    first.hear().await.unwrap();
    for (further, words) in [
        ("[fd00::5]:15006", "address [fd00::5]:15006 is registered by node node"),
        ("127.0.0.1:7600", "`127.0.0.1:7600`: is the control plane's own API listener"),
        ("[::ffff:127.0.0.1]:7600", "`127.0.0.1:7600`: is the control plane's own API listener"),
    ] {
        let mut second = Registering::start(&plane, both("other", further)).await.unwrap();
        let status = second.hear().await.unwrap_err();
        assert!(status.message().contains(words), "{further}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_port_that_callers_reach_by_themselves_is_judged() {
    let plane = Plane::start().await;
    let port = |protocol: v1::PortProtocol| v1::FurtherPort {
        service: "dubbo-a".to_owned(),
        protocol: protocol.into(),
        application_addresses: vec!["[::ffff:127.0.0.1]:7600".to_owned()],
    };
    let with = |port| v1::Instance { further_ports: vec![port], ..instance("node") };
    let mut wrong = Registering::start(&plane, with(port(v1::PortProtocol::Tcp))).await.unwrap();
    let status = wrong.hear().await.unwrap_err();
    let words = "instance.further_ports: `127.0.0.1:7600`: is the control plane's own API listener";
    assert!(status.message().contains(words), "{status}");
    let mut read = Registering::start(&plane, with(port(v1::PortProtocol::Http))).await.unwrap();
    read.hear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_ports_that_nobody_has_declared_are_named() {
    let plane = Plane::start().await;
    let at = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let endpoint = |address: &str, application: &str| Endpoint {
        address: at(address),
        application_address: Some(at(application)),
        further: None,
        tag: None,
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    };
    let of_a = vec![
        endpoint("10.0.0.5:15006", "10.0.0.5:8080"),
        endpoint("127.0.0.9:15006", "127.0.0.1:8080"),
    ];
    let of_a = Service::new(id("sc-a"), "sc-a", "app-a", of_a);
    plane.control.update_services("embedded", vec![(id("sc-a"), Some(Arc::new(of_a)))]);
    let mut caller = plane.connect(sidecar("caller", "app-x")).await;
    let has = |caller: &DataPlane, host: &str| {
        let hash = digest::of_host(host.parse().unwrap());
        let told = caller.messages.iter().filter_map(|it| it.digest.as_ref());
        let removed = told.clone().any(|it| it.removed.contains(&hash));
        told.clone().any(|it| it.added.contains(&hash)) && !removed
    };
    caller.until(|it| has(it, "10.0.0.5")).await;
    assert!(!has(&caller, "127.0.0.1") && !has(&caller, "127.0.0.9"), "loopback is everybody's");
    let calls = |(address, connections): (&str, u64)| v1::UndeclaredCalls {
        address: address.to_owned(),
        connections,
    };
    let told = [("10.0.0.5:9090", 3), ("10.0.0.5:8080", 1), ("10.0.0.6:80", 1), ("others", 1)];
    let undeclared = told.map(calls).into();
    let report = v1::Report { undeclared, ..Default::default() };
    caller.say(data_plane_message::Message::Report(report)).await;
    let expected = serde_json::json!(
        [{"address": "10.0.0.5:9090", "applications": ["app-a"], "connections": 3}]
    );
    let shown = async || {
        let (_, answer) = call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await;
        let status: serde_json::Value = serde_json::from_str(&answer).unwrap();
        status["dataPlanes"][0]["undeclared"].clone()
    };
    while shown().await != expected {
        tokio::task::yield_now().await;
    }
    // An instance that leaves takes its host with it, when its address means nothing any more; until then it is told.
    plane.control.update_services("embedded", vec![(id("sc-a"), None)]);
    while !shown().await.is_null() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn further_ports_on_the_hosts_that_sources_tell_are_nobodys_too() {
    let plane = Plane::start().await;
    let source = |name: &str, spec: &serde_json::Value| {
        serde_json::json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": name}, "spec": spec,
        })
    };
    let (fixed, nacos) = (
        source("fixed", &serde_json::json!({"static": {"services": []}})),
        source("nacos", &serde_json::json!({"nacos": {"addresses": ["127.0.0.1:1"]}})),
    );
    let group = serde_json::json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "trade"},
        "spec": {"applications": ["app-member"]},
    });
    plane.apply(&[fixed, nacos, group]).await.unwrap();
    let tell = |source: &str, name: &str, address: &str| {
        let id = ServiceId::new(source, "default", "", name);
        let endpoint = Endpoint {
            address: address.parse().unwrap(),
            application_address: None,
            further: None,
            tag: None,
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        };
        let told = Service::new(id.clone(), name, &format!("app-{name}"), vec![endpoint]);
        plane.control.update_services(source, vec![(id, Some(Arc::new(told)))]);
    };
    // Who registers in Nacos registers the ports that others are to call, and has more: that concerns lanes where it is in
    // a group of them.
    tell("nacos", "alone", "10.0.0.9:8080");
    tell("nacos", "member", "10.0.0.8:8080");
    tell("fixed", "old", "10.0.0.7:8080");
    let mut caller = plane.connect(sidecar("caller", "app-x")).await;
    let has = |caller: &DataPlane, host: &str| {
        let hash = digest::of_host(host.parse().unwrap());
        caller
            .messages
            .iter()
            .filter_map(|it| it.digest.as_ref())
            .any(|it| it.added.contains(&hash))
    };
    for host in ["10.0.0.7", "10.0.0.8"] {
        caller.until(|it| has(it, host)).await;
    }
    let undeclared = ["10.0.0.7:9090", "10.0.0.8:9090", "10.0.0.9:9090", "10.0.0.8:8080"];
    let undeclared =
        undeclared.map(|it| v1::UndeclaredCalls { address: it.to_owned(), connections: 2 });
    let report = v1::Report { undeclared: undeclared.into(), ..Default::default() };
    caller.say(data_plane_message::Message::Report(report)).await;
    let expected = serde_json::json!([
        {"address": "10.0.0.7:9090", "applications": ["app-old"], "connections": 2},
        {"address": "10.0.0.8:9090", "applications": ["app-member"], "connections": 2},
    ]);
    let shown = async || {
        let (_, answer) = call(plane.rest().await, "GET", "/api/v1alpha1/status", "").await;
        let status: serde_json::Value = serde_json::from_str(&answer).unwrap();
        status["dataPlanes"][0]["undeclared"].clone()
    };
    while shown().await != expected {
        tokio::task::yield_now().await;
    }
}

fn at(address: &str) -> v1::Instance {
    v1::Instance { address: address.to_owned(), ..instance("node") }
}
