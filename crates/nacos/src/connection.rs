//! One connection to one server: from the first handshake until it says why it is over.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    ConfigId, Error, Server, ServiceInfo, Settings, config,
    dial::{CONNECT_TIMEOUT, Dialer},
    error::{in_words, shortened},
    login::{About, Login, Proof},
    message::{
        Asked, Asks, Listed, NO_RIGHT, Named, Naming, Outcome, Payload, STARTING, Told,
        UNREGISTERED,
    },
    namespaces,
    settings::authority,
};

/// How long a call may take. A server in a long pause is as good as none; the picture stays meanwhile.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to take note of a connection, and how often it is asked meanwhile.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);
const REGISTER_ASKED_EVERY: Duration = Duration::from_millis(50);

/// Bytes of one message: a service of 50 000 instances.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Names that are asked for at once: most have fewer services, and pages of a set that changes overlap and miss.
const NAMES_PER_PAGE: u32 = 5_000;

/// Services of one group: ten times the largest installation that was measured.
const SERVICES_MAX: usize = 50_000;

/// What the server tells and nobody has taken yet. Beyond that it waits, as its stream does.
const PUSHED_MAX: usize = 256;

/// Answers to the server that are not sent yet.
const ANSWERS_MAX: usize = 64;

/// What is spoken in TLS.
const HTTP2: &[u8] = b"h2";

/// What the server says by itself.
#[derive(Debug)]
pub enum Pushed {
    /// A service is otherwise than before.
    Service(ServiceInfo),
    /// The same, and how it is cannot be read: whoever wants to know asks.
    Unread {
        /// Its group.
        group: String,
        /// Its name there.
        name: String,
    },
    /// A configuration that was listened to is otherwise than before.
    Config(ConfigId),
    /// It is the last thing that is heard: the connection is over.
    Ended(Error),
}

/// A connection to a server that has taken note of it.
#[derive(Debug)]
pub struct Connection {
    grpc: Grpc<Channel>,
    login: Login,
    namespace: String,
}

/// The stream on which the server speaks by itself. Dropping it ends the connection.
#[derive(Debug)]
pub struct Pushes {
    pushed: mpsc::Receiver<Pushed>,
    _following: JoinSet<()>,
}

impl Pushes {
    /// What the server says next. Whoever drops the future misses nothing.
    pub async fn next(&mut self) -> Pushed {
        let gone = || Pushed::Ended(Error::Ended { reason: "its stream is over".to_owned() });
        self.pushed.recv().await.unwrap_or_else(gone)
    }
}

/// The names of a group's services.
#[derive(Debug, Default)]
pub struct Names {
    /// Those that were told.
    pub names: BTreeSet<String>,
    /// Whether these are all: of a set that changes while its pages are asked for some may be missed.
    pub is_whole: bool,
}

impl Connection {
    /// Connects, logs in, finds the namespace, and waits until the server has taken note. `namespace` is the id that was
    /// found before, if any: it counts where a server does not say which it is.
    pub async fn open(
        server: &Server,
        settings: &Settings,
        namespace: &mut Option<String>,
    ) -> Result<(Self, Pushes), Error> {
        let login = Login::new(server, settings);
        let proof = login.proof().await?;
        let token = proof.as_ref().and_then(Proof::token);
        let namespace = namespaces::id(server, settings, token, namespace).await?;
        let grpc = channel(server, settings).await?;
        let (tell, pushed) = mpsc::channel(PUSHED_MAX);
        let mut following = JoinSet::new();
        following.spawn(follow(grpc.clone(), setup(&namespace), tell));
        let connection = Self { grpc, login, namespace };
        connection.registered().await?;
        Ok((connection, Pushes { pushed, _following: following }))
    }

    /// The names of a group's services. A group that nobody registers in has none.
    pub async fn services(&self, group: &str) -> Result<Names, Error> {
        let mut names = BTreeSet::new();
        for page_no in 1.. {
            let asks = Asks::List { page_no, page_size: NAMES_PER_PAGE };
            let what = format!("to list the services of group `{group}`");
            let naming = self.naming(group, "", asks);
            let listed: Listed =
                self.ask("ServiceListRequest", &what, naming.about(), &naming).await?;
            let before = names.len();
            let found = listed.service_names.into_iter();
            // Some servers write the group before each.
            names.extend(found.map(|name| match name.split_once("@@") {
                Some((_, name)) => name.to_owned(),
                None => name,
            }));
            if names.len() > SERVICES_MAX {
                let said = format!("it has more than {SERVICES_MAX}");
                return Err(Error::Refused { what, said, code: 0 });
            }
            let is_whole = names.len() >= listed.count;
            if is_whole || names.len() == before {
                return Ok(Names { names, is_whole });
            }
        }
        Ok(Names::default())
    }

    /// A service as it is now; from now on its changes are pushed.
    pub async fn subscribe(&self, group: &str, name: &str) -> Result<ServiceInfo, Error> {
        let what = format!("to tell service `{group}/{name}`");
        let naming = self.naming(group, name, Asks::Subscribe { subscribe: true, clusters: "" });
        let told: Told =
            self.ask("SubscribeServiceRequest", &what, naming.about(), &naming).await?;
        Ok(told.service_info)
    }

    /// The id of the namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn naming<'a>(&'a self, group: &'a str, name: &'a str, asks: Asks) -> Naming<'a> {
        let namespace = &self.namespace;
        Naming { module: "naming", namespace, group_name: group, service_name: name, asks }
    }

    /// Waits until the server knows this connection.
    async fn registered(&self) -> Result<(), Error> {
        let deadline = Instant::now() + REGISTER_TIMEOUT;
        loop {
            let answer =
                self.call("HealthCheckRequest", &json!({"module": "internal"}), Vec::new()).await?;
            let outcome: Outcome = answer.read()?;
            match outcome.fault() {
                None => return Ok(()),
                Some(UNREGISTERED | STARTING) if Instant::now() < deadline => {
                    tokio::time::sleep(REGISTER_ASKED_EVERY).await;
                }
                Some(code) => return Err(refusal("to take note of the connection", outcome, code)),
            }
        }
    }

    /// One call and its answer, whatever that says.
    async fn call(
        &self,
        kind: &str,
        body: &impl Serialize,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Payload, Error> {
        let mut grpc = self.grpc.clone();
        let payload = Payload::new(kind, body, headers);
        let call = async {
            grpc.ready().await.map_err(|error| Error::Ended { reason: in_words(&error) })?;
            let path = PathAndQuery::from_static("/Request/request");
            let codec = ProstCodec::<Payload, Payload>::default();
            let answer = grpc.unary(Request::new(payload), path, codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| ended(&status))
        };
        let late = |_| Error::Late { what: kind.to_owned(), within: CALL_TIMEOUT };
        tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)?
    }

    /// A call as whoever we are; once more where the server has forgotten who that is.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        kind: &str,
        what: &str,
        about: About<'_>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let mut proof = self.login.proof().await?;
        let mut may_log_in = true;
        loop {
            let headers = proof.as_ref().map(|it| it.headers(about, SystemTime::now()));
            let answer = self.call(kind, body, headers.unwrap_or_default()).await?;
            let outcome: Outcome = answer.read()?;
            match outcome.fault() {
                None => return answer.read(),
                Some(NO_RIGHT) if may_log_in && self.login.forget(proof.as_ref()) => {
                    may_log_in = false;
                    proof = self.login.proof().await?;
                }
                Some(NO_RIGHT) => {
                    let said = shortened(&outcome.message.unwrap_or_default());
                    let what = what.to_owned();
                    return Err(Error::Forbidden { what, said, remedy: self.login.remedy() });
                }
                Some(code) => return Err(refusal(what, outcome, code)),
            }
        }
    }
}

async fn channel(server: &Server, settings: &Settings) -> Result<Grpc<Channel>, Error> {
    let port = server.grpc_port();
    let address = authority(&server.host, port);
    let failed = |reason: String| Error::Connect {
        address: address.clone(),
        reason: format!("{reason} (gRPC of Nacos is 1000 above its HTTP port)"),
    };
    let tls = settings.tls.as_ref().map(|tls| tls.towards(server, HTTP2)).transpose()?;
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| failed(in_words(&error)))?
        .connect_timeout(CONNECT_TIMEOUT)
        .connect_with_connector(Dialer { host: server.host.clone(), port, tls })
        .await
        .map_err(|error| failed(in_words(&error)))?;
    Ok(Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// How a connection introduces itself.
fn setup(namespace: &str) -> Payload {
    let body = json!({
        "module": "internal",
        "clientVersion": concat!("Laneway:v", env!("CARGO_PKG_VERSION")),
        "tenant": namespace,
        "labels": {"source": "sdk", "module": "naming", "AppName": "laneway"},
    });
    Payload::new("ConnectionSetupRequest", &body, Vec::new())
}

/// Hears what the server says, and answers it, until it is over.
async fn follow(grpc: Grpc<Channel>, setup: Payload, tell: mpsc::Sender<Pushed>) {
    let why = hear(grpc, setup, &tell).await;
    let _nobody_listens = tell.send(Pushed::Ended(why)).await;
}

async fn hear(mut grpc: Grpc<Channel>, setup: Payload, tell: &mpsc::Sender<Pushed>) -> Error {
    let over = |reason: &str| Error::Ended { reason: reason.to_owned() };
    let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
    // Before the stream is there: the server answers nothing before it has heard it.
    if answers.send(setup).await.is_err() {
        return over("it is closed");
    }
    if let Err(error) = grpc.ready().await {
        return Error::Ended { reason: in_words(&error) };
    }
    let path = PathAndQuery::from_static("/BiRequestStream/requestBiStream");
    let codec = ProstCodec::<Payload, Payload>::default();
    let stream = grpc.streaming(Request::new(ReceiverStream::new(outgoing)), path, codec).await;
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return ended(&status),
    };
    loop {
        let asked = match stream.message().await {
            Ok(Some(asked)) => asked,
            Ok(None) => return over("the server closed it"),
            Err(status) => return ended(&status),
        };
        let pushed = match asked.kind() {
            "NotifySubscriberRequest" => Some(pushed(&asked)),
            "ConfigChangeNotifyRequest" => Some(configured(&asked)),
            _ => None,
        };
        // What was not read is not acknowledged: the server tells it again.
        let is_read = !matches!(pushed, Some(None | Some(Pushed::Unread { .. })));
        if is_read
            && let Some(answer) = answer_to(&asked)
            && answers.send(answer).await.is_err()
        {
            return over("the server closed it");
        }
        if asked.kind() == "ConnectResetRequest" {
            return Error::Reset;
        }
        if let Some(pushed) = pushed.flatten()
            && tell.send(pushed).await.is_err()
        {
            return over("it is closed");
        }
    }
}

/// What a push tells. One that cannot be read says nothing: the last picture of its service stays.
fn pushed(asked: &Payload) -> Option<Pushed> {
    match asked.read::<Told>() {
        Ok(told) => Some(Pushed::Service(told.service_info)),
        Err(error) => {
            tracing::warn!(%error, "a change that Nacos tells is not understood");
            let Named { service_info } = asked.read().ok()?;
            let (group, name) = service_info.parts();
            Some(Pushed::Unread { group: group.to_owned(), name: name.to_owned() })
        }
    }
}

/// Which configuration is otherwise than before.
fn configured(asked: &Payload) -> Option<Pushed> {
    asked.read::<config::Named>().map(|named| Pushed::Config(named.into())).ok()
}

/// Whatever a server asks is answered with yes: it wants to know that we are there.
fn answer_to(asked: &Payload) -> Option<Payload> {
    let kind = asked.kind().strip_suffix("Request")?;
    let Asked { request_id } = asked.read().ok()?;
    let body = json!({"resultCode": 200, "errorCode": 0, "requestId": request_id});
    Some(Payload::new(&format!("{kind}Response"), &body, Vec::new()))
}

fn refusal(what: &str, outcome: Outcome, code: i32) -> Error {
    let said = shortened(&outcome.message.unwrap_or_default());
    match code {
        UNREGISTERED => Error::Reset,
        STARTING => Error::Ended { reason: said },
        code => Error::Refused { what: what.to_owned(), said, code },
    }
}

fn ended(status: &tonic::Status) -> Error {
    Error::Ended { reason: format!("{}: {}", status.code(), status.message()) }
}
