//! The client against a server of our own, which does what servers seldom do: refuses, forgets us, falls silent.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use rcgen::CertifiedKey;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{
    Authorities, Connection, Credentials, Error, Pushed, Server, Settings, TlsSettings,
    message::Payload,
};

/// Longer than anything takes that is not broken.
const SOON: Duration = Duration::from_secs(20);

/// What the server does, and what it heard.
#[derive(Debug, Default)]
struct Scene {
    /// Whoever shows another token is refused; none: everybody is let in.
    token: Mutex<Option<String>>,
    /// Answers to subscriptions, by service; else it is empty.
    services: Mutex<BTreeMap<String, Value>>,
    /// How often the server says that it does not know the connection yet.
    unregistered: Mutex<u32>,
    /// Whether calls are left unanswered.
    silent: Mutex<bool>,
    /// Where the server speaks by itself.
    stream: Mutex<Option<mpsc::Sender<Result<Payload, Status>>>>,
    /// Kinds of what was heard on the stream.
    heard: Mutex<Vec<(String, Value)>>,
    logins: Mutex<VecDeque<(u16, String)>>,
    login_paths: Mutex<Vec<String>>,
    /// An access key's id and secret; whoever does not sign with it is refused.
    access_key: Mutex<Option<(&'static str, &'static str)>>,
}

/// Whether a call is signed with an access key, of this very question.
fn is_signed(asked: &Payload, (id, secret): (&str, &str), body: &Value) -> bool {
    let headers = &asked.metadata.as_ref().unwrap().headers;
    let [ak, data, signature] =
        ["ak", "data", "signature"].map(|name| headers.get(name).cloned().unwrap_or_default());
    let resource =
        ["groupName", "serviceName"].map(|field| body[field].as_str().unwrap()).join("@@");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let is_of_it = data.split_once("@@").is_some_and(|(at, of)| at.len() == 13 && of == resource);
    let signature = BASE64_STANDARD.decode(signature).unwrap_or_default();
    ak == id && is_of_it && hmac::verify(&key, data.as_bytes(), &signature).is_ok()
}

impl Scene {
    fn answer(&self, asked: &Payload) -> Payload {
        let say = |kind: &str, body: Value| Payload::new(kind, &body, Vec::new());
        let fault = |code: i32, words: &str| {
            say("ErrorResponse", json!({"resultCode": 500, "errorCode": code, "message": words}))
        };
        let shown = asked.metadata.as_ref().and_then(|it| it.headers.get("accessToken"));
        let body: Value = asked.read().unwrap();
        match asked.kind() {
            "HealthCheckRequest" => {
                let mut left = self.unregistered.lock();
                if *left > 0 {
                    *left -= 1;
                    return fault(301, "Connection is unregistered.");
                }
                say("HealthCheckResponse", json!({"resultCode": 200}))
            }
            _ if self.token.lock().is_some() && shown != self.token.lock().as_ref() => {
                fault(403, "token expired!")
            }
            _ if self.access_key.lock().is_some_and(|key| !is_signed(asked, key, &body)) => {
                fault(403, "no such key, or it did not sign this")
            }
            "ServiceListRequest" => {
                let names: Vec<String> = self.services.lock().keys().cloned().collect();
                let page = body["pageNo"].as_u64().unwrap() as usize;
                let size = body["pageSize"].as_u64().unwrap() as usize;
                let shown: Vec<_> = names.iter().skip((page - 1) * size).take(size).collect();
                say("ServiceListResponse", json!({"count": names.len(), "serviceNames": shown}))
            }
            "SubscribeServiceRequest" => {
                let name = body["serviceName"].as_str().unwrap();
                match self.services.lock().get(name) {
                    Some(told) => say("SubscribeServiceResponse", told.clone()),
                    None => fault(500, "nobody knows it"),
                }
            }
            other => fault(501, other),
        }
    }

    /// Says something by itself, when it is spoken to.
    async fn push(&self, kind: &str, body: Value) {
        let stream = loop {
            let stream = self.stream.lock().clone();
            match stream {
                Some(stream) => break stream,
                None => tokio::task::yield_now().await,
            }
        };
        stream.send(Ok(Payload::new(kind, &body, Vec::new()))).await.unwrap();
    }
}

#[derive(Debug, Clone)]
struct Calls(Arc<Scene>);

/// Their two services have two names; one is enough for a router that goes by the whole path.
impl NamedService for Calls {
    const NAME: &'static str = "Request";
}

#[derive(Debug, Clone)]
struct Streams(Arc<Scene>);

impl NamedService for Streams {
    const NAME: &'static str = "BiRequestStream";
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<Payload, Payload>::default();
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(codec).unary(service, request).await) })
    }
}

impl UnaryService<Payload> for Calls {
    type Response = Payload;
    type Future = Answer<Result<Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let scene = Arc::clone(&self.0);
        Box::pin(async move {
            if *scene.silent.lock() {
                return std::future::pending().await;
            }
            Ok(Response::new(scene.answer(request.get_ref())))
        })
    }
}

impl Service<http::Request<Body>> for Streams {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<Payload, Payload>::default();
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(codec).streaming(service, request).await) })
    }
}

impl StreamingService<Payload> for Streams {
    type Response = Payload;
    type ResponseStream = ReceiverStream<Result<Payload, Status>>;
    type Future = Answer<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Payload>>) -> Self::Future {
        let scene = Arc::clone(&self.0);
        let (say, stream) = mpsc::channel(8);
        *scene.stream.lock() = Some(say);
        tokio::spawn(async move {
            let mut asked = request.into_inner();
            while let Some(Ok(payload)) = asked.next().await {
                let heard = (payload.kind().to_owned(), payload.read().unwrap());
                scene.heard.lock().push(heard);
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(stream))) })
    }
}

/// Two ports 1000 apart, as those of gRPC and of HTTP are.
async fn two_ports() -> (TcpListener, TcpListener) {
    loop {
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = grpc.local_addr().unwrap().port();
        let Some(below) = port.checked_sub(1000) else { continue };
        if let Ok(web) = TcpListener::bind(("127.0.0.1", below)).await {
            return (grpc, web);
        }
    }
}

/// A server on ports of its own, until it is dropped.
struct Fake {
    scene: Arc<Scene>,
    server: Server,
    _running: JoinSet<()>,
}

impl Fake {
    async fn start() -> Self {
        let scene = Arc::new(Scene::default());
        let (grpc, web) = two_ports().await;
        let port = web.local_addr().unwrap().port();
        let mut running = JoinSet::new();
        let (calls, streams) = (Calls(Arc::clone(&scene)), Streams(Arc::clone(&scene)));
        running.spawn(async move {
            let router =
                tonic::transport::Server::builder().add_service(calls).add_service(streams);
            router.serve_with_incoming(TcpListenerStream::new(grpc)).await.unwrap();
        });
        running.spawn(serve_logins(web, Arc::clone(&scene)));
        Self { scene, server: Server { host: "127.0.0.1".to_owned(), port }, _running: running }
    }

    async fn open(&self, settings: &Settings) -> Result<(Connection, crate::Pushes), Error> {
        tokio::time::timeout(SOON, Connection::open(&self.server, settings, &mut None))
            .await
            .unwrap()
    }
}

/// Answers what stands next in `logins`, one connection after the other; else 404.
async fn serve_logins(listener: TcpListener, scene: Arc<Scene>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes.windows(4).any(|it| it == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        scene.login_paths.lock().push(path);
        let (status, body) =
            scene.logins.lock().pop_front().unwrap_or_else(|| (404, "{}".to_owned()));
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _gone = stream.write_all(answer.as_bytes()).await;
    }
}

fn nobody() -> Settings {
    Settings { namespace: String::new(), secrets: None, tls: None }
}

fn laneway() -> Settings {
    let credentials =
        Credentials::User { name: "laneway".to_owned(), password: "pass&word".to_owned() };
    Settings { secrets: Some(Arc::new(move || Ok(credentials.clone()))), ..nobody() }
}

fn told(name: &str, ports: &[u16]) -> Value {
    let hosts: Vec<Value> =
        ports.iter().map(|port| json!({"ip": "10.0.0.1", "port": port})).collect();
    json!({"resultCode": 200, "serviceInfo": {"name": name, "groupName": "G", "hosts": hosts}})
}

fn token(text: &str) -> (u16, String) {
    (200, json!({"accessToken": text, "tokenTtl": 18_000}).to_string())
}

#[tokio::test]
async fn services_are_listed_subscribed_and_followed() {
    let fake = Fake::start().await;
    *fake.scene.unregistered.lock() = 2;
    for number in 0..12_000 {
        fake.scene.services.lock().insert(format!("s{number}"), told(&format!("s{number}"), &[80]));
    }
    let (connection, mut pushes) = fake.open(&nobody()).await.unwrap();
    let listed = connection.services("G").await.unwrap();
    assert!(listed.is_whole && listed.names.len() == 12_000, "{}", listed.names.len());
    let info = connection.subscribe("G", "s7").await.unwrap();
    assert_eq!((info.group_and_name(), info.hosts.len()), (("G", "s7"), 1));
    let refused = connection.subscribe("G", "unknown").await.unwrap_err();
    assert!(refused.is_of_one_call(), "{refused}");

    fake.scene.push("SetupAckRequest", json!({"requestId": "1"})).await;
    fake.scene.push("NotifySubscriberRequest", json!({"requestId": "2", "serviceInfo": {}})).await;
    let unread = json!({"requestId": "2", "serviceInfo": {"name": "s8", "groupName": "G"}});
    fake.scene.push("NotifySubscriberRequest", unread).await;
    let mut push = told("s7", &[]);
    push["requestId"] = json!("3");
    fake.scene.push("NotifySubscriberRequest", push).await;
    match tokio::time::timeout(SOON, pushes.next()).await.unwrap() {
        Pushed::Unread { group, name } => assert_eq!((&*group, &*name), ("G", "s8")),
        other => panic!("{other:?}"),
    }
    match tokio::time::timeout(SOON, pushes.next()).await.unwrap() {
        Pushed::Service(info) => assert!(info.hosts.is_empty(), "{info:?}"),
        other => panic!("{other:?}"),
    }
    fake.scene.push("ConnectResetRequest", json!({"requestId": "4"})).await;
    match tokio::time::timeout(SOON, pushes.next()).await.unwrap() {
        Pushed::Ended(Error::Reset) => {}
        other => panic!("{other:?}"),
    }
    // Each was answered, by its number, after the introduction, but for what could not be read.
    let answered = async {
        while fake.scene.heard.lock().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, answered).await.unwrap();
    let heard = fake.scene.heard.lock().clone();
    assert_eq!(heard[0].0, "ConnectionSetupRequest");
    let answers: Vec<_> = heard[1..]
        .iter()
        .map(|(kind, body)| (kind.as_str(), body["requestId"].as_str().unwrap()))
        .collect();
    assert_eq!(answers[..2], [("SetupAckResponse", "1"), ("NotifySubscriberResponse", "3")]);
}

#[tokio::test]
async fn a_server_in_trouble_does_not_make_a_name_an_id() {
    let fake = Fake::start().await;
    let settings = Settings { namespace: "dev".to_owned(), ..nobody() };
    let mut known = None;
    let mut id = async |answers: &[(u16, &str)]| {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned()));
        *fake.scene.logins.lock() = answers.collect();
        let found = crate::namespaces::id(&fake.server, &settings, None, &mut known).await;
        found.map_err(|error| error.to_string())
    };
    // Nobody tells namespaces: it is an id.
    assert_eq!(id(&[(404, ""), (403, "")]).await.unwrap(), "dev");
    let failed = id(&[(500, "no database"), (404, "")]).await.unwrap_err();
    assert!(failed.contains("500") && failed.contains("namespace"), "{failed}");
    assert!(id(&[(200, "<html>"), (404, "")]).await.is_err());
    let told = r#"{"data":[{"namespace":"7f3a","namespaceShowName":"dev"}]}"#;
    assert_eq!(id(&[(200, told)]).await.unwrap(), "7f3a");
    // What was found counts for one that does not tell.
    assert_eq!(id(&[(403, ""), (403, "")]).await.unwrap(), "7f3a");
    assert!(id(&[(503, ""), (503, "")]).await.is_err());
}

#[tokio::test]
async fn a_login_that_a_server_in_trouble_does_not_take_is_no_refusal() {
    let fake = Fake::start().await;
    fake.scene.logins.lock().push_back((503, "no database".to_owned()));
    let failed = fake.open(&laneway()).await.unwrap_err();
    assert!(matches!(failed, Error::Ended { .. }), "{failed}");
    assert!(failed.to_string().contains("503"), "{failed}");
}

#[tokio::test]
async fn who_is_forgotten_logs_in_again_once_and_says_what_is_wrong() {
    let fake = Fake::start().await;
    fake.scene.services.lock().insert("a".to_owned(), told("a", &[80]));
    // A server of 2.x knows the second path only.
    fake.scene.logins.lock().extend([
        (404, "{}".to_owned()),
        token("one"),
        (404, "{}".to_owned()),
        token("two"),
    ]);
    *fake.scene.token.lock() = Some("one".to_owned());
    let (connection, _pushes) = fake.open(&laneway()).await.unwrap();
    connection.subscribe("G", "a").await.unwrap();
    *fake.scene.token.lock() = Some("two".to_owned());
    connection.subscribe("G", "a").await.unwrap();
    let paths = fake.scene.login_paths.lock().clone();
    assert_eq!(paths[..2], ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"]);
    assert_eq!(paths.len(), 4);

    // The right user without the right.
    *fake.scene.token.lock() = Some("another's".to_owned());
    fake.scene.logins.lock().push_back(token("three"));
    let refused = connection.subscribe("G", "a").await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the server refuses to tell service `G/a` (403: token expired!); give this user, or this access key, the right to read the namespace"
    );
}

#[tokio::test]
async fn a_refused_login_says_who_and_shows_no_password() {
    let fake = Fake::start().await;
    fake.scene.logins.lock().extend([(403, "unknown user".to_owned()), (404, "{}".to_owned())]);
    let refused = fake.open(&laneway()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the server refuses to log in user `laneway` (403): check user and password"
    );
    assert!(!format!("{refused:?} {:?}", laneway()).contains("pass"));

    *fake.scene.token.lock() = Some("a token".to_owned());
    let (connection, _pushes) = fake.open(&nobody()).await.unwrap();
    let refused = connection.services("G").await.unwrap_err().to_string();
    assert!(refused.ends_with("auth: {accessKey, secretKey} into the source"), "{refused}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_found_out() {
    let fake = Fake::start().await;
    let (connection, _pushes) = fake.open(&nobody()).await.unwrap();
    *fake.scene.silent.lock() = true;
    let late = tokio::time::timeout(SOON, connection.services("G")).await.unwrap().unwrap_err();
    assert!(matches!(late, Error::Late { .. }) && !late.is_of_one_call(), "{late}");
}

#[tokio::test]
async fn who_does_not_listen_is_named_with_the_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    drop(listener);
    let server = Server { host: "127.0.0.1".to_owned(), port: address.port().saturating_sub(1000) };
    let failed = Connection::open(&server, &nobody(), &mut None).await.unwrap_err().to_string();
    assert!(failed.contains(&address.to_string()) && failed.contains("1000 above"), "{failed}");
}

/// A port that takes TLS off what it hands on, as a server with TLS does.
async fn in_tls(config: Arc<ServerConfig>, to: SocketAddr, listener: TcpListener) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Ok(mut plain) = tokio::net::TcpStream::connect(to).await else { return };
            let _over = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
        });
    }
}

#[tokio::test]
async fn both_ports_are_asked_in_tls_and_believed_by_their_authority_alone() {
    let fake = Fake::start().await;
    fake.scene.services.lock().insert("a".to_owned(), told("a", &[80]));
    fake.scene.logins.lock().push_back(token("one"));
    *fake.scene.token.lock() = Some("one".to_owned());
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["nacos.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let (grpc, web) = two_ports().await;
    let port = web.local_addr().unwrap().port();
    let mut running = JoinSet::new();
    for (listener, behind) in [(grpc, fake.server.grpc_port()), (web, fake.server.port)] {
        let to = SocketAddr::from(([127, 0, 0, 1], behind));
        running.spawn(in_tls(Arc::clone(&config), to, listener));
    }
    let server = Server { host: "127.0.0.1".to_owned(), port };
    let tls = |pem: String, name: &str| TlsSettings {
        authorities: Authorities::Pem(pem),
        server_name: Some(name.to_owned()),
    };
    let settings = Settings { tls: Some(tls(cert.pem(), "nacos.example")), ..laneway() };
    let (connection, _pushes) = Connection::open(&server, &settings, &mut None).await.unwrap();
    assert_eq!(connection.services("G").await.unwrap().names.len(), 1);

    // Another's authority, another's name: nothing is shown to whoever that is.
    let others = rcgen::generate_simple_self_signed(["nacos.example".to_owned()]).unwrap().cert;
    fake.scene.login_paths.lock().clear();
    for (pem, name) in [(others.pem(), "nacos.example"), (cert.pem(), "other.example")] {
        let settings = Settings { tls: Some(tls(pem, name)), ..laneway() };
        let refused =
            Connection::open(&server, &settings, &mut None).await.unwrap_err().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
    assert!(fake.scene.login_paths.lock().is_empty());
}

#[tokio::test]
async fn whoever_has_an_access_key_signs_each_call_and_a_new_secret_is_taken() {
    let fake = Fake::start().await;
    let told =
        json!({"resultCode": 200, "serviceInfo": {"name": "a", "groupName": "G", "hosts": []}});
    fake.scene.services.lock().insert("a".to_owned(), told);
    *fake.scene.access_key.lock() = Some(("LTAI", "one"));
    let secret = Arc::new(Mutex::new("one"));
    let read = Arc::clone(&secret);
    let credentials = move || {
        Ok(Credentials::AccessKey { id: "LTAI".to_owned(), secret: (*read.lock()).to_owned() })
    };
    let settings = Settings { secrets: Some(Arc::new(credentials)), ..nobody() };
    let (connection, _pushes) = fake.open(&settings).await.unwrap();
    assert!(connection.services("G").await.unwrap().names.contains("a"));
    connection.subscribe("G", "a").await.unwrap();
    // Another secret was given out, and is read again once the old one is refused.
    *fake.scene.access_key.lock() = Some(("LTAI", "two"));
    *secret.lock() = "two";
    connection.subscribe("G", "a").await.unwrap();
    *fake.scene.access_key.lock() = Some(("other", "two"));
    let refused = connection.subscribe("G", "a").await.unwrap_err().to_string();
    assert!(refused.contains("no such key") && refused.contains("this access key"), "{refused}");
    // Nobody logs in.
    assert!(fake.scene.login_paths.lock().is_empty());
}
