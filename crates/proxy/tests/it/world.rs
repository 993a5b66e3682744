//! A small world to test in: pictures, a proxy on free ports, and ends of connections that read and write bytes.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lanes::{
    Directory, Endpoint, Group, GroupName, GroupSpec, LaneSpec, Service, ServiceId, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    directory::{
        NameAnswer,
        digest::{self, Digest},
    },
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{FurtherAddresses, Health, Port, Protocol},
};
use proxy::{
    Feed, GatewayConfig, Published, Query, Running, SidecarConfig, limits::Timeouts,
    sidecar::OwnPort,
};
use routes::{
    GatewaySpec, RouteKind, RouteSpec, Table,
    entrance::CorrelationHeaders,
    spec::{BackendSpec, FilterSpec, ListenerSpec, MatchSpec, ParentSpec, PathSpec, RuleSpec},
    tls::{Certificate, UpstreamTls},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

/// Questions that may wait; no test asks more.
const ASKED_MAX: usize = 16;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Fails the test when something does not come in time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Tries until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// One end of a connection.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    /// An end that is connected already.
    pub(crate) fn from_std(stream: std::net::TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { stream: TcpStream::from_std(stream).unwrap(), received: Vec::new() }
    }

    /// The same, with as little room for what arrives as there can be.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = within("a connection", socket.connect(address)).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    /// The same, where the connection may be refused.
    pub(crate) async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, received: Vec::new() })
    }

    /// Ends so that the other side sees a reset.
    pub(crate) fn abort(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The bytes inside of something else.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within("room to send", self.stream.write_all(bytes)).await.unwrap();
    }

    /// False when the other side takes nothing any more.
    pub(crate) async fn try_send(&mut self, text: &str) -> bool {
        within("room to send", self.stream.write_all(text.as_bytes())).await.is_ok()
    }

    /// The same of bytes.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        within("room to send", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Ends this side, unless the other has ended all of it.
    pub(crate) async fn try_close_write(&mut self) -> bool {
        self.stream.shutdown().await.is_ok()
    }

    /// Whether anything comes before the other side closes or resets.
    pub(crate) async fn try_begin(&mut self) -> bool {
        within("bytes", self.stream.read_buf(&mut self.received)).await.is_ok_and(|it| it > 0)
    }

    /// False at the end of the stream.
    async fn receive(&mut self) -> bool {
        within("bytes", self.stream.read_buf(&mut self.received)).await.unwrap() > 0
    }

    /// The next head, with its empty line.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.received.drain(..at + 4).collect()).unwrap();
            }
            assert!(
                self.receive().await,
                "closed within a head: {:?}",
                self.received.escape_ascii().to_string()
            );
        }
    }

    /// The next `bytes` bytes.
    pub(crate) async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.received.len() < bytes {
            assert!(self.receive().await, "closed after {} of {bytes} bytes", self.received.len());
        }
        self.received.drain(..bytes).collect()
    }

    pub(crate) async fn text(&mut self, expected: &str) {
        let bytes = self.exactly(expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// What comes next; nothing at the end of the stream.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if self.received.is_empty() {
            let _ = within("bytes", self.stream.read_buf(&mut self.received)).await;
        }
        std::mem::take(&mut self.received)
    }

    /// Everything until the other side closes. A reset is an end, too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let _ = within("the end", self.stream.read_to_end(&mut self.received)).await;
        std::mem::take(&mut self.received)
    }

    /// The other side closes, and nothing more comes.
    pub(crate) async fn closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "came before the end: {}", rest.escape_ascii());
    }

    /// The other side resets the connection: it did not end in order.
    pub(crate) async fn reset(&mut self) {
        let error =
            within("a reset", self.stream.read_to_end(&mut self.received)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// The whole next answer with a content-length: its head and body.
    pub(crate) async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length =
            field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = String::from_utf8(self.exactly(length).await).unwrap();
        (head, body)
    }

    pub(crate) async fn close_write(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The connection itself, where nothing was received yet.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

/// A field's value in a head.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status of an answer's head.
pub(crate) fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// An instance that the test plays.
pub(crate) struct Instance {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Plays on a socket that listens already, such as one of another host.
    pub(crate) fn from_std(listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Wire {
        let (stream, _) =
            within("a connection to the instance", self.listener.accept()).await.unwrap();
        Wire { stream, received: Vec::new() }
    }

    /// The next connection, for whoever speaks otherwise.
    pub(crate) async fn take(&self) -> std::io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Answers every request with its name and what it was asked, for as long as the test runs.
    pub(crate) fn serve(self, name: &'static str) -> SocketAddr {
        let address = self.address;
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else { return };
                tokio::spawn(answer_all(Wire { stream, received: Vec::new() }, name));
            }
        });
        address
    }
}

async fn answer_all(mut wire: Wire, name: &'static str) {
    loop {
        let head = loop {
            if let Some(at) = wire.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(wire.received.drain(..at + 4).collect()).unwrap();
            }
            match wire.stream.read_buf(&mut wire.received).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            }
        };
        let body = format!("{name}\n{head}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if wire.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    // Bound and dropped: the kernel does not give the port out again soon.
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A port of the application beside a sidecar.
pub(crate) fn own_port(service: &str, protocol: Protocol, at: SocketAddr) -> OwnPort {
    OwnPort { service: service.to_owned(), protocol, application_address: at }
}

type Instances = Vec<(SocketAddr, Option<&'static str>)>;
type Route = (&'static str, &'static str, Vec<FilterSpec>, (Option<u64>, Option<u64>));

/// What is published, built step by step.
#[derive(Clone)]
pub(crate) struct World {
    /// Name, application, instances with their tags.
    pub(crate) services: Vec<(&'static str, &'static str, Instances)>,
    /// Who tells of the services.
    pub(crate) source: &'static str,
    /// Where instances are as well, by their first address.
    pub(crate) further: HashMap<SocketAddr, Vec<SocketAddr>>,
    /// At which port of its application a service is, where it is not the first.
    pub(crate) ports: HashMap<&'static str, Port>,
    /// Where the application of a service's instance is, by the service and the instance's first address.
    pub(crate) applications: HashMap<(&'static str, SocketAddr), SocketAddr>,
    /// Of instances that are not usable.
    pub(crate) health: HashMap<SocketAddr, Health>,
    pub(crate) listeners: Vec<ListenerSpec>,
    /// What listeners show in TLS, by name.
    pub(crate) certificates: BTreeMap<String, Arc<Certificate>>,
    /// Path prefix, service, filters, timeouts of the request and of an attempt in milliseconds.
    pub(crate) routes: Vec<Route>,
    /// Host names, and the services that have the connections in TLS for these, by weight.
    pub(crate) passed: Vec<(&'static str, Vec<(&'static str, u32)>)>,
    pub(crate) groups: Vec<GroupSpec>,
    pub(crate) complete: bool,
    pub(crate) absent: Vec<&'static str>,
    /// Names that mean something, where it is told which do.
    pub(crate) digest: Option<Vec<&'static str>>,
    /// Hosts of registered instances, where it is told.
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) nobody_answers: bool,
    /// Instances speak HTTP/2, by what the routes say.
    pub(crate) backends_speak_http2: bool,
    /// Instances speak TLS, by what the routes say.
    pub(crate) backends_tls: Option<UpstreamTls>,
    /// The proxy was there before.
    pub(crate) comes_back: bool,
}

impl World {
    /// One service `sc-A` of application `a` behind `/`, on a listener that trusts nobody.
    pub(crate) fn new(instances: &[SocketAddr]) -> Self {
        let endpoints = instances.iter().map(|address| (*address, None)).collect();
        Self {
            services: vec![("sc-A", "a", endpoints)],
            source: "fixed",
            further: HashMap::new(),
            ports: HashMap::new(),
            applications: HashMap::new(),
            health: HashMap::new(),
            listeners: vec![listener(80, false)],
            certificates: BTreeMap::new(),
            routes: vec![("/", "sc-A", Vec::new(), (None, None))],
            passed: Vec::new(),
            groups: Vec::new(),
            complete: true,
            absent: Vec::new(),
            digest: None,
            hosts: Vec::new(),
            nobody_answers: false,
            backends_speak_http2: false,
            backends_tls: None,
            comes_back: false,
        }
    }

    fn id(&self, name: &str) -> ServiceId {
        ServiceId::new(self.source, "default", "", name)
    }

    fn tell_of_others(&self, directory: &mut Directory) {
        if let Some(names) = &self.digest {
            let of_names = names.iter().map(|name| digest::of_name(name));
            let of_hosts = self.hosts.iter().map(|ip| digest::of_host(*ip));
            let hashes = of_names.chain(of_hosts).collect();
            directory.set_digest(Some(Arc::new(Digest::new(hashes))));
        }
        directory.set_nobody_answers(self.nobody_answers);
        for name in &self.absent {
            directory.answer_name(name, NameAnswer::Absent);
        }
    }

    fn endpoint(&self, service: &'static str, address: SocketAddr, tag: Option<&str>) -> Endpoint {
        let further = self.further.get(&address).map_or(&[][..], Vec::as_slice);
        Endpoint {
            address,
            application_address: self.applications.get(&(service, address)).copied(),
            further: FurtherAddresses::beside((address, None), further, &[]),
            tag: tag.and_then(|tag| Tag::parse(tag).unwrap()),
            weight: 1,
            health: self.health.get(&address).copied().unwrap_or(Health::Usable),
            port: self.ports.get(service).copied().unwrap_or_default(),
        }
    }

    fn passing_routes(&self) -> impl Iterator<Item = RouteSpec> {
        let backend = |(service, weight): &(&'static str, u32)| BackendSpec {
            service: Ok(self.id(service)),
            weight: *weight,
            http2: false,
            tls: None,
            filters: Vec::new(),
        };
        self.passed.iter().enumerate().map(move |(created, (hostname, services))| RouteSpec {
            kind: RouteKind::Tls,
            namespace: "default".to_owned(),
            name: format!("passed-{created}"),
            parents: vec![ParentSpec { gateway: "edge".to_owned(), section: None, port: None }],
            hostnames: vec![(*hostname).to_owned()],
            rules: vec![RuleSpec {
                matches: Vec::new(),
                filters: Vec::new(),
                backends: services.iter().map(backend).collect(),
                request_timeout_ms: None,
                backend_timeout_ms: None,
            }],
            created: created as u64,
        })
    }

    pub(crate) fn publish(&self) -> Arc<Published> {
        let mut directory = Directory::new(self.complete);
        for (name, application, endpoints) in &self.services {
            let endpoints =
                endpoints.iter().map(|(at, tag)| self.endpoint(name, *at, *tag)).collect();
            let service = Service::new(self.id(name), name, application, endpoints);
            directory.insert(Arc::new(service));
            directory.answer_name(name, NameAnswer::Service(self.id(name)));
        }
        self.tell_of_others(&mut directory);
        let gateway = GatewaySpec { name: "edge".to_owned(), listeners: self.listeners.clone() };
        let of_requests = self.routes.iter().enumerate().map(
            |(created, (path, service, filters, (request_timeout_ms, backend_timeout_ms)))| {
                RouteSpec {
                    kind: RouteKind::Http,
                    namespace: "default".to_owned(),
                    name: format!("route-{created}"),
                    parents: vec![ParentSpec {
                        gateway: "edge".to_owned(),
                        section: None,
                        port: None,
                    }],
                    hostnames: Vec::new(),
                    rules: vec![RuleSpec {
                        matches: vec![MatchSpec {
                            path: PathSpec::Prefix((*path).to_owned()),
                            method: None,
                            headers: Vec::new(),
                            query: Vec::new(),
                        }],
                        filters: filters.clone(),
                        backends: if filters
                            .iter()
                            .any(|filter| matches!(filter, FilterSpec::Redirect(_)))
                        {
                            Vec::new()
                        } else {
                            vec![BackendSpec {
                                service: Ok(self.id(service)),
                                weight: 1,
                                http2: self.backends_speak_http2,
                                tls: self.backends_tls.clone(),
                                filters: Vec::new(),
                            }]
                        },
                        request_timeout_ms: *request_timeout_ms,
                        backend_timeout_ms: *backend_timeout_ms,
                    }],
                    created: created as u64,
                }
            },
        );
        let routes: Vec<_> = of_requests.chain(self.passing_routes()).collect();
        let (table, problems) = Table::compile(Some(&gateway), &routes);
        assert!(problems.is_empty(), "{problems:?}");
        let groups = self
            .groups
            .iter()
            .map(|spec| Arc::new(Group::compile(spec.clone()).unwrap()))
            .collect();
        Arc::new(Published {
            lanes: Snapshot::new(groups, directory),
            routes: Arc::new(table),
            certificates: Arc::new(self.certificates.clone()),
        })
    }
}

pub(crate) fn listener(port: u16, trusted: bool) -> ListenerSpec {
    ListenerSpec {
        name: format!("http-{port}"),
        port,
        hostname: None,
        trusted,
        trusted_hops: 0,
        merge_slashes: true,
        http2: false,
        tls: None,
    }
}

/// A group whose lane `gray` takes requests with `canary: gray`.
pub(crate) fn group(
    entrance: EntranceSpec,
    applications: &[&str],
    fallback: Fallback,
) -> GroupSpec {
    GroupSpec {
        name: GroupName::parse("trade").unwrap(),
        entrances: vec![entrance],
        applications: applications.iter().map(|name| (*name).to_owned()).collect(),
        lanes: vec![LaneSpec {
            tag: Tag::parse("gray").unwrap().unwrap(),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry: Entry::Content {
                meet: Meet::All,
                conditions: vec![Condition {
                    parameter: Parameter::Header("canary".to_owned()),
                    operator: Operator::Equal("gray".to_owned()),
                }],
            },
            fallback,
            switched_off: Vec::new(),
        }],
    }
}

pub(crate) fn gateway_entrance() -> EntranceSpec {
    EntranceSpec::Gateway { name: "edge".to_owned(), routes: None }
}

/// A proxy that runs on what the test publishes.
pub(crate) struct Proxy {
    pub(crate) running: Running,
    pub(crate) publish: watch::Sender<Arc<Published>>,
    pub(crate) asked: mpsc::Receiver<Query>,
}

impl Proxy {
    pub(crate) fn gateway(world: &World) -> Self {
        Self::gateway_with(world, 1, Timeouts::default())
    }

    pub(crate) fn gateway_with(world: &World, workers: usize, timeouts: Timeouts) -> Self {
        let mut config = Self::at_the_edge();
        config.workers = workers;
        config.timeouts = timeouts;
        Self::gateway_of(world, config)
    }

    /// What a gateway is started with.
    pub(crate) fn at_the_edge() -> GatewayConfig {
        GatewayConfig::new("edge", "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn gateway_of(world: &World, config: GatewayConfig) -> Self {
        let (publish, asked, feed) = feed(world);
        Self { running: proxy::gateway::start(config, feed).unwrap(), publish, asked }
    }

    /// A gateway that takes these headers for what ties requests together.
    pub(crate) fn gateway_that_correlates(world: &World, names: &[&str]) -> Self {
        let mut config = Self::at_the_edge();
        config.correlation_headers = CorrelationHeaders::new(names.iter().copied()).unwrap();
        Self::gateway_of(world, config)
    }

    /// A sidecar of application `a`, service `sc-A`.
    pub(crate) fn sidecar(world: &World, tag: Option<&str>, application: SocketAddr) -> Self {
        Self::sidecar_of(world, tag, vec![own_port("sc-A", Protocol::Http, application)])
    }

    /// A sidecar of application `a` with these ports.
    pub(crate) fn sidecar_of(world: &World, tag: Option<&str>, ports: Vec<OwnPort>) -> Self {
        Self::sidecar_with(world, Self::beside(tag, ports))
    }

    /// What such a sidecar is started with.
    pub(crate) fn beside(tag: Option<&str>, ports: Vec<OwnPort>) -> SidecarConfig {
        SidecarConfig {
            application: "a".to_owned(),
            ports,
            service_namespace: "default".to_owned(),
            unreachable: Arc::default(),
            tag: tag.and_then(|tag| Tag::parse(tag).unwrap()),
            outbound_listen: "127.0.0.1:0".parse().unwrap(),
            inbound_listen: "127.0.0.1:0".parse().unwrap(),
            transparent: false,
            transparent_ipv6: false,
            mark: None,
            correlation_headers: CorrelationHeaders::default(),
            doors: Vec::new(),
            refuses_unread: false,
            forbidden: Vec::new(),
            takeover: false,
            inherited: Default::default(),
            workers: 1,
            timeouts: Timeouts::default(),
            connections_max: None,
            metrics: Arc::default(),
            observers: Default::default(),
        }
    }

    pub(crate) fn sidecar_with(world: &World, config: SidecarConfig) -> Self {
        let (publish, asked, feed) = feed(world);
        let running = proxy::sidecar::start(config, feed).unwrap();
        Self { running, publish, asked }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    pub(crate) fn inbound(&self) -> SocketAddr {
        self.running.addresses()[1]
    }

    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.address()).await
    }

    /// A new client whose request has reached the instance: both ends.
    pub(crate) async fn under_way(&self, instance: &Instance, request: &str) -> (Wire, Wire) {
        let mut client = self.client().await;
        client.send(request).await;
        let mut server = instance.accept().await;
        server.head().await;
        (client, server)
    }

    /// Waits until a request was counted with an outcome.
    pub(crate) async fn ended(&self, outcome: telemetry::Outcome) {
        let metrics = self.running.counters();
        eventually(&format!("a request that ended {outcome:?}"), async || {
            metrics.requests().iter().any(|row| row.labels.outcome == outcome)
        })
        .await;
    }

    /// Waits until a counter has reached a number; counters are told once a second.
    pub(crate) async fn counted(&self, what: telemetry::Count, at_least: u64) {
        let counters = self.running.counters();
        eventually(&format!("{what:?} to reach {at_least}"), async || {
            counters.counted(what) >= at_least
        })
        .await;
    }
}

fn feed(world: &World) -> (watch::Sender<Arc<Published>>, mpsc::Receiver<Query>, Feed) {
    let (publish, published) = watch::channel(world.publish());
    let (demand, asked) = mpsc::channel(ASKED_MAX);
    (publish, asked, Feed { published, demand, comes_back: world.comes_back })
}

/// A GET of a path.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")
}
