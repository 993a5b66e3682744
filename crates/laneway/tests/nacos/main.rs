//! Applications registered in a real Nacos server, which know nothing of lanes: what is registered is routed by lane, and
//! what becomes of the server takes nothing away.
#![allow(clippy::disallowed_methods, reason = "the world is named by the environment")]

mod rules;
mod spring_cloud;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{needs, wait};

use world::{SERVER_SOON, SOON, World};

/// The lanes of the sample, whose application is named by the registrations' metadata.
const LANES: &str = "---
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [app-c]}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: trade-gray}
spec: {group: trade, tag: gray, entry: {content: {meet: all, conditions: [{header: canary, operator: \"==\", value: gray}]}}}
---
apiVersion: laneway.io/v1alpha1
kind: Backend
metadata: {name: sc-c}
spec: {source: registry, namespace: public, group: DEFAULT_GROUP, service: sc-C}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: c}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /c}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-c}]
";

/// The base and the gray instance of C.
const BASE: &str = "127.0.0.13:8080";
const GRAY: &str = "127.0.0.23:8080";

/// Services that are registered at once, and instances of each: many enough to be followed concurrently, few enough to be
/// registered one by one.
const MANY: u32 = 60;
const OF_EACH: u32 = 3;

#[test]
fn what_is_registered_in_nacos_is_routed_by_lane_whatever_becomes_of_the_server() -> Result<()> {
    if !needs("netns") || !needs("nacos") {
        return Ok(());
    }
    let mut world = World::start()?;
    let (_base, _gray) = (world.application("C", BASE)?, world.application("Cgray", GRAY)?);
    world.apply(&format!("{}{LANES}", world::source("nobody-registers-here")))?;
    world.stands("synced: no service is registered in group `nobody-registers-here`")?;
    world.apply(&world::source("DEFAULT_GROUP"))?;

    registered_and_routed(&world)?;
    tagged_by_address(&world)?;
    told_to_go(&world)?;
    many_at_once(&world)?;
    joined_to_sidecars(&world)?;
    half_open(&world)?;
    lost_and_back_empty(&mut world)
}

/// Registration → routable; a tag in the metadata, an application there.
fn registered_and_routed(world: &World) -> Result<()> {
    world.register("sc-C", BASE, &[("laneway.io/application", "app-c")])?;
    let began = Instant::now();
    world.answers(&[], 200, "C[")?;
    let took = began.elapsed();
    world.register("sc-C", GRAY, &[("alicloud.service.tag", "gray")])?;
    world.answers(&["canary: gray"], 200, "Cgray[")?;
    world.answers(&[], 200, "C[")?;
    #[allow(clippy::print_stderr, reason = "what was measured is shown")]
    {
        eprintln!("a new service was routable {} ms after it was registered", took.as_millis());
    }
    world.stands("synced")
}

/// A second name of the gray process, without a tag, is gray; one that disagrees is nobody's.
fn tagged_by_address(world: &World) -> Result<()> {
    world.register("dubbo-c", "127.0.0.23:20880", &[])?;
    world.instance("127.0.0.23:20880", "gray")?;
    world.register("management-c", "127.0.0.23:9000", &[("laneway.io/tag", "base")])?;
    world.instance("127.0.0.23:20880", "invalidTag")?;
    world.stands("registrations at its address disagree")?;
    world.deregister("management-c", "127.0.0.23:9000")?;
    world.instance("127.0.0.23:20880", "gray")?;
    world.stands("synced")
}

/// What leaves is called no more, and its lane falls back; what an operator takes offline is as good as gone.
fn told_to_go(world: &World) -> Result<()> {
    world.edit("sc-C", GRAY, "enabled=false")?;
    world.answers(&["canary: gray"], 200, "C[")?;
    // Its other name is gray as before.
    world.instance("127.0.0.23:20880", "gray")?;
    world.edit("sc-C", GRAY, "enabled=true")?;
    world.answers(&["canary: gray"], 200, "Cgray[")?;
    world.deregister("sc-C", GRAY)?;
    world.answers(&["canary: gray"], 200, "C[")?;
    world.register("sc-C", GRAY, &[("alicloud.service.tag", "gray")])?;
    world.answers(&["canary: gray"], 200, "Cgray[")
}

/// Services and instances that were there before a source is written are all there when it is synced.
fn many_at_once(world: &World) -> Result<()> {
    for service in 0..MANY {
        for instance in 0..OF_EACH {
            let address = format!("127.1.{instance}.1:{}", 10_000 + service);
            world.register_in("many", &format!("s{service}"), &address, &[])?;
        }
    }
    world.apply(&world::source_named("many", "many"))?;
    wait::until(SOON, "all of many services", || {
        let status = world.laneway(&["status"])?;
        let line = status.lines().find(|line| line.starts_with("many "));
        let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let (services, instances) = (MANY.to_string(), (MANY * OF_EACH).to_string());
        ensure!(
            fields.starts_with(&["many", "nacos", &services, &instances, "synced"]),
            "{status}"
        );
        Ok(())
    })
}

/// Of whom Nacos says no tag his sidecar says it; who has none is base after a while, and neither before.
fn joined_to_sidecars(world: &World) -> Result<()> {
    let tagged = "127.0.0.33:8080";
    let _application = world.application("D", tagged)?;
    let sidecar = world.sidecar("app-d", tagged, "gray")?;
    world.instance("127.0.0.33:15006", "gray")?;
    let joined = world::source_named("joined", "joined");
    world.apply(&joined.replace("groups:", "joins: [embedded], groups:"))?;
    world.register_in("joined", "sc-D", tagged, &[])?;
    // Shown once: they are one instance, in two sources.
    let of_nacos = |address: &str, word: &str| {
        wait::until(SOON, &format!("{address} is {word} in Nacos"), || {
            let instances = world.laneway(&["get", "instances", "-A", "-o", "wide"])?;
            let line = instances.lines().find(|it| it.contains(address) && it.contains("sc-D"));
            ensure!(line.is_some_and(|line| line.contains(word)), "{instances}");
            Ok(())
        })
    };
    of_nacos(tagged, "gray")?;
    // A sidecar that dies before its application takes its tag nowhere.
    drop(sidecar);
    world.register_in("joined", "sc-D", "127.0.0.34:8080", &[])?;
    of_nacos("127.0.0.34:8080", "invalidTag")?;
    of_nacos("127.0.0.34:8080", "usable")?;
    of_nacos(tagged, "gray")
}

/// A connection on which nothing comes any more is found out; what is registered stays, and goes on when it is heard again.
fn half_open(world: &World) -> Result<()> {
    world.fall_silent();
    world.stands("no answer")?;
    world.answers(&["canary: gray"], 200, "Cgray[")?;
    world.heal();
    world.stands("synced")?;
    world.answers(&["canary: gray"], 200, "Cgray[")
}

/// A killed server changes nothing but the source's age; one that comes back empty takes nothing away before its clients
/// had the time to come back.
fn lost_and_back_empty(world: &mut World) -> Result<()> {
    world.kill_server();
    world.stands("stale")?;
    world.answers(&["canary: gray"], 200, "Cgray[")?;
    world.start_server()?;
    wait::until(SERVER_SOON, "the server is reached again", || {
        let state = world.state()?;
        ensure!(state.starts_with("synced"), "{state}");
        Ok(())
    })?;
    world.register("sc-C", BASE, &[("laneway.io/application", "app-c")])?;
    loop {
        let answer = world.get(&["canary: gray"])?;
        // Asked after it was answered: what is kept still was there then.
        if !world.state()?.contains("are kept") {
            break;
        }
        ensure!(answer.status == 200 && answer.body.contains("Cgray["), "{answer:?}");
        wait::pause(Duration::from_millis(50));
    }
    // Nobody registered the gray one again.
    world.answers(&["canary: gray"], 200, "C[")?;
    world.stands("synced").context("at the end")
}
