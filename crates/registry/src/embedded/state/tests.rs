//! Lives of instances, with time as a number of milliseconds.

use std::collections::BTreeMap;

use lanes::service::Protocol;

use super::*;
use crate::embedded::{
    FurtherPort,
    instance::{FURTHER_ADDRESSES_MAX, FURTHER_PORTS_MAX, METADATA_BYTES_MAX, WEIGHT_MAX},
};

/// A registry and the time, in milliseconds since it started.
struct World {
    state: State,
    start: Instant,
    at: u64,
}

fn instance(node: &str, service: &str, address: &str, tag: &str) -> Instance {
    Instance {
        node: node.to_owned(),
        service: service.to_owned(),
        namespace: String::new(),
        application: String::new(),
        address: address.parse().unwrap(),
        application_address: None,
        further_addresses: Vec::new(),
        further_application_addresses: Vec::new(),
        protocol: Protocol::Http,
        further_ports: Vec::new(),
        tag: tag.to_owned(),
        weight: 1,
        metadata: BTreeMap::new(),
        healthy: true,
    }
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self { state: State::new(start), start, at: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.at)
    }

    fn register(&mut self, instance: Instance) -> Vec<String> {
        lines(self.state.register(instance, self.now()).unwrap())
    }

    fn heartbeat(&mut self, node: &str, healthy: bool) -> Option<Vec<String>> {
        self.state.heartbeat(node, healthy, self.now()).map(lines)
    }

    /// Ticks until `at`, collecting what that changes. Nodes that begin with a `w` say all the time that they are well.
    fn live_until(&mut self, at: u64) -> Vec<String> {
        let mut all = Vec::new();
        while self.at < at {
            self.at = at.min(self.at + 500);
            let nodes = self.state.instances.keys().filter(|node| node.starts_with('w'));
            for node in nodes.cloned().collect::<Vec<_>>() {
                self.heartbeat(&node, true);
            }
            all.extend(lines(self.state.tick(self.now())));
        }
        all
    }
}

/// `departed NODE…`, and `SERVICE APPLICATION: ADDRESS tag health, …` for each change.
fn lines(effects: Effects) -> Vec<String> {
    let mut lines = Vec::new();
    if !effects.departed.is_empty() {
        lines.push(format!("departed {}", effects.departed.join(" ")));
    }
    for change in effects.changes {
        let Some(service) = change.state else {
            lines.push(format!("{} gone", change.service));
            continue;
        };
        let endpoints: Vec<_> = service
            .endpoints()
            .iter()
            .map(|it| {
                format!(
                    "{} {} {:?}",
                    it.address,
                    it.tag.as_ref().map_or("base", |tag| tag.as_str()),
                    it.health
                )
            })
            .collect();
        let problems: Vec<_> =
            change.problems.iter().map(|problem| format!(" ! {problem}")).collect();
        lines.push(format!(
            "{} {}: {}{}",
            service.name(),
            service.application(),
            endpoints.join(", "),
            problems.concat()
        ));
    }
    lines
}

#[test]
fn an_instance_lives_as_long_as_its_heartbeats() {
    let mut world = World::new();
    world.register(instance("w", "sc-A", "127.0.0.1:9", ""));
    assert_eq!(
        world.register(instance("n", "sc-A", "127.0.0.1:1", "")),
        ["sc-A sc-A: 127.0.0.1:1 base Usable, 127.0.0.1:9 base Usable"]
    );
    for at in [2000, 4000, 9000, 14_000] {
        assert_eq!(world.live_until(at), [""; 0]);
        assert_eq!(world.heartbeat("n", true), Some(vec![]));
    }
    assert_eq!(world.live_until(19_999), [""; 0]);
    assert_eq!(world.live_until(20_000), ["departed n", "sc-A sc-A: 127.0.0.1:9 base Usable"]);
    assert_eq!(world.heartbeat("n", true), None);
}

#[test]
fn a_heartbeat_tells_how_the_application_is() {
    let mut world = World::new();
    world.register(Instance { healthy: false, ..instance("n", "a", "127.0.0.1:1", "gray") });
    assert_eq!(world.heartbeat("n", true).unwrap(), ["a a: 127.0.0.1:1 gray Usable"]);
    assert_eq!(world.heartbeat("n", true).unwrap(), [""; 0]);
    assert_eq!(world.heartbeat("n", false).unwrap(), ["a a: 127.0.0.1:1 gray Unhealthy"]);
    assert_eq!(world.heartbeat("other", true), None);
}

#[test]
fn what_is_deregistered_drains_at_once_and_is_forgotten_later() {
    let mut world = World::new();
    world.register(instance("n", "a", "127.0.0.1:1", ""));
    let effects = world.state.deregister("n", world.now()).unwrap();
    assert_eq!(lines(effects), ["departed n", "a a: 127.0.0.1:1 base Draining"]);
    // Neither a late heartbeat nor a second word brings it back.
    assert_eq!(world.heartbeat("n", true).unwrap(), [""; 0]);
    assert_eq!(lines(world.state.deregister("n", world.now()).unwrap()), [""; 0]);
    let mut leases = world.state.instances.values().map(|it| it.lease);
    assert!(leases.all(|lease| matches!(lease, Lease::Draining { .. })));
    assert_eq!(world.live_until(29_999), [""; 0]);
    assert_eq!(world.live_until(30_000), ["a a: "]);
    assert!(world.state.deregister("n", world.now()).is_none());
}

#[test]
fn registering_again_ends_draining() {
    let mut world = World::new();
    world.register(instance("w", "a", "127.0.0.1:9", ""));
    world.register(instance("n", "a", "127.0.0.1:1", ""));
    world.state.deregister("n", world.now()).unwrap();
    assert_eq!(
        world.register(instance("n", "a", "127.0.0.1:1", "")),
        ["a a: 127.0.0.1:1 base Usable, 127.0.0.1:9 base Usable"]
    );
    assert_eq!(world.live_until(5_999), [""; 0]);
    assert_eq!(world.live_until(6_000), ["departed n", "a a: 127.0.0.1:9 base Usable"]);
}

#[test]
fn a_second_instance_of_a_node_replaces_the_first() {
    let mut world = World::new();
    world.register(instance("n", "a", "127.0.0.1:1", ""));
    assert_eq!(
        world.register(instance("n", "a", "127.0.0.1:2", "")),
        ["a a: 127.0.0.1:2 base Usable"]
    );
    assert_eq!(
        world.register(instance("n", "b", "127.0.0.1:2", "")),
        ["a a: ", "b b: 127.0.0.1:2 base Usable"]
    );
    assert_eq!(world.register(instance("n", "b", "127.0.0.1:2", "")), [""; 0]);
}

#[test]
fn a_second_node_at_an_address_replaces_the_first() {
    let mut world = World::new();
    world.register(instance("old", "a", "127.0.0.1:1", ""));
    assert_eq!(
        world.register(instance("new", "a", "127.0.0.1:1", "gray")),
        ["departed old", "a a: ", "a a: 127.0.0.1:1 gray Usable"]
    );
    assert_eq!(world.heartbeat("old", true), None);
    assert_eq!(world.register(instance("newer", "a", "127.0.0.1:1", "gray")), ["departed new"]);
}

#[test]
fn a_change_of_tag_is_a_removal_plus_an_addition() {
    let mut world = World::new();
    world.register(instance("n", "a", "127.0.0.1:1", ""));
    world.register(instance("m", "a", "127.0.0.1:2", ""));
    assert_eq!(
        world.register(instance("n", "a", "127.0.0.1:1", "gray")),
        ["a a: 127.0.0.1:2 base Usable", "a a: 127.0.0.1:2 base Usable, 127.0.0.1:1 gray Usable",]
    );
}

#[test]
fn an_invalid_tag_is_unusable_and_told_and_never_base() {
    let mut world = World::new();
    let told = world.register(instance("n", "a", "127.0.0.1:1", "gr ay"));
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .starts_with("a a: 127.0.0.1:1 base InvalidTag ! instance 127.0.0.1:1.tag: `gr ay`: "),
        "{told:?}"
    );
}

#[test]
fn of_disagreeing_instances_the_first_names_the_application() {
    let mut world = World::new();
    let says = |node: &str, address: &str, application: &str| Instance {
        application: application.to_owned(),
        ..instance(node, "sc-a", address, "")
    };
    world.register(says("m", "127.0.0.1:1", "first"));
    assert_eq!(
        world.register(says("b", "127.0.0.1:2", "second")),
        [
            "sc-a first: 127.0.0.1:1 base Usable, 127.0.0.1:2 base Usable ! instance 127.0.0.1:2.application: `second`: \
         let all instances of sc-a say `first`",
        ]
    );
    // The first is gone, and its answer stays as long as anybody is there.
    world.state.deregister("m", world.now()).unwrap();
    world.state.deregister("b", world.now()).unwrap();
    assert_eq!(world.live_until(30_000), ["sc-a first: "]);
    assert_eq!(
        world.register(says("c", "127.0.0.1:3", "third")),
        ["sc-a third: 127.0.0.1:3 base Usable"]
    );
}

#[test]
fn names_ignore_case_and_show_as_first_registered() {
    let mut world = World::new();
    world.register(instance("n", "sc-A", "127.0.0.1:1", ""));
    assert_eq!(
        world.register(Instance {
            application: "sc-A".to_owned(),
            ..instance("m", "SC-a", "127.0.0.1:2", "")
        }),
        ["sc-A sc-A: 127.0.0.1:1 base Usable, 127.0.0.1:2 base Usable"]
    );
}

#[test]
fn after_a_restart_nothing_expires_before_a_heartbeat_period_has_passed() {
    let mut world = World::new();
    world.at = 1000;
    world.state.tick(world.now());
    let journal = vec![
        instance("n", "a", "127.0.0.1:1", ""),
        instance("m", "a", "127.0.0.1:2", "gray"),
        instance("", "a", "127.0.0.1:3", ""),
    ];
    let restored = world.state.restore(journal, world.now());
    let restored = lines(restored);
    assert_eq!(restored.last().unwrap(), "a a: 127.0.0.1:1 base Usable, 127.0.0.1:2 gray Usable");
    assert_eq!(restored[0], "departed ");
    // A heartbeat right after the restart does not shorten what the restart granted.
    assert_eq!(world.heartbeat("m", true), Some(vec![]));
    world.register(instance("w", "a", "127.0.0.1:9", ""));
    world.register(instance("w2", "a", "127.0.0.1:8", "gray"));
    for number in 0..4 {
        world.register(instance(&format!("w3{number}"), "b", &format!("127.0.0.1:1{number}"), ""));
    }
    assert_eq!(world.live_until(1000 + 7_999), [""; 0]);
    let left = "a a: 127.0.0.1:9 base Usable, 127.0.0.1:8 gray Usable";
    assert_eq!(world.live_until(1000 + 8_000), ["departed m n", left]);
}

#[test]
fn a_pause_of_the_registry_itself_expires_nobody() {
    let mut world = World::new();
    world.register(instance("n", "a", "127.0.0.1:1", ""));
    world.register(instance("w", "a", "127.0.0.1:9", ""));
    world.live_until(1000);
    // Stopped for a minute: heartbeats were sent, nobody read them.
    world.at = 61_000;
    assert_eq!(lines(world.state.tick(world.now())), [""; 0]);
    assert_eq!(world.live_until(65_999), [""; 0]);
    assert_eq!(world.live_until(66_000), ["departed n", "a a: 127.0.0.1:9 base Usable"]);
}

#[test]
fn when_nobody_is_heard_nobody_has_gone() {
    let mut world = World::new();
    for (node, address) in [("a", "127.0.0.1:1"), ("b", "127.0.0.1:2"), ("c", "127.0.0.1:3")] {
        world.register(instance(node, "s", address, ""));
        world.live_until(world.at + 600);
    }
    assert_eq!(world.live_until(3_600_000), [""; 0], "not after an hour either");
    let doubt = world.state.doubt().unwrap();
    assert!(
        doubt.starts_with("3 of 3 instances are not heard and kept for now: s base at"),
        "{doubt}"
    );
    for node in ["a", "b", "c"] {
        assert_eq!(world.heartbeat(node, true), Some(vec![]));
    }
    world.live_until(world.at + 500);
    assert_eq!(world.state.doubt(), None);
}

#[test]
fn those_that_fall_silent_together_are_kept_and_of_few_the_last_of_a_lane_a_while() {
    let mut world = World::new();
    for number in 0..6 {
        world.register(instance(
            &format!("w{number}"),
            "s",
            &format!("127.0.0.1:{}", 10 + number),
            "",
        ));
    }
    // Four of ten, out of step by more than a tick.
    for number in 0..4 {
        world.register(instance(
            &format!("n{number}"),
            "s",
            &format!("127.0.0.1:{}", 20 + number),
            "",
        ));
        world.live_until(world.at + 500);
    }
    let silent = world.at;
    assert_eq!(
        world.live_until(silent + 603_500),
        [""; 0],
        "together they are not believed to be gone"
    );
    assert!(world.state.doubt().unwrap().starts_with("4 of 10 "));
    let told = world.live_until(silent + 608_000).concat();
    assert!(told.contains("departed n0") && told.contains("n3"), "{told}");
    assert_eq!(world.state.doubt(), None);

    // Two of eight: one of many like it, and the last of its lane.
    let at = world.at;
    world.register(instance("n", "s", "127.0.0.1:30", ""));
    world.register(instance("last", "s", "127.0.0.1:31", "gray"));
    let told = world.live_until(at + 60_000);
    assert_eq!(told.first().unwrap(), "departed n");
    assert!(told[1].ends_with("127.0.0.1:31 gray Silent"), "{told:?}");
    let heard = world.heartbeat("last", true).unwrap().concat();
    assert!(heard.ends_with("127.0.0.1:31 gray Usable"), "{heard}");
    let at = world.at;
    let told = world.live_until(at + 65_500).concat();
    assert!(told.ends_with("127.0.0.1:31 gray Silent"), "{told}");
    assert_eq!(
        world.state.doubt(),
        Some("1 of 7 instances are not heard and kept for now: s gray at 127.0.0.1:31")
    );
    assert_eq!(world.live_until(at + 66_000).first().unwrap(), "departed last");
    assert_eq!(world.state.doubt(), None);
}

#[test]
fn one_that_was_not_usable_is_not_missed() {
    let mut world = World::new();
    world.register(instance("w", "s", "127.0.0.1:1", ""));
    world.register(Instance { healthy: false, ..instance("ill", "s", "127.0.0.1:2", "gray") });
    world.register(instance("said", "s", "127.0.0.1:3", "blue"));
    world.state.deregister("said", world.now()).unwrap();
    let told = world.live_until(6_000).concat();
    assert!(told.starts_with("departed ill"), "{told}");
}

#[track_caller]
fn check_refused(instance: Instance, field: &str) {
    let mut world = World::new();
    match world.state.register(instance, world.now()) {
        Err(RegisterError::Invalid(problem)) => {
            assert_eq!(problem.field.as_str(), field, "{problem}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_registered_is_refused_by_field() {
    let good = || instance("n", "a", "127.0.0.1:1", "");
    check_refused(Instance { node: String::new(), ..good() }, "node");
    check_refused(Instance { service: "a/b".to_owned(), ..good() }, "service");
    check_refused(Instance { namespace: "a b".to_owned(), ..good() }, "namespace");
    check_refused(Instance { application: "a".repeat(254), ..good() }, "application");
    for address in [
        "0.0.0.0:1",
        "[::]:1",
        "127.0.0.1:0",
        "169.254.169.254:80",
        "[fe80::1]:80",
        "[::ffff:169.254.1.1]:80",
        "224.0.0.1:80",
        "[ff02::1]:80",
        "255.255.255.255:80",
    ] {
        check_refused(instance("n", "a", address, ""), "address");
        let application_address = Some(address.parse().unwrap());
        check_refused(Instance { application_address, ..good() }, "application_address");
        let addresses = || vec!["[fd00::1]:80".parse().unwrap(), address.parse().unwrap()];
        check_refused(Instance { further_addresses: addresses(), ..good() }, "further_addresses");
        check_refused(
            Instance { further_application_addresses: addresses(), ..good() },
            "further_application_addresses",
        );
    }
    let further_addresses =
        (0..=FURTHER_ADDRESSES_MAX as u16).map(|port| ([127, 0, 0, 1], 1 + port).into()).collect();
    check_refused(Instance { further_addresses, ..good() }, "further_addresses");
    check_refused(Instance { weight: WEIGHT_MAX + 1, ..good() }, "weight");
    let metadata = BTreeMap::from([("k".to_owned(), "v".repeat(METADATA_BYTES_MAX))]);
    check_refused(Instance { metadata, ..good() }, "metadata");
    let with = |ports: &[(&str, &str)]| Instance {
        further_ports: ports.iter().map(|(service, at)| port(service, at)).collect(),
        ..good()
    };
    for service in ["", "a/b", "a", "A"] {
        check_refused(with(&[(service, "10.0.0.1:1")]), "further_ports[0].service");
    }
    let twice = with(&[("b", "10.0.0.1:1"), ("B", "10.0.0.1:2")]);
    check_refused(twice, "further_ports[1].service");
    check_refused(with(&[("b", "")]), "further_ports[0].application_addresses");
    check_refused(with(&[("b", "224.0.0.1:1")]), "further_ports[0].application_addresses");
    let many: Vec<String> = (0..=FURTHER_PORTS_MAX).map(|number| format!("s{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "10.0.0.1:1")).collect();
    check_refused(with(&many), "further_ports");
}

/// A further port at addresses with blanks between.
fn port(service: &str, at: &str) -> FurtherPort {
    let application_addresses = at.split_whitespace().map(|it| it.parse().unwrap()).collect();
    FurtherPort { service: service.to_owned(), protocol: Protocol::Tcp, application_addresses }
}

/// With a port of service `b` beside that of `a`.
fn with_ports(node: &str, address: &str, tag: &str) -> Instance {
    let application_address = Some("10.0.0.1:80".parse().unwrap());
    let further_ports = vec![port("b", "10.0.0.1:81 [fd00::1]:81")];
    Instance { application_address, further_ports, ..instance(node, "a", address, tag) }
}

#[test]
fn the_ports_of_an_application_are_services_of_one_instance() {
    let mut world = World::new();
    world.register(instance("w", "a", "127.0.0.1:9", ""));
    let told = world.register(with_ports("n", "127.0.0.1:1", "gray"));
    assert_eq!(
        told,
        ["a a: 127.0.0.1:9 base Usable, 127.0.0.1:1 gray Usable", "b a: 127.0.0.1:1 gray Usable"]
    );
    let services: Vec<_> =
        world.state.everything().changes.into_iter().filter_map(|it| it.state).collect();
    let of = |name: &str| services.iter().find(|it| &**it.name() == name).unwrap();
    let [_, a] = of("a").endpoints() else { panic!("{services:?}") };
    let [b] = of("b").endpoints() else { panic!("{services:?}") };
    assert_eq!(a.port, Port::default());
    assert_eq!(b.port, Port { protocol: Protocol::Tcp, is_further: true });
    let all = |it: &Endpoint| it.all_addresses().map(|it| it.to_string()).collect::<Vec<_>>();
    assert_eq!(all(a), ["127.0.0.1:1", "10.0.0.1:80"]);
    assert_eq!(all(b), ["127.0.0.1:1", "10.0.0.1:81", "[fd00::1]:81"]);
    // One health, one departure, one lease.
    let ill = world.heartbeat("n", false).unwrap();
    assert!(ill[0].ends_with("gray Unhealthy") && ill[1].ends_with("gray Unhealthy"), "{ill:?}");
    world.heartbeat("n", true);
    let left = lines(world.state.deregister("n", world.now()).unwrap());
    assert_eq!(left[0], "departed n");
    assert!(left[1].ends_with("gray Draining") && left[2].ends_with("gray Draining"), "{left:?}");
}

#[test]
fn what_becomes_of_an_instances_ports_is_told_at_once() {
    let mut world = World::new();
    world.register(with_ports("n", "127.0.0.1:1", ""));
    // One port fewer: its service is told without it, the other stays as it is.
    let told = world.register(instance("n", "a", "127.0.0.1:1", ""));
    assert_eq!(told, ["b a: ", "a a: 127.0.0.1:1 base Usable"]);
    let told = world.register(with_ports("n", "127.0.0.1:1", ""));
    assert_eq!(told, ["a a: 127.0.0.1:1 base Usable", "b a: 127.0.0.1:1 base Usable"]);
    // Another tag is a removal of both before it is an addition.
    let told = world.register(with_ports("n", "127.0.0.1:1", "gray"));
    assert_eq!(told[..2], ["a a: ", "b a: "]);
    assert_eq!(told[2..], ["a a: 127.0.0.1:1 gray Usable", "b a: 127.0.0.1:1 gray Usable"]);
    // Somebody else at its address takes the place of both.
    let told = world.register(instance("m", "a", "127.0.0.1:1", "gray"));
    assert_eq!(told, ["departed n", "b a: ", "a a: 127.0.0.1:1 gray Usable"]);
}

#[test]
fn the_last_instance_of_one_of_its_services_is_kept_though_it_is_not_heard() {
    let mut world = World::new();
    world.register(instance("w", "a", "127.0.0.1:9", "gray"));
    world.register(instance("w2", "c", "127.0.0.1:8", ""));
    world.register(instance("w3", "c", "127.0.0.1:7", ""));
    world.register(with_ports("n", "127.0.0.1:1", "gray"));
    let told = world.live_until(7_000);
    assert!(told.iter().any(|it| it == "b a: 127.0.0.1:1 gray Silent"), "{told:?}");
    assert!(!told.iter().any(|it| it.starts_with("departed")), "{told:?}");
    // Restored, it is of both again.
    let mut world = World::new();
    let restored = world.state.restore(vec![with_ports("n", "127.0.0.1:1", "")], world.now());
    assert_eq!(lines(restored), ["a a: 127.0.0.1:1 base Usable", "b a: 127.0.0.1:1 base Usable"]);
}

#[test]
fn instances_that_say_different_protocols_are_told() {
    let mut world = World::new();
    world.register(instance("n", "b", "127.0.0.1:1", ""));
    let mut effects =
        world.state.register(with_ports("o", "127.0.0.1:2", ""), world.now()).unwrap();
    let problems = effects.changes.remove(1).problems;
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|it| it.contains("protocol: `tcp`: let all instances of b")),
        "{told:?}"
    );
}

#[test]
fn an_instance_with_several_addresses_is_one_and_is_replaced_at_any_of_them() {
    let mut world = World::new();
    let both = |node: &str, first: &str, further: &str| {
        let further_addresses = vec![further.parse().unwrap()];
        let further_application_addresses = vec!["[fd00::1]:80".parse().unwrap()];
        let own = instance(node, "a", first, "gray");
        Instance { further_addresses, further_application_addresses, ..own }
    };
    world.register(both("n", "10.0.0.1:15006", "[fd00::1]:15006"));
    let told = world.state.everything().changes.remove(0).state.unwrap();
    let [endpoint] = told.endpoints() else { panic!("{told:?}") };
    let all: Vec<String> = endpoint.all_addresses().map(|it| it.to_string()).collect();
    assert_eq!(all, ["10.0.0.1:15006", "[fd00::1]:15006", "[fd00::1]:80"]);
    // It comes back with less: what it had is free, and another may be there.
    world.register(instance("n", "a", "10.0.0.1:15006", "gray"));
    world.register(instance("m", "a", "[fd00::1]:15006", "gray"));
    assert_eq!(world.state.instances.len(), 2);
    let lines = world.register(both("o", "10.0.0.2:15006", "10.0.0.1:15006"));
    assert_eq!(lines[0], "departed n");
    world.register(both("p", "10.0.0.3:15006", "[fd00::1]:15006"));
    let mut left: Vec<&String> = world.state.instances.keys().collect();
    left.sort_unstable();
    assert_eq!(left, ["o", "p"]);
}

#[test]
fn empty_services_are_remembered_up_to_a_limit() {
    let mut world = World::new();
    world.register(instance("w", "w", "127.0.0.1:9", ""));
    for number in 0..=EMPTY_SERVICES_MAX {
        world.register(instance("n", &format!("s{number}"), "127.0.0.1:1", ""));
    }
    // One more has emptied than is remembered once the last instance goes as well.
    let silent = format!("s{EMPTY_SERVICES_MAX} s{EMPTY_SERVICES_MAX}: 127.0.0.1:1 base Silent");
    assert_eq!(world.live_until(65_500), [silent]);
    assert_eq!(
        world.live_until(66_000),
        [
            "departed n".to_owned(),
            format!("s{EMPTY_SERVICES_MAX} s{EMPTY_SERVICES_MAX}: "),
            "embedded/default//s0 gone".to_owned()
        ]
    );
}
