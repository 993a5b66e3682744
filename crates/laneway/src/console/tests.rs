//! What the console answers, whether it was built in or not.

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let value = |text| HeaderValue::from_static(text);
    fields.iter().map(|(name, text)| (name.parse().unwrap(), value(text))).collect()
}

#[test]
fn what_is_somebody_elses_stays_theirs() {
    let page = headers(&[("accept", "text/html,*/*")]);
    for path in [
        "/api",
        "/api/",
        "/api/v1alpha1/lanes",
        "/api/v1alpha1/nothing",
        "/api/v2/lanes",
        "/healthz",
        "/readyz",
        "/metrics",
        "/log-level",
    ] {
        assert!(!is_asked_for(&Method::GET, path, &page), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        assert!(!is_asked_for(&method, "/lanes", &page), "{method}");
    }
}

#[test]
fn the_status_is_a_page_for_browsers_alone() {
    for (accept, is_page) in [
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", true),
        ("application/json", false),
        ("*/*", false),
    ] {
        let headers = headers(&[("accept", accept)]);
        assert_eq!(is_asked_for(&Method::GET, "/status", &headers), is_page, "{accept}");
    }
    assert!(!is_asked_for(&Method::GET, "/status", &HeaderMap::new()));
}

#[test]
fn pages_are_asked_for_by_any_address_that_is_nobodys() {
    let page = headers(&[("accept", "text/html")]);
    for path in ["/", "/lanes", "/lanes/api/v1", "/new/lane-group", "/apis", "/statuses"] {
        assert!(is_asked_for(&Method::GET, path, &page), "{path}");
        assert!(is_asked_for(&Method::HEAD, path, &page), "{path}");
        let answer = file(path, &page);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-cache", "{path}");
    }
}

#[test]
fn files_named_by_their_content_are_kept_and_others_are_not_there() {
    for file in FILES.iter().filter(|file| file.path.starts_with(ASSETS)) {
        let answer = super::file(file.path, &HeaderMap::new());
        assert!(
            answer.headers()[header::CACHE_CONTROL].to_str().unwrap().ends_with("immutable"),
            "{}",
            file.path
        );
    }
    if !FILES.is_empty() {
        assert_eq!(super::file("/assets/nothing.js", &HeaderMap::new()).status(), 404);
    }
}

#[test]
fn gzip_is_sent_to_whom_it_is_welcome() {
    for (accept, takes) in [
        ("gzip", true),
        ("br, GZIP;q=0.5", true),
        ("deflate, gzip ; q=1", true),
        ("gzip;q=0", false),
        ("identity", false),
        ("x-gzip-not", false),
    ] {
        assert_eq!(takes_gzip(&headers(&[("accept-encoding", accept)])), takes, "{accept}");
    }
    assert!(!takes_gzip(&HeaderMap::new()));
}
