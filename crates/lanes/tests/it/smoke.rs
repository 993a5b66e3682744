//! One request through the whole crate: entrance, hop, wire.

use std::sync::Arc;

use lanes::{
    Context, Directory, Endpoint, Entrance, Explanation, Group, GroupName, GroupSpec, LaneSpec,
    Outcome, Service, ServiceId, Snapshot, Tag, baggage,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{Health, Port},
};
use testkit::Call;

#[test]
fn a_marked_request_reaches_the_gray_instance() {
    let tag = |text| Tag::parse(text).unwrap().unwrap();
    let group = Group::compile(GroupSpec {
        name: GroupName::parse("trade").unwrap(),
        entrances: vec![EntranceSpec::Gateway { name: "edge".into(), routes: None }],
        applications: vec!["a".into()],
        lanes: vec![LaneSpec {
            tag: tag("gray"),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry: Entry::Content {
                meet: Meet::All,
                conditions: vec![Condition {
                    parameter: Parameter::Header("canary".into()),
                    operator: Operator::Equal("gray".into()),
                }],
            },
            fallback: Fallback::Then(vec![]),
            switched_off: vec![],
        }],
    })
    .unwrap();
    let endpoint = |address: &str, tag| Endpoint {
        address: address.parse().unwrap(),
        application_address: None,
        further: None,
        tag,
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    };
    let mut directory = Directory::new(true);
    let service = Arc::new(Service::new(
        ServiceId::new("s", "n", "", "sc-A"),
        "sc-A",
        "a",
        vec![endpoint("127.0.0.1:1", None), endpoint("127.0.0.2:1", Some(tag("gray")))],
    ));
    directory.insert(service.clone());
    let snapshot = Snapshot::new(vec![Arc::new(group)], directory);
    let mut context = Context::default();
    let mut told = Explanation::default();
    let entrance = Entrance::Gateway { gateway: "edge", route: None };
    let canary = Call { headers: vec![("Canary".into(), "gray".into())], ..Call::default() };
    snapshot.enter(entrance, &canary, &mut || [0; 16], &mut context, &mut told);
    let choice = snapshot.choose(&context, &service, None, &(), 7, &mut told).unwrap();
    assert_eq!(
        (choice.endpoint.address.to_string().as_str(), choice.outcome),
        ("127.0.0.2:1", Outcome::Lane)
    );
    assert_eq!(told.steps.len(), 6, "{told:#?}");
    let mut out = Vec::new();
    baggage::write(
        &snapshot,
        &context,
        [&b"x=1"[..]].into_iter(),
        baggage::Incoming::Strip,
        &mut out,
    );
    assert_eq!(String::from_utf8(out).unwrap(), "lane.trade=gray,x=1");
    assert_eq!(Context::read(&snapshot, [&b"lane.trade=gray"[..]].into_iter()), context);
}
