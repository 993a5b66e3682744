//! Traces: the hops of a request are spans of one trace, each below the one before, with the lanes they went by.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use parking_lot::Mutex;
use prost::Message as _;
use testkit::{Instance, RunningInstance, Sandbox, http, sample, wait};

const WITHIN: Duration = Duration::from_secs(30);

/// A collector: takes what is posted, for as long as the test runs. Spans with the names of those that sent them.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

impl Collector {
    fn start(address: &str) -> Self {
        let collector = Self::default();
        let listener = TcpListener::bind(address).unwrap();
        let all = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, all) = (stream.unwrap(), all.clone());
                std::thread::spawn(move || all.take_all(stream));
            }
        });
        collector
    }

    fn take_all(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        while let Some(body) = next_body(&mut stream, &mut received) {
            let told = ExportTraceServiceRequest::decode(&*body).unwrap();
            for of_process in told.resource_spans {
                let service = text(&of_process.resource.unwrap().attributes, "service.name");
                let spans = of_process.scope_spans.into_iter().flat_map(|it| it.spans);
                self.0.lock().extend(spans.map(|span| (service.clone(), span)));
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    }

    /// The spans of the only trace that has so many, from its first to its last; `None` while there is none.
    fn chain(&self, length: usize) -> Option<Vec<(String, Span)>> {
        let mut traces: BTreeMap<Vec<u8>, Vec<(String, Span)>> = BTreeMap::new();
        for (service, span) in &*self.0.lock() {
            let trace = traces.entry(span.trace_id.clone()).or_default();
            trace.push((service.clone(), span.clone()));
        }
        let spans = traces.into_values().find(|spans| spans.len() == length)?;
        let mut chain: Vec<(String, Span)> = Vec::new();
        while chain.len() < length {
            let parent = chain.last().map(|(_, span)| span.span_id.clone()).unwrap_or_default();
            let next = spans.iter().find(|(_, span)| span.parent_span_id == parent);
            chain.push(
                next.unwrap_or_else(|| panic!("nothing below {parent:?} of {spans:#?}")).clone(),
            );
        }
        Some(chain)
    }
}

/// The body of the next message on a connection; `None` at its end.
fn next_body(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if received.len() >= at + 4 + length {
                let rest = received.split_off(at + 4 + length);
                return Some(std::mem::replace(received, rest).split_off(at + 4));
            }
        }
        match stream.read(&mut piece) {
            Ok(bytes) if bytes > 0 => received.extend_from_slice(&piece[..bytes]),
            _ => return None,
        }
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?} in {attributes:#?}"),
    }
}

#[test]
fn the_hops_of_a_request_are_one_trace_in_a_lane_and_where_it_falls_back() {
    let mut sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let collector = Collector::start(&sandbox.endpoint(9, 4318));
    let url = format!("http://{}", sandbox.endpoint(9, 4318));
    sandbox.set_variable("LANEWAY_OTLP_ENDPOINT", url);
    let _serve = sandbox.serve(&[]).unwrap();
    sandbox.apply(&sample::chain(&["gray"])).unwrap();
    let places = [
        ("A", None, 11),
        ("B", None, 12),
        ("C", None, 13),
        ("A", Some("gray"), 21),
        ("C", Some("gray"), 23),
    ];
    let mut instances: Vec<RunningInstance> = places
        .map(|(name, tag, host)| sandbox.begin(&Instance::of_chain(name, tag, host)).unwrap())
        .into();
    instances.iter_mut().for_each(|instance| instance.ready().unwrap());
    let gateway = sandbox.gateway_address();
    let ask = |headers: &[&str], expected: &str| {
        wait::until(WITHIN, expected, || {
            let answer = http::get(&gateway, "/a", headers)?;
            let hops = testkit::path::parse(&answer.body)?;
            let label =
                |hop: testkit::path::Hop| format!("{}{}", hop.name, hop.tag.unwrap_or_default());
            let labels = hops.into_iter().map(label).collect::<Vec<_>>().join(" ");
            if labels == expected { Ok(()) } else { anyhow::bail!("{labels}") }
        })
        .unwrap();
    };
    let all_hops = [
        ("edge", SpanKind::Server),
        ("app-a", SpanKind::Server),
        ("app-a", SpanKind::Client),
        ("app-b", SpanKind::Server),
        ("app-b", SpanKind::Client),
        ("app-c", SpanKind::Server),
    ];
    let lane_or_base = [false, false, true, true, false, false];
    for (headers, labels, lane) in
        [(&["canary: gray"][..], "Agray B Cgray", Some("gray")), (&[][..], "A B C", None)]
    {
        collector.0.lock().clear();
        ask(headers, labels);
        let mut chain = None;
        wait::until_true(WITHIN, "a span of every hop", || {
            chain = collector.chain(all_hops.len());
            chain.is_some()
        })
        .unwrap();
        for (((service, span), hop), falls_back) in
            chain.unwrap().iter().zip(all_hops).zip(lane_or_base)
        {
            assert_eq!((service.as_str(), span.kind()), hop, "{span:#?}");
            check_lane(span, lane, falls_back);
        }
    }
}

/// What a span says of the request's lane; none is base.
#[track_caller]
fn check_lane(span: &Span, lane: Option<&str>, falls_back: bool) {
    let told = &span.attributes;
    assert_eq!(value(told, "http.response.status_code"), Some(Value::IntValue(200)));
    let Some(lane) = lane else {
        assert_eq!(value(told, "lane.name"), None, "{span:#?}");
        assert_eq!(text(told, "laneway.outcome"), "base", "{span:#?}");
        return;
    };
    assert_eq!([text(told, "lane.group"), text(told, "lane.name")], ["trade", lane]);
    assert_eq!(value(told, "lane.fallback"), Some(Value::BoolValue(falls_back)), "{span:#?}");
}
