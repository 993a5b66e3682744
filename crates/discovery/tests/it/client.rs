//! What is published, acknowledged, kept on disk and asked for, and when.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use api::discovery::v1::{self, data_plane_message::Message};
use discovery::{Client, Credentials, Identity, Joining};
use lanes::Query;

use crate::{
    control_plane::{ControlPlane, soon},
    messages,
};

fn identity(control: SocketAddr, directory: &Path) -> Identity {
    let hello = v1::Hello {
        node: "s1".into(),
        role: v1::Role::Sidecar.into(),
        name: "app-a".into(),
        ..Default::default()
    };
    Identity {
        control: control.to_string(),
        hello,
        credentials: Credentials::start(Joining {
            control: control.to_string(),
            ..Joining::default()
        }),
        snapshot: directory.join("snapshot"),
        shared: None,
        is_awaited: false,
        counters: Arc::default(),
    }
}

/// A group that the data plane lets requests into, so that it reads the condition.
fn group(name: &str, version: u64, regex: &str) -> v1::Resource {
    let entrance = v1::ApplicationEntrance { name: "app-a".into(), edge: false };
    let entrance = v1::Entrance { at: Some(v1::entrance::At::Application(entrance)) };
    messages::group(name, version, regex, vec![entrance])
}

fn message(number: u64, synced: bool, upserts: Vec<v1::Resource>) -> v1::ControlMessage {
    let generation = Some(v1::Generation { epoch: "e".into(), number });
    v1::ControlMessage { generation, upserts, synced, ..Default::default() }
}

fn groups(client: &Client) -> usize {
    client.published.borrow().lanes.groups().len()
}

/// Starts a client while a control plane answers it with these messages; all of them acknowledged.
async fn started(
    plane: &mut ControlPlane,
    directory: &Path,
    messages: Vec<v1::ControlMessage>,
) -> (Client, crate::control_plane::Stream) {
    let identity = identity(plane.address, directory);
    let answering = async {
        let mut stream = plane.next_stream().await;
        stream.greeting().await;
        let count = messages.len();
        for message in messages {
            stream.tell(message).await;
        }
        for _ in 0..count {
            stream.acknowledgement().await;
        }
        stream
    };
    tokio::join!(Client::start(identity), answering)
}

#[tokio::test]
async fn what_is_acknowledged_is_published() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(1, true, vec![group("one", 1, "a")]);
    let (client, mut stream) = started(&mut plane, directory.path(), vec![first]).await;
    for number in 2..20 {
        stream.tell(message(number, false, vec![group(&format!("g{number}"), 1, "a")])).await;
        let ack = stream.acknowledgement().await;
        assert_eq!(ack.generation.unwrap().number, number);
        assert_eq!(groups(&client), number as usize, "published before it is acknowledged");
    }
}

#[tokio::test]
async fn traffic_is_told_to_whoever_asks_for_it_and_to_nobody_else() {
    for traffic_every_ms in [0, 100] {
        let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
        let metrics = Arc::new(telemetry::Metrics::new());
        let recorder = metrics.recorder();
        let counters = Arc::clone(&metrics);
        let identity = Identity { counters, ..identity(plane.address, directory.path()) };
        let asking = async {
            let mut stream = plane.next_stream().await;
            stream.greeting().await;
            let first = message(1, true, vec![group("one", 1, "a")]);
            stream.tell(v1::ControlMessage { traffic_every_ms, ..first }).await;
            stream.acknowledgement().await;
            stream
        };
        let (client, mut stream) = tokio::join!(Client::start(identity), asking);
        recorder.add(telemetry::Count::BytesSent, 7);
        recorder.publish();
        if traffic_every_ms > 0 {
            let Message::Traffic(traffic) = stream.hears().await else { panic!("no traffic") };
            assert_eq!(traffic.bytes_sent, 7);
        }
        // Whatever else was said would be heard before this.
        let stopping = tokio::spawn(client.stop());
        assert!(matches!(stream.hears().await, Message::Goodbye(_)));
        drop(stream);
        soon("the end", stopping).await.unwrap();
    }
}

#[tokio::test]
async fn an_orderly_stop_says_goodbye_and_waits_until_it_is_heard() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(1, true, vec![group("one", 1, "a")]);
    let (client, mut stream) = started(&mut plane, directory.path(), vec![first]).await;
    let stopping = tokio::spawn(client.stop());
    assert!(matches!(stream.hears().await, Message::Goodbye(_)));
    drop(stream);
    soon("the end", stopping).await.unwrap();
}

#[tokio::test]
async fn a_picture_is_published_when_it_is_complete() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let identity = identity(plane.address, directory.path());
    let client = tokio::spawn(Client::start(identity));
    let mut stream = plane.next_stream().await;
    stream.greeting().await;
    stream.tell(message(1, false, vec![group("one", 1, "a")])).await;
    let client = client.await.unwrap();
    assert!(!client.state.borrow().readiness().ready);
    assert_eq!(groups(&client), 0);
    stream.tell(message(2, true, vec![group("two", 1, "a")])).await;
    for number in [1, 2] {
        assert_eq!(stream.acknowledgement().await.generation.unwrap().number, number);
    }
    assert_eq!(groups(&client), 2);
    assert!(client.state.borrow().readiness().ready);
}

#[tokio::test]
async fn a_refused_resource_is_told_and_its_last_good_form_stays() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(1, true, vec![group("trade", 1, "gr.*")]);
    let (client, mut stream) = started(&mut plane, directory.path(), vec![first]).await;
    stream.tell(message(2, false, vec![group("trade", 2, "("), group("other", 1, "a")])).await;
    let ack = stream.acknowledgement().await;
    let refused: Vec<_> = ack.refused.iter().map(|refused| refused.key.as_str()).collect();
    assert_eq!(refused, ["group/trade"]);
    assert_eq!(groups(&client), 2, "the other one counts");
    drop(stream);
    let (hello, _) = plane.next_stream().await.greeting().await;
    let mut held: Vec<_> =
        hello.held.iter().map(|held| (held.key.as_str(), held.version)).collect();
    held.sort_unstable();
    assert_eq!(held, [("group/other", 1), ("group/trade", 1)]);
}

#[tokio::test]
async fn nothing_is_lost_over_a_reconnect() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(1, true, vec![group("one", 1, "a")]);
    let (mut client, mut stream) = started(&mut plane, directory.path(), vec![first]).await;
    client.demand.send(Query::Name("SC-b".into())).await.unwrap();
    let Message::Subscribe(asked) = stream.hears().await else { panic!("no question") };
    assert_eq!(asked.names, ["sc-b"]);

    drop(stream);
    let is_stale = client.state.wait_for(|state| state.readiness().stale);
    assert!(soon("staleness", is_stale).await.unwrap().readiness().ready);
    assert_eq!(groups(&client), 1, "nothing is evicted");
    // Asked by whoever goes on working meanwhile.
    client.demand.send(Query::Address("10.0.0.1:80".parse().unwrap())).await.unwrap();

    let mut stream = plane.next_stream().await;
    let (hello, subscribe) = stream.greeting().await;
    assert_eq!(hello.held.len(), 1);
    assert_eq!(subscribe.names, ["sc-b"]);
    let mut addresses = subscribe.addresses;
    if addresses.is_empty() {
        // The connection was quicker than the question.
        let Message::Subscribe(asked) = stream.hears().await else { panic!("no question") };
        addresses = asked.addresses;
    }
    assert_eq!(addresses, ["10.0.0.1:80"]);
    stream.tell(message(2, true, Vec::new())).await;
    stream.acknowledgement().await;
    assert!(!client.state.borrow().readiness().stale);
}

#[tokio::test]
async fn a_restart_without_a_control_plane_begins_with_the_copy_on_disk() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(7, true, vec![group("one", 1, "a")]);
    let (client, _stream) = started(&mut plane, directory.path(), vec![first]).await;
    client.stop().await;

    // A port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let snapshot = directory.path().join("snapshot");
    let written = fs::read(&snapshot).unwrap();
    let mut spoilt = written.clone();
    *spoilt.last_mut().unwrap() ^= 1;
    let mut of_another_version = written.clone();
    of_another_version[b"LANEWAY".len()] += 1;
    for (content, known) in [(&written, 1), (&spoilt, 0), (&of_another_version, 0)] {
        fs::write(&snapshot, content).unwrap();
        let client = Client::start(identity(nobody, directory.path())).await;
        assert_eq!(groups(&client), known);
        let readiness = client.state.borrow().readiness();
        assert_eq!(readiness.ready, known > 0, "{readiness:?}");
        if readiness.ready {
            assert!(
                readiness.stale && readiness.reason.contains("configuration 7 comes from disk")
            );
        }
        client.stop().await;
        assert_eq!(&fs::read(&snapshot).unwrap(), content, "what says nothing new is not written");
    }
}

#[tokio::test]
async fn what_is_borrowed_of_another_is_never_said_to_be_held_nor_to_be_of_a_run_before() {
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let copies = directory.path().join("shared");
    let as_node = |node: &str, control: String, known: bool| {
        let data = directory.path().join(node);
        fs::create_dir_all(&data).unwrap();
        let mut identity = identity(plane.address, &data);
        (identity.control, identity.hello.node) = (control, node.to_owned());
        (identity.shared, identity.is_awaited) = (Some(copies.clone()), known);
        identity
    };
    let spelt = plane.address.to_string();
    let otherwise = format!("localhost:{}", plane.address.port());
    let first = as_node("one", spelt.clone(), false);
    let (second, again) = (as_node("two", otherwise, true), as_node("one", spelt, true));

    let first = tokio::spawn(Client::start(first));
    let mut stream = plane.next_stream().await;
    stream.greeting().await;
    stream.tell(message(7, true, vec![group("one", 1, "a")])).await;
    stream.acknowledgement().await;
    let first = first.await.unwrap();
    // What is asked for is kept at once.
    first.demand.send(Query::Name("sc-b".into())).await.unwrap();
    assert!(matches!(stream.hears().await, Message::Subscribe(_)));
    soon("a copy for others", async {
        while fs::read_dir(&copies).map_or(0, Iterator::count) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    first.stop().await;

    for (identity, is_own, number) in [(second, false, 1), (again, true, 8)] {
        // It is there, and says nothing yet.
        let client = Client::start(identity).await;
        assert_eq!(groups(&client), 1, "what the other was told, or it itself");
        assert_eq!(client.state.borrow().was_here(), is_own);
        let mut stream = plane.next_stream().await;
        let (hello, _) = stream.greeting().await;
        let held: Vec<_> = hello.held.iter().map(|held| held.key.as_str()).collect();
        match is_own {
            true => {
                assert_eq!((held.as_slice(), hello.held_of.as_str()), (&["group/one"][..], "e"))
            }
            false => assert_eq!((held.as_slice(), hello.held_of.as_str()), (&[][..], "")),
        }
        // What it is told adds to what it holds, and to nothing that it borrowed.
        stream.tell(message(number, true, vec![group("two", 1, "a")])).await;
        stream.acknowledgement().await;
        assert_eq!(groups(&client), if is_own { 2 } else { 1 });
        client.stop().await;
    }
}

#[tokio::test]
async fn what_is_asked_stays_within_its_bound() {
    // As the crate's `SUBSCRIPTIONS_MAX`, which is nobody else's business.
    const MOST: usize = 8192;
    let (mut plane, directory) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
    let first = message(1, true, Vec::new());
    let (client, mut stream) = started(&mut plane, directory.path(), vec![first]).await;
    let demand = client.demand.clone();
    tokio::spawn(async move {
        for index in 0..MOST + 10 {
            demand.send(Query::Name(format!("sc-{index}"))).await.unwrap();
        }
    });
    let (mut asked, mut forgotten) = (Vec::new(), Vec::new());
    while asked.len() < MOST + 10 {
        let Message::Subscribe(subscribe) = stream.hears().await else { panic!("no question") };
        asked.extend(subscribe.names);
        forgotten.extend(subscribe.forget_names);
    }
    assert_eq!(forgotten, asked[..10], "the oldest make room");
}
