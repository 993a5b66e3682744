//! The control plane as a part: store, API, discovery, sources, resources directory. `control` is this alone,
//! `serve` has a gateway beside it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::{Context, bail};
use api::discovery::v1::discovery_server::{Discovery, DiscoveryServer};
use control::{Control, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use discovery::Readiness;
use telemetry::shortage;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    process::{self, Process},
    registry::Registry,
    sources::Sources,
};
use crate::{
    accepting::{Acceptor, Tls},
    admin::{self, Admin},
    cli::output,
    config::checked::{self, ApiAuth},
    console,
    door::{
        self, Callers, Door,
        token::{self, Token},
    },
    http_server::HttpServer,
    resources::{self, ResourcesDirectory},
    stores,
};

/// Where a gateway listens unless told.
pub(crate) const DEFAULT_GATEWAY: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// Connections of data planes at a time, as far as half the files that may be open allow: a sidecar has two, one for what
/// it is told and one for its instance.
const DATA_PLANE_CONNECTIONS_MAX: u64 = 65_536;

/// How long open streams may take to notice that the control plane stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long instances may take to register again after a start before it is told that there are none.
const RETURN_WAIT: Duration = Duration::from_secs(20);

/// Empty lanes that are told at a start: `laneway analyze` tells all.
const EMPTY_LANES_TOLD_MAX: usize = 10;

/// A control plane whose addresses are bound and which answers on them.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) control: Arc<Control>,
    /// Where data planes connect.
    pub(crate) discovery: SocketAddr,
    api: SocketAddr,
    api_server: Option<HttpServer>,
    api_listener: Option<(TcpListener, Door)>,
    discovery_server: JoinHandle<()>,
    stop: watch::Sender<bool>,
    sources: Sources,
    resources: Option<ResourcesDirectory>,
}

impl ControlPlane {
    /// Opens the store, binds both addresses, and starts everything but the API.
    pub(crate) async fn start(
        process: &Process,
        settings: &checked::ControlPlane,
        gateway_listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        let api_listener = process::bind("api-listen", settings.api_listen).await?;
        let discovery_listener =
            process::bind("discovery-listen", settings.discovery_listen).await?;
        let callers = callers(process, settings)?;
        let (api, discovery) = (api_listener.local_addr()?, discovery_listener.local_addr()?);
        stores::remember(process.data.path());
        if let Err(error) = token::write_address(process.data.path(), api) {
            tracing::warn!(%error, "the API's address cannot be written down: commands here must name server and token");
        }
        let control = Control::open(control::Settings {
            database: process.data.file(stores::DATABASE_FILE),
            gateway_port: default_gateway_port(gateway_listen),
            join_token: settings.join_token.clone(),
            key_file: settings.key_file.clone(),
            prometheus: settings.prometheus.clone(),
            own_listeners: vec![("API", api), ("discovery", discovery)],
            certificate_life: settings.certificate_life,
            whose: door::whose,
        })
        .await
        .context("start the control plane")?;
        let joined = registry::Joined::default();
        let metrics = Arc::clone(&process.metrics);
        let registry = Arc::new(Registry::new(Arc::clone(&control), metrics, joined.clone()));
        let measured = Arc::downgrade(&control);
        process.metrics.collect_from(move |samples| {
            if let Some(control) = measured.upgrade() {
                control.measure(samples);
            }
        });
        let sources = Sources::follow(Arc::clone(&control), joined);
        // Registrations of before a restart are restored here, before anybody is served.
        let service = control.discovery(registry);
        let (stop, stopped) = watch::channel(false);
        let room = DATA_PLANE_CONNECTIONS_MAX.min(shortage::open_files_max() / 2);
        let acceptor =
            Acceptor::new("discovery", discovery_listener, room as usize, &process.metrics);
        let tls = Tls::new(control.discovery_tls(), settings.discovery_plain_text);
        let discovery_server = tokio::spawn(serve_discovery(service, acceptor, tls, stopped));
        if settings.api_auth == ApiAuth::Token {
            make_first_user(&control, settings).await?;
        }
        let resources = follow_resources(process, settings, &control).await;
        tokio::spawn(tell_empty_lanes(Arc::downgrade(&control)));
        let door = process.door(callers).of_api(Arc::clone(&control));
        Ok(Self {
            control,
            discovery,
            api,
            api_server: None,
            api_listener: Some((api_listener, door)),
            discovery_server,
            stop,
            sources,
            resources,
        })
    }

    /// Where the API answers.
    pub(crate) fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Serves the API, and beside it what the process answers about itself; prints where.
    pub(crate) fn serve_api(&mut self, admin: Admin) {
        let metrics = Arc::clone(&admin.metrics);
        let Some((listener, door)) = self.api_listener.take() else { return };
        let router = admin::router(admin).fallback_service(self.control.rest());
        let (router, door) = (console::before(router), door.of_console());
        self.api_server = Some(HttpServer::start("api", listener, router, door, &metrics));
        output::listening("api", self.api);
        output::listening("discovery", self.discovery);
    }

    /// Reads again what can change while it runs.
    pub(crate) fn reload(&self) {
        if let Some(resources) = &self.resources {
            resources.read_again();
        }
    }

    /// Ends streams and listeners. What was answered is durable already.
    pub(crate) async fn stop(self) {
        drop(self.resources);
        self.control.close();
        if let Some(server) = self.api_server {
            server.stop().await;
        }
        let _ = self.stop.send(true);
        let abort = self.discovery_server.abort_handle();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.discovery_server).await.is_err() {
            abort.abort();
        }
        self.sources.stop();
        self.control.stop().await;
    }
}

/// Serves data planes until it is told to stop.
async fn serve_discovery(
    service: DiscoveryServer<impl Discovery>,
    acceptor: Acceptor,
    tls: Tls,
    mut stopped: watch::Receiver<bool>,
) {
    let shutdown = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(acceptor.of_http2(tls), shutdown)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the discovery listener has ended");
    }
}

/// Says which lanes nobody serves, when whoever does has had the time to come back.
async fn tell_empty_lanes(control: Weak<Control>) {
    tokio::time::sleep(RETURN_WAIT).await;
    let Some(control) = control.upgrade() else { return };
    for lane in control.lanes_without_instances().iter().take(EMPTY_LANES_TOLD_MAX) {
        tracing::warn!(%lane, "no application has an instance of its tag: its requests are served by the fallback");
    }
}

/// Follows the directory of resources, where the settings name one.
async fn follow_resources(
    process: &Process,
    settings: &checked::ControlPlane,
    control: &Arc<Control>,
) -> Option<ResourcesDirectory> {
    let directory = settings.resources.clone()?;
    let owned = process.data.file(resources::OWNED_FILE);
    Some(ResourcesDirectory::follow(Arc::clone(control), directory, owned).await)
}

/// Makes the user `admin` where there is no user, and tells the one-time password this once.
async fn make_first_user(
    control: &Arc<Control>,
    settings: &checked::ControlPlane,
) -> anyhow::Result<()> {
    if control.has_users() {
        return Ok(());
    }
    let chosen = match &settings.admin_password_file {
        None => None,
        Some(file) => {
            let shown = file.display();
            let text = fs::read_to_string(file)
                .with_context(|| format!("admin-password-file: read `{shown}`"))?;
            let password = text.trim_end_matches(['\r', '\n']).to_owned();
            if let Err(problem) = control::check_first_password(&password) {
                bail!("admin-password-file: the password in `{shown}`: {}", problem.remedy);
            }
            Some(password)
        }
    };
    let told = control.make_first_user(chosen).await.context("make the first user of the API")?;
    if let Some(password) = told {
        output::line(format_args!(
            "user admin has the one-time password {password} (told this once; `laneway user passwd admin` makes another)"
        ));
    }
    Ok(())
}

/// Who may use the API.
fn callers(process: &Process, settings: &checked::ControlPlane) -> anyhow::Result<Callers> {
    match settings.api_auth {
        ApiAuth::Token => {
            let token = Token::keep(process.data.path())
                .context("api-auth: keep the API's token; `none` does without")?;
            Ok(Callers::Known(Some(token)))
        }
        ApiAuth::None => {
            tracing::warn!(
                address = %settings.api_listen,
                "api-auth is none: whoever reaches the API may change lanes and routes"
            );
            Ok(Callers::Anybody)
        }
    }
}

/// The port of the listener of the gateway `edge` that exists while there is no Gateway object. Where it is not
/// known yet any will do: listeners whose port no address has stand in for each other.
fn default_gateway_port(gateway_listen: SocketAddr) -> u16 {
    match gateway_listen.port() {
        0 => DEFAULT_GATEWAY.port(),
        port => port,
    }
}

/// A control plane alone is ready as soon as it answers.
pub(crate) fn readiness() -> Readiness {
    Readiness {
        ready: true,
        stale: false,
        reason: "the store is open, data planes are served".into(),
    }
}
