//! When an instance is registered, and what keeps it so.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::discovery::v1::{self, register_request::Message, register_response::Message as Answer};
use discovery::{
    Credentials, Joining, Registrant, Registration,
    registration::{Standing, probe::Probe},
};
use tokio::net::TcpListener;

use crate::control_plane::{ControlPlane, Registering, soon};

fn registrant(control: SocketAddr, application: SocketAddr) -> Registrant {
    let instance = v1::Instance {
        node: "s1".into(),
        service: "sc-a".into(),
        address: "127.0.0.1:15006".into(),
        ..Default::default()
    };
    Registrant {
        control: control.to_string(),
        credentials: Credentials::start(Joining {
            control: control.to_string(),
            join_token: Some("open sesame".into()),
            ..Joining::default()
        }),
        instance,
        application,
        probe: Probe::Tcp,
        mark: None,
        doubted: Arc::default(),
    }
}

async fn application() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Hears an instance, and confirms it.
async fn confirm(registering: &mut Registering) -> v1::Instance {
    let request = registering.hear().await;
    assert_eq!(request.join_token, "open sesame");
    let Some(Message::Instance(instance)) = request.message else { panic!("no instance") };
    let registered = v1::Registered { heartbeat_ms: 50, expiry_ms: 6000 };
    say(registering, Answer::Registered(registered)).await;
    instance
}

async fn say(registering: &Registering, answer: Answer) {
    registering.say(v1::RegisterResponse { message: Some(answer) }).await;
}

/// Waits until it stands so.
async fn stands(registration: &mut Registration, so: impl FnMut(&Standing) -> bool) {
    soon("the registration's standing", registration.standing.wait_for(so)).await.unwrap();
}

#[tokio::test]
async fn an_instance_is_registered_once_its_application_answers() {
    let mut plane = ControlPlane::start().await;
    let (listener, address) = application().await;
    drop(listener);
    let mut registration = Registration::start(registrant(plane.address, address));
    // Several probes long.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(plane.nobody_has_registered());
    let listener = TcpListener::bind(address).await.unwrap();
    let mut registering = plane.next_registering().await;
    assert!(confirm(&mut registering).await.healthy);
    stands(&mut registration, |standing| standing.registered).await;

    // What the probe finds is told at once, as every heartbeat tells it.
    drop(listener);
    loop {
        let heard = registering.hear().await.message;
        let Some(Message::Heartbeat(heartbeat)) = heard else { panic!("{heard:?}") };
        if !heartbeat.healthy {
            break;
        }
    }
}

#[tokio::test]
async fn an_application_that_others_cannot_reach_is_probed_at_once() {
    let mut plane = ControlPlane::start().await;
    let (listener, address) = application().await;
    let registrant = registrant(plane.address, address);
    let doubted = Arc::clone(&registrant.doubted);
    let mut registration = Registration::start(registrant);
    let mut registering = plane.next_registering().await;
    assert!(confirm(&mut registering).await.healthy);
    stands(&mut registration, |standing| standing.registered).await;

    // Just after a probe: the next one is a second away.
    let (first, _) = soon("the first probe", listener.accept()).await.unwrap();
    let (second, _) = soon("another probe", listener.accept()).await.unwrap();
    let probed = std::time::Instant::now();
    drop((first, second, listener));
    doubted.notify_one();
    loop {
        let heard = registering.hear().await.message;
        let Some(Message::Heartbeat(heartbeat)) = heard else { panic!("{heard:?}") };
        if !heartbeat.healthy {
            break;
        }
    }
    assert!(probed.elapsed() < Duration::from_millis(900), "{:?}", probed.elapsed());
}

#[tokio::test]
async fn an_instance_is_registered_again_when_the_control_plane_has_lost_it() {
    let mut plane = ControlPlane::start().await;
    let (_listener, address) = application().await;
    let mut registration = Registration::start(registrant(plane.address, address));
    let mut registering = plane.next_registering().await;
    confirm(&mut registering).await;
    stands(&mut registration, |standing| standing.registered).await;

    // Restarted: the stream ends, and a new one begins with the whole instance.
    drop(registering);
    stands(&mut registration, |standing| !standing.registered).await;
    let mut registering = plane.next_registering().await;
    let instance = confirm(&mut registering).await;
    assert_eq!((instance.node.as_str(), instance.service.as_str()), ("s1", "sc-a"));
    stands(&mut registration, |standing| standing.registered).await;

    // Restarted without what it knew: it says so to the next heartbeat.
    say(&registering, Answer::Unknown(v1::Unknown {})).await;
    loop {
        match registering.hear().await.message {
            Some(Message::Heartbeat(_)) => {}
            Some(Message::Instance(_)) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stop_waits_until_the_instance_is_taken_out() {
    let mut plane = ControlPlane::start().await;
    let (_listener, address) = application().await;
    let mut registration = Registration::start(registrant(plane.address, address));
    let mut registering = plane.next_registering().await;
    confirm(&mut registering).await;
    stands(&mut registration, |standing| standing.registered).await;
    let standing = registration.standing.clone();
    let stopping = tokio::spawn(registration.stop());
    while !matches!(registering.hear().await.message, Some(Message::Deregister(_))) {}
    assert!(!stopping.is_finished());
    say(&registering, Answer::Deregistered(v1::Deregistered {})).await;
    soon("the end", stopping).await.unwrap();
    assert!(!standing.borrow().registered);
}
