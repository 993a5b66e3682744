//! Settings as written: every one a text or nothing, none of them checked. The doc comments are the help texts
//! and the reference.

use clap::Args;

/// What every role has.
#[derive(Debug, Clone, Args)]
pub(crate) struct Process {
    /// A YAML file with settings; its keys are the names of the flags
    #[arg(long, value_name = "FILE", env = "LANEWAY_CONFIG")]
    pub(crate) config: Option<String>,
    /// Where this process keeps its state; one process per directory. Default: laneway/ROLE in the user's state
    /// directory (for a sidecar laneway/sidecar-APPLICATION)
    #[arg(long, value_name = "DIR", env = "LANEWAY_DATA")]
    pub(crate) data: Option<String>,
    /// What is logged: error, warn, info, debug or trace, also per part (info,proxy=debug). Read again on SIGHUP
    #[arg(long, value_name = "LEVEL", env = "LANEWAY_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", env = "LANEWAY_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: String,
    /// Names by which the API and the admin address are reached, beside loopback names and the address itself, e.g.
    /// laneway.example; requests for other hosts are refused
    #[arg(long, value_name = "HOSTS", env = "LANEWAY_ALLOWED_HOSTS", default_value = "")]
    pub(crate) allowed_hosts: String,
    /// How long requests in flight may take to finish after a signal to stop
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_DRAIN_SECONDS", default_value = "25")]
    pub(crate) drain_seconds: String,
}

/// What the control plane has.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControlPlane {
    /// A directory of resource files, applied at start and whenever it changes
    #[arg(long, value_name = "DIR", env = "LANEWAY_RESOURCES")]
    pub(crate) resources: Option<String>,
    /// What private keys of certificates are sealed under: a file with 32 bytes in hexadecimal. Default: laneway.key in the
    /// data directory, made when it is first needed
    #[arg(long, value_name = "FILE", env = "LANEWAY_KEY_FILE")]
    pub(crate) key_file: Option<String>,
    /// A Prometheus that scrapes the data planes: times longer than 15 minutes are asked there, e.g. http://10.0.0.9:9090
    #[arg(long, value_name = "URL", env = "LANEWAY_PROMETHEUS_URL")]
    pub(crate) prometheus_url: Option<String>,
    /// What series of Prometheus must match to be of this mesh, as PromQL has it, e.g. cluster="a",job="laneway"
    #[arg(long, value_name = "MATCHERS", env = "LANEWAY_PROMETHEUS_MATCHERS", default_value = "")]
    pub(crate) prometheus_matchers: String,
    /// A file with the bearer token that Prometheus is shown; read each time
    #[arg(long, value_name = "FILE", env = "LANEWAY_PROMETHEUS_TOKEN_FILE")]
    pub(crate) prometheus_token_file: Option<String>,
    /// A file with authorities, in PEM, that sign for Prometheus beside those of the system
    #[arg(long, value_name = "FILE", env = "LANEWAY_PROMETHEUS_CA_FILE")]
    pub(crate) prometheus_ca_file: Option<String>,
    /// Where the API, health and metrics are served; an address off loopback needs --api-plain-text true
    #[arg(long, value_name = "ADDR", env = "LANEWAY_API_LISTEN", default_value = "127.0.0.1:7600")]
    pub(crate) api_listen: String,
    /// Who may use the API: token lets in who signed in, who shows a token of the API, and who shows the one in `api-token`
    /// of the data directory, which the user who runs the control plane need not on the same machine; none asks nobody
    #[arg(long, value_name = "HOW", env = "LANEWAY_API_AUTH", default_value = "token")]
    pub(crate) api_auth: String,
    /// A file with the password of the user `admin`, which is made where there is no user yet. Default: a one-time password
    /// that is printed once
    #[arg(long, value_name = "FILE", env = "LANEWAY_ADMIN_PASSWORD_FILE")]
    pub(crate) admin_password_file: Option<String>,
    /// Serve the API off loopback although it is not encrypted: true or false
    #[arg(long, value_name = "BOOL", env = "LANEWAY_API_PLAIN_TEXT", default_value = "false")]
    pub(crate) api_plain_text: String,
    /// Where data planes connect; an address off loopback needs a join token
    #[arg(
        long,
        value_name = "ADDR",
        env = "LANEWAY_DISCOVERY_LISTEN",
        default_value = "127.0.0.1:7601"
    )]
    pub(crate) discovery_listen: String,
    /// Take data planes of other machines that connect in the clear, too: true or false. Those that know whom to believe
    /// connect in TLS: by a token of `laneway token create`, or --control-ca. Agents in a JVM connect in the clear
    #[arg(long, value_name = "BOOL", env = "LANEWAY_DISCOVERY_PLAIN_TEXT", default_value = "true")]
    pub(crate) discovery_plain_text: String,
    /// How long the certificates are good that data planes get when they join, 10 at least; they renew them when two thirds
    /// of that are over. One of a data plane that is away for longer has ended: it joins again
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_DATA_PLANE_CERTIFICATE_SECONDS",
        default_value = "86400"
    )]
    pub(crate) data_plane_certificate_seconds: String,
}

/// The secret that data planes show when they connect.
#[derive(Debug, Clone, Args)]
pub(crate) struct Join {
    /// A file with the join token that the control plane and its data planes share; for a sidecar, that of its application
    /// will do (`laneway token create`)
    #[arg(long, value_name = "FILE", env = "LANEWAY_JOIN_TOKEN_FILE")]
    pub(crate) join_token_file: Option<String>,
}

/// How a data plane finds its control plane.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// The control plane's discovery address
    #[arg(long, value_name = "ADDR", env = "LANEWAY_CONTROL")]
    pub(crate) control: Option<String>,
    /// A file with the authority that signs for the control plane, in PEM (`laneway ca show`): it is connected to in TLS.
    /// Default: the one that the join token names; without either it is connected to in the clear
    #[arg(long, value_name = "FILE", env = "LANEWAY_CONTROL_CA")]
    pub(crate) control_ca: Option<String>,
}

/// What a gateway has.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayListener {
    /// Where the gateway accepts requests
    #[arg(
        long,
        value_name = "ADDR",
        env = "LANEWAY_GATEWAY_LISTEN",
        default_value = "127.0.0.1:8000"
    )]
    pub(crate) gateway_listen: String,
    /// How long new requests are still taken after a signal to stop (SIGTERM), while /readyz tells load balancers already;
    /// part of --drain-seconds
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_LAME_DUCK_SECONDS", default_value = "5")]
    pub(crate) lame_duck_seconds: String,
    /// The Gateway resource it serves
    #[arg(long, value_name = "NAME", env = "LANEWAY_NAME", default_value = "edge")]
    pub(crate) name: String,
}

/// What a process has that moves requests.
#[derive(Debug, Clone, Args)]
pub(crate) struct Workers {
    /// How many threads move requests; 0 is one per core for a gateway and one for a sidecar
    #[arg(long, value_name = "COUNT", env = "LANEWAY_THREADS", default_value = "0")]
    pub(crate) threads: String,
    /// Share the listening addresses with a process that has them, to take over from it while it drains: true or
    /// false. Without it an address that another process has is refused
    #[arg(
        long,
        value_name = "BOOL",
        env = "LANEWAY_TAKEOVER",
        default_value = "false",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) takeover: String,
}

/// What bounds the connections of a process that moves requests.
#[derive(Debug, Clone, Args)]
pub(crate) struct Limits {
    /// Connections of callers at a time; 0 is as many as the limit on open files allows, 65536 at most
    #[arg(long, value_name = "COUNT", env = "LANEWAY_CONNECTIONS_MAX", default_value = "0")]
    pub(crate) connections_max: String,
    /// How long connecting to an instance may take
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_CONNECT_TIMEOUT_SECONDS",
        default_value = "2"
    )]
    pub(crate) connect_timeout_seconds: String,
    /// How long a caller's connection may wait between two requests
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_IDLE_TIMEOUT_SECONDS",
        default_value = "60"
    )]
    pub(crate) idle_timeout_seconds: String,
    /// How long the head of a request may take to arrive
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_HEAD_TIMEOUT_SECONDS",
        default_value = "10"
    )]
    pub(crate) head_timeout_seconds: String,
    /// How long the next piece of a request's body may take to arrive, and a caller to take a piece of an answer
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_BODY_TIMEOUT_SECONDS",
        default_value = "30"
    )]
    pub(crate) body_timeout_seconds: String,
    /// How long an instance may take to begin its answer, where the route does not say (backendRequest); 0 is no limit.
    /// Default: 60 at a gateway, 0 at a sidecar, where the caller decides how long it waits
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_ANSWER_TIMEOUT_SECONDS")]
    pub(crate) answer_timeout_seconds: Option<String>,
    /// How long the next piece of an answer's body may take to arrive
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_ANSWER_BODY_TIMEOUT_SECONDS",
        default_value = "300"
    )]
    pub(crate) answer_body_timeout_seconds: String,
    /// How long a whole request may take, where the route does not say (request); 0 is no limit. Default: 3600 at a
    /// gateway, 0 at a sidecar
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_REQUEST_TIMEOUT_SECONDS")]
    pub(crate) request_timeout_seconds: Option<String>,
    /// How long a tunnel (an upgraded connection, or one whose bytes pass unread) may be silent
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_TUNNEL_TIMEOUT_SECONDS",
        default_value = "3600"
    )]
    pub(crate) tunnel_timeout_seconds: String,
    /// How long an instance, or an application beside its sidecar, may leave a PING in HTTP/2 unanswered while calls of gRPC
    /// wait for it: then it is put aside, and they wait no longer. 0 is no limit, e.g. for one that is stopped in a debugger
    #[arg(
        long,
        value_name = "SECONDS",
        env = "LANEWAY_SIGN_OF_LIFE_TIMEOUT_SECONDS",
        default_value = "20"
    )]
    pub(crate) sign_of_life_timeout_seconds: String,
}

/// Who is told of single requests.
#[derive(Debug, Clone, Args)]
pub(crate) struct Observers {
    /// A file in which each request is a line of JSON, or - for standard output. Default: none is written
    #[arg(long, value_name = "FILE", env = "LANEWAY_ACCESS_LOG")]
    pub(crate) access_log: Option<String>,
    /// How large the file of the access log may become before it is put aside as FILE.1
    #[arg(
        long,
        value_name = "MEGABYTES",
        env = "LANEWAY_ACCESS_LOG_MEGABYTES",
        default_value = "100"
    )]
    pub(crate) access_log_megabytes: String,
    /// How many files of the access log there are at most, with the one that is written
    #[arg(long, value_name = "COUNT", env = "LANEWAY_ACCESS_LOG_FILES", default_value = "5")]
    pub(crate) access_log_files: String,
    /// A collector, such as http://127.0.0.1:4318 or, in TLS, https://collector.example, to which spans of traced requests are
    /// sent by OTLP. OpenTelemetry's own variables are not read: in a sidecar's environment they are its application's
    #[arg(long, value_name = "URL", env = "LANEWAY_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// What is spoken with it: http/protobuf, or grpc
    #[arg(
        long,
        value_name = "PROTOCOL",
        env = "LANEWAY_OTLP_PROTOCOL",
        default_value = "http/protobuf"
    )]
    pub(crate) otlp_protocol: String,
    /// A file with authorities, in PEM, that sign for it beside those of the system
    #[arg(long, value_name = "FILE", env = "LANEWAY_OTLP_CA_FILE")]
    pub(crate) otlp_ca_file: Option<String>,
    /// A file with headers that it is shown, such as a token: name=value, several on lines of their own or with commas, values
    /// percent-encoded where they must be. Read at the start
    #[arg(long, value_name = "FILE", env = "LANEWAY_OTLP_HEADERS_FILE")]
    pub(crate) otlp_headers_file: Option<String>,
    /// The same headers themselves: by the variable or the settings file only, since everybody on a machine sees its flags
    #[arg(long, value_name = "HEADERS", env = "LANEWAY_OTLP_HEADERS", hide_env_values = true)]
    pub(crate) otlp_headers: Option<String>,
    /// Of traces that begin here, how many percent are traced, with at most two decimals; of others their traceparent says
    /// whether they are
    #[arg(long, value_name = "PERCENT", env = "LANEWAY_OTLP_ROOT_PERCENT", default_value = "100")]
    pub(crate) otlp_root_percent: String,
}

/// What a data plane in a process of its own has.
#[derive(Debug, Clone, Args)]
pub(crate) struct Admin {
    /// Where health and metrics are served
    #[arg(
        long,
        value_name = "ADDR",
        env = "LANEWAY_ADMIN_LISTEN",
        default_value = "127.0.0.1:15020"
    )]
    pub(crate) admin_listen: String,
}

/// `laneway serve`: control plane and gateway in one process.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) process: Process,
    #[command(flatten)]
    pub(crate) control: ControlPlane,
    #[command(flatten)]
    pub(crate) join: Join,
    #[command(flatten)]
    pub(crate) gateway: GatewayListener,
    #[command(flatten)]
    pub(crate) correlation: Correlation,
    #[command(flatten)]
    pub(crate) workers: Workers,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) observers: Observers,
}

/// `laneway control`: the control plane alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct Control {
    #[command(flatten)]
    pub(crate) process: Process,
    #[command(flatten)]
    pub(crate) control: ControlPlane,
    #[command(flatten)]
    pub(crate) join: Join,
}

/// `laneway gateway`: a gateway alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) process: Process,
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(flatten)]
    pub(crate) join: Join,
    #[command(flatten)]
    pub(crate) gateway: GatewayListener,
    #[command(flatten)]
    pub(crate) admin: Admin,
    #[command(flatten)]
    pub(crate) correlation: Correlation,
    #[command(flatten)]
    pub(crate) workers: Workers,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) observers: Observers,
}

/// `laneway sidecar`: beside one instance of an application.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sidecar {
    #[command(flatten)]
    pub(crate) process: Process,
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(flatten)]
    pub(crate) join: Join,
    /// A directory, by its absolute path, in which sidecars of this user on this machine leave one another what they were
    /// told last: one that has nothing in its data directory starts from what another of its application has left there
    /// within 24 hours while the control plane is away. `none` leaves nothing. Default: laneway/shared in the user's state
    /// directory, where it is this user's own
    #[arg(long, value_name = "DIR", env = "LANEWAY_SHARED_DATA")]
    pub(crate) shared_data: Option<String>,
    /// The application beside this sidecar
    #[arg(long, value_name = "NAME", env = "LANEWAY_APPLICATION")]
    pub(crate) application: Option<String>,
    /// The service callers know it by, at its first port. Default: the application's name
    #[arg(long, value_name = "NAME", env = "LANEWAY_SERVICE")]
    pub(crate) service: Option<String>,
    /// The namespace the service is registered in
    #[arg(long, value_name = "NAME", env = "LANEWAY_SERVICE_NAMESPACE", default_value = "default")]
    pub(crate) service_namespace: String,
    /// Where the application listens. May be said several times, with blanks between in the environment, as a list in the
    /// file, e.g. once for IPv4 and once for IPv6, and once for each port: it is one instance. Of a further port
    /// `,service=NAME` says how callers name it, e.g. 10.0.0.5:20880,service=dubbo-b; what speaks neither HTTP nor Dubbo's own
    /// protocol is `protocol=tcp` and passes unread. The port without `service=` is that of --service, is probed and gets what comes
    /// without a destination
    #[arg(long, value_name = "HOST:PORT", env = "LANEWAY_APP_ADDRESS")]
    pub(crate) app_address: Vec<String>,
    /// A path of the application at which a GET must be answered with 200 to 399 for it to be healthy; one that hangs is
    /// then noticed within seconds. Default: that a connection can be opened
    #[arg(long, value_name = "PATH", env = "LANEWAY_HEALTH_PATH")]
    pub(crate) health_path: Option<String>,
    /// Where other hosts reach the inbound listener; several times (as --app-address) where they reach it at several
    /// addresses, e.g. of both families. Default: its own address. With --capture the addresses of the other family at the
    /// same network interface are told without being named
    #[arg(long, value_name = "HOST:PORT", env = "LANEWAY_ADVERTISE")]
    pub(crate) advertise: Vec<String>,
    /// The version tag of this instance; without one it belongs to the base
    #[arg(long, value_name = "TAG", env = "LANEWAY_TAG")]
    pub(crate) tag: Option<String>,
    /// The share of requests this instance takes among its peers
    #[arg(long, value_name = "NUMBER", env = "LANEWAY_WEIGHT", default_value = "1")]
    pub(crate) weight: String,
    /// Where the application's outbound requests are taken
    #[arg(
        long,
        value_name = "ADDR",
        env = "LANEWAY_OUTBOUND_LISTEN",
        default_value = "127.0.0.1:15001"
    )]
    pub(crate) outbound_listen: String,
    /// Where requests for the application arrive
    #[arg(
        long,
        value_name = "ADDR",
        env = "LANEWAY_INBOUND_LISTEN",
        default_value = "127.0.0.1:15006"
    )]
    pub(crate) inbound_listen: String,
    /// How long new requests are still taken after a signal to stop (SIGTERM); part of --drain-seconds. Callers that are
    /// told by the control plane need none, those that look at /readyz do
    #[arg(long, value_name = "SECONDS", env = "LANEWAY_LAME_DUCK_SECONDS", default_value = "0")]
    pub(crate) lame_duck_seconds: String,
    /// What the forward proxy must not reach besides Laneway's own listeners, link-local addresses and those at which clouds tell credentials, e.g. 10.0.0.0/8
    #[arg(long, value_name = "RANGES", env = "LANEWAY_FORBID_DESTINATIONS", default_value = "")]
    pub(crate) forbid_destinations: String,
    /// Refuse what cannot be read and would pass as base: captured connections of no protocol that is read, such as TLS, and requests in Dubbo's protocol in a serialization that is not. Ports of protocol tcp pass all the same: true or false
    #[arg(
        long,
        value_name = "BOOL",
        env = "LANEWAY_REFUSE_UNREAD",
        default_value = "false",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) refuse_unread: String,
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// Redirect the application's traffic by packet filter rules: true or false
    #[arg(
        long,
        value_name = "BOOL",
        env = "LANEWAY_CAPTURE",
        default_value = "false",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) capture: String,
    /// Redirect IPv6 too, where the host has it: true or false
    #[arg(long, value_name = "BOOL", env = "LANEWAY_CAPTURE_IPV6", default_value = "true")]
    pub(crate) capture_ipv6: String,
    #[command(flatten)]
    pub(crate) exclusions: CaptureExclusions,
    #[command(flatten)]
    pub(crate) correlation: Correlation,
    #[command(flatten)]
    pub(crate) workers: Workers,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) observers: Observers,
}

/// How the requests of one call chain are recognised without baggage.
#[derive(Debug, Clone, Args)]
pub(crate) struct Correlation {
    /// Headers that applications without baggage forward, first known wins, e.g. traceparent,b3 or traceparent,sw8; a
    /// gateway that does not trust its callers removes or replaces theirs
    #[arg(
        long,
        value_name = "HEADERS",
        env = "LANEWAY_CORRELATION_HEADERS",
        default_value = "traceparent,x-request-id"
    )]
    pub(crate) correlation_headers: String,
}

/// What a capturing sidecar leaves alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct CaptureExclusions {
    /// Ports whose outbound connections are not captured, e.g. 3306,6379
    #[arg(
        long,
        value_name = "PORTS",
        env = "LANEWAY_CAPTURE_EXCLUDE_OUTBOUND_PORTS",
        default_value = ""
    )]
    pub(crate) capture_exclude_outbound_ports: String,
    /// Destinations that are not captured, e.g. 10.96.0.10,192.168.0.0/16
    #[arg(
        long,
        value_name = "RANGES",
        env = "LANEWAY_CAPTURE_EXCLUDE_DESTINATIONS",
        default_value = ""
    )]
    pub(crate) capture_exclude_destinations: String,
    /// Ports whose inbound connections are not captured; the admin port never is
    #[arg(
        long,
        value_name = "PORTS",
        env = "LANEWAY_CAPTURE_EXCLUDE_INBOUND_PORTS",
        default_value = ""
    )]
    pub(crate) capture_exclude_inbound_ports: String,
}
