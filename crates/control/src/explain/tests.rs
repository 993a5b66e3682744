//! The case file of the entrance, explained: the same is seen as at a gateway.

use api::resource::HeaderField;
use lanes::{Directory, Group, group::EntranceSpec};
use routes::{
    GatewaySpec, RouteSpec,
    spec::{MatchSpec, ParentSpec, PathSpec, RuleSpec},
};
use testkit::entrance_cases::{self, Case};

use super::*;

#[test]
fn every_case_of_a_gateway_is_explained_as_it_is_routed() {
    for case in entrance_cases::all().iter().filter(|case| case.at.application.is_none()) {
        check(case);
    }
}

fn check(case: &Case) {
    let entrance = EntranceSpec::Gateway { name: "edge".to_owned(), routes: None };
    let groups =
        case.groups(&entrance).into_iter().map(|spec| Arc::new(Group::compile(spec).unwrap()));
    let listener = ListenerSpec {
        name: "http".to_owned(),
        port: 80,
        hostname: None,
        trusted: case.at.trusted,
        trusted_hops: case.at.trusted_hops,
    };
    let moment = Moment {
        snapshot: Snapshot::new(groups.collect(), Directory::new(true)),
        table: table(listener),
        meanings: Vec::new(),
        reported: Reported::default(),
    };
    let headers = case
        .request_fields()
        .map(|(name, value)| HeaderField { name: name.to_owned(), value: value.to_owned() });
    let wanted = ExplainRequest {
        gateway: "edge".to_owned(),
        method: "GET".to_owned(),
        url: "/a".to_owned(),
        headers: headers.collect(),
        client_ip: Some("127.0.0.1".to_owned()),
        path: Vec::new(),
    };
    let told = moment.explain(&wanted, &mut || [7; 16]).unwrap();
    assert_eq!(told.route, "default/all", "{}: {told:?}", case.name);
    case.check_seen(&told.baggage);
}

/// One route for every path.
fn table(listener: ListenerSpec) -> Table {
    let gateway = GatewaySpec { name: "edge".to_owned(), listeners: vec![listener] };
    let path = PathSpec::Prefix("/".to_owned());
    let route = RouteSpec {
        namespace: "default".to_owned(),
        name: "all".to_owned(),
        parents: vec![ParentSpec { gateway: "edge".to_owned(), section: None, port: None }],
        hostnames: Vec::new(),
        rules: vec![RuleSpec {
            matches: vec![MatchSpec { path, method: None, headers: Vec::new(), query: Vec::new() }],
            filters: Vec::new(),
            backends: Vec::new(),
            request_timeout_ms: 0,
            backend_timeout_ms: 0,
        }],
        created: 0,
    };
    let (table, problems) = Table::compile(Some(&gateway), &[route]);
    assert!(problems.is_empty(), "{problems:?}");
    table
}
