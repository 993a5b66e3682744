//! `samples/spring-cloud` under `laneway-agent.jar`: applications of Spring Cloud Alibaba and of Dubbo that register in a
//! real Nacos and find one another there, with no sidecar anywhere. Their tags come from a start-up flag, or from their
//! pod's labels, and every hop is where the lane of its request says.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::{Process, needs, wait};

use crate::world::{BETWEEN, SERVER, World};

/// Longest that JVMs which start together may take on a busy machine: half a minute of processor time each.
const READY_WITHIN: Duration = Duration::from_secs(600);

/// Longest that Nacos may believe in an instance that was killed: it misses heartbeats of 5 s for 15 s, or its connection
/// for less.
const KILLED_WITHIN: Duration = Duration::from_secs(90);

/// The clients that an application can be asked for; none is RestTemplate.
const PATHS: [&str; 6] = ["/a", "/a/feign", "/a/webclient", "/a/reactive", "/a/dubbo", "/a/triple"];

/// Laneway's gateway, and Spring Cloud's.
const GATEWAYS: [&str; 2] = [crate::world::GATEWAY, "127.0.0.10:8080"];

/// Requests by each client in each lane.
const REQUESTS: usize = 10;

/// Requests of mixed lanes and clients at once, and how many of them; in full as many as the promise is about.
const IN_FLIGHT: usize = 64;
const TOGETHER: usize = 1_280;
const TOGETHER_IN_FULL: usize = 100_000;

const GRAY: &[&str] = &["canary: gray"];

/// Who calls C by Dubbo 2.7, asked without a gateway.
const OLD: &str = "127.0.0.14:8080";
const CARRIED: &[&str] = &["baggage: lane.trade=gray"];

/// What the chain answers: base, the lane, the lane without its C.
const BASE_CHAIN: &str = "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
const GRAY_CHAIN: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> Cgray[127.0.0.23]";
const WITHOUT_C: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";

/// The same of Dubbo 2.7's one hop.
const OLD_BASE: &str = "D[127.0.0.14] -> C[127.0.0.13]";
const OLD_GRAY: &str = "D[127.0.0.14] -> Cgray[127.0.0.23]";

/// One instance: its application's letter, its host, what is said of its tag, and more of its own flags.
struct Started {
    name: &'static str,
    host: &'static str,
    tag: Option<Tag>,
    more: &'static [&'static str],
}

/// Where an instance has its tag from.
#[derive(Clone, Copy)]
enum Tag {
    Flag,
    PodLabels,
}

/// Dubbo by interface from B, by application from A; Nacos's own load balancer in B.
const STARTED: [Started; 7] = [
    Started { name: "c", host: "127.0.0.13", tag: None, more: &[] },
    Started { name: "c", host: "127.0.0.23", tag: Some(Tag::Flag), more: &[] },
    Started {
        name: "b",
        host: "127.0.0.12",
        tag: None,
        more: &[
            "--dubbo.application.service-discovery.migration=FORCE_INTERFACE",
            "--spring.cloud.loadbalancer.nacos.enabled=true",
        ],
    },
    Started { name: "a", host: "127.0.0.11", tag: None, more: BY_APPLICATION },
    Started { name: "a", host: "127.0.0.21", tag: Some(Tag::PodLabels), more: BY_APPLICATION },
    Started { name: "gateway", host: "127.0.0.10", tag: None, more: &[] },
    Started { name: "dubbo27", host: "127.0.0.14", tag: None, more: &[] },
];

const BY_APPLICATION: &[&str] =
    &["--dubbo.application.service-discovery.migration=FORCE_APPLICATION"];

/// The sample's own, with the source where this world has it.
fn resources() -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/spring-cloud/lanes.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    ensure!(text.contains(SERVER), "{} names {SERVER}", file.display());
    Ok(text.replace(SERVER, BETWEEN))
}

#[test]
fn spring_cloud_and_dubbo_under_the_agent_stay_in_their_lanes() -> Result<()> {
    if !needs("netns") || !needs("nacos") || !needs("java") {
        return Ok(());
    }
    let world = World::start()?;
    world.apply(&resources()?)?;
    let mut applications = Vec::new();
    for started in &STARTED {
        applications.push(start(&world, started)?);
    }
    every_application_is_called(&world, &mut applications)?;
    every_hop_is_in_its_lane(&world, GRAY_CHAIN)?;
    for number in 0..2 * REQUESTS {
        let (headers, expected) =
            if number % 4 < 2 { (&[][..], OLD_BASE) } else { (CARRIED, OLD_GRAY) };
        is_answered(&world, (OLD, "/d"), headers, expected)?;
    }
    many_at_once_are_each_in_their_own_lane(&world)?;

    world.laneway(&["lane", "disable", "trade/gray"])?;
    every_hop_is_in_its_lane(&world, BASE_CHAIN)?;
    world.laneway(&["lane", "enable", "trade/gray"])?;
    every_hop_is_in_its_lane(&world, GRAY_CHAIN)?;

    // Its registry believes in it for a while yet; then the hop is the base's.
    applications[1].kill();
    for path in PATHS {
        wait::until(KILLED_WITHIN, &format!("{path} without C gray"), || {
            GATEWAYS
                .iter()
                .try_for_each(|gateway| is_answered(&world, (gateway, path), GRAY, WITHOUT_C))
        })?;
    }
    wait::until(KILLED_WITHIN, "Dubbo 2.7 without C gray", || {
        is_answered(&world, (OLD, "/d"), CARRIED, OLD_BASE)
    })?;
    every_hop_is_in_its_lane(&world, WITHOUT_C)
}

fn start(world: &World, started: &Started) -> Result<Process> {
    let Started { name, host, tag, more } = started;
    let labels = world.path(&format!("labels-{host}"));
    let mut flags = vec![
        "-Dlaneway.control=127.0.0.1:7601".to_owned(),
        format!("-Dlaneway.application=spring-cloud-{name}"),
        format!("-Dlaneway.pod.labels.file={}", labels.display()),
    ];
    match tag {
        Some(Tag::Flag) => flags.push("-Dalicloud.service.tag=gray".to_owned()),
        Some(Tag::PodLabels) => {
            fs::write(&labels, "app=\"spring-cloud-a\"\nalicloud.service.tag=\"gray\"\n")?;
        }
        None => {}
    }
    let number = host.rsplit_once('.').map_or(*host, |(_, number)| number);
    let mut arguments = vec![
        format!("--host={host}"),
        format!("--dubbo-port=208{number}"),
        format!("--triple-port=500{number}"),
    ];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    if let Some(Tag::PodLabels) = tag {
        // Shown in its answer, where the flag is what it is shown from otherwise.
        arguments.push("--alicloud.service.tag=gray".to_owned());
    }
    world.jvm(&format!("{name}-{host}"), &flags, &format!("spring-cloud-{name}"), &arguments)
}

/// Waits until every client of every application has been answered once: Dubbo connects when it is first called.
fn every_application_is_called(world: &World, applications: &mut [Process]) -> Result<()> {
    let olds: [(&[&str], &str); 2] = [(&[], OLD_BASE), (CARRIED, OLD_GRAY)];
    for ((headers, expected), (old_headers, old)) in
        [(&[][..], BASE_CHAIN), (GRAY, GRAY_CHAIN)].into_iter().zip(olds)
    {
        let old = ("/d", old_headers, old, &[OLD][..]);
        let by_gateways = PATHS.map(|path| (path, headers, expected, &GATEWAYS[..]));
        for (path, headers, expected, gateways) in by_gateways.into_iter().chain([old]) {
            let mut ended = None;
            wait::until(READY_WITHIN, &format!("{path} {headers:?} is answered"), || {
                ended = applications.iter_mut().position(|it| it.ended().is_some());
                match &ended {
                    Some(_) => Ok(()),
                    None => gateways.iter().try_for_each(|gateway| {
                        is_answered(world, (gateway, path), headers, expected)
                    }),
                }
            })
            .with_context(|| world.laneway(&["get", "instances", "-A"]).unwrap_or_default())?;
            if let Some(ended) = ended {
                bail!("{} ended: {}", applications[ended].name(), applications[ended].output());
            }
        }
    }
    Ok(())
}

/// What is in flight together mixes no lanes, however JVMs' threads hand requests on.
fn many_at_once_are_each_in_their_own_lane(world: &World) -> Result<()> {
    let is_full = std::env::var("LANEWAY_FAULTS").is_ok_and(|scale| scale == "full");
    let requests = if is_full { TOGETHER_IN_FULL } else { TOGETHER };
    let worker = |number: usize| -> Result<()> {
        for request in (number..requests).step_by(IN_FLIGHT) {
            // Each worker goes through all clients in both lanes, none in step with another.
            let turn = request / IN_FLIGHT + number;
            let (headers, expected) =
                if turn.is_multiple_of(2) { (&[][..], BASE_CHAIN) } else { (GRAY, GRAY_CHAIN) };
            let (gateway, path) = (GATEWAYS[turn / 2 % 2], PATHS[turn / 4 % PATHS.len()]);
            is_answered(world, (gateway, path), headers, expected)
                .with_context(|| format!("request {request} of {IN_FLIGHT} in flight"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..IN_FLIGHT).map(|number| scope.spawn(move || worker(number))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker has panicked")))
    })
}

fn is_answered(
    world: &World,
    (gateway, path): (&str, &str),
    headers: &[&str],
    expected: &str,
) -> Result<()> {
    let answer = world.get_at(gateway, path, headers)?;
    ensure!(
        answer.status == 200 && answer.body == expected,
        "{gateway}{path} {headers:?}: {} {}",
        answer.status,
        answer.body
    );
    Ok(())
}

/// Two of the base and two of the lane in turn, so that no taking of turns is right by chance.
fn every_hop_is_in_its_lane(world: &World, in_lane: &str) -> Result<()> {
    for path in PATHS {
        for number in 0..2 * REQUESTS {
            let (headers, expected) =
                if number % 4 < 2 { (&[][..], BASE_CHAIN) } else { (GRAY, in_lane) };
            for gateway in GATEWAYS {
                is_answered(world, (gateway, path), headers, expected)
                    .with_context(|| format!("request {number}"))?;
            }
        }
    }
    Ok(())
}
