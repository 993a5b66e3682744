//! The sample application of the demo and of tests: an HTTP service that names itself, calls the next one, and
//! knows nothing of lanes. It forwards `baggage` and `traceparent`, as an application under OpenTelemetry's
//! instrumentation does.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER},
    service::service_fn,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

mod through_proxy;

use through_proxy::ThroughProxy;

/// Headers an instrumented application takes over from the request it serves to the requests it makes.
const FORWARDED: [HeaderName; 2] =
    [HeaderName::from_static("baggage"), HeaderName::from_static("traceparent")];

/// What sample applications call themselves, so that one can tell another's answer from a proxy's.
const SERVER_NAME: HeaderValue = HeaderValue::from_static("sample-application");

/// How long the next service may take. Longer than any proxy waits for a connection.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer of the next service. A chain of a hundred hops is 3 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One sample application.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    /// What it calls itself; answers `/NAME` in lower case.
    pub(crate) name: String,
    /// Its version, printed behind the name; empty: none.
    pub(crate) tag: String,
    /// Printed as `[config=…]`, where given.
    pub(crate) config: Option<String>,
    /// Where it listens; its address is part of its answer.
    pub(crate) listen: SocketAddr,
    /// Whom it calls before it answers.
    pub(crate) next: Option<Uri>,
    /// The HTTP proxy it calls through, as `http_proxy` would say.
    pub(crate) proxy: Option<SocketAddr>,
}

type Caller = Client<ThroughProxy, Empty<Bytes>>;

/// Serves until the process is stopped. `bound` hears the address.
pub(crate) async fn serve(
    application: Application,
    bound: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(application.listen)
        .await
        .with_context(|| format!("listen on {}", application.listen))?;
    bound(listener.local_addr()?);
    let caller = Client::builder(TokioExecutor::new()).build(ThroughProxy::new(application.proxy));
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: the next one may be luckier.
                tracing::warn!(%error, "accept");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let (application, caller) = (application.clone(), caller.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&application, &caller, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection");
            }
        });
    }
}

async fn answer(
    application: &Application,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let wanted = format!("/{}", application.name.to_lowercase());
    let (status, text) = if request.uri().path() != wanted {
        (StatusCode::NOT_FOUND, format!("{} answers {wanted} only", application.name))
    } else {
        let own = own_name(application);
        match &application.next {
            None => (StatusCode::OK, own),
            Some(next) => {
                let (status, rest) = call(caller, next, &request).await;
                (status, format!("{own} -> {rest}"))
            }
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, SERVER_NAME);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

fn own_name(application: &Application) -> String {
    let Application { name, tag, listen, .. } = application;
    let config = application.config.as_ref().map(|config| format!("[config={config}]"));
    format!("{name}{tag}[{}]{}", listen.ip(), config.unwrap_or_default())
}

/// Calls the next service; its failure is told in the answer, so that a reader sees which hop it was.
async fn call(caller: &Caller, next: &Uri, request: &Request<Incoming>) -> (StatusCode, String) {
    let mut onward = Request::new(Empty::new());
    *onward.uri_mut() = next.clone();
    for name in FORWARDED {
        for value in request.headers().get_all(&name) {
            onward.headers_mut().append(name.clone(), value.clone());
        }
    }
    let service = next.host().unwrap_or_default();
    let exchange = async {
        let response = caller.request(onward).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        anyhow::Ok((head, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
    };
    match tokio::time::timeout(CALL_TIMEOUT, exchange).await {
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            format!("{service} does not answer within {CALL_TIMEOUT:?}"),
        ),
        Ok(Err(error)) => {
            (StatusCode::BAD_GATEWAY, format!("{service} cannot be called: {error:#}"))
        }
        Ok(Ok((head, body))) => {
            let text = String::from_utf8_lossy(&body);
            if head.headers.get(SERVER) == Some(&SERVER_NAME) {
                (head.status, text.into_owned())
            } else {
                (
                    StatusCode::BAD_GATEWAY,
                    format!("{service} answers {}: {}", head.status.as_u16(), text.trim()),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
