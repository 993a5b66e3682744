//! Who gets which lease, and when.

use api::discovery::v1::FurtherPort;

use super::*;

/// Leases, and the time in milliseconds.
struct World {
    leases: Leases,
    start: Instant,
    at: u64,
}

/// `NODE PROCESS PORT`; a process `-` does not say who it is.
fn instance(text: &str) -> Instance {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap();
    let (node, process) = (word().to_owned(), word().replace('-', ""));
    Instance { node, process, address: format!("127.0.0.1:{}", word()), ..Default::default() }
}

impl World {
    fn new() -> Self {
        Self { leases: Leases::default(), start: Instant::now(), at: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.at)
    }

    #[track_caller]
    fn claims(&mut self, text: &str) -> StreamId {
        let stream = self.leases.open();
        let now = self.now();
        self.leases.claim(&instance(text), stream, false, now).unwrap();
        stream
    }

    #[track_caller]
    fn is_refused(&mut self, text: &str, words: &str) {
        let stream = self.leases.open();
        let now = self.now();
        let reason = self.leases.claim(&instance(text), stream, false, now).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn the_first_owner_of_a_node_or_an_address_keeps_it_while_it_lives() {
    let mut world = World::new();
    let first = world.claims("n p 1");
    let by_another = "node n is registered by another process, at 127.0.0.1:1";
    // A copied data directory elsewhere or at the same address, another node at the address.
    world.is_refused("n q 2", by_another);
    world.is_refused("n q 1", by_another);
    world.is_refused("m r 1", "address 127.0.0.1:1 is registered by node n");
    world.claims("m r 2");
    // The same stream may register again, elsewhere too; but not where another one is.
    let now = world.now();
    world.leases.claim(&instance("n p 3"), first, false, now).unwrap();
    let taken = world.leases.claim(&instance("n p 2"), first, false, now).unwrap_err();
    assert!(taken.contains("node m"), "{taken}");
    world.claims("o s 1");
}

#[test]
fn an_application_at_another_host_is_told_how_that_is_its_sidecars_too() {
    let (address, application_address) = ("10.0.0.5:30006".into(), "[fd00::5]:80".into());
    let mut instance = Instance { address, application_address, ..Default::default() };
    let refused = refuse_other_hosts(&instance).unwrap_err();
    assert!(refused.contains("where fd00::5 is the sidecar's host too, add it"), "{refused}");
    instance.further_addresses = vec!["[fd00::5]:15006".to_owned()];
    refuse_other_hosts(&instance).unwrap();
}

#[test]
fn one_application_has_one_tag() {
    let start = Instant::now();
    let mut leases = Leases::default();
    let mut claim = |text: &str, at: u64| {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let (node, tag) = (word(), word().replace('-', ""));
        let (address, application_address) = (word(), word());
        let process = node.clone();
        let healthy = true;
        let instance = Instance {
            node,
            process,
            tag,
            address,
            application_address,
            healthy,
            ..Default::default()
        };
        let stream = leases.open();
        leases.claim(&instance, stream, false, start + Duration::from_secs(at))
    };
    claim("gray gray 127.0.0.23:15006 127.0.0.23:80", 0).unwrap();
    for (text, words) in [
        ("base - 127.0.0.1:1 127.0.0.23:80", "application_address: at 127.0.0.23:80"),
        ("base - 127.0.0.1:1 [::ffff:127.0.0.23]:80", "with the tag gray, and this is without"),
        ("base - 127.0.0.23:80 127.0.0.1:80", "address: at 127.0.0.23:80"),
        ("base - 127.0.0.1:1 127.0.0.23:15006", "at 127.0.0.23:15006 the sidecar of another"),
        ("too gray 127.0.0.1:1 [::ffff:127.0.0.23]:15006", "the sidecar of another instance is"),
        ("too gray 127.0.0.23:80 127.0.0.1:80", "address: at 127.0.0.23:80 is the application of"),
        ("blue blue [::ffff:127.0.0.23]:15006 127.0.0.1:80", "registered by node gray"),
    ] {
        let refused = claim(text, 0).unwrap_err();
        assert!(refused.contains(words), "{text}: {refused}");
    }
    // A second service of the same application, others' own loopback, and who comes after it.
    claim("too gray 127.0.0.23:15007 127.0.0.23:80", 0).unwrap();
    claim("pod-1 - 10.0.0.1:15006 127.0.0.1:80", 0).unwrap();
    claim("pod-2 gray 10.0.0.2:15006 127.0.0.1:80", 0).unwrap();
    claim("base - 127.0.0.1:1 127.0.0.23:80", 7).unwrap();
    // It may come back for a minute.
    claim("in-front - 127.0.0.1:2 127.0.0.23:15006", 7).unwrap_err();
    claim("gray blue 127.0.0.23:15006 127.0.0.23:80", 7).unwrap_err();
}

#[test]
fn whoever_is_taken_for_an_application_keeps_its_address() {
    let mut world = World::new();
    let of = |node: &str, address: &str, application_address: &str, healthy| Instance {
        node: node.to_owned(),
        application: node.to_owned(),
        address: address.to_owned(),
        application_address: application_address.to_owned(),
        healthy,
        ..Default::default()
    };
    let right = of("right", "10.0.0.1:15006", "10.0.0.1:80", true);
    let wrong = of("wrong", "10.0.0.2:15006", "10.0.0.1:15006", false);
    let mut claim = |instance: &Instance, is_confined, at| {
        world.at = at;
        let (stream, now) = (world.leases.open(), world.now());
        let claimed = world.leases.claim(instance, stream, is_confined, now);
        claimed.map(|displaced| (stream, displaced))
    };
    // The wrong one is first: nothing has answered it, so it is the one that goes.
    claim(&wrong, false, 0).unwrap();
    let (stream, displaced) = claim(&right, true, 1).unwrap();
    assert_eq!(displaced, ["wrong".into()]);
    claim(&wrong, false, 2).unwrap_err();
    // The right one is restarted in order: its address waits for it.
    let now = world.now();
    world.leases.release("right", stream, now);
    let mut claim = |instance: &Instance, is_confined, at| {
        world.at = at;
        let (stream, now) = (world.leases.open(), world.now());
        world.leases.claim(instance, stream, is_confined, now)
    };
    let refused = claim(&wrong, false, 3_000).unwrap_err();
    assert!(refused.contains("application_address: at 10.0.0.1:15006"), "{refused}");
    assert_eq!(claim(&right, true, 4_000), Ok(Vec::new()));
    // What is called at its application's own address is no sidecar in front of another; and who advertises the address
    // of an application that answers takes nobody's place.
    let captured = of("captured", "10.0.0.3:80", "10.0.0.3:80", true);
    assert_eq!(claim(&captured, false, 5_000), Ok(Vec::new()));
    let same = of("later", "10.0.0.3:80", "10.0.0.3:80", true);
    assert_eq!(claim(&same, false, 20_000), Ok(Vec::new()));
    claim(&of("greedy", "10.0.0.1:80", "10.0.0.4:80", true), false, 5_000).unwrap_err();
}

#[test]
fn every_address_of_an_instance_is_its_own() {
    let start = Instant::now();
    let mut leases = Leases::default();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let instance = |node: &str, tag: &str, addresses: &str, applications: &str| {
        let (mut addresses, mut applications) = (words(addresses), words(applications));
        Instance {
            node: node.into(),
            process: node.into(),
            tag: tag.into(),
            address: addresses.remove(0),
            application_address: applications.remove(0),
            further_addresses: addresses,
            further_application_addresses: applications,
            healthy: true,
            ..Default::default()
        }
    };
    let mut claim = |instance: &Instance, at: u64| {
        let stream = leases.open();
        leases.claim(instance, stream, false, start + Duration::from_secs(at))
    };
    let gray = instance("g", "gray", "10.0.0.3:1 [fd00::3]:1", "10.0.0.3:80 [fd00::3]:80");
    claim(&gray, 0).unwrap();
    for (addresses, applications, words) in [
        ("[fd00::3]:1", "10.0.0.4:80", "address [fd00::3]:1 is registered by node g"),
        ("10.0.0.4:1 [fd00::3]:1", "10.0.0.4:80", "address [fd00::3]:1 is registered by node g"),
        ("10.0.0.4:1 [::ffff:10.0.0.3]:1", "10.0.0.4:80", "address 10.0.0.3:1 is registered"),
        ("10.0.0.4:1", "[fd00::3]:80", "application_address: at [fd00::3]:80"),
        ("10.0.0.4:1", "10.0.0.4:80 [fd00::3]:80", "application_address: at [fd00::3]:80"),
        ("10.0.0.4:1 [fd00::3]:80", "10.0.0.4:80", "address: at [fd00::3]:80"),
    ] {
        let refused = claim(&instance("b", "", addresses, applications), 0).unwrap_err();
        assert!(refused.contains(words), "{addresses} {applications}: {refused}");
    }
    // Of each of its ports.
    let mut with_port = instance("b", "", "10.0.0.4:1", "10.0.0.4:80");
    let application_addresses = words("10.0.0.4:81 [fd00::3]:80");
    with_port.further_ports = vec![FurtherPort { application_addresses, ..Default::default() }];
    let refused = claim(&with_port, 0).unwrap_err();
    assert!(refused.contains("application_address: at [fd00::3]:80"), "{refused}");
    // With fewer, what it had is free; silent, it gives way under each of its addresses, and under all of them.
    claim(&instance("g", "gray", "10.0.0.3:1", "10.0.0.3:80"), 1).unwrap();
    let base = instance("b", "", "10.0.0.4:1 [fd00::3]:1", "10.0.0.4:80 [fd00::3]:80");
    claim(&base, 1).unwrap();
    claim(&instance("c", "", "10.0.0.5:1 10.0.0.4:1", "10.0.0.5:80"), 8).unwrap();
    claim(&instance("d", "", "[fd00::3]:1", "10.0.0.6:80"), 8).unwrap();
}

#[test]
fn whoever_is_of_one_application_takes_nothing_of_another_that_may_come_back() {
    let mut world = World::new();
    let of = |application: &str, text: &str| Instance {
        application: application.to_owned(),
        ..instance(text)
    };
    let stream = world.leases.open();
    let start = world.now();
    world.leases.claim(&of("a", "n p 1"), stream, true, start).unwrap();
    world.leases.closed("n", stream, start);
    world.at = 59_000;
    let stream = world.leases.open();
    for text in ["n q 2", "n q 1", "m q 1"] {
        let now = world.now();
        let refused = world.leases.claim(&of("b", text), stream, true, now).unwrap_err();
        assert!(refused.contains("node n, at 127.0.0.1:1, is of application a"), "{refused}");
    }
    world.leases.claim(&of("b", "m q 2"), stream, true, world.start).unwrap();
    // Its own application comes back, or the mesh's owner clears it away.
    let now = world.now();
    world.leases.claim(&of("a", "n r 1"), stream, true, now).unwrap();
    world.leases.closed("n", stream, now);
    world.at = 62_000;
    let now = world.now();
    world.leases.claim(&of("b", "n s 1"), stream, false, now).unwrap();
}

#[test]
fn whoever_is_of_one_application_has_no_application_where_anything_of_another_is() {
    let mut leases = Leases::default();
    let now = Instant::now();
    let of = |application: &str, address: &str, at: &[&str]| Instance {
        application: application.to_owned(),
        node: application.to_owned(),
        address: address.to_owned(),
        healthy: true,
        application_address: at[0].to_owned(),
        further_ports: vec![FurtherPort {
            application_addresses: at[1..].iter().map(|it| (*it).to_owned()).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut claim = |instance: &Instance, is_confined| {
        let stream = leases.open();
        leases.claim(instance, stream, is_confined, now)
    };
    let db = of("db", "127.0.0.9:15006", &["127.0.0.9:80", "127.0.0.9:5432"]);
    claim(&db, true).unwrap();
    for (address, at, words) in [
        ("10.0.0.9:1", &["10.0.0.9:80", "10.0.0.50:5432"][..], "10.0.0.50:5432 is at none"),
        ("10.0.0.9:1", &["10.0.0.50:80"], "10.0.0.50:80 is at none"),
        ("10.0.0.9:1", &["127.0.0.1:80", "[fd00::9]:80"], "[fd00::9]:80 is at none"),
        ("127.0.0.1:1", &["127.0.0.1:80", "127.0.0.9:5432"], "application_address: node db"),
        ("127.0.0.1:1", &["127.0.0.9:80"], "application_address: node db"),
        ("127.0.0.1:1", &["127.0.0.9:15006"], "application_address: node db"),
        ("127.0.0.9:5432", &["127.0.0.1:80"], "address: node db"),
    ] {
        let refused = claim(&of("evil", address, at), true).unwrap_err();
        assert!(refused.contains(words), "{address} {at:?}: {refused}");
    }
    // Beside its sidecar, under each of its addresses; and who holds the mesh's token may say anything.
    let further_addresses = vec!["[fd00::9]:1".to_owned()];
    let here = of("own", "10.0.0.9:1", &["127.0.0.9:5432", "10.0.0.9:81", "[fd00::9]:82"]);
    claim(&Instance { further_addresses, ..here }, true).unwrap();
    claim(&of("far", "10.0.0.8:1", &["10.0.0.50:80"]), false).unwrap();
    claim(&db, true).unwrap();
}

#[test]
fn of_two_that_bring_a_service_in_the_same_moment_the_first_has_it() {
    let mut leases = Leases::default();
    let now = Instant::now();
    let of = |application: &str, port: u16, services: [&str; 2]| Instance {
        application: application.to_owned(),
        node: format!("{application}-{port}"),
        address: format!("127.0.0.1:{port}"),
        service: services[0].to_owned(),
        further_ports: vec![FurtherPort { service: services[1].into(), ..Default::default() }],
        ..Default::default()
    };
    let mut claim = |instance: &Instance, is_confined| {
        let stream = leases.open();
        leases.claim(instance, stream, is_confined, now)
    };
    claim(&of("a", 1, ["shop", "shop-admin"]), true).unwrap();
    for services in [["SHOP", "x"], ["x", "shop"], ["shop-Admin", "x"]] {
        let refused = claim(&of("b", 2, services), true).unwrap_err();
        assert!(refused.contains("node a-1, at 127.0.0.1:1, has registered shop"), "{refused}");
    }
    // Its own further instances, the same name elsewhere, and whoever may say anything.
    claim(&of("a", 3, ["shop", "shop-admin"]), true).unwrap();
    let elsewhere = Instance { namespace: "other".into(), ..of("b", 4, ["shop", "x"]) };
    claim(&elsewhere, true).unwrap();
    claim(&of("c", 5, ["shop", "y"]), false).unwrap();
    // Which takes nothing from the one that has it: neither a further instance nor one that comes back.
    for port in [6, 1] {
        claim(&of("a", port, ["shop", "shop-admin"]), true).unwrap();
    }
    let refused = claim(&of("b", 2, ["shop", "x"]), true).unwrap_err();
    assert!(refused.contains("has registered shop"), "{refused}");
    let mut leases = Leases::default();
    let stream = leases.open();
    leases.claim(&of("a", 1, ["shop", "x"]), stream, true, now).unwrap();
    leases.release("a-1", stream, now);
    leases.claim(&of("b", 2, ["shop", "x"]), stream, true, now).unwrap();
}

#[test]
fn a_process_that_comes_back_continues_at_once_and_its_old_stream_has_no_say() {
    let mut world = World::new();
    let old = world.claims("n p 1");
    let new = world.claims("n p 1");
    let now = world.now();
    assert!(!world.leases.heard("n", old, now) && world.leases.heard("n", new, now));
    world.leases.release("n", old, now);
    world.leases.closed("n", old, now);
    world.is_refused("m q 1", "node n, which is alive");
    world.leases.release("n", new, now);
    world.claims("m q 1");
    // One of a release that does not name its process is known by its address.
    world.claims("o - 5");
    world.claims("o - 5");
    world.is_refused("o - 6", "node o is registered");
}

#[test]
fn what_a_dead_process_held_is_free_at_its_address_and_its_node_a_little_later() {
    let mut world = World::new();
    let stream = world.claims("n p 1");
    let now = world.now();
    world.leases.closed("n", stream, now);
    world.is_refused("n q 2", "node n is registered");
    world.at = 2000;
    world.claims("n q 2");
    let stream = world.claims("m r 3");
    world.leases.closed("m", stream, world.now());
    // Killed and started again: where it was.
    let stream = world.claims("m s 3");
    world.leases.closed("m", stream, world.now());
    // An address is at once whose process listens there now.
    world.claims("o t 3");
}

#[test]
fn a_silent_holder_gives_way_when_its_instance_has_expired() {
    let mut world = World::new();
    let frozen = world.claims("n p 1");
    world.at = 5000;
    let now = world.now();
    assert!(world.leases.heard("n", frozen, now));
    world.at = 10_999;
    world.is_refused("n q 1", "node n is registered");
    world.at = 11_000;
    world.claims("n q 1");
    let now = world.now();
    assert!(!world.leases.heard("n", frozen, now));
    world.is_refused("n p 1", "node n is registered");
}

#[test]
fn since_when_nobody_was_heard_is_known_whatever_became_of_the_stream() {
    let mut world = World::new();
    let frozen = world.claims("n p 1");
    world.claims("m q 2");
    let silent = |world: &World| {
        let mut silent: Vec<_> = (world.leases.silent(world.now()).into_iter())
            .map(|(address, silence)| (address.port(), silence.as_secs()))
            .collect();
        silent.sort_unstable();
        silent
    };
    world.at = 6000;
    assert_eq!(silent(&world), []);
    world.claims("m q 2");
    world.at = 9000;
    assert_eq!(silent(&world), [(1, 9)]);
    world.leases.closed("n", frozen, world.now());
    assert_eq!(silent(&world), [(1, 9)]);
    // Kept in the registry, it stays in the journal, and is as silent as before.
    world.at = 70_000;
    world.leases.take_expired(world.now(), |_| true);
    assert_eq!(silent(&world), [(1, 70), (2, 64)]);
    world.claims("n p 1");
    assert_eq!(silent(&world), [(2, 64)]);
}

#[test]
fn a_registration_leaves_the_journal_when_nobody_kept_it_alive_for_a_minute() {
    let mut world = World::new();
    let start = world.now();
    let journal = [instance("lost p 1"), instance("back q 2"), instance("kept s 4")];
    world.leases = Leases::restored(journal.iter(), start);
    world.claims("back q 2");
    let stream = world.claims("new r 3");
    let due = start + JOURNAL_KEPT;
    let early = due - Duration::from_millis(1);
    assert_eq!(world.leases.take_expired(early, |_| false), (Vec::new(), Some(due)));
    let gone = world.leases.take_expired(due, |address| address.port() == 4);
    assert_eq!(gone, (vec!["lost".to_owned()], Some(due + JOURNAL_KEPT)));
    world.leases.closed("new", stream, due);
    let late = due + JOURNAL_KEPT;
    let (mut gone, next) = world.leases.take_expired(late, |_| false);
    gone.sort_unstable();
    assert_eq!((gone, next), (vec!["kept".to_owned(), "new".to_owned()], None));
}
