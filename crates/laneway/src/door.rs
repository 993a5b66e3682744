//! The door of the API and of every admin address: who may ask this process anything.
//!
//! Three questions, in this order:
//! - Was the request meant for this process? A page whose name was made to point here (DNS rebinding) says so in
//!   `Host`: only names and addresses of this process count ([`hosts`]).
//! - Does a page of another origin ask? Then `Origin` names it: only the process's own is taken. A link to a page of the
//!   console may be on any page.
//! - Who asks? Whoever shows the token of the data directory ([`token`]); of the API, whoever signed in or shows one of
//!   its tokens; or whose process on this machine belongs to the user that runs this one ([`peer`]): it could read the
//!   token in any case. A proxy does not, which asks for others. Whoever shows something is taken for no other.
//!
//! What somebody may is the API's to say; what is not the API's takes who may do everything. Health, readiness, metrics,
//! the API's description, signing in and the console's files are told to everybody who passed the first two.

pub(crate) mod hosts;
mod peer;
pub(crate) mod token;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::rest::{PREFIX, PROBLEM_JSON, Problem, Role};
use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use control::{
    Arrival, Caller, Control, Shown, Whose, cookie_name, forgotten_cookie, says_which_page_asks,
    shown_by,
};
use telemetry::{Metrics, Samples, names};
use tokio::sync::OnceCell;

use self::{hosts::Host, token::Token};
use crate::console;

/// Fields that say that somebody asks for somebody else: then it does not count whose process the connection is.
const FORWARDED: [&str; 4] = ["via", "forwarded", "x-forwarded-for", "x-forwarded-host"];

/// Decides who may come in.
#[derive(Debug)]
pub(crate) struct Door {
    /// Names beside those every process has.
    hosts: Vec<Host>,
    callers: Callers,
    /// Whether the console is behind this door.
    has_console: bool,
    /// Who knows whoever signed in, where that can be done.
    control: Option<Arc<Control>>,
    refused: Arc<Refused>,
}

/// Who came in, and how.
#[derive(Debug)]
struct Entered {
    /// None: it does not matter who asks.
    caller: Option<Caller>,
    arrival: Arrival,
}

/// How many were refused, by what was wrong.
#[derive(Debug, Default)]
struct Refused {
    host: AtomicU64,
    origin: AtomicU64,
    token: AtomicU64,
}

/// Of whom more is answered than of everybody.
#[derive(Debug)]
pub(crate) enum Callers {
    /// Anybody who reaches the address (`--api-auth none`).
    Anybody,
    /// This process's user, and whoever shows the token (there is none where it could not be kept), or has signed in.
    Known(Option<Token>),
}

/// One accepted connection, as far as the door looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    local: Option<SocketAddr>,
    /// Whose process the other end is: looked up once, and only when it matters.
    owner: Arc<OnceCell<Option<u32>>>,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        Self { peer, local, owner: Arc::default() }
    }

    /// Whether the other end is a process of this user on this machine, or of root, who may read everything.
    async fn is_of_this_user(&self) -> bool {
        let Some(local) = self.local else { return false };
        let peer = self.peer;
        if !tells_whose_it_is(peer.ip().to_canonical()) {
            return false;
        }
        let look_up = || async move {
            tokio::task::spawn_blocking(move || peer::owner(peer, local)).await.ok().flatten()
        };
        let owner = *self.owner.get_or_init(look_up).await;
        owner.is_some_and(is_of_this_user)
    }

    fn local_address(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip().to_canonical())
    }
}

/// Whose the other end of a connection within this machine is, by the peer's end and this one.
pub(crate) fn whose(peer: SocketAddr, local: SocketAddr) -> Whose {
    let ip = peer.ip().to_canonical();
    if matches!(ip, IpAddr::V4(ip) if proxy::speaks_for_others(ip)) {
        return Whose::Relayed;
    }
    let owner = tells_whose_it_is(ip).then(|| peer::owner(peer, local)).flatten();
    if owner.is_some_and(is_of_this_user) { Whose::Ours } else { Whose::Unknown }
}

/// Whether a user is the one that runs this process, or root.
fn is_of_this_user(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Whether a connection from here is its process's own. From elsewhere it is not known whose it is; a proxy of Laneway
/// comes from a network of its own and speaks for others. Of IPv6 there is no second loopback address, so that from
/// there it may be either.
fn tells_whose_it_is(peer: IpAddr) -> bool {
    matches!(peer, IpAddr::V4(ip) if ip.is_loopback() && !proxy::speaks_for_others(ip))
}

/// Puts the door before everything a router answers.
pub(crate) fn before(router: Router, door: Door) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(door), enter))
}

async fn enter(
    State(door): State<Arc<Door>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let mut response = match door.judge(&connection, method, uri, headers).await {
        Ok(Entered { caller, arrival }) => {
            let known = request.extensions_mut();
            known.insert(arrival);
            caller.map(|caller| known.insert(caller));
            next.run(request).await
        }
        Err(refusal) => {
            door.refused.of(&refusal).fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %connection.peer, reason = refusal.detail(), "refused at the door");
            refusal.into_response()
        }
    };
    // What is answered depends on who asks and when, and may be a secret; what may be kept says so itself.
    for (name, value) in
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        response.headers_mut().entry(name).or_insert(header::HeaderValue::from_static(value));
    }
    response
}

impl Refused {
    fn of(&self, refusal: &Refusal) -> &AtomicU64 {
        match refusal {
            Refusal::NoHost | Refusal::ForeignHost(_) => &self.host,
            Refusal::ForeignOrigin(_) => &self.origin,
            Refusal::Unknown
            | Refusal::NoLongerGood
            | Refusal::Ended(_)
            | Refusal::NotAllowed(_) => &self.token,
        }
    }

    fn sample(&self, samples: &mut Samples) {
        for (reason, count) in
            [("host", &self.host), ("origin", &self.origin), ("token", &self.token)]
        {
            let labels = [(names::label::REASON, reason)];
            samples.add(names::API_REFUSED, &labels, count.load(Ordering::Relaxed) as f64);
        }
    }
}

impl Door {
    /// A door that counts whom it refuses. `hosts` are those beside loopback's and the address a request arrives at.
    pub(crate) fn new(hosts: Vec<Host>, callers: Callers, metrics: &Metrics) -> Self {
        let refused = Arc::new(Refused::default());
        let counted = Arc::clone(&refused);
        metrics.collect_from(move |samples| counted.sample(samples));
        Self { hosts, callers, has_console: false, control: None, refused }
    }

    /// The same door before the console.
    pub(crate) fn of_console(self) -> Self {
        Self { has_console: true, ..self }
    }

    /// The same door, where whoever signed in is known, too.
    pub(crate) fn of_api(self, control: Arc<Control>) -> Self {
        Self { control: Some(control), ..self }
    }

    async fn judge(
        &self,
        connection: &Connection,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Entered, Refusal> {
        let authority = self.addressed(connection, uri, headers)?;
        let is_console = self.has_console && console::is_asked_for(method, uri.path(), headers);
        check_origin(authority.as_deref(), headers, is_console)?;
        let entered = |caller, authority| {
            let arrival = Arrival { address: connection.peer.ip().to_canonical(), authority };
            Ok(Entered { caller, arrival })
        };
        if is_console || is_for_everybody(uri.path()) {
            return entered(None, authority);
        }
        let caller = self.caller(connection, headers, authority.as_deref()).await?;
        if !uri.path().starts_with(PREFIX) {
            check_beside_api(&caller, method, uri, headers)?;
        }
        entered(Some(caller), authority)
    }

    /// Who asks.
    async fn caller(
        &self,
        connection: &Connection,
        headers: &HeaderMap,
        authority: Option<&str>,
    ) -> Result<Caller, Refusal> {
        let token = match &self.callers {
            Callers::Anybody => return Ok(Caller::anybody()),
            Callers::Known(token) => token,
        };
        if token.as_ref().is_some_and(|token| token.is_shown(headers)) {
            return Ok(Caller::machine("the data directory's token"));
        }
        if let Some(control) = &self.control {
            let known = |text| control.caller(text, authority);
            match shown_by(headers, authority) {
                Some(Shown::Bearer(text)) => return known(text).ok_or(Refusal::NoLongerGood),
                Some(Shown::Cookie(text)) => {
                    let ended = || Refusal::Ended(cookie_name(authority));
                    return known(text).ok_or_else(ended);
                }
                None => {}
            }
        }
        if FORWARDED.iter().any(|name| headers.contains_key(*name)) {
            return Err(Refusal::Unknown);
        }
        if connection.is_of_this_user().await {
            return Ok(Caller::machine("the control plane's own user"));
        }
        Err(Refusal::Unknown)
    }

    /// Whom the request is for, when that is this process. What asks for health may say nothing.
    fn addressed(
        &self,
        connection: &Connection,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<String>, Refusal> {
        let mut written = headers.get_all(header::HOST).iter();
        let in_header = match (written.next(), written.next()) {
            (first, None) => first.map(|value| value.to_str().map_err(|_| Refusal::NoHost)),
            _ => return Err(Refusal::NoHost),
        };
        let in_header = in_header.transpose()?;
        let in_target = uri.authority().map(axum::http::uri::Authority::as_str);
        // Of a target that names a host that is the one; a foreign one beside it is no better for it.
        for authority in in_header.iter().chain(&in_target) {
            let host = hosts::of_authority(authority).ok_or(Refusal::NoHost)?;
            if !self.is_ours(&host, connection) {
                return Err(Refusal::ForeignHost((*authority).to_owned()));
            }
        }
        match in_target.or(in_header) {
            Some(authority) => Ok(Some(authority.to_ascii_lowercase())),
            None if is_health(uri.path()) => Ok(None),
            None => Err(Refusal::NoHost),
        }
    }

    fn is_ours(&self, host: &Host, connection: &Connection) -> bool {
        let arrived_at = || connection.local_address().map(Host::Address);
        host.is_loopback() || self.hosts.contains(host) || arrived_at().as_ref() == Some(host)
    }
}

/// Health is asked for by machines that know of nothing else.
fn is_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// What is told without asking who asks.
fn is_for_everybody(path: &str) -> bool {
    is_health(path)
        || path == "/metrics"
        || path
            .strip_prefix(PREFIX)
            .is_some_and(|rest| matches!(rest, "/openapi.json" | "/sign-in"))
}

/// What is not the API's takes who may do everything; it asks of a browser what the API does.
fn check_beside_api(
    caller: &Caller,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if !caller.may_everywhere(Role::Admin) || caller.must_change_password() {
        return Err(Refusal::NotAllowed(uri.path().to_owned()));
    }
    if caller.is_session() && !says_which_page_asks(method, headers) {
        return Err(Refusal::ForeignOrigin(String::new()));
    }
    Ok(())
}

/// Browsers name the page that asks, where it is not the user himself. A link on another page opens the console all the
/// same: its files are the same for everybody, and what a browser opens the page with the link does not see.
fn check_origin(
    authority: Option<&str>,
    headers: &HeaderMap,
    is_console: bool,
) -> Result<(), Refusal> {
    let text =
        |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    for origin in headers.get_all(header::ORIGIN) {
        let origin = text(origin);
        let lower = origin.to_ascii_lowercase();
        let own = ["http://", "https://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
        if own.is_none() || own != authority {
            return Err(Refusal::ForeignOrigin(origin));
        }
    }
    if is_console && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate") {
        return Ok(());
    }
    let site = headers.get("sec-fetch-site").map(text);
    match site {
        Some(site) if site != "same-origin" && site != "none" => Err(Refusal::ForeignOrigin(site)),
        _ => Ok(()),
    }
}

/// Why a request stays outside.
#[derive(Debug)]
enum Refusal {
    NoHost,
    ForeignHost(String),
    ForeignOrigin(String),
    Unknown,
    NoLongerGood,
    /// A session, by the name of its cookie.
    Ended(String),
    NotAllowed(String),
}

impl Refusal {
    fn words(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoHost => (StatusCode::BAD_REQUEST, "no host"),
            Self::ForeignHost(_) => (StatusCode::MISDIRECTED_REQUEST, "another host"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "another origin"),
            Self::Unknown => (StatusCode::UNAUTHORIZED, "not known who asks"),
            Self::NoLongerGood => (StatusCode::UNAUTHORIZED, "token is not good"),
            Self::Ended(_) => (StatusCode::UNAUTHORIZED, "session has ended"),
            Self::NotAllowed(_) => (StatusCode::FORBIDDEN, "not allowed"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoHost => {
                "Host: say once, as HOST or HOST:PORT, whom the request is for".to_owned()
            }
            Self::ForeignHost(host) => {
                let host: String = host.chars().take(hosts::SHOWN_MAX).collect();
                format!(
                    "Host: `{host}`: this process answers to the address it was reached at and to loopback names; add others with --allowed-hosts"
                )
            }
            Self::ForeignOrigin(origin) => {
                let origin: String = origin.chars().take(hosts::SHOWN_MAX).collect();
                format!("Origin: `{origin}`: pages of other origins may not ask")
            }
            Self::Unknown => format!(
                "Authorization: sign in with `laneway login`, send `Bearer TOKEN`, or ask as the user that runs this process, from its machine; the machine's token is in `{}` in its data directory, for `laneway` name it with --token-file",
                token::FILE
            ),
            Self::NoLongerGood => {
                "Authorization: the token is unknown, was revoked or has expired: make another, or sign in with `laneway login` (`laneway logout` forgets the one that it kept)".to_owned()
            }
            Self::Ended(_) => "the session has ended: sign in again".to_owned(),
            Self::NotAllowed(path) => {
                format!("{path}: it takes admin everywhere: ask one, or ask on the machine")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = self.words();
        let problem = Problem {
            status: status.as_u16(),
            title: title.to_owned(),
            detail: self.detail(),
            errors: Vec::new(),
        };
        let mut answer =
            (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(problem)).into_response();
        // Who asks without it is looked at anew: nobody is taken for another because his session ended.
        if let Self::Ended(cookie) = &self {
            let forget = forgotten_cookie(cookie).map(header::HeaderValue::try_from);
            for forget in forget.into_iter().flatten() {
                answer.headers_mut().append(header::SET_COOKIE, forget);
            }
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
