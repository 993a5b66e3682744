//! The REST API, called: what the CLI and tests use.

mod connector;
mod path;
mod people;
mod promotions;

use std::{marker::PhantomData, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, SERVER, USER_AGENT},
};
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use crate::{
    resource::{Key, Kind, Object},
    rest::{
        ApplyRequest, ApplyResponse, AuthorityStatus, CheckResponse, DeleteRequest, Event,
        ExplainRequest, ExplainResponse, InstanceStatus, List, MERGE_PATCH, Problem, ServiceStatus,
        StatisticsTop, StatisticsVerdict, StatusResponse, TapEvent, TokenCreated, TokenRequest,
        TokenStatus, WatchEvent,
    },
};

use connector::{Connector, Distrusted};
pub use connector::{PeerCheck, Trust};

/// How long connecting may take: a control plane that is there answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take unless something else is asked for: the largest transaction is validated and written in
/// well under this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer: a list of everything in the largest set measured (10 000 endpoints, 1 000 lanes) is 10 MB.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of one line of a watch: the largest object.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Characters of an answer that is no problem+json (some proxy's page) shown to a person.
const FOREIGN_ANSWER_MAX: usize = 300;

/// Where the API is.
const API_PORT: &str = "it listens at --api-listen, port 7600 unless told otherwise";

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server's address is no address.
    #[error("--server: `{server}`: {remedy}")]
    Server {
        /// As given.
        server: String,
        /// What would be right.
        remedy: String,
    },
    /// Nobody answered.
    #[error("call the control plane at {server}{hint}")]
    Unreachable {
        /// Whom.
        server: String,
        /// What was meant, perhaps.
        hint: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What listens there is no API: its bytes are of no HTTP/1.1.
    #[error(
        "{server} is not the API of a control plane: discovery's address, perhaps, where data planes connect, or one with \
         TLS; name the API's with --server: {API_PORT}"
    )]
    SpeaksOtherwise {
        /// Who.
        server: String,
    },
    /// Whoever has taken the connection is not who he should be. Nothing was sent.
    #[error("nothing was sent to {server}: {why}")]
    Distrusted {
        /// Where.
        server: String,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("the control plane at {server} did not answer within {} s", within.as_secs())]
    Late {
        /// Who.
        server: String,
        /// How long it had.
        within: Duration,
    },
    /// The control plane refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what this version expects.
    #[error(
        "read the answer of {server} to {method} {path} (is that the API of a control plane? {API_PORT})"
    )]
    NotUnderstood {
        /// Whose answer.
        server: String,
        /// To what.
        method: Method,
        /// To what.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether the control plane said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::NOT_FOUND.as_u16())
    }

    /// Whether the same call may succeed a while later: nobody answered, or too late, or said that it cannot now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Late { .. } => true,
            Self::Refused(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            _ => false,
        }
    }
}

/// What of an address would be passed over in silence, as what to write instead.
fn unused_in(url: &Url) -> Option<String> {
    let host = without_user(url);
    if !url.username().is_empty() || url.password().is_some() {
        return Some(format!(
            "the API knows tokens, not names in its address: use {host} with --token-file, or `laneway login --server {host}`"
        ));
    }
    let is_more =
        !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
    is_more.then(|| format!("the API has no path of its own: use {host}"))
}

/// Scheme, host and port alone: what else is there may be secret.
fn without_user(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Why nobody answered as expected.
enum Why {
    SpeaksOtherwise,
    BrokeOff,
    NobodyListens,
    Unknown,
}

/// A control plane.
#[derive(Debug, Clone)]
pub struct Client {
    server: Url,
    authorization: Option<HeaderValue>,
    note: Option<HeaderValue>,
    answer_timeout: Duration,
    http: legacy::Client<Connector, Full<Bytes>>,
}

impl Client {
    /// The control plane at `http://HOST:PORT`.
    pub fn new(server: &str) -> Result<Self, CallError> {
        let bad = || CallError::Server { server: server.to_owned(), remedy: remedy(server) };
        let url = Url::parse(server).map_err(|_| bad())?;
        if url.scheme() != "http" || !url.has_host() || url.cannot_be_a_base() {
            return Err(bad());
        }
        if let Some(remedy) = unused_in(&url) {
            return Err(CallError::Server { server: without_user(&url), remedy });
        }
        Ok(Self {
            server: url,
            authorization: None,
            note: None,
            answer_timeout: ANSWER_TIMEOUT,
            http: connecting(None),
        })
    }

    /// Sends nothing over a connection before the check trusts its other end.
    #[must_use]
    pub fn with_peer_check(mut self, check: PeerCheck) -> Self {
        self.http = connecting(Some(check));
        self
    }

    /// Shows a token with every call.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.authorization =
            HeaderValue::try_from(format!("Bearer {token}")).ok().map(|mut value| {
                value.set_sensitive(true);
                value
            });
        self
    }

    /// Says with every change why it is made.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.note = HeaderValue::try_from(path::note(note)).ok();
        self
    }

    /// Waits that long for an answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Where it is.
    pub fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// The host and the port it is asked at.
    pub fn address(&self) -> Option<(&str, u16)> {
        Some((self.server.host_str()?, self.server.port_or_known_default()?))
    }

    /// Objects of one kind, of one namespace or of all.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<List, CallError> {
        self.call(Method::GET, &path::of_kind(kind, namespace), None::<&()>).await
    }

    /// One object.
    pub async fn get(&self, key: &Key) -> Result<Object, CallError> {
        self.call(Method::GET, &path::of_object(key), None::<&()>).await
    }

    /// Writes an object whole. With a `resourceVersion` it must be the current one.
    pub async fn put(&self, object: &Object) -> Result<Object, CallError> {
        self.call(Method::PUT, &path::of_object(&object.key()), Some(object)).await
    }

    /// Changes some fields of an object (RFC 7396).
    pub async fn patch(&self, key: &Key, patch: &Value) -> Result<Object, CallError> {
        self.call(Method::PATCH, &path::of_object(key), Some(patch)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &Key) -> Result<(), CallError> {
        let path = path::of_object(key);
        self.send(Method::DELETE, &path, None::<&()>).await?;
        Ok(())
    }

    /// Writes objects as one transaction; with `dry_run` nothing is written.
    pub async fn apply(
        &self,
        request: &ApplyRequest,
        dry_run: bool,
    ) -> Result<ApplyResponse, CallError> {
        let path = format!("{}/apply{}", crate::rest::PREFIX, if dry_run { "?dryRun" } else { "" });
        self.call(Method::POST, &path, Some(request)).await
    }

    /// Deletes objects as one transaction, in any order; with `dry_run` nothing is deleted. Those that are not there
    /// are not among the results.
    pub async fn delete_all(
        &self,
        objects: Vec<Key>,
        dry_run: bool,
    ) -> Result<ApplyResponse, CallError> {
        let path =
            format!("{}/delete{}", crate::rest::PREFIX, if dry_run { "?dryRun" } else { "" });
        self.call(Method::POST, &path, Some(&DeleteRequest { objects })).await
    }

    /// What would be wrong if these objects were written.
    pub async fn check(&self, request: &ApplyRequest) -> Result<CheckResponse, CallError> {
        self.call(Method::POST, &format!("{}/check", crate::rest::PREFIX), Some(request)).await
    }

    /// Why a request goes where it goes.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<ExplainResponse, CallError> {
        self.call(Method::POST, &format!("{}/explain", crate::rest::PREFIX), Some(request)).await
    }

    /// How the whole stands.
    pub async fn status(&self) -> Result<StatusResponse, CallError> {
        self.call(Method::GET, &format!("{}/status", crate::rest::PREFIX), None::<&()>).await
    }

    /// The instances of all applications.
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, CallError> {
        self.call(Method::GET, &format!("{}/instances", crate::rest::PREFIX), None::<&()>).await
    }

    /// The services of all sources.
    pub async fn services(&self) -> Result<Vec<ServiceStatus>, CallError> {
        self.call(Method::GET, &format!("{}/services", crate::rest::PREFIX), None::<&()>).await
    }

    /// What happened after the event of that number.
    pub async fn events(&self, after: u64) -> Result<Vec<Event>, CallError> {
        let path = format!("{}/events?after={after}", crate::rest::PREFIX);
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// What passed in a window until now, such as `10s`.
    pub async fn statistics_top(
        &self,
        group: Option<&str>,
        application: Option<&str>,
        window: &str,
    ) -> Result<StatisticsTop, CallError> {
        let of = [("group", group), ("application", application), ("window", Some(window))];
        let of = of.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(of).finish();
        let path = format!("{}/statistics/top?{query}", crate::rest::PREFIX);
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// How a lane stands beside base; `query`: more of what is asked, such as `("since", "10m")`.
    pub async fn statistics_verdict(
        &self,
        group: &str,
        lane: &str,
        query: &[(&str, String)],
    ) -> Result<StatisticsVerdict, CallError> {
        let mut written = url::form_urlencoded::Serializer::new(String::new());
        written.append_pair("group", group).append_pair("lane", lane).extend_pairs(query);
        let path = format!("{}/statistics/verdict?{}", crate::rest::PREFIX, written.finish());
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// Makes a token with which one application may be registered.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenCreated, CallError> {
        self.call(Method::POST, &path::of_token(None), Some(request)).await
    }

    /// Every token of applications, without what is secret.
    pub async fn tokens(&self) -> Result<Vec<TokenStatus>, CallError> {
        self.call(Method::GET, &path::of_token(None), None::<&()>).await
    }

    /// Shuts out whoever holds a token.
    pub async fn revoke_token(&self, id: &str) -> Result<(), CallError> {
        self.send(Method::DELETE, &path::of_token(Some(id)), None::<&()>).await.map(drop)
    }

    /// Who signs certificates of data planes, or did and is still believed; the newest last.
    pub async fn authorities(&self) -> Result<Vec<AuthorityStatus>, CallError> {
        self.call(Method::GET, &path::under("authorities", None), None::<&()>).await
    }

    /// Makes another authority, which signs from now on.
    pub async fn rotate_authority(&self) -> Result<AuthorityStatus, CallError> {
        self.call(Method::POST, &path::under("authorities", None), None::<&()>).await
    }

    /// Follows the objects of one kind, of one namespace or of all: first everything there is, then every change.
    pub async fn watch(&self, kind: Kind, namespace: Option<&str>) -> Result<Watch, CallError> {
        self.follow(format!("{}?watch", path::of_kind(kind, namespace))).await
    }

    /// Begins a watch of what changes after a state: a `resourceVersion`.
    pub async fn watch_after(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        resource_version: &str,
    ) -> Result<Watch, CallError> {
        let collection = path::of_kind(kind, namespace);
        self.follow(format!("{collection}?watch&resourceVersion={resource_version}")).await
    }

    /// Follows single requests of a lane, or of `base`, of a group: such as reach an application, so many a second.
    pub async fn tap(
        &self,
        group: &str,
        lane: &str,
        application: Option<&str>,
        rate: Option<u32>,
    ) -> Result<Lines<TapEvent>, CallError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("group", group).append_pair("lane", lane);
        query.extend_pairs(application.map(|it| ("application", it)));
        query.extend_pairs(rate.map(|it| ("rate", it.to_string())));
        self.follow(format!("{}/tap?{}", crate::rest::PREFIX, query.finish())).await
    }

    async fn follow<T>(&self, path: String) -> Result<Lines<T>, CallError> {
        let response = self.send(Method::GET, &path, None::<&()>).await?;
        Ok(Lines {
            server: self.server().to_owned(),
            path,
            body: response.into_body(),
            buffer: Vec::new(),
            told: PhantomData,
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CallError> {
        let response = self.send(method.clone(), path, body).await?;
        let bytes = self.collect(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|source| CallError::NotUnderstood {
            server: self.server().to_owned(),
            method,
            path: path.to_owned(),
            source,
        })
    }

    /// Sends a request and returns the answer if it is a good one; its body is still to come.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, CallError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.unwrap_or_else(|error| unreachable!("requests are plain data: {error}"));
        let content_type = if method == Method::PATCH { MERGE_PATCH } else { "application/json" };
        let url = self.server.join(path).map_err(|_| CallError::Server {
            server: self.server.to_string(),
            remedy: remedy(path),
        })?;
        let method_writes = method != Method::GET;
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(USER_AGENT, concat!("laneway/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(note) = self.note.as_ref().filter(|_| method_writes) {
            request = request.header(crate::rest::NOTE, note);
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|source| self.unreachable(source))?;
        let response =
            match tokio::time::timeout(self.answer_timeout, self.http.request(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(source)) => return Err(self.unreachable(source)),
                Err(_) => return Err(self.late()),
            };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let is_data_plane = response.headers().get(SERVER).is_some_and(|value| value == "laneway");
        let bytes = self.collect(response.into_body()).await?;
        Err(CallError::Refused(Box::new(problem(status, &bytes, is_data_plane))))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, CallError> {
        let limited = Limited::new(body, ANSWER_BYTES_MAX);
        match tokio::time::timeout(self.answer_timeout, limited.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(source)) => {
                let server = self.server().to_owned();
                Err(CallError::Unreachable { server, hint: "", source })
            }
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> CallError {
        CallError::Late { server: self.server().to_owned(), within: self.answer_timeout }
    }

    fn unreachable(&self, source: impl std::error::Error + Send + Sync + 'static) -> CallError {
        let server = self.server().to_owned();
        if let Some(Distrusted(why)) = distrusted(&source) {
            return CallError::Distrusted { server, why: why.clone() };
        }
        let hint = match why(&source) {
            Why::SpeaksOtherwise => return CallError::SpeaksOtherwise { server },
            Why::BrokeOff => {
                " (it ended the connection: it stops, or what listens there is not its API: discovery's address, perhaps, \
                 or one with TLS; the API listens at --api-listen, port 7600 unless told otherwise)"
            }
            Why::NobodyListens => {
                " (nobody listens there: start `laneway serve`, or name where it is with --server)"
            }
            Why::Unknown => "",
        };
        CallError::Unreachable { server, hint, source: Box::new(source) }
    }
}

fn connecting(check: Option<PeerCheck>) -> legacy::Client<Connector, Full<Bytes>> {
    let connector = Connector::new(CONNECT_TIMEOUT, check);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

fn distrusted<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Distrusted> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(distrusted) = error.downcast_ref() {
            return Some(distrusted);
        }
        cause = error.source();
    }
    None
}

/// What to write instead of an address that is none.
fn remedy(server: &str) -> String {
    match server.split_once("://") {
        Some(("https", rest)) => format!("the API does not speak TLS: use http://{rest}"),
        Some(_) => "use http://HOST:PORT".to_owned(),
        None if server.is_empty() => "it is empty: use http://HOST:PORT".to_owned(),
        None if Url::parse(&format!("http://{server}")).is_err() => {
            "use http://HOST:PORT".to_owned()
        }
        None => format!("use http://HOST:PORT; was http://{server} meant?"),
    }
}

/// Why nobody answered as expected, as far as the error tells.
fn why(error: &dyn std::error::Error) -> Why {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&error.to_string());
        cause = error.source();
    }
    // What listens for data planes speaks HTTP/2 alone.
    let otherwise = ["unexpected message", "invalid HTTP version"];
    if otherwise.iter().any(|words| said.contains(words)) {
        Why::SpeaksOtherwise
    } else if said.contains("before message completed") {
        Why::BrokeOff
    } else if said.contains("Connection refused") {
        Why::NobodyListens
    } else {
        Why::Unknown
    }
}

/// The problem an answer tells; one made up for answers of somebody else.
fn problem(status: StatusCode, body: &[u8], is_data_plane: bool) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let said: String = String::from_utf8_lossy(body).chars().take(FOREIGN_ANSWER_MAX).collect();
        let who = match is_data_plane {
            true => "that is a gateway or a sidecar, not the API of a control plane",
            false => "is that the API of a control plane?",
        };
        let detail = format!("{} ({who}: {API_PORT})", said.trim());
        let title = format!("the server answered {status}");
        Problem {
            status: status.as_u16(),
            title,
            detail: detail.trim().to_owned(),
            errors: Vec::new(),
        }
    })
}

/// An open watch.
pub type Watch = Lines<WatchEvent>;

/// What a control plane tells line by line, for as long as it is listened to.
#[derive(Debug)]
pub struct Lines<T> {
    server: String,
    path: String,
    body: Incoming,
    buffer: Vec<u8>,
    told: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line; none when the control plane ended them.
    pub async fn next(&mut self) -> Result<Option<T>, CallError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|source| {
                    CallError::NotUnderstood {
                        server: self.server.clone(),
                        method: Method::GET,
                        path: self.path.clone(),
                        source,
                    }
                });
            }
            let unreachable =
                |source| CallError::Unreachable { server: self.server.clone(), hint: "", source };
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(unreachable(
                    format!("a line of more than {LINE_BYTES_MAX} bytes").into(),
                ));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(unreachable(error.into())),
                None => return Ok(None),
            }
        }
    }
}
