//! The case file of the entrance, explained: the same is seen as at a gateway.

use api::resource::HeaderField;
use lanes::{
    Directory, Group,
    baggage::{self, Incoming},
    group::EntranceSpec,
};
use routes::{
    GatewaySpec, RouteSpec,
    spec::{MatchSpec, ParentSpec, PathSpec, RuleSpec},
};
use testkit::entrance_cases::{self, Application, Case};

use super::*;

#[test]
fn every_case_of_a_gateway_is_explained_as_it_is_routed() {
    for case in entrance_cases::all().iter().filter(|case| case.at.application.is_none()) {
        check(case);
    }
}

#[test]
fn every_case_of_an_application_is_explained_as_its_sidecar_reads_it() {
    for case in &entrance_cases::all() {
        let Some(at) = case.at.application else { continue };
        let entrance =
            EntranceSpec::Application { name: "a".to_owned(), edge: at == Application::Edge };
        let moment = moment(case, &entrance);
        let mut head = TextHead::read("GET", "/a", case.request_fields()).unwrap();
        entrance::drop_hop_by_hop(&mut head);
        let sent = Sent { head, client_ip: [127, 0, 0, 1].into() };
        let mut context = Context::default();
        let told = &mut Explanation::default();
        moment.arrive("a", &sent, &mut context, &mut || [7; 16], told);
        let mut written = Vec::new();
        let others = std::iter::empty();
        baggage::write(&moment.snapshot, &context, others, Incoming::Strip, &mut written);
        case.check_seen(std::str::from_utf8(&written).unwrap());
    }
}

/// What there is to know where the groups of a case are entered.
fn moment(case: &Case, entrance: &EntranceSpec) -> Moment {
    let groups =
        case.groups(entrance).into_iter().map(|spec| Arc::new(Group::compile(spec).unwrap()));
    let listener = ListenerSpec {
        name: "http".to_owned(),
        port: 80,
        hostname: None,
        trusted: case.at.trusted,
        trusted_hops: case.at.trusted_hops,
    };
    Moment {
        snapshot: Snapshot::new(groups.collect(), Directory::new(true)),
        table: table(listener),
        meanings: Vec::new(),
        reported: Arc::default(),
    }
}

fn check(case: &Case) {
    let moment = moment(case, &EntranceSpec::Gateway { name: "edge".to_owned(), routes: None });
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
