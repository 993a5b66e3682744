//! The demo's client: plain HTTP with kept-alive connections.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client as Pooled, connect::HttpConnector},
    rt::TokioExecutor,
};

/// How long a request may take: longer than what proxies wait for anything on loopback.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer: far above a chain, a bound all the same.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A client of one address.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    pooled: Pooled<HttpConnector, Empty<Bytes>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pooled = Pooled::builder(TokioExecutor::new())
            // What fails must be seen, not tried again behind our back.
            .retry_canceled_requests(false)
            .build(connector);
        Self { address, pooled }
    }

    /// Sends one GET.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse()?;
        for (name, value) in headers {
            request
                .headers_mut()
                .append(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
        }
        in_time(async { whole(self.pooled.request(request).await?).await }).await
    }
}

/// What an exchange comes to that may not take for ever.
pub(super) async fn in_time(
    exchange: impl Future<Output = anyhow::Result<Answer>>,
) -> anyhow::Result<Answer> {
    tokio::time::timeout(REQUEST_TIMEOUT, exchange)
        .await
        .with_context(|| format!("no answer within {REQUEST_TIMEOUT:?}"))?
}

/// An answer with all of its body.
pub(super) async fn whole(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
