//! Clients that speak TLS, played by a library of others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use proxy::limits::Timeouts;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use routes::{
    spec::{FilterSpec, ListenerSpec, RedirectSpec},
    tls::{Certificate, ClientsTls, ListenerTls, PrivateKey, TlsMode, TlsVersion},
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};
use telemetry::Count;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::world::{
    Instance, Proxy, Wire, World, eventually, field, get, listener, status, within,
};

mod outdated;
mod passing;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for names.
pub(crate) fn issue(authority: &Authority, names: &[&str]) -> Certificate {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap();
    Certificate {
        chain: vec![certificate.der().to_vec()],
        key: Some(PrivateKey::new(key.serialize_der())),
        authorities: Vec::new(),
    }
}

fn shows(certificates: &[&str]) -> ListenerTls {
    let certificates = certificates.iter().map(|name| (*name).to_owned()).collect();
    ListenerTls { certificates, clients: None, minimum: TlsVersion::V1_2 }
}

fn in_tls(name: &str, hostname: Option<&str>, tls: impl Into<TlsMode>) -> ListenerSpec {
    ListenerSpec {
        name: name.to_owned(),
        hostname: hostname.map(str::to_owned),
        tls: Some(tls.into()),
        ..listener(443, false)
    }
}

/// A world that one listener for every host shows one certificate to.
pub(crate) fn world(authority: &Authority, names: &[&str], instances: &[SocketAddr]) -> World {
    let mut world = World::new(instances);
    world.listeners = vec![in_tls("all", None, shows(&["default/shop"]))];
    put(&mut world, "default/shop", issue(authority, names));
    world
}

pub(crate) fn put(world: &mut World, name: &str, certificate: Certificate) {
    world.certificates.insert(name.to_owned(), Arc::new(certificate));
}

/// How a client asks.
struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    fn new(authority: &Authority) -> Self {
        Self::with(authority, &[&TLS13, &TLS12], &[], None)
    }

    fn with(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
        certificate: Option<Certificate>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let chain = certificate.chain.into_iter().map(Into::into).collect();
                let key = certificate.key.unwrap();
                let key = PrivateKeyDer::try_from(key.der().to_vec()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    async fn try_connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        within("a handshake", connecting).await
    }

    async fn connect(&self, proxy: &Proxy, name: &str) -> Wire<TlsStream<TcpStream>> {
        Wire::over(self.try_connect(proxy.address(), name).await.unwrap())
    }

    /// What a client is told that is refused, be it after its handshake seemed done.
    async fn refused(&self, proxy: &Proxy, name: &str) -> String {
        let asking = async {
            let mut stream = self.try_connect(proxy.address(), name).await?;
            stream.write_all(get_of(name).as_bytes()).await?;
            stream.read_u8().await
        };
        match within("a refusal", asking).await {
            Ok(_) => "served".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// A connection in TLS whose sides have agreed on HTTP/2.
pub(crate) async fn http2(of: &Authority, proxy: &Proxy, name: &str) -> TlsStream<TcpStream> {
    let client = Client::with(of, &[&TLS13], &[b"h2"], None);
    client.try_connect(proxy.address(), name).await.unwrap()
}

fn get_of(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// The status of an answer to a request for a host.
async fn ask(client: &mut Wire<TlsStream<TcpStream>>, host: &str) -> u16 {
    client.send(&get_of(host)).await;
    status(&client.answer().await.0)
}

#[tokio::test]
async fn what_is_in_the_clear_elsewhere_is_spoken_in_tls() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.serve("one")]));
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        for protocols in [&[][..], &[b"http/1.1".as_slice()][..]] {
            let client = Client::with(&authority, versions, protocols, None);
            let mut wire = client.connect(&proxy, "shop.example").await;
            for _ in 0..3 {
                wire.send(
                    "GET /a?b HTTP/1.1\r\nHost: shop.example\r\nx-forwarded-proto: gopher\r\n\r\n",
                )
                .await;
                let (head, body) = wire.answer().await;
                assert_eq!(status(&head), 200);
                let (by, seen) = body.split_once('\n').unwrap();
                assert_eq!(by, "one");
                assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
                assert_eq!(field(seen, "x-forwarded-proto"), Some("https"));
            }
        }
        let client = Client::with(&authority, versions, &[b"h2", b"http/1.1"], None);
        let stream = client.try_connect(proxy.address(), "shop.example").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..3 {
            let request = http::Request::get("https://shop.example/a").body(()).unwrap();
            let (answer, _) = send.send_request(request, true).unwrap();
            let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
            assert_eq!(head.status, 200);
            let seen = within("data", body.data()).await.unwrap().unwrap();
            let seen = String::from_utf8(seen.to_vec()).unwrap();
            assert_eq!(field(seen.split_once('\n').unwrap().1, "x-forwarded-proto"), Some("https"));
        }
        drop(send);
        // It ends in order.
        within("the end", connection).await.unwrap().unwrap();
    }
    proxy.counted(Count::TlsFull, 6).await;
}

#[tokio::test]
async fn bodies_of_every_size_pass_whole_both_ways() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.address]));
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let client = Client::with(&authority, versions, &[], None);
        let mut wire = client.connect(&proxy, "shop.example").await;
        let mut server = None;
        for bytes in [1, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
            let body: String =
                (0..bytes).map(|at: usize| char::from(b'a' + (at % 23) as u8)).collect();
            let head =
                format!("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {bytes}\r\n\r\n");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}");
            let sent = body.clone();
            let sending = async {
                wire.send(&head).await;
                wire.send(&sent).await;
                wire.answer().await.1
            };
            let serving = async {
                let mut it = match server.take() {
                    Some(it) => it,
                    None => instance.accept().await,
                };
                it.head().await;
                let received = it.exactly(bytes).await;
                it.send(&answer).await;
                (it, received)
            };
            let (came_back, (it, received)) = tokio::join!(sending, serving);
            assert!(received == body.as_bytes() && came_back == body, "{bytes} bytes");
            server = Some(it);
        }
    }
}

/// The certificate that a client was shown.
fn shown(wire: TlsStream<TcpStream>) -> Vec<u8> {
    wire.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_client_is_shown_what_covers_the_name_it_asks_for() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = World::new(&[instance.serve("one")]);
    let certificates = [
        ("default/exact", &["a.shop.example"][..]),
        ("default/wild", &["*.shop.example"]),
        ("default/other", &["other.example", "127.0.0.1"]),
    ];
    for (name, names) in certificates {
        put(&mut world, name, issue(&authority, names));
    }
    let of = |world: &World, name: &str| world.certificates[name].chain[0].clone();
    let all = ["default/other", "default/wild", "default/exact", "default/absent"];
    world.listeners = vec![in_tls("all", None, shows(&all))];
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    for (asked, expected) in [
        ("a.shop.example", "default/exact"),
        ("A.Shop.Example", "default/exact"),
        ("b.shop.example", "default/wild"),
        ("other.example", "default/other"),
        // No name is asked for.
        ("127.0.0.1", "default/other"),
    ] {
        let wire = client.try_connect(proxy.address(), asked).await.unwrap();
        assert!(shown(wire) == of(&world, expected), "{asked}");
    }
    // A wildcard stands for one label; the default is shown, and not believed.
    for asked in ["a.b.shop.example", "nobody.example"] {
        let told = client.refused(&proxy, asked).await;
        assert!(told.contains("not valid for name"), "{asked}: {told}");
    }
    proxy.counted(Count::TlsRefused, 2).await;

    // Where every listener has a host name, others are told that nobody has theirs.
    world.listeners = vec![
        in_tls("shop", Some("*.shop.example"), shows(&["default/wild"])),
        in_tls("other", Some("other.example"), shows(&["default/other"])),
    ];
    proxy.publish.send_replace(world.publish());
    eventually("the new listeners", async || {
        client.refused(&proxy, "nobody.example").await.contains("UnrecognisedName")
    })
    .await;
    let told = client.refused(&proxy, "127.0.0.1").await;
    assert!(told.contains("UnrecognisedName"), "{told}");
    let wire = client.try_connect(proxy.address(), "a.shop.example").await.unwrap();
    assert!(shown(wire) == of(&world, "default/wild"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_fails_nobody() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let proxy = Arc::new(Proxy::gateway_with(&world, 2, Timeouts::default()));
    let mut first = Client::new(&authority).connect(&proxy, "shop.example").await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (proxy, client) = (Arc::clone(&proxy), Client::new(&authority));
            tokio::spawn(async move {
                for _ in 0..60 {
                    let mut wire = client.connect(&proxy, "shop.example").await;
                    assert_eq!(ask(&mut wire, "shop.example").await, 200);
                }
            })
        })
        .collect();
    for swap in 0..200 {
        put(&mut world, "default/shop", issue(&authority, &["shop.example"]));
        if swap % 3 == 0 {
            // One that does not match its key disturbs nobody.
            let other = issue(&authority, &["shop.example"]);
            let wrong =
                Certificate { key: other.key, ..(*world.certificates["default/shop"]).clone() };
            put(&mut world, "default/shop", wrong);
        }
        proxy.publish.send_replace(world.publish());
        tokio::task::yield_now().await;
    }
    for client in clients {
        within("a client", client).await.unwrap();
    }
    assert_eq!(ask(&mut first, "shop.example").await, 200, "what runs goes on");
    let last = issue(&authority, &["shop.example"]);
    put(&mut world, "default/shop", last.clone());
    proxy.publish.send_replace(world.publish());
    eventually("the last certificate", async || {
        let client = Client::new(&authority);
        let wire = client.try_connect(proxy.address(), "shop.example").await.unwrap();
        shown(wire) == last.chain[0]
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed_whichever_thread_they_come_back_to() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let proxy = Proxy::gateway_with(&world, 2, Timeouts::default());
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let client = Client::with(&authority, versions, &[], None);
        let mut kinds = Vec::new();
        for _ in 0..12 {
            let mut wire = client.connect(&proxy, "shop.example").await;
            assert_eq!(ask(&mut wire, "shop.example").await, 200);
            kinds.push(wire.into_stream().get_ref().1.handshake_kind());
        }
        assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
    }
    proxy.counted(Count::TlsResumed, 22).await;
}

#[tokio::test]
async fn a_host_of_another_certificate_is_not_asked_for_on_a_connection() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = World::new(&[instance.serve("one")]);
    put(&mut world, "default/pair", issue(&authority, &["a.example", "b.example"]));
    put(&mut world, "default/other", issue(&authority, &["other.example"]));
    world.listeners = vec![
        in_tls("a", Some("a.example"), shows(&["default/pair"])),
        in_tls("b", Some("b.example"), shows(&["default/pair"])),
        in_tls("other", Some("other.example"), shows(&["default/other"])),
    ];
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let mut wire = client.connect(&proxy, "a.example").await;
    for (host, expected) in [
        ("a.example", 200),
        ("A.Example:443", 200),
        ("b.example", 200),
        ("other.example", 421),
        ("nobody.example", 404),
        ("a.example", 200),
    ] {
        assert_eq!(ask(&mut wire, host).await, expected, "{host}");
    }
    let stream = http2(&authority, &proxy, "b.example").await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (host, expected) in [("a.example", 200), ("other.example", 421), ("b.example", 200)] {
        let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        assert_eq!(within("an answer", answer).await.unwrap().status(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_wildcard_certificate_is_good_for_what_it_is_shown_for_and_no_further() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = World::new(&[instance.serve("one")]);
    put(&mut world, "default/wild", issue(&authority, &["*.shop.example", "shop.example"]));
    put(&mut world, "default/pay", issue(&authority, &["pay.shop.example"]));
    world.listeners = vec![
        in_tls("wild", Some("*.shop.example"), shows(&["default/wild"])),
        in_tls("top", Some("shop.example"), shows(&["default/wild"])),
        // Its name is covered by the wildcard too, and another certificate is shown for it.
        in_tls("pay", Some("pay.shop.example"), shows(&["default/pay"])),
        // The same certificate, and yet clients must show one of theirs there.
        in_tls("staff", Some("staff.shop.example"), asks(&mut world, &authority)),
    ];
    let proxy = Proxy::gateway(&world);
    let hosts = [
        ("a.shop.example", 200),
        ("b.shop.example", 200),
        ("shop.example", 200),
        ("pay.shop.example", 421),
        ("PAY.shop.example:443", 421),
        ("staff.shop.example", 421),
        ("other.example", 404),
        ("a.shop.example", 200),
    ];
    let mut wire = Client::new(&authority).connect(&proxy, "a.shop.example").await;
    for (host, expected) in hosts {
        assert_eq!(ask(&mut wire, host).await, expected, "{host}");
    }
    let client = Client::with(&authority, &[&TLS13], &[b"h2"], None);
    let stream = client.try_connect(proxy.address(), "a.shop.example").await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (host, expected) in hosts {
        let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        assert_eq!(within("an answer", answer).await.unwrap().status(), expected, "{host}");
    }
    // The other way round: who met the narrow one alone is led to no name of the wide one.
    let mut wire = Client::new(&authority).connect(&proxy, "pay.shop.example").await;
    for (host, expected) in [("pay.shop.example", 200), ("a.shop.example", 421)] {
        assert_eq!(ask(&mut wire, host).await, expected, "{host}");
    }
}

/// Shows the wildcard's certificate, and lets in who shows one of an authority.
fn asks(world: &mut World, authority: &Authority) -> ListenerTls {
    let believed =
        Certificate { authorities: vec![authority.der().to_vec()], ..Certificate::default() };
    put(world, "default/clients", believed);
    let authorities = vec!["default/clients".to_owned()];
    let clients = Some(ClientsTls { authorities, insecure_fallback: false });
    ListenerTls { clients, ..shows(&["default/wild"]) }
}

#[tokio::test]
async fn only_what_is_whole_ends_in_order() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.address]));
    let client = Client::new(&authority);
    let framings =
        ["content-length: 9\r\n\r\nsome", "transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"];
    for cut in framings {
        let mut wire = client.connect(&proxy, "shop.example").await;
        wire.send(&get_of("shop.example")).await;
        let mut server = instance.accept().await;
        server.head().await;
        server.send(&format!("HTTP/1.1 200 OK\r\n{cut}")).await;
        wire.head().await;
        drop(server);
        let mut rest = Vec::new();
        let ended = within("the end", wire.into_stream().read_to_end(&mut rest)).await;
        let kind = ended.unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{cut}");
    }
    // A caller that says that it is done; the end is the answer's.
    let mut wire = client.connect(&proxy, "shop.example").await;
    wire.send("GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n").await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\n\r\nall of it").await;
    drop(server);
    wire.head().await;
    wire.text("all of it").await;
    let mut rest = Vec::new();
    within("the end", wire.into_stream().read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_client_that_stands_still_is_cut_and_one_that_moves_is_not() {
    const LONG: usize = 6_000_000;
    let (authority, instance) = (authority("all"), Instance::new().await);
    let world = world(&authority, &["shop.example"], &[instance.address]);
    let timeouts = Timeouts { body: Duration::from_millis(500), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    for moves in [true, false] {
        let narrow = Wire::connect_narrow(proxy.address()).await.into_stream();
        let name = ServerName::try_from("shop.example").unwrap();
        let connector = TlsConnector::from(Client::new(&authority).config);
        let mut client = connector.connect(name, narrow).await.unwrap();
        client.write_all(get_of("shop.example").as_bytes()).await.unwrap();
        let mut server = instance.accept().await;
        server.head().await;
        server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n")).await;
        let sending = tokio::spawn(async move { server.try_send(&"x".repeat(LONG)).await });
        let mut client = Wire::over(client);
        client.head().await;
        if moves {
            // 1 MB a second: what a kernel takes at once would last it longer than it has.
            let mut beats = tokio::time::interval(Duration::from_millis(20));
            for _ in 0..LONG / 20_000 {
                beats.tick().await;
                client.exactly(20_000).await;
            }
        } else {
            proxy.ended(telemetry::Outcome::Cut).await;
            let mut rest = Vec::new();
            let ended = within("the end", client.into_stream().read_to_end(&mut rest)).await;
            assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        }
        drop(sending);
    }
}

/// Bytes of an answer that no kernel takes at once.
const MUCH: usize = 6_000_000;

/// A client that takes little at once, in TLS.
async fn narrow(authority: &Authority, proxy: &Proxy, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let stream = Wire::connect_narrow(proxy.address()).await.into_stream();
    let name = ServerName::try_from("shop.example").unwrap();
    let client = Client::with(authority, &[&TLS13], protocols, None);
    let stream = TlsConnector::from(client.config).connect(name, stream).await.unwrap();
    // It leaves without a word.
    stream.get_ref().0.set_zero_linger().unwrap();
    stream
}

/// Begins an answer that is longer than anybody takes.
async fn serve_much(instance: &Instance) -> tokio::task::JoinHandle<bool> {
    let mut server = instance.accept().await;
    server.head().await;
    server.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n")).await;
    tokio::spawn(async move { server.try_send(&"x".repeat(MUCH)).await })
}

/// Another client is answered, and so is one that comes only now.
async fn others_are_served(
    authority: &Authority,
    proxy: &Proxy,
    instance: &Instance,
    other: Wire<TlsStream<TcpStream>>,
) {
    let later = Client::new(authority).connect(proxy, "shop.example").await;
    for mut wire in [other, later] {
        let served = async {
            let mut server = instance.accept().await;
            server.head().await;
            server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        };
        let (code, ()) = tokio::join!(ask(&mut wire, "shop.example"), served);
        assert_eq!(code, 200);
    }
}

#[tokio::test]
async fn who_leaves_amid_an_answer_spoils_nothing_for_others() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let world = world(&authority, &["shop.example"], &[instance.address]);
    let proxy = Proxy::gateway_with(&world, 1, Timeouts::default());
    let other = Client::new(&authority).connect(&proxy, "shop.example").await;
    let mut leaving = narrow(&authority, &proxy, &[]).await;
    leaving.write_all(get_of("shop.example").as_bytes()).await.unwrap();
    let sending = serve_much(&instance).await;
    let mut leaving = Wire::over(leaving);
    leaving.head().await;
    leaving.exactly(1000).await;
    // Until nothing more moves: part of what is promised has gone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(leaving);
    within("the instance to see it", sending).await.unwrap();
    others_are_served(&authority, &proxy, &instance, other).await;
}

#[tokio::test]
async fn who_leaves_amid_a_stream_spoils_nothing_for_others() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let world = world(&authority, &["shop.example"], &[instance.address]);
    let proxy = Proxy::gateway_with(&world, 1, Timeouts::default());
    let other = Client::new(&authority).connect(&proxy, "shop.example").await;
    let leaving = narrow(&authority, &proxy, &[b"h2"]).await;
    let window = u32::try_from(MUCH * 2).unwrap();
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(window).initial_connection_window_size(window);
    let (mut send, connection) = settings.handshake::<_, Bytes>(leaving).await.unwrap();
    let mut connection = Box::pin(connection);
    let request = http::Request::get("https://shop.example/").body(()).unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    let asking = async { tokio::join!(answer, serve_much(&instance)) };
    let (answer, sending) = tokio::select! {
        asked = within("an answer", asking) => asked,
        ended = &mut connection => panic!("it ended: {ended:?}"),
    };
    assert_eq!(answer.unwrap().status(), 200);
    // It reads no more, until nothing moves; then it is gone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(connection);
    within("the instance to see it", sending).await.unwrap();
    others_are_served(&authority, &proxy, &instance, other).await;
}

#[tokio::test]
async fn who_is_slow_or_leaves_in_a_handshake_is_given_up() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let timeouts = Timeouts { head: Duration::from_millis(200), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    let mut silent = proxy.client().await;
    silent.closed().await;
    let hello = hello(&authority);
    let mut slow = proxy.client().await;
    slow.send_bytes(&hello[..hello.len() / 2]).await;
    slow.closed().await;
    // It takes the server's part and says nothing more.
    let mut slow = proxy.client().await;
    slow.send_bytes(&hello).await;
    assert!(!slow.rest().await.is_empty());
    proxy.counted(Count::TlsTimedOut, 3).await;
    for sent in [1, hello.len() / 2, hello.len()] {
        let mut leaving = proxy.client().await;
        leaving.send_bytes(&hello[..sent]).await;
        leaving.abort();
    }
    proxy.counted(Count::TlsBrokenOff, 3).await;
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
}

/// What a client begins with.
fn hello(authority: &Authority) -> Vec<u8> {
    let config = Client::new(authority).config;
    let name = ServerName::try_from("shop.example").unwrap();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.serve("one")]));
    let mut client = proxy.client().await;
    for byte in hello(&authority) {
        client.send_bytes(&[byte]).await;
    }
    assert_eq!(client.exactly(1).await, [22], "a handshake goes on");
}

#[tokio::test]
async fn clients_show_a_certificate_where_they_are_asked_for_one() {
    let (authority, clients, instance) =
        (authority("all"), authority("clients"), Instance::new().await);
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let proxy = Proxy::gateway(&world);
    // Whoever was let in before is asked all the same, ticket or not.
    let versions = [&TLS13, &TLS12];
    let before = Client::new(&authority);
    let mut wire = before.connect(&proxy, "shop.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);

    let believed =
        Certificate { authorities: vec![clients.der().to_vec()], ..Certificate::default() };
    put(&mut world, "default/clients", believed);
    let asked =
        ClientsTls { authorities: vec!["default/clients".to_owned()], insecure_fallback: false };
    let tls = ListenerTls { clients: Some(asked.clone()), ..shows(&["default/shop"]) };
    world.listeners = vec![in_tls("all", None, tls.clone())];
    proxy.publish.send_replace(world.publish());
    eventually("clients to be asked", async || {
        before.refused(&proxy, "shop.example").await != "served"
    })
    .await;
    let told = before.refused(&proxy, "shop.example").await;
    assert!(told.contains("CertificateRequired"), "{told}");
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let own = Client::with(&authority, versions, &[], Some(issue(&clients, &["client"])));
        let mut wire = own.connect(&proxy, "shop.example").await;
        assert_eq!(ask(&mut wire, "shop.example").await, 200);
        let others = Client::with(&authority, versions, &[], Some(issue(&authority, &["client"])));
        let told = others.refused(&proxy, "shop.example").await;
        assert!(told.contains("UnknownCA"), "{told}");
    }
    proxy.counted(Count::TlsClientCertificate, 3).await;

    // Without anybody to verify them by, nobody is let in.
    let nobody = ClientsTls { authorities: vec!["default/absent".to_owned()], ..asked.clone() };
    let nobody = ListenerTls { clients: Some(nobody), ..tls.clone() };
    world.listeners = vec![in_tls("all", None, nobody)];
    proxy.publish.send_replace(world.publish());
    let own = Client::with(&authority, &versions, &[], Some(issue(&clients, &["client"])));
    eventually("a refusal", async || {
        own.refused(&proxy, "shop.example").await.contains("InternalError")
    })
    .await;

    // Asked for, and let in all the same.
    let fallback = ClientsTls { insecure_fallback: true, ..asked };
    let fallback = ListenerTls { clients: Some(fallback), ..tls };
    world.listeners = vec![in_tls("all", None, fallback)];
    proxy.publish.send_replace(world.publish());
    eventually("everybody to be let in", async || {
        before.try_connect(proxy.address(), "shop.example").await.is_ok()
    })
    .await;
    let others = Client::with(&authority, &versions, &[], Some(issue(&authority, &["client"])));
    for client in [&before, &others, &own] {
        let mut wire = client.connect(&proxy, "shop.example").await;
        assert_eq!(ask(&mut wire, "shop.example").await, 200);
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told_so() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.serve("one")]));
    let mut plain = proxy.client().await;
    plain.send(&get("/")).await;
    let (head, body) = plain.answer().await;
    assert_eq!(
        (status(&head), body.as_str()),
        (400, "this port speaks TLS: ask for it with https://\n")
    );
    plain.closed().await;
    let mut garbage = proxy.client().await;
    garbage.send("\u{1}no protocol at all").await;
    let alert = garbage.rest().await;
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");
    proxy.counted(Count::TlsPlainHttp, 1).await;
    proxy.counted(Count::TlsMalformed, 1).await;
    let incompatible = Client::with(&authority, &[&TLS13], &[b"acme-tls/1"], None);
    let told = incompatible.refused(&proxy, "shop.example").await;
    assert!(told.contains("NoApplicationProtocol"), "{told}");
    proxy.counted(Count::TlsIncompatible, 1).await;
    // It left without a word: nothing is wrong.
    drop(proxy.client().await);
    let broken_off = proxy.running.counters().counted(Count::TlsBrokenOff);
    assert_eq!(broken_off, 0);
}

#[tokio::test]
async fn what_is_spoilt_on_its_way_is_refused_wherever_it_comes() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.address]));
    let record = |kind: u8, bytes: &[u8]| [&[kind, 3, 3, 0, bytes.len() as u8][..], bytes].concat();
    let spoilt = [
        b"\0\0\0\0\0\0\0".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        record(23, &[7; 40]),
        record(22, &[1, 0, 0, 1, 9]),
        record(21, &[9, 9]),
        record(20, &[7]),
        [23, 3, 3, 0xff, 0xff].to_vec(),
        [record(23, &[7; 40]), record(23, &[8; 40]), b"nothing".to_vec()].concat(),
    ];
    for bytes in &spoilt {
        let mut within_handshake = proxy.client().await;
        within_handshake.send_bytes(&hello(&authority)).await;
        within_handshake.send_bytes(bytes).await;
        within_handshake.rest().await;
        for versions in [&[&TLS12][..], &[&TLS13][..]] {
            let client = Client::with(&authority, versions, &[], None);
            // Before a request, and while its answer is awaited.
            for is_asked in [false, true] {
                let stream = client.try_connect(proxy.address(), "shop.example").await.unwrap();
                let mut wire = Wire::over(stream);
                let server = match is_asked {
                    false => None,
                    true => {
                        wire.send(&get_of("shop.example")).await;
                        let mut server = instance.accept().await;
                        server.head().await;
                        Some(server)
                    }
                };
                let mut bare = Wire::over(wire.into_stream().into_inner().0);
                bare.send_bytes(bytes).await;
                if let Some(mut server) = server {
                    server.try_send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
                bare.close_write().await;
                bare.rest().await;
            }
        }
    }
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    wire.send(&get_of("shop.example")).await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await.0), 200, "nobody else notices");
}

#[tokio::test]
async fn an_old_version_is_refused_where_the_listener_says_so() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let tls = ListenerTls { minimum: TlsVersion::V1_3, ..shows(&["default/shop"]) };
    world.listeners = vec![in_tls("all", None, tls)];
    let proxy = Proxy::gateway(&world);
    let told = Client::with(&authority, &[&TLS12], &[], None).refused(&proxy, "shop.example").await;
    assert!(told.contains("ProtocolVersion"), "{told}");
    let mut wire =
        Client::with(&authority, &[&TLS13], &[], None).connect(&proxy, "shop.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
}

#[tokio::test]
async fn a_listener_without_a_usable_certificate_refuses_everybody_until_it_has_one() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let mut world = world(&authority, &["shop.example"], &[instance.serve("one")]);
    let good = world.certificates.remove("default/shop").unwrap();
    let wrong = Certificate { key: issue(&authority, &["a"]).key, ..(*good).clone() };
    put(&mut world, "default/shop", wrong);
    let proxy = Proxy::gateway(&world);
    let client = Client::new(&authority);
    let told = client.refused(&proxy, "shop.example").await;
    assert!(told.contains("InternalError"), "{told}");
    proxy.counted(Count::TlsNoCertificate, 1).await;
    world.certificates.insert("default/shop".to_owned(), good);
    proxy.publish.send_replace(world.publish());
    eventually("the certificate", async || {
        client.try_connect(proxy.address(), "shop.example").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_redirect_stays_in_tls() {
    let authority = authority("all");
    let mut world = world(&authority, &["shop.example"], &[]);
    let redirect = RedirectSpec {
        scheme: None,
        hostname: Some("new.example".to_owned()),
        path: None,
        port: None,
        status: 301,
    };
    world.routes[0].2 = vec![FilterSpec::Redirect(redirect)];
    let proxy = Proxy::gateway(&world);
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    wire.send(&get_of("shop.example")).await;
    let (head, _) = wire.answer().await;
    assert_eq!(field(&head, "location"), Some("https://new.example/"));
}

#[tokio::test]
async fn a_tunnel_passes_in_tls() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.address]));
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    wire.send(
        "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly",
    )
    .await;
    let mut server = instance.accept().await;
    server.head().await;
    server
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nlate",
        )
        .await;
    assert_eq!(status(&wire.head().await), 101);
    server.text("early").await;
    wire.text("late").await;
    let much = "x".repeat(500_000);
    let (received, ()) = tokio::join!(server.exactly(much.len()), wire.send(&much));
    assert!(received == much.as_bytes());
    let (received, ()) = tokio::join!(wire.exactly(much.len()), server.send(&much));
    assert!(received == much.as_bytes());
    server.close_write().await;
    let mut rest = Vec::new();
    within("the end", wire.into_stream().read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn draining_ends_idle_clients_in_order() {
    let (authority, instance) = (authority("all"), Instance::new().await);
    let proxy = Proxy::gateway(&world(&authority, &["shop.example"], &[instance.serve("one")]));
    let mut wire = Client::new(&authority).connect(&proxy, "shop.example").await;
    assert_eq!(ask(&mut wire, "shop.example").await, 200);
    let client = Client::with(&authority, &[&TLS13], &[b"h2"], None);
    let stream = client.try_connect(proxy.address(), "shop.example").await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://shop.example/").body(()).unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let whole: Option<Result<Bytes, _>> = within("data", body.data()).await;
    assert!(whole.is_some());
    proxy.running.drain(Duration::from_secs(5)).await;
    let mut rest = Vec::new();
    within("the end", wire.into_stream().read_to_end(&mut rest)).await.unwrap();
    within("the end", connection).await.unwrap().unwrap();
}
