//! One message to a collector, by either protocol of OTLP.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use rustls::ClientConfig;
use tonic::{
    Code, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataMap,
    transport::{Channel, Endpoint as ChannelTo},
};
use tonic_prost::ProstCodec;

use super::{
    Collector, Protocol,
    connect::Dialer,
    message::{ExportTraceServiceRequest, ExportTraceServiceResponse},
};

/// Where calls of gRPC go.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends messages to one collector, on one connection that is kept.
pub(super) enum Poster {
    Http { client: Box<Client<Dialer, Full<Bytes>>>, uri: Uri, headers: HeaderMap },
    Grpc { client: Grpc<Channel>, metadata: MetadataMap },
}

/// Why a message was not taken.
pub(super) struct NotTaken {
    pub(super) reason: String,
    /// It may be taken a little later, says OTLP.
    pub(super) may_pass: bool,
}

impl Poster {
    /// Connects when there is something to send.
    pub(super) fn new(collector: Collector, tls: Option<Arc<ClientConfig>>) -> Self {
        let Collector { endpoint, headers, .. } = collector;
        let dialer = Dialer::new(&endpoint, tls);
        match endpoint.protocol {
            Protocol::HttpProtobuf => Self::Http {
                client: Box::new(Client::builder(TokioExecutor::new()).build(dialer)),
                uri: endpoint.uri,
                headers: headers.0,
            },
            Protocol::Grpc => Self::Grpc {
                client: Grpc::new(
                    ChannelTo::from(endpoint.uri).connect_with_connector_lazy(dialer),
                ),
                metadata: MetadataMap::from_headers(headers.0),
            },
        }
    }

    pub(super) async fn post(
        &mut self,
        message: &ExportTraceServiceRequest,
    ) -> Result<(), NotTaken> {
        match self {
            Self::Http { client, uri, headers } => {
                let mut request = Request::new(Full::new(message.encode_to_vec().into()));
                (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri.clone());
                *request.headers_mut() = headers.clone();
                let protobuf = hyper::header::HeaderValue::from_static("application/x-protobuf");
                request.headers_mut().insert(CONTENT_TYPE, protobuf);
                match client.request(request).await {
                    Ok(answer) => of_status(answer.status()),
                    Err(error) => Err(NotTaken { reason: with_causes(&error), may_pass: true }),
                }
            }
            Self::Grpc { client, metadata } => {
                let ready = client.ready().await;
                ready.map_err(|error| NotTaken { reason: with_causes(&error), may_pass: true })?;
                let mut request = tonic::Request::new(message.clone());
                *request.metadata_mut() = metadata.clone();
                let codec = ProstCodec::<_, ExportTraceServiceResponse>::default();
                let answer = client.unary(request, PathAndQuery::from_static(EXPORT), codec).await;
                answer.map(drop).map_err(|status| of_call(&status))
            }
        }
    }
}

fn of_status(status: StatusCode) -> Result<(), NotTaken> {
    if status.is_success() {
        return Ok(());
    }
    let may_pass = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    Err(NotTaken { reason: format!("the collector says {status}"), may_pass })
}

/// A collector that is short of something says when it is not: else it is not asked again, says OTLP.
fn of_call(status: &Status) -> NotTaken {
    let may_pass = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    ) || (status.code() == Code::ResourceExhausted && !status.details().is_empty());
    let reason = match std::error::Error::source(status) {
        Some(error) => with_causes(error),
        None => format!("the collector says {:?}", status.code()),
    };
    NotTaken { reason, may_pass }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
