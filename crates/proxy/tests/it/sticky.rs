//! Cookies that a gateway issues: on which answers, and what caches are told.

use std::collections::BTreeSet;

use lanes::{
    LaneSpec, Tag,
    affinity::Issue,
    condition::Parameter,
    group::{Entry, Fallback},
};

use crate::{
    http2::Client,
    world::{Instance, Proxy, Wire, World, field, gateway_entrance, get, group},
};

/// A group whose lane `gray` takes half of those who are drawn by the cookie `place`, which is issued like this.
fn issuing(issue: Issue) -> lanes::GroupSpec {
    let mut group = group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()));
    let sticky_by = Some(Parameter::Cookie("place".to_owned()));
    let entry = Entry::Ratio { percent_hundredths: 5000, sticky_by, issue: Some(issue) };
    group.lanes = vec![LaneSpec {
        tag: Tag::parse("gray").unwrap().unwrap(),
        entry,
        ..group.lanes.swap_remove(0)
    }];
    group
}

/// What each answer of an instance has besides.
async fn answering(fields: &'static str, issue: Issue) -> Proxy {
    answering_in(fields, vec![issuing(issue)]).await
}

async fn answering_in(fields: &'static str, groups: Vec<lanes::GroupSpec>) -> Proxy {
    let instance = Instance::new().await;
    let mut world = World::new(&[instance.address]);
    world.listeners[0].http2 = true;
    world.groups = groups;
    tokio::spawn(async move {
        loop {
            let mut wire = instance.accept().await;
            tokio::spawn(async move {
                while wire.try_begin().await {
                    wire.head().await;
                    let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
                    wire.send(&answer).await;
                }
            });
        }
    });
    Proxy::gateway(&world)
}

/// The cookies and `Vary` of the answer to a request with these fields.
async fn told(proxy: &Proxy, fields: &str) -> (Vec<String>, Vec<String>) {
    let head = head(proxy, fields).await;
    (all(&head, "set-cookie"), all(&head, "vary"))
}

/// The head of the answer to a request with these fields.
async fn head(proxy: &Proxy, fields: &str) -> String {
    let mut client = proxy.client().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")).await;
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    head
}

/// The values of a field.
fn all(head: &str, wanted: &str) -> Vec<String> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let fields = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    fields.map(|(_, value)| value.to_owned()).collect()
}

#[tokio::test]
async fn a_browser_lands_where_its_first_request_did_at_every_gateway() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let mut world = World::new(&[]);
    world.services[0].2 = vec![(base.serve("base"), None), (gray.serve("gray"), Some("gray"))];
    world.groups = vec![issuing(Issue { max_age_seconds: Some(60), ..Issue::default() })];
    let gateways = [Proxy::gateway(&world), Proxy::gateway(&world)];
    let mut seen = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for number in 0..40 {
        let mut first = gateways[number % 2].client().await;
        first.send(&get("/")).await;
        let (head, body) = first.answer().await;
        let cookie = field(&head, "set-cookie").unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        let by = body.lines().next().unwrap().to_owned();
        assert!(keys.insert(pair.to_owned()), "{pair} was issued twice");
        for gateway in &gateways {
            let mut again: Wire = gateway.client().await;
            again.send(&format!("GET / HTTP/1.1\r\nHost: shop\r\nCookie: {pair}\r\n\r\n")).await;
            let (head, body) = again.answer().await;
            assert_eq!(body.lines().next(), Some(by.as_str()));
            assert_eq!((field(&head, "set-cookie"), field(&head, "vary")), (None, Some("cookie")));
        }
        seen.insert(by);
    }
    assert_eq!(seen.len(), 2, "40 draws, one half each");
}

#[tokio::test]
async fn what_everybody_may_keep_has_no_cookie_unless_asked_for() {
    for (fields, public) in [
        ("", false),
        ("Cache-Control: max-age=5\r\n", false),
        ("Cache-Control: private, max-age=5\r\n", false),
        ("Cache-Control: max-age=5 , Public\r\n", true),
        ("Cache-Control: no-cache\r\ncache-control: s-maxage=5\r\n", true),
    ] {
        for on_public_answers in [false, true] {
            let issue = Issue { on_public_answers, ..Issue::default() };
            let proxy = answering(fields, issue).await;
            let (cookies, vary) = told(&proxy, "").await;
            assert_eq!(cookies.len(), usize::from(!public || on_public_answers), "{fields}");
            assert_eq!(vary, ["cookie"], "{fields}");
        }
    }
}

#[tokio::test]
async fn a_cookie_of_one_is_kept_out_of_caches_of_all() {
    for (fields, cookie, wanted) in [
        // Without a word, too: a cache may guess how long it is good.
        ("", "", &["private"][..]),
        ("Last-Modified: Mon, 07 Sep 2026 10:00:00 GMT\r\n", "", &["private"]),
        ("Cache-Control: max-age=5\r\n", "", &["max-age=5", "private"]),
        (
            "Cache-Control: private=\"x-a\", max-age=5\r\n",
            "",
            &["private=\"x-a\", max-age=5", "private"],
        ),
        ("Cache-Control: max-age=5, Private\r\n", "", &["max-age=5, Private"]),
        ("Cache-Control: no-store\r\n", "", &["no-store"]),
        ("Cache-Control: public\r\n", "", &["public"]),
        // No cookie goes out.
        ("Cache-Control: max-age=5\r\n", "Cookie: place=1\r\n", &["max-age=5"]),
        ("Set-Cookie: place=own\r\n", "", &[]),
    ] {
        let proxy = answering(fields, Issue::default()).await;
        let head = head(&proxy, cookie).await;
        assert_eq!(all(&head, "cache-control"), wanted, "{fields}{cookie}");
    }
    let issue = Issue { on_public_answers: true, ..Issue::default() };
    let proxy = answering("Cache-Control: public\r\n", issue).await;
    assert_eq!(all(&head(&proxy, "").await, "cache-control"), ["public"]);
}

#[tokio::test]
async fn one_cookie_of_a_name_is_set() {
    let groups = ["first", "second"].into_iter().zip([None, Some(60)]);
    let groups = groups.map(|(name, max_age_seconds)| {
        let group = issuing(Issue { max_age_seconds, ..Issue::default() });
        lanes::GroupSpec { name: lanes::GroupName::parse(name).unwrap(), ..group }
    });
    let proxy = answering_in("", groups.collect()).await;
    assert_eq!(told(&proxy, "").await.0.len(), 1);
}

#[tokio::test]
async fn what_the_application_says_itself_stays() {
    let proxy = answering("Vary: accept, Cookie\r\n", Issue::default()).await;
    assert_eq!(told(&proxy, "").await.1, ["accept, Cookie"]);
    let proxy = answering("Vary: *\r\n", Issue::default()).await;
    assert_eq!(told(&proxy, "").await.1, ["*"]);
    let proxy = answering("Vary: accept\r\n", Issue::default()).await;
    assert_eq!(told(&proxy, "").await.1, ["accept", "cookie"]);
    let proxy = answering("Set-Cookie: place=own; Path=/\r\n", Issue::default()).await;
    assert_eq!(told(&proxy, "").await.0, ["place=own; Path=/"]);
    let proxy = answering("Set-Cookie: placed=own\r\n", Issue::default()).await;
    assert_eq!(told(&proxy, "").await.0.len(), 2);
    // Whatever is there is merely a key; an empty one is none.
    assert_eq!(told(&proxy, "Cookie: place=forged\r\n").await.0, ["placed=own"]);
    assert_eq!(told(&proxy, "Cookie: place=\r\n").await.0.len(), 2);
}

#[tokio::test]
async fn cookies_are_issued_over_http2_and_with_a_switch_of_protocols() {
    let proxy = answering("", Issue { secure: Some(true), ..Issue::default() }).await;
    let client = Client::over(tokio::net::TcpStream::connect(proxy.address()).await.unwrap()).await;
    let (head, _) = client.ask(http::Request::get("http://shop/")).await;
    let cookie = head.headers().get("set-cookie").unwrap().to_str().unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(head.headers().get("vary").unwrap(), "cookie");

    let instance = Instance::new().await;
    let mut world = World::new(&[instance.address]);
    world.groups = vec![issuing(Issue::default())];
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let mut server = instance.accept().await;
    server.head().await;
    server.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    let head = client.head().await;
    assert!(field(&head, "set-cookie").unwrap().starts_with("place="), "{head}");
}

#[tokio::test]
async fn groups_that_issue_nothing_add_nothing() {
    let instance = Instance::new().await;
    let mut world = World::new(&[instance.serve("base")]);
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    let proxy = Proxy::gateway(&world);
    assert_eq!(told(&proxy, "").await, (Vec::new(), Vec::new()));
}
