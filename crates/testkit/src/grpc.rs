//! A chain A → B → C of applications that speak gRPC, each in somebody else's library and none with a word of lanes, and
//! one that calls them in every way there is.
//!
//! B is in the lane gray, C in gray and in blue, A in none: what A sends, and what B's base sends, is of several lanes on
//! one connection.
#![allow(clippy::disallowed_methods, reason = "worlds are named by the environment")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{needs, sample, wait};

/// Longest until an application listens: a JVM with an agent's worth of classes takes its time on a busy machine.
const LISTENING_WITHIN: Duration = Duration::from_secs(180);

/// Whose library an application is made with, and how what arrives with a call goes on with those that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `google.golang.org/grpc`; it copies `baggage` and `traceparent` by hand.
    Go,
    /// grpc-java under OpenTelemetry's agent.
    Java,
    /// grpcio under OpenTelemetry's zero-code instrumentation.
    Python,
}

/// An instance of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// `A`: its application is `app-a`, its service `sc-A`.
    pub name: &'static str,
    /// Of its instance.
    pub tag: Option<&'static str>,
    /// The last number of its address.
    pub host: u8,
    /// Made with.
    pub language: Language,
}

/// The tags of the lanes.
pub const LANES: &[&str] = &["gray", "blue"];

/// Of three chains: over all of them each language is at each place, asks and is asked by each of the others.
pub const CHAINS: [[Place; 6]; 3] = {
    use Language::{Go, Java, Python};
    [
        chain([Java, Go, Java, Python, Go, Python]),
        chain([Go, Python, Go, Java, Python, Go]),
        chain([Python, Java, Python, Go, Java, Go]),
    ]
};

/// A, B and B of gray, C and C of gray and of blue.
const fn chain(languages: [Language; 6]) -> [Place; 6] {
    let [a, b, gray_b, c, gray_c, blue_c] = languages;
    [
        Place { name: "A", tag: None, host: 11, language: a },
        Place { name: "B", tag: None, host: 12, language: b },
        Place { name: "B", tag: Some("gray"), host: 22, language: gray_b },
        Place { name: "C", tag: None, host: 13, language: c },
        Place { name: "C", tag: Some("gray"), host: 23, language: gray_c },
        Place { name: "C", tag: Some("blue"), host: 33, language: blue_c },
    ]
}

/// Who answers a call by its metadata: a lane's, nobody's, or one of the mesh that a stranger has no right to. Each is the
/// numbers of hosts in the order of the chain.
const ANSWERING: [(&str, [u8; 3]); 4] = [
    ("base", [11, 12, 13]),
    ("gray", [11, 22, 23]),
    ("blue", [11, 12, 33]),
    ("forged", [11, 12, 13]),
];

/// Whether the libraries are there; see [`needs`].
#[must_use]
pub fn is_there() -> bool {
    ["otel", "suites", "grpc"].into_iter().all(needs)
}

/// The chain behind a route of gRPC at a gateway that is asked on port 8000, and its lanes.
#[must_use]
pub fn resources() -> String {
    let lanes: String = LANES.iter().map(|tag| sample::lane(tag)).collect();
    format!("{ROUTED}{lanes}")
}

const ROUTED: &str = r#"---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-a}
spec: {source: embedded, service: sc-A, protocol: h2c}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {laneway.io/http2-prior-knowledge: "true"}}
spec: {gatewayClassName: laneway, listeners: [{name: calls, port: 8000, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: a}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{method: {service: lane.Chain}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-a}]
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge, routes: [a]}], applications: [app-a, app-b, app-c]}
"#;

impl Place {
    /// What its answers begin with: `Bgray`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}{}", self.name, self.tag.unwrap_or_default())
    }
}

impl Language {
    /// The application, up to its own arguments: its label, address and port, and the host and port that it calls, or `-`. `start` makes
    /// a command of a program, where it is to run; `proxy` is the forward proxy that its library is told of, if any.
    #[must_use]
    pub fn command(
        self,
        start: impl FnOnce(PathBuf) -> Command,
        proxy: Option<SocketAddr>,
    ) -> Command {
        match self {
            Self::Go => {
                let program = world("LANEWAY_SUITES", "suites").join("grpc-application");
                let mut command = plain(start(program));
                command.envs(proxy.map(|proxy| ("HTTPS_PROXY", format!("http://{proxy}"))));
                command
            }
            Self::Java => java(plain(start(java_program())), proxy),
            Self::Python => {
                let python = world("LANEWAY_PYTHON", "python/bin/python");
                let mut command = plain(start(python.with_file_name("opentelemetry-instrument")));
                command.arg(python).arg(script("grpc_application.py"));
                command.envs(proxy.map(|proxy| ("http_proxy", format!("http://{proxy}"))));
                command
            }
        }
    }
}

fn java(mut command: Command, proxy: Option<SocketAddr>) -> Command {
    let built = world("LANEWAY_GRPC", "grpc").join("target");
    let jars = built.join("jars");
    // A dozen megabytes of messages, and few seconds to live.
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.arg(format!("-javaagent:{}", jars.join("opentelemetry-javaagent.jar").display()));
    if let Some(proxy) = proxy {
        command.arg(format!("-Dhttps.proxyHost={}", proxy.ip()));
        command.arg(format!("-Dhttps.proxyPort={}", proxy.port()));
    }
    command.arg("-cp").arg(format!("{}:{}/*", built.join("classes").display(), jars.display()));
    command.arg("GrpcApplication");
    command
}

/// Without what the environment would add: it goes nowhere but where it is told, and tells nobody of its traces.
fn plain(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let word = name.to_string_lossy().to_lowercase();
        if word.starts_with("otel_") || word.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    for exporter in ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"] {
        command.env(exporter, "none");
    }
    command
}

/// A folder or program of a world: where the variable says, or where `cargo xtask worlds` puts it.
fn world(variable: &str, place: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/worlds").join(place);
    std::env::var_os(variable).map_or(built, PathBuf::from)
}

/// Of the JDK that Maven builds with.
fn java_program() -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    home.map_or("java".into(), |home| Path::new(&home).join("bin/java"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Waits until an application listens. To be called on its host, or on one that may connect to it as it is.
///
/// # Errors
/// When it does not in time.
pub fn wait_until_listening(address: SocketAddr) -> Result<()> {
    wait::until(LISTENING_WITHIN, &format!("an application at {address}"), || {
        TcpStream::connect(address).map(drop).context("connect")
    })
}

/// The program that calls the chain through a gateway: all it does is on one connection.
#[must_use]
pub fn caller(start: impl FnOnce(PathBuf) -> Command, gateway: &str) -> Command {
    let mut command = plain(start(world("LANEWAY_PYTHON", "python/bin/python")));
    command.arg(script("grpc_caller.py")).arg(gateway);
    command
}

/// Who answers a call of this lane, in the order of the chain: `A[127.1.2.11] -> Bgray[127.1.2.22] -> …`.
fn answering(places: &[Place], lane: &str, address: impl Fn(u8) -> String) -> String {
    let hosts = ANSWERING.iter().find(|(name, _)| *name == lane).expect("one of the lanes").1;
    let words = hosts.map(|host| {
        let place = places.iter().find(|place| place.host == host).expect("a place of the chain");
        format!("{}[{}]", place.label(), address(host))
    });
    words.join(" -> ")
}

/// Waits until every lane is served by who is in it.
///
/// # Errors
/// When that is not so in time.
pub fn wait_until_settled(
    within: Duration,
    places: &[Place],
    address: impl Fn(u8) -> String,
    caller: impl Fn() -> Command,
) -> Result<()> {
    let expected: BTreeMap<String, usize> = ANSWERING
        .iter()
        .map(|(lane, _)| (format!("unary\t{lane}\t{}", answering(places, lane, &address)), 1))
        .collect();
    wait::until(within, "all instances to know each other", || {
        let told = called(caller().arg("once"))?;
        if told == expected { Ok(()) } else { bail!("{told:?}") }
    })
}

/// Calls of every kind, many at once, of all lanes: what [`called`] is to tell of a caller.
#[must_use]
pub fn expected(places: &[Place], address: impl Fn(u8) -> String) -> BTreeMap<String, usize> {
    let mut expected = BTreeMap::new();
    for (lane, _) in ANSWERING {
        let chain = answering(places, lane, &address);
        for (kind, times, more) in
            [("unary", 8, ""), ("down", 24, ""), ("up", 8, " 3"), ("both", 24, "")]
        {
            expected.insert(format!("{kind}\t{lane}\t{chain}{more}"), times);
        }
    }
    for ended in [
        "late\tbase\tDEADLINE_EXCEEDED",
        "late\tgray\tDEADLINE_EXCEEDED",
        "cancelled\tbase\teverywhere",
        "unknown\tbase\tUNIMPLEMENTED",
    ] {
        expected.insert(ended.to_owned(), 1);
    }
    expected
}

/// What a caller prints, and how often: each line is the kind of call, its lane, and the answer.
///
/// # Errors
/// When it ends otherwise than well; what it says then.
pub fn called(caller: &mut Command) -> Result<BTreeMap<String, usize>> {
    let output = caller.output().context("run the caller")?;
    if !output.status.success() {
        bail!("the caller: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let mut counted = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        *counted.entry(line.to_owned()).or_default() += 1;
    }
    Ok(counted)
}

/// Switches the lane gray off, by `disable`, while a stream of each lane is open: those that are open stay where they are, and new
/// ones of gray on the same connection are served by the base. An error says what is otherwise.
///
/// # Errors
/// When `disable` or the caller fails, or something else answers than should.
pub fn check_disabling_gray(
    places: &[Place],
    address: impl Fn(u8) -> String,
    mut caller: Command,
    disable: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let told = |kind: &str, base: &str| -> Vec<String> {
        let lanes = ANSWERING.iter().map(|(lane, _)| *lane);
        let answered = |lane| answering(places, if lane == base { "base" } else { lane }, &address);
        lanes.map(|lane| format!("{kind}\t{lane}\t{}", answered(lane))).collect()
    };
    let expected = [told("before", ""), told("new", "gray"), told("after", "")].concat();
    caller.arg("across").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut caller = Ended(caller.spawn().context("run the caller")?);
    let output = caller.0.stdout.take().context("the caller has an output")?;
    let mut lines = BufReader::new(output);
    let mut seen = String::new();
    for _ in ANSWERING {
        lines.read_line(&mut seen).context("read what the caller prints")?;
    }
    disable()?;
    let mut input = caller.0.stdin.take().context("the caller has an input")?;
    input.write_all(b"\n").context("tell the caller to go on")?;
    lines.read_to_string(&mut seen).context("read what the caller prints")?;
    let status = caller.0.wait().context("wait for the caller")?;
    let seen: Vec<&str> = seen.lines().collect();
    if seen != expected || !status.success() {
        bail!("{status}: {seen:#?}, and not {expected:#?}");
    }
    Ok(())
}

/// A process that ends with whoever has it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}
