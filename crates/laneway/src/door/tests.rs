//! Who comes in: by host, by origin, by token. Whose process asks is tested with real sockets and users.

use std::{fs, time::Duration};

use axum::http::{HeaderName, HeaderValue};

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn door(callers: Callers) -> Door {
    let hosts = ["laneway.example"].map(|host| Host::parse(host).unwrap()).to_vec();
    Door::new(hosts, callers, &Metrics::new())
}

fn token() -> Token {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token"), TOKEN).unwrap();
    Token::read(&directory.path().join("token")).unwrap()
}

/// A request of another machine, which reached this one at 10.0.0.1; the status it is refused with.
fn judged(door: &Door, target: &str, fields: &[(&str, &str)]) -> Option<u16> {
    let connection = Connection {
        peer: "10.0.0.9:4000".parse().unwrap(),
        local: Some("10.0.0.1:7600".parse().unwrap()),
        owner: Arc::default(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let judged =
        runtime.block_on(door.judge(&connection, &Method::GET, &target.parse().unwrap(), &headers));
    judged.err().map(|refusal| refusal.into_response().status().as_u16())
}

#[test]
fn only_hosts_of_this_process_are_answered() {
    let door = door(Callers::Anybody);
    for host in [
        "localhost:7600",
        "LocalHost.",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]:7600",
        "10.0.0.1:7600",
        "10.0.0.1",
        "Laneway.Example",
        "laneway.example.:443",
    ] {
        assert_eq!(judged(&door, "/status", &[("host", host)]), None, "{host}");
    }
    for host in [
        "evil.example:7600",
        "evil.example",
        "10.0.0.2:7600",
        "0.0.0.0:7600",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlaneway.example",
        "127.1",
        "[::]:7600",
    ] {
        for path in ["/status", "/healthz", "/metrics", "/api/v1alpha1/openapi.json", "/nowhere"] {
            assert_eq!(judged(&door, path, &[("host", host)]), Some(421), "{host} {path}");
        }
    }
    for host in [
        "",
        "a b",
        "evil@localhost",
        "localhost:99999",
        "localhost,evil.example",
        "lo\u{e9}calhost",
    ] {
        assert_eq!(judged(&door, "/status", &[("host", host)]), Some(400), "{host}");
    }
    assert_eq!(judged(&door, "/status", &[]), Some(400));
    assert_eq!(judged(&door, "/readyz", &[]), None, "probes of HTTP/1.0 name no host");
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(judged(&door, "/status", &twice), Some(400));
}

#[test]
fn whose_process_asks_is_told_by_no_connection_that_a_proxy_may_have_opened() {
    let told = |peer: &str| tells_whose_it_is(peer.parse().unwrap());
    assert!(told("127.0.0.1") && told("127.30.0.1"));
    for not in ["127.200.76.1", "127.200.76.254", "::1", "10.0.0.1", "0.0.0.0"] {
        assert!(!told(not), "{not}");
    }
}

#[test]
fn a_target_that_names_a_host_is_looked_at_too() {
    let door = door(Callers::Anybody);
    let local = [("host", "localhost:7600")];
    assert_eq!(judged(&door, "http://localhost:7600/status", &local), None);
    assert_eq!(judged(&door, "http://evil.example/status", &local), Some(421));
    assert_eq!(judged(&door, "http://evil.example/status", &[]), Some(421));
    assert_eq!(judged(&door, "http://localhost/status", &[("host", "evil.example")]), Some(421));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let door = door(Callers::Anybody);
    let with = |name: &str, value: &str| {
        judged(&door, "/status", &[("host", "127.0.0.1:7600"), (name, value)])
    };
    assert_eq!(with("origin", "http://127.0.0.1:7600"), None);
    assert_eq!(with("sec-fetch-site", "same-origin"), None);
    assert_eq!(with("sec-fetch-site", "none"), None);
    for origin in [
        "http://evil.example",
        "http://evil.example:7600",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:3000",
        "http://localhost:7600",
        "file://",
        "http://127.0.0.1:7600.evil.example",
    ] {
        assert_eq!(with("origin", origin), Some(403), "{origin}");
    }
    assert_eq!(with("sec-fetch-site", "cross-site"), Some(403));
    assert_eq!(with("sec-fetch-site", "same-site"), Some(403));
}

#[test]
fn who_shows_no_token_sees_only_what_is_for_everybody() {
    let known = door(Callers::Known(Some(token())));
    let host = ("host", "10.0.0.1:7600");
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1alpha1/openapi.json"] {
        assert_eq!(judged(&known, path, &[host]), None, "{path}");
    }
    let shown = format!("Bearer {TOKEN}");
    for path in
        ["/status", "/log-level", "/api/v1alpha1/lanes", "/metrics/", "//metrics", "/nowhere"]
    {
        assert_eq!(judged(&known, path, &[host]), Some(401), "{path}");
        assert_eq!(judged(&known, path, &[host, ("authorization", "Bearer guessed")]), Some(401));
        assert_eq!(judged(&known, path, &[host, ("authorization", &shown)]), None, "{path}");
    }
    assert_eq!(judged(&door(Callers::Known(None)), "/status", &[host]), Some(401));
}

#[test]
fn the_consoles_files_are_for_everybody_and_what_they_show_is_not() {
    let known = || Callers::Known(Some(token()));
    let page = [("host", "10.0.0.1:7600"), ("accept", "text/html")];
    let (console, other) = (door(known()).of_console(), door(known()));
    for path in ["/", "/status"] {
        assert_eq!(judged(&console, path, &page), None, "{path}");
        assert_eq!(judged(&other, path, &page), Some(401), "{path}");
    }
    let program = [("host", "10.0.0.1:7600"), ("accept", "application/json")];
    for path in ["/status", "/log-level", "/api/v1alpha1/lanes", "/api/v1alpha1/status"] {
        assert_eq!(judged(&console, path, &program), Some(401), "{path}");
    }
    for path in ["/api/v1alpha1/lanes", "/log-level"] {
        assert_eq!(judged(&console, path, &page), Some(401), "{path}");
    }
    let foreign = [("host", "evil.example"), ("accept", "text/html")];
    assert_eq!(judged(&console, "/", &foreign), Some(421));
    let linked = [("host", "10.0.0.1:7600"), ("origin", "http://evil.example")];
    assert_eq!(judged(&console, "/", &linked), Some(403));
}

#[test]
fn a_link_on_another_page_opens_the_console_and_nothing_else() {
    let door = door(Callers::Anybody).of_console();
    let from_elsewhere = |path: &str, accept: &str, mode: &str| {
        let fields = [
            ("host", "10.0.0.1:7600"),
            ("accept", accept),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", mode),
        ];
        judged(&door, path, &fields)
    };
    for path in ["/", "/status"] {
        assert_eq!(from_elsewhere(path, "text/html", "navigate"), None, "{path}");
        for mode in ["no-cors", "cors", "same-origin", "websocket"] {
            assert_eq!(from_elsewhere(path, "text/html", mode), Some(403), "{path} {mode}");
        }
    }
    for path in ["/api/v1alpha1/lanes", "/log-level", "/metrics"] {
        assert_eq!(from_elsewhere(path, "text/html", "navigate"), Some(403), "{path}");
    }
    assert_eq!(from_elsewhere("/status", "application/json", "navigate"), Some(403));
}

/// A control plane with a user, and what that user shows: a session's cookie of `localhost:7600`.
async fn signed_in(directory: &std::path::Path) -> (Arc<Control>, String) {
    let control = Control::open(control::Settings {
        database: directory.join("laneway.db"),
        gateway_port: 8000,
        join_token: None,
        certificate_life: Duration::from_secs(600),
        key_file: None,
        prometheus: None,
        own_listeners: Vec::new(),
        whose,
    });
    let control = control.await.unwrap();
    control.make_first_user(Some("correct horse battery".to_owned())).await.unwrap();
    let arrival =
        Arrival { address: [10, 0, 0, 9].into(), authority: Some("localhost:7600".to_owned()) };
    let request = Request::post(format!("{PREFIX}/sign-in"))
        .header(header::CONTENT_TYPE, "application/json")
        .extension(arrival)
        .body(axum::body::Body::from(r#"{"user": "admin", "password": "correct horse battery"}"#))
        .unwrap();
    let service = hyper_util::service::TowerToHyperService::new(control.rest());
    let answer = hyper::service::Service::call(&service, request).await.unwrap();
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    (control, cookie.split(';').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_session_ended_is_taken_for_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (control, cookie) = signed_in(directory.path()).await;
    let door = door(Callers::Known(Some(token()))).of_api(Arc::clone(&control));
    // Of this user's own process: without a cookie it is known by that.
    let owner = Arc::new(OnceCell::new_with(Some(Some(rustix::process::geteuid().as_raw()))));
    let local = "127.0.0.1:7600".parse().unwrap();
    let connection =
        Connection { peer: "127.0.0.1:4000".parse().unwrap(), local: Some(local), owner };
    let judged = async |method: Method, path: &str, fields: &[(&str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in [&[("host", "localhost:7600")], fields].concat() {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let uri = path.parse().unwrap();
        match door.judge(&connection, &method, &uri, &headers).await {
            Ok(entered) => Ok(entered.caller.is_some_and(|caller| caller.is_session())),
            Err(refusal) => {
                let answer = refusal.into_response();
                let forgets = answer.headers().contains_key(header::SET_COOKIE);
                Err((answer.status().as_u16(), forgets))
            }
        }
    };
    let lanes = "/api/v1alpha1/lanes";
    let session = ("cookie", cookie.as_str());
    let origin = ("origin", "http://localhost:7600");
    assert_eq!(judged(Method::GET, lanes, &[]).await, Ok(false), "the machine's user");
    assert_eq!(judged(Method::GET, lanes, &[session]).await, Ok(true));
    assert_eq!(judged(Method::PUT, "/log-level", &[session, origin]).await, Ok(true));
    assert_eq!(judged(Method::PUT, "/log-level", &[session]).await, Err((403, false)));
    let guessed = ("authorization", "Bearer guessed");
    assert_eq!(judged(Method::GET, lanes, &[session, guessed]).await, Err((401, false)));
    let shown = cookie.split_once('=').unwrap().1.to_owned();
    let ended = ("cookie", "laneway_session_7600=laneway_api_000000000000_0");
    assert!(control.caller(&shown, Some("localhost:7600")).is_some());
    assert_eq!(judged(Method::GET, lanes, &[ended]).await, Err((401, true)));
    let elsewhere = ("cookie", "laneway_session_7700=laneway_api_000000000000_0");
    assert_eq!(judged(Method::GET, lanes, &[elsewhere]).await, Ok(false), "of another port");
}
