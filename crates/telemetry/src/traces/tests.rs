//! What a collector is sent, and what becomes of spans that none takes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span as Told, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::{Outcome, Role};

fn config(at: SocketAddr) -> TracesConfig {
    config_of(&format!("http://{at}"), Protocol::HttpProtobuf)
}

fn config_of(url: &str, protocol: Protocol) -> TracesConfig {
    TracesConfig {
        collector: Collector {
            endpoint: Endpoint::of(url, protocol).unwrap(),
            ca_file: None,
            headers: Headers::default(),
        },
        sampler: RootSampler::of_hundredths(10_000),
        resource: Resource {
            service: "spring-cloud-b".into(),
            instance: "node-1".into(),
            version: "1.2.3",
            tag: "gray".into(),
        },
    }
}

fn record() -> RequestRecord {
    RequestRecord {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
        duration: Duration::from_millis(12),
        protocol: "HTTP/1.1",
        method: "GET".into(),
        host: "sc-b".into(),
        path: "/b".into(),
        status: 200,
        service: "sc-B".into(),
        lanes: vec![("trade".into(), "gray".into())],
        lane_group: "trade".into(),
        lane: "gray".into(),
        outcome: Outcome::Fallback,
        trace_id: Some([0xab; 16]),
        span: Some(Span { id: [1; 8], parent: Some([2; 8]) }),
        ..RequestRecord::new(Role::SidecarOutbound, "127.0.0.1".parse().unwrap())
    }
}

/// Takes one message on a connection, and answers with this status. The head, and what was posted.
async fn take(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    status: &str,
) -> (String, ExportTraceServiceRequest) {
    let mut received = Vec::new();
    let at = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(stream.read_buf(&mut received).await.unwrap() > 0);
    };
    let head = String::from_utf8(received[..at].to_vec()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    while received.len() < at + length {
        assert!(stream.read_buf(&mut received).await.unwrap() > 0);
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, ExportTraceServiceRequest::decode(&received[at..]).unwrap())
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

fn spans(told: &ExportTraceServiceRequest) -> Vec<Told> {
    let resource = told.resource_spans.iter();
    resource.flat_map(|it| &it.scope_spans).flat_map(|it| it.spans.clone()).collect()
}

async fn counted(traces: &Traces, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut samples = Samples::new();
        traces.sample(&mut samples);
        let told = samples.into_text();
        if told.contains(expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{expected} in {told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_collector_is_told_in_its_own_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let traces = Traces::start(config(listener.local_addr().unwrap())).unwrap();
    traces.send(record());
    let failed = RequestRecord {
        method: "BREW".into(),
        status: 503,
        reason: "no usable base instance of sc-B".into(),
        outcome: Outcome::Failed,
        grpc_status: Some(14),
        lane_group: String::new(),
        lane: String::new(),
        lanes: Vec::new(),
        span: Some(Span { id: [3; 8], parent: None }),
        ..RequestRecord { role: Role::Gateway, ..record() }
    };
    traces.send(failed);
    let (mut stream, _) = listener.accept().await.unwrap();
    let (head, told) = take(&mut stream, "200 OK").await;
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let resource = &told.resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(text(resource, "service.name").unwrap(), "spring-cloud-b");
    assert_eq!(text(resource, "laneway.tag").unwrap(), "gray");
    let scope = told.resource_spans[0].scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((&*scope.name, &*scope.version), ("laneway", "1.2.3"));

    let spans = spans(&told);
    let [fallback, failed] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(fallback.trace_id, [0xab; 16]);
    assert_eq!((&*fallback.span_id, &*fallback.parent_span_id), (&[1; 8][..], &[2; 8][..]));
    assert_eq!((fallback.name.as_str(), fallback.kind()), ("GET sc-B", SpanKind::Client));
    assert_eq!(fallback.start_time_unix_nano, 7_000_000_000);
    assert_eq!(fallback.end_time_unix_nano, 7_012_000_000);
    assert_eq!(fallback.status.as_ref().unwrap().code(), StatusCode::Unset);
    let told = &fallback.attributes;
    for (key, expected) in [
        ("lane.group", "trade"),
        ("lane.name", "gray"),
        ("laneway.outcome", "fallback"),
        ("http.request.method", "GET"),
        ("url.path", "/b"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(text(told, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(value(told, "lane.fallback"), Some(Value::BoolValue(true)));
    assert_eq!(value(told, "http.response.status_code"), Some(Value::IntValue(200)));

    assert_eq!((failed.name.as_str(), failed.kind()), ("HTTP sc-B", SpanKind::Server));
    assert!(failed.parent_span_id.is_empty());
    let status = failed.status.as_ref().unwrap();
    assert_eq!(
        (status.code(), &*status.message),
        (StatusCode::Error, "no usable base instance of sc-B")
    );
    assert_eq!(text(&failed.attributes, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(text(&failed.attributes, "error.type").unwrap(), "503");
    assert_eq!(value(&failed.attributes, "rpc.grpc.status_code"), Some(Value::IntValue(14)));
    assert_eq!(value(&failed.attributes, "lane.group"), None);
    counted(&traces, "laneway_spans_total{result=\"exported\"} 2\n").await;
}

#[tokio::test]
async fn what_a_collector_does_not_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let traces = Traces::start(config(listener.local_addr().unwrap())).unwrap();
    traces.send(record());
    let (mut stream, _) = listener.accept().await.unwrap();
    let (_, first) = take(&mut stream, "503 Service Unavailable").await;
    let (_, again) = take(&mut stream, "200 OK").await;
    assert_eq!(first, again);
    counted(&traces, "laneway_spans_total{result=\"exported\"} 1\n").await;
    traces.send(record());
    take(&mut stream, "400 Bad Request").await;
    counted(&traces, "laneway_spans_total{result=\"failed\"} 1\n").await;
}

#[tokio::test]
async fn without_a_collector_what_does_not_fit_is_counted_and_nobody_waits() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let traces = Traces::start(config(nobody)).unwrap();
    for _ in 0..SPANS_WAITING_MAX + 10 {
        traces.send(record());
    }
    counted(&traces, "laneway_spans_total{result=\"dropped\"} 10\n").await;
    // It does not hold up the end: one more attempt at the most.
    let begun = Instant::now();
    traces.close().await;
    assert!(begun.elapsed() < SENT_WITHIN + Duration::from_secs(1), "{:?}", begun.elapsed());
    let all = format!("laneway_spans_total{{result=\"failed\"}} {SPANS_WAITING_MAX}\n");
    counted(&traces, &all).await;
}

#[tokio::test]
async fn what_waits_is_sent_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let traces = Traces::start(config(listener.local_addr().unwrap())).unwrap();
    let taken = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut taken = 0;
        while taken < 600 {
            taken += spans(&take(&mut stream, "200 OK").await.1).len();
        }
    });
    for _ in 0..600 {
        traces.send(record());
    }
    traces.close().await;
    taken.await.unwrap();
    counted(&traces, "laneway_spans_total{result=\"exported\"} 600\n").await;
}

#[test]
fn of_traces_that_begin_here_as_many_are_sampled_as_was_said_and_everywhere_the_same() {
    let id = |number: u64| {
        // Spread over all ids, by Fibonacci hashing; what is before the random part does not matter.
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
        (u128::from(number) << 64 | u128::from(random)).to_be_bytes()
    };
    for (hundredths, expected) in [(0, 0), (1, 1), (1250, 1250), (9999, 9999), (10_000, 10_000)] {
        let sampler = RootSampler::of_hundredths(hundredths);
        let sampled = (0..10_000).filter(|number| sampler.samples(id(*number))).count();
        assert!(sampled.abs_diff(expected) <= 2, "{sampled} instead of {expected}");
        let more = RootSampler::of_hundredths(hundredths + 100);
        assert!((0..10_000).all(|it| !sampler.samples(id(it)) || more.samples(id(it))));
    }
    assert!(RootSampler::of_hundredths(10_000).samples([0xff; 16]));
    assert!(!RootSampler::of_hundredths(0).samples([0; 16]));
}

/// An authority, and TLS of a server that it signs for, at 127.0.0.1.
struct Authority {
    directory: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

impl Authority {
    fn new(protocol: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(directory.path().join("ca.pem"), signed.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der());
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.into()], key.unwrap())
            .unwrap();
        server.alpn_protocols = vec![protocol.to_vec()];
        Self { directory, acceptor: Arc::new(server).into() }
    }

    /// What is sent to a collector that it signs for.
    fn config(&self, at: SocketAddr, protocol: Protocol) -> TracesConfig {
        let mut config = config_of(&format!("https://{at}"), protocol);
        config.collector.ca_file = Some(self.directory.path().join("ca.pem"));
        config.collector.headers = Headers::parse("authorization=Bearer%20s3cr3t").unwrap();
        config
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<TlsStream<TcpStream>> {
        let (stream, _) = listener.accept().await.unwrap();
        self.acceptor.accept(stream).await
    }
}

#[tokio::test]
async fn a_collector_is_reached_in_tls_by_http_and_shown_the_headers() {
    let authority = Authority::new(b"http/1.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = authority.config(listener.local_addr().unwrap(), Protocol::HttpProtobuf);
    assert!(!format!("{config:?}").contains("s3cr3t"));
    let traces = Traces::start(config).unwrap();
    traces.send(record());
    let mut stream = authority.accept(&listener).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (head, told) = take(&mut stream, "200 OK").await;
    assert!(head.contains("\r\nauthorization: bearer s3cr3t\r\n"), "{head}");
    assert_eq!(spans(&told)[0].name, "GET sc-B");
    counted(&traces, "laneway_spans_total{result=\"exported\"} 1\n").await;
}

#[tokio::test]
async fn who_is_signed_for_by_somebody_else_is_told_nothing() {
    let (authority, other) = (Authority::new(b"http/1.1"), Authority::new(b"http/1.1"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let traces = Traces::start(authority.config(at, Protocol::HttpProtobuf)).unwrap();
    traces.send(record());
    let refused = async { while other.accept(&listener).await.is_err() {} };
    let failed = "laneway_spans_total{result=\"failed\"} 1\n";
    tokio::select! {
        () = refused => panic!("it was believed"),
        () = counted(&traces, failed) => {}
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_refused() {
    let mut config = config_of("https://127.0.0.1", Protocol::Grpc);
    config.collector.ca_file = Some("/no/such/file".into());
    assert!(Traces::start(config.clone()).is_err());
    let nobody = tempfile::NamedTempFile::new().unwrap();
    config.collector.ca_file = Some(nobody.path().into());
    assert_eq!(Traces::start(config).unwrap_err().to_string(), "no certificate in it");
}

/// A collector by OpenTelemetry's own code. It takes the first call at the second attempt, and refuses the second for good.
struct Service {
    calls: std::sync::atomic::AtomicU64,
    told: mpsc::UnboundedSender<(Option<String>, ExportTraceServiceRequest)>,
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let shown = request.metadata().get("authorization");
        let shown = shown.map(|value| value.to_str().unwrap().to_owned());
        self.told.send((shown, request.into_inner())).unwrap();
        match self.calls.fetch_add(1, Relaxed) {
            0 => Err(Status::new(Code::Unavailable, "later")),
            1 => Ok(Response::new(ExportTraceServiceResponse::default())),
            _ => Err(Status::new(Code::InvalidArgument, "never")),
        }
    }
}

#[tokio::test]
async fn a_collector_is_reached_in_tls_by_grpc_and_shown_the_headers() {
    let authority = Authority::new(b"h2");
    let (outside, inside) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), "127.0.0.1:0".parse().unwrap());
    let (told, mut all_told) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Service { calls: 0.into(), told });
    let incoming = tonic::transport::server::TcpIncoming::bind(inside).unwrap();
    let inside = incoming.local_addr().unwrap();
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(incoming));
    let config = authority.config(outside.local_addr().unwrap(), Protocol::Grpc);
    tokio::spawn(async move {
        let mut stream = authority.accept(&outside).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut server = TcpStream::connect(inside).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    });
    let traces = Traces::start(config).unwrap();
    traces.send(record());
    let (shown, first) = all_told.recv().await.unwrap();
    assert_eq!(shown.as_deref(), Some("Bearer s3cr3t"));
    assert_eq!(spans(&first)[0].name, "GET sc-B");
    assert_eq!(all_told.recv().await.unwrap().1, first, "sent again");
    counted(&traces, "laneway_spans_total{result=\"exported\"} 1\n").await;
    traces.send(record());
    all_told.recv().await.unwrap();
    counted(&traces, "laneway_spans_total{result=\"failed\"} 1\n").await;
    assert!(all_told.try_recv().is_err(), "not again");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_neither_whoever_sends_nor_the_end() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let traces = Traces::start(config_of(&url, protocol)).unwrap();
        traces.send(record());
        let _hung = listener.accept().await.unwrap();
        for _ in 0..2 * SPANS_WAITING_MAX {
            traces.send(record());
        }
        let begun = Instant::now();
        traces.close().await;
        assert!(begun.elapsed() < SENT_WITHIN + Duration::from_secs(1), "{:?}", begun.elapsed());
        let mut samples = Samples::new();
        traces.sample(&mut samples);
        let told = samples.into_text();
        assert!(!told.contains("laneway_spans_total{result=\"dropped\"} 0\n"), "{told}");
    }
}
