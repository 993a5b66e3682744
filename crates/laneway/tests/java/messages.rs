//! `java-agent/messages` under the agent, with a real Kafka and a real RocketMQ: what a listener calls is decided by the lane of the
//! request that published the message.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use testkit::{Host, Process, Sandbox, Switch, http, needs, sample, wait};

use crate::{LANE, READY_WITHIN, REGISTRY, SOON, built, java};

/// What the application publishes to, by path.
const BROKERS: [&str; 2] = ["kafka", "rocketmq"];

/// Messages by each of them, one after the other and at once.
const MESSAGES: usize = 40;
const TOGETHER: usize = 400;
const IN_FLIGHT: usize = 16;

/// Where everything is, on a host of its own: RocketMQ listens at every address there is.
const APPLICATION: &str = "127.0.0.31:8080";
const BASE: &str = "127.0.0.11:8080";
const GRAY: &str = "127.0.0.21:8080";
const KAFKA: &str = "127.0.0.1:9092";
const KAFKA_CONTROLLER: &str = "127.0.0.1:9093";
const NAME_SERVER: &str = "127.0.0.1:9876";
const ROCKETMQ: &str = "127.0.0.1:10911";

/// What Kafka is told of whose its storage is.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// Processes end before the sandbox, whose directory has what they said.
struct World {
    application: Process,
    _others: Vec<Process>,
    host: Host,
    _sandbox: Sandbox,
}

fn resources() -> String {
    format!(
        "---
apiVersion: laneway.io/v1alpha1
kind: ServiceSource
metadata: {{name: fixed}}
spec: {{static: {{services: [{{name: sc-B, application: app-b, instances: [{{address: '{BASE}'}}, {{address: '{GRAY}', tag: gray}}]}}]}}}}
---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [app-a, app-b]}}
{}",
        sample::lane("gray")
    )
}

/// A class of the brokers' jars, for small storage and a busy machine.
fn broker(host: &Host, sandbox: &Sandbox, class: &str, arguments: &[&str]) -> Result<Command> {
    let jars = std::env::var_os("LANEWAY_BROKERS").map(PathBuf::from);
    let jars = jars.context("LANEWAY_BROKERS names the folder of the brokers")?;
    let home = sandbox.directory().display();
    let mut command = host.command("java");
    command
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(format!("-Duser.home={home}"))
        .arg(format!("-Drocketmq.home.dir={home}"))
        .arg("-cp")
        .arg(jars.join("target/jars/*"))
        .arg(class)
        .args(arguments)
        .current_dir(sandbox.directory());
    Ok(command)
}

/// One broker that is its own controller.
fn kafka(host: &Host, sandbox: &Sandbox) -> Result<Process> {
    let file = sandbox.path("kafka.properties");
    let settings = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{KAFKA_CONTROLLER}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{KAFKA},CONTROLLER://{KAFKA_CONTROLLER}
log.dirs={}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
",
        sandbox.path("kafka").display()
    );
    fs::write(&file, settings)?;
    let file = file.to_string_lossy().into_owned();
    let format = ["format", "-t", CLUSTER, "-c", &file];
    let output = broker(host, sandbox, "kafka.tools.StorageTool", &format)?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Process::start(
        "kafka",
        &mut broker(host, sandbox, "kafka.Kafka", &[&file])?,
        sandbox.directory(),
    )
}

/// A name server and a broker.
fn rocketmq(host: &Host, sandbox: &Sandbox) -> Result<[Process; 2]> {
    let (ip, port) = ROCKETMQ.rsplit_once(':').unwrap_or_default();
    let file = sandbox.path("rocketmq.properties");
    let store = sandbox.path("rocketmq");
    let settings = format!(
        "brokerIP1={ip}
listenPort={port}
storePathRootDir={0}
storePathCommitLog={0}/commitlog
mappedFileSizeCommitLog=16777216
maxHashSlotNum=1000
maxIndexNum=4000
timerWheelEnable=false
",
        store.display()
    );
    fs::write(&file, settings)?;
    let file = file.to_string_lossy().into_owned();
    let start = |name: &str, class: &str, arguments: &[&str]| {
        let class = format!("org.apache.rocketmq.{class}");
        let mut command = broker(host, sandbox, &class, arguments)?;
        Process::start(name, &mut command, sandbox.directory())
    };
    Ok([
        start("names", "namesrv.NamesrvStartup", &[])?,
        start("rocketmq", "broker.BrokerStartup", &["-n", NAME_SERVER, "-c", &file])?,
    ])
}

/// The application, built for another Spring where a row of `cargo xtask jvm` says so.
fn application(host: &Host, sandbox: &Sandbox) -> Result<Process> {
    let mut agent = std::ffi::OsString::from("-javaagent:");
    agent.push(built("extension/target/laneway-agent.jar")?);
    let jar = match std::env::var_os("LANEWAY_JAVA_BUILT") {
        Some(folder) => PathBuf::from(folder).join("messages.jar"),
        None => built("messages/target/messages.jar")?,
    };
    let (address, port) = APPLICATION.rsplit_once(':').unwrap_or_default();
    let mut command = host.command(java());
    command
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(format!("-Duser.home={}", sandbox.directory().display()))
        .arg(agent)
        .args(["-Dlaneway.control=127.0.0.1:7601", "-Dlaneway.application=app-a"])
        .args(["-Dlaneway.tag=base", "-jar"])
        .arg(jar)
        .args([format!("--server.address={address}"), format!("--server.port={port}")])
        .arg(format!("--spring.kafka.bootstrap-servers={KAFKA}"))
        .arg("--spring.kafka.consumer.auto-offset-reset=earliest")
        .arg(format!("--rocketmq={NAME_SERVER}"));
    for (number, instance) in [BASE, GRAY].into_iter().enumerate() {
        command.arg(format!("--{REGISTRY}.sc-B[{number}].uri=http://{instance}"));
    }
    Process::start("a", &mut command, sandbox.directory())
}

impl World {
    fn start() -> Result<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway"))?;
        let host = Switch::new()?.host(1)?;
        let on_host = |arguments: &[&str]| {
            let plain = sandbox.laneway(arguments);
            let mut command = host.command(plain.get_program());
            command.args(plain.get_args()).arg("--data").arg(sandbox.path("control"));
            command
        };
        let mut control = on_host(&["serve", "--gateway-listen", "127.0.0.1:8000"]);
        let mut others = vec![Process::start("control", &mut control, sandbox.directory())?];
        for (label, address) in [("B", BASE), ("Bgray", GRAY)] {
            let mut command = host.command(testkit::application::program()?);
            command.args([label, address]);
            others.push(Process::start(label, &mut command, sandbox.directory())?);
        }
        others.push(kafka(&host, &sandbox)?);
        others.extend(rocketmq(&host, &sandbox)?);
        let file = sandbox.path("resources.yaml");
        fs::write(&file, resources())?;
        let file = file.to_string_lossy().into_owned();
        wait::until(SOON, "the resources are applied", || {
            let apply = ["apply", "-f", &file, "--server", "http://127.0.0.1:7600"];
            let output = on_host(&apply).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })?;
        for listening in [KAFKA, ROCKETMQ] {
            wait::until(READY_WITHIN, listening, || {
                host.inside(|| std::net::TcpStream::connect(listening)).map(drop)?;
                Ok(())
            })
            .with_context(|| others.iter().map(Process::output).collect::<String>())?;
        }
        let application = application(&host, &sandbox)?;
        let mut world = Self { application, _others: others, host, _sandbox: sandbox };
        world.wait_until_ready()?;
        Ok(world)
    }

    /// Every listener has heard something.
    fn wait_until_ready(&mut self) -> Result<()> {
        for broker in BROKERS {
            let mut has_ended = false;
            wait::until(READY_WITHIN, &format!("a listener of {broker}"), || {
                has_ended = self.application.ended().is_some();
                if has_ended { Ok(()) } else { self.is_heard(broker, false) }
            })
            .with_context(|| self.application.output())?;
            ensure!(!has_ended, "the application ended: {}", self.application.output());
        }
        Ok(())
    }

    fn is_heard(&self, broker: &str, is_in_lane: bool) -> Result<()> {
        let (headers, label, address) =
            if is_in_lane { (LANE, "Bgray", GRAY) } else { (&[][..], "B", BASE) };
        let (host, _) = address.rsplit_once(':').unwrap_or_default();
        let answer =
            self.host.inside(|| http::get(APPLICATION, &format!("/a/{broker}"), headers))?;
        let expected = format!("A -> {label}[{host}]");
        ensure!(
            answer.status == 200 && answer.body == expected,
            "{broker} {headers:?}: {} {}, not {expected}",
            answer.status,
            answer.body
        );
        Ok(())
    }
}

#[test]
#[ignore = "three brokers beside the application: `cargo xtask jvm` runs it"]
fn what_listeners_of_messages_call_is_in_the_lane_of_the_request_that_published() -> Result<()> {
    if !needs("netns") || !needs("java") || !needs("brokers") {
        return Ok(());
    }
    let world = World::start()?;
    for broker in BROKERS {
        for number in 0..MESSAGES {
            // Two by two: one by one is what a load balancer that takes turns does of itself.
            world.is_heard(broker, number % 4 >= 2).with_context(|| format!("message {number}"))?;
        }
    }
    let worker = |number: usize| {
        (number..TOGETHER).step_by(IN_FLIGHT).try_for_each(|message| {
            let turn = message / IN_FLIGHT + number;
            world
                .is_heard(BROKERS[turn / 2 % 2], turn.is_multiple_of(2))
                .with_context(|| format!("message {message} of {IN_FLIGHT} in flight"))
        })
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..IN_FLIGHT).map(|number| scope.spawn(move || worker(number))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| anyhow::bail!("a worker has panicked"))
        })
    })
}
