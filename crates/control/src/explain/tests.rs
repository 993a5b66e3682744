//! The case file of the entrance, explained: the same is seen as at a gateway.

use api::resource::HeaderField;
use lanes::{
    Directory, Group,
    baggage::{self, Incoming},
    group::EntranceSpec,
    service::{Health, Port},
};
use routes::{
    GatewaySpec, RouteKind, RouteSpec,
    spec::{
        BackendSpec, FilterSpec, HeaderEdits, MatchSpec, ParentSpec, PathRewrite, PathSpec,
        RewriteSpec, RuleSpec,
    },
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
        let mut context = Context::default();
        let told = &mut Explanation::default();
        let known = moment.arrive(
            "a",
            &endpoint("127.0.0.2:1"),
            &head,
            &mut context,
            &mut || [7; 16],
            told,
        );
        assert!(known, "{}", case.name);
        let mut written = Vec::new();
        let others = std::iter::empty();
        baggage::write(&moment.snapshot, &context, others, Incoming::Strip, &mut written);
        case.check_seen(std::str::from_utf8(&written).unwrap());
    }
}

/// A case in which one field is sent and one condition decides.
fn case(sent: &str, condition: &str) -> Case {
    let case = serde_json::json!({"name": condition, "fields": [sent], "seen": [condition]});
    serde_json::from_value(case).unwrap()
}

/// What is explained of a call through a route with these filters to an application that is an entrance of the case's
/// group: of its instance at this address.
fn behind_a_route(case: &Case, filters: &[FilterSpec], address: &str) -> ExplainHop {
    behind(listener(case), case, filters, address, "/api/x")
}

fn behind(
    listener: ListenerSpec,
    case: &Case,
    filters: &[FilterSpec],
    address: &str,
    path: &str,
) -> ExplainHop {
    let app = EntranceSpec::Application { name: "app".to_owned(), edge: false };
    let id = ServiceId::new("embedded", "default", "", "app");
    let mut directory = Directory::new(true);
    let service = Service::new(id.clone(), "app", "app", vec![endpoint(address)]);
    directory.insert(Arc::new(service));
    let mut moment = moment(case, &app);
    moment.snapshot = Snapshot::new(moment.snapshot.groups().to_vec(), directory);
    let backend = BackendSpec {
        service: Ok(id),
        weight: 1,
        http2: false,
        tls: None,
        filters: filters.to_vec(),
    };
    moment.table = table(listener, vec![backend]);
    let told = moment.explain(&wanted(case, path), &mut || [7; 16]).unwrap();
    told.hops.into_iter().next().unwrap()
}

/// Whether the explanation says that the group's lane took the request.
fn entered(hop: &ExplainHop) -> bool {
    assert_eq!(hop.unknown, "");
    let member = hop.steps.iter().rev().find_map(|step| match step {
        ExplainStep::Member { tag, .. } => Some(tag.is_some()),
        _ => None,
    });
    member.unwrap_or_else(|| panic!("nobody decided: {hop:?}"))
}

#[test]
fn an_application_behind_a_route_is_asked_with_what_the_gateway_sends() {
    let set = |name: &str, value: &str| {
        let set = vec![(name.to_owned(), value.to_owned())];
        FilterSpec::RequestHeaders(HeaderEdits { set, ..HeaderEdits::default() })
    };
    let remove = |name: &str| {
        let remove = vec![name.to_owned()];
        FilterSpec::RequestHeaders(HeaderEdits { remove, ..HeaderEdits::default() })
    };
    let rewrite = |hostname: Option<&str>, path: Option<PathRewrite>| {
        FilterSpec::Rewrite(RewriteSpec { hostname: hostname.map(str::to_owned), path })
    };
    let prefix = || rewrite(None, Some(PathRewrite::Prefix("/v2".to_owned())));
    let whole = || rewrite(None, Some(PathRewrite::Full("/all".to_owned())));
    let host = || rewrite(Some("inner.example"), None);
    for (filters, sent, condition, expected) in [
        (vec![], "canary: gray", "header canary = gray", true),
        (vec![set("Canary", "gray")], "canary: 7", "header canary = gray", true),
        (vec![set("canary", "7")], "canary: gray", "header canary = gray", false),
        (vec![remove("CANARY")], "canary: gray", "header canary", false),
        (vec![remove("x-request-id")], "a: b", "header x-request-id", false),
        (vec![set("user_id", "7")], "a: b", "header user_id", true),
        (vec![], "user_id: 7", "header user_id", false),
        (vec![whole()], "a: b", "path = /all", true),
        (vec![prefix()], "a: b", "path = /v2/x", true),
        (vec![prefix()], "a: b", "path = /api/x", false),
        (vec![host()], "a: b", "host = inner.example", true),
        (vec![host()], "a: b", "header host = inner.example", true),
        (vec![], "a: b", "header x-forwarded-for = 203.0.113.9", true),
        // Who calls an application is the gateway.
        (vec![], "a: b", "clientIp = 203.0.113.9", false),
        (vec![], "a: b", "clientIp = 127.0.0.1", true),
    ] {
        let hop = behind_a_route(&case(sent, condition), &filters, "127.0.0.2:1");
        assert_eq!(entered(&hop), expected, "{sent}, {condition}, {filters:?}: {hop:?}");
    }
}

#[test]
fn what_cannot_be_known_of_an_application_is_said() {
    for (condition, address, is_known) in [
        ("clientIp = 10.0.0.1", "10.0.0.2:1", false),
        ("clientIp = 10.0.0.1", "127.0.0.2:1", true),
        ("clientIp = 10.0.0.1", "[::1]:1", true),
        ("header canary", "10.0.0.2:1", true),
    ] {
        let hop = behind_a_route(&case("a: b", condition), &[], address);
        assert_eq!(hop.unknown.is_empty(), is_known, "{condition} {address}: {hop:?}");
    }
}

#[test]
fn nobody_decides_at_an_application_without_a_sidecar() {
    let case = case("canary: gray", "header canary");
    let at = EntranceSpec::Application { name: "app".to_owned(), edge: false };
    let moment = moment(&case, &at);
    let head = TextHead::read("GET", "/a", case.request_fields()).unwrap();
    let (mut context, mut told) = (Context::default(), Explanation::default());
    let listed = Endpoint { application_address: None, ..endpoint("127.0.0.2:1") };
    let random = &mut || [7; 16];
    assert!(moment.arrive("app", &listed, &head, &mut context, random, &mut told));
    assert!(context.members().is_empty());
    let [lanes::explain::Step::Member { tag: None, because, .. }] = &told.steps[..] else {
        panic!("{told:?}");
    };
    assert_eq!(because, "nobody decides here: application app has no sidecar");
}

#[test]
fn slashes_in_a_row_are_explained_as_the_gateway_takes_them() {
    let at = EntranceSpec::Gateway { name: "edge".to_owned(), routes: None };
    for (merge_slashes, condition, expected) in [
        (true, "path = /api/x", true),
        (true, "path = //api//x", false),
        (false, "path = /api/x", false),
        (false, "path = //api//x", true),
    ] {
        let case = case("a: b", condition);
        let mut moment = moment(&case, &at);
        moment.table = table(ListenerSpec { merge_slashes, ..listener(&case) }, Vec::new());
        let told = moment.explain(&wanted(&case, "//api//x"), &mut || [7; 16]).unwrap();
        assert_eq!(!told.baggage.is_empty(), expected, "{merge_slashes} {condition}: {told:?}");
        let rule = if merge_slashes { "rule 1 " } else { "rule 0 " };
        assert!(told.routing[0].starts_with(rule), "{merge_slashes}: {told:?}");
    }
}

#[test]
fn an_application_sees_the_slashes_that_the_gateway_sends_on() {
    for (merge_slashes, condition, expected) in [
        (true, "path = /api/x/y", true),
        (true, "path = /api//x/y", false),
        (false, "path = /api//x/y", true),
        (false, "path = /api/x/y", false),
    ] {
        let case = case("a: b", condition);
        let listener = ListenerSpec { merge_slashes, ..listener(&case) };
        let hop = behind(listener, &case, &[], "127.0.0.2:1", "/api//x/y");
        assert_eq!(entered(&hop), expected, "{merge_slashes} {condition}: {hop:?}");
    }
}

#[test]
fn at_which_of_several_ports_is_told_and_one_of_tcp_takes_no_request() {
    let case = case("a: b", "path = /api/x");
    let app = EntranceSpec::Application { name: "another".to_owned(), edge: false };
    let mut moment = moment(&case, &app);
    let mut directory = Directory::new(true);
    for (name, host, protocol, is_further, port) in [
        ("alone", "127.0.0.3", Protocol::Http, false, 8080),
        ("app", "127.0.0.2", Protocol::Http, false, 8080),
        ("admin", "127.0.0.2", Protocol::Http, true, 8081),
        ("db", "127.0.0.2", Protocol::Tcp, true, 5432),
    ] {
        let id = ServiceId::new("embedded", "default", "", name);
        let endpoint = Endpoint {
            application_address: Some(format!("{host}:{port}").parse().unwrap()),
            port: Port { protocol, is_further },
            ..endpoint(&format!("{host}:15006"))
        };
        directory.insert(Arc::new(Service::new(id.clone(), name, name, vec![endpoint])));
        moment.meanings.push((name.to_owned(), NameAnswer::Service(id)));
    }
    moment.snapshot = Snapshot::new(moment.snapshot.groups().to_vec(), directory);
    let (_, NameAnswer::Service(id)) = &moment.meanings[0] else { panic!() };
    let backend = BackendSpec {
        service: Ok(id.clone()),
        weight: 1,
        http2: false,
        tls: None,
        filters: Vec::new(),
    };
    moment.table = table(listener(&case), vec![backend]);
    let told = moment.explain(&wanted(&case, "/api/x"), &mut || [7; 16]).unwrap();
    let told: Vec<_> = (told.hops.iter())
        .map(|hop| {
            let port = hop.port.as_ref();
            let port = port.map(|it| format!("{} {}", it.protocol, it.addresses.join(" ")));
            (hop.endpoint.as_str(), port.unwrap_or_default(), hop.problem.contains("tcp"))
        })
        .collect();
    let at = "127.0.0.2:15006";
    let expected = [
        ("127.0.0.3:15006", "", false),
        (at, "http 127.0.0.2:8080", false),
        (at, "http 127.0.0.2:8081", false),
        ("", "tcp 127.0.0.2:5432", true),
    ];
    assert_eq!(told, expected.map(|(at, port, fails)| (at, port.to_owned(), fails)));
}

/// A sidecar's.
fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        application_address: Some(([127, 0, 0, 1], 8080).into()),
        further: None,
        tag: None,
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    }
}

/// What there is to know where the groups of a case are entered.
fn moment(case: &Case, entrance: &EntranceSpec) -> Moment {
    let groups =
        case.groups(entrance).into_iter().map(|spec| Arc::new(Group::compile(spec).unwrap()));
    Moment {
        snapshot: Snapshot::new(groups.collect(), Directory::new(true)),
        gateway: GatewaySpec { name: "edge".to_owned(), listeners: vec![listener(case)] },
        routes: Vec::new(),
        table: table(listener(case), Vec::new()),
        meanings: Vec::new(),
        reported: Arc::default(),
        deciding: Deciding::default(),
        reports: Reports::default(),
        certificates: BTreeSet::new(),
    }
}

fn listener(case: &Case) -> ListenerSpec {
    ListenerSpec {
        name: "http".to_owned(),
        port: 80,
        hostname: None,
        trusted: case.at.trusted,
        trusted_hops: case.at.trusted_hops,
        merge_slashes: true,
        http2: false,
        tls: None,
    }
}

/// The request of a case.
fn wanted(case: &Case, path: &str) -> ExplainRequest {
    let headers = case
        .request_fields()
        .map(|(name, value)| HeaderField { name: name.to_owned(), value: value.to_owned() });
    ExplainRequest {
        gateway: "edge".to_owned(),
        method: "GET".to_owned(),
        url: path.to_owned(),
        headers: headers.collect(),
        client_ip: Some("203.0.113.9".to_owned()),
        path: Vec::new(),
    }
}

fn check(case: &Case) {
    let moment = moment(case, &EntranceSpec::Gateway { name: "edge".to_owned(), routes: None });
    let wanted = ExplainRequest { client_ip: Some("127.0.0.1".to_owned()), ..wanted(case, "/a") };
    let told = moment.explain(&wanted, &mut || [7; 16]).unwrap();
    assert_eq!(told.route, "default/all", "{}: {told:?}", case.name);
    case.check_seen(&told.baggage);
}

/// One route for every path, and one for `/api`, to these backends.
fn table(listener: ListenerSpec, backends: Vec<BackendSpec>) -> Table {
    let gateway = GatewaySpec { name: "edge".to_owned(), listeners: vec![listener] };
    let rule = |prefix: &str| {
        let path = PathSpec::Prefix(prefix.to_owned());
        RuleSpec {
            matches: vec![MatchSpec { path, method: None, headers: Vec::new(), query: Vec::new() }],
            filters: Vec::new(),
            backends: backends.clone(),
            request_timeout_ms: None,
            backend_timeout_ms: None,
        }
    };
    let route = RouteSpec {
        kind: RouteKind::Http,
        namespace: "default".to_owned(),
        name: "all".to_owned(),
        parents: vec![ParentSpec { gateway: "edge".to_owned(), section: None, port: None }],
        hostnames: Vec::new(),
        rules: vec![rule("/"), rule("/api")],
        created: 0,
    };
    let (table, problems) = Table::compile(Some(&gateway), &[route]);
    assert!(problems.is_empty(), "{problems:?}");
    table
}
