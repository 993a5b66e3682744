//! An unmodified Spring Boot application under `laneway-agent.jar`, with no sidecar beside it: whom it calls through
//! Spring Cloud LoadBalancer is decided by the lanes of each request.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are told what is there; settings are the binary's"
)]

mod messages;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testkit::{Process, Sandbox, http, needs, sample, wait};

/// A JVM with two agents' worth of classes takes its time on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// Longer than anything takes that is not broken.
const SOON: Duration = Duration::from_secs(60);

/// Requests by each client.
const REQUESTS: usize = 20;

/// Requests of which the lane is lost: more than those of which it is not.
const LOST: usize = 300;

/// Every way in which the application calls and keeps the lane: by every client, and on threads of every kind.
const CLIENTS: [&str; 9] = [
    "rest-template",
    "rest-client",
    "web-client",
    "feign",
    "async",
    "thread",
    "thread-of-thread",
    "pool",
    "fork-join-pool",
];

/// Hosts: the caller, the base of what it calls, and two instances in the lane, of which its registry knows the first.
const A: u8 = 31;
const BASE: u8 = 11;
const GRAY: u8 = 21;
const NEW_GRAY: u8 = 22;
const C: u8 = 13;
const E: u8 = 15;
const GRAY_E: u8 = 25;

/// Where the application's configuration has its own registry.
const REGISTRY: &str = "spring.cloud.discovery.client.simple.instances";

const LANE: &[&str] = &["baggage: user=7,lane.trade=gray"];

/// A lane in which A has nobody and may have nobody else, and how a proxy of Laneway names itself.
const STRICT: &str = "baggage: lane.trade=strict";
const VIA: &str = "via: 1.1 laneway-00000000000000aa";

/// Processes end before the sandbox, whose directory has what they said.
struct Fixture {
    control: Process,
    a: Process,
    _called: Vec<Process>,
    sandbox: Sandbox,
}

/// The application, built for another Spring where a row of `cargo xtask jvm` says so.
fn sample() -> Result<PathBuf> {
    match std::env::var_os("LANEWAY_JAVA_BUILT") {
        Some(folder) => Ok(Path::new(&folder).join("sample.jar")),
        None => built("sample/target/sample.jar"),
    }
}

/// The clients that the application's Spring has.
fn clients() -> Vec<&'static str> {
    let without = std::env::var("LANEWAY_JAVA_WITHOUT").unwrap_or_default();
    CLIENTS.into_iter().filter(|client| *client != without).collect()
}

/// What `mvn package` leaves in the folder `java-agent`.
fn built(path: &str) -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../java-agent").join(path);
    place.canonicalize().with_context(|| format!("{path}: run `mvn package` in java-agent/ first"))
}

/// Of the JDK that Maven builds with.
fn java() -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    home.map_or("java".into(), |home| Path::new(&home).join("bin/java"))
}

/// The group, its lane, and the instances of `sc-B` as the control plane knows them: the base, and this one.
fn resources(sandbox: &Sandbox, gray: u8) -> String {
    let [base, gray, c, e, gray_e] =
        [BASE, gray, C, E, GRAY_E].map(|host| sandbox.endpoint(host, 8080));
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec:
  static:
    services:
    - {{name: sc-C, application: app-c, instances: [{{address: '{c}'}}]}}
    - {{name: sc-E, application: app-e, instances: [{{address: '{e}'}}, {{address: '{gray_e}', tag: gray}}]}}
    - {{name: sc-B, application: app-b, instances: [{{address: '{base}'}}, {{address: '{gray}', tag: gray}}]}}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [app-a, app-b]}}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: door}}
spec: {{entrances: [{{application: app-a}}], applications: [app-a, app-e]}}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: door-gray}}
spec:
  group: door
  tag: gray
  entry: {{content: {{meet: any, conditions: [{{query: door, operator: \"==\", value: open}}, {{header: x-door, operator: prefix, value: open}}]}}}}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-strict}}
spec:
  group: trade
  tag: strict
  fallback: none
  entry: {{content: {{meet: all, conditions: [{{header: canary, operator: \"==\", value: strict}}]}}}}
{}",
        sample::lane("gray")
    )
}

fn called(sandbox: &Sandbox, label: &str, host: u8) -> Result<Process> {
    let mut command = Command::new(testkit::application::program()?);
    command.args([label, &sandbox.endpoint(host, 8080)]);
    Process::start(&format!("{label}-{host}"), &mut command, sandbox.directory())
}

/// The application under the agent; its own registry is a fixed list in its configuration.
fn application(sandbox: &Sandbox, more: &[&str]) -> Result<Process> {
    let mut agent = std::ffi::OsString::from("-javaagent:");
    agent.push(built("extension/target/laneway-agent.jar")?);
    let mut command = Command::new(java());
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).arg(agent);
    command.arg(format!("-Dlaneway.control={}", sandbox.discovery_address()));
    command.args(["-Dlaneway.application=app-a", "-Dlaneway.tag=base", "-jar"]).arg(sample()?);
    command.arg(format!("--server.address={}", sandbox.host(A))).arg("--server.port=8080");
    for (number, host) in [BASE, GRAY].into_iter().enumerate() {
        let uri = sandbox.endpoint(host, 8080);
        for service in ["sc-B", "sc-D"] {
            command.arg(format!("--{REGISTRY}.{service}[{number}].uri=http://{uri}"));
        }
    }
    command.arg(format!("--{REGISTRY}.sc-D[1].metadata[alicloud.service.tag]=gray"));
    command.args(more);
    Process::start("a", &mut command, sandbox.directory())
}

impl Fixture {
    /// `more`: of the application's own flags.
    fn start(more: &[&str]) -> Result<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway"))?;
        let control = sandbox.control(&[])?;
        sandbox.apply(&resources(&sandbox, GRAY))?;
        let called = vec![
            called(&sandbox, "B", BASE)?,
            called(&sandbox, "Bgray", GRAY)?,
            called(&sandbox, "Bgray", NEW_GRAY)?,
            called(&sandbox, "C", C)?,
            called(&sandbox, "E", E)?,
            called(&sandbox, "Egray", GRAY_E)?,
        ];
        let a = application(&sandbox, more)?;
        let mut fixture = Self { sandbox, control, a, _called: called };
        fixture.wait_until_ready()?;
        Ok(fixture)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address = self.sandbox.endpoint(A, 8080);
        let mut ended = false;
        wait::until(READY_WITHIN, "the application answers", || {
            ended = self.a.ended().is_some();
            if ended {
                return Ok(());
            }
            match http::get(&address, "/ready", &[])?.status {
                200 => Ok(()),
                status => bail!("{status}"),
            }
        })?;
        if ended {
            bail!("the application ended: {}", self.a.output());
        }
        Ok(())
    }

    fn ask(&self, client: &str, headers: &[&str]) -> Result<String> {
        let answer = http::get(&self.sandbox.endpoint(A, 8080), &format!("/a/{client}"), headers)?;
        if answer.status != 200 {
            bail!("{client} {headers:?}: {} {}", answer.status, answer.body);
        }
        Ok(answer.body)
    }

    /// Base and lane, two by two, by every client: each reaches its own. (One by one is what a load balancer that takes
    /// turns does of itself.)
    #[track_caller]
    fn check(&self, in_lane: &str) {
        let base = format!("A -> B[{}]", self.sandbox.host(BASE));
        for client in clients() {
            for number in 0..REQUESTS {
                let (headers, wanted) = match number % 4 {
                    0 | 1 => (&[][..], base.as_str()),
                    _ => (LANE, in_lane),
                };
                let answer = self.ask(client, headers).unwrap();
                assert_eq!(answer, wanted, "{client}, request {number} {headers:?}");
            }
        }
    }

    /// Workers that are first needed in a request of the lane are not that request's for ever. Of a pool's tasks it is known
    /// whose they are, or that they are nobody's; of what a worker made by hand takes out of its queue nothing is known: base,
    /// counted and named as lost.
    #[track_caller]
    fn check_workers(&self, in_lane: &str) {
        let base = format!("A -> B[{}]", self.sandbox.host(BASE));
        for client in ["pool", "fork-join-pool"] {
            for (headers, wanted) in [(LANE, in_lane), (&[], &base), (&[], &base), (LANE, in_lane)]
            {
                assert_eq!(self.ask(client, headers).unwrap(), wanted, "{client} {headers:?}");
            }
        }
        for client in ["worker", "timer"] {
            for headers in [LANE, &[], &[], LANE] {
                assert_eq!(self.ask(client, headers).unwrap(), base, "{client} {headers:?}");
            }
        }
    }

    /// What no lane leads to A does not reach it: a proxy of Laneway is told so that it chooses again, others as people are.
    /// Who sends neither a lane nor a trace is nobody of the mesh.
    #[track_caller]
    fn check_refusals(&self) {
        let address = self.sandbox.endpoint(A, 8080);
        let reason = "laneway: this instance does not serve the request: it is base of app-a, and the request is {trade=strict}\n";
        for (headers, status, marker) in
            [(&[STRICT][..], 503, None), (&[STRICT, VIA], 421, Some("misrouted"))]
        {
            let answer = http::get(&address, "/ready", headers).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (status, reason), "{headers:?}");
            assert_eq!(http::header(&answer.head, "laneway-refused"), marker, "{headers:?}");
        }
        for headers in [&[VIA][..], &[], LANE] {
            let answer = http::get(&address, "/ready", headers).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "A"), "{headers:?}");
        }
        let said = self.a.output();
        let words = "requests arrive that no lane leads to this instance (base of app-a): 1 so far, now GET";
        assert!(said.contains(words), "{said}");
    }

    /// What passed is in the control plane's figures, served and called, and so is the lane that a worker has lost.
    #[track_caller]
    fn check_statistics(&self) {
        let requests = (clients().len() * REQUESTS / 2) as u64;
        let is_shown = |application: &str| -> Option<bool> {
            let words = ["top", "trade", "--window", "5m", "-o", "json"];
            let top: Value = serde_json::from_str(&self.sandbox.must(&words).ok()?).ok()?;
            let mut rows = top["rows"].as_array()?.iter();
            let row = rows.find(|it| it["lane"] == "gray" && it["application"] == application)?;
            Some(row["figures"]["requests"].as_u64()? >= requests)
        };
        wait::until_true(SOON, "the requests of the lane in both hops", || {
            ["app-a", "app-b"].iter().all(|application| is_shown(application) == Some(true))
        })
        .unwrap();
        for _ in 0..LOST {
            self.ask("worker", LANE).unwrap();
        }
        wait::until_true(SOON, "a lost lane in the status", || {
            let status = self.sandbox.must(&["status"]);
            status.is_ok_and(|it| it.contains("of lane gray and called on without context"))
        })
        .unwrap();
        // The first that has lost one: at most one line a minute.
        let said = self.a.output();
        assert!(said.contains("laneway: thread `worker` calls sc-B for no request"), "{said}");
    }
}

#[test]
fn a_spring_application_under_the_agent_stays_in_the_lane_of_each_request() {
    if !needs("java") {
        return;
    }
    let mut fixture = Fixture::start(&[]).unwrap();
    let gray = |host: u8| format!("A -> Bgray[{}]", fixture.sandbox.host(host));
    let (gray, new_gray) = (gray(GRAY), gray(NEW_GRAY));
    let base = format!("A -> B[{}]", fixture.sandbox.host(BASE));
    fixture.check_refusals();
    fixture.check_workers(&gray);
    fixture.check(&gray);
    let unknown = ["baggage: lane.trade=nobody,lane.other=gray"];
    assert_eq!(fixture.ask("feign", &unknown).unwrap(), base);
    let unregistered = format!("A -> C[{}]", fixture.sandbox.host(C));
    assert_eq!(fixture.ask("unregistered", LANE).unwrap(), unregistered);

    fixture.check_statistics();

    // The application lets requests in itself, unless that is decided before.
    let [e, gray_e] = [("E", E), ("Egray", GRAY_E)]
        .map(|(label, host)| format!("A -> {label}[{}]", fixture.sandbox.host(host)));
    for (client, headers, expected) in [
        ("entered", &[][..], &e),
        ("entered?door=open", &[], &gray_e),
        ("entered?door=open", &["baggage: lane.door=-"], &e),
        ("entered", &["x-door: open wide"], &gray_e),
        ("entered", &["baggage: user=7,lane.door=gray"], &gray_e),
    ] {
        assert_eq!(&fixture.ask(client, headers).unwrap(), expected, "{client} {headers:?}");
    }

    // Of a service that no control plane knows everybody is base, whomever the application's own balancer has chosen.
    for headers in [&[], &[], LANE, LANE] {
        assert_eq!(fixture.ask("own-balancer", headers).unwrap(), base, "{headers:?}");
    }

    // The last picture holds while the control plane is away.
    fixture.control.kill();
    fixture.check(&gray);

    // What the application's own registry does not know, and what has departed from the control plane's.
    fixture.control = fixture.sandbox.control(&[]).unwrap();
    fixture.sandbox.apply(&resources(&fixture.sandbox, NEW_GRAY)).unwrap();
    wait::until_true(SOON, "a new instance in the lane", || {
        fixture.ask("feign", LANE).is_ok_and(|answer| answer == new_gray)
    })
    .unwrap();
    fixture.check(&new_gray);

    // Confirmed by every data plane, the agent among them: from here on nobody is in the lane.
    fixture.sandbox.must(&["lane", "disable", "trade/gray"]).unwrap();
    fixture.check(&base);
    fixture.sandbox.must(&["lane", "enable", "trade/gray"]).unwrap();
    fixture.check(&new_gray);
    let status = fixture.sandbox.must(&["status"]).unwrap();
    let is_told = |words: &str| status.contains(words);
    assert!(is_told("agent") && is_told("app-a") && is_told(", process "), "{status}");
}

#[test]
fn a_reactive_application_under_the_agent_is_spared_what_is_not_for_it() {
    if !needs("java") {
        return;
    }
    let fixture = Fixture::start(&["--spring.main.web-application-type=reactive"]).unwrap();
    fixture.check_refusals();
}
