//! Names and addresses: what is known, absent, ambiguous or never asked.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use lanes::{
    AddressLookup, Directory, Endpoint, Lookup, Service, ServiceId,
    directory::{
        NameAnswer,
        digest::{self, Digest},
    },
    service::{Health, Port},
};
use proptest::prelude::*;

fn id(name: &str) -> ServiceId {
    let (source, name) = name.split_once('/').unwrap_or(("s", name));
    ServiceId::new(source, "n", "", name)
}

/// A service `name` (or `source/name`) with endpoints `10.0.0.N:80`, of which the application is at
/// `10.0.1.N:80` where N is odd.
fn service(name: &str, endpoints: &[u8]) -> Arc<Service> {
    let endpoints = endpoints
        .iter()
        .map(|number| Endpoint {
            address: at(0, *number),
            application_address: (number % 2 == 1).then(|| at(1, *number)),
            further: None,
            tag: None,
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        })
        .collect();
    let bare = name.split_once('/').map_or(name, |(_, bare)| bare);
    Arc::new(Service::new(id(name), bare, "a", endpoints))
}

fn at(network: u8, number: u8) -> SocketAddr {
    ([10, 0, network, number], 80).into()
}

fn name(directory: &Directory, host: &str) -> String {
    match directory.by_name(host) {
        Lookup::Known(service) => service.id().to_string(),
        Lookup::Ambiguous(sources) => format!("one of {}", sources.join(" ")),
        other => format!("{other:?}"),
    }
}

fn address(directory: &Directory, address: SocketAddr) -> String {
    match directory.by_address(address) {
        AddressLookup::Known(ids) => {
            ids.iter().map(ServiceId::to_string).collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_complete_directory_knows_names_and_what_is_absent() {
    let mut directory = Directory::new(true);
    directory.insert(service("sc-A", &[1]));
    assert_eq!(name(&directory, "sc-a"), "s/n//sc-a");
    assert_eq!(name(&directory, "SC-A"), "s/n//sc-a");
    assert_eq!(name(&directory, "sc-b"), "Absent");
    assert_eq!(address(&directory, at(0, 9)), "Absent");
    directory.insert(service("t/SC-a", &[2]));
    assert_eq!(name(&directory, "sc-a"), "one of s t");
    directory.remove(&id("sc-A"));
    assert_eq!(name(&directory, "sc-a"), "t/n//sc-a");
    directory.remove(&id("t/sc-A"));
    assert_eq!(name(&directory, "sc-a"), "Absent");
    assert_eq!(directory.services().count(), 0);
}

#[test]
fn a_snapshot_gives_its_directory() {
    let mut directory = Directory::new(true);
    directory.insert(service("sc-a", &[1]));
    let snapshot = lanes::Snapshot::new(Vec::new(), directory);
    assert_eq!(name(snapshot.directory(), "sc-a"), "s/n//sc-a");
}

#[test]
fn two_of_one_source_are_told_apart_by_their_identities() {
    let mut directory = Directory::new(true);
    for namespace in ["n1", "n2"] {
        let id = ServiceId::new("s", namespace, "", "sc-a");
        directory.insert(Arc::new(Service::new(id, "sc-A", "a", Vec::new())));
    }
    assert_eq!(name(&directory, "sc-a"), "one of s/n1//sc-a s/n2//sc-a");
}

#[test]
fn what_is_not_in_the_digest_is_nobodys() {
    let mut directory = Directory::new(false);
    directory.insert(service("sc-A", &[1]));
    directory.answer_name("sc-a", NameAnswer::Service(id("sc-a")));
    directory.answer_name("sc-late", NameAnswer::Service(id("sc-late")));
    let SocketAddr::V4(v4) = at(0, 9) else { unreachable!("an IPv4 address") };
    let mapped = SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port());
    let hashes = vec![digest::of_name("sc-b"), digest::of_address(at(0, 9))];
    directory.set_digest(Some(Arc::new(Digest::new(hashes))));
    assert_eq!(name(&directory, "example.org"), "Absent");
    assert_eq!(name(&directory, "SC-B"), "Unsubscribed", "there is something to ask for");
    assert_eq!(name(&directory, "sc-a"), "s/n//sc-a", "what was answered outweighs it");
    assert_eq!(name(&directory, "sc-late"), "Unsubscribed", "answered, and still to come");
    assert_eq!(address(&directory, at(0, 1)), "s/n//sc-a");
    assert_eq!(address(&directory, at(0, 8)), "Absent");
    assert_eq!(address(&directory, at(0, 9)), "Unsubscribed");
    assert_eq!(address(&directory, mapped), "Unsubscribed");
}

#[test]
fn a_directory_of_what_was_asked_for_answers_no_more_than_that() {
    let mut directory = Directory::new(false);
    directory.insert(service("sc-A", &[1]));
    assert_eq!(name(&directory, "sc-a"), "Unsubscribed");
    assert_eq!(address(&directory, at(0, 1)), "s/n//sc-a");
    assert_eq!(address(&directory, at(0, 9)), "Unsubscribed");
    directory.answer_name("SC-a", NameAnswer::Service(id("sc-a")));
    assert_eq!(name(&directory, "sc-A"), "s/n//sc-a");
    directory.remove(&id("sc-a"));
    assert_eq!(
        name(&directory, "sc-a"),
        "Unsubscribed",
        "answered, and the service is still to come"
    );
    directory.answer_name("sc-a", NameAnswer::Absent);
    assert_eq!(name(&directory, "sc-a"), "Absent");
    directory.answer_name("sc-a", NameAnswer::Ambiguous(vec!["x".into(), "y".into()]));
    assert_eq!(name(&directory, "sc-a"), "one of x y");
    directory.forget_name("SC-A");
    assert_eq!(name(&directory, "sc-a"), "Unsubscribed");
}

#[test]
fn answers_outweigh_what_endpoints_say_until_forgotten() {
    let mut directory = Directory::new(true);
    directory.insert(service("sc-a", &[1, 2]));
    directory.answer_name("sc-a", NameAnswer::Absent);
    directory.answer_address(at(0, 2), Vec::new());
    directory.answer_address(at(0, 1), vec![id("z"), id("b"), id("z")]);
    directory.answer_address(at(9, 9), vec![id("sc-a")]);
    assert_eq!(name(&directory, "sc-a"), "Absent");
    assert_eq!(address(&directory, at(0, 2)), "Absent");
    assert_eq!(address(&directory, at(0, 1)), "s/n//b s/n//z");
    assert_eq!(address(&directory, at(9, 9)), "s/n//sc-a");
    // Endpoints that go do not take the answers with them.
    directory.remove(&id("sc-a"));
    assert_eq!(address(&directory, at(0, 1)), "s/n//b s/n//z");
    directory.insert(service("sc-a", &[1, 2]));
    directory.forget_name("sc-a");
    for forgotten in [at(0, 1), at(0, 2), at(9, 9)] {
        directory.forget_address(forgotten);
    }
    assert_eq!(name(&directory, "sc-a"), "s/n//sc-a");
    assert_eq!(address(&directory, at(0, 1)), "s/n//sc-a");
    assert_eq!(address(&directory, at(9, 9)), "Absent");
    directory.forget_name("never-answered");
    directory.forget_address(at(7, 7));
}

#[test]
fn a_name_that_changes_leaves_nothing_behind() {
    let mut directory = Directory::new(true);
    directory.insert(Arc::new(Service::new(id("x"), "old", "a", Vec::new())));
    directory.insert(Arc::new(Service::new(id("x"), "New", "a", Vec::new())));
    assert_eq!(
        (name(&directory, "old"), name(&directory, "new")),
        ("Absent".into(), "s/n//x".into())
    );
}

proptest! {
    /// After any changes the directory is as if built from what is left, and older copies are untouched.
    #[test]
    fn changes_add_up(
        changes in prop::collection::vec((0..4_usize, prop::option::of(prop::collection::vec(0..6_u8, 0..4))), 0..24),
    ) {
        let names = ["a", "b", "t/a", "c"];
        let mut left: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut directory = Directory::new(true);
        for (which, endpoints) in changes {
            let before = (directory.clone(), left.clone());
            match endpoints {
                Some(endpoints) => {
                    directory.insert(service(names[which], &endpoints));
                    left.insert(names[which], endpoints);
                }
                None => {
                    directory.remove(&id(names[which]));
                    left.remove(names[which]);
                }
            }
            for (directory, left) in [(&directory, &left), (&before.0, &before.1)] {
                for number in 0..6 {
                    for network in 0..2 {
                        let mut here: Vec<String> = left
                            .iter()
                            .filter(|(_, has)| has.contains(&number) && (network == 0 || number % 2 == 1))
                            .map(|(name, _)| id(name).to_string())
                            .collect();
                        here.sort();
                        let wanted = if here.is_empty() { "Absent".to_owned() } else { here.join(" ") };
                        prop_assert_eq!(address(directory, at(network, number)), wanted);
                    }
                }
                for (name, has) in left {
                    let known = directory.service(&id(name)).expect("inserted");
                    let mut wanted = has.clone();
                    wanted.sort();
                    wanted.dedup();
                    prop_assert_eq!(known.endpoints().len(), wanted.len());
                }
                prop_assert_eq!(directory.services().count(), left.len());
                let a = match (left.contains_key("a"), left.contains_key("t/a")) {
                    (true, true) => "one of s t",
                    (true, false) => "s/n//a",
                    (false, true) => "t/n//a",
                    (false, false) => "Absent",
                };
                prop_assert_eq!(name(directory, "A"), a);
            }
        }
    }
}

/// The measure: 1 000 services of 10 endpoints; one change and a new copy within 5 ms, far less
/// here. A limit this wide fails only if a change costs what the whole costs.
#[test]
fn a_change_costs_little_beside_the_whole() {
    let endpoint = |service: u16, number: u8| Endpoint {
        address: ([10, (service / 256) as u8, (service % 256) as u8, number], 80).into(),
        application_address: None,
        further: None,
        tag: None,
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    };
    let services: Vec<Arc<Service>> = (0..1000_u16)
        .map(|number| {
            let name = format!("service-{number}");
            let endpoints = (0..10).map(|count| endpoint(number, count)).collect();
            Arc::new(Service::new(id(&name), &name, &name, endpoints))
        })
        .collect();
    let start = Instant::now();
    let mut directory = Directory::new(true);
    services.iter().for_each(|service| directory.insert(Arc::clone(service)));
    let whole = start.elapsed();

    const CHANGES: u32 = 20;
    let start = Instant::now();
    for service in &services[..CHANGES as usize] {
        let before = directory.clone();
        let fewer = service.endpoints()[1..].to_vec();
        let name = service.name();
        directory.insert(Arc::new(Service::new(service.id().clone(), name, name, fewer)));
        assert_eq!(before.services().count(), directory.services().count());
        let gone = service.endpoints()[0].address;
        assert!(matches!(before.by_address(gone), AddressLookup::Known(_)));
        assert!(matches!(directory.by_address(gone), AddressLookup::Absent));
    }
    let change = start.elapsed() / CHANGES;
    assert!(change * 5 < whole, "a change takes {change:?}, the whole {whole:?}");
}
