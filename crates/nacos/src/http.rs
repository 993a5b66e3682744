//! One question in HTTP/1.1 on a connection of its own: logging in, and the names of namespaces, once in a while.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;

use crate::{Error, Server, Settings, dial::dial, error::in_words};

/// How long an answer may take, connecting included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer: some thousands of namespaces.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What is spoken in TLS.
const HTTP1: &[u8] = b"http/1.1";

/// A question.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) form: &'a str,
    pub(crate) token: Option<&'a str>,
}

/// Asks a server.
pub(crate) async fn ask(
    server: &Server,
    settings: &Settings,
    question: Question<'_>,
) -> Result<(StatusCode, Bytes), Error> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange(server, settings, question)).await;
    let what = || format!("{} {}", question.method, question.path);
    answer.map_err(|_| Error::Late { what: what(), within: ANSWER_TIMEOUT })?
}

/// Whether a server says that it has nothing there.
pub(crate) fn is_unknown(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::GONE
            | StatusCode::NOT_IMPLEMENTED
    )
}

async fn exchange(
    server: &Server,
    settings: &Settings,
    question: Question<'_>,
) -> Result<(StatusCode, Bytes), Error> {
    let failed = |reason: String| Error::Connect { address: server.to_string(), reason };
    let tls = settings.tls.as_ref().map(|tls| tls.towards(server, HTTP1)).transpose()?;
    let stream = dial(&server.host, server.port, tls.as_ref()).await;
    let stream = stream.map_err(|error| failed(in_words(&error)))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(in_words(&error)))?;
    let mut request = Request::builder()
        .method(question.method)
        .uri(question.path)
        .header(HOST, server.authority())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(token) = question.token {
        // Versions differ in which of the two they look at.
        for (name, text) in
            [(AUTHORIZATION.as_str(), format!("Bearer {token}")), ("accessToken", token.to_owned())]
        {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| Error::Secrets("the server's token is no text".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
    }
    let body = Full::new(Bytes::copy_from_slice(question.form.as_bytes()));
    let request = request.body(body).map_err(|error| failed(error.to_string()))?;
    let answering = async {
        let answer =
            sender.send_request(request).await.map_err(|error| failed(in_words(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answering, connection);
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = &mut connection => match ended {
            // What was received before it ended is there to be read.
            Ok(()) => answering.as_mut().await,
            Err(error) => Err(failed(in_words(&error))),
        },
    }
}
