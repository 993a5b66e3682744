//! Instances that speak TLS, played by a library of others.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proxy::limits::Timeouts;
use routes::tls::{Authorities, Certificate, UpstreamTls};
use rustls::{HandshakeKind, ServerConfig, pki_types::PrivateKeyDer};
use telemetry::Count;
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    tls::{Authority, authority, issue, put},
    world::{Instance, Proxy, Wire, World, eventually, get, status, within},
};

/// A connection in TLS that an instance has taken.
pub(crate) type Taken = Wire<TlsStream<TcpStream>>;

/// Takes connections in TLS for as long as the test runs, and tells of each what the handshake was like.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    taken: UnboundedReceiver<Taken>,
}

impl Secure {
    pub(crate) async fn new(certificate: &Certificate, inside: &[&[u8]]) -> Self {
        let chain = certificate.chain.iter().cloned().map(Into::into).collect();
        let key = certificate.key.clone().unwrap();
        let key = PrivateKeyDer::try_from(key.der().to_vec()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = inside.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let instance = Instance::new().await;
        let address = instance.address;
        let (tell, taken) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(stream) = instance.take().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = tell.send(Wire::over(stream));
                    }
                });
            }
        });
        Self { address, taken }
    }

    pub(crate) async fn accept(&mut self) -> Taken {
        within("a connection in TLS", self.taken.recv()).await.unwrap()
    }

    /// Whether nobody has come whom it has not yet accepted.
    pub(crate) fn is_untouched(&mut self) -> bool {
        self.taken.try_recv().is_err()
    }
}

fn believes(hostname: &str, authorities: &[&str]) -> UpstreamTls {
    let authorities = authorities.iter().map(|name| (*name).to_owned()).collect();
    UpstreamTls {
        hostname: hostname.to_owned(),
        authorities: Authorities::Certificates(authorities),
        names: Vec::new(),
    }
}

/// A world whose backend speaks TLS.
fn world(authority: &Authority, tls: UpstreamTls, instances: &[SocketAddr]) -> World {
    let mut world = World::new(instances);
    world.backends_tls = Some(tls);
    let believed =
        Certificate { authorities: vec![authority.der().to_vec()], ..Certificate::default() };
    put(&mut world, "default/authority", believed);
    world
}

/// Answers the next request on a connection.
async fn serve(server: &mut Taken) -> String {
    let head = server.head().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    head
}

#[tokio::test]
async fn an_instance_is_asked_in_tls_and_its_connection_and_session_used_again() {
    let authority = authority("instances");
    let certificate = issue(&authority, &["orders.internal"]);
    let mut instance = Secure::new(&certificate, &[b"http/1.1"]).await;
    let tls = believes("orders.internal", &["default/authority"]);
    let mut world = world(&authority, tls, &[instance.address]);
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client.send(&get("/a?b")).await;
    let mut server = instance.accept().await;
    let head = serve(&mut server).await;
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(client.answer().await.1, "ok");
    // On the same connection; and for whoever comes by a picture that says the same.
    for repeat in 0..2 {
        client.send(&get("/")).await;
        serve(&mut server).await;
        assert_eq!(status(&client.answer().await.0), 200, "{repeat}");
        proxy.publish.send_replace(world.publish());
    }
    // A large body both ways.
    let much = "x".repeat(1_000_000);
    let head = format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n", much.len());
    let sending = async {
        client.send(&head).await;
        client.send(&much).await;
        client.answer().await.1
    };
    let serving = async {
        server.head().await;
        assert!(server.exactly(much.len()).await == much.as_bytes());
        server
            .send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{much}", much.len()))
            .await;
    };
    let (answer, ()) = tokio::join!(sending, serving);
    assert!(answer == much);
    // The next connection goes on with the session.
    server.close_write().await;
    drop(server);
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    serve(&mut server).await;
    assert_eq!(status(&client.answer().await.0), 200);
    assert_eq!(server.into_stream().get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));

    // Who is believed otherwise is not asked on connections of before.
    let mut client = proxy.client().await;
    world.backends_tls = Some(believes("other.internal", &["default/authority"]));
    proxy.publish.send_replace(world.publish());
    eventually("another name to be asked for", async || {
        client.send(&get("/")).await;
        status(&client.answer().await.0) == 502
    })
    .await;
}

#[tokio::test]
async fn who_is_not_believed_by_one_policy_is_not_put_aside_for_another() {
    let authority = authority("instances");
    let mut instance = Secure::new(&issue(&authority, &["orders.internal"]), &[]).await;
    let right = believes("orders.internal", &["default/authority"]);
    let mut world = world(&authority, right.clone(), &[instance.address]);
    let proxy = Proxy::gateway(&world);
    let connections = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Some(mut server) = instance.taken.recv().await {
            made.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                loop {
                    serve(&mut server).await;
                }
            });
        }
    });
    let mut client = proxy.client().await;
    for (tls, expected) in [
        (right.clone(), 200),
        (believes("other.internal", &["default/authority"]), 502),
        (right, 200),
    ] {
        world.backends_tls = Some(tls);
        proxy.publish.send_replace(world.publish());
        eventually("an answer by the policy", async || {
            client.send(&get("/")).await;
            status(&client.answer().await.0) == expected
        })
        .await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the one of before was still there");
}

#[tokio::test]
async fn who_is_not_believed_is_not_asked() {
    let (authority, others) = (authority("instances"), authority("others"));
    let named = issue(&authority, &["orders.internal", "*.shop.internal"]);
    let strange = issue(&others, &["orders.internal"]);
    for (certificate, tls, expected) in [
        (&strange, believes("orders.internal", &["default/authority"]), "UnknownIssuer"),
        (&named, believes("other.internal", &["default/authority"]), "not valid for name"),
        (&named, believes("orders.internal", &["default/absent"]), "authorities"),
        (
            &named,
            UpstreamTls {
                names: vec!["spelt.otherwise".to_owned()],
                ..believes("orders.internal", &["default/authority"])
            },
            "not valid for name",
        ),
        (
            &named,
            UpstreamTls { authorities: Authorities::System, ..believes("orders.internal", &[]) },
            "",
        ),
    ] {
        let mut instance = Secure::new(certificate, &[b"http/1.1"]).await;
        let proxy = Proxy::gateway(&world(&authority, tls.clone(), &[instance.address]));
        let mut client = proxy.client().await;
        client.send(&get("/")).await;
        let (head, body) = client.answer().await;
        let status = status(&head);
        assert!(matches!(status, 500 | 502) && body.contains(expected), "{tls:?}: {status} {body}");
        assert_eq!(status == 500, expected == "authorities" || body.contains("the system"));
        if status == 502 {
            assert!(body.contains("upstream certificate does not verify: "), "{body}");
            proxy.counted(Count::UpstreamTlsCertificate, 1).await;
        }
        assert!(instance.taken.try_recv().is_err(), "nothing was asked");
    }
    // Another name than the one that is asked for.
    let tls = UpstreamTls {
        names: vec!["spelt.otherwise".to_owned(), "a.shop.internal".to_owned()],
        ..believes("asked.for", &["default/authority"])
    };
    let mut instance = Secure::new(&named, &[]).await;
    let proxy = Proxy::gateway(&world(&authority, tls, &[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let mut server = instance.accept().await;
    serve(&mut server).await;
    assert_eq!(status(&client.answer().await.0), 200);
    assert_eq!(server.into_stream().get_ref().1.server_name(), Some("asked.for"));
}

#[tokio::test]
async fn an_instance_that_speaks_something_else_is_named() {
    let authority = authority("instances");
    let plain = Instance::new().await;
    let tls = believes("orders.internal", &["default/authority"]);
    let address = plain.address;
    tokio::spawn(async move {
        let mut server = plain.accept().await;
        server.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        server.rest().await;
    });
    let proxy = Proxy::gateway(&world(&authority, tls.clone(), &[address]));
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 502);
    assert!(body.contains("cannot agree on TLS with the instance"), "{body}");
    proxy.counted(Count::UpstreamTlsFailed, 1).await;

    // It takes the connection and says nothing.
    let silent = Instance::new().await;
    let timeouts = Timeouts { connect: Duration::from_millis(200), ..Timeouts::default() };
    let proxy =
        Proxy::gateway_with(&world(&authority, tls.clone(), &[silent.address]), 1, timeouts);
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    assert_eq!(status(&client.answer().await.0), 502);
    proxy.counted(Count::UpstreamTlsTimedOut, 1).await;

    // HTTP/2 alone is asked for.
    let old = Secure::new(&issue(&authority, &["orders.internal"]), &[]).await;
    let mut world = world(&authority, tls, &[old.address]);
    world.backends_speak_http2 = true;
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 502);
    assert!(body.contains("it does not speak HTTP/2"), "{body}");
}

#[tokio::test]
async fn instances_are_asked_in_http2_within_tls() {
    let authority = authority("instances");
    let mut instance =
        Secure::new(&issue(&authority, &["orders.internal"]), &[b"h2", b"http/1.1"]).await;
    let tls = believes("orders.internal", &["default/authority"]);
    let mut world = world(&authority, tls, &[instance.address]);
    world.backends_speak_http2 = true;
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client.send(&get("/a")).await;
    let stream = instance.accept().await.into_stream();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut connection = within("a handshake", h2::server::handshake(stream)).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut schemes = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            schemes.push(request.uri().scheme_str().map(str::to_owned));
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data("ok".into(), true).unwrap();
        }
        schemes
    });
    for _ in 0..2 {
        assert_eq!(status(&client.head().await), 200);
        client.text("2\r\nok\r\n0\r\n\r\n").await;
        client.send(&get("/b")).await;
    }
    client.head().await;
    drop(proxy);
    let schemes = within("the end", serving).await.unwrap();
    assert_eq!(schemes, vec![Some("https".to_owned()); 3]);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_does_not_seem_whole() {
    let authority = authority("instances");
    let mut instance = Secure::new(&issue(&authority, &["orders.internal"]), &[]).await;
    let tls = believes("orders.internal", &["default/authority"]);
    let proxy = Proxy::gateway(&world(&authority, tls, &[instance.address]));
    for is_whole in [true, false] {
        let mut client = proxy.client().await;
        client.send(&get("/")).await;
        let mut server = instance.accept().await;
        server.head().await;
        server.send("HTTP/1.1 200 OK\r\n\r\nsome").await;
        client.head().await;
        client.text("some").await;
        if is_whole {
            // It says so, and ends.
            server.close_write().await;
            client.closed().await;
        } else {
            // The end of the connection could be anybody's.
            drop(server.into_stream().into_inner().0);
            client.reset().await;
        }
    }
}
