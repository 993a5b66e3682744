//! Rewrites and redirects by the tables of the Gateway API's own documentation; filters that are refused.

use testkit::Call;

use super::*;
use crate::{
    Found, Table,
    spec::{PathSpec, RuleSpec},
    table::tests::{gateway, path_match, route, rule, sent},
};

fn table_of(rule: RuleSpec) -> (Table, Vec<String>) {
    let (table, problems) =
        Table::compile(Some(&gateway(&[("http", 80, None)])), &[route("r", 0, vec![rule])]);
    (table, problems.into_iter().map(|it| it.problem.field.into()).collect())
}

fn found<'t>(table: &'t Table, request: &Call) -> (&'t crate::Rule, usize) {
    match table.find(0, request) {
        Found::Rule { rule, matched_bytes } => (rule, matched_bytes),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_rewrite(path: &str, prefix: &str, rewrite: PathRewrite, expected: &str) {
    let mut spec = rule(vec![path_match(PathSpec::Prefix(prefix.to_owned()))]);
    spec.filters =
        vec![FilterSpec::Rewrite(RewriteSpec { hostname: None, path: Some(rewrite.clone()) })];
    let (table, problems) = table_of(spec);
    assert!(problems.is_empty(), "{problems:?}");
    let (rule, matched_bytes) = found(&table, &sent(&format!("GET x{path}")));
    let mut out = b"kept ".to_vec();
    rule.rewrite.as_ref().unwrap().write_path(path, matched_bytes, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!("kept {expected}"),
        "{path} {prefix} {rewrite:?}"
    );
}

#[test]
fn prefixes_are_replaced_as_the_gateway_api_tabulates() {
    for (path, prefix, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/bar", "/", "/xyz", "/xyz/bar"),
        ("/ratio/a", "/ratio", "/", "/a"),
    ] {
        check_rewrite(path, prefix, PathRewrite::Prefix(replacement.to_owned()), expected);
    }
}

#[test]
fn a_full_path_replaces_everything() {
    check_rewrite("/foo/bar", "/foo", PathRewrite::Full("/x".to_owned()), "/x");
    check_rewrite("/foo", "/", PathRewrite::Full("/x/y".to_owned()), "/x/y");
}

fn redirect() -> RedirectSpec {
    RedirectSpec { scheme: None, hostname: None, path: None, port: None, status: 302 }
}

#[track_caller]
fn check_redirect_to(redirect: RedirectSpec, listener: (&str, u16), expected: &str) {
    let mut spec = rule(vec![path_match(PathSpec::Prefix("/a".to_owned()))]);
    spec.backends.clear();
    spec.filters = vec![FilterSpec::Redirect(redirect)];
    let (table, problems) = table_of(spec);
    assert!(problems.is_empty(), "{problems:?}");
    let request = sent("GET shop.example.com/a/b?q=1");
    let (rule, matched_bytes) = found(&table, &request);
    let redirect = rule.redirect.as_ref().unwrap();
    let mut out = Vec::new();
    redirect.write_location(listener.0, listener.1, &request, matched_bytes, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected, "{redirect:?} {listener:?}");
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    let path = "shop.example.com/a/b?q=1";
    check_redirect_to(redirect(), ("http", 80), &format!("http://{path}"));
    check_redirect_to(redirect(), ("https", 443), &format!("https://{path}"));
    let hostname = Some("other.example.com".to_owned());
    check_redirect_to(
        RedirectSpec { hostname, ..redirect() },
        ("http", 80),
        "http://other.example.com/a/b?q=1",
    );
    let replaced = Some(PathRewrite::Prefix("/new".to_owned()));
    check_redirect_to(
        RedirectSpec { path: replaced, ..redirect() },
        ("http", 80),
        "http://shop.example.com/new/b?q=1",
    );
    let full = Some(PathRewrite::Full("/new".to_owned()));
    check_redirect_to(
        RedirectSpec { path: full, ..redirect() },
        ("http", 80),
        "http://shop.example.com/new?q=1",
    );
}

#[test]
fn the_port_of_a_redirect_is_the_filters_then_the_schemes_then_the_listeners() {
    let host = "shop.example.com";
    let with = |scheme: Option<&str>, port| RedirectSpec {
        scheme: scheme.map(str::to_owned),
        port,
        ..redirect()
    };
    for (spec, listener, expected) in [
        (with(None, None), ("http", 8080), format!("http://{host}:8080")),
        (with(None, None), ("https", 8443), format!("https://{host}:8443")),
        (with(None, None), ("http", 443), format!("http://{host}:443")),
        (with(Some("https"), None), ("http", 8080), format!("https://{host}")),
        (with(Some("http"), None), ("https", 8443), format!("http://{host}")),
        (with(Some("https"), Some(8443)), ("http", 80), format!("https://{host}:8443")),
        (with(Some("https"), Some(443)), ("http", 80), format!("https://{host}")),
        (with(Some("http"), Some(443)), ("http", 80), format!("http://{host}:443")),
        (with(None, Some(80)), ("http", 8080), format!("http://{host}")),
        (with(None, Some(80)), ("https", 8443), format!("https://{host}:80")),
        (with(None, Some(65535)), ("http", 80), format!("http://{host}:65535")),
    ] {
        check_redirect_to(spec, listener, &format!("{expected}/a/b?q=1"));
    }
}

#[track_caller]
fn check_refused(filters: Vec<FilterSpec>, expected: &[&str]) {
    let mut spec = rule(vec![path_match(PathSpec::Exact("/a".to_owned()))]);
    spec.filters = filters;
    let (table, problems) = table_of(spec);
    let expected: Vec<_> = expected.iter().map(|field| format!("spec.rules[0].{field}")).collect();
    assert_eq!(problems, expected);
    // The rule keeps its place and answers 500: nobody is served unfiltered.
    let (rule, _) = found(&table, &sent("GET x/a"));
    assert!(rule.backend(1).unwrap().service.is_err());
    assert!(rule.redirect.is_none());
}

#[test]
fn filters_that_cannot_be_honoured_are_refused_by_name() {
    let edits = |set: &[(&str, &str)], remove: &[&str]| HeaderEdits {
        set: set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        add: Vec::new(),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    };
    check_refused(
        vec![FilterSpec::RequestHeaders(edits(&[("Host", "a")], &["x y", "Upgrade"]))],
        &[
            "filters[0].requestHeaderModifier.set[0].name",
            "filters[0].requestHeaderModifier.remove[0]",
            "filters[0].requestHeaderModifier.remove[1]",
        ],
    );
    check_refused(
        vec![FilterSpec::ResponseHeaders(edits(&[("x", "a\r\nb: c")], &["X"]))],
        &[
            "filters[0].responseHeaderModifier.set[0].value",
            "filters[0].responseHeaderModifier.remove[0]",
        ],
    );
    let twice = FilterSpec::RequestHeaders(HeaderEdits::default());
    check_refused(vec![twice.clone(), twice], &["filters[1].requestHeaderModifier"]);
    let rewrite = RewriteSpec {
        hostname: Some("*.a.com".to_owned()),
        path: Some(PathRewrite::Prefix("/x".to_owned())),
    };
    check_refused(
        vec![FilterSpec::Rewrite(rewrite)],
        &["filters[0].urlRewrite.hostname", "filters[0].urlRewrite.path.replacePrefixMatch"],
    );
    let bad = RedirectSpec {
        scheme: Some("ftp".to_owned()),
        port: Some(0),
        status: 200,
        path: Some(PathRewrite::Full("x".to_owned())),
        ..redirect()
    };
    check_refused(
        vec![FilterSpec::Redirect(bad)],
        &[
            "filters[0].requestRedirect.scheme",
            "filters[0].requestRedirect.port",
            "filters[0].requestRedirect.statusCode",
            "filters[0].requestRedirect.path.replaceFullPath",
            "filters",
        ],
    );
}

#[test]
fn a_backend_with_a_bad_filter_fails_its_own_share_only() {
    let mut spec = rule(Vec::new());
    spec.backends.push(spec.backends[0].clone());
    spec.backends[1].filters = vec![FilterSpec::Redirect(redirect())];
    let (table, problems) = table_of(spec);
    assert_eq!(problems, ["spec.rules[0].backendRefs[1].filters"]);
    let (rule, _) = found(&table, &sent("GET x/"));
    assert!(rule.backend(0).unwrap().service.is_ok());
    assert!(rule.backend(1).unwrap().service.is_err());
}
