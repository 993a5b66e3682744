//! Traces at a proxy: what goes on of a request's place in its trace, and which requests have a span.

use lanes::{group::Fallback, service::Protocol};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;
use proxy::Watched;
use telemetry::{
    RequestObservers,
    traces::{self, Endpoint, Headers, Resource, RootSampler, Traces, TracesConfig},
};
use tokio::sync::mpsc;

use crate::world::{
    Instance, Proxy, Wire, World, field, gateway_entrance, group, listener, own_port, status,
    within,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that the test plays, and what sends to it.
struct Collector {
    instance: Instance,
    traces: Traces,
}

impl Collector {
    async fn sampling(hundredths: u32) -> Self {
        let instance = Instance::new().await;
        let traces = Traces::start(TracesConfig {
            collector: telemetry::traces::Collector {
                endpoint: Endpoint::of(
                    &format!("http://{}", instance.address),
                    traces::Protocol::HttpProtobuf,
                )
                .unwrap(),
                ca_file: None,
                headers: Headers::default(),
            },
            sampler: RootSampler::of_hundredths(hundredths),
            resource: Resource {
                service: "edge".into(),
                instance: "node".into(),
                version: "0",
                tag: String::new(),
            },
        })
        .unwrap();
        Self { instance, traces }
    }

    fn observers(&self) -> RequestObservers {
        RequestObservers { access_log: None, traces: Some(self.traces.clone()) }
    }

    fn gateway(&self, world: &World) -> Proxy {
        let mut config = Proxy::at_the_edge();
        config.observers = self.observers();
        Proxy::gateway_of(world, config)
    }

    /// The spans that are sent, once there are so many.
    async fn spans(&self, count: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let mut wire = self.instance.accept().await;
            let head = wire.head().await;
            let length = field(&head, "content-length").unwrap().parse().unwrap();
            let body = wire.exactly(length).await;
            wire.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
            let told = ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans;
            let told = told.into_iter().flat_map(|it| it.scope_spans);
            spans.extend(told.flat_map(|it| it.spans));
        }
        spans
    }
}

async fn world(trusted: bool) -> World {
    let mut world = World::new(&[Instance::new().await.serve("a")]);
    world.listeners = vec![listener(80, trusted)];
    world
}

/// The `traceparent` that an instance was sent: trace, parent, flags.
async fn sent_on(
    client: &mut Wire,
    target: &str,
    traceparent: Option<&str>,
) -> Option<[String; 3]> {
    let traceparent = traceparent.map(|it| format!("traceparent: {it}\r\n")).unwrap_or_default();
    client.send(&format!("GET {target} HTTP/1.1\r\nHost: sc-A\r\n{traceparent}\r\n")).await;
    let (head, asked) = client.answer().await;
    assert_eq!(status(&head), 200, "{asked}");
    let values: Vec<_> = asked.lines().filter(|line| line.starts_with("traceparent:")).collect();
    assert!(values.len() <= 1, "{asked}");
    let value = field(&asked, "traceparent")?;
    let parts: Vec<_> = value.split('-').map(str::to_owned).collect();
    let [version, trace, parent, flags] = <[String; 4]>::try_from(parts).unwrap();
    assert_eq!(version, "00");
    Some([trace, parent, flags])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn an_instance_is_told_the_span_of_the_proxy_before_it() {
    let collector = Collector::sampling(10_000).await;
    let proxy = collector.gateway(&world(true).await);
    let mut client = proxy.client().await;
    let sampled = format!("00-{TRACE}-{PARENT}-03");
    let below = sent_on(&mut client, "/", Some(&sampled)).await.unwrap();
    let begun = sent_on(&mut client, "/", None).await.unwrap();
    let spans = collector.spans(2).await;
    let [first, second] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!([hex(&first.trace_id), hex(&first.span_id)], below[..2]);
    assert_eq!((below[0].as_str(), below[2].as_str()), (TRACE, "03"));
    assert_eq!(hex(&first.parent_span_id), PARENT);
    assert_ne!(below[1], PARENT);
    // Where a trace begins its first span is the proxy's.
    assert_eq!([hex(&second.trace_id), hex(&second.span_id)], begun[..2]);
    assert_eq!(begun[2], "01");
    assert!(second.parent_span_id.is_empty());
}

#[tokio::test]
async fn what_is_not_sampled_has_no_span_and_says_so_on() {
    let collector = Collector::sampling(0).await;
    let proxy = collector.gateway(&world(true).await);
    let mut client = proxy.client().await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let told = sent_on(&mut client, "/", Some(&unsampled)).await.unwrap();
    assert_eq!(told, [TRACE, PARENT, "00"]);
    let [_, _, flags] = sent_on(&mut client, "/", None).await.unwrap();
    assert_eq!(flags, "00", "a trace that begins here");
    // Whoever began a trace has decided for all.
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    sent_on(&mut client, "/", Some(&sampled)).await.unwrap();
    assert_eq!(collector.spans(1).await.len(), 1);
}

#[tokio::test]
async fn who_watches_a_lane_is_told_of_requests_that_have_no_span_too() {
    let collector = Collector::sampling(0).await;
    let mut world = world(true).await;
    let instance = world.services[0].2[0].0;
    world.services = vec![("sc-A", "a", vec![(instance, Some("gray"))])];
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    let proxy = collector.gateway(&world);
    let (tell, mut told) = mpsc::channel(1);
    let (watched_group, lane) = ("trade".to_owned(), "gray".to_owned());
    let watched = Watched { group: watched_group, lane, share: u32::MAX };
    proxy.running.tap().watch(vec![watched], 50, tell);
    let mut client = proxy.client().await;
    client.send("GET /a HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    let (_, asked) = client.answer().await;
    let sent_on = field(&asked, "traceparent").unwrap();
    assert!(sent_on.ends_with("-00"), "{sent_on}");
    let tapped = within("a request that is watched", told.recv()).await.unwrap();
    assert_eq!((tapped.path.as_str(), tapped.ids[0].as_str()), ("/a", &sent_on[3..35]));
}

#[tokio::test]
async fn a_stranger_decides_nothing_and_who_is_refused_has_a_span() {
    let collector = Collector::sampling(10_000).await;
    let mut world = world(false).await;
    world.routes[0].0 = "/a";
    let proxy = collector.gateway(&world);
    let mut client = proxy.client().await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let [trace, _, flags] = sent_on(&mut client, "/a", Some(&unsampled)).await.unwrap();
    assert!(trace != TRACE && flags == "01", "{trace} {flags}");
    client.send("GET /none HTTP/1.1\r\nHost: shop\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 404);
    // Before anybody has looked whether he is believed.
    client.send(&format!("OPTIONS / HTTP/1.1\r\nHost: shop\r\nMax-Forwards: 0\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n")).await;
    assert_eq!(status(&client.answer().await.0), 200);
    let spans = collector.spans(3).await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|span| span.parent_span_id.is_empty()));
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE));
    assert_ne!(spans[0].trace_id, spans[1].trace_id);
}

#[tokio::test]
async fn at_a_sidecar_what_is_in_no_trace_stays_in_none_and_the_rest_keeps_its_trace() {
    let collector = Collector::sampling(10_000).await;
    let world = world(false).await;
    let application = world.services[0].2[0].0;
    let mut config = Proxy::beside(None, vec![own_port("sc-A", Protocol::Http, application)]);
    config.observers = collector.observers();
    let proxy = Proxy::sidecar_with(&world, config);
    let mut caller = Wire::connect(proxy.inbound()).await;
    assert_eq!(sent_on(&mut caller, "/", None).await, None);
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let inbound = sent_on(&mut caller, "/", Some(&sampled)).await.unwrap();
    let mut own = proxy.client().await;
    // An application that only passes on what it was told.
    let passed_on = format!("00-{}-{}-{}", inbound[0], inbound[1], inbound[2]);
    let outbound = sent_on(&mut own, "http://sc-A/", Some(&passed_on)).await.unwrap();
    let spans = collector.spans(2).await;
    let [first, second] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((inbound[0].as_str(), outbound[0].as_str()), (TRACE, TRACE));
    assert_eq!(
        (hex(&first.span_id), hex(&second.span_id)),
        (inbound[1].clone(), outbound[1].clone())
    );
    assert_eq!(hex(&second.parent_span_id), inbound[1]);
    // Of several the first, by which lanes are remembered.
    let twice = format!("{sampled}\r\ntraceparent: 00-{}-{PARENT}-01", TRACE.replace('0', "1"));
    assert_eq!(sent_on(&mut caller, "/", Some(&twice)).await.unwrap()[0], TRACE);
}

#[tokio::test]
async fn without_a_collector_nothing_of_it_is_touched() {
    let proxy = Proxy::gateway(&world(true).await);
    let mut client = proxy.client().await;
    let newer = format!("01-{TRACE}-{PARENT}-01-more");
    client.send(&format!("GET / HTTP/1.1\r\nHost: shop\r\ntraceparent: {newer}\r\n\r\n")).await;
    let (_, asked) = client.answer().await;
    assert_eq!(field(&asked, "traceparent"), Some(newer.as_str()));
}

fn told(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|it| it.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_read_has_a_span_of_what_could() {
    let collector = Collector::sampling(10_000).await;
    let proxy = collector.gateway(&world(true).await);
    let mut client = proxy.client().await;
    client.send(&format!("GET /x?y HTTP/1.1\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n")).await;
    assert_eq!(status(&client.head().await), 400);
    let span = &collector.spans(1).await[0];
    let told = ["http.request.method", "url.path", "laneway.unread"].map(|key| told(span, key));
    assert_eq!(told, ["GET", "/x", "part"].map(|it| Some(it.to_owned())));
    assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != TRACE);
}

#[tokio::test]
async fn who_is_believed_keeps_his_trace_where_he_is_refused_after_that() {
    let collector = Collector::sampling(0).await;
    let mut world = world(true).await;
    world.routes[0].0 = "/a";
    let proxy = collector.gateway(&world);
    let mut client = proxy.client().await;
    let sampled = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    for (asked, expected) in
        [("OPTIONS / HTTP/1.1\r\nMax-Forwards: 0", 200), ("GET /none HTTP/1.1", 404)]
    {
        client.send(&format!("{asked}\r\nHost: shop\r\n{sampled}\r\n")).await;
        assert_eq!(status(&client.answer().await.0), expected);
    }
    let spans = collector.spans(1).await;
    let [refused] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (hex(&refused.trace_id), hex(&refused.parent_span_id)),
        (TRACE.into(), PARENT.into())
    );
    assert_eq!(told(refused, "url.path").as_deref(), Some("/none"));
}
