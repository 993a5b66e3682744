//! Tables written in one line per rule, requests in one line each.
//!
//! A rule is `NAME: WORD…`, rules of one name are one route, older routes come first. Words: `host=a.com`,
//! `=/exact`, `/prefix`, `~/regex`, `GET`, `h:name=value`, `h:name~regex`, `q:name=value`, `on=listener`.
//! `|` starts another match of the rule. A request is `METHOD host/path?query name=value…`.

use lanes::Request;
use proptest::prelude::*;
use testkit::Call;

use super::*;
use crate::{
    GatewaySpec, RouteKind, RouteSpec,
    spec::{BackendSpec, MatchSpec, NamedSpec, ParentSpec, PathSpec, RuleSpec, TextSpec},
};

pub(crate) fn sent(line: &str) -> Call {
    let mut words = line.split(' ');
    let method = words.next().unwrap().to_owned();
    let target = words.next().unwrap();
    let slash = target.find('/').unwrap();
    let (path, query) = target[slash..].split_once('?').unwrap_or((&target[slash..], ""));
    let headers = words.map(|word| word.split_once('=').unwrap());
    Call {
        method,
        host: target[..slash].to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        ..Call::default()
    }
}

pub(crate) fn gateway(listeners: &[(&str, u16, Option<&str>)]) -> GatewaySpec {
    let listeners = listeners.iter().map(|(name, port, hostname)| ListenerSpec {
        name: (*name).to_owned(),
        port: *port,
        hostname: hostname.map(str::to_owned),
        trusted: false,
        trusted_hops: 0,
        merge_slashes: true,
        http2: false,
        tls: None,
    });
    GatewaySpec { name: "edge".to_owned(), listeners: listeners.collect() }
}

pub(crate) fn route(name: &str, created: u64, rules: Vec<RuleSpec>) -> RouteSpec {
    RouteSpec {
        kind: RouteKind::Http,
        namespace: "default".to_owned(),
        name: name.to_owned(),
        parents: vec![ParentSpec { gateway: "edge".to_owned(), section: None, port: None }],
        hostnames: Vec::new(),
        rules,
        created,
    }
}

pub(crate) fn backend(service: &str, weight: u32) -> BackendSpec {
    BackendSpec {
        service: Ok(ServiceId::new("fixed", "default", "", service)),
        weight,
        http2: false,
        tls: None,
        filters: Vec::new(),
    }
}

pub(crate) fn rule(matches: Vec<MatchSpec>) -> RuleSpec {
    RuleSpec {
        matches,
        filters: Vec::new(),
        backends: vec![backend("sc", 1)],
        request_timeout_ms: None,
        backend_timeout_ms: None,
    }
}

pub(crate) fn path_match(path: PathSpec) -> MatchSpec {
    MatchSpec { path, method: None, headers: Vec::new(), query: Vec::new() }
}

fn routes(lines: &str) -> Vec<RouteSpec> {
    let mut routes: Vec<RouteSpec> = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, words) = line.split_once(':').unwrap();
        if routes.last().is_none_or(|last| last.name != name) {
            routes.push(route(name, routes.len() as u64, Vec::new()));
        }
        let route = routes.last_mut().unwrap();
        let mut matches = vec![path_match(PathSpec::Prefix("/".to_owned()))];
        for word in words.split_whitespace() {
            let of_match = matches.last_mut().unwrap();
            let named = |text: &str| {
                let at = text.find(['=', '~']).unwrap();
                let value = text[at + 1..].to_owned();
                let value = if text.as_bytes()[at] == b'=' {
                    TextSpec::Exact(value)
                } else {
                    TextSpec::Regex(value)
                };
                NamedSpec { name: text[..at].to_owned(), value }
            };
            if let Some(host) = word.strip_prefix("host=") {
                route.hostnames.push(host.to_owned());
            } else if let Some(section) = word.strip_prefix("on=") {
                route.parents[0].section = Some(section.to_owned());
            } else if let Some(path) = word.strip_prefix('=') {
                of_match.path = PathSpec::Exact(path.to_owned());
            } else if let Some(pattern) = word.strip_prefix('~') {
                of_match.path = PathSpec::Regex(pattern.to_owned());
            } else if word.starts_with('/') {
                of_match.path = PathSpec::Prefix(word.to_owned());
            } else if let Some(header) = word.strip_prefix("h:") {
                of_match.headers.push(named(header));
            } else if let Some(parameter) = word.strip_prefix("q:") {
                of_match.query.push(named(parameter));
            } else if word == "|" {
                matches.push(path_match(PathSpec::Prefix("/".to_owned())));
            } else {
                of_match.method = Some(word.to_owned());
            }
        }
        route.rules.push(rule(matches));
    }
    routes
}

fn answer(table: &Table, port: u16, request: &Call) -> String {
    let Some(listener) = table.listener(port, request.host()) else {
        return "no listener".to_owned();
    };
    match table.find(listener, request) {
        Found::Rule { rule, .. } => format!("{}#{}", rule.route_name, rule.index),
        Found::NoListener => "no listener".to_owned(),
        Found::NoRoute => "no route".to_owned(),
    }
}

#[track_caller]
fn check(lines: &str, request: &str, expected: &str) {
    let (table, problems) = Table::compile(Some(&gateway(&[("http", 80, None)])), &routes(lines));
    assert_eq!(problems, [], "{lines}");
    assert_eq!(answer(&table, 80, &sent(request)), expected, "routes: {lines}\nrequest: {request}");
}

#[test]
fn a_prefix_matches_whole_segments() {
    for (path, expected) in [
        ("/a", "r#0"),
        ("/a/", "r#0"),
        ("/a/b", "r#0"),
        ("/ab", "no route"),
        ("/", "no route"),
        ("/A", "no route"),
    ] {
        check("r: /a", &format!("GET x{path}"), expected);
        check("r: /a/", &format!("GET x{path}"), expected);
    }
    check("r: /", "GET x/anything/at/all", "r#0");
    check("r: /a/b", "GET x/a", "no route");
}

#[test]
fn an_exact_path_matches_itself_alone() {
    for (path, expected) in
        [("/a", "r#0"), ("/a/", "no route"), ("/A", "no route"), ("/a/b", "no route")]
    {
        check("r: =/a", &format!("GET x{path}"), expected);
    }
}

#[test]
fn the_more_specific_path_wins() {
    let lines = "all: /
        short: /a
        long: /a/b
        exact: =/a/b
        regex: ~/a/b/[0-9]+|/z/.*";
    check(lines, "GET x/q", "all#0");
    check(lines, "GET x/a/q", "short#0");
    check(lines, "GET x/a/b/c", "long#0");
    check(lines, "GET x/a/b", "exact#0");
    // A prefix comes before a regular expression, but for the prefix that says nothing.
    check(lines, "GET x/a/b/7", "long#0");
    check(lines, "GET x/z/7", "regex#0");
    check(lines, "GET x/a/bc", "short#0");
}

#[test]
fn of_regexes_the_longer_pattern_wins() {
    let lines = "short: ~/.*
        long: ~/[a-z]+/.*";
    check(lines, "GET x/a/b", "long#0");
    check(lines, "GET x/7", "short#0");
    check("r: ~/a", "GET x/a/b", "no route");
}

#[test]
fn where_the_best_path_does_not_hold_the_next_is_asked() {
    let lines = "all: /
        short: /a
        long: /a/b POST
        exact: =/a/b h:x=1";
    check(lines, "GET x/a/b", "short#0");
    check(lines, "POST x/a/b", "long#0");
    check(lines, "POST x/a/b x=1", "exact#0");
}

#[test]
fn ties_go_by_method_then_headers_then_query_then_age_then_order() {
    check("plain: /a\nmethod: /a GET", "GET x/a", "method#0");
    check("headers: /a h:x=1 h:y=2\nmethod: /a GET", "GET x/a x=1 y=2", "method#0");
    check("one: /a h:x=1\ntwo: /a h:x=1 h:y=2", "GET x/a x=1 y=2", "two#0");
    check("query: /a q:x=1 q:y=2\nheader: /a h:x=1", "GET x/a?x=1&y=2 x=1", "header#0");
    check("one: /a q:x=1\ntwo: /a q:x=1 q:y=2", "GET x/a?x=1&y=2", "two#0");
    check("z: /a\na: /a", "GET x/a", "z#0");
    check("r: /a\nr: /a", "GET x/a", "r#0");
    check("r: /a h:x=1\nr: /a h:x=1 | /a GET", "GET x/a x=1", "r#1");
}

#[test]
fn of_equally_old_routes_the_first_by_namespace_and_name_wins() {
    for (one, two, expected) in [
        (("default", "b"), ("team", "a"), "default/b"),
        (("default", "b"), ("default", "a"), "default/a"),
        // By the joined text: `-` comes before `/`.
        (("team", "a"), ("team-2", "a"), "team-2/a"),
    ] {
        let specs = [one, two].map(|(namespace, name)| RouteSpec {
            namespace: namespace.to_owned(),
            ..route(name, 1, vec![rule(Vec::new())])
        });
        let (table, _) = Table::compile(Some(&gateway(&[("http", 80, None)])), &specs);
        let Found::Rule { rule, .. } = table.find(0, &sent("GET x/")) else { panic!("no rule") };
        assert_eq!(rule.route, expected);
    }
}

#[test]
fn any_match_of_a_rule_is_enough() {
    check("r: /a h:x=1 | /b", "GET x/b", "r#0");
    check("r: /a h:x=1 | /b", "GET x/a x=1", "r#0");
    check("r: /a h:x=1 | /b", "GET x/a", "no route");
}

#[test]
fn header_names_ignore_case_and_values_do_not() {
    check("r: h:Canary=gray", "GET x/ cANARY=gray", "r#0");
    check("r: h:Canary=gray", "GET x/ canary=Gray", "no route");
    check("r: h:v~[0-9]+", "GET x/ v=12", "r#0");
    check("r: h:v~[0-9]+", "GET x/ v=12a", "no route");
    // Of a field sent twice any value may satisfy; of two entries for one name the first counts.
    check("r: h:v=2", "GET x/ v=1 v=2", "r#0");
    check("r: h:v=1 h:V=2", "GET x/ v=1", "r#0");
    check("r: h:v=1 h:V=2", "GET x/ v=2", "no route");
}

#[test]
fn query_names_are_exact_and_the_first_value_counts() {
    check("r: q:user=7", "GET x/?user=7", "r#0");
    check("r: q:user=7", "GET x/?User=7", "no route");
    check("r: q:user=7", "GET x/?a=1&user=7&user=8", "r#0");
    check("r: q:user=7", "GET x/?user=8&user=7", "no route");
    check("r: q:user~.*b", "GET x/?user=a+b", "r#0");
    check("r: q:user~a.b", "GET x/?us%65r=a%20b", "r#0");
    check("r: q:user=7", "GET x/?user", "no route");
    check("r: q:user=7 q:user=8", "GET x/?user=7", "r#0");
}

#[test]
fn the_more_specific_host_wins_and_then_the_less_specific_is_asked() {
    let lines = "any: /a
        wild: host=*.example.com /a
        wilder: host=*.b.example.com /
        exact: host=a.example.com =/a/x";
    check(lines, "GET a.example.com/a/x", "exact#0");
    check(lines, "GET a.example.com/a/y", "wild#0");
    check(lines, "GET q.example.com/a", "wild#0");
    check(lines, "GET q.b.example.com/a", "wilder#0");
    check(lines, "GET b.example.com/a", "wild#0");
    check(lines, "GET example.com/a", "any#0");
    check(lines, "GET example.com/b", "no route");
}

#[track_caller]
fn check_listeners(port: u16, lines: &str, request: &str, expected: &str) {
    let listeners = gateway(&[
        ("any", 80, None),
        ("wild", 80, Some("*.example.com")),
        ("exact", 80, Some("a.example.com")),
        ("other", 81, Some("a.example.com")),
        // Nobody tells this one from the first of its name, so the first stays.
        ("exact-again", 80, Some("a.example.com")),
    ]);
    let (table, _) = Table::compile(Some(&listeners), &routes(lines));
    assert_eq!(
        answer(&table, port, &sent(request)),
        expected,
        "routes: {lines}\nrequest: {request}"
    );
}

#[test]
fn the_most_specific_listener_takes_the_request_and_no_other() {
    let lines = "any: on=any /
        wild: on=wild /w
        exact: on=exact /e
        other: on=other /o";
    check_listeners(80, lines, "GET x.org/w", "any#0");
    check_listeners(80, lines, "GET b.example.com/w", "wild#0");
    check_listeners(80, lines, "GET b.example.com/e", "no route");
    check_listeners(80, lines, "GET a.example.com/e", "exact#0");
    check_listeners(80, lines, "GET a.example.com/w", "no route");
    check_listeners(81, lines, "GET a.example.com/o", "other#0");
    check_listeners(81, lines, "GET b.example.com/o", "no listener");
    // A port nobody names: the first listener's stand in.
    check_listeners(49152, lines, "GET a.example.com/e", "exact#0");
}

#[test]
fn a_route_attaches_under_the_hosts_it_shares_with_the_listener() {
    let lines = "r: host=*.com host=b.example.net /";
    check_listeners(80, lines, "GET a.example.com/", "r#0");
    check_listeners(80, lines, "GET q.example.com/", "r#0");
    check_listeners(80, "r: on=exact host=*.example.com /", "GET a.example.com/", "r#0");
    check_listeners(80, "r: on=wild host=*.b.example.com /", "GET q.b.example.com/", "r#0");
    check_listeners(80, "r: on=wild host=*.b.example.com /", "GET q.c.example.com/", "no route");
    // What the route says counts, not what is left of it at this listener.
    check_listeners(
        80,
        "wide: on=exact host=*.com /\nnarrow: on=exact host=*.example.com /",
        "GET a.example.com/",
        "narrow#0",
    );
}

#[track_caller]
fn check_problems(lines: &str, expected: &[&str]) {
    let listeners = gateway(&[("http", 80, Some("*.example.com"))]);
    let (_, problems) = Table::compile(Some(&listeners), &routes(lines));
    let fields: Vec<_> = problems
        .iter()
        .map(|it| format!("{} {}", it.route, it.to_string().split(':').next().unwrap()))
        .collect();
    assert_eq!(fields, expected, "{lines}");
}

#[test]
fn every_problem_is_told_with_route_and_field() {
    check_problems(
        "bad: host=a.example.com =a FETCH h:x~( q:y~[ | ~(\nbad: /a//b",
        &[
            "default/bad spec.rules[0].matches[0].path.value",
            "default/bad spec.rules[0].matches[0].method",
            "default/bad spec.rules[0].matches[0].headers[0].value",
            "default/bad spec.rules[0].matches[0].queryParams[0].value",
            "default/bad spec.rules[0].matches[1].path.value",
            "default/bad spec.rules[1].matches[0].path.value",
        ],
    );
    check_problems(
        "bad: host=a_b.example.com host=10.0.0.1 /",
        &["default/bad spec.hostnames[0]", "default/bad spec.hostnames[1]"],
    );
    check_problems("bad: host=example.com /", &["default/bad spec.hostnames"]);
    check_problems("bad: on=https /", &["default/bad spec.parentRefs[0].sectionName"]);
}

#[test]
fn what_is_wrong_is_left_out_and_never_widened() {
    let lines = "bad: host=a_b.com /
        bad2: host=a.com ~( | /good
        bad3: host=a.com ~(
        rest: host=b.com /";
    let (table, problems) = Table::compile(Some(&gateway(&[("http", 80, None)])), &routes(lines));
    assert_eq!(problems.len(), 3);
    for (request, expected) in [
        ("GET x.com/", "no route"),
        ("GET a.com/", "no route"),
        ("GET a.com/good", "bad2#0"),
        ("GET b.com/", "rest#0"),
    ] {
        assert_eq!(answer(&table, 80, &sent(request)), expected, "{request}");
    }
}

#[test]
fn routes_of_other_gateways_are_no_concern() {
    let mut specs = routes("r: /a//b");
    specs[0].parents[0].gateway = "inner".to_owned();
    let (table, problems) = Table::compile(Some(&gateway(&[("http", 80, None)])), &specs);
    assert_eq!(problems, []);
    assert_eq!(answer(&table, 80, &sent("GET x/")), "no route");
    assert!(Table::compile(None, &specs).0.listener(80, "x").is_none());
}

#[test]
fn backends_share_requests_by_weight() {
    let mut spec = rule(Vec::new());
    spec.backends = vec![backend("a", 1), backend("none", 0), backend("b", 3)];
    let (table, _) =
        Table::compile(Some(&gateway(&[("http", 80, None)])), &[route("r", 0, vec![spec])]);
    let counts = |wanted: &str| {
        let chosen = (0..400).map(|ticket| table.inner.rules[0].backend(ticket).unwrap());
        chosen.filter(|it| it.service.as_ref().unwrap().name() == wanted).count()
    };
    assert_eq!((counts("a"), counts("none"), counts("b")), (100, 0, 300));
}

#[test]
fn no_backends_or_only_weight_zero_is_nobody() {
    let mut none = rule(Vec::new());
    none.backends.clear();
    let mut zero = rule(Vec::new());
    zero.backends = vec![backend("a", 0)];
    let (table, _) =
        Table::compile(Some(&gateway(&[("http", 80, None)])), &[route("r", 0, vec![none, zero])]);
    assert!(table.inner.rules.iter().all(|rule| rule.backend(7).is_none()));
}

/// The Gateway API's text, the slow way: every match of every rule is tried, and the best is kept. Shares no
/// code with the table.
mod oracle {
    use super::*;

    fn host_holds(pattern: &str, host: &str) -> bool {
        let pattern: Vec<_> = pattern.split('.').collect();
        let host: Vec<_> = host.split('.').collect();
        match pattern.as_slice() {
            ["*", rest @ ..] => (1..host.len()).any(|labels| host[labels..] == *rest),
            whole => host == whole,
        }
    }

    /// Greater is better: "characters in a matching non-wildcard hostname, characters in a matching hostname".
    fn host_rank(hostnames: &[String], host: &str) -> Option<(usize, usize)> {
        if hostnames.is_empty() {
            return Some((0, 0));
        }
        let matching = hostnames.iter().filter(|pattern| host_holds(pattern, host));
        matching.map(|it| (if it.starts_with('*') { 0 } else { it.len() }, it.len())).max()
    }

    fn text_holds(spec: &TextSpec, value: &str) -> bool {
        match spec {
            TextSpec::Exact(text) => text == value,
            TextSpec::Regex(pattern) => {
                regex::Regex::new(pattern).unwrap().find_iter(value).any(|it| it.as_str() == value)
            }
        }
    }

    /// Greater is better: exact, prefix by length, regex by length, the prefix `/`.
    fn path_rank(spec: &PathSpec, path: &str) -> Option<(u8, usize)> {
        match spec {
            PathSpec::Exact(exact) => (exact == path).then_some((3, 0)),
            PathSpec::Prefix(prefix) => {
                let wanted: Vec<_> = prefix.split('/').filter(|part| !part.is_empty()).collect();
                let segments: Vec<_> = path.split('/').skip(1).collect();
                let length = wanted.iter().map(|part| part.len() + 1).sum();
                let kind = if wanted.is_empty() { 0 } else { 2 };
                segments.starts_with(&wanted).then_some((kind, length))
            }
            PathSpec::Regex(pattern) => {
                text_holds(&TextSpec::Regex(pattern.clone()), path).then_some((1, pattern.len()))
            }
        }
    }

    fn match_holds(spec: &MatchSpec, request: &Call) -> bool {
        let method = spec.method.as_ref().is_none_or(|method| *method == request.method);
        let headers = spec.headers.iter().all(|wanted| {
            let mut values = request.headers.iter().filter(|(name, _)| *name == wanted.name);
            values.any(|(_, value)| text_holds(&wanted.value, std::str::from_utf8(value).unwrap()))
        });
        let query = spec.query.iter().all(|wanted| {
            let mut pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| *name == wanted.name)
                .is_some_and(|(_, it)| text_holds(&wanted.value, it))
        });
        method && headers && query
    }

    pub(super) fn answer(routes: &[RouteSpec], request: &Call) -> String {
        let mut best = None;
        for route in routes {
            let Some(host) = host_rank(&route.hostnames, &request.host) else { continue };
            for (index, rule) in route.rules.iter().enumerate() {
                for spec in rule.matches.iter().filter(|spec| match_holds(spec, request)) {
                    let Some(path) = path_rank(&spec.path, &request.path) else { continue };
                    let rank = (
                        (host, path, spec.method.is_some(), spec.headers.len(), spec.query.len()),
                        std::cmp::Reverse((
                            route.created,
                            format!("{}/{}", route.namespace, route.name),
                            index,
                        )),
                    );
                    let found = format!("{}#{index}", route.name);
                    if best.as_ref().is_none_or(|(so_far, _)| rank > *so_far) {
                        best = Some((rank, found));
                    }
                }
            }
        }
        best.map_or("no route".to_owned(), |(_, found)| found)
    }
}

fn any_path() -> impl Strategy<Value = PathSpec> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..3);
    prop_oneof![
        segments.clone().prop_map(|parts| PathSpec::Exact(format!("/{}", parts.join("/")))),
        segments.clone().prop_map(|parts| PathSpec::Prefix(format!("/{}", parts.join("/")))),
        segments.prop_map(|parts| {
            PathSpec::Prefix(format!("/{}/", parts.join("/")).replace("//", "/"))
        }),
        prop::sample::select(vec!["/.*", "/a.*", "/[ab]+", "/a/.*", "/b|/a"])
            .prop_map(|pattern| PathSpec::Regex(pattern.to_owned())),
    ]
}

fn any_named() -> impl Strategy<Value = Vec<NamedSpec>> {
    let value = prop_oneof![
        prop::sample::select(vec!["1", "2"]).prop_map(|text| TextSpec::Exact(text.to_owned())),
        prop::sample::select(vec!["[12]", "1|3"]).prop_map(|text| TextSpec::Regex(text.to_owned())),
    ];
    // One entry per name, as the API demands.
    prop::collection::btree_map(prop::sample::select(vec!["x", "y"]), value, 0..3).prop_map(|map| {
        map.into_iter().map(|(name, value)| NamedSpec { name: name.to_owned(), value }).collect()
    })
}

fn any_match() -> impl Strategy<Value = MatchSpec> {
    let method =
        prop::option::of(prop::sample::select(vec!["GET", "POST"]).prop_map(str::to_owned));
    (any_path(), method, any_named(), any_named())
        .prop_map(|(path, method, headers, query)| MatchSpec { path, method, headers, query })
}

fn any_route() -> impl Strategy<Value = RouteSpec> {
    let hosts = vec!["a.c", "b.a.c", "*.c", "*.a.c", "*.b.a.c"];
    let hostnames =
        prop::collection::vec(prop::sample::select(hosts).prop_map(str::to_owned), 0..3);
    let rules =
        prop::collection::vec(prop::collection::vec(any_match(), 1..3).prop_map(rule), 1..4);
    (0_u64..3, prop::sample::select(vec!["n", "n-1"]), hostnames, rules).prop_map(
        |(created, namespace, hostnames, rules)| RouteSpec {
            namespace: namespace.to_owned(),
            hostnames,
            ..route("r", created, rules)
        },
    )
}

fn any_request() -> impl Strategy<Value = Call> {
    let pairs = || {
        let (name, value) =
            (prop::sample::select(vec!["x", "y"]), prop::sample::select(vec!["1", "2", "3"]));
        prop::collection::vec((name.prop_map(str::to_owned), value.prop_map(str::to_owned)), 0..4)
    };
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ""]), 0..4);
    let host = prop::sample::select(vec!["a.c", "b.a.c", "q.b.a.c", "c", "x"]);
    (prop::sample::select(vec!["GET", "POST"]), host, segments, pairs(), pairs()).prop_map(
        |(method, host, segments, headers, query)| Call {
            method: method.to_owned(),
            host: host.to_owned(),
            path: format!("/{}", segments.join("/")),
            query: query
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join("&"),
            headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            ..Call::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_table_answers_as_the_text_says(
        mut specs in prop::collection::vec(any_route(), 1..6),
        requests in prop::collection::vec(any_request(), 1..8),
    ) {
        for (index, spec) in specs.iter_mut().enumerate() {
            spec.name = format!("r{}", 9 - index);
        }
        let (table, problems) = Table::compile(Some(&gateway(&[("http", 80, None)])), &specs);
        prop_assert_eq!(problems, vec![]);
        for request in &requests {
            let expected = oracle::answer(&specs, request);
            prop_assert_eq!(
                answer(&table, 80, request), expected,
                "{} {}{}?{} {:?}", request.method, request.host, request.path, request.query, request.headers
            );
        }
    }
}
