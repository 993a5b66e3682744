//! Users, sessions and tokens of the API: who may ask what, and what is told of it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use api::rest::{Grant, Role};
use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use control::{Arrival, Caller, Control, Shown, shown_by};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Plane, call, call_with, group, lane};

const PREFIX: &str = "/api/v1alpha1";
const PASSWORD: &str = "correct horse battery";

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn text(&self, pointer: &str) -> String {
        let text = self.body.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer} in {self:?}")).to_owned()
    }

    fn cookie(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        line.unwrap().split(';').next().unwrap().to_owned()
    }
}

/// Lets in whoever shows something, as the binary's door does.
async fn enter(State(control): State<Arc<Control>>, mut request: Request, next: Next) -> Response {
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let shown = match shown_by(request.headers(), Some(&host)) {
        Some(Shown::Bearer(text) | Shown::Cookie(text)) => control.caller(text, Some(&host)),
        None => None,
    };
    shown.map(|caller| request.extensions_mut().insert(caller));
    let arrival = Arrival { address: [127, 0, 0, 1].into(), authority: Some(host) };
    request.extensions_mut().insert(arrival);
    next.run(request).await
}

/// Where the API answers whoever shows something.
async fn serve(plane: &Plane) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entered = middleware::from_fn_with_state(Arc::clone(&plane.control), enter);
    let router = plane.control.rest().layer(entered);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Asks as whoever has these fields.
async fn ask(to: SocketAddr, method: &str, path: &str, fields: &[String], body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let kind = if method == "PATCH" { "merge-patch+json" } else { "json" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!(
        "{method} {PREFIX}{path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-type: application/{kind}\r\ncontent-length: {}\r\n{fields}\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Answer { status, head: head.to_owned(), body }
}

fn bearer(token: &str) -> Vec<String> {
    vec![format!("authorization: Bearer {token}")]
}

/// As a page of the console asks.
fn page(to: SocketAddr, cookie: &str) -> Vec<String> {
    vec![format!("cookie: {cookie}"), format!("origin: http://{to}")]
}

/// A token of a user with these grants, who has a password of his own.
async fn token_of(plane: &Plane, to: SocketAddr, name: &str, grants: &[Grant]) -> String {
    let request = json!({"name": name, "grants": grants});
    let admin = plane.rest().await;
    let (status, made) =
        call(admin, "POST", &format!("{PREFIX}/users"), &request.to_string()).await;
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let password = made["oneTimePassword"].as_str().unwrap();
    let wanted = json!({"user": name, "password": password, "tokenName": "test"});
    let token = ask(to, "POST", "/sign-in", &[], &wanted).await.text("/secret");
    let change = json!({"current": password, "new": PASSWORD});
    assert_eq!(ask(to, "POST", "/password", &bearer(&token), &change).await.status, 204);
    token
}

fn grant(role: Role, namespace: &str) -> Grant {
    Grant { role, namespace: namespace.to_owned() }
}

/// Something that asks a path of an endpoint: what is in braces is of namespace `shop`.
fn concrete(path: &str) -> String {
    let of = path.strip_prefix(PREFIX).unwrap_or(path);
    [("{namespace}", "shop"), ("{plural}", "lanes"), ("{name}", "nobody"), ("{id}", "nobody")]
        .iter()
        .fold(of.to_owned(), |path, (hole, filled)| path.replace(hole, filled))
        .replace("{number}", "999999")
}

/// What each endpoint takes, once more: who in `shop` is not refused, of these callers in this order.
/// `v` viewer, `o` operator, `a` admin in `shop`; `x` admin elsewhere; `A` admin everywhere.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("POST", "/sign-in", "voaxA"),
    ("GET", "/session", "voaxA"),
    ("POST", "/password", "voaxA"),
    ("POST", "/apply", "oaA"),
    ("POST", "/delete", "oaA"),
    ("POST", "/check", "voaA"),
    ("POST", "/explain", "voaxA"),
    ("GET", "/status", "voaxA"),
    ("GET", "/instances", "voaxA"),
    ("GET", "/services", "voaxA"),
    ("GET", "/events", "voaxA"),
    ("GET", "/statistics/series", "voaxA"),
    ("GET", "/statistics/top", "voaxA"),
    ("GET", "/statistics/share", "voaxA"),
    ("GET", "/statistics/compare", "voaxA"),
    ("GET", "/statistics/calls", "voaxA"),
    ("GET", "/statistics/verdict", "voaxA"),
    // Of which group it is must be said first: who may in its namespace is looked at by a test of its own.
    ("GET", "/tap", "oaxA"),
    ("GET", "/tokens", "axA"),
    ("POST", "/tokens", "aA"),
    ("DELETE", "/tokens/{id}", "axA"),
    ("GET", "/authorities", "voaxA"),
    ("POST", "/authorities", "A"),
    ("GET", "/users", "A"),
    ("POST", "/users", "A"),
    ("DELETE", "/users/{name}", "A"),
    ("PUT", "/users/{name}/grants", "A"),
    ("POST", "/users/{name}/password", "A"),
    ("GET", "/api-tokens", "voaxA"),
    ("POST", "/api-tokens", "oaA"),
    ("DELETE", "/api-tokens/{id}", "voaxA"),
    ("GET", "/promotions", "voaxA"),
    ("GET", "/promotions/{namespace}/{name}", "voaA"),
    ("POST", "/promotions/{namespace}/{name}", "oaA"),
    ("POST", "/promotions/{namespace}/{name}/next", "oaA"),
    ("POST", "/promotions/{namespace}/{name}/abandon", "oaA"),
    ("GET", "/audit", "voaxA"),
    ("GET", "/audit/{number}", "voaxA"),
    ("POST", "/audit/{number}/undo", "voaxA"),
    ("GET", "/{plural}", "voaxA"),
    ("POST", "/{plural}", "oaA"),
    ("GET", "/namespaces/{namespace}/{plural}", "voaA"),
    ("POST", "/namespaces/{namespace}/{plural}", "oaA"),
    ("GET", "/namespaces/{namespace}/{plural}/{name}", "voaA"),
    ("PUT", "/namespaces/{namespace}/{plural}/{name}", "oaA"),
    ("PATCH", "/namespaces/{namespace}/{plural}/{name}", "oaA"),
    ("DELETE", "/namespaces/{namespace}/{plural}/{name}", "oaA"),
    // The last: it ends the token.
    ("POST", "/sign-out", "voaxA"),
];

/// What is sent: about an object of `shop` that cannot be written anyway.
fn body_for(method: &str, path: &str) -> Value {
    let object = json!({"apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": "nobody", "namespace": "shop"},
        "spec": {"group": "none", "tag": "gray", "entry": {"ratio": {"percent": 5}}}});
    match (method, path) {
        ("POST", "/apply" | "/check") => json!({"objects": [object]}),
        ("POST", "/delete") => {
            json!({"objects": [{"kind": "Lane", "namespace": "shop", "name": "nobody"}]})
        }
        ("POST", "/tokens") => json!({"application": "a/b", "namespace": "shop"}),
        ("POST", "/api-tokens") => {
            json!({"name": "t", "grant": {"role": "operator", "namespace": "shop"}, "days": 1})
        }
        ("POST" | "PUT", path) if path.contains("{plural}") => object,
        ("GET" | "DELETE", _) => Value::Null,
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_who_may_not_in_every_role_and_namespace() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let document: Value = serde_json::from_str(&control::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let there: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let path = path.strip_prefix(PREFIX).unwrap().to_owned();
            methods.as_object().unwrap().keys().map(move |it| (it.to_uppercase(), path.clone()))
        })
        .collect();
    let listed = |it: &(&str, &str, &str)| (it.0.to_owned(), it.1.to_owned());
    assert_eq!(there, ALLOWED.iter().map(listed).collect(), "an endpoint is not in the table");
    let callers = [
        ('v', grant(Role::Viewer, "shop")),
        ('o', grant(Role::Operator, "shop")),
        ('a', grant(Role::Admin, "shop")),
        ('x', grant(Role::Admin, "other")),
        ('A', grant(Role::Admin, "*")),
    ];
    for (letter, granted) in callers {
        let name = format!("user-{}", u32::from(letter));
        let token = token_of(&plane, to, &name, std::slice::from_ref(&granted)).await;
        for (method, path, allowed) in ALLOWED {
            let body = body_for(method, path);
            let nobody = ask(to, method, &concrete(path), &[], &body).await;
            let is_open = *path == "/sign-in";
            assert_eq!(nobody.status == 401, !is_open, "{method} {path}: {nobody:?}");
            let answer = ask(to, method, &concrete(path), &bearer(&token), &body).await;
            let is_refused = answer.status == 403 && answer.body["title"] == "not allowed";
            assert_eq!(
                is_refused,
                !allowed.contains(letter),
                "{method} {path} as {granted}: {answer:?}"
            );
            assert!(answer.status < 500 && answer.status != 401, "{method} {path}: {answer:?}");
        }
        let ended = ask(to, "GET", "/session", &bearer(&token), &Value::Null).await;
        assert_eq!(ended.status, 401, "it signed out");
    }
}

/// Something of `shop` that is there, made anew before each question: whoever may end it ends it.
async fn made(plane: &Plane, what: &str) -> String {
    let rest = plane.rest().await;
    let make = async |path: &str, body: Value, pointer: &str| {
        let (status, answer) =
            call(rest, "POST", &format!("{PREFIX}{path}"), &body.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        let made: Value = serde_json::from_str(&answer).unwrap();
        made.pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
    };
    match what {
        "join token" => {
            let id =
                make("/tokens", json!({"application": "app-a", "namespace": "shop"}), "/token/id");
            format!("/tokens/{}", id.await)
        }
        "api token" => {
            let grant = json!({"role": "viewer", "namespace": "shop"});
            let id = make("/api-tokens", json!({"name": "m", "grant": grant}), "/token/id");
            format!("/api-tokens/{}", id.await)
        }
        // An entry of the audit of an object, and its undoing.
        _ => {
            let path = format!("{PREFIX}/namespaces/shop/lanegroups/trade");
            let kind = "application/merge-patch+json";
            let applications = ["a", "b"].map(|it| json!({"spec": {"applications": [it]}}));
            for patch in applications {
                let (status, answer) =
                    call_with(rest, "PATCH", &path, kind, &patch.to_string()).await;
                assert_eq!(status, 200, "{answer}");
            }
            let latest = format!("{PREFIX}/audit?namespace=shop&limit=1");
            let (_, entries) = call(rest, "GET", &latest, "").await;
            let entries: Value = serde_json::from_str(&entries).unwrap();
            format!("/audit/{}", entries[0]["number"])
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_told_and_ended_by_whoever_may_alone() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let mut trade = group("trade", &["a"]);
    trade["metadata"]["namespace"] = "shop".into();
    plane.apply(&[trade]).await.unwrap();
    let callers = [
        grant(Role::Viewer, "shop"),
        grant(Role::Operator, "shop"),
        grant(Role::Admin, "shop"),
        grant(Role::Admin, "other"),
        grant(Role::Viewer, "*"),
    ];
    for (at, granted) in callers.into_iter().enumerate() {
        let name = format!("user-{at}");
        let token = bearer(&token_of(&plane, to, &name, std::slice::from_ref(&granted)).await);
        // Method, what is asked, what is behind it, and the status for each of them.
        for (what, method, then, body, statuses) in [
            ("join token", "DELETE", "", Value::Null, [403, 403, 204, 403, 403]),
            // Of another's nobody is told but who sees all: it is the machine's.
            ("api token", "DELETE", "", Value::Null, [404, 404, 404, 404, 404]),
            ("entry", "GET", "", Value::Null, [200, 200, 200, 404, 200]),
            ("entry", "POST", "/undo", json!({}), [403, 200, 200, 404, 403]),
            ("entry", "POST", "/undo", json!({"dryRun": true}), [200, 200, 200, 404, 200]),
        ] {
            let path = made(&plane, what).await;
            let answer = ask(to, method, &format!("{path}{then}"), &token, &body).await;
            let expected = statuses[at];
            assert_eq!(answer.status, expected, "{method} {what}{then} as {granted}: {answer:?}");
            if expected >= 400 {
                let there = made_is_there(&plane, &path).await;
                assert!(there, "{method} {what} as {granted} was refused, and it is gone");
            }
        }
    }
    // Whoever may do everything ends what is another's.
    for what in ["join token", "api token"] {
        let path = made(&plane, what).await;
        let ended = call(plane.rest().await, "DELETE", &format!("{PREFIX}{path}"), "").await;
        assert_eq!(ended.0, 204, "{ended:?}");
        assert!(!made_is_there(&plane, &path).await, "{what}");
    }
}

/// Whether the list of what a path is of has it.
async fn made_is_there(plane: &Plane, path: &str) -> bool {
    let (list, id) = path[1..].split_once('/').unwrap();
    let rest = plane.rest().await;
    let (_, told) = call(rest, "GET", &format!("{PREFIX}/{list}"), "").await;
    let told: Vec<Value> = serde_json::from_str(&told).unwrap();
    told.iter().any(|it| {
        it["id"] == id || it["number"].as_u64().is_some_and(|number| id.parse() == Ok(number))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_none_of_its_kind_is_said_to_be_none() {
    let plane = Plane::start().await;
    let rest = plane.rest().await;
    for (path, words) in [
        ("/namespaces/a%2Fb/lanes", "namespace: `a/b`: use lower-case letters"),
        ("/namespaces/Shop/lanes/x", "namespace: `Shop`: use lower-case letters"),
        ("/promotions/a%2Fb/x", "namespace: `a/b`: use lower-case letters"),
        ("/audit/abc", "`abc`: use the number of an entry"),
        ("/audit/-1", "`-1`: use the number of an entry"),
        ("/events?limit=-1", "`limit` is none of its parameters: use after"),
    ] {
        let (status, answer) = call(rest, "GET", &format!("{PREFIX}{path}"), "").await;
        assert!(status == 400 && answer.contains(words), "{path}: {status} {answer}");
    }
    let (status, _) = call(rest, "GET", &format!("{PREFIX}/audit/99999999999999999999"), "").await;
    assert_eq!(status, 404, "a number that is too large is one of no entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_chooses_a_password_and_is_known_until_it_signs_out() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let once = plane.control.make_first_user(None).await.unwrap().unwrap();
    let wrong = json!({"user": "admin", "password": "guessed"});
    let nobody = json!({"user": "nobody", "password": "guessed"});
    let [wrong, nobody] = [
        ask(to, "POST", "/sign-in", &[], &wrong).await,
        ask(to, "POST", "/sign-in", &[], &nobody).await,
    ];
    assert_eq!(
        (wrong.status, &wrong.body),
        (403, &nobody.body),
        "whether there is one is not told"
    );

    let entered =
        ask(to, "POST", "/sign-in", &[], &json!({"user": "admin", "password": once})).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    assert!(entered.head.contains("; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"));
    assert!(
        entered.body["secret"].is_null() && entered.body["session"]["mustChangePassword"] == true
    );
    let cookie = entered.cookie();
    assert!(cookie.starts_with(&format!("laneway_session_{}=", to.port())), "{cookie}");

    // A one-time password is good for choosing another alone.
    let lanes = ask(to, "GET", "/lanes", &page(to, &cookie), &Value::Null).await;
    assert_eq!((lanes.status, lanes.text("/title").as_str()), (403, "password must be changed"));
    let change = |current: &str, new: &str| json!({"current": current, "new": new});
    for (body, status) in [
        (change("guessed", PASSWORD), 403),
        (change(&once, "short"), 422),
        (change(&once, &once), 422),
        (change(&once, PASSWORD), 204),
    ] {
        let answer = ask(to, "POST", "/password", &page(to, &cookie), &body).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
    }
    let session = ask(to, "GET", "/session", &page(to, &cookie), &Value::Null).await;
    assert_eq!(session.text("/author/name"), "admin");
    let lanes = ask(to, "GET", "/lanes", &page(to, &cookie), &Value::Null).await;
    assert_eq!(lanes.status, 200);

    // A change that no page of ours asked for is none.
    let request = json!({"name": "bob", "grants": [{"role": "viewer"}]});
    let bare = ask(to, "POST", "/users", &[format!("cookie: {cookie}")], &request).await;
    assert_eq!((bare.status, bare.text("/title").as_str()), (403, "no origin"));
    assert_eq!(ask(to, "POST", "/users", &page(to, &cookie), &request).await.status, 201);

    // It is known after a restart, and not at another port of the same host.
    let plane = plane.restart().await;
    let again = serve(&plane).await;
    let moved = cookie.replace(&to.port().to_string(), &again.port().to_string());
    let elsewhere = ask(again, "GET", "/session", &page(again, &moved), &Value::Null).await;
    assert_eq!(elsewhere.status, 401);
    assert!(
        plane.control.caller(cookie.split_once('=').unwrap().1, Some(&to.to_string())).is_some()
    );

    let entered =
        ask(again, "POST", "/sign-in", &[], &json!({"user": "admin", "password": PASSWORD})).await;
    let cookie = entered.cookie();
    let out = ask(again, "POST", "/sign-out", &page(again, &cookie), &Value::Null).await;
    assert_eq!(out.status, 204);
    assert!(out.head.contains("Max-Age=0"), "{}", out.head);
    let ended = ask(again, "GET", "/session", &page(again, &cookie), &Value::Null).await;
    assert_eq!(ended.status, 401);

    // Behind TLS the cookie is one that nobody else of the host can set, and forgotten as such.
    let over_tls = [format!("origin: https://{again}")];
    let good = json!({"user": "admin", "password": PASSWORD});
    let entered = ask(again, "POST", "/sign-in", &over_tls, &good).await;
    let cookie = entered.cookie();
    assert!(cookie.starts_with(&format!("__Host-laneway_session_{}=", again.port())), "{cookie}");
    assert!(entered.head.contains("Max-Age=604800; Secure"), "{}", entered.head);
    let fields = [over_tls[0].clone(), format!("cookie: {cookie}")];
    assert_eq!(ask(again, "GET", "/session", &fields, &Value::Null).await.status, 200);
    let out = ask(again, "POST", "/sign-out", &fields, &Value::Null).await;
    let forgotten = format!("set-cookie: __Host-laneway_session_{}=;", again.port());
    assert!(out.head.contains(&forgotten), "{}", out.head);
}

/// Entries of the audit that an admin sees, as `action about`, once there are so many, the oldest first.
async fn audited(plane: &Plane, count: usize) -> Vec<Value> {
    let rest = plane.rest().await;
    let asking = async {
        loop {
            let (_, told) = call(rest, "GET", &format!("{PREFIX}/audit?limit=200"), "").await;
            let entries: Vec<Value> = serde_json::from_str(&told).unwrap();
            if entries.len() >= count {
                return entries.into_iter().rev().collect();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, asking).await.expect("entries are missing")
}

fn told(entry: &Value) -> String {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // What is in brackets is another each time.
    let about = text("/about").split(" (").next().unwrap_or_default();
    format!("{} {} {about}", text("/author/name"), text("/action"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_who_signed_in_and_out_and_who_was_not_let_in() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    plane.control.make_first_user(Some(PASSWORD.to_owned())).await.unwrap();
    let guess = |user: &str, password: &str| json!({"user": user, "password": password});
    // Guesses come in thousands: each must not be an entry.
    for (user, password) in
        [("admin", "one"), ("admin", "two"), ("admin", "three"), ("mallory", "x"), ("A b", "y")]
    {
        let refused = ask(to, "POST", "/sign-in", &[], &guess(user, password)).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let entered = ask(to, "POST", "/sign-in", &[], &guess("admin", PASSWORD)).await;
    let mut login = guess("admin", PASSWORD);
    login["tokenName"] = "ci".into();
    let login = ask(to, "POST", "/sign-in", &[], &login).await.text("/secret");
    let cookie = entered.cookie();
    let out = ask(to, "POST", "/sign-out", &page(to, &cookie), &Value::Null).await;
    assert_eq!(out.status, 204);
    assert_eq!(ask(to, "POST", "/sign-out", &bearer(&login), &json!({})).await.status, 204);
    let entries = audited(&plane, 7).await;
    let mut kinds: Vec<String> = entries.iter().map(told).collect();
    kinds.sort();
    let expected = [
        "admin created session of admin",
        "admin created token ci",
        "admin deleted session of admin",
        "anybody refused sign-in as admin",
        "anybody refused sign-in as nobody there is",
        "ci of admin deleted token ci",
        "control plane created user admin",
    ];
    assert_eq!(kinds, expected, "what is no user's name may be a password");
    let of = |what: &str| entries.iter().find(|it| told(it).contains(what)).unwrap();
    let address = json!({"field": "address", "after": "127.0.0.1"});
    for what in ["created session", "refused sign-in as admin"] {
        assert!(of(what)["changes"].as_array().unwrap().contains(&address), "{what}");
    }

    // Who signed in from where is not everybody's to see; a restart loses no count.
    let viewer = token_of(&plane, to, "vic", &[grant(Role::Viewer, "*")]).await;
    let seen = ask(to, "GET", "/audit?limit=200", &bearer(&viewer), &Value::Null).await;
    let seen: Vec<String> = seen.body.as_array().unwrap().iter().map(told).collect();
    assert!(seen.iter().all(|it| it.contains(" user ")), "{seen:?}");
    let number = of("created session")["number"].as_u64().unwrap();
    let one = format!("/audit/{number}");
    assert_eq!(ask(to, "GET", &one, &bearer(&viewer), &Value::Null).await.status, 404);
    plane.control.stop().await;
    let plane = plane.restart().await;
    let entries = audited(&plane, 1).await;
    let counted = json!({"field": "attempts", "after": 2});
    let is_rest = |it: &&Value| {
        told(it) == "anybody refused sign-in as admin"
            && it["changes"].as_array().unwrap().contains(&counted)
    };
    assert_eq!(entries.iter().filter(is_rest).count(), 1, "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_one_who_guesses_is_told_how_long() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        let guess = json!({"user": "admin", "password": "guessed"});
        answers.push(ask(to, "POST", "/sign-in", &[], &guess).await);
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[..10], [403; 10]);
    assert_eq!(statuses[11], 429, "{statuses:?}");
    assert!(answers[11].head.contains("retry-after: "), "{}", answers[11].head);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_is_in_his_namespaces_alone() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let of = |namespace: &str| {
        let mut object = group("trade", &["spring-cloud-a"]);
        object["metadata"]["namespace"] = namespace.into();
        object
    };
    plane.apply(&[of("shop"), of("other")]).await.unwrap();
    let token = token_of(&plane, to, "alice", &[grant(Role::Operator, "shop")]).await;
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|it| it["metadata"]["namespace"].as_str().unwrap().to_owned()).collect()
    };
    let seen = ask(to, "GET", "/lanegroups", &bearer(&token), &Value::Null).await;
    assert_eq!(names(&seen), ["shop"]);
    let all = json!({"objects": [of("shop"), of("other")]});
    let applied = ask(to, "POST", "/apply", &bearer(&token), &all).await;
    assert_eq!(applied.status, 403, "all or none: {applied:?}");
    assert!(applied.text("/detail").contains("in namespace other"), "{applied:?}");
    let source = json!({"objects": [{"apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource",
        "metadata": {"name": "s", "namespace": "shop"}, "spec": {"static": {"services": []}}}]});
    let applied = ask(to, "POST", "/apply", &bearer(&token), &source).await;
    assert!(applied.text("/detail").contains("admin everywhere"), "{applied:?}");
    let entries = ask(to, "GET", "/audit", &bearer(&token), &Value::Null).await;
    let about: Vec<&str> =
        entries.body.as_array().unwrap().iter().map(|it| it["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["LaneGroup shop/trade"]);
    let others = ask(to, "GET", "/audit?namespace=other", &bearer(&token), &Value::Null).await;
    assert_eq!(others.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_no_more_when_he_may_see_less() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    plane.apply(&[group("trade", &["spring-cloud-a"])]).await.unwrap();
    let token = token_of(&plane, to, "alice", &[grant(Role::Viewer, "*")]).await;
    let watch = format!(
        "GET {PREFIX}/lanegroups?watch HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(watch.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains("SYNCED") {
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    let admin = plane.rest().await;
    let (status, _) = call(admin, "DELETE", &format!("{PREFIX}/users/alice"), "").await;
    assert_eq!(status, 204);
    let ended = tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_string(&mut text));
    ended.await.unwrap().unwrap();
    let gone = ask(to, "GET", "/session", &bearer(&token), &Value::Null).await;
    assert_eq!(gone.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_audit_and_can_be_undone_by_a_new_one() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    plane.apply(&[group("trade", &["spring-cloud-a"]), lane("trade", "gray")]).await.unwrap();
    let alice = bearer(&token_of(&plane, to, "alice", &[grant(Role::Operator, "*")]).await);
    let path = "/namespaces/default/lanes/trade-gray";
    let noted = |note: &str| [alice.clone(), vec![format!("laneway-note: {note}")]].concat();
    let disable = json!({"spec": {"enabled": false}});
    let changed = ask(to, "PATCH", path, &noted("5xx%20of%20C"), &disable).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let unchanged = ask(to, "PATCH", path, &alice, &disable).await;
    assert_eq!(unchanged.status, 200);
    let about = "/audit?limit=2&about=Lane%20trade-gray";
    let latest = ask(to, "GET", about, &alice, &Value::Null).await;
    let [entry, before] = latest.body.as_array().unwrap().as_slice() else { panic!("{latest:?}") };
    assert_eq!(entry["author"], json!({"kind": "token", "name": "test of alice"}));
    assert_eq!((&entry["action"], &entry["note"]), (&json!("configured"), &json!("5xx of C")));
    assert_eq!(entry["changes"][0]["field"], "spec.enabled");
    assert!(entry["before"].is_null(), "the list is short");
    assert_eq!(before["about"], "Lane trade-gray", "what changes nothing is no change");
    assert_eq!(before["action"], "created");
    let number = entry["number"].as_u64().unwrap();
    let whole = ask(to, "GET", &format!("/audit/{number}"), &alice, &Value::Null).await;
    assert_eq!(whole.body["after"]["spec"]["enabled"], false);

    // What somebody changed since stays, and stands in the way only where it is the same.
    ask(to, "PATCH", path, &alice, &json!({"spec": {"priority": 7}})).await;
    let undo = format!("/audit/{number}/undo");
    let viewer = bearer(&token_of(&plane, to, "vic", &[grant(Role::Viewer, "*")]).await);
    assert_eq!(ask(to, "POST", &undo, &viewer, &json!({})).await.status, 403);
    let dry = ask(to, "POST", &undo, &viewer, &json!({"dryRun": true})).await;
    assert_eq!(dry.body[0]["field"], "spec.enabled", "{dry:?}");
    let undone = ask(to, "POST", &undo, &alice, &json!({})).await;
    assert_eq!(undone.body[0]["after"], true, "{undone:?}");
    let now = ask(to, "GET", path, &alice, &Value::Null).await;
    assert_eq!(
        (&now.body["spec"]["enabled"], &now.body["spec"]["priority"]),
        (&json!(true), &json!(7))
    );
    let latest = ask(to, "GET", "/audit?limit=1", &alice, &Value::Null).await;
    assert_eq!(latest.body[0]["undoes"], number);
    let twice = ask(to, "POST", &undo, &alice, &json!({})).await;
    assert!(twice.text("/detail").contains("as before already"), "{twice:?}");

    let about = "/audit?about=Lane%20trade-gray&limit=3";
    let entries = ask(to, "GET", about, &alice, &Value::Null).await;
    let priority = entries.body.as_array().unwrap().iter();
    let priority = priority.filter(|it| it["changes"][0]["field"] == "spec.priority");
    let number = priority.map(|it| it["number"].as_u64().unwrap()).next().unwrap();
    ask(to, "PATCH", path, &alice, &json!({"spec": {"priority": 9}})).await;
    let refused = ask(to, "POST", &format!("/audit/{number}/undo"), &alice, &json!({})).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.text("/errors/0/field"), "spec.priority");
    assert_eq!(refused.text("/errors/0/value"), "9");

    // It is there after a restart, with what was done to people, and without their secrets.
    let plane = plane.restart().await;
    let admin = plane.rest().await;
    let (_, kept) = call(admin, "GET", &format!("{PREFIX}/audit?limit=200"), "").await;
    assert!(kept.contains("user alice") && kept.contains("operator everywhere"), "{kept}");
    assert!(!kept.contains("argon2") && !kept.contains("laneway_api_"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_user_can_be_called_is_refused_before_it_is_kept_anywhere() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let long = "x".repeat(1_000_000);
    for name in [long.as_str(), "", "Alice", "a b"] {
        for _ in 0..12 {
            let guess = json!({"user": name, "password": "guessed"});
            let answer = ask(to, "POST", "/sign-in", &[], &guess).await;
            // Not slowed down: nothing was counted for it.
            assert_eq!((answer.status, answer.text("/title").as_str()), (403, "not let in"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_user_at_the_same_time_are_all_in_force() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let admin = plane.rest().await;
    let do_ = async |method: &str, path: &str, body: Value| {
        call(admin, method, &format!("{PREFIX}{path}"), &body.to_string()).await
    };
    let request = json!({"name": "bob", "grants": [{"role": "viewer"}]});
    let made = tokio::join!(do_("POST", "/users", request.clone()), do_("POST", "/users", request));
    let mut statuses = [made.0.0, made.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "one of them is told a password");

    let token = token_of(&plane, to, "alice", &[grant(Role::Admin, "*")]).await;
    for round in 0..4 {
        // A demotion stays, whatever she does to her password meanwhile.
        let (old, new) = (format!("{PASSWORD}{round}"), format!("{PASSWORD}{}", round + 1));
        let old = if round == 0 { PASSWORD.to_owned() } else { old };
        let role = if round % 2 == 0 { "viewer" } else { "operator" };
        let fields = bearer(&token);
        let change = json!({"current": old, "new": new});
        let (changed, granted) = tokio::join!(
            ask(to, "POST", "/password", &fields, &change),
            do_("PUT", "/users/alice/grants", json!({"grants": [{"role": role}]})),
        );
        assert_eq!((changed.status, granted.0), (204, 200));
        let session = ask(to, "GET", "/session", &bearer(&token), &Value::Null).await;
        assert_eq!(session.text("/grants/0/role"), role);
    }
    // A password that was reset lets nobody in, whoever signed in with it meanwhile.
    let current = json!({"user": "alice", "password": format!("{PASSWORD}4"), "tokenName": "t"});
    let (entered, reset) = tokio::join!(
        ask(to, "POST", "/sign-in", &[], &current),
        do_("POST", "/users/alice/password", json!({})),
    );
    assert_eq!(reset.0, 200, "{reset:?}");
    if let Some(secret) = entered.body["secret"].as_str() {
        assert!(plane.control.caller(secret, None).is_none(), "it was let in before the reset");
    }
    assert!(plane.control.caller(&token, None).is_none());
    let plane = plane.restart().await;
    let to = serve(&plane).await;
    assert_eq!(ask(to, "POST", "/sign-in", &[], &current).await.status, 403);
    let gone = call(plane.rest().await, "DELETE", &format!("{PREFIX}/users/alice"), "").await;
    assert_eq!(gone.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_of_the_users_gets_in_while_strangers_guess_from_its_address() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    plane.control.make_first_user(Some(PASSWORD.to_owned())).await.unwrap();
    let good = json!({"user": "admin", "password": PASSWORD});
    let entered = ask(to, "POST", "/sign-in", &[], &good).await;
    let mut cookies = entered.head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let device = cookies.find(|cookie| cookie.starts_with("laneway_device_")).unwrap();
    assert!(device.contains("HttpOnly; SameSite=Strict; Max-Age=31536000"), "{device}");
    let device = [format!("cookie: {}", device.split(';').next().unwrap())];
    for _ in 0..40 {
        let guess = json!({"user": "admin", "password": "guessed"});
        ask(to, "POST", "/sign-in", &[], &guess).await;
    }
    assert_eq!(ask(to, "POST", "/sign-in", &[], &good).await.status, 429, "a new browser waits");
    let entered = ask(to, "POST", "/sign-in", &device, &good).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    assert!(!entered.head.contains("laneway_device_"), "it is known already");
    // Also after a restart, where strangers are counted anew.
    let plane = plane.restart().await;
    let stored =
        plane.control.caller(entered.cookie().split_once('=').unwrap().1, Some(&to.to_string()));
    assert!(stored.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_program_makes_and_ends_no_others_and_a_reset_ends_it() {
    let plane = Plane::start().await;
    let to = serve(&plane).await;
    let login = token_of(&plane, to, "alice", &[grant(Role::Operator, "*")]).await;
    let wanted = json!({"name": "ci", "grant": {"role": "viewer"}, "days": 1});
    let made = ask(to, "POST", "/api-tokens", &bearer(&login), &wanted).await;
    let (scoped, id) = (bearer(&made.text("/secret")), made.text("/token/id"));
    assert_eq!(ask(to, "POST", "/api-tokens", &scoped, &wanted).await.status, 403);
    let seen = ask(to, "GET", "/api-tokens", &scoped, &Value::Null).await;
    assert_eq!(seen.body.as_array().unwrap().len(), 1, "itself: {seen:?}");
    let all = ask(to, "GET", "/api-tokens", &bearer(&login), &Value::Null).await;
    let all = all.body.as_array().unwrap();
    let others = all.iter().map(|it| it["id"].as_str().unwrap()).find(|it| *it != id).unwrap();
    for it in [others, &id] {
        let path = format!("/api-tokens/{it}");
        assert_eq!(ask(to, "DELETE", &path, &scoped, &Value::Null).await.status, 403);
    }
    assert_eq!(ask(to, "POST", "/sign-out", &scoped, &json!({})).await.status, 403);
    let reset = format!("{PREFIX}/users/alice/password");
    assert_eq!(call(plane.rest().await, "POST", &reset, "{}").await.0, 200);
    for ended in [&scoped, &bearer(&login)] {
        assert_eq!(ask(to, "GET", "/session", ended, &Value::Null).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_asked_who_he_is_leaves_no_users_and_tokens_behind() {
    let plane = Plane::start().await;
    let to = plane.rest_for(Caller::anybody()).await;
    for (method, path, body) in [
        ("POST", "/users", json!({"name": "eve", "grants": [{"role": "admin"}]})),
        ("POST", "/api-tokens", json!({"name": "t", "grant": {"role": "admin"}})),
        ("PUT", "/users/admin/grants", json!({"grants": [{"role": "viewer"}]})),
        ("POST", "/users/admin/password", json!({})),
        ("DELETE", "/users/admin", Value::Null),
    ] {
        let path = format!("{PREFIX}{path}");
        let (status, answer) = call(to, method, &path, &body.to_string()).await;
        assert_eq!(status, 409, "{method} {path}: {answer}");
        assert!(answer.contains("api-auth is none"), "{answer}");
    }
    // Objects are anybody's as before.
    let (status, _) = call(to, "GET", &format!("{PREFIX}/lanes"), "").await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_takes_operator_in_the_namespace_of_its_group() {
    let plane = Plane::start().await;
    plane.apply(&[group("trade", &["a"]), lane("trade", "gray")]).await.unwrap();
    let to = serve(&plane).await;
    let refused = |role, namespace: &str| (grant(role, namespace), 403);
    let callers = [
        refused(Role::Viewer, "default"),
        refused(Role::Viewer, "*"),
        refused(Role::Operator, "other"),
        refused(Role::Admin, "other"),
        // Let in, and told what is wrong.
        (grant(Role::Operator, "default"), 404),
    ];
    for (number, (granted, status)) in callers.into_iter().enumerate() {
        let name = format!("user-{number}");
        let token = token_of(&plane, to, &name, std::slice::from_ref(&granted)).await;
        let lane = if status == 403 { "gray" } else { "blue" };
        let path = format!("/tap?group=trade&lane={lane}");
        let answer = ask(to, "GET", &path, &bearer(&token), &Value::Null).await;
        assert_eq!(answer.status, status, "{granted}: {answer:?}");
    }
}
