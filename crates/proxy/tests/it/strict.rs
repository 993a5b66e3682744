//! What the edge refuses, over real sockets: nothing of it may reach an instance.

use crate::world::{Instance, Proxy, World, field, get, status};

#[tokio::test]
async fn ambiguous_requests_are_refused_and_reach_nobody() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    for (request, expected) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n12\r\nGET /x",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: payment\r\nContent-Length: 1\r\n\r\na", 417),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("\u{16}\u{3}\u{1}\u{2}\n", 400),
    ] {
        let mut client = proxy.client().await;
        client.send(request).await;
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), expected, "{request:?}: {head}{body}");
        assert_eq!(field(&head, "server"), Some("laneway"));
        assert_eq!(field(&head, "connection"), Some("close"), "{request:?}");
        client.closed().await;
    }
    // The first thing that the instance ever hears of is this one.
    let mut client = proxy.client().await;
    client.send(&get("/good")).await;
    assert!(instance.accept().await.head().await.starts_with("GET /good HTTP/1.1\r\n"));
}

#[tokio::test]
async fn large_heads_and_targets_have_statuses_of_their_own() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(70_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(100)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)), 414),
    ] {
        let mut client = proxy.client().await;
        client.send(&request).await;
        assert_eq!(status(&client.head().await), expected);
    }
    let mut client = proxy.client().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(60_000))).await;
    let mut server = instance.accept().await;
    assert!(server.head().await.len() > 60_000);
    let long = "y".repeat(50_000);
    server.send(&format!("HTTP/1.1 200 OK\r\nX: {long}\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(field(&client.head().await, "x"), Some(long.as_str()));
}

#[tokio::test]
async fn one_path_is_matched_and_forwarded() {
    let (a, b) = (Instance::new().await, Instance::new().await);
    let mut world = World::new(&[a.address]);
    world.services.push(("sc-B", "b", vec![(b.address, None)]));
    world.routes.push(("/admin", "sc-B", Vec::new(), (None, None)));
    let proxy = Proxy::gateway(&world);
    let mut client = proxy.client().await;
    client.send(&get("/%61dmin/x%7e%c3%a9?a=%62")).await;
    assert!(b.accept().await.head().await.starts_with("GET /admin/x~%C3%A9?a=%62 HTTP/1.1\r\n"));
    for (target, host, line) in [
        ("http://Shop/admin", "shop", "GET /admin HTTP/1.1\r\n"),
        ("http://shop.:80/admin?", "SHOP", "GET /admin? HTTP/1.1\r\n"),
        ("//admin///x//", "shop", "GET /admin/x/ HTTP/1.1\r\n"),
        ("/admin/\u{4e2d}?q=\u{e9}", "shop", "GET /admin/%E4%B8%AD?q=%C3%A9 HTTP/1.1\r\n"),
    ] {
        let mut client = proxy.client().await;
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let head = b.accept().await.head().await;
        assert!(head.starts_with(line), "{head}");
    }
}

#[tokio::test]
async fn slashes_in_a_row_stay_where_the_gateway_says_so() {
    let (a, b) = (Instance::new().await, Instance::new().await);
    let mut world = World::new(&[a.address]);
    world.services.push(("sc-B", "b", vec![(b.address, None)]));
    world.routes.push(("/admin", "sc-B", Vec::new(), (None, None)));
    world.listeners[0].merge_slashes = false;
    let proxy = Proxy::gateway(&world);
    for (target, by, line) in [
        ("//admin/x", &a, "GET //admin/x HTTP/1.1\r\n"),
        ("/admin//%78/?a//b", &b, "GET /admin//x/?a//b HTTP/1.1\r\n"),
        ("/admin//", &b, "GET /admin// HTTP/1.1\r\n"),
        ("http://shop//admin", &a, "GET //admin HTTP/1.1\r\n"),
    ] {
        let mut client = proxy.client().await;
        client.send(&get(target)).await;
        let head = by.accept().await.head().await;
        assert!(head.starts_with(line), "{target}: {head}");
    }
    let mut client = proxy.client().await;
    client.send(&get("/a//../admin")).await;
    assert_eq!(status(&client.answer().await.0), 400);
}

#[tokio::test]
async fn malformed_answers_become_502() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&World::new(&[instance.address]));
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\nx: 1\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut client = proxy.client().await;
        client.send(&get("/")).await;
        let mut server = instance.accept().await;
        server.head().await;
        server.send(answer).await;
        assert_eq!(status(&client.head().await), 502, "{answer:?}");
        server.closed().await;
    }
}
