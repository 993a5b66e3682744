//! Connections whose port has come to ask for something else than when they were made.

use std::time::Duration;

use routes::{
    spec::ListenerSpec,
    tls::{Certificate, ClientsTls, ListenerTls, TlsVersion},
};
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Authority, Client, ask, authority, get_of, in_tls, issue, put, shows, world};
use crate::world::{
    Instance, Proxy, Wire, World, eventually, field, get, listener, status, within,
};

/// Asks again and again until it is told to connect anew, and sees the connection end.
async fn outdated<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>) {
    let told = async {
        loop {
            wire.send(&get_of("shop.example")).await;
            let (head, _) = wire.answer().await;
            if status(&head) == 421 {
                return head;
            }
            assert_eq!(status(&head), 200);
        }
    };
    let head = within("a refusal", told).await;
    assert_eq!(field(&head, "connection"), Some("close"));
    wire.closed().await;
}

#[tokio::test]
async fn what_began_in_the_clear_ends_once_its_port_speaks_tls() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let in_tls = world.publish();
    world.listeners = vec![ListenerSpec { http2: true, ..listener(443, false) }];
    let clear = world.publish();
    let proxy = Proxy::gateway(&world);
    let mut wire = proxy.client().await;
    wire.send(&get("/")).await;
    assert_eq!(status(&wire.answer().await.0), 200);
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask_in_h2 = async || {
        let request = http::Request::get("http://shop.example/").body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        within("an answer", answer).await.unwrap().status()
    };
    assert_eq!(ask_in_h2().await, 200);
    proxy.publish.send_replace(in_tls);
    outdated(wire).await;
    assert_eq!(ask_in_h2().await, 421);
    within("the end", connection).await.unwrap().unwrap();
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
    // The other way round.
    proxy.publish.send_replace(clear);
    outdated(wire).await;
}

#[tokio::test]
async fn what_lived_by_a_certificate_that_is_shown_no_more_ends_unless_another_covers_the_same() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = World::new(&[instance.serve("one")]);
    let names = ["a.example", "shop.example"];
    for name in ["default/first", "default/second"] {
        put(&mut world, name, issue(&authority, &names));
    }
    let showing = |world: &World, shown: [&str; 2]| {
        let listeners = names.iter().zip(shown);
        let listeners = listeners.map(|(name, shown)| in_tls(name, Some(name), shows(&[shown])));
        World { listeners: listeners.collect(), ..world.clone() }
    };
    let proxy = Proxy::gateway(&showing(&world, ["default/first"; 2]));
    let mut wire = Client::new(&authority).connect(&proxy, "a.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
    // Both switch to the same.
    proxy.publish.send_replace(showing(&world, ["default/second"; 2]).publish());
    eventually("the second to be shown", async || {
        let stream = Client::new(&authority).connect(&proxy, "a.example").await.into_stream();
        let second = &world.certificates["default/second"].chain[0];
        stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == second
    })
    .await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
    // Nobody knows any more what whoever asks for the one would be shown for the other.
    put(&mut world, "default/third", issue(&authority, &names));
    proxy.publish.send_replace(showing(&world, ["default/third", "default/second"]).publish());
    outdated(wire).await;
}

#[tokio::test]
async fn who_proved_less_than_is_asked_for_now_connects_again() {
    let (authority, clients, others) =
        (authority("all"), authority("clients"), authority("others"));
    let instance = Instance::new().await;
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let proxy = Proxy::gateway(&world);
    let nobody = Client::new(&authority).connect(&proxy, "shop.example").await;
    let asked = |insecure_fallback| {
        let authorities = vec!["default/clients".to_owned()];
        let clients = Some(ClientsTls { authorities, insecure_fallback });
        ListenerTls { clients, ..shows(&["default/shop"]) }
    };
    let believes = |world: &mut World, authorities: &[&Authority]| {
        let authorities = authorities.iter().map(|authority| authority.der().to_vec()).collect();
        put(world, "default/clients", Certificate { authorities, ..Certificate::default() });
    };
    believes(&mut world, &[&clients]);
    let publish = |world: &mut World, tls: ListenerTls| {
        world.listeners = vec![in_tls("all", None, tls)];
        proxy.publish.send_replace(world.publish());
    };
    publish(&mut world, asked(false));
    outdated(nobody).await;

    // Who comes back shows its certificate again: a ticket would outlive it.
    let own = Client::with(&authority, &[&TLS13, &TLS12], &[], Some(issue(&clients, &["client"])));
    eventually("certificates to be asked for", async || {
        let mut wire = own.connect(&proxy, "shop.example").await;
        ask(&mut wire, "shop.example").await == 200
    })
    .await;
    for _ in 0..3 {
        let mut wire = own.connect(&proxy, "shop.example").await;
        assert_eq!(ask(&mut wire, "shop.example").await, 200);
        let kind = wire.into_stream().get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full));
    }
    let mut wire = own.connect(&proxy, "shop.example").await;
    // As much, or less.
    for (authorities, tls) in [
        (&[&clients, &others][..], asked(false)),
        (&[&clients], asked(true)),
        (&[&clients], shows(&["default/shop"])),
        (&[&others], shows(&["default/shop"])),
    ] {
        believes(&mut world, authorities);
        publish(&mut world, tls);
        for _ in 0..20 {
            assert_eq!(ask(&mut wire, "shop.example").await, 200);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    publish(&mut world, asked(false));
    outdated(wire).await;

    let old = Client::with(&authority, &[&TLS12], &[], None);
    // What is asked of requests is asked of handshakes a moment later: until then everybody is still let in by what was
    // before.
    eventually("certificates to be asked for again", async || {
        old.refused(&proxy, "shop.example").await != "served"
    })
    .await;
    publish(&mut world, shows(&["default/shop"]));
    eventually("everybody to be let in", async || {
        old.refused(&proxy, "shop.example").await == "served"
    })
    .await;
    let old = old.connect(&proxy, "shop.example").await;
    let mut new = Client::new(&authority).connect(&proxy, "shop.example").await;
    publish(&mut world, ListenerTls { minimum: TlsVersion::V1_3, ..shows(&["default/shop"]) });
    outdated(old).await;
    assert_eq!(ask(&mut new, "shop.example").await, 200);
}
